"""The verb ``show``: everything that is recorded of one version, for a person to read on one screen."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckptkit import checkpoint, disk, hashing, index, references, registry
from ckptkit.checkpoint import Unreadable
from ckptkit.errors import FormatError, NotFoundError
from ckptkit.record import Event, Lineage
from ckptkit.registry import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A version and what is known of it.

    ``asked`` is the reference as it was typed; ``lineage`` the record, or why it cannot be read; ``saved`` the time of
    the ``saved`` event, None without one; ``damage`` says what of the record is not as it was sealed, None when all is.
    """

    version: Version
    asked: str
    lineage: Lineage | Unreadable
    aliases: tuple[str, ...]
    saved: str | None
    damage: str | None


def show(ref: str, *, root: str | os.PathLike[str] | None = None) -> Shown:
    """What is recorded of a version. The weights are not read: that is for ``path`` and ``check``.

    Args:
        ref: a reference such as ``penguins@champion``.
        root: the registry root; see ``registry.default_root``.

    Raises:
        CkptkitError: it is no reference, or the version has no readable SHA256SUMS.
        NotFoundError: it names nothing, or there is no such registry.
    """
    cwd = Path.cwd()
    home = registry.default_root(root, cwd)
    known: dict[str, Any] = {"models": {}}
    if ref[:1] not in {".", "/", "~"}:
        if not os.path.isdir(home):  # noqa: PTH112 - Path.is_dir raises on a name that is too long
            raise NotFoundError(f"no registry at {home}", "name its root with --root DIR")
        known = index.load(home)
    version = references.resolve(home, known, ref, cwd=cwd)
    aliases, event = _history(version, known)
    return Shown(
        version=version,
        asked=ref,
        lineage=_lineage(version.path),
        aliases=tuple(sorted(alias for alias, target in aliases.items() if target == version.path.name)),
        saved=event.time if event else None,
        damage=_damage(version.path, event),
    )


def _history(version: Version, known: Mapping[str, Any]) -> tuple[Mapping[str, str], Event | None]:
    """The model's aliases and the version's ``saved`` event, by way of the index where it has them."""
    part = known["models"].get(version.path.parent.name)
    if part is None:  # a path, which may lead anywhere
        model = registry.read_model(version.path.parent)
        return model.aliases, model.saved.get(version.path.name)
    identity = part["versions"][version.path.name]["event"]
    event = registry.read_event(version.path.parent / registry.HISTORY / f"{identity}.json")
    return part["aliases"], None if isinstance(event, Unreadable) else event


def _lineage(folder: Path) -> Lineage | Unreadable:
    try:
        return checkpoint.read_lineage(folder)
    except FormatError as error:
        return Unreadable(reason=error.message, hint=error.hint, line=error.line, column=error.column)


def _damage(folder: Path, event: Event | None) -> str | None:
    try:
        sums = hashing.load_manifest(disk.read_regular(folder / checkpoint.SUMS))
        if event is not None and event.digest != f"sha256:{hashing.file_sha256(folder / checkpoint.SUMS)}":
            return f"{checkpoint.SUMS} is not the one that was sealed at save"
    except FormatError as error:
        return f"{checkpoint.SUMS}: {error.message}"
    try:
        sealed = hashing.file_sha256(folder / checkpoint.LINEAGE) == sums.get(checkpoint.LINEAGE)
    except FormatError as error:
        return f"{checkpoint.LINEAGE} {error.message}"
    return None if sealed else f"{checkpoint.LINEAGE} is not as it was sealed at save"
