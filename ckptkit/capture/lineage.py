"""From the parts to the whole: the lineage record out of what was given and what was seen. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath

from ckptkit import __version__, checkpoint, redact
from ckptkit.capture import precision
from ckptkit.capture.compute import AUTOCAST
from ckptkit.capture.intake import Intake
from ckptkit.capture.moment import Moment, run_id
from ckptkit.capture.observation import Observation
from ckptkit.capture.session import Start
from ckptkit.data import Observation as Data
from ckptkit.record import (
    ANOTHER_PROCESS,
    AT_SAVE,
    IN_THE_RUN,
    LINEAGE,
    Component,
    Config,
    Generators,
    Lineage,
    Observed,
    Parent,
    Precision,
    Run,
    Segment,
    Tool,
    Weights,
    WeightsFile,
)
from ckptkit.words import timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """All that a lineage is made of.

    ``start`` is what was there when the run began, None where nobody said; ``components`` are optimizers, schedulers
    and data loaders by the field of ``Config``, ``segments`` the earlier parts of the run. ``files`` are the saved
    files, ``config_sha256`` the digest of config.yaml (None without one), ``config_changed`` the configuration files
    that were written while it ran (None where that is not known), ``modified`` the time of the newest of the weights
    (epoch seconds; None when they were in memory), ``unknown`` the reasons so far.
    """

    model: str
    now: Moment
    start: Start | None
    given: Intake
    seen: Observation
    components: Mapping[str, tuple[Component, ...]]
    segments: tuple[Segment, ...]
    data: Sequence[Data]
    parents: Sequence[Parent]
    files: Sequence[WeightsFile]
    config_sha256: str | None
    config_changed: tuple[str, ...] | None
    modified: float | None
    unknown: Mapping[str, str]


def compose(parts: Parts, version: str, *, identical_to: str | None) -> Lineage:
    """The record of one version.

    Args:
        parts: what it is made of.
        version: its name.
        identical_to: the reference of an earlier version with the same bytes; None where it is known that none has.
    """
    given, seen, now = parts.given, parts.seen, parts.now
    created = datetime.now(UTC).timestamp()
    unknown = dict(parts.unknown)
    parameters, rounding = _weights(parts, unknown)
    _explain(parts, rounding, unknown)
    start = parts.start
    lineage = Lineage(
        schema=LINEAGE,
        model=parts.model,
        version=version,
        created=timestamp(created),
        message=given.message,
        tags=given.tags,
        parents=tuple(parts.parents),
        base_models=given.base_models,
        data=tuple(each.dataset for each in parts.data),
        code=seen.code,
        config=Config(
            observed=_config_observed(parts),
            file=None if parts.config_sha256 is None else checkpoint.CONFIG,
            sha256=parts.config_sha256,
            values=given.config.values,
            seed=given.config.seed,
            not_applicable=given.not_applicable,
            changed_during_run=parts.config_changed,
            generators=Generators(at_start=start.generators if start else None, at_save=seen.generators),
            optimizers=parts.components["optimizers"],
            schedulers=parts.components["schedulers"],
            dataloaders=parts.components["dataloaders"],
        ),
        compute=replace(seen.compute, precision=rounding),
        weights=Weights(files=tuple(parts.files), parameters=parameters, identical_to=identical_to),
        metrics=given.metrics,
        run=_run(parts, created),
        unknown=_reasons(unknown, now),
        tool=Tool(name="ckptkit", version=__version__),
    )
    texts = {**seen.files, **({} if given.config.text is None else {checkpoint.CONFIG: given.config.text})}
    return replace(lineage, redacted=redact.counted(lineage.to_dict(), texts))


def _config_observed(parts: Parts) -> Observed:
    """A configuration that another process gave was not seen in the run, but what the run noted of its own was."""
    start = parts.start
    told_here = start is not None and start.noted is not None and parts.given.config is not start.config
    return AT_SAVE if told_here else parts.now.observed


def _run(parts: Parts, created: float) -> Run:
    started, start = parts.now.started, parts.start
    finished = parts.modified
    if start is not None and start.noted is not None:
        finished = start.ended or finished
    elif parts.now.observed == IN_THE_RUN or finished is None:
        finished = created
    return Run(
        id=start.id if start else run_id(),
        step=parts.given.step,
        epoch=parts.given.epoch,
        started=None if started is None else timestamp(started),
        finished=None if finished is None else timestamp(finished),
        seconds=None if started is None or finished is None else round(finished - started, 3),
        job=parts.seen.job,
        links=(*parts.seen.links, *parts.given.links),
        segments=parts.segments,
        restarts=parts.seen.restarts,
    )


# Files beside a model whose tensors are not its own.
_STATE = re.compile(r"(?<![a-z])(optim|optimi[sz]er|rng|scheduler|scaler)s?(?![a-z])")
_SHARD = re.compile(r"-\d+-of-(\d+)(?=\.[^/]+\Z)")


def _weights(parts: Parts, unknown: dict[str, str]) -> tuple[int | None, Precision]:
    """How many parameters the model has, and the precision with theirs by dtype.

    One file may be a copy of another, such as an average over the steps: only a set that is the model for sure counts.
    """
    files = [file for file in parts.files if not _STATE.search(file.path.lower())]
    counted, why = _model([file for file in files if file.parameters is not None])
    if why:
        unknown["weights.parameters"] = why
    dtypes: dict[str, int] = {}
    for file in counted or files:
        for dtype, count in (file.dtypes or {}).items():
            dtypes[dtype] = dtypes.get(dtype, 0) + count
    requested = precision.requested(
        parts.given.config.values,
        parts.seen.compute.variables.at_save or {},
        parts.seen.compute.precision.requested,
    )
    rounding = replace(parts.seen.compute.precision, requested=requested, weights=dtypes)
    return None if why else sum(file.parameters or 0 for file in counted), rounding


def _model(files: Sequence[WeightsFile]) -> tuple[Sequence[WeightsFile], str]:
    """The files that are the model, whole; else none of them, and why these are not known."""
    sets: dict[tuple[str, int], list[WeightsFile]] = {}
    for file in files:
        shard = _SHARD.search(file.path)
        sets.setdefault((_SHARD.sub("", file.path), int(shard[1]) if shard else 1), []).append(file)
    if not sets:
        return (), "no saved file tells how many it holds"
    key = next(iter(sets)) if len(sets) == 1 else _main(sets)
    if key is None:
        return (), "several files hold tensors; which are the model's is not known"
    name, parts = key
    if len(sets[key]) != parts:
        return (), f"of the {parts} parts of {name} only {len(sets[key])} were saved and tell"
    return sets[key], ""


def _main(sets: Iterable[tuple[str, int]]) -> tuple[str, int] | None:
    """Of several sets of files the one called ``model`` that all others lie beside or below."""
    paths = {key: PurePosixPath(key[0]) for key in sets}
    found = [
        key
        for key, path in paths.items()
        if path.stem == "model" and all(other.is_relative_to(path.parent) for other in paths.values())
    ]
    return found[0] if len(found) == 1 else None


def _explain(parts: Parts, precision: Precision, unknown: dict[str, str]) -> None:
    """Say why the configuration does not tell what it could; that it asks for no precision is known, not unknown."""
    if parts.given.config.seed is None and "seed" not in parts.given.not_applicable:
        unknown["config.seed"] = unknown.get("config.values", "the configuration names none")
    if precision.requested is not None:
        unknown.pop(AUTOCAST, None)
    elif "config.values" in unknown:
        unknown["compute.precision.requested"] = unknown["config.values"]


def _reasons(unknown: Mapping[str, str], now: Moment) -> dict[str, str]:
    """The reasons, redacted and in order; the probes know only that it was not this process, ``now`` knows why."""
    known = {where: now.why if words == ANOTHER_PROCESS else words for where, words in unknown.items()}
    return {redact.text(where): redact.text(words, project=now.project) for where, words in sorted(known.items())}
