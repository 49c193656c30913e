"""What is derived from folders and events: index.json and the registry's README. Delete them and they come again.

The index holds a line for each version, so that git shows it line by line, and nothing but facts that the folders and
events state: no ages, no verdicts, no times of files.

It decides nothing by itself, and least of all the next number. What it says is used only where it is known to be what
``build`` once derived from the very folders and events that are there. It is sealed with its own digest, so an edit or
a merge is noticed; and it keeps a digest over the names of the events that were read. Events never change under their
names, so what follows from them cannot have changed either. To know this costs a listing of each history.
"""

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ckptkit import checkpoint, disk, documents, names, registry
from ckptkit.errors import FormatError
from ckptkit.record import Event, Lineage
from ckptkit.registry import Model, Version

SCHEMA = "ckptkit/index/1"
"""The form of the index, down to each version's line: what bears it needs no further look."""

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


def describe(model: Model, summaries: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """A model's part of the index.

    Args:
        model: the model as read.
        summaries: each version's line, where these were read already.
    """
    saved = model.saved
    if summaries is None:
        summaries = {
            version: summarise(model.path / version, saved[version].id if version in saved else None)
            for version in model.versions
        }
    return {
        "aliases": dict(model.aliases),
        "heads": {alias: model.alias_heads(alias)[-1].id for alias in model.moved_aliases},
        "last": model.last,
        "history": _history(f"{event.id}.json" for event in model.events),
        "versions": {version: summaries[version] for version in model.versions},
    }


def entry(index: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A model's part of the index; that of a model without versions where there is none yet."""
    known: dict[str, Any] | None = index["models"].get(folder.name)
    return known or {"aliases": {}, "heads": {}, "last": 0, "history": _history(()), "versions": {}}


def unrecorded(index: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    """The versions of a model that have no ``saved`` event."""
    return tuple(version for version, summary in entry(index, folder)["versions"].items() if summary["event"] is None)


def add(
    index: Mapping[str, Any], folder: Path, known: Mapping[str, Any], version: Version, events: Sequence[Event]
) -> dict[str, Any]:
    """The index after one more version: what ``build`` would give, without reading every folder again.

    Args:
        index: the index before.
        folder: the model's folder.
        known: the model's part of ``index``.
        version: what was published.
        events: the events that were written with it.

    Raises:
        FormatError: the version cannot be read back at this moment.
    """
    name = version.path.name
    saved = next((event.id for event in events if event.kind == "saved"), None)
    moved = [event for event in events if event.kind == "alias"]
    aliases = known["aliases"] | {event.alias: name for event in moved}
    heads = known["heads"] | {event.alias: event.id for event in moved}
    listed = _events(folder)
    # Where others wrote as well, which a disk without locks allows, the part stays one that counts as out of date.
    alone = _history(listed - {f"{event.id}.json" for event in events}) == known["history"]
    row = summarise(version.path, saved)
    if "unreadable" in row:
        raise FormatError(row["unreadable"])
    changed = {
        "aliases": dict(sorted(aliases.items())),
        "heads": dict(sorted(heads.items())),
        "last": names.folder_number(name),
        "history": _history(listed) if alone else known["history"],
        "versions": known["versions"] | {name: row},
    }
    return {**index, "models": dict(sorted({**index["models"], folder.name: changed}.items()))}


def summarise(folder: Path, event: str | None) -> dict[str, Any]:
    """One version's line of the index, read from its folder; see ``summary``."""
    digest, name = None, checkpoint.SUMS
    try:
        digest, name = registry.digest_of(folder), checkpoint.LINEAGE
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


def _events(folder: Path) -> set[str]:
    try:
        return {name for name in os.listdir(folder / registry.HISTORY) if not name.startswith(".")}
    except OSError:
        return set()


def _history(files: Iterable[str]) -> dict[str, Any]:
    """Which events something was derived from."""
    found = sorted(map(os.fsencode, files))
    return {"events": len(found), "sha256": hashlib.sha256(b"\n".join(found)).hexdigest()}


def load(root: Path) -> dict[str, Any]:
    """The registry's index: as on disk where it is current, else made anew in memory; nothing is written.

    Current means that it is whole and derived from the version folders and events that are there.

    Raises:
        CkptkitError: ``root`` cannot be listed.
    """
    try:
        stored = parse(disk.read_regular(root / registry.INDEX))
    except FormatError:
        return build(root)
    return stored if _is_current(root, stored) else build(root)


def parse(data: bytes) -> dict[str, Any]:
    """The index from the bytes of index.json.

    Raises:
        FormatError: it is not as ``dump`` wrote it.
    """
    body, _, _ = data.rpartition(_SEAL)
    if data != _sealed(body):
        raise FormatError("is not as ckptkit wrote it")
    stored = documents.load_json(data)
    if stored.get("schema") != SCHEMA:
        raise FormatError(f"is not of the format {SCHEMA}")
    return {"schema": SCHEMA, "models": stored["models"]}


def _is_current(root: Path, stored: Mapping[str, Any]) -> bool:
    try:
        if set(stored["models"]) != {
            name for name in os.listdir(root) if not name.startswith(".") and registry.is_model(root / name)
        }:
            return False
        return all(
            part["history"] == _history(_events(root / name))
            and set(part["versions"]) == {item for item in os.listdir(root / name) if names.folder_number(item)}
            for name, part in stored["models"].items()
        )
    except OSError:
        return False


def stale(
    root: Path,
    models: Sequence[Model],
    summaries: Mapping[str, Mapping[str, Mapping[str, Any]]],
    excused: Mapping[str, Collection[str]],
) -> dict[str, str]:
    """Why a derived file is not what folders and events give, by its name; nothing is read but these files.

    Args:
        root: the registry root.
        models: all its models, as read.
        summaries: each version's line, by model and version.
        excused: versions by model of which the index may say anything, as it is told already what is wrong with them.
    """
    path = root / registry.INDEX
    if not models and not os.path.lexists(path):
        return {}
    built = {"schema": SCHEMA, "models": {model.name: describe(model, summaries[model.name]) for model in models}}
    try:
        stored = parse(disk.read_regular(path))
        without = {model.name: _excused(model, excused[model.name]) for model in models}
        if _comparable(stored, without) != _comparable(built, without):
            return {registry.INDEX: "is not what folders and events say"}
        path = root / registry.README
        if any(without.values()) or not is_own_readme(path) or disk.read_regular(path) == readme(built).encode():
            return {}
    except FormatError as error:
        return {path.name: error.message if os.path.lexists(path) else "is missing"}
    return {registry.README: "is not what folders and events say"}


def _excused(model: Model, damaged: Collection[str]) -> set[str]:
    """The versions that another finding speaks of; "" is all of them."""
    return {*damaged} | (set(model.saved) ^ set(model.versions)) | ({""} if model.broken else set())


def _comparable(index: Mapping[str, Any], without: Mapping[str, Collection[str]]) -> dict[str, Any]:
    out = {}
    for name, part in index["models"].items():
        gone = without.get(name, ())
        if "" in gone:
            continue
        kept = {version: line for version, line in part["versions"].items() if version not in gone}
        out[name] = part | {"versions": kept} | ({"last": None} if gone else {})
    return out


_SEAL = b'"sha256": "'


def dump(index: Mapping[str, Any]) -> bytes:
    """The bytes of index.json: valid JSON with a line for each version, and the SHA-256 of all that precedes it."""
    lines = ["{", f'"schema": {_line(index["schema"])},', '"models": {']
    for position, (name, model) in enumerate(index["models"].items()):
        lines.append(f"{_line(name)}: {{")
        lines += [f"{_line(key)}: {_line(value)}," for key, value in model.items() if key != "versions"]
        lines.append('"versions": {')
        rows = [f"{_line(version)}: {_line(summary)}" for version, summary in model["versions"].items()]
        lines += [f"{row}," for row in rows[:-1]] + rows[-1:]
        lines.append("}}" if position == len(index["models"]) - 1 else "}},")
    return _sealed("\n".join([*lines, "},", ""]).encode())


def _sealed(body: bytes) -> bytes:
    return b'%b%b%b"\n}\n' % (body, _SEAL, hashlib.sha256(body).hexdigest().encode())


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
        disk.replace(root / registry.README, readme(index).encode())


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
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode()  # names need not be UTF-8


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
