"""A version folder: the only room that knows what one looks like, and how it is read; ``staging`` makes one.

Reading raises nothing: what cannot be read or parsed is an ``Unreadable`` value that a rule can speak of. Nothing is
unpickled and no link is followed.
"""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from ckptkit import disk, documents, hashing, manifest, weights
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.record import Lineage

CARD = "README.md"
CONFIG = "config.yaml"
LINEAGE = "lineage.json"
REQUIREMENTS = "requirements.txt"
REQUIREMENTS_VCS = "requirements-vcs.txt"
PATCH = "code.patch"
BUNDLE = "code.bundle"
SUMS = "SHA256SUMS"
DATA = "data"
SOURCES = "code"
RECORDS = frozenset({CARD, CONFIG, LINEAGE, REQUIREMENTS, REQUIREMENTS_VCS, PATCH, BUNDLE, SUMS})
RESERVED = frozenset(name.lower() for name in RECORDS) | {DATA, SOURCES}
"""First parts of paths, in lower case, that saved files may not take. ``code/`` is kept for copies of sources."""

HASHED_ALWAYS = 1 << 20
"""Files of at most so many bytes are hashed in every reading, as records are; larger ones in a deep one."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """In place of content: why it could not be read, and where in the file (1-based) when that is known."""

    reason: str
    hint: str = ""
    line: int | None = None
    column: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One name below a version folder; ``bytes`` and permission bits as the file system has them."""

    kind: Literal["file", "folder", "link", "other", "unreadable"]
    bytes: int
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The model card: its text, its YAML block parsed (None without one), and the text after that block."""

    text: str
    front: Mapping[str, Any] | Unreadable | None
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A version folder as it was found. None stands for a file that is not there.

    ``entries`` are all names below ``path``, relative and POSIX; ``sums`` is what SHA256SUMS lists, ``digest`` the
    digest of that file; ``hashed`` holds the digests made in this reading; ``raw`` is lineage.json as plain JSON,
    ``lineage`` the same as a record; ``texts`` the small text records by path; ``headers`` what the headers of the
    saved files say; ``pruned`` are the paths of saved files that were removed on purpose, ``digested`` the names of
    datasets whose digest was added later.
    """

    path: Path
    model: str
    version: str
    deep: bool
    entries: Mapping[str, Entry]
    sums: Mapping[str, str] | Unreadable | None
    digest: str | None
    hashed: Mapping[str, str | Unreadable]
    raw: Any | Unreadable | None
    lineage: Lineage | Unreadable | None
    config: Any | Unreadable | None
    card: Card | Unreadable | None
    texts: Mapping[str, str | Unreadable]
    headers: Mapping[str, weights.Header | Unreadable]
    pruned: frozenset[str]
    digested: frozenset[str]

    @property
    def ref(self) -> str:
        """``model/version``, by today's folder names."""
        return f"{self.model}/{self.version}"

    @property
    def saved(self) -> Iterator[str]:
        """Paths of the files that are not ckptkit's own records, whether listed in SHA256SUMS or found."""
        listed = self.sums if isinstance(self.sums, Mapping) else {}
        for path in sorted({*listed, *(path for path, entry in self.entries.items() if entry.kind != "folder")}):
            if not is_record(path):
                yield path


def is_whole(folder: Path) -> bool:
    """Whether a folder is a version folder: it has a lineage and is sealed."""
    return (folder / LINEAGE).is_file() and (folder / SUMS).is_file()


def is_record(path: str) -> bool:
    """Whether ckptkit itself wrote this path of a version folder."""
    first, _, rest = path.partition("/")
    return path in RECORDS or (bool(rest) and first in {DATA, "code"})


def read(
    folder: Path,
    *,
    deep: bool = False,
    pruned: frozenset[str] = frozenset(),
    digested: frozenset[str] = frozenset(),
    progress: hashing.Progress | None = None,
) -> Checkpoint:
    """Read a version folder.

    Args:
        folder: the version folder; its name and its parent's are taken for version and model.
        deep: hash every listed file from its bytes, whatever its size.
        pruned: the saved files that were removed on purpose, as the history says.
        digested: the datasets whose digest was added later, as the history says.
        progress: called with the number of bytes hashed since the last call.
    """
    entries = dict(_walk(folder))
    small = {path: _bytes(folder / path) for path, entry in entries.items() if _is_small(path, entry)}
    found = _value(small.get(SUMS), manifest.load)
    sums = found if isinstance(found, Mapping) else {}
    hashed = {
        path: _hash(folder / path, small.get(path), progress)
        for path in sums
        if path in entries and entries[path].kind == "file" and (path in small or deep or is_record(path))
    }
    raw = _value(small.get(LINEAGE), documents.load_json)
    sealed = small.get(SUMS)
    return Checkpoint(
        path=folder,
        model=folder.parent.name,
        version=folder.name,
        deep=deep,
        entries=entries,
        sums=found,
        digest=f"sha256:{hashlib.sha256(sealed).hexdigest()}" if isinstance(sealed, bytes) else None,
        hashed=hashed,
        raw=raw,
        lineage=raw if isinstance(raw, Unreadable | None) else _value(raw, Lineage.from_dict),
        config=_value(small.get(CONFIG), lambda data: documents.finite(documents.load_yaml(data))),
        card=_value(small.get(CARD), load_card),
        texts={path: _text(data) for path, data in small.items() if _is_text_record(path)},
        headers={
            path: _header(folder / path)
            for path, entry in entries.items()
            if entry.kind == "file" and not is_record(path)
        },
        pruned=pruned,
        digested=digested,
    )


