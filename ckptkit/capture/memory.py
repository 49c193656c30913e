"""The canonical encoding of objects in memory, so that equal values have equal digests however they are laid out.

The digest of an object is the SHA-256 of its encoding. ``u(n)`` is n as 8 bytes, little-endian; ``s(t)`` is
``u(length)`` and the UTF-8 of t (lone surrogates as ``surrogatepass``). A value is ``s(tag)`` and then, by tag:

- ``none  nan-time  missing`` (the last two pandas' NaT and NA): nothing. ``bool``: one byte. ``float``: 8 bytes of
  IEEE 754, little-endian; ``complex``: twice that. ``int``: ``s`` of the hexadecimal, as ``hex()`` writes it.
- ``date  time  datetime  timedelta  decimal.decimal  uuid.uuid  pandas.timestamp  pandas.timedelta  pandas.period
  pandas.interval``: ``s`` of the text (ISO 8601 where there is one; after a space the time zone where one is set).
- ``str  bytes  bytearray``: ``u(length)`` and the bytes. ``list  tuple``: ``u(length)`` and each value.
- ``dict  bunch``: ``u(length)``, then each key and its value, in their order.
- ``array`` and ``scalar`` (numpy), ``tensor`` (torch): *elements*, that is ``s(dtype) u(dimensions) u(each length)``
  and the elements in C order: their bytes; or each as a value, where the dtype is of objects; or, of a
  ``structure``, ``u(fields)`` and for each ``s(name)`` and its *elements*.
- ``dataframe``: index, column labels, ``u(columns)``, each *column*. ``series``: index, name, *column*.
  ``index``: name, *column*. ``multiindex``: ``u(levels)``, each as ``index``.
- ``polars.DataFrame  pyarrow.Table  pyarrow.RecordBatch``: ``u(columns)``, then for each ``s(name)`` and *column*;
  ``polars.Series  pyarrow.Array`` (chunked or not): ``s(name)``, empty for the latter, and *column*.
- ``sparse``: ``s(class)``, the shape as a tuple, the coordinates (as 8-byte integers, an axis at a time) and the
  values as *elements*, sorted by coordinates, duplicates added up.

A *column* is ``s(dtype) u(rows)`` and then one of: ``s("elements")`` and *elements*; ``s("codes")``, codes as
*elements*, whether ordered, and the categories; ``s("masked")``, a byte for each row (1: missing) and *elements* of
the others; ``s("values")`` and each row as a value.
"""

import hashlib
import re
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

_BLOCK = 32 << 20  # bytes copied at once of what does not lie in C order
_ROWS = 1 << 16  # rows turned into Python objects at once
_PENDING = 1 << 16  # bytes collected before they are hashed


class UnsupportedError(Exception):
    """Raised for an object whose content has no agreed encoding."""


def digest(value: object) -> tuple[str, int]:
    """The digest of an object, ``sha256:…``, and the size of its content in bytes.

    Raises:
        UnsupportedError: it is, or holds, an object of a type that this module does not encode.
        RecursionError: it holds itself, or is nested too deeply.
    """
    encoder = _Encoder()
    encoder.value(value)
    return encoder.digest, encoder.size


def type_name(value: object) -> str:
    """``dict``, or package and class such as ``pandas.DataFrame``, wherever in the package the class lives."""
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    return kind.__qualname__ if package == "builtins" else f"{package}.{kind.__qualname__}"


