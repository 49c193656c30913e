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
from typing import Any

from ckptkit import hash_cache, hashing
from ckptkit.capture import command
from ckptkit.errors import CkptkitError

_SETTLING = 2.5
"""Seconds before it begins: the cache does not trust files that were written a moment before they were hashed."""

_POLL = 0.05
"""Seconds between two looks whether it has ended."""

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

        words = f"import sys; sys.path.insert(0, {_HOME!r}); from {__name__} import main; main()"
        process = subprocess.Popen(
            command.python("-c", words),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the training
        )
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError), process.stdin as given:
                given.write(json.dumps([os.fspath(path) for path in paths]).encode())
        self._owner = os.getpid()
        self._process: Any = process

    def wait(self, progress: hashing.Progress | None) -> None:
        """Wait until it has ended: what it has read need not be read again.

        Args:
            progress: called with 0 now and then; what it raises ends the waiting, and the process.
        """
        if self._process is None or self._owner != os.getpid():  # a forked child is not its parent
            return
        process, self._process = self._process, None
        try:
            while process.poll() is None:
                if progress is not None:
                    progress(0)
                time.sleep(_POLL)
        finally:
            process.kill()
            process.wait()


def main() -> None:
    """Hash the paths that stand, as JSON, on standard input; ends with its parent."""
    import threading

    threading.Thread(target=_end_with_parent, daemon=True).start()
    _yield_to_others()
    paths = json.load(sys.stdin)
    time.sleep(_SETTLING)
    with hash_cache.Cache.open() as cache:
        for path in map(Path, paths):
            with contextlib.suppress(CkptkitError):  # is told when it is saved
                if path.is_dir():
                    hashing.tree(path, cache=cache)
                else:
                    hashing.file_sha256(path, cache=cache)


def _end_with_parent() -> None:
    import signal

    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGINT)  # so that the cache is written


def _yield_to_others() -> None:
    """Take the processor and the disk only while nobody else wants them, where the system knows such ranks."""
    with contextlib.suppress(OSError):
        os.nice(19)
    with contextlib.suppress(Exception):
        import psutil

        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)
