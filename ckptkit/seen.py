"""Where this machine saw data, by its digest: data outside the project is recorded by its last component alone."""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ckptkit import disk, documents, registry
from ckptkit.errors import FormatError
from ckptkit.manifest import Listing, State, listed_row

SCHEMA = "ckptkit/seen/1"

_MOST = 8
"""Most places that are remembered of one dataset."""


def unhashed(lines: Iterable[bytes]) -> str:
    """The key of data whose content was not hashed: the digest of its names and sizes, see ``Listing.lines``."""
    sha256 = hashlib.sha256()
    for line in lines:
        sha256.update(line)
    return f"sha256:{sha256.hexdigest()}"


def unhashed_file(name: str, size: int) -> str:
    """The same for a file alone, of which nothing more is known than its last component and its size in bytes."""
    return unhashed(Listing(rows=[listed_row(os.fsencode(name), State(size, 0, 0, 0, 0))]).lines())


def remember(root: Path, key: str, path: Path, size: int, files: int) -> None:
    """Note where data was seen, on this machine's side of a registry; a disk that refuses is let have its way.

    Args:
        root: the registry root.
        key: the data's digest, or what ``unhashed`` gives.
        path: the file or folder, absolute.
        size: the bytes of all its files.
        files: how many there are.
    """
    paths = [path, *(known for known in recall(root, key) if known != path)]
    document = {
        "schema": SCHEMA,
        "key": key,
        "files": files,
        "bytes": size,
        "paths": [os.fspath(each) for each in paths[:_MOST]],
    }
    place = _place(root, key)
    with contextlib.suppress(OSError):
        place.parent.mkdir(exist_ok=True)
        disk.replace(place, documents.dump_json(document), by=root / registry.HOME)


def recall(root: Path, key: str) -> list[Path]:
    """Where this machine saw data, the last place first; nothing is said of what is there now.

    Args:
        root: the registry root.
        key: see ``remember``.
    """
    paths = _read(root, key).get("paths")
    return [Path(each) for each in paths if isinstance(each, str)] if isinstance(paths, list) else []


def size(root: Path, key: str) -> int | None:
    """How many bytes data of this digest has, as this machine saw it; None where it never did.

    Args:
        root: the registry root.
        key: see ``remember``.
    """
    found = _read(root, key).get("bytes")
    return found if isinstance(found, int) else None


def _read(root: Path, key: str) -> Mapping[str, Any]:
    try:
        found = documents.load_json(disk.read_regular(_place(root, key)))
    except FormatError:
        return {}
    return found if isinstance(found, dict) else {}


def _place(root: Path, key: str) -> Path:
    return root / registry.HOME / "seen" / f"{key.removeprefix('sha256:')}.json"
