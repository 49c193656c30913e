"""Digests of objects in memory: equal values have equal digests, however they are laid out.

The digest of an object is the SHA-256 of its encoding. ``u(n)`` is n as 8 bytes; ``s(t)`` is ``u(length)`` and the
UTF-8 of t (lone surrogates as ``surrogatepass``); numbers are little-endian. A value is ``s(tag)`` and then, by tag:

- ``NoneType  pandas.NaTType  pandas.NAType``: nothing. ``bool``: one byte. ``float``: 8 bytes of IEEE 754;
  ``complex``: twice that. ``int``: ``s`` of the hexadecimal, as ``hex()`` writes it.
- ``datetime.date  datetime.time  datetime.datetime  datetime.timedelta  decimal.Decimal  uuid.UUID  pandas.Timestamp
  pandas.Timedelta``: ``s`` of the text, ISO 8601 where there is one, in which a time zone is an offset.
- ``str  bytes  bytearray``: ``u(length)`` and the bytes. ``list  tuple``: ``u(length)`` and each value.
- ``dict  sklearn.Bunch``: ``u(length)``, then each key and its value, in their order.
- ``array  scalar`` (numpy): *elements*, that is ``s(dtype) u(dimensions) u(each length)`` and the elements in C order:
  their bytes; or each as a value, where they are objects or texts of any length; or, of a ``structure``, ``u(fields)``
  and for each ``s(name)`` and its *elements*.
- ``tensor`` (torch): *elements*. ``torch.TensorDataset``: the tensors as a tuple.
- ``sparse`` (scipy): ``u(dimensions) u(each length)`` and a *column* of the entries of which not every byte is zero,
  in C order, duplicates added up, with a column of coordinates for each axis inside.
- ``dataframe``: index, column labels, ``u(columns)``, each *column*. ``series``: index, name, *column*.
  ``index``: name, *column*. ``multiindex``: ``u(levels)``, each name and *column* with the tag ``index``.
- ``polars.DataFrame  pyarrow.Table`` (or record batch): ``u(columns)``, then for each ``s(name)`` and *column*;
  ``polars.Series  pyarrow.Array`` (chunked or not): ``s(name)``, empty for the latter, and *column*.
- ``datasets.Dataset``: ``u(columns)``, for each ``s(name)`` and the *column* of its rows as they are in Arrow, whatever
  format is set; then a ``dict`` of the names of class labels by the path of the feature. Files that images and the like
  name are read. ``datasets.DatasetDict``: ``u(splits)``, sorted by name, each ``s(name)`` and its value.

A *column* is ``s(type) u(rows)``, three SHA-256s of 32 bytes each, ``u(n)`` and its n inner columns, each ``s(name)``
and *column*. Hashed are: the numbers of the missing rows, 8 bytes each; *lengths* of the others, 8 bytes each; and the
*values* of the others, one after the other:

- Numbers, times, booleans: their bytes (one for a boolean), as stored. Text and binary: lengths in bytes, and the
  bytes. Objects: each as a value. Lists, maps, arrays: lengths in items, and one inner column of all items. Structs: an
  inner column for each field, in which what is missing in the struct is missing.
- pandas: a categorical has codes, and inside its categories in their order, which gives the codes their meaning.
  Intervals have their ends inside.
- polars: an Enum has its texts, and inside its categories in their order; a Categorical is its texts; a decimal or a
  number of 128 bits is its text.
- pyarrow: dictionaries and extensions have what they stand for inside; an ordered dictionary its order too.

Layout, and so no content, are: strides, byte order and padding; chunks and offsets; what lies under a missing
row; whether text is Python's or Arrow's; the order of a dictionary that is not ordered; sparse formats and stored
zeros; devices and gradients; metadata such as ``attrs``, and what a schema forbids; the folder of a file.
"""

from collections.abc import Mapping

from ckptkit import disk
from ckptkit.data.memory import (
    arrays,
    arrow,
    huggingface,
    pandas_frames,
    polars_frames,
    scalars,
    sparse,
    tensors,
)
from ckptkit.data.memory.encoder import Encoder, UnsupportedError, Writer, class_name, is_genuine, type_name

__all__ = ["UnsupportedError", "digest", "is_genuine", "type_name"]

_WRITERS: Mapping[str, Writer] = {
    name: writer
    for family in (scalars, arrays, sparse, tensors, pandas_frames, polars_frames, arrow, huggingface)
    for name, writer in family.WRITERS.items()
}
_FAMILIES: Mapping[str, Writer] = {**arrays.FAMILIES, **arrow.FAMILIES}


def digest(value: object) -> tuple[str, int]:
    """The digest of an object, ``sha256:…``, and the size of its content in bytes.

    Raises:
        UnsupportedError: it is, or holds, an object of a type that this package does not encode; or cannot be read.
    """
    encoder = Encoder(_writer)
    try:
        encoder.value(value)
    except UnsupportedError:
        raise
    except RecursionError:
        raise UnsupportedError("holds itself, or is nested too deeply") from None
    except Exception as error:  # a library's own, about an object at the end of a training
        raise UnsupportedError(f"could not be read: {disk.reason(error)}") from error
    return f"sha256:{encoder.finish().hex()}", encoder.size


def _writer(kind: type) -> Writer:
    name = class_name(kind)
    if name in _WRITERS and is_genuine(kind):
        return _WRITERS[name]
    for base in type.mro(kind):  # of numpy's scalars and Arrow's arrays there is a class for every type
        if class_name(base) in _FAMILIES and is_genuine(base):
            return _FAMILIES[class_name(base)]
    raise UnsupportedError(f"objects of type {name} are not hashed")
