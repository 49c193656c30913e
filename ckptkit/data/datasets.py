"""The declared datasets: each by a name that can be recorded, and none from where it would be saved into itself."""

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from ckptkit import data, disk, hash_cache, hashing, names, seen
from ckptkit.capture.intake import Guard, Request
from ckptkit.capture.moment import Moment
from ckptkit.capture.session import Start
from ckptkit.data import huggingface, pointers, ready, steps, watch
from ckptkit.errors import CkptkitError
from ckptkit.manifest import Manifest
from ckptkit.record import ANOTHER_PROCESS, AT_SAVE, IN_THE_RUN, NO_START, Step

T = TypeVar("T")
D = TypeVar("D")
P = ParamSpec("P")


def observe(
    request: Request,
    guard: Guard,
    *,
    now: Moment,
    root: Path,
    progress: hashing.Progress | None,
    expect: Callable[[int], None] | None = None,
) -> list[data.Observation]:
    """The declared data, as it is at this moment.

    Args:
        request: what was given.
        guard: what becomes of faults.
        now: who looks.
        root: the registry root, where no data may lie.
        progress: called with the number of bytes hashed since the last call.
        expect: called with a number of bytes that will be hashed.

    Raises:
        CkptkitError: something is wrong and the save is strict.
    """
    budget = _else_warned(guard, None, _budget, request.data_budget)
    manifests = _else_warned(guard, {}, _manifests, request)
    if request.start is not None and request.start.hasher is not None:
        request.start.hasher.end()
    with hash_cache.Cache.open() as cache:
        look = data.Look(
            project=now.project,
            observed=now.observed,
            unknown=guard.unknown,
            cache=cache,
            progress=progress if budget is None else hashing.until(budget, progress),
            deep=request.deep,
        )

        def observed(name: object, value: object) -> data.Observation:
            known, path = require(name, value, request.data, root), data.place(value)
            listed = _else_warned(guard, None, _listed, manifests.get(known), known, path, root)
            if expect is not None and path is not None and (listed is None or request.deep):
                with contextlib.suppress(CkptkitError):  # is told when it is hashed
                    expect(watch.note(path).bytes)
            found = _observe(known, value, replace(look, ready=listed), now.started, request.start)
            guard.warnings += _doubts(found, look.unknown, started=request.start is not None)
            return found

        items = guard.take("data", (), _items, request.data)
        found = [guard.take(f"data.{name}", None, observed, name, value) for name, value in items]
    return [each for each in found if each is not None]


