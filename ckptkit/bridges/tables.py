"""Rows into a file: CSV or Parquet, in constant memory, and the same bytes for the same rows."""

import datetime as dt
import json
import math
import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from ckptkit import disk, hashing
from ckptkit.errors import CkptkitError

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 32_768
"""Rows in memory at a time, and in a row group of Parquet."""

Rows = Iterable[Sequence[Sequence[Any]]]
"""Batches of rows; all but the last have ``BATCH`` of them."""

_ZONED = (dt.datetime, dt.time)
_CSV = {
    "format": "csv",
    "null": 'an empty field; the empty text is ""',
    "bytes": "hexadecimal",
    "timestamp with zone": "UTC",
    "interval": "seconds",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written: how many rows, the type of each column, and how it was written down."""

    rows: int
    types: tuple[str, ...]
    params: dict[str, Any]


Writer = Callable[[Path, Sequence[str], Rows, hashing.Progress], Written]


def writer(path: Path) -> Writer:
    """What writes the format that a file's name ends in.

    Raises:
        CkptkitError: it is another format, or pyarrow is not installed.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _write_csv
    if suffix != ".parquet":
        raise CkptkitError(f"{path.name} is neither .parquet nor .csv", "end OUT in the one that the rows are to be")
    try:
        import pyarrow.parquet  # noqa: F401 - asked for before the query runs
    except ImportError:
        raise CkptkitError("pyarrow is not installed", "pip install 'ckptkit-lineage[sql]', or write .csv") from None
    return _write_parquet


def _write_csv(path: Path, names: Sequence[str], batches: Rows, progress: hashing.Progress) -> Written:
    """RFC 4180, but for line ends of one character."""
    kinds: list[set[str]] = [set() for _ in names]
    rows = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(map(_quoted, names)) + "\n")
        for batch in batches:
            columns = list(zip(*batch, strict=True))
            for name, column, known in zip(names, columns, kinds, strict=True):
                known.update(_kinds(name, column))
            if len(names) == 1 and None in columns[0]:
                words = f"the column {names[0]!r} holds NULL: alone in a CSV it is an empty line, which readers skip"
                raise CkptkitError(words, "write .parquet, or select a second column")
            lines = [",".join(map(_field, row)) + "\n" for row in batch]
            progress(file.write("".join(lines)))
            rows += len(batch)
    return Written(rows=rows, types=tuple(" or ".join(sorted(known)) or "null" for known in kinds), params=_CSV)


def _kinds(name: str, column: Sequence[Any]) -> set[str]:
    """What the values of a column are, NULL aside.

    Raises:
        CkptkitError: something that is written down in no one way.
    """
    found = set()
    for each in set(map(type, column)) - {NoneType}:
        if each not in _KINDS:
            words = f"the column {name!r} holds {each.__name__}, which is neither text, number, time nor bytes"
            raise CkptkitError(words, f"write CAST({name} AS TEXT) in the query")
        kind, zones = _KINDS[each].name, {False}
        if each in _ZONED:
            zones = {value.tzinfo is not None for value in column if type(value) is each}
        found |= {f"{kind} with zone" if zone else kind for zone in zones}
    return found


def _field(value: Any) -> str:  # noqa: ANN401 - whatever a database holds
    return "" if value is None else _KINDS[type(value)].text(value)


def _quoted(text: str) -> str:
    return text if text and not _SPECIAL.search(text) else '"{}"'.format(text.replace('"', '""'))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else {"nan": "NaN", "inf": "Infinity"}.get(str(value), "-Infinity")


def _timestamp(value: dt.datetime) -> str:
    return value.isoformat() if value.tzinfo is None else value.astimezone(dt.UTC).isoformat()


_SPECIAL = re.compile('[",\r\n]')


@dataclass(frozen=True, slots=True)
class _Kind:
    """What values of a Python type are, and how one is written as text."""

    name: str
    text: Callable[[Any], str]


