import hashlib
import os
import shutil
import stat
import subprocess
import tracemalloc
from pathlib import Path

import pytest

from ckptkit import checkpoint, disk
from ckptkit.checkpoint import Unreadable
from ckptkit.errors import CkptkitError
from ckptkit.staging import Stage


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(os.urandom(5000))
    return path


def staged(tmp_path: Path, weights: Path, *, move: bool = False) -> Stage:
    (tmp_path / "runs" / "m").mkdir(parents=True, exist_ok=True)
    stage = Stage(tmp_path / "runs" / "stage")
    stage.add(weights, "deep/model.bin", move=move)
    stage.put("lineage.json", b"{}")
    stage.seal()
    stage.put_card("# card")
    return stage


def test_a_version_appears_whole_sealed_and_verifies_without_ckptkit(tmp_path: Path, weights: Path) -> None:
    version = tmp_path / "runs" / "m" / "v0001"
    with staged(tmp_path, weights) as stage:
        assert not version.exists()
        stage.publish(version)
    subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"], cwd=version, check=True)
    assert {path.relative_to(version).as_posix() for path in version.rglob("*") if path.is_file()} == {
        "README.md",
        "SHA256SUMS",
        "deep/model.bin",
        "lineage.json",
    }
    assert not stat.S_IMODE((version / "deep" / "model.bin").stat().st_mode) & 0o222
    assert stat.S_IMODE((version / "README.md").stat().st_mode) & 0o200
    assert not (tmp_path / "runs" / "stage").exists()
    assert weights.exists()


