import contextlib
import errno
import hashlib
import multiprocessing
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptkit import hashing, manifest
from ckptkit.errors import CkptkitError, FormatError

ONE_LINER = "find -L . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum"
NAMES = [
    b"plain.csv",
    b"two words",
    b" leading space",
    b"trailing space ",
    b"line\nbreak",
    b"carriage\rreturn",
    b"crlf\r\n",
    b"-dash",
    b"*star",
    "größe/文件.txt".encode(),
    b"not-utf8-\xff\xfe",
    b"back\\slash",
    b"back\\nslash-n",
    b"a/b/c/d",
    b"a.b",
    b"a-b",
    b"A",
    b".hidden/x",
    b"/".join([b"deep"] * 400) + b"/end",
]


def coreutils() -> tuple[int, ...]:
    if not shutil.which("bash") or not shutil.which("sha256sum"):
        return (0,)
    first = subprocess.run(["sha256sum", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"sha256sum \(GNU coreutils\) (\d+)\.(\d+)", first)
    return tuple(map(int, found.groups())) if found else (0,)


gnu = pytest.mark.skipif(coreutils() < (9, 0), reason="needs sha256sum of GNU coreutils 9.0 or later")


def run(command: str, folder: Path) -> bytes:
    return subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, check=True).stdout


def write(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    outside = tmp_path / "outside"
    write(outside / "sub" / "far.bin", b"far")
    for number, name in enumerate(NAMES):
        write(folder / os.fsdecode(name), name * number)
    write(folder / "large.bin", b"0123456789abcdef" * (hashing.LARGE // 16 + 1))
    (folder / "to-file").symlink_to(outside / "sub" / "far.bin")
    (folder / "to-folder").symlink_to(outside)
    (folder / "twice").symlink_to("a")
    (folder / "empty").mkdir()
    return folder


@gnu
def test_tree_is_what_the_one_liner_prints(strange: Path) -> None:
    expected = run(ONE_LINER, strange)
    found = hashing.tree(strange)
    assert b"".join(found.lines()) == expected
    assert found.digest == f"sha256:{run(f'{ONE_LINER} | sha256sum', strange).split()[0].decode()}"
    assert found.bytes == sum(len(name) * number for number, name in enumerate(NAMES)) + hashing.LARGE + 16 + 6 + len(
        b"a/b/c/d"
    ) * NAMES.index(b"a/b/c/d")
    assert manifest.load(expected) == {entry.path: entry.sha256 for entry in found}


parts = st.lists(
    st.sampled_from([b" ", b"\n", b"\r", b"\\", b"-", b"*", b".", b"a", b"\xff", "ß".encode()]), min_size=1, max_size=5
)
names = st.lists(parts.map(b"".join).filter(lambda name: name not in {b".", b".."}), min_size=1, max_size=3)


@gnu
@settings(deadline=None, max_examples=50)
@given(st.dictionaries(names.map(b"/".join), st.binary(max_size=3), min_size=1, max_size=6))
def test_every_name_is_as_the_one_liner_has_it(files: dict[bytes, bytes]) -> None:
    with tempfile.TemporaryDirectory() as name:
        for path, data in files.items():
            with contextlib.suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
                write(Path(name, os.fsdecode(path)), data)
        found = hashing.tree(Path(name))
        assert b"".join(found.lines()) == run(ONE_LINER, Path(name))
        assert [path for path, _ in hashing.scan(Path(name))] == [file.path for file in found]


@gnu
def test_sha256sum_checks_a_manifest(strange: Path, tmp_path: Path) -> None:
    write(tmp_path / "SUMS", b"".join(hashing.tree(strange).lines()))
    run("sha256sum -c --strict --quiet ../SUMS", strange)


@pytest.mark.parametrize("size", [0, 1, hashing.LARGE - 1, hashing.LARGE, hashing.LARGE + 7, 1 << 20, (1 << 20) - 1])
def test_file_digest_and_progress(tmp_path: Path, size: int) -> None:
    path = write(tmp_path / "file", os.urandom(size))
    done: list[int] = []
    assert hashing.file_sha256(path, progress=done.append) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sum(done) == size


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "broken").symlink_to("nowhere")
    for name, words in {
        "fifo": "not a regular file",
        "broken": "no such file",
        ".": "not a regular",
        "a\0b": "null",
    }.items():
        with pytest.raises(FormatError, match=words):
            hashing.file_sha256(tmp_path / name)


def test_a_file_that_changes_while_it_is_hashed(tmp_path: Path) -> None:
    path = write(tmp_path / "file", b"x" * (3 << 20))

    def change(_: int) -> None:
        os.utime(path)

    with pytest.raises(FormatError, match="changed while it was hashed"):
        hashing.file_sha256(path, progress=change)


@pytest.mark.parametrize("size", [3, hashing.LARGE + 1])
def test_a_file_of_a_tree_that_grows(tmp_path: Path, size: int) -> None:
    path = write(tmp_path / "data" / "file", b"x" * size)

    def grow(count: int) -> None:
        with path.open("ab") as file:
            file.write(b"y" * (count > 0))

    with pytest.raises(CkptkitError, match=r"data/file changed while it was hashed") as caught:
        hashing.tree(tmp_path / "data", progress=grow)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("vanish", r"data/b vanished while it was hashed"),
        ("come", r"data changed while it was hashed: files came or went"),
        ("turn into a FIFO", r"data/b changed while it was hashed"),
    ],
)
def test_what_happens_to_a_tree_once_it_is_listed(tmp_path: Path, kind: str, words: str) -> None:
    for name in "ab":
        write(tmp_path / "data" / name)
    events = [kind]

    def happen(_: int) -> None:
        event = events.pop() if events else None
        if event == "come":
            write(tmp_path / "data" / "c")
        elif event:
            (tmp_path / "data" / "b").unlink()
        if event == "turn into a FIFO":
            os.mkfifo(tmp_path / "data" / "b")

    with pytest.raises(CkptkitError, match=words):
        hashing.tree(tmp_path / "data", progress=happen)


