"""Publication: the stage, the number, the rename, the events; and what one that was cut off left to finish."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ckptkit import checkpoint, disk, documents, names, registry, roots
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.record import Event
from ckptkit.registry import Model, Version

_DAY = 86_400


def open_stage(root: Path, folder: Path | None = None) -> checkpoint.Stage:
    """A new stage, after sweeping away the stages that dead processes of this host left.

    Args:
        root: the registry root, below which the stage is.
        folder: the model's folder. Where it is a link to another disk the stage is below it: no rename crosses disks.

    Raises:
        OSError: the disk is full or refuses.
    """
    home = root / registry.HOME
    with roots.locked(root):
        if folder and os.path.isdir(folder) and folder.stat().st_dev != home.stat().st_dev:  # noqa: PTH112 - see is_model
            home = folder / registry.HOME
            home.mkdir(exist_ok=True)
        _sweep(home)
        stage = checkpoint.Stage(home / f"stage-{secrets.token_hex(6)}")
        try:
            disk.write_new(stage.home / "host", _host().encode())
        except BaseException:
            stage.__exit__()
            raise
        return stage


def _sweep(private: Path) -> None:
    import shutil
    import time

    for name in registry.names_in(private):
        home = private / name
        if name.startswith("gone-"):  # its owner was removing it, or died while it did
            shutil.rmtree(home, ignore_errors=True)
        if not name.startswith("stage-"):
            continue
        try:
            mine = disk.read_regular(home / "host", 4096).decode() == _host()
        except (FormatError, UnicodeDecodeError):  # it is being removed, or was killed at birth
            mine = False
        try:
            old = time.time() - home.stat().st_mtime > _DAY
            if not (mine or old):
                continue
            with disk.lock(home / "lock", seconds=0) as known:
                dead = known or old
        except (CkptkitError, OSError):  # its owner lives
            continue
        if dead:
            shutil.rmtree(home, ignore_errors=True)


def _host() -> str:
    """A name for this machine that does not tell its name."""
    import platform

    return hashlib.sha256(platform.node().encode()).hexdigest()[:16]


def publish(
    stage: checkpoint.Stage,
    folder: Path,
    *,
    last: int,
    finish: Callable[[str], str],
    aliases: Mapping[str, str | None],
) -> tuple[Version, list[Event], list[str]]:
    """Give a staged version its number, rename it into place, and write its events. The caller holds the root's lock.

    Once the version is in place nothing undoes it. Its events wait as drafts in the history by then, under names that
    begin with a dot; those that a dead process or the disk left there are written by ``take_in``.

    Args:
        stage: everything but the small records staged.
        folder: the model's folder.
        last: the highest number that the model's folders and events bear.
        finish: writes the small records for a version name and returns the version's digest; called again for the next
            number where another process, on a disk without locks, was faster.
        aliases: aliases to set, each with the id of the event that it follows.

    Returns:
        The version, its events that were written, and what could not be done after publication, in words.

    Raises:
        OSError: the disk is full or refuses; nothing was published.
    """
    history = folder / registry.HISTORY
    history.mkdir(parents=True, exist_ok=True)
    number = last + 1
    while True:
        version = names.version_name(number)
        digest = finish(version)
        events = [registry.new_event("saved", folder.name, version, digest=digest)]
        events += [
            registry.new_event("alias", folder.name, version, digest=digest, alias=alias, previous=previous)
            for alias, previous in aliases.items()
        ]
        try:
            for event in events:
                disk.write_new(_draft(history, event), documents.dump_json(event.to_dict()))
            stage.publish(folder / version)
        except OSError as error:
            for event in events:
                _draft(history, event).unlink(missing_ok=True)
            if not isinstance(error, FileExistsError):
                raise
            number += 1
            continue
        break
    written, warnings = _write_drafts(history, events)
    for event in written:
        if event.alias:
            link_alias(folder, event.alias, version)
    return Version(ref=f"{folder.name}/{version}", path=folder / version, digest=digest), written, warnings


def _draft(history: Path, event: Event) -> Path:
    return history / f".{event.id}.json"


def _write_drafts(history: Path, events: Sequence[Event]) -> tuple[list[Event], list[str]]:
    """Give the drafts of a version's events their names; the saved event comes last, as its absence is looked for."""
    written: list[Event] = []
    warnings = []
    for event in sorted(events, key=lambda event: event.kind == "saved"):
        path = history / f"{event.id}.json"
        try:
            _draft(history, event).rename(path)
        except OSError as error:
            if not os.path.lexists(path):  # on a disk without locks another process may have taken it in
                words = f"an event of {event.version} could not be written ({disk.reason(error)})"
                warnings.append(f"{words}: run `ckptkit index`")
                break
        written.append(event)
    disk.sync_folder(history)
    return [event for event in events if event in written], warnings


