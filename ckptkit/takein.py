"""Taking in: what stands in a model's folder and not yet in its history is written there, if it verifies."""

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ckptkit import checkpoint, disk, documents, history, names, publication, registry
from ckptkit.errors import FormatError
from ckptkit.record import Event
from ckptkit.registry import Model

_READ = "unrecorded.json"


def verified(folder: Path, versions: Sequence[str], *, anew: bool = False) -> dict[str, str]:
    """Those of some versions without a ``saved`` event that verify, with their digests, for ``take_in``.

    This reads every byte, so it is done before the root's lock is taken. What came of it is remembered, and a version
    not read again before one of its files changes.

    Args:
        folder: the model's folder.
        versions: the versions without an event.
        anew: read also those that are remembered.
    """
    if not versions:
        return {}
    memory = folder.parent / registry.HOME / _READ
    known = _recall(memory)
    found = {ref: line for ref, line in known.items() if not ref.startswith(f"{folder.name}/")}
    for version in versions:
        ref, state = f"{folder.name}/{version}", fingerprint(folder / version)
        line = known.get(ref)
        if anew or not isinstance(line, dict) or line.get("state") != state:
            line = {"state": state, "digest": _digest(folder / version)}
        found[ref] = line
    if found != known and memory.parent.is_dir():
        with contextlib.suppress(OSError):  # without a memory it costs time alone
            disk.replace(memory, documents.dump_json(found))
    digests = {version: found[f"{folder.name}/{version}"]["digest"] for version in versions}
    return {version: digest for version, digest in digests.items() if digest}


def _recall(memory: Path) -> dict[str, Any]:
    try:
        known = documents.load_json(disk.read_regular(memory))
    except FormatError:
        return {}
    return known if isinstance(known, dict) else {}


def fingerprint(folder: Path) -> list[int]:
    """How many names a folder holds at any depth, their bytes, and when the last of them changed, in ns."""
    count, size, newest = 0, 0, 0
    for place, _, files in os.walk(folder):
        for path in (place, *(os.path.join(place, name) for name in files)):  # noqa: PTH118 - a str, many times
            with contextlib.suppress(OSError):
                status = os.lstat(path)
                count, size, newest = count + 1, size + status.st_size, max(newest, status.st_ctime_ns)
    return [count, size, newest]


def _digest(folder: Path) -> str | None:
    """The digest of a version whose files are, to the byte, those of its SHA256SUMS; else None."""
    read = checkpoint.read(folder, deep=True)
    whole = isinstance(read.sums, Mapping) and dict(read.hashed) == dict(read.sums)
    return read.digest if whole else None


def take_in(model: Model, digests: Mapping[str, str]) -> list[Event]:
    """Write the missing events of versions that verified; returns what was written.

    Drafts that a dead process left in the history are written first, for versions that are the ones they speak of. The
    caller holds the root's lock.

    Args:
        model: as read under the lock.
        digests: what ``verified`` gave before the lock was taken.
    """
    written = _take_in_drafts(model)
    if written:
        model = registry.read_model(model.path)
    for event in missing(model, digests):
        (model.path / registry.HISTORY).mkdir(exist_ok=True)
        disk.create(model.path / registry.HISTORY / f"{event.id}.json", documents.dump_json(event.to_dict()))
        written.append(event)
    return written


def missing(model: Model, digests: Mapping[str, str]) -> list[Event]:
    """The events by which versions come to be saved under the numbers that their folders bear.

    That is a ``saved`` event, also where an earlier version of this digest was deleted; where the version stands in the
    history under another number, and its folder is no more there, a ``renumbered`` one. A second copy of a version that
    is there gets none, nor what stands under a number that was another version's.

    Args:
        model: the model, whose events may be more than those on disk.
        digests: the digest of each version that is to be saved.
    """
    told = [event for event in model.events if event.kind in _LIVES]
    numbers, bore = history.renumbered(told), bearers(told)
    out: list[Event] = []

    def say(kind: str, version: str, **facts: str) -> None:
        last = max((*told, *out), key=history.order, default=None)
        out.append(registry.new_event(kind, model.name, version, after=last, **facts))

    places: dict[str, list[str]] = {}
    for number, known in model.state.digests.items():
        for digest in known:
            places.setdefault(digest, []).append(number)
    for version, digest in digests.items():
        standing = places.get(digest, [])
        if standing == [version] or not is_sealed(model.path / version, digest):
            continue
        elsewhere = [number for number in standing if number != version]
        if any(is_sealed(model.path / number, digest) for number in elsewhere):
            continue
        if digest not in bore.get(version, {digest}):
            continue
        if not standing:
            say("saved", version, digest=digest)
        was = [*elsewhere, numbers.get(digest, version)][0]
        if was != version:
            say("renumbered", version, was=was, digest=digest)
        places[digest] = [version]
    return out


_LIVES = frozenset({"saved", "deleted", "renumbered"})


