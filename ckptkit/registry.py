"""The registry: models, versions and aliases from folders and events.

Version folders and ``history/`` are the truth. What is derived from them is in ``index``.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ckptkit import checkpoint, disk, documents, history, names, words
from ckptkit.checkpoint import Unreadable
from ckptkit.errors import CkptkitError, FormatError, NotFoundError
from ckptkit.history import State
from ckptkit.record import EVENT, Event

HOME = ".ckptkit"
HISTORY = "history"
README = "README.md"
INDEX = "index.json"


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

    ``state`` is what the events come to; ``broken`` are the event files that cannot be read, by name, and ``spoken`` is
    the highest number that can be seen in them; ``links`` are the names that begin with ``@`` and where they lead
    (None: not a link); ``others`` are further names in the folder.
    """

    name: str
    path: Path
    versions: tuple[str, ...]
    events: tuple[Event, ...]
    state: State
    broken: Mapping[str, Unreadable]
    spoken: int
    links: Mapping[str, str | None]
    others: tuple[str, ...]

    @property
    def last(self) -> int:
        """The highest number that a folder or an event bears; 0 without any."""
        return max(self.state.last, self.spoken, *map(names.counted, self.versions), 0)

    @property
    def unrecorded(self) -> tuple[str, ...]:
        """The version folders of which no event says that they were saved."""
        return tuple(version for version in self.versions if version not in self.state.saved)


def models(root: Path) -> Iterator[Model]:
    """All models of a registry by name; folders that are not ckptkit's are passed over.

    Raises:
        NotFoundError: there is no such folder.
        CkptkitError: ``root`` cannot be listed.
    """
    for name in model_names(root):
        yield read_model(root / name)


def model_names(root: Path) -> Iterator[str]:
    """The names of all models of a registry, sorted; see ``models``."""
    try:
        listed = sorted(os.listdir(root))
    except FileNotFoundError:
        raise NotFoundError(f"no registry at {root}", "name its root with --root DIR") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise CkptkitError(f"{root}: {disk.reason(error)}", "name a registry root with --root DIR") from error
    for name in listed:
        if not name.startswith(".") and is_model(root / name):
            yield name


def is_model(folder: Path) -> bool:
    """Whether a folder, or what a link leads to, is a registered model.

    It has a history, or a version folder with a record of ours in it.
    """
    if os.path.isdir(folder / HISTORY):  # noqa: PTH112 - Path.is_dir raises where a folder may not be entered
        return True
    return any(names.folder_number(name) and is_version(folder / name) for name in names_in(folder))


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
    """Read a model's folder and history; a file that cannot be read is a value, not an exception.

    Raises:
        CkptkitError: a folder cannot be listed.
    """
    versions, links, others = [], {}, []
    for name in _listed(folder):
        path = folder / name
        if names.folder_number(name) and path.is_dir() and not path.is_symlink():
            versions.append(name)
        elif name.startswith("@"):
            links[name] = str(path.readlink()) if path.is_symlink() else None
        elif name != HISTORY:
            others.append(name)
    events, broken, spoken = [], {}, 0
    for name in _listed(folder / HISTORY):
        if name.startswith("."):
            continue
        event = read_event(folder / HISTORY / name)
        if isinstance(event, Unreadable):
            broken[name] = event
            spoken = max(spoken, _spoken(folder / HISTORY / name))
        else:
            events.append(event)
    return Model(
        name=folder.name,
        path=folder,
        versions=tuple(sorted(versions, key=lambda name: names.folder_number(name) or 0)),
        events=tuple(sorted(events, key=history.order)),
        state=history.state(events),
        broken=broken,
        spoken=spoken,
        links=links,
        others=tuple(others),
    )


def _listed(folder: Path) -> list[str]:
    """The names in a folder, sorted; none where there is no folder.

    Raises:
        CkptkitError: it cannot be listed, which must not pass for a history without events.
    """
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CkptkitError(
            f"{folder} cannot be listed: {disk.reason(error)}", "give yourself the right to read it"
        ) from error


def _spoken(path: Path) -> int:
    """The highest number of a version that a file names which is no event, such as one of a later format."""
    try:
        found = _NUMBERS.findall(disk.read_regular(path))
    except FormatError:
        return 0
    return max((names.counted(name.decode()) for name in found), default=0)


_NUMBERS = re.compile(rb'"(v[0-9]{4,18})"')


def names_in(folder: Path) -> list[str]:
    """The names in a folder, sorted; none where it cannot be listed."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def read_event(path: Path) -> Event | Unreadable:
    """One event file, or a draft of one."""
    try:
        event = Event.from_dict(documents.load_json(disk.read_regular(path)))
    except FormatError as error:
        return Unreadable(reason=error.message, hint=error.hint, line=error.line, column=error.column)
    if path.name.removeprefix(".") != f"{event.id}.json":
        return Unreadable(reason=f"its name is not its id, {event.id}")
    return event


def new_event(
    kind: str,
    model: str,
    version: str | None,
    *,
    after: Event | None = None,
    **facts: Any,  # noqa: ANN401 - the fields of Event
) -> Event:
    """An event of this moment.

    Args:
        kind: what happened; see ``Event``.
        model: the registered model.
        version: the version that it speaks of, if any.
        after: an event that it has to come after, though the clock of the machine that wrote that one went ahead.
        facts: further fields of ``Event``.
    """
    now = datetime.now(UTC)
    before = words.moment(after.time) if after else None
    if before is not None and before >= now:
        now = before + timedelta(microseconds=1)
    return Event(
        schema=EVENT,
        id=f"{now:%Y%m%dT%H%M%S}.{now.microsecond:06d}Z-{secrets.token_hex(4)}",
        time=f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond:06d}Z",
        kind=kind,
        model=model,
        version=version,
        **facts,
    )
