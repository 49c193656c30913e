"""What the verbs' parsers and functions share: options, questions, progress, and the words on stderr."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TextIO

from ckptkit.errors import CkptkitError
from ckptkit.words import inert

FINE, NO, WRONG, FAULT, INTERRUPTED = 0, 1, 2, 3, 130

Output = str | Iterable[bytes]
"""What a verb prints: a text, or parts that need not fit into memory together."""

REFERENCE = "penguins, penguins@champion, penguins@latest, penguins@best:loss:min, penguins/2, sha256:…, or ./a/path"


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print and exit with."""
        from ckptkit import redact

        raise CkptkitError(redact.text(message), f"see `{self.prog} --help`")  # it repeats what was typed


def fail(words: str, code: int) -> int:
    """Say a line on stderr, and give the exit code back."""
    try:
        print(f"ckptkit: {inert(words)}", file=sys.stderr, flush=True)
    except OSError:
        drop(sys.stderr)
    return code


def drop(stream: TextIO) -> None:
    """Let the interpreter's own flush at exit go nowhere."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):  # no real stream
        return


def to_json(document: object) -> str:
    """The document that ``--json`` prints."""
    from ckptkit import documents

    return documents.dump_json(document).decode()


def width() -> int | None:
    """The cells of the terminal's lines; None where stdout is no terminal."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def is_coloured() -> bool:
    """Whether stdout shows colours, and they are wanted."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def pairs(words: Iterable[str], option: str, value: str) -> dict[str, str]:
    """The values of an option that is given as NAME=VALUE, by name.

    Raises:
        CkptkitError: a word is not of that form, or a name is given twice; ``value`` is the hint.
    """
    pairs: dict[str, str] = {}
    for word in words:
        name, mark, text = word.partition("=")
        if not mark or not name or not text:
            raise CkptkitError(
                f"{option} {word!r} has no '='" if not mark else f"{option} {word!r} is incomplete", value
            )
        if name in pairs:
            raise CkptkitError(f"{option} {name} is given twice", "keep one of them")
        pairs[name] = text
    return pairs


def verb(
    verbs: Any,  # noqa: ANN401 - argparse keeps the type of its subparsers to itself
    name: str,
    run: Callable[[argparse.Namespace], tuple[int, Output]],
    words: str,
    *,
    json: bool = True,
) -> argparse.ArgumentParser:
    """The parser of a verb, with the options that all verbs have.

    Args:
        verbs: where it belongs.
        name: the verb.
        run: what does it.
        words: what it does, for the help.
        json: whether it has a ``--json``.
    """
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=words, description=f"{words[0].upper()}{words[1:]}.", allow_abbrev=False
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--root", metavar="DIR", help="the registry root ($CKPTKIT_ROOT, [tool.ckptkit] root, or runs/)"
    )
    if json:
        parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def add_ref(parser: argparse.ArgumentParser, words: str = REFERENCE) -> None:
    """The reference of a version, and the time as of which it is read."""
    parser.add_argument("ref", metavar="REF", help=words)
    add_at(parser)


def add_at(parser: argparse.ArgumentParser) -> None:
    """The time as of which references are read."""
    parser.add_argument("--at", metavar="TIME", help="as of then: RFC 3339, or a date for the end of that day (UTC)")


def add_reason(parser: argparse.ArgumentParser) -> None:
    """Why, for the history."""
    parser.add_argument("--reason", metavar="TEXT", help="why, for the history")


def add_consent(parser: argparse.ArgumentParser) -> None:
    """What a command that removes something takes."""
    add_reason(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")


def confirm(plan: str, *, yes: bool) -> bool:
    """Whether to go on with what ``plan`` tells: asked on a terminal, said with ``--yes``.

    Raises:
        CkptkitError: there is nobody to ask. The plan is then on stderr.
    """
    if yes:
        return True
    for line in plan.splitlines():
        print(inert(line), file=sys.stderr)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CkptkitError("nothing was done: there is no terminal to ask on", "add --yes to do it")
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def warn(warnings: Iterable[str]) -> None:
    """Each warning as a line on stderr."""
    for words in warnings:
        fail(f"warning: {words}", FINE)
