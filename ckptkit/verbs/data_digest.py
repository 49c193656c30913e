"""The verb ``data digest`` of a version: the digest that one of its datasets still lacks."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from ckptkit import (
    change,
    checkpoint,
    content,
    disk,
    hashing,
    index,
    inventory,
    redact,
    references,
    registry,
    roots,
    scanning,
    seen,
)
from ckptkit.capture import process
from ckptkit.content import Digest
from ckptkit.errors import CkptkitError, FormatError, NotFoundError
from ckptkit.manifest import Listing
from ckptkit.record import AT_SAVE, Dataset, Event, Lineage, SealedFile
from ckptkit.registry import Version
from ckptkit.words import moment

_LISTED = 10_000
"""Most files that an event lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """A version's dataset with its digest, and what was found of it at hand.

    ``event`` is None where the digest was known already; ``found`` is then the same or not.
    """

    version: Version
    dataset: Dataset
    found: Digest
    event: Event | None
    warnings: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether the data at hand is that of the version."""
        return self.dataset.digest == self.found.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A dataset of a version as its record has it, and as it is known by now."""

    version: Version
    lineage: Lineage
    dataset: Dataset
    known: Dataset

    @property
    def words(self) -> str:
        """How it is called."""
        return f"the dataset {self.dataset.name} of {self.version.ref}"


def add(
    ref: str,
    name: str,
    path: str | os.PathLike[str] | None = None,
    *,
    cached: bool = True,
    root: str | os.PathLike[str] | None = None,
    progress: hashing.Progress | None = None,
    expect: Callable[[int], None] | None = None,
) -> Added:
    """Add to the history of a version the digest of a dataset that was not known when it was saved.

    The data counts as that of the version if it has the names and sizes that were recorded; files that were written
    since are named in the event. Where the digest is known already, the data is only compared with it.

    Args:
        ref: a reference of one version.
        name: the dataset.
        path: where the data is; without it, where it was at the save, or where this machine saw it.
        cached: whether the digests of unchanged files are taken from the cache.
        root: the registry root; see ``roots.default_root``.
        progress: called with the number of bytes hashed since the last call.
        expect: called with the number of bytes that will be hashed.

    Raises:
        CkptkitError: the data is not there, or is not what was saved; or the disk refuses. Nothing was changed.
        NotFoundError: the reference or the name names nothing.
    """
    home, cwd = roots.default_root(root, Path.cwd()), Path.cwd()
    known = index.load(home)
    asked = _asked(references.resolve(home, known, ref, cwd=cwd, exact=True), name, known)
    places = _places(asked, home, cwd) if path is None else [content.named(path)]
    if asked.known.digest:
        found = content.digest(places[0], cached=cached, progress=progress, expect=expect)
        done = Added(version=asked.version, dataset=asked.known, found=found, event=None, warnings=())
    else:
        place, listing = _matching(asked, places)
        if expect:
            expect(listing.bytes)
        found = content.digest(place, cached=cached, progress=progress)
        if inventory.listing(place).rows != listing.rows:
            raise CkptkitError(f"{place} {scanning.CHANGED}", scanning.QUIET)
        done = _record(home, known, asked, found, _facts(asked, found, listing, process.project(cwd)))
    if done.is_same:
        seen.remember(home, found.digest, Path(os.path.abspath(found.path)), found.size, found.files)  # noqa: PTH100
    return done


def _asked(version: Version, name: str, known: Mapping[str, Any]) -> _Asked:
    """The dataset of a name.

    Raises:
        CkptkitError: the version's record cannot be read, or the dataset was never on disk.
        NotFoundError: the version has none of that name.
    """
    folder = version.path
    try:
        lineage = checkpoint.read_lineage(folder)
    except FormatError as error:
        words = f"{folder / checkpoint.LINEAGE} {error.message}"
        raise CkptkitError(words, f"see `ckptkit check {folder}`") from error
    dataset = next((each for each in lineage.data if each.name == name), None)
    if dataset is None:
        names = ", ".join(each.name for each in lineage.data) or "none"
        raise NotFoundError(f"{version.ref} has no dataset {name!r}", f"its datasets are {names}")
    row = index.entry(known, folder.parent.name)["versions"].get(folder.name, {})
    event = registry.read_event(folder.parent / registry.HISTORY / f"{row.get('digested', {}).get(name)}.json")
    later = event if isinstance(event, Event) else None
    asked = _Asked(version=version, lineage=lineage, dataset=dataset, known=inventory.known(dataset, later))
    if dataset.kind not in {"file", "directory"}:
        where = "in memory" if dataset.kind == "memory" else "remote"
        raise CkptkitError(f"{asked.words} was {where}: no file has its content", "save with a copy of it on disk")
    return asked


