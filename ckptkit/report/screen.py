"""The screen of ``show``: a version's data, code, hyperparameters and compute, as text and as JSON."""

import shlex
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from ckptkit import references
from ckptkit.checkpoint import Unreadable
from ckptkit.record import Lineage
from ckptkit.report.answers import LONG, answers
from ckptkit.report.results import MOST
from ckptkit.verbs.show import Shown
from ckptkit.words import cells, cut, inert, moment, short, span, wrap

_LABEL = 11
_BOLD, _DIM, _RED, _YELLOW, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[33m", "\x1b[0m"


def screen(shown: Shown, *, now: datetime, width: int, colour: bool) -> str:
    """A version on one screen: which data, code, hyperparameters and compute, and what came of it.

    Args:
        shown: what ``show`` returned.
        now: the present, for ``saved 2 days ago``.
        width: the cells of a line, where its words let themselves be parted.
        colour: whether the terminal shows colours.
    """
    ref = shlex.quote(shown.asked if references.is_path(shown.asked) else shown.version.ref)
    lines = _header(shown, now, width, _BOLD if colour else "")
    if shown.damage:
        lines += _lines("damaged", [shown.damage, f"see `ckptkit check {ref}`"], width, _RED if colour else "")
    if isinstance(shown.lineage, Unreadable):
        words = [f"cannot be read: {shown.lineage.reason}", shown.lineage.hint]
        return "\n".join([*lines, *_lines("lineage", filter(None, words), width, _RED if colour else "")])
    for label, parts in answers(shown, shown.lineage):
        lines += _lines(label, parts, width, _DIM if colour else "")
    for fact, style in _unknown(shown, shown.lineage):
        lines += _lines("unknown", [fact], width, style if colour else "")
    files = [file.path for file in shown.lineage.weights.files if file.path not in shown.pruned]
    if shown.pruned and not files:
        return "\n".join(lines)
    one = f" {shlex.quote(files[0])}" if len(files) == 1 else ""
    load = inert(f"W=$(ckptkit path {ref}{one}) || exit 1")  # never parted: it is to be copied
    return "\n".join([*lines, _label("load", _DIM if colour else "") + load])


def _header(shown: Shown, now: datetime, width: int, style: str) -> list[str]:
    """The reference, its aliases and its stage; when it was saved stands at the end, or below for want of room."""
    saved = moment(shown.saved or (shown.lineage.created if isinstance(shown.lineage, Lineage) else None))
    marks = [*(f"@{alias}" for alias in shown.aliases), *([shown.stage] if shown.stage else [])]
    left = inert("  ".join([shown.version.ref, *marks]))
    right = f"saved {_ago(saved, now)}  {short(shown.version.digest)}" if saved else short(shown.version.digest)
    gap = width - cells(left) - cells(right)
    lines = [f"{style}{line}{_PLAIN if style else ''}" for line in wrap(left, width)]
    return [f"{lines[0]}{' ' * gap}{right}"] if gap > 1 else [*lines, f"  {right}"]


def _ago(saved: datetime, now: datetime) -> str:
    seconds = (now - saved).total_seconds()
    if seconds < 0:  # a clock is wrong
        return f"on {saved:%Y-%m-%d}"
    return f"{span(seconds)} ago" if seconds >= 60 else "just now"  # noqa: PLR2004 - a minute


def _lines(label: str, parts: Iterable[str], width: int, style: str) -> list[str]:
    """A labelled line; where it is too long it goes on below, parted between its parts or else between words."""
    lines: list[str] = []
    for part in parts:
        text = inert(cut(part, 2 * LONG))
        if lines and _LABEL + cells(lines[-1]) + 3 + cells(text) <= width:
            lines[-1] += f" · {text}"
        else:
            lines += wrap(text, width - _LABEL)
    return [f"{' ' * _LABEL if at else _label(label, style)}{line}" for at, line in enumerate(lines)]


def _label(label: str, style: str) -> str:
    return f"  {style}{label:{_LABEL - 2}}{_PLAIN if style else ''}"


_NOT_SHOWN = (
    "weights.identical_to",  # earlier versions are not what this one is made of
    "compute.container.image",  # hardly any container tells
)


def _unknown(shown: Shown, lineage: Lineage) -> Iterator[tuple[str, str]]:
    """The facts that could not be had, those of one reason together, each line with its style.

    Whether something changed during the run is seldom known: one dim line is enough of that.
    """
    reasons: dict[str, list[str]] = {}
    axes: dict[str, None] = {}
    later = {f"data.{name}.digest": event.unknown for name, event in shown.digested.items()}
    facts = {fact: why for fact, why in lineage.unknown.items() if fact not in later}
    facts |= {fact: unknown[fact] for fact, unknown in later.items() if fact in unknown}
    for fact, why in facts.items():
        if fact.endswith(".changed_during_run"):
            axes[fact.partition(".")[0]] = None
        elif fact not in _NOT_SHOWN:
            reasons.setdefault(why, []).append(fact)
    for why, told in list(reasons.items())[:MOST]:
        yield f"{', '.join(told)}: {why}", _YELLOW
    if len(reasons) > MOST:
        yield f"{len(reasons) - MOST} more reasons in lineage.json", _YELLOW
    if lineage.redacted:
        yield f"secrets were left out of {', '.join(lineage.redacted)}", _DIM
    if axes:
        yield f"whether {' or '.join(axes)} changed while it ran", _DIM


def shown_document(shown: Shown) -> dict[str, Any]:
    """A version as JSON types; where ``lineage`` is null, ``unreadable`` says why."""
    lineage = shown.lineage
    return {
        "schema": "ckptkit/show/1",
        "ref": shown.version.ref,
        "path": str(shown.version.path),
        "digest": shown.version.digest,
        "aliases": list(shown.aliases),
        "stage": shown.stage or "none",
        "description": shown.text,
        "saved": shown.saved,
        "damage": shown.damage,
        "pruned": list(shown.pruned),
        "unreadable": lineage.reason if isinstance(lineage, Unreadable) else None,
        "lineage": None if isinstance(lineage, Unreadable) else lineage.to_dict(),
        "evaluations": [event.to_dict() for event in shown.evaluations],
        "digested": {name: event.to_dict() for name, event in shown.digested.items()},
    }
