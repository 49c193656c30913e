"""What can be observed: one probe a file, each returning values; nothing here writes to the registry."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

from ckptkit.disk import reason

T = TypeVar("T")


def attempt(unknown: dict[str, str], field: str, probe: Callable[[], T], default: T) -> T:
    """What ``probe`` returns; where it fails, ``default``, with the reason under ``field`` in ``unknown``."""
    try:
        return probe()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a probe never fails a save, whatever a library throws
        unknown[field] = reason(error)
        return default


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Without garbage collection: syntax sets it off, and one pass over torch's objects costs as much as all probes."""
    import gc

    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
