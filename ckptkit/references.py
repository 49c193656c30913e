"""References: from what a person types to the version that it names."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ckptkit import checkpoint, comparison, disk, names, registry, settings
from ckptkit import index as derived
from ckptkit.checkpoint import Unreadable
from ckptkit.errors import CkptkitError, FormatError, NotFoundError
from ckptkit.record import Event
from ckptkit.registry import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A version that a reference names, and what its model's history says of it.

    ``aliases`` are sorted by name; ``stage`` is None for none; ``text`` is its description; ``saved`` its ``saved``
    event, None where it has none; ``evaluations`` are in the order of time; ``digested`` are the events that later gave
    datasets their digest, by name; ``pruned`` are paths of files that were.
    """

    version: Version
    aliases: tuple[str, ...]
    stage: str | None
    text: str | None
    saved: Event | None
    evaluations: tuple[Event, ...]
    digested: Mapping[str, Event]
    pruned: frozenset[str]


def find(ref: str, *, root: Path, cwd: Path, at: str | None = None) -> Found:
    """The version that a reference names, and what is said of it. A path needs no registry.

    Args:
        ref: see ``resolve``.
        root: the registry root.
        cwd: what a relative path is relative to.
        at: as of this time, in the form in which events bear it.

    Raises:
        CkptkitError: it is no reference.
        NotFoundError: it names nothing, or there is no registry.
    """
    known = {"models": {}} if is_path(ref) else derived.load(root, at)
    then, hint = f" as of {(at or '')[:19]}Z", "see `ckptkit list --at`, or leave out --at"
    try:
        version = resolve(root, known, ref, cwd=cwd)
    except NotFoundError as error:
        if at is None:
            raise
        raise NotFoundError(f"{error.message}{then}", hint) from error
    name, folder = version.path.name, version.path.parent
    part = _around(folder, name, at) if is_path(ref) else known["models"][folder.name]
    if at is not None and name not in part["versions"]:
        raise NotFoundError(f"no version {version.ref}{then}", hint)
    row = part["versions"].get(name, {})
    return Found(
        version=version,
        aliases=tuple(sorted(alias for alias, target in part["aliases"].items() if target == name)),
        stage=part["stages"].get(name),
        text=part["texts"].get(name),
        saved=_event(folder, row.get("event")),
        evaluations=tuple(event for each in row.get("evaluations", ()) if (event := _event(folder, each))),
        digested={name: event for name, each in row.get("digested", {}).items() if (event := _event(folder, each))},
        pruned=frozenset(row.get("pruned", ())),
    )


def _event(folder: Path, name: str | None) -> Event | None:
    event = registry.read_event(folder / registry.HISTORY / f"{name}.json")
    return None if isinstance(event, Unreadable) else event


def _around(folder: Path, version: str, at: str | None) -> Mapping[str, Any]:
    """The part of the index of a model's folder; where no registry is around it, of this version alone."""
    root = folder.parent
    if os.path.lexists(root / registry.HOME) or os.path.lexists(root / registry.INDEX):
        part: Mapping[str, Any] = derived.entry(derived.load(root, at), folder.name)
        return part
    return derived.describe(replace(registry.read_model(folder), versions=(version,)), {})


def is_path(ref: str) -> bool:
    """Whether a reference is the path of a version folder."""
    return ref[:1] in {".", "/", "~"}


def resolve(
    root: Path, index: Mapping[str, Any], ref: str, *, cwd: Path, model: str | None = None, exact: bool = False
) -> Version:
    """The version that a reference names.

    Args:
        root: the registry root.
        index: its index, as ``index.load`` gives it.
        ref: ``model``, ``model@alias``, ``model@latest``, ``model@best:val_loss:min``, ``model/v0002``, ``model/2``,
            ``sha256:…`` or a path. Of the best, ``min`` or ``max`` may be left out where the project's settings say it.
        cwd: what a relative path is relative to, and where the settings are looked for.
        model: the model of which a bare number, ``2`` or ``v0002``, is a version.
        exact: refuse the mere name of a model, which means its newest version, and a path outside the registry.

    Raises:
        CkptkitError: it is no reference.
        NotFoundError: it names nothing.
    """
    if is_path(ref):
        found = _at_path(cwd / disk.expand(ref))
        is_ours = found.path.parent == disk.real(root / found.path.parent.name) and names.folder_number(found.path.name)
        if exact and not is_ours:
            raise CkptkitError(f"{ref} is no version of the registry {root}", "name its registry with --root DIR")
        return found
    if ref.startswith("sha256:"):
        return _by_digest(root, index, ref)
    if model is not None and names.version_number(ref) is not None:
        ref = f"{model}/{ref}"
    name, mark, rest = _split(ref)
    part = _model(root, index, name)
    if exact and not mark:
        raise CkptkitError(f"{ref!r} names a model", f"name a version, such as {name}/1 or {name}@latest")
    is_best = mark == "@" and rest.startswith(_BEST)
    version = _best(part, name, rest.removeprefix(_BEST), cwd) if is_best else _named(part, name, mark, rest)
    if version in part["versions"]:
        return _version(root, name, version, part["versions"][version])
    if version in part["gone"]:
        deleted = part["gone"][version]["deleted"]
        why = f"was deleted on {deleted[:10]}" if deleted else "is not there any more"
        raise NotFoundError(f"{name}/{version} {why}", f"see `ckptkit list {name}`")
    raise NotFoundError(f"no version {name}/{version} in {root}", f"see `ckptkit list {name}`")


