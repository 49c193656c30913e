"""Functions and objects as settings: by their qualified names, and by what they were made with."""

import contextlib
import types
from collections.abc import Iterator
from functools import partial
from typing import Any

FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, partial, type)
"""What is known by a name of its own."""

_TOLD = 1_000  # elements of a list or dict that is written out
_HELD = 100  # elements of a list that a function holds


def qualified(item: Any) -> str:  # noqa: ANN401 - whatever was given
    """The qualified name of a function, or of an object's class."""
    item = item.func if isinstance(item, partial) else item
    named: Any = item if isinstance(item, FUNCTIONS) else type(item)
    return f"{named.__module__}.{named.__qualname__}".removeprefix("builtins.")


def attributes(item: object) -> dict[str, Any]:
    """The type of an object, and its public attributes that are numbers, texts, or None."""
    held = item if isinstance(item, dict) else getattr(item, "__dict__", {})
    public = [name for name in held if isinstance(name, str) and not name.startswith("_") and name != "type"]
    return {"type": qualified(item), **{name: held[name] for name in public if _is_scalar(held[name])}}


def called(item: object) -> Any:  # noqa: ANN401 - plain values
    """What is called: a function as ``setting`` has it, another object by its type and attributes; None for None."""
    return setting(item) if item is None or isinstance(item, FUNCTIONS) else attributes(item)


def is_optax(value: object) -> bool:
    """Whether it is a transformation of gradients: a named tuple of functions."""
    return hasattr(value, "_fields") and hasattr(value, "update")


def setting(value: Any, seen: set[int] | None = None) -> Any:  # noqa: ANN401 - any setting
    """A setting with functions by what they are made of, each once, and tensors of one element as numbers."""
    seen = set() if seen is None else seen
    value = value.update if is_optax(value) else value
    if isinstance(value, dict | list | tuple) and len(value) > _TOLD:
        return f"<{qualified(value)} of {len(value):,} elements>"
    if isinstance(value, dict):
        return {key: setting(each, seen) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [setting(each, seen) for each in value]
    if isinstance(value, FUNCTIONS):
        made = {}
        if id(value) not in seen:
            seen.add(id(value))
            made = {name: setting(each, seen) for name, each in _made_of(value) if _tells(each)}
        return {"function": qualified(value), **made} if made else qualified(value)
    with contextlib.suppress(Exception):  # tensors on meta hold no number
        return value.item() if hasattr(value, "numel") and value.numel() == 1 else value
    return value


def _made_of(function: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - one of FUNCTIONS
    """What a partial was given, or what a function took from the one around it, as schedules do, by name."""
    if isinstance(function, partial):
        yield from [("arguments", list(function.args))] if function.args else []
        yield from function.keywords.items()
    elif isinstance(function, types.FunctionType):
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # not assigned yet
                yield name, cell.cell_contents


def _tells(value: object) -> bool:
    """Whether it is made of numbers, texts and functions: no model, and no data."""
    if isinstance(value, list | tuple) and len(value) <= _HELD:
        return all(_tells(each) for each in value)
    return _is_scalar(value) or isinstance(value, FUNCTIONS) or bool(hasattr(value, "numel") and value.numel() == 1)


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
