"""Jobs and ranks: launchers and schedulers as the variables they set, and a real process group."""

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
from scripts import REPOSITORY

from ckptkit.capture import ranks


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name in {"RANK", "WORLD_SIZE", "JOB_ID"} or name.startswith(
            ("SLURM_", "PMI_", "OMPI_", "PBS_", "LSB_", "KUBE")
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
