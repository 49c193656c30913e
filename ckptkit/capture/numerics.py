"""Numerics: what changes the bits of a result in this process, read from the frameworks that it has loaded.

Nothing is imported and no device is woken. Each switch is one getter, guarded by itself: frameworks rename them, and
torch refuses the old ones once the new ones were used.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ckptkit import redact
from ckptkit.capture import attempt
from ckptkit.capture.pools import pools
from ckptkit.disk import reason
from ckptkit.documents import finite
from ckptkit.record import Gpu

# Where a switch is read: by the module, which has to be loaded, what is asked of it.
_FLAGS = {
    "torch": "get_default_dtype()",
    "torch.utils._device": "CURRENT_DEVICE",  # get_default_device() would wake a GPU
    "torch.backends": "fp32_precision",
    "torch.backends.cuda": (
        "matmul.fp32_precision matmul.allow_fp16_reduced_precision_reduction matmul.allow_fp16_accumulation"
        " matmul.allow_fp16_reduced_precision_reduction_split_k matmul.allow_bf16_reduced_precision_reduction"
        " matmul.allow_bf16_reduced_precision_reduction_split_k matmul.prefer_cublaslt_grouped_gemm flash_sdp_enabled()"
        " mem_efficient_sdp_enabled() math_sdp_enabled() cudnn_sdp_enabled() fp16_bf16_reduction_math_sdp_allowed()"
    ),
    "torch._C": "_get_sdp_priority_order()",
    "torch.backends.cudnn": "enabled conv.fp32_precision rnn.fp32_precision depthwise_kernel",
    "torch.backends.mkldnn": "enabled matmul.fp32_precision conv.fp32_precision rnn.fp32_precision",
    "torch.backends.cpu": "get_cpu_capability()",
    "torch.backends.mha": "get_fastpath_enabled()",
    "torch.backends.opt_einsum": "enabled strategy",
    "torch.backends.python_native": "available_dsls",
    "torch.backends.quantized": "engine",
    "torch._inductor.config": (
        "batch_invariant coordinate_descent_tuning emulate_precision_casts freezing max_autotune numerics"
        " split_reductions use_fast_math"
    ),
    "jax": (
        "config.jax_enable_x64 config.jax_explicit_x64_dtypes config.jax_default_matmul_precision"
        " config.jax_numpy_dtype_promotion config.jax_softmax_custom_jvp config.jax_platforms"
        " config.jax_exec_time_optimization_effort config.values.jax_disable_most_optimizations"
    ),
    "tensorflow.python.framework.config": "tensor_float_32_execution_enabled()",
    "keras": "config.backend() config.floatx() config.epsilon() config.image_data_format() config.dtype_policy().name",
    "numpy": "_get_promotion_state()",
    "sklearn": "get_config()",
    "sklearnex": "sklearn_is_patched()",
}
_BEFORE_TORCH_2_9 = {  # raise, or tell what is no longer true, where fp32_precision was set
    "torch": "get_float32_matmul_precision()",
    "torch.backends.cuda": "matmul.allow_tf32",
    "torch.backends.cudnn": "allow_tf32",
}
_WITH_A_GPU = {
    "torch.backends.cuda": (
        "preferred_blas_library() preferred_linalg_library() preferred_rocm_fa_library() cublas_workspace_size()"
    ),
    "torch.backends.miopen": "immediate",
}
_TENSORFLOW = "tensorflow.python.eager.context"
_WITH_TENSORFLOW_AWAKE = {_TENSORFLOW: "_context.optimizer_jit"}
_DETERMINISM = {
    "torch": (
        "get_deterministic_debug_mode() are_deterministic_algorithms_enabled()"
        " is_deterministic_algorithms_warn_only_enabled() initial_seed()"
    ),
    "torch.utils.deterministic": "fill_uninitialized_memory",
    "torch.backends.cudnn": "benchmark benchmark_limit deterministic",
    "torch.backends.mkldnn": "deterministic",
    "torch._inductor.config": "deterministic fallback_random",
    "jax": (
        "config.jax_default_prng_impl config.jax_threefry_partitionable config.jax_threefry_gpu_kernel_lowering"
        " config.jax_random_seed_offset config.jax_enable_custom_prng"
    ),
    "tensorflow.python.framework.config": "is_op_determinism_enabled()",
}
_THREADS = {"torch": "get_num_threads() get_num_interop_threads()", "pyarrow": "cpu_count() io_thread_count()"}
_TENSORFLOW_THREADS = {_TENSORFLOW: "_context.inter_op_parallelism_threads _context.intra_op_parallelism_threads"}

_DETERMINISM_VARIABLES = (
    "CUBLAS_WORKSPACE_CONFIG",
    "FLASH_ATTENTION_DETERMINISTIC",
    "NVIDIA_TF32_OVERRIDE",
    "PYTHONHASHSEED",
    "TF_CUDNN_DETERMINISTIC",
    "TF_DETERMINISTIC_OPS",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

_FIRST_WITH_TF32 = (8, 0)  # compute capability of Ampere
# What a CPU needs before oneDNN obeys the switch, by aten/src/ATen/native/mkldnn/Linear.cpp.
_ON_CPU = {"bf16": "ops.mkldnn._is_mkldnn_bf16_supported()", "tf32": "cpu._is_amx_fp16_supported()"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Numerics:
    """Plain values by dotted name, of loaded frameworks only.

    ``effective`` tells what ``flags`` amount to on the device in use: by operation the lowest precision in which
    float32 may be computed there, ``ieee``, ``tf32`` or ``bf16``, and default data types; it is None where nothing that
    computes is loaded. Autocast and flush-to-zero are those of the thread that asks. A switch that a release does not
    have is left out; one that cannot be read is in ``unknown``.
    """

    effective: Mapping[str, str | None] | None
    flags: Mapping[str, Any]
    determinism: Mapping[str, Any]
    threads: Mapping[str, Any]


def numerics(unknown: dict[str, str]) -> Numerics:
    """Look at precision, determinism and threads of this process."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of getters that are on their way out
        flags = _flags(unknown)
        threads = _THREADS | (_TENSORFLOW_THREADS if _awake(_TENSORFLOW, "_context._initialized") else {})
        return Numerics(
            effective=_effective(flags, unknown),
            flags=flags,
            determinism=_read(_DETERMINISM, "compute.determinism", unknown) | _determinism(),
            threads=_read(threads, "compute.threads", unknown) | _threads(unknown),
        )


