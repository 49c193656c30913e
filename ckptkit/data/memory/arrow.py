"""Arrays and tables of Arrow in the encoding of this package; what others keep in Arrow is read here too."""

import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ckptkit.data.memory.encoder import Column, Encoder, UnsupportedError, Writer, ranges


class ArrowColumn(Column):
    """A column of an Arrow type.

    Args:
        encoder: what the column will be written to.
        kind: its type, a ``pyarrow.DataType``.

    Raises:
        UnsupportedError: there is no encoding of the type.
    """

    def __init__(self, encoder: Encoder, kind: Any) -> None:  # noqa: ANN401 - pyarrow.DataType
        name, self._read, inner = _family(kind)
        self.fields = [ArrowColumn(encoder, each) for _, each in inner]
        self.order: Any = None
        super().__init__(encoder, name, [(each, field) for (each, _), field in zip(inner, self.fields, strict=True)])

    def read(self, values: Any) -> None:  # noqa: ANN401 - pyarrow.Array or ChunkedArray
        """Read all rows of an array, or of what is chunked."""
        for chunk in getattr(values, "chunks", [values]):
            for start, end in ranges(len(chunk), chunk.nbytes):
                self.feed(chunk.slice(start, end - start))

    def feed(self, block: Any) -> None:  # noqa: ANN401 - pyarrow.Array
        """Read a block of rows."""
        if len(block):
            self._read(self, block)
            self.rows += len(block)

    def mark(self, block: Any) -> None:  # noqa: ANN401 - pyarrow.Array
        """Note which rows of a block are missing."""
        if block.null_count:
            compute = _compute()
            places = compute.indices_nonzero(block.is_null()).cast("int64")
            self.missing.content(_bytes(compute.add(places, self.rows)))


_Reader: TypeAlias = Callable[[ArrowColumn, Any], None]


def _compute() -> Any:  # noqa: ANN401 - a module
    from pyarrow import compute  # a part of what is loaded already

    return compute


def _bytes(array: Any) -> memoryview:  # noqa: ANN401 - pyarrow.Array without nulls, of elements of one size
    width = array.type.bit_width // 8
    buffer = array.buffers()[1]
    return memoryview(buffer or b"")[array.offset * width : (array.offset + len(array)) * width]


def _flat(column: ArrowColumn, block: Any) -> None:  # noqa: ANN401 - pyarrow.Array of elements of one size
    column.mark(block)
    block = block.drop_null() if block.null_count else block
    column.values.content(_bytes(block.cast("uint8") if block.type.bit_width == 1 else block))


def _text(column: ArrowColumn, block: Any) -> None:  # noqa: ANN401 - pyarrow.Array of text or binary
    column.mark(block)
    if str(block.type).endswith("_view"):
        block = block.cast("large_binary")
    block = block.drop_null() if block.null_count else block
    if not len(block):
        return
    column.lengths.content(_bytes(_compute().binary_length(block).cast("int64")))
    _, offsets, data = block.buffers()
    offsets = memoryview(offsets).cast("b").cast("q" if str(block.type).startswith("large") else "i")
    column.values.content(memoryview(data or b"")[offsets[block.offset] : offsets[block.offset + len(block)]])


def _list(column: ArrowColumn, block: Any) -> None:  # noqa: ANN401 - pyarrow.Array of lists of any kind
    column.mark(block)
    column.lengths.content(_bytes(block.value_lengths().drop_null().cast("int64")))
    column.fields[0].feed(block.flatten())


def _map(column: ArrowColumn, block: Any) -> None:  # noqa: ANN401 - pyarrow.MapArray
    arrow, first = sys.modules["pyarrow"], block.offsets[0]
    size = block.offsets[-1].as_py() - first.as_py()
    entries = [each.slice(first.as_py(), size) for each in (block.keys, block.items)]
    items = arrow.StructArray.from_arrays(entries, fields=list(_entry(block.type)))
    offsets = _compute().subtract(block.offsets, first)  # a cast of a slice to a list garbles what is nested in it
    _list(column, arrow.ListArray.from_arrays(offsets, items, mask=block.is_null() if block.null_count else None))


