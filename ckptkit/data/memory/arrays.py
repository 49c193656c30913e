"""Arrays of numpy in the encoding of this package."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from ckptkit.data.memory.encoder import BLOCK, Column, Encoder, UnsupportedError, Writer


def dtype_name(dtype: Any) -> str:  # noqa: ANN401 - numpy.dtype
    """The name of a type, whatever its byte order.

    Raises:
        UnsupportedError: its elements hold bytes that are no part of their values.
    """
    if dtype.char in "gG":
        raise UnsupportedError(f"elements of {dtype} hold bytes without a meaning")
    if dtype.names:
        return "structure"
    return str(dtype.name if dtype.kind in "VT" else dtype.newbyteorder("<").str)


def blocks(array: Any) -> Iterator[Any]:  # noqa: ANN401 - numpy's or torch's
    """The parts of an array, in C order, each of at most ``BLOCK`` bytes."""
    if array.nbytes <= BLOCK:
        yield array
        return
    row = array.nbytes // len(array)
    if row > BLOCK and array.ndim > 1:
        for each in array:
            yield from blocks(each)
    else:
        rows = max(1, BLOCK // row)
        for start in range(0, len(array), rows):
            yield array[start : start + rows]


def content(encoder: Encoder, array: Any) -> None:  # noqa: ANN401 - numpy.ndarray without fields
    """Write the elements alone, in C order."""
    if array.dtype.hasobject:
        for each in array.flat:
            encoder.value(each)
        return
    numpy = sys.modules["numpy"]
    little = array.dtype.newbyteorder("<")
    for block in (array,) if array.flags.c_contiguous and array.dtype == little else blocks(array):
        if block.nbytes:
            encoder.content(memoryview(numpy.ascontiguousarray(block, little).reshape(-1).view("u1")))


def feed(column: Column, block: Any, missing: Any = None) -> None:  # noqa: ANN401 - numpy.ndarray
    """Read a block of rows, one element each.

    Args:
        column: what they belong to.
        block: the elements.
        missing: for each row whether it is missing; None where none can be.
    """
    rows = len(block)
    if missing is not None:
        mark(column, missing)
        block = block[~missing] if missing.any() else block
    content(column.values, block)
    column.rows += rows


def mark(column: Column, missing: Any) -> None:  # noqa: ANN401 - numpy.ndarray
    """Note which of the next rows are missing; it is for the caller to count them as read."""
    content(column.missing, (missing.nonzero()[0] + column.rows).astype("<i8"))


def _array(encoder: Encoder, value: Any) -> None:  # noqa: ANN401 - numpy.ndarray or generic
    numpy = sys.modules["numpy"]
    encoder.text("scalar" if isinstance(value, numpy.generic) else "array")
    _elements(encoder, numpy.asarray(value))


def _elements(encoder: Encoder, array: Any) -> None:  # noqa: ANN401 - numpy.ndarray
    encoder.text(dtype_name(array.dtype))
    encoder.count(array.ndim, *array.shape)
    if not array.dtype.names:
        content(encoder, array)
        return
    encoder.count(len(array.dtype.names))
    for name in array.dtype.names:
        encoder.text(name)
        _elements(encoder, array[name])


FAMILIES: Mapping[str, Writer] = {"numpy.generic": _array}
WRITERS: Mapping[str, Writer] = dict.fromkeys(
    ["numpy.ndarray", "numpy.memmap", "numpy.recarray", "numpy.matrix"], _array
)
