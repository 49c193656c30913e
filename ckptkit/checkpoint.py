"""A version folder: the only room that knows what one looks like. Reading it here, writing it in ``Stage``.

Reading raises nothing: what cannot be read or parsed is an ``Unreadable`` value that a rule can speak of. Nothing is
unpickled and no link is followed.
"""

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from ckptkit import disk, documents, hashing, manifest, weights
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.record import Lineage

CARD = "README.md"
CONFIG = "config.yaml"
LINEAGE = "lineage.json"
REQUIREMENTS = "requirements.txt"
PATCH = "code.patch"
SUMS = "SHA256SUMS"
DATA = "data"
RECORDS = frozenset({CARD, CONFIG, LINEAGE, REQUIREMENTS, "requirements-vcs.txt", PATCH, SUMS})
RESERVED = frozenset(name.lower() for name in RECORDS) | {DATA, "code"}
"""First parts of paths, in lower case, that saved files may not take. ``code/`` is kept for copies of sources."""

HASHED_ALWAYS = 1 << 20
"""Files of at most so many bytes are hashed in every reading; larger ones in a deep one."""

SEALED = 0o444
"""The most that the mode of a sealed file allows."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """In place of content: why it could not be read, and where in the file (1-based) when that is known."""

    reason: str
    hint: str = ""
    line: int | None = None
    column: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One name below a version folder; ``bytes`` and permission bits as the file system has them."""

    kind: Literal["file", "folder", "link", "other", "unreadable"]
    bytes: int
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The model card: its text, its YAML block parsed (None without one), and the text after that block."""

    text: str
    front: Mapping[str, Any] | Unreadable | None
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A version folder as it was found. None stands for a file that is not there.

    ``entries`` are all names below ``path``, relative and POSIX; ``sums`` is what SHA256SUMS lists, ``digest`` the
    digest of that file; ``hashed`` holds the digests made in this reading; ``raw`` is lineage.json as plain JSON,
    ``lineage`` the same as a record; ``texts`` the small text records by path; ``headers`` what the headers of the
    saved files say; ``pruned`` are the paths of saved files that were removed on purpose.
    """

    path: Path
    model: str
    version: str
    deep: bool
    entries: Mapping[str, Entry]
    sums: Mapping[str, str] | Unreadable | None
    digest: str | None
    hashed: Mapping[str, str | Unreadable]
    raw: Any | Unreadable | None
    lineage: Lineage | Unreadable | None
    config: Any | Unreadable | None
    card: Card | Unreadable | None
    texts: Mapping[str, str | Unreadable]
    headers: Mapping[str, weights.Header | Unreadable]
    pruned: frozenset[str]

    @property
    def ref(self) -> str:
        """``model/version``, by today's folder names."""
        return f"{self.model}/{self.version}"

    @property
    def saved(self) -> Iterator[str]:
        """Paths of the files that are not ckptkit's own records, whether listed in SHA256SUMS or found."""
        listed = self.sums if isinstance(self.sums, Mapping) else {}
        for path in sorted({*listed, *(path for path, entry in self.entries.items() if entry.kind != "folder")}):
            if not is_record(path):
                yield path


def is_whole(folder: Path) -> bool:
    """Whether a folder is a version folder: it has a lineage and is sealed."""
    return (folder / LINEAGE).is_file() and (folder / SUMS).is_file()


def is_record(path: str) -> bool:
    """Whether ckptkit itself wrote this path of a version folder."""
    first, _, rest = path.partition("/")
    return path in RECORDS or (bool(rest) and first in {DATA, "code"})


