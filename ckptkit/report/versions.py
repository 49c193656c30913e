"""The table of ``list``, as text, CSV and JSON; ``show`` has its own room, ``screen``."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ckptkit import names
from ckptkit.verbs.list import Table
from ckptkit.words import cells, cut, figure, inert, short, size, span, wrap

_BOLD, _RED, _PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[0m"
_NO_NUMBERS = (None, "NaN", "Infinity", "-Infinity")


def table(table: Table, *, width: int | None, colour: bool) -> str:
    """The table for people: numbers to the right; columns go, then words are cut, so that a line fits.

    Args:
        table: what ``list`` returned.
        width: cells of the terminal; None cuts nothing.
        colour: whether the terminal shows colours.
    """
    every = [_column(table, at) for at in range(len(table.columns))]
    columns = _fitting(every, table.spare, width)
    lines = _grid(columns, width) if table.rows else ["no versions"]
    if colour:
        lines[0] = f"{_BOLD}{lines[0]}{_PLAIN}"
    missing = [*(column.name for column in every if column not in columns), *table.left_out]
    if missing:
        words = inert(f"not shown: {', '.join(missing)} (name them with --columns)")
        lines += [words] if width is None else wrap(words, width)
    for ref, why in table.unreadable.items():
        words = inert(f"{ref} cannot be read: {why}")
        lines.append(f"{_RED}{words}{_PLAIN}" if colour else words)
    return "\n".join(lines)


_WHOLE = ("version", "aliases", "created")
_NARROW = 8
"""Cells that a column of words keeps, however narrow the terminal is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column's cells below its name, whether they are numbers, and how wide it is at most and at least."""

    name: str
    texts: tuple[str, ...]
    number: bool
    most: int
    least: int


def _column(table: Table, at: int) -> _Column:
    name, values = table.columns[at], [row[at] for row in table.rows]
    texts = (inert(name), *_texts(table, at))
    number, most = all(map(_is_number, values)), max(map(cells, texts))
    least = most if number or name in _WHOLE else min(most, _NARROW)
    return _Column(name=name, texts=texts, number=number, most=most, least=least)


def _texts(table: Table, at: int) -> Iterator[str]:
    """The cells of a column; a size says what was saved, which is not what is left of a pruned version."""
    name = table.columns[at]
    for ref, row in zip(table.refs, table.rows, strict=True):
        if name == "size" and ref in table.pruned:
            yield "partly pruned" if row[at] else "pruned"
        else:
            yield _cell(name, row[at])


def _is_number(value: Any) -> bool:  # noqa: ANN401 - a plain value
    return (isinstance(value, int | float) and not isinstance(value, bool)) or value in _NO_NUMBERS


def _cell(name: str, value: Any) -> str:  # noqa: ANN401 - a plain value
    if value is None or value == ():
        return "-"
    if isinstance(value, tuple):
        return inert(_range(value) if name == "versions" else " ".join(f"@{alias}" for alias in value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in _SHORTLY and isinstance(value, _SHORTLY[name][0]):
        return inert(_SHORTLY[name][1](value))
    return inert(figure(value))


def _range(versions: Sequence[str]) -> str:
    """``v0003-v0007``, or how many of these there are."""
    first, last = versions[0], versions[-1]
    if first == last:
        return first
    missing = (names.folder_number(last) or 0) - (names.folder_number(first) or 0) + 1 - len(versions)
    return f"{len(versions)} of {first}-{last}" if missing else f"{first}-{last}"


_SHORTLY: dict[str, tuple[Any, Any]] = {
    "size": (int, size),
    "seconds": (int | float, span),
    "created": (str, lambda time: time[:16].replace("T", " ")),
    "digest": (str, short),
    "commit": (str, short),
}


def _fitting(columns: Sequence[_Column], spare: Sequence[str], width: int | None) -> list[_Column]:
    """The columns less as many of the spare ones as have to go."""
    kept = list(columns)
    for name in spare:
        if _over((column.least for column in kept), width) <= 0:
            break
        kept = [column for column in kept if column.name != name]
    return kept


def _over(widths: Iterable[int], width: int | None) -> int:
    """By how many cells a line is too long."""
    return 0 if width is None else sum(2 + each for each in widths) - 2 - width


def _grid(columns: Sequence[_Column], width: int | None) -> list[str]:
    """The lines; the last columns of words, such as the message, give way first, the version never."""
    widths = [column.most for column in columns]
    for at in reversed(range(len(widths))):
        widths[at] = max(columns[at].least, widths[at] - max(0, _over(widths, width)))
    return [_aligned(line, widths, columns) for line in zip(*(column.texts for column in columns), strict=True)]


def _aligned(line: Sequence[str], widths: Sequence[int], columns: Sequence[_Column]) -> str:
    parts = []
    for text, width, column in zip(line, widths, columns, strict=True):
        fitting = cut(text, width)
        gap = " " * (width - cells(fitting))
        parts.append(gap + fitting if column.number else fitting + gap)
    return "  ".join(parts).rstrip()


def csv(table: Table) -> str:
    """The table as comma-separated values, unrounded; empty where a version does not have the value."""
    import io
    from csv import writer

    out = io.StringIO()
    lines = writer(out, lineterminator="\n")
    lines.writerow(map(_raw, table.columns))
    lines.writerows(map(_raw, row) for row in table.rows)
    return out.getvalue()


def _raw(value: Any) -> Any:  # noqa: ANN401 - a plain value
    if isinstance(value, tuple):
        return inert(" ".join(value))
    return "\n".join(map(inert, value.split("\n"))) if isinstance(value, str) else value


def rows(table: Table) -> dict[str, Any]:
    """The table as JSON types, an object for each version."""
    return {
        "schema": "ckptkit/list/1",
        "columns": list(table.columns),
        "versions": [dict(zip(table.columns, row, strict=True)) for row in table.rows],
        "unreadable": dict(table.unreadable),
        "pruned": {ref: list(paths) for ref, paths in table.pruned.items()},
        "evaluated": {ref: list(metrics) for ref, metrics in table.evaluated.items()},
    }
