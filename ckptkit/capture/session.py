"""A run from its beginning: what was there when a script said that it starts, held against what is at the save.

Nothing is written: what was noted lives as long as the process. Data is hashed meanwhile by ``background``.
"""

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ckptkit import disk, redact
from ckptkit.capture import attempt, background, config, data, git, watch
from ckptkit.errors import FormatError
from ckptkit.manifest import Listing


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What was there when a run began.

    Attributes:
        at: when that was, in seconds since the epoch.
        data: the state of each declared dataset that lies on disk, by its path.
        files: SHA-256 of the configuration files, by path; None where one could not be read.
        config: the configuration, where it was given as files alone.
        code: the id of each file of the work tree, by its path; None where that is not known.
        hasher: hashes the data in the background; None where there is none, or no further process could be had.
    """

    at: float
    data: Mapping[Path, Listing]
    files: Mapping[Path, str | None]
    config: config.Resolved | None
    code: Mapping[str, str] | None
    hasher: background.Hasher | None


def begin(
    *,
    datasets: Mapping[str, object],
    sources: Sequence[object],
    project: Path,
    script: Path,
    exclude: Sequence[Path],
) -> Start:
    """Note what is there now, and begin to hash the data.

    Args:
        datasets: the declared data by name.
        sources: the configuration files and objects.
        project: the folder that paths are recorded relative to.
        script: where the code is looked for.
        exclude: what is no code: the registry root and the data.

    Raises:
        CkptkitError: a path is not there or cannot be read.
    """
    paths = [path for path in map(data.place, datasets.values()) if path is not None]
    given = [disk.expand(source) for source in sources if isinstance(source, str | os.PathLike)]
    resolved = config.resolve(sources, project=project, unknown={}) if len(given) == len(sources) and given else None
    unknown: dict[str, str] = {}
    code = git.worktree(script, project=project, exclude=exclude, unknown=unknown).files
    noted = {path: watch.note(path) for path in paths}
    return Start(
        at=time.time(),
        data=noted,
        files={path.absolute(): _sha256(path) for path in given},
        config=resolved,
        code=code,
        hasher=attempt(unknown, "data", lambda: background.Hasher(paths), None) if paths else None,
    )


def changed_code(
    start: Start, now: Mapping[str, str] | None, *, project: Path, exclude: Sequence[Path]
) -> tuple[str, ...] | None:
    """Files of the work tree that were changed or removed, and new ones of Python; None where that is not known.

    Args:
        start: what was there when the run began.
        now: the ids of the files by their paths from the project; None where they are not known.
        project: the folder that paths are relative to.
        exclude: what is no code: registry, weights, data; configuration files are none either.
    """
    if start.code is None or now is None:
        return None
    others = {disk.real(path) for path in (*exclude, *start.files)}

    def counts(path: str) -> bool:
        real = disk.real(project / path)
        return others.isdisjoint((real, *real.parents))

    gone = [path for path, known in start.code.items() if now.get(path) != known]
    come = [path for path in now if path not in start.code and path.endswith(".py")]
    return tuple(sorted(filter(counts, [*gone, *come])))


def changed_config(start: Start, project: Path) -> tuple[str, ...]:
    """Configuration files that were written or removed."""
    changed = (path for path, known in start.files.items() if _sha256(path) != known)
    return tuple(sorted(redact.path(path, project)[0] for path in changed))


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(disk.read_regular(path, disk.CONFIG_LIMIT)).hexdigest()
    except FormatError:
        return None
