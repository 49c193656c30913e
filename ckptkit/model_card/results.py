"""The sections Metrics, Factors (as far as the evaluation tells them apart) and Quantitative Analyses."""

from collections.abc import Iterator
from itertools import islice

from ckptkit.markdown import bullets, table, text
from ckptkit.model_card import words
from ckptkit.record import Lineage, Metric, Slice
from ckptkit.words import count


def evaluation_factors(lineage: Lineage) -> str:
    """The factors by which metrics are broken down."""
    factors: dict[str, set[str]] = {}
    for metric in lineage.metrics.values():
        for factor, levels in metric.slices.items():
            factors.setdefault(factor, set()).update(levels)
    named = bullets(f"{text(factor)}: {count(len(levels), 'level')}" for factor, levels in factors.items())
    return named or "No metric was broken down by a factor."


def measures(lineage: Lineage) -> str:
    """The section Metrics: which measures, over how many examples, with which account of variation."""
    if not lineage.metrics:
        return words.absent(lineage, "metric", "metrics")
    named = bullets(f"{text(measure(name, metric))}{_over(metric)}" for name, metric in lineage.metrics.items())
    bounded = any(metric.ci for metric in lineage.metrics.values())
    return named if bounded else f"{named}\n\nNo confidence interval was given: how far the values vary is not known."


def measure(name: str, metric: Metric) -> str:
    """A metric's name without its split in front."""
    return name.removeprefix(f"{metric.split}/")


def _over(metric: Metric) -> str:
    split = f" on {text(metric.split)}" if metric.split else ""
    return f"{split}{f', n = {metric.n:,}' if metric.n is not None else ''}"


def results(lineage: Lineage) -> str:
    """The section Quantitative Analyses: overall results, and disaggregated ones with their numbers of examples."""
    if not lineage.metrics:
        return words.absent(lineage, "metric", "metrics")
    rows = [
        (text(measure(name, each)), text(each.split or "not recorded"), _number(each.value), _interval(each), _n(each))
        for name, each in lineage.metrics.items()
    ]
    overall = f"### Overall Results\n\n{table(('Metric', 'Split', 'Value', 'Interval', 'n'), rows)}"
    sliced = [row for name, metric in lineage.metrics.items() for row in _slices(measure(name, metric), metric)]
    by_factor = table(("Metric", "Factor", "Level", "Value", "n"), sliced) if sliced else "None were recorded."
    return f"{overall}\n\n### Disaggregated Results\n\n{by_factor}"


def _slices(name: str, metric: Metric) -> Iterator[tuple[str, ...]]:
    for factor, levels in metric.slices.items():
        for level, found in islice(levels.items(), words.ROWS):
            yield text(name), text(factor), text(level), _number(found.value), _n(found)
        if len(levels) > words.ROWS:
            yield text(name), text(factor), f"{len(levels) - words.ROWS:,} more in `lineage.json`", "", ""


def _number(value: float | str) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _interval(metric: Metric) -> str:
    return " to ".join(map(_number, metric.ci)) if metric.ci else "not given"


def _n(found: Metric | Slice) -> str:
    return "not recorded" if found.n is None else f"{found.n:,}"
