"""What a save looks at besides weights and data: code, machine, optimizers and the like, earlier parts of the run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ckptkit import redact, started
from ckptkit.capture import observation, recalled, segments, session, training
from ckptkit.capture.intake import Guard, Request
from ckptkit.capture.moment import Moment, run_id
from ckptkit.record import IN_THE_RUN, Component, Parent, Segment


def seen(request: Request, guard: Guard, now: Moment, root: Path) -> observation.Observation:
    """What is to be recorded of code and machine: what the process that trained sees, or noted of itself."""
    start = request.start
    exclude = [root, *request.paths, *request.data_paths]
    if start is not None and start.noted is not None:
        return recalled.seen(start, start.noted, exclude=exclude, unknown=guard.unknown)
    own = now.observed == IN_THE_RUN
    return observation.observe(
        now,
        exclude=exclude,
        python=request.python,
        unknown=guard.unknown,
        before=start.code if start is not None and own else None,
        notes=started.folder(root) / "ranks",
    )


def components(request: Request, guard: Guard, project: Path) -> dict[str, tuple[Component, ...]]:
    """The optimizers, schedulers and data loaders that were given, by their names in the record."""
    given = {"optimizers": request.optimizer, "schedulers": request.scheduler, "dataloaders": request.dataloader}
    found = {}
    none: tuple[Component, ...] = ()
    for kind, objects in given.items():
        unusable: dict[str, str] = {}
        read = guard.take(f"config.{kind}", none, training.components, kind, objects, unusable)
        for where, why in unusable.items():
            guard.note(where, redact.text(why, project=project))
        found[kind] = tuple(replace(each, settings=redact.values(each.settings, project=project)) for each in read)
    return found


def earlier(
    request: Request,
    guard: Guard,
    made_from: Sequence[Parent],
    root: Path,
    known: Mapping[str, Any],
    restarts: int | None,
) -> tuple[Segment, ...]:
    """The earlier parts of a training that was resumed, from a version or by its scheduler.

    Args:
        request: what was given.
        guard: takes why they are not known.
        made_from: the parents.
        root: the registry root.
        known: its index.
        restarts: how often the training is known to have been started again.
    """
    start = request.start
    found = segments.segments(made_from, root, known, guard.unknown) or recalled.restarted(root, start)
    if restarts and not found:
        why = f"it was started again {restarts} times, and those runs are not noted"
        guard.unknown.setdefault("run.segments", why)
    return tuple(each for each in found if each.run != (start.id if start else run_id()))


def changed_config(request: Request, now: Moment) -> tuple[str, ...] | None:
    """Configuration files that were written while the run went on; None where that is not known."""
    start = request.start
    return session.changed_config(start, now.project) if start and now.observed == IN_THE_RUN else None
