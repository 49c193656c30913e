"""What one system that tracks data by pointers says of a path, and how its word is held against the content."""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ckptkit import disk
from ckptkit.errors import FormatError
from ckptkit.hash_cache import Cache
from ckptkit.hashing import Progress
from ckptkit.manifest import Hashed, Manifest

_BLOCK = 1 << 20

Check = Callable[[Path, Manifest | Hashed, Cache | None, Progress | None], Mapping[str, Any]]
"""Says of a path's content ``agrees``, with ``difference`` in words where False; or ``why_not`` when unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a system says of a path.

    ``said`` is recorded; ``absent`` tells why the content is not here; ``digest``, ``bytes`` and ``files`` are of the
    content as the pointer has it; ``check`` is None where there is nothing to compare.
    """

    system: Literal["dvc", "git_lfs", "hub"]
    said: Mapping[str, Any]
    absent: str | None = None
    digest: str | None = None
    bytes: int | None = None
    files: int | None = None
    check: Check | None = None


def entries(content: Manifest | Hashed, path: Path) -> Iterable[tuple[str, Hashed]]:
    """Each file of the content at ``path``, with where it lies."""
    if isinstance(content, Hashed):
        yield os.fspath(path), content
        return
    for entry in content:
        yield f"{path}/{entry.path}", entry


def is_there(path: Path) -> bool:
    """Whether something is at ``path``; what cannot be looked at is there."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return True


def rehash(file: str, entry: Hashed, other: "hashlib._Hash", progress: Progress | None) -> str:
    """Another hash of a file that was hashed before, in hex.

    Args:
        file: where it lies.
        entry: the file as it was hashed.
        other: the hash, which takes the bytes.
        progress: called with the number of bytes done since the last call.

    Raises:
        FormatError: it cannot be read, or its content is not that of ``entry`` any more.
    """
    sha256 = hashlib.sha256()
    descriptor = disk.open_regular(file)
    try:
        while block := os.read(descriptor, _BLOCK):
            sha256.update(block)
            other.update(block)
            if progress is not None:
                progress(len(block))
    except OSError as error:
        raise FormatError(f"cannot be read: {disk.reason(error)}") from error
    finally:
        os.close(descriptor)
    if sha256.hexdigest() != entry.sha256:
        raise FormatError(f"{entry.path} changed after it was hashed")
    return other.hexdigest()
