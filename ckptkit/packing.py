"""What goes into the stage of a version: the saved files, and the records that do not bear its number."""

import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ckptkit import checkpoint, data, hashing, staging, weights
from ckptkit.capture import bundle, files, optimizer_states
from ckptkit.capture.config import Resolved
from ckptkit.capture.intake import Guard
from ckptkit.capture.observation import Observation
from ckptkit.errors import FormatError
from ckptkit.record import Component, Repository, WeightsFile


def put_file(
    stage: staging.Stage, file: files.Placed, guard: Guard, *, move: bool, progress: hashing.Progress | None
) -> WeightsFile:
    """Stage one of the saved files.

    Raises:
        CkptkitError: it changes while it is read, or cannot be read.
        OSError: the disk refuses.
    """
    sha256, size = stage.add(file.source, file.path, move=move, progress=progress)
    try:
        header = weights.read_header(stage.folder / file.path)
    except FormatError as error:
        guard.note(f"weights.{file.path}", f"its header {error.message}")
        return WeightsFile(path=file.path, bytes=size, sha256=sha256, format=None, parameters=None, dtypes=None)
    return WeightsFile(
        path=file.path,
        bytes=size,
        sha256=sha256,
        format=header.format,
        parameters=header.parameters,
        dtypes=header.dtypes,
    )


def put_made(
    stage: staging.Stage, written: Path, guard: Guard, *, rename: str | None, progress: hashing.Progress | None
) -> WeightsFile:
    """Stage a file that was written in the stage's home for it; see ``put_file``."""
    written.chmod(stat.S_IMODE(stage.home.joinpath("host").stat().st_mode))  # safetensors lets nobody else read
    found = files.place([written], rename=rename, exclude=(), strict=True)
    return put_file(stage, found.files[0], guard, move=True, progress=progress)


def put_states(
    stage: staging.Stage,
    given: object,
    optimizers: Sequence[Component],
    guard: Guard,
    progress: hashing.Progress | None,
) -> tuple[list[WeightsFile], tuple[Component, ...]]:
    """Stage the states of the optimizers.

    Args:
        stage: the version in the making.
        given: the optimizers, as they were given.
        optimizers: what is recorded of them.
        guard: what becomes of faults.
        progress: called with the number of bytes read since the last call.

    Returns:
        The files, and the records that name them.

    Raises:
        CkptkitError: the state cannot be written and the save is strict.
    """
    saved: dict[int, WeightsFile] = {}
    nothing: list[tuple[str, object]] = []
    found = guard.take("config.optimizers", nothing, optimizer_states.named, given)
    if not found and "config.optimizers" not in guard.unknown:
        guard.note("config.optimizers", "no optimizer was given whose state could be saved")
    for at, (name, optimizer) in enumerate(found):
        where = f"config.optimizers[{at}].file"
        if (stage.folder / name).exists():  # such as that of a checkpoint of transformers' Trainer
            guard.note(where, f"the weights bring a file {name} of their own")
        elif written := guard.take(where, None, optimizer_states.write, optimizer, stage.home / name):
            saved[at] = put_made(stage, written, guard, rename=None, progress=progress)
    named = (replace(each, file=saved[at].path if at in saved else None) for at, each in enumerate(optimizers))
    return list(saved.values()), tuple(named)


def put_records(
    stage: staging.Stage, config: Resolved, seen: Observation, declared: Sequence[data.Observation]
) -> str | None:
    """Stage the records; returns the SHA-256 of config.yaml, if there is one."""
    for name, content in seen.files.items():
        stage.put(name, content)
    for each in declared:
        listed = each.dataset.manifest or each.dataset.sizes
        if each.content is not None and listed is not None:
            stage.put(listed, each.content.lines())
    return None if config.text is None else stage.put(checkpoint.CONFIG, config.text)


def put_bundle(
    stage: staging.Stage, repository: Repository | None, start: Path, unknown: dict[str, str]
) -> Repository | None:
    """Stage the commits that are on no remote; returns the record of the repository that names them."""
    if repository is None or repository.commit is None:
        unknown["code.repository.bundle"] = "there is no commit"
        return repository
    written = stage.home / checkpoint.BUNDLE
    if not bundle.write(start, repository.commit, written, unknown):
        return repository
    stage.add(written, checkpoint.BUNDLE, move=True)
    return replace(repository, bundle=checkpoint.BUNDLE)
