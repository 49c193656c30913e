"""A ready manifest in place of hashing: what somebody's ``sha256sum`` said of a dataset, held against what is there."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ckptkit import disk, hashing, manifest
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.manifest import Listing, Manifest, hashed_row

LIMIT = 1 << 30
"""Most bytes that a manifest may have: room for ten million files."""

_EMPTY = hashlib.sha256().hexdigest()
_NOTHING = "gives the digest of nothing to what is not empty, or the other way round"
_SHOWN = 3  # names in a message


def load(file: str | os.PathLike[str]) -> dict[str, str]:
    """The digests in a manifest by path.

    Raises:
        CkptkitError: it cannot be read, or is no list of SHA-256 digests.
    """
    path = disk.expand(file)
    try:
        return manifest.read_loose(disk.read_regular(path, LIMIT))
    except FormatError as error:
        place = f":{error.line}" if error.line else ""
        hint = error.hint or "write it with `ckptkit data digest --manifest`, or sha256sum"
        raise CkptkitError(f"the manifest {path}{place} {error.message}", hint) from error


def take(file: str | os.PathLike[str], path: Path, seen: Listing) -> Manifest:
    """The manifest of a dataset as a file declares it, once names and sizes fit what is there.

    A manifest that lies in the dataset itself is hashed, as it cannot list itself.

    Args:
        file: the manifest; of a dataset that is one file, its last component counts.
        path: the dataset.
        seen: its files now; see ``watch.note``.

    Raises:
        CkptkitError: it cannot be read, or lists other files than are there.
    """
    said = load(file)
    if not path.is_dir():
        return _of_file(file, said, path, seen)
    own = os.path.relpath(disk.real(disk.expand(file)), disk.real(path))
    there = dict(seen)
    if own in there and own not in said:
        said[own] = hashing.file_sha256(path / own)
    _refuse(file, "lists what is not there", said.keys() - there.keys())
    _refuse(file, "does not list", there.keys() - said.keys())
    _refuse(file, _NOTHING, (name for name, state in seen if (said[name] == _EMPTY) != (not state.size)))
    rows = [hashed_row(os.fsencode(name), bytes.fromhex(said[name]), state.size) for name, state in seen]
    return Manifest(rows=rows)


def _of_file(file: str | os.PathLike[str], said: Mapping[str, str], path: Path, seen: Listing) -> Manifest:
    digests = {digest for name, digest in said.items() if name.rpartition("/")[2] == path.name}
    _refuse(file, "does not list", [] if digests else [path.name])
    _refuse(file, "gives several digests to", [path.name] if len(digests) > 1 else [])
    digest = digests.pop()
    _refuse(file, _NOTHING, [path.name] if (digest == _EMPTY) != (not seen.bytes) else [])
    return Manifest(rows=[hashed_row(b"", bytes.fromhex(digest), seen.bytes)])


def verify(declared: Manifest, path: Path, *, progress: hashing.Progress | None) -> None:
    """Hold the bytes against what was declared; no cache is trusted.

    Raises:
        CkptkitError: some differ, or cannot be read.
    """
    if path.is_dir():
        found = hashing.tree(path, progress=progress)
    else:
        sha256 = hashing.file_sha256(path, progress=progress)
        found = Manifest(rows=[hashed_row(b"", bytes.fromhex(sha256), path.stat().st_size)])
    if found.rows != declared.rows:
        others = [entry.path or path.name for entry in Manifest(rows=sorted(set(found.rows) - set(declared.rows)))]
        _refuse(path, "is not what its manifest says", others or ["the files that are gone"])


def _refuse(file: str | os.PathLike[str], words: str, names: Iterable[str]) -> None:
    listed = sorted(names)
    if listed:
        more = f" and {len(listed) - _SHOWN:,} more" if len(listed) > _SHOWN else ""
        raise CkptkitError(
            f"{os.fspath(file)} {words}: {', '.join(listed[:_SHOWN])}{more}",
            "its paths count from the folder itself: write it with `ckptkit data digest PATH --manifest`",
        )
