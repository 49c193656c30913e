"""What can be observed: one probe a file, each returning values; nothing here writes to the registry."""

from collections.abc import Callable
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
