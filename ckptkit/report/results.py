"""Metrics in words: those of the save, and those that were measured later."""

import math
from collections.abc import Iterator, Sequence

from ckptkit.record import Event, Metric
from ckptkit.words import figure, short

MOST = 8
"""Most things of a kind that are named one by one: it is one screen."""


def capped(items: Sequence[str], home: str) -> list[str]:
    """The first of ``items``, and how many more stand in ``home``."""
    rest = len(items) - MOST
    return [*items[:MOST], *([f"{rest} more in {home}"] if rest > 0 else [])]


def metric(name: str, found: Metric) -> str:
    """A metric with its split, its number of examples, and the slice that did worst."""
    told = [found.split] if found.split else []
    told += [f"n = {found.n:,}"] if found.n is not None else []
    text = f"{name} {figure(found.value)}" + (f" ({', '.join(told)})" if told else "")
    parts = [
        (_number(part.value), f"{factor}={level} {figure(part.value)}")
        for factor, levels in found.slices.items()
        for level, part in levels.items()
    ]
    return f"{text} · {_worst(name, parts)}" if parts else text


def _number(value: float | str) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number beyond the floats
        return math.inf if isinstance(value, int) and value > 0 else -math.inf


_LESS = {"loss", "error", "perplexity", "ppl", "mse", "rmse", "mae", "nll", "brier", "ece", "wer", "cer", "fid"}
_MORE = {"accuracy", "acc", "f1", "auc", "auroc", "precision", "recall", "iou", "dice", "bleu", "r2", "map"}


def _worst(name: str, parts: Sequence[tuple[float, str]]) -> str:
    """The slice that did worst; where the metric's name does not tell which end is the worse, both ends."""
    words = set(name.lower().replace("/", "_").replace("-", "_").split("_"))
    diverged = [text for value, text in parts if math.isnan(value)]
    ordered = [text for _, text in sorted(parts)]
    if diverged or words & _MORE or words & _LESS:
        return f"worst slice {diverged[0] if diverged else ordered[0 if words & _MORE else -1]}"
    return f"slices from {ordered[0]} to {ordered[-1]}"


def later(events: Sequence[Event]) -> Iterator[list[str]]:
    """The parts of a line for each evaluation after the save: its day, its metrics, its data, its commit.

    Args:
        events: ``evaluated`` events in the order of time.
    """
    if len(events) > MOST:
        yield [f"{len(events) - MOST} earlier ones in the history"]
    for event in events[-MOST:]:
        first, *more = capped([metric(*each) for each in event.metrics.items()], "the history")
        data = [f"{each.name}  {each.path or each.kind}  {short(each.digest or 'no digest')}" for each in event.data]
        yield [f"{event.time[:10]}  {first}", *more, *capped(data, "the history"), _commit(event)]


def _commit(event: Event) -> str:
    tree = event.code.repository if event.code else None
    if tree is None or tree.commit is None:
        return "no commit known"
    return f"{short(tree.commit)}{', with changes' if tree.dirty else ''}"