def _places(asked: _Asked, root: Path, cwd: Path) -> list[Path]:
    """Where the data may be on this machine, the likeliest place first.

    Raises:
        CkptkitError: it is in none of them.
    """
    recorded, key = asked.dataset.path, _key(asked)
    own = [process.project(cwd) / disk.expand(recorded)] if recorded and not asked.dataset.outside else []
    there = [place for place in (*own, *(seen.recall(root, key) if key else ())) if os.path.lexists(place)]
    if not there:
        command = f"ckptkit data digest {asked.version.ref} {asked.dataset.name} PATH"
        raise CkptkitError(f"{asked.words}, {recorded}, is not to be found here", f"say where it is: `{command}`")
    return there


def _key(asked: _Asked) -> str | None:
    """The key under which ``seen`` knows the data; see there."""
    dataset = asked.dataset
    if asked.known.digest:
        return asked.known.digest
    if dataset.kind == "file" and dataset.path and dataset.bytes is not None:
        return seen.unhashed_file(dataset.path.rpartition("/")[2], dataset.bytes)
    with contextlib.suppress(FormatError):
        return f"sha256:{hashing.file_sha256(asked.version.path / dataset.sizes)}" if dataset.sizes else None
    return None


def _matching(asked: _Asked, places: Sequence[Path]) -> tuple[Path, Listing]:
    """The first place that holds what was saved, by names and sizes, and what is there.

    Raises:
        CkptkitError: there is none; it tells of the first.
    """
    for place in places:
        with contextlib.suppress(CkptkitError):
            return place, inventory.require(asked.version.path, asked.dataset, place)
    return places[0], inventory.require(asked.version.path, asked.dataset, places[0])


def _facts(asked: _Asked, found: Digest, listing: Listing, project: Path) -> dict[str, Any]:
    """The fields of the event."""
    path, outside = redact.path(found.path, project)
    dataset = replace(
        asked.dataset,
        path=path,
        outside=outside,
        digest=found.digest,
        files=found.files,
        bytes=found.size,
        sizes=None,
        observed=AT_SAVE,
    )
    fact, saved = f"data.{dataset.name}", moment(asked.lineage.created)
    unknown = {each: why for each, why in asked.lineage.unknown.items() if each == f"{fact}.changed_during_run"}
    since = (saved + timedelta(seconds=1)).timestamp() * 1e9 if saved else float("inf")  # the record has no fractions
    if written := [path for path, state in listing if state.mtime >= since]:
        unknown[f"{fact}.digest"] = f"is of what was written after the save: {inventory.some(written)}"
    files = () if found.manifest is None else found.manifest
    if found.files > _LISTED:
        files, unknown["files"] = (), f"{found.files:,} are left out: an event lists at most {_LISTED:,}"
    sealed = (SealedFile(path=each.path, bytes=each.bytes, sha256=each.sha256) for each in files)
    return {"data": (dataset,), "files": tuple(sealed), "unknown": unknown}


def _record(home: Path, known: dict[str, Any], asked: _Asked, found: Digest, facts: Mapping[str, Any]) -> Added:
    """Write the event, unless the version is another one by now, or somebody was faster."""
    model, name = asked.version.path.parent.name, asked.version.path.name
    with change.begin(home, known) as now:
        row = index.entry(now.index, model)["versions"].get(name)
        if row is None or row["digest"] != asked.version.digest or asked.dataset.name in row.get("digested", ()):
            words = f"{asked.version.ref} is another one by now, or gone, or {asked.dataset.name} has its digest"
            raise CkptkitError(words, "see `ckptkit list`, then say it again")
        event = now.event("digested", model, name, **facts)
        now.record(event)
        now.reread(model)
    doubt = event.unknown.get(f"data.{asked.dataset.name}.digest")
    told = [f"the digest of {asked.words} {doubt}"] if doubt else []
    return Added(
        version=asked.version, dataset=event.data[0], found=found, event=event, warnings=(*told, *now.warnings)
    )
