import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ckptkit import checkpoint, index, registry
from ckptkit.errors import CkptkitError

WORKER = """
import sys
import ckptkit
for number in range(int(sys.argv[3])):
    ckptkit.save(sys.argv[2], model="m", root=sys.argv[1], metrics={"i": number}, aliases=["newest"])
"""


def save(root: Path, weights: Path, **facts: object) -> registry.Version:
    import ckptkit

    version = ckptkit.save(weights, model="m", root=root, **facts)  # type: ignore[arg-type]
    assert version is not None
    return version


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "w.bin"
    path.write_bytes(b"weights")
    return path


def test_the_index_after_each_save_is_what_a_rebuild_gives(tmp_path: Path, weights: Path) -> None:
    root = tmp_path / "runs"
    for number in range(3):
        save(root, weights, aliases=["best"] if number != 1 else ["other"], metrics={"loss": number})
        assert (root / "index.json").read_bytes() == index.dump(index.build(root))
        assert (root / "README.md").read_text() == index.readme(index.build(root))
    assert json.loads((root / "index.json").read_bytes())["models"]["m"]["aliases"] == {
        "best": "v0003",
        "other": "v0002",
    }
    assert (root / "m" / "@best").readlink() == Path("v0003")


def test_numbers_are_never_reused(tmp_path: Path, weights: Path) -> None:
    root = tmp_path / "runs"
    for _ in range(3):
        save(root, weights)
    shutil.rmtree(root / "m" / "v0003")
    (root / "index.json").unlink()
    assert save(root, weights).ref == "m/v0004"
    (root / "m" / "v9999").mkdir()
    assert save(root, weights).ref == "m/v10000"


def test_a_folder_without_an_event_is_taken_in_once_if_it_verifies(tmp_path: Path, weights: Path) -> None:
    root = tmp_path / "runs"
    save(root, weights)
    shutil.copytree(root / "m" / "v0001", root / "m" / "v0005")
    shutil.copytree(root / "m" / "v0001", root / "m" / "v0006")
    (root / "m" / "v0006" / "w.bin").chmod(0o600)
    (root / "m" / "v0006" / "w.bin").write_bytes(b"changed")
    assert save(root, weights).ref == "m/v0007"
    assert save(root, weights).ref == "m/v0008"
    model = registry.read_model(root / "m")
    assert [event.version for event in model.events] == ["v0001", "v0005", "v0007", "v0008"]


def test_parallel_saves_are_all_there_once(tmp_path: Path, weights: Path) -> None:
    root = tmp_path / "runs"
    command = [sys.executable, "-c", WORKER, str(root), str(weights), "4"]
    workers = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(5)]
    assert [worker.wait(120) for worker in workers] == [0] * 5
    model = registry.read_model(root / "m")
    assert list(model.versions) == [f"v{number:04d}" for number in range(1, 21)]
    assert sorted(model.saved) == list(model.versions)
    assert len(model.alias_heads("newest")) == 1
    assert (root / "index.json").read_bytes() == index.dump(index.build(root))
    assert not [name for name in os.listdir(root / registry.HOME) if name.startswith("stage-")]


def test_without_locks_the_rename_is_the_claim(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "runs"
    save(root, weights)
    real = checkpoint.Stage.publish

    def slower(stage: checkpoint.Stage, target: Path) -> None:
        if target.name == "v0002":  # another process claims the number first
            shutil.copytree(root / "m" / "v0001", target, dirs_exist_ok=True)
        real(stage, target)

    monkeypatch.setattr(checkpoint.Stage, "publish", slower)
    version = save(root, weights)
    assert version.ref == "m/v0003"
    assert version.lineage["version"] == "v0003"
    found = checkpoint.read(version.path, deep=True)
    assert found.hashed == found.sums
    assert found.digest == version.digest


def test_a_dead_stage_is_swept_and_a_living_one_is_not(tmp_path: Path, weights: Path) -> None:
    root = tmp_path / "runs"
    save(root, weights)
    code = (
        "import os, sys; from pathlib import Path; from ckptkit import registry\n"
        "stage = registry.open_stage(Path(sys.argv[1])); print(stage.home, flush=True)\n"
        "sys.stdin.read() if len(sys.argv) > 2 else os._exit(1)"
    )
    dead = subprocess.run(
        [sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=False
    ).stdout.strip()
    assert Path(dead).is_dir()
    with subprocess.Popen(
        [sys.executable, "-c", code, str(root), "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as living:
        assert living.stdout
        alive = living.stdout.readline().strip()
        save(root, weights)
        assert not Path(dead).exists()
        assert Path(alive).is_dir()
        living.communicate()


def test_foreign_folders_are_left_alone(tmp_path: Path, weights: Path) -> None:
    root = tmp_path / "runs"
    (root / "tensorboard" / "version_0").mkdir(parents=True)
    (root / "tensorboard" / "v0001").mkdir()
    (root / "events.out").touch()
    save(root, weights)
    assert [model.name for model in registry.models(root)] == ["m"]


def test_a_stale_index_is_seen_through(tmp_path: Path, weights: Path) -> None:
    root = tmp_path / "runs"
    save(root, weights)
    old = (root / "index.json").read_bytes()
    save(root, weights)
    (root / "index.json").write_bytes(old)
    assert list(index.load(root)["models"]["m"]["versions"]) == ["v0001", "v0002"]
    for junk in (
        b"\xff\x00",
        b"[]",
        b"{}",
        b'{"schema": "ckptkit/index/1", "models": []}',
        b'{"schema": "ckptkit/index/1", "models": {"m": 3}}',
    ):
        (root / "index.json").write_bytes(junk)
        assert list(index.load(root)["models"]["m"]["versions"]) == ["v0001", "v0002"]
    assert save(root, weights).ref == "m/v0003"


def test_roots_that_cannot_be(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CkptkitError, match="is not a folder"):
        save(tmp_path / "file", weights)
    with pytest.raises(CkptkitError, match="is not a folder"):
        save(tmp_path / "file" / "below", weights)


def test_default_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert registry.default_root(None, tmp_path / "a") == tmp_path / "a" / "runs"
    (tmp_path / "a" / ".git").mkdir()
    assert registry.default_root(None, tmp_path / "a" / "b") == tmp_path / "a" / "runs"
    (tmp_path / "a" / "pyproject.toml").write_text('[tool.ckptkit]\nroot = "models"')
    assert registry.default_root(None, tmp_path / "a" / "b") == tmp_path / "a" / "models"
    monkeypatch.setenv("CKPTKIT_ROOT", "elsewhere")
    assert registry.default_root(None, tmp_path / "a" / "b") == tmp_path / "a" / "b" / "elsewhere"
    assert registry.default_root("here", tmp_path / "a" / "b") == tmp_path / "a" / "b" / "here"
