"""Which data, and how it was made: here one dataset, a path, a URL or an object in memory, with its digest.

Files and folders have the digests that ``sha256sum`` gives; those of objects are described in ``memory``.
"""

import os
import re
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ckptkit import disk, hashing, redact, scanning
from ckptkit.capture import attempt
from ckptkit.data import huggingface, memory, pointers, ready, watch
from ckptkit.data.pointers import Pointer
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.hash_cache import Cache
from ckptkit.hashing import OutOfTimeError
from ckptkit.manifest import Hashed, Listing, Manifest, listed_row
from ckptkit.record import DECLARED, Dataset, Observed

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A dataset as the record has it, without its steps and what changed.

    ``path`` is where it lies, ``content`` the files of a folder, or names and sizes alone of what was not hashed,
    ``pointer`` what the systems say that track it.
    """

    dataset: Dataset
    path: Path | None = None
    content: Manifest | Listing | None = None
    pointer: Pointer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How data is looked at.

    Attributes:
        project: the folder that paths are recorded relative to.
        observed: how the data was observed.
        unknown: takes the reason for each fact that could not be had.
        cache: digests of unchanged files.
        progress: called with the number of bytes hashed since the last call; see ``hashing.until``.
        ready: a manifest that stands in for hashing, and fits what is there.
        deep: hold the bytes against it.
    """

    project: Path
    observed: Observed
    unknown: dict[str, str]
    cache: Cache | None = None
    progress: hashing.Progress | None = None
    ready: Manifest | None = None
    deep: bool = False


def place(value: object) -> Path | None:
    """Where declared data lies, absolute; None where it is an object or a URL."""
    if not isinstance(value, str | os.PathLike) or (isinstance(value, str) and _URL.match(value)):
        return None
    return Path(os.path.abspath(disk.expand(os.fsdecode(value))))  # noqa: PTH100 - a link stays as named


def observe(name: str, value: object, look: Look) -> Observation:
    """Record one dataset.

    Args:
        name: what it is called, such as ``train``.
        value: a path to a file or folder, a URL, or an object in memory.
        look: how it is looked at.

    Raises:
        CkptkitError: a path that is not there, cannot be read, holds no file, or changes while it is hashed; or its
            bytes are not those of its ready manifest.
    """
    blank = _blank(name, look.observed)
    path = place(value)
    if path is None and isinstance(value, str):
        look.unknown[f"data.{name}.digest"] = "is remote: its content was not read"
        return Observation(dataset=replace(blank, source={"url": redact.text(value)}))
    if path is None:
        return Observation(dataset=_in_memory(blank, value, look.unknown))
    recorded, outside = redact.path(path, look.project)
    return _on_disk(replace(blank, path=recorded, outside=outside), path, look)


def _blank(name: str, observed: Observed) -> Dataset:
    return Dataset(
        name=name,
        path=None,
        outside=False,
        kind="remote",
        digest=None,
        files=None,
        bytes=None,
        manifest=None,
        source=None,
        steps=(),
        observed=observed,
        changed_during_run=None,
    )


def _on_disk(blank: Dataset, path: Path, look: Look) -> Observation:
    pointer = pointers.find(path, look.project)
    if pointer is not None and pointer.absent:
        return _absent(blank, path, pointer, look)
    folder = is_folder(blank.name, path)
    try:
        found = _hashed(blank, path, look, folder=folder)
    except OutOfTimeError as error:
        known = _known(blank, path, look.cache, folder=folder)
        if known is None:
            return _unhashed(blank, path, pointer, look, error.message, folder=folder)
        found = known
    if pointer is not None:
        whole = found.content if isinstance(found.content, Manifest) else _one(path, found.dataset)
        pointer = pointers.agree(pointer, path, whole, look.cache, look.progress)
        found = replace(found, pointer=pointer, dataset=replace(found.dataset, source=pointer.source))
    return found


def _one(path: Path, dataset: Dataset) -> Hashed:
    return Hashed(path=path.name, sha256=(dataset.digest or "").removeprefix("sha256:"), bytes=dataset.bytes or 0)


def _absent(blank: Dataset, path: Path, pointer: Pointer, look: Look) -> Observation:
    if not pointer.digest:
        look.unknown[f"data.{blank.name}.digest"] = pointer.absent or ""
    kind: Any = "directory" if path.is_dir() or (pointer.files or 1) > 1 else "file"
    dataset = replace(
        blank,
        kind=kind,
        digest=pointer.digest,
        files=pointer.files,
        bytes=pointer.bytes,
        source=pointer.source,
        observed=DECLARED,
    )
    return Observation(dataset=dataset, path=path, pointer=pointer)


