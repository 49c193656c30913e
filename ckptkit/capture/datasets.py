"""The declared datasets: each by a name that can be recorded, and none from where it would be saved into itself."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ckptkit import disk, hash_cache, hashing, names
from ckptkit.capture import data
from ckptkit.capture.intake import Guard, Request
from ckptkit.capture.observation import Moment
from ckptkit.errors import CkptkitError


def observe(
    request: Request, guard: Guard, *, now: Moment, root: Path, progress: hashing.Progress | None
) -> list[data.Observation]:
    """The declared data, as it is at this moment.

    Args:
        request: what was given.
        guard: what becomes of faults.
        now: who looks.
        root: the registry root, where no data may lie.
        progress: called with the number of bytes hashed since the last call.

    Raises:
        CkptkitError: something is wrong and the save is strict.
    """
    found = []
    with hash_cache.Cache.open() as cache:

        def observed(name: object, value: object) -> data.Observation:
            return data.observe(
                _name(name, value, request.data, root),
                value,
                project=now.project,
                observed=now.observed,
                started=now.started,
                cache=cache,
                progress=progress,
                unknown=guard.unknown,
            )

        for name, value in guard.take("data", (), _items, request.data):
            dataset = guard.take(f"data.{name}", None, observed, name, value)
            if dataset is not None:
                found.append(dataset)
    return found


def _items(given: Any) -> tuple[tuple[object, object], ...]:  # noqa: ANN401 - whatever was given as data
    if not isinstance(given, Mapping):
        raise CkptkitError(
            f"the data is a {type(given).__name__}, no mapping", 'write data={"train": "data/train.csv"}'
        )
    return tuple(given.items())


def _name(name: object, value: object, all_: Mapping[object, object], root: Path) -> str:
    """The name of a dataset that can be recorded."""
    known = names.require_model(name, "dataset")
    names.require_unlike(known, (str(other) for other in all_), "dataset")
    if isinstance(value, str | os.PathLike):
        path = disk.expand(value)
        refuse_nested([path], root, "the data")
        if disk.real(root) in disk.real(path).parents:
            raise CkptkitError(f"{path} lies in the registry root {root}", "keep data elsewhere")
    return known


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
