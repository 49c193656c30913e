"""The disk: capped reads of regular files, writes that are whole or absent, folders that are synced, the lock."""

import contextlib
import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckptkit.errors import CkptkitError, FormatError

RECORD_LIMIT = 64 << 20
"""Most bytes that a text record (lineage.json, a manifest, the index) may have to be read."""

CONFIG_LIMIT = 4 << 20
"""Most bytes that a configuration or metrics file may have to be read."""


def reason(error: BaseException) -> str:
    """An ``OSError`` in the system's words, without the path; ours by its message, any other by its first line."""
    if isinstance(error, CkptkitError):
        return error.message
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def advice(error: OSError) -> str:
    """What to do about it when a disk does not take what is to be written."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "free some space"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return "give yourself the right to write there"
    return "see the system's log"


def open_regular(path: str | os.PathLike[str]) -> int:
    """Open a regular file for reading and return its descriptor; links are followed, nothing blocks.

    Raises:
        FormatError: it is a folder, FIFO, socket or device, or it cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | getattr(os, "O_NOCTTY", 0))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise FormatError(f"cannot be read: {reason(error)}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FormatError("is not a regular file")
    return descriptor


def read_regular(path: str | os.PathLike[str], limit: int = RECORD_LIMIT) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes.

    Raises:
        FormatError: it is not a regular file, cannot be read, or is larger.
    """
    descriptor = open_regular(path)
    try:
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            size = os.fstat(descriptor).st_size
            if size > limit:
                raise FormatError(f"has {size:,} bytes; at most {limit:,} are read")
            data = bytearray()
            while chunk := file.read(min(limit + 1 - len(data), max(size + 1, 4096))):
                data += chunk
                if len(data) > limit:
                    raise FormatError(f"grew past {limit:,} bytes while it was read")
            return bytes(data)
    except OSError as error:
        raise FormatError(f"cannot be read: {reason(error)}") from error


def write_new(path: Path, data: bytes) -> None:
    """Create ``path`` with ``data`` and sync it; on any error nothing of it is left.

    Raises:
        OSError: the disk is full, or the name is taken.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            os.fsync(descriptor)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def create(path: Path, data: bytes) -> None:
    """Create ``path`` so that it appears whole under its name, synced; an existing file is never replaced.

    Raises:
        FileExistsError: the name is taken.
        OSError: the disk is full or refuses.
    """
    draft = draft_of(path)
    write_new(draft, data)
    try:
        try:
            os.link(draft, path)
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
            draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def replace(path: Path, data: bytes, *, by: Path | None = None) -> None:
    """Put ``data`` in place of ``path`` by one rename, synced; unchanged content is left untouched.

    Args:
        path: what is replaced.
        data: its new content.
        by: a folder on the same disk for the draft; beside ``path`` without one.

    Raises:
        OSError: the disk is full or refuses; ``path`` is as it was.
    """
    with contextlib.suppress(FormatError, OSError):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_size == len(data) and read_regular(path) == data:
            return
    draft = draft_of(path if by is None else by / path.name)
    write_new(draft, data)
    try:
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


_DRAFT = re.compile(r"\..+\.[0-9a-f]{8}")


def draft_of(path: Path) -> Path:
    """A name beside ``path`` under which it can be made before it gets its own."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def sweep(folder: Path) -> None:
    """Remove the drafts that dead processes left in a folder."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if _DRAFT.fullmatch(name) and is_old(folder / name):
                (folder / name).unlink()


def is_old(path: Path) -> bool:
    """Whether nothing changed there for a day, so that no process is still at work on it."""
    return time.time() - path.lstat().st_mtime > _DAY


_DAY = 86_400


_FICLONE = 0x40049409  # ioctl_ficlone(2)


def clone(reader: int, writer: int) -> bool:
    """Have an open new file share the bytes of another; False on disks that cannot, or on two of them."""
    import fcntl

    try:
        fcntl.ioctl(writer, _FICLONE, reader)
    except OSError:
        return False
    return True


def sync_file(path: Path) -> None:
    """Make the bytes of a file durable.

    Raises:
        OSError: the disk refuses.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def lock(path: Path, seconds: float = 300) -> Iterator[bool]:
    """Hold the lock file ``path``, freed by death; yields False where the disk knows no locks.

    Raises:
        CkptkitError: another process held it for ``seconds``.
        OSError: the lock file cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    try:
        yield _flock(descriptor, path, seconds)
    finally:
        _unlock(descriptor)


_POLL = 0.01
"""Seconds between two tries for a lock."""


def _flock(descriptor: int, path: Path, seconds: float) -> bool:
    import fcntl

    patience = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= patience:
                raise CkptkitError(
                    f"another process has held {path} for {seconds:.0f} s",
                    "wait for it to end, or see `fuser` for who it is",
                ) from None
            time.sleep(_POLL)
        except OSError:  # ENOLCK, ENOSYS, EOPNOTSUPP …: some network disks
            return False
        else:
            return True


def _unlock(descriptor: int) -> None:
    """Free the lock at once: closing alone leaves it to children that were forked meanwhile."""
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def expand(path: str | os.PathLike[str]) -> Path:
    """The path with ``~`` as the home folder; that of a user who is not there stays as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises for an unknown user


def real(path: str | os.PathLike[str]) -> Path:
    """The path with all links followed; a loop of links ends where it began instead of raising."""
    return Path(os.path.realpath(path))


def project_root(start: Path) -> Path | None:
    """The nearest folder at or above ``start`` that holds pyproject.toml or .git; None without one."""
    for folder in (start, *start.parents):
        if os.path.lexists(folder / "pyproject.toml") or os.path.lexists(folder / ".git"):
            return folder
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The table ``[tool.ckptkit]`` and the pyproject.toml that holds it; an empty table and None without one."""

    table: Mapping[str, Any]
    file: Path | None


def settings(start: Path) -> Settings:
    """The settings in the nearest pyproject.toml at or above ``start``.

    Raises:
        CkptkitError: that file or its table ``[tool.ckptkit]`` cannot be read.
    """
    found = (folder / "pyproject.toml" for folder in (start, *start.parents))
    file = next((path for path in found if os.path.lexists(path)), None)
    if file is None:
        return Settings(table={}, file=None)
    import tomllib

    try:
        data = read_regular(file, CONFIG_LIMIT)
        table: Any = tomllib.loads(data.decode()) if b"ckptkit" in data else {}
    except (FormatError, ValueError) as error:
        words = error.message if isinstance(error, FormatError) else f"is not TOML: {reason(error)}"
        raise CkptkitError(f"{file} {words}", "mend it, or give --root DIR") from error
    for key in ("tool", "ckptkit"):
        table = table.get(key, {}) if isinstance(table, Mapping) else table
    if not isinstance(table, Mapping):
        raise CkptkitError(f"[tool.ckptkit] in {file} is not a table", "see the README for an example")
    return Settings(table=table, file=file)
