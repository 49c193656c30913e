"""One step of preparation: what it is about to read and run, then what it wrote, as the record beside its output."""

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ckptkit import data, disk, documents, hash_cache, hashing, redact
from ckptkit.capture import git, objects, process
from ckptkit.capture.moment import Moment, moment
from ckptkit.data import datasets, rows, sidecar
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.record import AT_SAVE, CodeState, Content, Sidecar, Step
from ckptkit.words import timestamp

_CHANGED = "changed while the step ran: which content was read is not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """A step that runs. What is put into ``params`` before it ends is recorded too.

    ``given`` are the inputs as they were named and ``inputs`` what they held before it ran, ``earlier`` what was at
    ``output`` then; ``started`` is in seconds since the epoch, ``clock`` on the monotonic clock.
    """

    name: str
    params: dict[str, Any]
    output: Path
    command: tuple[str, ...] | None
    project: Path
    given: tuple[object, ...]
    inputs: tuple[Content, ...]
    earlier: object
    code: CodeState | None
    unknown: dict[str, str]
    started: float
    clock: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What was written, where, and in words what could not be vouched for."""

    sidecar: Sidecar
    path: Path
    warnings: tuple[str, ...]


def begin(
    name: str,
    *,
    inputs: Sequence[object],
    output: str | os.PathLike[str],
    params: Mapping[str, object],
    command: Sequence[str] | None,
    root: Path,
    progress: hashing.Progress | None = None,
) -> Preparation:
    """Look at all that a step depends on, before it runs.

    Args:
        name: what it does.
        inputs: paths of files or folders, URLs, and objects in memory.
        output: the file or folder that it will write.
        params: its parameters.
        command: what is run; None where this very process is the step.
        root: the registry root, where no output may lie.
        progress: called with the number of bytes hashed since the last call.

    Raises:
        CkptkitError: there is no name, an input cannot be read, or the output may not lie there.
    """
    now = moment(from_training=command is None, modified=None, cwd=Path.cwd())
    if not str(name).strip():
        raise CkptkitError("the step has no name", "say what it does, such as deduplicate")
    place = require_place(output, root)
    _require_apart(place, inputs)
    unknown: dict[str, str] = {}
    with hash_cache.Cache.open() as cache:
        look = _Look(output=place, project=now.project, cache=cache, progress=progress, unknown=unknown)
        found = tuple(look.content(value, f"step.inputs[{number}]") for number, value in enumerate(inputs))
    own = sidecar.family([place, *filter(None, map(data.place, inputs))])
    return Preparation(
        name=redact.text(str(name).strip(), project=now.project),
        params=_finite(params),
        output=place,
        command=_command(command, now.project),
        project=now.project,
        given=tuple(inputs),
        inputs=found,
        earlier=_state(place),
        code=_code(now, [root, *own], unknown),
        unknown=unknown,
        started=time.time(),
        clock=time.monotonic(),
    )


def finish(step: Preparation, *, progress: hashing.Progress | None = None) -> Recorded:
    """Record a step that has ended, beside its output.

    Raises:
        CkptkitError: it did not write its output, or that cannot be read, or the disk refuses.
    """
    finished, seconds = time.time(), time.monotonic() - step.clock
    state, unknown = _state(step.output), dict(step.unknown)
    if state is None:
        raise CkptkitError(
            f"the step {step.name} did not make {step.output}",
            "name the path that it writes; what it prints: -- sh -c 'COMMAND > PATH'",
        )
    with hash_cache.Cache.open() as cache:
        look = _Look(output=step.output, project=step.project, cache=cache, progress=progress, unknown=unknown)
        output = look.content(step.output, "step.output")
        changed = [n for n, before in enumerate(step.inputs) if look.changed(before, step.given[n])]
    unknown |= {f"step.inputs[{number}].digest": _CHANGED for number in changed}
    record = Step(
        name=step.name,
        by="ckptkit",
        params=redact.values(_finite(step.params), project=step.project),
        command=step.command,
        code=step.code,
        inputs=tuple(replace(each, digest=None) if n in changed else each for n, each in enumerate(step.inputs)),
        output=output,
        started=timestamp(step.started),
        finished=timestamp(finished),
        seconds=round(seconds, 3),
    )
    warnings = [f"the input {record.inputs[n].path or '(in memory)'} {_CHANGED}" for n in changed]
    if state == step.earlier:
        made = _earlier(step, record)
        warnings.append(f"{step.output} was left as it was: its record of {made.step.finished} stands")
    else:
        made = sidecar.write(step.output, record, unknown)
    return Recorded(sidecar=made, path=sidecar.path(step.output), warnings=tuple(warnings))


def _earlier(step: Preparation, record: Step) -> Sidecar:
    """The record of an earlier run that made what is there by the same step; a build tool finds nothing to do then."""
    with contextlib.suppress(FormatError):
        found = sidecar.read(step.output)
        if found is not None and _essence(found.step) == _essence(record):
            return found
    raise CkptkitError(
        f"the step {step.name} left {step.output} as it was: nothing was recorded",
        "name the path that it writes, or remove what is there first",
    )


def _essence(step: Step) -> object:
    """What two steps share that did the same to the same with the same result."""
    return step.name, step.params, [each.digest for each in step.inputs], step.output.digest


