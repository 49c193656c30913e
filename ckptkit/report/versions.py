"""The table of ``list`` and the answer of ``index``, as text, CSV and JSON; ``show`` has its own room, ``screen``."""

from collections.abc import Sequence
from typing import Any

from ckptkit import index
from ckptkit.report.words import cells, count, cut, inert, short, size, span
from ckptkit.verbs.index import Rebuilt
from ckptkit.verbs.list import Table

_BOLD, _RED, _PLAIN = "\x1b[1m", "\x1b[31m", "\x1b[0m"
_NO_NUMBERS = (None, "NaN", "Infinity", "-Infinity")


def table(table: Table, *, width: int | None, colour: bool) -> str:
    """The table for people: numbers to the right, words cut so that a line fits.

    Args:
        table: what ``list`` returned.
        width: cells of the terminal; None cuts nothing.
        colour: whether the terminal shows colours.
    """
    lines = _grid(table, width) if table.rows else ["no versions"]
    if colour:
        lines[0] = f"{_BOLD}{lines[0]}{_PLAIN}"
    if table.left_out:
        lines.append(inert(f"not shown: {', '.join(table.left_out)} (name them with --columns)"))
    for ref, why in table.unreadable.items():
        words = inert(f"{ref} cannot be read: {why}")
        lines.append(f"{_RED}{words}{_PLAIN}" if colour else words)
    return "\n".join(lines)


def _grid(table: Table, width: int | None) -> list[str]:
    lines = [[inert(name) for name in table.columns]]
    lines += [[_cell(name, value) for name, value in zip(table.columns, row, strict=True)] for row in table.rows]
    right = [all(_is_number(row[at]) for row in table.rows) for at in range(len(table.columns))]
    widths = _widths(lines, right, width)
    return [_aligned(line, widths, right) for line in lines]


def _is_number(value: Any) -> bool:  # noqa: ANN401 - a plain value
    return (isinstance(value, int | float) and not isinstance(value, bool)) or value in _NO_NUMBERS


def _cell(name: str, value: Any) -> str:  # noqa: ANN401 - a plain value
    if value is None or value == ():
        return "-"
    if isinstance(value, tuple):
        return inert(" ".join(f"@{alias}" for alias in value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in _SHORTLY and isinstance(value, _SHORTLY[name][0]):
        return inert(_SHORTLY[name][1](value))
    return inert(index.shown(value))


_SHORTLY: dict[str, tuple[Any, Any]] = {
    "size": (int, size),
    "seconds": (int | float, span),
    "created": (str, lambda time: time[:16].replace("T", " ")),
    "digest": (str, short),
    "commit": (str, short),
}
_NARROW = 8
"""Cells that a column of words keeps, however narrow the terminal is."""


def _widths(lines: Sequence[Sequence[str]], right: Sequence[bool], width: int | None) -> list[int]:
    """A width for each column; the last ones of words, such as the message, give way first, the version never."""
    widths = [max(cells(line[at]) for line in lines) for at in range(len(right))]
    for at in reversed(range(1, len(widths))):
        over = 0 if width is None else sum(widths) + 2 * (len(widths) - 1) - width
        if over > 0 and not right[at]:
            widths[at] = max(min(widths[at], _NARROW), widths[at] - over)
    return widths


def _aligned(line: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    parts = []
    for text, width, number in zip(line, widths, right, strict=True):
        fitting = cut(text, width)
        gap = " " * (width - cells(fitting))
        parts.append(gap + fitting if number else fitting + gap)
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
    }


def rebuilt(done: Rebuilt) -> str:
    """What ``index`` found and changed, for people."""
    lines = [f"{count(done.models, 'model')}, {count(done.versions, 'version')}"]
    lines += [f"written: {name}" for name in done.written]
    lines += [f"link {words}: {link}" for link, words in done.links.items()]
    lines += [f"taken in: {ref}" for ref in done.taken_in]
    lines += [f"{ref} cannot be read: {why}" for ref, why in done.unreadable.items()]
    return "\n".join(map(inert, lines))


def rebuilt_document(done: Rebuilt) -> dict[str, Any]:
    """What ``index`` found and changed, as JSON types."""
    return {
        "schema": "ckptkit/rebuilt/1",
        "models": done.models,
        "versions": done.versions,
        "written": list(done.written),
        "links": dict(done.links),
        "taken_in": list(done.taken_in),
        "unreadable": dict(done.unreadable),
    }
