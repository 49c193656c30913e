"""Where aliases and stages were moved, as text and JSON."""

from collections.abc import Iterator, Sequence
from typing import Any

from ckptkit.record import Event
from ckptkit.verbs.alias import Moved
from ckptkit.verbs.stage import Staged
from ckptkit.words import inert

_NOWHERE = "nothing"


def moved(done: Moved) -> str:
    """One line on what became of an alias."""
    name = f"{done.model}@{done.alias}"
    if done.before == done.after:
        return inert(f"{name} stands on {done.after or _NOWHERE} already")
    return inert(f"{name}: {done.before or _NOWHERE} → {done.after or _NOWHERE}")


def moved_document(done: Moved) -> dict[str, Any]:
    """What became of an alias, as JSON types."""
    return {
        "schema": "ckptkit/alias/1",
        "alias": f"{done.model}@{done.alias}",
        "before": done.before,
        "after": done.after,
        "warnings": list(done.warnings),
    }


def log(events: Sequence[Event]) -> str:
    """A line for each move of an alias: when, from where to where, and why."""
    lines = []
    for event, before in _steps(events):
        words = (
            f"{event.time[:19].replace('T', ' ')}  @{event.alias}: {before or _NOWHERE} → {event.version or _NOWHERE}"
        )
        lines.append(inert(f"{words}  {event.reason}" if event.reason else words))
    return "\n".join(lines)


def log_document(events: Sequence[Event]) -> dict[str, Any]:
    """The moves of aliases, as JSON types."""
    return {
        "schema": "ckptkit/alias-log/1",
        "moves": [
            {
                "time": event.time,
                "alias": event.alias,
                "before": before,
                "after": event.version,
                "digest": event.digest,
                "reason": event.reason,
                "event": event.id,
            }
            for event, before in _steps(events)
        ],
    }


def _steps(events: Sequence[Event]) -> Iterator[tuple[Event, str | None]]:
    """Each event, and where the alias stood that it moved."""
    known = {event.id: event for event in events}
    for event in events:
        before = known.get(event.previous or "")
        yield event, before.version if before else None


def staged(done: Staged) -> str:
    """A line for each version whose stage was set."""
    lines = [
        f"{ref} is in {after} already" if before == after else f"{ref}: {before} → {after}"
        for ref, (before, after) in done.moves.items()
    ]
    return "\n".join(map(inert, lines))


def staged_document(done: Staged) -> dict[str, Any]:
    """The stages that were set, as JSON types."""
    return {
        "schema": "ckptkit/stage/1",
        "moves": [{"ref": ref, "before": before, "after": after} for ref, (before, after) in done.moves.items()],
        "warnings": list(done.warnings),
    }