def read_lineage(folder: Path) -> Lineage:
    """Only lineage.json.

    Raises:
        FormatError: it is missing, cannot be read, or is not of its form.
    """
    return Lineage.from_dict(documents.load_json(disk.read_regular(folder / LINEAGE)))


def _walk(folder: Path) -> Iterator[tuple[str, Entry]]:
    below = [""]
    while below:
        prefix = below.pop()
        try:
            with os.scandir(folder / prefix) as names:
                listed = sorted(names, key=lambda each: os.fsencode(each.name))
        except OSError:
            yield prefix.rstrip("/") or ".", Entry(kind="unreadable", bytes=0, mode=0)
            continue
        for item in listed:
            path = prefix + item.name
            try:
                status = item.stat(follow_symlinks=False)
            except OSError:
                yield path, Entry(kind="unreadable", bytes=0, mode=0)
                continue
            kind = _kind(status.st_mode)
            yield path, Entry(kind=kind, bytes=status.st_size, mode=stat.S_IMODE(status.st_mode))
            if kind == "folder":
                below.append(f"{path}/")


def _kind(mode: int) -> Literal["file", "folder", "link", "other"]:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "other"


def _is_small(path: str, entry: Entry) -> bool:
    limit = disk.RECORD_LIMIT if path in RECORDS else HASHED_ALWAYS  # a manifest may list a million files
    return entry.kind == "file" and entry.bytes <= limit


def _is_text_record(path: str) -> bool:
    return path in {CARD, CONFIG, LINEAGE, REQUIREMENTS, SUMS} or path.startswith(f"{DATA}/")


def _bytes(path: Path) -> bytes | Unreadable:
    try:
        return disk.read_regular(path)
    except FormatError as error:
        return Unreadable(reason=error.message, hint=error.hint)


def _value(data: Any, parse: Callable[[Any], T]) -> T | Unreadable | None:  # noqa: ANN401 - bytes, JSON or a path
    if data is None or isinstance(data, Unreadable):
        return data
    try:
        return parse(data)
    except FormatError as error:
        return Unreadable(reason=error.message, hint=error.hint, line=error.line, column=error.column)


def _header(path: Path) -> weights.Header | Unreadable:
    try:
        return weights.read_header(path)
    except FormatError as error:
        return Unreadable(reason=error.message, hint=error.hint)


def _hash(path: Path, data: bytes | Unreadable | None, progress: hashing.Progress | None) -> str | Unreadable:
    if isinstance(data, Unreadable):
        return data
    if data is not None:
        return hashlib.sha256(data).hexdigest()
    try:
        return hashing.file_sha256(path, progress=progress)
    except FormatError as error:
        return Unreadable(reason=error.message, hint=error.hint)


def _text(data: bytes | Unreadable) -> str | Unreadable:
    return data if isinstance(data, Unreadable) else data.decode("utf-8", "backslashreplace")


# The Hub's own expression: what it does not see as a YAML block is no YAML block.
# https://github.com/huggingface/huggingface_hub, repocard.py, REGEX_YAML_BLOCK
_FRONT = re.compile(r"^(\s*---[\r\n]+)([\S\s]*?)([\r\n]+---(\r\n|\n|$))")


def load_card(data: bytes) -> Card:
    """A model card from its bytes.

    Raises:
        FormatError: it is not UTF-8 text.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise FormatError(f"is not UTF-8 text (byte {error.start + 1})") from None
    found = _FRONT.match(text)
    if not found:
        return Card(text=text, front=None, body=text)
    front = _value(found[2].encode(), documents.load_yaml)
    if isinstance(front, Unreadable) and front.line is not None:
        front = Unreadable(reason=front.reason, line=front.line + found[1].count("\n"), column=front.column)
    elif not isinstance(front, Mapping | Unreadable):
        front = Unreadable(reason="the YAML block is not a mapping", line=1)
    return Card(text=text, front=front, body=text[found.end() :].lstrip("\r\n"))


def require_name(path: str) -> None:
    """Refuse a saved file's place that is ckptkit's own.

    Raises:
        CkptkitError: the first part of ``path`` is reserved, in any case.
    """
    if path.partition("/")[0].lower() in RESERVED:
        raise CkptkitError(
            f"a saved file may not be called {path}: ckptkit writes that name itself",
            "give the file another name with --as NAME, or leave it out with --exclude",
        )
