"""The verb ``rename``: another name for a model, another number for a version; their events go along."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckptkit import change, index, names, references, registry, roots, transaction
from ckptkit.change import Change
from ckptkit.errors import CkptkitError, NotFoundError


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed:
    """The reference that a model or version had and the one that it has now; ``warnings`` is what is left to do."""

    before: str
    after: str
    warnings: tuple[str, ...]


def rename(ref: str, to: str, *, reason: str | None = None, root: str | os.PathLike[str] | None = None) -> Renamed:
    """Give a model another name, or a version another number. Aliases, stages and descriptions stay as they are.

    Safer than MLflow's registry: a model's old name keeps a history that says what became of it, so that its numbers
    are never used again there, and cannot be taken by another model; and a name that differs by case alone from
    another model's is refused.

    Args:
        ref: a model's name, or any reference to a version.
        to: the model's new name, or the version's new number, which no version of the model may ever have had.
        reason: why, for the history.
        root: the registry root; see ``roots.default_root``.

    Raises:
        CkptkitError: ``to`` is no such name or number, or taken; or the disk refuses, and nothing was changed.
        NotFoundError: there is no such registry, model or version.
    """
    home, cwd = roots.default_root(root, Path.cwd()), Path.cwd()
    with change.begin(home) as now:
        if ref in now.index["models"]:
            _rename(now, ref, to, reason)
            before, after = ref, to
        else:
            before, after = _renumber(now, ref, to, reason, cwd)
    return Renamed(before=before, after=after, warnings=tuple(now.warnings))


def _rename(now: Change, name: str, to: str, reason: str | None) -> None:
    known = now.index["models"]
    if known[name]["became"] and not known[name]["versions"]:
        raise NotFoundError(f"no model {name!r} any more", f"it is called {known[name]['became']} now")
    names.require_model(to)
    if to == name:
        raise CkptkitError(f"the model is called {to} already", "give another name")
    if _was_called(known, name, to):
        in_the_way = [now.root / to / item for item in registry.names_in(now.root / to) if item != registry.HISTORY]
    else:
        names.require_unlike(to, (other for other in known if other != name), "model")
        place = now.root / to
        is_itself = place.exists() and place.samefile(now.root / name)  # on a disk that ignores case
        in_the_way = [place] if os.path.lexists(place) and not is_itself else []
    if in_the_way:
        words = _told(known.get(in_the_way[0].name), in_the_way[0])
        raise CkptkitError(f"the name {to} is taken: {words}", "choose another")
    transaction.carry_out(now, now.event("renamed", to, None, was=name, reason=reason))


def _told(part: Mapping[str, Any] | None, place: Path) -> str:
    """What is in the way of a new name."""
    if part is None:
        return f"there is {place}"
    if part["versions"]:
        return "another model is called so"
    return f"{part['became']} was called so before" if part["became"] else "a model without versions is called so"


def _was_called(known: Mapping[str, Any], name: str, to: str) -> bool:
    """Whether the model was called ``to`` before."""
    seen, at = [to], to
    while at in known and at != name and (at := known[at]["became"]) not in seen:
        seen.append(at)
    return at == name


def _renumber(now: Change, ref: str, to: str, reason: str | None, cwd: Path) -> tuple[str, str]:
    found = references.resolve(now.root, now.index, ref, cwd=cwd, exact=True)
    model, was = found.path.parent.name, found.path.name
    number = names.version_number(to)
    if number is None:
        raise CkptkitError(f"{to!r} is no number of a version", "give one such as 7 or v0007")
    read = registry.read_model(now.root / model)
    following = f"the next is {names.version_name(read.last + 1)}"
    if number > names.HIGHEST:
        raise CkptkitError(
            f"{to} is above {names.HIGHEST:,}, and those of later saves would be higher still", following
        )
    version = names.version_name(number)
    row = index.entry(now.index, model)["versions"].get(was)
    if row is None or row["event"] is None:
        raise CkptkitError(f"no event says that {model}/{was} was saved", f"see `ckptkit check {found.path}`")
    if version in {*read.versions, *(name for event in read.events for name in (event.version, event.was))}:
        raise CkptkitError(f"{model}/{version} is or was there, and no number is used twice", following)
    transaction.carry_out(now, now.event("renumbered", model, version, was=was, digest=found.digest, reason=reason))
    return f"{model}/{was}", f"{model}/{version}"
