"""Random generators: the digest of each one's state, and the seed where a library tells it; none of them is advanced.

A digest is the SHA-256 for ``random`` of ``json.dumps(random.getstate())``, for ``numpy`` of
``json.dumps(numpy.random.get_state(legacy=False), sort_keys=True)`` with lists for arrays, for ``torch`` of the bytes
of ``torch.get_rng_state()``. Generators that a program makes for itself, as ``numpy.random.default_rng()`` does, are
seen by nobody.
"""

import hashlib
import json
import sys
from typing import Any

from ckptkit.capture import attempt


def generators(unknown: dict[str, str]) -> dict[str, Any]:
    """The global generators of the libraries that are loaded, by name.

    Args:
        unknown: takes the reason for each that could not be read.

    Returns:
        ``torch.initial_seed``, and digests for ``torch``, ``torch.cuda`` (one for each GPU, where CUDA was in use
        already), ``random`` and ``numpy`` (the legacy generator, which ``numpy.random.seed`` seeds).
    """
    found: dict[str, Any] = {}
    probes = {
        "torch.initial_seed": _torch_seed,
        "torch": _torch,
        "torch.cuda": _torch_cuda,
        "random": _random,
        "numpy": _numpy,
    }
    for name, probe in probes.items():
        value = attempt(unknown, f"config.generators.{name}", probe, None)
        if value is not None:
            found[name] = value
    return found


def _torch_seed() -> int | None:
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.initial_seed())


def _torch() -> str | None:
    torch = sys.modules.get("torch")
    return None if torch is None else _digest(bytes(torch.get_rng_state().tolist()))


def _torch_cuda() -> list[str] | None:
    cuda = sys.modules.get("torch.cuda")
    if cuda is None or not cuda.is_initialized():  # asking would wake the GPUs
        return None
    return [_digest(bytes(generator.get_state().tolist())) for generator in cuda.default_generators]


def _random() -> str | None:
    random = sys.modules.get("random")
    return None if random is None else _digest(json.dumps(random.getstate()).encode())


def _numpy() -> str | None:
    legacy = getattr(sys.modules.get("numpy.random.mtrand"), "_rand", None)
    if legacy is None:
        return None
    state = legacy.get_state(legacy=False)
    return _digest(json.dumps(state, default=lambda array: array.tolist(), sort_keys=True).encode())


def _digest(state: bytes) -> str:
    return f"sha256:{hashlib.sha256(state).hexdigest()}"
