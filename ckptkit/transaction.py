"""Operations of several steps, each done whole or not at all: deleting, pruning, renumbering, renaming.

A plan goes into the trash first. Then the event goes into the history, and from there on the operation counts as done.
Then folders and files are renamed to where they belong, which for what is removed is the trash, and the trash is
emptied. What was killed on this way is undone by the next command that writes where its event is not in the history,
and finished where it is. The plan goes before anything else in the trash does, so nothing is moved there twice: what
somebody restored from a backup meanwhile stays.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from ckptkit import disk, documents, names, publication, registry
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.record import Event

TRASH = "trash"
_PLAN = "plan.json"
_VERSION = "version"
_TOMBSTONE = "tombstone"
_SEALED = "sealed"


class Change(Protocol):
    """What an operation needs of ``change.Change``, which stands above."""

    root: Path
    index: dict[str, Any]
    warnings: list[str]

    def reread(self, *names: str) -> None:
        """Read some models' folders and events again."""


def carry_out(now: Change, *events: Event, before: str = "nothing was changed") -> None:
    """Write events and do what they say, one after the other. The caller holds the root's lock.

    What goes wrong once an event is written is a warning; the next command that writes finishes it.

    Args:
        now: the change that this is part of.
        events: ``deleted``, ``pruned``, ``renumbered`` or, under the model's new name, ``renamed`` ones.
        before: in words what was done already, for errors.

    Raises:
        CkptkitError: a folder may not be changed, and nothing was for any event; or the disk is full or refuses, and
            nothing was changed for that event and all after it.
    """
    require_movable(now, *events)
    try:
        for position, event in enumerate(events):
            _carry_out(now, event, f"{position} of {len(events)} were done" if position else before)
    finally:
        now.reread(*{name for event in events for name in _models(event)})


def require_movable(now: Change, *events: Event) -> None:
    """Refuse operations that could be begun and never finished.

    Args:
        now: the change that they would be part of.
        events: those of ``carry_out``.

    Raises:
        CkptkitError: a folder in which names have to change may not be written.
    """
    try:
        for event in events:
            _require_movable(now.root, _trash(now.root, event), event)
    except OSError as error:
        words = f"{error.filename or now.root}: {disk.reason(error)}; nothing was changed"
        raise CkptkitError(words, disk.advice(error)) from error


def _require_movable(root: Path, trash: Path, event: Event) -> None:
    for source, target in _moves(root, trash, event):
        if trash in source.parents:
            continue
        moved = [source] if source.is_dir() and source.parent != target.parent else []  # its entry ".." changes
        for folder in (source.parent, *moved):
            if folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK):
                raise CkptkitError(f"{folder} is not writable; nothing was changed", f"try `chmod u+w {folder}`")


def _carry_out(now: Change, event: Event, done: str) -> None:
    place = now.root / _models(event)[-1] / registry.HISTORY / f"{event.id}.json"
    try:
        trash = _trash(now.root, event)
        try:
            _plan(now, trash, event)
            place.parent.mkdir(exist_ok=True)
            disk.create(place, documents.dump_json(event.to_dict()))
        except OSError:
            if not _is_there(place):
                with contextlib.suppress(OSError):  # else the next command undoes it
                    _empty(trash)
                raise
    except OSError as error:
        words = f"{error.filename or place}: {disk.reason(error)}; {done}"
        raise CkptkitError(words, disk.advice(error)) from error
    try:
        _finish(now.root, trash, event)
        _empty(trash)
    except OSError as error:
        words = f"{error.filename or trash}: {disk.reason(error)}"
        now.warnings.append(f"{words}; the next command that writes to this registry finishes what is left to do")


def recover(root: Path) -> None:
    """Finish or undo what killed commands left. The caller holds the root's lock.

    Args:
        root: the registry root.

    Raises:
        CkptkitError: the disk refuses; what is left to do is still known.
    """
    failed: list[tuple[Path, Exception]] = []
    for trash in _left(root):
        try:
            if _is_there(trash / _PLAN):  # else it is not yet or no longer needed
                event = Event.from_dict(documents.load_json(disk.read_regular(trash / _PLAN)))
                written = any(_is_there(root / name / registry.HISTORY / f"{event.id}.json") for name in _models(event))
                if written and _sealed(root, event) in {None, event.extra.get(_SEALED)}:
                    _finish(root, trash, event)
            with contextlib.suppress(OSError):  # else the next command empties it
                _empty(trash)
        except (OSError, FormatError) as error:
            failed.append((trash, error))
    for trash, why in failed:
        words = f"what a command began there cannot be finished: {disk.reason(why)}"
        hint = disk.advice(why) if isinstance(why, OSError) else "look at what is in it, and remove it by hand"
        raise CkptkitError(f"{trash}: {words}", hint) from why


