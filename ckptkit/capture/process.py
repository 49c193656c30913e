"""The process: how it was started, which code of the project it has loaded, which job and rank it is.

Here too is ``run``, through which every probe that needs another program goes.
"""

import builtins
import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

from ckptkit import redact
from ckptkit.capture import attempt
from ckptkit.disk import project_root, read_regular, reason
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.record import Module

OUTPUT_LIMIT = 64 << 20
"""Most bytes that are read of what another program prints."""

SYNTAX_LIMIT = 1 << 20
"""Most bytes of source whose syntax is looked at; takes about 0.2 s."""

_NO_MEANING = frozenset(["ctx", "kind", "type_comment", "type_ignores"])  # fields of syntax that follow from the rest


class ProbeError(CkptkitError):
    """Raised when another program could not answer: not there, too slow, failed, or prints without end."""


def run(
    command: Sequence[str],
    *,
    seconds: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
) -> bytes:
    """What a program prints on its standard output.

    It runs in a session of its own, which is killed whole when the time is over or this process is interrupted.

    Args:
        command: the program and its arguments.
        seconds: how long it may take.
        cwd: where it runs.
        env: its whole environment; None for this process's.
        stdin: what it reads; nothing when None.

    Raises:
        ProbeError: it is not installed, does not end in time, fails, or prints more than ``OUTPUT_LIMIT`` bytes.
        OSError: there is no room for temporary files.
    """
    import subprocess
    import tempfile

    name = Path(command[0]).name
    end = time.monotonic() + seconds
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as complaint:
        given.write(stdin or b"")
        given.seek(0)
        child = _start(command, stdin=given, stderr=complaint, cwd=cwd, env=env)
        try:
            out = _read(child.stdout, end)
            child.wait(max(end - time.monotonic(), 0.1))
        except OverflowError:
            raise ProbeError(f"{name} printed more than {OUTPUT_LIMIT >> 20} MB") from None
        except (TimeoutError, subprocess.TimeoutExpired):
            raise ProbeError(f"{name} timed out after {seconds:g} s") from None
        finally:
            _end(child)
        if child.returncode:
            raise ProbeError(f"{name} failed with {_status(child.returncode)}{_first_line(complaint)}")
        return out


def _start(command: Sequence[str], *, cwd: Path | None, **options: Any) -> Any:  # noqa: ANN401 - as in _end
    import subprocess

    name = Path(command[0]).name
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=cwd, start_new_session=True, **options)
    except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
        if isinstance(error, FileNotFoundError) and (cwd is None or cwd.is_dir()):
            raise ProbeError(f"{name} is not installed") from None
        raise ProbeError(f"{name} cannot be run: {reason(error)}") from None


def _read(stream: IO[bytes], end: float) -> bytes:
    """All of a pipe; a process that inherited it and went its own way cannot hold us up past ``end``."""
    import selectors

    out = bytearray()
    with stream, selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while selector.select(max(end - time.monotonic(), 0)):
            chunk = os.read(stream.fileno(), 1 << 16)
            if not chunk:
                return bytes(out)
            out += chunk
            if len(out) > OUTPUT_LIMIT:
                raise OverflowError
    raise TimeoutError


def _end(child: Any) -> None:  # noqa: ANN401 - subprocess is imported where it is used
    import signal

    if child.returncode is None:  # not reaped, so its id cannot be another's
        with contextlib.suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _status(code: int) -> str:
    import signal

    if code > 0:
        return f"exit status {code}"
    return f"signal {signal.Signals(-code).name}" if -code in set(signal.Signals) else f"signal {-code}"


def _first_line(complaint: IO[bytes]) -> str:
    complaint.seek(0)
    lines = complaint.read(4096).decode(errors="replace").split("\n")
    said = next((line.strip() for line in lines if line.strip()), "")
    return f": {redact.text(said)[:200]}" if said else ""


def project(start: Path) -> Path:
    """The folder that counts as the project: the nearest one with pyproject.toml or .git, else ``start`` itself."""
    start = start.absolute()
    return project_root(start) or start


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """How this process was started; ``started`` in seconds since the epoch, paths and arguments already redacted."""

    entry_point: str | None
    orig_argv: tuple[str, ...] | None
    cwd: str | None
    started: float | None
    variables_at_start: dict[str, str] | None


def process(project: Path, unknown: dict[str, str]) -> Process:
    """Look at this process; what cannot be had is None, with the reason in ``unknown``."""
    began = started()
    if began is None:
        unknown["run.started"] = "the system does not tell when the process began"
    return Process(
        entry_point=attempt(unknown, "code.entry_point", lambda: _entry_point(project), None),
        orig_argv=attempt(unknown, "code.orig_argv", lambda: _orig_argv(project), None),
        cwd=attempt(unknown, "code.cwd", lambda: redact.path(Path.cwd(), project)[0], None),
        started=began,
        variables_at_start=attempt(unknown, "compute.variables.at_start", lambda: _variables_at_start(project), None),
    )


def _entry_point(project: Path) -> str:
    main = sys.modules.get("__main__")
    if "ipykernel" in sys.modules:
        shown = getattr(main, "__vsc_ipynb_file__", None) or os.environ.get("JPY_SESSION_NAME")
        return redact.path(Path(shown), project)[0] if shown and shown.endswith(".ipynb") else "notebook"
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if spec is not None and spec.name != "__main__":  # a folder or zip file is run under that name
        return f"-m {spec.name.removesuffix('.__main__')}"
    if file:
        return redact.path(Path(file), project)[0]
    if hasattr(sys, "ps1") or hasattr(builtins, "get_ipython"):
        return "interactive"
    words = {"-c": "-c", "-": "standard input", "": "standard input"}
    first = next(iter(getattr(sys, "argv", [])), None)
    if first not in words:
        raise ProbeError("the main module names no file")
    return words[first]


