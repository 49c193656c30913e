"""Markdown: text from outside made inert on its way in, and the structure of a text that people wrote. No disk."""

import html
import re
from collections.abc import Iterable, Iterator, Sequence

from ckptkit.words import inert

_MARKUP = re.compile(r"([\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_]))")  # "_" inside a word is no emphasis
_BLOCK = re.compile(r"(#{1,6}|[+-]|\d+[.)])(?= |$)|(=+|-+)$")  # what begins a heading, list, rule or underline
_HEADING = re.compile(r" {0,3}#{1,2}[ \t]+(.*?)[ \t]*#*\s*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")


def line(value: object) -> str:
    """One line without anything that a terminal or an editor would obey; such characters are spelled out."""
    return inert(" ".join(str(value).split()))


def text(value: object) -> str:
    """``value`` as one line that reads as it is: no HTML, emphasis, link, formula, table cell or block begins in it."""
    plain = _MARKUP.sub(r"\\\1", html.escape(line(value), quote=False))
    block = _BLOCK.match(plain)
    return f"{plain[: block.end() - 1]}\\{plain[block.end() - 1 :]}" if block else plain


def code(value: object) -> str:
    """``value`` as a span of code, or as ``text`` where a span in a table could not hold it."""
    plain = line(value)
    return f"`{plain}`" if plain and not set("`|<") & set(plain) else text(value)


def prose(value: str) -> str:
    """``value`` as ``text``, its paragraphs kept."""
    return "\n\n".join(text(part) for part in re.split(r"\n\s*\n", value.strip()))


def fenced(content: str, language: str) -> str:
    """A block of code whose fence is longer than any in ``content``."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", content)), default=0))
    return f"{fence}{language}\n{content}\n{fence}"


def bullets(items: Iterable[str]) -> str:
    """A list of items that are Markdown already."""
    return "\n".join(f"- {item}" for item in items)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def sections(content: str) -> dict[str, list[str]]:
    """The lines below each heading of level 1 or 2, less blocks of code, by the heading in lower case."""
    found: dict[str, list[str]] = {}
    name = ""
    for each, fence in _lines(content):
        heading = None if fence else _HEADING.fullmatch(each)
        if heading:
            name = heading[1].casefold()
        elif not fence:
            found.setdefault(name, []).append(each)
    return found


def closed(content: str) -> str:
    """``content`` with an end to a block of code or a comment that it leaves open."""
    *_, (_, fence) = _lines(content)
    if fence:
        content += f"\n{fence}"
    return f"{content}\n-->" if content.rfind("<!--") > content.rfind("-->") else content


def _lines(content: str) -> Iterator[tuple[str, str]]:
    """Every line with the fence that is open after it, if any; https://spec.commonmark.org/0.31.2/#fenced-code-blocks."""
    fence = ""
    for each in content.split("\n"):
        found = _FENCE.match(each)
        if found and not fence and not (found[1][0] == "`" and "`" in found[2]):
            fence = found[1]
        elif found and fence and found[1].startswith(fence) and not found[2].strip():
            fence = ""
        yield each, fence
