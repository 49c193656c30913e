"""The files of a version's dataset as the version, or a later event, lists them; the data need not be at hand."""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ckptkit import checkpoint, disk, hashing, manifest, scanning
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.manifest import Listing
from ckptkit.record import Dataset, Event


class File(NamedTuple):
    """A file of a dataset: its path below it, SHA-256 in hex and size in bytes, None where that is not known."""

    path: bytes
    sha256: str | None
    bytes: int | None


def known(dataset: Dataset, later: Event | None) -> Dataset:
    """A dataset as recorded, with the digest that a later event gave it.

    Args:
        dataset: the dataset in the record of its version.
        later: the ``digested`` event of it, if there is one.
    """
    found = (each for each in (later.data if later else ()) if each.name == dataset.name)
    return dataset if dataset.digest else next(found, dataset)


def files(version: Path, dataset: Dataset, later: Event | None) -> Iterator[File] | None:
    """The files of a dataset, sorted by the bytes of their paths; None where they are not listed.

    Args:
        version: the version folder.
        dataset: the dataset in its record.
        later: the ``digested`` event of it, if there is one.

    Raises:
        CkptkitError: on the way, a list is not as it was sealed.
    """
    if dataset.kind == "file":
        digest, name = known(dataset, later).digest, (dataset.path or "").rpartition("/")[2]
        return iter([File(os.fsencode(name), digest.removeprefix("sha256:") if digest else None, dataset.bytes)])
    if later is not None and later.files:
        return iter(sorted(File(os.fsencode(file.path), file.sha256, file.bytes) for file in later.files))
    path = dataset.manifest or dataset.sizes
    return _listed(version, path) if path else None


def _listed(version: Path, path: str) -> Iterator[File]:
    """What a list in a version says; a million lines are not held at once."""
    where, last = version / checkpoint.SUMS, b""
    try:
        sealed = manifest.load(disk.read_regular(where)).get(path)
        where = version / path
        for text in _parts(where, sealed):
            for file in _sizes(text) if path.endswith(".sizes") else _digests(text):
                _require_after(file.path, last)
                yield file
                last = file.path
    except FormatError as error:
        raise CkptkitError(f"{where} {error.message}", f"see `ckptkit check {version}`") from error


def _require_after(path: bytes, last: bytes) -> None:
    if path <= last:
        raise FormatError("is not sorted")


_BLOCK = 1 << 20
_LONGEST = 1 << 16  # bytes of a line: no system knows paths of more than 4,096


def _parts(path: Path, sealed: str | None) -> Iterator[bytes]:
    """A file in blocks of whole lines.

    Raises:
        FormatError: it cannot be read, or, at its end, is not the one that was sealed.
    """
    sha256, rest = hashlib.sha256(), b""
    try:
        with os.fdopen(disk.open_regular(path), "rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                sha256.update(block)
                whole, _, rest = (rest + block).rpartition(b"\n")
                if len(rest) > _LONGEST:
                    break
                yield whole + b"\n"
    except OSError as error:
        raise FormatError(f"cannot be read: {disk.reason(error)}") from error
    if rest or sha256.hexdigest() != sealed:
        raise FormatError("is not as it was sealed")


def _digests(text: bytes) -> Iterator[File]:
    for path, sha256 in manifest.load(text).items():
        yield File(os.fsencode(path), sha256, None)


_SIZE = re.compile(rb"^(\\?)([0-9]{1,20})(?=  )", re.MULTILINE)


def _sizes(text: bytes) -> Iterator[File]:
    """Sizes stand where a manifest has digests; with as many digits they are read as such."""
    padded = _SIZE.sub(lambda found: found[1] + found[2].zfill(64), text)
    for path, digits in manifest.load(padded).items():
        yield File(os.fsencode(path), None, int(digits))


def pairs(before: Iterator[File], after: Iterator[File]) -> Iterator[tuple[File | None, File | None]]:
    """The files of two lists, those of one path together; both have to be sorted by the bytes of the paths."""
    one, two = next(before, None), next(after, None)
    while one is not None or two is not None:
        if two is None or (one is not None and one.path < two.path):
            yield one, None
            one = next(before, None)
        elif one is None or two.path < one.path:
            yield None, two
            two = next(after, None)
        else:
            yield one, two
            one, two = next(before, None), next(after, None)


def listing(place: Path) -> Listing:
    """The names and states of a folder's files, or of a single file.

    Raises:
        CkptkitError: it cannot be read, or is something that no dataset may hold.
    """
    if os.path.isdir(place):  # noqa: PTH112 - Path.is_dir raises on a name that is too long
        return hashing.scan(place)
    try:
        return Listing(rows=[manifest.listed_row(os.fsencode(place.name), scanning.state_of(place.stat()))])
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise CkptkitError(f"{place} cannot be read: {disk.reason(error)}", "check the path") from error


def require(version: Path, dataset: Dataset, place: Path) -> Listing:
    """Refuse data whose names and sizes are not those that were recorded.

    Args:
        version: the version folder.
        dataset: a dataset that was a file or folder, in its record.
        place: where the data is now.

    Returns:
        What is there.

    Raises:
        CkptkitError: it is something else, cannot be read, or nobody can tell.
    """
    before, found = files(version, dataset, None), listing(place)
    if before is None or dataset.bytes is None:
        words = f"the names and sizes of the dataset {dataset.name} were not recorded: any data could be it"
        raise CkptkitError(words, "save another version")
    if os.path.isdir(place) != (dataset.kind == "directory"):  # noqa: PTH112 - see listing
        raise CkptkitError(f"{place} is not the dataset {dataset.name}, a {dataset.kind}", "name another PATH")
    here = (File(os.fsencode(path), None, state.size) for path, state in found)
    both = zip(before, here, strict=True) if dataset.kind == "file" else pairs(before, here)
    if differences := list(_differences(both)):
        raise CkptkitError(f"{place} is not the dataset {dataset.name}: {some(differences)}", "name another PATH")
    return found


def _differences(both: Iterable[tuple[File | None, File | None]]) -> Iterator[str]:
    for before, here in both:
        if before is None or here is None:
            (file,) = filter(None, (before, here))
            yield f"{os.fsdecode(file.path)} {'is missing' if here is None else 'was not there'}"
        elif before.bytes != here.bytes:
            yield f"{os.fsdecode(here.path)} has {here.bytes:,} bytes and had {before.bytes:,}"


_NAMED = 5
"""Most files that are named in a message."""


def some(names: Sequence[str]) -> str:
    """The first of the names in words."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
