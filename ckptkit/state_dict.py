"""Weights that exist only in memory, a state dict or a module, to one model.safetensors."""

import os
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ckptkit.errors import CkptkitError

_HOW = "save it with its own library and pass the path"


def collect(weights: object) -> dict[str, Any]:
    """The arrays or tensors of a state dict or torch module by name.

    Wrappers leave no trace: DataParallel, DistributedDataParallel and ``torch.compile`` are taken off a module, and
    their ``module.`` and ``_orig_mod.`` off the names of a state dict. Nested mappings are joined with dots; plain
    numbers become arrays of no dimension.

    Raises:
        CkptkitError: the weights are sharded over several processes, hold something that is no array, or two names
            become one.
    """
    refuse_sharded(weights)
    inner = _unwrapped(weights)
    state = inner if isinstance(inner, Mapping) else getattr(inner, "state_dict", lambda: None)()
    if not isinstance(state, Mapping) or not state:
        raise CkptkitError(f"a {type(weights).__name__} cannot be saved as weights", _HOW)
    leaves = [(name.replace("_orig_mod.", ""), value) for name, value in _leaves(state, "")]
    if state is inner and all(name.startswith("module.") for name, _ in leaves):
        leaves = [(name.removeprefix("module."), value) for name, value in leaves]
    named: dict[str, Any] = {}
    for name, value in leaves:
        if name in named:
            raise CkptkitError(f"two of the weights would be called {name!r}", "rename one of them")
        if name == "__metadata__" or type(value).__name__ == "MaskedArray":
            raise CkptkitError(f"safetensors has no place for {name!r}, a {type(value).__name__}", _HOW)
        if _is_array(value) or isinstance(value, int | float):
            named[name] = value
        elif value is not None or name.rpartition(".")[2] != "_extra_state":
            raise CkptkitError(f"the weights hold {name!r}, a {type(value).__name__}, which is no array", _HOW)
    return named


_WRAPPERS = frozenset({"DataParallel", "DistributedDataParallel"})


def _unwrapped(weights: Any) -> Any:  # noqa: ANN401 - a module or a mapping
    while type(weights).__name__ in _WRAPPERS and hasattr(weights, "module"):
        weights = weights.module
    return weights


def _leaves(state: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in state.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _is_array(value: object) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def refuse_sharded(weights: object) -> None:
    """Refuse weights of which this process holds only a part; to be asked on every rank.

    Raises:
        CkptkitError: the weights are an FSDP module, or hold distributed tensors.
    """
    parts = [value for _, value in _leaves(weights, "")] if isinstance(weights, Mapping) else []
    modules = getattr(weights, "modules", None)
    if callable(modules):
        parts += [*modules(), *getattr(weights, "parameters", list)()]
    sharded = {"FullyShardedDataParallel", "FSDPModule", "DTensor", "ShardedTensor"}
    for part in (weights, *parts):
        if sharded & {kind.__name__ for kind in type(part).__mro__}:
            raise CkptkitError(
                f"the weights are sharded over several processes ({type(part).__name__})",
                "gather them on every rank with torch.distributed.checkpoint.state_dict.get_model_state_dict(model, "
                "options=StateDictOptions(full_state_dict=True, cpu_offload=True)) and save the result on rank 0",
            )


def write(named: Mapping[str, Any], path: Path) -> None:
    """Write arrays or tensors as a safetensors file; tied tensors are stored once and named in the metadata.

    Raises:
        CkptkitError: the safetensors package is missing, or cannot hold one of the arrays.
    """
    try:
        import safetensors.numpy
    except ImportError:
        raise CkptkitError("weights in memory need the package safetensors", "pip install safetensors") from None
    torch = sys.modules.get("torch")
    try:
        if torch is not None and any(isinstance(value, torch.Tensor) for value in named.values()):
            import safetensors.torch

            tensors, tied = _untied(named, torch)
            safetensors.torch.save_file(tensors, path, metadata={"format": "pt", **tied})
        else:
            import numpy as np

            arrays = {name: np.ascontiguousarray(value).reshape(np.shape(value)) for name, value in named.items()}
            safetensors.numpy.save_file(arrays, path)
    except OSError:
        raise
    except Exception as error:
        raise CkptkitError(f"safetensors cannot hold the weights: {error}", _HOW) from error


def _untied(named: Mapping[str, Any], torch: Any) -> tuple[dict[str, Any], dict[str, str]]:  # noqa: ANN401 - the module torch
    """Tensors fit for safetensors, and for each tied name the one that its values are stored under."""
    first: dict[tuple[object, ...], str] = {}
    tensors: dict[str, Any] = {}
    tied: dict[str, str] = {}
    for name, value in named.items():
        tensor = value.detach() if isinstance(value, torch.Tensor) else torch.as_tensor(value)
        place = (tensor.device, tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        if tensor.numel() and place in first:
            tied[name] = first[place]
            continue
        first[place] = name
        tensors[name] = tensor.to("cpu").contiguous()
    stores: dict[int, str] = {}
    for name, tensor in tensors.items():  # views of one storage may not be written side by side
        if stores.setdefault(tensor.untyped_storage().data_ptr(), name) != name or _is_view(tensor):
            tensors[name] = tensor.clone()
    return tensors, tied


def _is_view(tensor: Any) -> bool:  # noqa: ANN401 - a torch tensor
    return bool(tensor.untyped_storage().nbytes() != tensor.numel() * tensor.element_size())


def rescue(weights: object) -> Path:
    """Keep weights that could not be saved in a new file, so that they outlive the process.

    It lies in the working directory, or where that takes none in the folder for temporary files.

    As safetensors where they are arrays or tensors and the package is there; else as the loaded torch, or Python
    itself, writes them.

    Raises:
        Exception: they can be written in no way.
    """
    now = datetime.now(UTC)
    stem = _writable() / f"unsaved-{now:%Y%m%dT%H%M%S}.{now.microsecond:06d}Z-{os.getpid()}"
    path = Path(f"{stem}.safetensors")
    try:
        write(collect(weights), path)
    except (CkptkitError, OSError):
        path.unlink(missing_ok=True)
    else:
        return path
    torch = sys.modules.get("torch")
    if torch is not None:
        path = Path(f"{stem}.pt")
        torch.save(weights, path)
        return path
    import pickle

    path = Path(f"{stem}.pkl")
    with path.open("xb") as file:
        pickle.dump(weights, file)
    return path


def _writable() -> Path:
    import tempfile

    try:
        return Path() if os.access(Path.cwd(), os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    except OSError:  # the working directory is gone
        return Path(tempfile.gettempdir())
