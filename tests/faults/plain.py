"""A plain model of a registry in memory: what it should hold after any order of commands."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ckptkit import names

WEIGHTS = "weights.bin"


@dataclass
class Chain:
    """What was said of one thing, each saying with those that it followed; of two last ones the later holds."""

    said: dict[int, tuple[frozenset[int], str | None]] = field(default_factory=dict)

    @property
    def heads(self) -> list[int]:
        followed = frozenset[int]().union(*(before for before, _ in self.said.values()))
        return sorted(self.said.keys() - followed)

    @property
    def holds(self) -> str | None:
        return self.said[self.heads[-1]][1] if self.said else None

    @property
    def held_before(self) -> str | None:
        followed, _ = self.said[self.heads[-1]]
        return self.said[max(followed)][1] if followed else None

    def say(self, moment: int, what: str | None) -> None:
        self.said[moment] = frozenset(self.heads), what


@dataclass
class Plain:
    """A model as it should be; a version is known by what was saved, its number is what may change."""

    numbers: dict[str, str] = field(default_factory=dict)
    last: int = 0
    deleted: set[str] = field(default_factory=set)
    pruned: set[str] = field(default_factory=set)
    scores: dict[str, dict[int, float]] = field(default_factory=dict)
    chains: dict[tuple[str, str], Chain] = field(default_factory=dict)
    is_left: bool = False

    def chain(self, kind: str, key: str) -> Chain:
        return self.chains.setdefault((kind, key), Chain())

    def standing(self, kind: str) -> dict[str, str]:
        found = {key: chain.holds for (of, key), chain in self.chains.items() if of == kind}
        return {key: what for key, what in found.items() if what is not None}

    def aliases_of(self, saved: str) -> list[str]:
        return [alias for alias, on in self.standing("alias").items() if on == saved]


Registry = dict[str, Plain]


def copied(registry: Registry) -> Registry:
    return {
        name: Plain(
            numbers=dict(model.numbers),
            last=model.last,
            deleted=set(model.deleted),
            pruned=set(model.pruned),
            scores={saved: dict(scores) for saved, scores in model.scores.items()},
            chains={key: Chain(said=dict(chain.said)) for key, chain in model.chains.items()},
            is_left=model.is_left,
        )
        for name, model in registry.items()
    }


def unite(mine: Plain, theirs: Plain, found: Mapping[str, Any]) -> None:
    """What a merge makes of a model: which new numbers it gives is its own choice, as long as they are new."""
    told = {_sha256(saved): saved for saved in theirs.numbers}
    arrived = {
        told[row["files"][WEIGHTS]]: version
        for version, row in found["versions"].items()
        if row["files"][WEIGHTS] in told and told[row["files"][WEIGHTS]] not in mine.numbers
    }
    assert set(arrived) == theirs.numbers.keys() - mine.numbers.keys() - mine.deleted
    assert not set(arrived.values()) & set(mine.numbers.values())
    assert all(
        (names.folder_number(version) or 0) > mine.last or mine.last <= theirs.last for version in arrived.values()
    )
    mine.numbers |= arrived
    assert found["last"] >= max(mine.last, theirs.last)
    mine.last = found["last"]
    mine.deleted |= theirs.deleted - mine.numbers.keys()
    mine.pruned |= theirs.pruned
    for saved, scores in theirs.scores.items():
        mine.scores.setdefault(saved, {}).update(scores)
    for (kind, key), chain in theirs.chains.items():
        mine.chain(kind, key).said.update(chain.said)


def _sha256(saved: str) -> str:
    return hashlib.sha256(saved.encode()).hexdigest()


def wanted(model: Plain) -> Mapping[str, Any]:
    stands = {**model.numbers, "": ""}
    return {
        "last": model.last,
        "versions": {number: _sha256(saved) for saved, number in model.numbers.items()},
        "pruned": {model.numbers[saved] for saved in model.pruned & model.numbers.keys()},
        "scores": {
            model.numbers[saved]: scores[max(scores)]
            for saved, scores in model.scores.items()
            if saved in model.numbers
        },
        "aliases": {alias: stands.get(saved, "deleted") for alias, saved in model.standing("alias").items()},
        "stages": {
            stands[saved]: stage
            for saved, stage in model.standing("stage").items()
            if saved in stands and stage != "none"
        },
        "texts": {stands[saved]: text for saved, text in model.standing("text").items() if saved in stands},
        "gone": len(model.deleted),
    }


def told(part: Mapping[str, Any]) -> Mapping[str, Any]:
    rows = part["versions"]
    scores = {version: row["metrics"].get("score") for version, row in rows.items()}
    return {
        "last": part["last"],
        "versions": {version: row["files"][WEIGHTS] for version, row in rows.items()},
        "pruned": {version for version, row in rows.items() if row.get("pruned")},
        "scores": {version: score for version, score in scores.items() if score is not None},
        "aliases": {alias: version if version in rows else "deleted" for alias, version in part["aliases"].items()},
        "stages": part["stages"],
        "texts": part["texts"],
        "gone": len(part["gone"]),
    }
