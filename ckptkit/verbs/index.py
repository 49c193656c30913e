"""The verb ``index``: everything derived, made again from folders and events."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckptkit import change, checkpoint, disk, names, publication, registry, roots, takein
from ckptkit import index as derived
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.registry import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What ``index`` found and changed.

    ``models`` and ``versions`` are counts; ``written`` the derived files that were not as they should be; ``links``
    what was done to alias links such as ``penguins/@champion``; ``taken_in`` the references of versions that by the
    history were not here; ``unreadable`` says of each version that cannot be read why; ``warnings`` are of what could
    not be finished.
    """

    models: int
    versions: int
    written: tuple[str, ...]
    links: Mapping[str, str]
    taken_in: tuple[str, ...]
    unreadable: Mapping[str, str]
    warnings: tuple[str, ...] = ()


def index(root: str | os.PathLike[str] | None = None) -> Rebuilt:
    """Finish what killed commands left, take in versions that are not in the history, and write all that is derived.

    Taken in is what verifies: versions that the history does not know, and deleted ones that are here again. Derived
    are index.json, README.md and the alias links; with ``links = false`` in ``[tool.ckptkit]`` links are removed.
    What a copy that followed links, or git on a system without them, left in a link's place is replaced if it is, to
    the byte, a version that is there; any other file or folder stays.

    Args:
        root: the registry root; see ``roots.default_root``.

    Raises:
        CkptkitError: the root cannot be written, or another process has held its lock for minutes.
        NotFoundError: there is no registry.
    """
    home = roots.default_root(root, Path.cwd())
    roots.require_registry(home)
    roots.open_root(home)
    before, files = derived.load(home), _contents(home)
    sound = {
        model.name: takein.verified(
            model.path, [*model.unrecorded, *_back(model)], anew=True, pruned=model.state.pruned
        )
        for model in registry.models(home)
    }
    copies = dict(_copies(home, before))
    try:
        with change.begin(home, before) as now:
            for model in registry.models(home):
                takein.take_in(model, sound.get(model.name, {}))
            _sweep(home)
            now.index = made = derived.build(home)
            derived.write(home, made)
            links = dict(_relink(now, copies))
    except OSError as error:
        raise CkptkitError(f"the registry root {home} cannot be written: {disk.reason(error)}") from error
    return Rebuilt(
        models=len(made["models"]),
        versions=sum(len(part["versions"]) for part in made["models"].values()),
        written=tuple(name for name, data in _contents(home).items() if data != files[name]),
        links=links,
        taken_in=tuple(_taken_in(sound, made)),
        unreadable=dict(_unreadable(made)),
        warnings=tuple(now.warnings),
    )


def _back(model: Model) -> Iterator[str]:
    """The versions that were deleted and are here again."""
    for version, event in model.state.deleted.items():
        if event.digest and takein.is_sealed(model.path / version, event.digest):
            yield version


def _sweep(root: Path) -> None:
    """Remove what killed commands left beside versions and events; what they had published was taken in before."""
    for name in registry.model_names(root):
        disk.sweep(root / name)
        history = root / name / registry.HISTORY
        for left in registry.names_in(history):
            if left.startswith(".") and disk.is_old(history / left):
                (history / left).unlink()


def _contents(root: Path) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    for name in (registry.INDEX, registry.README):
        try:
            found[name] = disk.read_regular(root / name)
        except FormatError:
            found[name] = None
    return found


def _copies(root: Path, known: Mapping[str, Any]) -> Iterator[tuple[Path, list[int]]]:
    """The folders in the places of alias links that equal a version of their model, with their fingerprints."""
    for name, part in known["models"].items():
        for alias in part["aliases"]:
            place = root / name / f"@{alias}"
            if place.is_dir() and not place.is_symlink():
                state = takein.fingerprint(place)
                if any(_are_equal(place, root / name / version) for version in part["versions"]):
                    yield place, state


def _are_equal(copy: Path, version: Path) -> bool:
    """Whether two folders are the same whole version, to the byte, with nothing else in them."""
    try:
        if registry.digest_of(copy) != registry.digest_of(version):
            return False
    except FormatError:
        return False
    reads = [checkpoint.read(folder, deep=True) for folder in (copy, version)]
    for read in reads:
        files = {path for path, entry in read.entries.items() if entry.kind != "folder"} - {checkpoint.CARD}
        if not isinstance(read.sums, Mapping) or dict(read.hashed) != dict(read.sums):
            return False
        if files != {*read.sums, checkpoint.SUMS}:
            return False
    kinds = [{path: entry.kind for path, entry in read.entries.items()} for read in reads]
    return kinds[0] == kinds[1] and _card(copy) == _card(version)


def _card(folder: Path) -> bytes | None:
    try:
        return disk.read_regular(folder / checkpoint.CARD)
    except FormatError:
        return None


def _relink(now: change.Change, copies: Mapping[Path, list[int]]) -> Iterator[tuple[str, str]]:
    """Put the links of all models right, and tell what was done to each that was not."""
    for name, part in now.index["models"].items():
        folder, aliases = now.root / name, part["aliases"] if now.links else {}
        replaced = set()
        with contextlib.ExitStack() as life:
            for place in (folder / f"@{alias}" for alias in aliases):
                if _is_name(place) or (place in copies and takein.fingerprint(place) == copies[place]):
                    with contextlib.suppress(OSError):
                        _set_aside(now.root, place, life)
                        replaced.add(place.name)
            done = publication.link_aliases(folder, aliases)
        for link, words in done.items():
            yield f"{name}/{link}", "replaced" if link in replaced else words


def _is_name(place: Path) -> bool:
    """Whether a file holds nothing but the name of a version, as git writes a link where there are none."""
    try:
        return not place.is_symlink() and bool(names.folder_number(disk.read_regular(place, 64).decode()))
    except (FormatError, UnicodeDecodeError):
        return False


def _set_aside(root: Path, place: Path, life: contextlib.ExitStack) -> None:
    """Move what stands in a link's place into the trash, which is emptied at the end of ``life``."""
    trash = publication.private(root, place.parent) / "trash" / secrets.token_hex(6)
    trash.mkdir(parents=True)
    life.callback(shutil.rmtree, trash, ignore_errors=True)
    place.rename(trash / place.name)


def _taken_in(sound: Mapping[str, Mapping[str, str]], made: Mapping[str, Any]) -> Iterator[str]:
    for name, digests in sound.items():
        part = derived.entry(made, name)
        yield from (f"{name}/{each}" for each in digests if each in part["versions"] and each not in part["unrecorded"])


def _unreadable(made: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, part in made["models"].items():
        for version, row in part["versions"].items():
            if "unreadable" in row:
                yield f"{name}/{version}", row["unreadable"]
