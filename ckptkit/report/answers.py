"""The answers that ``show`` gives: a version's data, code, hyperparameters, compute, results and run, in words."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ckptkit import inventory, summary
from ckptkit.record import AT_SAVE, Code, Compute, Config, Dataset, Event, Gpu, Lineage, Repository
from ckptkit.report import results
from ckptkit.report.results import MOST, capped
from ckptkit.verbs.show import Shown
from ckptkit.words import count, cut, figure, moment, short, size, span, world

_TORCH_S_OWN = 67280421310721  # default_rng_seed_val of c10/core/GeneratorImpl.h: nobody seeded it

LONG = 400
"""Cells of a text that is itself shown, not only what it says."""


def answers(shown: Shown, lineage: Lineage) -> Iterator[tuple[str, Iterable[str]]]:
    """What is known of a version: a label and its parts, in reading order."""
    if shown.text:
        yield "about", [cut(shown.text, LONG)]
    if lineage.message:
        yield "message", [cut(lineage.message, LONG)]
    for dataset in lineage.data[:MOST]:
        yield "data", _data(dataset, shown.digested.get(dataset.name))
    if len(lineage.data) > MOST or not lineage.data:
        yield "data", [f"{len(lineage.data) - MOST} more in lineage.json" if lineage.data else "none declared"]
    yield "code", _code(lineage)
    yield "config", _config(lineage.config)
    yield "compute", _compute(lineage)
    yield (
        "metrics",
        capped([results.metric(*each) for each in lineage.metrics.items()], "lineage.json") or ["none recorded"],
    )
    yield from (("later", parts) for parts in results.later(shown.evaluations))
    if shown.pruned:
        yield "pruned", [*capped(shown.pruned, "the history"), "removed on purpose, the record stays"]
    run = list(_run(lineage))
    if run:
        yield "run", run
    for parent in lineage.parents[:MOST]:
        yield "parent", [f"{parent.ref}  {short(parent.digest or 'no digest')}", parent.relation or "relation not said"]
    for base in lineage.base_models[:MOST]:
        yield "base", [f"{base.id}@{base.revision}" if base.revision else f"{base.id}, revision not known"]
    if lineage.tags:
        yield "tags", capped([f"{key}={value}" for key, value in lineage.tags.items()], "lineage.json")


def _data(dataset: Dataset, later: Event | None) -> Iterator[str]:
    place = dataset.path or {"memory": "in memory", "remote": "remote"}.get(dataset.kind, "path unknown")
    outside = " (outside the project)" if dataset.outside else ""
    digest = inventory.known(dataset, later).digest
    amount = [count(dataset.files, "file")] if dataset.files is not None else []
    amount += [size(dataset.bytes)] if dataset.bytes is not None else []
    yield f"{dataset.name}  {place}{outside}  {short(digest) if digest else 'no digest'}  {', '.join(amount)}".rstrip()
    yield from _changes(dataset.changed_during_run, "unchanged while it ran")
    if dataset.changed_during_run and dataset.digest:
        yield "the digest is of what was there at the end"
    if later is not None and not dataset.digest:
        yield f"hashed later, on {later.time[:10]}"
    if dataset.observed == AT_SAVE:
        yield "as found at save"
    elif dataset.observed == "declared":
        yield "its bytes were not read" if dataset.digest else "declared, not looked at"
    for system, said in (dataset.source or {}).items():
        if isinstance(said, Mapping) and said.get("agrees") is not None:
            yield f"{'as' if said['agrees'] else 'NOT what'} {system.replace('_', ' ')} says"
    if dataset.steps:
        named = (f"{step.name} BROKEN" if step.link == "broken" else step.name for step in dataset.steps)
        yield f"steps: {' → '.join(named)}"


def _changes(changed: Sequence[str] | None, otherwise: str) -> Iterator[str]:
    if changed:
        yield f"CHANGED while it ran: {', '.join(capped(changed, 'lineage.json'))}"
    elif changed is not None and otherwise:
        yield otherwise


def _code(lineage: Lineage) -> Iterator[str]:
    code = lineage.code
    yield ", ".join(_worktree(code.repository, lineage)) if code.repository else "no commit known"
    yield _command(code) if code.entry_point else "entry point unknown"
    yield from _changes([_changed(code, path) for path in code.changed_during_run or ()], "")
    if code.at_start and code.at_save and code.at_start.commit != code.at_save.commit:
        yield f"HEAD MOVED to {short(code.at_save.commit or 'no commit')} while it ran"
    packages = code.environment.packages
    imported = [package.imported for package in packages if package.imported is not None]
    yield count(len(packages), "pin") + (f", {sum(imported)} imported" if imported else "")
    if code.foreign:
        names = capped([each.name for each in code.foreign], "lineage.json")
        yield f"{count(len(code.foreign), 'module')} from elsewhere: {', '.join(names)}"
    if code.observed == AT_SAVE:
        yield f"as found at save{_late(lineage)}"


def _changed(code: Code, path: str) -> str:
    functions = code.changed_functions.get(path)
    return f"{path} ({', '.join(functions)})" if functions else path


def _worktree(repository: Repository, lineage: Lineage) -> Iterator[str]:
    if repository.commit:
        yield f"{short(repository.commit)} {repository.branch or '(no branch)'}"
    else:
        why = lineage.unknown.get("code.repository.commit", "")
        yield why if why.startswith("no commit") else "commit unknown"
        yield f"branch {repository.branch}" if repository.branch else "no branch"
    state = {True: "with changes", False: "clean", None: "clean or not is unknown"}[repository.dirty]
    yield f"{state} ({repository.patch})" if repository.patch else state
    if repository.omitted:
        yield f"{count(len(repository.omitted), 'file')} not in the patch as it was"
    if repository.unpushed is not None:
        yield f"{count(repository.unpushed, 'commit')} on no remote" if repository.unpushed else "pushed"


def _late(lineage: Lineage) -> str:
    """Where another process saved, ``run.finished`` is when the newest of the weights was written."""
    written, saved = moment(lineage.run.finished), moment(lineage.created)
    seconds = (saved - written).total_seconds() if written and saved else 0
    return f", {span(seconds)} after the weights were written" if seconds >= 1 else ""


def _command(code: Code) -> str:
    """The entry point, and what followed it on the command line."""
    entry, words = code.entry_point or "", list(code.orig_argv or ())
    module = entry.removeprefix("-m ") if entry.startswith("-m ") else None
    for at, word in enumerate(words[1:], 1):
        if word == module or (module is None and word.rpartition("/")[2] == entry.rpartition("/")[2]):
            return cut(" ".join([entry, *map(shlex.quote, words[at + 1 :])]), LONG // 2)
    return entry


def _config(config: Config) -> Iterator[str]:
    if config.seed is not None:
        yield f"seed {_value(config.seed)}"
    else:
        why = config.not_applicable.get("seed")
        yield f"no seed: {why}" if why else "no seed found"
        seen = config.generators.at_save if config.generators else None
        if seen and seen.get("torch.initial_seed") not in {None, _TORCH_S_OWN}:
            yield f"torch's seed was {_value(seen['torch.initial_seed'])}"
    if config.values is None:
        yield "no hyperparameters given"
    leaves = [(key, value) for key, value in summary.flatten(config.values or {}) if key.rpartition(".")[2] != "seed"]
    yield from capped([f"{key} {_value(value)}" for key, value in leaves], config.file or "lineage.json")
    for optimizer in config.optimizers:
        yield optimizer.type.rpartition(".")[2]
    for loader in config.dataloaders:
        yield f"{loader.type.rpartition('.')[2]} of batch size {_value(loader.settings.get('batch_size'))}"
    yield from (f"no {name}: {why}" for name, why in config.not_applicable.items() if name != "seed")
    yield from _changes(config.changed_during_run, "")


def _value(value: Any) -> str:  # noqa: ANN401 - a plain value
    return cut(figure(value), 40)


def _compute(lineage: Lineage) -> Iterator[str]:
    compute = lineage.compute
    yield ", ".join(_processor(compute))
    yield _gpus(compute.gpus) + (f", driver {compute.driver}" if compute.driver else "")
    yield _precision(lineage)
    python = lineage.code.environment.python
    if python:
        yield f"{'Python' if python.implementation == 'CPython' else python.implementation} {python.version}"
    if compute.container:
        yield f"in {compute.container.kind}{f' ({compute.container.image})' if compute.container.image else ''}"
    if ranks := world(compute.distributed):
        yield ranks
    for others in compute.ranks:
        model = others.cpu.model if others.cpu else None
        which = f"rank{'' if others.ranks.isdecimal() else 's'} {others.ranks}"
        yield f"{which}: {model or 'CPU unknown'}, {_gpus(others.gpus)}"
    if compute.observed == AT_SAVE:
        yield "as found at save"


def _processor(compute: Compute) -> Iterator[str]:
    yield (compute.cpu.model if compute.cpu else None) or "CPU unknown"
    if compute.cpu and compute.cpu.usable is not None:
        yield count(compute.cpu.usable, "core")


def _gpus(gpus: tuple[Gpu, ...] | None) -> str:
    if not gpus:
        return "GPU unknown" if gpus is None else "no GPU"
    names = [gpu.name for gpu in gpus]
    return ", ".join(f"{names.count(name)}x {name}" if names.count(name) > 1 else name for name in dict.fromkeys(names))


def _precision(lineage: Lineage) -> str:
    precision, number = lineage.compute.precision, lineage.weights.parameters
    stored = f"weights {', '.join(precision.weights)}" if precision.weights else ""
    if stored and number is not None:
        stored += f", {count(number, 'parameter')}"
    if precision.requested:
        return f"{precision.requested} ({stored})" if stored else precision.requested
    return stored or "precision unknown"


def _run(lineage: Lineage) -> Iterator[str]:
    if lineage.run.seconds is not None:
        yield f"took {span(lineage.run.seconds)}"
    if lineage.run.step is not None:
        yield f"step {lineage.run.step:,}"
    if lineage.run.epoch is not None:
        yield f"epoch {figure(lineage.run.epoch)}"
    if lineage.run.segments:
        yield f"after {count(len(lineage.run.segments), 'earlier segment')}"
    yield from (f"{link.system} {link.url or link.id or ''}".rstrip() for link in lineage.run.links)
    if lineage.weights.identical_to:
        yield f"the same bytes as {lineage.weights.identical_to}"
