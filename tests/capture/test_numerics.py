"""The numerics probe: real frameworks in processes of their own, and the answers of frameworks that are not here."""

import json
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ckptkit.capture.numerics import numerics

REPOSITORY = Path(__file__).parents[2]
FRAMEWORKS = ("torch", "jax", "tensorflow", "keras", "sklearn")

SCRIPT = """
import json, sys
{body}
from ckptkit.capture.numerics import numerics
before = set(sys.modules)
unknown = {{}}
found = numerics(unknown)
print(json.dumps([found.effective, found.flags, found.determinism, found.threads, unknown]))
roots = {{name.partition(".")[0] for name in set(sys.modules) - before}}
assert not roots & {{"torch", "jax", "numpy", "sklearn", "tensorflow"}}, roots
"""

NOTHING = "none of the numerical libraries that are known was loaded"

Found = tuple[Any, dict[str, Any], dict[str, Any], dict[str, Any], dict[str, str]]


def child(body: str, **env: str) -> Found:
    """What a script that runs ``body`` first finds in itself."""
    out = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT.format(body=body)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **env},
        check=True,
        capture_output=True,
        text=True,
    )
    effective, flags, determinism, threads, unknown = json.loads(out.stdout)
    return effective, flags, determinism, threads, unknown


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., types.ModuleType]:
    """Put a module of these attributes among the loaded ones, all real frameworks taken out."""
    for name in list(sys.modules):
        if name.partition(".")[0] in FRAMEWORKS:
            monkeypatch.delitem(sys.modules, name)

    def put(name: str, **attributes: object) -> types.ModuleType:
        module = types.ModuleType(name)
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return put


def test_a_bare_process_knows_its_threads_and_hash_seed() -> None:
    effective, flags, determinism, threads, unknown = child("", PYTHONHASHSEED="0", OMP_NUM_THREADS="3")
    assert (effective, flags) == (None, {})
    assert unknown == {"compute.precision.effective": NOTHING}
    assert determinism == {"PYTHONHASHSEED": "0", "hash_randomization": False, "flush_to_zero": False}
    assert threads == {"OMP_NUM_THREADS": "3", "usable_cpus": len(os.sched_getaffinity(0)), "pools": {}}


def test_numpy_alone_computes_in_float64() -> None:
    effective, flags, _, _, unknown = child("import numpy")
    assert (effective, flags, unknown) == ({"numpy.default_dtype": "float64"}, {}, {})


def test_sklearn_and_blas() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    effective, flags, _, threads, unknown = child(
        "import sklearn; sklearn.set_config(assume_finite=True)", OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1"
    )
    assert effective == {"numpy.default_dtype": "float64"}
    assert flags["sklearn.get_config"]["assume_finite"] is True
    assert threads["OPENBLAS_NUM_THREADS"] == "1"
    assert 1 in {count for name, count in threads["pools"].items() if name.startswith(("openblas", "openmp"))}
    assert unknown == {}


@pytest.mark.torch
def test_torch_as_it_comes() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    effective, flags, determinism, threads, unknown = child("import torch")
    assert effective == {
        "torch.default_dtype": "float32",
        "torch.matmul": "ieee",
        "torch.conv": "ieee",
        "torch.rnn": "ieee",
    }
    assert flags["torch.backends.cpu.get_cpu_capability"]
    assert determinism["torch.are_deterministic_algorithms_enabled"] is False
    assert threads["torch.get_num_threads"] >= 1
    assert unknown == {}


