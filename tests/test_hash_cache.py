import hashlib
import os
import sqlite3
import sys
import time
from pathlib import Path

import pytest

from ckptkit import hashing
from ckptkit.hash_cache import Cache


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
    """Change what the cache says of ``path``, to see whether it is asked."""
    with sqlite3.connect(folder / Cache.NAME) as connection:
        done = connection.execute(
            "UPDATE files SET sha256 = ? WHERE path = ?", (b"\1" * 32, os.fsencode(os.path.realpath(path)))
        )
        assert done.rowcount == 1
    connection.close()


PLANTED = "01" * 32
X = hashlib.sha256(b"x").hexdigest()


def test_an_unchanged_file_is_not_read_again(aged: Path, tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        first = hashing.tree(aged, cache=cache)
    for entry in first.entries:
        planted(tmp_path, aged / entry.path)
    (tmp_path / "link").symlink_to(aged)
    with Cache(tmp_path) as cache:
        assert hashing.file_sha256(tmp_path / "link" / "file", cache=cache) == PLANTED
        assert {entry.sha256 for entry in hashing.tree(tmp_path / "link", cache=cache).entries} == {PLANTED}
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
    rows = sqlite3.connect(tmp_path / "cache" / Cache.NAME)
    assert rows.execute("SELECT count(*) FROM files").fetchone() == (0,)
    rows.close()


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
        case "locked":
            Cache(folder).close()
            holder = sqlite3.connect(file, isolation_level=None)
            holder.execute("BEGIN EXCLUSIVE")
            return holder
        case "read-only":
            Cache(folder).close()
            file.chmod(0o400)
            folder.chmod(0o500)
        case _:
            raise AssertionError(kind)
    return None


@pytest.mark.parametrize(
    "kind", ["junk", "a folder", "a file for a folder", "another table", "damaged pages", "locked", "read-only"]
)
def test_a_broken_cache_costs_time_only(aged: Path, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "cache"
    holder = break_cache(folder, kind)
    begun = time.monotonic()
    for _ in range(2):
        with Cache(folder) as cache:
            assert hashing.file_sha256(aged / "file", cache=cache) == X
    assert time.monotonic() - begun < 2  # two waits of 0.2 s when it is locked
    if holder is not None:
        holder.close()
    if kind == "read-only":
        folder.chmod(0o700)


def test_a_damaged_cache_is_begun_anew(aged: Path, tmp_path: Path) -> None:
    break_cache(tmp_path, "junk")
    for _ in range(2):
        with Cache(tmp_path) as cache:
            hashing.file_sha256(aged / "file", cache=cache)
    planted(tmp_path, aged / "file")


def test_a_cache_that_breaks_in_use_costs_time_only(aged: Path, tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        with sqlite3.connect(tmp_path / Cache.NAME) as other:
            other.execute("DROP TABLE files")
        other.close()
        assert [hashing.file_sha256(aged / "file", cache=cache) for _ in range(2)] == [X, X]