def _hashed(blank: Dataset, path: Path, look: Look, *, folder: bool) -> Observation:
    content = look.ready
    if content is not None and look.deep:
        ready.verify(content, path, progress=look.progress)
    elif content is not None:
        blank = replace(blank, observed=DECLARED)
    elif folder:
        content = hashing.tree(path, cache=look.cache, progress=look.progress)
    else:
        return _one_file(blank, path, *_file(blank.name, path, look.cache, look.progress))
    if folder:
        return _tree(blank, path, content)
    return _one_file(blank, path, next(iter(content)).sha256, content.bytes)


def _one_file(blank: Dataset, path: Path, sha256: str, size: int) -> Observation:
    dataset = replace(blank, kind="file", digest=f"sha256:{sha256}", files=1, bytes=size)
    return Observation(dataset=dataset, path=path)


def _tree(blank: Dataset, path: Path, content: Manifest) -> Observation:
    dataset = replace(
        blank,
        kind="directory",
        digest=content.digest,
        files=len(content),
        bytes=content.bytes,
        manifest=f"data/{blank.name}.sha256",
    )
    return Observation(dataset=dataset, path=path, content=content)


def _known(blank: Dataset, path: Path, cache: Cache | None, *, folder: bool) -> Observation | None:
    """What the cache knows whole, so that it takes no time; None where a byte would have to be read."""
    if not folder:
        state = scanning.state(os.fsencode(path))
        sha256 = watch.recall(path, state, cache)
        return None if sha256 is None else _one_file(blank, path, sha256, state.size)
    executor: Any = SimpleNamespace(submit=_refuse)
    try:
        return _tree(blank, path, hashing.tree(path, cache=cache, executor=executor))
    except OutOfTimeError:
        return None


def _refuse(*_: object) -> None:
    raise OutOfTimeError("")


def _unhashed(
    blank: Dataset, path: Path, pointer: Pointer | None, look: Look, why: str, *, folder: bool
) -> Observation:
    """Names and sizes alone."""
    look.unknown[f"data.{blank.name}.digest"] = why
    listing = watch.note(path)
    dataset = replace(
        blank,
        kind="directory" if folder else "file",
        files=len(listing),
        bytes=listing.bytes,
        sizes=f"data/{blank.name}.sizes" if folder else None,
        source=pointer.source if pointer else None,
    )
    if not folder:
        listing = Listing(rows=[listed_row(os.fsencode(path.name), state) for _, state in listing])
    return Observation(dataset=dataset, path=path, content=listing, pointer=pointer)


def _file(name: str, path: Path, cache: Cache | None, progress: hashing.Progress | None) -> tuple[str, int]:
    try:
        sha256 = hashing.file_sha256(path, cache=cache, progress=progress)
    except FormatError as error:
        raise CkptkitError(f"the dataset {name}, {path}, {error.message}", error.hint) from error
    return sha256, path.stat().st_size


def is_folder(name: str, path: Path) -> bool:
    """Whether a dataset is a folder rather than a file.

    Raises:
        CkptkitError: it is neither, is not there, or cannot be looked at.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        if path.is_symlink():
            raise CkptkitError(f"the dataset {name}, {path}, is a broken link", "mend where it points") from error
        words = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read: {disk.reason(error)}"
        raise CkptkitError(f"the dataset {name}, {path}, {words}", "check the path") from error
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise CkptkitError(f"the dataset {name}, {path}, is a FIFO, socket or device", "save what it yields to a file")
    return stat.S_ISDIR(mode)


def _in_memory(blank: Dataset, value: object, unknown: dict[str, str]) -> Dataset:
    digest: str | None = None
    size: int | None = None
    try:
        digest, size = memory.digest(value)
    except memory.UnsupportedError as error:
        unknown[f"data.{blank.name}.digest"] = str(error)
    source = _description(value) | huggingface.describe(value)
    return replace(blank, kind="memory", digest=digest, bytes=size, source=source)


def _description(value: object) -> dict[str, Any]:
    return {"type": memory.type_name(value), **attempt({}, "source", lambda: _form(value), {})}


def _form(value: object) -> dict[str, Any]:
    """Shape and type of the elements, or the length."""
    out: dict[str, Any] = {}
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple):
        out["shape"] = [int(each) for each in shape]
    elif isinstance(value, list | tuple | dict | str | bytes | bytearray):
        out["length"] = len(value)
    if dtype is not None and isinstance(shape, tuple):
        out["dtype"] = str(dtype)
    return out
