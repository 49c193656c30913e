"""The verb ``path``: where a version or one file of it lies, after its bytes were verified."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ckptkit import checkpoint, disk, hash_cache, hashing, manifest, references, roots
from ckptkit.errors import CkptkitError, FormatError, NotFoundError
from ckptkit.registry import Version


class DamagedError(CkptkitError):
    """Raised when the bytes of a version are not those that were saved; the answer is "no"."""

    exit_code = 1


def path(
    ref: str,
    file: str | None = None,
    *,
    root: str | os.PathLike[str] | None = None,
    at: str | None = None,
    verify: bool = True,
    progress: hashing.Progress | None = None,
    expect: hashing.Progress | None = None,
) -> Path:
    """The absolute path of a version's folder, or of a file or folder in it, verified.

    SHA256SUMS has to be the one that the ``saved`` event sealed (without a readable event, the one that the index
    knows), and what is asked for has to be what SHA256SUMS lists, from the first byte to the last. The model card may
    be edited and is the one file that is not verified.

    Args:
        ref: a reference such as ``penguins@champion``.
        file: a path in the version; None for the whole version, which then may hold no file beyond those listed.
        root: the registry root; see ``roots.default_root``.
        at: the reference is read as of this time.
        verify: whether to look at the bytes at all.
        progress: called with the number of bytes hashed since the last call.
        expect: called with the number of bytes that will be hashed.

    Raises:
        CkptkitError: it is no reference, or ``file`` no path in a version.
        NotFoundError: it names nothing, there is no such registry, or a file is missing.
        DamagedError: a file is not as it was saved, or is none of those that were.
    """
    then = None if at is None else roots.moment(at)
    found = references.find(ref, root=roots.default_root(root, Path.cwd()), cwd=Path.cwd(), at=then)
    version = found.version
    name = _inside(file) if file is not None else None
    place = version.path / name if name else version.path
    if not verify or name == checkpoint.CARD:
        if not os.path.exists(place):  # noqa: PTH110 - Path.exists raises where a folder may not be searched
            raise NotFoundError(f"{version.ref} has no {name}", f"see `ls {version.path}`")
        return place
    sums = _sums(version, (found.saved and found.saved.digest) or version.digest)
    if name != checkpoint.SUMS:
        wanted = _wanted(found, name, sums)
        if expect is not None:
            expect(sum((version.path / path).lstat().st_size for path in wanted))
        _verify(version, name, wanted, progress)
    return place


def _inside(file: str) -> str:
    name = PurePosixPath(file)
    if name.is_absolute() or ".." in name.parts or not name.parts or "\0" in file:
        raise CkptkitError(f"{file!r} is no path in a version", "name a file such as model.safetensors")
    return name.as_posix()


def _wanted(asked: references.Found, name: str | None, sums: Mapping[str, str]) -> dict[str, str]:
    """Of what SHA256SUMS lists, what is asked for: a file, those below a folder, or all; each of them is there."""
    version = asked.version
    wanted = {path: sha256 for path, sha256 in sums.items() if name is None or f"{path}/".startswith(f"{name}/")}
    if not wanted:
        listed = ", ".join(path for path in sums if not checkpoint.is_record(path))
        raise NotFoundError(f"{version.ref} lists no {name} in {checkpoint.SUMS}", f"it lists {listed}")
    for path in wanted:
        if not os.path.lexists(version.path / path):
            if path in asked.pruned:
                raise NotFoundError(f"{path} of {version.ref} was pruned", "its record and its digest are still here")
            raise NotFoundError(f"{version.ref} lacks {path}, which was saved", "fetch it from another copy")
    return wanted


def _verify(version: Version, name: str | None, wanted: Mapping[str, str], progress: hashing.Progress | None) -> None:
    """Refuse a version or a part of it that is not, to the byte, what SHA256SUMS lists."""
    hint = f"see `ckptkit check --deep {version.path}`"
    try:
        found = _hash(version.path, name, single=name in wanted, progress=progress)
    except CkptkitError as error:
        raise DamagedError(f"{version.ref}: {error.message}", hint) from error
    for path in sorted({*found, *wanted} - {checkpoint.CARD, checkpoint.SUMS}):
        if found.get(path) != wanted.get(path):
            words = "is not as it was saved" if path in wanted else "is not one of the saved files"
            raise DamagedError(f"{path} in {version.ref} {words}", hint)


def _sums(version: Version, sealed: str) -> dict[str, str]:
    try:
        data = disk.read_regular(version.path / checkpoint.SUMS)
        sums = manifest.load(data)
    except FormatError as error:
        raise DamagedError(
            f"{checkpoint.SUMS} in {version.ref}: {error.message}", "fetch it from another copy"
        ) from None
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != sealed:
        raise DamagedError(
            f"{checkpoint.SUMS} in {version.ref} is not the one that was sealed at save", "fetch it from another copy"
        )
    return sums


def _hash(folder: Path, name: str | None, *, single: bool, progress: hashing.Progress | None) -> dict[str, str]:
    """SHA-256 in hex of one file, or of every file below a folder, by path in the version."""
    with hash_cache.Cache.open() as cache:
        if name is not None and single:
            try:
                return {name: hashing.file_sha256(folder / name, cache=cache, progress=progress)}
            except FormatError as error:
                raise CkptkitError(f"{name} {error.message}") from error
        prefix = f"{name}/" if name else ""
        tree = hashing.tree(folder / prefix, cache=cache, progress=progress)
        return {prefix + entry.path: entry.sha256 for entry in tree}
