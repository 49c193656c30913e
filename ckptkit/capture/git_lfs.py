"""Pointers of Git LFS: a file that holds one instead of its content, or whose pointer git keeps.

Format: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

import os
import re
import shlex
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ckptkit import disk, hashing, redact
from ckptkit.capture.claim import Claim, is_there
from ckptkit.capture.command import ProbeError
from ckptkit.capture.repository import Git
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.hash_cache import Cache
from ckptkit.hashing import Progress
from ckptkit.manifest import Hashed, Manifest
from ckptkit.words import count

_LIMIT = 1024  # bytes; a pointer is shorter, says the specification
_FORM = re.compile(rb"version https://\S+/spec/v1\n(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize (\d{1,18})\n?")
_SECONDS = 10.0
_SHOWN = 5  # names


def claim(path: Path, project: Path) -> Claim | None:
    """What Git LFS says of ``path``; None where it says nothing.

    Args:
        path: an absolute path, whether something is there or not.
        project: the folder that paths are recorded relative to.
    """
    if os.path.isdir(path):  # noqa: PTH112 - never raises
        return _folder(path) if _in_play(path) else None
    held = _pointer(path)
    if held is not None:
        oid, size = held
        why = "it holds a pointer of Git LFS, not its content: `git lfs pull` brings it"
        return Claim(
            system="git_lfs", said=_said(path, oid, size), absent=why, digest=f"sha256:{oid}", bytes=size, files=1
        )
    kept = _kept(path) if _in_play(path.parent) else None
    if kept is None:
        return None
    oid, size = kept
    here, shown = is_there(path), shlex.quote(redact.path(path, project)[0])
    return Claim(
        system="git_lfs",
        said=_said(path, oid, size),
        absent=None if here else f"it is not here, only its pointer in git: `git restore {shown}` brings it",
        digest=f"sha256:{oid}",
        bytes=size,
        files=1,
        check=partial(_check, oid, size) if here else None,
    )


def _said(path: Path, oid: str, size: int) -> dict[str, Any]:
    out: dict[str, Any] = {"oid": f"sha256:{oid}", "size": size}
    address = _address(path.parent)
    return out | ({"remote": address} if address else {})


def _check(
    oid: str, size: int, _: Path, content: Manifest | Hashed, __: Cache | None, ___: Progress | None
) -> Mapping[str, Any]:
    if isinstance(content, Hashed) and (content.sha256, content.bytes) == (oid, size):
        return {"agrees": True}
    return {"agrees": False, "difference": f"has other content than git's pointer says: sha256:{oid}, {size:,} bytes"}


def _pointer(path: str | Path) -> tuple[str, int] | None:
    """The object id and size that a file holds in place of its content."""
    try:
        if os.stat(path).st_size > _LIMIT:  # noqa: PTH116 - a str or a Path
            return None
        return _parsed(disk.read_regular(path, _LIMIT))
    except (OSError, ValueError, FormatError):
        return None


def _parsed(data: bytes) -> tuple[str, int] | None:
    found = _FORM.fullmatch(data)
    return (found[1].decode(), int(found[2])) if found else None


def _folder(path: Path) -> Claim | None:
    """A folder with files that hold pointers, or whose pointers git has."""
    try:
        listing = hashing.scan(path)
    except CkptkitError:  # said where the folder is hashed
        return None
    names = [name for name, state in listing if state.size <= _LIMIT and _pointer(f"{path}/{name}")]
    kept = _kept_below(path)
    for name in names:
        kept.pop(name, None)
    if not names and not kept:
        return None
    said: dict[str, Any] = {"files": len(names) + len(kept)}
    if names:
        said |= {"pointers": len(names), "such_as": [redact.text(name) for name in names[:_SHOWN]]}
    if address := _address(path):
        said["remote"] = address
    why = "every file in it holds a pointer of Git LFS, not its content: `git lfs pull` brings them"
    return Claim(
        system="git_lfs",
        said=said,
        absent=why if len(names) == len(listing) else None,
        check=partial(_check_all, kept) if kept else None,
    )


def _check_all(
    kept: Mapping[str, tuple[str, int]], _: Path, content: Manifest | Hashed, __: Cache | None, ___: Progress | None
) -> Mapping[str, Any]:
    files = (content,) if isinstance(content, Hashed) else content
    different = [file.path for file in files if kept.get(file.path, (file.sha256, 0))[0] != file.sha256]
    if not different:
        return {"agrees": True}
    words = f"has other content than git's pointers say in {count(len(different), 'file')}"
    return {"agrees": False, "difference": f"{words}: {', '.join(different[:_SHOWN])}"}


def _in_play(folder: Path) -> bool:
    """Whether git's attributes put any file at or below ``folder`` into the care of Git LFS."""
    for above in (folder, *folder.parents):
        files = [above / ".gitattributes"]
        top = os.path.lexists(above / ".git")
        if top:
            files.append(above / ".git" / "info" / "attributes")
        for file in files:
            try:
                if b"filter=lfs" in disk.read_regular(file, disk.CONFIG_LIMIT):
                    return True
            except FormatError:
                continue
        if top or os.path.ismount(above):
            break
    return False


def _git(folder: Path) -> Git:
    # Without a protocol, a partial clone fetches nothing behind our back.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or "CONFIG" in name}
    return Git(
        folder=folder,
        variables=plain | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "none"},
        deadline=time.monotonic() + _SECONDS,
    )


def _kept(path: Path) -> tuple[str, int] | None:
    """The pointer that git's index has for a file."""
    folder = next(above for above in path.parents if os.path.isdir(above))  # noqa: PTH112 - never raises
    name = f":./{path.relative_to(folder)}"
    git = _git(folder)
    try:
        if int(git("cat-file", "-s", name)) > _LIMIT:
            return None
        return _parsed(git("cat-file", "blob", name))
    except (ProbeError, OSError, ValueError):
        return None


def _kept_below(folder: Path) -> dict[str, tuple[str, int]]:
    """The pointers that git's index has for files below a folder, by their path in it."""
    git = _git(folder)
    try:
        lines = [
            line.partition("\t") for line in os.fsdecode(git("ls-files", "-s", "-z", "--", ".")).split("\0") if line
        ]
        ids = {path: words.split()[1] for words, _, path in lines if words.startswith("100")}
        asked = "".join(f"{each}\n" for each in {*ids.values()})
        sizes = (line.split() for line in git("cat-file", "--batch-check", stdin=asked).splitlines())
        small = "".join(f"{each.decode()}\n" for each, kind, size in sizes if kind == b"blob" and int(size) <= _LIMIT)
        said = git("cat-file", "--batch", stdin=small)
    except (ProbeError, OSError, ValueError, IndexError):
        return {}
    found: dict[str, tuple[str, int]] = {}
    start = 0
    while start < len(said):
        end = said.index(b"\n", start)
        name, _, size = said[start:end].decode().split()
        start = end + 1 + int(size) + 1
        if pointer := _parsed(said[end + 1 : start - 1]):
            found[name] = pointer
    return {path: found[each] for path, each in ids.items() if each in found}


def _address(folder: Path) -> str | None:
    """Where the objects are, as git's configuration has it: that of LFS, else of the remote ``origin``."""
    git = _git(folder)
    for words in (
        ("config", "--get", "lfs.url"),
        ("config", "--blob", ":.lfsconfig", "--get", "lfs.url"),
        ("config", "--get", "remote.origin.url"),
    ):
        said = git.ask(*words)
        if said:
            return redact.url(said)
    return None
