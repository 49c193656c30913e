"""CK5, hyperparameters: whether the record says with which configuration and seed the training ran."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ckptkit import ambiguity
from ckptkit.checkpoint import CONFIG, LINEAGE, Checkpoint, Unreadable
from ckptkit.record import Lineage
from ckptkit.rules.base import Fault, intact, rule, some, unknown


@rule(
    "CK501",
    "the configuration is not recorded",
    of=Lineage,
    severity="warning",
    fix="save with --config FILE (config=...)",
)
def no_config(lineage: Lineage) -> Iterator[Fault]:
    """Without its hyperparameters a training can be neither repeated nor compared with another."""
    reasons = {fact: why for fact, why in unknown(lineage, "config").items() if fact != "config.seed"}
    if lineage.config.values is None:
        why = next(iter(reasons.values()), "")
        yield Fault(f"no configuration is recorded{why and f': {why}'}")
        return
    for fact, why in reasons.items():
        yield Fault(f"{fact} is not wholly known: {why}")


@rule(
    "CK502",
    "no seed is recorded",
    of=Lineage,
    severity="warning",
    fix="put the seed into the configuration, under a key such as seed",
)
def no_seed(lineage: Lineage) -> Iterator[Fault]:
    """Without its seed a training that draws random numbers cannot be repeated.

    A training that draws none can say so: config.not_applicable.
    """
    config = lineage.config
    if config.values is not None and config.seed is None and "seed" not in config.not_applicable:
        yield Fault("no seed is recorded")


@rule(
    "CK503",
    "config.yaml and lineage.json hold different values",
    of=Checkpoint,
    fix="restore both files from one copy",
    unless=("CK903",),
)
def values_differ(found: Checkpoint) -> Iterator[Fault]:
    """config.yaml is what people read, the values in lineage.json are what programs compare; save writes both alike.

    Where they differ, one of them does not say what ran.
    """
    if not isinstance(found.lineage, Lineage) or isinstance(found.config, Unreadable):
        return
    if not intact(found, CONFIG, LINEAGE):
        return
    recorded = found.lineage.config
    if recorded.file == CONFIG and _is_file(found, CONFIG) and recorded.values is not None:
        keys = list(_differing(found.config or {}, recorded.values, ""))
        if keys:
            yield Fault(f"differs from {LINEAGE} in {some(keys)}", CONFIG)


def _is_file(found: Checkpoint, path: str) -> bool:
    return path in found.entries and found.entries[path].kind == "file"


def _differing(one: Any, other: Any, prefix: str) -> Iterator[str]:  # noqa: ANN401 - any plain values
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        if one != other:
            yield prefix.rstrip(".") or "its form"
        return
    for key in sorted(one.keys() | other.keys()):
        if key not in one or key not in other:
            yield f"{prefix}{key}"
        else:
            yield from _differing(one[key], other[key], f"{prefix}{key}.")


# What YAML 1.2 (core schema, section 10.3.2) takes for a number and PyYAML, which reads YAML 1.1, for text.
_NUMBER_1_2 = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+")
_NUMBER_1_1 = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?|[-+]?(0|[1-9][0-9]*|0[0-7]+)")


@rule(
    "CK504",
    "a number is recorded as text",
    of=Lineage,
    severity="warning",
    fix="write it with a dot and a sign, such as 1.0e-3, or as 0.001",
    unless=("CK506",),
)
def number_as_text(lineage: Lineage) -> Iterator[Fault]:
    """PyYAML reads 1e-3 as text, because YAML 1.1 wants a dot and a sign; YAML 1.2 readers take it for 0.001.

    So the training may have got text for a number, and other tools read another value than the one recorded.
    """
    keys = [
        f"{key} {value!r}"
        for key, value in _texts(lineage.config.values or {}, "")
        if _NUMBER_1_2.fullmatch(value) and not _NUMBER_1_1.fullmatch(value)
    ]
    if keys:
        yield Fault(f"text that looks like a number: {some(keys)}", CONFIG)


def _texts(value: Any, where: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - any plain value
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _texts(item, f"{where}[{position}]")


@rule(
    "CK505",
    "the configuration changed while the training ran",
    of=Lineage,
    severity="warning",
    fix="train again, and leave its configuration files alone meanwhile",
)
def changed(lineage: Lineage) -> Iterator[Fault]:
    """Configuration files were written or removed after the training began.

    The values are those that it began with; what reads the files later, such as a resumed training, gets others.
    """
    if lineage.config.changed_during_run:
        yield Fault(f"changed during the run: {some(list(lineage.config.changed_during_run))}")


_SHOWN = 5  # words of one file


@rule(
    "CK506",
    "two versions of YAML read the configuration differently",
    of=Checkpoint,
    severity="warning",
    fix="write such words as every reader of YAML takes them, numbers as 0.001 and texts in quotes, and save again",
)
def ambiguous(found: Checkpoint) -> Iterator[Fault]:
    """YAML 1.1, which PyYAML reads, takes 1e-3 for text, no for false, 010 for 8 and 1:30 for 90; YAML 1.2 does not.

    Whoever reads config.yaml with another library gets other hyperparameters than those that are recorded.
    """
    text = found.texts.get(CONFIG)
    if isinstance(text, Unreadable | None) or not intact(found, CONFIG):
        return
    words = ambiguity.ambiguous(text.encode())
    for each in words[:_SHOWN]:
        yield Fault(str(each), CONFIG, line=each.line, column=each.column)
    if len(words) > _SHOWN:
        more = words[_SHOWN]
        yield Fault(f"{len(words) - _SHOWN} more words like this", CONFIG, line=more.line, column=more.column)


RULES = (no_config, no_seed, values_differ, number_as_text, changed, ambiguous)
