"""The verbs that say something of a version: alias, stage, describe, eval."""

import argparse
from pathlib import Path
from typing import Any

from ckptkit.bar import Bar
from ckptkit.cli.shared import FINE, add_at, add_reason, add_ref, pairs, to_json, verb, warn

VERBS = ("alias", "stage", "describe", "eval")


def add(verbs: Any) -> None:  # noqa: ANN401 - argparse keeps the type of its subparsers to itself
    """The parsers of these verbs."""
    _add_alias(verbs)
    stage = verb(verbs, "stage", _stage, "put a version into a stage")
    add_ref(stage)
    stage.add_argument("stage", metavar="STAGE", help="none, staging, production or archived")
    stage.add_argument(
        "--archive-existing", action="store_true", help="archive the model's other versions in that stage"
    )
    add_reason(stage)
    describe = verb(verbs, "describe", _describe, "say what a model or a version is")
    add_ref(describe, "a version, or the name of a model alone")
    describe.add_argument("text", metavar="TEXT", help="in place of what was said before; '' takes that away")
    add_reason(describe)
    measured = verb(verbs, "eval", _eval, "add what was measured of a version after it was saved")
    add_ref(measured)
    add = measured.add_argument
    add("--metric", action="append", default=[], metavar="[SPLIT/]K=V", help="one result, such as test/accuracy=0.98")
    add("--metrics", type=Path, metavar="FILE", help="results, YAML or JSON")
    add("--data", action="append", default=[], metavar="NAME=PATH", help="what was measured on, a file or a folder")
    add_reason(measured)


def _add_alias(verbs: Any) -> None:  # noqa: ANN401 - see add
    words = "set, remove, undo and look back on names that move, such as @champion"
    parser = verbs.add_parser("alias", help=words, description=f"{words.capitalize()}.", allow_abbrev=False)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    put = verb(actions, "set", _alias_set, "have an alias stand on a version")
    remove = verb(actions, "rm", _alias_rm, "have an alias stand on nothing")
    undo = verb(actions, "undo", _alias_undo, "put an alias back to where it stood before its last move")
    for each in (put, remove, undo):
        each.add_argument("alias", metavar="MODEL@ALIAS", help="such as penguins@champion")
        add_reason(each)
    put.add_argument("version", metavar="VERSION", help="a number of that model, or any reference to a version of it")
    add_at(put)
    for each in (put, remove):
        each.add_argument("--expect", metavar="VERSION", help="only if it stands there by now, or on `none`")
    log = verb(actions, "log", _alias_log, "where an alias stood, and why it was moved")
    log.add_argument(
        "alias", metavar="MODEL[@ALIAS]", help="such as penguins@champion; without @ALIAS all of the model's"
    )


def _alias_set(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.verbs import alias

    return _moved(
        options,
        alias.move(
            options.alias,
            options.version,
            at=options.at,
            expect=options.expect,
            reason=options.reason,
            root=options.root,
        ),
    )


def _alias_rm(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.verbs import alias

    done = alias.move(options.alias, None, expect=options.expect, reason=options.reason, root=options.root)
    return _moved(options, done)


def _alias_undo(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.verbs import alias

    return _moved(options, alias.undo(options.alias, reason=options.reason, root=options.root))


def _moved(options: argparse.Namespace, done: Any) -> tuple[int, str]:  # noqa: ANN401 - its room is loaded when needed
    from ckptkit.report import moves

    warn(done.warnings)
    return FINE, to_json(moves.moved_document(done)) if options.json else f"{moves.moved(done)}\n"


def _alias_log(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.report import moves
    from ckptkit.verbs import alias

    events = alias.log(options.alias, root=options.root)
    return FINE, to_json(moves.log_document(events)) if options.json else f"{moves.log(events)}\n"


def _stage(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.report import moves
    from ckptkit.verbs.stage import stage

    done = stage(
        options.ref,
        options.stage,
        at=options.at,
        archive_existing=options.archive_existing,
        reason=options.reason,
        root=options.root,
    )
    warn(done.warnings)
    return FINE, to_json(moves.staged_document(done)) if options.json else f"{moves.staged(done)}\n"


def _describe(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.report import additions
    from ckptkit.verbs.describe import describe

    done = describe(options.ref, options.text, at=options.at, reason=options.reason, root=options.root)
    warn(done.warnings)
    return FINE, to_json(additions.described_document(done)) if options.json else f"{additions.described(done)}\n"


def _eval(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.capture import metrics
    from ckptkit.report import additions
    from ckptkit.verbs.evaluate import evaluate

    given = pairs(options.metric, "--metric", "write --metric accuracy=0.98 or --metric test/accuracy=0.98")
    with Bar() as bar:
        done = evaluate(
            options.ref,
            metrics=dict(metrics.parse(f"{name}={value}") for name, value in given.items()),
            metrics_file=options.metrics,
            data=pairs(options.data, "--data", "write --data test=data/test.csv"),
            at=options.at,
            reason=options.reason,
            root=options.root,
            progress=bar,
        )
    warn(done.warnings)
    return FINE, to_json(additions.evaluated_document(done)) if options.json else f"{additions.evaluated(done)}\n"
