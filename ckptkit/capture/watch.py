"""The state of a dataset when a run began, and what of it changed until the save, file by file."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ckptkit import hashing, scanning
from ckptkit.hash_cache import Cache
from ckptkit.manifest import Listing, State, listed_row

METADATA = "its metadata changed while it ran; whether its content did is not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Suspect:
    """A file whose state is not what it was: its SHA-256 in hex at the start, if known, and whether it was written."""

    before: str | None
    written: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What is not as it was: files that came, went or have another size, and those that only their content can clear.

    The name of a dataset that is one file is "".
    """

    changed: tuple[str, ...]
    suspects: Mapping[str, _Suspect]


def note(path: Path) -> Listing:
    """The state of every file of a dataset, or of the one file that it is.

    Raises:
        CkptkitError: a file cannot be looked at, or is none.
    """
    if path.is_dir():
        return hashing.scan(path)
    return Listing(rows=[listed_row(b"", scanning.state(os.fsencode(path)))])


def compare(before: Listing, path: Path, cache: Cache | None) -> Difference:
    """What of a dataset is not as it was noted; to be asked before the cache learns what is there now.

    Raises:
        CkptkitError: a file cannot be looked at.
    """
    now = note(path)
    if before.rows == now.rows:
        return Difference(changed=(), suspects={})
    changed, suspects = [], {}
    for name, was, state in _pairs(before, now):
        if was is None or state is None or was.size != state.size:
            changed.append(name)
        elif was != state:
            digest = _digest(path / name if name else path, was, cache)
            suspects[name] = _Suspect(before=digest, written=was.mtime != state.mtime)
    return Difference(changed=tuple(changed), suspects=suspects)


def _pairs(before: Listing, now: Listing) -> Iterator[tuple[str, State | None, State | None]]:
    """The files whose states differ, from two sorted listings."""
    gone = dict(Listing(rows=sorted(set(before.rows) - set(now.rows))))
    come = dict(Listing(rows=sorted(set(now.rows) - set(before.rows))))
    for name in sorted({*gone, *come}, key=os.fsencode):
        yield name, gone.get(name), come.get(name)


def _digest(path: Path, state: State, cache: Cache | None) -> str | None:
    """The digest of a file in an earlier state, where it was hashed in it."""
    if cache is None:
        return None
    packed, digest = cache.known([real := os.path.realpath(os.fsencode(path))]).get(real, (b"", b""))
    return digest.hex() if packed == state.pack() else None


def judge(difference: Difference, digests: Mapping[str, str]) -> tuple[tuple[str, ...] | None, str]:
    """The files whose content changed; None, and why, where that is not known.

    Args:
        difference: what is not as it was.
        digests: the SHA-256 in hex of the suspects now, as far as known.
    """
    changed, doubtful = [*difference.changed], False
    for name, suspect in difference.suspects.items():
        now = digests.get(name)
        if suspect.before is None or now is None:
            changed += [name] if suspect.written else []
            doubtful = doubtful or not suspect.written
        elif suspect.before != now:
            changed.append(name)
    return (None, METADATA) if doubtful and not changed else (tuple(sorted(changed)), "")


def written_since(path: Path, started: float) -> tuple[tuple[str, ...], bool]:
    """Files that were written after a run began, by their time of modification, and whether any was touched otherwise.

    Only the time of modification tells of content: a mode, a hard link or a new name sets the time of change too.

    Raises:
        CkptkitError: a file cannot be looked at.
    """
    begun = int(started * 1e9)
    written, touched = [], False
    for name, state in note(path):
        if state.mtime > begun:
            written.append(name)
        touched = touched or state.ctime > begun
    return tuple(written), touched
