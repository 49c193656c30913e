"""The verb ``which``: whose file is this, or this folder?"""

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckptkit import checkpoint, disk, hash_cache, hashing, index, index_file, manifest, roots
from ckptkit.errors import CkptkitError, FormatError

_DIGITS = 8
_DIGEST = re.compile(rf"sha256:([0-9a-f]{{{_DIGITS},64}})", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A version that holds, or held, what was asked about.

    ``root`` is the registry as it was named; ``ref`` the version, such as ``penguins/v0002``; ``path`` the file in it,
    None for the version as a whole; ``file`` the file in the folder that was asked about, None where one thing was;
    ``state`` is ``here``, ``pruned`` (this file), ``deleted``, or ``missing`` for a version whose folder is gone
    without a word; ``deleted`` is when.
    """

    root: str
    ref: str
    path: str | None
    file: str | None
    state: str
    deleted: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What ``which`` found.

    ``roots`` are the registries that were searched; ``sha256`` is the digest of what was asked about, ``files`` how
    many that were; ``unknown`` are those that no version holds, and ``matches`` the versions that hold the others.
    """

    roots: tuple[str, ...]
    sha256: str
    files: int
    unknown: tuple[str, ...]
    matches: tuple[Match, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Registry:
    """A registry as it was named, where it is, and its index."""

    name: str
    root: Path
    index: Mapping[str, Any]


def which(
    what: str | os.PathLike[str],
    *,
    root: Sequence[str | os.PathLike[str]] = (),
    progress: hashing.Progress | None = None,
) -> Answer:
    """Find the versions that hold a file, a folder's files, or what has a digest, pruned and deleted ones included.

    A folder is a version's, if its SHA256SUMS is; else the dataset of versions, if they recorded its digest; else each
    of its files is looked for.

    Args:
        what: a file, a folder, or the digest of a file, of a dataset's manifest or of a version: ``sha256:`` and at
            least 8 hexadecimal digits.
        root: registry roots, all of which are searched; without one the default root, see ``roots.default_root``.
        progress: called with the number of bytes hashed since the last call.

    Raises:
        CkptkitError: there is no such file or digest, or a file cannot be read.
        NotFoundError: there is no registry.
    """
    cwd = Path.cwd()
    found = [_open(roots.default_root(each, cwd), cwd) for each in (root or (None,))]
    text = os.fspath(what)
    path = cwd / disk.expand(text)
    digest = _DIGEST.fullmatch(text)
    if digest is None and path.is_dir():
        return _folder(path, found, progress)
    sha256 = digest[1].lower() if digest else _hash(text, path, progress)
    return _answer(found, sha256, [match for each in found for match in _about(each, sha256)])


def _open(root: Path, cwd: Path) -> _Registry:
    return _Registry(name=os.path.relpath(root, cwd), root=root, index=index.load(root))


def _hash(text: str, path: Path, progress: hashing.Progress | None) -> str:
    if not os.path.lexists(path):
        wrong = f"{text!r} is no digest" if text.startswith("sha256:") else f"no file {text}"
        raise CkptkitError(wrong, f"give a file, a folder, or sha256: and at least {_DIGITS} hexadecimal digits")
    with hash_cache.Cache.open() as cache:
        try:
            return hashing.file_sha256(path, cache=cache, progress=progress)
        except FormatError as error:
            raise CkptkitError(f"{text} {error.message}", error.hint) from error


def _answer(
    found: Sequence[_Registry], sha256: str, matches: Sequence[Match], files: int = 1, unknown: Sequence[str] = ()
) -> Answer:
    return Answer(
        roots=tuple(each.name for each in found),
        sha256=sha256,
        files=files,
        unknown=tuple(unknown),
        matches=tuple(matches),
    )


def _about(here: _Registry, sha256: str) -> list[Match]:
    """What a registry knows of a digest, or of one that begins so: versions, files, and records as the last resort."""
    found = [_match(here, name, version, None) for name, version in _versions(here, sha256)]
    found += [_match(here, *place) for place in index.find_file(here.index, sha256)]
    return found or [_match(here, *place) for known, *place in _listed(here, sha256) if known.startswith(sha256)]


def _versions(here: _Registry, sha256: str) -> Iterator[tuple[str, str]]:
    """The versions whose digest begins so."""
    digest = f"sha256:{sha256}"
    sought = f'"digest": "{digest}'.encode()
    for name, part in here.index["models"].items():
        for key in index_file.ROWS:
            for version in part[key].holding(sought):
                if (part[key][version]["digest"] or "").startswith(digest):
                    yield name, version


def _listed(here: _Registry, sought: str = "") -> Iterator[tuple[str, str, str, str]]:
    """What SHA256SUMS lists where it holds ``sought``: records, which the index does not know, are there too.

    Yields:
        SHA-256 in hex, model, version and path.
    """
    for name, part in here.index["models"].items():
        for version in part["versions"]:
            try:
                data = disk.read_regular(f"{here.root}/{name}/{version}/{checkpoint.SUMS}")  # a str: many times faster
                listed = manifest.load(data) if sought.encode() in data else {}
            except FormatError:
                continue
            for path, sha256 in listed.items():
                yield sha256, name, version, path


def _match(here: _Registry, name: str, version: str, path: str | None, file: str | None = None) -> Match:
    part = here.index["models"][name]
    deleted = part["gone"][version]["deleted"] if version in part["gone"] else None
    if os.path.lexists(here.root / name / version / (path or "")):
        state = "here"
    elif version in part["versions"] and path in part["versions"][version].get("pruned", ()):
        state = "pruned"
    else:
        state = "deleted" if deleted else "missing"
    return Match(root=here.name, ref=f"{name}/{version}", path=path, file=file, state=state, deleted=deleted)


def _folder(folder: Path, found: Sequence[_Registry], progress: hashing.Progress | None) -> Answer:
    """A version's folder by the digest of its SHA256SUMS, a dataset's by its manifest, any other file by file."""
    if os.path.lexists(folder / checkpoint.SUMS):
        sealed = _hash(os.fspath(folder / checkpoint.SUMS), folder / checkpoint.SUMS, None)
        matches = [_match(each, *place, None) for each in found for place in _versions(each, sealed)]
        if matches:
            return _answer(found, sealed, matches)
    with hash_cache.Cache.open() as cache:
        tree = hashing.tree(folder, cache=cache, progress=progress)
    whole = tree.digest.removeprefix("sha256:")
    matches = [_match(each, *place) for each in found for place in index.find_file(each.index, whole)]
    if matches:
        return _answer(found, whole, matches)
    sought = {entry.sha256 for entry in tree}
    places = [(each, _places(each, sought)) for each in found]
    matches = [
        _match(each, *place, file=entry.path)
        for entry in tree
        for each, known in places
        for place in known.get(entry.sha256, ())
    ]
    held = {match.file for match in matches}
    unknown = [entry.path for entry in tree if entry.path not in held]
    return _answer(found, whole, matches, len(tree), unknown)


def _places(here: _Registry, sought: Collection[str]) -> dict[str, list[tuple[str, str, str]]]:
    """Where a registry has files of many digests: model, version and path of each, by digest."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for name, part in here.index["models"].items():
        for key in index_file.ROWS:
            for version, row in part[key].items():
                for path, sha256 in row.get("files", {}).items():
                    if sha256 in sought:
                        found.setdefault(sha256, []).append((name, version, path))
    rest = {*sought} - found.keys()
    for sha256, *place in _listed(here) if rest else ():
        if sha256 in rest:
            found.setdefault(sha256, []).append((place[0], place[1], place[2]))
    return found
