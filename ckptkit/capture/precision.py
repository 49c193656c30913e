"""Precision that was asked for: by the configuration, Accelerate in this process, or the variable of its launcher."""

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

# In this order, by what says most of the training: mixed precision as Accelerate, Lightning, FSDP and Keras name it,
# the switches of TrainingArguments and sections of DeepSpeed, data types of the model, what is for evaluation alone.
_KEYS = ("mixed_precision", "precision", "param_dtype", "dtype_policy")
_SWITCHES = ("bf16", "bfloat16", "fp16", "float16", "fp8", "amp", "use_amp")
_DTYPES = ("amp_dtype", "autocast_dtype", "torch_dtype", "dtype", "compute_dtype", "bnb_4bit_compute_dtype")
_LESS = ("tf32", "bf16_full_eval", "fp16_full_eval")

_NAMES = re.compile(
    r"(?:16|32|64)(?:-\w+)?|.*(?:float|bf16|fp\d|tf32|half|double|single|mixed|engine).*|highest|high|medium|no|auto",
    re.IGNORECASE,
)
"""Values that name a precision; ``precision`` can also be a metric or a number of digits, ``dtype`` the data's."""

_LEAVES_OPEN = ("no", "auto")


def requested(values: Mapping[str, Any] | None, environ: Mapping[str, str], shared: str | None) -> str | None:
    """The precision that the training was asked for; None where nothing asked.

    What Accelerate took in this process comes first, as it has weighed all others; then the configuration, whose keys
    nearest to its top count; then ``$ACCELERATE_MIXED_PRECISION``, which an argument in code overrides. ``no`` and
    ``auto`` count only where nothing else names one.

    Args:
        values: the configuration, as it is recorded.
        environ: the environment of the process that trained; empty where it is not known.
        shared: what ``accelerate`` told in that process.
    """
    asked = [shared, *_configured(values or {}), environ.get("ACCELERATE_MIXED_PRECISION")]
    named = [each for each in asked if each]
    return next((each for each in named if each not in _LEAVES_OPEN), next(iter(named), None))


def accelerate() -> str | None:
    """What the Accelerator of this process took, by the state that it shares, without making one."""
    state = getattr(sys.modules.get("accelerate.state"), "AcceleratorState", None)
    shared = getattr(state, "_shared_state", None)
    told = shared.get("_mixed_precision") if isinstance(shared, Mapping) else None
    return None if told is None else str(told)


def _configured(values: Mapping[str, Any]) -> list[str]:
    found: dict[str, list[str]] = {}
    for key, value in _pairs(values):
        if key in (*_SWITCHES, *_LESS):
            if value is True or (isinstance(value, Mapping) and value.get("enabled") is True):
                found.setdefault(key, []).append(key)
        elif key in (*_KEYS, *_DTYPES) and isinstance(value, str | int) and _NAMES.fullmatch(str(value)):
            found.setdefault(key, []).append(str(value).removeprefix("torch."))
    return [each for key in (*_KEYS, *_SWITCHES, *_DTYPES, *_LESS) for each in found.get(key, ())]


def _pairs(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The keys at any depth, those nearest to the top first; of a dotted one its last part."""
    level = [values]
    while level:
        pairs = [(str(key), value) for each in level for key, value in each.items()]
        yield from ((key.rpartition(".")[2].replace("-", "_"), value) for key, value in pairs)
        level = [value for _, value in pairs if isinstance(value, Mapping)]