def read(
    folder: Path,
    *,
    deep: bool = False,
    pruned: frozenset[str] = frozenset(),
    progress: hashing.Progress | None = None,
) -> Checkpoint:
    """Read a version folder.

    Args:
        folder: the version folder; its name and its parent's are taken for version and model.
        deep: hash every listed file from its bytes, whatever its size.
        pruned: the saved files that were removed on purpose, as the history says.
        progress: called with the number of bytes hashed since the last call.
    """
    entries = dict(_walk(folder))
    small = {path: _bytes(folder / path) for path, entry in entries.items() if _is_small(path, entry)}
    found = _value(small.get(SUMS), manifest.load)
    sums = found if isinstance(found, Mapping) else {}
    hashed = {
        path: _hash(folder / path, small.get(path), progress)
        for path in sums
        if path in entries and entries[path].kind == "file" and (path in small or deep)
    }
    raw = _value(small.get(LINEAGE), documents.load_json)
    sealed = small.get(SUMS)
    return Checkpoint(
        path=folder,
        model=folder.parent.name,
        version=folder.name,
        deep=deep,
        entries=entries,
        sums=found,
        digest=f"sha256:{hashlib.sha256(sealed).hexdigest()}" if isinstance(sealed, bytes) else None,
        hashed=hashed,
        raw=raw,
        lineage=raw if isinstance(raw, Unreadable | None) else _value(raw, Lineage.from_dict),
        config=_value(small.get(CONFIG), lambda data: documents.finite(documents.load_yaml(data))),
        card=_value(small.get(CARD), load_card),
        texts={path: _text(data) for path, data in small.items() if _is_text_record(path)},
        headers={
            path: _header(folder / path)
            for path, entry in entries.items()
            if entry.kind == "file" and not is_record(path)
        },
        pruned=pruned,
    )


def read_lineage(folder: Path) -> Lineage:
    """Only lineage.json.

    Raises:
        FormatError: it is missing, cannot be read, or is not of its form.
    """
    return Lineage.from_dict(documents.load_json(disk.read_regular(folder / LINEAGE)))


def _walk(folder: Path) -> Iterator[tuple[str, Entry]]:
    below = [""]
    while below:
        prefix = below.pop()
        try:
            with os.scandir(folder / prefix) as names:
                listed = sorted(names, key=lambda each: os.fsencode(each.name))
        except OSError:
            yield prefix.rstrip("/") or ".", Entry(kind="unreadable", bytes=0, mode=0)
            continue
        for item in listed:
            path = prefix + item.name
            try:
                status = item.stat(follow_symlinks=False)
            except OSError:
                yield path, Entry(kind="unreadable", bytes=0, mode=0)
                continue
            kind = _kind(status.st_mode)
            yield path, Entry(kind=kind, bytes=status.st_size, mode=stat.S_IMODE(status.st_mode))
            if kind == "folder":
                below.append(f"{path}/")


def _kind(mode: int) -> Literal["file", "folder", "link", "other"]:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "other"


def _is_small(path: str, entry: Entry) -> bool:
    limit = disk.RECORD_LIMIT if is_record(path) else HASHED_ALWAYS
    return entry.kind == "file" and entry.bytes <= limit


def _is_text_record(path: str) -> bool:
    return path in {CARD, CONFIG, LINEAGE, REQUIREMENTS, SUMS} or path.startswith(f"{DATA}/")


def _bytes(path: Path) -> bytes | Unreadable:
    try:
        return disk.read_regular(path)
    except FormatError as error:
        return Unreadable(reason=error.message, hint=error.hint)


def _value(data: Any, parse: Callable[[Any], T]) -> T | Unreadable | None:  # noqa: ANN401 - bytes, JSON or a path
    if data is None or isinstance(data, Unreadable):
        return data
    try:
        return parse(data)
    except FormatError as error:
        return Unreadable(reason=error.message, hint=error.hint, line=error.line, column=error.column)


def _header(path: Path) -> weights.Header | Unreadable:
    try:
        return weights.read_header(path)
    except FormatError as error:
        return Unreadable(reason=error.message, hint=error.hint)


