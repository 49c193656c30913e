"""The part of a card that tells what was measured after the save. It stands between two marks; the rest is people's."""

import re
from collections.abc import Iterator, Sequence

from ckptkit.markdown import closed, code, table, text
from ckptkit.model_card.results import measure
from ckptkit.record import Event, Metric
from ckptkit.words import short

_BEGIN = "<!-- ckptkit: later evaluations, written anew by `ckptkit eval` -->"
_END = "<!-- ckptkit: end of later evaluations -->"
_BLOCK = re.compile(
    rf"^{re.escape(_BEGIN)}[ \t]*\r?$(?:(?!^{re.escape(_BEGIN)}).)*?^{re.escape(_END)}[ \t]*(?=\r?$)",
    re.MULTILINE | re.DOTALL,
)
_MOST = 100
"""Most rows of the table."""


def put(card: str, events: Sequence[Event]) -> str:
    """A card with all later evaluations in it.

    They stand where they stood before, else at the end. A mark that has lost its other half is taken for text.

    Args:
        card: the text of the card, with its own ends of lines.
        events: all ``evaluated`` events of the version in the order of time, at least one.
    """
    newline = "\r\n" if "\r\n" in card else "\n"
    block = _block(events).replace("\n", newline)
    if _BLOCK.search(card):
        return _BLOCK.sub(lambda _: block, card, count=1)
    whole = closed(card)
    ended = whole if not whole or whole.endswith("\n") else f"{whole}{newline}"
    return f"{ended}{newline if ended else ''}{block}{newline}"


def _block(events: Sequence[Event]) -> str:
    rows = [row for event in reversed(events) for row in _rows(event)]
    more = [f"There are {len(rows) - _MOST:,} earlier ones."] if len(rows) > _MOST else []
    parts = (
        _BEGIN,
        "## Later Evaluations",
        "Measured after this version was saved, newest first; `history/` beside its folder has the whole record.",
        table(("Time", "Metric", "Value", "Split", "n", "Data", "Commit"), rows[:_MOST]),
        *more,
        _END,
    )
    return "\n\n".join(parts)


def _rows(event: Event) -> Iterator[tuple[str, ...]]:
    data = [f"{code(each.name)} {code(short(each.digest)) if each.digest else 'no digest'}" for each in event.data]
    for name, metric in event.metrics.items():
        yield (
            f"{event.time[:19]}Z",
            text(measure(name, metric)),
            _value(metric),
            text(metric.split or "not recorded"),
            "not recorded" if metric.n is None else f"{metric.n:,}",
            ", ".join(data) or "none declared",
            _commit(event),
        )


def _value(metric: Metric) -> str:
    return f"{metric.value:.6g}" if isinstance(metric.value, float) else str(metric.value)


def _commit(event: Event) -> str:
    tree = event.code.repository if event.code else None
    if tree is None or tree.commit is None:
        return "not known"
    return f"{code(short(tree.commit))}{', with changes' if tree.dirty else ''}"
