"""A run as it is noted for a save by another process, and as that one reads it back."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from ckptkit import __version__, checkpoint, manifest, redact, started
from ckptkit.capture import config, git
from ckptkit.capture.code import Before, changed_files
from ckptkit.capture.moment import SLACK, Moment
from ckptkit.capture.observation import Observation
from ckptkit.capture.session import Start, changed_config
from ckptkit.data import watch
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.record import IN_THE_RUN, STARTED, Config, Generators, Segment, Started, StartedData, Tool


def note(
    start: Start,
    seen: Observation,
    *,
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
        model=model,
        weights=tuple(redact.path(path, project)[0] for path in weights),
        began=_time(start.code.at),
        started=None if start.now.started is None else _time(start.now.started),
        ended=None if ended is None else _time(ended),
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
        unknown={where: redact.text(words, project=project) for where, words in unknown.items()},
        tool=Tool(name="ckptkit", version=__version__),
    ), files


def find(
    root: Path, *, run: str | None, model: object, weights: Sequence[str], written: float | None
) -> Started | None:
    """The run that made some weights.

    Args:
        root: the registry root.
        run: its id, where that was given.
        model: the registered model that is saved.
        weights: the paths that are saved, as paths are recorded.
        written: when the newest of them was written (epoch seconds).

    Returns:
        The run that was asked for; else, of those in whose time they were written, the newest that named them, or a
        folder of theirs; else the newest that named the model and no weights; None where there is none.

    Raises:
        CkptkitError: there is no such run, or it began later than the weights were written.
    """
    if run is not None:
        asked = started.read(root, run)
        if written is not None and written < _epoch(asked.began) - SLACK:
            raise CkptkitError(misfit(asked, written), "save without --run")
        return asked
    fitting = [each for each in started.every(root) if not misfit(each, written)]
    by_weights = (each for each in fitting if _overlap(each.weights, weights))
    by_model = (each for each in fitting if each.model == model and not each.weights)
    return next(by_weights, None) or next(by_model, None)


def _overlap(ones: Sequence[str], others: Sequence[str]) -> bool:
    """Whether one of these paths is one of those, or in it, or around it."""
    return any(
        f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/") for one in ones for other in others
    )


def misfit(run: Started, written: float | None) -> str:
    """Why weights of such a time (epoch seconds) cannot be a run's; empty where they can."""
    if written is None:
        return "it is not known when the weights were written"
    if written < _epoch(run.began) - SLACK:
        return f"the weights were written before the run {run.id} began"
    if run.ended is not None and written > _epoch(run.ended) + SLACK:
        return f"the weights were written after the run {run.id} had ended"
    return ""


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _time(seconds: float) -> str:
    """To the microsecond: files are held against it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def recall(run: Started, files: Mapping[str, bytes], *, project: Path, cwd: Path) -> Start:
    """What a run noted, as if it were there.

    Args:
        run: its note.
        files: the files that belong to it.
        project: the folder that recorded paths are relative to.
        cwd: the working directory of whoever saves.
    """
    data, names = {}, {}
    for each in run.data:
        path = project / Path(each.path).expanduser()
        try:
            listing = manifest.Listing.unpack(files.get(each.listing, b""))
        except FormatError:
            continue
        data[path], names[path] = watch.Noted(listing=listing), each.name
    configs = {project / Path(path).expanduser(): sha256 for path, sha256 in run.configs.items()}
    text = files.get(checkpoint.CONFIG)
    resolved = config.Resolved(values=dict(run.config.values or {}), text=text, seed=run.config.seed)
    generators = run.config.generators
    versioned = {name: held for name, held in files.items() if not name.startswith(f"{checkpoint.DATA}/")}
    versioned.pop(checkpoint.CONFIG, None)
    now = Moment(
        project=project,
        code=cwd,
        observed=IN_THE_RUN,
        started=None if run.started is None else _epoch(run.started),
        why="",
    )
    return Start(
        id=run.id,
        now=now,
        cwd=cwd,
        data=data,
        names=names,
        files=configs,
        config=None if text is None else resolved,
        config_changed=run.config.changed_during_run,
        code=Before(
            at=_epoch(run.began),
            worktree=git.Worktree(
                repository=run.code.repository, patch=files.get(checkpoint.PATCH, b""), files=run.tree
            ),
            unknown={},
            configs=tuple(configs),
        ),
        generators=generators.at_start if generators else None,
        hasher=None,
        noted=Observation(
            code=run.code,
            compute=run.compute,
            files=versioned,
            generators=generators.at_save if generators else None,
            job=run.job,
            links=run.links,
            restarts=run.restarts,
        ),
        ended=None if run.ended is None else _epoch(run.ended),
        unknown=run.unknown,
    )


_LATER = ("code.modules", "compute.precision", "compute.threads", "compute.determinism")


def seen(start: Start, noted: Observation, *, exclude: Sequence[Path], unknown: dict[str, str]) -> Observation:
    """What a run saw of itself; where its end was not noted, with what is known of its code since.

    Args:
        start: the run, as ``recall`` returned it.
        noted: what it saw.
        exclude: what is no code: registry, weights, data.
        unknown: takes the reasons of what could not be had.
    """
    unknown |= start.unknown
    if start.ended is None:
        unknown |= dict.fromkeys(_LATER, "it is as of the start of the run, whose end was not noted")
    if start.ended is not None or start.code.worktree.files is None:
        return noted
    project = start.now.project
    tree = git.worktree(start.now.code, project=project, exclude=exclude, unknown={})
    changed, why = changed_files(start.code, tree.files, project=project, exclude=exclude)
    if changed:
        why = f"{', '.join(changed)} changed after the run began; whether before it ended is not known"
        changed = None
    if changed is None:
        unknown["code.changed_during_run"] = why
    else:
        unknown.pop("code.changed_during_run", None)
    return replace(noted, code=replace(noted.code, changed_during_run=changed))


def restarted(root: Path, start: Start | None) -> tuple[Segment, ...]:
    """The earlier parts of a run that its scheduler started again: runs that began in the same job, the oldest first.

    Args:
        root: the registry root.
        start: the run; None where nobody said that it starts.
    """
    noted = [*started.every(root)]
    own = next((each for each in noted if start is not None and each.id == start.id), None)
    runs = [] if own is None or not own.restarts else [each for each in noted if _went_on(each, own)]
    return tuple(
        Segment(
            run=each.id,
            version=None,
            started=each.started,
            finished=each.ended,
            seconds=None
            if each.started is None or each.ended is None
            else round(_epoch(each.ended) - _epoch(each.started), 3),
            step=None,
            job=each.job,
            compute=each.compute,
        )
        for each in reversed(runs)
    )


def _went_on(one: Started, other: Started) -> bool:
    """Whether the other is the same training, started again in the same job: a job may also train one after another."""
    if not one.job or not other.job or "id" not in one.job or (one.restarts or 0) >= (other.restarts or 0):
        return False
    same = {**one.job, "restarts": ""} == {**other.job, "restarts": ""}
    return same and _named(one) == _named(other)


def _named(run: Started) -> tuple[object, ...]:
    return run.model, run.weights, run.code.entry_point
