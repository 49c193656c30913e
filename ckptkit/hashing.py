"""Hash a file or a tree with SHA-256, and remember what did not change.

The manifest of a tree is what ``sha256sum`` of coreutils 9.0 or later prints for it, so that anyone can recompute its
digest: ``find -L . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum | sha256sum``.
"""

import contextlib
import hashlib
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from ckptkit import disk
from ckptkit.errors import CkptkitError, FormatError

if TYPE_CHECKING:
    import sqlite3

Progress = Callable[[int], None]
"""Called with the number of bytes done since the last call."""

LARGE = 4 << 20
"""Files of at least so many bytes are hashed in threads; below, a thread costs more than it brings."""

_BLOCK = 1 << 20
_FICLONE = 0x40049409  # ioctl_ficlone(2)

State = tuple[int, int, int, int]
"""What ``stat`` tells about content: size in bytes, mtime and ctime in nanoseconds, inode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashed:
    """A file of a tree: POSIX path below it, SHA-256 in hex, size in bytes."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Every file of a tree, sorted by the bytes of the path."""

    entries: tuple[Hashed, ...]

    @property
    def text(self) -> bytes:
        """The manifest as ``sha256sum`` writes it."""
        return dump_manifest((entry.path, entry.sha256) for entry in self.entries)

    @property
    def digest(self) -> str:
        """``sha256:`` and the SHA-256 of ``text``."""
        return f"sha256:{hashlib.sha256(self.text).hexdigest()}"

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(entry.bytes for entry in self.entries)


class Cache:
    """Digests of files that ``stat`` says are unchanged, in one sqlite file; never raises, at worst costs time."""

    NAME = "hashes.sqlite"
    _PATIENCE = 0.2  # seconds to wait, once, for another process that writes
    _BATCH = 50_000  # rows kept in memory before they are written
    _GRANULARITY = 2_000_000_000  # nanoseconds: the coarsest clock of a file system (FAT)

    def __init__(self, folder: Path | None) -> None:
        """Use the sqlite file in ``folder``; None remembers nothing."""
        self._connection: sqlite3.Connection | None = None
        self._new: list[tuple[bytes, int, int, int, int, bytes]] = []
        if folder is not None:
            self._connect(folder)

    def _connect(self, folder: Path) -> None:
        import sqlite3

        self._file = folder / self.NAME
        with self._forgiving(), contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self._file, timeout=self._PATIENCE)
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS files (path BLOB PRIMARY KEY, size INTEGER, mtime INTEGER, ctime INTEGER, "
                "inode INTEGER, sha256 BLOB) WITHOUT ROWID"
            )

    @classmethod
    def open(cls, enabled: bool = True) -> Self:  # noqa: FBT001, FBT002 - the one switch there is
        """The cache in ``$CKPTKIT_CACHE``, else in the user's cache folder; not ``enabled``, one that is never used."""
        if not enabled:
            return cls(None)
        named = os.environ.get("CKPTKIT_CACHE")
        if named:
            return cls(Path(named))
        import platformdirs

        return cls(Path(platformdirs.user_cache_dir("ckptkit")))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, real: str, state: State) -> str | None:
        """The digest of the file at the real path ``real`` if it was hashed in this very state."""
        if self._connection is None:
            return None
        with self._forgiving():
            row = self._connection.execute(
                "SELECT sha256 FROM files WHERE path = ? AND size = ? AND mtime = ? AND ctime = ? AND inode = ?",
                (os.fsencode(real), *map(_signed, state)),
            ).fetchone()
            if row is not None and isinstance(row[0], bytes) and len(row[0]) == hashlib.sha256().digest_size:
                return row[0].hex()
        return None

    def put(self, real: str, state: State, sha256: str, begun: int) -> None:
        """Remember a digest.

        Args:
            real: the real path.
            state: the file's state, the same before and after.
            sha256: digest in hex.
            begun: when hashing began, in nanoseconds since the epoch. A file modified shortly before is not
                remembered: a later change could bear the same time.
        """
        if self._connection is None or begun - max(state[1], state[2]) < self._GRANULARITY:
            return
        self._new.append((os.fsencode(real), *map(_signed, state), bytes.fromhex(sha256)))  # type: ignore[arg-type]
        if len(self._new) >= self._BATCH:
            self._write()

    def close(self) -> None:
        """Write what is new and let go of the file."""
        self._write()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _write(self) -> None:
        rows, self._new = self._new, []
        if rows and self._connection is not None:
            with self._forgiving(), self._connection:
                self._connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", rows)

    @contextlib.contextmanager
    def _forgiving(self) -> Iterator[None]:
        """After the first fault the cache is not asked again; a damaged file is removed for a new one to begin."""
        import sqlite3

        try:
            yield
        except sqlite3.Error as error:
            if self._connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.close()
            self._connection = None
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                with contextlib.suppress(OSError):
                    self._file.unlink()


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number  # sqlite's integers are signed, inodes are not


