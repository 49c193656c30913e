"""The files of a tree, as ``find -L . -type f`` names them, and what ``stat`` tells of each; nothing is read."""

import functools
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ckptkit import disk
from ckptkit.errors import CkptkitError
from ckptkit.manifest import State

CHANGED = "changed while it was hashed"
QUIET = "wait until nothing writes to it"

_LOCAL = {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "jfs", "bcachefs", "vfat", "exfat", "ntfs3"}


class Found(NamedTuple):
    """A file of a tree: path below it, path to open, real path, and its state when it was found."""

    path: bytes
    full: bytes
    real: bytes
    state: State


class _Folder(NamedTuple):
    """A folder on the way down; ``above`` is the one that it was reached through, whatever links did."""

    prefix: bytes
    full: bytes
    real: bytes
    above: "_Folder | None"


class Walk:
    """The way through a tree, which notices what comes and goes meanwhile."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Begin at ``folder``.

        Raises:
            CkptkitError: it cannot be looked at.
        """
        full = os.fsencode(folder)
        try:
            real = os.path.realpath(full, strict=True)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise CkptkitError(f"{os.fsdecode(full)} cannot be read: {disk.reason(error)}") from error
        self._waiting = [_Folder(b"", full, real, None)]
        self._seen: list[tuple[bytes, int]] = []

    def files(self) -> Iterator[Found]:
        """Every regular file at any depth, in no order; links to files and folders are followed.

        Raises:
            CkptkitError: one entry is a broken link, leads back to a folder above it, is a FIFO, socket or device, or
                cannot be read; the message names it.
        """
        while self._waiting:
            yield from self._inside(self._waiting.pop())

    def _inside(self, here: _Folder) -> Iterator[Found]:
        """The files of one folder, of which a million names are not held at once; its folders join those that wait."""
        where = here.full
        try:
            self._seen.append((where, os.stat(where).st_mtime_ns))  # noqa: PTH116 - bytes
            with os.scandir(where) as names:
                for entry in names:
                    where, linked = entry.path, entry.is_symlink()
                    real = os.path.realpath(where) if linked else b"%b/%b" % (here.real, entry.name)
                    if entry.is_file(follow_symlinks=False) or (linked and _leads_to_file(entry)):
                        yield Found(here.prefix + entry.name, where, real, state_of(entry.stat()))
                    elif entry.is_dir():
                        self._waiting.append(_below(here, entry, real))
                    else:
                        raise CkptkitError(
                            f"{os.fsdecode(where)} is a FIFO, socket or device", "a dataset holds files only: remove it"
                        )
        except OSError as error:
            raise unreadable(where, error) from error

    def require_unchanged(self) -> None:
        """Refuse a tree in which files came or went since they were listed.

        Raises:
            CkptkitError: they did; the message names the folder.
        """
        for folder, modified in self._seen:
            try:
                same = os.stat(folder).st_mtime_ns == modified  # noqa: PTH116 - bytes
            except OSError as error:
                raise unreadable(folder, error) from error
            if not same:
                raise CkptkitError(f"{os.fsdecode(folder)} {CHANGED}: files came or went", QUIET)


def _leads_to_file(link: "os.DirEntry[bytes]") -> bool:
    try:
        return stat.S_ISREG(link.stat().st_mode)
    except OSError as error:
        raise CkptkitError(
            f"{os.fsdecode(link.path)} is a broken link: {disk.reason(error)}", "mend where it points, or remove it"
        ) from error


def _below(here: _Folder, entry: "os.DirEntry[bytes]", real: bytes) -> _Folder:
    above: _Folder | None = here
    while above is not None:
        if above.real == real:
            where, back = os.fsdecode(entry.path), os.fsdecode(above.full)
            raise CkptkitError(f"{where} is a link back to {back}, without end", "remove the link")
        above = above.above
    return _Folder(b"%b%b/" % (here.prefix, entry.name), entry.path, real, here)


def unreadable(path: bytes, error: OSError) -> CkptkitError:
    """The error for people: a listed file that is not there any more has vanished."""
    if isinstance(error, FileNotFoundError):
        return CkptkitError(f"{os.fsdecode(path)} vanished while it was hashed", QUIET)
    hint = "give yourself the right to read it" if isinstance(error, PermissionError) else "see the system's log"
    return CkptkitError(f"{os.fsdecode(path)} cannot be read: {disk.reason(error)}", hint)


def state(path: bytes) -> State:
    """What ``stat`` tells of a file that was found.

    Raises:
        CkptkitError: it vanished, or cannot be looked at; the message names it.
    """
    try:
        return state_of(os.stat(path))  # noqa: PTH116 - bytes
    except OSError as error:
        raise unreadable(path, error) from error


def state_of(status: os.stat_result) -> State:
    """What of ``stat`` tells about content."""
    return State(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, _local_device(status.st_dev))


@functools.cache
def _local_device(device: int) -> int:
    """``device`` where it is a local disk's; 0 for network disks and wherever that is not known."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return device if f"{os.major(device)}:{os.minor(device)}" in local_devices(mounts) else 0


def local_devices(mounts: str) -> set[str]:
    """The device numbers, such as ``8:1``, of the local disks in the text of /proc/self/mountinfo.

    Its form: https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
    """
    found = re.findall(r"(?m)^\d+ \d+ (\d+:\d+) .* - (\S+)", mounts)
    return {number for number, kind in found if kind in _LOCAL}
