"""Hugging Face datasets in memory: where they come from and how they were made, as far as they tell."""

from typing import Any

from ckptkit.record import Step


def describe(value: object) -> dict[str, Any]:
    """What a dataset tells of its source, under ``huggingface``; empty for other objects."""
    del value
    return {}


def steps(value: object) -> tuple[Step, ...]:
    """The transforms that a dataset tells of; empty for other objects."""
    del value
    return ()
