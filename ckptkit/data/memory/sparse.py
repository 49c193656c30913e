"""Sparse matrices and arrays of scipy in the encoding of this package."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from ckptkit.data.memory import arrays
from ckptkit.data.memory.encoder import BLOCK, Column, Encoder, Writer


def _sparse(encoder: Encoder, value: Any) -> None:  # noqa: ANN401 - a matrix or array of scipy.sparse
    numpy = sys.modules["numpy"]
    encoder.text("sparse")
    encoder.count(value.ndim, *value.shape)
    axes = [Column(encoder, "<i8") for _ in value.shape]
    entries = Column(encoder, arrays.dtype_name(value.dtype), [(str(axis), each) for axis, each in enumerate(axes)])
    for start, block in _row_blocks(value):
        block.sum_duplicates()
        coordinates = getattr(block, "coords", None) or (block.row, block.col)
        bytes_ = numpy.ascontiguousarray(block.data).view("u1").reshape(len(block.data), block.dtype.itemsize)
        kept = bytes_.any(axis=1).nonzero()[0]
        kept = kept[numpy.lexsort([each[kept] for each in reversed(coordinates)])]
        arrays.feed(entries, block.data[kept])
        for axis, (column, each) in enumerate(zip(axes, coordinates, strict=True)):
            arrays.feed(column, each[kept].astype("<i8") + (0 if axis else start))
    encoder.column(entries)


def _row_blocks(value: Any) -> Iterator[tuple[int, Any]]:  # noqa: ANN401 - as _sparse
    """Parts in coordinate format, each of about ``BLOCK`` bytes, and the row that each starts at."""
    if value.ndim != 2:  # noqa: PLR2004 - the one number of dimensions that has rows to slice
        yield 0, value.tocoo(copy=True)
        return
    rows = value.tocsr()
    start, entries = 0, BLOCK // max(1, rows.dtype.itemsize + 16)
    while start < rows.shape[0]:
        end = int(rows.indptr.searchsorted(int(rows.indptr[start]) + entries, side="right")) - 1
        end = min(max(end, start + 1), rows.shape[0])
        yield start, rows[start:end].tocoo(copy=True)
        start = end


_FORMATS = ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")
WRITERS: Mapping[str, Writer] = {f"scipy.{name}_{kind}": _sparse for name in _FORMATS for kind in ("array", "matrix")}
