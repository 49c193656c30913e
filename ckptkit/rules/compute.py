"""CK6, compute and precision: whether the record says on which machine the training ran, and how it rounded."""

from collections.abc import Iterator, Mapping

from ckptkit.record import IN_THE_RUN, Lineage
from ckptkit.rules.base import Fault, rule, some, unknown

_PRECISION = "compute.precision"
_DETERMINISM = "compute.determinism"
_DRIVER = "compute.driver"
_IMAGE = "compute.container.image"


@rule(
    "CK601",
    "the numerical precision is not known",
    of=Lineage,
    severity="warning",
    fix="save from the process that trained, while its framework is loaded",
)
def precision_unknown(lineage: Lineage) -> Iterator[Fault]:
    """The dtype of the weights says how they are stored; the products inside may have been rounded much more.

    TF32, autocast and reduced-precision reductions are switches of the framework, visible only in its process.
    """
    compute = lineage.compute
    if compute.observed == IN_THE_RUN and any(_is_float(dtype) for dtype in compute.precision.weights):
        reasons = unknown(lineage, _PRECISION)
        reasons.pop(f"{_PRECISION}.requested", None)  # nothing need be asked for
        if reasons or not compute.precision.effective:
            yield Fault(f"not known: {_told(reasons) or 'precision'}")


def _is_float(dtype: str) -> bool:
    return dtype.upper().startswith(("F", "BF"))


def _told(reasons: Mapping[str, str]) -> str:
    """The facts, those of one reason together."""
    facts: dict[str, list[str]] = {}
    for fact, reason in reasons.items():
        facts.setdefault(reason, []).append(fact.removeprefix("compute."))
    return "; ".join(f"{some(names)} ({reason})" for reason, names in facts.items())


@rule(
    "CK602",
    "determinism is not known",
    of=Lineage,
    severity="warning",
    fix="save from the process that trained, while its framework is loaded",
)
def determinism_unknown(lineage: Lineage) -> Iterator[Fault]:
    """Only with deterministic algorithms can a second run give the same bits; a framework uses them when it is told."""
    if reasons := unknown(lineage, _DETERMINISM):
        yield Fault(f"not known: {_told(reasons)}")


@rule(
    "CK603",
    "the GPU driver is not known",
    of=Lineage,
    severity="warning",
    fix="install the extra for GPUs, or make nvidia-smi callable, before you save",
)
def driver_unknown(lineage: Lineage) -> Iterator[Fault]:
    """Kernels differ between drivers, and so may results on the same GPU."""
    if lineage.compute.gpus and lineage.compute.driver is None:
        yield Fault(f"there are GPUs, and not known: {_told(unknown(lineage, _DRIVER)) or 'driver'}")


@rule(
    "CK604",
    "the machine is not fully known",
    of=Lineage,
    severity="warning",
    fix="save where the system tells: /proc and /sys readable, in the container that trained",
)
def machine_unknown(lineage: Lineage) -> Iterator[Fault]:
    """Processor, system, memory and accelerators explain why two runs differ in the last bits, or in speed."""
    compute = lineage.compute
    elsewhere = {**unknown(lineage, _PRECISION, _DETERMINISM), **(unknown(lineage, _DRIVER) if compute.gpus else {})}
    elsewhere |= unknown(lineage, _IMAGE)  # a label, of which no runtime leaves a trace inside
    facts = {fact: reason for fact, reason in unknown(lineage, "compute").items() if fact not in elsewhere}
    for name in ("platform", "cpu", "memory", "gpus"):
        if getattr(compute, name) is None and not facts.keys() & {"compute", f"compute.{name}"}:
            facts[f"compute.{name}"] = "no reason is recorded"
    if facts:
        yield Fault(f"not known: {_told(facts)}")


RULES = (precision_unknown, determinism_unknown, driver_unknown, machine_unknown)
