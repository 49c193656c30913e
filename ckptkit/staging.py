"""A version folder in the making: staged in a private folder, sealed, and renamed into place whole."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from ckptkit import checkpoint, disk, hashing, manifest
from ckptkit.errors import CkptkitError

SEALED = 0o444
"""The most that the mode of a sealed file allows."""


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

    def put(self, path: str, data: bytes | Iterable[bytes]) -> str:
        """Stage one of ckptkit's own records, in place of an earlier draft of it; returns its SHA-256 in hex.

        Args:
            path: its place in the version.
            data: its content, or the parts of it in their order.
        """
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        sha256 = hashlib.sha256()
        with target.open("xb") as file:
            for part in [data] if isinstance(data, bytes) else data:
                sha256.update(part)
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        self._sums[path] = sha256.hexdigest()
        return self._sums[path]

    def seal(self) -> str:
        """Write SHA256SUMS over all that was staged and return the version's digest; the card is written after it."""
        data = manifest.dump(self._sums.items())
        self.put(checkpoint.SUMS, data)
        del self._sums[checkpoint.SUMS]
        return f"sha256:{hashlib.sha256(data).hexdigest()}"

    def put_card(self, text: str) -> None:
        """Write the model card, the one file that is not sealed."""
        self.put(checkpoint.CARD, text.encode("utf-8", "backslashreplace"))
        del self._sums[checkpoint.CARD]

    def publish(self, target: Path) -> None:
        """Rename the staged version to ``target``, complete and synced.

        Raises:
            FileExistsError: ``target`` exists; the stage is as it was and may be published under another name.
            CkptkitError: a file that was linked in to be moved was written to since it was hashed.
        """
        for path in (*self._sums, checkpoint.SUMS):
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
