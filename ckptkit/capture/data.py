"""Which data: digests of files and folders as ``sha256sum`` makes them, and of objects in memory over every value.

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
import os
import re
import stat
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ckptkit import disk, hashing, redact
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.record import ANOTHER_PROCESS, Dataset, Observed

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_NOT_NOTED = "the state of the data when the run began was not noted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A dataset as the record has it, and the manifest of its files where it is a folder."""

    dataset: Dataset
    manifest: bytes | None


def observe(
    name: str,
    value: object,
    *,
    project: Path,
    observed: Observed,
    started: float | None,
    cache: hashing.Cache | None = None,
    progress: hashing.Progress | None = None,
    unknown: dict[str, str],
) -> Observation:
    """Record one dataset.

    Args:
        name: what it is called, such as ``train``.
        value: a path to a file or folder, a URL, or an object in memory.
        project: the folder that paths are recorded relative to.
        observed: how the data was observed.
        started: when the process that trained began, in seconds since the epoch; None when another process trained.
        cache: digests of unchanged files.
        progress: called with the number of bytes hashed since the last call.
        unknown: takes the reason for each fact that could not be had.

    Raises:
        CkptkitError: a path that is not there, cannot be read, holds no file, or changes while it is hashed.
    """
    if isinstance(value, str) and _URL.match(value):
        return _remote(name, value, observed, unknown)
    if isinstance(value, str | os.PathLike):
        if not os.fspath(value):
            raise CkptkitError(f"the dataset {name} has an empty path", "name a file or folder, such as data/train.csv")
        path = Path(os.path.abspath(Path(os.fsdecode(value)).expanduser()))  # noqa: PTH100 - a link stays as named
        return _on_disk(name, path, project, observed, started, cache, progress, unknown)
    return _in_memory(name, value, observed, started, unknown)


def _on_disk(
    name: str,
    path: Path,
    project: Path,
    observed: Observed,
    started: float | None,
    cache: hashing.Cache | None,
    progress: hashing.Progress | None,
    unknown: dict[str, str],
) -> Observation:
    recorded, outside = redact.path(path, project)
    if _is_folder(name, path):
        manifest = hashing.tree(path, cache=cache, progress=progress)
        text, digest, files, size = manifest.text, manifest.digest, len(manifest.entries), manifest.bytes
        changed = _changed(((entry.path, path / entry.path) for entry in manifest.entries), started)
    else:
        digest, size = _file(name, path, cache, progress)
        text, files = None, 1
        changed = _changed([(recorded, path)], started)
    if changed is None:
        unknown[f"data.{name}.changed_during_run"] = ANOTHER_PROCESS if started is None else _NOT_NOTED
    dataset = Dataset(
        name=name,
        path=recorded,
        outside=outside,
        kind="file" if text is None else "directory",
        digest=digest,
        files=files,
        bytes=size,
        manifest=None if text is None else f"data/{name}.sha256",
        source=None,
        steps=(),
        observed=observed,
        changed_during_run=changed,
    )
    return Observation(dataset=dataset, manifest=text)


def _file(name: str, path: Path, cache: hashing.Cache | None, progress: hashing.Progress | None) -> tuple[str, int]:
    try:
        sha256 = hashing.file_sha256(path, cache=cache, progress=progress)
    except FormatError as error:
        raise CkptkitError(f"the dataset {name}, {path}, {error.message}", error.hint) from error
    return f"sha256:{sha256}", path.stat().st_size