def test_leaving_a_stage_leaves_nothing(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(RuntimeError), staged(tmp_path, weights, move=True):
        raise RuntimeError
    assert not (tmp_path / "runs" / "stage").exists()
    assert weights.stat().st_size == 5000
    assert weights.stat().st_mode & 0o200


def test_a_taken_name_is_refused_and_the_stage_lives_on(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "runs" / "m" / "v0001").mkdir(parents=True)
    (tmp_path / "runs" / "m" / "v0001" / "x").touch()
    with staged(tmp_path, weights) as stage:
        with pytest.raises(FileExistsError):
            stage.publish(tmp_path / "runs" / "m" / "v0001")
        stage.put("lineage.json", b"{} ")
        stage.seal()
        stage.publish(tmp_path / "runs" / "m" / "v0002")
    assert (tmp_path / "runs" / "m" / "v0002" / "lineage.json").read_bytes() == b"{} "


def test_move_links_and_removes_the_source_at_the_end(tmp_path: Path, weights: Path) -> None:
    inode = weights.stat().st_ino
    with staged(tmp_path, weights, move=True) as stage:
        assert weights.exists()
        stage.publish(tmp_path / "runs" / "m" / "v0001")
        assert weights.exists()
        assert stage.remove_sources([]) == []
    moved = tmp_path / "runs" / "m" / "v0001" / "deep" / "model.bin"
    assert not weights.exists()
    assert moved.stat().st_ino == inode
    assert not moved.stat().st_mode & 0o222


def test_move_copies_what_another_name_could_still_change(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "other").hardlink_to(weights)
    with staged(tmp_path, weights, move=True) as stage:
        stage.publish(tmp_path / "runs" / "m" / "v0001")
        stage.remove_sources([])
    assert not weights.exists()
    assert (tmp_path / "other").stat().st_nlink == 1
    assert (tmp_path / "other").stat().st_mode & 0o200


def test_what_is_exchanged_has_the_same_bytes_and_frees_the_source(tmp_path: Path, weights: Path) -> None:
    data = weights.read_bytes()
    with staged(tmp_path, weights, move=True) as stage:
        draft = stage.home / "draft"
        draft.write_bytes(data[::-1])
        assert not stage.exchange("deep/model.bin", draft)
        assert (stage.folder / "deep" / "model.bin").samefile(weights)
        draft.write_bytes(data)
        assert stage.exchange("deep/model.bin", draft)
        assert not draft.exists()
        weights.write_bytes(b"newer")
        stage.publish(tmp_path / "runs" / "m" / "v0001")
        assert "changed" in stage.remove_sources([])[0]
    assert weights.read_bytes() == b"newer"
    moved = tmp_path / "runs" / "m" / "v0001" / "deep" / "model.bin"
    assert moved.read_bytes() == data
    assert not moved.stat().st_mode & 0o222


def test_a_sealed_file_is_not_sealed_again(tmp_path: Path, weights: Path) -> None:
    other = tmp_path / "sealed"
    other.write_bytes(weights.read_bytes())
    other.chmod(0o444)
    with staged(tmp_path, weights) as stage:
        (stage.home / "draft").hardlink_to(other)
        assert stage.exchange("deep/model.bin", stage.home / "draft")
        before = other.stat()
        stage.publish(tmp_path / "runs" / "m" / "v0001")
    assert other.stat().st_ctime_ns == before.st_ctime_ns
    assert other.stat().st_nlink == 2


def test_a_source_that_changed_since_stays(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "other").hardlink_to(weights)
    with staged(tmp_path, weights, move=True) as stage:
        stage.publish(tmp_path / "runs" / "m" / "v0001")
        weights.write_bytes(b"newer")
        assert "changed" in stage.remove_sources([])[0]
    assert weights.read_bytes() == b"newer"


def test_reading_never_raises(tmp_path: Path, weights: Path) -> None:
    version = tmp_path / "runs" / "m" / "v0001"
    with staged(tmp_path, weights) as stage:
        stage.publish(version)
    (version / "fifo").mkdir()
    os.mkfifo(version / "fifo" / "config.yaml")
    (version / "loop").symlink_to("loop")
    os.mkfifo(version / "config.yaml")
    found = checkpoint.read(version, deep=True)
    assert isinstance(found.lineage, Unreadable)
    assert "schema" in found.lineage.reason
    assert found.raw == {}
    assert found.config is None
    assert found.entries["config.yaml"].kind == "other"
    assert found.entries["loop"].kind == "link"
    assert found.hashed == found.sums
    shutil.rmtree(version)
    assert checkpoint.read(version).entries["."].kind == "unreadable"


@pytest.mark.parametrize("name", ["config.yaml", "Config.YAML", "data/x", "code", "LINEAGE.json"])
def test_reserved_names(name: str) -> None:
    with pytest.raises(CkptkitError):
        checkpoint.require_name(name)


def test_names_that_only_begin_like_reserved_ones() -> None:
    for name in ("config.json", "data.bin", "sub/config.yaml", "codebook.npy"):
        checkpoint.require_name(name)


@pytest.mark.parametrize(
    ("text", "front"),
    [
        ("---\na: 1\n---\nbody", {"a": 1}),
        ("\n---\r\na: 1\r\n---\r\nbody", {"a": 1}),
        ("text\n---\na: 1\n---\n", None),
        ("---\na: 1\n", None),
    ],
)
def test_the_cards_yaml_block_is_what_the_hub_sees(text: str, front: object) -> None:
    assert checkpoint.load_card(text.encode()).front == front


def test_a_broken_yaml_block_tells_its_line() -> None:
    front = checkpoint.load_card(b"---\na: 1\na: 2\n---\n").front
    assert isinstance(front, Unreadable)
    assert front.line == 3


def test_a_manifest_of_a_million_files_is_hashed_and_not_held(tmp_path: Path, weights: Path) -> None:
    part = b"0" * 64 + b"  ./a\n"
    parts = (disk.RECORD_LIMIT >> 20) + 1
    version = tmp_path / "runs" / "m" / "v0001"
    with staged(tmp_path, weights) as stage:
        sealed = stage.put("data/train.sha256", (part * (1 << 14) for _ in range(parts)))
        stage.seal()
        stage.publish(version)
    assert (version / "data" / "train.sha256").stat().st_size > disk.RECORD_LIMIT
    tracemalloc.start()
    found = checkpoint.read(version)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.hashed == found.sums
    assert found.hashed["data/train.sha256"] == sealed == hashlib.sha256(part * (1 << 14) * parts).hexdigest()
    assert peak < 4 << 20
