"""The states of torch's optimizers as files of their own, which load without running code."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ckptkit.capture import training
from ckptkit.capture.callables import qualified
from ckptkit.disk import reason
from ckptkit.errors import CkptkitError

_BY_PATH = "save it with its own library and pass the path among the weights"


def named(given: object) -> list[tuple[str, object]]:
    """Each optimizer with the name of the file for its state, in the order of their components.

    It is ``optimizer.pt``, or where there are several ``optimizer-<name>.pt``, by number where one has no name.
    """
    found = training.items(given)
    names: list[str] = []
    for at, (name, _) in enumerate(found, 1):
        label = re.sub(r"[^A-Za-z0-9._-]+", "-", name or "").strip("-.")[:64]
        file = f"optimizer-{label}.pt" if label else "optimizer.pt" if len(found) == 1 else f"optimizer-{at}.pt"
        taken = file.lower() in {each.lower() for each in names}  # one file where names differ by case alone
        names.append(f"optimizer-{label}-{at}.pt" if taken else file)
    return [(file, item) for file, (_, item) in zip(names, found, strict=True)]


def write(optimizer: Any, file: Path) -> Path:  # noqa: ANN401 - whatever was given
    """Write the state of an optimizer so that ``torch.load(..., weights_only=True)`` reads it on any machine.

    Returns:
        The file.

    Raises:
        CkptkitError: it would load only by running code, is not torch's, has no data, or is spread over processes.
        OSError: the disk refuses.
    """
    if "torch" not in sys.modules or not hasattr(optimizer, "param_groups") or not hasattr(optimizer, "state_dict"):
        raise CkptkitError(f"{qualified(optimizer)} is no optimizer of torch: its state cannot be saved", _BY_PATH)
    try:
        state = optimizer.state_dict()
    except Exception as error:  # ZeRO, before its parts are gathered
        raise CkptkitError(f"the state of {qualified(optimizer)} cannot be had: {reason(error)}", _BY_PATH) from error
    sys.modules["torch"].save(_loadable(state, ""), file)
    return file


def _loadable(value: Any, where: str) -> Any:  # noqa: ANN401 - a state
    """The same in plain containers, with tensors on the CPU, and Python's numbers for NumPy's."""
    torch = sys.modules["torch"]
    if isinstance(value, Mapping):
        return {_loadable(key, where): _loadable(each, f"{where}.{key}") for key, each in value.items()}
    if type(value) in {list, tuple, torch.Size}:
        return type(value)(_loadable(each, f"{where}.{at}") for at, each in enumerate(value))
    if type(value) in {torch.Tensor, torch.nn.Parameter} and not value.is_meta:
        return _alone(value.detach().cpu())
    if hasattr(value, "dtype") and getattr(value, "shape", None) == () and not isinstance(value, torch.Tensor):
        return value.item()
    if type(value) in {torch.dtype, torch.device, bool, int, float, str, type(None)}:
        return value
    if getattr(value, "is_meta", False) is True:
        raise CkptkitError(f"the optimizer's state holds {where[1:]}, a tensor without data (meta)", _BY_PATH)
    raise CkptkitError(
        f"the optimizer's state holds {where[1:]}, a {qualified(value)}, which loads only by running code or in parts",
        "gather what is spread over processes with "
        "torch.distributed.checkpoint.state_dict.get_optimizer_state_dict, and pass the path of a file of it",
    )


def _alone(tensor: Any) -> Any:  # noqa: ANN401 - a tensor
    """The tensor without the rest of the memory that it is a view of: torch saves that whole."""
    whole = tensor.layout != sys.modules["torch"].strided or tensor.untyped_storage().nbytes() <= tensor.nbytes
    return tensor if whole else tensor.clone()
