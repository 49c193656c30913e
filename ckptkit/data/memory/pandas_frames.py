"""Frames, series and indexes of pandas in the encoding of this package."""

import sys
from collections.abc import Mapping
from typing import Any

from ckptkit.data.memory import arrays, arrow
from ckptkit.data.memory.encoder import Column, Encoder, UnsupportedError, Writer, ranges


def _dataframe(encoder: Encoder, value: Any) -> None:  # noqa: ANN401 - pandas.DataFrame
    encoder.text("dataframe")
    encoder.value(value.index, value.columns)
    encoder.count(value.shape[1])
    for position in range(value.shape[1]):
        encoder.column(_column(encoder, value.iloc[:, position]))


def _series(encoder: Encoder, value: Any) -> None:  # noqa: ANN401 - pandas.Series
    encoder.text("series")
    encoder.value(value.index, value.name)
    encoder.column(_column(encoder, value))


def _index(encoder: Encoder, value: Any) -> None:  # noqa: ANN401 - pandas.Index of one level
    encoder.text("index")
    encoder.value(value.name)
    encoder.column(_column(encoder, value))


def _multiindex(encoder: Encoder, value: Any) -> None:  # noqa: ANN401 - pandas.MultiIndex
    encoder.text("multiindex")
    encoder.count(value.nlevels)
    for level in range(value.nlevels):
        _index(encoder, value.get_level_values(level))


def _column(encoder: Encoder, values: Any) -> Column:  # noqa: ANN401 - pandas.Series or Index of one level
    dtype, kind = values.dtype, str(values.dtype)
    if type(values).__name__ == "RangeIndex":  # which would keep the array that it makes
        return _flat(encoder, "<i8", values)
    if isinstance(dtype, sys.modules["numpy"].dtype):
        return _flat(encoder, arrays.dtype_name(dtype), values.to_numpy())
    if kind.startswith(("datetime64", "period")):
        return _flat(encoder, kind, values.array.asi8)
    if hasattr(dtype, "categories"):
        return _categorical(encoder, values.array)
    if hasattr(dtype, "closed"):
        ends = [(end, _column(encoder, getattr(values.array, end))) for end in ("left", "right")]
        return Column(encoder, kind, ends, rows=len(values))
    if hasattr(dtype, "pyarrow_dtype"):
        column = arrow.ArrowColumn(encoder, dtype.pyarrow_dtype)
        return _arrow(column, f"{column.kind}[pyarrow]", values.array)
    if str(getattr(dtype, "storage", "")).startswith("pyarrow"):
        return _arrow(arrow.ArrowColumn(encoder, sys.modules["pyarrow"].large_string()), kind, values.array)
    if hasattr(dtype, "storage") or hasattr(dtype, "numpy_dtype"):
        return _nullable(encoder, kind, values.array)
    raise UnsupportedError(f"columns of {kind} are not hashed")


def _flat(encoder: Encoder, kind: str, values: Any) -> Column:  # noqa: ANN401 - a RangeIndex or numpy.ndarray
    column = Column(encoder, kind)
    for start, end in ranges(len(values), len(values) * values.dtype.itemsize):
        arrays.feed(column, sys.modules["numpy"].asarray(values[start:end]))
    return column


def _categorical(encoder: Encoder, array: Any) -> Column:  # noqa: ANN401 - pandas.Categorical
    inner = Column(encoder, "categories", rows=len(array.categories))
    inner.values.value(array.categories)
    column = Column(encoder, "category, ordered" if array.ordered else "category", [("categories", inner)])
    for start, end in ranges(len(array), 8 * len(array)):
        codes = array.codes[start:end].astype("<i8")
        arrays.feed(column, codes, codes < 0)
    return column


def _arrow(column: arrow.ArrowColumn, kind: str, array: Any) -> Column:  # noqa: ANN401 - an array of pandas
    column.kind = kind
    column.read(array.__arrow_array__())
    return column


def _nullable(encoder: Encoder, kind: str, array: Any) -> Column:  # noqa: ANN401 - an array of pandas
    """A column of numbers with a mask, or of text in Python."""
    numpy = sys.modules["numpy"]
    column = Column(encoder, kind)
    for start, end in ranges(len(array), 64 * len(array)):
        block = array[start:end]
        missing = numpy.asarray(block.isna())
        if hasattr(array.dtype, "storage"):
            _text(column, numpy.asarray(block, dtype=object), missing)
        else:
            numbers = array.dtype.numpy_dtype
            arrays.feed(column, block.to_numpy(dtype=numbers, na_value=numbers.type(0)), missing)
    return column


def _text(column: Column, block: Any, missing: Any) -> None:  # noqa: ANN401 - numpy.ndarray of str
    texts = [text.encode("utf-8", "surrogatepass") for text in block[~missing]]
    arrays.mark(column, missing)
    column.lengths.count(*map(len, texts))
    column.values.content(b"".join(texts))
    column.rows += len(block)


_INDEXES = ("", "Range", "Datetime", "Timedelta", "Period", "Interval", "Categorical")
WRITERS: Mapping[str, Writer] = {
    **dict.fromkeys((f"pandas.{kind}Index" for kind in _INDEXES), _index),
    "pandas.MultiIndex": _multiindex,
    "pandas.DataFrame": _dataframe,
    "pandas.Series": _series,
}