def test_out_of_time(tmp_path: Path) -> None:
    for number, size in enumerate((1, hashing.LARGE, hashing.LARGE)):
        write(tmp_path / "data" / str(number), b"x" * size)
    heard: list[int] = []
    whole = hashing.tree(tmp_path / "data", progress=hashing.until(3600, heard.append))
    assert sum(heard) == whole.bytes
    for work in (hashing.tree, hashing.scan):
        with pytest.raises(hashing.OutOfTimeError):
            work(tmp_path / "data", progress=hashing.until(0))
    write(tmp_path / "one", b"x" * (hashing.LARGE + 1))
    end = hashing.until(0.2)

    def slow(count: int) -> None:
        time.sleep(0.05)
        end(count)

    with pytest.raises(hashing.OutOfTimeError):
        hashing.file_sha256(tmp_path / "one", progress=slow)
    with pytest.raises(hashing.OutOfTimeError):
        hashing.tree(tmp_path / "data", progress=slow)
    assert threading.active_count() == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b").chmod(0)
    with pytest.raises(CkptkitError, match=r"a/b cannot be read: permission denied"):
        hashing.tree(tmp_path)


def special(folder: Path, kind: str) -> None:
    match kind:
        case "FIFO":
            os.mkfifo(folder / "x")
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                here = Path.cwd()
                os.chdir(folder)  # the path of a socket may have 108 bytes
                server.bind("x")
                os.chdir(here)
        case "device link":
            (folder / "x").symlink_to("/dev/null")
        case "broken link":
            (folder / "x").symlink_to("nowhere")
        case "link to itself":
            (folder / "x").symlink_to("x")
        case "loop":
            (folder / "x").symlink_to(".")
        case "loop from afar":
            write(folder.parent / "far" / "y")
            (folder.parent / "far" / "back").symlink_to(folder)
            (folder / "x").symlink_to(folder.parent / "far")
        case _:
            raise AssertionError(kind)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("FIFO", "x is a FIFO, socket or device"),
        ("socket", "x is a FIFO, socket or device"),
        ("device link", "x is a FIFO, socket or device"),
        ("broken link", "x is a broken link: no such file"),
        ("link to itself", "x is a broken link: too many levels"),
        ("loop", "x is a link back to .*data, without end"),
        ("loop from afar", "x/back is a link back to .*data, without end"),
    ],
)
def test_what_no_dataset_may_hold(tmp_path: Path, kind: str, words: str) -> None:
    write(tmp_path / "data" / "fine")
    special(tmp_path / "data", kind)
    for work in (hashing.tree, hashing.scan):
        with pytest.raises(CkptkitError, match=words) as caught:
            work(tmp_path / "data")
        assert caught.value.hint


def test_a_tree_without_a_file(tmp_path: Path) -> None:
    (tmp_path / "data" / "empty").mkdir(parents=True)
    with pytest.raises(CkptkitError, match="holds no file"):
        hashing.tree(tmp_path / "data")
    with pytest.raises(CkptkitError, match="cannot be read: no such file"):
        hashing.tree(tmp_path / "nowhere")


