"""The registry: models, versions and aliases from folders and events; publication under the lock.

Version folders and ``history/`` are the truth. What is derived from them is in ``index``.
"""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
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
    """The registry root: what was asked for, else ``$CKPTKIT_ROOT``, the project's setting, or ``runs`` in the project.

    Raises:
        CkptkitError: pyproject.toml cannot be read, or its ``root`` is not a string.
    """
    if explicit is not None:
        return cwd / disk.expand(explicit)
    if os.environ.get("CKPTKIT_ROOT"):
        return cwd / disk.expand(os.environ["CKPTKIT_ROOT"])
    table = disk.settings(cwd)
    if "root" in table:
        if not isinstance(table["root"], str) or not table["root"]:
            raise CkptkitError("[tool.ckptkit] root in pyproject.toml is not a path", 'write root = "runs"')
        return Path(table["folder"]) / disk.expand(table["root"])
    return (disk.project_root(cwd) or cwd) / "runs"


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
    """Whether a folder is a registered model: it has a history, or a version folder with a record of ours in it."""
    if not folder.is_dir() or folder.is_symlink():
        return False
    try:
        if (folder / HISTORY).is_dir():
            return True
        return any(is_version(folder / name) for name in os.listdir(folder) if names.folder_number(name))
    except OSError:
        return False


def is_version(folder: Path) -> bool:
    """Whether a folder holds lineage.json or SHA256SUMS."""
    return any(os.path.lexists(folder / name) for name in (checkpoint.LINEAGE, checkpoint.SUMS))


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
    """One event file."""
    try:
        event = Event.from_dict(documents.load_json(disk.read_regular(path, disk.CONFIG_LIMIT)))
    except FormatError as error:
        return Unreadable(reason=error.message, hint=error.hint, line=error.line, column=error.column)
    if path.name != f"{event.id}.json":
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


def open_stage(root: Path) -> checkpoint.Stage:
    """A new stage below the root, after sweeping away the stages that dead processes of this host left.

    Raises:
        OSError: the disk is full or refuses.
    """
    with locked(root):
        _sweep(root)
        stage = checkpoint.Stage(root / HOME / f"stage-{secrets.token_hex(6)}")
        disk.write_new(stage.home / "host", _host().encode())
        return stage


def _sweep(root: Path) -> None:
    import shutil
    import time

    for name in _listdir(root / HOME):
        home = root / HOME / name
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
    import hashlib
    import platform

    return hashlib.sha256(platform.node().encode()).hexdigest()[:16]


def publish(
    stage: checkpoint.Stage,
    folder: Path,
    *,
    last: int,
    finish: Callable[[str], str],
    aliases: Mapping[str, str | None],
) -> tuple[Version, list[Event]]:
    """Give a staged version its number, rename it into place, and write its events. The caller holds the root's lock.

    Args:
        stage: everything but the small records staged.
        folder: the model's folder.
        last: the highest number that the model's folders and events bear.
        finish: writes the small records for a version name and returns the version's digest; called again for the next
            number where another process, on a disk without locks, was faster.
        aliases: aliases to set, each with the id of the event that it follows.

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
        drafts = []
        for event in events:
            drafts.append(stage.home / f"{event.id}.json")
            disk.write_new(drafts[-1], documents.dump_json(event.to_dict()))
        try:
            stage.publish(folder / version)
        except FileExistsError:
            number += 1
            continue
        break
    for draft in drafts:
        draft.rename(history / draft.name)
    disk.sync_folder(history)
    for alias in aliases:
        link_alias(folder, alias, version)
    return Version(ref=f"{folder.name}/{version}", path=folder / version, digest=digest), events


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
        draft.unlink(missing_ok=True)


def take_in(model: Model) -> list[Event]:
    """Write the missing ``saved`` event of each version folder that verifies; returns what was written."""
    written = []
    for version in model.versions:
        if version in model.saved:
            continue
        found = checkpoint.read(model.path / version, deep=True)
        if found.digest is None or not isinstance(found.sums, Mapping) or dict(found.hashed) != dict(found.sums):
            continue
        event = new_event("saved", model.name, version, digest=found.digest)
        (model.path / HISTORY).mkdir(exist_ok=True)
        disk.create(model.path / HISTORY / f"{event.id}.json", documents.dump_json(event.to_dict()))
        written.append(event)
    return written
