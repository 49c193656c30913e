"""Numerics: what changes the bits of a result in this process, read from the frameworks that it has loaded.

Nothing is imported and no device is woken. Each switch is one getter, guarded by itself: frameworks rename them, and
torch refuses the old ones once the new ones were used.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ckptkit import redact
from ckptkit.capture import attempt
from ckptkit.capture.pools import pools
from ckptkit.disk import reason
from ckptkit.documents import finite

# Where a switch is read: the module, which has to be loaded, and what is asked of it.
_FLAGS = (
    "torch:get_default_dtype()",
    "torch.backends:fp32_precision",
    "torch.backends.cuda:matmul.fp32_precision",
    "torch.backends.cuda:matmul.allow_fp16_reduced_precision_reduction",
    "torch.backends.cuda:matmul.allow_bf16_reduced_precision_reduction",
    "torch.backends.cuda:matmul.allow_fp16_accumulation",
    "torch.backends.cuda:flash_sdp_enabled()",
    "torch.backends.cuda:mem_efficient_sdp_enabled()",
    "torch.backends.cuda:math_sdp_enabled()",
    "torch.backends.cuda:cudnn_sdp_enabled()",
    "torch.backends.cudnn:enabled",
    "torch.backends.cudnn:conv.fp32_precision",
    "torch.backends.cudnn:rnn.fp32_precision",
    "torch.backends.mkldnn:enabled",
    "torch.backends.mkldnn:matmul.fp32_precision",
    "torch.backends.mkldnn:conv.fp32_precision",
    "torch.backends.mkldnn:rnn.fp32_precision",
    "torch.backends.cpu:get_cpu_capability()",
    "torch.backends.mha:get_fastpath_enabled()",
    "torch.backends.opt_einsum:enabled",
    "torch._inductor.config:emulate_precision_casts",
    "torch._inductor.config:use_fast_math",
    "torch._inductor.config:max_autotune",
    "jax:config.jax_enable_x64",
    "jax:config.jax_default_matmul_precision",
    "jax:config.jax_numpy_dtype_promotion",
    "tensorflow.python.framework.config:tensor_float_32_execution_enabled()",
    "keras:config.backend()",
    "keras:config.floatx()",
    "keras:config.dtype_policy().name",
    "sklearn:get_config()",
)
_BEFORE_TORCH_2_9 = (  # raise, or tell what is no longer true, where fp32_precision was set
    "torch:get_float32_matmul_precision()",
    "torch.backends.cuda:matmul.allow_tf32",
    "torch.backends.cudnn:allow_tf32",
)
_WITH_A_GPU = (
    "torch.backends.cuda:preferred_blas_library()",
    "torch.backends.cuda:preferred_linalg_library()",
)
_DETERMINISM = (
    "torch:are_deterministic_algorithms_enabled()",
    "torch:is_deterministic_algorithms_warn_only_enabled()",
    "torch:initial_seed()",
    "torch.utils.deterministic:fill_uninitialized_memory",
    "torch.backends.cudnn:benchmark",
    "torch.backends.cudnn:deterministic",
    "torch.backends.mkldnn:deterministic",
    "torch._inductor.config:deterministic",
    "torch._inductor.config:fallback_random",
    "jax:config.jax_default_prng_impl",
    "jax:config.jax_threefry_partitionable",
    "tensorflow.python.framework.config:is_op_determinism_enabled()",
)
_THREADS = ("torch:get_num_threads()", "torch:get_num_interop_threads()")

_DETERMINISM_VARIABLES = (
    "CUBLAS_WORKSPACE_CONFIG",
    "FLASH_ATTENTION_DETERMINISTIC",
    "NVIDIA_TF32_OVERRIDE",
    "PYTHONHASHSEED",
    "TF_CUDNN_DETERMINISTIC",
    "TF_DETERMINISTIC_OPS",
)
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

_FIRST_WITH_TF32 = (8, 0)  # compute capability of Ampere


@dataclass(frozen=True, slots=True, kw_only=True)
class Numerics:
    """Plain values by dotted name, of loaded frameworks only.

    ``effective`` tells what ``flags`` amount to on the device in use, by operation: ``ieee``, ``tf32`` or ``bf16``, and
    default data types; it is None where nothing that computes is loaded. A switch that a release does not have is left
    out; one that cannot be read is in ``unknown``.
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
        on_gpu = attempt({}, "", lambda: bool(_ask("torch.cuda:is_initialized()")), default=False)
        flags = _flags(unknown, on_gpu=on_gpu)
        return Numerics(
            effective=_effective(flags, unknown, on_gpu=on_gpu),
            flags=flags,
            determinism=_read(_DETERMINISM, "compute.determinism", unknown) | _determinism(),
            threads=_read(_THREADS, "compute.threads", unknown) | _threads(unknown),
        )


