"""What lies at a path: the digest of a file or folder, as a version would record it."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptkit import disk, hashing
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.hash_cache import Cache
from ckptkit.manifest import Manifest, dump

if TYPE_CHECKING:
    from concurrent.futures import Executor

_HINT = "check the path; for a dataset of a version give REF and NAME"


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """What lies at a path: its digest, how many files, their size in bytes; ``manifest`` is None for a single file."""

    path: Path
    digest: str
    files: int
    size: int
    manifest: Manifest | None

    def lines(self) -> Iterator[bytes]:
        """What ``sha256sum`` prints for its files, in the folder, or beside the file."""
        if self.manifest is not None:
            return self.manifest.lines()
        return iter([dump([(self.path.name, self.digest.removeprefix("sha256:"))])])

    def document(self, *, manifest: bool) -> dict[str, Any]:
        """The digest as JSON types, with all files of a folder if ``manifest``."""
        files = [{"path": each.path, "bytes": each.bytes, "sha256": each.sha256} for each in self.manifest or ()]
        return {
            "schema": "ckptkit/digest/1",
            "path": os.fspath(self.path),
            "kind": "file" if self.manifest is None else "directory",
            "digest": self.digest,
            "files": self.files,
            "bytes": self.size,
        } | ({"manifest": files} if manifest else {})


def named(path: str | os.PathLike[str]) -> Path:
    """The place of data as people name it.

    Raises:
        CkptkitError: the path is empty, which would be the working directory.
    """
    if not os.fspath(path):
        raise CkptkitError("an empty path names nothing", "name a file or folder, such as data/train.csv")
    return disk.expand(path)


def digest(
    path: str | os.PathLike[str],
    *,
    cached: bool = True,
    executor: "Executor | None" = None,
    progress: hashing.Progress | None = None,
    expect: Callable[[int], None] | None = None,
) -> Digest:
    """The digest of a file or folder.

    Args:
        path: the file or folder.
        cached: whether the digests of unchanged files are taken from the cache.
        executor: hashes the files of a folder in place of this process; see ``hashing.tree``.
        progress: called with the number of bytes hashed since the last call.
        expect: called with the number of bytes that will be hashed; a folder is listed once more for that.

    Raises:
        CkptkitError: there is nothing, no file, or something that no dataset may hold; or it cannot be read.
    """
    place = named(path)
    with Cache.open(cached) as cache:
        return hashed(place, cache=cache, executor=executor, progress=progress, expect=expect)


def hashed(
    place: Path,
    *,
    cache: Cache | None = None,
    executor: "Executor | None" = None,
    progress: hashing.Progress | None = None,
    expect: Callable[[int], None] | None = None,
) -> Digest:
    """The same of a place that is known, by way of a cache that is open, or of none."""
    if os.path.isdir(place):  # noqa: PTH112 - Path.is_dir raises on a name that is too long
        if expect:
            expect(hashing.scan(place).bytes)
        found = hashing.tree(place, cache=cache, progress=progress, executor=executor)
        return Digest(path=place, digest=found.digest, files=len(found), size=found.bytes, manifest=found)
    try:
        if expect and os.path.isfile(place):  # noqa: PTH113
            expect(place.stat().st_size)
        sha256 = hashing.file_sha256(place, cache=cache, progress=progress)
    except FormatError as error:
        raise CkptkitError(f"{place} {error.message}", error.hint or _HINT) from error
    return Digest(path=place, digest=f"sha256:{sha256}", files=1, size=place.stat().st_size, manifest=None)
