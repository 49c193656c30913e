"""From the parts to the whole: the lineage record out of what was given and what was seen. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ckptkit import __version__, checkpoint, redact
from ckptkit.capture.data import Observation as Data
from ckptkit.capture.intake import Intake
from ckptkit.capture.observation import Moment, Observation, requested_precision, run_id
from ckptkit.record import IN_THE_RUN, LINEAGE, Config, Lineage, Parent, Run, Tool, Weights, WeightsFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """All that a lineage is made of.

    ``files`` are the saved files, ``config_sha256`` the digest of config.yaml (None without one), ``modified`` the
    time of the newest of the weights (epoch seconds; None when they were in memory).
    """

    model: str
    now: Moment
    given: Intake
    seen: Observation
    data: Sequence[Data]
    parents: Sequence[Parent]
    files: Sequence[WeightsFile]
    config_sha256: str | None
    modified: float | None
    unknown: Mapping[str, str]


def compose(parts: Parts, version: str) -> Lineage:
    """The record of one version."""
    given, seen, now = parts.given, parts.seen, parts.now
    created = datetime.now(UTC).timestamp()
    dtypes = _dtypes(parts.files)
    precision = replace(seen.compute.precision, requested=requested_precision(given.config.values), weights=dtypes)
    return Lineage(
        schema=LINEAGE,
        model=parts.model,
        version=version,
        created=_time(created),
        message=given.message,
        tags=given.tags,
        parents=tuple(parts.parents),
        base_models=given.base_models,
        data=tuple(each.dataset for each in parts.data),
        code=seen.code,
        config=Config(
            observed=now.observed,
            file=None if parts.config_sha256 is None else checkpoint.CONFIG,
            sha256=parts.config_sha256,
            values=given.config.values,
            seed=given.config.seed,
            not_applicable={},
        ),
        compute=replace(seen.compute, precision=precision),
        weights=Weights(files=tuple(parts.files), parameters=_parameters(parts.files), identical_to=None),
        metrics=given.metrics,
        run=_run(parts, created),
        unknown=_reasons(parts.unknown, now.project),
        tool=Tool(name="ckptkit", version=__version__),
    )


def _run(parts: Parts, created: float) -> Run:
    started = parts.now.started
    own = parts.now.observed == IN_THE_RUN or parts.modified is None
    finished = created if own else parts.modified
    return Run(
        id=run_id(),
        step=parts.given.step,
        epoch=parts.given.epoch,
        started=None if started is None else _time(started),
        finished=None if finished is None else _time(finished),
        seconds=None if started is None else round(created - started, 3),
        job=parts.seen.job,
        links=(),
    )


def _is_model(file: WeightsFile) -> bool:
    """Whether a file's tensors are the model's: an optimizer's state has dtypes and counts of its own."""
    return "optim" not in file.path.lower()


def _parameters(files: Sequence[WeightsFile]) -> int | None:
    counts = [file.parameters for file in files if _is_model(file) and file.parameters is not None]
    return sum(counts) if counts else None


def _dtypes(files: Sequence[WeightsFile]) -> dict[str, int]:
    total: dict[str, int] = {}
    for file in filter(_is_model, files):
        for dtype, count in (file.dtypes or {}).items():
            total[dtype] = total.get(dtype, 0) + count
    return total


def _reasons(unknown: Mapping[str, str], project: Path) -> dict[str, str]:
    return {where: redact.text(words, project=project) for where, words in sorted(unknown.items())}


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
