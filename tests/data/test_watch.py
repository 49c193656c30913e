import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ckptkit import hashing, scanning
from ckptkit.data import watch
from ckptkit.errors import CkptkitError
from ckptkit.hash_cache import Cache

LATER = 3_000_000_000
"""Nanoseconds after which the cache trusts a file."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset whose clock ticks on before anything else is written."""
    made = tmp_path / "data"
    (made / "sub").mkdir(parents=True)
    for name in ("a", "b", "sub/c"):
        (made / name).write_bytes(name.encode())
    time.sleep(0.02)
    return made


def hashed(cache: Cache, folder: Path) -> None:
    """What the process in the background leaves behind, some seconds after the files were written."""
    for entry in hashing.tree(folder):
        full = os.fsencode(folder / entry.path)
        cache.put(os.path.realpath(full), scanning.state(full), bytes.fromhex(entry.sha256), time.time_ns() + LATER)
    cache.close()


def judged(noted: watch.Noted, path: Path, cache: Cache | None = None) -> tuple[tuple[str, ...] | None, str]:
    """What a save says: compared, hashed, compared again."""
    found = watch.compare(noted, path, cache)
    if path.is_dir():
        digests = {entry.path: entry.sha256 for entry in hashing.tree(path)}
    else:
        digests = {"": hashing.file_sha256(path)}
    return watch.judge(watch.again(found, path), digests)


def edit(path: Path) -> None:
    path.write_bytes(b"Z" * path.stat().st_size)


def edit_back_in_time(path: Path) -> None:
    before = path.stat()
    edit(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def restore(path: Path) -> None:
    content = path.read_bytes()
    edit(path)
    path.write_bytes(content)


def rewrite(path: Path) -> None:
    draft = path.with_name("draft")
    draft.write_bytes(path.read_bytes())
    draft.replace(path)


def copy_with_its_time(path: Path) -> None:
    before = path.stat()
    rewrite(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


# What is done to the file b: what is said where its digest at the start is known, and where it is not.
CASES: dict[str, tuple[Callable[[Path], object], object, object]] = {
    "nothing": (lambda _: None, (), ()),
    "read": (lambda path: path.read_bytes(), (), ()),
    "edited": (edit, ("b",), ("b",)),
    "grown": (lambda path: path.write_bytes(b"more"), ("b",), ("b",)),
    "emptied": (lambda path: path.write_bytes(b""), ("b",), ("b",)),
    "edited, with its old time": (edit_back_in_time, ("b",), watch.METADATA),
    "touched": (os.utime, watch.SAME, ("b",)),
    "edited and restored": (restore, watch.SAME, ("b",)),
    "replaced by the same": (rewrite, watch.SAME, ("b",)),
    "replaced by the same, with its old time": (copy_with_its_time, watch.SAME, watch.METADATA),
    "mode": (lambda path: path.chmod(0o400), watch.SAME, watch.METADATA),
    "hard link": (lambda path: (path.parent.parent / "other").hardlink_to(path), watch.SAME, watch.METADATA),
    "removed": (lambda path: path.unlink(), ("b",), ("b",)),
    "added": (lambda path: path.with_name("new").write_bytes(b""), ("new",), ("new",)),
    "renamed": (lambda path: path.rename(path.with_name("B")), ("B", "b"), ("B", "b")),
    "an empty folder": (lambda path: path.with_name("empty").mkdir(), (), ()),
    "a folder renamed": (
        lambda path: (path.parent / "sub").rename(path.parent / "top"),
        ("sub/c", "top/c"),
        ("sub/c", "top/c"),
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("digests", ["known", "not known"])
def test_what_became_of_a_file(folder: Path, tmp_path: Path, case: str, digests: str) -> None:
    work, if_known, if_not = CASES[case]
    noted = watch.Noted(listing=watch.note(folder))
    if digests == "known":
        hashed(Cache(tmp_path / "cache"), folder)
    work(folder / "b")
    with Cache(tmp_path / "cache") as cache:
        names, why = judged(noted, folder, cache)
    expected = if_known if digests == "known" else if_not
    assert (names if names is not None else why) == expected


def test_a_change_before_the_background_came_to_it(folder: Path, tmp_path: Path) -> None:
    noted = watch.Noted(listing=watch.note(folder))
    edit(folder / "a")
    edit_back_in_time(folder / "b")
    hashed(Cache(tmp_path / "cache"), folder)
    with Cache(tmp_path / "cache") as cache:
        assert judged(noted, folder, cache) == (("a",), "")
    edit(folder / "sub" / "c")
    with Cache(tmp_path / "cache") as cache:
        assert judged(noted, folder, cache) == (("a", "sub/c"), "")


def test_a_second_save_says_the_same_though_the_cache_has_learned(folder: Path, tmp_path: Path) -> None:
    noted = watch.Noted(listing=watch.note(folder))
    hashed(Cache(tmp_path / "cache"), folder)
    os.utime(folder / "a")
    for _ in range(2):
        with Cache(tmp_path / "cache") as cache:
            assert judged(noted, folder, cache) == (None, watch.SAME)
        hashed(Cache(tmp_path / "cache"), folder)


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (edit, (("b",), "")),
        (edit_back_in_time, (None, watch.METADATA)),
        (lambda path: path.unlink(), (("b",), "")),
        (lambda path: path.chmod(0o400), (None, watch.METADATA)),
    ],
    ids=["edited", "edited with its old time", "removed", "mode"],
)
def test_a_change_while_the_save_hashed(folder: Path, work: Callable[[Path], object], expected: object) -> None:
    found = watch.compare(watch.Noted(listing=watch.note(folder)), folder, None)
    digests = {entry.path: entry.sha256 for entry in hashing.tree(folder)}
    work(folder / "b")
    assert watch.judge(watch.again(found, folder), digests) == expected


def test_a_dataset_of_one_file(folder: Path, tmp_path: Path) -> None:
    path, link = folder / "b", tmp_path / "link"
    link.symlink_to(path)
    noted = watch.Noted(listing=watch.note(path))
    assert judged(noted, path) == ((), "")
    assert judged(watch.Noted(listing=watch.note(link)), link) == ((), "")
    edit(path)
    assert judged(noted, path) == (("",), "")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_link_that_leads_elsewhere_by_now(folder: Path, tmp_path: Path, kind: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "b").write_bytes(b"Z")
    link = tmp_path / "link"
    link.symlink_to(folder / "b" if kind == "file" else folder)
    noted = watch.Noted(listing=watch.note(link))
    link.unlink()
    link.symlink_to(other / "b" if kind == "file" else other)
    assert judged(noted, link) == (("",) if kind == "file" else ("a", "b", "sub/c"), "")


def test_data_that_is_gone_is_an_error(folder: Path) -> None:
    noted = watch.Noted(listing=watch.note(folder / "b"))
    (folder / "b").unlink()
    with pytest.raises(CkptkitError, match="vanished"):
        watch.compare(noted, folder / "b", None)


def test_files_written_since(folder: Path) -> None:
    started = (folder / "sub" / "c").stat().st_ctime + 0.01
    assert watch.written_since(folder, started) == ((), False)
    (folder / "b").chmod(0o400)
    assert watch.written_since(folder, started) == ((), True)
    edit(folder / "a")
    assert watch.written_since(folder, started) == (("a",), True)