def require_place(output: str | os.PathLike[str], root: Path) -> Path:
    """Where an output is to lie, absolute, with a record beside it.

    Raises:
        CkptkitError: it is no path, lies in or around the registry root, or a file of another has the record's name.
    """
    place = data.place(output)
    if place is None or not os.fspath(output):
        raise CkptkitError(f"{output!r} is no path of an output", "name a file or folder")
    datasets.require_apart(place, root, "the output")
    sidecar.require_free(place)
    return place


def _require_apart(place: Path, inputs: Sequence[object]) -> None:
    """Refuse inputs that the output would replace or hold, or that hold it."""
    if any(isinstance(value, str) and not value for value in inputs):
        raise CkptkitError("the path of an input is empty", "name a file or folder, or a URL")
    real = disk.real(place)
    for named in filter(None, map(data.place, inputs)):
        source = disk.real(named)
        if source == real:
            words = f"{named} is both input and output: its source would be lost"
            raise CkptkitError(words, "write to another path, and train on that")
        if source in real.parents or real in source.parents:
            words = f"the input {named} and the output {place} lie in one another"
            raise CkptkitError(words, "have the step write beside its input")


def _state(path: Path) -> object:
    """What changes whenever a file, or a file of a folder, is written; None where nothing is."""
    try:
        status = path.stat()
    except OSError:
        return None
    if not path.is_dir():
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
    try:
        return hashing.scan(path)
    except CkptkitError as error:
        return error.message


def _command(command: Sequence[str] | None, project: Path) -> tuple[str, ...] | None:
    """The command line that runs, as the record has it."""
    if command is None:
        return process.process(project, {}).orig_argv
    first, *rest = redact.argv(command, project=project)
    return (Path(first).name, *rest)


def _code(now: Moment, exclude: Sequence[Path], unknown: dict[str, str]) -> CodeState | None:
    facts: dict[str, str] = {}
    found = git.worktree(now.code, project=now.project, exclude=exclude, unknown=facts).repository
    if found is None:
        unknown["step.code"] = facts["code.repository"]
        return None
    for field in ("commit", "dirty", "tree"):
        if f"code.repository.{field}" in facts:
            unknown[f"step.code.{field}"] = facts[f"code.repository.{field}"]
    return CodeState(commit=found.commit, dirty=found.dirty, tree=found.tree)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """Looks at what a step reads and writes; ``output`` is where it writes, ``unknown`` takes reasons."""

    output: Path
    project: Path
    cache: hash_cache.Cache
    progress: hashing.Progress | None
    unknown: dict[str, str]

    def content(self, value: object, where: str) -> Content:
        """What an input, or the output, holds at this moment.

        Data outside of project and home that lies below the output's folder, or below that beside it, is recorded by
        its path from there, such as ``./raw`` or ``../raw/a.txt``: the chain is followed wherever all of it goes.
        """
        found, facts = self.look(value)
        self.unknown.update({f"{where}.{fact}": why for fact, why in facts.items()})
        seen, place = found.dataset, data.place(value)
        path, number = seen.path, None
        if place is not None:
            if seen.outside and place != self.output:
                path = self._near(place) or path
            try:
                number = rows.count(place)
            except rows.UncountedError as error:
                self.unknown[f"{where}.rows"] = str(error)
            except (CkptkitError, OSError):
                self.unknown[f"{where}.rows"] = "it cannot be read"
        elif seen.source and seen.source.get("shape"):
            number = seen.source["shape"][0]
        return Content(
            path=path,
            outside=seen.outside,
            kind=seen.kind,
            digest=seen.digest,
            files=seen.files,
            bytes=seen.bytes,
            rows=number,
            source=seen.source,
        )

    def _near(self, place: Path) -> str | None:
        for folder, prefix in zip(self.output.parents, ("./", "../"), strict=False):
            if folder in place.parents and folder.name:
                return f"{prefix}{place.relative_to(folder).as_posix()}"
        return None

    def look(self, value: object) -> tuple[data.Observation, dict[str, str]]:
        """The same as a dataset, and why what of it is not known is not, by fact."""
        place, facts = data.place(value), dict[str, str]()
        name = place.name if place else "in memory"
        how = data.Look(project=self.project, observed=AT_SAVE, unknown=facts, cache=self.cache, progress=self.progress)
        found = data.observe(name, value, how)
        if found.pointer is not None and found.pointer.absent:
            raise CkptkitError(f"{place}: {found.pointer.absent}", "fetch it first")
        return found, {fact.removeprefix(f"data.{name}."): why for fact, why in facts.items()}

    def changed(self, before: Content, value: object) -> bool:
        """Whether an input is not what it was; one that is gone was read as it was: ``gunzip`` removes its input."""
        if before.digest is None:
            return False
        try:
            return self.look(value)[0].dataset.digest != before.digest
        except CkptkitError:
            place = data.place(value)
            return place is None or os.path.lexists(place)


def _finite(params: Mapping[str, object]) -> dict[str, Any]:
    """Parameters as JSON holds them."""
    found: dict[str, Any] = documents.finite(objects.Plain().settings(params) or {})
    return found
