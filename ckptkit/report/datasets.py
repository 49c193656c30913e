"""The digests of datasets, and how they differ, as text and as JSON."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from ckptkit.inventory import File
from ckptkit.record import Dataset
from ckptkit.report.results import capped
from ckptkit.verbs.data_diff import DataDiff, Difference, Files, Pair
from ckptkit.verbs.data_digest import Added, Digest
from ckptkit.words import count, cut, inert, short, size


def digested_document(found: Digest, *, manifest: bool) -> dict[str, Any]:
    """The digest of a file or folder, as JSON types.

    Args:
        found: what ``digest`` returned.
        manifest: whether all files of a folder are listed.
    """
    files = [{"path": each.path, "bytes": each.bytes, "sha256": each.sha256} for each in found.manifest or ()]
    return {
        "schema": "ckptkit/digest/1",
        "path": os.fspath(found.path),
        "kind": "file" if found.manifest is None else "directory",
        "digest": found.digest,
        "files": found.files,
        "bytes": found.bytes,
    } | ({"manifest": files} if manifest else {})


def added(done: Added) -> str:
    """One line on the digest of a version's dataset."""
    words = f"{done.version.ref}  {done.dataset.name}  {done.dataset.digest}"
    if done.event:
        return inert(f"{words}  {count(done.found.files, 'file')}, {size(done.found.bytes)}")
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


def diff(found: DataDiff) -> str:
    """For each dataset what it comes to, in totals, and then the first files of each kind by name."""
    lines = [line for name, each in found.datasets.items() for line in _difference(name, each, found)]
    return "\n".join(map(inert, lines)) or "neither version names a dataset"


def _difference(name: str, found: Difference, both: DataDiff) -> Iterator[str]:
    alone = {"added": (both.after, found.after), "removed": (both.before, found.before)}.get(found.state)
    if alone:
        yield f"{name}  only in {alone[0].ref}  {', '.join(_dataset(alone[1]))}"
        return
    words = [_totals(found.files)] if found.files else []
    if found.state == "same" and found.after:
        words = _dataset(found.after)
    elif not found.files:
        words = ["no list of its files on both sides"] ...
