"""Jobs and ranks: which scheduler's job this process is, which rank of a distributed training, and who saves.

Each rank notes its machine as a file, so that the one that saves knows them all. Nothing here waits for another rank.
"""

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from ckptkit import disk, documents, redact
from ckptkit.errors import FormatError
from ckptkit.record import Ranks

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
        "group_rank": "GROUP_RANK",
        "restarts": "TORCHELASTIC_RESTART_COUNT",
    },
    "mpi": {
        "rank": "OMPI_COMM_WORLD_RANK",
        "world_size": "OMPI_COMM_WORLD_SIZE",
        "local_rank": "OMPI_COMM_WORLD_LOCAL_RANK",
        "local_world_size": "OMPI_COMM_WORLD_LOCAL_SIZE",
    },
    "pmi": {"rank": "PMI_RANK", "world_size": "PMI_SIZE"},
    "slurm": {
        "rank": "SLURM_PROCID",
        "world_size": "SLURM_NTASKS",
        "local_rank": "SLURM_LOCALID",
        "nodes": "SLURM_JOB_NUM_NODES",
        "gpus_on_node": "SLURM_GPUS_ON_NODE",
    },
}

_FRAMEWORKS = ("torch", "jax", "tensorflow", "horovod", "mpi4py")

_LAUNCH = (
    "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_RESTART_COUNT",
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
    "SLURM_RESTART_COUNT",
    "PBS_JOBID",
    "LSB_JOBID",
    "PMIX_NAMESPACE",
)
_STARTERS = {"SLURM_STEP_ID", "OMPI_COMM_WORLD_RANK", "PMI_RANK"}

_TOGETHER = 600.0
"""Seconds within which all processes of one launch begin."""

_USELESS = 90 * 86_400.0
"""Seconds after which nothing is still saved of a training."""


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


