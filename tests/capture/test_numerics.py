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
import threadpoolctl
from scripts import python

from ckptkit.capture.numerics import gpus_in_use, numerics
from ckptkit.record import Gpu

REPOSITORY = Path(__file__).parents[2]
FRAMEWORKS = ("torch", "jax", "tensorflow", "keras", "sklearn", "sklearnex", "numpy")

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
    assert (effective, unknown) == ({"numpy.default_dtype": "float64"}, {})
    found = flags["numpy.simd"]
    assert found == sorted(found)
    highest = found[-1]
    if highest.startswith("X86"):  # older releases have other names, and refuse what is in their baseline
        assert highest not in child("import numpy", NPY_DISABLE_CPU_FEATURES=highest)[1]["numpy.simd"]


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


def test_one_library_loaded_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [
        {"internal_api": api, "version": None, "prefix": api, "num_threads": count}
        for api, count in (("openmp", 4), ("blas", 2), ("openmp", 1), ("blas", 2))
    ]
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: told)
    assert numerics({}).threads["pools"] == {"blas blas": 2, "openmp openmp": [1, 4]}


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


# What each switch makes of the others, each in a process forked from one that has torch: cuda.matmul, cudnn.conv,
# cudnn.rnn and mkldnn.matmul.
SWITCHES = {
    "pass": ("none", "tf32", "tf32", "none"),
    "torch.set_float32_matmul_precision('high')": ("tf32", "tf32", "tf32", "tf32"),
    "torch.set_float32_matmul_precision('medium')": ("tf32", "tf32", "tf32", "bf16"),
    "backends.cuda.matmul.allow_tf32 = True": ("tf32", "tf32", "tf32", "none"),
    "backends.cudnn.allow_tf32 = False": ("none", "none", "none", "none"),
    "backends.cuda.matmul.fp32_precision = 'tf32'": ("tf32", "tf32", "tf32", "none"),
    "backends.fp32_precision = 'tf32'": ("tf32", "tf32", "tf32", "tf32"),
    "backends.cudnn.conv.fp32_precision = 'ieee'": ("none", "ieee", "tf32", "none"),
    "backends.cuda.matmul.allow_tf32 = True; backends.cuda.matmul.fp32_precision = 'ieee'": (
        *("ieee", "tf32", "tf32", "none"),
    ),
    "backends.mkldnn.fp32_precision = 'bf16'": ("none", "none", "none", "bf16"),
    "backends.mkldnn.matmul.fp32_precision = 'bf16'": ("none", "tf32", "tf32", "bf16"),
}
FORKED = """
import json, os, sys, torch, warnings
from torch import backends
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside the threads of a BLAS
from ckptkit.capture.numerics import numerics
torch.set_num_threads(1)
values = torch.randn(256, 256)
product = values @ values
for body in json.loads(sys.argv[1]):
    if os.fork() == 0:
        exec(body)
        unknown = {}
        found = numerics(unknown)
        same = torch.equal(product, values @ values)
        print(json.dumps([body, found.effective, found.flags, same, torch.cuda.is_initialized(), unknown]), flush=True)
        os._exit(0)
    os.wait()
"""


def forked(tmp_path: Path, *bodies: str, **env: str) -> list[list[Any]]:
    (tmp_path / "script.py").write_text(FORKED)
    out = python(tmp_path / "script.py", json.dumps(bodies), cwd=tmp_path, **env)
    found = [json.loads(line) for line in out.splitlines()]
    assert [body for body, *_ in found] == list(bodies)
    assert all(unknown == {} and not woken for *_, woken, unknown in found)
    return found


