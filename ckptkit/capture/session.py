"""A run from its beginning: what was there when a script said that it starts, also as another process finds it noted.

Data is hashed meanwhile by ``background``.
"""

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ckptkit import disk, redact
from ckptkit.capture import attempt, code, config, generators
from ckptkit.capture.code import Before
from ckptkit.capture.moment import Moment
from ckptkit.capture.observation import Observation
from ckptkit.data import background, watch
from ckptkit.errors import FormatError


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What was there when a run began.

    Attributes:
        id: the run's id.
        now: who looked.
        cwd: the working directory.
        data: the state of each declared dataset that lies on disk, by its path.
        names: the names of these datasets.
        files: SHA-256 of the configuration files, by path.
        config: the configuration, where it was given as files alone, or was noted.
        config_changed: of a run that was noted, the configuration files that had changed when it ended.
        code: the work tree.
        generators: the states of random generators.
        hasher: hashes the data in the background; None where there is none, or no further process could be had.
        noted: what the run saw of itself, where this is another process; its own is seen at the save.
        ended: when that run's process ended; None where that was not noted.
        unknown: reasons that belong to what was noted.
    """

    id: str
    now: Moment
    cwd: Path
    data: Mapping[Path, watch.Noted]
    names: Mapping[Path, str]
    files: Mapping[Path, str | None]
    config: config.Resolved | None
    code: Before
    generators: Mapping[str, Any] | None
    hasher: background.Hasher | None
    noted: Observation | None = None
    ended: float | None = None
    config_changed: tuple[str, ...] | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)


_TICK = 0.02
"""Seconds after which a write surely bears another time than one before: two ticks of the slowest Linux clock."""


def begin(
    now: Moment,
    *,
    run: str,
    data: Mapping[Path, str],
    sources: Sequence[object],
    cwd: Path,
    exclude: Sequence[Path],
) -> Start:
    """Note what is there now, and begin to hash the data.

    Args:
        now: who looks.
        run: the run's id.
        data: the names of the declared datasets that lie on disk, by absolute path.
        sources: the configuration files, absolute paths, and objects.
        cwd: the working directory.
        exclude: what is no code: the registry root, the weights and the data.

    Raises:
        CkptkitError: a path is not there or cannot be read.
    """
    at, end = time.time(), time.monotonic() + _TICK
    given = [Path(source) for source in sources if isinstance(source, str | os.PathLike)]
    resolved = config.resolve(given, project=now.project, unknown={}) if given else None
    files = {path: _sha256(path) for path in given}
    noted = {path: watch.Noted(listing=watch.note(path)) for path in data}
    ran = code.begin(now, at=at, exclude=exclude, configs=tuple(files))
    states = attempt({}, "config.generators", lambda: generators.generators({}), None)
    hasher = attempt({}, "data", lambda: background.Hasher([*data]), None) if data else None
    time.sleep(max(0, end - time.monotonic()))
    return Start(
        id=run,
        now=now,
        cwd=cwd,
        data=noted,
        names=data,
        files=files,
        config=resolved if len(given) == len(sources) else None,
        code=ran,
        generators=states,
        hasher=hasher,
    )


def changed_config(start: Start, project: Path) -> tuple[str, ...] | None:
    """Configuration files that were written or removed; None where that is not known, as of objects.

    Of a run that another process noted: by its end, since they may be edited later.
    """
    if start.ended is not None:
        return start.config_changed
    changed = sorted(redact.path(path, project)[0] for path, known in start.files.items() if _sha256(path) != known)
    if start.noted is not None and changed:
        return None
    return tuple(changed) if changed or start.config is not None else None


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(disk.read_regular(path, disk.CONFIG_LIMIT)).hexdigest()
    except FormatError:
        return None
