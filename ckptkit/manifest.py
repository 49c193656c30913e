"""A manifest, the text that ``sha256sum`` of coreutils 9.0 or later prints: written and read here, off the disk."""

import hashlib
import itertools
import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ckptkit.errors import FormatError


class State(NamedTuple):
    """What ``stat`` tells about content: size in bytes, mtime and ctime in nanoseconds, inode.

    ``device`` is only that of a local disk, else 0: one network disk has another at each machine.
    """

    size: int
    mtime: int
    ctime: int
    inode: int
    device: int

    def pack(self) -> bytes:
        """The state as 40 bytes."""
        try:
            return _STATE.pack(*self)
        except struct.error:  # a time past the year 2262
            return _STATE.pack(self.size, min(self.mtime, _END), min(self.ctime, _END), self.inode, self.device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashed:
    """A file of a tree: POSIX path below it, SHA-256 in hex, size in bytes."""

    path: str
    sha256: str
    bytes: int


_SHA256 = 32  # bytes
_SIZE = struct.Struct(">Q")
_STATE = struct.Struct(">QqqQQ")
_END = (1 << 63) - 1  # nanoseconds since the epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """The files of a tree, each one string of bytes: a million of them take 110 MB, a sixth of what objects would.

    A row is the path, NUL and what is known of the file, so that rows sort as the bytes of their paths do: no path
    holds a NUL, and nothing is below it.
    """

    rows: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.rows)


class Manifest(_Rows):
    """Every file of a tree with its SHA-256, sorted by the bytes of the path."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Hashed]:
        for row in self.rows:
            path, _, rest = row.partition(b"\0")
            yield Hashed(path=os.fsdecode(path), sha256=rest[:_SHA256].hex(), bytes=int.from_bytes(rest[_SHA256:]))

    def lines(self) -> Iterator[bytes]:
        """The manifest as ``sha256sum`` writes it, line by line."""
        for row in self.rows:
            path, _, rest = row.partition(b"\0")
            yield _line(path, rest[:_SHA256].hex().encode())

    @property
    def digest(self) -> str:
        """``sha256:`` and the SHA-256 of all ``lines``."""
        sha256, lines = hashlib.sha256(), self.lines()
        while block := b"".join(itertools.islice(lines, 1000)):  # a call for each line would cost as much as the line
            sha256.update(block)
        return f"sha256:{sha256.hexdigest()}"

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(int.from_bytes(row[-_SIZE.size :]) for row in self.rows)


class Listing(_Rows):
    """Every file of a tree with its state, sorted by the bytes of the path; nothing was hashed."""

    __slots__ = ()

    def __iter__(self) -> Iterator[tuple[str, State]]:
        for path, state in self._parts():
            yield os.fsdecode(path), state

    def _parts(self) -> Iterator[tuple[bytes, State]]:
        for row in self.rows:
            path, _, rest = row.partition(b"\0")
            yield path, State._make(_STATE.unpack(rest))

    def pack(self) -> bytes:
        """The listing as one string of bytes, which ``unpack`` reads."""
        return b"".join(self.rows)

    @classmethod
    def unpack(cls, data: bytes) -> "Listing":
        """The listing that was packed.

        Raises:
            FormatError: the bytes are none.
        """
        rows, at = [], 0
        while at < len(data):
            end = data.find(b"\0", at) + 1 + _STATE.size
            if end <= at + _STATE.size or end > len(data):
                raise FormatError("is no listing of files")
            rows.append(data[at:end])
            at = end
        return cls(rows=rows)

    def lines(self) -> Iterator[bytes]:
        """``<bytes>  ./<path>`` for each file, escaped as in a manifest."""
        return (_line(path, b"%d" % state.size) for path, state in self._parts())

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(state.size for _, state in self._parts())


def hashed_row(path: bytes, sha256: bytes, size: int) -> bytes:
    """A row of a ``Manifest``: path below the tree, SHA-256 as 32 bytes, size in bytes."""
    return b"%b\0%b%b" % (path, sha256, _SIZE.pack(size))


def listed_row(path: bytes, state: State) -> bytes:
    """A row of a ``Listing``."""
    return b"%b\0%b" % (path, state.pack())


_ESCAPES = {b"\\": rb"\\", b"\n": rb"\n", b"\r": rb"\r"}
_CHARACTERS = {pair: character for character, pair in _ESCAPES.items()}
_SPECIAL = re.compile(rb"[\\\n\r]")
_PAIR = re.compile(rb"\\[\\nr]")
_ESCAPED = re.compile(rb"(?:[^\\\r]|\\[\\nr])+")
_LOOSE = re.compile(rb"(\\?)([0-9A-Fa-f]{32,}) [ *]([^\0]+)")
_TAGGED = re.compile(rb"(\\?)([A-Z][A-Z0-9/-]*) ?\(([^\0]+)\) ?= ?([0-9A-Fa-f]+)")
_NAMES = {32: b"MD5", 40: b"SHA1", 56: b"SHA224", 64: b"SHA256", 96: b"SHA384", 128: b"SHA512"}  # by hex digits
_MADE = "`cd DIR && find -L . -type f -exec sha256sum {} +`"
_LINE = re.compile(rb"(\\?)([0-9a-f]{64}) [ *]\./([^\0]+)")


def dump(entries: Iterable[tuple[str, str]]) -> bytes:
    r"""Write a manifest.

    Args:
        entries: path (POSIX, relative, without ``./``) and SHA-256 in hex of each file.

    Returns:
        Lines ``<hex>  ./<path>`` sorted by the bytes of the path. A line whose path holds a backslash, newline or
        carriage return begins with a backslash, and they are written ``\\``, ``\n`` and ``\r``.
    """
    encoded = sorted((os.fsencode(path), sha256.encode()) for path, sha256 in entries)
    return b"".join(_line(path, sha256) for path, sha256 in encoded)


def _line(path: bytes, first: bytes) -> bytes:
    if not _SPECIAL.search(path):
        return b"%b  ./%b\n" % (first, path)
    return b"\\%b  ./%b\n" % (first, _SPECIAL.sub(lambda found: _ESCAPES[found[0]], path))


def load(data: bytes) -> dict[str, str]:
    """Read a manifest; the strict inverse of ``dump``, but for the order of the lines and ``*`` for binary.

    Returns:
        For each path (without ``./``) its SHA-256 in hex.

    Raises:
        FormatError: a line is of another form, or names a path twice or one that is not plainly below the folder.
    """
    return _collect(data, _entry)


def read_loose(data: bytes) -> dict[str, str]:
    """Read a manifest that people made, with ``sha256sum``, ``shasum -a 256``, ``openssl dgst -sha256`` or ``sha256``.

    Returns:
        For each path (without ``./``) its SHA-256 in hex.

    Raises:
        FormatError: there is no line, or one holds another digest, is of another form, or names a path twice or one
            that is not plainly below a folder.
    """
    found = _collect(data, _loose_entry)
    if not found:
        raise FormatError("lists no file", f"make it anew: {_MADE}")
    return found


def _collect(data: bytes, read: Callable[[bytes, int], tuple[str, str]]) -> dict[str, str]:
    if data and not data.endswith(b"\n"):
        raise FormatError("its last line is cut off", line=data.count(b"\n") + 1)
    out: dict[str, str] = {}
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        path, sha256 = read(line, number)
        if path in out:
            raise FormatError(f"{path!r} stands twice", "keep one of the lines", line=number)
        out[path] = sha256
    return out


def _entry(line: bytes, number: int) -> tuple[str, str]:
    found = _LINE.fullmatch(line)
    if not found:
        raise FormatError("is not of the form '<64 hex digits>  ./<path>'", line=number)
    marked, sha256, path = bool(found[1]), found[2].decode(), found[3]
    if marked != bool(_SPECIAL.search(path)) or (marked and not _ESCAPED.fullmatch(path)):
        if path.endswith(b"\r"):
            raise _converted(number)
        raise FormatError("its backslashes are not those of sha256sum", line=number)
    return _place(path, number, marked=marked), sha256


def _loose_entry(line: bytes, number: int) -> tuple[str, str]:
    if tagged := _TAGGED.fullmatch(line):
        marked, name, path, digest = tagged.groups()
        name = {b"SHA2-256": b"SHA256"}.get(name, name)
    elif found := _LOOSE.fullmatch(line):
        marked, digest, path = found.groups()
        name = _NAMES.get(len(digest), b"")
    else:
        raise FormatError("is not of the form '<64 hex digits>  <path>'", f"make it anew: {_MADE}", line=number)
    if name != b"SHA256" or len(digest) != _SHA256 * 2:
        words = f"holds a digest of {name.decode()}" if name else f"holds {len(digest)} hex digits"
        raise FormatError(f"{words}, where SHA-256 is needed", f"make it anew: {_MADE}", line=number)
    if path.endswith(b"\r"):
        raise _converted(number)
    return _place(path.removeprefix(b"./"), number, marked=bool(marked)), digest.decode().lower()


def _converted(number: int) -> FormatError:
    return FormatError("ends in CR LF", "something converted its line ends: restore the file", line=number)


def _place(path: bytes, number: int, *, marked: bool) -> str:
    if marked:
        path = _PAIR.sub(lambda pair: _CHARACTERS[pair[0]], path)
    if not {b"", b".", b".."}.isdisjoint(path.split(b"/")):
        raise FormatError(f"{os.fsdecode(path)!r} is not plainly below the folder", line=number)
    return os.fsdecode(path)
