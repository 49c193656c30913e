"""The verb ``alias``: where a name such as ``@champion`` stands, where it stood, and why it moved."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckptkit import change, history, index, names, references, registry, roots
from ckptkit.errors import CkptkitError, NotFoundError
from ckptkit.record import Event


class ElsewhereError(CkptkitError):
    """Raised when an alias is not where it was expected; the answer is "no"."""

    exit_code = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What became of an alias: the version it stood on before and the one it stands on now, None for nowhere.

    ``before`` and ``after`` are the same where nothing was to be done.
    """

    model: str
    alias: str
    before: str | None
    after: str | None
    warnings: tuple[str, ...]


def move(
    name: str,
    version: str | None,
    *,
    at: str | None = None,
    expect: str | None = None,
    reason: str | None = None,
    root: str | os.PathLike[str] | None = None,
) -> Moved:
    """Have an alias stand on a version, or nowhere. Every move is an event; none is silent.

    Stricter than MLflow's registry: a name with a line end is refused, and so is one that differs by case alone from
    another of the model; an alias can be expected to be where it was seen; removing one that stands nowhere is a "no".

    Args:
        name: ``model@alias``.
        version: a number of that model, or any reference to one of its versions; None for nowhere.
        at: the reference is read as of this time.
        expect: the version, as in ``version``, on which the alias has to stand by now, or ``none``.
        reason: why, for the history.
        root: the registry root; see ``roots.default_root``.

    Raises:
        CkptkitError: a name or reference is not usable.
        NotFoundError: the model or the version does not exist, or the alias to be removed stands nowhere.
        ElsewhereError: the alias is not where it was expected.
    """
    model, alias = _parse(name)
    home, cwd = roots.default_root(root, Path.cwd()), Path.cwd()
    with change.begin(home) as now:
        part = references.require_model(home, now.index, model)
        before = part["aliases"].get(alias)
        then = now.index if at is None else index.load(home, roots.moment(at))
        after = None if version is None else _target(home, then, model, version, cwd)
        if expect is not None:
            wanted = None if expect.lower() == "none" else _target(home, now.index, model, expect, cwd)
            if before != wanted:
                raise ElsewhereError(
                    f"{model}@{alias} stands on {before or 'nothing'}, not on {wanted or 'nothing'}",
                    f"see `ckptkit alias log {model}@{alias}`",
                )
        if after is not None:
            names.require_unlike(alias, part["aliases"], "alias")
        elif before is None:
            raise NotFoundError(f"{model}@{alias} stands on nothing", _others(part))
        if before != after or len(part["heads"].get(f"@{alias}", ())) > 1:
            now.record(now.event("alias", model, after, alias=alias, reason=reason))
    return Moved(model=model, alias=alias, before=before, after=after, warnings=tuple(now.warnings))


def undo(name: str, *, reason: str | None = None, root: str | os.PathLike[str] | None = None) -> Moved:
    """Put an alias back to where it stood before its last move; a second time that undoes the undoing.

    Args:
        name: ``model@alias``.
        reason: why, for the history.
        root: the registry root; see ``roots.default_root``.

    Raises:
        CkptkitError: the name is not usable.
        NotFoundError: the alias was never moved, or the version on which it stood before is not there.
    """
    model, alias = _parse(name)
    home = roots.default_root(root, Path.cwd())
    with change.begin(home) as now:
        part = references.require_model(home, now.index, model)
        last = _read(home, model, part["heads"].get(f"@{alias}", [""])[-1])
        if last is None:
            raise NotFoundError(f"{model}@{alias} was never moved", _others(part))
        before = part["aliases"].get(alias)
        earlier = _read(home, model, last.previous)
        numbers = history.renumbered(registry.read_model(home / model).events)
        after = history.today(earlier, numbers).version if earlier else None
        if after is not None and after not in part["versions"]:
            raise NotFoundError(
                f"{model}@{alias} stood on {after}, which is not there", f"set it with `ckptkit alias set {name}`"
            )
        now.record(now.event("alias", model, after, alias=alias, reason=reason or "undo"))
    return Moved(model=model, alias=alias, before=before, after=after, warnings=tuple(now.warnings))


def log(name: str, *, root: str | os.PathLike[str] | None = None) -> tuple[Event, ...]:
    """All moves of an alias, or of all aliases of a model, in the order of time, in today's numbers.

    Args:
        name: ``model@alias`` or ``model``.
        root: the registry root; see ``roots.default_root``.

    Raises:
        CkptkitError: the name is not usable.
        NotFoundError: there is no such model, or the alias was never moved.
    """
    model, alias = _parse(name) if "@" in name else (name, None)
    home = roots.default_root(root, Path.cwd())
    part = references.require_model(home, index.load(home), model)
    events = registry.read_model(home / model).events
    numbers = history.renumbered(events)
    found = tuple(
        history.today(event, numbers) for event in events if event.kind == "alias" and alias in {None, event.alias}
    )
    if not found:
        raise NotFoundError(f"{name} was never moved", _others(part))
    return found


def _parse(name: str) -> tuple[str, str]:
    model, mark, alias = name.partition("@")
    if not mark:
        raise CkptkitError(f"{name!r} names no alias", f"write {model.partition('/')[0]}@champion")
    return names.require_model(model), names.require_alias(alias)


def _others(part: Any) -> str:  # noqa: ANN401 - JSON
    return f"aliases here: {', '.join(f'@{alias}' for alias in part['aliases']) or 'none'}"


def _target(root: Path, known: Any, model: str, ref: str, cwd: Path) -> str:  # noqa: ANN401 - JSON
    """The number of the version of ``model`` that a reference names."""
    found = references.resolve(root, known, ref, cwd=cwd, model=model, exact=True)
    if found.path.parent.name != model:
        raise CkptkitError(f"{ref} is a version of {found.path.parent.name}, not of {model}", f"name one of {model}'s")
    return found.path.name


def _read(root: Path, model: str, identity: str | None) -> Event | None:
    event = registry.read_event(root / model / registry.HISTORY / f"{identity}.json")
    return event if isinstance(event, Event) else None
