"""The progress bar: how much of what is to be read has been, how fast, and how long it will take."""

import sys
from typing import Any, Self


class Bar:
    """A progress bar on a terminal, once the work has lasted half a second; nothing elsewhere."""

    def __init__(self) -> None:
        self._bar: Any = None
        if _is_terminal():
            from tqdm import tqdm

            self._bar = tqdm(total=0, unit="B", unit_scale=True, delay=0.5, leave=False, file=sys.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    @property
    def is_shown(self) -> bool:
        """Whether there is a terminal to draw on, so that it is worth finding out how much there is to read."""
        return self._bar is not None

    def expect(self, count: int) -> None:
        """So many bytes more will be read."""
        if self._bar is not None:
            self._bar.total += count

    def __call__(self, count: int) -> None:
        """So many bytes more were read."""
        if self._bar is not None:
            self._bar.update(count)


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError, OSError):  # it is None, or closed
        return False
