"""Which data: paths, URLs and objects in memory, each with its digest where it has one.

Files and folders have the digests that ``sha256sum`` gives; those of objects are described in ``memory``.
"""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ckptkit import disk, hashing, redact
from ckptkit.capture import memory
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.hash_cache import Cache
from ckptkit.record import ANOTHER_PROCESS, IN_THE_RUN, NO_START, Dataset, Observed

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_NOT_NOTED = "the state of the data when the run began was not noted"
_METADATA = "its metadata changed while it ran; whether its content did is not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A dataset as the record has it, and the manifest of its files where it is a folder."""

    dataset: Dataset
    manifest: bytes | None


def observe(
    name: str,
    value: object,
    *,
    project: Path,
    observed: Observed,
    started: float | None,
    cache: Cache | None = None,
    progress: hashing.Progress | None = None,
    unknown: dict[str, str],
) -> Observation:
    """Record one dataset.

    Args:
        name: what it is called, such as ``train``.
        value: a path to a file or folder, a URL, or an object in memory.
        project: the folder that paths are recorded relative to.
        observed: how the data was observed.
        started: when the process that trained began, in seconds since the epoch; None when that is not known.
        cache: digests of unchanged files.
        progress: called with the number of bytes hashed since the last call.
        unknown: takes the reason for each fact that could not be had.

    Raises:
        CkptkitError: a path that is not there, cannot be read, holds no file, or changes while it is hashed.
    """
    blank = _blank(name, observed)
    why = _NOT_NOTED if observed == IN_THE_RUN else ANOTHER_PROCESS
    if isinstance(value, str) and _URL.match(value):
        unknown[f"data.{name}.digest"] = "is remote: its content was not read"
        found = Observation(dataset=replace(blank, source={"url": redact.text(value)}), manifest=None)
        why = _NOT_NOTED
    elif isinstance(value, str | os.PathLike):
        if not os.fspath(value):
            raise CkptkitError(f"the dataset {name} has an empty path", "name a file or folder, such as data/train.csv")
        path = Path(os.path.abspath(disk.expand(os.fsdecode(value))))  # noqa: PTH100 - a link stays as named
        found, files = _on_disk(blank, path, project, cache, progress)
        if observed == IN_THE_RUN:
            changed, why = _changed(files, started)
            found = replace(found, dataset=replace(found.dataset, changed_during_run=changed))
    else:
        found = Observation(dataset=_in_memory(blank, value, unknown), manifest=None)
    if found.dataset.changed_during_run is None:
        unknown[f"data.{name}.changed_during_run"] = why
    return found


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


def _on_disk(
    blank: Dataset, path: Path, project: Path, cache: Cache | None, progress: hashing.Progress | None
) -> tuple[Observation, Mapping[str, Path]]:
    """The dataset, and its files by the name that the record has for them."""
    recorded, outside = redact.path(path, project)
    blank = replace(blank, path=recorded, outside=outside)
    if not _is_folder(blank.name, path):
        digest, size = _file(blank.name, path, cache, progress)
        dataset = replace(blank, kind="file", digest=digest, files=1, bytes=size)
        return Observation(dataset=dataset, manifest=None), {recorded: path}
    found = hashing.tree(path, cache=cache, progress=progress)
    dataset = replace(
        blank,
        kind="directory",
        digest=found.digest,
        files=len(found.entries),
        bytes=found.bytes,
        manifest=f"data/{blank.name}.sha256",
    )
    return Observation(dataset=dataset, manifest=found.text), {entry.path: path / entry.path for entry in found.entries}


def _file(name: str, path: Path, cache: Cache | None, progress: hashing.Progress | None) -> tuple[str, int]:
    try:
        sha256 = hashing.file_sha256(path, cache=cache, progress=progress)
    except FormatError as error:
        raise CkptkitError(f"the dataset {name}, {path}, {error.message}", error.hint) from error
    return f"sha256:{sha256}", path.stat().st_size


def _is_folder(name: str, path: Path) -> bool:
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


def _changed(files: Mapping[str, Path], started: float | None) -> tuple[tuple[str, ...] | None, str]:
    """Names of the files that were written after the run began; where there are none, None and why that is no proof.

    Only the time of modification tells of content: a mode, a hard link or a new name sets the time of change too.
    """
    if started is None:
        return None, NO_START
    written, touched = [], False
    for name, path in files.items():
        try:
            status = path.stat()
        except OSError:  # it vanished after it was hashed
            written.append(name)
            continue
        if status.st_mtime > started:
            written.append(name)
        touched = touched or status.st_ctime > started
    return tuple(written) or None, _METADATA if touched else _NOT_NOTED


def _in_memory(blank: Dataset, value: object, unknown: dict[str, str]) -> Dataset:
    digest: str | None = None
    size: int | None = None
    try:
        digest, size = memory.digest(value)
    except memory.UnsupportedError as error:
        unknown[f"data.{blank.name}.digest"] = str(error)
    except RecursionError:
        unknown[f"data.{blank.name}.digest"] = "holds itself, or is nested too deeply"
    except Exception as error:  # noqa: BLE001 - a library's, about an object at the end of a training
        unknown[f"data.{blank.name}.digest"] = f"could not be encoded: {disk.reason(error)}"
    return replace(blank, kind="memory", digest=digest, bytes=size, source=_description(value))


def _description(value: object) -> dict[str, Any]:
    out: dict[str, Any] = {"type": memory.type_name(value)}
    try:
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
        if isinstance(shape, tuple):
            out["shape"] = [int(each) for each in shape]
        elif isinstance(value, list | tuple | dict | str | bytes | bytearray):
            out["length"] = len(value)
        if dtype is not None and isinstance(shape, tuple):
            out["dtype"] = str(dtype)
    except Exception:  # noqa: BLE001 - a description is a courtesy
        return {"type": out["type"]}
    return out
