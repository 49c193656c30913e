"""Where a dataset of Hugging Face in memory came from, and what its object still shows of the transforms behind it."""

import contextlib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from ckptkit.data.memory import is_genuine, type_name
from ckptkit.record import Content, Step

_DATASETS = ("datasets.Dataset", "datasets.IterableDataset")
_DICTS = ("datasets.DatasetDict", "datasets.IterableDatasetDict")
_PREPARED = re.compile(r"([^/]+)/[^/]+/\d+\.\d+\.\d+/([0-9a-f]{40})\Z")  # name, config, version, commit
_PART = re.compile(r"_\d{5}_of_\d{5}")  # what several processes append


def describe(value: object) -> dict[str, Any]:
    """What is known of where a dataset came from, under ``huggingface``; never its identity, which is its digest.

    Args:
        value: any object.

    Returns:
        Of ``fingerprint``, ``dataset``, ``builder``, ``config``, ``split``, ``version`` and ``revision`` (the commit
        on the Hub) what is known; ``splits`` with all of that by name for several; nothing for other objects.
    """
    with contextlib.suppress(AttributeError, TypeError, ValueError):  # of a release that keeps them elsewhere
        if isinstance(value, Mapping) and _is(value, _DICTS):
            return {"huggingface": {"splits": {str(split): _described(each) for split, each in value.items()}}}
        if _is(value, _DATASETS):
            return {"huggingface": _described(value)}
    return {}


def _is(value: object, names: Sequence[str]) -> bool:
    return type_name(value) in names and is_genuine(type(value))


def _described(value: Any) -> dict[str, Any]:  # noqa: ANN401 - datasets.Dataset or IterableDataset
    info = value.info
    known = {
        "fingerprint": getattr(value, "_fingerprint", None),
        "dataset": info.dataset_name,
        "builder": info.builder_name,
        "config": info.config_name,
        "split": value.split,
        "version": info.version,
        **_on_the_hub(value),
    }
    return {name: str(fact) for name, fact in known.items() if fact is not None}


def _on_the_hub(value: Any) -> dict[str, str]:  # noqa: ANN401 - as _described
    """Repository and commit, which name the folder that a dataset from the Hub is prepared in."""
    folders = {PurePath(file["filename"]).parent.as_posix() for file in getattr(value, "cache_files", ())}
    found = {match.groups() for folder in folders if (match := _PREPARED.search(folder))}
    if len(found) != 1:
        return {}
    ((name, revision),) = found
    return {"dataset": name.replace("___", "/"), "revision": revision}


def steps(value: object) -> tuple[Step, ...]:
    """The transforms that a dataset still shows, oldest first; there may have been more in between.

    A table that ``map`` wrote, and a selection or order of rows, name the fingerprint that they were made for; only of
    the former is the method known. A fingerprint of the dataset that is neither tells of one transform more.

    Args:
        value: any object.
    """
    with contextlib.suppress(AttributeError, TypeError, ValueError):  # as in describe
        if isinstance(value, Mapping) and _is(value, _DICTS):
            return tuple(step for split, each in value.items() for step in _shown(each, {"split": str(split)}))
        return tuple(_shown(value, {}))
    return ()


def _shown(value: Any, params: dict[str, str]) -> Iterator[Step]:  # noqa: ANN401 - any object
    if not _is(value, _DATASETS[:1]):
        return
    shown = dict.fromkeys(_fingerprints(value.data), "map")
    if value._indices is not None:  # noqa: SLF001 - there is no other way to it
        shown |= dict.fromkeys(_fingerprints(value._indices), "transform")  # noqa: SLF001
    if shown:
        shown.setdefault(value._fingerprint, "transform")  # noqa: SLF001
    for fingerprint, name in shown.items():
        rows = value.num_rows if fingerprint == value._fingerprint else None  # noqa: SLF001
        yield _step(name, {"fingerprint": fingerprint, **params}, rows)


def _fingerprints(table: Any) -> Iterator[str]:  # noqa: ANN401 - datasets.table.Table
    for row in getattr(table, "blocks", [[table]]):
        for block in row:
            fingerprint = _said(block.schema) or _said_on_disk(Path(getattr(block, "path", "")))
            if fingerprint:
                yield _PART.sub("", fingerprint)


def _said(schema: Any) -> str | None:  # noqa: ANN401 - pyarrow.Schema
    said = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("fingerprint")
    return said if isinstance(said, str) else None


def _said_on_disk(path: Path) -> str | None:
    """What the file of a table says, for the table itself forgets it when a column is renamed."""
    if path.name.startswith("cache-"):
        with contextlib.suppress(OSError, ValueError), path.open("rb") as file:
            return _said(sys.modules["pyarrow"].ipc.open_stream(file).schema)
    return None


def _step(name: str, params: dict[str, str], rows: int | None) -> Step:
    output = Content(
        path=None,
        outside=False,
        kind="memory",
        digest=None,
        files=None,
        bytes=None,
        rows=rows,
        source={"huggingface": {"fingerprint": params["fingerprint"]}},
    )
    return Step(
        name=name,
        by="huggingface",
        params=params,
        command=None,
        code=None,
        inputs=(),
        output=output,
        started=None,
        finished=None,
        seconds=None,
    )
