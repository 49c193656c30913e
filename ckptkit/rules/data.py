"""CK3, data: whether the record says which data the checkpoint was trained on."""

from collections.abc import Iterator, Mapping
from typing import Any

from ckptkit.checkpoint import LINEAGE, Checkpoint
from ckptkit.record import Dataset, Lineage
from ckptkit.rules.base import Fault, rule, some, unknown
from ckptkit.words import count


@rule("CK301", "no dataset is recorded", of=Lineage, severity="warning", fix="save with --data NAME=PATH (data={...})")
def no_dataset(lineage: Lineage) -> Iterator[Fault]:
    """A checkpoint whose data is not known cannot be made again, audited, or told apart from one with leaked data."""
    if not lineage.data and not unknown(lineage, "data"):
        yield Fault("names no dataset")


@rule(
    "CK302",
    "a dataset has no digest",
    of=Checkpoint,
    severity="warning",
    fix="name a copy of what was read with --data; `ckptkit data snapshot SOURCE OUT` makes one of a URL or a query",
)
def no_digest(found: Checkpoint) -> Iterator[Fault]:
    """A name or an address says where data was, not which data it was: what lies there changes.

    Only a digest tells years later whether the data at hand is the same. One that was added later counts.
    """
    lineage = found.lineage
    if not isinstance(lineage, Lineage):
        return
    for dataset in lineage.data:
        absent = any(said.get("absent") is True for _, said in _pointers(dataset))  # CK306
        if dataset.digest is None and not absent and dataset.name not in found.digested:
            why = lineage.unknown.get(f"data.{dataset.name}.digest", "it is known by name alone")
            later = (
                f"run `ckptkit data digest {found.ref} {dataset.name}` where the data is"
                if dataset.sizes or dataset.kind == "file"
                else ""
            )
            yield Fault(f"the dataset {dataset.name} has no digest: {why}", LINEAGE, later)
    recorded = unknown(lineage, *(f"data.{dataset.name}" for dataset in lineage.data))
    for fact, reason in unknown(lineage, "data").items():
        if fact not in recorded:
            yield Fault(f"{fact} was given and is not recorded: {reason}", LINEAGE)


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


@rule(
    "CK304",
    "a chain of steps is broken",
    of=Lineage,
    fix="run the step again, and those after it, then train on what they make and save again",
)
def broken_chain(lineage: Lineage) -> Iterator[Fault]:
    """The steps say how the data was made from its sources, and that is not how this data came to be.

    Something was edited by hand between two steps, or one was run again without those after it.
    """
    for dataset in lineage.data:
        for step in dataset.steps:
            if step.link == "broken":
                why = step.reason or "its output is not what was read"
                yield Fault(f"the steps behind the dataset {dataset.name} break at {step.name}: {why}")


_SYSTEMS = {"dvc": "DVC", "git_lfs": "Git LFS", "hub": "the Hub's cache"}


def _pointers(dataset: Dataset) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each system that tracks a dataset by a pointer, with what it says."""
    for system, said in (dataset.source or {}).items():
        if system in _SYSTEMS and isinstance(said, Mapping):
            yield _SYSTEMS[system], said


@rule(
    "CK305",
    "a dataset is not what its pointer says",
    of=Lineage,
    fix="restore the content (`dvc checkout`, `git restore`), or track what is there, then train and save again",
)
def pointer_disagrees(lineage: Lineage) -> Iterator[Fault]:
    """Who fetches the data by its pointer, years later, gets other data than the checkpoint was trained on."""
    for dataset in lineage.data:
        for system, said in _pointers(dataset):
            words = said.get("difference", "is not what its pointer says")
            told = any(step.link == "broken" and step.reason == words for step in dataset.steps)  # CK304
            if said.get("agrees") is False and not told:
                yield Fault(f"the dataset {dataset.name}, tracked by {system}, {words}")


@rule(
    "CK306",
    "a dataset was not there, only its pointer",
    of=Lineage,
    severity="warning",
    fix="fetch the content (`dvc pull`, `git lfs pull`, `hf download`) where the training runs, then save again there",
)
def pointer_alone(lineage: Lineage) -> Iterator[Fault]:
    """A training cannot have read content that was not there: the pointer says what it should have been."""
    for dataset in lineage.data:
        why = lineage.unknown.get(f"data.{dataset.name}.digest", "only its pointer was here")
        for system, said in _pointers(dataset):
            if said.get("absent") is True:
                yield Fault(f"the dataset {dataset.name}, tracked by {system}, was not there: {why}")
            elif said.get("pointers"):
                held = f"{count(said['pointers'], 'pointer')} of {system} in place of content"
                yield Fault(f"the dataset {dataset.name} holds {held}", hint="run `git lfs pull`, train and save again")


RULES = (no_dataset, no_digest, changed, broken_chain, pointer_disagrees, pointer_alone)
