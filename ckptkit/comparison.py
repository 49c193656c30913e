"""Comparison: which of two results is the better one, and which version has the best. Pure: lines of the index in."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ckptkit import names
from ckptkit.errors import CkptkitError

Direction = Literal["min", "max"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A metric, and whether the least (``min``) or the greatest (``max``) of its values is the best."""

    metric: str
    direction: Direction

    def __str__(self) -> str:
        return f"{self.metric}:{self.direction}"


def parse_goal(text: str, directions: Mapping[str, str]) -> Goal:
    """The goal that ``val_loss:min`` or, where ``directions`` knows it, ``val_loss`` states.

    Args:
        text: a metric, and behind a colon ``min`` or ``max``.
        directions: which it is, by metric; what it says of ``loss`` goes for ``val/loss`` as well.

    Raises:
        CkptkitError: no metric is named, or it is not said whether its least or its greatest value is the best.
    """
    metric, colon, said = text.rpartition(":")
    if not colon or said not in {"min", "max"}:
        metric = text.removesuffix(":")
        said = directions.get(metric) or directions.get(metric.rpartition("/")[2]) or ""
    if not metric:
        raise CkptkitError(f"{text!r} names no metric", "write a metric, such as val_loss:min")
    if said == "min":
        return Goal(metric=metric, direction="min")
    if said == "max":
        return Goal(metric=metric, direction="max")
    raise CkptkitError(
        f"it is not said whether the least or the greatest {metric} is the best",
        f"write {metric}:min or {metric}:max, or say it once in [tool.ckptkit.metrics] of pyproject.toml",
    )


def meant(name: str, known: Iterable[str], separator: str = "/") -> list[str]:
    """Of what is known, what a name stands for: itself, else all that end in it behind a separator.

    Args:
        name: such as ``val/loss``, or ``loss`` for short.
        known: full names.
        separator: what parts a full name: ``/`` the split from a metric, ``.`` the keys of hyperparameters.
    """
    every = dict.fromkeys(known)
    return [name] if name in every else [each for each in every if each.endswith(f"{separator}{name}")]


def value(row: Mapping[str, Any], metric: str) -> float | None:
    """A version's value of a metric; None where it has none, where that is NaN, and where several answer to the name.

    Args:
        row: a version's line of the index.
        metric: its name, or that without the split.
    """
    metrics = row.get("metrics", {})
    found = meant(metric, metrics)
    if len(found) != 1:
        return None
    try:
        number = float(metrics[found[0]])  # Infinity is text in JSON
    except OverflowError:  # an integer beyond the floats
        number = math.inf if metrics[found[0]] > 0 else -math.inf
    return None if math.isnan(number) else number


def is_better(new: float | None, old: float | None, goal: Goal) -> bool:
    """Whether a value is strictly better than an earlier one: any is better than none, and none than no other."""
    if new is None or old is None:
        return new is not None
    return new < old if goal.direction == "min" else new > old


def best(rows: Mapping[str, Mapping[str, Any]], goal: Goal) -> str | None:
    """The version that reached a goal best, of equal ones the earliest; None where none has a value.

    Args:
        rows: lines of the index by version. A metric's name without its split has to be one and the same in all.
        goal: what is sought.
    """
    found = meant(goal.metric, metrics(rows))
    if len(found) != 1:
        return None
    values = {version: value(row, found[0]) for version, row in rows.items() if found[0] in row.get("metrics", {})}
    champion = None
    for version in sorted(values, key=lambda version: names.folder_number(version) or 0):
        if is_better(values[version], values[champion] if champion else None, goal):
            champion = version
    return champion


def metrics(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The names of all metrics that any of these versions has, in the order in which they come."""
    return list(dict.fromkeys(name for row in rows.values() for name in row.get("metrics", {})))
