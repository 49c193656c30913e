"""Which compute: machine, accelerators, precision, ranks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ckptkit.record.forms import Hex256, Observed
from ckptkit.typed import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform(Record):
    """Operating system, kernel release, machine type and C library."""

    system: str
    release: str
    machine: str
    distribution: str | None
    libc: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu(Record):
    """The processor: cores as counted by the system and as usable by the process.

    ``stepping`` is its family, model, stepping and microcode; ``affinity`` the cores that the process may use, such as
    ``0-3,8``; ``quota`` how many cores' time its control group may take, None without a limit.
    """

    model: str | None
    vendor: str | None
    physical: int | None
    logical: int | None
    usable: int | None
    flags: tuple[str, ...]
    stepping: str | None = None
    affinity: str | None = None
    quota: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory(Record):
    """Main memory in bytes; ``limit`` is the control group's, None without one."""

    total: int
    limit: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu(Record):
    """A GPU that is present; ``memory`` in bytes, ``compute_capability`` such as ``8.0``.

    ``multiprocessors`` decide how a sum is split over it; they, ``vbios``, ``ecc`` and ``mig`` are None where unknown.
    """

    index: int
    name: str
    memory: int | None
    compute_capability: str | None
    multiprocessors: int | None = None
    vbios: str | None = None
    ecc: bool | None = None
    mig: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision(Record):
    """Numerical precision: asked for, stored in the weights (parameters by dtype), in effect, raw switches."""

    requested: str | None
    weights: Mapping[str, int]
    effective: Mapping[str, str | None] | None
    flags: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Variables(Record):
    """Environment variables of the allow-list, when the process began and when it saved."""

    at_start: Mapping[str, str] | None
    at_save: Mapping[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Container(Record):
    """The container that the process ran in; ``image`` is a label that was given or found, nothing inside proves it."""

    kind: str
    image: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks(Record):
    """Further ranks of a distributed training, together where their machines are alike; ``ranks`` such as ``1-7``."""

    ranks: str
    platform: Platform | None
    cpu: Cpu | None
    memory: Memory | None
    gpus: tuple[Gpu, ...] | None
    driver: str | None
    libraries: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute(Record):
    """Which compute: machine, accelerators, precision, determinism, threads, variables, ranks.

    ``gpus_in_use`` are those that the framework saw, in its order; ``files`` the SHA-256 of files that configure
    numerical libraries; ``ranks`` what the other ranks noted at their start.
    """

    observed: Observed
    platform: Platform | None
    cpu: Cpu | None
    memory: Memory | None
    gpus: tuple[Gpu, ...] | None
    driver: str | None
    libraries: Mapping[str, str]
    precision: Precision
    determinism: Mapping[str, Any] | None
    threads: Mapping[str, Any] | None
    variables: Variables
    distributed: Mapping[str, Any] | None
    container: Container | None = None
    gpus_in_use: tuple[Gpu, ...] | None = None
    files: Mapping[str, Hex256] = field(default_factory=dict)
    ranks: tuple[Ranks, ...] = ()
