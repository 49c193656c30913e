"""The verbs about data: data digest, step, snapshot, diff."""

import argparse
import contextlib
import os
import re
from typing import Any

from ckptkit.cli.shared import FINE, Bar, fail, pairs, to_json, verb, warn

VERBS = ("data",)


def add(verbs: Any) -> None:  # noqa: ANN401 - argparse keeps the type of its subparsers to itself
    """The parsers of these verbs."""
    parser = verbs.add_parser(
        "data", help="digest, prepare, freeze and compare data", description="Which data, and how it was made."
    )
    below = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_digest(verb(below, "digest", _digest, "the SHA-256 of a file or folder, or of a version's dataset"))
    _add_step(verb(below, "step", _step, "run one step of preparation and record it beside its output"))
    _add_snapshot(verb(below, "snapshot", _snapshot, "freeze what will change: a URL, or a query of a database"))
    _add_diff(verb(below, "diff", _diff, "the files that differ between the datasets of two versions"))


def _add_digest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", metavar="PATH|REF")


def _digest(options: argparse.Namespace) -> tuple[int, str]:
    raise NotImplementedError(options)


def _add_step(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    parser.usage = "ckptkit data step NAME --in PATH... --out PATH [--param K=V]... [--json] -- COMMAND"
    add("name", metavar="NAME", help="what the step does, such as deduplicate")
    add("--in", dest="inputs", action="extend", nargs="+", default=[], metavar="PATH", help="what it reads; also a URL")
    add("--out", required=True, metavar="PATH", help="the file or folder that it writes; beside it PATH.lineage.json")
    add("--param", action="append", default=[], metavar="K=V", help="a parameter of the step")
    add("command", nargs="+", metavar="COMMAND", help="what to run; with --json its output goes to stderr")


def _step(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.verbs.data_step import data_step

    done = data_step(
        options.name,
        options.command,
        inputs=options.inputs,
        output=options.out,
        params={key: _scalar(text) for key, text in pairs(options.param, "--param", "write --param least=5").items()},
        root=options.root,
        stdout=_STDERR if options.json else None,
        watch=Bar,
    )
    warn(done.warnings)
    if options.json:
        return FINE, to_json(done.sidecar.to_dict())
    fail(f"recorded {done.sidecar.step.name} in {os.path.relpath(done.path)}", FINE)  # stdout is the command's
    return FINE, ""


_STDERR = 2
_SAID = {"true": True, "false": False, "null": None}
_WORDS = {form: value for word, value in _SAID.items() for form in (word, word.title(), word.upper())}
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?")


def _scalar(text: str) -> object:
    """A scalar as YAML 1.2 reads it: ``no`` and ``12:30`` are text."""
    with contextlib.suppress(ValueError):  # more digits than Python reads
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    return _WORDS.get(text, text)


def _add_snapshot(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE")


def _snapshot(options: argparse.Namespace) -> tuple[int, str]:
    raise NotImplementedError(options)


def _add_diff(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", metavar="REF")


def _diff(options: argparse.Namespace) -> tuple[int, str]:
    raise NotImplementedError(options)