def gpus_in_use() -> tuple[Gpu, ...] | None:
    """The accelerators that torch or else jax has woken in this process, in its order; None where neither has."""
    if _awake("torch.cuda", "is_initialized()"):
        count = _ask("torch.cuda", "device_count()")
        return tuple(_by_torch(index, sys.modules["torch.cuda"].get_device_properties(index)) for index in range(count))
    backends = getattr(sys.modules.get("jax._src.xla_bridge"), "_backends", None) or {}
    devices = [device for backend in backends.values() for device in backend.devices() if device.platform != "cpu"]
    return tuple(_by_jax(index, device) for index, device in enumerate(devices)) or None


def _by_torch(index: int, found: Any) -> Gpu:  # noqa: ANN401 - what torch calls its properties
    return Gpu(
        index=index,
        name=found.name,
        memory=found.total_memory,
        compute_capability=f"{found.major}.{found.minor}",
        multiprocessors=found.multi_processor_count,
    )


def _by_jax(index: int, found: Any) -> Gpu:  # noqa: ANN401 - a device of jax; which kind tells what differs
    capability, units = getattr(found, "compute_capability", None), getattr(found, "core_count", None)
    return Gpu(index=index, name=found.device_kind, memory=None, compute_capability=capability, multiprocessors=units)


