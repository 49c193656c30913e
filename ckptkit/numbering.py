"""Numbering: the numbers of a model's versions once its history is united with that of another copy."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ckptkit import disk, history, names, registry
from ckptkit.record import Event
from ckptkit.registry import Model


class Numbers:
    """A number for each version of two copies of a model, no two of them alike.

    What was renumbered last holds, on whichever side. Of two versions that claim one number the one whose folder bears
    it here keeps it, else the one that was known here; the other one gets a number that neither side ever used. So the
    other side, which follows the events of here, comes to the same numbers.
    """

    def __init__(self, here: Model, theirs: Model, at: Mapping[str, str], coming: Mapping[str, str]) -> None:
        """Begin with what both sides say.

        Args:
            here: the model here.
            theirs: the other copy of it.
            at: the version folders here, by digest.
            coming: the numbers there of versions that come, by digest.
        """
        self._here, self._at = here, at
        both = (*here.events, *theirs.events)
        self._latest = max((event for event in both if event.kind in history.LIVES), key=history.order, default=None)
        self._last = max(here.last, theirs.last)
        unknown = {digest: [version] for digest, version in at.items() if version in here.unrecorded}
        unknown |= {digest: [version] for digest, version in coming.items()}
        self._own = _claims(here.events)
        self._claims = unknown | _claims(both)
        self._of = {
            digest: at[digest] if at.get(digest) in claimed else claimed[0] for digest, claimed in self._claims.items()
        }
        taken: dict[str, str] = {}
        for digest in sorted(self._of, key=self._precedence):
            if taken.setdefault(self._of[digest], digest) != digest:
                self._renew(digest)

    def _precedence(self, digest: str) -> tuple[bool, bool, int]:
        version = self._of[digest]
        return self._at.get(digest) != version, digest not in self._own, names.folder_number(version) or 0

    def _renew(self, digest: str) -> None:
        self._last += 1
        self._of[digest] = names.version_name(self._last)

    def follow(self) -> dict[str, str]:
        """Rename the folders here whose number changed, but for those that stood elsewhere; gives the new by digest."""
        moved: dict[str, str] = {}
        left = {
            digest: version
            for digest, version in self._at.items()
            if self._of.get(digest, version) != version and version in self._own.get(digest, [version])
        }
        while left:
            ready = [digest for digest in left if not os.path.lexists(self._here.path / self._of[digest])]
            for digest in ready:
                moved[digest] = self.place(self._here.path / left.pop(digest), digest)
            if not ready:
                self._renew(next(iter(left)))
        return moved

    def place(self, source: Path, digest: str) -> str:
        """Rename a version into its model's folder, under its number or the next that is free; returns that."""
        while True:
            target = self._here.path / self._of[digest]
            try:
                if not os.path.lexists(target):
                    source.rename(target)
                    disk.sync_folder(target.parent)
                    return target.name
            except OSError:
                if not os.path.lexists(target):  # else another process was faster, on a disk without locks
                    raise
            self._renew(digest)

    def events(self, unsaved: Iterable[str]) -> list[Event]:
        """The events that are missing for both histories, united, to say these numbers.

        Args:
            unsaved: the digests of versions of which no event says that they were saved.
        """
        told: list[tuple[str, str, str | None]] = [("saved", digest, None) for digest in unsaved]
        for digest, claimed in self._claims.items():
            told += [("renumbered", digest, version) for version in claimed if version != self._of[digest]][:1]
        out, last = [], self._latest
        for kind, digest, was in told:
            last = registry.new_event(kind, self._here.name, self._of[digest], after=last, digest=digest, was=was)
            out.append(last)
        return out


def _claims(events: Sequence[Event]) -> dict[str, list[str]]:
    """The numbers that events give to each digest; more than one where none says which of them holds."""
    now = history.renumbered(events)
    found: dict[str, list[str]] = {}
    for event in events:
        version = history.number(event, now)
        if event.kind in history.LIVES and event.digest and version:
            found.setdefault(event.digest, []).append(version)
    return found
