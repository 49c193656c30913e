"""Succession: which aliases a new version takes from those before it, and which of its run are pruned for it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ckptkit import comparison, documents, removal, retention, transaction
from ckptkit.change import Change
from ckptkit.comparison import Goal
from ckptkit.record import Metric
from ckptkit.registry import Version
from ckptkit.retention import Policy


def claim(
    part: Mapping[str, Any], aliases: Sequence[str], goal: Goal | None, metrics: Mapping[str, Metric]
) -> tuple[dict[str, list[str]], list[str]]:
    """The aliases that a new version takes, each with the heads of its chain, and in words what was decided.

    Args:
        part: its model's part of the index, current under the lock.
        aliases: those that it is to take.
        goal: take only those that stand on a worse version, on one without this metric, or nowhere; all when None.
        metrics: the new version's.
    """
    taken, notes = list(aliases), []
    if goal is not None:
        full = comparison.meant(goal.metric, metrics)  # else a short name could be one metric here and another there
        goal = replace(goal, metric=full[0]) if len(full) == 1 else goal
        new = comparison.value({"metrics": {name: metric.value for name, metric in metrics.items()}}, goal.metric)
        decided = {alias: _decide(part, alias, goal, new) for alias in aliases}
        taken = [alias for alias, (better, _) in decided.items() if better]
        notes = [words for _, words in decided.values()]
    return {alias: part["heads"].get(f"@{alias}", []) for alias in taken}, notes


def _decide(part: Mapping[str, Any], alias: str, goal: Goal, new: float | None) -> tuple[bool, str]:
    holder = part["aliases"].get(alias)
    if new is None:
        return False, f"@{alias} {f'stays on {holder}' if holder else 'is not set'}: no {goal.metric} to compare"
    if holder is None:
        return True, f"@{alias} is set: it stood nowhere"
    old = comparison.value(part["versions"].get(holder, {}), goal.metric)
    if old is None:
        return True, f"@{alias} moves from {holder}: that has no {goal.metric} to compare"
    better = comparison.is_better(new, old, goal)
    than = f"{'is' if better else 'is not'} {'below' if goal.direction == 'min' else 'above'} {old:.12g}"
    return better, f"@{alias} {'moves from' if better else 'stays on'} {holder}: {goal.metric} {new:.12g} {than}"


def relieve(now: Change, version: Version, policy: Policy) -> list[str]:
    """Prune the weights of earlier versions of the same run that a policy does not keep.

    Args:
        now: the change that published the version.
        version: the new version, which is kept.
        policy: what is kept of the run.

    Returns:
        In words what was pruned. A fault is a warning of the change: the version is published.
    """
    model, saved, notes = version.path.parent.name, version.path.name, []

    def prune() -> None:
        part = now.index["models"][model]
        for old, paths in retention.dropped(part, policy, _of_its_run(part["versions"], saved)).items():
            going = removal.of(now.root, part, model, old, paths)
            if old != saved and going.files:
                why = f"not kept when {saved} of the same run was saved"
                transaction.carry_out(now, now.event("pruned", model, old, files=going.files, reason=why))
                notes.append(f"the weights of {old} were pruned")

    now.attempt("earlier versions of this run were not pruned", prune)
    return notes


def _of_its_run(rows: Any, version: str) -> list[str]:  # noqa: ANN401 - index_file.Rows
    """The versions of the run of ``version``."""
    run = rows[version]["run"]
    sought = b'"run": %b' % documents.dump_line(run)
    return [name for name in rows.holding(sought) if rows[name].get("run") == run]
