"""A run as it is noted for a save by another process, and as that one reads it back."""

import hashlib
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ckptkit import __version__, checkpoint, disk, redact
from ckptkit.capture import config
from ckptkit.capture.observation import Observation
from ckptkit.capture.session import Start, changed_config
from ckptkit.record import IN_THE_RUN, STARTED, Config, Generators, Started, StartedData, Tool


def note(
    start: Start,
    seen: Observation,
    *,
    root: Path,
    model: str | None,
    weights: Sequence[Path],
    resolved: config.Resolved,
    ended: float | None,
    unknown: dict[str, str],
) -> tuple[Started, dict[str, bytes]]:
    """The note of a run and the files that belong to it.

    Args:
        start: what was there when it began.
        seen: what it sees of itself now.
        root: the registry root.
        model: the registered model that it will save.
        weights: the paths that it will write.
        resolved: its configuration.
        ended: when it ended (epoch seconds); None when it has just begun.
        unknown: the reasons for what could not be had; takes those of data.
    """
    project = start.now.project
    files = dict(seen.files)
    if resolved.text is not None:
        files[checkpoint.CONFIG] = resolved.text
    listed = []
    for position, (path, state) in enumerate(start.data.items()):
        name = f"data/{position}.listing"
        place, outside = redact.path(path, project)
        if outside:  # only its last component may be written, by which another would be found
            unknown[f"data.{start.names[path]}.changed_during_run"] = (
                "it lies outside of project and home: name it at the save, with --data"
            )
            continue
        files[name] = state.listing.pack()
        listed.append(StartedData(name=start.names[path], path=place, listing=name))
    text = resolved.text
    return Started(
        schema=STARTED,
        id=start.id,
        project=_place(project, root),
        model=model,
        weights=tuple(weights_key(path, project) for path in weights),
        began=_time(start.code.at),
        started=None if start.now.started is None else _time(start.now.started),
        ended=None if ended is None else _time(ended),
        secrets_kept=redact.keeps_secrets(),
        code=seen.code,
        compute=seen.compute,
        tree=start.code.worktree.files,
        config=Config(
            observed=IN_THE_RUN,
            file=None if text is None else checkpoint.CONFIG,
            sha256=None if text is None else hashlib.sha256(text).hexdigest(),
            values=resolved.values,
            seed=resolved.seed,
            not_applicable={},
            changed_during_run=None if ended is None else changed_config(start, project),
            generators=Generators(at_start=start.generators, at_save=seen.generators),
        ),
        configs={redact.path(path, project)[0]: sha256 for path, sha256 in start.files.items()},
        data=tuple(listed),
        job=seen.job,
        links=seen.links,
        restarts=seen.restarts,
        unknown={redact.text(where): redact.text(words, project=project) for where, words in unknown.items()},
        tool=Tool(name="ckptkit", version=__version__),
    ), files


def weights_key(path: Path, project: Path) -> str:
    """How the path of weights is noted: as it is recorded, or elsewhere by a digest, which tells nobody's name."""
    place, outside = redact.path(path, project)
    return f"sha256:{hashlib.sha256(os.fsencode(path.absolute())).hexdigest()}" if outside else place


def _place(project: Path, root: Path) -> str | None:
    """How the project is noted: from the registry root, which may move together with it, or below the home folder.

    None where the way from the one to the other bears a name that is not written.
    """
    place, outside = redact.path(project, None)
    way = os.path.relpath(disk.real(project), disk.real(root))
    told = redact.text(f"/{way}") != f"/{way}"
    return (None if outside else place) if told else way


def project_of(run: Started, root: Path) -> Path | None:
    """Where the project of a run is now; None where that is not known, or there is no such folder."""
    if run.project is None:
        return None
    found = redact.found(run.project, disk.real(root))
    return disk.real(found) if found.is_dir() else None


def _time(seconds: float) -> str:
    """To the microsecond: files are held against it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
