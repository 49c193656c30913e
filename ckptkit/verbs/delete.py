"""The verb ``delete``: versions go, and an event says what they were."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ckptkit import change, disk, index, names, references, registry, removal, roots, transaction
from ckptkit.change import Change
from ckptkit.errors import CkptkitError, FormatError, NotFoundError
from ckptkit.record import SealedFile
from ckptkit.removal import Removal


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """Versions that are to be deleted or, where ``done``, were: ``freed`` are the bytes that this gives back."""

    removals: tuple[Removal, ...]
    freed: int
    done: bool = False
    warnings: tuple[str, ...] = ()


def delete(
    ref: str,
    *,
    every: bool = False,
    force: bool = False,
    reason: str | None = None,
    root: str | os.PathLike[str] | None = None,
    agree: Callable[[Deletion], bool] = lambda _: True,
) -> Deletion:
    """Delete a version, or all versions of a model; the numbers are never used again.

    A version that something else removed is deleted too: that writes the event which says so. Damaged ones may go as
    well. Stricter and safer than MLflow's registry: a version that bears an alias or is in production stays unless it
    is forced, and then its aliases are taken from it by events of their own, which can be undone; the files go, not
    the record alone; what the version was, its digest and those of its files, stays known; and so does the model's
    history when all of its versions are gone.

    Args:
        ref: a version, by any reference but a model's name alone; with ``every`` a model's name.
        every: delete all versions of the model.
        force: also versions that bear an alias or are in production.
        reason: why, for the history.
        root: the registry root; see ``roots.default_root``.
        agree: asked with what would be deleted; nothing is, unless it says so.

    Raises:
        CkptkitError: ``ref`` is no version of this registry, or it may not or cannot be deleted.
        NotFoundError: there is no such registry, model or version, or it was deleted before.
    """
    home, cwd = roots.default_root(root, Path.cwd()), Path.cwd()
    last = index.stored(home)  # what nobody has read since a folder was removed, it alone still tells
    known = index.build(home, last)
    plan = _plan(home, known, *_chosen(home, known, ref, cwd, every=every), last)
    if not force:
        removal.refuse_marked(plan.removals, "take that from it first, or add --force")
    if not agree(plan):
        return plan
    with change.begin(home, known) as now:
        if _plan(home, now.index, *_chosen(home, now.index, ref, cwd, every=every), last).removals != plan.removals:
            raise CkptkitError(f"{ref} changed meanwhile; nothing was deleted", "run the command again")
        _delete(now, plan.removals, reason)
    return replace(plan, done=True, warnings=tuple(now.warnings))


def _delete(now: Change, removals: Iterable[Removal], reason: str | None) -> None:
    bared = [
        now.event("alias", each.model, None, alias=alias, reason=reason) for each in removals for alias in each.aliases
    ]
    events = [
        now.event("deleted", each.model, each.version, digest=each.digest, files=each.files, reason=reason)
        for each in removals
    ]
    transaction.require_movable(now, *events)
    now.record(*bared)
    transaction.carry_out(now, *events, before="only aliases were removed" if bared else "nothing was changed")


def _chosen(root: Path, known: Mapping[str, Any], ref: str, cwd: Path, *, every: bool) -> tuple[str, list[str]]:
    """The model, and the versions of it that are meant; among them those whose folder is gone or damaged."""
    if ref not in known["models"]:
        if every:
            references.require_model(root, known, ref)
        model, version = _named(root, known, ref, cwd)
        return model, [version]
    if not every:
        raise CkptkitError(f"{ref!r} names a model", f"name a version, such as {ref}/1, or add --all for all of them")
    standing = sorted(_standing(known["models"][ref]), key=lambda version: names.folder_number(version) or 0)
    if not standing:
        raise NotFoundError(f"the model {ref!r} has no version", "there is nothing to delete")
    return ref, standing


def _named(root: Path, known: Mapping[str, Any], ref: str, cwd: Path) -> tuple[str, str]:
    if references.is_path(ref):
        folder = disk.real(cwd / disk.expand(ref))
        for model, part in known["models"].items():
            if disk.real(root / model) == folder.parent and folder.name in _standing(part):
                return model, folder.name
        raise CkptkitError(f"{ref} is no version of the registry {root}", "name a version, such as penguins/v0001")
    model, _, number = ref.partition("/")
    version = names.version_name(names.version_number(number) or 0)
    if model in known["models"] and version in _standing(known["models"][model]):
        return model, version
    found = references.resolve(root, known, ref, cwd=cwd, exact=True)
    return found.path.parent.name, found.path.name


def _standing(part: Mapping[str, Any]) -> Collection[str]:
    """The versions that were not deleted, whether their folders are there or not."""
    gone = part["gone"]
    return {*part["versions"], *(version for version in gone if gone[version]["deleted"] is None)}


def _plan(
    root: Path, known: Mapping[str, Any], model: str, versions: Collection[str], last: Mapping[str, Any]
) -> Deletion:
    part, rows = known["models"][model], index.entry(last, model)["versions"]
    told = registry.read_model(root / model).state.digests
    paths = {version: list(_files(root / model / version)) for version in versions}
    removals = tuple(
        Removal(
            model=model,
            version=version,
            digest=(digest := _digest(part, version, told.get(version, ()))),
            files=tuple(_sealed(root / model / version, rows.get(version, {}), digest)),
            bytes=sum(map(_size, paths[version])),
            aliases=tuple(alias for alias, target in part["aliases"].items() if target == version),
            stage=part["stages"].get(version),
        )
        for version in versions
    )
    return Deletion(removals=removals, freed=removal.freed(path for each in paths.values() for path in each))


def _digest(part: Mapping[str, Any], version: str, told: Sequence[str]) -> str | None:
    """The digest of what goes; where its folder does not tell, that of the one version ever saved under the number."""
    row = part["versions"].get(version) or part["gone"][version]
    digest: str | None = row["digest"]
    if version in part["gone"] or digest in told:
        return digest
    if row["event"] is None:
        others = (known["digest"] for other, known in part["versions"].items() if other != version)
        return None if digest in others else digest  # the event of a second copy is not to speak of the first
    return told[0] if len(told) == 1 else None


def _files(folder: Path) -> Iterator[Path]:
    for place, _, files in os.walk(folder):
        yield from (Path(place, name) for name in files)


def _sealed(folder: Path, row: Mapping[str, Any], digest: str | None) -> Iterator[SealedFile]:
    """The files that SHA256SUMS lists; where it cannot be read or is gone, those of the index, if it knew this one."""
    try:
        yield from removal.sealed(folder)
    except FormatError:
        for path, sha256 in row.get("files", {}).items() if digest and row.get("digest") == digest else ():
            yield SealedFile(path=path, bytes=None, sha256=sha256)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
