"""The chain of steps behind a dataset, followed through the sidecars beside what each step wrote."""

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from ckptkit import disk, hashing, redact
from ckptkit.content import hashed
from ckptkit.data import sidecar
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.hash_cache import Cache
from ckptkit.record import Content, Sidecar, Step

MOST = 100
"""Most steps that are followed from one dataset."""

_ABSENT = "is not here"
_Doubt = tuple[Literal["broken", "unverified"], str]


def follow(
    path: Path,
    digest: str | None,
    *,
    project: Path,
    where: str,
    unknown: dict[str, str],
    cache: Cache | None = None,
    progress: hashing.Progress | None = None,
) -> tuple[Step, ...]:
    """The steps behind a dataset, each after those that it read from; its links are verified as far as files are here.

    A link is ``broken`` where what a step wrote, or a source that it read, is not what is here now, or not what the
    next step read; ``unverified`` where a file is not here, cannot be read, or the time is over. A folder without a
    sidecar of its own has the steps of the files directly in it. Nothing raises.

    Args:
        path: the file or folder, absolute.
        digest: its digest now; None where that is not known.
        project: the folder that paths are recorded relative to.
        where: the name of the steps in ``unknown``, such as ``data.train.steps``.
        unknown: takes the reasons why the chain could not be followed further.
        cache: digests of unchanged files.
        progress: called with the number of bytes hashed since the last call; see ``hashing.until``.
    """
    chain = _Chain(project=project, cache=cache, progress=progress)
    chain.known[_named(path)] = (digest, "has no digest")
    chain.visit(_named(path))
    if chain.faults:
        unknown[where] = "; ".join(dict.fromkeys(chain.faults))
    return tuple(chain.judged(link) for link in chain.order)