def _hash(path: Path, data: bytes | Unreadable | None, progress: hashing.Progress | None) -> str | Unreadable:
    if isinstance(data, Unreadable):
        return data
    if data is not None:
        return hashlib.sha256(data).hexdigest()
    try:
        return hashing.file_sha256(path, progress=progress)
    except FormatError as error:
        return Unreadable(reason=error.message, hint=error.hint)


def _text(data: bytes | Unreadable) -> str | Unreadable:
    return data if isinstance(data, Unreadable) else data.decode("utf-8", "backslashreplace")


# The Hub's own expression: what it does not see as a YAML block is no YAML block.
# https://github.com/huggingface/huggingface_hub, repocard.py, REGEX_YAML_BLOCK
_FRONT = re.compile(r"^(\s*---[\r\n]+)([\S\s]*?)([\r\n]+---(\r\n|\n|$))")


def load_card(data: bytes) -> Card:
    """A model card from its bytes.

    Raises:
        FormatError: it is not UTF-8 text.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"is not UTF-8 text (byte {error.start + 1})") from None
    found = _FRONT.match(text)
    if not found:
        return Card(text=text, front=None, body=text)
    front = _value(found[2].encode(), documents.load_yaml)
    if isinstance(front, Unreadable) and front.line is not None:
        front = Unreadable(reason=front.reason, line=front.line + found[1].count("\n"), column=front.column)
    elif not isinstance(front, Mapping | Unreadable):
        front = Unreadable(reason="the YAML block is not a mapping", line=1)
    return Card(text=text, front=front, body=text[found.end() :].lstrip("\r\n"))


class Stage:
    """A version in the making: a private folder below the root's ``.ckptkit/`` that is renamed into place whole.

    Used as a context manager: leaving it without ``publish`` removes all that was staged and harms no source.
    """

    def __init__(self, home: Path) -> None:
        """Begin a stage in the new folder ``home``, whose lock tells others that its owner lives."""
        home.mkdir()
        self.home = home
        self.folder = home / "version"
        self._life = contextlib.ExitStack()
        try:
            self.folder.mkdir()
            self._life.enter_context(disk.lock(home / "lock"))
        except BaseException:
            self.__exit__()
            raise
        self._sums: dict[str, str] = {}
        self._moved: list[tuple[Path, os.stat_result]] = []
        self._linked: dict[str, os.stat_result] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        import shutil

        self._life.close()
        gone = self.home.with_name(f"gone-{self.home.name}")
        try:
            self.home.rename(gone)  # from here on nobody looks for a lock in it, and so makes one
        except OSError:
            gone = self.home
        shutil.rmtree(gone, ignore_errors=True)

    def add(self, source: Path, path: str, *, move: bool, progress: hashing.Progress | None = None) -> tuple[str, int]:
        """Stage one saved file and return its SHA-256 in hex and its size in bytes.

        With ``move`` the file is linked in where the disk allows it and nothing else links to it; the source itself is
        only removed by ``remove_sources`` after publication.

        Raises:
            CkptkitError: the source changed while it was read.
            OSError: the disk is full or refuses.
        """
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        before = source.lstat()
        if move and stat.S_ISREG(before.st_mode) and before.st_nlink == 1 and _link(source, target):
            sha256, size = hashing.file_sha256(target, progress=progress), before.st_size
            disk.sync_file(target)
            before = self._linked[path] = source.lstat()
        else:
            sha256, size = hashing.copy_sha256(source, target, progress=progress)
        if move:
            self._moved.append((source, before))
        self._sums[path] = sha256
        return sha256, size

    def exchange(self, path: str, draft: Path, *, progress: hashing.Progress | None = None) -> bool:
        """Put another file in place of a staged one, if it holds the same bytes by now.

        Args:
            path: a file that was staged, or a record that was put.
            draft: the other file, under a name in ``home`` that nobody else knows.
            progress: called with the number of bytes hashed since the last call.

        Raises:
            FormatError: it cannot be read.
            OSError: the disk refuses; what was staged is as it was.
        """
        if hashing.file_sha256(draft, progress=progress) != self._sums[path]:
            return False
        disk.sync_file(draft)
        draft.replace(self.folder / path)
        self._linked.pop(path, None)  # from here on the source may change
        return True

    @property
    def sums(self) -> Mapping[str, str]:
        """SHA-256 in hex of all that was staged so far, by path."""
        return self._sums

    def claim(self, source: Path) -> None:
        """Let ``remove_sources`` remove a file whose text went into the card."""
        self._moved.append((source, source.lstat()))

    def put(self, path: str, data: bytes) -> str:
        """Stage one of ckptkit's own records, in place of an earlier draft of it; returns its SHA-256 in hex."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        disk.write_new(target, data)
        self._sums[path] = hashlib.sha256(data).hexdigest()
        return self._sums[path]

    def seal(self) -> str:
        """Write SHA256SUMS over all that was staged and return the version's digest; the card is written after it."""
        data = manifest.dump(self._sums.items())
        self.put(SUMS, data)
        del self._sums[SUMS]
        return f"sha256:{hashlib.sha256(data).hexdigest()}"

    def put_card(self, text: str) -> None:
        """Write the model card, the one file that is not sealed."""
        self.put(CARD, text.encode("utf-8", "backslashreplace"))
        del self._sums[CARD]

    def publish(self, target: Path) -> None:
        """Rename the staged version to ``target``, complete and synced.

        Raises:
            FileExistsError: ``target`` exists; the stage is as it was and may be published under another name.
            CkptkitError: a file that was linked in to be moved was written to since it was hashed.
        """
        for path in (*self._sums, SUMS):
            if path not in self._linked:
                seal_mode(self.folder / path)
        for folder, _, _ in os.walk(self.folder):
            disk.sync_folder(Path(folder))
        if os.path.lexists(target):
            raise FileExistsError(target)
        for path, before in self._linked.items():
            if _state(self.folder.joinpath(path).lstat()) != _state(before):
                raise CkptkitError(f"{path} changed while it was saved", "save again once nothing writes to it")
        try:
            self.folder.rename(target)
        except OSError as error:
            if os.path.lexists(target):  # ENOTEMPTY, EEXIST or ENOTDIR: another process was faster
                raise FileExistsError(target) from error
            raise
        disk.sync_folder(target.parent)
        self.folder = target
        for path in self._linked:  # before the rename this would have made the source read-only
            with contextlib.suppress(OSError):
                seal_mode(target / path)

    def remove_sources(self, folders: Sequence[Path]) -> list[str]:
        """After publication, remove the sources that were to be moved, and those of ``folders`` that are empty by then.

        Returns:
            What had to stay, each with the reason.
        """
        stayed = []
        for source, before in self._moved:
            try:
                if _state(source.lstat()) != _state(before):
                    stayed.append(f"{source}: it changed after it was copied")
                    continue
                source.unlink()
            except OSError as error:
                stayed.append(f"{source}: {disk.reason(error)}")
        for top in folders:
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
        return stayed


def _state(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def seal_mode(path: Path) -> None:
    """Make a sealed file read-only, where the disk knows modes."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & ~SEALED:  # what another version shares is sealed, and may be another user's
        with contextlib.suppress(PermissionError):
            path.chmod(mode & SEALED)


def _link(source: Path, target: Path) -> bool:
    try:
        target.hardlink_to(source)
    except OSError:
        return False
    return True


def require_name(path: str) -> None:
    """Refuse a saved file's place that is ckptkit's own.

    Raises:
        CkptkitError: the first part of ``path`` is reserved, in any case.
    """
    if path.partition("/")[0].lower() in RESERVED:
        raise CkptkitError(
            f"a saved file may not be called {path}: ckptkit writes that name itself",
            "give the file another name with --as NAME, or leave it out with --exclude",
        )
