"""A run from its beginning: what was there when a script said that it starts, held against what is at the save.

Nothing is written: what was noted lives as long as the process. Data is hashed meanwhile by ``background``.
"""

import hashlib
import os
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ckptkit import disk, redact
from ckptkit.capture import attempt, config, git
from ckptkit.data import background, watch
from ckptkit.errors import FormatError


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What was there when a run began.

    Attributes:
        at: when that was, in seconds since the epoch.
        cwd: the working directory.
        data: the state of each declared dataset that lies on disk, by its path.
        files: SHA-256 of the configuration files, by path.
        config: the configuration, where it was given as files alone.
        code: the id of each file of the work tree, by its path; None where that is not known.
        hasher: hashes the data in the background; None where there is none, or no further process could be had.
    """

    at: float
    cwd: Path
    data: Mapping[Path, watch.Noted]
    files: Mapping[Path, str | None]
    config: config.Resolved | None
    code: Mapping[str, str] | None
    hasher: background.Hasher | None


_TICK = 0.02
"""Seconds after which a write surely bears another time than one before: two ticks of the slowest Linux clock."""


def begin(
    *,
    paths: Sequence[Path],
    sources: Sequence[object],
    cwd: Path,
    project: Path,
    script: Path,
    exclude: Sequence[Path],
) -> Start:
    """Note what is there now, and begin to hash the data.

    Args:
        paths: where the declared data lies, absolute.
        sources: the configuration files, absolute paths, and objects.
        cwd: the working directory.
        project: the folder that paths are recorded relative to.
        script: where the code is looked for.
        exclude: what is no code: the registry root and the data.

    Raises:
        CkptkitError: a path is not there or cannot be read.
    """
    at, end = time.time(), time.monotonic() + _TICK
    given = [Path(source) for source in sources if isinstance(source, str | os.PathLike)]
    resolved = config.resolve(given, project=project, unknown={}) if given else None
    files = {path: _sha256(path) for path in given}
    noted = {path: watch.Noted(listing=watch.note(path)) for path in paths}
    unknown: dict[str, str] = {}
    code = git.worktree(script, project=project, exclude=exclude, unknown=unknown).files
    hasher = attempt(unknown, "data", lambda: background.Hasher(paths), None) if paths else None
    time.sleep(max(0, end - time.monotonic()))
    return Start(
        at=at,
        cwd=cwd,
        data=noted,
        files=files,
        config=resolved if len(given) == len(sources) else None,
        code=code,
        hasher=hasher,
    )


NOT_COMPARED = "the loaded code was not compared with its files"
_WRITTEN = "some of it was written while it ran; it is what it was at the start, but may have been another in between"


def changed_code(
    start: Start, now: Mapping[str, str] | None, *, project: Path, exclude: Sequence[Path]
) -> tuple[tuple[str, ...] | None, str]:
    """Files of the work tree that were changed or removed, and new ones of Python; None, and why, if that is not known.

    Args:
        start: what was there when the run began.
        now: the ids of the files by their paths from the project; None where they are not known.
        project: the folder that paths are relative to.
        exclude: what is no code: registry, weights, data; configuration files are none either.
    """
    if start.code is None or now is None:
        return None, NOT_COMPARED
    others = {disk.real(path) for path in (*exclude, *start.files)}

    def counts(path: str) -> bool:
        real = disk.real(project / path)
        return others.isdisjoint((real, *real.parents))

    gone = [path for path, known in start.code.items() if now.get(path) != known]
    come = [path for path in now if path not in start.code and path.endswith(".py")]
    changed = tuple(sorted(filter(counts, [*gone, *come])))
    if not changed and any(_is_written(project / path, start.at) and counts(path) for path in now):
        return None, _WRITTEN
    return changed, ""


def _is_written(path: Path, since: float) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_mtime > since


def changed_config(start: Start, project: Path) -> tuple[str, ...] | None:
    """Configuration files that were written or removed; None where that is not known, as of objects."""
    changed = sorted(redact.path(path, project)[0] for path, known in start.files.items() if _sha256(path) != known)
    return tuple(changed) if changed or start.config is not None else None


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(disk.read_regular(path, disk.CONFIG_LIMIT)).hexdigest()
    except FormatError:
        return None
