"""Retention: which versions of a model a policy keeps, and which files of the others go. Pure: index in, paths out."""

import fnmatch
import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ckptkit import comparison, names
from ckptkit.checkpoint import is_record
from ckptkit.comparison import Goal
from ckptkit.errors import CkptkitError

BESIDE = (
    *("*.json", "*.jsonl", "*.txt", "*.md", "*.yaml", "*.yml", "*.toml", "*.csv", "*.py", "*.jinja"),
    *("tokenizer.model*", "spiece.model", "*.bpe", "*.bpe.model", "*.spm", "*.tiktoken", "*.vocab"),
)
"""Saved files that are read beside weights, and are none where others are there: configurations, tokenizers, code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is kept, and what of the rest goes.

    A version is kept if it is among the ``keep_last`` newest, if it is the best by one of ``keep_best``, if it bears an
    alias and ``keep_aliased``, or if its stage is one of ``keep_stages``. Of the others those saved files go that match
    one of the patterns in ``drop``; where it is empty the weights go, which are all but those in ``BESIDE``.
    """

    keep_last: int | None = None
    keep_best: tuple[Goal, ...] = ()
    keep_aliased: bool = False
    keep_stages: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it does not say what is kept."""
        return replace(self, drop=()) == Policy()


def policy(
    *,
    keep_last: object = None,
    keep_best: Iterable[str] = (),
    keep_aliased: bool = False,
    keep_stages: Iterable[str] = (),
    drop: Iterable[str] = (),
    directions: Mapping[str, str],
) -> Policy:
    """A policy in the words of the person who gave it.

    Args:
        keep_last: how many of the newest versions are kept, an integer of any library.
        keep_best: metrics, each as ``METRIC:min``, ``METRIC:max`` or, where ``directions`` knows it, ``METRIC``.
        keep_aliased: whether versions that bear an alias are kept.
        keep_stages: stages whose versions are kept, in any case.
        drop: shell patterns of the files that go, by their path in the version or by their name.
        directions: ``min`` or ``max`` by metric; see ``settings.directions``.

    Raises:
        CkptkitError: one of them says nothing that could be done.
    """
    return Policy(
        keep_last=None if keep_last is None else _count(keep_last),
        keep_best=tuple(comparison.parse_goal(goal, directions) for goal in keep_best),
        keep_aliased=keep_aliased,
        keep_stages=tuple(map(names.require_stage, keep_stages)),
        drop=tuple(drop),
    )


def _count(given: Any) -> int:  # noqa: ANN401 - an int of any library
    try:
        count = 0 if isinstance(given, bool) else operator.index(given)
    except TypeError:
        count = 0
    if count < 1:
        raise CkptkitError(f"the last {given!r} versions cannot be kept", "give a whole number from 1 up, such as 3")
    return count


def dropped(part: Mapping[str, Any], policy: Policy, among: Collection[str] | None = None) -> dict[str, list[str]]:
    """The files that go, by version in the order of numbers; ckptkit's own records never do.

    Versions that cannot be read, that no event says were saved, or of which no such file is left are passed over: they
    neither go nor count as one of the last or as the best.

    Args:
        part: a model's part of the index.
        policy: what is kept.
        among: only these versions, as if there were no others; all when None.

    Raises:
        CkptkitError: no version has the metric of which the best is to be kept.
    """
    going = {
        version: paths for version in _sorted(part, among) if (paths := _going(part["versions"][version], policy.drop))
    }
    kept = _kept(part, policy, list(going))
    return {version: paths for version, paths in going.items() if version not in kept}


def _sorted(part: Mapping[str, Any], among: Collection[str] | None) -> list[str]:
    known = (version for version in part["versions"] if among is None or version in among)
    return sorted(known, key=lambda version: names.folder_number(version) or 0)


def left(row: Mapping[str, Any]) -> list[str]:
    """The saved files of a version that were not pruned; none where it cannot be told.

    Args:
        row: the version's line of the index.
    """
    if row["event"] is None or row["digest"] is None:
        return []
    return sorted(path for path in row.get("files", ()) if not is_record(path) and path not in row.get("pruned", ()))


def _going(row: Mapping[str, Any], drop: Collection[str]) -> list[str]:
    """What goes of a version that is not kept."""
    if drop:
        return [path for path in left(row) if _matches(path, drop)]
    saved = [path for path in row.get("files", ()) if not is_record(path)]
    weights = {path for path in saved if not _matches(path, BESIDE)} or saved
    return [path for path in left(row) if path in weights]


def _kept(part: Mapping[str, Any], policy: Policy, versions: Sequence[str]) -> set[str]:
    kept = set(versions[-policy.keep_last :]) if policy.keep_last else set()
    for goal in policy.keep_best if versions else ():
        rows = {version: part["versions"][version] for version in versions}
        best = comparison.best(rows, goal)
        if best is None:
            known = comparison.metrics(rows)
            several = " or ".join(comparison.meant(goal.metric, known))
            raise CkptkitError(
                f"it cannot be told which version has the best {goal.metric}"
                + (f", that is {several}" if several not in {"", goal.metric} else ""),
                f"metrics here: {', '.join(known) or 'none'}",
            )
        kept.add(best)
    if policy.keep_aliased:
        kept |= set(part["aliases"].values())
    return kept | {version for version in versions if part["stages"].get(version, "none") in policy.keep_stages}


def _matches(path: str, patterns: Iterable[str]) -> bool:
    name = path.rpartition("/")[2]
    return any(fnmatch.fnmatchcase(path, glob) or fnmatch.fnmatchcase(name, glob) for glob in patterns)
