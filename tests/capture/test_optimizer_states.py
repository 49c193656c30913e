"""States of torch's optimizers: they load without running code, and the training goes on as if it had not stopped."""

import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from ckptkit import pickles, weights
from ckptkit.capture import optimizer_states
from ckptkit.errors import CkptkitError


class Estimator:
    """No optimizer of torch."""


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="torch is not installed")


def train(torch: Any, model: Any, optimizer: Any, steps: int) -> None:
    for step in range(steps):
        optimizer.zero_grad()
        model(torch.full((1, 3), 1.0 + step)).square().sum().backward()
        optimizer.step(lambda: model(torch.ones(1, 3)).square().sum())


def model_of(torch: Any, state: Any = None) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = torch.nn.Linear(3, 2, bias=False)
    if state is not None:
        model.load_state_dict(state)
    return model


OPTIMIZERS = "ASGD Adadelta Adafactor Adagrad Adam AdamW Adamax LBFGS Muon NAdam RAdam RMSprop Rprop SGD"


@pytest.mark.torch
@pytest.mark.parametrize("name", OPTIMIZERS.split())
def test_a_training_goes_on_bit_for_bit(tmp_path: Path, torch: Any, name: str) -> None:
    kind = getattr(torch.optim, name, None)
    if kind is None:
        pytest.skip(f"this torch has no {name}")
    settings = {"momentum": 0.9} if name in {"SGD", "RMSprop"} else {}
    model = model_of(torch)
    optimizer = kind(model.parameters(), lr=torch.tensor(0.01) if name == "Adam" else 0.01, **settings)
    train(torch, model, optimizer, 3)
    file = optimizer_states.write(optimizer, tmp_path / "optimizer.pt")
    assert weights.read_header(file).dangers == (pickles.LISTED,)
    other = model_of(torch, model.state_dict())
    again = kind(other.parameters(), lr=1.0, **settings)
    again.load_state_dict(torch.load(file, weights_only=True))
    train(torch, model, optimizer, 3)
    train(torch, other, again, 3)
    assert torch.equal(model.weight, other.weight)


@pytest.mark.torch
def test_numbers_of_numpy_and_the_mode_of_the_file(tmp_path: Path, torch: Any) -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    optimizer = torch.optim.Adam(model_of(torch).parameters(), lr=numpy.float64(0.1))
    file = optimizer_states.write(optimizer, tmp_path / "optimizer.pt")
    assert torch.load(file, weights_only=True)["param_groups"][0]["lr"] == 0.1
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~umask


@pytest.mark.torch
def test_the_rest_of_the_memory_that_a_state_is_a_part_of_is_not_saved(tmp_path: Path, torch: Any) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    optimizer.state_dict = lambda: {"state": {0: torch.arange(1_000_000.0)[7:9], 1: torch.eye(2).to_sparse()}}
    file = optimizer_states.write(optimizer, tmp_path / "optimizer.pt")
    assert torch.load(file, weights_only=True)["state"][0].tolist() == [7, 8]
    assert file.stat().st_size < 10_000
    assert weights.read_header(file).dangers == (pickles.LISTED,)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (None, []),
        (1, ["optimizer.pt"]),
        ([1, [2]], ["optimizer-1.pt", "optimizer-2.pt"]),
        (
            {"gen/a": 1, "gen a": 2, "Gen-A": 3, "..": 4, "b": [5, 6]},
            ["gen-a", "gen-a-2", "Gen-A-3", "4", "b", "b-6"],
        ),
    ],
)
def test_several_are_told_apart(given: object, names: list[str]) -> None:
    found = [file for file, _ in optimizer_states.named(given)]
    assert found == [name if name.endswith(".pt") else f"optimizer-{name}.pt" for name in names]


def test_a_secret_in_a_name_is_in_no_file_name() -> None:
    secret = f"hf_{'aB3' * 12}"
    assert secret not in optimizer_states.named({secret: 1})[0][0]


@pytest.mark.torch
@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"state": {0: {"fn": model_of}}}, r"holds state\.0\.fn, a test_optimizer_states\.model_of, which loads only"),
        ({"state": [Estimator()]}, r"holds state\.0, a test_optimizer_states\.Estimator"),
        ({"state": {0: os.stat_result(range(10))}}, r"holds state\.0, a os\.stat_result"),
    ],
)
def test_states_that_only_code_could_load(tmp_path: Path, torch: Any, state: object, words: str) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    optimizer.state_dict = lambda: state
    with pytest.raises(CkptkitError, match=words) as caught:
        optimizer_states.write(optimizer, tmp_path / "optimizer.pt")
    assert caught.value.hint
    assert [*tmp_path.iterdir()] == []


@pytest.mark.torch
def test_states_that_are_not_here(tmp_path: Path, torch: Any) -> None:
    class DTensor(torch.Tensor):  # type: ignore[misc]
        """Stands for torch's, that needs several processes."""

    def refuse() -> object:
        raise RuntimeError("consolidate first")

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    optimizer.state_dict = lambda: {"state": {0: {"step": torch.zeros(2).as_subclass(DTensor)}}}
    with pytest.raises(CkptkitError, match="running code or in parts"):
        optimizer_states.write(optimizer, tmp_path / "optimizer.pt")
    optimizer.state_dict = lambda: {"state": {0: {"step": torch.zeros(2, device="meta")}}}
    with pytest.raises(CkptkitError, match=r"holds state\.0\.step, a tensor without data"):
        optimizer_states.write(optimizer, tmp_path / "optimizer.pt")
    optimizer.state_dict = refuse
    with pytest.raises(CkptkitError, match="cannot be had: RuntimeError: consolidate first"):
        optimizer_states.write(optimizer, tmp_path / "optimizer.pt")


def test_what_is_no_optimizer_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    for given in (Estimator(), "adam", Estimator):
        with pytest.raises(CkptkitError, match="is no optimizer of torch") as caught:
            optimizer_states.write(given, tmp_path / "optimizer.pt")
        assert "pass the path" in (caught.value.hint or "")
