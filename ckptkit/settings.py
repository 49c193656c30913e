"""Settings: the table ``[tool.ckptkit]`` of pyproject.toml, and what may stand in it."""

from collections.abc import Mapping
from pathlib import Path

from ckptkit import disk
from ckptkit.errors import CkptkitError

_SETTINGS = {
    "[tool.ckptkit]": ("check", "links", "metrics", "root"),
    "[tool.ckptkit.check]": ("ignore", "select"),
}


def require(cwd: Path) -> None:
    """Refuse settings in pyproject.toml that nothing reads, as a misspelt one would be silently without effect.

    Raises:
        CkptkitError: there is one, or pyproject.toml cannot be read.
    """
    import difflib

    settings = disk.settings(cwd)
    for (name, known), table in zip(_SETTINGS.items(), (settings.table, settings.table.get("check")), strict=True):
        for key in table if isinstance(table, Mapping) else ():
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                meant = f"did you mean {close[0]}? " if close else ""
                raise CkptkitError(
                    f"{key!r} in {name} of {settings.file} is no setting", f"{meant}known are {' and '.join(known)}"
                )
    if not isinstance(settings.table.get("links", True), bool):
        raise CkptkitError(f"links in {settings.file} is neither true nor false", "write links = false")
    directions(cwd)


def has_links(root: Path) -> bool:
    """Whether alias links are made; ``links = false`` in ``[tool.ckptkit]`` of the root's project switches them off."""
    try:
        return disk.settings(root).table.get("links", True) is not False
    except CkptkitError:  # after a training nothing is refused for a setting
        return True


def directions(cwd: Path) -> dict[str, str]:
    """Of which metrics the least and of which the greatest value is the best: ``min`` or ``max`` by metric.

    Raises:
        CkptkitError: pyproject.toml cannot be read, or its ``metrics`` says anything else.
    """
    table = disk.settings(cwd).table.get("metrics", {})
    if not isinstance(table, Mapping) or not all(way in {"min", "max"} for way in table.values()):
        raise CkptkitError(
            "[tool.ckptkit.metrics] in pyproject.toml is not of the form metric = direction", 'write val_loss = "min"'
        )
    return dict(table)
