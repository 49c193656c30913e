"""All probes in their order: what is seen of code, compute and run at one moment, honest about who looked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ckptkit.capture import attempt, generators, links, ranks, undisturbed
from ckptkit.capture.code import Before, code
from ckptkit.capture.compute import compute
from ckptkit.capture.moment import Moment
from ckptkit.record import ANOTHER_PROCESS, IN_THE_RUN, NO_START, Code, Compute, Link

# Facts that only the process that trained can tell.
_ITS_OWN = (
    "code.entry_point",
    "code.orig_argv",
    "code.cwd",
    "code.modules",
    "code.foreign",
    "code.sources",
    "code.changed_functions",
    "code.environment.python.flags",
    "config.generators",
    "compute.precision.effective",
    "compute.precision.flags",
    "compute.determinism",
    "compute.threads",
    "compute.variables",
    "compute.distributed",
    "compute.ranks",
    "compute.gpus_in_use",
    "run.started",
    "run.seconds",
    "run.job",
    "run.links",
    "run.restarts",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What was seen.

    ``files`` are those of the record by their paths in a version; ``generators`` the states of random generators, None
    where the training process was not observed.
    """

    code: Code
    compute: Compute
    files: Mapping[str, bytes]
    generators: Mapping[str, Any] | None
    job: Mapping[str, str] | None
    links: tuple[Link, ...]
    restarts: int | None


def observe(
    now: Moment,
    *,
    exclude: Sequence[Path],
    python: str | None,
    unknown: dict[str, str],
    before: Before | None = None,
    notes: Path | None = None,
    begins: bool = False,
) -> Observation:
    """Look at code, environment and machine.

    Args:
        now: who looks.
        exclude: files and folders that are no code: the registry root, the weights, the declared data.
        python: the interpreter whose distributions are meant, where it is not found by itself.
        unknown: takes the reason of each fact that could not be had.
        before: the code when the run began, where that was noted.
        notes: the folder where the ranks of a distributed training noted their machines; None without one.
        begins: whether the run has just begun, so that ``before`` is what is there now.
    """
    own = now.observed == IN_THE_RUN
    if not own:
        unknown.update(dict.fromkeys(_ITS_OWN, ANOTHER_PROCESS))
    elif now.started is None:
        unknown.update({"run.started": NO_START, "run.seconds": NO_START})
    with undisturbed():
        seen, files = code(now, exclude=exclude, python=python, unknown=unknown, before=before, begins=begins)
        found = Observation(
            code=seen,
            compute=compute(now, notes=notes, unknown=unknown),
            files=files,
            generators=None,
            job=None,
            links=(),
            restarts=None,
        )
        return _of_the_run(found, now, unknown) if own else found


def _of_the_run(found: Observation, now: Moment, unknown: dict[str, str]) -> Observation:
    """With what the process that trains knows of its run."""
    none: tuple[Link, ...] = ()
    return replace(
        found,
        generators=attempt(unknown, "config.generators", lambda: generators.generators(unknown), None),
        job=attempt(unknown, "run.job", ranks.job, None),
        links=attempt(unknown, "run.links", lambda: links.links(unknown, project=now.project), none),
        restarts=attempt(unknown, "run.restarts", ranks.restarts, None),
    )