def restarts() -> int | None:
    """How often this training is known to have been started again by launcher or scheduler; None where none tells.

    Where both tell, it is the larger number. LSF and Grid Engine only tell that it was, which counts as once.
    """
    counts = [os.environ.get(name, "") for name in ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")]
    if "SGE_ROOT" in os.environ:
        counts.append(os.environ.get("RESTARTED", ""))
    if os.environ.get("LSB_RESTART") == "Y":
        counts.append("1")
    return max((int(count) for count in counts if count.isdecimal()), default=None)


def other_rank() -> str | None:
    """Who this process is when it is not the one to save, such as ``rank 1 of 4 (torchrun)``; None when it is.

    An initialised process group decides. Without one, a torchrun or MPI world above 1 counts where a framework that
    could train together is loaded. Slurm's own variables never do: forty tasks may be forty trainings.
    """
    world = _together()
    return f"rank {world[0]} of {world[1]} ({world[2]})" if world and world[0] > 0 else None


def note(folder: Path, started: float, machine: Mapping[str, Any]) -> None:
    """Note this rank's machine for the rank that saves; nothing where this is no rank of several.

    A task of Slurm's notes it too: whether it trains with others may show later. Rank 0 also removes what can be of no
    use any more.

    Args:
        folder: where the ranks of a registry note themselves; made where it is not there.
        started: when this process began (epoch seconds).
        machine: the fields of ``Ranks`` but for ``ranks``, as records or as plain values.

    Raises:
        OSError: the disk refuses.
    """
    rank, size, _ = _group() or _launched() or _task() or (0, 1, "")
    if size == 1:
        return
    launch = _launch(size)
    folder.mkdir(parents=True, exist_ok=True)
    if rank == 0:
        _sweep(folder, launch)
    machine = Ranks(ranks=str(rank), **machine).to_dict()
    disk.replace(folder / f"{launch}-{rank}.json", documents.dump_json({"started": started, **machine}))


def noted(folder: Path, started: float) -> tuple[tuple[Ranks, ...], str]:
    """What the other ranks of this training noted, together where their machines are alike.

    Args:
        folder: as for ``note``.
        started: when this process began (epoch seconds); notes of processes that did not begin about then are another
            training's.

    Returns:
        The ranks, and in words which of them left no note, empty where all did.
    """
    world = _together()
    if world is None:
        return (), ""
    own, size, _ = world
    launch = _launch(size)
    alike: dict[bytes, tuple[Ranks, list[int]]] = {}
    missing = []
    for rank in range(size):
        found = None if rank == own else _read(folder / f"{launch}-{rank}.json", started)
        if found is not None:
            alike.setdefault(documents.dump_json(found.to_dict()), (found, []))[1].append(rank)
        elif rank != own:
            missing.append(rank)
    words = f"no note of rank{'s' * (len(missing) > 1)} {_spans(missing)} is to be had here" if missing else ""
    return tuple(replace(found, ranks=_spans(which)) for found, which in alike.values()), words


def _launch(size: int) -> str:
    """What all ranks of one launch have in common and no other launch has, hashed: it holds the name of a host.

    That host counts only where the rank was told with it and no other starter tells the launch: a script may name one
    at any time, also after its rank was noted.
    """
    alone = "RANK" in os.environ and _STARTERS.isdisjoint(os.environ)
    names = (*_LAUNCH, "MASTER_ADDR", "MASTER_PORT") if alone else _LAUNCH
    told = [f"{name}={os.environ[name]}" for name in names if name in os.environ]
    return hashlib.sha256("\0".join([*told, str(size)]).encode(errors="surrogateescape")).hexdigest()[:16]


def _read(path: Path, started: float) -> Ranks | None:
    try:
        found = Ranks.from_dict(documents.load_json(disk.read_regular(path)))
    except FormatError:
        return None
    began = found.extra.get("started")
    if not isinstance(began, int | float) or abs(began - started) > _TOGETHER:
        return None
    return replace(found, ranks="", extra={})


def _sweep(folder: Path, launch: str) -> None:
    """Remove notes of an earlier launch of the same name, and those of trainings long over."""
    disk.sweep(folder)
    for path in folder.glob("*.json"):
        with contextlib.suppress(OSError):
            own = path.name.startswith(f"{launch}-")
            if disk.is_old(path) and (own or time.time() - path.lstat().st_mtime > _USELESS):
                path.unlink()


def _spans(ranks: Iterable[int]) -> str:
    """Ascending numbers in short, such as ``1-3,7``."""
    runs = [[rank for _, rank in run] for _, run in groupby(enumerate(ranks), lambda pair: pair[1] - pair[0])]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def _together() -> tuple[int, int, str] | None:
    """Rank, world size and who says so, where this process surely trains with others."""
    if group := _group():
        return (*group[:2], "torch.distributed")
    return _launched() if any(sys.modules.get(name) for name in _FRAMEWORKS) else None


def _launched() -> tuple[int, int, str] | None:
    """Rank, world size and launcher, by the launcher's variables; None outside of a world above 1."""
    told = distributed() or {}
    for launcher in ("torchrun", "mpi", "pmi"):
        ranks = told.get(launcher)
        if launcher == "pmi" and "slurm" in told and not sys.modules.get("mpi4py"):
            continue  # srun sets these for every task, whether or not the tasks know of each other
        if ranks and ranks["world_size"] > 1:
            return ranks["rank"], ranks["world_size"], launcher
    return None


def _task() -> tuple[int, int, str] | None:
    """Rank, world size and ``slurm``, where srun started this process."""
    told = (distributed() or {}).get("slurm")
    return (told["rank"], told["world_size"], "slurm") if told and "SLURM_STEP_ID" in os.environ else None


def _group() -> tuple[int, int, str] | None:
    torch = sys.modules.get("torch.distributed")
    try:
        if torch is None or not torch.is_available() or not torch.is_initialized():
            return None
        return int(torch.get_rank()), int(torch.get_world_size()), str(torch.get_backend())
    except Exception:  # noqa: BLE001 - half imported or of another make: then the launcher's variables are asked
        return None