def _named(path: Path) -> Path:
    """The name of a file or folder that has the sidecar: a link may bear another."""
    is_link = os.path.islink(path)  # noqa: PTH114 - Path.is_symlink raises for a name that is too long
    return disk.real(path) if is_link and not os.path.lexists(sidecar.path(path)) else path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    """A step whose sidecar was found: as it is recorded, as it is shown, and the steps that read what it wrote."""

    path: Path
    record: Sidecar
    shown: Step
    readers: list[tuple[str, str | None]] = field(default_factory=list)

    def source(self, content: Content, project: Path) -> Path | None:
        """Where an input of the step lies, if it lies on a disk and its path says where."""
        if content.path is None or content.kind not in {"file", "directory"}:
            return None
        parts = PurePosixPath(content.path).parts
        if not parts or ".." in parts[1:] or content.path.startswith("/") or "\0" in content.path:
            return None
        if content.outside:
            near = content.path.startswith(("./", "../"))
            return _named(Path(os.path.normpath(self.path.parent.joinpath(*parts)))) if near else None
        if parts[0] in {"~", ".."}:
            return _named(disk.expand(content.path)) if parts[0] == "~" else None
        places = self._places(parts, project)
        return _named(next(filter(os.path.lexists, places), places[0]))

    def _places(self, parts: tuple[str, ...], project: Path) -> list[Path]:
        """Where an input may be now: the project may have moved, or a folder of it with both input and output."""
        output = self.record.step.output
        told, here = PurePosixPath(output.path or "").parts, self.path.parts
        ends = zip(reversed(told), reversed(here), strict=False)
        same = 0 if output.outside else len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], ends)))
        above = told[: len(told) - same]
        if same and not above:
            return [Path(*here[:-same], *parts)]
        places = [(disk.project_root(self.path.parent) or project).joinpath(*parts)]
        if same and parts[: len(above)] == above:
            places.append(Path(*here[:-same], *parts[len(above) :]))
        return places


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chain:
    """The links found so far: ``order`` has each after those before it; ``known`` are digests, or why there is none."""

    project: Path
    cache: Cache | None
    progress: hashing.Progress | None
    links: dict[Path, _Link] = field(default_factory=dict)
    order: list[_Link] = field(default_factory=list)
    known: dict[Path, tuple[str | None, str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def visit(self, path: Path, reader: tuple[str, str | None] | None = None) -> None:
        """Take in the step that wrote ``path``, and before it those that wrote what it read."""
        if path not in self.links:
            found = self._link(path)
            if found is None:
                self._visit_files(path)
                return
            self.links[path] = found  # before what it read: steps may lead in a circle
            for content in found.record.step.inputs:
                source = found.source(content, self.project)
                if source is not None:
                    self.visit(source, (found.shown.name, content.digest))
            self.order.append(found)
        if reader is not None:
            self.links[path].readers.append(reader)

    def _link(self, path: Path) -> _Link | None:
        try:
            record = sidecar.read(path)
            if record is None:
                return None
            if len(self.links) == MOST:
                self.faults.append(f"only {MOST} steps were followed")
                return None
            shown = self._shown(record.step)
        except FormatError as error:
            name = redact.path(sidecar.path(path), self.project)[0]
            self.faults.append(f"{name}: {redact.text(error.message, project=self.project)}")
            return None
        return _Link(path=path, record=record, shown=shown)

    def _shown(self, step: Step) -> Step:
        """The step without what is secret or private: somebody else may have written it down."""
        command = None if step.command is None else redact.argv(step.command, project=self.project)
        return replace(Step.from_dict(redact.values(step.to_dict(), project=self.project)), command=command)

    def _visit_files(self, folder: Path) -> None:
        for file in sidecar.outputs(folder)[: MOST + 1]:
            self.visit(file)

    def judged(self, link: _Link) -> Step:
        """The step as a version records it."""
        doubts = sorted(self._doubts(link), key=lambda doubt: doubt[0])  # what is broken comes first
        if not doubts:
            return replace(link.shown, link="verified", reason=None)
        verdict, why = doubts[0]
        return replace(link.shown, link=verdict, reason=why)

    def _doubts(self, link: _Link) -> Iterator[_Doubt]:
        shown = link.shown.output.path or link.path.name
        wrote = link.record.step.output.digest
        now, why = self._now(link.path)
        if wrote is None:
            yield "unverified", f"the digest of {shown} was not recorded"
        elif now is None:
            yield "unverified", f"{shown} {why}"
        elif now != wrote:
            yield "broken", f"{shown} was written to after the step"
        for name, read in link.readers:
            if None not in {wrote, read} and wrote != read:
                yield "broken", f"the step {name} read another {shown} than this one wrote"
            elif read is None:
                yield "unverified", f"what the step {name} read of {shown} is not known"
        for number, content in enumerate(link.record.step.inputs):
            yield from self._doubts_of_input(link, number, content)

    def _doubts_of_input(self, link: _Link, number: int, content: Content) -> Iterator[_Doubt]:
        """What an input says against the step; what another step made of it is that one's matter."""
        shown = link.shown.inputs[number].path
        if content.kind in {"file", "directory"} and content.digest is None:
            why = link.record.unknown.get(f"step.inputs[{number}].digest", "has no digest")
            yield "unverified", f"its input {shown} {redact.text(why, project=self.project)}"
            return
        source = link.source(content, self.project)
        if source is None or source in self.links:
            return
        now, why = self._now(source)
        if now is None and why != _ABSENT:
            yield "unverified", f"its input {shown} {why}"
        elif now not in {None, content.digest}:
            yield "broken", f"its input {shown} was written to after the step"

    def _now(self, path: Path) -> tuple[str | None, str]:
        """The digest of what is at a path, or why there is none."""
        if path not in self.known:
            self.known[path] = self._digest(path)
        return self.known[path]

    def _digest(self, path: Path) -> tuple[str | None, str]:
        try:
            if not os.path.lexists(path):
                return None, _ABSENT
            return hashed(path, cache=self.cache, progress=self.progress).digest, ""
        except hashing.OutOfTimeError:
            return None, "was not read: the time was over"
        except (CkptkitError, OSError, ValueError):
            return None, "cannot be read"
