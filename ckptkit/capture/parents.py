"""What a version was made from: references into the registry, and files from elsewhere by their digest."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

from ckptkit import checkpoint, disk, hashing, names, redact, references
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.record import Parent, Relation
from ckptkit.registry import Version

RELATIONS: tuple[str, ...] = get_args(Relation)


def read(given: object, *, root: Path, index: Mapping[str, Any], project: Path, cwd: Path) -> Parent:
    """A parent as it was given.

    Args:
        given: a ``Version``, a reference, a path, any of them with ``:RELATION`` behind it or in a pair with the
            relation, or a mapping with ``ref`` and ``relation``.
        root: the registry root that references are into.
        index: its index.
        project: what recorded paths are relative to.
        cwd: what given paths are relative to.

    Raises:
        CkptkitError: there is no such parent, or no such relation.
    """
    ref, said = _parts(given)
    if said is not None and said not in RELATIONS:
        raise CkptkitError(f"{said!r} is no relation to a parent", f"write one of {', '.join(RELATIONS)}")
    relation = cast("Relation | None", said)
    if isinstance(ref, Version):
        return Parent(ref=ref.ref, digest=ref.digest, relation=relation)
    path = cwd / disk.expand(ref)
    is_version = (path / checkpoint.SUMS).is_file()
    is_path = isinstance(ref, os.PathLike) or (
        os.path.lexists(path) and not (is_version and ref.partition("/")[0] in index["models"])
    )
    if is_path and not is_version:
        holder = _holder(path, root)
        if holder is None:
            shown, _ = redact.path(path, project)
            return Parent(ref=shown, digest=_digest(path), relation=relation)
        path = holder
    found = references.resolve(root, index, str(path) if is_path else ref, cwd=cwd)
    return Parent(ref=found.ref, digest=found.digest, relation=relation)


def _holder(path: Path, root: Path) -> Path | None:
    """The version of this registry that a path is part of; None where nothing is there."""
    for folder in disk.real(path).parents if path.exists() else ():
        ours = names.folder_number(folder.name) and folder.parent == disk.real(root / folder.parent.name)
        if ours and checkpoint.is_whole(folder):
            return folder
    return None


def _parts(given: Any) -> tuple[Any, str | None]:  # noqa: ANN401 - as read
    if isinstance(given, Mapping):
        return given.get("ref"), given.get("relation")
    if isinstance(given, tuple) and len(given) == len(("ref", "relation")):
        return given[0], str(given[1])
    if isinstance(given, str):
        ref, colon, last = given.rpartition(":")
        return (ref, last) if colon and last in RELATIONS else (given, None)
    if isinstance(given, Version | os.PathLike):
        return given, None
    raise CkptkitError(f"{given!r} is no parent", "give a reference such as penguins/v0001, or a path")


def _digest(path: Path) -> str:
    if path.is_dir():
        return hashing.tree(path).digest
    try:
        return f"sha256:{hashing.file_sha256(path)}"
    except FormatError as error:
        raise CkptkitError(
            f"the parent {path} {error.message}", "give a reference or the path of its weights"
        ) from error
