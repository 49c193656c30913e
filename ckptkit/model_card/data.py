"""The sections Evaluation Data and Training Data."""

from collections.abc import Iterable

from ckptkit.markdown import code, table, text
from ckptkit.model_card import words
from ckptkit.record import Dataset, Lineage
from ckptkit.words import count

_EVALUATION = frozenset({"test", "val", "valid", "validation", "eval", "evaluation", "dev", "holdout", "held-out"})


def evaluation_data(lineage: Lineage) -> str:
    """The section Evaluation Data: the datasets whose name says so, or is a metric's split."""
    own = [each for each in lineage.data if _evaluates(lineage, each)]
    if own:
        return _described(lineage, own)
    splits = sorted({code(metric.split) for metric in lineage.metrics.values() if metric.split})
    named = f" The metrics name the split {', '.join(splits)}." if splits else ""
    return f"{words.absent(lineage, 'dataset of the evaluation alone', 'data')}{named}"


def training_data(lineage: Lineage) -> str:
    """The section Training Data: all other datasets."""
    own = [each for each in lineage.data if not _evaluates(lineage, each)]
    return _described(lineage, own) if own else words.absent(lineage, "dataset of the training", "data")


def _evaluates(lineage: Lineage, each: Dataset) -> bool:
    splits = {metric.split for metric in lineage.metrics.values()} - {"train", "training"}
    return each.name.lower() in _EVALUATION or each.name in splits


def _described(lineage: Lineage, datasets: Iterable[Dataset]) -> str:
    rows = [
        (code(each.name), _place(each), _digest(lineage, each), _size(each), _history(lineage, each))
        for each in datasets
    ]
    return table(("Dataset", "Where", "Digest", "Size", "Notes"), rows)


def _place(each: Dataset) -> str:
    place = f"{code(each.path)}, " if each.path else ""
    return f"{place}{each.kind}{', outside the project' if each.outside else ''}"


def _digest(lineage: Lineage, each: Dataset) -> str:
    return code(each.digest) if each.digest else words.not_known(lineage, f"data.{each.name}.digest")


def _size(each: Dataset) -> str:
    files = None if each.files is None else count(each.files, "file")
    size = None if each.bytes is None else f"{each.bytes:,} bytes"
    return ", ".join(filter(None, (files, size))) or "not known"


def _history(lineage: Lineage, each: Dataset) -> str:
    changed = each.changed_during_run
    if changed is None:
        change = f"changes during the run {words.not_known(lineage, f'data.{each.name}.changed_during_run')}"
    else:
        change = f"{count(len(changed), 'file')} changed while it ran" if changed else "unchanged while it ran"
        change += ", the digest is of the end" if changed and each.digest else ""
    steps = " → ".join(f"{text(step.name)}{' (broken)' if step.link == 'broken' else ''}" for step in each.steps)
    return f"{change}{f'; steps: {steps}' if steps else ''}{words.SEEN[each.observed]}"
