"""save: from what was given and what is seen to one published version."""

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ckptkit import (
    change,
    checkpoint,
    data,
    disk,
    documents,
    duplicates,
    hashing,
    index,
    names,
    publication,
    registry,
    roots,
    staging,
    state_dict,
    succession,
    templates,
    weights,
    words,
)
from ckptkit.capture import files, intake, observation, parents, session
from ckptkit.capture.intake import Guard, Intake, Request
from ckptkit.capture.lineage import Parts, compose
from ckptkit.data import datasets
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.record import IN_THE_RUN, Parent, WeightsFile

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The published version, in words what is worth knowing of it, and what could not be used of what was given."""

    version: registry.Version
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One save under way: what was asked, who looks, where to, and to whom progress is told."""

    request: Request
    guard: Guard
    model: str
    root: Path
    cwd: Path
    now: observation.Moment
    progress: hashing.Progress | None
    expect: Callable[[int], None] | None


def save(
    request: Request, *, progress: hashing.Progress | None = None, expect: Callable[[int], None] | None = None
) -> Saved:
    """Publish one version.

    Args:
        request: what was given.
        progress: called with the number of bytes read since the last call.
        expect: called with a number of bytes that will be read.

    Raises:
        CkptkitError: bad input, or the disk refuses; nothing was published and every source is untouched. Weights that
            exist only in memory are then first written to the working directory, and the message names the file.
        KeyboardInterrupt: the same.
    """
    if _are_paths(request.weights):
        return _in_words(lambda: _save_files(request, progress, expect))
    try:
        return _in_words(lambda: _save_memory(request, progress))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_rescue(request.weights)) from None
    except Exception as error:
        kept = _rescue(request.weights)
        hint = error.hint if isinstance(error, CkptkitError) else ""
        raise CkptkitError(f"{disk.reason(error)}; {kept}", hint) from error


def _are_paths(given: object) -> bool:
    return isinstance(given, Sequence) and all(isinstance(item, str | os.PathLike) for item in given)


def _in_words(work: Callable[[], T]) -> T:
    try:
        return work()
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        words = f"{where}{disk.reason(error)}; nothing was saved"
        raise CkptkitError(words, f"{disk.advice(error)}, or give another --root DIR") from error


def _rescue(weights: object) -> str:
    try:
        return f"the weights are kept in {state_dict.rescue(weights)}"
    except Exception as error:  # noqa: BLE001 - whatever else happens, the first fault is told
        return f"the weights could not be kept: {disk.reason(error)}"


def _save_files(request: Request, progress: hashing.Progress | None, expect: Callable[[int], None] | None) -> Saved:
    if not request.paths:
        raise CkptkitError("no weights were given", "give the file or folder that the training wrote")
    root = roots.default_root(request.root, _cwd(request))
    datasets.refuse_nested(request.paths, root, "the weights")
    if request.move:
        _refuse_published(request.paths, root)
    strict = not request.from_training
    found = files.place(request.paths, rename=request.rename, exclude=request.exclude, strict=strict)
    work = _begin(request, root, found.written, progress, expect)
    _require_space(work, found.files)
    body = work.guard.take("card", None, _body, found.readme)
    if expect:
        expect(sum(file.bytes for file in found.files))

    def stage_weights(stage: staging.Stage) -> list[WeightsFile]:
        if request.move and found.readme and body is not None:
            stage.claim(found.readme)
        return [_stage_file(work, stage, file, move=request.move and file.inside) for file in found.files]

    return _finish(work, stage_weights, body, found.written)


def _save_memory(request: Request, progress: hashing.Progress | None) -> Saved:
    named = state_dict.collect(request.weights)
    work = _begin(request, roots.default_root(request.root, _cwd(request)), None, progress, None)

    def stage_weights(stage: staging.Stage) -> list[WeightsFile]:
        written = stage.home / "model.safetensors"
        state_dict.write(named, written)
        written.chmod(stage.home.joinpath("host").stat().st_mode)  # safetensors lets nobody else read
        found = files.place([written], rename=request.rename, exclude=(), strict=True)
        return [_stage_file(work, stage, file, move=True) for file in found.files]

    return _finish(work, stage_weights, None, None)


