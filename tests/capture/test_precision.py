"""The precision that was asked for, by configurations as frameworks write them and by Accelerate itself."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from scripts import python

from ckptkit.capture.precision import accelerate, requested


@pytest.fixture(autouse=True)
def _without_accelerate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "accelerate.state", raising=False)


@pytest.mark.parametrize(
    ("values", "asked"),
    [
        (None, None),
        ({"lr": 1, "bf16": False, "dtype": None}, None),
        ({"trainer": {"precision": "bf16-mixed"}}, "bf16-mixed"),  # Lightning
        ({"trainer.precision": "16-true"}, "16-true"),
        ({"precision": 16, "model": {"dtype": "float32"}}, "16"),
        ({"mixed-precision": "fp8", "bf16": True}, "fp8"),  # Accelerate
        ({"fp16": True}, "fp16"),  # TrainingArguments
        ({"bf16": True, "tf32": True, "torch_dtype": "float32"}, "bf16"),
        ({"tf32": True, "bf16_full_eval": True}, "tf32"),
        ({"fp16_full_eval": True}, "fp16_full_eval"),
        ({"deepspeed": {"fp16": {"enabled": False}, "bf16": {"enabled": True}}}, "bf16"),
        ({"fp16": {"enabled": "auto"}, "bf16": "auto"}, None),
        ({"fsdp": {"mixed_precision": {"param_dtype": "torch.bfloat16", "reduce_dtype": "float32"}}}, "bfloat16"),
        ({"model": {"dtype_policy": "mixed_bfloat16"}}, "mixed_bfloat16"),  # Keras
        ({"model": {"torch_dtype": "torch.float16"}}, "float16"),
        ({"mixed_precision": "no", "model": {"torch_dtype": "bfloat16"}}, "bfloat16"),
        ({"mixed_precision": "no", "torch_dtype": "auto"}, "no"),
        ({"inner": {"precision": 32}, "precision": 64}, "64"),
        ({"metrics": {"precision": 0.9}, "print": {"precision": 4}, "data": {"dtype": "uint8"}}, None),
        ({"precision": True, "dtype": ["float16"]}, None),
    ],
)
def test_by_the_configuration(values: dict[str, Any] | None, asked: str | None) -> None:
    assert requested(values, {}, None) == asked


def test_the_launcher_is_asked_last() -> None:
    environ = {"ACCELERATE_MIXED_PRECISION": "fp16"}
    assert requested({}, environ, None) == requested({"mixed_precision": "no"}, environ, None) == "fp16"
    assert requested({"mixed_precision": "bf16"}, environ, None) == "bf16"


@pytest.mark.parametrize(("shared", "asked"), [({"_mixed_precision": "bf16"}, "bf16"), ({}, "fp8"), (None, "fp8")])
def test_accelerate_knows_best(shared: dict[str, str] | None, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state = types.ModuleType("accelerate.state")
    vars(state)["AcceleratorState"] = types.SimpleNamespace(_shared_state=shared)
    monkeypatch.setitem(sys.modules, "accelerate.state", state)
    assert requested({"mixed_precision": "fp8"}, {}, accelerate()) == asked


ACCELERATE = """
import os, sys, warnings
warnings.simplefilter("ignore")
from accelerate import Accelerator
from ckptkit.capture.precision import accelerate, requested
print(requested({}, {}, accelerate()))
Accelerator(mixed_precision="bf16", cpu=True)
print(requested({"precision": 32}, os.environ, accelerate()))
"""


@pytest.mark.torch
def test_accelerate_itself(tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    (tmp_path / "train.py").write_text(ACCELERATE)
    out = python(tmp_path / "train.py", cwd=tmp_path, ACCELERATE_MIXED_PRECISION="no")
    assert out.split() == ["None", "bf16"]
