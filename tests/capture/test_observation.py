"""Who looks, and what of it may be said: the process that trained, or another one."""

import json
import sys
import time
from pathlib import Path

import pytest
from scripts import python

from ckptkit.capture import observation, process
from ckptkit.capture.moment import Moment, moment
from ckptkit.record import ANOTHER_PROCESS, AT_SAVE, IN_THE_RUN, NO_START


@pytest.fixture
def no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that does not tell when the process began."""

    def refuse(*_: object) -> None:
        raise OSError("not told")

    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.setattr(time, "clock_gettime", refuse)
    assert process.started() is None


def test_the_newest_of_the_weights_tells_who_trained(tmp_path: Path) -> None:
    began = process.started()
    assert began is not None
    for modified in (None, time.time(), began - 1):  # clocks of disk and process differ by some seconds
        now = moment(from_training=True, modified=modified, cwd=tmp_path)
        assert (now.observed, now.started is not None) == (IN_THE_RUN, True)
    for from_training, modified in ((True, began - 3), (False, time.time()), (False, None)):
        now = moment(from_training=from_training, modified=modified, cwd=tmp_path)
        assert (now.observed, now.started, now.why, now.code) == (AT_SAVE, None, ANOTHER_PROCESS, tmp_path)


@pytest.mark.usefixtures("no_start")
def test_without_a_start_only_weights_in_memory_are_known_to_be_this_process_s(tmp_path: Path) -> None:
    late = moment(from_training=True, modified=time.time(), cwd=tmp_path)
    assert (late.observed, late.why) == (AT_SAVE, NO_START)
    assert moment(from_training=False, modified=time.time(), cwd=tmp_path).why == ANOTHER_PROCESS
    now = moment(from_training=True, modified=None, cwd=tmp_path)
    assert (now.observed, now.started) == (IN_THE_RUN, None)
    _, unknown = seen(now)
    assert unknown["run.started"] == unknown["run.seconds"] == NO_START


def seen(now: Moment) -> tuple[observation.Observation, dict[str, str]]:
    unknown: dict[str, str] = {}
    found = observation.observe(now, exclude=[], python=None, unknown=unknown)
    return found, unknown


def at(folder: Path, observed: str) -> Moment:
    return Moment(
        project=folder,
        code=folder,
        observed=IN_THE_RUN if observed == IN_THE_RUN else AT_SAVE,
        started=1.0 if observed == IN_THE_RUN else None,
        why=ANOTHER_PROCESS,
    )


def test_another_process_s_job_variables_and_switches_are_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    found, unknown = seen(at(tmp_path, AT_SAVE))
    assert found.job is None
    for fact in ("run.job", "run.started", "run.seconds", "compute.threads", "compute.distributed", "code.modules"):
        assert unknown[fact] == ANOTHER_PROCESS
    found, unknown = seen(at(tmp_path, IN_THE_RUN))
    assert found.job == {"scheduler": "slurm", "id": "77"}
    assert not {"run.job", "run.started", "run.seconds", "compute.distributed"} & unknown.keys()


IDS = """
import json, os
from ckptkit.capture.moment import run_id
mine = [run_id(), run_id()]
read, write = os.pipe()
if child := os.fork():
    os.waitpid(child, 0)
    print(json.dumps([*mine, run_id(), *os.read(read, 1000).decode().split()]))
else:
    os.write(write, f"{run_id()} {run_id()}".encode())
"""


def test_one_process_is_one_run_and_a_forked_one_another(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(IDS)
    first, second, after, child, again = json.loads(python(tmp_path / "train.py", cwd=tmp_path))
    assert first == second == after
    assert child == again != first
