import contextlib
import hashlib
import os
import sqlite3
import sys
import threading
import time
from pathlib import Path

import pytest
from registries import publish

from ckptkit import hashing, scanning
from ckptkit.hash_cache import Cache
from ckptkit.manifest import State
from ckptkit.verbs.check import check
from ckptkit.verbs.path import path


def write(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files old enough for the cache to trust them; their ctime cannot be set."""
    folder = tmp_path_factory.mktemp("aged")
    for name in ("file", "touched", "rewritten"):
        os.utime(write(folder / name), ns=(10**18, 10**18))
    write(folder / "large", b"x" * (hashing.LARGE + 1))
    time.sleep(2.05)
    return folder


def planted(folder: Path, path: Path) -> None:
    """Let the cache say something else of ``path``, to see whether it is asked."""
    with Cache(folder) as cache:
        cache.put(os.fsencode(os.path.realpath(path)), scanning.state_of(path.stat()), b"\1" * 32, time.time_ns())


def rows(folder: Path, table: str = "files") -> int:
    with contextlib.closing(sqlite3.connect(folder / Cache.NAME)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - one of two words


PLANTED = "01" * 32
X = hashlib.sha256(b"x").hexdigest()


def test_an_unchanged_file_is_not_read_again(aged: Path, tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        first = hashing.tree(aged, cache=cache)
    for entry in first:
        planted(tmp_path, aged / entry.path)
    (tmp_path / "link").symlink_to(aged)
    with Cache(tmp_path) as cache:
        assert hashing.file_sha256(tmp_path / "link" / "file", cache=cache) == PLANTED
        assert {entry.sha256 for entry in hashing.tree(tmp_path / "link", cache=cache)} == {PLANTED}
        os.utime(aged / "touched", ns=(1, 1))
        assert hashing.file_sha256(aged / "touched", cache=cache) == X
    assert hashing.tree(aged) == first


def test_progress_counts_what_the_cache_knows(aged: Path, tmp_path: Path) -> None:
    for _ in range(2):
        done: list[int] = []
        with Cache(tmp_path) as cache:
            assert hashing.tree(aged, cache=cache, progress=done.append).bytes == sum(done) > hashing.LARGE


def test_a_file_just_written_is_not_remembered(tmp_path: Path) -> None:
    path = write(tmp_path / "file")
    os.utime(path, (1, 1))  # the mtime alone proves nothing
    with Cache(tmp_path / "cache") as cache:
        hashing.file_sha256(path, cache=cache)
    assert rows(tmp_path / "cache") == 0


def test_a_change_of_the_same_size_and_mtime_is_seen(aged: Path, tmp_path: Path) -> None:
    path = aged / "rewritten"
    with Cache(tmp_path) as cache:
        hashing.file_sha256(path, cache=cache)
    path.write_bytes(b"y")
    os.utime(path, ns=(10**18, 10**18))
    with Cache(tmp_path) as cache:
        assert hashing.file_sha256(path, cache=cache) == hashlib.sha256(b"y").hexdigest()


def test_where_the_cache_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CKPTKIT_CACHE", str(tmp_path / "named"))
    Cache.open().close()
    assert os.listdir(tmp_path / "named") == [Cache.NAME]
    monkeypatch.delenv("CKPTKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    Cache.open(enabled=False).close()
    assert not (tmp_path / "xdg").exists()
    if sys.platform == "linux":
        Cache.open().close()
        assert (tmp_path / "xdg" / "ckptkit" / Cache.NAME).is_file()


def break_cache(folder: Path, kind: str) -> sqlite3.Connection | None:
    file = folder / Cache.NAME
    match kind:
        case "junk":
            write(file, b"no database at all" * 1000)
        case "a folder":
            file.mkdir(parents=True)
        case "a file for a folder":
            write(folder)
        case "another table":
            folder.mkdir()
            with sqlite3.connect(file) as connection:
                connection.execute("CREATE TABLE files (one)")
            connection.close()
        case "damaged pages":
            Cache(folder).close()
            data = bytearray(file.read_bytes())
            data[4096:] = os.urandom(len(data) - 4096)
            file.write_bytes(data)
        case "an older layout":
            folder.mkdir()
            with sqlite3.connect(file) as connection:
                connection.execute(
                    "CREATE TABLE files (path BLOB PRIMARY KEY, size INTEGER, sha256 BLOB) WITHOUT ROWID"
                )
            connection.close()
        case "locked":
            return locked(folder)
        case "read-only":
            Cache(folder).close()
            file.chmod(0o400)
            folder.chmod(0o500)
        case _:
            raise AssertionError(kind)
    return None


def locked(folder: Path) -> sqlite3.Connection:
    Cache(folder).close()
    holder = sqlite3.connect(folder / Cache.NAME, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    return holder


@pytest.mark.parametrize(
    "kind",
    [
        "junk",
        "a folder",
        "a file for a folder",
        "another table",
        "an older layout",
        "damaged pages",
        "locked",
        "read-only",
    ],
)
def test_a_broken_cache_costs_time_only(aged: Path, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "cache"
    holder = break_cache(folder, kind)
    begun = time.monotonic()
    for _ in range(2):
        with Cache(folder) as cache:
            assert hashing.file_sha256(aged / "file", cache=cache) == X
            assert {file.sha256 for file in hashing.tree(aged, cache=cache)} == {*hashed(aged)}
    assert time.monotonic() - begun < 3  # each waits 0.2 s to read, and to write as long as the hashing took
    if holder is not None:
        holder.close()
    if kind == "read-only":
        folder.chmod(0o700)


def hashed(folder: Path) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()]


@pytest.mark.parametrize("kind", ["another table", "an older layout", "junk"])
def test_what_is_no_cache_of_today_is_replaced(aged: Path, tmp_path: Path, kind: str) -> None:
    break_cache(tmp_path / "cache", kind)
    for _ in range(2):
        with Cache(tmp_path / "cache") as cache:
            hashing.file_sha256(aged / "file", cache=cache)
            cache.put_md5(X, "9dd4e461268c8034f5c8564e155c67a6")
    assert (rows(tmp_path / "cache"), rows(tmp_path / "cache", "contents")) == (1, 1)


def test_a_lock_that_passes(aged: Path, tmp_path: Path) -> None:
    holder = locked(tmp_path)
    with Cache(tmp_path) as cache:
        hashing.file_sha256(aged / "file", cache=cache)
        timer = threading.Timer(0.1, holder.close)
        timer.start()
    timer.join()
    assert rows(tmp_path) == 1


def test_rows_are_written_after_a_while(aged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Cache(tmp_path) as cache:
        hashing.file_sha256(aged / "file", cache=cache)
        assert rows(tmp_path) == 0
        monkeypatch.setattr(Cache, "_INTERVAL", 0)
        hashing.file_sha256(aged / "large", cache=cache)
        assert rows(tmp_path) == 2


def test_memory_is_flat_while_nobody_may_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cache, "_BATCH", 2)
    monkeypatch.setattr(Cache, "_TOO_MANY", 4)
    monkeypatch.setattr(Cache, "_PATIENCE", 0)
    holder = locked(tmp_path)
    with Cache(tmp_path) as cache:
        for number in range(7):
            cache.put(b"/x%d" % number, State(1, 1, 1, 1, 0), b"\1" * 32, time.time_ns())
        assert len(cache._new["files"]) == 3
        holder.close()
    assert rows(tmp_path) == 3


def test_files_that_are_asked_for_together_are_one_row(tmp_path: Path) -> None:
    files = [(b"/%d" % number, State(number, 1, 1, 1, 0)) for number in range(3)]
    digests = [bytes([number]) * 32 for number in range(3)]
    with Cache(tmp_path) as cache:
        for (real, state), digest in zip(files, digests, strict=True):
            cache.put(real, state, digest, time.time_ns())
    with Cache(tmp_path) as cache:
        assert cache.recall([*files, (b"/new", files[0][1])]) == [*digests, None]
        assert cache.recall([(b"/0", State(0, 2, 2, 1, 0)), *files[1:]]) == [None, *digests[1:]]
        assert cache.recall(files) == digests
    assert rows(tmp_path, "lists") == 1
    with contextlib.closing(sqlite3.connect(tmp_path / Cache.NAME)) as connection, connection:
        connection.execute("DELETE FROM files")
    with Cache(tmp_path) as cache:
        assert cache.recall(files) == digests
        assert cache.recall(files[:2]) == [None] * 2
        assert cache.recall([files[0], files[2], files[1]]) == [None] * 3
        assert cache.recall([*files[:2], (b"/2", State(2, 1, 2, 1, 0))]) == [None] * 3
    data = (tmp_path / Cache.NAME).read_bytes()
    (tmp_path / Cache.NAME).write_bytes(data.replace(digests[2], digests[1]))
    with Cache(tmp_path) as cache:
        assert cache.recall(files) == [None] * 3


SECOND = 10**9  # nanoseconds


@pytest.mark.parametrize(
    ("mtime", "ctime", "kept"),
    [(-3, -3, 1), (-1, -3, 0), (-3, -1, 0), (1, -3, 0), (-3, 1, 0), (10**6, -3, 1), (-3, 10**6, 0)],
)
def test_what_the_clock_must_have_passed(tmp_path: Path, mtime: int, ctime: int, kept: int) -> None:
    begun = time.time_ns()
    with Cache(tmp_path) as cache:
        cache.put(b"/x", State(1, begun + mtime * SECOND, begun + ctime * SECOND, 1, 0), b"\1" * 32, begun)
    assert rows(tmp_path) == kept


def test_garbled_bytes_are_not_believed(aged: Path, tmp_path: Path) -> None:
    md5 = "9dd4e461268c8034f5c8564e155c67a6"
    with Cache(tmp_path) as cache:
        hashing.file_sha256(aged / "file", cache=cache)
        cache.put_md5("ab" * 32, md5)
    data = (tmp_path / Cache.NAME).read_bytes()
    for known in (X, md5):
        assert bytes.fromhex(known) in data
        data = data.replace(bytes.fromhex(known), bytes(len(known) // 2))
    (tmp_path / Cache.NAME).write_bytes(data)
    with Cache(tmp_path) as cache:
        assert hashing.file_sha256(aged / "file", cache=cache) == X
        assert cache.md5_of("ab" * 32) is None


def test_md5_by_content(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        assert cache.md5_of(X) is None
        cache.put_md5(X, "9dd4e461268c8034f5c8564e155c67a6")
    with Cache(tmp_path) as cache:
        assert cache.md5_of(X) == "9dd4e461268c8034f5c8564e155c67a6"
    assert Cache(None).md5_of(X) is None


def test_without_sqlite(aged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    with Cache(tmp_path) as cache:
        assert hashing.file_sha256(aged / "file", cache=cache) == X


def test_a_deep_check_never_asks(tmp_path: Path, private_home: Path) -> None:
    version = publish(tmp_path / "runs")
    weights = version.path / "model.safetensors"
    sealed = hashlib.sha256(weights.read_bytes()).digest()
    weights.chmod(0o644)
    weights.write_bytes(b"other weigh")
    with Cache.open() as cache:
        cache.put(os.fsencode(weights.resolve()), scanning.state_of(weights.stat()), sealed, 1 << 62)
    assert rows(private_home / "hashes") == 1
    assert path(version.ref, "model.safetensors", root=tmp_path / "runs") == weights  # who asks is fooled
    assert "CK205" in {finding.code for finding in check(tmp_path / "runs", deep=True).findings}


def test_a_cache_that_breaks_in_use_costs_time_only(aged: Path, tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        with sqlite3.connect(tmp_path / Cache.NAME) as other:
            other.execute("DROP TABLE files")
        other.close()
        assert [hashing.file_sha256(aged / "file", cache=cache) for _ in range(2)] == [X, X]
