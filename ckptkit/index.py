"""What is derived from folders and events: index.json and the registry's README. Delete them and they come again.

The index holds a line for each version, so that git merges and shows it line by line, and nothing but facts that the
folders and events state: no ages, no verdicts, no times of files.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ckptkit import checkpoint, disk, documents, names, registry
from ckptkit.errors import FormatError
from ckptkit.record import Event, Lineage
from ckptkit.registry import Model, Version

SCHEMA = "ckptkit/index/1"

_VALUES = 300
"""Most configuration values of one version that the index repeats."""

_WIDE = 200
"""Longer strings stay out of the index."""


def build(root: Path) -> dict[str, Any]:
    """The index of a registry, from its folders and events alone.

    Raises:
        CkptkitError: ``root`` cannot be listed.
    """
    return {"schema": SCHEMA, "models": {model.name: describe(model) for model in registry.models(root)}}


def describe(model: Model) -> dict[str, Any]:
    """A model's part of the index."""
    saved = model.saved
    return {
        "aliases": dict(model.aliases),
        "heads": {alias: model.alias_heads(alias)[-1].id for alias in model.moved_aliases},
        "last": model.last,
        "history": _history(model.path),
        "versions": {
            version: summarise(model.path / version, saved[version].id if version in saved else None)
            for version in model.versions
        },
    }


def entry(index: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A model's part of the index; that of a model without versions where there is none yet."""
    known: dict[str, Any] | None = index["models"].get(folder.name)
    return known or {"aliases": {}, "heads": {}, "last": 0, "history": _history(folder), "versions": {}}


def add(
    index: Mapping[str, Any], folder: Path, known: Mapping[str, Any], version: Version, events: Sequence[Event]
) -> dict[str, Any]:
    """The index after one more version: what ``build`` would give, without reading every folder again.

    Args:
        index: the index before.
        folder: the model's folder.
        known: the model's part of ``index``.
        version: what was published.
        events: the events that came with it.
    """
    saved, *moved = events
    name = version.path.name
    aliases = known["aliases"] | {event.alias: name for event in moved}
    heads = known["heads"] | {event.alias: event.id for event in moved}
    changed = {
        "aliases": dict(sorted(aliases.items())),
        "heads": dict(sorted(heads.items())),
        "last": names.folder_number(name),
        "history": _history(folder),
        "versions": known["versions"] | {name: summarise(version.path, saved.id)},
    }
    return {**index, "models": dict(sorted({**index["models"], folder.name: changed}.items()))}


def summarise(folder: Path, event: str | None) -> dict[str, Any]:
    """One version's line of the index, read from its folder; see ``summary``."""
    digest, name = None, checkpoint.SUMS
    try:
        digest, name = _digest(folder), checkpoint.LINEAGE
        return summary(event, digest, checkpoint.read_lineage(folder))
    except FormatError as error:
        return summary(event, digest, f"{name}: {error.message}")


def summary(event: str | None, digest: str | None, lineage: Lineage | str) -> dict[str, Any]:
    """One version's line of the index: enough for ``list``, references and numbers without opening the folder.

    Args:
        event: the id of its first saved event.
        digest: the digest of its SHA256SUMS.
        lineage: its record, or why it cannot be read.
    """
    known = {"event": event, "digest": digest}
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
        "metrics": {name: metric.value for name, metric in lineage.metrics.items()},
        "splits": {name: metric.split for name, metric in lineage.metrics.items() if metric.split},
        "config": dict(list(flatten(lineage.config.values or {}))[:_VALUES]),
    }


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The plain leaves of a nested mapping by dotted key; lists and long strings are left out."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        elif not isinstance(value, list) and not (isinstance(value, str) and len(value) > _WIDE):
            yield f"{prefix}{key}", value


def _digest(folder: Path) -> str:
    import hashlib

    return f"sha256:{hashlib.sha256(disk.read_regular(folder / checkpoint.SUMS)).hexdigest()}"


def _history(folder: Path) -> dict[str, Any]:
    try:
        events = sorted(name for name in os.listdir(folder / registry.HISTORY) if not name.startswith("."))
    except OSError:
        events = []
    return {"events": len(events), "newest": events[-1] if events else None}


def load(root: Path) -> dict[str, Any]:
    """The registry's index: as on disk where it is current, else made anew in memory; nothing is written.

    Current means that it knows the version folders and events that are there.

    Raises:
        CkptkitError: ``root`` cannot be listed.
    """
    try:
        stored = documents.load_json(disk.read_regular(root / registry.INDEX))
    except FormatError:
        return build(root)
    return stored if _is_current(root, stored) else build(root)


