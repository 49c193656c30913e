"""The verb ``show``: everything that is recorded of one version, for a person to read on one screen."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ckptkit import checkpoint, disk, hashing, manifest, references, roots
from ckptkit.checkpoint import Unreadable
from ckptkit.errors import FormatError
from ckptkit.record import Event, Lineage
from ckptkit.registry import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A version and what is known of it.

    ``asked`` is the reference as it was typed; ``lineage`` the record, or why it cannot be read; ``saved`` the time of
    the ``saved`` event, None without one; ``damage`` says what of the record is not as it was sealed, None when all is.
    ``stage`` is None for none, ``text`` the description; ``evaluations`` are in the order of time; ``digested`` are the
    events that later gave datasets their digest, by name; ``pruned`` are the paths of files that were removed on
    purpose and are not there.
    """

    version: Version
    asked: str
    lineage: Lineage | Unreadable
    aliases: tuple[str, ...]
    saved: str | None
    damage: str | None
    stage: str | None = None
    text: str | None = None
    evaluations: tuple[Event, ...] = ()
    digested: Mapping[str, Event] = field(default_factory=dict)
    pruned: tuple[str, ...] = ()


def show(ref: str, *, at: str | None = None, root: str | os.PathLike[str] | None = None) -> Shown:
    """What is recorded of a version. The weights are not read: that is for ``path`` and ``check``.

    Args:
        ref: a reference such as ``penguins@champion``.
        at: the reference is read, and what is said of the version told, as of this time.
        root: the registry root; see ``roots.default_root``.

    Raises:
        CkptkitError: it is no reference, or the version has no readable SHA256SUMS.
        NotFoundError: it names nothing, or there is no such registry.
    """
    then = None if at is None else roots.moment(at)
    found = references.find(ref, root=roots.default_root(root, Path.cwd()), cwd=Path.cwd(), at=then)
    return Shown(
        version=found.version,
        asked=ref,
        lineage=_lineage(found.version.path),
        aliases=found.aliases,
        saved=found.saved.time if found.saved else None,
        damage=_damage(found.version.path, found.saved),
        stage=found.stage,
        text=found.text,
        evaluations=found.evaluations,
        digested=found.digested,
        pruned=tuple(path for path in sorted(found.pruned) if not os.path.lexists(found.version.path / path)),
    )


def _lineage(folder: Path) -> Lineage | Unreadable:
    try:
        return checkpoint.read_lineage(folder)
    except FormatError as error:
        return Unreadable(reason=error.message, hint=error.hint, line=error.line, column=error.column)


def _damage(folder: Path, event: Event | None) -> str | None:
    try:
        sums = manifest.load(disk.read_regular(folder / checkpoint.SUMS))
        if event is not None and event.digest != f"sha256:{hashing.file_sha256(folder / checkpoint.SUMS)}":
            return f"{checkpoint.SUMS} is not the one that was sealed at save"
    except FormatError as error:
        return f"{checkpoint.SUMS}: {error.message}"
    try:
        sealed = hashing.file_sha256(folder / checkpoint.LINEAGE) == sums.get(checkpoint.LINEAGE)
    except FormatError as error:
        return f"{checkpoint.LINEAGE} {error.message}"
    return None if sealed else f"{checkpoint.LINEAGE} is not as it was sealed at save"