def _orig_argv(project: Path) -> tuple[str, ...]:
    first, *rest = redact.argv(sys.orig_argv, project=project)
    return (Path(first).name, *rest)


def started() -> float | None:
    """When this process began, in seconds since the epoch; None where the system does not tell."""
    try:
        stat = Path("/proc/self/stat").read_bytes()
        ticks = int(stat.rpartition(b")")[2].split()[19])  # field 22 of proc_pid_stat(5), counted from boot
        return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError, AttributeError):
        return attempt({}, "run.started", _started_by_psutil, None)


def _started_by_psutil() -> float:
    import psutil

    return psutil.Process().create_time()


def _variables_at_start(project: Path) -> dict[str, str]:
    if "setproctitle" in sys.modules:
        raise ProbeError("setproctitle writes its title over them")
    try:
        lines = Path("/proc/self/environ").read_bytes().split(b"\0")
        pairs = (os.fsdecode(line).partition("=") for line in lines)
        found = {name: value for name, _, value in pairs}
    except OSError:
        import psutil

        found = psutil.Process().environ()
    return redact.variables(found, project=project)


def modules(project: Path, unknown: dict[str, str]) -> tuple[Module, ...]:
    """The project's own code that this process has loaded, sorted by path.

    Files of the standard library, of installed distributions, of virtual environments and of ckptkit are left out. The
    digest of the syntax ignores comments, layout, docstrings and positions; it is None for what does not parse and for
    what is past ``SYNTAX_LIMIT`` together, counted from the smallest file.
    """
    found: list[tuple[str, bytes]] = []
    out: list[Module] = []
    none: dict[str, str] = {}
    for path, file in attempt(unknown, "code.modules", lambda: _project_files(project), none).items():
        try:
            found.append((path, read_regular(file)))
        except FormatError as error:
            unknown["code.modules"] = f"{path} {error.message}"
            out.append(Module(path=path, sha256=None, syntax=None))
    left = SYNTAX_LIMIT
    with _no_collection():
        for path, source in sorted(found, key=lambda pair: (len(pair[1]), pair[0])):
            left -= len(source)
            syntax = _syntax_sha256(source) if left >= 0 else None
            out.append(Module(path=path, sha256=sha256(source).hexdigest(), syntax=syntax))
    return tuple(sorted(out, key=lambda module: module.path))


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection: syntax trees set it off, and one pass over torch's objects costs as much as all do."""
    import gc

    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _project_files(project: Path) -> dict[str, str]:
    roots = tuple(dict.fromkeys((str(project.absolute()), os.path.realpath(project))))
    inside: dict[str, str | None] = {}  # a module's folder: what stands before the file's name in the record
    out: dict[str, str] = {}
    for name, module in list(sys.modules.items()):
        file = _file(module)
        if file is None or not (file.endswith(".py") or name == "__main__"):
            continue
        folder, _, last = os.path.abspath(file).rpartition("/")  # noqa: PTH100 - a string, and thousands of them
        if folder not in inside:
            inside[folder] = _inside(folder, roots)
        below = inside[folder]
        if below is not None:
            out[f"{below}{last}"] = file
    return out


def _file(module: object) -> str | None:
    try:  # a stand-in in sys.modules may answer anything, or import on being asked
        file = vars(module).get("__file__")
    except TypeError:
        return None
    return file if isinstance(file, str) else None


def _inside(folder: str, roots: Sequence[str]) -> str | None:
    foreign = str(Path(os.__file__).parent), str(Path(redact.__file__).parent)  # the standard library, and ourselves
    if f"{folder}/".startswith(tuple(f"{each}/" for each in foreign)):
        return None
    for candidate in (folder, os.path.realpath(folder)):
        for root in roots:
            if candidate == root:
                return ""
            if candidate.startswith(f"{root.rstrip('/')}/"):
                parts = candidate[len(root) :].strip("/").split("/")
                return None if _installed(root, parts) else f"{'/'.join(parts)}/"
    return None


def _installed(root: str, parts: list[str]) -> bool:
    if not {"site-packages", "dist-packages"}.isdisjoint(parts):
        return True
    folders = accumulate(parts, lambda above, part: f"{above}/{part}", initial=root)
    return any(
        os.path.lexists(f"{folder}/{sign}") for folder in list(folders)[1:] for sign in ("pyvenv.cfg", "conda-meta")
    )


def _syntax_sha256(source: bytes) -> str | None:
    """Digest of the syntax tree, written out here because ``ast.dump`` differs between releases of Python."""
    import ast
    import warnings

    out: list[str] = []
    names: dict[type, tuple[str, ...]] = {}

    def write(node: Any) -> None:  # noqa: ANN401 - a node, a list of them, or a constant
        kind = type(node)
        if kind is list:
            out.append("[")
            for item in node:
                write(item)
                out.append(",")
            out.append("]")
        elif kind in names or issubclass(kind, ast.AST):
            if kind not in names:
                names[kind] = tuple(name for name in kind._fields if name not in _NO_MEANING)
            out.append(f"{kind.__name__}(")
            for name in names[kind]:
                value = getattr(node, name, None)
                if value is not None and value != []:
                    out.append(f"{name}=")
                    write(value[1:] if name == "body" and _has_docstring(node) else value)
            out.append(")")
        else:
            out.append(repr(node))

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in somebody's string
            write(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return sha256("".join(out).encode(errors="surrogatepass")).hexdigest()


def _has_docstring(node: Any) -> bool:  # noqa: ANN401 - any node with a body
    import ast

    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    first = node.body[0]
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


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
        told = {field: value for field, name in names.items() if (value := _number(name)) is not None}
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


def _number(name: str) -> int | None:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else None
