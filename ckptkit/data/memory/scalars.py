"""Scalars and containers of Python in the encoding of this package."""

import struct
from collections.abc import Mapping
from typing import Any

from ckptkit.data.memory.encoder import Encoder, Writer, type_name


def _nothing(encoder: Encoder, value: object) -> None:
    encoder.text(type_name(value))


def _number(encoder: Encoder, value: Any) -> None:  # noqa: ANN401 - bool, float or complex
    encoder.text(type(value).__name__)
    if isinstance(value, complex):
        encoder.content(struct.pack("<2d", value.real, value.imag))
    else:
        encoder.content(struct.pack("<?" if isinstance(value, bool) else "<d", value))


def _integer(encoder: Encoder, value: int) -> None:
    encoder.text("int", hex(value))
    encoder.size += 8


def _worded(encoder: Encoder, value: Any) -> None:  # noqa: ANN401 - times, decimals and the like
    encoder.text(type_name(value), value.isoformat() if hasattr(value, "isoformat") else str(value))
    encoder.size += 8


def _string(encoder: Encoder, value: str | bytes | bytearray) -> None:
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    encoder.text(type(value).__name__)
    encoder.count(len(data))
    encoder.content(data)


def _sequence(encoder: Encoder, value: list[Any] | tuple[Any, ...]) -> None:
    encoder.text(type_name(value))
    encoder.count(len(value))
    for each in value:
        encoder.value(each)


def _mapping(encoder: Encoder, value: Mapping[Any, Any]) -> None:
    encoder.text(type_name(value))
    encoder.count(len(value))
    for key, each in value.items():
        encoder.value(key, each)


_WORDED = (
    *("datetime.date", "datetime.time", "datetime.datetime", "datetime.timedelta", "decimal.Decimal", "uuid.UUID"),
    *("pandas.Timestamp", "pandas.Timedelta"),
)
WRITERS: Mapping[str, Writer] = {
    **dict.fromkeys(["NoneType", "pandas.NaTType", "pandas.NAType"], _nothing),
    **dict.fromkeys(["bool", "float", "complex"], _number),
    "int": _integer,
    **dict.fromkeys(_WORDED, _worded),
    **dict.fromkeys(["str", "bytes", "bytearray"], _string),
    **dict.fromkeys(["list", "tuple"], _sequence),
    **dict.fromkeys(["dict", "sklearn.Bunch"], _mapping),
}
