"""Taking in: what stands in a model's folder and not yet in its history is written there, if it verifies."""

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ckptkit import checkpoint, disk, documents, history, publication, registry
from ckptkit.errors import FormatError
from ckptkit.record import Event, SealedFile
from ckptkit.registry import Model

_READ = "unrecorded.json"


def verified(
    folder: Path,
    versions: Sequence[str],
    *,
    anew: bool = False,
    pruned: Mapping[str, Collection[str]] | None = None,
) -> dict[str, str]:
    """Those of some versions that are not in the history which verify, with their digests, for ``take_in``.

    This reads every byte, so it is done before the root's lock is taken. What came of it is remembered, and a version
    not read again before one of its files changes.

    Args:
        folder: the model's folder.
        versions: the versions in question.
        anew: read also those that are remembered.
        pruned: the files that may be missing, by version.
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
            line = {"state": state, "digest": _digest(folder / version, (pruned or {}).get(version, ()))}
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


def _digest(folder: Path, pruned: Collection[str]) -> str | None:
    """The digest of a version whose files are, to the byte, those of its SHA256SUMS but for pruned ones; else None."""
    read = checkpoint.read(folder, deep=True)
    if not isinstance(read.sums, Mapping):
        return None
    wanted = {path: sha256 for path, sha256 in read.sums.items() if path not in pruned or path in read.entries}
    return read.digest if dict(read.hashed) == wanted else None


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
    for event in reversed(list(_missing(model, digests))):  # the absence of the first is what is looked for
        (model.path / registry.HISTORY).mkdir(exist_ok=True)
        disk.create(model.path / registry.HISTORY / f"{event.id}.json", documents.dump_json(event.to_dict()))
        written.append(event)
    return written


def _missing(model: Model, digests: Mapping[str, str]) -> Iterator[Event]:
    """The events by which versions come to be saved under the numbers that their folders bear.

    That is a ``saved`` event, also where the version was deleted, followed by what of it is still pruned; where it
    stands in the history under another number, and its folder is no more there, a ``renumbered`` one. A second copy of
    a version that is there gets none, nor what stands under a number that was another version's.
    """
    told, numbers = history.told(model.events), history.renumbered(model.events)
    latest = {event.digest: event for event in model.events}
    places: dict[str, list[str]] = {}
    for number, known in model.state.digests.items():
        for digest in known:
            places.setdefault(digest, []).append(number)

    def say(kind: str, version: str, digest: str, **facts: Any) -> Event:  # noqa: ANN401 - fields of Event
        after = latest.get(digest)
        latest[digest] = registry.new_event(kind, model.name, version, after=after, digest=digest, **facts)
        return latest[digest]

    for version, digest in digests.items():
        standing = places.get(digest, [])
        elsewhere = [number for number in standing if number != version]
        if not is_sealed(model.path / version, digest) or digest not in told.get(version, {digest}):
            continue
        if any(is_sealed(model.path / number, digest) for number in elsewhere):
            continue
        gone = model.state.deleted.get(version)
        if not standing or (gone and gone.digest == digest):
            yield say("saved", version, digest)
            if lacking := _lacking(model, version, digest):
                yield say("pruned", version, digest, files=lacking)
        if version not in standing and (was := [*elsewhere, numbers.get(digest, version)][0]) != version:
            yield say("renumbered", version, digest, was=was)
        places[digest] = [version]


def _lacking(model: Model, version: str, digest: str) -> tuple[SealedFile, ...]:
    """The files of a version that were pruned and are not here."""
    said = (event for event in model.events if event.kind == "pruned" and event.digest == digest)
    files = {file.path: file for event in said for file in event.files}
    return tuple(file for path, file in files.items() if not os.path.lexists(model.path / version / path))


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
