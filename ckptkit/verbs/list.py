"""The verb ``list``: which versions there are, and which of them is best, from the index alone."""

import builtins
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ckptkit import checkpoint, comparison, expression, index, names, references, registry, roots
from ckptkit.errors import CkptkitError, NotFoundError

METRICS = 6
"""Most metrics that are shown when no columns are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Versions as rows of plain values, in the order asked for; None where a version does not have the value.

    ``refs`` are the versions' references, one a row; ``unreadable`` says of each version whose record cannot be read
    why; ``pruned`` are the paths of files that are gone, and ``evaluated`` the metrics that were measured later, of the
    versions that have any; ``left_out`` are the metrics that the default columns have no room for; ``spare`` are those
    of the default columns that a narrow terminal can do without, in the order in which they go.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    refs: tuple[str, ...]
    unreadable: Mapping[str, str]
    pruned: Mapping[str, Sequence[str]]
    evaluated: Mapping[str, Sequence[str]]
    left_out: tuple[str, ...]
    spare: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A version; ``together`` are the versions that it stands for: itself, or those of its run."""

    ref: str
    aliases: tuple[str, ...]
    stage: str | None
    summary: Mapping[str, Any]
    together: tuple[str, ...]


_Value = Callable[[_Line], Any]


def list(
    model: str | None = None,
    *,
    root: str | os.PathLike[str] | None = None,
    sort: str | None = None,
    columns: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    stage: str | None = None,
    where: str | None = None,
    runs: bool = False,
    at: str | None = None,
) -> Table:
    """The versions of a registry, or of one model, as a table.

    A column is the version's own (``version``, ``seed``, ``size`` …), else a metric, else a hyperparameter, else a
    tag. A metric may be called by its name without the split (``loss`` for ``val/loss``) and a hyperparameter by the
    last part of its dotted key, where only one answers to that; ``metric:``, ``config:`` and ``tag:`` before a name
    say which is meant. The size of a version of which all was pruned is 0.

    Args:
        model: only this registered model.
        root: the registry root; see ``roots.default_root``.
        sort: a column to sort by, smallest first; with ``-`` before it largest first. NaN and missing values are last
            in both. Without it, by model and number.
        columns: what to show beside the version.
        tags: only versions that bear all of these.
        stage: only versions in this stage.
        where: only versions of which this holds, such as ``lr < 1e-3 and seed == 7``; see ``expression``.
        runs: of each run only the version that comes first by ``sort``, the newest without, and which versions it has.
        at: as of this time; see ``roots.moment``. Versions that are gone since have no values.

    Raises:
        CkptkitError: no version of the registry or model has such a column, or more than one thing answers to its name;
            ``where`` or ``at`` cannot be read, or there is no such stage.
        NotFoundError: there is no such registry or model.
    """
    everything = builtins.list(_lines(roots.default_root(root, Path.cwd()), model, at))
    tests = _tests(everything, tags or {}, stage, where)
    lines = [line for line in everything if all(test(line) for test in tests)]
    metrics = _keys(lines, "metrics")
    chosen = {name: _column(everything, name) for name in dict.fromkeys(("version", *columns))}
    chosen = chosen if columns else _default(lines, metrics)
    if sort is not None:
        lines = _sorted(lines, sort, _column(everything, sort.removeprefix("-")))
    if runs:
        lines = _runs(lines) if sort is not None else _runs(lines[::-1])[::-1]
        chosen = {name: _OWN[name] for name in ("version", "run", "versions")} | chosen
    rows = tuple(tuple(value(line) for value in chosen.values()) for line in lines)
    return Table(
        columns=tuple(chosen),
        rows=rows,
        refs=tuple(line.ref for line in lines),
        unreadable={line.ref: line.summary["unreadable"] for line in everything if "unreadable" in line.summary},
        pruned={line.ref: line.summary["pruned"] for line in lines if "pruned" in line.summary},
        evaluated={line.ref: line.summary["evaluated"] for line in lines if "evaluated" in line.summary},
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


def _lines(root: Path, model: str | None, at: str | None = None) -> Iterator[_Line]:
    known = index.load(root, None if at is None else roots.moment(at))
    models = known["models"]
    if model is not None:
        references.require_model(root, known, model)
    for name in sorted(models) if model is None else [model]:
        part = models[name]
        if model is not None and part["became"] and not part["versions"]:
            raise NotFoundError(f"the model {name!r} has no version", f"it is called {part['became']} now")
        aliases: dict[str, builtins.list[str]] = {}
        for alias, version in sorted(part["aliases"].items()):
            aliases.setdefault(version, []).append(alias)
        rows = {**part["versions"]}
        if at is not None:
            gone = {version: row for version, row in part["gone"].items() if not row["deleted"]}  # by then
            rows |= {version: row | {"unreadable": "it is not there any more"} for version, row in gone.items()}
        for version in sorted(rows, key=_number):
            yield _Line(
                ref=f"{name}/{version}",
                aliases=tuple(aliases.get(version, ())),
                stage=part["stages"].get(version),
                summary=rows[version],
                together=(version,),
            )


def _tests(
    lines: Sequence[_Line], tags: Mapping[str, str], stage: str | None, where: str | None
) -> builtins.list[Callable[[_Line], bool]]:
    """What versions have to pass to be listed."""
    tests: builtins.list[Callable[[_Line], bool]] = []
    if tags:
        tests.append(lambda line: tags.items() <= line.summary.get("tags", {}).items())
    if stage is not None:
        wanted = names.require_stage(stage)
        tests.append(lambda line: (line.stage or "none") == wanted)
    if where is not None:
        asked = expression.parse(where)
        values = {name: _CALLED.get(name) or _column(lines, name) for name in asked.names}
        tests.append(lambda line: asked.holds(lambda name: values[name](line)))
    return tests


def _runs(lines: Iterable[_Line]) -> builtins.list[_Line]:
    """Of each run of a model the first line, with all of its versions; one without a run stands alone."""
    runs: dict[tuple[str, ...], builtins.list[_Line]] = {}
    for line in lines:
        model, run = line.ref.partition("/")[0], line.summary.get("run")
        runs.setdefault((model, "", *line.together) if run is None else (model, run), []).append(line)
    return [
        replace(first, together=tuple(sorted((line.together[0] for line in (first, *others)), key=_number)))
        for first, *others in runs.values()
    ]


def _number(version: str) -> int:
    return names.folder_number(version) or 0


def _stated(key: str) -> _Value:
    return lambda line: line.summary.get(key)


def _held(part: str, key: str) -> _Value:
    return lambda line: line.summary.get(part, {}).get(key)


_OWN: Mapping[str, _Value] = {
    "version": lambda line: line.ref,
    "versions": lambda line: line.together,
    "alias": lambda line: line.aliases,
    "aliases": lambda line: line.aliases,
    "stage": lambda line: line.stage,
    "size": lambda line: 0 if _is_bare(line.summary) else line.summary.get("bytes"),
    **{name: _stated(name) for name in ("created", "step", "epoch", "seconds", "run", "commit", "dirty")},
    **{name: _stated(name) for name in ("parameters", "message", "digest", "observed", "seed")},
}


def _is_bare(row: Mapping[str, Any]) -> bool:
    """Whether all files of a version were pruned but ckptkit's own."""
    files, pruned = row.get("files", ()), row.get("pruned", ())
    return bool(pruned and files) and all(path in pruned or checkpoint.is_record(path) for path in files)


_CALLED: Mapping[str, _Value] = {"version": lambda line: (line.ref, *line.together, *map(_number, line.together))}
_PARTS = {"metric": "metrics", "config": "config", "tag": "tags"}
_SEPARATORS = {"metrics": "/", "config": ".", "tags": "/"}


def _keys(lines: Iterable[_Line], part: str) -> builtins.list[str]:
    return builtins.list(dict.fromkeys(key for line in lines for key in line.summary.get(part, {})))


_BEFORE, _AFTER = ("version", "aliases", "stage", "created", "seed"), ("size", "message")
_WORDS = {*_BEFORE, *_AFTER, "run", "versions"}


def _default(lines: Sequence[_Line], metrics: Sequence[str]) -> dict[str, _Value]:
    named = {f"metric:{key}" if key in _WORDS else key: key for key in metrics[:METRICS]}
    before = [name for name in _BEFORE if name != "stage" or any(line.stage for line in lines)]
    return {
        **{name: _OWN[name] for name in before},
        **{name: _held("metrics", key) for name, key in named.items()},
        **{name: _OWN[name] for name in _AFTER},
    }


def _spare(columns: Sequence[str], rows: Sequence[Sequence[Any]], sort: str) -> tuple[str, ...]:
    """Of the default columns those that are empty in all rows, then the metrics from the right, but not ``sort``."""
    empty = [name for at, name in enumerate(columns) if rows and all(row[at] is None or row[at] == () for row in rows)]
    shown = sort.removeprefix("-").removeprefix("metric:")
    metrics = [name for name in reversed(columns) if name not in _WORDS and not f"/{name}".endswith(f"/{shown}")]
    return tuple(dict.fromkeys((*empty, *metrics)))


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
        found = comparison.meant(key, _keys(lines, part), _SEPARATORS[part])
        if len(found) == 1:
            return _held(part, found[0])
        several += found
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
