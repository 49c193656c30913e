"""The sections Model Details and, for what the record lacks, Caveats and Recommendations."""

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from ckptkit.markdown import bullets, code, fenced, table, text
from ckptkit.model_card import words
from ckptkit.record import Lineage
from ckptkit.words import count, world

_WIDTH = 200
"""Most characters of one hyperparameter's value that a card shows."""


def developed(lineage: Lineage) -> str:
    """When the training ran, in UTC."""
    run = lineage.run
    start = run.started or f"start {words.not_known(lineage, 'run.started')}"
    end = run.finished or f"end {words.not_known(lineage, 'run.finished')}"
    return f"{start} to {end}{'' if run.seconds is None else f' ({run.seconds:,.0f} s)'}"


def kind(lineage: Lineage, model_type: str) -> str:
    """What was saved: the model's type as a person gave it, formats, parameters by data type, size."""
    weights, stored = lineage.weights, _dtypes(lineage)
    parameters = (
        f"number of parameters {words.not_known(lineage, 'weights.parameters')}"
        if weights.parameters is None
        else f"{weights.parameters:,} parameters{f' ({stored})' if stored else ''}"
    )
    formats = ", ".join(sorted({text(file.format) for file in weights.files if file.format}))
    size = f"{count(len(weights.files), 'file')}, {sum(file.bytes for file in weights.files):,} bytes"
    return "; ".join(filter(None, (text(model_type), formats, parameters, size)))


def _dtypes(lineage: Lineage) -> str:
    counts = lineage.compute.precision.weights
    return ", ".join(
        f"{text(dtype)} {number:,}" if len(counts) > 1 else text(dtype) for dtype, number in counts.items()
    )


def origin(lineage: Lineage) -> str:
    """Parents and base models."""
    made = [
        f"{code(each.ref)} ({each.relation or 'relation not said'}, {each.digest or 'digest not known'})"
        for each in lineage.parents
    ]
    made += [f"{code(each.id)}{f' at {code(each.revision)}' if each.revision else ''}" for each in lineage.base_models]
    return "; ".join(made) or "no parent and no base model was named"


def procedure(lineage: Lineage) -> str:
    """How it was trained: code, command, environment, compute, precision, seed, run and hyperparameters."""
    seed, run = lineage.config.seed, lineage.run
    at = [f"{word} {value:,}" for word, value in (("step", run.step), ("epoch", run.epoch)) if value is not None]
    facts = {
        "Code": _commit(lineage),
        "Command": _command(lineage),
        "Environment": _environment(lineage),
        "Compute": _machine(lineage),
        "Precision": _precision(lineage),
        "Seed": words.not_known(lineage, "config.seed") if seed is None else code(_json(seed)),
        "Run": ", ".join([code(run.id), *at]),
    }
    if lineage.config.optimizers:
        facts["Optimizer"] = ", ".join(code(each.type) for each in lineage.config.optimizers)
    if lineage.config.schedulers:
        facts["Schedule"] = ", ".join(code(each.type) for each in lineage.config.schedulers)
    if run.segments:
        facts["Resumed"] = f"after {count(len(run.segments), 'earlier segment')}"
    if changed := [*(lineage.code.changed_during_run or ()), *(lineage.config.changed_during_run or ())]:
        facts["Changed while it ran"] = ", ".join(code(path) for path in changed[: words.ROWS])
    return f"{bullets(f'**{label}:** {fact}' for label, fact in facts.items())}\n\n{_hyperparameters(lineage)}"


def _commit(lineage: Lineage) -> str:
    tree = lineage.code.repository
    if tree is None:
        return words.not_known(lineage, "code.repository")
    commit = code(tree.commit) if tree.commit else words.not_known(lineage, "code.repository.commit")
    of = f" of {code(tree.url)}" if tree.url and tree.url != "local" else ""
    branch = f" on branch {code(tree.branch)}" if tree.branch else ""
    if tree.dirty is None:
        changes = f"uncommitted changes {words.not_known(lineage, 'code.repository.dirty')}"
    else:
        patch = f" ({code(tree.patch)})" if tree.patch else ""
        changes = f"with uncommitted changes{patch}" if tree.dirty else "unchanged"
    return f"commit {commit}{of}{branch}, {changes}{words.SEEN[lineage.code.observed]}"