def _is_current(root: Path, stored: Any) -> bool:  # noqa: ANN401 - whatever JSON the file held
    try:
        if stored["schema"] != SCHEMA or set(stored["models"]) != {
            name for name in os.listdir(root) if not name.startswith(".") and registry.is_model(root / name)
        }:
            return False
        return all(
            _is_whole(part)
            and part["history"] == _history(root / name)
            and set(part["versions"]) == {item for item in os.listdir(root / name) if names.folder_number(item)}
            for name, part in stored["models"].items()
        )
    except (OSError, KeyError, TypeError, AttributeError):
        return False


def _is_whole(part: Mapping[str, Any]) -> bool:
    """Whether a model's part has the shape that ``describe`` gives it: people and merges edit files."""
    return (
        isinstance(part["last"], int)
        and all(isinstance(word, str) for key in ("aliases", "heads") for word in part[key].values())
        and all(
            isinstance(summary["event"], str | None)
            and (
                isinstance(summary["unreadable"], str) and isinstance(summary["digest"], str | None)
                if "unreadable" in summary
                else isinstance(summary["digest"], str)
                and all(isinstance(summary[key], dict) for key in ("tags", "metrics", "splits", "config"))
            )
            for summary in part["versions"].values()
        )
    )


def dump(index: Mapping[str, Any]) -> bytes:
    """The bytes of index.json: valid JSON with a line for each version."""
    lines = ["{", f'"schema": {_line(index["schema"])},', '"models": {']
    for position, (name, model) in enumerate(index["models"].items()):
        lines.append(f"{_line(name)}: {{")
        lines += [f"{_line(key)}: {_line(value)}," for key, value in model.items() if key != "versions"]
        lines.append('"versions": {')
        rows = [f"{_line(version)}: {_line(summary)}" for version, summary in model["versions"].items()]
        lines += [f"{row}," for row in rows[:-1]] + rows[-1:]
        lines.append("}}" if position == len(index["models"]) - 1 else "}},")
    return "\n".join([*lines, "}", "}", ""]).encode()


def _line(value: object) -> str:
    return documents.dump_line(value).decode()


def write(root: Path, index: Mapping[str, Any]) -> None:
    """Put index.json and README.md in place, each by one rename; unchanged ones are left untouched.

    A README.md that ckptkit did not write stays: the root may be somebody's project.

    Raises:
        OSError: the disk is full or refuses.
    """
    disk.replace(root / registry.INDEX, dump(index))
    if is_own_readme(root / registry.README):
        disk.replace(root / registry.README, readme(index).encode("utf-8", "backslashreplace"))


def is_own_readme(path: Path) -> bool:
    """Whether the README.md of a root is ckptkit's to write: not there, or begun as ckptkit begins it."""
    if not os.path.lexists(path):
        return True
    try:
        return disk.read_regular(path).startswith(_HEADING.encode())
    except FormatError:
        return False


_NEWEST = 3
_HEADING = "# Registered models\n\nWritten by ckptkit"


def readme(index: Mapping[str, Any]) -> str:
    """The registry for people: for each model the versions with an alias and the newest ones."""
    lines = [f"{_HEADING} from the folders beside it; `ckptkit index` writes it again.", ""]
    for name, model in index["models"].items():
        versions = model["versions"]
        shown = {*model["aliases"].values(), *list(versions)[-_NEWEST:]} & set(versions)
        lines += [f"## {name}", "", f"{len(versions)} version{'s' * (len(versions) != 1)}.", ""]
        if shown:
            lines += ["| version | aliases | created | metrics | message |", "| --- | --- | --- | --- | --- |"]
            lines += [_row(name, version, model) for version in reversed(list(versions)) if version in shown]
            lines.append("")
    return "\n".join(lines)


def _row(name: str, version: str, model: Mapping[str, Any]) -> str:
    summary = model["versions"][version]
    aliases = " ".join(f"@{alias}" for alias, target in model["aliases"].items() if target == version)
    metrics = ", ".join(f"{key} {shown(value)}" for key, value in summary.get("metrics", {}).items())
    cells = (
        f"[{version}]({name}/{version}/README.md)",
        aliases,
        summary.get("created", "")[:10],
        metrics,
        summary.get("message") or "",
    )
    return f"| {' | '.join(_cell(text) for text in cells)} |"


def shown(value: Any) -> str:  # noqa: ANN401 - a metric's value
    """A metric's value in at most four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cell(text: str) -> str:
    inert = text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")
    return "".join(letter if letter.isprintable() else " " for letter in inert)
