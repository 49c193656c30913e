"""Which compute: the machine, what the process made of it, and what the other ranks noted of theirs."""

import os
import sys
from dataclasses import replace
from pathlib import Path

from ckptkit import redact
from ckptkit.capture import attempt, hardware, modules, numerics, precision, process, ranks
from ckptkit.capture.moment import Moment
from ckptkit.record import IN_THE_RUN, Compute, Gpu, Precision, Ranks, Variables

AUTOCAST = "compute.precision.effective.autocast"
"""Where it is said that autocast was in use; known to be so or not where the configuration asks for a precision."""


def compute(now: Moment, *, notes: Path | None, unknown: dict[str, str]) -> Compute:
    """The compute, as far as this process can tell.

    Args:
        now: who looks.
        notes: the folder where the ranks of a distributed training noted their machines; None without one.
        unknown: takes the reason of each fact that could not be had.
    """
    machine = attempt(unknown, "compute", lambda: hardware.hardware(unknown), None)
    found = Compute(
        observed=now.observed,
        platform=machine.platform if machine else None,
        cpu=machine.cpu if machine else None,
        memory=machine.memory if machine else None,
        gpus=machine.gpus if machine else None,
        driver=machine.driver if machine else None,
        libraries=machine.libraries if machine else {},
        precision=Precision(requested=None, weights={}, effective=None, flags=None),
        determinism=None,
        threads=None,
        variables=Variables(at_start=None, at_save=None),
        distributed=None,
        container=machine.container if machine else None,
        files=machine.files if machine else {},
    )
    return _observed(found, now, notes, unknown) if now.observed == IN_THE_RUN else found


def _observed(found: Compute, now: Moment, notes: Path | None, unknown: dict[str, str]) -> Compute:
    """With what only the process that trained can tell."""
    numbers = attempt(unknown, "compute.precision", lambda: numerics.numerics(unknown), None)
    in_use: tuple[Gpu, ...] | None = None
    none: str | None = None
    if sys.modules.get("torch") is not None:
        path = attempt({}, AUTOCAST, lambda: modules.calling(now.project, "autocast"), none)
        if path is not None:
            unknown[AUTOCAST] = (
                f"{path} calls autocast, which is off again by the save, so that whether it was on is not known: name "
                "it in the configuration, such as precision: bf16-mixed"
            )
    return replace(
        found,
        precision=Precision(
            requested=attempt(unknown, "compute.precision.requested", precision.accelerate, none),
            weights={},
            effective=numbers.effective if numbers else None,
            flags=numbers.flags if numbers else None,
        ),
        determinism=numbers.determinism if numbers else None,
        threads=numbers.threads if numbers else None,
        variables=Variables(
            at_start=attempt(
                unknown, "compute.variables.at_start", lambda: process.variables_at_start(now.project), None
            ),
            at_save=redact.variables(os.environ, project=now.project),
        ),
        distributed=attempt(unknown, "compute.distributed", ranks.distributed, None),
        gpus_in_use=attempt(unknown, "compute.gpus_in_use", numerics.gpus_in_use, in_use),
        ranks=_ranks(now, notes, unknown),
    )


def _ranks(now: Moment, notes: Path | None, unknown: dict[str, str]) -> tuple[Ranks, ...]:
    none: tuple[tuple[Ranks, ...], str] = (), ""
    if notes is None or now.started is None:
        return ()
    since = now.started
    found, missing = attempt(unknown, "compute.ranks", lambda: ranks.noted(notes, since), none)
    if missing:
        unknown["compute.ranks"] = missing
    return found
