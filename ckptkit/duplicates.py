"""Duplicates: bytes that an earlier version holds already are found in the index, and share its room on the disk."""

import contextlib
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from ckptkit import checkpoint, disk, hashing, staging
from ckptkit.errors import FormatError

SMALL = 4096
"""Files of fewer bytes are not shared: a disk gives a block to each name or less."""

_TRIES = 4
"""Where a file cannot be shared with so many others, the disk is what refuses."""


def twin(index: Mapping[str, Any], model: str, digests: Collection[str]) -> str | None:
    """The reference of the first version that holds the same bytes, whatever its files are called.

    Args:
        index: see ``index.load``.
        model: whose versions are looked at first.
        digests: SHA-256 in hex of each saved file.
    """
    wanted = sorted(digests)
    fewest = min(_holders(index, digests).values(), key=len, default=[])
    for name, version in sorted(fewest, key=lambda holder: holder[0] != model):
        files = index["models"][name]["versions"][version].get("files", {})
        if sorted(sha256 for path, sha256 in files.items() if not checkpoint.is_record(path)) == wanted:
            return f"{name}/{version}"
    return None


def share(
    stage: staging.Stage,
    root: Path,
    index: Mapping[str, Any],
    model: str,
    *,
    progress: hashing.Progress | None = None,
) -> None:
    """Let staged files take no room of their own where an earlier version holds the same bytes.

    Each then is a clone of the earlier one or, where the disk clones nothing, a hard link to it: sealed files never
    change. The earlier one is read through once more before. Whatever stands in the way, the staged copy stays; so do
    files of fewer than ``SMALL`` bytes.

    Args:
        stage: saved files and the manifests of datasets, staged.
        root: the registry root.
        index: see ``index.load``.
        model: whose versions are looked at first.
        progress: called with the number of bytes hashed since the last call.
    """
    large = [path for path in stage.sums if _is_listed(path) and (stage.folder / path).lstat().st_size >= SMALL]
    holders = _holders(index, [stage.sums[path] for path in large])
    for path in large:
        newest_first = reversed(holders[stage.sums[path]])  # the newest is the last to be pruned
        ordered = sorted(newest_first, key=lambda holder: holder[0] != model)
        others = _files(root, index, ordered, stage.sums[path])
        any(_replace(stage, path, other, progress) for other in islice(others, _TRIES))


def _is_listed(path: str) -> bool:
    """Whether the index lists the digests of such files."""
    return not checkpoint.is_record(path) or path.startswith(f"{checkpoint.DATA}/")


def _holders(index: Mapping[str, Any], digests: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    """Model and version of the lines that hold each of some digests."""
    found: dict[str, list[tuple[str, str]]] = {sha256: [] for sha256 in digests}
    if found:
        sought = re.compile(f'": "({"|".join(found)})"'.encode())  # many times faster than parsing each line
        for name, part in index["models"].items():
            for version, line in part["versions"].lines():
                for sha256 in {*sought.findall(line)}:
                    found[sha256.decode()].append((name, version))
    return found


def _files(root: Path, index: Mapping[str, Any], holders: Iterable[tuple[str, str]], sha256: str) -> Iterator[Path]:
    """Where files with a digest are, in versions whose lines hold it."""
    for name, version in holders:
        row = index["models"][name]["versions"][version]
        for path, known in row.get("files", {}).items():
            if known == sha256 and path not in row.get("pruned", ()):
                yield root / name / version / path


def _replace(stage: staging.Stage, path: str, other: Path, progress: hashing.Progress | None) -> bool:
    draft = stage.home / "shared"
    try:
        if not _clone(other, draft):
            os.link(other, draft, follow_symlinks=False)
            _require_sealed(draft.lstat(), like=(stage.folder / path).lstat())
        return stage.exchange(path, draft, progress=progress)
    except (OSError, FormatError):  # EXDEV, EPERM, EMLINK, ENOENT …
        return False
    finally:
        with contextlib.suppress(OSError):  # a draft that stays goes with the stage
            draft.unlink()


def _clone(source: Path, target: Path) -> bool:
    reader = disk.open_regular(source)
    try:
        writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            done = disk.clone(reader, writer)
        finally:
            os.close(writer)
    finally:
        os.close(reader)
    if not done:
        target.unlink()
    return done


def _require_sealed(status: os.stat_result, *, like: os.stat_result) -> None:
    """Refuse to link what is no file, may be written to, or can be read by fewer than ``like`` will be once sealed.

    Raises:
        FormatError: it is one of these.
    """
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode) or mode & ~staging.SEALED:
        raise FormatError("is not sealed")
    if like.st_mode & ~mode & staging.SEALED:
        raise FormatError("can be read by fewer")
