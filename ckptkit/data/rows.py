"""Rows of a dataset: lines of text and records of tables, counted while that is cheap."""

import os
from collections.abc import Iterator
from pathlib import Path

from ckptkit import disk, hashing
from ckptkit.data import sidecar

LIMIT = 256 << 20
"""Most bytes that are read to count rows."""

FILES = 10_000
"""Most files of a folder whose rows are counted."""

_BLOCK = 1 << 20


class UncountedError(Exception):
    """Raised where rows are not counted; its text says why."""


def count(path: Path) -> int:
    """The rows of a file, or of all files of a folder together.

    Of ``.txt``, ``.text``, ``.jsonl`` and ``.ndjson`` they are the lines; of ``.tsv`` the lines and of ``.csv`` the
    records (RFC 4180: a newline in quotes ends none) after the first, which is the header; of ``.parquet`` what its
    footer says, where pyarrow is installed. A folder's files are of one format, its sidecars aside.

    Raises:
        UncountedError: they are in another format, or too many bytes or files.
        CkptkitError: something cannot be read.
    """
    if not path.is_dir():
        return _count(path, LIMIT)[0]
    names = [name for name, _ in hashing.scan(path) if not name.endswith(sidecar.SUFFIX)]
    if len(names) > FILES:
        raise UncountedError(f"rows of more than {FILES:,} files are not counted")
    if len({Path(name).suffix.lower() for name in names}) > 1:
        raise UncountedError("its files are of several formats")
    total, left = 0, LIMIT
    for name in names:
        rows, left = _count(path / name, left)
        total += rows
    return total


def _count(path: Path, left: int) -> tuple[int, int]:
    """The rows of one file, and how many of ``left`` bytes may still be read."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _footer(path), left
    counting = {".csv": _records, ".tsv": _lines, ".txt": _lines, ".text": _lines, ".jsonl": _lines, ".ndjson": _lines}
    if suffix not in counting:
        raise UncountedError(f"rows of {suffix or 'nameless'} files are not counted")
    left -= path.stat().st_size
    if left < 0:
        raise UncountedError(f"rows of more than {LIMIT >> 20} MB are not counted")
    found = counting[suffix](path)
    return (max(found - 1, 0) if suffix in {".csv", ".tsv"} else found), left


def _blocks(path: Path) -> Iterator[bytes]:
    with os.fdopen(disk.open_regular(path), "rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            yield block


def _lines(path: Path) -> int:
    found, last = 0, b"\n"
    for block in _blocks(path):
        found += block.count(b"\n")
        last = block[-1:]
    return found + (last != b"\n")


def _records(path: Path) -> int:
    found, last, quoted = 0, b"\n", False
    for block in _blocks(path):
        parts = block.split(b'"')
        found += b"".join(parts[quoted::2]).count(b"\n")
        quoted ^= len(parts) % 2 == 0
        last = block[-1:]
    if quoted:
        raise UncountedError("a quote in it is never closed")
    return found + (last != b"\n")


def _footer(path: Path) -> int:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise UncountedError("pyarrow, which reads .parquet, is not installed") from None
    try:
        return int(parquet.read_metadata(path).num_rows)
    except (ArrowException, OSError) as error:
        raise UncountedError("it is not Parquet") from error
