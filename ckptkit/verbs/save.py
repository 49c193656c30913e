"""save: from what was given and what is seen to one published version."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ckptkit import (
    change,
    checkpoint,
    disk,
    documents,
    duplicates,
    hashing,
    index,
    names,
    packing,
    preflight,
    publication,
    redact,
    registry,
    roots,
    staging,
    state_dict,
    succession,
    templates,
)
from ckptkit.capture import files, intake, parents, process, recalled, survey
from ckptkit.capture.intake import Guard, Request
from ckptkit.capture.lineage import Parts, compose
from ckptkit.capture.moment import Moment, moment
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
    now: Moment
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
    with redact.keeping_secrets(request.keep_secrets):
        return _save(request, progress, expect)


def _save(request: Request, progress: hashing.Progress | None, expect: Callable[[int], None] | None) -> Saved:
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
    root = roots.default_root(request.root, preflight.cwd(request))
    datasets.refuse_nested(request.paths, root, "the weights")
    if request.move:
        preflight.require_movable(request.paths, root)
    strict = not request.from_training
    found = files.place(request.paths, rename=request.rename, exclude=request.exclude, strict=strict)
    work = _begin(request, root, found.written, progress, expect)
    preflight.require_space(request, root, found.files)
    body = work.guard.take("card", None, preflight.body, found.readme)
    if expect:
        expect(sum(file.bytes for file in found.files))

    def stage_weights(stage: staging.Stage) -> list[WeightsFile]:
        if request.move and found.readme and body is not None:
            stage.claim(found.readme)
        return [
            packing.put_file(stage, file, work.guard, move=request.move and file.inside, progress=progress)
            for file in found.files
        ]

    return _finish(work, stage_weights, body, found.written)


def _save_memory(request: Request, progress: hashing.Progress | None) -> Saved:
    named = state_dict.collect(request.weights)
    work = _begin(request, roots.default_root(request.root, preflight.cwd(request)), None, progress, None)

    def stage_weights(stage: staging.Stage) -> list[WeightsFile]:
        written = stage.home / "model.safetensors"
        state_dict.write(named, written)
        return [packing.put_made(stage, written, work.guard, rename=request.rename, progress=progress)]

    return _finish(work, stage_weights, None, None)


def _begin(
    request: Request,
    root: Path,
    written: float | None,
    progress: hashing.Progress | None,
    expect: Callable[[int], None] | None,
) -> _Work:
    cwd = preflight.cwd(request)
    model = names.require_model(request.model)
    guard = Guard(strict=not request.from_training)
    if not request.from_training:
        request = recalled.applied(request, guard, root, cwd, process.project(cwd), written)
    start = request.start
    if start is not None and start.noted is not None:
        now = start.now
    else:
        now = moment(from_training=request.from_training, modified=written, cwd=cwd)
        if start is not None and now.observed != IN_THE_RUN:  # weights from before: another process made them
            if start.hasher is not None:
                start.hasher.end()
            request = replace(request, start=None)
    return _Work(
        request=request,
        guard=guard,
        model=model,
        root=root,
        cwd=cwd,
        now=now,
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
    seen = survey.seen(request, guard, work.now, work.root)
    trained_by = survey.components(request, guard, work.now.project)
    declared = datasets.observe(
        request, guard, now=work.now, root=work.root, progress=work.progress, expect=work.expect
    )
    roots.open_root(work.root)
    with publication.open_stage(work.root, work.root / work.model) as stage:
        staged = stage_weights(stage)
        if request.optimizer_state:
            states, named = packing.put_states(stage, request.optimizer, trained_by["optimizers"], guard, work.progress)
            staged, trained_by = [*staged, *states], {**trained_by, "optimizers": named}
        if request.bundle:
            repository = packing.put_bundle(stage, seen.code.repository, work.now.code, guard.unknown)
            seen = replace(seen, code=replace(seen.code, repository=repository))
        parts = Parts(
            model=work.model,
            now=work.now,
            start=request.start,
            given=given,
            seen=seen,
            components=trained_by,
            segments=guard.take(
                "run.segments", (), survey.earlier, request, guard, made_from, work.root, known, seen.restarts
            ),
            data=declared,
            parents=made_from,
            files=staged,
            config_sha256=packing.put_records(stage, given.config, seen, declared),
            config_changed=guard.take("config.changed_during_run", None, survey.changed_config, request, work.now),
            modified=written,
            unknown=guard.unknown,
        )
        duplicates.share(stage, work.root, known, work.model, progress=work.progress)
        version, notes = _publish(work, stage, parts, aliases, body, known)
        if request.move:
            tops = [path for path in request.paths if path.is_dir() and not path.is_symlink()]
            guard.warnings += [f"not moved: {which}" for which in stage.remove_sources(tops)]
    datasets.remember(declared, work.root)
    return Saved(version=version, notes=(*guard.notes, *notes), warnings=tuple(guard.warnings))


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


def _left_out(redacted: Mapping[str, int], *, kept: bool) -> Iterator[str]:
    """What whoever saves should know of secrets: where they were; some may be, though they were to be ``kept`` now."""
    if redacted:
        advice = "" if kept else " (--keep-secrets records them as they are)"
        yield f"secrets were left out of {', '.join(redacted)}{advice}"


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
        redacted: dict[str, int] = {}
        heads, notes = succession.claim(entry, aliases, parts.given.goal, parts.given.metrics)

        def finish(version: str) -> str:
            lineage = compose(parts, version, identical_to=twin)
            redacted.update(lineage.redacted)
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
    work.guard.warnings += [*warnings, *now.warnings, *_left_out(redacted, kept=work.request.keep_secrets)]
    return version, [*([_same_bytes(work, twin, version)] if twin else []), *notes]


def _same_bytes(work: _Work, twin: str, version: registry.Version) -> str:
    """Another run that gives the same bytes has reproduced them; the same run has saved them twice."""
    try:
        runs = {checkpoint.read_lineage(folder).run.id for folder in (work.root / twin, version.path)}
    except FormatError:
        runs = set()
    return f"the same bytes as {twin}{': a reproduction' if len(runs) > 1 else ''}"
