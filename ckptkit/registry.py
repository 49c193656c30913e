"""The registry: models, versions and aliases from folders and events; publication under the lock.

Version folders and ``history/`` are the truth. What is derived from them is in ``index``.
"""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ckptkit import checkpoint, disk, documents, names
from ckptkit.checkpoint import Unreadable
from ckptkit.errors import CkptkitError, FormatError, NotFoundError
from ckptkit.record import EVENT, Event

HOME = ".ckptkit"
HISTORY = "history"
README = "README.md"
INDEX = "index.json"

_DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A model version on disk: ``ref`` such as ``penguins/v0002``, its folder, and the digest of its SHA256SUMS."""

    ref: str
    path: Path
    digest: str

    @property
    def lineage(self) -> dict[str, Any]:
        """lineage.json as plain values.

        Raises:
            FormatError: it cannot be read.
        """
        loaded: dict[str, Any] = documents.load_json(disk.read_regular(self.path / checkpoint.LINEAGE))
        return loaded

    @property
    def config(self) -> dict[str, Any]:
        """The hyperparameters that config.yaml resolved to at save; empty where none were given."""
        return self.lineage["config"]["values"] or {}

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics as recorded: a number, or an object with ``value``, ``split``, ``n``, ``ci``, ``slices``."""
        found: dict[str, Any] = self.lineage["metrics"]
        return found

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return self.ref


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A registered model as found: version folders in the order of their numbers, events in the order of time.

    ``broken`` are the event files that cannot be read, by name; ``links`` the names that begin with ``@`` and where
    they lead (None: not a link); ``others`` are further names in the folder.
    """

    name: str
    path: Path
    versions: tuple[str, ...]
    events: tuple[Event, ...]
    broken: Mapping[str, Unreadable]
    links: Mapping[str, str | None]
    others: tuple[str, ...]

    @property
    def last(self) -> int:
        """The highest number that a folder or an event bears; 0 without any."""
        numbers = (
            names.folder_number(name) for name in (*self.versions, *(event.version or "" for event in self.events))
        )
        return max((number for number in numbers if number), default=0)

    @property
    def saved(self) -> Mapping[str, Event]:
        """The first ``saved`` event of each version."""
        found: dict[str, Event] = {}
        for event in self.events:
            if event.kind == "saved" and event.version:
                found.setdefault(event.version, event)
        return found

    def alias_heads(self, alias: str) -> tuple[Event, ...]:
        """The events of an alias that no other followed, in the order of time; more than one is a fork."""
        events = [event for event in self.events if event.kind == "alias" and event.alias == alias]
        followed = {event.previous for event in events}
        return tuple(event for event in events if event.id not in followed)

    @property
    def moved_aliases(self) -> tuple[str, ...]:
        """All aliases that events speak of, also those that stand nowhere now, by name."""
        spoken = {event.alias for event in self.events if event.kind == "alias" and event.alias}
        return tuple(alias for alias in sorted(spoken) if self.alias_heads(alias))

    @property
    def aliases(self) -> Mapping[str, str]:
        """Where each alias stands now; of two heads the later wins."""
        heads = {alias: self.alias_heads(alias)[-1].version for alias in self.moved_aliases}
        return {alias: version for alias, version in heads.items() if version}


def default_root(explicit: str | os.PathLike[str] | None, cwd: Path) -> Path:
    """The registry root: the named one, or ``runs`` in the project.

    Raises:
        CkptkitError: pyproject.toml cannot be read, or its ``root`` is not a string.
    """
    return named_root(explicit, cwd) or (disk.project_root(cwd) or cwd) / "runs"


def named_root(explicit: str | os.PathLike[str] | None, cwd: Path) -> Path | None:
    """The registry root that was asked for, else ``$CKPTKIT_ROOT``, else the project's setting; None without any.

    Raises:
        CkptkitError: pyproject.toml cannot be read, or its ``root`` is not a string.
    """
    if explicit is not None:
        return cwd / disk.expand(explicit)
    if os.environ.get("CKPTKIT_ROOT"):
        return cwd / disk.expand(os.environ["CKPTKIT_ROOT"])
    settings = disk.settings(cwd)
    if settings.file is None or "root" not in settings.table:
        return None
    root = settings.table["root"]
    if not isinstance(root, str) or not root:
        raise CkptkitError("[tool.ckptkit] root in pyproject.toml is not a path", 'write root = "runs"')
    return settings.file.parent / disk.expand(root)


_SETTINGS = {"[tool.ckptkit]": ("check", "root"), "[tool.ckptkit.check]": ("ignore", "select")}


def require_settings(cwd: Path) -> None:
    """Refuse settings in pyproject.toml that nothing reads, as a misspelt one would be silently without effect.

    Raises:
        CkptkitError: there is one, or pyproject.toml cannot be read.
    """
    import difflib

    settings = disk.settings(cwd)
    for (name, known), table in zip(_SETTINGS.items(), (settings.table, settings.table.get("check")), strict=True):
        for key in table if isinstance(table, Mapping) else ():
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                meant = f"did you mean {close[0]}? " if close else ""
                raise CkptkitError(
                    f"{key!r} in {name} of {settings.file} is no setting", f"{meant}known are {' and '.join(known)}"
                )


def models(root: Path) -> Iterator[Model]:
    """All models of a registry by name; folders that are not ckptkit's are passed over.

    Raises:
        NotFoundError: there is no such folder.
        CkptkitError: ``root`` cannot be listed.
    """
    try:
        listed = sorted(os.listdir(root))
    except FileNotFoundError:
        raise NotFoundError(f"no registry at {root}", "name its root with --root DIR") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise CkptkitError(f"{root}: {disk.reason(error)}", "name a registry root with --root DIR") from error
    for name in listed:
        if not name.startswith(".") and is_model(root / name):
            yield read_model(root / name)


def is_model(folder: Path) -> bool:
    """Whether a folder, or what a link leads to, is a registered model.

    It has a history, or a version folder with a record of ours in it.
    """
    if os.path.isdir(folder / HISTORY):  # noqa: PTH112 - Path.is_dir raises where a folder may not be entered
        return True
    return any(names.folder_number(name) and is_version(folder / name) for name in _listdir(folder))


def is_version(folder: Path) -> bool:
    """Whether a folder holds lineage.json or SHA256SUMS."""
    return any(os.path.lexists(folder / name) for name in (checkpoint.LINEAGE, checkpoint.SUMS))


def digest_of(folder: Path) -> str:
    """The digest of a version, from its SHA256SUMS.

    Raises:
        FormatError: that file cannot be read.
    """
    return f"sha256:{hashlib.sha256(disk.read_regular(folder / checkpoint.SUMS)).hexdigest()}"


def read_model(folder: Path) -> Model:
    """Read a model's folder and history; what cannot be read is a value, not an exception."""
    versions, links, others = [], {}, []
    for name in _listdir(folder):
        path = folder / name
        if names.folder_number(name) and path.is_dir() and not path.is_symlink():
            versions.append(name)
        elif name.startswith("@"):
            links[name] = str(path.readlink()) if path.is_symlink() else None
        elif name != HISTORY:
            others.append(name)
    events, broken = [], {}
    for name in _listdir(folder / HISTORY):
        if name.startswith("."):
            continue
        event = read_event(folder / HISTORY / name)
        if isinstance(event, Unreadable):
            broken[name] = event
        else:
            events.append(event)
    return Model(
        name=folder.name,
        path=folder,
        versions=tuple(sorted(versions, key=lambda name: names.folder_number(name) or 0)),
        events=tuple(sorted(events, key=lambda event: (event.time, event.id))),
        broken=broken,
        links=links,
        others=tuple(others),
    )