def test_a_scan_lists_what_a_tree_hashes(strange: Path) -> None:
    listed, found = hashing.scan(strange), hashing.tree(strange)
    assert [(path, state.size) for path, state in listed] == [(file.path, file.bytes) for file in found]
    assert (len(listed), listed.bytes) == (len(found), found.bytes)
    assert listed == hashing.scan(strange)
    lines = [re.sub(rb"^(\\?)[0-9]+ ", rb"\1 ", line) for line in listed.lines()]
    assert lines == [re.sub(rb"^(\\?)[0-9a-f]{64} ", rb"\1 ", line) for line in found.lines()]
    os.utime(strange / "plain.csv", ns=(1, 1))
    changed = {path for path, state in hashing.scan(strange) if (path, state) not in set(listed)}
    assert changed == {"plain.csv"}


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_an_executor_hashes_the_same(strange: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(strange.parent)
    spawn, done = multiprocessing.get_context("spawn"), list[int]()
    with ThreadPoolExecutor(2) if kind == "threads" else ProcessPoolExecutor(2, spawn) as pool:
        found = hashing.tree(Path("data"), executor=pool, progress=done.append)
        assert found == hashing.tree(strange)
        assert sum(done) == found.bytes
        with pytest.raises(hashing.OutOfTimeError):
            hashing.tree(strange, executor=pool, progress=hashing.until(0))


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


def test_dask_hashes_the_same(strange: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="needs dask.distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert hashing.tree(strange, executor=client.get_executor()) == hashing.tree(strange)
        write(strange / "plain.csv", b"changed")
        assert hashing.tree(strange, executor=client.get_executor()) == hashing.tree(strange)


def test_a_worker_finds_a_file_changed(tmp_path: Path) -> None:
    path = write(tmp_path / "data" / "file", b"x" * (hashing.LARGE + 1))
    state = dict(hashing.scan(tmp_path / "data"))["file"]
    assert hashing.digests([(os.fsencode(path), state)]) == [hashlib.sha256(path.read_bytes()).digest()]
    os.utime(path)
    with pytest.raises(CkptkitError, match="data/file changed while it was hashed"):
        hashing.digests([(os.fsencode(path), state)])


def test_two_links_to_one_folder_are_no_loop(tmp_path: Path) -> None:
    write(tmp_path / "data" / "a" / "x")
    (tmp_path / "data" / "b").symlink_to("a")
    (tmp_path / "data" / "c").symlink_to("a")
    assert [entry.path for entry in hashing.tree(tmp_path / "data")] == ["a/x", "b/x", "c/x"]


def test_one_bad_large_file_stops_the_others(tmp_path: Path) -> None:
    for name in "abcdef":
        write(tmp_path / name, b"x" * (hashing.LARGE + 1))
    threads = threading.active_count()

    def fail(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hashing.tree(tmp_path, progress=fail)
    assert threading.active_count() == threads


def test_copy_hashes_what_it_copies(tmp_path: Path) -> None:
    data = os.urandom((2 << 20) + 5)
    source, done = write(tmp_path / "source", data), list[int]()
    sha256, size = hashing.copy_sha256(source, tmp_path / "target", progress=done.append)
    assert (sha256, size) == (hashlib.sha256(data).hexdigest(), len(data))
    assert (tmp_path / "target").read_bytes() == data
    assert sum(done) == len(data)
    assert (tmp_path / "target").stat().st_ino != source.stat().st_ino


def test_copy_never_replaces(tmp_path: Path) -> None:
    source, target = write(tmp_path / "source", b"new"), write(tmp_path / "target", b"old")
    with pytest.raises(FileExistsError):
        hashing.copy_sha256(source, target)
    assert target.read_bytes() == b"old"


def test_copy_of_a_file_that_changes_leaves_nothing(tmp_path: Path) -> None:
    source = write(tmp_path / "source", b"x" * (2 << 20))

    def change(_: int) -> None:
        os.utime(source)

    with pytest.raises(CkptkitError, match="source changed while it was hashed"):
        hashing.copy_sha256(source, tmp_path / "target", progress=change)
    assert os.listdir(tmp_path) == ["source"]


def test_copy_of_what_is_no_file_names_it(tmp_path: Path) -> None:
    with pytest.raises(CkptkitError, match="nowhere cannot be read"):
        hashing.copy_sha256(tmp_path / "nowhere", tmp_path / "target")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs RLIMIT_FSIZE as Linux has it")
def test_copy_to_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path / "source", b"x" * (2 << 20))
    program = (
        "import resource, signal, sys; from pathlib import Path; from ckptkit import hashing\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "try: hashing.copy_sha256(Path('source'), Path('target'))\n"
        "except OSError as error: sys.exit(error.errno)\n"
    )
    here = {**os.environ, "PYTHONPATH": str(Path(hashing.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=here, check=False)
    assert done.returncode == errno.EFBIG
    assert os.listdir(tmp_path) == ["source"]


def test_importing_loads_nothing_heavy() -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(Path(hashing.__file__).parent.parent)!r}); from ckptkit import hashing\n"
        "print({'sqlite3', 'concurrent.futures', 'threading', 'multiprocessing'} & {*sys.modules})"
    )
    out = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"
