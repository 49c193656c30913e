"""Which hyperparameters: values, seed, optimizer, schedule, data loading, generators."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ckptkit.record.forms import Hex256, Observed, RelativePath
from ckptkit.typed import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Component(Record):
    """An optimizer, scheduler or data loader: its class, and its settings as read from the object.

    ``name`` is what it was called where several were given; ``file`` holds its state in the version.
    """

    name: str | None
    type: str
    settings: Mapping[str, Any]
    file: RelativePath | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Generators(Record):
    """Random generators as seen: the digest of each one's state by library, and the seed where a library tells it.

    None where nobody looked. What they were at the save says how far they had been used, and nothing of the seed.
    """

    at_start: Mapping[str, Any] | None
    at_save: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(Record):
    """Which hyperparameters: the file in the version, its digest, and the values that it resolves to.

    ``changed_during_run`` names given files that were written while it ran, None where that is not known.
    """

    observed: Observed
    file: RelativePath | None
    sha256: Hex256 | None
    values: Mapping[str, Any] | None
    seed: Any
    not_applicable: Mapping[str, str]
    changed_during_run: tuple[str, ...] | None = None
    optimizers: tuple[Component, ...] = ()
    schedulers: tuple[Component, ...] = ()
    dataloaders: tuple[Component, ...] = ()
    generators: Generators | None = None
