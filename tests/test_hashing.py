import contextlib
import errno
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import NAMES, ONE_LINER, gnu, run, strange, write

from ckptkit import hashing, manifest
from ckptkit.errors import CkptkitError, FormatError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return strange(tmp_path)


@gnu
def test_tree_is_what_the_one_liner_prints(folder: Path) -> None:
    expected = run(ONE_LINER, folder)
    found = hashing.tree(folder)
    assert b"".join(found.lines()) == expected
    assert found.digest == f"sha256:{run(f'{ONE_LINER} | sha256sum', folder).split()[0].decode()}"
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
def test_sha256sum_checks_a_manifest(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "SUMS", b"".join(hashing.tree(folder).lines()))
    run("sha256sum -c --strict --quiet ../SUMS", folder)


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


def test_a_scan_lists_what_a_tree_hashes(folder: Path) -> None:
    listed, found = hashing.scan(folder), hashing.tree(folder)
    assert [(path, state.size) for path, state in listed] == [(file.path, file.bytes) for file in found]
    assert (len(listed), listed.bytes) == (len(found), found.bytes)
    assert listed == hashing.scan(folder)
    lines = [re.sub(rb"^(\\?)[0-9]+ ", rb"\1 ", line) for line in listed.lines()]
    assert lines == [re.sub(rb"^(\\?)[0-9a-f]{64} ", rb"\1 ", line) for line in found.lines()]
    os.utime(folder / "plain.csv", ns=(1, 1))
    changed = {path for path, state in hashing.scan(folder) if (path, state) not in set(listed)}
    assert changed == {"plain.csv"}


def test_out_of_time(tmp_path: Path) -> None:
    threads = threading.active_count()
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