def _cwd(request: Request) -> Path:
    """The working directory, that of the run's start; where it is gone, a named root still takes absolute paths."""
    if request.start is not None:
        return request.start.cwd
    try:
        return Path.cwd()
    except OSError as error:
        if request.root is None or not Path(request.root).is_absolute():
            raise CkptkitError("the working directory is gone", "name an absolute root") from error
        return Path(request.root).parent


def _begin(
    request: Request,
    root: Path,
    written: float | None,
    progress: hashing.Progress | None,
    expect: Callable[[int], None] | None,
) -> _Work:
    cwd = _cwd(request)
    return _Work(
        request=request,
        guard=Guard(strict=not request.from_training),
        model=names.require_model(request.model),
        root=root,
        cwd=cwd,
        now=observation.moment(from_training=request.from_training, modified=written, cwd=cwd),
        progress=progress,
        expect=expect,
    )


def _finish(
    work: _Work,
    stage_weights: Callable[[staging.Stage], list[WeightsFile]],
    body: str | None,
    written: float | None,
) -> Saved:
    request, guard = work.request, work.guard
    given = intake.read(request, guard, work.now.project, work.cwd)
    known = _known(work)
    made_from = guard.each("parents", request.parents, lambda item: _parent(item, work, known))
    aliases = _aliases(work, given.aliases, known)
    seen = observation.observe(
        work.now,
        exclude=[work.root, *request.paths, *request.data_paths],
        python=request.python,
        unknown=guard.unknown,
        start=request.start,
    )
    declared = datasets.observe(
        request, guard, now=work.now, root=work.root, progress=work.progress, expect=work.expect
    )
    roots.open_root(work.root)
    with publication.open_stage(work.root, work.root / work.model) as stage:
        staged = stage_weights(stage)
        parts = Parts(
            model=work.model,
            now=work.now,
            given=given,
            seen=seen,
            data=declared,
            parents=made_from,
            files=staged,
            config_sha256=_stage_records(stage, given, seen, declared),
            config_changed=_changed_config(work),
            modified=written,
            unknown=guard.unknown,
        )
        duplicates.share(stage, work.root, known, work.model, progress=work.progress)
        version, notes = _publish(work, stage, parts, aliases, body, known)
        if request.move:
            tops = [path for path in request.paths if path.is_dir() and not path.is_symlink()]
            guard.warnings += [f"not moved: {which}" for which in stage.remove_sources(tops)]
    datasets.remember(declared, work.root)
    return Saved(version=version, notes=tuple(notes), warnings=tuple(guard.warnings))


def _changed_config(work: _Work) -> tuple[str, ...] | None:
    start, now = work.request.start, work.now
    return session.changed_config(start, now.project) if start and now.observed == IN_THE_RUN else None


def _known(work: _Work) -> dict[str, Any]:
    """The index of the root, after making sure that the root can be written and the model be called so.

    It is looked at whether it is current only where a parent is to be found in it: all else is decided under the lock.
    """
    roots.require_root(work.root)
    if not work.root.is_dir():
        return dict(index.EMPTY)
    names.require_unlike(work.model, os.listdir(work.root), "model")
    known = index.load(work.root) if work.request.parents else index.stored(work.root)
    part = index.entry(known, work.model)
    if part["became"] and not part["versions"]:
        words = f"the model {work.model} is called {part['became']} now"
        if work.guard.strict:
            raise CkptkitError(words, f"--model {part['became']}")
        work.guard.warnings.append(f"{words}; this version is {work.model}'s all the same")
    return known


def _parent(given: object, work: _Work, known: Mapping[str, Any]) -> Parent:
    return parents.read(given, root=work.root, index=known, project=work.now.project, cwd=work.cwd)


def _aliases(work: _Work, given: Sequence[str], known: Mapping[str, Any]) -> tuple[str, ...]:
    others = [*known["models"].get(work.model, {}).get("aliases", {}), *given]

    def unlike(alias: str) -> str:
        names.require_unlike(alias, others, "alias")
        return alias

    return work.guard.each("aliases", given, unlike)


