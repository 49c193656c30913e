"""Configuration objects as plain values, recognised without importing the libraries that they are from."""

import contextlib
import datetime as dt
import decimal
import enum
import fractions
import json
import math
import os
import re
import sys
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

VALUES = 100_000
"""Most values that are taken from one object."""

_ELEMENTS = 100  # of an array that is written out; larger ones are described
_CHARACTERS = 2_000  # of a repr
_DEPTH = 50
_BITS = 4_096  # of an integer; Python itself refuses to write out 4,300 digits
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class Plain:
    """Turns objects into None, bool, int, float, str, lists, and dicts with string keys; never raises.

    Attributes:
        cut: whether there were more than ``VALUES`` values, and the rest was left out.
    """

    def __init__(self) -> None:
        self.cut = False
        self._left = VALUES
        self._open: list[int] = []  # the objects inside which we are, by id

    def settings(self, value: object) -> dict[str, Any] | None:
        """The names and values that an object holds; None where there are none."""
        plain = self.value(value)
        if isinstance(plain, dict):
            return plain
        return None if is_parser(value) else self._mapping(_attributes(value)) or None

    def value(self, value: object) -> Any:  # noqa: ANN401 - YAML has no narrower type
        """The plain value that stands for ``value``; for what YAML cannot hold its repr."""
        self._left -= 1
        if id(value) in self._open:
            return "<recursive>"
        if len(self._open) == _DEPTH:
            return _described(value)
        self._open.append(id(value))
        try:
            return self._contents(_opened(value))
        except Exception:  # noqa: BLE001 - an object of any library, at the end of a training
            return _described(value)
        finally:
            self._open.pop()

    def _contents(self, value: Any) -> Any:  # noqa: ANN401 - what _opened returns
        if isinstance(value, Mapping):
            return self._mapping(value)
        if isinstance(value, list | tuple):
            return self._list(value)
        if isinstance(value, set | frozenset):
            return self._list(_sorted(value))
        return value

    def _mapping(self, value: Mapping[Any, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, each in value.items():
            if self._left <= 0:
                self.cut = True
                break
            name = _name(key)
            while name in out:  # 1 and "1" are two keys of one mapping
                name = f"{name} ({type(key).__name__})"
            out[name] = self.value(each)
        return out

    def _list(self, value: list[Any] | tuple[Any, ...]) -> list[Any]:
        out: list[Any] = []
        for each in value:
            if self._left <= 0:
                self.cut = True
                break
            out.append(self.value(each))
        return out


def is_parser(value: object) -> bool:
    """Whether it is a parser of command lines, which holds no values."""
    argparse = sys.modules.get("argparse")
    return argparse is not None and isinstance(value, argparse.ArgumentParser)


def is_omegaconf(value: object) -> bool:
    """Whether it is a configuration of OmegaConf, which Hydra's are."""
    omega = sys.modules.get("omegaconf")
    return omega is not None and bool(omega.OmegaConf.is_config(value))


def composed() -> dict[str, Any]:
    """How Hydra, where it runs, composed its configuration: name, choices of the groups, overrides; as ``hydra``."""
    module = sys.modules.get("hydra.core.hydra_config")
    if module is None or not module.HydraConfig.initialized():
        return {}
    with contextlib.suppress(Exception):  # another version of Hydra
        hydra = module.HydraConfig.get()
        choices = {name: each for name, each in hydra.runtime.choices.items() if not name.startswith("hydra/")}
        job = {"config_name": hydra.job.config_name, "choices": choices, "overrides": list(hydra.overrides.task)}
        return {"hydra": Plain().value(job)}
    return {}


def _opened(value: Any) -> Any:  # noqa: ANN401 - anything at all
    """A scalar, or a mapping, list, tuple or set of what ``value`` holds; its repr where it is none of them."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return _opened(value.value) if isinstance(value.value, bool | int | float | str) else value.name
    if isinstance(value, str | int | float):
        return _scalar(value)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        return _clean(os.fsdecode(value))
    if isinstance(value, dt.timedelta | decimal.Decimal | fractions.Fraction):
        return str(value)
    kind = type(value)
    if hasattr(kind, "shape") and (hasattr(kind, "dtype") or hasattr(kind, "dtypes")):
        return _array(value)
    inner = _fields(value)
    return inner if isinstance(inner, Mapping | list | tuple | set | frozenset) else _described(value)


def _scalar(value: Any) -> str | int | float:  # noqa: ANN401 - a str, int or float, or of a class below them
    if isinstance(value, str):
        return _clean(str(value))
    if isinstance(value, float):
        return float(value)
    return int(value) if value.bit_length() <= _BITS else f"<an integer of {value.bit_length()} bits>"


def _array(value: Any) -> Any:  # noqa: ANN401 - an array, a tensor, a data frame
    shape = tuple(int(each) for each in value.shape)
    dtype = getattr(value, "dtype", None)
    if dtype is not None and math.prod(shape) <= _ELEMENTS:
        listed = value.tolist() if hasattr(value, "tolist") else value.numpy().tolist()
        return listed if isinstance(listed, list) else _opened(listed)
    what = f"{type(value).__module__.partition('.')[0]}.{type(value).__qualname__}"
    return f"<{what} of shape {shape}{'' if dtype is None else f', {dtype}'}>"


def _fields(value: Any) -> Any:  # noqa: ANN401 - anything at all
    """What an object of a configuration library holds; else the object."""
    kind = type(value)
    argparse = sys.modules.get("argparse")
    if is_omegaconf(value):
        return _from_omegaconf(sys.modules["omegaconf"].OmegaConf, value)
    if isinstance(value, types.SimpleNamespace) or (argparse is not None and isinstance(value, argparse.Namespace)):
        return vars(value)
    if hasattr(kind, "model_dump"):  # pydantic
        return value.model_dump()
    if hasattr(kind, "flag_values_dict"):  # absl, whose own flags are no one's settings
        by_module = value.flags_by_module_dict().items()
        settings = {flag.name for module, flags in by_module if not module.startswith("absl.") for flag in flags}
        return {name: each for name, each in value.flag_values_dict().items() if name in settings}
    names = _field_names(value)
    if names is not None:
        return {name: getattr(value, name) for name in names if hasattr(value, name)}
    if hasattr(kind, "to_dict") and not isinstance(value, Mapping | type):  # ml_collections, transformers
        return value.to_dict()
    return value


def _field_names(value: Any) -> list[str] | None:  # noqa: ANN401 - anything at all
    """The fields of a dataclass, an attrs object, a named tuple or an object of pydantic 1."""
    kind = type(value)
    if isinstance(getattr(kind, "__fields__", None), dict):
        return list(vars(value))
    if is_dataclass(kind):
        return [field.name for field in fields(kind)]
    if hasattr(kind, "__attrs_attrs__"):
        return [field.name for field in kind.__attrs_attrs__]
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return list(kind._fields)
    return None


def _from_omegaconf(omegaconf: Any, value: Any) -> Any:  # noqa: ANN401 - the class OmegaConf and a config of it
    """Plain values with interpolations resolved; one that cannot be resolved here is shown as it is written."""
    try:
        return omegaconf.to_container(value, resolve=True, throw_on_missing=False)
    except Exception:  # noqa: BLE001 - one of the interpolations cannot
        written = omegaconf.to_container(value, resolve=False, throw_on_missing=False)
        return _resolved(omegaconf, value, written)


def _resolved(omegaconf: Any, value: Any, written: Any) -> Any:  # noqa: ANN401 - as _from_omegaconf
    keys = written if isinstance(written, dict) else range(len(written)) if isinstance(written, list) else ()
    out = dict(written) if isinstance(written, dict) else written
    for key in keys:
        with contextlib.suppress(Exception):  # what cannot be resolved stays as it is written
            inner = value[key]
            out[key] = _from_omegaconf(omegaconf, inner) if omegaconf.is_config(inner) else inner
    return out


def _attributes(value: object) -> dict[str, Any]:
    """The public data attributes of a module, a class or an object: ``class Config: lr = 0.1``."""
    found: dict[str, Any] = {}
    if not isinstance(value, types.ModuleType):
        for base in reversed((value if isinstance(value, type) else type(value)).__mro__[:-1]):
            found |= vars(base)
    if not isinstance(value, type):
        found |= getattr(value, "__dict__", {})
    return {
        name: each
        for name, each in found.items()
        if not name.startswith("_") and not isinstance(each, types.ModuleType) and not hasattr(each, "__get__")
    }


def _sorted(value: set[Any] | frozenset[Any]) -> list[Any]:
    try:
        return sorted(value)
    except TypeError:
        return sorted(value, key=_described)


def _name(key: object) -> str:
    if isinstance(key, enum.Enum):
        key = _opened(key)
    if isinstance(key, str):
        return _clean(str(key))
    return json.dumps(key) if key is None or isinstance(key, bool | int | float) else _described(key)


def _described(value: object) -> str:
    """The repr of any object, without addresses in memory and of bounded length."""
    try:
        text = _clean(_ADDRESS.sub("", repr(value)))
    except Exception:  # noqa: BLE001 - a repr of any library
        return f"<{type(value).__qualname__}, whose repr fails>"
    return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]}..."


def _clean(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()  # a lone surrogate has no place in YAML
