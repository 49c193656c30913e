"""Digests of files that ``stat`` says are unchanged, in one sqlite file; it never raises, at worst it costs time."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import sqlite3

State = tuple[int, int, int, int]
"""What ``stat`` tells about content: size in bytes, mtime and ctime in nanoseconds, inode."""


class Cache:
    """SHA-256 by real path and ``State``."""

    NAME = "hashes.sqlite"
    _PATIENCE = 0.2  # seconds to wait, once, for another process that writes
    _BATCH = 50_000  # rows kept in memory before they are written
    _GRANULARITY = 2_000_000_000  # nanoseconds: the coarsest clock of a file system (FAT)

    def __init__(self, folder: Path | None) -> None:
        """Use the sqlite file in ``folder``; None remembers nothing."""
        self._connection: sqlite3.Connection | None = None
        self._new: list[tuple[bytes | int, ...]] = []
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
        if not named:
            import platformdirs

            named = platformdirs.user_cache_dir("ckptkit")
        return cls(Path(named))

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
            if row is not None and isinstance(row[0], bytes) and len(row[0]) == 32:  # noqa: PLR2004 - SHA-256
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
        self._new.append((os.fsencode(real), *map(_signed, state), bytes.fromhex(sha256)))
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
