"""The files of a tree, hashed elsewhere: sent out in batches, and taken back as they are done."""

import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING

from ckptkit.scanning import Found

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ckptkit.manifest import State

Done = tuple[Found, bytes, int]
"""A file, its SHA-256 as 32 bytes, and when hashing began, in nanoseconds since the epoch."""

_MOST = 500  # files in a batch
_IN_FLIGHT = 100  # batches
_TICK = 0.5  # seconds between two looks at the time


def spread(
    files: Iterable[Found],
    submit: "Callable[[list[tuple[bytes, State]]], Future[list[bytes]]]",
    size: float,
    tell: Callable[[int], None],
) -> Generator[Done]:
    """The files as they are done elsewhere; so few are under way at once that memory stays flat.

    Args:
        files: those to hash.
        submit: sends out a batch of files, by path and state, for their digests.
        size: bytes in a batch; a larger file makes one alone.
        tell: called with the bytes of each file that is done, and with 0 while there is nothing but waiting.

    Raises:
        CkptkitError: as the worker did.
    """
    waiting: dict[Future[list[bytes]], tuple[list[Found], int]] = {}
    try:
        for batch in _batches(files, size):
            begun = time.time_ns()
            waiting[submit([(found.full, found.state) for found in batch])] = batch, begun
            while len(waiting) >= _IN_FLIGHT:
                yield from _finished(waiting, tell)
        while waiting:
            yield from _finished(waiting, tell)
    finally:
        for future in waiting:
            future.cancel()


def in_threads(
    files: Iterable[Found],
    work: "Callable[[list[tuple[bytes, State]], Callable[[int], None]], list[bytes]]",
    tell: Callable[[int], None],
) -> Generator[Done]:
    """The files as threads of this process are done with them, each on its own.

    Args:
        files: those to hash.
        work: hashes files, and tells how far it is.
        tell: called, by one thread at a time, with the number of bytes done since the last call.

    Raises:
        CkptkitError: as ``work`` did.
    """
    import threading
    from concurrent.futures import ThreadPoolExecutor

    lock, stop = threading.Lock(), threading.Event()

    def tick(count: int) -> None:
        if stop.is_set():
            raise InterruptedError
        with lock:
            tell(count)

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ThreadPoolExecutor(usable) as pool:
        try:
            yield from spread(files, lambda one: pool.submit(work, one, tick), 0, lambda _: tick(0))
        except BaseException:  # an error or Ctrl-C need not wait for the gigabytes under way
            stop.set()
            raise


def _finished(
    waiting: "dict[Future[list[bytes]], tuple[list[Found], int]]", tell: Callable[[int], None]
) -> Iterator[Done]:
    from concurrent.futures import FIRST_COMPLETED, wait

    tell(0)
    for future in wait(waiting, timeout=_TICK, return_when=FIRST_COMPLETED).done:
        batch, begun = waiting.pop(future)
        for found, digest in zip(batch, future.result(), strict=True):
            tell(found.state.size)
            yield found, digest, begun


def _batches(files: Iterable[Found], size: float) -> Iterator[list[Found]]:
    batch, left = list[Found](), size
    for found in files:
        if batch and (len(batch) == _MOST or found.state.size > left):
            yield batch
            batch, left = [], size
        batch.append(found)
        left -= found.state.size
    if batch:
        yield batch
