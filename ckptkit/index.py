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
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ckptkit import disk, history, index_file, names, overview, registry, summary
from ckptkit.errors import FormatError
from ckptkit.index_file import SCHEMA, Rows
from ckptkit.record import Event
from ckptkit.registry import Model, Version

EMPTY: Mapping[str, Any] = {"schema": SCHEMA, "models": {}}
"""The index of a registry without a model."""


def build(root: Path, known: Mapping[str, Any] = EMPTY, at: str | None = None) -> dict[str, Any]:
    """The index of a registry, from its folders and events.

    Args:
        root: the registry root.
        known: an earlier index, whose lines are taken for versions that are still the ones that were saved.
        at: as of this time, in the form in which events bear it.

    Raises:
        CkptkitError: ``root`` cannot be listed.
    """
    parts = {}
    for name in registry.model_names(root):
        part = entry(known, name)
        if at is not None:
            part = describe(_earlier(registry.read_model(root / name), at), part["versions"])
        elif not _is_current(root, name, part):
            model, last = registry.read_model(root / name), part["last"]
            part = describe(model, part["versions"])
            if model.broken:  # what cannot be read may have borne numbers that an earlier index knew
                part["last"] = max(part["last"], last)
        parts[name] = part
    return {"schema": SCHEMA, "models": parts}


def _earlier(model: Model, at: str) -> Model:
    """A model as it was at a time, in today's numbers."""
    then = history.state(model.events, at)
    return replace(model, state=then, versions=tuple(name for name in model.versions if name in then.saved))


def describe(model: Model, known: Mapping[str, Mapping[str, Any]], *, trusted: bool = False) -> dict[str, Any]:
    """A model's part of the index.

    Args:
        model: the model as read.
        known: lines of its versions, taken for those that are still the ones that were saved.
        trusted: the lines were read from the folders just now.
    """
    state = model.state
    rows = {}
    for version in model.versions:
        row = known.get(version)
        told = [event.id for event in state.evaluations.get(version, ())]
        if row is None or not (trusted or _is_reusable(row, state.digests.get(version, ()), told)):
            row = summary.read(model.path / version)
        rows[version] = _said(row, version, state)
    gone = {
        version: {
            "event": event.id,
            "digest": event.digest,
            "deleted": event.time if version in state.deleted else None,
            "files": {file.path: file.sha256 for file in event.files},
        }
        for version, event in {**state.saved, **state.deleted}.items()
        if version not in rows
    }
    return {
        "aliases": dict(state.aliases),
        "stages": {version: stage for version, stage in state.stages.items() if version in rows},
        "texts": {version: text for version, text in state.texts.items() if version in rows or not version},
        "heads": {chain: [event.id for event in events] for chain, events in state.heads.items()},
        "last": model.last,
        "became": state.became,
        "unrecorded": list(model.unrecorded),
        "history": _history(f"{event.id}.json" for event in model.events),
        "gone": Rows(dict(sorted(gone.items(), key=lambda item: names.folder_number(item[0]) or 0))),
        "versions": Rows(rows),
    }


def _is_reusable(row: Mapping[str, Any], digests: Sequence[str], evaluations: Sequence[str]) -> bool:
    """Whether a line is certain to be what the folder would give again, and to bear just these evaluations."""
    return digests == (row["digest"],) and "unreadable" not in row and row.get("evaluations", []) == evaluations


def _said(row: Mapping[str, Any], version: str, state: history.State) -> dict[str, Any]:
    """A version's line with what events say of it."""
    out = {key: value for key, value in row.items() if key not in {"pruned", "digested"}}
    out["event"] = state.saved[version].id if version in state.saved else None
    if version in state.pruned:
        out["pruned"] = sorted(state.pruned[version])
    if version in state.digested:
        out["digested"] = {name: event.id for name, event in sorted(state.digested[version].items())}
    later = {name: metric for event in state.evaluations.get(version, ()) for name, metric in event.metrics.items()}
    if later and "metrics" in out:
        out["metrics"] = out["metrics"] | {name: metric.value for name, metric in later.items()}
        out["splits"] = out["splits"] | {name: metric.split for name, metric in later.items() if metric.split}
        out["evaluated"] = sorted(later)
        out["evaluations"] = [event.id for event in state.evaluations[version]]
    return out