def link_alias(folder: Path, alias: str, version: str) -> None:
    """Point the derived link ``@alias`` at a version by one rename; disks without links do without."""
    link = folder / f"@{alias}"
    draft = folder / f".{link.name}.{secrets.token_hex(4)}"
    try:
        if os.path.lexists(link) and (not link.is_symlink() or str(link.readlink()) == version):
            return
        draft.symlink_to(version)
        draft.replace(link)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()


def verified(folder: Path, versions: Sequence[str], *, anew: bool = False) -> dict[str, str]:
    """Those of some versions without a ``saved`` event that verify, with their digests, for ``take_in``.

    This reads every byte, so it is done before the root's lock is taken. A version that did not verify is remembered
    and not read again before one of its files changes.

    Args:
        folder: the model's folder.
        versions: the versions without an event.
        anew: read also those that are remembered.
    """
    memory = folder.parent / registry.HOME / _REFUSED
    refused = _recall(memory) if versions else {}
    known, found = dict(refused), {}
    for version in versions:
        ref, state = f"{folder.name}/{version}", _state(folder / version)
        if refused.get(ref) == state and not anew:
            continue
        read = checkpoint.read(folder / version, deep=True)
        if read.digest is not None and isinstance(read.sums, Mapping) and dict(read.hashed) == dict(read.sums):
            found[version] = read.digest
        else:
            refused[ref] = state
    if refused != known and memory.parent.is_dir():
        with contextlib.suppress(OSError):  # without a memory it costs time alone
            disk.replace(memory, documents.dump_json(refused))
    return found


_REFUSED = "refused.json"


def _recall(memory: Path) -> dict[str, Any]:
    try:
        known = documents.load_json(disk.read_regular(memory))
    except FormatError:
        return {}
    return known if isinstance(known, dict) else {}


def _state(folder: Path) -> list[int]:
    """How many names a folder holds at any depth, their bytes, and when the last of them changed, in ns."""
    count, size, newest = 0, 0, 0
    for place, _, files in os.walk(folder):
        for path in (place, *(os.path.join(place, name) for name in files)):  # noqa: PTH118 - a str, many times
            with contextlib.suppress(OSError):
                status = os.lstat(path)
                count, size, newest = count + 1, size + status.st_size, max(newest, status.st_ctime_ns)
    return [count, size, newest]


def take_in(model: Model, digests: Mapping[str, str]) -> list[Event]:
    """Write the missing ``saved`` event of each version that verified; returns what was written.

    Drafts that a dead process left in the history are written first, for versions that are the ones they speak of. The
    caller holds the root's lock.

    Args:
        model: as read under the lock.
        digests: what ``verified`` gave before the lock was taken.
    """
    written = _take_in_drafts(model)
    there = {*model.saved, *(event.version for event in written)}
    for version, digest in digests.items():
        if version in model.versions and version not in there and _is_sealed(model.path / version, digest):
            event = registry.new_event("saved", model.name, version, digest=digest)
            (model.path / registry.HISTORY).mkdir(exist_ok=True)
            disk.create(model.path / registry.HISTORY / f"{event.id}.json", documents.dump_json(event.to_dict()))
            written.append(event)
    return written


def _take_in_drafts(model: Model) -> list[Event]:
    import time

    history = model.path / registry.HISTORY
    ready: dict[str, list[Event]] = {}
    for name in registry.names_in(history):
        event = registry.read_event(history / name) if name.startswith(".") and name.endswith(".json") else None
        if not isinstance(event, Event):
            continue
        if event.version and event.digest and _is_sealed(model.path / event.version, event.digest):
            ready.setdefault(event.version, []).append(event)
            continue
        with contextlib.suppress(OSError):
            if (history / name).lstat().st_mtime < time.time() - _DAY:  # its version was never published
                (history / name).unlink()
    written = [event for events in ready.values() for event in _write_drafts(history, events)[0]]
    if written:
        for alias, version in registry.read_model(model.path).aliases.items():
            link_alias(model.path, alias, version)
    return written


def _is_sealed(folder: Path, digest: str) -> bool:
    try:
        return registry.digest_of(folder) == digest
    except FormatError:
        return False
