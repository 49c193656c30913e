"""JSON and YAML: bytes to plain values and back, strictly. No disk.

A plain value is None, bool, int, float, str, a list, or a dict with string keys. YAML is read as PyYAML reads it
(YAML 1.1) and written so that YAML 1.1 and 1.2 readers agree on every value.
"""

import datetime as dt
import json
import math
import re
from collections import Counter
from functools import cache
from typing import Any

from ckptkit.errors import FormatError

_BITS = 4096  # of a whole number; Python refuses to write out 4,300 digits

NODES = 200_000
"""Most values that one YAML document may expand to: aliases can make kilobytes mean gigabytes."""


def load_json(data: bytes) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """Parse JSON.

    Raises:
        FormatError: it is not UTF-8 or not JSON (NaN and Infinity are not JSON), a key stands twice in one object,
            or it is nested too deeply.
    """
    try:
        text = data.decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite_float)
    except UnicodeDecodeError as error:
        raise FormatError(f"is not UTF-8 text (byte {error.start + 1})") from None
    except json.JSONDecodeError as error:
        raise FormatError(f"is not JSON: {error.msg}", line=error.lineno, column=error.colno) from None
    except RecursionError:
        raise FormatError("is nested too deeply") from None
    except ValueError as error:  # an integer of more than 4,300 digits
        raise FormatError(f"is not usable JSON: {error}") from None


def dump_json(value: object) -> bytes:
    """JSON for people and for ``git diff``: indented, in the order given, ending in a newline."""
    return _utf8(value, indent=2)


def dump_line(value: object) -> bytes:
    """JSON on one line, without a newline."""
    return _utf8(value).rstrip(b"\n")


def _utf8(value: object, indent: int | None = None) -> bytes:
    try:
        return f"{json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)}\n".encode()
    except UnicodeEncodeError:  # names that are not UTF-8 on disk arrive as lone surrogates
        return f"{json.dumps(value, indent=indent, allow_nan=False)}\n".encode()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        (twice, _), *_ = Counter(key for key, _ in pairs).most_common(1)
        raise FormatError(f"the key {twice!r} stands twice in one object", "keep one of them")
    return found


def _finite_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise FormatError(f"{text} is beyond the numbers that a computer holds", 'write it as a string: "Infinity"')
    return number


def _refuse_constant(name: str) -> None:
    raise FormatError(f"{name} is not JSON", f'write it as a string: "{name}"')


def load_yaml(data: bytes) -> Any:  # noqa: ANN401 - YAML has no narrower type
    """Parse one YAML document into plain values; dates become ISO strings.

    Raises:
        FormatError: it is not YAML, a key stands twice in one mapping, it asks for a Python object, or its aliases
            expand to more than ``NODES`` values; with line and column where there are any.
    """
    import yaml

    try:
        text = data.decode("utf-8-sig")
        if "&" in text and "*" in text:
            _refuse_bomb(text)
        return _to_plain(yaml.load(text, Loader=_loader()))  # noqa: S506 - a subclass of the safe loader
    except UnicodeDecodeError as error:
        raise FormatError(f"is not UTF-8 text (byte {error.start + 1})") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = " ".join(part for part in (error.context, error.problem) if part)
        if mark is None:
            raise FormatError(f"is not YAML: {words}") from None
        raise FormatError(f"is not YAML: {words}", line=mark.line + 1, column=mark.column + 1) from None
    except yaml.YAMLError as error:
        raise FormatError(f"is not YAML: {' '.join(str(error).split())[:200]}") from None
    except RecursionError:
        raise FormatError("is nested too deeply") from None
    except FormatError:
        raise
    except Exception as error:  # noqa: BLE001 - PyYAML's constructors raise whatever a wrong tag leads them to
        raise FormatError(f"is not usable YAML: {str(error) or type(error).__name__}") from None


@cache
def _loader() -> Any:  # noqa: ANN401 - the base is chosen at run time
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        """The safe loader, without silently dropped keys."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 - as the base
            seen = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    name = self.construct_object(key)  # 1, 0x1, 1.0 and true are one key of a dict
                    if name in seen:
                        raise _refusal(f"the key {key.value!r} stands twice in one mapping", key.start_mark)
                    seen.add(name)
            return super().construct_mapping(node, deep)

    return Loader


def _refusal(problem: str, mark: Any) -> Exception:  # noqa: ANN401 - a mark of either of PyYAML's parsers
    import yaml

    return yaml.constructor.ConstructorError(None, None, problem, mark)


def _refuse_bomb(text: str) -> None:
    import yaml

    sizes: dict[str, int] = {}
    open_: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise _refusal(f"the alias *{event.anchor} stands inside its own anchor", event.start_mark)
            total += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            total += 1
            open_.append((event.anchor, total))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            if anchor:
                sizes[anchor] = total - before + 1
        if total > NODES:
            raise _refusal(f"its aliases expand to more than {NODES:,} values", event.start_mark)


def _to_plain(value: Any) -> Any:  # noqa: ANN401 - whatever YAML's safe types are
    if isinstance(value, dict):
        out: dict[str, Any] = {}
        for key, item in value.items():
            name = key if isinstance(key, str) else _key(key)
            if name in out:
                raise FormatError(f"two keys of one mapping read as {name!r}", "quote or rename one of them")
            out[name] = _to_plain(item)
        return out
    if isinstance(value, list | tuple):
        return [_to_plain(item) for item in value]
    if isinstance(value, set):
        return sorted(str(_to_plain(item)) for item in value)
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    if isinstance(value, bytes):
        return repr(value)
    if isinstance(value, int) and value.bit_length() > _BITS:
        raise FormatError("holds a whole number of more digits than any program reads")
    return value


def _key(key: object) -> str:
    return json.dumps(key) if key is None or isinstance(key, bool | int | float) else str(_to_plain(key))


def finite(value: Any) -> Any:  # noqa: ANN401 - plain values
    """``value`` with ``"NaN"``, ``"Infinity"`` and ``"-Infinity"`` for the numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [finite(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def dump_yaml(value: object) -> str:
    """YAML in block style, keys in the order given, every string quoted that 1.1 or 1.2 could take for another type."""
    import yaml

    text: str = yaml.dump(
        value, Dumper=_dumper(), allow_unicode=True, default_flow_style=False, sort_keys=False, width=1_000_000
    )
    return text


# Strings written plainly: words that begin with a letter or "_" and hold nothing that YAML gives a meaning.
_PLAIN = re.compile(r"[A-Za-z_](?:[A-Za-z0-9_./+@=-]| (?! |$))*")
_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "inf", "infinity"])


@cache
def _dumper() -> Any:  # noqa: ANN401 - the base is chosen at run time
    import yaml

    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    class Dumper(base):  # type: ignore[misc]
        """The safe dumper, without anchors and with careful quotes."""

        def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the name is the base's
            return True

    def string(dumper: Any, text: str) -> Any:  # noqa: ANN401 - PyYAML is untyped here
        plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')

    Dumper.add_representer(str, string)
    return Dumper
