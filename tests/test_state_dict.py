import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from ckptkit import state_dict
from ckptkit.errors import CkptkitError


def test_arrays_nests_and_numbers(tmp_path: Path) -> None:
    weights = {"a": np.ones((2, 3), np.float32).T, "b": {"c": np.arange(3), "d": 2}}
    named = state_dict.collect(weights)
    assert list(named) == ["a", "b.c", "b.d"]
    state_dict.write(named, tmp_path / "m.safetensors")
    loaded = load_file(tmp_path / "m.safetensors")
    assert loaded["a"].shape == (3, 2)
    assert loaded["b.d"].shape == ()
    assert loaded["b.d"] == 2


@pytest.mark.parametrize(("weights", "words"), [({}, "cannot be saved"), ({"a": "text"}, "'a', a str"), (7, "a int")])
def test_refuses_what_is_no_array(weights: Any, words: str) -> None:
    with pytest.raises(CkptkitError, match=words):
        state_dict.collect(weights)


def test_prefixes_of_wrappers_go() -> None:
    one = np.ones(1)
    assert list(state_dict.collect({"module._orig_mod.a": one, "module.b._orig_mod.c": one})) == ["a", "b.c"]
    assert list(state_dict.collect({"module.a": one, "b": one})) == ["module.a", "b"]


def test_an_array_that_safetensors_cannot_hold_is_said(tmp_path: Path) -> None:
    with pytest.raises(CkptkitError, match="cannot hold"):
        state_dict.write({"a": np.array(["text"])}, tmp_path / "m.safetensors")


def test_without_the_package_the_words_say_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['safetensors'] = None; sys.modules['safetensors.numpy'] = None\n"
        "from ckptkit import state_dict\nfrom pathlib import Path\n"
        "try: state_dict.write({}, Path('m'))\nexcept Exception as error: print(error)"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "pip install safetensors" in out


@pytest.mark.torch
def test_torch_modules(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    embedding = torch.nn.Embedding(5, 3)
    head = torch.nn.Linear(3, 5, bias=False)
    head.weight = embedding.weight
    model = torch.nn.DataParallel(torch.nn.Sequential(embedding, head))
    named = state_dict.collect(model)
    state_dict.write(named, tmp_path / "m.safetensors")
    with safe_open(tmp_path / "m.safetensors", "pt") as file:
        assert list(file.keys()) == ["0.weight"]
        assert file.metadata() == {"format": "pt", "1.weight": "0.weight"}
        assert torch.equal(file.get_tensor("0.weight"), embedding.weight)


@pytest.mark.torch
def test_torch_views_of_one_storage(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    whole = torch.arange(12.0, dtype=torch.bfloat16).reshape(3, 4)
    state_dict.write(
        {"whole": whole, "row": whole[1], "turned": whole.T, "empty": torch.zeros(0)}, tmp_path / "m.safetensors"
    )
    with safe_open(tmp_path / "m.safetensors", "pt") as file:
        assert torch.equal(file.get_tensor("row"), whole[1])
        assert torch.equal(file.get_tensor("turned"), whole.T)
        assert file.get_tensor("whole").dtype == torch.bfloat16


@pytest.mark.torch
def test_sharded_modules_are_refused_in_words() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    kind = type("FullyShardedDataParallel", (torch.nn.Module,), {})
    with pytest.raises(CkptkitError, match="sharded") as caught:
        state_dict.refuse_sharded(torch.nn.Sequential(kind()))
    assert "get_model_state_dict" in caught.value.hint


def test_names_that_become_one_are_refused() -> None:
    one = np.ones(1)
    with pytest.raises(CkptkitError, match="two of the weights"):
        state_dict.collect({"a": {"b": one}, "a.b": one})
    with pytest.raises(CkptkitError, match="two of the weights"):
        state_dict.collect({"_orig_mod.a": one, "a": one})


def test_sharded_tensors_are_found_in_nests() -> None:
    class DTensor:
        shape, dtype = (1,), "float32"

    with pytest.raises(CkptkitError, match="sharded"):
        state_dict.collect({"model": {"w": DTensor()}})


@pytest.mark.torch
def test_an_only_child_called_module_keeps_its_name() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")

    class Outer(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.module = torch.nn.Linear(1, 1)

    assert set(state_dict.collect(Outer())) == {"module.weight", "module.bias"}
