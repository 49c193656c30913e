"""A change to a registry, under its lock.

First what a killed command left is finished, then events are written, and what is derived from them follows.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ckptkit import disk, documents, history, index, publication, redact, registry, roots, settings, takein, transaction
from ckptkit.errors import CkptkitError
from ckptkit.record import Event


class Change:
    """What a writing verb sees of a registry while it holds the lock.

    Attributes:
        root: the registry root.
        index: its index, current; see ``index.load``.
        links: whether alias links are made.
        warnings: what could not be done after the truth was written.
    """

    def __init__(self, root: Path, known: dict[str, Any], *, links: bool) -> None:
        self.root = root
        self.index = known
        self.links = links
        self.warnings: list[str] = []

    def event(self, kind: str, model: str, version: str | None, **facts: Any) -> Event:  # noqa: ANN401 - fields of Event
        """An event of this moment, with the digest of its version, that follows all heads of its chain.

        Args:
            kind: what happens; see ``Event``.
            model: the registered model.
            version: the version that it speaks of, if any.
            facts: further fields of ``Event``.
        """
        part = index.entry(self.index, model)
        row = part["versions"].get(version) or part["gone"].get(version) or {}
        if row:
            facts.setdefault("digest", row["digest"])
        if facts.get("reason"):
            facts["reason"] = redact.text(facts["reason"])
        event = registry.new_event(kind, model, version, after=self._before(kind, model, row), **facts)
        return publication.follow(event, part["heads"].get(history.chain(event), []))

    def _before(self, kind: str, model: str, row: Mapping[str, Any]) -> Event | None:
        """An event that one of a kind has to come after, as the later of them holds, whatever another clock said."""
        folder = self.root / model
        if kind == "renumbered":
            told = (event for event in registry.read_model(folder).events if event.digest == row.get("digest"))
            return max(told, key=history.order, default=None)
        last = {"evaluated": row.get("evaluations", [None])[-1], "deleted": row.get("event")}.get(kind)
        event = registry.read_event(folder / registry.HISTORY / f"{last}.json") if last else None
        return event if isinstance(event, Event) else None

    def record(self, *events: Event) -> None:
        """Write events into the histories of their models, each whole and synced.

        Raises:
            CkptkitError: the disk refuses; those before the one that it refuses are written.
        """
        for position, event in enumerate(events):
            folder = self.root / event.model / registry.HISTORY
            path = folder / f"{event.id}.json"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                disk.create(path, documents.dump_json(event.to_dict()))
            except OSError as error:
                if not os.path.lexists(path):
                    done = f"{position} of {len(events)} steps were done" if position else "nothing was changed"
                    raise CkptkitError(f"{folder}: {disk.reason(error)}; {done}", disk.advice(error)) from error
            if history.chain(event):
                self.index = index.after(self.index, self.root, event.model, [event])

    def reread(self, *names: str) -> None:
        """Read some models' folders and events again; one that is not there any more leaves the index.

        Where one of them became another, the lines of its versions go along.
        """
        models = dict(self.index["models"])
        known = {name: models.pop(name)["versions"] for name in names if name in models}
        longest: Mapping[str, Any] = max(known.values(), key=len, default={})
        for name in names:
            if registry.is_model(self.root / name):
                models[name] = index.describe(registry.read_model(self.root / name), known.get(name) or longest)
        self.index = {**self.index, "models": dict(sorted(models.items()))}

    def published(self, version: registry.Version, events: list[Event]) -> None:
        """Take a version that was published into the index.

        Raises:
            FormatError: it cannot be read back at this moment.
        """
        self.index = index.after(self.index, self.root, version.path.parent.name, events, version)

    def attempt(self, words: str, work: Callable[[], None]) -> None:
        """Do what comes after the truth was written; a fault of any kind is a warning that begins with ``words``."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - nothing that was published or written is undone by it
            self.warnings.append(f"{words}: {disk.reason(error)}")

    def settle(self) -> None:
        """Write what is derived; a fault is a warning, as it comes again by ``ckptkit index``."""
        words = "run `ckptkit index`, as the index could not be written"
        self.attempt(words, lambda: index.write(self.root, self.index))
        for name, part in self.index["models"].items():
            publication.link_aliases(self.root / name, part["aliases"] if self.links else {})


@contextlib.contextmanager
def begin(root: Path, known: dict[str, Any] | None = None) -> Iterator[Change]:
    """Hold the lock of a registry for a change.

    Args:
        root: the registry root.
        known: its index as loaded before, if it was.

    Raises:
        NotFoundError: there is no registry; nothing is written then.
        CkptkitError: it cannot be read or written, or another process has held its lock for minutes.
    """
    roots.require_registry(root)
    roots.open_root(root)
    before = index.stored(root) if known is None else known
    sound: dict[str, Mapping[str, str]] = {}
    with contextlib.ExitStack() as life:
        while True:
            life.enter_context(roots.locked(root))
            unfinished = list(_finish(root, sound))
            before = index.build(root, before)
            missing = {
                name: part["unrecorded"]
                for name, part in before["models"].items()
                if part["unrecorded"] and name not in sound
            }
            if not missing:
                break
            life.close()  # others do not have to wait while bytes are hashed
            sound |= {name: takein.verified(root / name, versions) for name, versions in missing.items()}
        change = Change(root, before, links=settings.has_links(root))
        change.warnings += unfinished
        try:
            yield change
        except BaseException:
            if change.index is not before:  # some of what was to be done is
                change.settle()
            raise
        change.settle()


def _finish(root: Path, sound: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Finish what others began; in words, what could not be: that keeps nobody from changing something else."""
    for folder in (root, root / registry.HOME):
        disk.sweep(folder)
    try:
        transaction.recover(root)
        for name, digests in sound.items():
            taken = takein.take_in(registry.read_model(root / name), digests)
            yield from (f"{name}/{event.version} was taken in" for event in taken if event.kind == "saved")
    except CkptkitError as error:
        yield error.message
    except OSError as error:
        yield f"{error.filename or root}: {disk.reason(error)}"