def _listdir(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def read_event(path: Path) -> Event | Unreadable:
    """One event file, or a draft of one."""
    try:
        event = Event.from_dict(documents.load_json(disk.read_regular(path, disk.CONFIG_LIMIT)))
    except FormatError as error:
        return Unreadable(reason=error.message, hint=error.hint, line=error.line, column=error.column)
    if path.name.removeprefix(".") != f"{event.id}.json":
        return Unreadable(reason=f"its name is not its id, {event.id}")
    return event


def new_event(kind: str, model: str, version: str | None, **facts: Any) -> Event:  # noqa: ANN401 - the fields of Event
    """An event of this moment.

    Args:
        kind: one of ``Event.KINDS``.
        model: the registered model.
        version: the version that it speaks of, if any.
        facts: further fields of ``Event``.
    """
    now = datetime.now(UTC)
    return Event(
        schema=EVENT,
        id=f"{now:%Y%m%dT%H%M%S}.{now.microsecond:06d}Z-{secrets.token_hex(4)}",
        time=f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond:06d}Z",
        kind=kind,
        model=model,
        version=version,
        **facts,
    )


def require_root(root: Path) -> None:
    """Refuse a registry root that could not be made or written to; nothing is made.

    Raises:
        CkptkitError: it could not.
    """
    place = next(folder for folder in (root, *root.parents) if os.path.lexists(folder))
    if not place.is_dir():
        raise CkptkitError(f"the registry root {root} is not a folder", "give another one with --root DIR")
    if place == root and not os.path.lexists(root / HOME) and not _is_free(root / INDEX):
        raise CkptkitError(f"{root} holds an {INDEX} that is not ckptkit's", "give another one with --root DIR")
    if not os.access(place, os.W_OK | os.X_OK):
        raise CkptkitError(f"the registry root {root} cannot be written", "give another one with --root DIR")


