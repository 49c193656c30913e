"""The verb ``merge``: what another registry has and this one lacks, versions and events."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ckptkit import (
    change,
    checkpoint,
    disk,
    hashing,
    history,
    index,
    manifest,
    names,
    publication,
    registry,
    roots,
    words,
)
from ckptkit.errors import CkptkitError, FormatError, NotFoundError
from ckptkit.history import State
from ckptkit.numbering import Numbers
from ckptkit.registry import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What ``merge`` did; versions by reference, such as ``penguins/v0002``.

    ``copied`` and ``renumbered`` give for a version there the one here, the latter where its number was another
    version's; ``followed`` gives for a version here the one that it is now, as it was renumbered there; ``moves`` says
    of each alias that the events of there moved where it stood and stands; ``filled`` are versions here whose missing
    files came along, ``deleted`` those there that stay deleted here, and ``events`` the files that came; ``refused``
    says of what was not taken why; ``warnings`` are of what could not be done afterwards.
    """

    copied: dict[str, str] = field(default_factory=dict)
    renumbered: dict[str, str] = field(default_factory=dict)
    followed: dict[str, str] = field(default_factory=dict)
    moves: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    filled: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """A version there, with the files of it to copy and their SHA-256; None for the card, which is not sealed.

    ``whole`` says that these are all; else a version here lacks them.
    """

    version: str
    digest: str
    files: Mapping[str, str | None]
    bytes: int
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """A model there, its folder here, and what to copy."""

    theirs: Model
    folder: Path
    offers: Sequence[_Offer]


def merge(
    other: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    progress: hashing.Progress | None = None,
    expect: Callable[[int], None] | None = None,
) -> Merged:
    """Copy the versions of another registry that this one lacks, and unite the events of both.

    Versions are the same if their digests are. What was renumbered there is renumbered here; a number that stands for
    another version here gives way to one that neither side ever used. So two registries that merge each other agree on
    all numbers and events. What was deleted stays deleted where it is not there, what is there stays, whatever the
    other side did; files that a version here lacks and that were not pruned are filled in. Nothing there is changed,
    and a second merge changes nothing here.

    Args:
        other: the root of the other registry.
        root: the registry root, which is made if need be; see ``roots.default_root``.
        progress: called with the number of bytes copied since the last call.
        expect: called with the number of bytes that will be copied.

    Raises:
        NotFoundError: there is no registry at ``other``.
        CkptkitError: one lies in the other, a model's name fits neither, or the disk is full or refuses. A merge that
            was interrupted is finished by another.
    """
    there, here = Path.cwd() / disk.expand(other), roots.default_root(root, Path.cwd())
    theirs = _models(there, here)
    roots.require_root(here)
    known = index.load(here) if here.is_dir() else dict(index.EMPTY)
    _require_names(theirs, here, known)
    done = Merged()
    try:
        roots.open_root(here)
        works = [_plan(model, here / model.name, _digests(known, model.name), done) for model in theirs]
        total = sum(offer.bytes for work in works for offer in work.offers)
        free = shutil.disk_usage(here).free
        if total > free:
            raise CkptkitError(f"{here} needs {words.size(total)}, {words.size(free)} free", "free some space")
        if expect:
            expect(total)
        with contextlib.ExitStack() as life:
            places = list(_places(works, here, life))
            for work, place in zip(works, places, strict=True):
                _stage(work, place, done, progress)
            with change.begin(here, known) as now:
                before = _aliases(now.index)
                for work, place in zip(works, places, strict=True):
                    _unite(now, work, place, done)
                after = _aliases(now.index)
        stood = {alias: (before.get(alias), after.get(alias)) for alias in sorted({*before, *after})}
        done.moves.update({alias: places for alias, places in stood.items() if places[0] != places[1]})
        done.warnings.extend(now.warnings)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise CkptkitError(f"{where}{disk.reason(error)}", "free some space, then merge again to finish it") from error
    return done


def _aliases(known: Mapping[str, Any]) -> dict[str, str]:
    """Where each alias of a registry stands."""
    return {
        f"{name}@{alias}": version
        for name, part in known["models"].items()
        for alias, version in part["aliases"].items()
    }