def file_sha256(path: Path, *, cache: Cache | None = None, progress: Progress | None = None) -> str:
    """SHA-256 of a file, in hex.

    Args:
        path: a regular file, or a link to one.
        cache: where an unchanged file's digest is looked up, and a new one kept.
        progress: called with the number of bytes done since the last call.

    Raises:
        FormatError: it is no regular file, cannot be read, or changed while it was hashed.
    """
    if cache is None:
        return _hash(path, progress)[0]
    real = os.path.realpath(path)
    known = None
    with contextlib.suppress(OSError, ValueError):
        known = _recall(cache, real, _state(path.stat()), progress)
    return known or _remember(cache, real, _hash(path, progress))[0]


_Result = tuple[str, State, int]  # SHA-256 in hex, the file's state, when hashing began in nanoseconds since the epoch


def _recall(cache: Cache, real: str, state: State, progress: Progress | None) -> str | None:
    sha256 = cache.get(real, state)
    if sha256 is not None and progress is not None:
        progress(state[0])
    return sha256


def _remember(cache: Cache | None, real: str, result: _Result) -> _Result:
    if cache is not None:
        sha256, state, begun = result
        cache.put(real, state, sha256, begun)
    return result


def _hash(path: str | Path, progress: Progress | None) -> _Result:
    begun = time.time_ns()
    descriptor = disk.open_regular(path)
    try:
        state = _state(os.fstat(descriptor))
        sha256 = _digest(descriptor, state[0], progress)
        _require_unchanged(descriptor, state)
    except OSError as error:
        raise FormatError(f"cannot be read: {disk.reason(error)}") from error
    finally:
        os.close(descriptor)
    return sha256, state, begun


def _require_unchanged(descriptor: int, state: State) -> None:
    if _state(os.fstat(descriptor)) != state:
        raise _changed()


def _changed() -> FormatError:
    return FormatError("changed while it was hashed", "wait until nothing writes to it")


def _state(status: os.stat_result) -> State:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _digest(descriptor: int, size: int, progress: Progress | None) -> str:
    if size < _BLOCK:
        data = os.read(descriptor, size + 1)
        if len(data) == size:
            if progress is not None:
                progress(size)
            return hashlib.sha256(data).hexdigest()
        os.lseek(descriptor, 0, os.SEEK_SET)
    return _pump(descriptor, None, size, progress)


def _pump(reader: int, writer: int | None, size: int, progress: Progress | None) -> str:
    sha256 = hashlib.sha256()
    buffer = memoryview(bytearray(_BLOCK))
    left = size
    while left >= 0 and (count := os.readv(reader, [buffer])):  # a file that grows could be read for ever
        block = buffer[:count]
        sha256.update(block)
        while writer is not None and block:
            block = block[os.write(writer, block) :]
        if progress is not None:
            progress(count)
        left -= count
    if left:
        raise _changed()
    return sha256.hexdigest()


def copy_sha256(source: Path, target: Path, *, progress: Progress | None = None) -> tuple[str, int]:
    """Copy a file to the new name ``target``, synced, and hash it in the same pass; cloned where the disk can.

    Returns:
        The SHA-256 in hex and the size in bytes.

    Raises:
        CkptkitError: ``source`` cannot be read, or changed while it was copied.
        OSError: the disk is full, or ``target`` exists. In every case nothing new is left at ``target``.
    """
    try:
        reader = disk.open_regular(source)
        try:
            state = _state(os.fstat(reader))
            return _copy(reader, target, state, progress), state[0]
        finally:
            os.close(reader)
    except FormatError as error:
        raise CkptkitError(f"{source} {error.message}", error.hint) from error


