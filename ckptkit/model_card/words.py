"""What the sections of a card have in common: caps, and what is not known with its reason."""

from ckptkit.markdown import text
from ckptkit.record import Lineage

ROWS = 40
"""Most hyperparameters, and most levels of a factor, that a card shows; lineage.json has them all."""

SEEN = {"in the run": "", "at save": " (as found at save)", "declared": " (as declared)"}
"""What to add to a fact, by how it was observed."""


def not_known(lineage: Lineage, *paths: str) -> str:
    """Why a fact is not known: by its own reason, else by that of what it is part of."""
    for path in paths:
        parts = path.split(".")
        for length in range(len(parts), 0, -1):
            reason = lineage.unknown.get(".".join(parts[:length]))
            if reason is not None:
                return f"not known ({text(reason)})"
    return "not known"


def absent(lineage: Lineage, what: str, path: str) -> str:
    """That nothing of a kind was given, with the reason for ``path`` where there is one."""
    reason = lineage.unknown.get(path)
    return f"No {what} was given{'' if reason is None else f' ({text(reason)})'}."