def _models(there: Path, here: Path) -> list[Model]:
    """The models of the other registry.

    Raises:
        NotFoundError: there is none.
        CkptkitError: it is this one, or one of the two lies in the other.
    """
    mine, other = disk.real(here), disk.real(there)
    if mine == other or mine in other.parents or other in mine.parents:
        raise CkptkitError(f"{there} and {here} are one registry, or one lies in the other", "name another registry")
    found = list(registry.models(there))
    if not found and not os.path.isdir(there / registry.HOME):  # noqa: PTH112 - see is_model
        raise NotFoundError(f"no registry at {there}", "name the root of another registry")
    return found


def _require_names(theirs: Sequence[Model], here: Path, known: Mapping[str, Any]) -> None:
    listed = [*registry.names_in(here), *(model.name for model in theirs)]
    for model in theirs:
        names.require_unlike(names.require_model(model.name), listed, "model")
        part = index.entry(known, model.name)
        for became, is_left, side, root in (
            (model.state.became, part["versions"] and not model.versions, "there", ""),
            (part["became"], model.versions and not part["versions"], "here", f" --root {model.path.parent}"),
        ):
            if became and is_left:
                command = f"ckptkit rename {model.name} {became}{root}"
                raise CkptkitError(f"{model.name} was renamed {became} {side}", f"run `{command}` first")
        _require_unlike_aliases(model, part)
    _require_homes(theirs, known)


def _require_homes(theirs: Sequence[Model], known: Mapping[str, Any]) -> None:
    """Refuse a model that is here under another name, as both sides renamed it: it would come a second time."""
    homes = {row["digest"]: name for name, part in known["models"].items() for row in part["versions"].values()}
    for model in theirs:
        digests = (digest for saved in model.state.digests.values() for digest in saved)
        others = sorted({homes[digest] for digest in digests if digest in homes})
        if model.versions and others and not index.entry(known, model.name)["versions"]:
            command = f"ckptkit rename {model.name} {others[0]} --root {model.path.parent}"
            raise CkptkitError(f"{model.name} there has versions of {others[0]} here", f"run `{command}`")


def _require_unlike_aliases(theirs: Model, part: Mapping[str, Any]) -> None:
    folded = {alias.lower(): alias for alias in part["aliases"]}
    for alias in theirs.state.aliases:
        if folded.get(alias.lower(), alias) != alias:
            words = f"{theirs.name}@{alias} there differs from @{folded[alias.lower()]} here by case alone"
            raise CkptkitError(words, f"run `ckptkit alias rm {theirs.name}@{alias} --root {theirs.path.parent}` first")


def _plan(theirs: Model, folder: Path, at: Mapping[str, str], done: Merged) -> _Work:
    """What is to be copied of a model's versions; ``at`` are the folders here by digest."""
    here = registry.read_model(folder)
    lives, offers = history.by_digest((*here.events, *theirs.events)), dict[str, _Offer]()
    for version in theirs.versions:
        ref = f"{theirs.name}/{version}"
        try:
            offer = _offer(theirs, version, here, at, lives)
        except FormatError as error:
            done.refused[ref] = error.message
            continue
        if offer.whole and offer.digest in lives.deleted:
            done.deleted.append(ref)
        elif offer.files:
            offers.setdefault(offer.digest, offer)
    for name, why in theirs.broken.items():
        if not os.path.lexists(folder / registry.HISTORY / name):
            done.refused[f"{theirs.name}/{registry.HISTORY}/{name}"] = why.reason
    return _Work(theirs=theirs, folder=folder, offers=tuple(offers.values()))


def _digests(known: Mapping[str, Any], model: str) -> dict[str, str]:
    """The version folder of each digest; of two copies the one that was saved."""
    rows = index.entry(known, model)["versions"]
    found = sorted(rows, key=lambda version: rows[version]["event"] is not None)
    return {rows[version]["digest"]: version for version in found if rows[version]["digest"]}