def require_model(root: Path, index: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A model's part of the index.

    Raises:
        NotFoundError: there is none.
    """
    part: Mapping[str, Any] | None = index["models"].get(name)
    if part is None:
        known = ", ".join(sorted(known for known, part in index["models"].items() if part["versions"])) or "none yet"
        raise NotFoundError(f"no model {name!r} in {root}", f"models here: {known}")
    return part


def _model(root: Path, index: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A model's part of the index.

    Raises:
        NotFoundError: there is none, or it has no version.
    """
    part = require_model(root, index, name)
    if not part["versions"]:
        now = part["became"]
        raise NotFoundError(
            f"the model {name!r} has no version", f"it is called {now} now" if now else "save one with `ckptkit save`"
        )
    return part


def _named(part: Mapping[str, Any], name: str, mark: str, rest: str) -> str:
    """The version that ``@alias``, ``/number`` or nothing names."""
    if mark == "@" and rest.lower() != "latest":
        version: str | None = part["aliases"].get(rest)
        if version is None:
            raise NotFoundError(f"no alias @{rest} on {name}", f"aliases here: {_words(part['aliases'])}")
        return version
    if mark == "/":
        number = names.version_number(rest)
        if number is None:
            raise CkptkitError(f"{rest!r} is no version", f"write {name}/2 or {name}/v0002")
        return names.version_name(number)
    return str(list(part["versions"])[-1])


_BEST = "best:"


def _best(part: Mapping[str, Any], name: str, goal: str, cwd: Path) -> str:
    """The version with the best value of a metric; of equal ones the earliest. Pruned ones count, NaN never wins."""
    sought = comparison.parse_goal(goal, settings.directions(cwd))
    version = comparison.best(part["versions"], sought)
    if version is not None:
        return version
    known = comparison.metrics(part["versions"])
    found = comparison.meant(sought.metric, known)
    if len(found) > 1:
        words = f"the metric {sought.metric!r} of {name} could be {' or '.join(found[:4])}"
        raise CkptkitError(words, "give one of these in full")
    raise NotFoundError(
        f"no version of {name} has a value of {sought.metric!r}", f"metrics here: {', '.join(known[:20]) or 'none yet'}"
    )


def _split(ref: str) -> tuple[str, str, str]:
    for mark in ("@", "/"):
        name, found, rest = ref.partition(mark)
        if found:
            return name, mark, rest
    return ref, "", ""


def _words(aliases: Mapping[str, str]) -> str:
    return ", ".join(f"@{alias}" for alias in aliases) or "none"


def _version(root: Path, name: str, version: str, summary: Mapping[str, Any]) -> Version:
    if summary.get("digest") is None:
        raise CkptkitError(
            f"{name}/{version} is damaged: {summary.get('unreadable', 'it has no SHA256SUMS')}",
            f"see `ckptkit check {root / name / version}`",
        )
    return Version(ref=f"{name}/{version}", path=root / name / version, digest=summary["digest"])


def _at_path(path: Path) -> Version:
    try:
        folder = Path(os.path.realpath(path))  # Path.resolve raises on a loop of links
    except ValueError:  # a NUL in the name
        raise NotFoundError(f"no folder {str(path)!r}", "give the path of a version folder") from None
    if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises on a name that is too long
        raise NotFoundError(f"no folder {path}", "give the path of a version folder, such as ./runs/penguins/v0001")
    try:
        digest = registry.digest_of(folder)
    except FormatError as error:
        raise NotFoundError(
            f"{path} is no version folder: {checkpoint.SUMS} {error.message}",
            "give the path of a version folder, such as ./runs/penguins/v0001",
        ) from error
    return Version(ref=f"{folder.parent.name}/{folder.name}", path=folder, digest=digest)


_DIGITS = 8


def _by_digest(root: Path, index: Mapping[str, Any], ref: str) -> Version:
    if len(ref) < len("sha256:") + _DIGITS:
        raise CkptkitError(f"{ref!r} is too short for a digest", f"give at least {_DIGITS} hexadecimal digits")
    found: Sequence[Version] = [
        Version(ref=f"{name}/{version}", path=root / name / version, digest=summary["digest"])
        for name, model in index["models"].items()
        for version, summary in model["versions"].items()
        if (summary.get("digest") or "").startswith(ref.lower())
    ]
    if not found:
        raise NotFoundError(f"no version with the digest {ref} in {root}", "see `ckptkit list`")
    if len({version.digest for version in found}) > 1:
        raise CkptkitError(
            f"{ref} could be {' or '.join(version.ref for version in found[:4])}", "give more digits of the digest"
        )
    return found[0]
