"""The verb ``prune``: the weights of versions that no policy keeps go; what the versions were stays on record."""

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ckptkit import change, index, references, removal, retention, roots, settings, transaction
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.removal import Removal
from ckptkit.retention import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """Files that are to be pruned or, where ``done``, were.

    ``freed`` are the bytes that this gives back: a file that shares its bytes with one that stays gives back none.
    ``kept`` are the references of the versions that keep their files; ``stays`` are the bytes of each file that stays
    in one of the others; ``left`` says of the versions that are left alone why. ``is_undecided`` is whether nothing was
    said of what to keep, so that this is only what could go.
    """

    removals: tuple[Removal, ...]
    freed: int
    kept: tuple[str, ...]
    stays: Mapping[str, int] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)
    is_undecided: bool = False
    done: bool = False
    warnings: tuple[str, ...] = ()


def prune(
    model: str | None = None,
    *,
    every: bool = False,
    keep_last: int | None = None,
    keep_best: Sequence[str] = (),
    keep_aliased: bool = False,
    keep_stages: Sequence[str] = (),
    drop: Sequence[str] = (),
    dry_run: bool = False,
    force: bool = False,
    reason: str | None = None,
    root: str | os.PathLike[str] | None = None,
    agree: Callable[[Pruning], bool] = lambda _: True,
) -> Pruning:
    """Remove weights, model by model; lineage, config, card, pins and SHA256SUMS stay.

    Weights are all saved files but those that are called like a configuration, a tokenizer or code; see
    ``retention.BESIDE``. What stays is told. Where nothing is said of what is kept, nothing is removed: what is
    returned is what could go.

    Args:
        model: the registered model.
        every: all models of the registry.
        keep_last: keep so many of a model's newest versions.
        keep_best: keep the best version by these metrics; see ``retention.policy``.
        keep_aliased: keep versions that bear an alias.
        keep_stages: keep versions in these stages.
        drop: patterns of the saved files that go, instead of the weights.
        dry_run: remove nothing.
        force: also of versions that bear an alias or are in production and that the policy does not keep.
        reason: why, for the history.
        root: the registry root; see ``roots.default_root``.
        agree: asked with what would be removed; nothing is, unless it says so.

    Raises:
        CkptkitError: the policy cannot be followed, or files may not or cannot be removed.
        NotFoundError: there is no such registry or model.
    """
    home, cwd = roots.default_root(root, Path.cwd()), Path.cwd()
    policy = retention.policy(
        keep_last=keep_last,
        keep_best=keep_best,
        keep_aliased=keep_aliased,
        keep_stages=keep_stages,
        drop=drop,
        directions=settings.directions(cwd),
    )
    if (model is not None and every) or not (model or every or policy.is_empty):
        raise CkptkitError("prune wants a model, or --all", "a policy is for each model by itself")
    known = index.load(home)
    plan = _plan(home, known, _models(home, known, model), policy)
    if dry_run or policy.is_empty or not plan.removals:
        return plan
    if not force:
        removal.refuse_marked(plan.removals, "keep it with --keep-aliased or --keep-stage production, or add --force")
    if not agree(plan):
        return plan
    with change.begin(home, known) as now:
        still = _plan(home, now.index, _models(home, now.index, model), policy)
        removals = tuple(each for each in plan.removals if each in still.removals)
        freed = removal.freed(_paths(home, removals))
        events = (
            now.event("pruned", each.model, each.version, digest=each.digest, files=each.files, reason=reason)
            for each in removals
        )
        transaction.carry_out(now, *events)
    return replace(still, removals=removals, freed=freed, done=True, warnings=tuple(now.warnings))


def _models(root: Path, known: Mapping[str, Any], model: str | None) -> list[str]:
    if model is None:
        return sorted(known["models"])
    references.require_model(root, known, model)
    return [model]


def _plan(root: Path, known: Mapping[str, Any], models: Iterable[str], policy: Policy) -> Pruning:
    removals, kept = [], []
    stays: dict[str, int] = {}
    left: dict[str, str] = {}
    for model in models:
        part = known["models"][model]
        left |= {f"{model}/{version}": why for version, why in _unfit(part)}
        going = retention.dropped(part, policy)
        able = retention.dropped(part, Policy(drop=policy.drop))
        kept += [f"{model}/{version}" for version in able if version not in going]
        stays |= _staying(root / model, part, able, going)
        for version, paths in going.items():
            try:
                removals.append(removal.of(root, part, model, version, paths))
            except FormatError as error:
                left[f"{model}/{version}"] = error.message
    there = tuple(each for each in removals if each.files)
    return Pruning(
        removals=there,
        freed=removal.freed(_paths(root, there)),
        kept=tuple(kept),
        stays=stays,
        left=left,
        is_undecided=policy.is_empty,
    )


def _staying(
    folder: Path, part: Mapping[str, Any], able: Collection[str], going: Mapping[str, Collection[str]]
) -> dict[str, int]:
    """The files that stay in a model's versions, but for those that keep what is ``able`` to go, and their bytes."""
    found: dict[str, int] = {}
    for version, row in part["versions"].items():
        for path in retention.left(row) if version in going or version not in able else ():
            if path not in going.get(version, ()):
                with contextlib.suppress(OSError):  # as in a git clone
                    found[f"{folder.name}/{version}/{path}"] = (folder / version / path).lstat().st_size
    return found


def _unfit(part: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The versions that are left alone, as nobody can tell what would be removed, each with the reason."""
    for version, row in part["versions"].items():
        if "unreadable" in row:
            yield version, row["unreadable"]
        elif row["event"] is None:
            yield version, "no event says that it was saved"


def _paths(root: Path, removals: Iterable[Removal]) -> Iterator[Path]:
    for each in removals:
        yield from (root / each.ref / file.path for file in each.files)
