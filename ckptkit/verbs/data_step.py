"""The verb ``data step``: run one step of preparation, and record it beside what it wrote."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType

from ckptkit import disk, hashing, roots
from ckptkit.data import preparation
from ckptkit.errors import CkptkitError


class CommandError(CkptkitError):
    """Raised when the command of a step fails; nothing is recorded then."""

    exit_code = 1


def data_step(
    name: str,
    command: Sequence[str],
    *,
    inputs: Sequence[str],
    output: str,
    params: Mapping[str, object],
    root: str | os.PathLike[str] | None = None,
    stdout: int | None = None,
    watch: Callable[[], AbstractContextManager[hashing.Progress | None]] = contextlib.nullcontext,
) -> preparation.Recorded:
    """Run a command with the streams of this process, and write ``OUT.lineage.json`` once it has succeeded.

    When it fails, an earlier sidecar stays: it is about the output that its digest says.

    Args:
        name: what the step does.
        command: the words of the command.
        inputs: paths and URLs that it reads; hashed before it runs and again after.
        output: the file or folder that it writes.
        params: its parameters.
        root: the registry root; see ``roots.default_root``.
        stdout: the descriptor that the command prints on; None for this process's.
        watch: makes what is told of bytes hashed, once before and once after the command.

    Raises:
        CommandError: the command failed.
        CkptkitError: it is not there, an input cannot be read, or the output may not lie there or was not written.
    """
    import shlex
    import shutil

    if shutil.which(command[0]) is None:
        shell = f"a line for the shell is written -- sh -c {shlex.quote(command[0])}"
        hint = (
            shell if " " in command[0] else "check its name, and that it may be executed; it stands after -- and NAME"
        )
        raise CkptkitError(f"there is no command {command[0]!r}", hint)
    with watch() as progress:
        step = preparation.begin(
            name,
            inputs=inputs,
            output=output,
            params=params,
            command=command,
            root=roots.default_root(root, Path.cwd()),
            progress=progress,
        )
    _run(command, stdout)
    with watch() as progress:
        return preparation.finish(step, progress=progress)


def _run(command: Sequence[str], stdout: int | None) -> None:
    """Run the command to its end; signals that ask this process to end are for the command to obey."""
    import signal
    import subprocess

    caught: list[int] = []
    child: subprocess.Popen[bytes] | None = None

    def pass_on(number: int, _: FrameType | None) -> None:
        caught.append(number)
        if child is not None and not (number == signal.SIGINT and _has_terminal()):
            child.send_signal(number)

    asking = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    ignored = (signal.SIG_IGN, None)
    before = {each: signal.signal(each, pass_on) for each in asking if signal.getsignal(each) not in ignored}
    try:
        child = subprocess.Popen(command, stdout=stdout)
        for number in caught:  # while it was being started
            child.send_signal(number)
        code = child.wait()
    except (OSError, ValueError) as error:
        raise CkptkitError(f"{command[0]} cannot be run: {disk.reason(error)}", "give a program or script") from error
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    if signal.SIGINT in caught:
        raise KeyboardInterrupt
    if code or caught:
        ending = -code if code < 0 else next(iter(caught), None)
        how = f"exit status {code}" if ending is None else f"signal {signal.Signals(ending).name}"
        raise CommandError(f"{command[0]} ended with {how}: nothing was recorded")


def _has_terminal() -> bool:
    """Whether this process is in the foreground of a terminal, whose Ctrl-C goes to the command by itself."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
