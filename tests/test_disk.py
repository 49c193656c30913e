import errno
import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ckptkit import disk
from ckptkit.errors import CkptkitError, FormatError


def test_reads_a_regular_file_and_follows_a_link_to_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    (tmp_path / "b").symlink_to("a")
    assert disk.read_regular(tmp_path / "b") == b"text"


@pytest.mark.parametrize("kind", ["fifo", "folder", "socket", "device", "loop", "missing"])
def test_refuses_at_once_what_is_no_regular_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        os.chdir(tmp_path)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("x")
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to("x")
    with pytest.raises(FormatError):
        disk.read_regular(path)


def test_refuses_more_than_the_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert disk.read_regular(tmp_path / "a", 5) == b"12345"
    with pytest.raises(FormatError, match="at most 4"):
        disk.read_regular(tmp_path / "a", 4)


def test_reads_a_file_whose_size_is_not_told() -> None:
    assert b"cpu" in disk.read_regular("/proc/stat")


def test_create_never_replaces(tmp_path: Path) -> None:
    disk.create(tmp_path / "a", b"first")
    with pytest.raises(FileExistsError):
        disk.create(tmp_path / "a", b"second")
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"first"


def test_replace_leaves_unchanged_content_untouched(tmp_path: Path) -> None:
    disk.replace(tmp_path / "a", b"one")
    before = (tmp_path / "a").stat().st_ino
    disk.replace(tmp_path / "a", b"one")
    assert (tmp_path / "a").stat().st_ino == before
    disk.replace(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a"]


def test_a_lock_that_another_holds_is_waited_for_in_vain(tmp_path: Path) -> None:
    with disk.lock(tmp_path / "lock") as known:
        assert known
        with pytest.raises(CkptkitError, match="held"), disk.lock(tmp_path / "lock", seconds=0):
            pass


def test_a_lock_is_free_once_it_is_left_though_a_forked_child_lives(tmp_path: Path) -> None:
    with disk.lock(tmp_path / "lock"):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        os.close(reading)
    with disk.lock(tmp_path / "lock", seconds=0) as known:
        assert known
    os.close(writing)
    os.waitpid(child, 0)


def test_a_lock_is_freed_by_death(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from ckptkit import disk\n"
        "with disk.lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(CkptkitError, match="held"), disk.lock(tmp_path / "lock", seconds=0.05):
            pass
        holder.kill()
        holder.wait()
        with disk.lock(tmp_path / "lock", seconds=0) as known:
            assert known


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_disk_without_locks_gives_none_and_says_so(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with disk.lock(tmp_path / "lock") as known, disk.lock(tmp_path / "lock") as again:
        assert not known
        assert not again


def test_a_lock_file_that_cannot_be_is_told(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), disk.lock(tmp_path):
        pass


def test_project_root_is_the_nearest_sign(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    (tmp_path / "a" / "pyproject.toml").touch()
    assert disk.project_root(tmp_path / "a" / "b") == tmp_path / "a"
    assert disk.project_root(tmp_path) == tmp_path


def test_settings(tmp_path: Path) -> None:
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text('[tool.ckptkit]\nroot = "models"\n')
    assert disk.settings(tmp_path) == disk.Settings(table={"root": "models"}, file=pyproject)
    pyproject.write_text("[tool.ckptkit\n")
    with pytest.raises(CkptkitError, match=r"pyproject\.toml is not TOML"):
        disk.settings(tmp_path)
    pyproject.write_text("[tool]\nckptkit = 3\n")
    with pytest.raises(CkptkitError, match="is not a table"):
        disk.settings(tmp_path)
    pyproject.write_text("tool = 3  # ckptkit\n")
    with pytest.raises(CkptkitError, match="is not a table"):
        disk.settings(tmp_path)
