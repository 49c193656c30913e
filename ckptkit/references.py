"""References: from what a person types to the version that it names."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckptkit import checkpoint, disk, names, registry
from ckptkit import index as derived
from ckptkit.checkpoint import Unreadable
from ckptkit.errors import CkptkitError, FormatError, NotFoundError
from ckptkit.record import Event
from ckptkit.registry import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A version that a reference names, its aliases by name, and its ``saved`` event; None where it has none."""

    version: Version
    aliases: tuple[str, ...]
    saved: Event | None


def find(ref: str, *, root: Path, cwd: Path) -> Found:
    """The version that a reference names, and what the model's history says of it. A path needs no registry.

    Args:
        ref: see ``resolve``.
        root: the registry root.
        cwd: what a relative path is relative to.

    Raises:
        CkptkitError: it is no reference.
        NotFoundError: it names nothing, or there is no registry.
    """
    known: Mapping[str, Any] = {"models": {}} if is_path(ref) else derived.load(root)
    version = resolve(root, known, ref, cwd=cwd)
    name, part = version.path.name, known["models"].get(version.path.parent.name)
    if part is None:
        model = registry.read_model(version.path.parent)
        aliases, saved = model.aliases, model.saved.get(name)
    else:
        identity = part["versions"][name]["event"]
        event = registry.read_event(version.path.parent / registry.HISTORY / f"{identity}.json")
        aliases, saved = part["aliases"], None if isinstance(event, Unreadable) else event
    borne = tuple(sorted(alias for alias, target in aliases.items() if target == name))
    return Found(version=version, aliases=borne, saved=saved)


def is_path(ref: str) -> bool:
    """Whether a reference is the path of a version folder."""
    return ref[:1] in {".", "/", "~"}


def resolve(root: Path, index: Mapping[str, Any], ref: str, *, cwd: Path) -> Version:
    """The version that a reference names; see DESIGN's list of references in the README.

    Args:
        root: the registry root.
        index: its index, as ``index.load`` gives it.
        ref: ``model``, ``model@alias``, ``model@latest``, ``model/v0002``, ``model/2``, ``sha256:…`` or a path.
        cwd: what a relative path is relative to.

    Raises:
        CkptkitError: it is no reference.
        NotFoundError: it names nothing.
    """
    if is_path(ref):
        return _at_path(cwd / disk.expand(ref))
    if ref.startswith("sha256:"):
        return _by_digest(root, index, ref)
    name, mark, rest = _split(ref)
    found = index["models"].get(name)
    if found is None:
        known = ", ".join(sorted(index["models"])) or "none yet"
        raise NotFoundError(f"no model {name!r} in {root}", f"models here: {known}")
    versions: Mapping[str, Any] = found["versions"]
    if not versions:
        raise NotFoundError(f"the model {name!r} has no version", "save one with `ckptkit save`")
    if mark == "@" and rest.lower() != "latest":
        version = found["aliases"].get(rest)
        if version is None:
            raise NotFoundError(f"no alias @{rest} on {name}", f"aliases here: {_words(found['aliases'])}")
    elif mark == "/":
        number = names.version_number(rest)
        if number is None:
            raise CkptkitError(f"{rest!r} is no version", f"write {name}/2 or {name}/v0002")
        version = names.version_name(number)
    else:
        version = list(versions)[-1]
    if version not in versions:
        raise NotFoundError(f"no version {name}/{version} in {root}", f"see `ckptkit list {name}`")
    return _version(root, name, version, versions[version])


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
