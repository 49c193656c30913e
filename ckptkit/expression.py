"""Expression: what ``list --where`` asks of each version, such as ``lr < 1e-3 and seed == 7``. Pure; no code is run.

::

    either     = both {"or" both}
    both       = one {"and" one}
    one        = "not" one | "(" either ")" | comparison
    comparison = name sign value | value sign name sign value | name ["not"] "in" "(" value {"," value} ")"
    sign       = "==" | "!=" | "<" | "<=" | ">" | ">="

A name is that of a column, a bare word or quoted. Values are numbers, dates, digests, quoted text, ``true``, ``false``,
``null`` and bare words, but for those that begin with a digit, or with ``metric:``, ``config:`` or ``tag:``.

A condition is true or false of every version, and ``!=`` is the negation of ``==``; of a value that is missing all else
is false but ``== null``. Of several values, such as aliases, one that fits suffices. Text that reads as a number
(``1e-3`` in YAML 1.1) is one. A time is compared with a bare date by its date, a commit or digest by its first digits.
"""

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ckptkit import names
from ckptkit.errors import CkptkitError

LENGTH, DEPTH = 10_000, 50
"""Most characters of an expression, and most parentheses and ``not`` within each other."""

Values = Callable[[str], Any]
"""A version's value by the name of a column: a number, text, a truth value, several of them, None for none."""

_Test = Callable[[Values], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """What is asked: the ``names`` of the columns that it takes, and whether it ``holds`` of a version's values."""

    names: tuple[str, ...]
    holds: _Test


def parse(text: str) -> Expression:
    """The expression that a text states.

    Raises:
        CkptkitError: it states none; the message says where it goes wrong, the hint what to write there.
    """
    if len(text) > LENGTH:
        raise CkptkitError(f"the condition is longer than {LENGTH:,} characters", "ask for less at once")
    parser = _Parser([*_tokens(text)])
    return Expression(holds=parser.whole(), names=tuple(parser.names))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    """A ``word``, a quoted ``text``, a ``sign`` or the ``end``; ``at`` is its first character, counted from 1."""

    kind: str
    text: str
    at: int


_TOKEN = re.compile(
    r"""(?P<text>"[^"]*"|'[^']*')|(?P<sign>[=!<>]=|[<>](?![<>])|[(),])|(?P<word>[^\s()\[\]{}<>=!,"'&|]+)"""
)
_INSTEAD = {
    "=": "write == for equal",
    "!": "write != or not",
    "&": "write and",
    "|": "write or",
    "<": "write != for unequal",
    '"': "close the quote",
    "'": "close the quote",
}
_KEYWORDS = ("and", "or", "not", "in")


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while rest := text[at:].lstrip():
        at = len(text) - len(rest)
        found = _TOKEN.match(text, at)
        if found is None:
            raise _wrong(repr(text[at]), at + 1, _INSTEAD.get(text[at], "write names, values, signs, ( and )"))
        kind, words = str(found.lastgroup), found[0]
        if words.lower() in _KEYWORDS:
            kind, words = "sign", words.lower()
        yield _Token(kind=kind, text=words[1:-1] if kind == "text" else words, at=at + 1)
        at = found.end()
    yield _Token(kind="end", text="", at=len(text) + 1)


def _wrong(what: str, at: int, hint: str) -> CkptkitError:
    return CkptkitError(f"the condition cannot be read at character {at}: {what}", hint)


_SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
"""The signs of a chain, as its first is read from the name in the middle."""


class _Parser:
    """Recursive descent over the tokens; ``names`` are the columns that it met."""

    def __init__(self, tokens: Sequence[_Token]) -> None:
        self.names: dict[str, None] = {}
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    def whole(self) -> _Test:
        test = self._either()
        if self._token.kind != "end":
            raise _wrong(f"{self._token.text!r} joins nothing", self._token.at, "write and or or before it")
        return test

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self, *signs: str) -> str:
        """The sign or keyword that comes next, if it is one of these; else nothing."""
        token = self._token
        if token.kind != "sign" or token.text not in signs:
            return ""
        self._next += 1
        return token.text

    def _expect(self, sign: str, hint: str) -> None:
        if not self._take(sign):
            raise _wrong(f"{sign!r} is missing", self._token.at, hint)

    def _either(self) -> _Test:
        return self._joined("or", any, lambda: self._joined("and", all, self._one))

    def _joined(self, sign: str, decide: Callable[[Iterable[bool]], bool], read: Callable[[], _Test]) -> _Test:
        tests = [read()]
        while self._take(sign):
            tests.append(read())
        return lambda values: decide(test(values) for test in tests)

    def _one(self) -> _Test:
        self._depth += 1
        if self._depth > DEPTH:
            raise _wrong("too many parentheses", self._token.at, "ask for less at once")
        if self._take("not"):
            test = _not(self._one())
        elif self._take("("):
            test = self._either()
            self._expect(")", "close the parenthesis")
        else:
            test = self._comparison()
        self._depth -= 1
        return test

    def _comparison(self) -> _Test:
        first = self._operand()
        if sign := self._take("in", "not"):
            return self._membership(first, negated=sign == "not")
        if not (sign := self._take(*_SIGNS)):
            words = f"{first.text!r} is compared with nothing"
            raise _wrong(words, first.at, "write a comparison, such as dirty == true or lr < 1e-3")
        second = self._operand()
        if sign not in _MIRRORED or not (other := self._take(*_MIRRORED)):
            return self._test(first, sign, second)
        low, high = self._test(second, _MIRRORED[sign], first), self._test(second, other, self._operand())
        return lambda values: low(values) and high(values)

    def _membership(self, name: _Token, *, negated: bool) -> _Test:
        hint = "write the values in parentheses, such as seed in (1, 2)"
        if negated:
            self._expect("in", hint)
        self._expect("(", hint)
        test = self._joined(",", any, lambda: self._test(name, "==", self._operand()))
        self._expect(")", hint)
        return _not(test) if negated else test

    def _operand(self) -> _Token:
        token = self._token
        if token.kind not in {"word", "text"}:
            found = repr(token.text) if token.text else "it ends"
            raise _wrong(f"{found} where a name or a value is due", token.at, "write one; quote words such as 'in'")
        self._next += 1
        return token

    def _test(self, name: _Token, sign: str, value: _Token) -> _Test:
        """How the column of a name stands to a value."""
        if name.kind == "word" and (name.text[0].isdigit() or _is_null(name) or _reading(name.text)[0] != "text"):
            hint = "write the column first, such as lr < 1e-3, or between two values, such as 1e-4 < lr < 1e-2"
            raise _wrong(f"{name.text!r} is no name of a column", name.at, hint)
        _require_value(value, sign)
        self.names[name.text] = None
        reading, is_null = _reading(value.text), _is_null(value)
        return lambda values: _fits(values(name.text), sign, value.text, reading, is_null=is_null)