def bearers(events: Iterable[Event]) -> dict[str, set[str | None]]:
    """The digests of all versions that ever bore a number, by number."""
    found: dict[str, set[str | None]] = {}
    for event in events:
        for number in (event.version, event.was):
            if number and event.kind in _LIVES:
                found.setdefault(number, set()).add(event.digest)
    return found


def deleted(events: Iterable[Event]) -> dict[str, Event]:
    """The last ``deleted`` event of each version that was not saved since, by digest.

    Args:
        events: in the order of time.
    """
    found: dict[str, Event] = {}
    for event in events:
        if event.kind == "deleted" and event.digest:
            found[event.digest] = event
        elif event.kind == "saved" and event.digest:
            found.pop(event.digest, None)
    return found


class Numbers:
    """Here's numbers for versions of another copy of a model: theirs, or new ones where these are other versions'.

    ``changed`` are the numbers there of those that got another one.
    """

    def __init__(self, here: Model, theirs: Model, at: Mapping[str, str]) -> None:
        """Begin with what events say, and with the folders here by digest, ``at``."""
        self.changed: dict[str, str] = {}
        self._known = {event.digest: event.version for event in here.events if event.kind in _LIVES}
        for numbers in (history.renumbered(here.events), at):
            self._known.update(numbers.items())
        self._bore = bearers(here.events)
        folders = {version: digest for digest, version in at.items()}
        for version in here.versions:
            self._bore.setdefault(version, set()).add(folders.get(version))
        self._last = max(here.last, theirs.last)

    def __contains__(self, digest: str) -> bool:
        """Whether a version was ever here."""
        return digest in self._known

    def of(self, digest: str, version: str) -> str:
        """The number here of a version that is ``version`` there."""
        number = self._known.get(digest) or version
        if self._bore.get(number, {digest}) != {digest}:
            self._last += 1
            number = names.version_name(self._last)
        self._bore.setdefault(number, set()).add(digest)
        self._known[digest] = number
        if number != version:
            self.changed[version] = number
        return number

    def lose(self, number: str) -> None:
        """Give a number up that another process has taken."""
        self._bore[number].add(None)


def settling(here: Model, theirs: Model, at: Mapping[str, str], numbers: Numbers) -> list[Event]:
    """The events by which both histories, united, say what the folders here say.

    Versions of there that have no folder here, such as deleted ones, get another number where theirs is another
    version's here; what was deleted here stays so; every folder here is saved under its number.

    Args:
        here: the model, as it was before folders came.
        theirs: the other copy of it.
        at: the folders here by digest, with those that came.
        numbers: with the digests of those.
    """
    both = _joined(here, theirs.events)
    last = max(both.events, key=history.order, default=None)
    out = []
    said = {event.digest: version for version, event in theirs.state.deleted.items()}
    said |= {digest: version for version, known in theirs.state.digests.items() for digest in known}
    for digest, version in said.items():
        if digest and digest not in numbers and (new := numbers.of(digest, version)) != version:
            out.append(registry.new_event("renumbered", here.name, new, after=last, was=version, digest=digest))
    stay = deleted(both.events).keys() | at.keys()
    for digest, event in deleted(here.events).items():
        if digest not in stay:  # there it is, or it was merged back into a copy of there
            facts = {"digest": digest, "files": event.files, "reason": event.reason}
            out.append(registry.new_event("deleted", here.name, event.version, after=last, **facts))
    both = _joined(both, out)
    saved = {digest for known in both.state.digests.values() for digest in known}
    folders = {version: digest for digest, version in at.items()}
    arrived = folders.keys() - set(here.versions)
    sound = {v: digest for v, digest in folders.items() if v in here.state.saved or v in arrived or digest in saved}
    return out + missing(both, sound)


def _joined(model: Model, events: Iterable[Event]) -> Model:
    """A model with further events."""
    known = {event.id: event for event in (*events, *model.events)}
    every = sorted(known.values(), key=history.order)
    return replace(model, events=tuple(every), state=history.state(every))


def _take_in_drafts(model: Model) -> list[Event]:

    folder = model.path / registry.HISTORY
    ready: dict[str, list[Event]] = {}
    for name in registry.names_in(folder):
        event = registry.read_event(folder / name) if name.startswith(".") and name.endswith(".json") else None
        if not isinstance(event, Event):
            continue
        if event.version and event.digest and is_sealed(model.path / event.version, event.digest):
            ready.setdefault(event.version, []).append(event)
            continue
        with contextlib.suppress(OSError):
            if disk.is_old(folder / name):  # its version was never published
                (folder / name).unlink()
    return [event for events in ready.values() for event in publication.write_drafts(folder, events)[0]]


def is_sealed(folder: Path, digest: str) -> bool:
    """Whether a version folder is there and its digest this one."""
    try:
        return registry.digest_of(folder) == digest
    except FormatError:
        return False
