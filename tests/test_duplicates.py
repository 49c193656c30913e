"""Bytes that are there already: found by digest, shared on the disk only where nothing can go wrong with it."""

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from disks import clones, is_one
from registries import publish

from ckptkit import change, checkpoint, duplicates, index, publication, transaction
from ckptkit.record import SealedFile
from ckptkit.registry import Version

BYTES = bytes(range(256)) * 40
FILE = "model.bin"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def staged(root: Path, *, data: bytes = BYTES, path: str = FILE, model: str = "penguins") -> Path:
    """Another version with one file, shared where that can be; published by hand so that nothing else is looked at."""
    target = root / model / "v0099"
    with publication.open_stage(root) as stage:
        source = stage.home / "source"
        source.write_bytes(data)
        stage.add(source, path, move=False)
        duplicates.share(stage, root, index.load(root), model)
        assert stage.sums[path] == hashlib.sha256(data).hexdigest()
        assert (stage.folder / path).read_bytes() == data
        assert {name.name for name in stage.home.iterdir()} == {"host", "lock", "source", "version"}
        stage.seal()
        target.parent.mkdir(exist_ok=True)
        stage.publish(target)
    assert stat.S_IMODE((target / path).stat().st_mode) & 0o222 == 0
    return target / path


def test_a_duplicate_takes_no_room_and_survives_the_first(root: Path) -> None:
    first = publish(root, files={FILE: BYTES}).path / FILE
    second = staged(root)
    assert is_one(first, second)
    shutil.rmtree(first.parent)
    assert second.read_bytes() == BYTES
    assert stat.S_IMODE(second.stat().st_mode) & 0o222 == 0


def test_it_is_found_in_any_model_and_under_any_name(root: Path) -> None:
    first = publish(root, "whales", files={"deep/w.safetensors": BYTES}).path / "deep" / "w.safetensors"
    assert is_one(first, staged(root))


def test_a_file_smaller_than_a_block_is_copied(root: Path) -> None:
    small, large = b"s" * (duplicates.SMALL - 1), b"s" * duplicates.SMALL
    first = publish(root, files={"small": small, "large": large})
    assert not first.path.joinpath("small").samefile(staged(root, data=small, model="a"))
    assert is_one(first.path / "large", staged(root, data=large, model="b"))


def test_however_many_files_a_version_has(root: Path) -> None:
    files = {f"shard-{number:03}.bin": BYTES + b"%d" % number for number in range(150)}
    first = publish(root, files=files).path
    with publication.open_stage(root) as stage:
        for path, data in files.items():
            (stage.home / "source").write_bytes(data)
            stage.add(stage.home / "source", path, move=False)
        duplicates.share(stage, root, index.load(root), "penguins")
        assert all(is_one(first / path, stage.folder / path) for path in files)
    assert twin(root, *files.values()) == "penguins/v0001"


def damaged(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(BYTES[::-1])
    path.chmod(0o444)


def cut_off(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, 5000)
    path.chmod(0o444)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o444)


SPOILT: dict[str, Callable[[Path], object]] = {
    "damaged": damaged,
    "cut off": cut_off,
    "writable": lambda path: path.chmod(0o644),
    "for the owner alone": lambda path: path.chmod(0o400),
    "a link": linked,
    "a FIFO": fifo,
    "a folder": folder,
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("how", SPOILT)
def test_the_copy_stays_where_the_earlier_file_is_not_what_it_was(root: Path, how: str) -> None:
    first = publish(root, files={FILE: BYTES}).path / FILE
    SPOILT[how](first)
    before = first.lstat() if os.path.lexists(first) else None
    second = staged(root)
    assert second.read_bytes() == BYTES
    assert second.stat().st_nlink == 1
    if before is not None:
        assert (first.lstat().st_mode, first.lstat().st_nlink) == (before.st_mode, before.st_nlink)


@pytest.mark.parametrize("code", [errno.EPERM, errno.EMLINK, errno.EXDEV, errno.EOPNOTSUPP])
def test_the_copy_stays_where_the_disk_links_nothing(root: Path, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    first = publish(root, files={FILE: BYTES}).path / FILE
    tried = []

    def refuse(*names: Path, **_: bool) -> None:
        tried.append(names)
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as world:
        world.setattr("os.link", refuse)
        second = staged(root)
    assert tried or clones(first.parent)
    assert second.read_bytes() == BYTES
    assert second.stat().st_nlink == 1


def test_a_disk_that_refuses_is_not_asked_for_ever(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = [publish(root, files={FILE: BYTES}, tags={"number": str(number)}) for number in range(7)]
    if clones(versions[0].path):
        pytest.skip("this disk clones")
    tried = []

    def refuse(source: Path, *_: Path, **_how: bool) -> None:
        tried.append(source)
        raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))

    monkeypatch.setattr("os.link", refuse)
    staged(root)
    assert [path.name for path in map(Path, tried)].count(FILE) == 4


def test_another_version_is_tried_where_the_first_has_no_such_file_any_more(root: Path) -> None:
    first = publish(root, files={FILE: BYTES}).path / FILE
    publish(root, files={FILE: BYTES}, tags={}).path.joinpath(FILE).unlink()
    assert is_one(first, staged(root))


def prune(root: Path, version: Version) -> None:
    digest = hashlib.sha256(BYTES).hexdigest()
    with change.begin(root) as now:
        event = now.event(
            "pruned", "penguins", version.path.name, files=(SealedFile(path=FILE, bytes=len(BYTES), sha256=digest),)
        )
        transaction.carry_out(now, event)
    assert not (version.path / FILE).exists()


def twin(root: Path, *data: bytes, model: str = "penguins") -> str | None:
    return duplicates.twin(index.load(root), model, [hashlib.sha256(each).hexdigest() for each in data])


def test_a_twin_has_the_same_files_by_content_no_more_and_no_less(root: Path) -> None:
    other = publish(root, "a", files={"w": b"1", "v": b"2"})
    publish(root, files={"w": b"1", "v": b"2", "u": b"3"})
    publish(root, files={"w": b"1"})
    assert twin(root, b"2", b"1") == other.ref
    assert twin(root, b"1", b"2", b"3") == "penguins/v0001"
    assert twin(root, b"1", b"1") is None
    assert twin(root, b"1", b"4") is None
    mine = publish(root, files={"x": b"2", "y": b"1"})
    publish(root, files={"w": b"1", "v": b"2"})
    assert twin(root, b"1", b"2") == mine.ref == "penguins/v0003"
    assert twin(root, b"1", b"2", model="new") == other.ref


def test_a_manifest_of_data_makes_no_twin_and_a_pruned_version_is_one(root: Path) -> None:
    first = publish(root, files={FILE: BYTES}, data=[])
    prune(root, first)
    assert twin(root, BYTES) == first.ref
    assert staged(root).stat().st_nlink == 1


def test_what_cannot_be_read_is_no_twin(root: Path) -> None:
    version = publish(root, files={FILE: BYTES})
    (version.path / checkpoint.LINEAGE).chmod(0o644)
    (version.path / checkpoint.LINEAGE).write_text("{")
    (root / "index.json").unlink()
    assert twin(root, BYTES) is None
    assert staged(root).read_bytes() == BYTES
