"""What everything in memory is hashed through: values in one stream, the columns of tables in streams of their own."""

import hashlib
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

BLOCK = 16 << 20
"""Bytes that are copied at once of what cannot be hashed where it lies."""

ROWS = 1 << 18
"""Rows that are read at once at most, since some become larger than they lie."""

_PENDING = 1 << 16  # bytes collected before they are hashed


class UnsupportedError(Exception):
    """Raised for an object whose content has no agreed encoding."""


def type_name(value: object) -> str:
    """``dict``, or package and class such as ``pandas.DataFrame``, wherever in the package the class lives."""
    return class_name(type(value))


def class_name(kind: type) -> str:
    """What ``type_name`` says of an object of this class."""
    module, name = _full_name(kind)
    package = module.partition(".")[0]
    return name if package == "builtins" else f"{package}.{name}"


def is_genuine(kind: type) -> bool:
    """Whether a class is the one that its name stands for; anybody's may call itself ``pandas.DataFrame``."""
    module, name = _full_name(kind)
    place: object = sys.modules.get(module)
    for part in name.split("."):
        place = getattr(place, part, None)
    return place is kind or kind is types.NoneType


def _full_name(kind: type) -> tuple[str, str]:
    """Module and name, without asking the class's own class, which may say or do anything."""
    module = type.__dict__["__module__"].__get__(kind)
    return module if type(module) is str else "?", type.__dict__["__qualname__"].__get__(kind)


class Encoder:
    """A stream that is hashed; ``size`` counts the bytes of content in it.

    Args:
        find: the writer for objects of a class; raises ``UnsupportedError`` where there is none.
    """

    def __init__(self, find: "Callable[[type], Writer]") -> None:
        self.size = 0
        self._find = find
        self._writers: dict[type, Writer] = {}
        self._sha256 = hashlib.sha256()
        self._pending = bytearray()  # many small pieces make one update

    def fork(self) -> "Encoder":
        """A new stream that writes values as this one does."""
        return Encoder(self._find)

    def finish(self) -> bytes:
        """SHA-256 of all that was written."""
        self._flush()
        return self._sha256.digest()

    def _flush(self) -> None:
        self._sha256.update(self._pending)
        self._pending = bytearray()

    def count(self, *numbers: int) -> None:
        """Write lengths or counts."""
        for number in numbers:
            self._pending += number.to_bytes(8, "little")

    def text(self, *texts: str) -> None:
        """Write names and tags."""
        for text in texts:
            data = text.encode("utf-8", "surrogatepass")
            self.count(len(data))
            self._pending += data

    def content(self, data: Any) -> None:  # noqa: ANN401 - any contiguous buffer of bytes
        """Write bytes of content."""
        self.size += len(data)
        if len(data) > _PENDING or len(self._pending) > _PENDING:
            self._flush()
            self._sha256.update(data)
        else:
            self._pending += data

    def value(self, *values: Any) -> None:  # noqa: ANN401 - anything at all
        """Write objects of any kind.

        Raises:
            UnsupportedError: one has no encoding.
        """
        for value in values:
            kind = type(value)
            write = self._writers.get(kind)
            if write is None:
                write = self._writers[kind] = self._find(kind)
            write(self, value)
            if len(self._pending) > _PENDING:
                self._flush()

    def column(self, column: "Column") -> None:
        """Write a column, all of whose rows have been read."""
        self.text(column.kind)
        self.count(column.rows)
        for stream in (column.missing, column.lengths, column.values):
            self._pending += stream.finish()
        self.size += column.values.size
        self.count(len(column.inner))
        for name, inner in column.inner:
            self.text(name)
            self.column(inner)


Writer: TypeAlias = Callable[[Encoder, Any], None]


class Column:
    """A column of a table, read in blocks of rows of any size; ``rows`` counts those read so far.

    Args:
        encoder: what the column will be written to.
        kind: its type.
        inner: columns within it, such as the fields of a struct, each with its name.
        rows: how many there are of them, where the inner columns have been read.
    """

    def __init__(
        self, encoder: Encoder, kind: str, inner: "Sequence[tuple[str, Column]]" = (), *, rows: int = 0
    ) -> None:
        self.kind = kind
        self.inner = inner
        self.rows = rows
        self.missing, self.lengths, self.values = encoder.fork(), encoder.fork(), encoder.fork()


def ranges(rows: int, size: int) -> Iterator[tuple[int, int]]:
    """Ranges of all rows, which are ``size`` bytes: each of about ``BLOCK`` bytes and at most ``ROWS`` rows."""
    step = max(1, min(ROWS, rows * BLOCK // max(size, 1)))
    for start in range(0, rows, step):
        yield start, min(start + step, rows)
