"""The state of a dataset when a run began, and what of it changed until the save, file by file."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ckptkit import hashing, scanning
from ckptkit.hash_cache import Cache
from ckptkit.manifest import Listing, State, listed_row

METADATA = "its metadata changed while it ran; whether its content did is not known"
SAME = "it was touched while it ran; its content is what it was at the start, but may have been another in between"


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """The state of every file of a dataset when a run began, and what was learned later of their SHA-256 then."""

    listing: Listing
    digests: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Suspect:
    """A file whose state is not what it was: its SHA-256 in hex at the start, if known, and whether it was written."""

    before: str | None
    written: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What is not as it was: files that came, went or have another size, and those that only their content can clear.

    The name of a dataset that is one file is "". ``seen`` is what was there.
    """

    changed: tuple[str, ...]
    suspects: Mapping[str, _Suspect]
    seen: Listing


def note(path: Path) -> Listing:
    """The state of every file of a dataset, or of the one file that it is.

    Raises:
        CkptkitError: a file cannot be looked at, or is none.
    """
    if path.is_dir():
        return hashing.scan(path)
    return Listing(rows=[listed_row(b"", scanning.state(os.fsencode(path)))])


def compare(before: Noted, path: Path, cache: Cache | None) -> Difference:
    """What of a dataset is not as it was noted; to be asked before the cache learns what is there now.

    Raises:
        CkptkitError: a file cannot be looked at.
    """

    def digest(name: str, was: State) -> str | None:
        known = before.digests.get(name) or recall(path / name if name else path, was, cache)
        if known is not None:
            before.digests[name] = known  # the cache forgets it, and another save may ask
        return known

    return _difference(before.listing, note(path), digest)


def again(found: Difference, path: Path) -> Difference:
    """What is not as it was, once more after the content was hashed, which may have taken hours.

    Raises:
        CkptkitError: a file cannot be looked at.
    """
    late = _difference(found.seen, note(path), lambda _, __: None)
    suspects = {**found.suspects, **late.suspects}
    return Difference(changed=(*found.changed, *late.changed), suspects=suspects, seen=late.seen)


def _difference(before: Listing, now: Listing, digest: Callable[[str, State], str | None]) -> Difference:
    changed, suspects = [], {}
    for name, was, state in _pairs(before, now):
        if was is None or state is None or was.size != state.size:
            changed.append(name)
        else:
            suspects[name] = _Suspect(before=digest(name, was), written=was.mtime != state.mtime)
    return Difference(changed=tuple(changed), suspects=suspects, seen=now if changed or suspects else before)


def _pairs(before: Listing, now: Listing) -> Iterator[tuple[str, State | None, State | None]]:
    """The files whose states differ, from two sorted listings."""
    if before.rows == now.rows:
        return
    gone = dict(Listing(rows=sorted(set(before.rows) - set(now.rows))))
    come = dict(Listing(rows=sorted(set(now.rows) - set(before.rows))))
    for name in sorted({*gone, *come}, key=os.fsencode):
        yield name, gone.get(name), come.get(name)


def recall(path: Path, state: State, cache: Cache | None) -> str | None:
    """The SHA-256 in hex of a file in a state, where it was hashed in it."""
    found = cache.recall([(os.path.realpath(os.fsencode(path)), state)])[0] if cache else None
    return found.hex() if found else None


def judge(difference: Difference, digests: Mapping[str, str]) -> tuple[tuple[str, ...] | None, str]:
    """The files whose content changed; None, and why, where that is not known.

    Args:
        difference: what is not as it was.
        digests: the SHA-256 in hex of the suspects now, as far as known.
    """
    changed, doubt = {*difference.changed}, ""
    for name, suspect in difference.suspects.items():
        now = digests.get(name)
        if suspect.before is None or now is None:
            if suspect.written:
                changed.add(name)
            else:
                doubt = METADATA
        elif suspect.before != now:
            changed.add(name)
        else:
            doubt = doubt or SAME
    return (None, doubt) if doubt and not changed else (tuple(sorted(changed)), "")


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
