"""The environment variables that are recorded: those that can change numbers, and no other."""

import re
from collections.abc import Mapping
from pathlib import Path

from ckptkit.redact.naming import ADDRESS, kind_of, mark, words
from ckptkit.redact.shown import option_without_secret, text

_ALLOWED = re.compile(
    r"(?:TORCH|PYTORCH_|TRITON_|NCCL_|RCCL_|HCCL_|CUBLAS|CUDA_|CUDNN_|HIP_|HIPBLASLT_|HSA_|ROCBLAS_|MIOPEN_|FBGEMM_"
    r"|OMP_|GOMP_|KMP_|MKL_|OPENBLAS_|BLIS_|VECLIB_|NUMEXPR_|NUMBA_|ONEDNN_|DNNL_|NPY_|XLA_|TF_(?!VAR_|TOKEN_|CLI_)|JAX_|ACCELERATE_"
    r"|TRANSFORMERS_|LIBTPU_|NVTE_)\w*"
    r"|ATEN_CPU_CAPABILITY|DISABLE_ADDMM_CUDA_LT|NVIDIA_(?:TF32_OVERRIDE|VISIBLE_DEVICES|BUILD_ID|PYTORCH_VERSION)"
    r"|PL_GLOBAL_SEED|PL_SEED_WORKERS|FLASH_ATTENTION_DETERMINISTIC|ASCEND_LAUNCH_BLOCKING|ROCR_VISIBLE_DEVICES|USE_HUB_KERNELS"
    r"|HF_(?:HUB_OFFLINE|HOME|DATASETS_CACHE)|TOKENIZERS_PARALLELISM|KERAS_BACKEND|LOKY_MAX_CPU_COUNT"
    r"|GLIBC_TUNABLES|LD_LIBRARY_PATH|LD_PRELOAD|PYTHON(?:HASHSEED|PATH|OPTIMIZE)|LC_(?:ALL|COLLATE)|LANG|TZ"
)
_PLACE = re.compile(rf"{ADDRESS.pattern}|\b(?:coordinator|ips?|user)\b")
_HOSTS = frozenset(["TF_CONFIG", "NCCL_COMM_ID"])  # hold addresses though their names do not say so
_GPU_ID = re.compile(r"\b(GPU|MIG)-[0-9a-fA-F/-]{8,}")


def variables(env: Mapping[str, str], *, project: Path | None = None) -> dict[str, str]:
    """The environment variables that can change numbers, sorted by name; no other, and none that names a host."""
    out: dict[str, str] = {}
    for name in sorted(env):
        if not _ALLOWED.fullmatch(name) or name in _HOSTS or _PLACE.search(words(name)):
            continue
        shown = text(env[name], project=project)
        shown = mark(kind_of(name), shown) or option_without_secret(shown)
        out[name] = _GPU_ID.sub(r"\1-<redacted:uuid>", shown)
    return out
