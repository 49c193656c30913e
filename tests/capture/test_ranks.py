"""Jobs and ranks: launchers and schedulers as the variables they set, real process groups, and what ranks note."""

import json
import os
import subprocess
import sys
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from scripts import REPOSITORY

from ckptkit.capture import ranks
from ckptkit.record import Memory


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name in {"RANK", "WORLD_SIZE", "JOB_ID", "SGE_ROOT", "RESTARTED"} or name.startswith(
            ("SLURM_", "PMI_", "PMIX_", "OMPI_", "PBS_", "LSB_", "KUBE", "MASTER_", "TORCHELASTIC_")
        ):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("variables", "job"),
    [
        ({}, None),
        (
            {"SLURM_JOB_ID": "71", "SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_NAME": "fit"},
            {"scheduler": "slurm", "id": "71", "name": "fit", "array_id": "70", "array_index": "0"},
        ),
        (
            {"PBS_JOBID": "9[3].head.example", "PBS_ARRAY_INDEX": "3"},
            {"scheduler": "pbs", "id": "9[3]", "array_index": "3"},
        ),
        ({"LSB_JOBID": "5", "LSB_JOBINDEX": "0"}, {"scheduler": "lsf", "id": "5"}),
        ({"SGE_ROOT": "/sge", "JOB_ID": "4", "SGE_TASK_ID": "undefined"}, {"scheduler": "sge", "id": "4"}),
        ({"JOB_ID": "4"}, None),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),
        (
            {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "2"},
            {"scheduler": "kubernetes", "array_index": "2"},
        ),
    ],
)
def test_job(variables: dict[str, str], job: dict[str, str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ranks.job() == job


@pytest.mark.parametrize(
    ("variables", "count"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "71"}, None),
        ({"SLURM_RESTART_COUNT": "2"}, 2),
        ({"TORCHELASTIC_RESTART_COUNT": "0"}, 0),
        ({"TORCHELASTIC_RESTART_COUNT": "0", "SLURM_RESTART_COUNT": "3"}, 3),
        ({"TORCHELASTIC_RESTART_COUNT": "4", "SLURM_RESTART_COUNT": "many"}, 4),
        ({"LSB_JOBID": "5"}, None),
        ({"LSB_JOBID": "5", "LSB_RESTART": "Y"}, 1),
        ({"SGE_ROOT": "/sge", "RESTARTED": "0"}, 0),
        ({"SGE_ROOT": "/sge", "RESTARTED": "1"}, 1),
        ({"RESTARTED": "1"}, None),
    ],
)
def test_restarts(variables: dict[str, str], count: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ranks.restarts() == count


TORCHRUN = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
SRUN = {"SLURM_JOB_ID": "1", "SLURM_PROCID": "1", "SLURM_NTASKS": "4"}
MPIRUN = {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4"}
PMI = {"PMI_RANK": "2", "PMI_SIZE": "4"}


@pytest.mark.parametrize(
    ("variables", "loaded", "words"),
    [
        (TORCHRUN, "torch", "rank 1 of 4 (torchrun)"),
        (TORCHRUN, None, None),
        (TORCHRUN | {"RANK": "0"}, "torch", None),
        ({"RANK": "1", "WORLD_SIZE": "1"}, "torch", None),
        ({"RANK": "x", "WORLD_SIZE": "4"}, "torch", None),
        (MPIRUN, "mpi4py", "rank 3 of 4 (mpi)"),
        (MPIRUN, None, None),
        (PMI, "torch", "rank 2 of 4 (pmi)"),
        (SRUN, "torch", None),
        (SRUN | {"SLURM_ARRAY_TASK_ID": "7"}, "torch", None),
        (SRUN | PMI, "torch", None),
        (SRUN | PMI, "mpi4py", "rank 2 of 4 (pmi)"),
    ],
)
def test_other_rank(
    variables: dict[str, str], loaded: str | None, words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch", "torch.distributed", "jax", "tensorflow", "horovod", "mpi4py"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if loaded:
        monkeypatch.setitem(sys.modules, loaded, types.ModuleType(loaded))
    assert ranks.other_rank() == words


def test_ranks_are_told_by_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch.distributed", raising=False)
    assert ranks.distributed() is None
    for name, value in (TORCHRUN | SRUN).items():
        monkeypatch.setenv(name, value)
    assert ranks.distributed() == {
        "torchrun": {"rank": 1, "world_size": 4, "local_rank": 1},
        "slurm": {"rank": 1, "world_size": 4},
    }


GROUP = """
import os, pathlib, sys, torch.distributed as dist
from ckptkit.capture import ranks
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=int(sys.argv[2]), world_size=2)
print(ranks.other_rank(), ranks.distributed()["torch.distributed"])
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.torch
def test_an_initialised_group_decides(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    script = tmp_path / "train.py"
    script.write_text(GROUP)
    # Variables of a launcher that has nothing to do with the group say the opposite.
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
    group = [
        subprocess.Popen(
            [sys.executable, script, tmp_path / "store", str(rank)],
            env={**env, "RANK": str(1 - rank), "WORLD_SIZE": "2"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = [rank.communicate(timeout=120)[0] for rank in group]
    assert said == [
        "None {'rank': 0, 'world_size': 2, 'backend': 'gloo'}\n",
        "rank 1 of 2 (torch.distributed) {'rank': 1, 'world_size': 2, 'backend': 'gloo'}\n",
    ]


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A framework that could train together is loaded; no process group is."""
    monkeypatch.delitem(sys.modules, "torch.distributed", raising=False)
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))


def machine(memory: int = 1 << 30) -> dict[str, Any]:
    nothing = dict.fromkeys(("platform", "cpu", "gpus", "driver"))
    return {**nothing, "memory": Memory(total=memory, limit=None), "libraries": {}}


LAUNCH = {"WORLD_SIZE": "8", "TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "secret-host", "MASTER_PORT": "29500"}


class Launch:
    """Ranks of one launch, one after the other in this process."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
        self.folder, self.monkeypatch, self.variables = folder, monkeypatch, variables

    def rank(self, rank: int) -> None:
        for name, value in {**self.variables, "RANK": str(rank)}.items():
            self.monkeypatch.setenv(name, value)

    def note(self, rank: int, memory: int = 1 << 30, started: float = 1000.0) -> None:
        self.rank(rank)
        ranks.note(self.folder, started, machine(memory))

    def noted(self, rank: int = 0, started: float = 1000.0) -> tuple[list[tuple[str, int]], str]:
        self.rank(rank)
        found, missing = ranks.noted(self.folder, started)
        return [(each.ranks, each.memory.total) for each in found if each.memory], missing


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: None) -> Launch:  # noqa: ARG001 - only set up
    return Launch(tmp_path / "ranks", monkeypatch, LAUNCH)


def test_equal_machines_are_told_together(launch: Launch) -> None:
    for rank, memory in enumerate([1, 1, 1, 2, 1, 2, 1, 1]):
        launch.note(rank, memory, started=1000.0 + rank)
    assert launch.noted() == ([("1-2,4,6-7", 1), ("3,5", 2)], "")
    assert launch.noted(3) == ([("0-2,4,6-7", 1), ("5", 2)], "")
    assert len(list(launch.folder.iterdir())) == 8
    for path in launch.folder.iterdir():
        assert "secret" not in path.name + path.read_text()


def test_ranks_without_a_note_are_named(launch: Launch) -> None:
    launch.note(0)
    assert launch.noted() == ([], "no note of ranks 1-7 is to be had here")
    for rank in (1, 2, 4, 5, 6, 7):
        launch.note(rank)
    assert launch.noted() == ([("1-2,4-7", 1 << 30)], "no note of rank 3 is to be had here")
    for path in launch.folder.glob("*-7.json"):
        path.write_text("{")
    assert launch.noted()[1] == "no note of ranks 3,7 is to be had here"


def test_a_note_of_another_time_or_launch_is_not_taken(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    launch.variables = LAUNCH | {"WORLD_SIZE": "2"}
    launch.note(1, started=1000.0)
    assert launch.noted(started=1599.0)[0]
    assert launch.noted(started=1601.0) == ([], "no note of rank 1 is to be had here")
    launch.note(1, memory=2, started=1601.0)  # the newest of a rank counts
    assert launch.noted(started=1601.0) == ([("1", 2)], "")
    for name, value in {"MASTER_PORT": "29501", "TORCHELASTIC_RESTART_COUNT": "1", "SLURM_JOB_ID": "3"}.items():
        other = Launch(launch.folder, monkeypatch, launch.variables | {name: value})
        assert other.noted(started=1601.0)[0] == []
        monkeypatch.delenv(name)


def test_rank_0_removes_what_is_of_no_use(launch: Launch) -> None:
    for rank in (1, 2, 3):
        launch.note(rank)
    one, two, three = sorted(launch.folder.iterdir())
    other = launch.folder / f"{'0' * 16}-1.json"
    other.write_text("{}")

    def age(path: Path, days: int) -> None:
        os.utime(path, (time.time() - days * 86_400,) * 2)

    for path, days in {one: 2, two: 0, other: 2}.items():
        age(path, days)
    launch.note(3)
    assert one.exists()
    launch.note(0)
    assert [path.exists() for path in (one, two, three, other)] == [False, True, True, True]
    age(other, 91)
    launch.note(0)
    assert not other.exists()


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("variables", [{}, {"RANK": "0", "WORLD_SIZE": "1"}, SRUN])  # SRUN without a step of its own
def test_who_trains_alone_notes_nothing(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ranks.note(tmp_path / "ranks", 1000.0, machine())
    assert not (tmp_path / "ranks").exists()
    assert ranks.noted(tmp_path / "ranks", 1000.0) == ((), "")


def test_a_script_that_names_its_host_late_is_the_same_launch(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    launch.variables = {"OMPI_COMM_WORLD_SIZE": "2", "PMIX_NAMESPACE": "prterun-1"}
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    launch.note(1)
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    launch.variables = {**launch.variables, "WORLD_SIZE": "2", "MASTER_ADDR": "node1", "MASTER_PORT": "1"}
    assert launch.noted() == ([("1", 1 << 30)], "")


def test_tasks_of_slurm_count_where_they_turn_out_to_train_together(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**SRUN, "SLURM_NTASKS": "2", "SLURM_STEP_ID": "0"}.items():
        monkeypatch.setenv(name, value)
    ranks.note(launch.folder, 1000.0, machine())
    assert ranks.noted(launch.folder, 1000.0) == ((), "")  # two tasks may be two trainings
    launch.variables = {"WORLD_SIZE": "2", "MASTER_ADDR": "node1", "MASTER_PORT": "1"}
    assert launch.noted() == ([("1", 1 << 30)], "")


TOGETHER = """
import json, os, pathlib, sys
import torch.distributed as dist
from ckptkit.capture import process, ranks
from ckptkit.record import Memory

folder, rank, started = pathlib.Path(sys.argv[1]), int(os.environ["RANK"]), process.started()
facts = dict.fromkeys(("platform", "cpu", "gpus", "driver")) | {"libraries": {}}
if rank != 3:
    ranks.note(folder, started, facts | {"memory": Memory(total=1 << 30, limit=None)})
dist.init_process_group("gloo")
dist.barrier()
if rank == 0:
    found, missing = ranks.noted(folder, started)
    print(json.dumps([[each.ranks for each in found], missing, ranks.restarts()]))
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.torch
@pytest.mark.parametrize(
    ("size", "found", "missing"), [(2, ["1"], ""), (4, ["1-2"], "no note of rank 3 is to be had here")]
)
def test_ranks_of_torchrun_know_of_each_other(size: int, found: list[str], missing: str, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    script = tmp_path / "train.py"
    script.write_text(TOGETHER)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"]
    out = subprocess.run(
        [*torchrun, script, tmp_path / "ranks"],
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
        timeout=240,
    ).stdout
    assert json.loads(out) == [found, missing, 0]
