"""Other programs: how every probe that needs one asks it, within a time and without leaving a process behind."""

import contextlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ckptkit import redact
from ckptkit.disk import reason
from ckptkit.errors import CkptkitError

OUTPUT_LIMIT = 96 << 20
"""Most bytes that are read of what another program prints: room for a patch of all that may be in one, in base 85."""


class ProbeError(CkptkitError):
    """Raised when another program could not answer: not there, too slow, failed, or prints without end."""


def python(*arguments: str) -> list[str]:
    """The command that asks this interpreter in a process of its own.

    Raises:
        ProbeError: there is none: a bundled program would start itself again.
    """
    if getattr(sys, "frozen", False) or not sys.executable:
        raise ProbeError("there is no Python to ask in a process of its own")
    return [sys.executable, "-P", *arguments]


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
    import signal
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
            if child.returncode is None:  # not reaped, so its id cannot be another's
                with contextlib.suppress(OSError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        if child.returncode:
            raise ProbeError(f"{name} failed with {_ending(child.returncode, complaint)}")
        return out


def _start(command: Sequence[str], *, cwd: Path | None, **options: Any) -> Any:  # noqa: ANN401 - subprocess is imported in here
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


def _ending(code: int, complaint: IO[bytes]) -> str:
    """How a program ended, and the first line of its complaint."""
    import signal

    names = {each.value: each.name for each in signal.Signals}
    how = f"exit status {code}" if code > 0 else f"signal {names.get(-code, -code)}"
    complaint.seek(0)
    lines = complaint.read(4096).decode(errors="replace").split("\n")
    said = next((line.strip() for line in lines if line.strip()), "")
    return f"{how}: {redact.text(said)[:200]}" if said else how