def _else_warned(guard: Guard, default: D, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | D:
    """What ``work`` returns; where it fails after a training, ``default``: no digest is lost to how it was to be had.

    Raises:
        CkptkitError: it failed and the save is strict.
    """
    try:
        return work(*args, **kwargs)
    except CkptkitError as error:
        if guard.strict:
            raise
        guard.warnings.append(f"data: {error.message}")
        return default


def _listed(file: str | os.PathLike[str] | None, name: str, path: Path | None, root: Path) -> Manifest | None:
    """The manifest that stands in for hashing a dataset, if one was given."""
    if file is None or path is None:
        return None
    folder = data.is_folder(name, path)
    listed = ready.take(file, path, watch.note(path))
    known = seen.size(root, listed.digest if folder else f"sha256:{next(iter(listed)).sha256}")
    if known is not None and known != listed.bytes:
        raise CkptkitError(
            f"the dataset {name} has {listed.bytes:,} bytes, and that of this manifest had {known:,} when it was seen",
            "the data is not that of the manifest: leave out --manifest to hash it",
        )
    return listed


def _doubts(found: data.Observation, unknown: Mapping[str, str], *, started: bool) -> Iterator[str]:
    """What whoever saves should know at once, and not from the next check."""
    dataset = found.dataset
    if dataset.digest is None and found.path is not None:
        yield f"data.{dataset.name} has no digest: {unknown[f'data.{dataset.name}.digest']}"
    for system, said in (found.pointer.source if found.pointer is not None else {}).items():
        if said.get("agrees") is False or "unreadable" in said:
            yield f"data.{dataset.name}, {system}: {said.get('difference') or said.get('unreadable')}"
    if dataset.changed_during_run and started:  # else the script itself may have made the data
        yield f"data.{dataset.name} changed while the run went on: {', '.join(dataset.changed_during_run[:_SHOWN])}"
    for step in dataset.steps:
        if step.link == "broken":
            yield f"the steps behind data.{dataset.name} break at {step.name}: {step.reason}"


_SHOWN = 5
"""Most files that a warning names."""

_NOT_NOTED = "the state of the data when the run began was not noted"


def _observe(name: str, value: object, look: data.Look, started: float | None, start: Start | None) -> data.Observation:
    """One dataset with the steps behind it, and what of it changed while the run went on."""
    path = data.place(value)
    noted = start.data.get(path) if start is not None and path is not None else None
    before = None
    if noted is not None and path is not None and path.exists():
        before = watch.compare(noted, path, look.cache)
    found = data.observe(name, value, look)
    if before is not None and path is not None:
        before = watch.again(before, path)
    changed, why = _changed(found, before, started, look)
    if changed is None:
        look.unknown[f"data.{name}.changed_during_run"] = why
    dataset = replace(found.dataset, steps=_steps(found, value, look), changed_during_run=changed)
    if start is not None and start.noted is not None and changed != ():  # these bytes may be later than the run
        dataset = replace(dataset, observed=AT_SAVE, changed_during_run=None)
        look.unknown[f"data.{name}.changed_during_run"] = _since(changed)
    return replace(found, dataset=dataset)


def _since(changed: Sequence[str] | None) -> str:
    """Why another process than the one that trained does not know what changed while it ran."""
    if changed is None:
        return _NOT_NOTED
    more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
    return f"{', '.join(changed[:_SHOWN])}{more} changed after the run began; whether before it ended is not known"


def _changed(
    found: data.Observation, before: watch.Difference | None, started: float | None, look: data.Look
) -> tuple[tuple[str, ...] | None, str]:
    """The files that changed during the run, by the names that the record has for them."""
    if look.observed != IN_THE_RUN:
        return None, ANOTHER_PROCESS if found.path is not None else _NOT_NOTED
    if found.path is None or not os.path.lexists(found.path):
        return None, _NOT_NOTED
    if before is not None:
        names, why = watch.judge(before, _digests(found, before))
    elif started is None:
        return None, NO_START
    else:
        written, touched = watch.written_since(found.path, started)
        names, why = written or None, watch.METADATA if touched else _NOT_NOTED
    return (names if names is None else tuple(name or found.dataset.path or "" for name in names)), why


def _digests(found: data.Observation, before: watch.Difference) -> dict[str, str]:
    """SHA-256 in hex of the files that are suspected to have changed."""
    if isinstance(found.content, Manifest):
        return {entry.path: entry.sha256 for entry in found.content if entry.path in before.suspects}
    return {"": found.dataset.digest.removeprefix("sha256:")} if found.dataset.digest else {}


def _steps(found: data.Observation, value: object, look: data.Look) -> tuple[Step, ...]:
    """The steps behind a dataset: those of DVC, of our own sidecars, and of Hugging Face datasets, oldest first."""
    if found.path is None:
        return huggingface.steps(value)
    dataset = found.dataset
    if found.pointer is not None and found.pointer.absent:
        return pointers.steps(found.path, look.project, found.pointer)
    return (
        *pointers.steps(found.path, look.project, found.pointer),
        *steps.follow(
            found.path,
            dataset.digest,
            project=look.project,
            where=f"data.{dataset.name}.steps",
            unknown=look.unknown,
            cache=look.cache,
            progress=look.progress,
        ),
    )


_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def _budget(given: object) -> float | None:
    """Seconds."""
    if given is None:
        return None
    said = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", str(given).strip())
    if not said or isinstance(given, bool):
        raise CkptkitError(f"{given!r} is no time for hashing", "write seconds, minutes or hours, such as 60s or 5m")
    return float(said[1]) * _UNITS[said[2]]


def _manifests(request: Request) -> Mapping[str, str | os.PathLike[str]]:
    given = request.manifests
    if not isinstance(given, Mapping):
        raise CkptkitError(f"the manifests are a {type(given).__name__}, no mapping", 'write {"train": "train.sha256"}')
    declared = request.data if isinstance(request.data, Mapping) else {}
    on_disk = [str(name) for name, value in declared.items() if data.place(value) is not None]
    for name in given:
        if name not in on_disk:
            raise CkptkitError(
                f"a manifest is given for {name!r}, which is no dataset on disk",
                f"the datasets on disk are {', '.join(on_disk) or 'none'}",
            )
    return given


def remember(observed: Iterable[data.Observation], root: Path) -> None:
    """Keep, on this machine's side of the registry, where each dataset was seen."""
    for each in observed:
        if each.path is None or (each.pointer is not None and each.pointer.absent):
            continue
        dataset = each.dataset
        key = dataset.digest or (seen.unhashed(each.content.lines()) if each.content is not None else None)
        if key is not None:
            seen.remember(root, key, each.path, dataset.bytes or 0, dataset.files or 0)


def _items(given: Any) -> tuple[tuple[object, object], ...]:  # noqa: ANN401 - whatever was given as data
    if not isinstance(given, Mapping):
        raise CkptkitError(
            f"the data is a {type(given).__name__}, no mapping", 'write data={"train": "data/train.csv"}'
        )
    return tuple(given.items())


def declared(given: Any, root: Path) -> dict[str, object]:  # noqa: ANN401 - whatever was given as data
    """The datasets of a run that begins, those on disk by absolute paths: the run may go elsewhere.

    Args:
        given: the data by name.
        root: the registry root, where no data may lie.

    Raises:
        CkptkitError: a name cannot be recorded, or data is not there, or lies in or around the root.
    """
    found = {}
    for name, value in _items(given):
        known, path = require(name, value, given, root), data.place(value)
        if path is not None:
            data.is_folder(known, path)
        found[known] = value if path is None else path
    return found


def require(name: object, value: object, all_: Mapping[Any, object], root: Path) -> str:
    """The name of a dataset that can be recorded.

    Raises:
        CkptkitError: it cannot, or the data lies in or around the registry root.
    """
    known = names.require_model(name, "dataset")
    names.require_unlike(known, (str(other) for other in all_), "dataset")
    if isinstance(value, str | os.PathLike):
        path = disk.expand(value)
        if not os.fspath(value):
            raise CkptkitError(
                f"the dataset {known} has an empty path", "name a file or folder, such as data/train.csv"
            )
        require_apart(path, root, "the data")
    return known


def require_apart(path: Path, root: Path, what: str) -> None:
    """Refuse data in or around the registry root.

    Raises:
        CkptkitError: it lies there; ``what`` it is, in words.
    """
    refuse_nested([path], root, what)
    if disk.real(root) in disk.real(path).parents:
        raise CkptkitError(f"{path} lies in the registry root {root}", "keep data elsewhere")


def refuse_nested(paths: Sequence[Path], root: Path, what: str) -> None:
    """Refuse what holds the registry: it would be saved into itself.

    Args:
        paths: what was given.
        root: the registry root.
        what: what it is, in words.

    Raises:
        CkptkitError: one of them does.
    """
    real = disk.real(root)
    for path in paths:
        if disk.real(path) in {real, *real.parents}:
            raise CkptkitError(f"{path} holds the registry root {root}", f"give {what} alone, or another --root DIR")