def entry(index: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A model's part of the index; that of a model without versions where there is none yet."""
    known: dict[str, Any] | None = index["models"].get(name)
    return known or {
        "aliases": {},
        "stages": {},
        "texts": {},
        "heads": {},
        "last": 0,
        "became": None,
        "unrecorded": [],
        "history": _history(()),
        "gone": Rows({}),
        "versions": Rows({}),
    }


def after(
    index: Mapping[str, Any], root: Path, name: str, events: Sequence[Event], version: Version | None = None
) -> dict[str, Any]:
    """The index after some events: what ``build`` would give, without reading folders and events again.

    Args:
        index: the index before.
        root: the registry root.
        name: the model.
        events: ``saved``, ``alias``, ``stage`` and ``described`` events that were written, each of which followed
            all heads of its chain.
        version: what was published, if anything was.

    Raises:
        FormatError: the version cannot be read back at this moment.
    """
    part = dict(entry(index, name))
    if version is not None:
        row = {**summary.read(version.path), "event": next((each.id for each in events if each.kind == "saved"), None)}
        if "unreadable" in row:
            raise FormatError(row["unreadable"])
        part["versions"] = part["versions"].plus(version.path.name, row)
        part["last"] = max(part["last"], names.folder_number(version.path.name) or 0)
        part["unrecorded"] = [*part["unrecorded"], *([] if row["event"] else [version.path.name])]
    for event in events:
        _follow(part, event)
        part["last"] = max(part["last"], names.folder_number(event.version or "") or 0)
    try:
        listed = _events(root / name)
    except OSError:
        listed = set()
    # Where others wrote as well, which a disk without locks allows, the part stays one that counts as out of date.
    if len(listed) == part["history"]["events"] + len(events):
        part["history"] = _history(listed)
    return {**index, "models": dict(sorted({**index["models"], name: part}.items()))}


def _follow(part: dict[str, Any], event: Event) -> None:
    """Take an event that followed all heads of its chain into a model's part."""
    chain = history.chain(event)
    if chain is None:
        return
    facts = {
        "alias": ("aliases", event.alias or "", event.version),
        "stage": ("stages", event.version or "", None if event.stage == "none" else event.stage),
        "described": ("texts", event.version or "", event.text),
    }
    table, key, value = facts[event.kind]
    kept = {name: known for name, known in part[table].items() if name != key}
    part[table] = dict(sorted((kept | {key: value}).items())) if value else kept
    part["heads"] = dict(sorted((part["heads"] | {chain: [event.id]}).items()))


def find_file(index: Mapping[str, Any], sha256: str) -> list[tuple[str, str, str]]:
    """Where a saved file of a digest is, or was: model, version and path in it.

    Args:
        index: as ``load`` gives it.
        sha256: the digest in hex, or its first digits.
    """
    sought, found = f'": "{sha256}'.encode(), []
    for name, part in index["models"].items():
        for key in index_file.ROWS:
            for version in part[key].holding(sought):
                files = part[key][version].get("files", {})
                found += [(name, version, path) for path, known in files.items() if known.startswith(sha256)]
    return found


def _events(folder: Path) -> set[str]:
    try:
        return {name for name in os.listdir(folder / registry.HISTORY) if not name.startswith(".")}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def _history(files: Iterable[str]) -> dict[str, Any]:
    """Which events something was derived from."""
    found = sorted(map(os.fsencode, files))
    return {"events": len(found), "sha256": hashlib.sha256(b"\n".join(found)).hexdigest()}


def load(root: Path, at: str | None = None) -> dict[str, Any]:
    """The registry's index: as on disk where it is current, else made anew in memory; nothing is written.

    Current means that it is whole and derived from the version folders and events that are there.

    Args:
        root: the registry root.
        at: as of this time, in the form in which events bear it; see ``build``.

    Raises:
        CkptkitError: ``root`` cannot be listed.
    """
    return build(root, stored(root), at)


def stored(root: Path) -> dict[str, Any]:
    """The registry's index as on disk, whether it is current or not; an empty one where there is none that is whole."""
    try:
        return index_file.parse(disk.read_regular(root / registry.INDEX))
    except FormatError:
        return dict(EMPTY)


def _is_current(root: Path, name: str, part: Mapping[str, Any]) -> bool:
    try:
        listed = set(os.listdir(root / name))
    except OSError:
        return False
    there = part["versions"].keys()
    others = listed - there
    return (
        len(others) + len(there) == len(listed)
        and not any(names.folder_number(item) for item in others)
        and part["history"] == _history(_events(root / name))
    )


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
    parts = {model.name: describe(model, summaries[model.name], trusted=True) for model in models}
    try:
        stored = index_file.parse(disk.read_regular(path))
        without = {model.name: _excused(model, excused[model.name]) for model in models}
        built = {"schema": SCHEMA, "models": parts}
        if _comparable(stored, without) != _comparable(built, without):
            return {registry.INDEX: "is not what folders and events say"}
        path = root / registry.README
        if any(without.values()) or not overview.is_own(path) or disk.read_regular(path) == _readme(built):
            return {}
    except FormatError as error:
        return {path.name: error.message if os.path.lexists(path) else "is missing"}
    return {registry.README: "is not what folders and events say"}


def _excused(model: Model, damaged: Collection[str]) -> set[str]:
    """The versions that another finding speaks of; "" is all of them."""
    return (
        {*damaged}
        | ((set(model.state.saved) - set(model.state.deleted)) ^ set(model.versions))
        | ({""} if model.broken else set())
    )


def _comparable(index: Mapping[str, Any], without: Mapping[str, Collection[str]]) -> dict[str, Any]:
    out = {}
    for name, part in index["models"].items():
        gone = without.get(name, ())
        if "" in gone:
            continue
        kept = {version: line for version, line in part["versions"].items() if version not in gone}
        out[name] = part | {"versions": kept} | (dict.fromkeys(("last", "gone", "unrecorded")) if gone else {})
    return out


def write(root: Path, index: Mapping[str, Any]) -> None:
    """Put index.json and README.md in place, each by one rename; unchanged ones are left untouched.

    A README.md that ckptkit did not write stays: the root may be somebody's project.

    Raises:
        OSError: the disk is full or refuses.
    """
    disk.replace(root / registry.INDEX, index_file.dump(index))
    if overview.is_own(root / registry.README):
        disk.replace(root / registry.README, _readme(index))


def _readme(index: Mapping[str, Any]) -> bytes:
    return overview.text(index).encode()
