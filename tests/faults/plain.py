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
    """A model as it should be; a version is known by what was saved, its number is what may change.

    ``numbers`` are those of the versions that are here, ``whole`` are those of them whose weights are; ``lives`` says
    when each was saved, deleted or pruned, on any side.
    """

    numbers: dict[str, str] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    last: int = 0
    lives: dict[str, dict[int, str]] = field(default_factory=dict)
    scores: dict[str, dict[int, float]] = field(default_factory=dict)
    chains: dict[tuple[str, str], Chain] = field(default_factory=dict)
    is_left: bool = False

    def chain(self, kind: str, key: str) -> Chain:
        return self.chains.setdefault((kind, key), Chain())

    def standing(self, kind: str) -> dict[str, str]:
        found = {key: chain.holds for (of, key), chain in self.chains.items() if of == kind}
        return {key: what for key, what in found.items() if what is not None}

    @property
    def deleted(self) -> set[str]:
        """What was not saved again since it was deleted."""
        return {saved for saved, life in self.lives.items() if _last(life, "saved") < _last(life, "deleted")}

    @property
    def pruned(self) -> set[str]:
        return {saved for saved, life in self.lives.items() if _last(life, "saved") < _last(life, "pruned")}

    @property
    def back(self) -> set[str]:
        return self.deleted & self.numbers.keys()

    @property
    def lacking(self) -> set[str]:
        """What is here without its weights, and no more known as pruned."""
        return self.numbers.keys() - self.whole - self.pruned

    def aliases_of(self, saved: str) -> list[str]:
        return [alias for alias, on in self.standing("alias").items() if on == saved]


def _last(life: Mapping[int, str], kind: str) -> int:
    return max((moment for moment, what in life.items() if what == kind), default=0)


Registry = dict[str, Plain]


def copied(registry: Registry) -> Registry:
    return {
        name: Plain(
            numbers=dict(model.numbers),
            last=model.last,
            whole=set(model.whole),
            lives={saved: dict(life) for saved, life in model.lives.items()},
            scores={saved: dict(scores) for saved, scores in model.scores.items()},
            chains={key: Chain(said=dict(chain.said)) for key, chain in model.chains.items()},
            is_left=model.is_left,
        )
        for name, model in registry.items()
    }


def refused(mine: Plain, theirs: Plain) -> set[str]:
    """What a merge leaves there, as it is damaged; to be asked before."""
    both = Plain(lives=_joined(mine.lives, theirs.lives))
    return theirs.numbers.keys() - mine.numbers.keys() - both.deleted - theirs.whole - both.pruned


def unite(mine: Plain, theirs: Plain, found: Mapping[str, Any]) -> None:
    """What a merge makes of a model: which new numbers it gives is its own choice, as long as they are new."""
    left = refused(mine, theirs)
    mine.lives = _joined(mine.lives, theirs.lives)
    here = mine.numbers.keys() | theirs.numbers.keys() - mine.deleted - left
    told = {_sha256(saved): saved for saved in mine.lives}
    numbers = {told[row["files"][WEIGHTS]]: version for version, row in found["versions"].items()}
    assert numbers.keys() == here
    for saved, version in numbers.items():
        known = {side.numbers.get(saved) for side in (mine, theirs)}
        assert version in known or saved in theirs.lives
        assert version in known or found["last"] >= (names.folder_number(version) or 0) > 0
    mine.whole |= (here & theirs.whole) - (mine.numbers.keys() & mine.pruned)
    mine.numbers = numbers
    assert found["last"] >= max(mine.last, theirs.last)
    mine.last = found["last"]
    for saved, scores in theirs.scores.items():
        mine.scores.setdefault(saved, {}).update(scores)
    for (kind, key), chain in theirs.chains.items():
        mine.chain(kind, key).said.update(chain.said)


def _joined(one: Mapping[str, dict[int, str]], other: Mapping[str, dict[int, str]]) -> dict[str, dict[int, str]]:
    return {saved: one.get(saved, {}) | other.get(saved, {}) for saved in {*one, *other}}


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
        "gone": len(model.lives.keys() - model.numbers.keys()),
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
