"""The process: which project it belongs to, how it was started, and when."""

import builtins
import contextlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ckptkit import redact
from ckptkit.capture import attempt
from ckptkit.capture.command import ProbeError
from ckptkit.disk import project_root


def project(start: Path) -> Path:
    """The folder that counts as the project: the nearest one with pyproject.toml or .git, else ``start`` itself."""
    start = start.absolute()
    return project_root(start) or start


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """How this process was started; paths and arguments already redacted.

    ``cwd`` is where it was started, which the words of ``orig_argv`` are relative to: Python makes the path of the main
    file of that folder and of the script as it was named; with ``-m`` the ``PWD`` of the start has to be where the
    module was found. Where neither tells, it is where the process is now.
    """

    entry_point: str | None
    orig_argv: tuple[str, ...] | None
    cwd: str | None


def process(project: Path, unknown: dict[str, str]) -> Process:
    """Look at this process; what cannot be had is None, with the reason in ``unknown``."""
    return Process(
        entry_point=attempt(unknown, "code.entry_point", lambda: _entry_point(project), None),
        orig_argv=attempt(unknown, "code.orig_argv", lambda: _orig_argv(project), None),
        cwd=attempt(unknown, "code.cwd", lambda: redact.path(_started_in() or Path.cwd(), project)[0], None),
    )


def _entry_point(project: Path) -> str:
    main = sys.modules.get("__main__")
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if getattr(sys, "frozen", False):
        return redact.path(Path(sys.executable), project)[0]
    if "ipykernel" in sys.modules and not file:  # a script may have loaded it with its widgets
        shown = getattr(main, "__vsc_ipynb_file__", None) or os.environ.get("JPY_SESSION_NAME")
        return redact.path(Path(shown), project)[0] if shown and shown.endswith(".ipynb") else "notebook"
    if spec is not None and spec.name != "__main__":  # a folder or zip file is run under that name
        return f"-m {spec.name.removesuffix('.__main__')}"
    if file and file != "<stdin>":
        return redact.path(Path(file), project)[0]
    if hasattr(sys, "ps1") or hasattr(builtins, "get_ipython"):
        return "interactive"
    words = {"-c": "-c", "-": "standard input", "": "standard input"}
    first = next(iter(getattr(sys, "argv", [])), None)
    if first not in words:
        raise ProbeError("the main module names no file")
    return words[first]


def _orig_argv(project: Path) -> tuple[str, ...]:
    if not sys.orig_argv:
        raise ProbeError("the program that holds this interpreter keeps no command line")
    first, *rest = redact.argv(sys.orig_argv, project=project)
    return (Path(first).name, *rest)


def _started_in() -> Path | None:
    main, word = sys.modules.get("__main__"), next(iter(getattr(sys, "argv", [])), "")
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    if not isinstance(file, str) or not file.startswith("/"):
        return None
    if spec is None:
        folder = file.removesuffix(f"/{word}")
        return Path(folder) if word in sys.orig_argv and folder != file else None
    start = attempt({}, "", lambda: Path(_environment_at_start()["PWD"]).resolve(), None)
    return start if start and file == f"{start / spec.name.replace('.', '/')}.py" else None


def started() -> float | None:
    """When this process began, in seconds since the epoch; None where the system does not tell.

    Linux tells the tick of some 10 ms: its end is taken, so that what was written just before counts as before. Python
    itself takes longer to be there.
    """
    try:
        stat = Path("/proc/self/stat").read_bytes()
        ticks = int(stat.rpartition(b")")[2].split()[19]) + 1  # field 22 of proc_pid_stat(5), counted from boot
        return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError, AttributeError):
        with contextlib.suppress(Exception):  # whatever psutil makes of such a system
            import psutil

            return psutil.Process().create_time()
        return None


def variables_at_start(project: Path) -> dict[str, str]:
    """The environment variables of the allow-list as they were when this process began, redacted.

    What ``os.environ`` was changed to since does not show here.

    Raises:
        ProbeError: a title was written over them.
        psutil.Error, OSError: the system does not tell.
    """
    return redact.variables(_environment_at_start(), project=project)


def _environment_at_start() -> dict[str, str]:
    try:
        data = Path("/proc/self/environ").read_bytes()
    except OSError:
        import psutil

        return psutil.Process().environ()
    pairs = [os.fsdecode(line).partition("=") for line in data.removesuffix(b"\0").split(b"\0") if data]
    if not all(sign for _, sign, _ in pairs):
        raise ProbeError("a title of the process was written over them, as setproctitle does")
    return {name: value for name, _, value in pairs}
