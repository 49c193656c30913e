"""Hashing while training runs: a process of its own, at the lowest priority, that fills the hash cache.

What it read is then in the cache when the version is saved; whatever becomes of it costs time there and nothing else.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ckptkit import hash_cache
from ckptkit.capture import command
from ckptkit.content import hashed
from ckptkit.errors import CkptkitError

if TYPE_CHECKING:
    import subprocess

_SETTLING = 2.5
"""Seconds before it begins: the cache does not trust files that were written a moment before they were hashed."""

_PATIENCE = 3.0
"""Seconds that it gets to write the cache, once it is to end; longer than the cache waits for others that write."""

_HOME = os.fspath(Path(__file__).parent.parent.parent)


class Hasher:
    """The process that hashes some datasets; it ends by itself, and with the process that began it."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Begin.

        Args:
            paths: files and folders, absolute.

        Raises:
            ProbeError: there is no Python for a process of its own.
            OSError: the system allows no further process.
        """
        import subprocess
        import weakref

        words = f"import sys; sys.path.insert(0, {_HOME!r}); from {__name__} import main; main()"
        process = subprocess.Popen(
            command.python("-c", words),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._end = weakref.finalize(self, _end, process, os.getpid())
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError), process.stdin as given:
                given.write(json.dumps([os.getpid(), *map(os.fspath, paths)]).encode())

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """None in the process that unpickles a run: it is no parent."""
        return type(None), ()

    def end(self) -> None:
        """Let it write what it knows to the cache and end.

        It is not waited for: at the lowest priority it may take for ever on a machine that others use, where the
        process that saves is quick. A file that it was in the middle of is read anew.
        """
        self._end()


def _end(process: "subprocess.Popen[bytes]", owner: int) -> None:
    import subprocess

    if os.getpid() != owner:
        process.returncode = 0  # not a forked child's, which would warn that it still runs
        return
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it waits for a disk that does not answer
            process.wait(_PATIENCE)


def main() -> None:
    """Hash the paths that stand, as JSON after the id of the parent, on standard input; ends with its parent."""
    import signal
    import threading

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training, which may save and end, or go on
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # an exception, so that the cache is written
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # whatever the training blocks
    parent, *paths = json.load(sys.stdin)
    threading.Thread(target=_end_with, args=[parent], daemon=True).start()
    _yield_to_others()
    time.sleep(_SETTLING)
    with hash_cache.Cache.open() as cache:
        for path in map(Path, paths):
            with contextlib.suppress(CkptkitError):  # is told when it is saved
                hashed(path, cache=cache)


def _end_with(parent: int) -> None:
    import signal

    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def _yield_to_others() -> None:
    """Take the processor and the disk only while nobody else wants them, where the system knows such ranks."""
    with contextlib.suppress(OSError):
        os.nice(19)
    with contextlib.suppress(Exception):
        import psutil

        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)
