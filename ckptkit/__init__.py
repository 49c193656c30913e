"""ckptkit: which data, code, hyperparameters and compute produced this checkpoint, answered from plain files.

The face of the package: public names, loaded when they are first used.

>>> import ckptkit
>>> version = ckptkit.save("model.safetensors", model="penguins", config={"lr": 0.3})  # doctest: +SKIP
>>> version.ref  # doctest: +SKIP
'penguins/v0001'
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ckptkit.api import Run, data_step, digest, path, save, start, versions
    from ckptkit.errors import CkptkitError
    from ckptkit.registry import Version
    from ckptkit.verbs.check import check

__version__ = "0.1.0"
__all__ = ["CkptkitError", "Run", "Version", "check", "data_step", "digest", "path", "save", "start", "versions"]

_HOMES = {
    "CkptkitError": "ckptkit.errors",
    "Run": "ckptkit.api",
    "Version": "ckptkit.registry",
    "check": "ckptkit.verbs.check",
    "data_step": "ckptkit.api",
    "digest": "ckptkit.api",
    "path": "ckptkit.api",
    "save": "ckptkit.api",
    "start": "ckptkit.api",
    "versions": "ckptkit.api",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name not in _HOMES:
        raise AttributeError(f"module 'ckptkit' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
