"""The verbs about data: data digest, step, snapshot, diff."""

import argparse
import contextlib
import os
from typing import Any

from ckptkit.bar import Bar
from ckptkit.cli.shared import FINE, NO, REFERENCE, Output, fail, pairs, to_json, verb, warn
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.words import inert

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
    parser.usage = "ckptkit data digest PATH [--manifest] | REF NAME [PATH] [--no-cache] [--json]"
    add = parser.add_argument
    add("what", metavar="PATH|REF", help="a file or folder; or, before NAME, a version")
    add("name", metavar="NAME", nargs="?", help="its dataset, to add the digest that its save left unknown")
    add("path", metavar="PATH", nargs="?", help="where that is, if not where it was")
    add("--manifest", action="store_true", help="print the lines of sha256sum for all files, as a version keeps them")
    add("--no-cache", dest="cached", action="store_false", help="read every byte")


def _digest(options: argparse.Namespace) -> tuple[int, Output]:
    from ckptkit import content

    if options.name is not None:
        return _digest_of_version(options)
    with Bar() as bar:
        expect = bar.expect if bar.is_shown else None  # it lists a folder once more
        found = content.digest(options.what, cached=options.cached, progress=bar, expect=expect)
    if options.json:
        return FINE, to_json(found.document(manifest=options.manifest))
    if options.manifest:
        return FINE, found.lines()
    return FINE, f"{found.digest}  {inert(os.fspath(found.path))}\n"


def _digest_of_version(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.report import datasets
    from ckptkit.verbs import data_digest

    if options.manifest:
        raise CkptkitError("--manifest goes with a PATH alone", "leave it out, or leave REF and NAME out")
    with Bar() as bar:
        done = data_digest.add(
            options.what,
            options.name,
            options.path,
            cached=options.cached,
            root=options.root,
            progress=bar,
            expect=bar.expect if bar.is_shown else None,
        )
    warn(done.warnings)
    text = to_json(datasets.added_document(done)) if options.json else f"{datasets.added(done)}\n"
    return FINE if done.is_same else NO, text


def _add_step(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    parser.usage = "ckptkit data step NAME --in PATH... --out PATH [--param K=V]... [--json] -- COMMAND"
    add("name", metavar="NAME", help="what the step does, such as deduplicate")
    add("--in", dest="inputs", action="extend", nargs="+", default=[], metavar="PATH", help="what it reads; also a URL")
    add("--out", required=True, metavar="PATH", help="the file or folder that it writes; beside it PATH.lineage.json")
    add("--param", action="append", default=[], metavar="K=V", help="a parameter of the step; V is JSON, else text")
    add("command", nargs="+", metavar="COMMAND", help="what to run; with --json its output goes to stderr")


def _step(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.verbs.data_step import data_step

    done = data_step(
        options.name,
        options.command,
        inputs=options.inputs,
        output=options.out,
        params={key: _value(text) for key, text in pairs(options.param, "--param", "write --param least=5").items()},
        root=options.root,
        stdout=_STDERR if options.json else None,
        watch=Bar,
    )
    warn(done.warnings)
    if options.json:
        return FINE, to_json(done.sidecar.to_dict())
    fail(f"the record of {done.sidecar.step.name} is {os.path.relpath(done.path)}", FINE)  # stdout is the command's
    return FINE, ""


_STDERR = 2


def _value(text: str) -> object:
    """What a parameter is: JSON where it is that, else text."""
    from ckptkit import documents

    with contextlib.suppress(FormatError):
        return documents.load_json(os.fsencode(text))
    return text


def _add_snapshot(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "source",
        metavar="SOURCE",
        help="https://…, s3://…, sqlite:///data/app.db or another URL; env:NAME for one in $NAME",
    )
    add("out", metavar="OUT", help="the file or folder to make; beside it OUT.lineage.json")
    add("--query", metavar="SQL", help="the rows of one SELECT, or @FILE with it; OUT ends in .parquet or .csv")
    add("--unordered", action="store_true", help="take a query without ORDER BY, and record that it has none")


def _snapshot(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.verbs.data_snapshot import data_snapshot

    with Bar() as bar:
        done = data_snapshot(
            options.source,
            options.out,
            query=options.query,
            unordered=options.unordered,
            root=options.root,
            expect=bar.expect,
            progress=bar,
        )
    warn(done.warnings)
    if options.json:
        return FINE, to_json(done.sidecar.to_dict())
    return FINE, f"{inert(f'{os.path.relpath(done.path)}  {done.sidecar.step.output.digest}')}\n"


def _add_diff(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", metavar="REF", help=REFERENCE)
    parser.add_argument("after", metavar="REF", help="another version")
    parser.add_argument("name", metavar="NAME", nargs="?", help="only the dataset of this name")


def _diff(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.report import datasets
    from ckptkit.verbs.data_diff import data_diff

    found = data_diff(options.before, options.after, options.name, root=options.root)
    text = to_json(datasets.diff_document(found)) if options.json else f"{datasets.diff(found)}\n"
    return NO if found.differs else FINE, text
