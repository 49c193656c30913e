"""Datasets of Hugging Face in the encoding of this package: all rows in their order, as they are in Arrow."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from ckptkit.data.memory.arrow import ArrowColumn
from ckptkit.data.memory.encoder import Encoder, UnsupportedError, Writer, ranges

_FILES = 16  # rows whose files are read at once


def _dataset(encoder: Encoder, value: Any) -> None:  # noqa: ANN401 - datasets.Dataset
    schema = value.features.arrow_schema
    columns = [ArrowColumn(encoder, field.type) for field in schema]
    naming = {name: feature for name, feature in value.features.items() if _names_files(feature)}
    for batch in _batches(value):
        for table in _with_files(batch, naming) if naming else (batch,):
            for column, values in zip(columns, table.columns, strict=True):
                column.read(values)
    encoder.text("datasets.Dataset")
    encoder.count(len(columns))
    for field, column in zip(schema, columns, strict=True):
        encoder.text(field.name)
        encoder.column(column)
    encoder.value(dict(_labels(value.features, "")))


def _batches(value: Any) -> Iterator[Any]:  # noqa: ANN401 - as _dataset; of pyarrow.RecordBatch
    """All rows in their order.

    What picks rows is gathered batch by batch: to take rows from chunks, pyarrow joins all chunks first, each time,
    and cannot where they hold over 2 GiB of text; the library's own way is about five times slower.
    """
    arrow, numpy = sys.modules["pyarrow"], sys.modules["numpy"]
    batches = value.data.table.to_batches()
    if value._indices is None:  # noqa: SLF001 - there is no other way to it
        yield from batches
        return
    picked = value._indices.column(0)  # noqa: SLF001
    starts = numpy.cumsum([0, *map(len, batches)])
    for start, end in ranges(len(picked), value.data.nbytes * len(picked) // max(1, len(value.data))):
        rows = picked.slice(start, end - start).to_numpy().astype("<i8")
        order = rows.argsort(kind="stable")
        cuts = rows[order].searchsorted(starts)
        parts = [
            batches[at].take(arrow.array(rows[order[cuts[at] : cuts[at + 1]]] - starts[at]))
            for at in numpy.diff(cuts).nonzero()[0]
        ]
        yield from arrow.Table.from_batches(parts).combine_chunks().take(arrow.array(order.argsort())).to_batches()


def _with_files(batch: Any, naming: Mapping[str, Any]) -> Iterator[Any]:  # noqa: ANN401 - pyarrow.RecordBatch to Table
    """Rows with the content of the files that they name."""
    arrow, embed = sys.modules["pyarrow"], sys.modules["datasets"].table.embed_table_storage
    for start in range(0, len(batch), _FILES):
        few = batch.slice(start, _FILES)
        for name, feature in naming.items():
            _refuse_urls(few.column(name), feature)
        yield embed(arrow.Table.from_batches([few]))


def _inside(feature: Any) -> Mapping[str, Any]:  # noqa: ANN401 - of datasets.features
    """The features in a feature by name; that of a list has none."""
    if isinstance(feature, Mapping):
        return feature
    item = getattr(feature, "feature", None)
    return {} if item is None else {"": item}


def _names_files(feature: Any) -> bool:  # noqa: ANN401 - as _inside
    """Whether it is, or holds, an image, audio or the like, which may be the name of a file in place of its content."""
    return hasattr(feature, "embed_storage") or any(map(_names_files, _inside(feature).values()))


def _refuse_urls(array: Any, feature: Any) -> None:  # noqa: ANN401 - pyarrow.Array, and as _inside
    for name, each in _inside(feature).items():
        _refuse_urls(array.field(name) if name else array.flatten(), each)
    if hasattr(feature, "embed_storage"):
        paths = array.field("path").filter(array.field("bytes").is_null()).drop_null()
        if any("://" in path for path in paths.to_pylist()):
            raise UnsupportedError("names files at URLs, whose content was not read")


def _labels(feature: Any, path: str) -> Iterator[tuple[str, list[str]]]:  # noqa: ANN401 - as _inside
    for name, each in _inside(feature).items():
        yield from _labels(each, f"{path}.{name}".strip("."))
    if isinstance(getattr(feature, "names", None), list):
        yield path, feature.names


def _dataset_dict(encoder: Encoder, value: Mapping[str, Any]) -> None:
    encoder.text("datasets.DatasetDict")
    encoder.count(len(value))
    for split in sorted(value):
        encoder.text(split)
        encoder.value(value[split])


def _streamed(_encoder: Encoder, _value: object) -> None:
    raise UnsupportedError("is read as it goes: its content is not known without consuming it")


WRITERS: Mapping[str, Writer] = {
    "datasets.Dataset": _dataset,
    "datasets.DatasetDict": _dataset_dict,
    **dict.fromkeys(["datasets.IterableDataset", "datasets.IterableDatasetDict"], _streamed),
}