def _is_free(path: Path) -> bool:
    """Whether an index may be written there: nothing is there yet, or one of ours."""
    try:
        return not os.path.lexists(path) or b'"ckptkit/index/' in disk.read_regular(path)
    except FormatError:
        return False


def open_root(root: Path) -> None:
    """Make a registry root of a folder, once: its private folder and the two files that tell git what to keep.

    Raises:
        CkptkitError: it cannot be made or written to.
    """
    try:
        (root / HOME).mkdir(parents=True, exist_ok=True)
        for name, text in ((".gitignore", _GITIGNORE), (".gitattributes", _GITATTRIBUTES)):
            if not os.path.lexists(root / name):
                disk.create(root / name, text.encode())
        if not os.access(root, os.W_OK | os.X_OK) or not os.access(root / HOME, os.W_OK | os.X_OK):
            raise CkptkitError(f"the registry root {root} is not writable", "give another one with --root DIR")
    except FileExistsError:
        if not (root / HOME).is_dir():
            raise CkptkitError(
                f"the registry root {root} is not a folder", "give another one with --root DIR"
            ) from None
    except OSError as error:
        raise CkptkitError(
            f"the registry root {root} cannot be written: {disk.reason(error)}", "give another one with --root DIR"
        ) from error


_GITATTRIBUTES = "# Digests are over bytes: no newline conversion here.\n* -text\n"
_GITIGNORE = """\
# Records go into git, weights and this machine's side do not.
/.ckptkit/
/*/v[0-9]*/**
!/*/v[0-9]*/**/
!/*/v[0-9]*/README.md
!/*/v[0-9]*/config.yaml
!/*/v[0-9]*/lineage.json
!/*/v[0-9]*/requirements*.txt
!/*/v[0-9]*/code.patch
!/*/v[0-9]*/SHA256SUMS
!/*/v[0-9]*/data/*.sha256
!/*/v[0-9]*/code/**
"""


def locked(root: Path) -> Any:  # noqa: ANN401 - a context manager
    """The lock of a registry root, held by whoever changes numbers or derived files."""
    return disk.lock(root / HOME / "lock")


def open_stage(root: Path, folder: Path | None = None) -> checkpoint.Stage:
    """A new stage, after sweeping away the stages that dead processes of this host left.

    Args:
        root: the registry root, below which the stage is.
        folder: the model's folder. Where it is a link to another disk the stage is below it: no rename crosses disks.

    Raises:
        OSError: the disk is full or refuses.
    """
    home = root / HOME
    with locked(root):
        if folder and os.path.isdir(folder) and folder.stat().st_dev != home.stat().st_dev:  # noqa: PTH112 - see is_model
            home = folder / HOME
            home.mkdir(exist_ok=True)
        _sweep(home)
        stage = checkpoint.Stage(home / f"stage-{secrets.token_hex(6)}")
        disk.write_new(stage.home / "host", _host().encode())
        return stage


def _sweep(private: Path) -> None:
    import shutil
    import time

    for name in _listdir(private):
        home = private / name
        if not name.startswith("stage-"):
            continue
        try:
            mine = disk.read_regular(home / "host", 4096).decode() == _host()
        except (FormatError, UnicodeDecodeError):
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
    history = folder / HISTORY
    history.mkdir(parents=True, exist_ok=True)
    number = last + 1
    while True:
        version = names.version_name(number)
        digest = finish(version)
        events = [new_event("saved", folder.name, version, digest=digest)]
        events += [
            new_event("alias", folder.name, version, digest=digest, alias=alias, previous=previous)
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
    memory = folder.parent / HOME / _REFUSED
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
            event = new_event("saved", model.name, version, digest=digest)
            (model.path / HISTORY).mkdir(exist_ok=True)
            disk.create(model.path / HISTORY / f"{event.id}.json", documents.dump_json(event.to_dict()))
            written.append(event)
    return written


def _take_in_drafts(model: Model) -> list[Event]:
    import time

    history = model.path / HISTORY
    ready: dict[str, list[Event]] = {}
    for name in _listdir(history):
        event = read_event(history / name) if name.startswith(".") and name.endswith(".json") else None
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
        for alias, version in read_model(model.path).aliases.items():
            link_alias(model.path, alias, version)
    return written


def _is_sealed(folder: Path, digest: str) -> bool:
    try:
        return digest_of(folder) == digest
    except FormatError:
        return False
