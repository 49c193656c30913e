"""Pointers: what DVC, Git LFS and the Hub's cache say of a dataset, and whether its content is what they say."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ckptkit import redact
from ckptkit.capture import attempt
from ckptkit.data import dvc, dvc_steps, git_lfs, hub
from ckptkit.data.claim import Claim, Held
from ckptkit.hash_cache import Cache
from ckptkit.hashing import Progress
from ckptkit.manifest import Hashed, Manifest
from ckptkit.record import Step

_SYSTEMS = {"dvc": dvc.claim, "git_lfs": git_lfs.claim, "hub": hub.claim}

_ABSENT = "only its pointer is here; `{}` brings its content"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """What the systems that track a path say of it.

    Attributes:
        source: JSON types by system; secrets and private paths are taken out.
        absent: that the content is not here, with the command that brings it; None where it is here.
        digest: ``sha256:…`` of the content, where a pointer to one file has it.
        bytes: size of the content, where a pointer says it.
        files: number of its files, likewise.
        claims: what each system said, for ``agree``.
    """

    source: Mapping[str, Any]
    absent: str | None
    digest: str | None
    bytes: int | None
    files: int | None
    claims: tuple[Claim, ...] = ()


def find(path: Path, project: Path) -> Pointer | None:
    """The pointers of a path, at the cost of a few small files; no content is read and nothing raises.

    Args:
        path: an absolute path, whether something is there or not.
        project: the folder that paths are recorded relative to.

    Returns:
        None where no system knows the path. Where nothing is there, ``absent`` is set or it is None.
    """
    found = _found(path, project)
    return found or _found(Path(os.path.realpath(path)), project)  # who is asked by a link may track what it leads to


def _found(path: Path, project: Path) -> Pointer | None:
    source: dict[str, Any] = {}
    claims: list[Claim] = []
    for system, claim in _SYSTEMS.items():
        faults: dict[str, str] = {}
        found: Claim | None = attempt(faults, "unreadable", partial(claim, path, project), None)
        if faults:
            source[system] = {"unreadable": redact.text(faults["unreadable"], project=project)}
        if found is not None:
            claims.append(found)
            source[system] = {**found.said, **({"absent": True} if found.absent else {})}
    if not source:
        return None
    return Pointer(
        source=source,
        absent=next((_ABSENT.format(each.absent) for each in claims if each.absent), None),
        digest=next((each.digest for each in claims if each.digest), None),
        bytes=next((each.bytes for each in claims if each.bytes is not None), None),
        files=next((each.files for each in claims if each.files is not None), None),
        claims=tuple(claims),
    )


def agree(
    pointer: Pointer, path: Path, content: Manifest | Hashed, cache: Cache | None, progress: Progress | None
) -> Pointer:
    """Hold what the systems say against the content: ``agrees`` in the ``source`` of each, or ``why_not``.

    Args:
        pointer: what ``find`` found.
        path: where the content lies.
        content: it, hashed.
        cache: where MD5s are looked up and kept; a file whose MD5 is not known is read once more.
        progress: called with the number of bytes read since the last call.
    """
    source = dict(pointer.source)
    for claim in pointer.claims:
        if claim.check is None:
            continue
        faults: dict[str, str] = {}
        held = Held(path=path, content=content, cache=cache, progress=progress)
        said: Mapping[str, Any] = attempt(faults, "why_not", partial(claim.check, held), {})
        verdict = {**said, **faults}
        words = {key: redact.text(each) if isinstance(each, str) else each for key, each in verdict.items()}
        source[claim.system] = {**source[claim.system], **words}
    return replace(pointer, source=source)


def steps(path: Path, project: Path, pointer: Pointer | None = None) -> tuple[Step, ...]:
    """The stages of ``dvc.lock`` files that made a path, from the sources on; empty where none did. Nothing raises.

    Args:
        path: an absolute path.
        project: the folder that paths are recorded relative to.
        pointer: what ``agree`` returned for the path, which tells the link from the last stage to the content.
    """
    said = pointer.source.get("dvc", {}) if pointer is not None else {}
    return attempt({}, "steps", partial(dvc_steps.steps, path, project, said), ())