def _entry(kind: Any) -> Any:  # noqa: ANN401 - pyarrow.MapType to StructType
    arrow = sys.modules["pyarrow"]
    return arrow.struct([arrow.field("key", kind.key_type, nullable=False), arrow.field("value", kind.item_type)])


def _struct(column: ArrowColumn, block: Any) -> None:  # noqa: ANN401 - pyarrow.StructArray
    column.mark(block)
    for field, values in zip(column.fields, block.flatten(), strict=True):
        field.feed(values)


def _storage(column: ArrowColumn, block: Any) -> None:  # noqa: ANN401 - pyarrow.ExtensionArray
    column.fields[0].feed(block.storage)


def _dictionary(column: ArrowColumn, block: Any) -> None:  # noqa: ANN401 - pyarrow.DictionaryArray
    size = block.dictionary.nbytes * len(block) // max(1, len(block.dictionary))
    for start, end in ranges(len(block), size):  # a few long values may stand in for many rows
        column.fields[0].feed(block.slice(start, end - start).dictionary_decode())
    if block.type.ordered:
        _order(column, block.dictionary)


def _order(column: ArrowColumn, dictionary: Any) -> None:  # noqa: ANN401 - pyarrow.Array
    if column.order is None:
        column.order = dictionary
        column.fields[1].feed(dictionary)
    elif not dictionary.equals(column.order):
        raise UnsupportedError("chunks whose categories differ in order are not hashed: unify the dictionaries first")


_TEXTS = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view")
_SIMPLE: Mapping[str, _Reader] = {"null": ArrowColumn.mark, **dict.fromkeys(_TEXTS, _text)}


def _family(kind: Any) -> tuple[str, _Reader, list[tuple[str, Any]]]:  # noqa: ANN401 - pyarrow.DataType
    """The name of a type, what reads its blocks, and the types within it."""
    arrow = sys.modules["pyarrow"]
    if isinstance(kind, arrow.BaseExtensionType):
        parameters = getattr(kind, "__arrow_ext_serialize__", bytes)()
        return f"{kind} {parameters.hex()}".rstrip(), _storage, [("", kind.storage_type)]
    name = str(kind).partition("<")[0]
    match name:
        case "list" | "large_list" | "list_view" | "large_list_view":
            return name, _list, [("", kind.value_type)]
        case "fixed_size_list":
            return f"{name} {kind.list_size}", _list, [("", kind.value_type)]
        case "map":
            return name, _map, [("", _entry(kind))]
        case "struct":
            return name, _struct, [(kind.field(at).name, kind.field(at).type) for at in range(kind.num_fields)]
        case "dictionary":
            order = [("order", kind.value_type)] if kind.ordered else []
            return f"{name} {kind.index_type}", _dictionary, [("", kind.value_type), *order]
        case "run_end_encoded" | "sparse_union" | "dense_union":
            raise UnsupportedError(f"columns of {kind} are not hashed")
        case _:
            return str(kind), _SIMPLE.get(name, _flat), []


def _table(encoder: Encoder, value: Any) -> None:  # noqa: ANN401 - pyarrow.Table or RecordBatch
    encoder.text("pyarrow.Table")
    encoder.count(value.num_columns)
    for field, values in zip(value.schema, value.columns, strict=True):
        encoder.text(field.name)
        _column(encoder, values)


def _array(encoder: Encoder, value: Any) -> None:  # noqa: ANN401 - pyarrow.Array or ChunkedArray
    encoder.text("pyarrow.Array", "")
    _column(encoder, value)


def _column(encoder: Encoder, values: Any) -> None:  # noqa: ANN401 - as _array
    column = ArrowColumn(encoder, values.type)
    column.read(values)
    encoder.column(column)


FAMILIES: Mapping[str, Writer] = dict.fromkeys(["pyarrow.Array", "pyarrow.ChunkedArray"], _array)
WRITERS: Mapping[str, Writer] = dict.fromkeys(["pyarrow.Table", "pyarrow.RecordBatch"], _table)
