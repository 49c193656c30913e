"""CK3, data: whether the record says which data the checkpoint was trained on."""

from collections.abc import Iterator

from ckptkit.record import Lineage
from ckptkit.rules.base import Fault, rule, some, unknown


@rule("CK301", "no dataset is recorded", of=Lineage, severity="warning", fix="save with --data NAME=PATH (data={...})")
def no_dataset(lineage: Lineage) -> Iterator[Fault]:
    """A checkpoint whose data is not known cannot be made again, audited, or told apart from one with leaked data."""
    if not lineage.data and not unknown(lineage, "data"):
        yield Fault("names no dataset")


@rule(
    "CK302",
    "a dataset has no digest",
    of=Lineage,
    severity="warning",
    fix="keep a copy of what was read, in a file or folder, and name that with --data",
)
def no_digest(lineage: Lineage) -> Iterator[Fault]:
    """A name or an address says where data was, not which data it was: what lies there changes.

    Only a digest tells years later whether the data at hand is the same.
    """
    for dataset in lineage.data:
        if dataset.digest is None:
            why = lineage.unknown.get(f"data.{dataset.name}.digest", "it is known by name alone")
            yield Fault(f"the dataset {dataset.name} has no digest: {why}")
    recorded = unknown(lineage, *(f"data.{dataset.name}" for dataset in lineage.data))
    for fact, reason in unknown(lineage, "data").items():
        if fact not in recorded:
            yield Fault(f"{fact} was given and is not recorded: {reason}")


@rule(
    "CK303",
    "a dataset changed while the training ran",
    of=Lineage,
    severity="warning",
    fix="train again on a copy that nothing writes to",
)
def changed(lineage: Lineage) -> Iterator[Fault]:
    """Files of the dataset were written after the training began, so some of it may have read the earlier content.

    The digest is of what was there at the end.
    """
    for dataset in lineage.data:
        if dataset.changed_during_run:
            yield Fault(f"the dataset {dataset.name} changed during the run: {some(list(dataset.changed_during_run))}")


RULES = (no_dataset, no_digest, changed)
