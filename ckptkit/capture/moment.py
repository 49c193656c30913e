"""Who looks, and when: whether this process is the one that trained, and which project it belongs to."""

import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ckptkit.capture import process
from ckptkit.record import ANOTHER_PROCESS, AT_SAVE, IN_THE_RUN, NO_START, Observed

SLACK = 2.0
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


def moment(*, from_training: bool, modified: float | None, cwd: Path) -> Moment:
    """Whether this process is the one that trained.

    Args:
        from_training: whether a training script asked, rather than a person at the command line.
        modified: when the newest of the weights was last changed (epoch seconds); None when they are in memory.
        cwd: the working directory.
    """
    started = process.started() if from_training else None
    no_start = from_training and started is None and modified is not None
    late = modified is not None and started is not None and modified < started - SLACK
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


_run_ids: dict[int, str] = {}


def run_id() -> str:
    """The id of this process's run where none was started: the same for all its versions."""
    process = os.getpid()  # one process is one run, also one that was forked from another
    if process not in _run_ids:
        _run_ids[process] = new_run()
    return _run_ids[process]


def new_run() -> str:
    """The id of a run that begins: the time, and a random part."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{os.urandom(4).hex()}"
