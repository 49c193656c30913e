"""Expression: what ``list --where`` asks of each version, such as ``lr < 1e-3 and seed == 7``. Pure; no code is run.

::

    either     = both {"or" both}
    both       = one {"and" one}
    one        = "not" one | "(" either ")" | comparison
    comparison = operand sign operand {sign operand} | name ["not"] "in" "(" value {"," value} ")"
    sign       = "==" | "!=" | "<" | "<=" | ">" | ">="

Of the operands of a comparison the first bare word is a column's name, as is every word that begins with ``metric:``,
``config:`` or ``tag:``; where there is neither, the first quoted text. The others are values: numbers, quoted text,
bare words, ``true``, ``false``, ``null``.

A condition is true or false of every version, and ``!=`` is the negation of ``==``; of a value that is missing all else
is false but ``== null``. Of several values, such as aliases, one that fits suffices. Text that reads as a number
(``1e-3`` in YAML 1.1) is one. A time is compared with a bare date by its date, a commit or digest by its first digits.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
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
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


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
        tests = [self._both()]
        while self._take("or"):
            tests.append(self._both())
        return _any(tests)

    def _both(self) -> _Test:
        tests = [self._one()]
        while self._take("and"):
            tests.append(self._one())
        return _all(tests)

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
        operands, signs = [self._operand()], []
        if sign := self._take("in", "not"):
            return self._membership(operands[0], negated=sign == "not")
        while sign := self._take(*_SIGNS):
            signs.append(sign)
            operands.append(self._operand())
        if not signs:
            words = f"{operands[0].text!r} is compared with nothing"
            raise _wrong(words, operands[0].at, "write a comparison, such as dirty == true or lr < 1e-3")
        columns = self._columns(operands)
        return _all([_pair(*pair, sign, columns) for pair, sign in zip(pairwise(operands), signs, strict=True)])

    def _membership(self, name: _Token, *, negated: bool) -> _Test:
        hint = "write the values in parentheses, such as seed in (1, 2)"
        if negated:
            self._expect("in", hint)
        self._expect("(", hint)
        tokens = [self._operand()]
        while self._take(","):
            tokens.append(self._operand())
        self._expect(")", hint)
        columns = self._columns([name])
        test = _any([_pair(name, token, "==", columns) for token in tokens])
        return _not(test) if negated else test

    def _operand(self) -> _Token:
        token = self._token
        if token.kind not in {"word", "text"}:
            found = repr(token.text) if token.text else "it ends"
            raise _wrong(f"{found} where a name or a value is due", token.at, "write one; quote words such as 'in'")
        self._next += 1
        return token

    def _columns(self, operands: Sequence[_Token]) -> set[_Token]:
        """Which operands of a comparison are names."""
        first = [token for token in operands if _is_name(token)][:1]
        columns = {*first, *(token for token in operands if token.kind == "word" and token.text.startswith(_PREFIXES))}
        columns = columns or {*[token for token in operands if token.kind == "text"][:1]}
        self.names |= dict.fromkeys(token.text for token in operands if token in columns)
        return columns


def _all(tests: Sequence[_Test]) -> _Test:
    return tests[0] if len(tests) == 1 else lambda values: all(test(values) for test in tests)


def _any(tests: Sequence[_Test]) -> _Test:
    return tests[0] if len(tests) == 1 else lambda values: any(test(values) for test in tests)


def _not(test: _Test) -> _Test:
    return lambda values: not test(values)


_PREFIXES = ("metric:", "config:", "tag:")
_NULL = ("null", "none")


def _is_name(token: _Token) -> bool:
    is_value = token.kind == "text" or token.text[0].isdigit() or token.text.lower() in _NULL
    return not is_value and _reading(token.text)[0] == "text"


def _pair(left: _Token, right: _Token, sign: str, columns: set[_Token]) -> _Test:
    """Two neighbours of a comparison; a value on the left changes places with a name on the right."""
    if left not in columns:
        left, right, sign = right, left, _MIRRORED[sign]
    if left not in columns:
        hint = "write a column's name on one side, such as lr < 1e-3"
        raise _wrong(f"{right.text!r} and {left.text!r} are both values", min(left.at, right.at), hint)
    if right in columns:
        return lambda values: _fits(values(left.text), sign, wanted := values(right.text), _reading(wanted))
    reading, is_bare = _reading(right.text), right.kind == "word"
    if sign in {"<", "<=", ">", ">="} and is_bare and reading[0] not in _MEASURES and not right.text[0].isdigit():
        hint = "write a number or a date; quote text; write metric:, config: or tag: before the name of a column"
        raise _wrong(f"{right.text!r} has no order", right.at, hint)
    is_null = is_bare and right.text.lower() in _NULL
    return lambda values: _fits(values(left.text), sign, right.text, reading, is_null=is_null)


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
