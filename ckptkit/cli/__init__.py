"""The command line: parsers, one thin function per verb, the only prints and exit codes.

Exit 0 fine; 1 the answer is no; 2 wrong use or bad input; 3 an unexpected fault; 130 interrupted.
"""

import argparse
import itertools
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ckptkit import __version__
from ckptkit.cli import data, everyday, naming, space, trees
from ckptkit.cli.shared import FAULT, FINE, INTERRUPTED, WRONG, Output, Parser, drop, fail
from ckptkit.errors import CkptkitError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; no exception leaves this function.

    Args:
        arguments: the words after ``ckptkit``; those of the process when None.
    """
    _open_streams()
    try:
        return _print(*_run(sys.argv[1:] if arguments is None else arguments))
    except CkptkitError as error:
        return fail(f"{error.message} (hint: {error.hint})" if error.hint else error.message, error.exit_code)
    except KeyboardInterrupt:
        return fail("interrupted", INTERRUPTED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return fail(f"{where}{(error.strerror or str(error)).lower()}", WRONG)
    except Exception as error:  # noqa: BLE001 - a traceback never reaches a user
        return fail(_report(error), FAULT)


def _open_streams() -> None:
    """Stand in for streams that whoever started us closed, and have no character be one that a stream cannot write.

    What is written to the stand-in of stdout fails as it would on the closed one; that of stderr swallows it. They also
    keep files of ours from getting their descriptors, into which a child process would then write its words.
    """
    for name, access, mode in (
        ("stdin", os.O_RDONLY, "r"),
        ("stdout", os.O_RDONLY, "w"),
        ("stderr", os.O_WRONLY, "w"),
    ):
        stream = getattr(sys, name)
        if stream is None or getattr(stream, "closed", False):
            stream = os.fdopen(os.open(os.devnull, access), mode, encoding="utf-8", closefd=False)
            setattr(sys, name, stream)
        if mode == "w" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _run(arguments: Sequence[str]) -> tuple[int, Output]:
    """The exit code of a command, and what it has to say on stdout."""
    try:
        options = _parser(arguments[0] if arguments else "").parse_args(_joined(arguments))
    except CkptkitError as error:
        if "unrecognized arguments" not in error.message or not arguments:
            raise
        words = " ".join(itertools.takewhile(str.isalpha, arguments[: 1 + (arguments[0] in {"alias", "data"})]))
        hint = "COMMAND stands after --; " if words == "data step" and "--" not in arguments else ""
        raise CkptkitError(error.message, f"{hint}see `ckptkit {words} --help`") from error
    except SystemExit as error:  # --help and --version
        return (error.code if isinstance(error.code, int) else FINE), ""
    from ckptkit import settings

    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise CkptkitError("the working directory does not exist any more", "go to one that does") from None
    settings.require(here)
    found: tuple[int, Output] = options.run(options)
    return found


def _joined(arguments: Sequence[str]) -> list[str]:
    """``--sort -loss`` as ``--sort=-loss``: argparse would take the word with the dash for an option."""
    words: list[str] = []
    for word in arguments:
        if words and words[-1] == "--sort" and "--" not in words and re.match("-[^-]", word):
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words


def _print(code: int, text: Output) -> int:
    try:
        sys.stdout.flush()
        sys.stdout.buffer.writelines([_encoded(text)] if isinstance(text, str) else text)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough
        drop(sys.stdout)
    except OSError as error:
        drop(sys.stdout)
        return fail(f"the output cannot be written: {(error.strerror or str(error)).lower()}", WRONG)
    return code


def _encoded(text: str) -> bytes:
    try:
        return os.fsencode(text)  # a file's name comes out as its bytes
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def _report(error: Exception) -> str:
    import platform
    import traceback

    from ckptkit import redact

    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"at {Path(frame.filename).name}:{frame.lineno} in {frame.name}"
    versions = f"ckptkit {__version__}, Python {platform.python_version()}, {platform.system()}"
    words = f"{type(error).__name__}: {redact.text(str(error))} ({place}; {versions})"
    return f"an unexpected fault, {words}; please report this line"


_DESCRIPTION = """\
Which data, code, hyperparameters and compute produced this checkpoint? Answered from plain files, without a server.

  ckptkit save model.safetensors --model penguins --config config.yaml --data train=data/train.csv
  ckptkit check runs/
  ckptkit show penguins
"""


_GROUPS = (everyday, naming, space, data, trees)


def _parser(word: str) -> argparse.ArgumentParser:
    """The parser, with no more verbs than the first word of the command line can mean: each takes its time to build."""
    parser = Parser(
        prog="ckptkit",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ckptkit {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    meant = [group for group in _GROUPS if word in group.VERBS]
    for group in meant or (_GROUPS if word != "--version" else ()):
        group.add(verbs)

    def refuse(_: argparse.Namespace) -> NoReturn:
        raise CkptkitError("no verb is given", f"the verbs are {', '.join(verbs.choices)}; see `ckptkit --help`")

    parser.set_defaults(run=refuse)
    return parser
