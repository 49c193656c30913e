"""The cache of the Hugging Face Hub: what the place of a file in it says, held against the content.

Layout: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

import hashlib
import os
import re
import shlex
from dataclasses import replace
from functools import partial
from pathlib import Path

from ckptkit import redact
from ckptkit.data.claim import Claim, Held, Verdict, differs, is_there
from ckptkit.words import count

_PLACE = re.compile(r"(?s).*/(model|dataset|space)s--([^/]+)/snapshots/([^/]+)(?:/(.+))?")
_BLOB = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHA256 = 64  # hex digits
_HOPS = 40
_SHOWN = 5  # names


def claim(path: Path, _: Path) -> Claim | None:
    """What the Hub's cache says of ``path``, itself or by way of a link; None where that is not in it.

    Args:
        path: an absolute path, whether something is there or not.
    """
    place = _located(path)
    found = _PLACE.fullmatch(os.fspath(place)) if place is not None else None
    if place is None or found is None:
        return None
    kind, repo, revision, inner = found.groups()
    here = is_there(place)
    if not here and inner and not place.is_symlink() and is_there(place.parents[inner.count("/")]):
        return None  # the snapshot is here and has no such file: a wrong name
    repo = repo.replace("--", "/", 1)
    said = {"type": kind, "repo": redact.text(repo), "revision": revision}
    said |= {"file": redact.text(inner)} if inner else {}
    words = ["hf", "download", repo, *([inner] if inner else []), "--repo-type", kind, "--revision", revision]
    blob = _blob(os.fspath(place))
    return Claim(
        system="hub",
        said=said | ({"blob": blob} if blob else {}),
        absent=None if here else redact.text(shlex.join(words)),
        digest=f"sha256:{blob}" if blob and len(blob) == _SHA256 else None,
        files=1 if blob else None,
        check=partial(_check, place) if here else None,
    )


def _located(path: Path) -> Path | None:
    """The path in a snapshot that ``path`` is, or leads to link by link."""
    for _ in range(_HOPS):
        for place in (path, Path(os.path.realpath(path.parent), path.name)):
            if _PLACE.fullmatch(os.fspath(place)):
                return place
        if not os.path.islink(path):  # noqa: PTH114 - never raises
            return None
        path = Path(os.path.normpath(path.parent / os.readlink(path)))  # noqa: PTH115 - normalised before it is a Path
    return None


def _blob(file: str) -> str | None:
    """The name of the blob that a file of a snapshot is a link to: its SHA-256, or the id that git gives it."""
    try:
        name = os.path.basename(os.readlink(file))  # noqa: PTH115, PTH119 - strings, for every file
    except OSError:
        return None
    return name if _BLOB.fullmatch(name) else None


def _check(place: Path, held: Held) -> Verdict:
    different, nameless = [], 0
    for file, entry in replace(held, path=place).files():
        blob = _blob(file)
        git_id = hashlib.sha1(b"blob %d\0" % entry.bytes, usedforsecurity=False)
        if blob is None:
            nameless += 1
        elif blob != (entry.sha256 if len(blob) == _SHA256 else held.rehash(file, entry, git_id)):
            different.append(entry.path)
    if different:
        names = redact.text(", ".join(different[:_SHOWN]))
        return differs(f"has {count(len(different), 'file')} whose content is not what the blob's name says: {names}")
    if nameless:
        return {"why_not": f"{count(nameless, 'file')} in it are no links to blobs, whose names would tell the content"}
    return {"agrees": True}
