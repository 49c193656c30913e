import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from trees import write

from ckptkit import hashing, scanning
from ckptkit.errors import CkptkitError


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


def test_two_links_to_one_folder_are_no_loop(tmp_path: Path) -> None:
    write(tmp_path / "data" / "a" / "x")
    (tmp_path / "data" / "b").symlink_to("a")
    (tmp_path / "data" / "c").symlink_to("a")
    assert [entry.path for entry in hashing.tree(tmp_path / "data")] == ["a/x", "b/x", "c/x"]


@pytest.mark.parametrize("name", ["a/b", "a"])
def test_what_may_not_be_read_is_named(name: str) -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own lets nobody in
        Path(place).chmod(0o755)
        write(Path(place, "a", "b"))
        Path(place, name).chmod(0)
        with nobody(), pytest.raises(CkptkitError, match=f"{name} cannot be read: permission denied") as caught:
            hashing.tree(Path(place))
        Path(place, name).chmod(0o700)
    assert caught.value.hint


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """Root, who may read everything, as a user who may not."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


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


MOUNTS = """\
22 28 0:20 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw
28 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw,errors=remount-ro
31 28 8:17 / /mnt/two\\040words rw,relatime master:3 propagate_from:2 - xfs /dev/sdb1 rw,attr2
44 28 0:52 / /home rw,relatime - nfs4 server:/export/home rw,vers=4.2
45 28 0:53 / /scratch rw,noatime shared:9 - lustre 10.0.0.1@o2ib:/scratch rw,flock
46 28 0:54 / /mnt/remote rw,nosuid shared:11 - fuse.sshfs me@far: rw,user_id=1000
47 28 253:0 / /gpfs rw,relatime shared:12 - gpfs gpfs1 rw
"""


def test_only_local_disks_have_a_device_of_their_own() -> None:
    assert scanning.local_devices(MOUNTS) == {"259:2", "8:17"}
    assert scanning.state(b"/").device in {0, Path("/").stat().st_dev}
    if Path("/proc/self").exists():
        assert scanning.state(b"/proc/self").device == 0
