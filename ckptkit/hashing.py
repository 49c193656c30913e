"""Hash files and trees with SHA-256, and copies as they are made; what did not change is not read again.

The manifest of a tree is what ``sha256sum`` of coreutils 9.0 or later prints for it, so that anyone can recompute its
digest: ``find -L . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum | sha256sum``.
"""

import contextlib
import hashlib
import itertools
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ckptkit import disk, scanning, spreading
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.hash_cache import Cache
from ckptkit.manifest import Listing, Manifest, State, hashed_row, listed_row
from ckptkit.scanning import Found, state_of
from ckptkit.spreading import Done

if TYPE_CHECKING:
    from concurrent.futures import Executor

Progress = Callable[[int], None]
"""Called with the number of bytes done since the last call, 0 where there is only time to tell of."""

LARGE = 4 << 20
"""Files of at least so many bytes are hashed in threads; below, a thread costs more than it brings."""

_BLOCK = 256 << 10  # bytes; stays in the processor's cache, and is 10 % faster here than 64 KiB or 4 MiB
_BATCH = 16 << 20  # bytes that an executor's worker hashes at once
_CHANGED = scanning.CHANGED, scanning.QUIET


class OutOfTimeError(CkptkitError):
    """Raised when the time that was given for hashing is over."""


def until(seconds: float, progress: Progress | None = None) -> Progress:
    """A progress that ends the work it is given to, by raising ``OutOfTimeError`` ``seconds`` from now.

    Args:
        seconds: how long the work may take.
        progress: is told what this one is told.
    """
    end = time.monotonic() + seconds
    tell = progress or _nobody

    def tick(count: int) -> None:
        if time.monotonic() >= end:
            raise OutOfTimeError(f"hashing took longer than {seconds:g} s", "give it more time")
        tell(count)

    return tick


def _nobody(_: int) -> None:
    """The progress where nobody listens."""


def file_sha256(path: Path, *, cache: Cache | None = None, progress: Progress | None = None) -> str:
    """SHA-256 of a file, in hex.

    Args:
        path: a regular file, or a link to one.
        cache: where an unchanged file's digest is looked up, and a new one kept.
        progress: called with the number of bytes done since the last call.

    Raises:
        FormatError: it is no regular file, cannot be read, or changed while it was hashed.
    """
    tell, begun = progress or _nobody, time.time_ns()
    descriptor = disk.open_regular(path)
    try:
        state, real = state_of(os.fstat(descriptor)), os.path.realpath(os.fsencode(path))
        if known := _recall(cache, [(real, state)])[0]:
            tell(state.size)
            return known.hex()
        sha256 = _pump(descriptor, None, state.size, _block(), tell)
        _require_unchanged(descriptor, state)
    except OSError as error:
        raise FormatError(f"cannot be read: {disk.reason(error)}") from error
    finally:
        os.close(descriptor)
    if cache is not None:
        cache.put(real, state, sha256, begun)
    return sha256.hex()


def _recall(cache: Cache | None, files: Sequence[tuple[bytes, State]]) -> Sequence[bytes | None]:
    return [None] * len(files) if cache is None else cache.recall(files)


def _block() -> memoryview:
    return memoryview(bytearray(_BLOCK))


def _pump(reader: int, writer: int | None, size: int, buffer: memoryview, tell: Progress) -> bytes:
    """The digest of a file of ``size`` bytes, from where it is read on; a file that grows could be read for ever."""
    sha256 = hashlib.sha256()
    done = 0
    while count := os.readv(reader, [buffer]):
        block = buffer[:count]
        sha256.update(block)
        while writer is not None and block:
            block = block[os.write(writer, block) :]
        done += count
        tell(count)
        if done > size or (done == size and count < len(buffer)):  # a short read: there is no more
            break
    if done != size:
        raise FormatError(*_CHANGED)
    return sha256.digest()


def _require_unchanged(descriptor: int, state: State) -> None:
    now = os.fstat(descriptor)  # not the inode: some network disks number files anew on each machine
    if (now.st_size, now.st_mtime_ns, now.st_ctime_ns) != state[:3]:
        raise FormatError(*_CHANGED)


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
            state = state_of(os.fstat(reader))
            return _copy(reader, target, state, progress or _nobody).hex(), state.size
        finally:
            os.close(reader)
    except FormatError as error:
        raise CkptkitError(f"{source} {error.message}", error.hint) from error