_KINDS: dict[type, _Kind] = {
    bool: _Kind("boolean", lambda value: str(value).lower()),
    int: _Kind("integer", str),
    float: _Kind("number", _number),
    Decimal: _Kind("decimal", lambda value: format(value, "f")),
    str: _Kind("text", _quoted),
    uuid.UUID: _Kind("uuid", str),
    bytes: _Kind("bytes", bytes.hex),
    memoryview: _Kind("bytes", memoryview.hex),
    dict: _Kind("json", lambda value: _quoted(_json(value))),
    list: _Kind("json", lambda value: _quoted(_json(value))),
    dt.datetime: _Kind("timestamp", _timestamp),
    dt.date: _Kind("date", dt.date.isoformat),
    dt.time: _Kind("time", dt.time.isoformat),
    dt.timedelta: _Kind("interval", lambda value: _number(value.total_seconds())),
}
_ARROW = {
    "null": "null",
    "boolean": "bool",
    "integer": "int64",
    "number": "double",
    "text": "string",
    "uuid": "string",
    "json": "string",
    "bytes": "binary",
    "timestamp": "timestamp[us]",
    "date": "date32",
    "time": "time64[us]",
    "interval": "duration[us]",
}
_PLAIN: dict[str, Callable[[Any], object]] = {"uuid": str, "json": _json, "bytes": bytes}


def _write_parquet(path: Path, names: Sequence[str], batches: Rows, progress: hashing.Progress) -> Written:
    """The types of the columns are known once all rows have come, so these wait in a file until then."""
    import pyarrow as pa
    from pyarrow import parquet

    waiting = path.with_name(f"{path.name}.rows")
    try:
        schema = _spool(waiting, names, batches, progress)
        with pa.OSFile(str(waiting)) as source, parquet.ParquetWriter(path, schema, compression="zstd") as sink:
            rows = 0
            while source.tell() < source.size():
                for batch in pa.ipc.open_stream(source):
                    sink.write_batch(batch.cast(schema))
                    rows += batch.num_rows
    except pa.ArrowException as error:  # types of two batches that nothing holds both of
        words = f"the rows do not fit Parquet: {disk.reason(error)}"
        raise CkptkitError(words, "write CAST(… AS TEXT) in the query, or to .csv") from error
    params = {"format": "parquet", "written_by": f"pyarrow {pa.__version__}"}
    return Written(rows=rows, types=tuple(str(field.type) for field in schema), params=params)


def _spool(waiting: Path, names: Sequence[str], batches: Rows, progress: hashing.Progress) -> "pa.Schema":
    """Write each batch with its own types, one stream after the other; what all of them together are."""
    import pyarrow as pa

    kinds: list[set[str]] = [set() for _ in names]
    schema = pa.schema([(name, pa.null()) for name in names])
    with pa.OSFile(str(waiting), "wb") as file:
        for rows in batches:
            arrays = [
                _array(name, column, known)
                for name, column, known in zip(names, zip(*rows, strict=True), kinds, strict=True)
            ]
            batch = pa.record_batch(arrays, names=list(names))
            schema = pa.unify_schemas([schema, batch.schema], promote_options="permissive")
            before = file.tell()
            with pa.ipc.new_stream(file, batch.schema) as stream:
                stream.write_batch(batch)
            progress(file.tell() - before)
    return schema


def _array(name: str, column: Sequence[Any], known: set[str]) -> "pa.Array":
    """A column of one batch; ``known`` is what its values were so far, and takes what they are."""
    import pyarrow as pa

    kinds = _kinds(name, column)
    known.update(kinds)
    if len(known) > 1 and known != {"integer", "number"}:
        words = f"the column {name!r} holds {' and '.join(sorted(known))}: a column of Parquet is of one type"
        raise CkptkitError(words, f"write CAST({name} AS …) in the query, or to .csv")
    kind = "number" if len(kinds) > 1 else next(iter(kinds), "null")
    if kind in _PLAIN:
        column = [None if value is None else _PLAIN[kind](value) for value in column]
    try:
        if kind == "decimal":  # its precision and scale are what the values need
            return pa.array(column)
        zoned = kind == "timestamp with zone"
        return pa.array(column, type=pa.timestamp("us", "UTC") if zoned else pa.type_for_alias(_ARROW[kind]))
    except (KeyError, OverflowError, pa.ArrowException):
        words = f"the column {name!r} holds a {kind} that Parquet has no type for"
        raise CkptkitError(words, f"write CAST({name} AS TEXT) in the query, or to .csv") from None
