"""Frames and series of polars in the encoding of this package."""

import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ckptkit.data.memory import arrays
from ckptkit.data.memory.encoder import Column, Encoder, UnsupportedError, Writer, ranges


class _PolarsColumn(Column):
    """A column of polars, of the type ``dtype``."""

    def __init__(self, encoder: Encoder, dtype: Any) -> None:  # noqa: ANN401 - polars.DataType
        name, self._read, inner = _family(dtype)
        self.fields = [_PolarsColumn(encoder, each) for _, each in inner]
        super().__init__(encoder, name, [(each, field) for (each, _), field in zip(inner, self.fields, strict=True)])
        if name == "Enum":
            self.fields[0].read(dtype.categories)

    def read(self, series: Any) -> None:  # noqa: ANN401 - polars.Series
        for start, end in ranges(len(series), series.estimated_size()):
            self.feed(series.slice(start, end - start))

    def feed(self, block: Any) -> None:  # noqa: ANN401 - polars.Series
        if block.null_count():
            arrays.mark(self, block.is_null().to_numpy())
        self._read(self, block)
        self.rows += len(block)


_Reader: TypeAlias = Callable[[_PolarsColumn, Any], None]


def _flat(column: _PolarsColumn, block: Any) -> None:  # noqa: ANN401 - polars.Series of numbers, times or booleans
    arrays.content(column.values, block.drop_nulls().to_physical().to_numpy())


def _text(column: _PolarsColumn, block: Any) -> None:  # noqa: ANN401 - polars.Series that has texts
    polars = sys.modules["polars"]
    texts = block.drop_nulls().cast(polars.String)
    arrays.content(column.lengths, texts.str.len_bytes().cast(polars.Int64).to_numpy())
    if len(texts):
        column.values.content(texts.str.join("").item().encode())


def _binary(column: _PolarsColumn, block: Any) -> None:  # noqa: ANN401 - polars.Series of bytes
    values = block.drop_nulls().to_list()
    column.lengths.count(*map(len, values))
    column.values.content(b"".join(values))


def _list(column: _PolarsColumn, block: Any) -> None:  # noqa: ANN401 - polars.Series of lists
    polars = sys.modules["polars"]
    lists = block.drop_nulls()
    lengths = lists.list.len()
    arrays.content(column.lengths, lengths.cast(polars.Int64).to_numpy())
    column.fields[0].feed(lists.filter(lengths > 0).explode())


def _array(column: _PolarsColumn, block: Any) -> None:  # noqa: ANN401 - polars.Series of arrays
    _list(column, block.arr.to_list())


def _struct(column: _PolarsColumn, block: Any) -> None:  # noqa: ANN401 - polars.Series of structs
    for field, (name, _) in zip(column.fields, column.inner, strict=True):
        field.feed(block.struct.field(name))


_TEXTS = ("String", "Categorical", "Decimal", "Int128", "UInt128")
_FLAT = ("Boolean", "Date", "Datetime", "Duration", "Time", "Float16", "Float32", "Float64")
_INTEGERS = (f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64))
_SIMPLE: Mapping[str, _Reader] = {
    **dict.fromkeys([*_FLAT, *_INTEGERS], _flat),
    **dict.fromkeys(_TEXTS, _text),
    "Binary": _binary,
    "Null": lambda _column, _block: None,
}


def _family(dtype: Any) -> tuple[str, _Reader, list[tuple[str, Any]]]:  # noqa: ANN401 - polars.DataType
    """The name of a type, what reads its blocks, and the types within it."""
    name = str(dtype).partition("(")[0]
    match name:
        case "Enum":
            return name, _text, [("categories", sys.modules["polars"].String)]
        case "List":
            return name, _list, [("", dtype.inner)]
        case "Array":
            return f"{name} {dtype.shape[0]}", _array, [("", dtype.inner)]
        case "Struct":
            return name, _struct, [(field.name, field.dtype) for field in dtype.fields]
        case _ if name in _SIMPLE:
            return str(dtype), _SIMPLE[name], []
        case _:
            raise UnsupportedError(f"columns of {dtype} are not hashed")


def _frame(encoder: Encoder, value: Any) -> None:  # noqa: ANN401 - polars.DataFrame
    encoder.text("polars.DataFrame")
    encoder.count(value.width)
    for series in value.get_columns():
        _named(encoder, series)


def _series(encoder: Encoder, value: Any) -> None:  # noqa: ANN401 - polars.Series
    encoder.text("polars.Series")
    _named(encoder, value)


def _named(encoder: Encoder, series: Any) -> None:  # noqa: ANN401 - as _series
    encoder.text(series.name)
    column = _PolarsColumn(encoder, series.dtype)
    column.read(series)
    encoder.column(column)


WRITERS: Mapping[str, Writer] = {"polars.DataFrame": _frame, "polars.Series": _series}
