"""A query as text: whether it is one that asks for rows, and whether it says in which order. Pure.

That it changes nothing is up to the database, which runs it read-only and rolls it back.
"""

import itertools
import re
from dataclasses import dataclass

from ckptkit.errors import CkptkitError

_TOKEN = re.compile(
    r"""
      (?P<gap> \s+ | --[^\n]* | /\*(?:[^*]|\*(?!/))*\*/ )
    | (?P<quoted> \b[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*`
        | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
    | (?P<word> [^\W\d][\w$]* )
    | (?P<mark> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_READING = ("SELECT", "WITH", "VALUES", "TABLE")
_SHUFFLING = frozenset(["RANDOM", "RAND", "NEWID", "GEN_RANDOM_UUID", "UUID"])
_HINT = "give one SELECT, such as SELECT id, text FROM reviews ORDER BY id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One query: its text without a semicolon, and whether its outermost level says in which order."""

    text: str
    is_ordered: bool


def read(text: str) -> Statement:
    """Look at a query as SQL has it, without knowing the database.

    Raises:
        CkptkitError: it is not exactly one statement that asks for rows, or a quote or comment never ends.
    """
    tokens = _tokens(text)
    if not tokens:
        raise CkptkitError("the query is empty", _HINT)
    words = [word for word, _, _ in tokens]
    if ";" in words:
        if words.index(";") != len(words) - 1:
            raise CkptkitError("the query is more than one statement", _HINT)
        text = text[: tokens[-1][2]]
        tokens, words = tokens[:-1], words[:-1]
    first = next((word for word in words if word != "("), "")
    if first not in _READING:
        raise CkptkitError(f"the query begins with {first or 'nothing'}: only what reads is run", _HINT)
    return Statement(text=text.strip(), is_ordered=_is_ordered([word for word, depth, _ in tokens if depth == 0]))


def _tokens(text: str) -> list[tuple[str, int, int]]:
    """Words in upper case and marks, each with the depth of parentheses and the place where it begins."""
    found, depth = [], 0
    for token in _TOKEN.finditer(text):
        kind, words = token.lastgroup, token[0]
        if kind == "gap":
            if words.startswith("/*") and "/*" in words[2:]:  # which ends where differs between databases
                raise CkptkitError("a comment in the query holds another", "remove the comment")
            continue
        if words in {"'", '"', "`"} or text.startswith("/*", token.start()):
            raise CkptkitError("a quote or comment in the query never ends", "close it")
        depth -= words == ")"
        found.append((words.upper() if kind == "word" else words, depth, token.start()))
        depth += words == "("
    return found


def _is_ordered(words: list[str]) -> bool:
    """Whether ORDER BY stands there, and no function that gives another order each time after it."""
    places = [place for place, pair in enumerate(itertools.pairwise(words)) if pair == ("ORDER", "BY")]
    return bool(places) and _SHUFFLING.isdisjoint(words[places[-1] :])
