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


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Content that is here.

    ``path`` is where it lies; ``cache`` keeps MD5s; ``progress`` is called with the number of bytes read since the
    last call.
    """

    path: Path
    content: Manifest | Hashed
    cache: Cache | None
    progress: Progress | None

    def files(self) -> Iterable[tuple[str, Hashed]]:
        """Each file, with where it lies."""
        if isinstance(self.content, Hashed):
            yield os.fspath(self.path), self.content
            return
        for entry in self.content:
            yield f"{self.path}/{entry.path}", entry

    def md5(self, file: str, entry: Hashed) -> str:
        """The MD5 of a file, from the cache where that has it.

        Raises:
            FormatError: as ``rehash``.
        """
        known = None if self.cache is None else self.cache.md5_of(entry.sha256)
        if known is None:
            known = self.rehash(file, entry, hashlib.md5(usedforsecurity=False))
            if self.cache is not None:
                self.cache.put_md5(entry.sha256, known)
        return known

    def rehash(self, file: str, entry: Hashed, other: "hashlib._Hash") -> str:
        """Another hash of a file, in hex, which is read once more.

        Args:
            file: where it lies.
            entry: the file as it was hashed.
            other: the hash, which takes the bytes.

        Raises:
            FormatError: it cannot be read, or its content is not that of ``entry`` any more.
        """
        sha256 = hashlib.sha256()
        descriptor = disk.open_regular(file)
        try:
            while block := os.read(descriptor, _BLOCK):
                sha256.update(block)
                other.update(block)
                if self.progress is not None:
                    self.progress(len(block))
        except OSError as error:
            raise FormatError(f"cannot be read: {disk.reason(error)}") from error
        finally:
            os.close(descriptor)
        if sha256.hexdigest() != entry.sha256:
            raise FormatError(f"{entry.path} changed after it was hashed")
        return other.hexdigest()


Verdict = Mapping[str, Any]
"""``agrees``, with ``difference`` in words where that is False; or ``why_not`` when it is unknown."""


def differs(words: str) -> Verdict:
    """The verdict on content that is other than the pointer says."""
    return {"agrees": False, "difference": words}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a system says of a path.

    ``said`` is recorded; ``absent`` is the command that brings content that is not here; ``digest``, ``bytes`` and
    ``files`` are of the content as the pointer has it; ``check`` is None where there is nothing to compare.
    """

    system: Literal["dvc", "git_lfs", "hub"]
    said: Mapping[str, Any]
    absent: str | None = None
    digest: str | None = None
    bytes: int | None = None
    files: int | None = None
    check: Callable[[Held], Verdict] | None = None


def is_there(path: Path) -> bool:
    """Whether something is at ``path``; what cannot be looked at is there."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return True