def _refuse_published(paths: Sequence[Path], root: Path) -> None:
    """Refuse to move what a version holds, here or in another registry: versions are immutable."""
    for path in paths:
        real = disk.real(path)
        holders = [folder for folder in (real, *real.parents) if checkpoint.is_whole(folder)]
        if holders or disk.real(root) in real.parents:
            raise CkptkitError(
                f"{path} cannot be moved: it is part of {holders[0] if holders else root}", "leave out --move"
            )


def _body(readme: Path | None) -> str | None:
    if readme is None:
        return None
    try:
        return disk.read_regular(readme, disk.CONFIG_LIMIT).decode()
    except (FormatError, UnicodeDecodeError) as error:
        why = error.message if isinstance(error, FormatError) else "is not UTF-8 text"
        raise CkptkitError(f"{readme} {why}", "mend it, or leave it out with --exclude README.md") from error


def _require_space(work: _Work, found: Sequence[files.Placed]) -> None:
    import shutil

    place = next(folder for folder in (work.root / work.model, work.root, *work.root.parents) if folder.is_dir())
    device = place.stat().st_dev
    needed = sum(file.bytes for file in found if not (work.request.move and _is_linkable(file.source, device)))
    free = shutil.disk_usage(place).free
    if needed > free:
        hint = "free some space, or give another --root DIR" if work.request.move else "use --move, or free some space"
        raise CkptkitError(f"{work.root} needs {words.size(needed)}, {words.size(free)} free", hint)


def _is_linkable(path: Path, device: int) -> bool:
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_dev == device


def _stage_file(work: _Work, stage: staging.Stage, file: files.Placed, *, move: bool) -> WeightsFile:
    sha256, size = stage.add(file.source, file.path, move=move, progress=work.progress)
    try:
        header = weights.read_header(stage.folder / file.path)
    except FormatError as error:
        work.guard.note(f"weights.{file.path}", f"its header {error.message}")
        return WeightsFile(path=file.path, bytes=size, sha256=sha256, format=None, parameters=None, dtypes=None)
    return WeightsFile(
        path=file.path,
        bytes=size,
        sha256=sha256,
        format=header.format,
        parameters=header.parameters,
        dtypes=header.dtypes,
    )


def _stage_records(
    stage: staging.Stage, given: Intake, seen: observation.Observation, declared: Sequence[data.Observation]
) -> str | None:
    """Write the records that do not bear the version's number; returns the SHA-256 of config.yaml, if there is one."""
    if seen.patch:
        stage.put(checkpoint.PATCH, seen.patch)
    if seen.requirements:
        stage.put(checkpoint.REQUIREMENTS, seen.requirements.encode())
    for each in declared:
        listed = each.dataset.manifest or each.dataset.sizes
        if each.content is not None and listed is not None:
            stage.put(listed, each.content.lines())
    return None if given.config.text is None else stage.put(checkpoint.CONFIG, given.config.text)


def _publish(
    work: _Work,
    stage: staging.Stage,
    parts: Parts,
    aliases: Sequence[str],
    body: str | None,
    known: dict[str, Any],
) -> tuple[registry.Version, list[str]]:
    """Publish under the root's lock, which is what makes parallel saves agree on the better one."""
    with change.begin(work.root, known) as now:
        entry = index.entry(now.index, work.model)
        twin = duplicates.twin(now.index, work.model, [file.sha256 for file in parts.files])
        heads, notes = succession.claim(entry, aliases, parts.given.goal, parts.given.metrics)

        def finish(version: str) -> str:
            lineage = compose(parts, version, identical_to=twin)
            stage.put(checkpoint.LINEAGE, documents.dump_json(lineage.to_dict()))
            digest = stage.seal()
            stage.put_card(templates.card(lineage, digest=digest, human=parts.given.answers, body=body))
            return digest

        version, events, warnings = publication.publish(
            stage, work.root / work.model, last=entry["last"], finish=finish, aliases=heads
        )
        try:
            now.published(version, events)
        except FormatError as error:  # the version is published, and what is derived comes again
            now.warnings.append(f"{version} could not be read back ({error.message}): run `ckptkit index`")
        if parts.given.keep:
            notes += succession.relieve(now, version, parts.given.keep)
    work.guard.warnings += [*warnings, *now.warnings]
    return version, [*([f"the same bytes as {twin}: a reproduction"] if twin else []), *notes]
