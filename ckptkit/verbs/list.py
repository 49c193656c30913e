"""The verb ``list``: which versions there are, and which of them is best, from the index alone."""

import builtins
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckptkit import index, names, registry, roots
from ckptkit.errors import CkptkitError, NotFoundError

METRICS = 6
"""Most metrics that are shown when no columns are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Versions as rows of plain values, in the order asked for; None where a version does not have the value.

    ``refs`` are the versions' references, one a row; ``unreadable`` says of each version whose record cannot be read
    why; ``left_out`` are the metrics that the default columns have no room for; ``spare`` are those of the default
    columns that a narrow terminal can do without, in the order in which they go.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    refs: tuple[str, ...]
    unreadable: Mapping[str, str]
    left_out: tuple[str, ...]
    spare: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    ref: str
    aliases: tuple[str, ...]
    summary: Mapping[str, Any]


_Value = Callable[[_Line], Any]


def list(
    model: str | None = None,
    *,
    root: str | os.PathLike[str] | None = None,
    sort: str | None = None,
    columns: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
) -> Table:
    """The versions of a registry, or of one model, as a table.

    A column is the version's own (``version``, ``seed``, ``size`` …), else a metric, else a hyperparameter, else a
    tag. A metric may be called by its name without the split (``loss`` for ``val/loss``) and a hyperparameter by the
    last part of its dotted key, where only one answers to that; ``metric:``, ``config:`` and ``tag:`` before a name
    say which is meant.

    Args:
        model: only this registered model.
        root: the registry root; see ``roots.default_root``.
        sort: a column to sort by, smallest first; with ``-`` before it largest first. NaN and missing values are last
            in both. Without it, by model and number.
        columns: what to show beside the version.
        tags: only versions that bear all of these.

    Raises:
        CkptkitError: no version of the registry or model has such a column, or more than one thing answers to its name.
        NotFoundError: there is no such registry or model.
    """
    everything = builtins.list(_lines(roots.default_root(root, Path.cwd()), model))
    lines = [line for line in everything if _bears(line, tags or {})]
    metrics = _keys(lines, "metrics")
    chosen = _chosen(everything, columns) if columns else _default(metrics)
    if sort is not None:
        lines = _sorted(lines, sort, _column(everything, sort.removeprefix("-")))
    rows = tuple(tuple(value(line) for value in chosen.values()) for line in lines)
    return Table(
        columns=tuple(chosen),
        rows=rows,
        refs=tuple(line.ref for line in lines),
        unreadable={line.ref: line.summary["unreadable"] for line in everything if "unreadable" in line.summary},
        left_out=() if columns else tuple(metrics[METRICS:]),
        spare=() if columns else _spare(tuple(chosen), rows, sort or ""),
    )


def versions(
    model: str | None = None, *, root: str | os.PathLike[str] | None = None
) -> builtins.list[registry.Version]:
    """The versions of a registry, or of one model, by model and number, oldest first.

    A version without a readable SHA256SUMS has no digest to be known by and is left out; ``list`` says why.

    Args:
        model: only this registered model.
        root: the registry root; see ``roots.default_root``.

    Raises:
        NotFoundError: there is no such registry or model.
    """
    home = roots.default_root(root, Path.cwd())
    return [
        registry.Version(ref=line.ref, path=home / line.ref, digest=line.summary["digest"])
        for line in _lines(home, model)
        if line.summary["digest"] is not None
    ]


def _lines(root: Path, model: str | None) -> Iterator[_Line]:
    models = index.load(root)["models"]
    if model is not None and model not in models:
        raise NotFoundError(f"no model {model!r} in {root}", f"models here: {', '.join(sorted(models)) or 'none yet'}")
    for name in sorted(models) if model is None else [model]:
        found = models[name]
        for version in sorted(found["versions"], key=lambda version: names.folder_number(version) or 0):
            aliases = tuple(sorted(alias for alias, target in found["aliases"].items() if target == version))
            yield _Line(ref=f"{name}/{version}", aliases=aliases, summary=found["versions"][version])


def _bears(line: _Line, tags: Mapping[str, str]) -> bool:
    borne = line.summary.get("tags", {})
    return all(borne.get(key) == value for key, value in tags.items())


def _stated(key: str) -> _Value:
    return lambda line: line.summary.get(key)


def _held(part: str, key: str) -> _Value:
    return lambda line: line.summary.get(part, {}).get(key)


_OWN: Mapping[str, _Value] = {
    "version": lambda line: line.ref,
    "alias": lambda line: line.aliases,
    "aliases": lambda line: line.aliases,
    "size": _stated("bytes"),
    **{
        name: _stated(name)
        for name in (
            *("created", "step", "epoch", "seconds", "run", "commit", "dirty"),
            *("parameters", "message", "digest", "observed", "seed"),
        )
    },
}
_PARTS = {"metric": "metrics", "config": "config", "tag": "tags"}
_SEPARATORS = {"metrics": "/", "config": "."}


def _keys(lines: Iterable[_Line], part: str) -> builtins.list[str]:
    return builtins.list(dict.fromkeys(key for line in lines for key in line.summary.get(part, {})))


_BEFORE, _AFTER = ("version", "aliases", "created", "seed"), ("size", "message")


def _default(metrics: Sequence[str]) -> dict[str, _Value]:
    named = {f"metric:{key}" if key in {*_BEFORE, *_AFTER} else key: key for key in metrics[:METRICS]}
    return {
        **{name: _OWN[name] for name in _BEFORE},
        **{name: _held("metrics", key) for name, key in named.items()},
        **{name: _OWN[name] for name in _AFTER},
    }


def _spare(columns: Sequence[str], rows: Sequence[Sequence[Any]], sort: str) -> tuple[str, ...]:
    """Of the default columns those that are empty in all rows, then the metrics from the right, but not ``sort``."""
    empty = [name for at, name in enumerate(columns) if rows and all(row[at] is None or row[at] == () for row in rows)]
    shown = sort.removeprefix("-").removeprefix("metric:")
    metrics = [name for name in reversed(columns) if name not in {*_BEFORE, *_AFTER}]
    metrics = [name for name in metrics if not f"/{name}".endswith(f"/{shown}")]
    return tuple(dict.fromkeys((*empty, *metrics)))


def _chosen(lines: Sequence[_Line], columns: Sequence[str]) -> dict[str, _Value]:
    return {name: _column(lines, name) for name in dict.fromkeys(("version", *columns))}


def _column(lines: Sequence[_Line], name: str) -> _Value:
    """What a column's name stands for among these versions."""
    if name in _OWN:
        return _OWN[name]
    if not lines:
        return _stated(name)
    kind, mark, rest = name.partition(":")
    asked = {_PARTS[kind]: rest} if mark and kind in _PARTS else dict.fromkeys(_PARTS.values(), name)
    several: builtins.list[str] = []
    for part, key in asked.items():
        keys = _keys(lines, part)
        if key in keys:
            return _held(part, key)
        separator = _SEPARATORS.get(part)
        ends = [each for each in keys if separator and each.endswith(f"{separator}{key}")]
        if len(ends) == 1:
            return _held(part, ends[0])
        several += ends
    if several:
        raise CkptkitError(f"the column {name!r} could be {' or '.join(several[:4])}", "give one of these in full")
    raise CkptkitError(f"no version here has a column {name!r}", _close(lines, name))


