"""Registry roots: which folder is meant, whether it may become one, its lock."""

import os
from pathlib import Path
from typing import Any

from ckptkit import disk, registry
from ckptkit.errors import CkptkitError, FormatError, NotFoundError


def default_root(explicit: str | os.PathLike[str] | None, cwd: Path) -> Path:
    """The registry root: the named one, or ``runs`` in the project.

    Raises:
        CkptkitError: pyproject.toml cannot be read, or its ``root`` is not a string.
    """
    return named_root(explicit, cwd) or (disk.project_root(cwd) or cwd) / "runs"


def named_root(explicit: str | os.PathLike[str] | None, cwd: Path) -> Path | None:
    """The registry root that was asked for, else ``$CKPTKIT_ROOT``, else the project's setting; None without any.

    Raises:
        CkptkitError: pyproject.toml cannot be read, or its ``root`` is not a string.
    """
    if explicit is not None and explicit != "":  # an empty variable of a script's
        if not _is_path(explicit):
            raise CkptkitError(f"{explicit!r} is no path for a registry root", "give a folder, such as runs")
        return cwd / disk.expand(explicit)
    if os.environ.get("CKPTKIT_ROOT"):
        return cwd / disk.expand(os.environ["CKPTKIT_ROOT"])
    settings = disk.settings(cwd)
    if settings.file is None or "root" not in settings.table:
        return None
    root = settings.table["root"]
    if not isinstance(root, str) or not root:
        raise CkptkitError("[tool.ckptkit] root in pyproject.toml is not a path", 'write root = "runs"')
    return settings.file.parent / disk.expand(root)


def _is_path(value: object) -> bool:
    """Whether a file system could have such a path at all: text without a NUL."""
    try:
        text = os.fspath(value)  # type: ignore[call-overload]  # whatever a script passed
        return isinstance(text, str) and b"\0" not in os.fsencode(text)
    except (TypeError, UnicodeEncodeError):
        return False


def moment(text: str) -> str:
    """A time that a person gave, in the form in which events bear it; a bare date is the end of that day, UTC.

    Args:
        text: RFC 3339, such as ``2026-05-03T12:00:00+02:00``, or a date; without an offset it is UTC.

    Raises:
        CkptkitError: it is no time.
    """
    from datetime import UTC, datetime, time

    try:
        found = datetime.fromisoformat(text)
        if len(text) <= len("2026-05-03"):
            found = datetime.combine(found.date(), time.max)
        found = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise CkptkitError(f"{text!r} is no time", "write 2026-05-03 or 2026-05-03T12:00:00Z") from None
    return found.isoformat(timespec="microseconds").replace("+00:00", "Z")


def require_registry(root: Path) -> None:
    """Refuse a folder that is no registry, before anything is written into it.

    Raises:
        NotFoundError: there is none.
    """
    there = os.path.isdir(root)  # noqa: PTH112 - Path.is_dir raises on a name that is too long
    if not there or not ((root / registry.HOME).is_dir() or any(registry.model_names(root))):
        raise NotFoundError(f"no registry at {root}", "name its root with --root DIR, or save a version first")


def require_root(root: Path) -> None:
    """Refuse a registry root that could not be made or written to; nothing is made.

    Raises:
        CkptkitError: it could not.
    """
    place = next(folder for folder in (root, *root.parents) if os.path.lexists(folder))
    if not place.is_dir():
        raise CkptkitError(f"the registry root {root} is not a folder", "give another one with --root DIR")
    if place == root and not os.path.lexists(root / registry.HOME) and not _is_free(root / registry.INDEX):
        words = f"{root} holds an {registry.INDEX} that is not ckptkit's"
        raise CkptkitError(words, "give another one with --root DIR")
    if not os.access(place, os.W_OK | os.X_OK):
        raise CkptkitError(f"the registry root {root} cannot be written", "give another one with --root DIR")


def _is_free(path: Path) -> bool:
    """Whether an index may be written there: nothing is there yet, or one of ours."""
    try:
        return not os.path.lexists(path) or b'"ckptkit/index/' in disk.read_regular(path)
    except FormatError:
        return False


def open_root(root: Path) -> None:
    """Make a registry root of a folder, once: its private folder and the two files that tell git what to keep.

    Raises:
        CkptkitError: it cannot be made or written to.
    """
    try:
        (root / registry.HOME).mkdir(parents=True, exist_ok=True)
        for name, text in ((".gitignore", _GITIGNORE), (".gitattributes", _GITATTRIBUTES)):
            if not os.path.lexists(root / name):
                disk.create(root / name, text.encode())
        if not os.access(root, os.W_OK | os.X_OK) or not os.access(root / registry.HOME, os.W_OK | os.X_OK):
            raise CkptkitError(f"the registry root {root} is not writable", "give another one with --root DIR")
    except FileExistsError:
        if not (root / registry.HOME).is_dir():
            raise CkptkitError(
                f"the registry root {root} is not a folder", "give another one with --root DIR"
            ) from None
    except OSError as error:
        raise CkptkitError(
            f"the registry root {root} cannot be written: {disk.reason(error)}", "give another one with --root DIR"
        ) from error


_GITATTRIBUTES = "# Digests are over bytes: no newline conversion here.\n* -text\n"
_GITIGNORE = """\
# Records go into git, weights and this machine's side do not.
/.ckptkit/
/*/history/.*
/*/v[0-9]*/**
!/*/v[0-9]*/**/
!/*/v[0-9]*/README.md
!/*/v[0-9]*/config.yaml
!/*/v[0-9]*/lineage.json
!/*/v[0-9]*/requirements*.txt
!/*/v[0-9]*/code.patch
!/*/v[0-9]*/SHA256SUMS
!/*/v[0-9]*/data/*.sha256
!/*/v[0-9]*/data/*.sizes
!/*/v[0-9]*/code/**
"""


def locked(root: Path) -> Any:  # noqa: ANN401 - a context manager
    """The lock of a registry root, held by whoever changes numbers or derived files."""
    return disk.lock(root / registry.HOME / "lock")
