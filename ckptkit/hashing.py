"""Hash files and trees with SHA-256, and copies as they are made; what did not change is not read again.

The manifest of a tree is what ``sha256sum`` of coreutils 9.0 or later prints for it, so that anyone can recompute its
digest: ``find -L . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum | sha256sum``.
"""

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ckptkit import disk
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.hash_cache import Cache, State
from ckptkit.manifest import Hashed, Manifest

Progress = Callable[[int], None]
"""Called with the number of bytes done since the last call."""

LARGE = 4 << 20
"""Files of at least so many bytes are hashed in threads; below, a thread costs more than it brings."""

_BLOCK = 1 << 20
_CHANGED = "changed while it was hashed", "wait until nothing writes to it"
_Result = tuple[str, State, int]  # SHA-256 in hex, the file's state, when hashing began in nanoseconds since the epoch


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


def _recall(cache: Cache | None, real: str, state: State, progress: Progress | None) -> str | None:
    sha256 = cache.get(real, state) if cache is not None else None
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
        sha256 = _pump(descriptor, None, state[0], progress)
        _require_unchanged(descriptor, state)
    except OSError as error:
        raise FormatError(f"cannot be read: {disk.reason(error)}") from error
    finally:
        os.close(descriptor)
    return sha256, state, begun


def _require_unchanged(descriptor: int, state: State) -> None:
    if _state(os.fstat(descriptor)) != state:
        raise FormatError(*_CHANGED)


def _state(status: os.stat_result) -> State:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _pump(reader: int, writer: int | None, size: int, progress: Progress | None) -> str:
    sha256 = hashlib.sha256()
    buffer = memoryview(bytearray(min(size + 1, _BLOCK)))
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
        raise FormatError(*_CHANGED)
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
        cloned = disk.clone(reader, writer)
        sha256 = _pump(writer if cloned else reader, None if cloned else writer, state[0], progress)
        os.fsync(writer)
        _require_unchanged(reader, state)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    finally:
        os.close(writer)
    return sha256


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
            sha256 = _recall(cache, found.real, state, progress)
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
