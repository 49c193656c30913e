"""The digests of datasets, and how they differ, as text and as JSON."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from ckptkit.inventory import File
from ckptkit.record import Dataset
from ckptkit.report.results import MOST
from ckptkit.verbs.data_diff import DataDiff, Difference, Files, Pair
from ckptkit.verbs.data_digest import Added
from ckptkit.words import count, cut, inert, short, size


def added(done: Added) -> str:
    """One line on the digest of a version's dataset."""
    words = f"{done.version.ref}  {done.dataset.name}  {done.dataset.digest}"
    if done.event:
        return inert(f"{words}  {count(done.found.files, 'file')}, {size(done.found.size)}")
    if done.is_same:
        return inert(f"{words}  is known already, and is that of {done.found.path}")
    return inert(f"{words}  is not that of {done.found.path}, {done.found.digest}")


def added_document(done: Added) -> dict[str, Any]:
    """The digest of a version's dataset, as JSON types."""
    return {
        "schema": "ckptkit/data-digest/1",
        "ref": done.version.ref,
        "name": done.dataset.name,
        "digest": done.dataset.digest,
        "found": {"path": os.fspath(done.found.path), "digest": done.found.digest},
        "same": done.is_same,
        "event": done.event.to_dict() if done.event else None,
        "warnings": list(done.warnings),
    }


_KINDS = ("added", "removed", "changed", "renamed", "unknown")


def diff(found: DataDiff) -> str:
    """For each dataset what it comes to, in totals, and then the first files of each kind by name."""
    lines = [line for name, each in found.datasets.items() for line in _dataset(name, each, found)]
    return "\n".join(map(inert, lines)) or "neither version names a dataset"


def _dataset(name: str, found: Difference, both: DataDiff) -> Iterator[str]:
    if found.before is None or found.after is None:
        side = both.before if found.after is None else both.after
        known = found.before or found.after
        yield f"{name}  only in {side.ref}" + (f"  {_place(known)}  {_amount(known)}" if known else "")
        return
    before, after = _place(found.before), _place(found.after)
    if found.state == "same":
        yield f"{name}  same  {before if before == after else f'{before} → {after}'}  {_amount(found.after)}"
        return
    totals = _totals(found.files) if found.files else f"{_amount(found.before)} → {_amount(found.after)}"
    yield f"{name}  {found.state}  {totals}" + (f"  {found.reason}" if found.reason else "")
    for kind in _KINDS if found.files else ():
        items: Sequence[File | Pair] = getattr(found.files, kind)
        yield from (f"  {kind:8} {_file(each)}" for each in items[:MOST])
        if len(items) > MOST:
            yield f"  {kind:8} {len(items) - MOST:,} more in --json"
    for key, sides in found.source.items():
        yield f"  source   {key} {' → '.join(cut(str(each), 60) for each in sides)}"


def _place(dataset: Dataset) -> str:
    return dataset.path or ("in memory" if dataset.kind == "memory" else dataset.kind)


def _amount(dataset: Dataset) -> str:
    parts = [count(dataset.files, "file")] if dataset.files is not None else []
    parts += [size(dataset.bytes)] if dataset.bytes is not None else []
    return "  ".join(filter(None, [short(dataset.digest) if dataset.digest else "no digest", ", ".join(parts)]))


def _totals(files: Files) -> str:
    parts = []
    for kind in _KINDS:
        items: Sequence[File | Pair] = getattr(files, kind)
        sizes = [each.bytes for each in items if isinstance(each, File) and each.bytes is not None]
        told = f" ({size(sum(sizes))})" if items and len(sizes) == len(items) else ""
        parts += [f"{kind} {len(items):,}{told}"] if items else []
    return ", ".join([*parts, f"same {files.same:,}"])


def _file(found: File | Pair) -> str:
    sides = [found] if isinstance(found, File) else found
    paths = dict.fromkeys(os.fsdecode(file.path) for file in sides)
    sizes = dict.fromkeys(size(file.bytes) for file in sides if file.bytes is not None)
    return "  ".join(" → ".join(part) for part in (paths, sizes) if part)


def diff_document(found: DataDiff) -> dict[str, Any]:
    """How the datasets of two versions differ, as JSON types, with all files that do."""
    return {
        "schema": "ckptkit/data-diff/1",
        "before": found.before.ref,
        "after": found.after.ref,
        "datasets": {name: _dataset_document(each) for name, each in found.datasets.items()},
    }


def _dataset_document(found: Difference) -> dict[str, Any]:
    return {
        "state": found.state,
        "reason": found.reason,
        **{side: _recorded(dataset) for side, dataset in (("before", found.before), ("after", found.after))},
        "source": {key: {"before": before, "after": after} for key, (before, after) in found.source.items()},
        "same": found.files.same if found.files else None,
        **{kind: [_file_document(each) for each in getattr(found.files, kind, ())] for kind in _KINDS},
    }


def _recorded(dataset: Dataset | None) -> dict[str, Any] | None:
    keys = ("path", "kind", "digest", "files", "bytes")
    return None if dataset is None else {key: getattr(dataset, key) for key in keys}


def _file_document(found: File | Pair) -> dict[str, Any]:
    if isinstance(found, File):
        path = {"path": os.fsdecode(found.path)}
        return path if found.bytes is None else path | {"bytes": found.bytes}
    return {"before": _file_document(found[0]), "after": _file_document(found[1])}