def _flags(unknown: dict[str, str], *, on_gpu: bool) -> dict[str, Any]:
    where = "compute.precision.flags"
    flags = _read(_FLAGS, where, unknown)
    if "torch.backends.cuda.matmul.fp32_precision" not in flags:
        flags |= _read(_BEFORE_TORCH_2_9, where, unknown)
    if on_gpu:
        flags |= _read(_WITH_A_GPU, where, unknown)
    for framework in dict.fromkeys(path.split(":")[0].split(".")[0] for path in _FLAGS):
        found = any(name.startswith((f"{framework}.", f"{where}.{framework}.")) for name in (*flags, *unknown))
        if sys.modules.get(framework) is not None and not found:
            unknown[f"{where}.{framework}"] = "it is loaded but has none of the switches that are known"
    return flags


def _read(paths: Iterable[str], where: str, unknown: dict[str, str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for path in paths:
        if sys.modules.get(path.partition(":")[0]) is None:
            continue
        name = path.replace(":", ".").replace("()", "")
        try:
            out[name] = _plain(_ask(path))
        except AttributeError:  # the release that is loaded does not have it
            continue
        except Exception as error:  # noqa: BLE001 - whatever a getter throws is a reason, not a failure
            unknown[f"{where}.{name}"] = reason(error)
    return out


def _ask(path: str) -> Any:  # noqa: ANN401 - whatever the framework answers
    module, _, chain = path.partition(":")
    value: Any = sys.modules[module]
    for part in chain.split("."):
        value = getattr(value, part.removesuffix("()"))
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


def _effective(flags: Mapping[str, Any], unknown: dict[str, str], *, on_gpu: bool) -> dict[str, str | None] | None:
    out: dict[str, str | None] = {}
    if sys.modules.get("torch") is not None:
        out["torch.default_dtype"] = flags.get("torch.get_default_dtype")
        ask = _on_gpu if on_gpu else _on_cpu
        out |= {f"torch.{operation}": ask(flags, operation) for operation in ("matmul", "conv", "rnn")}
    if "jax.config.jax_enable_x64" in flags:
        out["jax.default_dtype"] = "float64" if flags["jax.config.jax_enable_x64"] else "float32"
        out["jax.matmul"] = flags.get("jax.config.jax_default_matmul_precision") or "default"
    tf32 = flags.get("tensorflow.python.framework.config.tensor_float_32_execution_enabled")
    if tf32 is not None:
        out["tensorflow.matmul"] = "tf32" if tf32 else "ieee"
    if "keras.config.dtype_policy.name" in flags:
        out["keras.dtype_policy"] = flags["keras.config.dtype_policy.name"]
    if not out and sys.modules.get("numpy") is not None:
        out["numpy.default_dtype"] = "float64"  # it has no switch for another
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
    return "ieee" if asked == "none" else asked


def _on_gpu(flags: Mapping[str, Any], operation: str) -> str | None:
    module = "torch.backends.cuda.matmul" if operation == "matmul" else "torch.backends.cudnn"
    asked = flags.get(f"{module}{'' if operation == 'matmul' else f'.{operation}'}.fp32_precision")
    if asked is None and f"{module}.allow_tf32" in flags:
        asked = "tf32" if flags[f"{module}.allow_tf32"] else "ieee"
    if asked == "tf32" and not _has_tf32():
        return "ieee"
    return "ieee" if asked == "none" else asked


def _has_tf32() -> bool:
    if os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":  # obeyed by the libraries below torch, which does not show it
        return False
    capability = attempt({}, "", lambda: tuple(_ask("torch.cuda:get_device_capability()")), _FIRST_WITH_TF32)
    return capability >= _FIRST_WITH_TF32


def _determinism() -> dict[str, Any]:
    xla = {"XLA_FLAGS": os.environ["XLA_FLAGS"]} if "deterministic" in os.environ.get("XLA_FLAGS", "") else {}
    return {
        **redact.variables({name: os.environ[name] for name in _DETERMINISM_VARIABLES if name in os.environ} | xla),
        "hash_randomization": bool(sys.flags.hash_randomization),
        "flush_to_zero": sys.float_info.min / 2 == 0.0,  # there is no getter: a subnormal number is made
    }


def _threads(unknown: dict[str, str]) -> dict[str, Any]:
    none: dict[str, int] = {}
    return {
        **{name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ},
        "usable_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "pools": attempt(unknown, "compute.threads.pools", _pools, none),
    }


def _pools() -> dict[str, int]:
    named = ((f"{pool['internal_api']} {pool['version'] or pool['prefix']}", pool["num_threads"]) for pool in pools())
    return dict(sorted(named))
