"""Which hyperparameters: configuration files and objects, merged, redacted, with the seed that stands in them."""

import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckptkit import ambiguity, disk, documents, redact
from ckptkit.capture import objects
from ckptkit.errors import CkptkitError, FormatError

SEEDS = (
    "seed",
    "random_seed",
    "random_state",
    "manual_seed",
    "rng_seed",
    "global_seed",
    "pl_global_seed",
    "torch_seed",
    "np_seed",
    "numpy_seed",
    "data_seed",
)
"""Keys that a seed is looked for under, in this order among those at one depth."""

AMBIGUITIES = 5
"""Most words of one file that are warned of by themselves."""

DEPTH = 100
"""Most levels of nesting that a file may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A configuration: its values as JSON types, the bytes of config.yaml, the seed, and what people should mend."""

    values: dict[str, Any] | None
    text: bytes | None
    seed: Any
    warnings: tuple[str, ...] = ()


def resolve(sources: Sequence[object], *, project: Path, unknown: dict[str, str], strict: bool = True) -> Resolved:
    """Merge configurations, later ones overriding key by key.

    Args:
        sources: paths to YAML or JSON files, and objects: mappings, dataclasses, namespaces, and those of OmegaConf,
            pydantic, attrs, ml_collections, absl and transformers. With OmegaConf's comes how Hydra composed them.
        project: the folder that paths are recorded relative to.
        unknown: takes the reason for each fact that could not be had.
        strict: refuse a file that cannot be used; else what it held is left out, and ``unknown`` says so.

    Raises:
        CkptkitError: a file is missing, is no YAML or JSON, or holds no mapping, and ``strict``. Objects never raise.
    """
    if not sources:
        unknown["config.values"] = "no configuration was given"
        return Resolved(values=None, text=None, seed=None)
    faults: list[str] = []
    read = [_values(source, faults, strict=strict) for source in sources]
    found = [values for values, _ in read if values is not None]
    if faults:
        unknown["config.values"] = "; ".join(faults)
    if not found:
        return Resolved(values=None, text=None, seed=None)
    merged = found[0]
    for values in found[1:]:
        merged = _merge(merged, values)
    if any(objects.is_omegaconf(source) for source in sources):
        merged = objects.composed() | merged
    shown = redact.values(merged, project=project)
    text = read[0][1] if len(read) == 1 and shown == merged and _is_harmless(read[0][1], project) else None
    written = text or documents.dump_yaml(shown).encode("utf-8", "backslashreplace")
    files: list[tuple[Any, bytes]]
    files = [(source, data) for source, (_, data) in zip(sources, read, strict=True) if data is not None]
    warnings = tuple(words for source, data in files for words in _warnings(disk.expand(source), data, project))
    return Resolved(values=documents.finite(shown), text=written, seed=_seed(shown), warnings=warnings)


def _warnings(file: Path, data: bytes, project: Path) -> list[str]:
    """What the two versions of YAML read differently in a file."""
    name, found = redact.path(file, project)[0], ambiguity.ambiguous(data)
    words = [f"{name}:{each.line}:{each.column}: {each}" for each in found[:AMBIGUITIES]]
    more = len(found) - AMBIGUITIES
    return [*words, f"{name}: {more} more words like these"] if more > 0 else words


def load(path: str | os.PathLike[str], what: str = "configuration") -> tuple[dict[str, Any], bytes]:
    """The mapping in a JSON file (by its ending) or a YAML file (any other), and the bytes that were read.

    Args:
        path: the file.
        what: what it is to hold, for messages.

    Raises:
        CkptkitError: it cannot be read, is of another format, or holds anything but a mapping.
    """
    file = disk.expand(path)
    try:
        data = disk.read_regular(file, disk.CONFIG_LIMIT)
        value = documents.load_json(data) if file.suffix.lower() == ".json" else documents.load_yaml(data)
    except FormatError as error:
        place = "" if error.line is None else f":{error.line}:{error.column or 1}"
        hint = error.hint or "give a YAML or JSON file of names and values"
        raise CkptkitError(f"the {what} {file}{place} {error.message}", hint) from error
    if _is_deep(value):
        raise CkptkitError(f"the {what} {file} is nested too deeply", f"at most {DEPTH} levels are read")
    if not isinstance(value, dict):
        held = "nothing" if value is None else f"a {type(value).__name__}"
        raise CkptkitError(f"the {what} {file} holds {held}, no mapping", "write lines such as `lr: 0.1`")
    return value, data


def _is_deep(value: Any, left: int = DEPTH) -> bool:  # noqa: ANN401 - plain values
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return not left or any(_is_deep(each, left - 1) for each in inner)


def _is_file(source: object) -> bool:
    return isinstance(source, str | os.PathLike)


def _values(source: Any, faults: list[str], *, strict: bool) -> tuple[dict[str, Any] | None, bytes | None]:  # noqa: ANN401 - path or object
    """The values of a source, and the bytes of a YAML file, which may be kept as they are."""
    if _is_file(source):
        try:
            values, data = load(source)
        except CkptkitError as error:
            if strict:
                raise
            faults.append(error.message)
            return None, None
        return values, None if os.fspath(source).lower().endswith(".json") else data
    plain = objects.Plain()
    value = plain.settings(source)
    if plain.cut:
        faults.append(f"it holds more than {objects.VALUES:,} values: the rest was left out")
    if value is None:
        instead = ": give what its parse_args() returned" if objects.is_parser(source) else ""
        faults.append(f"an object of type {type(source).__name__} holds no names and values{instead}")
    return value, None


def _merge(below: Any, above: Any) -> Any:  # noqa: ANN401 - plain values
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return below | {key: _merge(below.get(key), value) for key, value in above.items()}


def _is_harmless(data: bytes | None, project: Path) -> bool:
    """Whether no comment in a file's text holds something to redact."""
    text = (data or b"").decode("utf-8", "replace")
    return redact.text(text, project=project) == text


def _seed(values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - an int, a string or a list of ints
    """The seed least deep in ``values``."""
    level: deque[Mapping[str, Any]] = deque([values])
    while level:
        found: dict[str, Any] = {}
        for _ in range(len(level)):
            for key, value in level.popleft().items():
                if _is_seed(value):
                    found.setdefault(key.lower().replace("-", "_"), value)
                level.extend(each for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict))
        for key in SEEDS:
            if key in found:
                return found[key]
    return None


def _is_seed(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(type(each) is int for each in value)
    text = isinstance(value, str) and bool(value) and not value.startswith(("???", "${"))  # OmegaConf's: not known yet
    return type(value) is int or text