def _copy(reader: int, target: Path, state: State, tell: Progress) -> bytes:
    writer = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        cloned = disk.clone(reader, writer)
        digest = _pump(writer if cloned else reader, None if cloned else writer, state.size, _block(), tell)
        os.fsync(writer)
        _require_unchanged(reader, state)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    finally:
        os.close(writer)
    return digest


def scan(folder: Path, *, progress: Progress | None = None) -> Listing:
    """The names and states of all files below ``folder`` that ``tree`` would hash; none is read.

    Args:
        folder: the tree.
        progress: called with 0 now and then.

    Raises:
        CkptkitError: as ``tree``, as far as that shows without reading files.
    """
    tell, rows, walk = progress or _nobody, list[bytes](), scanning.Walk(folder)
    for batch in _batches(walk.files()):
        rows += [listed_row(found.path, found.state) for found in batch]
        tell(0)
    walk.require_unchanged()
    return Listing(rows=_sorted(rows, folder))


def _batches(files: Iterator[Found]) -> Iterator[list[Found]]:
    while batch := list(itertools.islice(files, Cache.MOST)):
        yield batch


def tree(
    folder: Path, *, cache: Cache | None = None, progress: Progress | None = None, executor: "Executor | None" = None
) -> Manifest:
    """Hash every regular file at any depth below ``folder``; links to files and folders are followed.

    Args:
        folder: the tree.
        cache: where unchanged files' digests are looked up, and new ones kept.
        progress: called with the number of bytes done since the last call.
        executor: hashes in place of this process; its workers see the same files under the same absolute paths.

    Raises:
        CkptkitError: there is no file, or one entry is a broken link, leads back to a folder above it, is a FIFO,
            socket or device, cannot be read, or changed or vanished while it was hashed; the message names it.
    """
    tell, rows = progress or _nobody, list[bytes]()
    walk = scanning.Walk(folder if executor is None else os.path.abspath(folder))  # noqa: PTH100 - links stay
    unknown = _unknown(walk.files(), cache, tell, rows)
    if executor is None:
        hashed = _here(unknown, tell)
    else:
        hashed = spreading.spread(unknown, lambda files: executor.submit(digests, files), _BATCH, tell)
    with contextlib.closing(hashed):
        for found, digest, begun in hashed:
            rows.append(hashed_row(found.path, digest, found.state.size))
            if cache is not None:
                cache.put(found.real, found.state, digest, begun)
    walk.require_unchanged()
    return Manifest(rows=_sorted(rows, folder))


def _sorted(rows: list[bytes], folder: Path) -> list[bytes]:
    if not rows:
        raise CkptkitError(f"{folder} holds no file", "name a folder with at least one file in it")
    rows.sort()
    return rows


def _unknown(files: Iterator[Found], cache: Cache | None, tell: Progress, rows: list[bytes]) -> Iterator[Found]:
    """The files that the cache does not know; those that it knows go into ``rows``."""
    for batch in _batches(files):
        tell(0)
        known = _recall(cache, [(found.real, found.state) for found in batch])
        for found, digest in zip(batch, known, strict=True):
            if digest is None:
                yield found
            else:
                rows.append(hashed_row(found.path, digest, found.state.size))
                tell(found.state.size)


def _here(files: Iterable[Found], tell: Progress) -> Generator[Done]:
    """Small files one by one, then large ones in threads."""
    buffer, large = _block(), []
    for found in files:
        if found.state.size < LARGE:
            begun = time.time_ns()
            yield found, _hash(found.full, found.state, buffer, tell), begun
        else:
            large.append(found)
    if large:
        yield from spreading.in_threads(large, digests, tell)


def _hash(path: bytes, state: State, buffer: memoryview, tell: Progress) -> bytes:
    """The digest of a regular file, with little around it, a million times.

    Raises:
        CkptkitError: it cannot be read, or is not in its state any more; the message names it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            digest = _pump(descriptor, None, state.size, buffer, tell)
            _require_unchanged(descriptor, state)
        finally:
            os.close(descriptor)
    except FormatError as error:
        raise CkptkitError(f"{os.fsdecode(path)} {error.message}", error.hint) from error
    except OSError as error:
        raise scanning.unreadable(path, error) from error
    return digest


def digests(files: Sequence[tuple[bytes, State]], tell: Progress = _nobody) -> list[bytes]:
    """The digests of files, as workers make them, in whatever process on whatever machine.

    Args:
        files: path and state of each.
        tell: called with the number of bytes done since the last call.

    Raises:
        CkptkitError: a file cannot be read, or is not in its state any more; the message names it.
    """
    buffer = _block()
    return [_hash(path, state, buffer, tell) for path, state in files]