def _awake(module: str, chain: str) -> bool:
    return attempt({}, "", lambda: bool(_ask(module, chain)), default=False)


def _flags(unknown: dict[str, str]) -> dict[str, Any]:
    where = "compute.precision.flags"
    flags = _read(_FLAGS, where, unknown)
    if "torch.backends.cuda.matmul.fp32_precision" not in flags:
        flags |= _read(_BEFORE_TORCH_2_9, where, unknown)
    if _awake("torch.cuda", "is_initialized()"):
        flags |= _read(_WITH_A_GPU, where, unknown)
    if _awake(_TENSORFLOW, "_context._initialized"):
        flags |= _read(_WITH_TENSORFLOW_AWAKE, where, unknown)
    none: dict[str, Any] = {}
    flags |= attempt({}, "", _autocast, none) | attempt({}, "", _simd, none)  # a release may not have it
    for framework in dict.fromkeys(module.partition(".")[0] for module in _FLAGS):
        found = any(name.startswith((f"{framework}.", f"{where}.{framework}.")) for name in (*flags, *unknown))
        if sys.modules.get(framework) is not None and not found:
            unknown[f"{where}.{framework}"] = "it is loaded but has none of the switches that are known"
    return flags


def _autocast() -> dict[str, Any]:
    """The data types of autocast where it is on; outside of its block it says nothing of the training."""
    torch: Any = sys.modules["torch"]
    on = [device for device in ("cpu", "cuda", "mps", "xpu") if torch.is_autocast_enabled(device)]
    return {"torch.autocast": {device: _plain(torch.get_autocast_dtype(device)) for device in on}} if on else {}


def _simd() -> dict[str, Any]:
    """The instruction sets that numpy found: they choose its kernels, and so bits."""
    found = _ask("numpy", "__config__.CONFIG")["SIMD Extensions"]
    return {"numpy.simd": sorted({*found.get("baseline", ()), *found.get("found", ())})}


