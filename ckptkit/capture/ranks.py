"""Jobs and ranks: which scheduler's job this process is, which rank of a distributed training, and who saves."""

import os
import sys
from collections.abc import Mapping
from typing import Any

from ckptkit import redact

_JOBS: Mapping[str, tuple[str, Mapping[str, str]]] = {  # scheduler: the variable that shows it, and what it tells
    "slurm": (
        "SLURM_JOB_ID",
        {
            "id": "SLURM_JOB_ID",
            "name": "SLURM_JOB_NAME",
            "array_id": "SLURM_ARRAY_JOB_ID",
            "array_index": "SLURM_ARRAY_TASK_ID",
            "restarts": "SLURM_RESTART_COUNT",
        },
    ),
    "pbs": ("PBS_JOBID", {"id": "PBS_JOBID", "name": "PBS_JOBNAME", "array_index": "PBS_ARRAY_INDEX"}),
    "lsf": ("LSB_JOBID", {"id": "LSB_JOBID", "name": "LSB_JOBNAME", "array_index": "LSB_JOBINDEX"}),
    "sge": ("SGE_ROOT", {"id": "JOB_ID", "name": "JOB_NAME", "array_index": "SGE_TASK_ID"}),
    "kubernetes": ("KUBERNETES_SERVICE_HOST", {"array_index": "JOB_COMPLETION_INDEX"}),
}

_LAUNCHERS: Mapping[str, Mapping[str, str]] = {
    "torchrun": {
        "rank": "RANK",
        "world_size": "WORLD_SIZE",
        "local_rank": "LOCAL_RANK",
        "local_world_size": "LOCAL_WORLD_SIZE",
        "restarts": "TORCHELASTIC_RESTART_COUNT",
    },
    "mpi": {
        "rank": "OMPI_COMM_WORLD_RANK",
        "world_size": "OMPI_COMM_WORLD_SIZE",
        "local_rank": "OMPI_COMM_WORLD_LOCAL_RANK",
    },
    "pmi": {"rank": "PMI_RANK", "world_size": "PMI_SIZE"},
    "slurm": {
        "rank": "SLURM_PROCID",
        "world_size": "SLURM_NTASKS",
        "local_rank": "SLURM_LOCALID",
        "nodes": "SLURM_JOB_NUM_NODES",
    },
}

_FRAMEWORKS = ("torch", "jax", "tensorflow", "horovod", "mpi4py")


def job() -> dict[str, str] | None:
    """The scheduler's names for this job (``scheduler``, ``id``, ``name``, ``array_index``); None outside of one."""
    for scheduler, (sign, names) in _JOBS.items():
        told = {field: os.environ[name] for field, name in names.items() if os.environ.get(name)}
        if not os.environ.get(sign) or not told:
            continue
        if told.get("array_index") in {"undefined", "0"} and scheduler in {"sge", "lsf"}:  # not an array job
            del told["array_index"]
        if scheduler == "pbs" and "id" in told:
            told["id"] = told["id"].partition(".")[0]  # the rest is the server's name
        return {"scheduler": scheduler} | {field: redact.text(value) for field, value in told.items()}
    return None


def distributed() -> dict[str, Any] | None:
    """Rank and world size, by who says so (``torch.distributed``, ``torchrun``, ``mpi``, ``pmi``, ``slurm``)."""
    out: dict[str, Any] = {}
    if group := _group():
        rank, size, backend = group
        out["torch.distributed"] = {"rank": rank, "world_size": size, "backend": backend}
    for launcher, names in _LAUNCHERS.items():
        told = {field: int(os.environ[name]) for field, name in names.items() if os.environ.get(name, "").isdecimal()}
        if {"rank", "world_size"} <= set(told):
            out[launcher] = told
    return out or None


def other_rank() -> str | None:
    """Who this process is when it is not the one to save, such as ``rank 1 of 4 (torchrun)``; None when it is.

    An initialised process group decides. Without one, a torchrun or MPI world above 1 counts where a framework that
    could train together is loaded. Slurm's own variables never do: forty tasks may be forty trainings.
    """
    if group := _group():
        rank, size, _ = group
        return f"rank {rank} of {size} (torch.distributed)" if rank > 0 else None
    if not any(sys.modules.get(name) for name in _FRAMEWORKS):
        return None
    told = distributed() or {}
    for launcher in ("torchrun", "mpi", "pmi"):
        ranks = told.get(launcher)
        if launcher == "pmi" and "slurm" in told and not sys.modules.get("mpi4py"):
            continue  # srun sets these for every task, whether or not the tasks know of each other
        if ranks and ranks["world_size"] > 1 and ranks["rank"] > 0:
            return f"rank {ranks['rank']} of {ranks['world_size']} ({launcher})"
    return None


def _group() -> tuple[int, int, str] | None:
    torch = sys.modules.get("torch.distributed")
    try:
        if torch is None or not torch.is_available() or not torch.is_initialized():
            return None
        return int(torch.get_rank()), int(torch.get_world_size()), str(torch.get_backend())
    except Exception:  # noqa: BLE001 - half imported or of another make: then the launcher's variables are asked
        return None