def _blocks(array: Any) -> Iterator[Any]:  # noqa: ANN401 - numpy's or torch's
    """The parts of an array, in C order, each of at most ``_BLOCK`` bytes."""
    if array.nbytes <= _BLOCK:
        yield array
        return
    row = array.nbytes // len(array)
    if row > _BLOCK and array.ndim > 1:
        for each in array:
            yield from _blocks(each)
    else:
        rows = max(1, _BLOCK // row)
        for start in range(0, len(array), rows):
            yield array[start : start + rows]


class _Encoder:
    """Hashes values in the encoding of this module; ``size`` counts the bytes of content among them."""

    def __init__(self) -> None:
        self.size = 0
        self._sha256 = hashlib.sha256()
        self._pending = bytearray()  # many small pieces make one update
        self._writers: dict[type, Callable[[_Encoder, Any], None]] = {}

    @property
    def digest(self) -> str:
        self._flush()
        return f"sha256:{self._sha256.hexdigest()}"

    def _flush(self) -> None:
        self._sha256.update(self._pending)
        self._pending = bytearray()

    def _count(self, *numbers: int) -> None:
        for number in numbers:
            self._pending += number.to_bytes(8, "little")

    def _text(self, *texts: str) -> None:
        for text in texts:
            data = text.encode("utf-8", "surrogatepass")
            self._count(len(data))
            self._pending += data

    def _content(self, data: Any) -> None:  # noqa: ANN401 - any contiguous buffer of bytes
        self.size += len(data)
        if len(data) > _PENDING or len(self._pending) > _PENDING:
            self._flush()
            self._sha256.update(data)
        else:
            self._pending += data

    def value(self, *values: Any) -> None:  # noqa: ANN401 - anything at all
        for value in values:
            kind = type(value)
            write = self._writers.get(kind)
            if write is None:
                write = self._writers[kind] = _WRITERS.get(type_name(value)) or _family(value)
            write(self, value)
            if len(self._pending) > _PENDING:
                self._flush()

    def nothing(self, value: Any) -> None:  # noqa: ANN401 - as value
        self._text({"NoneType": "none", "NaTType": "nan-time", "NAType": "missing"}[type(value).__name__])

    def number(self, value: Any) -> None:  # noqa: ANN401 - bool, float or complex
        kind = type(value)
        self._text(kind.__name__)
        if kind is complex:
            self._content(struct.pack("<2d", value.real, value.imag))
        else:
            self._content(struct.pack("<?" if kind is bool else "<d", value))

    def integer(self, value: int) -> None:
        self._text("int", hex(value))
        self.size += 8

    def string(self, value: Any) -> None:  # noqa: ANN401 - str, bytes or bytearray
        self._text(type(value).__name__)
        data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        self._count(len(data))
        self._content(data)

    def worded(self, value: Any) -> None:  # noqa: ANN401 - times, decimals and the like
        words = value.isoformat() if hasattr(value, "isoformat") else str(value)
        zone = "" if getattr(value, "tzinfo", None) is None else f" {value.tzinfo}"
        self._text(type_name(value).lower().rpartition("datetime.")[2], words + zone)
        self.size += 8

    def sequence(self, value: list[Any] | tuple[Any, ...]) -> None:
        self._text(type(value).__name__)
        self._count(len(value))
        for each in value:
            self.value(each)

    def mapping(self, value: dict[Any, Any]) -> None:
        self._text(type(value).__name__.lower())
        self._count(len(value))
        for key, each in value.items():
            self.value(key, each)

    def array(self, value: Any) -> None:  # noqa: ANN401 - numpy.ndarray or generic
        numpy = sys.modules["numpy"]
        self._text("scalar" if isinstance(value, numpy.generic) else "array")
        self._elements(numpy.asarray(value))

    def _elements(self, array: Any) -> None:  # noqa: ANN401 - numpy.ndarray
        dtype = array.dtype
        if dtype.char in "gG":
            raise UnsupportedError(f"elements of {dtype} hold bytes without a meaning")
        self._text("structure" if dtype.names else dtype.name if dtype.kind in "VT" else dtype.str)
        self._count(array.ndim, *array.shape)
        if dtype.names:
            self._count(len(dtype.names))
            for name in dtype.names:
                self._text(name)
                self._elements(array[name])
        elif dtype.hasobject:
            for each in array.flat:
                self.value(each)
        else:
            self._bytes_of(array)

    def _bytes_of(self, array: Any) -> None:  # noqa: ANN401 - numpy.ndarray
        contiguous = sys.modules["numpy"].ascontiguousarray
        for block in (array,) if array.flags.c_contiguous else _blocks(array):
            if block.nbytes:
                self._content(memoryview(contiguous(block).reshape(-1).view("u1")))

    def tensor(self, value: Any) -> None:  # noqa: ANN401 - torch.Tensor
        torch = sys.modules["torch"]
        if value.layout != torch.strided or value.is_quantized or value.device.type == "meta":
            raise UnsupportedError(f"a tensor of {value.layout}, {value.dtype}, on {value.device} is not encoded")
        self._text("tensor", str(value.dtype))
        self._count(value.ndim, *value.shape)
        for block in _blocks(value.detach().resolve_conj().resolve_neg()):
            if block.nbytes:
                self._content(memoryview(block.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()))

    def dataframe(self, value: Any) -> None:  # noqa: ANN401 - pandas.DataFrame
        self._text("dataframe")
        self.value(value.index, value.columns)
        self._count(value.shape[1])
        for position in range(value.shape[1]):
            self._pandas_column(value.iloc[:, position])

    def series(self, value: Any) -> None:  # noqa: ANN401 - pandas.Series
        self._text("series")
        self.value(value.index, value.name)
        self._pandas_column(value)

    def index(self, value: Any) -> None:  # noqa: ANN401 - pandas.Index
        self._text("index")
        self.value(value.name)
        self._pandas_column(value)

    def multiindex(self, value: Any) -> None:  # noqa: ANN401 - pandas.MultiIndex
        self._text("multiindex")
        self._count(value.nlevels)
        for level in range(value.nlevels):
            self.index(value.get_level_values(level))

    def _pandas_column(self, values: Any) -> None:  # noqa: ANN401 - Series or Index
        dtype = values.dtype
        self._text(str(dtype))
        self._count(len(values))
        if type(dtype).__module__.startswith("numpy"):
            self._text("elements")
            self._elements(values.to_numpy())
        elif hasattr(dtype, "categories"):
            self._text("codes")
            self._elements(values.array.codes.astype("<i8"))
            self.value(dtype.ordered, dtype.categories)
        elif hasattr(dtype, "tz"):
            self._text("elements")
            self._elements(values.array.asi8)
        elif getattr(getattr(dtype, "numpy_dtype", None), "kind", "O") in "iufb":
            missing = sys.modules["numpy"].asarray(values.isna())
            self._masked([missing], [values[~missing].to_numpy(dtype=dtype.numpy_dtype)])
        else:
            self._values(values)

    def _masked(self, missing: Iterable[Any], present: list[Any]) -> None:
        self._text("masked")
        for part in missing:
            self._bytes_of(part)
        self._text(present[0].dtype.str)
        self._count(1, sum(len(part) for part in present))
        for part in present:
            self._bytes_of(part)

    def _values(self, values: Iterable[Any]) -> None:
        self._text("values")
        for each in values:
            self.value(each)

    def polars_frame(self, value: Any) -> None:  # noqa: ANN401 - polars.DataFrame
        self._text("polars.DataFrame")
        self._count(value.width)
        for column in value.get_columns():
            self._polars_column(column)

    def polars_series(self, value: Any) -> None:  # noqa: ANN401 - polars.Series
        self._text("polars.Series")
        self._polars_column(value)

    def _polars_column(self, series: Any) -> None:  # noqa: ANN401 - polars.Series
        self._text(series.name, str(series.dtype))
        self._count(len(series))
        by_name = str(series.dtype).startswith(("Categorical", "Enum"))
        if not by_name and re.fullmatch(r"U?Int(8|16|32|64)|Float(32|64)|Boolean", str(series.to_physical().dtype)):
            present = series.drop_nulls().to_physical().to_numpy()
            self._masked([series.is_null().to_numpy()], [present])
        else:
            self._values(series)

    def arrow_table(self, value: Any) -> None:  # noqa: ANN401 - pyarrow.Table or RecordBatch
        self._text(type_name(value))
        self._count(value.num_columns)
        for name, column in zip(value.schema.names, value.columns, strict=True):
            self._arrow_column(name, column)

    def arrow_array(self, value: Any) -> None:  # noqa: ANN401 - pyarrow.Array or ChunkedArray
        self._text("pyarrow.Array")
        self._arrow_column("", value)

    def _arrow_column(self, name: str, column: Any) -> None:  # noqa: ANN401 - pyarrow.Array or ChunkedArray
        arrow = sys.modules["pyarrow"]
        self._text(name, str(column.type))
        self._count(len(column))
        chunks = column.chunks if isinstance(column, arrow.ChunkedArray) else [column]
        flat = ("is_integer", "is_floating", "is_boolean", "is_date", "is_timestamp", "is_duration")
        if any(getattr(arrow.types, each)(column.type) for each in flat):
            parts = [arrow.array([], column.type), *(chunk.drop_null() for chunk in chunks)]
            self._masked(
                (chunk.is_null().to_numpy(zero_copy_only=False) for chunk in chunks),
                [part.to_numpy(zero_copy_only=False) for part in parts],
            )
        else:
            starts = ((chunk, start) for chunk in chunks for start in range(0, len(chunk), _ROWS))
            self._values(each for chunk, start in starts for each in chunk.slice(start, _ROWS).to_pylist())

    def sparse(self, value: Any) -> None:  # noqa: ANN401 - a matrix or array of scipy.sparse
        self._text("sparse", type(value).__name__)
        self.sequence(tuple(int(each) for each in value.shape))
        sorted_ = value.tocoo(copy=True)
        sorted_.sum_duplicates()
        for coordinates in getattr(sorted_, "coords", None) or (sorted_.row, sorted_.col):
            self._elements(coordinates.astype("<i8"))
        self._elements(sorted_.data)


_INDEXES = ("", "Range", "Datetime", "Timedelta", "Period", "Interval", "Categorical")
_WORDED = ("datetime.date", "datetime.time", "datetime.datetime", "datetime.timedelta", "decimal.Decimal", "uuid.UUID")
_WRITERS: Mapping[str, Callable[[_Encoder, Any], None]] = {
    **dict.fromkeys(["NoneType", "pandas.NaTType", "pandas.NAType"], _Encoder.nothing),
    **dict.fromkeys(["bool", "float", "complex"], _Encoder.number),
    "int": _Encoder.integer,
    **dict.fromkeys(["str", "bytes", "bytearray"], _Encoder.string),
    **dict.fromkeys(_WORDED, _Encoder.worded),
    **dict.fromkeys((f"pandas.{name}" for name in ("Timestamp", "Timedelta", "Period", "Interval")), _Encoder.worded),
    **dict.fromkeys(["list", "tuple"], _Encoder.sequence),
    **dict.fromkeys(["dict", "sklearn.Bunch"], _Encoder.mapping),
    **dict.fromkeys(["numpy.ndarray", "numpy.memmap"], _Encoder.array),
    **dict.fromkeys(["torch.Tensor", "torch.Parameter"], _Encoder.tensor),
    **dict.fromkeys((f"pandas.{kind}Index" for kind in _INDEXES), _Encoder.index),
    "pandas.MultiIndex": _Encoder.multiindex,
    "pandas.DataFrame": _Encoder.dataframe,
    "pandas.Series": _Encoder.series,
    "polars.DataFrame": _Encoder.polars_frame,
    "polars.Series": _Encoder.polars_series,
    **dict.fromkeys(["pyarrow.Table", "pyarrow.RecordBatch"], _Encoder.arrow_table),
}


def _family(value: object) -> Callable[[_Encoder, Any], None]:
    """The writer of a type that is one of many of its kind."""
    numpy, arrow, sparse = (sys.modules.get(name) for name in ("numpy", "pyarrow", "scipy.sparse"))
    if numpy is not None and isinstance(value, numpy.generic):
        return _Encoder.array
    if arrow is not None and isinstance(value, arrow.Array | arrow.ChunkedArray):
        return _Encoder.arrow_array
    if sparse is not None and sparse.issparse(value):
        return _Encoder.sparse
    raise UnsupportedError(f"objects of type {type_name(value)} are not hashed")