def _offer(theirs: Model, version: str, here: Model, at: Mapping[str, str], lives: State) -> _Offer:
    """What may be copied of a version there.

    Raises:
        FormatError: its SHA256SUMS cannot be read, or it lacks a file that was not pruned.
    """
    source = theirs.path / version
    try:
        data = disk.read_regular(source / checkpoint.SUMS)
        sums = manifest.load(data)
    except FormatError as error:
        raise FormatError(f"{checkpoint.SUMS} {error.message}") from error
    sha256 = hashlib.sha256(data).hexdigest()
    digest = f"sha256:{sha256}"
    there = {path for path in (*sums, checkpoint.SUMS, checkpoint.CARD) if os.path.lexists(source / path)}
    pruned = lives.pruned.get(digest, frozenset())
    place = here.path / at[digest] if digest in at else None
    if place is not None:
        there = {path for path in there if path not in pruned and not os.path.lexists(place / path)}
    elif lost := sums.keys() - there - pruned:
        raise FormatError(f"lacks {min(lost)}")
    sealed = {**sums, checkpoint.SUMS: sha256, checkpoint.CARD: None}
    return _Offer(
        version=version,
        digest=digest,
        files={path: known for path, known in sealed.items() if path in there},
        bytes=sum((source / path).lstat().st_size for path in there),
        whole=place is None,
    )


def _places(works: Sequence[_Work], here: Path, life: contextlib.ExitStack) -> Iterator[Path]:
    """Where the copies of each model wait: in one stage on each disk that they will be renamed on."""
    stages: dict[Path, Path] = {}
    for work in works:
        home = publication.private(here, work.folder)
        if home not in stages:
            stages[home] = life.enter_context(publication.open_stage(here, work.folder)).folder
        yield stages[home] / work.theirs.name


def _stage(work: _Work, place: Path, done: Merged, progress: hashing.Progress | None) -> None:
    """Copy what is missing of a model into the private folder ``place``; what does not verify is left out."""
    for offer in work.offers:
        try:
            publication.copy(work.theirs.path / offer.version, place / offer.version, offer.files, progress)
        except CkptkitError as error:
            shutil.rmtree(place / offer.version, ignore_errors=True)
            done.refused[f"{work.theirs.name}/{offer.version}"] = error.message
    (place / registry.HISTORY).mkdir(parents=True)
    for name in (f"{event.id}.json" for event in work.theirs.events):
        if not os.path.lexists(work.folder / registry.HISTORY / name):
            data = disk.read_regular(work.theirs.path / registry.HISTORY / name)
            disk.write_new(place / registry.HISTORY / name, data)


def _unite(now: change.Change, work: _Work, place: Path, done: Merged) -> None:
    """Put a model's copies in place: the versions, then events that settle their numbers, then the events of there."""
    name, folder = work.theirs.name, work.folder / registry.HISTORY
    here, at = registry.read_model(work.folder), _digests(now.index, name)
    lives = history.by_digest((*here.events, *work.theirs.events))
    staged = {offer.digest: offer for offer in work.offers if (place / offer.version).is_dir()}
    known = {*at, *lives.deleted}
    coming = {digest: offer.version for digest, offer in staged.items() if offer.whole and digest not in known}
    arrived = [path for path in sorted((place / registry.HISTORY).iterdir()) if not os.path.lexists(folder / path.name)]
    if staged or arrived:
        folder.mkdir(parents=True, exist_ok=True)
    numbers = Numbers(here, work.theirs, at, coming)
    moved = numbers.follow()
    done.followed.update((f"{name}/{at[digest]}", f"{name}/{version}") for digest, version in moved.items())
    for digest, version in {**at, **moved}.items():
        offer = staged.get(digest)
        if offer and _fill(work.folder / version, place / offer.version, offer.files):
            done.filled.append(f"{name}/{version}")
    for digest, version in coming.items():
        done.copied[f"{name}/{version}"] = f"{name}/{numbers.place(place / version, digest)}"
    events = numbers.events([digest for digest in coming if digest not in lives.saved])
    now.record(*events)
    for event in events:
        if event.was and event.digest not in moved:
            done.renumbered[f"{name}/{event.was}"] = f"{name}/{event.version}"
    for path in arrived:
        path.rename(folder / path.name)
        done.events.append(f"{name}/{registry.HISTORY}/{path.name}")
    disk.sync_folder(folder)
    now.reread(name)


def _fill(version: Path, draft: Path, files: Iterable[str]) -> bool:
    """Put files into a version that lacks them; whether any was."""
    lacking = [path for path in files if not os.path.lexists(version / path)]
    for path in lacking:
        (version / path).parent.mkdir(parents=True, exist_ok=True)
        (draft / path).rename(version / path)
        disk.sync_folder((version / path).parent)
    return bool(lacking)