def _command(lineage: Lineage) -> str:
    argv, entry_point = lineage.code.orig_argv, lineage.code.entry_point
    if argv:
        return code(shlex.join(argv))
    return code(entry_point) if entry_point else words.not_known(lineage, "code.orig_argv", "code.entry_point")


def _environment(lineage: Lineage) -> str:
    environment, python = lineage.code.environment, lineage.code.environment.python
    name = (
        f"{text(python.implementation)} {text(python.version)}"
        if python
        else f"Python {words.not_known(lineage, 'code.environment.python')}"
    )
    files = " and ".join(f"`{each}`" for each in (environment.requirements, environment.requirements_vcs) if each)
    pins = f"{count(len(environment.packages), 'distribution')}{f' in {files}' if files else ''}"
    return f"{name}; {pins}{words.SEEN[lineage.code.observed]}"


def _machine(lineage: Lineage) -> str:
    compute, cpu = lineage.compute, lineage.compute.cpu
    parts = [text(cpu.model) if cpu and cpu.model else f"CPU {words.not_known(lineage, 'compute.cpu.model')}"]
    if cpu and cpu.usable:
        parts.append(f"{count(cpu.usable, 'logical core')} usable")
    if compute.memory:
        parts.append(f"{compute.memory.total / 2**30:.1f} GiB of memory")
    if compute.gpus is None:
        parts.append(f"GPU {words.not_known(lineage, 'compute.gpus')}")
    else:
        counted = Counter(gpu.name for gpu in compute.gpus)
        parts += [f"{number} × {text(name)}" for name, number in counted.items()] or ["no GPU"]  # noqa: RUF001
    if compute.platform:
        parts.append(text(f"{compute.platform.system} {compute.platform.release}"))
    if ranks := world(compute.distributed):
        parts.append(text(ranks))
    return f"{', '.join(parts)}{words.SEEN[compute.observed]}"


def _precision(lineage: Lineage) -> str:
    asked, effective = lineage.compute.precision.requested, lineage.compute.precision.effective
    if effective is None:
        ran = words.not_known(lineage, "compute.precision.effective")
    else:
        switches = ", ".join(f"{text(key)} {text(value or 'not known')}" for key, value in effective.items())
        ran = switches or "no switch of a framework was seen"
    return f"asked for: {text(asked or 'nothing by name')}; stored: {_dtypes(lineage) or 'not known'}; in effect: {ran}"


def _hyperparameters(lineage: Lineage) -> str:
    if not lineage.config.values:
        return words.absent(lineage, "hyperparameter", "config.values")
    rows = list(islice(_leaves(lineage.config.values, ""), words.ROWS + 1))
    shown = table(("Hyperparameter", "Value"), [(code(name), code(value)) for name, value in rows[: words.ROWS]])
    return f"{shown}\n\nThere are more, in `config.yaml`." if len(rows) > words.ROWS else shown


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - any nest of JSON
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    else:
        shown = value if isinstance(value, str) else _json(value)
        yield path, shown if len(shown) <= _WIDTH else f"{shown[:_WIDTH]}…"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def usage(lineage: Lineage) -> str:
    """How to find the file, verified, and what to know before loading it."""
    files, formats = lineage.weights.files, {file.format for file in lineage.weights.files}
    plain = [file for file in files if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_./+@-]*", file.path)]
    largest = max(plain, key=lambda file: (file.parameters or 0, file.bytes), default=None)
    path = f" {largest.path}" if largest else ""
    parts = [fenced(f"W=$(ckptkit path {lineage.model}/{lineage.version}{path}) || exit 1", "sh")]
    if any(file.path == "config.json" for file in files):
        parts.append("The folder is laid out as `from_pretrained` of the Hugging Face libraries reads it.")
    if "safetensors" in formats:
        parts.append("Files in the safetensors format are read by `load_file` of that package; no code runs.")
    if formats & {"pickle", "joblib", "torch"}:
        parts.append("Loading a pickle runs the code that it names: do so only if you trust where it is from.")
    return "\n\n".join(parts)


def unknown(lineage: Lineage) -> str:
    """Every fact that the record does not have, with its reason."""
    reasons = bullets(f"{code(path)}: {text(why)}" for path, why in lineage.unknown.items())
    return reasons or "Nothing that was looked for."
