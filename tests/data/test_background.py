import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from scripts import REPOSITORY

from ckptkit import scanning
from ckptkit.capture.command import ProbeError
from ckptkit.data import background, watch
from ckptkit.hash_cache import Cache

SECONDS = 20.0
"""How long something may take on a busy machine."""


def children() -> set[int]:
    """The processes that this one began and has not reaped."""
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def runs(pid: int) -> bool:
    """Whether a process is there; one that has ended and waits to be reaped is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def eventually(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + SECONDS
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def begin(*paths: Path) -> tuple[background.Hasher, int]:
    before = children()
    hasher = background.Hasher(paths)
    (pid,) = children() - before
    return hasher, pid


def known(path: Path) -> bool:
    with Cache.open() as cache:
        return watch.recall(path, scanning.state(os.fsencode(path)), cache) is not None


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a").write_bytes(b"a")
    (tmp_path / "one").write_bytes(b"one")
    with (folder / "large").open("wb") as file:
        file.truncate(1 << 40)  # takes no room, and hours to hash
    return folder


def test_what_it_hashed_is_in_the_cache_however_it_ends(data: Path, tmp_path: Path) -> None:
    small, alone = begin(tmp_path / "one", tmp_path / "is not there")
    large, busy = begin(data)
    assert eventually(lambda: not runs(alone))
    assert known(tmp_path / "one")
    at = Path(f"/proc/{busy}/fd")
    assert eventually(lambda: any(each.readlink().name == "large" for each in at.iterdir()))
    assert int(Path(f"/proc/{busy}/stat").read_text().rpartition(")")[2].split()[16]) == 19
    began = time.monotonic()
    large.end()
    assert time.monotonic() - began < background._PATIENCE
    assert not runs(busy)
    assert known(data / "a")
    large.end()
    small.end()


def test_it_ends_with_the_run_that_began_it(data: Path) -> None:
    hasher, pid = begin(data)
    assert runs(pid)
    del hasher
    assert pid not in children()


SCRIPT = """
import os, sys, time
from pathlib import Path
from ckptkit.data import background
hasher = background.Hasher([Path(sys.argv[1])])
print(Path(f"/proc/self/task/{os.getpid()}/children").read_text(), flush=True)
for _ in range(3):  # as the workers of a DataLoader
    child = os.fork()
    if not child:
        sys.exit(0)
    assert os.waitpid(child, 0) == (child, 0)
time.sleep(0.2)
print(Path(f"/proc/self/task/{os.getpid()}/children").read_text(), flush=True)
if sys.argv[2] != "ends":
    time.sleep(60)
"""


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "SIGINT", "ends"])
def test_it_ends_with_its_parent_and_not_with_a_forked_child(data: Path, how: str) -> None:
    command = [sys.executable, "-W", "error", "-c", SCRIPT, str(data), how]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        pid = int(parent.stdout.readline())
        assert int(parent.stdout.readline()) == pid
        if how != "ends":
            assert runs(pid)
            parent.send_signal(signal.Signals[how])
        parent.wait(SECONDS)
        complaint = parent.stderr.read()
    assert complaint == "" or how == "SIGINT"
    assert eventually(lambda: not runs(pid))


def test_ctrl_c_in_the_terminal_leaves_it_alone(data: Path) -> None:
    hasher, pid = begin(data)
    caught = Path(f"/proc/{pid}/status")
    mask = 1 << (signal.SIGINT - 1)
    assert eventually(lambda: bool(int(caught.read_text().split("SigIgn:")[1].split()[0], 16) & mask))
    os.kill(pid, signal.SIGINT)
    time.sleep(0.1)
    assert runs(pid)
    hasher.end()


def test_another_process_that_gets_the_run_has_none(data: Path) -> None:
    hasher, pid = begin(data)
    assert pickle.loads(pickle.dumps([hasher])) == [None]  # noqa: S301 - our own
    assert runs(pid)


def test_without_a_python_there_is_none(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(ProbeError):
        background.Hasher([data])
    monkeypatch.setattr(sys, "executable", "/no/python")
    with pytest.raises(OSError, match="/no/python"):
        background.Hasher([data])
