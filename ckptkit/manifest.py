"""A manifest, the text that ``sha256sum`` of coreutils 9.0 or later prints: written and read here, off the disk."""

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ckptkit.errors import FormatError


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashed:
    """A file of a tree: POSIX path below it, SHA-256 in hex, size in bytes."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Every file of a tree, sorted by the bytes of the path."""

    entries: tuple[Hashed, ...]

    @property
    def text(self) -> bytes:
        """The manifest as ``sha256sum`` writes it."""
        return dump((entry.path, entry.sha256) for entry in self.entries)

    @property
    def digest(self) -> str:
        """``sha256:`` and the SHA-256 of ``text``."""
        return f"sha256:{hashlib.sha256(self.text).hexdigest()}"

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(entry.bytes for entry in self.entries)


_ESCAPES = {b"\\": rb"\\", b"\n": rb"\n", b"\r": rb"\r"}
_CHARACTERS = {pair: character for character, pair in _ESCAPES.items()}
_SPECIAL = re.compile(rb"[\\\n\r]")
_PAIR = re.compile(rb"\\[\\nr]")
_ESCAPED = re.compile(rb"(?:[^\\\r]|\\[\\nr])+")
_LINE = re.compile(rb"(\\?)([0-9a-f]{64}) [ *]\./([^\0]+)")


def dump(entries: Iterable[tuple[str, str]]) -> bytes:
    r"""Write a manifest.

    Args:
        entries: path (POSIX, relative, without ``./``) and SHA-256 in hex of each file.

    Returns:
        Lines ``<hex>  ./<path>`` sorted by the bytes of the path. A line whose path holds a backslash, newline or
        carriage return begins with a backslash, and they are written ``\\``, ``\n`` and ``\r``.
    """
    lines = []
    for path, sha256 in sorted((os.fsencode(path), sha256.encode()) for path, sha256 in entries):
        escaped = _SPECIAL.sub(lambda found: _ESCAPES[found[0]], path)
        lines.append(b"%s%s  ./%s\n" % (b"\\" if escaped != path else b"", sha256, escaped))
    return b"".join(lines)


def load(data: bytes) -> dict[str, str]:
    """Read a manifest; the strict inverse of ``dump``, but for the order of the lines and ``*`` for binary.

    Returns:
        For each path (without ``./``) its SHA-256 in hex.

    Raises:
        FormatError: a line is of another form, or names a path twice or one that is not plainly below the folder.
    """
    if data and not data.endswith(b"\n"):
        raise FormatError("its last line is cut off", line=data.count(b"\n") + 1)
    out: dict[str, str] = {}
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        path, sha256 = _entry(line, number)
        if path in out:
            raise FormatError(f"{path!r} stands twice", "keep one of the lines", line=number)
        out[path] = sha256
    return out


def _entry(line: bytes, number: int) -> tuple[str, str]:
    found = _LINE.fullmatch(line)
    if not found:
        raise FormatError("is not of the form '<64 hex digits>  ./<path>'", line=number)
    marked, sha256, path = bool(found[1]), found[2].decode(), found[3]
    if not marked and path.endswith(b"\r"):
        raise FormatError("ends in CR LF", "something converted its line ends: restore the file", line=number)
    if marked != bool(_SPECIAL.search(path)) or (marked and not _ESCAPED.fullmatch(path)):
        raise FormatError("its backslashes are not those of sha256sum", line=number)
    if marked:
        path = _PAIR.sub(lambda pair: _CHARACTERS[pair[0]], path)
    if not {b"", b".", b".."}.isdisjoint(path.split(b"/")):
        raise FormatError(f"{os.fsdecode(path)!r} is not plainly below the folder", line=number)
    return os.fsdecode(path), sha256
