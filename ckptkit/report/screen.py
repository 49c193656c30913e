"""The screen of ``show``: a version's data, code, hyperparameters and compute, as text and as JSON."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from ckptkit import inventory, references, summary
from ckptkit.checkpoint import Unreadable
from ckptkit.record import AT_SAVE, Code, Compute, Config, Dataset, Event, Gpu, Lineage, Repository
from ckptkit.report import results
from ckptkit.report.results import MOST, capped
from ckptkit.verbs.show import Shown
from ckptkit.words import cells, count, cut, figure, inert, moment, short, size, span, wrap

_LABEL = 11
_LONG = 400  # cells of a text that is itself shown, not only what it says
_BOLD, _DIM, _RED, _YELLOW, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[33m", "\x1b[0m"


def screen(shown: Shown, *, now: datetime, width: int, colour: bool) -> str:
    """A version on one screen: which data, code, hyperparameters and compute, and what came of it.

    Args:
        shown: what ``show`` returned.
        now: the present, for ``saved 2 days ago``.
        width: the cells of a line, where its words let themselves be parted.
        colour: whether the terminal shows colours.
    """
    ref = shlex.quote(shown.asked if references.is_path(shown.asked) else shown.version.ref)
    lines = _header(shown, now, width, _BOLD if colour else "")
    if shown.damage:
        lines += _lines("damaged", [shown.damage, f"see `ckptkit check {ref}`"], width, _RED if colour else "")
    if isinstance(shown.lineage, Unreadable):
        words = [f"cannot be read: {shown.lineage.reason}", shown.lineage.hint]
        return "\n".join([*lines, *_lines("lineage", filter(None, words), width, _RED if colour else "")])
    for label, parts in _answers(shown, shown.lineage):
        lines += _lines(label, parts, width, _DIM if colour else "")
    for fact, style in _unknown(shown, shown.lineage):
        lines += _lines("unknown", [fact], width, style if colour else "")
    files = [file.path for file in shown.lineage.weights.files if file.path not in shown.pruned]
    if shown.pruned and not files:
        return "\n".join(lines)
    one = f" {shlex.quote(files[0])}" if len(files) == 1 else ""
    load = inert(f"W=$(ckptkit path {ref}{one}) || exit 1")  # never parted: it is to be copied
    return "\n".join([*lines, _label("load", _DIM if colour else "") + load])


def _header(shown: Shown, now: datetime, width: int, style: str) -> list[str]:
    """The reference, its aliases and its stage; when it was saved stands at the end, or below for want of room."""
    saved = moment(shown.saved or (shown.lineage.created if isinstance(shown.lineage, Lineage) else None))
    marks = [*(f"@{alias}" for alias in shown.aliases), *([shown.stage] if shown.stage else [])]
    left = inert("  ".join([shown.version.ref, *marks]))
    right = f"saved {_ago(saved, now)}  {short(shown.version.digest)}" if saved else short(shown.version.digest)
    gap = width - cells(left) - cells(right)
    lines = [f"{style}{line}{_PLAIN if style else ''}" for line in wrap(left, width)]
    return [f"{lines[0]}{' ' * gap}{right}"] if gap > 1 else [*lines, f"  {right}"]


def _ago(saved: datetime, now: datetime) -> str:
    seconds = (now - saved).total_seconds()
    if seconds < 0:  # a clock is wrong
        return f"on {saved:%Y-%m-%d}"
    return f"{span(seconds)} ago" if seconds >= 60 else "just now"  # noqa: PLR2004 - a minute


def _lines(label: str, parts: Iterable[str], width: int, style: str) -> list[str]:
    """A labelled line; where it is too long it goes on below, parted between its parts or else between words."""
    lines: list[str] = []
    for part in parts:
        text = inert(cut(part, 2 * _LONG))
        if lines and _LABEL + cells(lines[-1]) + 3 + cells(text) <= width:
            lines[-1] += f" · {text}"
        else:
            lines += wrap(text, width - _LABEL)
    return [f"{' ' * _LABEL if at else _label(label, style)}{line}" for at, line in enumerate(lines)]


def _label(label: str, style: str) -> str:
    return f"  {style}{label:{_LABEL - 2}}{_PLAIN if style else ''}"


def _answers(shown: Shown, lineage: Lineage) -> Iterator[tuple[str, Iterable[str]]]:
    if shown.text:
        yield "about", [cut(shown.text, _LONG)]
    if lineage.message:
        yield "message", [cut(lineage.message, _LONG)]
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
    yield from _changes(code.changed_during_run, "")
    packages = code.environment.packages
    imported = [package.imported for package in packages if package.imported is not None]
    yield count(len(packages), "pin") + (f", {sum(imported)} imported" if imported else "")
    if code.observed == AT_SAVE:
        yield f"as found at save{_late(lineage)}"


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
            return cut(" ".join([entry, *map(shlex.quote, words[at + 1 :])]), _LONG // 2)
    return entry


def _config(config: Config) -> Iterator[str]:
    if config.seed is not None:
        yield f"seed {_value(config.seed)}"
    else:
        yield "no seed: it does not apply" if "seed" in config.not_applicable else "no seed found"
    if config.values is None:
        yield "no hyperparameters given"
    leaves = [(key, value) for key, value in summary.flatten(config.values or {}) if key.rpartition(".")[2] != "seed"]
    yield from capped([f"{key} {_value(value)}" for key, value in leaves], config.file or "lineage.json")
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
    if lineage.weights.identical_to:
        yield f"the same bytes as {lineage.weights.identical_to}"


def _unknown(shown: Shown, lineage: Lineage) -> Iterator[tuple[str, str]]:
    """The facts that could not be had, those of one reason together, each line with its style.

    Whether something changed during the run is seldom known: one dim line is enough of that.
    """
    reasons: dict[str, list[str]] = {}
    axes: dict[str, None] = {}
    later = {f"data.{name}.digest": event.unknown for name, event in shown.digested.items()}
    facts = {fact: why for fact, why in lineage.unknown.items() if fact not in later}
    facts |= {fact: unknown[fact] for fact, unknown in later.items() if fact in unknown}
    for fact, why in facts.items():
        if fact.endswith(".changed_during_run"):
            axes[fact.partition(".")[0]] = None
        elif fact != "weights.identical_to":  # earlier versions are not what this one is made of
            reasons.setdefault(why, []).append(fact)
    for why, told in list(reasons.items())[:MOST]:
        yield f"{', '.join(told)}: {why}", _YELLOW
    if len(reasons) > MOST:
        yield f"{len(reasons) - MOST} more reasons in lineage.json", _YELLOW
    if axes:
        yield f"whether {' or '.join(axes)} changed while it ran", _DIM


def shown_document(shown: Shown) -> dict[str, Any]:
    """A version as JSON types; where ``lineage`` is null, ``unreadable`` says why."""
    lineage = shown.lineage
    return {
        "schema": "ckptkit/show/1",
        "ref": shown.version.ref,
        "path": str(shown.version.path),
        "digest": shown.version.digest,
        "aliases": list(shown.aliases),
        "stage": shown.stage or "none",
        "description": shown.text,
        "saved": shown.saved,
        "damage": shown.damage,
        "pruned": list(shown.pruned),
        "unreadable": lineage.reason if isinstance(lineage, Unreadable) else None,
        "lineage": None if isinstance(lineage, Unreadable) else lineage.to_dict(),
        "evaluations": [event.to_dict() for event in shown.evaluations],
        "digested": {name: event.to_dict() for name, event in shown.digested.items()},
    }
