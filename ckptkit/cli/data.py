"""The verbs about data: data digest, step, snapshot, diff."""

import argparse
from typing import Any

from ckptkit.cli.shared import verb

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
    parser.add_argument("name", metavar="NAME")


def _step(options: argparse.Namespace) -> tuple[int, str]:
    raise NotImplementedError(options)


def _add_snapshot(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE")


def _snapshot(options: argparse.Namespace) -> tuple[int, str]:
    raise NotImplementedError(options)


def _add_diff(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", metavar="REF")


def _diff(options: argparse.Namespace) -> tuple[int, str]:
    raise NotImplementedError(options)
