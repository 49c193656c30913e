"""Whether secrets are to stay, for whoever must have them in the record."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

keeping = ContextVar("keeping", default=False)


@contextlib.contextmanager
def keeping_secrets(yes: bool) -> Iterator[None]:  # noqa: FBT001 - the name of the function says what it is
    """While this lasts, secrets stay where they are, if so asked; paths, users and hosts do not."""
    token = keeping.set(yes)
    try:
        yield
    finally:
        keeping.reset(token)


def keeps_secrets() -> bool:
    """Whether secrets stay where they are at this moment."""
    return keeping.get()