def _copy(reader: int, target: Path, state: State, progress: Progress | None) -> str:
    writer = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        if _clone(reader, writer):
            sha256 = _pump(writer, None, state[0], progress)
        else:
            sha256 = _pump(reader, writer, state[0], progress)
        os.fsync(writer)
        _require_unchanged(reader, state)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    finally:
        os.close(writer)
    return sha256


def _clone(reader: int, writer: int) -> bool:
    import fcntl

    try:
        fcntl.ioctl(writer, _FICLONE, reader)
    except OSError:  # another disk, or one that cannot share blocks
        return False
    return True


class _Found(NamedTuple):
    """A file of a tree: path below it, path to open, real path."""

    path: str
    full: str
    real: str


class _Folder(NamedTuple):
    """A folder on the way down; ``above`` is the one that it was reached through, whatever links did."""

    prefix: str
    full: str
    real: str
    above: "_Folder | None"


def tree(folder: Path, *, cache: Cache | None = None, progress: Progress | None = None) -> Manifest:
    """Hash every regular file at any depth below ``folder``; links to files and folders are followed.

    Raises:
        CkptkitError: there is no file, or one entry is a broken link, leads back to a folder above it, is a FIFO,
            socket or device, cannot be read, or changed while it was hashed; the message names it.
    """
    entries: list[Hashed] = []
    large: list[_Found] = []
    for found in _files(folder):
        with _naming(found.full):
            state = _state(os.stat(found.full))  # noqa: PTH116 - a str, a million times
            sha256 = _recall(cache, found.real, state, progress) if cache is not None else None
            if sha256 is None and state[0] >= LARGE:
                large.append(found)
                continue
            if sha256 is None:
                sha256, state, _ = _remember(cache, found.real, _hash(found.full, progress))
        entries.append(Hashed(path=found.path, sha256=sha256, bytes=state[0]))
    if large:
        entries += _hash_large(large, cache, progress)
    if not entries:
        raise CkptkitError(f"{folder} holds no file", "name a folder with at least one file in it")
    entries.sort(key=lambda entry: os.fsencode(entry.path))
    return Manifest(entries=tuple(entries))


def _hash_large(files: Iterable[_Found], cache: Cache | None, progress: Progress | None) -> Iterator[Hashed]:
    import threading
    from concurrent.futures import ThreadPoolExecutor, as_completed

    lock, stop = threading.Lock(), threading.Event()

    def tick(count: int) -> None:
        if stop.is_set():
            raise InterruptedError
        if progress is not None:
            with lock:
                progress(count)

    def hashed(found: _Found) -> _Result:
        with _naming(found.full):
            return _hash(found.full, tick)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting = {pool.submit(hashed, found): found for found in files}
        try:
            for done in as_completed(waiting):
                found = waiting[done]
                sha256, state, _ = _remember(cache, found.real, done.result())
                yield Hashed(path=found.path, sha256=sha256, bytes=state[0])
        except BaseException:  # an error or Ctrl-C need not wait for the gigabytes under way
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _files(folder: Path) -> Iterator[_Found]:
    waiting = [_Folder("", os.fspath(folder), os.path.realpath(folder), None)]
    while waiting:
        here = waiting.pop()
        with _naming(here.full), os.scandir(here.full) as names:
            listed = list(names)
        for entry in listed:
            linked = entry.is_symlink()
            real = os.path.realpath(entry.path) if linked else os.path.join(here.real, entry.name)  # noqa: PTH118 - str
            mode = _mode(entry, linked=linked)
            if stat.S_ISREG(mode):
                yield _Found(here.prefix + entry.name, entry.path, real)
            elif stat.S_ISDIR(mode):
                waiting.append(_below(here, entry, real))
            else:
                raise CkptkitError(f"{entry.path} is a FIFO, socket or device", "a dataset holds files only: remove it")