@pytest.mark.torch
@pytest.mark.parametrize(
    ("body", "matmul", "matmul_on_gpu"),
    [
        ("torch.set_float32_matmul_precision('medium')", "bf16", "tf32"),
        ("torch.backends.cuda.matmul.allow_tf32 = True", "ieee", "tf32"),
        ("torch.backends.fp32_precision = 'tf32'", "tf32", "tf32"),
        (
            "torch.backends.cuda.matmul.fp32_precision = torch.backends.cudnn.conv.fp32_precision = 'ieee'",
            "ieee",
            "ieee",
        ),
    ],
)
def test_tf32_by_the_old_and_the_new_switches(body: str, matmul: str, matmul_on_gpu: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("torch before 2.9 has no fp32_precision")
    effective, flags, *_, unknown = child(f"import torch; {body}")
    assert effective["torch.matmul"] == matmul
    assert flags["torch.backends.cuda.matmul.fp32_precision"] == matmul_on_gpu
    assert unknown == {}


@pytest.mark.torch
def test_torch_made_deterministic() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    effective, _, determinism, threads, _ = child(
        "import torch; torch.manual_seed(7); torch.use_deterministic_algorithms(True, warn_only=True);"
        "torch.backends.cudnn.benchmark = True; torch.set_default_dtype(torch.float64); torch.set_num_threads(1);"
        "torch.set_flush_denormal(True)",
        CUBLAS_WORKSPACE_CONFIG=":4096:8",
    )
    assert effective["torch.default_dtype"] == "float64"
    assert determinism["torch.initial_seed"] == 7
    assert determinism["torch.are_deterministic_algorithms_enabled"] is True
    assert determinism["torch.is_deterministic_algorithms_warn_only_enabled"] is True
    assert determinism["torch.backends.cudnn.benchmark"] is True
    assert determinism["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert determinism["flush_to_zero"] is True
    assert threads["torch.get_num_threads"] == 1


# --- answers of what cannot run here ---


def a_gpu(put: Callable[..., types.ModuleType], capability: tuple[int, int], **matmul: object) -> None:
    put("torch", get_default_dtype=lambda: "torch.float32")
    put("torch.cuda", is_initialized=lambda: True, get_device_capability=lambda: capability)
    put("torch.backends.cuda", matmul=types.SimpleNamespace(**matmul), preferred_blas_library=lambda: "cublaslt")
    new = {"fp32_precision": "tf32"} if "fp32_precision" in matmul else None
    cudnn = {"conv": types.SimpleNamespace(**new), "rnn": types.SimpleNamespace(**new)} if new else {"allow_tf32": True}
    put("torch.backends.cudnn", **cudnn)


@pytest.mark.parametrize(
    ("capability", "override", "switches", "effective"),
    [
        ((8, 0), None, {"fp32_precision": "none"}, ("ieee", "tf32", "tf32")),
        ((9, 0), None, {"fp32_precision": "tf32"}, ("tf32", "tf32", "tf32")),
        ((7, 5), None, {"fp32_precision": "tf32"}, ("ieee", "ieee", "ieee")),
        ((8, 0), "0", {"fp32_precision": "tf32"}, ("ieee", "ieee", "ieee")),
        ((8, 0), None, {"allow_tf32": False}, ("ieee", "tf32", "tf32")),
        ((8, 0), None, {"allow_tf32": True}, ("tf32", "tf32", "tf32")),
    ],
)
def test_tf32_on_a_gpu_in_use(
    capability: tuple[int, int],
    override: str | None,
    switches: dict[str, object],
    effective: tuple[str, str, str],
    stand_in: Callable[..., types.ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    if override:
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", override)
    a_gpu(stand_in, capability, **switches)
    found = numerics({})
    assert found.effective is not None
    assert tuple(found.effective[f"torch.{name}"] for name in ("matmul", "conv", "rnn")) == effective
    assert found.flags["torch.backends.cuda.preferred_blas_library"] == "cublaslt"


def test_jax_tensorflow_and_keras(stand_in: Callable[..., types.ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(
        "jax",
        config=types.SimpleNamespace(
            jax_enable_x64=True,
            jax_default_matmul_precision="high",
            jax_default_prng_impl="threefry2x32",
            jax_threefry_partitionable=True,
        ),
    )
    stand_in("tensorflow")
    stand_in(
        "tensorflow.python.framework.config",
        tensor_float_32_execution_enabled=lambda: True,
        is_op_determinism_enabled=lambda: False,
    )
    policy = types.SimpleNamespace(name="mixed_bfloat16")
    stand_in("keras", config=types.SimpleNamespace(floatx=lambda: "float32", dtype_policy=lambda: policy))
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_deterministic_ops=true")
    unknown: dict[str, str] = {}
    found = numerics(unknown)
    assert found.effective == {
        "jax.default_dtype": "float64",
        "jax.matmul": "high",
        "tensorflow.matmul": "tf32",
        "keras.dtype_policy": "mixed_bfloat16",
    }
    assert found.determinism["jax.config.jax_threefry_partitionable"] is True
    assert found.determinism["tensorflow.python.framework.config.is_op_determinism_enabled"] is False
    assert found.determinism["XLA_FLAGS"] == "--xla_gpu_deterministic_ops=true"
    assert unknown == {}


def test_a_getter_that_raises_costs_only_itself(stand_in: Callable[..., types.ModuleType]) -> None:
    def broken() -> None:
        raise RuntimeError("mix of the old and the new\nsecond line")

    stand_in("torch", get_default_dtype=lambda: "torch.bfloat16", initial_seed=broken, get_num_threads=broken)
    unknown: dict[str, str] = {}
    found = numerics(unknown)
    assert found.flags == {"torch.get_default_dtype": "bfloat16"}
    why = "RuntimeError: mix of the old and the new"
    assert unknown["compute.determinism.torch.initial_seed"] == unknown["compute.threads.torch.get_num_threads"] == why
    assert found.effective == {
        "torch.default_dtype": "bfloat16",
        "torch.matmul": None,
        "torch.conv": None,
        "torch.rnn": None,
    }
    assert "compute.precision.effective.torch.matmul" in unknown


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_half_imported_modules_are_a_reason(name: str, stand_in: Callable[..., types.ModuleType]) -> None:
    stand_in(name)
    unknown: dict[str, str] = {}
    found = numerics(unknown)
    assert found.flags == {}
    assert unknown[f"compute.precision.flags.{name}"] == "it is loaded but has none of the switches that are known"


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_modules_marked_as_missing_are_not_loaded(
    name: str, stand_in: Callable[..., types.ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in("numpy_of_this_test")
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "numpy", None)
    unknown: dict[str, str] = {}
    found = numerics(unknown)
    assert (found.effective, found.flags, unknown) == (None, {}, {"compute.precision.effective": NOTHING})


def test_odd_answers_become_plain_values(stand_in: Callable[..., types.ModuleType]) -> None:
    stand_in("sklearn", get_config=lambda: {"a": float("nan"), "b": (1, object()), 3: "x" * 500})
    config = numerics({}).flags["sklearn.get_config"]
    assert config["a"] == "NaN"
    assert config["b"][0] == 1
    assert json.loads(json.dumps(config)) == config
    assert len(config["3"]) == 200
