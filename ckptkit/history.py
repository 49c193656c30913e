"""History: what the events of a model come to, now or at an earlier time. Pure: events in, facts out.

Events never change, so two copies of a registry are united by having the events of both. What two of them say of one
thing is settled here. An alias, the stage of a version and a description each are a chain in which an event names the
one that it followed; an event that nobody followed is a head, and of two heads, a fork, the later one wins. Whether a
version is alive its folder tells: events say what became of those that have none.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ckptkit import names
from ckptkit.record import Event

LIVES = frozenset({"saved", "deleted", "renumbered"})
"""The kinds that say which version has which number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a model's events say, by version as it is numbered now.

    ``saved`` is the first ``saved`` event of each version that ever was; ``deleted`` the last ``deleted`` event of
    each that was not saved since. ``digests`` are all digests that were ever saved under a number: more than one
    where two copies of the registry gave it to different versions. ``aliases`` lead to versions; ``stages`` are
    those other than ``none``; ``texts`` describe versions, and the model under "". ``evaluations`` are in the order
    of time; ``digested`` are the last ``digested`` events, by the name of their dataset; ``pruned`` are paths of
    files, of versions that were not saved anew since. ``heads`` are the heads of each chain, the one that holds
    last. ``last`` is the highest number that any event bears, 0 without one; ``became`` is the name that the model
    under this name was given.
    """

    saved: Mapping[str, Event]
    deleted: Mapping[str, Event]
    digests: Mapping[str, tuple[str, ...]]
    aliases: Mapping[str, str]
    stages: Mapping[str, str]
    texts: Mapping[str, str]
    evaluations: Mapping[str, tuple[Event, ...]]
    digested: Mapping[str, Mapping[str, Event]]
    pruned: Mapping[str, frozenset[str]]
    heads: Mapping[str, tuple[Event, ...]]
    last: int
    became: str | None


def state(events: Sequence[Event], until: str | None = None) -> State:
    """What the events come to.

    Args:
        events: all events of a model.
        until: only what had happened by then, in today's numbers; a time as events bear it, with six digits of
            fractions.
    """
    known = sorted((event for event in events if until is None or event.time <= until), key=order)
    now = renumbered(events)
    heads = _heads(known)
    holding = [events[-1] for events in heads.values()]
    stages = {number(event, now) or "": event.stage for event in holding if event.kind == "stage"}
    texts = {number(event, now) or "": event.text for event in holding if event.kind == "described"}
    aliases = {event.alias: number(event, now) for event in holding if event.kind == "alias" and event.alias}
    saved, deleted, digests, pruned = _lives(known, now)
    evaluations, digested = _additions(known, now)
    return State(
        saved=saved,
        deleted=deleted,
        digests=digests,
        aliases={alias: version for alias, version in sorted(aliases.items()) if version},
        stages={version: stage for version, stage in sorted(stages.items()) if stage and stage != "none"},
        texts={version: text for version, text in sorted(texts.items()) if text},
        evaluations=evaluations,
        digested=digested,
        pruned=pruned,
        heads=heads,
        last=max((_highest(event) for event in known), default=0),
        became=next((event.became for event in reversed(known) if event.kind == "renamed"), None),
    )


def by_digest(events: Iterable[Event]) -> State:
    """What events of two copies of a model come to, with digests for versions, of which two may have one number yet.

    Only ``saved``, ``deleted`` and ``pruned`` events count.
    """
    known = {event.id: event for event in events if event.kind in {"saved", "deleted", "pruned"}}
    return state([replace(event, version=event.digest) for event in known.values()])


def order(event: Event) -> tuple[str, str]:
    """The key by which events are sorted."""
    return event.time, event.id


def chain(event: Event) -> str | None:
    """The chain that an event belongs to, such as ``@champion``; None for the kinds that stand alone."""
    if event.kind == "alias":
        return f"@{event.alias}"
    if event.kind == "stage":
        return stage_chain(event.digest or "")
    if event.kind == "described":
        return text_chain(event.digest or "")
    return None


def stage_chain(digest: str) -> str:
    """The chain of the stage of the version with a digest."""
    return f"stage {digest}"


def text_chain(digest: str) -> str:
    """The chain of the description of the version with a digest; of the model's, with ""."""
    return f"text {digest}"


def renumbered(events: Iterable[Event]) -> dict[str, str]:
    """Today's number of each version that did not keep the one it was saved under, by digest."""
    return {
        event.digest: event.version
        for event in sorted(events, key=order)
        if event.kind == "renumbered" and event.digest and event.version
    }


def number(event: Event, numbers: Mapping[str, str]) -> str | None:
    """Today's number of the version that an event speaks of.

    Args:
        event: any event.
        numbers: what ``renumbered`` gives.
    """
    return numbers.get(event.digest or "", event.version)


def today(event: Event, numbers: Mapping[str, str]) -> Event:
    """The event with today's number of its version; see ``number``."""
    return replace(event, version=number(event, numbers))


def told(events: Iterable[Event]) -> dict[str, frozenset[str]]:
    """The digests of all versions that ever bore a number, by number."""
    found: dict[str, frozenset[str]] = {}
    for event in events:
        for version in {event.version, event.was} if event.kind in LIVES else ():
            if version and event.digest:
                found[version] = found.get(version, frozenset()) | {event.digest}
    return found


def _lives(
    known: Sequence[Event], now: Mapping[str, str]
) -> tuple[dict[str, Event], dict[str, Event], dict[str, tuple[str, ...]], dict[str, frozenset[str]]]:
    saved: dict[str, Event] = {}
    deleted: dict[str, Event] = {}
    digests: dict[str, tuple[str, ...]] = {}
    pruned: dict[str, frozenset[str]] = {}
    for event in known:
        version = number(event, now)
        if version is None:
            continue
        if event.kind == "saved":
            saved.setdefault(version, event)
            deleted.pop(version, None)
            pruned.pop(version, None)
            if event.digest and event.digest not in digests.get(version, ()):
                digests[version] = (*digests.get(version, ()), event.digest)
        elif event.kind == "deleted":
            deleted[version] = event
        elif event.kind == "pruned":
            pruned[version] = pruned.get(version, frozenset()) | {file.path for file in event.files}
    return saved, deleted, digests, pruned


def _additions(
    known: Sequence[Event], now: Mapping[str, str]
) -> tuple[dict[str, tuple[Event, ...]], dict[str, dict[str, Event]]]:
    evaluations: dict[str, tuple[Event, ...]] = {}
    digested: dict[str, dict[str, Event]] = {}
    for event in known:
        version = number(event, now)
        if event.kind == "evaluated" and version:
            evaluations[version] = (*evaluations.get(version, ()), event)
        elif event.kind == "digested" and version:
            digested.setdefault(version, {}).update({each.name: event for each in event.data if each.digest})
    return evaluations, digested


def _heads(known: Sequence[Event]) -> dict[str, tuple[Event, ...]]:
    """The events of each chain that no other followed, in the order of time, by chain."""
    followed = {previous for event in known for previous in (event.previous, *event.settles)}
    heads: dict[str, tuple[Event, ...]] = {}
    for event in known:
        key = chain(event)
        if key is not None and event.id not in followed:
            heads[key] = (*heads.get(key, ()), event)
    return dict(sorted(heads.items()))


def _highest(event: Event) -> int:
    return max(names.counted(event.version), names.counted(event.was))