def _close(lines: Sequence[_Line], name: str) -> str:
    import difflib

    known = [*_OWN, *(key for part in _PARTS.values() for key in _keys(lines, part))]
    short = {key.rpartition("/")[2].rpartition(".")[2]: key for key in known} | {key: key for key in known}
    close = [short[key] for key in difflib.get_close_matches(name, short, n=3, cutoff=0.5)]
    return f"did you mean {' or '.join(dict.fromkeys(close))}?" if close else f"there are {', '.join(known[:20])}"


def _sorted(lines: Sequence[_Line], sort: str, value: _Value) -> builtins.list[_Line]:
    name = sort.removeprefix("-")
    keyed = [((0, at, "") if name == "version" else _key(value(line)), line) for at, line in enumerate(lines)]
    present = [(key, line) for key, line in keyed if key is not None]
    missing = [line for key, line in keyed if key is None]
    present.sort(key=lambda pair: pair[0], reverse=sort != name)
    return [line for _, line in present] + missing


def _key(value: Any) -> tuple[int, float, str] | None:  # noqa: ANN401 - a plain value
    """Numbers before words; None for what has no place: nothing, NaN. ``1e-3`` is text in YAML 1.1, but a number."""
    if value is None or value == ():
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return (1, 0.0, " ".join(value) if isinstance(value, tuple) else str(value))
    except OverflowError:  # an integer beyond the floats
        number = math.inf if value > 0 else -math.inf
    return None if math.isnan(number) else (0, number, "")
