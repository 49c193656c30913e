import hashlib
import multiprocessing
import os
import threading
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from trees import strange, write

from ckptkit import hashing
from ckptkit.errors import CkptkitError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return strange(tmp_path)


def test_one_bad_large_file_stops_the_others(tmp_path: Path) -> None:
    for name in "abcdef":
        write(tmp_path / name, b"x" * (hashing.LARGE + 1))
    threads = threading.active_count()

    def fail(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hashing.tree(tmp_path, progress=fail)
    assert threading.active_count() == threads


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_an_executor_hashes_the_same(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    spawn, done = multiprocessing.get_context("spawn"), list[int]()
    with ThreadPoolExecutor(2) if kind == "threads" else ProcessPoolExecutor(2, spawn) as pool:
        found = hashing.tree(Path("data"), executor=pool, progress=done.append)
        assert found == hashing.tree(folder)
        assert sum(done) == found.bytes
        with pytest.raises(hashing.OutOfTimeError):
            hashing.tree(folder, executor=pool, progress=hashing.until(0))


def test_an_interrupt_cancels_what_an_executor_has_not_begun(tmp_path: Path) -> None:
    for number in range(50):
        write(tmp_path / "data" / str(number), b"x" * hashing.LARGE)
    futures: list[Future[object]] = []

    class Noting(ThreadPoolExecutor):
        def submit(self, *args: Any, **kwargs: Any) -> Future[Any]:
            futures.append(super().submit(*args, **kwargs))
            return futures[-1]

    def interrupt(count: int) -> None:
        if count:
            raise KeyboardInterrupt

    with Noting(1) as pool, pytest.raises(KeyboardInterrupt):
        hashing.tree(tmp_path / "data", executor=pool, progress=interrupt)
    assert {future.cancelled() for future in futures} == {True, False}


def test_dask_hashes_the_same(folder: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="needs dask.distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert hashing.tree(folder, executor=client.get_executor()) == hashing.tree(folder)
        write(folder / "plain.csv", b"changed")
        assert hashing.tree(folder, executor=client.get_executor()) == hashing.tree(folder)


def test_a_worker_finds_a_file_changed(tmp_path: Path) -> None:
    path = write(tmp_path / "data" / "file", b"x" * (hashing.LARGE + 1))
    state = dict(hashing.scan(tmp_path / "data"))["file"]
    assert hashing.digests([(os.fsencode(path), state)]) == [hashlib.sha256(path.read_bytes()).digest()]
    os.utime(path)
    with pytest.raises(CkptkitError, match="data/file changed while it was hashed"):
        hashing.digests([(os.fsencode(path), state)])
