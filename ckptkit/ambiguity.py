"""Words of YAML that its versions 1.1, which PyYAML reads, and 1.2 take for different things. No disk."""

import datetime as dt
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, cast


@dataclass(frozen=True, slots=True, kw_only=True)
class Ambiguity:
    """A plain word, at a 1-based place, that YAML 1.1 reads as ``one`` thing and YAML 1.2 as the ``other``."""

    line: int
    column: int
    word: str
    one: str
    other: str

    def __str__(self) -> str:
        """Both readings, and what to write for either."""
        said = [each.removeprefix("the number ") for each in (self.one, self.other)]
        ways = [each for each in said if " " not in each and each != "text"] + [json.dumps(self.word)]
        ways = ["the keys out"] if self.word == "<<" else ways[:2]
        return f"{self.word} is {self.one} in YAML 1.1 and {self.other} in YAML 1.2; write {' or '.join(ways)}"


_CORE: list[tuple[re.Pattern[str], Callable[[str], Any]]] = [  # the core schema: YAML 1.2.2, section 10.3.2
    (re.compile(r"null|Null|NULL|~|"), lambda _: None),
    (re.compile(r"true|True|TRUE|false|False|FALSE"), lambda word: word.lower() == "true"),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+"), lambda word: int(word, 0)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"), lambda word: float(word.replace(".", ""))),
]


def ambiguous(text: bytes) -> list[Ambiguity]:
    """The plain scalars, keys too, that PyYAML and YAML 1.2 take for different things; none in what is no YAML."""
    import yaml

    out = []
    try:
        for event in yaml.parse(text.decode("utf-8-sig"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if isinstance(event, yaml.ScalarEvent) and event.implicit[0] and not event.style:
                word, mark = event.value, cast("yaml.Mark", event.start_mark)
                one, other = _readings(word)
                if one != other:
                    out.append(Ambiguity(line=mark.line + 1, column=mark.column + 1, word=word, one=one, other=other))
    except (UnicodeDecodeError, yaml.YAMLError):
        return []
    return out


@lru_cache(maxsize=10_000)
def _readings(word: str) -> tuple[str, str]:
    """What YAML 1.1 and what YAML 1.2 reads."""
    import yaml

    resolver = _resolver()
    node = yaml.ScalarNode(resolver.resolve(yaml.ScalarNode, word, (True, False)), word)
    make = next((make for form, make in _CORE if form.fullmatch(word)), str)
    return _said(resolver.yaml_constructors.get(node.tag), resolver, node), _said(make, word)


@cache
def _resolver() -> Any:  # noqa: ANN401 - PyYAML is untyped here
    import yaml

    return yaml.SafeLoader("")


def _said(make: Callable[..., Any] | None, *given: Any) -> str:  # noqa: ANN401 - a word, or what PyYAML makes one from
    if make is None:  # "<<" and "="
        return "a sign of its own"
    try:
        value = make(*given)
        number = repr(value).replace("inf", ".inf")
    except (ValueError, OverflowError):  # the 31st of February, or more digits than Python reads
        return "no value"
    if isinstance(value, str | dt.date):
        return "text" if isinstance(value, str) else f"the date {value.isoformat()}"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return f"the number {number if '.' in number else number.replace('e', '.0e')}"
