"""The verb ``eval``: what was measured of a version after it was saved, and the data, code and compute of that."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ckptkit import change, checkpoint, disk, hashing, index, publication, references, registry, roots
from ckptkit.capture import config, observation
from ckptkit.capture import metrics as results
from ckptkit.capture.intake import Guard, Request
from ckptkit.capture.moment import moment
from ckptkit.data import datasets
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.model_card import evaluations
from ckptkit.record import ANOTHER_PROCESS, Code, Dataset, Event, Metric, Package
from ckptkit.registry import Version

_PACKAGES = 80
"""Most distributions that an event lists."""

_OMITTED = 20
"""Most files beyond the commit that an event lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """The version that was measured, the event that says so, and what could not be done after it was written."""

    version: Version
    event: Event
    warnings: tuple[str, ...]


def evaluate(
    ref: str,
    *,
    metrics: Mapping[str, Any],
    metrics_file: Path | None = None,
    data: Mapping[str, str | os.PathLike[str]] | None = None,
    at: str | None = None,
    reason: str | None = None,
    root: str | os.PathLike[str] | None = None,
    progress: hashing.Progress | None = None,
) -> Evaluated:
    """Add to the history of a version what was measured now. Nothing that the version sealed is touched.

    The data is hashed, and code and compute are looked at, before others have to wait.

    Args:
        ref: a reference of one version.
        metrics: results by name, as ``save`` takes them.
        metrics_file: a YAML or JSON file of further ones; those in ``metrics`` override.
        data: what was measured on, paths or URLs by name.
        at: the reference is read as of this time.
        reason: why, for the history.
        root: the registry root; see ``roots.default_root``.
        progress: called with the number of bytes hashed since the last call.

    Raises:
        CkptkitError: there is no metric, something given is not usable, or the disk refuses; nothing was changed.
        NotFoundError: the reference names nothing.
    """
    home, cwd = roots.default_root(root, Path.cwd()), Path.cwd()
    given = _metrics(metrics, metrics_file)
    known = index.load(home)
    then = known if at is None else index.load(home, roots.moment(at))
    version = references.resolve(home, then, ref, cwd=cwd, exact=True)
    model, name = version.path.parent.name, version.path.name
    facts = _observe(version.path, data or {}, home, cwd, progress)
    with change.begin(home, known) as now:
        row = index.entry(now.index, model)["versions"].get(name)
        if row is None or row["digest"] != version.digest:
            raise CkptkitError(f"{version.ref} is another one by now, or gone", "see `ckptkit list`, then say it again")
        event = now.event("evaluated", model, name, metrics=given, reason=reason, **facts)
        now.record(event)
        now.reread(model)
        told = now.index["models"][model]["versions"][name].get("evaluations", [event.id])
        history = version.path.parent / registry.HISTORY
        events = [registry.read_event(history / f"{each}.json") for each in told]
        place = publication.private(home, version.path.parent)
        now.warnings += _write_card(version, [each for each in events if isinstance(each, Event)], place)
    return Evaluated(version=version, event=event, warnings=tuple(now.warnings))


def _metrics(given: Mapping[str, Any], file: Path | None) -> dict[str, Metric]:
    found = results.read(config.load(file, "metrics")[0]) if file else {}
    found |= results.read(given)
    if not found:
        raise CkptkitError("there is no metric to add", "write --metric accuracy=0.98, or name a file with --metrics")
    return found


def _observe(
    folder: Path, data: Mapping[str, Any], home: Path, cwd: Path, progress: hashing.Progress | None
) -> dict[str, Any]:
    """Data, code, compute and what is not known of them, as fields of an event."""
    guard = Guard(strict=True)
    now = moment(from_training=False, modified=None, cwd=cwd)
    request = Request(weights=(), model=folder.parent.name, from_training=False, data=data)
    declared = datasets.observe(request, guard, now=now, root=home, progress=progress)
    seen = observation.observe(now, exclude=[home, *request.data_paths], python=None, unknown=guard.unknown)
    unknown = {
        fact: "measured by another process" if why == ANOTHER_PROCESS else why
        for fact, why in guard.unknown.items()
        if not fact.startswith("run.")
    }
    return {
        "data": tuple(_without_manifest(each.dataset, unknown) for each in declared),
        "code": _concise(seen.code, folder, unknown),
        "compute": seen.compute,
        "unknown": unknown,
    }


def _without_manifest(dataset: Dataset, unknown: dict[str, str]) -> Dataset:
    if dataset.manifest:
        unknown[f"data.{dataset.name}.manifest"] = "an event keeps none"
    return replace(dataset, manifest=None)


def _concise(code: Code, folder: Path, unknown: dict[str, str]) -> Code:
    """The code without what makes an event large; what is left out is said in ``unknown``."""
    environment, tree = code.environment, code.repository
    packages = _packages(environment.packages, folder)
    if left := len(environment.packages) - len(packages):
        why = f"{left} are left out that the version pins alike and the training is not known to have imported"
        why += f", or that come after the first {_PACKAGES}" if len(packages) == _PACKAGES else ""
        _add(unknown, "code.environment.packages", why)
    if environment.requirements_vcs:
        unknown["code.environment.requirements_vcs"] = "an event keeps none"
    if environment.conda:
        unknown["code.environment.conda"] = "an event keeps none"
    if environment.requirements:
        unknown["code.environment.requirements"] = "an event keeps none"
    if tree and tree.patch:
        unknown["code.repository.patch"] = "an event keeps none: uncommitted changes are known by the tree's id alone"
    if tree and len(tree.omitted) > _OMITTED:
        _add(unknown, "code.repository.omitted", f"{len(tree.omitted) - _OMITTED} more are left out")
    return replace(
        code,
        repository=replace(tree, patch=None, omitted=tree.omitted[:_OMITTED]) if tree else None,
        environment=replace(environment, requirements=None, requirements_vcs=None, packages=packages, conda=()),
    )


def _add(unknown: dict[str, str], fact: str, why: str) -> None:
    unknown[fact] = f"{unknown[fact]}; {why}" if fact in unknown else why


def _packages(installed: Sequence[Package], folder: Path) -> tuple[Package, ...]:
    """What the version's training had imported, as it is installed now, and then what was not installed so then."""
    try:
        before = checkpoint.read_lineage(folder).code.environment.packages
    except FormatError:
        before = ()
    imported = {each.name for each in before if each.imported}
    same = {(each.name, each.version) for each in before}
    first = [each for each in installed if each.name in imported]
    other = [each for each in installed if each.name not in imported and (each.name, each.version) not in same]
    return tuple(replace(each, record=None) for each in [*first, *other][:_PACKAGES])


def _write_card(version: Version, events: Sequence[Event], place: Path) -> list[str]:
    """Bring the table in the card up to date, drafted in ``place``; why it was not, as a warning."""
    path = version.path / checkpoint.CARD
    try:
        if not path.is_symlink():
            place.mkdir(exist_ok=True)
            text = disk.read_regular(path, disk.CONFIG_LIMIT).decode()
            disk.replace(path, evaluations.put(text, events).encode(), by=place)
            return []
        why = "is a link"
    except (FormatError, OSError) as error:
        why = disk.reason(error)
    except UnicodeError:
        why = "is not UTF-8 text"
    return [f"the card {path} {why}: the evaluation stands in the history alone"]
