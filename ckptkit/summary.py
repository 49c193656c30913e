"""One version's line of the index: the facts of its folder that are worth repeating; ``index`` adds what events say."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ckptkit import checkpoint, registry
from ckptkit.errors import FormatError
from ckptkit.record import Lineage

_VALUES = 300
"""Most configuration values of one version that the index repeats."""

_WIDE = 200
"""Longer strings stay out of the index."""


def read(folder: Path) -> dict[str, Any]:
    """One version's line of the index, read from its folder; see ``of``."""
    digest, name = None, checkpoint.SUMS
    try:
        digest, name = registry.digest_of(folder), checkpoint.LINEAGE
        return of(digest, checkpoint.read_lineage(folder))
    except FormatError as error:
        return of(digest, f"{name}: {error.message}")


def of(digest: str | None, lineage: Lineage | str) -> dict[str, Any]:
    """One version's line of the index: enough for ``list``, references and look-up without opening the folder.

    Args:
        digest: the digest of its SHA256SUMS.
        lineage: its record, or why it cannot be read.
    """
    known = {"event": None, "digest": digest}
    return known | ({"unreadable": lineage} if isinstance(lineage, str) else _facts(lineage))


def _facts(lineage: Lineage) -> dict[str, Any]:
    repository = lineage.code.repository
    return {
        "created": lineage.created,
        "message": lineage.message,
        "tags": dict(lineage.tags),
        "run": lineage.run.id,
        "step": lineage.run.step,
        "epoch": lineage.run.epoch,
        "seconds": lineage.run.seconds,
        "commit": repository.commit if repository else None,
        "dirty": repository.dirty if repository else None,
        "observed": lineage.code.observed,
        "seed": lineage.config.seed,
        "bytes": sum(file.bytes for file in lineage.weights.files),
        "parameters": lineage.weights.parameters,
        "parents": [parent.to_dict() for parent in lineage.parents],
        "files": {file.path: file.sha256 for file in lineage.weights.files} | _manifests(lineage),
        "metrics": {name: metric.value for name, metric in lineage.metrics.items()},
        "splits": {name: metric.split for name, metric in lineage.metrics.items() if metric.split},
        "config": dict(list(flatten(lineage.config.values or {}))[:_VALUES]),
    }


def _manifests(lineage: Lineage) -> dict[str, str]:
    """The manifests of datasets that are folders: the digest of such a dataset is that of its manifest."""
    return {
        dataset.manifest: dataset.digest.removeprefix("sha256:")
        for dataset in lineage.data
        if dataset.manifest and dataset.digest
    }


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The plain leaves of a nested mapping by dotted key; lists and long strings are left out."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        elif not isinstance(value, list) and not (isinstance(value, str) and len(value) > _WIDE):
            yield f"{prefix}{key}", value
