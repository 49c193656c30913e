"""The verb ``index``: everything derived, made again from folders and events."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ckptkit import disk, publication, registry, roots
from ckptkit import index as derived
from ckptkit.errors import CkptkitError, FormatError, NotFoundError

Link = Literal["made", "changed", "removed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What ``index`` found and changed.

    ``models`` and ``versions`` are counts; ``written`` the derived files that were not as they should be; ``links``
    what was done to alias links such as ``penguins/@champion``; ``taken_in`` the references of versions that had no
    event yet; ``unreadable`` says of each version that cannot be read why.
    """

    models: int
    versions: int
    written: tuple[str, ...]
    links: Mapping[str, Link]
    taken_in: tuple[str, ...]
    unreadable: Mapping[str, str]


def index(root: str | os.PathLike[str] | None = None) -> Rebuilt:
    """Take in versions that have no event yet, and write index.json, README.md and the alias links again.

    A link whose alias no longer stands is removed; a real file or folder in a link's place is left alone.

    Args:
        root: the registry root; see ``roots.default_root``.

    Raises:
        CkptkitError: the root cannot be written, or another process has held its lock for minutes.
        NotFoundError: there is no registry.
    """
    home = roots.default_root(root, Path.cwd())
    if not _is_registry(home):
        raise NotFoundError(f"no registry at {home}", "name its root with --root DIR, or save a version first")
    roots.open_root(home)
    known = derived.load(home)
    sound = {
        name: publication.verified(home / name, derived.unrecorded(known, home / name), anew=True)
        for name in known["models"]
    }
    try:
        with roots.locked(home):
            return _rebuild(home, sound)
    except OSError as error:
        raise CkptkitError(f"the registry root {home} cannot be written: {disk.reason(error)}") from error


def _is_registry(root: Path) -> bool:
    """Whether there is something to index; elsewhere, nothing is to be written over."""
    if not os.path.isdir(root):  # noqa: PTH112 - Path.is_dir raises on a name that is too long
        return False
    return (root / registry.HOME).is_dir() or next(registry.models(root), None) is not None


def _rebuild(root: Path, sound: Mapping[str, Mapping[str, str]]) -> Rebuilt:
    taken_in = [
        f"{event.model}/{event.version}"
        for model in registry.models(root)
        for event in publication.take_in(model, sound.get(model.name, {}))
        if event.kind == "saved"
    ]
    made = derived.build(root)
    before = _contents(root)
    derived.write(root, made)
    after = _contents(root)
    return Rebuilt(
        models=len(made["models"]),
        versions=sum(len(model["versions"]) for model in made["models"].values()),
        written=tuple(name for name in after if after[name] != before[name]),
        links={link: done for model in registry.models(root) for link, done in _relink(model)},
        taken_in=tuple(taken_in),
        unreadable=dict(_unreadable(made)),
    )


def _contents(root: Path) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    for name in (registry.INDEX, registry.README):
        try:
            found[name] = disk.read_regular(root / name)
        except FormatError:
            found[name] = None
    return found


def _relink(model: registry.Model) -> Iterator[tuple[str, Link]]:
    """Put the links of a model right, and tell what was done to each that was not."""
    for name, target in model.links.items():
        if target is not None and name.removeprefix("@") not in model.aliases:
            (model.path / name).unlink()
            yield f"{model.name}/{name}", "removed"
    for alias, version in model.aliases.items():
        name = f"@{alias}"
        if model.links.get(name) != version:
            publication.link_alias(model.path, alias, version)
            if (model.path / name).is_symlink():  # not where links cannot be made, or a folder stands in its place
                yield f"{model.name}/{name}", "changed" if name in model.links else "made"


def _unreadable(made: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, model in made["models"].items():
        for version, summary in model["versions"].items():
            if "unreadable" in summary:
                yield f"{name}/{version}", summary["unreadable"]
