"""The verb ``du``: what models, runs and versions weigh on disk."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckptkit import index, names, references, registry, roots


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionWeight:
    """A version: its reference, its bytes on disk, what it is called, and whether files of it were pruned."""

    ref: str
    bytes: int
    aliases: tuple[str, ...]
    stage: str | None
    pruned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWeight:
    """The versions that come from one run; ``run`` is None where the record does not say which."""

    run: str | None
    bytes: int
    versions: tuple[VersionWeight, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWeight:
    """A model with its history, and its runs in the order of their first version."""

    model: str
    bytes: int
    runs: tuple[RunWeight, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a registry weighs. Bytes that several names share count once in every sum.

    ``private`` is what lies in ``.ckptkit/``: stages, trash; ``shared`` is by how much less than the sum of all files
    ``bytes`` is, because some share theirs.
    """

    models: tuple[ModelWeight, ...]
    private: int
    bytes: int
    shared: int


_Files = list[tuple[tuple[int, int], int]]
"""Device and inode of each file, and its bytes."""


def du(model: str | None = None, *, root: str | os.PathLike[str] | None = None) -> Usage:
    """What is on disk, by model, run and version.

    Args:
        model: only this registered model.
        root: the registry root; see ``roots.default_root``.

    Raises:
        NotFoundError: there is no such registry or model.
    """
    home = roots.default_root(root, Path.cwd())
    whole = index.load(home)
    known = whole["models"]
    if model is not None:
        references.require_model(home, whole, model)
    everything: _Files = []
    private = _files(home / registry.HOME) if model is None else []
    models = []
    alive = [name for name, part in known.items() if part["versions"] or not part["became"]]
    for name in sorted(alive) if model is None else [model]:
        found = {item: _files(home / name / item) for item in registry.names_in(home / name)}
        private += found.pop(registry.HOME, [])
        files = [file for each in found.values() for file in each]
        models.append(ModelWeight(model=name, bytes=_sum(files), runs=tuple(_runs(name, known[name], found))))
        everything += files
    everything += private
    total = _sum(everything)
    return Usage(
        models=tuple(models), private=_sum(private), bytes=total, shared=sum(size for _, size in everything) - total
    )


def _runs(model: str, part: Mapping[str, Any], found: Mapping[str, _Files]) -> Iterator[RunWeight]:
    runs: dict[str | None, list[str]] = {}
    for version in sorted(part["versions"], key=lambda version: names.folder_number(version) or 0):
        runs.setdefault(part["versions"][version].get("run"), []).append(version)
    for run, versions in runs.items():
        yield RunWeight(
            run=run,
            bytes=_sum(file for version in versions for file in found.get(version, ())),
            versions=tuple(
                VersionWeight(
                    ref=f"{model}/{version}",
                    bytes=_sum(found.get(version, ())),
                    aliases=tuple(alias for alias, target in part["aliases"].items() if target == version),
                    stage=part["stages"].get(version),
                    pruned="pruned" in part["versions"][version],
                )
                for version in versions
            ),
        )


def _files(path: Path) -> _Files:
    """All files at or below a path; links are not followed, and what cannot be looked at is passed over."""
    found: _Files = []
    below = [str(path)]
    while below:
        here = below.pop()
        try:
            status = os.lstat(here)
            if os.path.isdir(here) and not os.path.islink(here):  # noqa: PTH112, PTH114 - a str, many times
                below += [os.path.join(here, name) for name in os.listdir(here)]  # noqa: PTH118 - the same
            else:
                found.append(((status.st_dev, status.st_ino), status.st_size))
        except OSError:
            continue
    return found


def _sum(files: Iterable[tuple[tuple[int, int], int]]) -> int:
    return sum(dict(files).values())
