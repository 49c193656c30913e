"""All probes in their order: what is seen of code, compute and run at one moment, honest about who looked."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckptkit import redact
from ckptkit.capture import attempt, git, hardware, numerics, packages, process, ranks, session
from ckptkit.capture.modules import modules
from ckptkit.capture.session import Start
from ckptkit.record import (
    ANOTHER_PROCESS,
    AT_SAVE,
    IN_THE_RUN,
    NO_START,
    Code,
    Compute,
    Environment,
    Observed,
    Precision,
    Variables,
)

# Facts that only the process that trained can tell.
_ITS_OWN = (
    "code.entry_point",
    "code.orig_argv",
    "code.cwd",
    "code.modules",
    "compute.precision.effective",
    "compute.precision.flags",
    "compute.determinism",
    "compute.threads",
    "compute.variables",
    "compute.distributed",
    "run.started",
    "run.seconds",
    "run.job",
)

_SLACK = 2.0
"""Seconds by which clocks of disk and process may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Who looks: the project, where its code is looked for, and since when this process runs (epoch seconds).

    Where it is not taken for the process that trained, ``why`` says why.
    """

    project: Path
    code: Path
    observed: Observed
    started: float | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What was seen. ``patch`` are the bytes of code.patch, ``requirements`` is the text of requirements.txt."""

    code: Code
    compute: Compute
    patch: bytes
    requirements: str
    job: Mapping[str, str] | None


def moment(*, from_training: bool, modified: float | None, cwd: Path) -> Moment:
    """Whether this process is the one that trained.

    Args:
        from_training: whether a training script asked, rather than a person at the command line.
        modified: when the newest of the weights was last changed (epoch seconds); None when they are in memory.
        cwd: the working directory.
    """
    started = process.started() if from_training else None
    no_start = from_training and started is None and modified is not None
    late = modified is not None and started is not None and modified < started - _SLACK
    in_the_run = from_training and not late and not no_start
    code = (_script_folder() if in_the_run else None) or cwd
    return Moment(
        project=process.project(code),
        code=code,
        observed=IN_THE_RUN if in_the_run else AT_SAVE,
        started=started if in_the_run else None,
        why=NO_START if no_start else ANOTHER_PROCESS,
    )


def _script_folder() -> Path | None:
    """The folder of the script that runs, unless it is an installed command or a module of an installed package."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if not isinstance(file, str) or not Path(file).is_file():
        return None
    folder = Path(file).resolve().parent
    prefixes = {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    return None if prefixes & {folder, *folder.parents} or "site-packages" in folder.parts else folder


def observe(
    now: Moment,
    *,
    exclude: Sequence[Path],
    python: str | None,
    unknown: dict[str, str],
    start: Start | None = None,
) -> Observation:
    """Look at code, environment and machine.

    Args:
        now: who looks.
        exclude: files and folders that are no code: the registry root, the weights, the declared data.
        python: the interpreter whose distributions are meant, where it is not found by itself.
        unknown: takes the reason of each fact that could not be had.
        start: what was there when the run began.
    """
    own = now.observed == IN_THE_RUN
    project = now.project
    tree = attempt(
        unknown,
        "code.repository",
        lambda: git.worktree(now.code, project=project, exclude=exclude, unknown=unknown),
        git.Worktree(repository=None, patch=b""),
    )
    environment, requirements = attempt(
        unknown,
        "code.environment.packages",
        lambda: packages.environment(python=python, in_process=own, project=project, unknown=unknown),
        (Environment(source="unknown", python=None, requirements=None, packages=(), editable=(), lockfiles=()), ""),
    )
    machine = attempt(unknown, "compute", lambda: hardware.hardware(unknown), None)
    if not own:
        unknown.update(dict.fromkeys(_ITS_OWN, ANOTHER_PROCESS))
    elif now.started is None:
        unknown.update({"run.started": NO_START, "run.seconds": NO_START})
    this = attempt(unknown, "code.entry_point", lambda: process.process(project, unknown), None) if own else None
    numbers = attempt(unknown, "compute.precision", lambda: numerics.numerics(unknown), None) if own else None
    loaded = attempt(unknown, "code.modules", lambda: modules(project, unknown), None) if own else None
    changed, why = None, session.NOT_COMPARED if own else ANOTHER_PROCESS
    if own and start is not None:
        changed, why = session.changed_code(start, tree.files, project=project, exclude=exclude)
    if changed is None:
        unknown["code.changed_during_run"] = why
    return Observation(
        code=Code(
            observed=now.observed,
            repository=tree.repository,
            entry_point=this.entry_point if this else None,
            orig_argv=this.orig_argv if this else None,
            cwd=this.cwd if this else None,
            modules=loaded,
            changed_during_run=changed,
            environment=environment,
        ),
        compute=Compute(
            observed=now.observed,
            platform=machine.platform if machine else None,
            cpu=machine.cpu if machine else None,
            memory=machine.memory if machine else None,
            gpus=machine.gpus if machine else None,
            driver=machine.driver if machine else None,
            libraries=machine.libraries if machine else {},
            precision=Precision(
                requested=None,
                weights={},
                effective=numbers.effective if numbers else None,
                flags=numbers.flags if numbers else None,
            ),
            determinism=numbers.determinism if numbers else None,
            threads=numbers.threads if numbers else None,
            variables=Variables(
                at_start=this.variables_at_start if this else None,
                at_save=_variables(project) if own else None,
            ),
            distributed=attempt(unknown, "compute.distributed", ranks.distributed, None) if own else None,
        ),
        patch=tree.patch,
        requirements=requirements,
        job=attempt(unknown, "run.job", ranks.job, None) if own else None,
    )


def _variables(project: Path) -> dict[str, str]:
    return redact.variables(os.environ, project=project)


_run_ids: dict[int, str] = {}


def run_id() -> str:
    """The id of this process's run: the time of its first save and a random part, the same for all its versions."""
    process = os.getpid()  # one process is one run, also one that was forked from another
    if process not in _run_ids:
        _run_ids[process] = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.urandom(4).hex()}"
    return _run_ids[process]


_KEYS = ("mixed_precision", "precision", "torch_dtype", "dtype", "compute_dtype")


def requested_precision(values: Mapping[str, Any] | None) -> str | None:
    """The precision that the configuration asks for, by Lightning's and Accelerate's keys, ``dtype``, or ``bf16``."""
    found: dict[str, str] = {}
    queue: list[Mapping[str, Any]] = [values or {}]
    while queue:
        level = queue.pop(0)
        for key, value in level.items():
            if isinstance(value, Mapping):
                queue.append(value)
            elif key in _KEYS and isinstance(value, str | int) and not isinstance(value, bool):
                found.setdefault(key, str(value))
            elif key in {"bf16", "fp16", "tf32"} and value is True:
                found.setdefault("flag", key)
    return next((found[key] for key in (*_KEYS, "flag") if key in found), None)
