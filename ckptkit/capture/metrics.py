"""Metrics as people give them: numbers, nested mappings, scalars of numpy and torch, to records."""

import math
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from ckptkit import redact
from ckptkit.documents import finite
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.record import Metric

_FIELDS = frozenset({"value", "split", "n", "ci", "slices"})


def read(given: object, unknown: dict[str, str] | None = None) -> dict[str, Metric]:
    """Metrics by name.

    Args:
        given: a mapping of names to a number, to ``{"value", "split", "n", "ci", "slices"}``, or to a further mapping,
            whose names are then joined with ``/`` and whose first part is the split.
        unknown: where to record what is no metric; without it the first such raises.

    Raises:
        CkptkitError: something is no metric, and ``unknown`` was not given.
    """
    found: dict[str, Metric] = {}
    if not isinstance(given, Mapping):
        _refuse("metrics", f"{type(given).__name__} is no mapping of names to numbers", unknown)
        return found
    for name, value in _leaves(given, ""):
        try:
            found[name] = Metric.from_dict(redact.values(_plain(name, value)), f"metrics.{name}")
        except FormatError as error:
            _refuse(f"metrics.{name}", error.message.partition(": ")[2] or error.message, unknown)
    return found


def _refuse(field: str, words: str, unknown: dict[str, str] | None) -> None:
    if unknown is None:
        raise CkptkitError(f"{field}: {words}", "a metric is a number, or an object with value, split, n, ci, slices")
    unknown[field] = words


def _leaves(given: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in given.items():
        name = f"{prefix}{redact.text(str(key))}"
        if isinstance(value, Mapping) and not (("value" in value) and set(value) <= _FIELDS):
            yield from _leaves(value, f"{name}/")
        else:
            yield name, value


def _plain(name: str, value: object) -> Any:  # noqa: ANN401 - JSON, or what the record's reader refuses
    split, slash, _ = name.partition("/")
    if isinstance(value, Mapping):
        out = {key: _numbers(item) for key, item in value.items()}
        return {"split": split, **out} if slash and out.get("split") is None else out
    return {"value": _numbers(value), "split": split} if slash else _numbers(value)


def _numbers(value: Any) -> Any:  # noqa: ANN401 - walks any nest
    if isinstance(value, Mapping):
        if "value" not in value and not any(isinstance(item, Mapping) for item in value.values()):
            return {str(key): {"value": _numbers(item)} for key, item in value.items()}
        return {str(key): _numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(item) for item in value]
    if isinstance(value, bool | str | None):
        return value
    return finite(value if type(value) in {int, float} and _fits(value) else _scalar(value))


def _scalar(value: Any) -> Any:  # noqa: ANN401 - a number of any library
    item = getattr(value, "item", None)
    try:
        plain = item() if callable(item) else int(value) if isinstance(value, int) else float(value)
        if isinstance(plain, int) and not _fits(plain):
            return f"an integer of {plain.bit_length():,} bits"
        return plain if isinstance(plain, int | float) else repr(value)[:60]
    except Exception:  # noqa: BLE001 - an array of several values, a tensor on a dead device: no number
        return f"an object of type {type(value).__name__}"


def _fits(number: float) -> bool:
    """Whether readers of JSON, most of which have nothing wider than a 64-bit float, can hold it."""
    return not isinstance(number, int) or abs(number) <= sys.float_info.max


def parse(text: str) -> tuple[str, float | str]:
    """``[SPLIT/]K=V`` from a command line.

    Raises:
        CkptkitError: it has no ``=``, no name, or V is no number.
    """
    name, mark, value = text.partition("=")
    try:
        if not mark or not name.strip("/ "):
            raise ValueError  # noqa: TRY301 - one message for all that is no metric
        number = float(value)
        if math.isinf(number) and "inf" not in value.lower():
            raise ValueError  # noqa: TRY301 - more than a float holds
    except ValueError:
        raise CkptkitError(
            f"{text!r} is no metric", "write --metric accuracy=0.98 or --metric test/accuracy=0.98"
        ) from None
    whole = math.isfinite(number) and number.is_integer() and value.strip().lstrip("+-").isdigit()
    return name, finite(int(value) if whole else number)