@pytest.mark.torch
def test_fp32_precision_by_the_old_and_the_new_switches(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("torch before 2.9 has no fp32_precision")
    names = ("cuda.matmul", "cudnn.conv", "cudnn.rnn", "mkldnn.matmul")
    for body, effective, flags, same, *_ in forked(tmp_path, *SWITCHES):
        assert tuple(flags[f"torch.backends.{name}.fp32_precision"] for name in names) == SWITCHES[body], body
        assert same or effective["torch.matmul"] != "ieee", f"{body}: the bits of a product tell otherwise"
        assert "torch.get_float32_matmul_precision" not in flags


@pytest.mark.torch
def test_torch_obeys_its_override_by_a_variable(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("torch before 2.9 has no fp32_precision")
    matmul = "torch.backends.cuda.matmul.fp32_precision"
    asked = ("pass", "backends.cuda.matmul.fp32_precision = 'ieee'")
    (_, _, as_it_comes, *_), (_, _, set_later, *_) = forked(tmp_path, *asked, TORCH_ALLOW_TF32_CUBLAS_OVERRIDE="1")
    assert (as_it_comes[matmul], set_later[matmul]) == ("tf32", "ieee")


@pytest.mark.torch
def test_autocast_and_the_default_device_where_they_are_set(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    nothing, device, autocast = forked(
        tmp_path, "pass", "torch.set_default_device('cuda')", "torch.autocast('cpu').__enter__()"
    )
    assert not {"torch.autocast", "torch.utils._device.CURRENT_DEVICE"} & nothing[2].keys()
    assert device[2]["torch.utils._device.CURRENT_DEVICE"] == "cuda"
    assert autocast[2]["torch.autocast"] == {"cpu": "bfloat16"}


@pytest.mark.torch
def test_flush_to_zero_is_that_of_the_thread_that_asks() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    threads = "import threading, torch; run = lambda what: (t := threading.Thread(target=what), t.start(), t.join());"
    assert child(f"{threads} run(lambda: torch.set_flush_denormal(True))")[2]["flush_to_zero"] is False
    inherited = f"{threads} torch.set_flush_denormal(True); found = [];"
    inherited += "run(lambda: found.append(sys.float_info.min / 2 == 0.0)); assert found == [True]"
    assert child(inherited)[2]["flush_to_zero"] is True


JAX = """
import jax
jax.config.update('jax_enable_x64', True)
jax.config.update('jax_default_matmul_precision', 'float32')
from ckptkit.capture.numerics import gpus_in_use
assert gpus_in_use() is None
assert not sys.modules['jax._src.xla_bridge']._backends, 'a device was woken'
jax.numpy.ones(2).block_until_ready()
assert gpus_in_use() is None, 'a CPU is no GPU'
"""


def test_jax_and_its_devices() -> None:
    pytest.importorskip("jax", reason="jax is not installed")
    effective, flags, determinism, _, unknown = child(JAX, JAX_PLATFORMS="cpu")
    assert (effective["jax.default_dtype"], effective["jax.matmul"]) == ("float64", "float32")
    assert flags["jax.config.jax_platforms"] == "cpu"
    assert flags["jax.config.jax_disable_most_optimizations"] is False
    assert determinism["jax.config.jax_default_prng_impl"] == "threefry2x32"
    assert unknown == {}


TENSORFLOW = """
import warnings; warnings.simplefilter('default')
import keras, tensorflow as tf
from ckptkit.capture.numerics import numerics
numerics({})
context = sys.modules['tensorflow.python.eager.context']
assert context._context is None or not context._context._initialized, 'a device was woken'
tf.config.experimental.enable_tensor_float_32_execution(False)
tf.config.experimental.enable_op_determinism()
tf.config.threading.set_intra_op_parallelism_threads(1)
keras.mixed_precision.set_global_policy('mixed_bfloat16')
tf.constant(1.0)
"""


def test_tensorflow_and_keras() -> None:
    pytest.importorskip("tensorflow", reason="tensorflow is not installed")
    effective, flags, determinism, threads, unknown = child(
        TENSORFLOW, TF_CPP_MIN_LOG_LEVEL="3", KERAS_BACKEND="tensorflow"
    )
    assert effective == {"tensorflow.matmul": "ieee", "keras.dtype_policy": "mixed_bfloat16"}
    assert flags["keras.config.floatx"] == "float32"
    assert determinism["tensorflow.python.framework.config.is_op_determinism_enabled"] is True
    assert threads["tensorflow.python.eager.context._context.intra_op_parallelism_threads"] == 1
    assert unknown == {}


def test_pyarrow_threads() -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    threads = child("import pyarrow; pyarrow.set_cpu_count(3); pyarrow.set_io_thread_count(5)")[3]
    assert (threads["pyarrow.cpu_count"], threads["pyarrow.io_thread_count"]) == (3, 5)


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
    put(
        "torch.cuda",
        is_initialized=lambda: True,
        get_device_capability=lambda: capability,
        device_count=lambda: 2,
        get_device_properties=lambda index: types.SimpleNamespace(
            name=f"NVIDIA A100-{index}", total_memory=80 << 30, major=8, minor=0, multi_processor_count=108
        ),
    )
    put("torch.backends.cuda", matmul=types.SimpleNamespace(**matmul), preferred_blas_library=lambda: "cublaslt")
    new = {"fp32_precision": "tf32"} if "fp32_precision" in matmul else None
    cudnn = {"conv": types.SimpleNamespace(**new), "rnn": types.SimpleNamespace(**new)} if new else {"allow_tf32": True}
    put("torch.backends.cudnn", **cudnn)


def test_gpus_that_torch_has_woken(stand_in: Callable[..., types.ModuleType]) -> None:
    assert gpus_in_use() is None
    a_gpu(stand_in, (8, 0))
    facts: dict[str, Any] = {"memory": 80 << 30, "compute_capability": "8.0", "multiprocessors": 108}
    assert gpus_in_use() == tuple(Gpu(index=index, name=f"NVIDIA A100-{index}", **facts) for index in (0, 1))
    sys.modules["torch.cuda"].is_initialized = lambda: False  # type: ignore[attr-defined]
    assert gpus_in_use() is None


def test_gpus_that_jax_has_woken(stand_in: Callable[..., types.ModuleType]) -> None:
    gpu = types.SimpleNamespace(platform="gpu", device_kind="NVIDIA H100", compute_capability="9.0", core_count=132)
    tpu = types.SimpleNamespace(platform="tpu", device_kind="TPU v5 lite")
    cpu = types.SimpleNamespace(platform="cpu", device_kind="cpu")
    backends = {str(each): types.SimpleNamespace(devices=lambda each=each: [each]) for each in (cpu, gpu, tpu)}
    stand_in("jax._src.xla_bridge", _backends=backends)
    assert gpus_in_use() == (
        Gpu(index=0, name="NVIDIA H100", memory=None, compute_capability="9.0", multiprocessors=132),
        Gpu(index=1, name="TPU v5 lite", memory=None, compute_capability=None),
    )


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


@pytest.mark.parametrize(
    ("capability", "allowed", "effective"),
    [((9, 4), "1", ("tf32", "ieee")), ((9, 4), "0", ("ieee", "ieee")), ((9, 0), "1", ("ieee", "ieee"))],
)
def test_tf32_on_a_gpu_of_amd(
    capability: tuple[int, int],
    allowed: str,
    effective: tuple[str, str],
    stand_in: Callable[..., types.ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HIPBLASLT_ALLOW_TF32", allowed)
    a_gpu(stand_in, capability, fp32_precision="tf32")
    stand_in("torch.version", hip="7.1")
    found = numerics({}).effective or {}
    assert (found["torch.matmul"], found["torch.conv"]) == effective


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
        "tensorflow.matmul": "tf32 on GPUs that have it",
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
