"""The states of optimizers in a version: which are there, and what is said of those that are not."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

import ckptkit
from ckptkit import checkpoint

pytestmark = pytest.mark.torch


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.bin").write_bytes(b"w")
    return tmp_path / "weights"


def saved(capsys: pytest.CaptureFixture[str], weights: Path, optimizer: object) -> tuple[Path, list[Any], str]:
    """The folder of the version, the files of its optimizers, and what was told."""
    version = ckptkit.save(weights, model="m", root="runs", optimizer=optimizer, optimizer_state=True)
    assert version is not None
    folder = Path(version.path)
    lineage = json.loads((folder / checkpoint.LINEAGE).read_text())
    return folder, [each["file"] for each in lineage["config"]["optimizers"]], capsys.readouterr().err


def test_what_can_be_saved_is_beside_what_cannot(capsys: pytest.CaptureFixture[str], weights: Path, torch: Any) -> None:
    good = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    folder, files, told = saved(capsys, weights, {"good": good, "bad": "adam"})
    assert files == ["optimizer-good.pt", None]
    assert torch.load(folder / "optimizer-good.pt", weights_only=True) == good.state_dict()
    found = [each for each in ckptkit.check(folder).findings if each.code == "CK801"]
    assert [(each.severity, each.hint) for each in found] == [
        ("warning", "load it with weights_only=True and never without")
    ]
    assert "config.optimizers[1].file: str is no optimizer of torch" in told


@pytest.mark.parametrize("nothing", [None, [], {}])
def test_none_that_was_asked_for_is_told(capsys: pytest.CaptureFixture[str], weights: Path, nothing: object) -> None:
    folder, files, told = saved(capsys, weights, nothing)
    assert files == []
    assert "no optimizer was given whose state could be saved" in told
    assert not [*folder.glob("optimizer*")]


def test_a_file_of_that_name_among_the_weights_stays(
    capsys: pytest.CaptureFixture[str], weights: Path, torch: Any
) -> None:
    (weights / "optimizer.pt").write_bytes(b"theirs")
    folder, files, told = saved(capsys, weights, torch.optim.SGD([torch.zeros(1)], lr=0.1))
    assert (folder / "optimizer.pt").read_bytes() == b"theirs"
    assert files == [None]
    assert "the weights bring a file optimizer.pt of their own" in told


def test_no_generator_is_advanced(capsys: pytest.CaptureFixture[str], weights: Path, torch: Any) -> None:
    before = random.getstate(), torch.get_rng_state()
    saved(capsys, weights, torch.optim.SGD([torch.zeros(1)], lr=0.1))
    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