def _mode(entry: "os.DirEntry[str]", *, linked: bool) -> int:
    if not linked:  # told by the folder itself, mostly: no further call to the system
        if entry.is_file(follow_symlinks=False):
            return stat.S_IFREG
        return stat.S_IFDIR if entry.is_dir(follow_symlinks=False) else 0
    try:
        return entry.stat().st_mode
    except OSError as error:
        raise CkptkitError(
            f"{entry.path} is a broken link: {disk.reason(error)}", "mend where it points, or remove it"
        ) from error


def _below(here: _Folder, entry: "os.DirEntry[str]", real: str) -> _Folder:
    above: _Folder | None = here
    while above is not None:
        if above.real == real:
            raise CkptkitError(f"{entry.path} is a link back to {above.full}, without end", "remove the link")
        above = above.above
    return _Folder(f"{here.prefix}{entry.name}/", entry.path, real, here)


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    """Give errors the path that they are about."""
    try:
        yield
    except FormatError as error:
        raise CkptkitError(f"{path} {error.message}", error.hint) from error
    except OSError as error:
        raise CkptkitError(f"{path} cannot be read: {disk.reason(error)}") from error


_ESCAPES = {b"\\": rb"\\", b"\n": rb"\n", b"\r": rb"\r"}
_CHARACTERS = {pair: character for character, pair in _ESCAPES.items()}
_SPECIAL = re.compile(rb"[\\\n\r]")
_PAIR = re.compile(rb"\\[\\nr]")
_ESCAPED = re.compile(rb"(?:[^\\\r]|\\[\\nr])+")
_LINE = re.compile(rb"(\\?)([0-9a-f]{64}) [ *]\./([^\0]+)")


def dump_manifest(entries: Iterable[tuple[str, str]]) -> bytes:
    r"""A manifest in the format of GNU ``sha256sum``, coreutils 9.0 or later.

    Args:
        entries: path (POSIX, relative, without ``./``) and SHA-256 in hex of each file.

    Returns:
        Lines ``<hex>  ./<path>`` sorted by the bytes of the path. A line whose path holds a backslash, newline or
        carriage return begins with a backslash, and they are written ``\\``, ``\n`` and ``\r``.
    """
    return b"".join(
        _line(path, sha256) for path, sha256 in sorted((os.fsencode(path), sha256) for path, sha256 in entries)
    )


def load_manifest(data: bytes) -> dict[str, str]:
    """Read a manifest; the strict inverse of ``dump_manifest``, but for the order of the lines and ``*`` for binary.

    Returns:
        For each path (without ``./``) its SHA-256 in hex.

    Raises:
        FormatError: a line is of another form, or names a path twice or one that is not plainly below the folder.
    """
    if data and not data.endswith(b"\n"):
        raise FormatError("its last line is cut off", line=data.count(b"\n") + 1)
    out: dict[str, str] = {}
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        path, sha256 = _entry(line, number)
        if path in out:
            raise FormatError(f"{path!r} stands twice", "keep one of the lines", line=number)
        out[path] = sha256
    return out


def _line(path: bytes, sha256: str) -> bytes:
    escaped = _SPECIAL.sub(lambda found: _ESCAPES[found[0]], path)
    return b"%s%s  ./%s\n" % (b"\\" if escaped != path else b"", sha256.encode(), escaped)


def _entry(line: bytes, number: int) -> tuple[str, str]:
    found = _LINE.fullmatch(line)
    if not found:
        raise FormatError("is not of the form '<64 hex digits>  ./<path>'", line=number)
    marked, sha256, path = bool(found[1]), found[2].decode(), found[3]
    if not marked and path.endswith(b"\r"):
        raise FormatError("ends in CR LF", "something converted its line ends: restore the file", line=number)
    if marked != bool(_SPECIAL.search(path)) or (marked and not _ESCAPED.fullmatch(path)):
        raise FormatError("its backslashes are not those of sha256sum", line=number)
    if marked:
        path = _PAIR.sub(lambda pair: _CHARACTERS[pair[0]], path)
    if not {b"", b".", b".."}.isdisjoint(path.split(b"/")):
        raise FormatError(f"{os.fsdecode(path)!r} is not plainly below the folder", line=number)
    return os.fsdecode(path), sha256
