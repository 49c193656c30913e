"""What ``eval`` and ``describe`` added to a history, as text and as JSON."""

from typing import Any

from ckptkit.report import results
from ckptkit.verbs.describe import Described
from ckptkit.verbs.evaluate import Evaluated
from ckptkit.words import inert, short


def evaluated(done: Evaluated) -> str:
    """One line on what was added to the history of a version."""
    metrics = ", ".join(results.metric(*each) for each in done.event.metrics.items())
    data = "".join(f"  {each.name} {short(each.digest or 'no digest')}" for each in done.event.data)
    return inert(f"{done.version.ref}  {metrics}{data}")


def evaluated_document(done: Evaluated) -> dict[str, Any]:
    """What was added to the history of a version, as JSON types."""
    return {
        "schema": "ckptkit/evaluation/1",
        "ref": done.version.ref,
        "event": done.event.to_dict(),
        "warnings": list(done.warnings),
    }


def described(done: Described) -> str:
    """One line on what is said of a model or version now."""
    if done.before == done.after:
        return inert(f"{done.ref} is described so already" if done.after else f"{done.ref} has no description")
    return inert(f"{done.ref}: {done.after}" if done.after else f"{done.ref}: the description is removed")


def described_document(done: Described) -> dict[str, Any]:
    """What is said of a model or version, as JSON types."""
    return {
        "schema": "ckptkit/description/1",
        "ref": done.ref,
        "before": done.before,
        "after": done.after,
        "warnings": list(done.warnings),
    }