def _not(test: _Test) -> _Test:
    return lambda values: not test(values)


def _is_null(token: _Token) -> bool:
    return token.kind == "word" and token.text.lower() in {"null", "none"}


def _require_value(token: _Token, sign: str) -> None:
    """Refuse what compares with nothing that a column holds, and so would hold of no version."""
    if token.kind == "text":
        return
    if token.text.startswith(("metric:", "config:", "tag:")):
        raise _wrong(f"{token.text!r} is a column's name", token.at, "compare a column with a value, or quote it")
    is_exact = any(short.fullmatch(token.text) or long.fullmatch(token.text) for short, long in _PRECISIONS)
    if _reading(token.text)[0] in _MEASURES or is_exact:
        return
    if token.text[0].isdigit():
        raise _wrong(f"{token.text!r} is neither number, date nor digest", token.at, "write a plain number; quote text")
    if sign not in {"==", "!="}:
        raise _wrong(f"{token.text!r} has no order", token.at, "write a number or a date; quote text")


def _fits(found: Any, sign: str, wanted: Any, reading: tuple[str, Any], *, is_null: bool = False) -> bool:  # noqa: ANN401 - plain values
    """Whether a version's value stands so to another, which was read already; ``is_null`` asks for none."""
    if sign == "!=":
        return not _fits(found, "==", wanted, reading, is_null=is_null)
    if isinstance(found, tuple | list):
        return any(_fits(each, sign, wanted, reading, is_null=is_null) for each in found or (None,))
    if found is None:
        return sign == "==" and is_null
    kind, value = _reading(_as_exact(found, wanted))
    return kind == reading[0] and (sign == "==" or kind in {*_MEASURES, "text"}) and _SIGNS[sign](value, reading[1])


_MEASURES = ("number", "version")
_NUMBER = re.compile(r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|inf(inity)?)", re.IGNORECASE)
_WORDS = {"true": ("truth", True), "false": ("truth", False), "nan": ("nan", None)}


def _reading(value: Any) -> tuple[str, Any]:  # noqa: ANN401 - a plain value
    """What a value is compared as: its kind, and itself as one of that kind."""
    if isinstance(value, bool):
        return "truth", value
    if isinstance(value, int | float):
        return ("number", value) if value == value else ("nan", None)  # noqa: PLR0124 - NaN alone is not itself
    if value is None:
        return "nothing", None
    text = str(value)
    if _NUMBER.fullmatch(text):
        return "number", int(text) if len(text) < _DIGITS and text.lstrip("+-").isdigit() else float(text)
    number = names.folder_number(text)
    return ("version", number) if number else _WORDS.get(text.lower(), ("text", text))


_DIGITS = 100  # int() refuses thousands of digits
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_PRECISIONS = (
    (re.compile(_DATE), re.compile(f"{_DATE}T.*")),
    (re.compile("(sha256:)?[0-9a-f]{7,63}"), re.compile("sha256:[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{64}")),
)


def _as_exact(found: Any, wanted: Any) -> Any:  # noqa: ANN401 - plain values
    """``found`` cut to what ``wanted`` says of it: a time to its date, a commit or digest to its first digits."""
    if isinstance(found, str) and isinstance(wanted, str):
        for short, long in _PRECISIONS:
            if short.fullmatch(wanted) and long.fullmatch(found):
                return found[: len(wanted)]
    return found
