"""Segments: the earlier parts of a training that was resumed from a version, each with its own times and compute."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ckptkit import checkpoint
from ckptkit.errors import FormatError
from ckptkit.record import Parent, Segment

LIMIT = 100
"""How many segments are recorded, the newest; the parents still tell of those before them."""


def segments(
    parents: Sequence[Parent], root: Path, index: Mapping[str, Any], unknown: dict[str, str]
) -> tuple[Segment, ...]:
    """The segments of the version that a training was resumed from, and last that version itself.

    Of several parents that were resumed the first counts. A run that saved several versions is one segment.

    Args:
        parents: the parents, as ``parents.read`` returns them.
        root: the registry root.
        index: its index.
        unknown: takes the reason why segments are missing.
    """
    parent = next((each for each in parents if each.relation == "resumed"), None)
    if parent is None:
        return ()
    model, _, version = parent.ref.partition("/")
    row = index["models"].get(model, {}).get("versions", {}).get(version)
    if row is None or row.get("digest") != parent.digest:
        unknown["run.segments"] = f"{parent.ref} is no version of this registry"
        return ()
    try:
        lineage = checkpoint.read_lineage(root / model / version)
    except FormatError as error:
        unknown["run.segments"] = f"{checkpoint.LINEAGE} of {parent.ref}: {error.message}"
        return ()
    run = lineage.run
    last = Segment(
        run=run.id,
        version=parent.ref,
        started=run.started,
        finished=run.finished,
        seconds=run.seconds,
        step=run.step,
        job=run.job,
        compute=lineage.compute,
    )
    found = (*(each for each in run.segments if each.run != run.id), last)
    before = lineage.unknown.get("run.segments")
    if len(found) > LIMIT:
        before = f"only the newest {LIMIT} are recorded; those before are in the record of {parent.ref}"
    if before:
        unknown["run.segments"] = before
    return found[-LIMIT:]
