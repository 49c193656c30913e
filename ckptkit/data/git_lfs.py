"""Pointers of Git LFS: a file that holds one instead of its content, or whose pointer git keeps.

Format: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

import os
import re
import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ckptkit import disk, hashing, redact
from ckptkit.capture import repository
from ckptkit.capture.command import ProbeError
from ckptkit.data.claim import Claim, Held, Verdict, differs, is_there
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.manifest import Hashed
from ckptkit.words import count

_LIMIT = 1024  # bytes; a pointer is shorter, says the specification
_FORM = re.compile(rb"version https://\S+/spec/v1\n(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize (\d{1,18})\n?")
_SECONDS = 10.0
_SHOWN = 5  # names

_Pointer = tuple[str, int]  # object id and size


def claim(path: Path, project: Path) -> Claim | None:
    """What Git LFS says of ``path``; None where it says nothing.

    Args:
        path: an absolute path, whether something is there or not.
        project: the folder that paths are recorded relative to.
    """
    if os.path.isdir(path):  # noqa: PTH112 - never raises
        return _folder(path)
    folder = next(above for above in path.parents if os.path.isdir(above))  # noqa: PTH112 - as above
    name = os.fspath(path.relative_to(folder))
    absent = None
    pointer = _pointer(path)
    if pointer is not None:
        absent = "git lfs pull"
    else:
        pointer = _kept(folder, name).get(name)
        if pointer is None:
            return None
        if not is_there(path):
            absent = shlex.join(["git", "restore", redact.path(path, project)[0]])
    oid, size = pointer
    return Claim(
        system="git_lfs",
        said={"oid": f"sha256:{oid}", "size": size, **_remote(folder)},
        absent=absent,
        digest=f"sha256:{oid}",
        bytes=size,
        files=1,
        check=None if absent else partial(_check, {path.name: pointer}),
    )


def _pointer(path: str | Path) -> _Pointer | None:
    """What a file holds in place of its content."""
    try:
        if os.stat(path).st_size > _LIMIT:  # noqa: PTH116 - a str or a Path
            return None
        return _parsed(disk.read_regular(path, _LIMIT))
    except (OSError, ValueError, FormatError):
        return None


def _parsed(data: bytes) -> _Pointer | None:
    found = _FORM.fullmatch(data)
    return (found[1].decode(), int(found[2])) if found else None


def _folder(path: Path) -> Claim | None:
    """A folder with files whose pointers git has; some may hold these in place of their content."""
    kept = _kept(path, ".")
    names = {name for name in kept if _pointer(f"{path}/{name}")}
    if not kept:
        return None
    said: dict[str, Any] = {"files": len(kept), **_remote(path)}
    if names:
        said |= {"pointers": len(names), "such_as": [redact.text(name) for name in sorted(names)[:_SHOWN]]}
    full = {name: pointer for name, pointer in kept.items() if name not in names}
    alone = not full and _count(path) == len(names)
    return Claim(
        system="git_lfs",
        said=said,
        absent="git lfs pull" if alone else None,
        check=partial(_check, full) if full else None,
    )


def _count(folder: Path) -> int | None:
    """The number of files in a folder; None where that is damaged, which is said where it is hashed."""
    try:
        return len(hashing.scan(folder))
    except CkptkitError:
        return None


def _check(kept: Mapping[str, _Pointer], held: Held) -> Verdict:
    files = (held.content,) if isinstance(held.content, Hashed) else held.content
    different = [file.path for file in files if kept.get(file.path, (file.sha256, 0))[0] != file.sha256]
    if not different:
        return {"agrees": True}
    words = f"has other content than git's pointers say in {count(len(different), 'file')}"
    return differs(f"{words}: {', '.join(different[:_SHOWN])}")


def _kept(folder: Path, within: str) -> dict[str, _Pointer]:
    """The pointers that git's index has for files in a folder, at or below ``within``, by their path in it."""
    git = repository.at(folder, seconds=_SECONDS)
    try:
        listed = os.fsdecode(git("ls-files", "-s", "-z", "--", f":(literal){within}")).split("\0")
        lines = [line.partition("\t") for line in listed if line]
        ids = {path: words.split()[1] for words, _, path in lines if words.startswith("100")}
        asked = "".join(f"{each}\n" for each in {*ids.values()})
        sizes = (line.split() for line in git("cat-file", "--batch-check", stdin=asked).splitlines())
        small = "".join(f"{each.decode()}\n" for each, kind, size in sizes if kind == b"blob" and int(size) <= _LIMIT)
        said = git("cat-file", "--batch", stdin=small)
    except (ProbeError, OSError, ValueError, IndexError):
        return {}
    found: dict[str, _Pointer] = {}
    start = 0
    while start < len(said):
        end = said.index(b"\n", start)
        name, _, size = said[start:end].decode().split()
        start = end + 1 + int(size) + 1
        if pointer := _parsed(said[end + 1 : start - 1]):
            found[name] = pointer
    return {path: found[each] for path, each in ids.items() if each in found}


def _remote(folder: Path) -> dict[str, str]:
    """Where the objects are, as git's configuration has it: that of LFS, else of the remote ``origin``."""
    git = repository.at(folder, seconds=_SECONDS)
    for words in (
        ("config", "--get", "lfs.url"),
        ("config", "--blob", ":.lfsconfig", "--get", "lfs.url"),
        ("config", "--get", "remote.origin.url"),
    ):
        said = git.ask(*words)
        address = redact.url(said) if said else None
        if address:
            return {"remote": address}
    return {}
