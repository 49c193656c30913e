"""A run that noted itself, as a save by another process finds it and reads it back."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from ckptkit import checkpoint, manifest, redact, started
from ckptkit.capture import config, git, ranks
from ckptkit.capture.code import Before, changed_files
from ckptkit.capture.intake import Guard, Request
from ckptkit.capture.moment import SLACK, Moment
from ckptkit.capture.noted import project_of, weights_key
from ckptkit.capture.observation import Observation
from ckptkit.capture.session import Start
from ckptkit.data import watch
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.record import DECLARED, IN_THE_RUN, Segment, Started


def applied(request: Request, guard: Guard, root: Path, cwd: Path, project: Path, written: float | None) -> Request:
    """A request with what the run that made the weights noted of itself, where one did: its start, config and data.

    Args:
        request: what was given at the command line.
        guard: takes what people should know.
        root: the registry root.
        cwd: the working directory.
        project: the project of whoever saves, for a run that does not tell its own.
        written: when the newest of the weights was written (epoch seconds).

    Raises:
        CkptkitError: there is no such run as was asked for, or it began later than the weights were written.
    """
    if request.run is not None:
        run: Started | None = _asked(root, request.run, written)
    else:
        runs = [*started.every(root)]
        paths = [cwd / path for path in request.paths]
        run = find(runs, root, model=request.model, weights=paths, project=project, written=written)
        guard.notes += [] if run else _passed_over(runs, request.model, written)
    if run is None:
        return request
    if run.secrets_kept and not request.keep_secrets:
        raise CkptkitError(f"the run {run.id} noted secrets as they are", "save with --keep-secrets")
    home = project_of(run, root)
    start = recall(run, started.contents(root, run.id), project=home or project, cwd=cwd)
    if home is None:
        start = replace(start, code=replace(start.code, worktree=replace(start.code.worktree, files=None)))
    if request.config:
        start = replace(start, config=None, files={})
    guard.notes.append(f"the training was the run {run.id}, which noted itself when it began")
    if doubt := misfit(run, written):
        guard.note("run.id", doubt)
        start = _declared(start)
    found: dict[str, object] = {}
    for path, name in start.names.items():
        if path.exists():
            found[name] = path
        elif name not in request.data:
            guard.note(f"data.{name}", "it is not where the run had it any more: name it with --data")
    return replace(request, start=start, data={**found, **request.data})


def _asked(root: Path, run: str, written: float | None) -> Started:
    asked = started.read(root, run)
    if written is not None and written < _epoch(asked.began) - SLACK:
        raise CkptkitError(misfit(asked, written), "save without --run")
    return asked


def _passed_over(noted: Sequence[Started], model: object, written: float | None) -> list[str]:
    """Why the newest run that named the model is not taken for the one that trained."""
    runs = [each for each in noted if each.model == model]
    fitting = [each.id for each in runs if not misfit(each, written)]
    doubt = f"name one of the runs {', '.join(fitting)} with --run" if fitting else ""
    doubt = doubt or (misfit(runs[0], written) if runs else "")
    return [f"not known which process trained: {doubt}"] if doubt else []


def _declared(start: Start) -> Start:
    """A run of which somebody says that it made weights of another time: what it saw is but declared of them."""
    noted = start.noted
    if noted is None:
        return start
    code, compute = replace(noted.code, observed=DECLARED), replace(noted.compute, observed=DECLARED)
    return replace(start, now=replace(start.now, observed=DECLARED), noted=replace(noted, code=code, compute=compute))


def find(
    runs: Sequence[Started],
    root: Path,
    *,
    model: object,
    weights: Sequence[Path],
    project: Path,
    written: float | None,
) -> Started | None:
    """The run that made some weights.

    Args:
        runs: those that noted themselves, the newest first.
        root: the registry root.
        model: the registered model that is saved.
        weights: the paths that are saved, absolute.
        project: the project of whoever saves, for a run that does not tell its own.
        written: when the newest of them was written (epoch seconds).

    Returns:
        Of the runs in whose time they were written, the newest that named them, or a folder of theirs; else the newest
        that named the model, unless it named other weights and its end is not known; None where there is none, and
        where two of the model ran at once.
    """

    def named(each: Started) -> bool:
        place = project_of(each, root) or project
        return _overlap(each.weights, [weights_key(one, place) for path in weights for one in (path, path.resolve())])

    fitting = [each for each in runs if not misfit(each, written)]
    by_weights = [each for each in fitting if named(each)]
    by_model = [each for each in fitting if each.model == model and (each.ended or not each.weights)]
    at_once = sum(each.ended is not None for each in by_model) > 1
    return next(iter(by_weights or ([] if at_once else by_model)), None)


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
        path = redact.found(each.path, project)
        try:
            listing = manifest.Listing.unpack(files.get(each.listing, b""))
        except FormatError:
            continue
        data[path], names[path] = watch.Noted(listing=listing), each.name
    configs = {redact.found(path, project): sha256 for path, sha256 in run.configs.items()}
    text = files.get(checkpoint.CONFIG)
    resolved = config.Resolved(values=dict(run.config.values or {}), text=text, seed=run.config.seed)
    generators = run.config.generators
    versioned = {name: held for name, held in files.items() if not name.startswith(f"{checkpoint.DATA}/")}
    versioned.pop(checkpoint.CONFIG, None)
    now = Moment(
        project=project,
        code=project,
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


_LATER = (
    *("code.modules", "code.foreign", "code.sources", "code.changed_functions", "code.environment.packages.imported"),
    *("compute.precision", "compute.threads", "compute.determinism", "compute.gpus_in_use"),
    *("config.generators.at_save", "run.links"),
)


def seen(start: Start, noted: Observation, *, exclude: Sequence[Path], unknown: dict[str, str]) -> Observation:
    """What a run saw of itself; where its end was not noted, with what is known of its code since.

    Args:
        start: the run, as ``recall`` returned it.
        noted: what it saw.
        exclude: what is no code: registry, weights, data.
        unknown: takes the reasons of what could not be had.
    """
    unknown |= start.unknown
    if start.ended is not None:
        return noted
    unknown |= dict.fromkeys(_LATER, "it is as of the start of the run, whose end was not noted")
    if start.code.worktree.files is None:
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
    if start is None or not (start.noted.restarts if start.noted else ranks.restarts()):
        return ()
    noted = [*started.every(root)]
    own = next((each for each in noted if each.id == start.id), None)
    runs = [] if own is None else [each for each in noted if _went_on(each, own)]
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