def _is_folder(name: str, path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        if path.is_symlink():
            raise CkptkitError(f"the dataset {name}, {path}, is a broken link", "mend where it points") from error
        words = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read: {disk.reason(error)}"
        raise CkptkitError(f"the dataset {name}, {path}, {words}", "check the path") from error
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise CkptkitError(f"the dataset {name}, {path}, is a FIFO, socket or device", "save what it yields to a file")
    return stat.S_ISDIR(mode)


def _changed(files: Iterable[tuple[str, Path]], started: float | None) -> tuple[str, ...] | None:
    """Names of the files that were written after the run began; None if there are none, which proves nothing."""
    if started is None:
        return None
    return tuple(name for name, path in files if _last_change(path) > started) or None


def _last_change(path: Path) -> float:
    try:
        status = path.stat()
    except OSError:  # it vanished after it was hashed
        return float("inf")
    return max(status.st_mtime, status.st_ctime)


def _remote(name: str, url: str, observed: Observed, unknown: dict[str, str]) -> Observation:
    unknown[f"data.{name}.digest"] = "is remote: its content was not read"
    unknown[f"data.{name}.changed_during_run"] = _NOT_NOTED
    return _elsewhere(name, "remote", None, None, {"url": redact.text(url)}, observed)


def _in_memory(
    name: str, value: object, observed: Observed, started: float | None, unknown: dict[str, str]
) -> Observation:
    digest: str | None = None
    size: int | None = None
    try:
        encoder = _Encoder()
        encoder.value(value)
        digest, size = encoder.digest, encoder.size
    except _UnsupportedError as error:
        unknown[f"data.{name}.digest"] = str(error)
    except RecursionError:
        unknown[f"data.{name}.digest"] = "holds itself, or is nested too deeply"
    except Exception as error:  # noqa: BLE001 - a library's, about an object at the end of a training
        unknown[f"data.{name}.digest"] = f"could not be encoded: {disk.reason(error)}"
    unknown[f"data.{name}.changed_during_run"] = ANOTHER_PROCESS if started is None else _NOT_NOTED
    return _elsewhere(name, "memory", digest, size, _description(value), observed)


def _elsewhere(
    name: str,
    kind: Literal["memory", "remote"],
    digest: str | None,
    size: int | None,
    source: Mapping[str, Any],
    observed: Observed,
) -> Observation:
    dataset = Dataset(
        name=name,
        path=None,
        outside=False,
        kind=kind,
        digest=digest,
        files=None,
        bytes=size,
        manifest=None,
        source=source,
        steps=(),
        observed=observed,
        changed_during_run=None,
    )
    return Observation(dataset=dataset, manifest=None)


def _description(value: object) -> dict[str, Any]:
    out: dict[str, Any] = {"type": _type_name(value)}
    try:
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
        if isinstance(shape, tuple):
            out["shape"] = [int(each) for each in shape]
        elif isinstance(value, list | tuple | dict | str | bytes | bytearray):
            out["length"] = len(value)
        if dtype is not None and isinstance(shape, tuple):
            out["dtype"] = str(dtype)
    except Exception:  # noqa: BLE001 - a description is a courtesy
        return {"type": out["type"]}
    return out


class _UnsupportedError(Exception):
    """An object whose content has no agreed encoding."""


def _type_name(value: object) -> str:
    """``dict``, or package and class such as ``pandas.DataFrame``, wherever in the package the class lives."""
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    return kind.__qualname__ if package == "builtins" else f"{package}.{kind.__qualname__}"


_BLOCK = 32 << 20  # bytes copied at once of what does not lie in C order
_ROWS = 1 << 16  # rows turned into Python objects at once


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

    def _text(self, text: str) -> None:
        data = text.encode("utf-8", "surrogatepass")
        self._count(len(data))
        self._pending += data

    def _content(self, data: Any) -> None:  # noqa: ANN401 - any contiguous buffer of bytes
        self.size += len(data)
        if len(data) > _ROWS or len(self._pending) > _ROWS:
            self._flush()
            self._sha256.update(data)
        else:
            self._pending += data

    def value(self, value: Any) -> None:  # noqa: ANN401 - anything at all
        """Hash one value.

        Raises:
            _UnsupportedError: it is, or holds, an object of a type that this module does not encode.
        """
        kind = type(value)
        write = self._writers.get(kind)
        if write is None:
            write = self._writers[kind] = _WRITERS.get(_type_name(value)) or _family(value)
        write(self, value)

    def nothing(self, value: Any) -> None:  # noqa: ANN401 - as value
        self._text({"NoneType": "none", "NaTType": "nan-time", "NAType": "missing"}[type(value).__name__])

    def number(self, value: Any) -> None:  # noqa: ANN401 - bool, float or complex
        kind = type(value)
        self._text(kind.__name__)
        if kind is bool:
            self._content(b"\1" if value else b"\0")
        elif kind is complex:
            self._content(struct.pack("<2d", value.real, value.imag))
        else:
            self._content(struct.pack("<d", value))

    def integer(self, value: int) -> None:
        self._text("int")
        self._text(hex(value))
        self.size += 8

    def string(self, value: Any) -> None:  # noqa: ANN401 - str, bytes or bytearray
        self._text(type(value).__name__)
        data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        self._count(len(data))
        self._content(data)

    def worded(self, value: Any) -> None:  # noqa: ANN401 - times, decimals and the like
        self._text(_type_name(value).lower().rpartition("datetime.")[2])
        words = value.isoformat() if hasattr(value, "isoformat") else str(value)
        self._text(f"{words} {value.tzinfo}" if getattr(value, "tzinfo", None) is not None else words)
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
            self.value(key)
            self.value(each)

    def array(self, value: Any) -> None:  # noqa: ANN401 - numpy.ndarray
        self._text("array")
        self._elements(value)

    def scalar(self, value: Any) -> None:  # noqa: ANN401 - numpy.generic
        self._text("scalar")
        self._elements(sys.modules["numpy"].asarray(value))

    def _elements(self, array: Any) -> None:  # noqa: ANN401 - numpy.ndarray
        dtype = array.dtype
        if dtype.char in "gG":
            raise _UnsupportedError(f"elements of {dtype} hold bytes without a meaning")
        spelled = "structure" if dtype.names else dtype.name if dtype.kind in "VT" else dtype.str
        self._text(spelled)
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
            raise _UnsupportedError(f"a tensor of {value.layout}, {value.dtype}, on {value.device} is not encoded")
        self._text("tensor")
        self._text(str(value.dtype))
        self._count(value.ndim, *value.shape)
        for block in _blocks(value.detach().resolve_conj().resolve_neg()):
            if block.nbytes:
                self._content(memoryview(block.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()))

    def dataframe(self, value: Any) -> None:  # noqa: ANN401 - pandas.DataFrame
        self._text("dataframe")
        self.value(value.index)
        self.value(value.columns)
        self._count(value.shape[1])
        for position in range(value.shape[1]):
            self._pandas_column(value.iloc[:, position])

    def series(self, value: Any) -> None:  # noqa: ANN401 - pandas.Series
        self._text("series")
        self.value(value.index)
        self.value(value.name)
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
            self.value(dtype.ordered)
            self.value(dtype.categories)
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
        self._text(series.name)
        self._text(str(series.dtype))
        self._count(len(series))
        by_name = str(series.dtype).startswith(("Categorical", "Enum"))
        if not by_name and re.fullmatch(r"U?Int(8|16|32|64)|Float(32|64)|Boolean", str(series.to_physical().dtype)):
            present = series.drop_nulls().to_physical().to_numpy()
            self._masked([series.is_null().to_numpy()], [present])
        else:
            self._values(series)

    def arrow_table(self, value: Any) -> None:  # noqa: ANN401 - pyarrow.Table or RecordBatch
        self._text(_type_name(value))
        self._count(value.num_columns)
        for name, column in zip(value.schema.names, value.columns, strict=True):
            self._arrow_column(name, column)

    def arrow_array(self, value: Any) -> None:  # noqa: ANN401 - pyarrow.Array or ChunkedArray
        self._text("pyarrow.Array")
        self._arrow_column("", value)

    def _arrow_column(self, name: str, column: Any) -> None:  # noqa: ANN401 - pyarrow.Array or ChunkedArray
        arrow = sys.modules["pyarrow"]
        self._text(name)
        self._text(str(column.type))
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
        self._text("sparse")
        self._text(type(value).__name__)
        self.sequence(tuple(int(each) for each in value.shape))
        sorted_ = value.tocoo(copy=True)
        sorted_.sum_duplicates()
        for coordinates in getattr(sorted_, "coords", None) or (sorted_.row, sorted_.col):
            self._elements(coordinates.astype("<i8"))
        self._elements(sorted_.data)


_INDEXES = (
    "Index",
    "RangeIndex",
    "DatetimeIndex",
    "TimedeltaIndex",
    "PeriodIndex",
    "IntervalIndex",
    "CategoricalIndex",
)
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
    **dict.fromkeys((f"pandas.{name}" for name in _INDEXES), _Encoder.index),
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
        return _Encoder.scalar
    if arrow is not None and isinstance(value, arrow.Array | arrow.ChunkedArray):
        return _Encoder.arrow_array
    if sparse is not None and sparse.issparse(value):
        return _Encoder.sparse
    raise _UnsupportedError(f"objects of type {_type_name(value)} are not hashed")