def _read(table: Mapping[str, str], where: str, unknown: dict[str, str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    asked = [(module, chain) for module in table if sys.modules.get(module) for chain in table[module].split()]
    for module, chain in asked:
        name = f"{module}.{chain}".replace("()", "").replace(".values.", ".")
        try:
            out[name] = _plain(_ask(module, chain))
        except (AttributeError, KeyError):  # the release that is loaded does not have it
            continue
        except Exception as error:  # noqa: BLE001 - whatever a getter throws is a reason, not a failure
            unknown[f"{where}.{name}"] = reason(error)
    return out


def _ask(module: str, chain: str) -> Any:  # noqa: ANN401 - whatever the framework answers
    value: Any = sys.modules[module]
    for part in chain.split("."):
        name = part.removesuffix("()")
        value = value[name] if isinstance(value, Mapping) else getattr(value, name)
        value = value() if part.endswith("()") else value
    return value


def _plain(value: object) -> Any:  # noqa: ANN401 - JSON has no narrower type
    if value is None or isinstance(value, bool | int | float):
        return finite(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)[:200].removeprefix("torch.")  # a dtype, or a member of an enumeration


def _effective(flags: Mapping[str, Any], unknown: dict[str, str]) -> dict[str, str | None] | None:
    out: dict[str, str | None] = {}
    if sys.modules.get("torch") is not None:
        out["torch.default_dtype"] = flags.get("torch.get_default_dtype")
        ask = _on_gpu if _awake("torch.cuda", "is_initialized()") else _on_cpu
        out |= {f"torch.{operation}": ask(flags, operation) for operation in ("matmul", "conv", "rnn")}
    if "jax.config.jax_enable_x64" in flags:
        out["jax.default_dtype"] = "float64" if flags["jax.config.jax_enable_x64"] else "float32"
        out["jax.matmul"] = flags.get("jax.config.jax_default_matmul_precision") or "default"
    tf32 = flags.get("tensorflow.python.framework.config.tensor_float_32_execution_enabled")
    if tf32 is not None:
        out["tensorflow.matmul"] = "tf32 on GPUs that have it" if tf32 else "ieee"
    if "keras.config.dtype_policy.name" in flags:
        out["keras.dtype_policy"] = flags["keras.config.dtype_policy.name"]
    if sys.modules.get("numpy") is not None and (not out or sys.modules.get("sklearn") is not None):
        out["numpy.default_dtype"] = "float64"  # scikit-learn's too; neither has a switch for another
    for name in [name for name, value in out.items() if value is None]:
        unknown[f"compute.precision.effective.{name}"] = "its switches could not be read"
    if not out:
        unknown["compute.precision.effective"] = "none of the numerical libraries that are known was loaded"
    return out or None


def _on_cpu(flags: Mapping[str, Any], operation: str) -> str | None:
    asked = flags.get(f"torch.backends.mkldnn.{operation}.fp32_precision")
    if asked is None and "torch.get_float32_matmul_precision" in flags:  # "medium" lets oneDNN multiply in bf16
        medium = flags["torch.get_float32_matmul_precision"] == "medium"
        asked = "bf16" if medium and operation == "matmul" else "ieee"
    if asked not in _ON_CPU:
        return "ieee" if asked == "none" else asked
    has = attempt({}, "", lambda: bool(_ask("torch", _ON_CPU[asked])), None)
    return None if has is None else asked if has else "ieee"


def _on_gpu(flags: Mapping[str, Any], operation: str) -> str | None:
    matmul = operation == "matmul"
    asked = flags.get(f"torch.backends.{'cuda' if matmul else 'cudnn'}.{operation}.fp32_precision")
    legacy = flags.get(f"torch.backends.{'cuda.matmul' if matmul else 'cudnn'}.allow_tf32")
    if asked is None and legacy is not None:
        asked = "tf32" if legacy else "ieee"
    return "ieee" if asked == "none" or (asked == "tf32" and not _has_tf32(matmul=matmul)) else asked


def _has_tf32(*, matmul: bool) -> bool:
    ask = "get_device_capability()"
    capability = attempt({}, "", lambda: tuple(_ask("torch.cuda", ask)), _FIRST_WITH_TF32)
    if getattr(sys.modules.get("torch.version"), "hip", None):  # gfx942 has it; ATen/Context.cpp, allowTF32CuBLAS
        return matmul and os.environ.get("HIPBLASLT_ALLOW_TF32") == "1" and capability >= (9, 4)
    # The variable is obeyed by the libraries below torch, which does not show it.
    return os.environ.get("NVIDIA_TF32_OVERRIDE") != "0" and capability >= _FIRST_WITH_TF32


def _determinism() -> dict[str, Any]:
    xla = {"XLA_FLAGS": os.environ["XLA_FLAGS"]} if "deterministic" in os.environ.get("XLA_FLAGS", "") else {}
    return {
        **redact.variables({name: os.environ[name] for name in _DETERMINISM_VARIABLES if name in os.environ} | xla),
        "hash_randomization": bool(sys.flags.hash_randomization),
        "flush_to_zero": sys.float_info.min / 2 == 0.0,  # there is no getter: a subnormal number is made
    }


def _threads(unknown: dict[str, str]) -> dict[str, Any]:
    none: dict[str, Any] = {}
    return {
        **{name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ},
        "usable_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "pools": attempt(unknown, "compute.threads.pools", _pools, none),
    }


def _pools() -> dict[str, Any]:
    found: dict[str, set[int]] = {}  # several numbers where wheels brought a library several times
    for pool in pools():
        found.setdefault(f"{pool['internal_api']} {pool['version'] or pool['prefix']}", set()).add(pool["num_threads"])
    return {name: min(of) if len(of) == 1 else sorted(of) for name, of in sorted(found.items())}
