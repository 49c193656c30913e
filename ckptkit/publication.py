"""Publication: the stage, the number, the rename, the events; the links."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ckptkit import disk, documents, hashing, names, registry, roots, staging
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.record import Event
from ckptkit.registry import Version


def open_stage(root: Path, folder: Path | None = None) -> staging.Stage:
    """A new stage, after sweeping away the stages that dead processes of this host left.

    Args:
        root: the registry root, below which the stage is.
        folder: the model's folder. Where it is a link to another disk the stage is below it: no rename crosses disks.

    Raises:
        OSError: the disk is full or refuses.
    """
    with roots.locked(root):
        home = private(root, folder) if folder else root / registry.HOME
        home.mkdir(exist_ok=True)
        _sweep(home)
        stage = staging.Stage(home / f"stage-{secrets.token_hex(6)}")
        try:
            disk.write_new(stage.home / "host", _host().encode())
        except BaseException:
            stage.__exit__()
            raise
        return stage


def private(root: Path, folder: Path) -> Path:
    """The private folder from which names can be moved into a model's folder: no rename crosses disks.

    Args:
        root: the registry root.
        folder: the model's folder, which may be a link to another disk.
    """
    home = root / registry.HOME
    elsewhere = os.path.isdir(folder) and folder.stat().st_dev != home.stat().st_dev  # noqa: PTH112 - see is_model
    return folder / registry.HOME if elsewhere else home


def _sweep(place: Path) -> None:
    import shutil

    for name in registry.names_in(place):
        home = place / name
        if name.startswith("gone-"):  # its owner was removing it, or died while it did
            shutil.rmtree(home, ignore_errors=True)
        if not name.startswith("stage-"):
            continue
        try:
            mine = disk.read_regular(home / "host", 4096).decode() == _host()
        except (FormatError, UnicodeDecodeError):  # it is being removed, or was killed at birth
            mine = False
        try:
            old = disk.is_old(home)
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


def copy(source: Path, target: Path, files: Mapping[str, str | None], progress: hashing.Progress | None = None) -> None:
    """Copy files of a version into a private folder, synced, and sealed as they are.

    Args:
        source: the version.
        target: the private folder.
        files: SHA-256 in hex by path; None for a file that is not sealed.
        progress: called with the number of bytes copied since the last call.

    Raises:
        CkptkitError: one cannot be read, or is not what was sealed.
        OSError: the disk is full or refuses.
    """
    for path, sha256 in files.items():
        place = target / path
        place.parent.mkdir(parents=True, exist_ok=True)
        found, _ = hashing.copy_sha256(source / path, place, progress=progress)
        if sha256 is not None:
            if found != sha256:
                raise FormatError(f"{path} is not as it was saved")
            staging.seal_mode(place)
    for folder, _, _ in os.walk(target):
        disk.sync_folder(Path(folder))


def publish(
    stage: staging.Stage,
    folder: Path,
    *,
    last: int,
    finish: Callable[[str], str],
    aliases: Mapping[str, Sequence[str]],
) -> tuple[Version, list[Event], list[str]]:
    """Give a staged version its number, rename it into place, and write its events. The caller holds the root's lock.

    Once the version is in place nothing undoes it. Its events wait as drafts in the history by then, under names that
    begin with a dot; what a dead process or the disk left there, ``takein.take_in`` writes.

    Args:
        stage: everything but the small records staged.
        folder: the model's folder.
        last: the highest number that the model's folders and events bear.
        finish: writes the small records for a version name and returns the version's digest; called again for the next
            number where another process, on a disk without locks, was faster.
        aliases: aliases to set, each with the heads of its chain.

    Returns:
        The version, its events that were written, and what could not be done after publication, in words.

    Raises:
        CkptkitError: a file that was to be moved was written to since it was hashed; nothing was published.
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
            follow(registry.new_event("alias", folder.name, version, digest=digest, alias=alias), heads)
            for alias, heads in aliases.items()
        ]
        try:
            for event in events:
                disk.write_new(_draft(history, event), documents.dump_json(event.to_dict()))
            stage.publish(folder / version)
        except (OSError, CkptkitError) as error:
            for event in events:
                _draft(history, event).unlink(missing_ok=True)
            if not isinstance(error, FileExistsError):
                raise
            number += 1
            continue
        break
    written, warnings = write_drafts(history, events)
    return Version(ref=f"{folder.name}/{version}", path=folder / version, digest=digest), written, warnings


def _draft(history: Path, event: Event) -> Path:
    return history / f".{event.id}.json"


def write_drafts(history: Path, events: Sequence[Event]) -> tuple[list[Event], list[str]]:
    """Give the drafts of a version's events their names; the saved event comes last, as its absence is looked for.

    Returns:
        The events that have their names, and what could not be done, in words.
    """
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


def follow(event: Event, heads: Sequence[str]) -> Event:
    """The event, following the heads of its chain; of several, a fork, it settles which holds."""
    return replace(event, previous=heads[-1], settles=tuple(heads[:-1])) if heads else event


Link = Literal["made", "changed", "removed", "not changed", "not removed"]


def link_aliases(folder: Path, aliases: Mapping[str, str]) -> dict[str, Link]:
    """Put a model's derived links ``@alias`` right, each by one rename; disks without links do without.

    What stands in a link's place and is none stays.

    Args:
        folder: the model's folder.
        aliases: the version that each alias stands on.

    Returns:
        What was done to each link, such as ``@champion``, that was not right.
    """
    done: dict[str, Link] = {}
    for name in registry.names_in(folder):
        if name.startswith("@") and name[1:] not in aliases and (folder / name).is_symlink():
            try:
                (folder / name).unlink()
                done[name] = "removed"
            except OSError:
                done[name] = "not removed"
    for alias, version in aliases.items():
        link = folder / f"@{alias}"
        leads = str(link.readlink()) if link.is_symlink() else None
        if leads == version or (leads is None and os.path.lexists(link)):
            continue
        if _link(link, version):
            done[link.name] = "changed" if leads else "made"
        elif leads:
            done[link.name] = "not changed"
    return done


def _link(link: Path, version: str) -> bool:
    draft = disk.draft_of(link)
    try:
        draft.symlink_to(version)
        draft.replace(link)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        return False
    return True
