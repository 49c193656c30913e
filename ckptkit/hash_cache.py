"""Digests of files that ``stat`` says are unchanged, in one sqlite file; it never raises, at worst it costs time."""

import contextlib
import hashlib
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ckptkit import disk
from ckptkit.manifest import State

if TYPE_CHECKING:
    import sqlite3

_STATE = 40  # bytes of a packed State
_SHA256 = 32  # bytes
_SUM = 4  # bytes of a checksum


class Cache:
    """SHA-256 by real path and ``State``, of files and of lists of files, and MD5 by SHA-256; for one thread.

    Every value bears a checksum, so that not even a disk that garbles bytes makes it tell a wrong digest; nobody has to
    wait until it is synced either.
    """

    NAME = "hashes.sqlite"
    MOST = 500  # files to look up at once; older sqlites take 999
    _LAYOUT = 3
    _TABLES = ("files", "lists", "contents")
    _PATIENCE = 0.2  # seconds to wait for another process that writes; after one such wait no reader waits again
    _LAST_PATIENCE = 2.0  # seconds at the end, where it took as long to learn what is to be written
    _BATCH = 50_000  # rows in memory before they are written
    _TOO_MANY = 200_000  # rows in memory before they are forgotten, as nobody lets them be written
    _INTERVAL = 10.0  # seconds after which they are written, however few
    _GRANULARITY = 2_000_000_000  # nanoseconds: the coarsest clock of a file system (FAT)

    def __init__(self, folder: Path | None) -> None:
        """Use the sqlite file in ``folder``; None remembers nothing."""
        self._connection: sqlite3.Connection | None = None
        self._new: dict[str, list[tuple[bytes, bytes]]] = {table: [] for table in self._TABLES}
        self._opened = self._written = time.monotonic()
        self._writes = True
        if folder is not None:
            self._connect(folder)

    def _connect(self, folder: Path) -> None:
        try:
            import sqlite3
        except ImportError:  # a Python that was built without it
            return
        self._file = folder / self.NAME
        with self._forgiving(), contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self._file, timeout=self._PATIENCE, isolation_level=None)
            self._connection.execute("PRAGMA synchronous = OFF")
            if not self._is_laid_out(self._connection):
                self._lay_out(self._connection)

    def _is_laid_out(self, connection: "sqlite3.Connection") -> bool:
        return bool(connection.execute("PRAGMA user_version").fetchone() == (self._LAYOUT,))

    def _lay_out(self, connection: "sqlite3.Connection") -> None:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            if not self._is_laid_out(connection):  # another process was faster
                for table in self._TABLES:
                    connection.execute(f"DROP TABLE IF EXISTS {table}")
                    connection.execute(f"CREATE TABLE {table} (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
                connection.execute(f"PRAGMA user_version = {self._LAYOUT}")

    @classmethod
    def open(cls, enabled: bool = True) -> Self:  # noqa: FBT001, FBT002 - the one switch there is
        """The cache in ``$CKPTKIT_CACHE``, else in the user's cache folder; not ``enabled``, one that is never used."""
        if not enabled:
            return cls(None)
        named = os.environ.get("CKPTKIT_CACHE")
        if not named:
            import platformdirs

            named = platformdirs.user_cache_dir("ckptkit")
        return cls(disk.expand(named))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def recall(self, files: Sequence[tuple[bytes, State]]) -> list[bytes | None]:
        """The SHA-256 of each of at most ``MOST`` files, given by real path and state; None where it is not known.

        A list that is known whole is remembered as such: 500 unchanged files then cost one row.
        """
        packed = [(real, state.pack()) for real, state in files]
        mark = hashlib.sha256(b"".join(b"%b\0%b" % file for file in packed)).digest()
        for _, value in self._values("lists", [files[0][0]]):
            if value.startswith(mark):
                return [value[place : place + _SHA256] for place in range(_SHA256, len(value), _SHA256)]
        known = dict(self._values("files", [real for real, _ in packed]))
        rows = ((known.get(real, b""), state) for real, state in packed)
        found = [value[_STATE:] if value.startswith(state) else None for value, state in rows]
        if len(files) > 1 and None not in found:
            self._keep("lists", files[0][0], b"".join([mark, *filter(None, found)]))
        return found

    def put(self, real: bytes, state: State, sha256: bytes, begun: int) -> None:
        """Remember a digest.

        Args:
            real: the real path.
            state: the file's state, the same before and after.
            sha256: digest, of 32 bytes.
            begun: when hashing began, in nanoseconds since the epoch. A file modified shortly before is not
                remembered: a later change could bear the same time. An mtime that is still to come was set by hand.
        """
        if min(begun - state.ctime, abs(begun - state.mtime)) >= self._GRANULARITY:
            self._keep("files", real, state.pack() + sha256)

    def md5_of(self, sha256: str) -> str | None:
        """The MD5, in hex, of the content that has this SHA-256, if it was ever computed."""
        key = bytes.fromhex(sha256)
        return next((md5.hex() for _, md5 in self._values("contents", [key])), None)

    def put_md5(self, sha256: str, md5: str) -> None:
        """Remember the MD5 of a content by its SHA-256, both in hex."""
        self._keep("contents", bytes.fromhex(sha256), bytes.fromhex(md5))

    def close(self) -> None:
        """Write what is new and let go of the file."""
        self._write(min(self._LAST_PATIENCE, max(self._PATIENCE, time.monotonic() - self._opened)))
        self._give_up(damaged=False)

    def _values(self, table: str, keys: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """The rows that are there, each less its checksum if that is right."""
        rows: list[tuple[object, object]] = []
        if self._connection is not None:
            with self._forgiving():
                query = f"SELECT key, value FROM {table} WHERE key IN ({','.join('?' * len(keys))})"  # noqa: S608
                rows = self._connection.execute(query, keys).fetchall()
        for key, value in rows:
            if isinstance(key, bytes) and isinstance(value, bytes) and _sum(key, value[:-_SUM]) == value[-_SUM:]:
                yield key, value[:-_SUM]

    def _keep(self, table: str, key: bytes, value: bytes) -> None:
        if self._connection is None or not self._writes:
            return
        rows = self._new[table]
        rows.append((key, value + _sum(key, value)))
        if len(rows) % self._BATCH == 0 or time.monotonic() - self._written >= self._INTERVAL:
            self._write(self._PATIENCE)
            if len(rows) >= self._TOO_MANY:
                self._forget()

    def _write(self, patience: float) -> None:
        self._written = time.monotonic()
        if self._connection is None or not any(self._new.values()):
            return
        with self._forgiving(writing=True):
            self._wait(self._connection, patience)
            with self._connection as connection:
                connection.execute("BEGIN IMMEDIATE")
                for table, rows in self._new.items():
                    connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", sorted(rows))  # noqa: S608
            self._forget()

    def _forget(self) -> None:
        for rows in self._new.values():
            rows.clear()

    @staticmethod
    def _wait(connection: "sqlite3.Connection", seconds: float) -> None:
        connection.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")

    @contextlib.contextmanager
    def _forgiving(self, *, writing: bool = False) -> Iterator[None]:
        """A lock passes, so that rows are kept; a full disk still lets itself be read; any other fault is the end."""
        import sqlite3

        try:
            yield
        except sqlite3.Error as error:
            fault = getattr(error, "sqlite_errorcode", 0) & 0xFF
            damaged = fault in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
            if self._connection is not None and fault in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                with contextlib.suppress(sqlite3.Error):
                    self._wait(self._connection, 0)
            elif writing and not damaged:
                self._writes = False
                self._forget()
            else:
                self._give_up(damaged=damaged)

    def _give_up(self, *, damaged: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        if damaged:
            for name in (f"{self.NAME}-journal", self.NAME):  # in this order: a journal is played back into what is new
                with contextlib.suppress(OSError):
                    self._file.with_name(name).unlink()


def _sum(key: bytes, value: bytes) -> bytes:
    return zlib.crc32(key + value).to_bytes(_SUM)