def _trash(root: Path, event: Event) -> Path:
    """What goes is moved there, on its disk: a model's folder itself is beside that of the registry."""
    home = root / registry.HOME if event.kind == "renamed" else publication.private(root, root / event.model)
    return home / TRASH / event.id


def _left(root: Path) -> Iterator[Path]:
    """The folders in the trash of the registry, and of its models on other disks; what else lies there is not ours."""
    homes = (publication.private(root, root / name) for name in registry.model_names(root))
    for home in dict.fromkeys([root / registry.HOME, *homes]):
        if _is_there(home / TRASH):
            yield from (home / TRASH / name for name in sorted(os.listdir(home / TRASH)))


def _models(event: Event) -> tuple[str, ...]:
    """The models whose folders an event is about: today's name, and the one before."""
    return (event.model, event.was) if event.kind == "renamed" and event.was else (event.model,)


def _moves(root: Path, trash: Path, event: Event) -> list[tuple[Path, Path]]:
    """What is renamed to what, in order."""
    model = root / event.model
    folder = model / str(event.version)
    if event.kind == "deleted":
        return [(folder, trash / _VERSION)]
    if event.kind == "pruned":
        return [(folder / file.path, trash / str(number)) for number, file in enumerate(event.files)]
    if event.kind == "renumbered":
        return [(model / str(event.was), folder)]
    return [(root / str(event.was), model), (trash / _TOMBSTONE, root / str(event.was))]


def _plan(now: Change, trash: Path, event: Event) -> None:
    trash.mkdir(parents=True)
    disk.create(trash / _PLAN, documents.dump_json({**event.to_dict(), _SEALED: _sealed(now.root, event)}))
    if event.kind == "renamed" and event.was and event.was.lower() != event.model.lower():
        last = now.index["models"][event.was]["last"]
        left = registry.new_event("renamed", event.was, names.version_name(last) if last else None, became=event.model)
        history = trash / _TOMBSTONE / registry.HISTORY
        history.mkdir(parents=True)
        disk.create(history / f"{left.id}.json", documents.dump_json(left.to_dict()))
        disk.sync_folder(history.parent)
    for folder in (trash, trash.parent, trash.parent.parent):
        disk.sync_folder(folder)


def _finish(root: Path, trash: Path, event: Event) -> None:
    """Make the moves that were not made yet, and have the disk keep them."""
    if event.kind == "renamed":
        _unite(root / str(event.was), root / event.model, event)
    moves = _moves(root, trash, event)
    for source, target in moves:
        if _is_there(source) and not (_is_there(target) and not source.samefile(target)):
            source.rename(target)
    if event.kind == "pruned":
        _remove_empty(root / event.model / str(event.version), [file.path for file in event.files])
    for folder in {path.parent for move in moves for path in move}:
        disk.sync_folder(folder)


def _sealed(root: Path, event: Event) -> str | None:
    """The digest of a version's folder as it is, so that no other that was put there since is taken for it."""
    if event.kind == "renamed":
        return None
    try:
        return registry.digest_of(root / event.model / str(event.was or event.version))
    except FormatError:
        return None


def _unite(old: Path, new: Path, event: Event) -> None:
    """Where a model gets a name back that it had, have the events that stayed there go along with it."""
    stayed = new / registry.HISTORY
    if not _is_there(old / registry.HISTORY / f"{event.id}.json") or not _is_there(new) or new.samefile(old):
        return
    if _is_there(stayed):
        for name in sorted(os.listdir(stayed)):
            with contextlib.suppress(FileExistsError):  # copied, as the two may lie on different disks
                disk.create(old / registry.HISTORY / name, disk.read_regular(stayed / name))
            (stayed / name).unlink()
        disk.sync_folder(old / registry.HISTORY)
        stayed.rmdir()
    new.rmdir()


def _remove_empty(folder: Path, paths: Iterable[str]) -> None:
    """Remove the folders that are empty now that some files of a version are gone."""
    for parent in sorted({parent for path in paths for parent in PurePosixPath(path).parents}, reverse=True):
        if parent.parts:
            with contextlib.suppress(OSError):
                (folder / parent).rmdir()


def _empty(trash: Path) -> None:
    import shutil

    (trash / _PLAN).unlink(missing_ok=True)
    disk.sync_folder(trash)
    shutil.rmtree(trash)


def _is_there(path: Path) -> bool:
    """Whether there is such a name.

    Raises:
        OSError: the disk does not tell.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
