"""The verb ``stage``: how far a version has come, as one of none, staging, production, archived."""

import os
from dataclasses import dataclass
from pathlib import Path

from ckptkit import change, history, index, names, references, roots
from ckptkit.errors import CkptkitError

_ACTIVE = ("staging", "production")


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """The stages of versions before and after, by reference, that of the named version first."""

    moves: dict[str, tuple[str, str]]
    warnings: tuple[str, ...]


def stage(
    ref: str,
    to: str,
    *,
    at: str | None = None,
    archive_existing: bool = False,
    reason: str | None = None,
    root: str | os.PathLike[str] | None = None,
) -> Staged:
    """Put a version into a stage. A version has one stage; a stage may hold many versions of a model.

    As in MLflow's registry, others are archived only when staging or production is entered, and entering the stage that
    a version is in already is no fault. Stricter: it is then no event, and each move has its own.

    Args:
        ref: a reference of one version.
        to: the stage, in any case.
        at: the reference is read as of this time.
        archive_existing: archive the model's other versions that are in that stage.
        reason: why, for the history.
        root: the registry root; see ``roots.default_root``.

    Raises:
        CkptkitError: there is no such stage, or existing versions cannot be archived for it.
        NotFoundError: the reference names nothing.
    """
    wanted = names.require_stage(to)
    if archive_existing and wanted not in _ACTIVE:
        raise CkptkitError(
            f"existing versions are not archived for {wanted}", "leave out --archive-existing, or name production"
        )
    home, cwd = roots.default_root(root, Path.cwd()), Path.cwd()
    with change.begin(home) as now:
        then = now.index if at is None else index.load(home, roots.moment(at))
        version = references.resolve(home, then, ref, cwd=cwd, exact=True)
        model, name = version.path.parent.name, version.path.name
        stages = now.index["models"][model]["stages"]
        others = [other for other in stages if archive_existing and stages[other] == wanted and other != name]
        moves = {name: wanted} | dict.fromkeys(others, "archived")
        heads = now.index["models"][model]["heads"]
        events = [now.event("stage", model, moved, stage=into, reason=reason) for moved, into in moves.items()]
        now.record(
            *(
                event
                for event in events
                if stages.get(event.version, "none") != event.stage or len(heads.get(history.chain(event), ())) > 1
            )
        )
    return Staged(
        moves={f"{model}/{moved}": (stages.get(moved, "none"), into) for moved, into in moves.items()},
        warnings=tuple(now.warnings),
    )
