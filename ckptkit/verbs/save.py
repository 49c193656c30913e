"""save: from what was given and what is seen to one published version."""

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from ckptkit import (
    checkpoint,
    disk,
    documents,
    hash_cache,
    hashing,
    index,
    names,
    registry,
    state_dict,
    templates,
    weights,
)
from ckptkit.capture import data, files, intake, observation, parents
from ckptkit.capture.intake import Guard, Intake, Request
from ckptkit.capture.lineage import Parts, compose
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.record import Parent, WeightsFile

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The published version, and in words what could not be used of what was given."""

    version: registry.Version
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One save under way: what was asked, who looks, where to, and to whom progress is told."""

    request: Request
    guard: Guard
    model: str
    root: Path
    now: observation.Moment
    progress: hashing.Progress | None


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
    """
    if _are_paths(request.weights):
        return _in_words(lambda: _save_files(request, progress, expect))
    named = state_dict.collect(request.weights)
    try:
        return _in_words(lambda: _save_memory(request, named, progress))
    except CkptkitError as error:
        kept = _rescue(named)
        raise CkptkitError(f"{error.message}; {kept}", error.hint) from error


def _are_paths(given: object) -> bool:
    return isinstance(given, Sequence) and all(isinstance(item, str | os.PathLike) for item in given)


def _in_words(work: Callable[[], T]) -> T:
    try:
        return work()
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise CkptkitError(
            f"{where}{disk.reason(error)}; nothing was saved", "free some space, or give another --root DIR"
        ) from error


def _rescue(named: Mapping[str, Any]) -> str:
    try:
        return f"the weights are kept in ./{state_dict.rescue(named, f'{datetime.now(UTC):%Y%m%dT%H%M%SZ}')}"
    except CkptkitError as error:
        return f"the weights could not be kept: {error.message}"
    except OSError as error:
        return f"the weights could not be kept: {disk.reason(error)}"


def _save_files(request: Request, progress: hashing.Progress | None, expect: Callable[[int], None] | None) -> Saved:
    if not request.paths:
        raise CkptkitError("no weights were given", "give the file or folder that the training wrote")
    strict = not request.from_training
    _refuse_nested(request.paths, registry.default_root(request.root, Path.cwd()), "the weights")
    found = files.place(request.paths, rename=request.rename, exclude=request.exclude, strict=strict)
    modified = max(file.modified for file in found.files)
    work = _begin(request, modified, progress)
    if expect:
        expect(sum(file.bytes for file in found.files))

    def stage_weights(stage: checkpoint.Stage) -> list[WeightsFile]:
        _require_space(work, found.files)
        staged = [_stage_file(work, stage, file, move=request.move) for file in found.files]
        if request.move and found.readme:
            stage.claim(found.readme)
        return staged

    body = work.guard.take("card", None, _body, found.readme)
    return _finish(work, stage_weights, body, modified)


def _save_memory(request: Request, named: Mapping[str, Any], progress: hashing.Progress | None) -> Saved:
    work = _begin(request, None, progress)

    def stage_weights(stage: checkpoint.Stage) -> list[WeightsFile]:
        written = stage.home / "model.safetensors"
        state_dict.write(named, written)
        written.chmod(stage.home.joinpath("host").stat().st_mode)  # safetensors lets nobody else read
        found = files.place([written], rename=request.rename, exclude=(), strict=True)
        return [_stage_file(work, stage, file, move=True) for file in found.files]

    return _finish(work, stage_weights, None, None)


def _begin(request: Request, modified: float | None, progress: hashing.Progress | None) -> _Work:
    return _Work(
        request=request,
        guard=Guard(strict=not request.from_training),
        model=names.require_model(request.model),
        root=registry.default_root(request.root, Path.cwd()),
        now=observation.moment(from_training=request.from_training, modified=modified, cwd=Path.cwd()),
        progress=progress,
    )


def _finish(
    work: _Work,
    stage_weights: Callable[[checkpoint.Stage], list[WeightsFile]],
    body: str | None,
    modified: float | None,
) -> Saved:
    request, guard = work.request, work.guard
    given = intake.read(request, guard, work.now.project)
    known = _known(work)
    made_from = guard.each("parents", request.parents, lambda item: _parent(item, work, known))
    aliases = guard.each("aliases", given.aliases, lambda alias: _unlike(alias, work, known))
    seen = observation.observe(
        work.now,
        exclude=[work.root, *request.paths, *request.data_paths],
        python=request.python,
        unknown=guard.unknown,
    )
    datasets = _datasets(work)
    registry.open_root(work.root)
    with registry.open_stage(work.root) as stage:
        staged = stage_weights(stage)
        parts = Parts(
            model=work.model,
            now=work.now,
            given=given,
            seen=seen,
            data=datasets,
            parents=made_from,
            files=staged,
            config_sha256=_stage_records(stage, given, seen, datasets),
            modified=modified,
            unknown=guard.unknown,
        )
        version = _publish(work, stage, parts, aliases, body)
        if request.move:
            tops = [path for path in request.paths if path.is_dir() and not path.is_symlink()]
            guard.warnings += [f"not moved: {words}" for words in stage.remove_sources(tops)]
    return Saved(version=version, warnings=tuple(guard.warnings))


def _known(work: _Work) -> dict[str, Any]:
    """The index of the root, after making sure that the root can be written and the model be called so."""
    registry.require_root(work.root)
    if not work.root.is_dir():
        return {"schema": index.SCHEMA, "models": {}}
    names.require_unlike(work.model, os.listdir(work.root), "model")
    return index.load(work.root)


def _parent(given: object, work: _Work, known: Mapping[str, Any]) -> Parent:
    return parents.read(given, root=work.root, index=known, project=work.now.project, cwd=Path.cwd())


def _unlike(alias: str, work: _Work, known: Mapping[str, Any]) -> str:
    names.require_unlike(alias, known["models"].get(work.model, {}).get("aliases", {}), "alias")
    return alias


def _refuse_nested(paths: Sequence[Path], root: Path, what: str) -> None:
    """Refuse what holds the registry: it would be saved into itself."""
    real = root.resolve()
    for path in paths:
        if path.resolve() in {real, *real.parents}:
            raise CkptkitError(f"{path} holds the registry root {root}", f"give {what} alone, or another --root DIR")


def _body(readme: Path | None) -> str | None:
    if readme is None:
        return None
    try:
        return disk.read_regular(readme, disk.CONFIG_LIMIT).decode("utf-8", "backslashreplace")
    except FormatError as error:
        raise CkptkitError(f"{readme} {error.message}", "it would become part of the card") from error


def _datasets(work: _Work) -> list[data.Observation]:
    given: Any = work.request.data
    found = []
    with hash_cache.Cache.open() as cache:
        for name in work.guard.take("data", (), _names, given):
            observed = work.guard.take(f"data.{name}", None, _dataset, work, name, given[name], cache)
            if observed is not None:
                found.append(observed)
    return found


def _names(given: Any) -> tuple[object, ...]:  # noqa: ANN401 - whatever was given as data
    if not isinstance(given, Mapping):
        raise CkptkitError(
            f"the data is a {type(given).__name__}, no mapping", 'write data={"train": "data/train.csv"}'
        )
    return tuple(given)


def _dataset(work: _Work, name: object, value: object, cache: hash_cache.Cache) -> data.Observation:
    known = names.require_model(name, "dataset")
    names.require_unlike(known, (str(other) for other in work.request.data), "dataset")
    if isinstance(value, str | os.PathLike):
        path = disk.expand(value)
        _refuse_nested([path], work.root, "the data")
        if work.root.resolve() in path.resolve().parents:
            raise CkptkitError(f"{path} lies in the registry root {work.root}", "keep data elsewhere")
    return data.observe(
        known,
        value,
        project=work.now.project,
        observed=work.now.observed,
        started=work.now.started,
        cache=cache,
        progress=work.progress,
        unknown=work.guard.unknown,
    )


def _require_space(work: _Work, found: Sequence[files.Placed]) -> None:
    import shutil

    device = work.root.stat().st_dev
    needed = sum(file.bytes for file in found if not (work.request.move and _is_linkable(file.source, device)))
    free = shutil.disk_usage(work.root).free
    if needed > free:
        hint = "free some space, or give another --root DIR" if work.request.move else "use --move, or free some space"
        raise CkptkitError(f"{work.root} needs {_size(needed)}, {_size(free)} free", hint)


def _is_linkable(path: Path, device: int) -> bool:
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_dev == device


_GB = 1e9


def _size(count: int) -> str:
    return f"{count / _GB:.1f} GB" if count >= _GB else f"{count / 1e6:.1f} MB"


def _stage_file(work: _Work, stage: checkpoint.Stage, file: files.Placed, *, move: bool) -> WeightsFile:
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
    stage: checkpoint.Stage, given: Intake, seen: observation.Observation, datasets: Sequence[data.Observation]
) -> str | None:
    """Write the records that do not bear the version's number; returns the SHA-256 of config.yaml, if there is one."""
    if seen.patch:
        stage.put(checkpoint.PATCH, seen.patch)
    if seen.requirements:
        stage.put(checkpoint.REQUIREMENTS, seen.requirements.encode())
    for each in datasets:
        if each.manifest is not None and each.dataset.manifest is not None:
            stage.put(each.dataset.manifest, each.manifest)
    return None if given.config.text is None else stage.put(checkpoint.CONFIG, given.config.text)


def _publish(
    work: _Work, stage: checkpoint.Stage, parts: Parts, aliases: Sequence[str], body: str | None
) -> registry.Version:
    def finish(version: str) -> str:
        lineage = compose(parts, version)
        stage.put(checkpoint.LINEAGE, documents.dump_json(lineage.to_dict()))
        digest = stage.seal()
        stage.put_card(templates.card(lineage, digest=digest, human=parts.given.answers, body=body))
        return digest

    folder = work.root / work.model
    with registry.locked(work.root):
        known = index.load(work.root)
        entry = index.entry(known, folder)
        if any(summary["event"] is None for summary in entry["versions"].values()):
            registry.take_in(registry.read_model(folder))
            entry = index.describe(registry.read_model(folder))
        following = {alias: entry["heads"].get(alias) for alias in aliases}
        version, events = registry.publish(stage, folder, last=entry["last"], finish=finish, aliases=following)
        try:
            index.write(work.root, index.add(known, folder, entry, version, events))
        except OSError as error:
            work.guard.warnings.append(f"the index could not be written ({disk.reason(error)}): run `ckptkit index`")
    return version
