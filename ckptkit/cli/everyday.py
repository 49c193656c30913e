"""The everyday verbs: save, check, list, show, path."""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ckptkit.bar import Bar
from ckptkit.cli.shared import (
    FINE,
    NO,
    add_at,
    add_ref,
    fail,
    is_coloured,
    pairs,
    to_json,
    verb,
    warn,
    width,
)
from ckptkit.errors import CkptkitError
from ckptkit.words import inert

VERBS = ("save", "check", "list", "show", "path")


def add(verbs: Any) -> None:  # noqa: ANN401 - argparse keeps the type of its subparsers to itself
    """The parsers of these verbs."""
    _add_save(verb(verbs, "save", _save, "publish a checkpoint as a new, immutable version"))
    _add_check(verb(verbs, "check", _check, "validate a registry, a model or a version"))
    _add_list(verb(verbs, "list", _list, "the versions as a table, sorted by whatever decides"))
    add_ref(verb(verbs, "show", _show, "which data, code, hyperparameters and compute: one screen"))
    path = verb(verbs, "path", _path, "the path of a version or of a file in it, verified", json=False)
    add_ref(path)
    path.add_argument(
        "file", metavar="FILE", nargs="?", help="a file in the version; without it the folder is verified whole"
    )
    path.add_argument("--no-verify", dest="verify", action="store_false", help="trust the bytes")


def _metrics(words: Iterable[str]) -> dict[str, float | str]:
    from ckptkit.capture import metrics

    found: dict[str, float | str] = {}
    for name, value in map(metrics.parse, words):
        if name in found:
            raise CkptkitError(f"--metric {name} is given twice", "keep one of them")
        found[name] = value
    return found


def _save(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.capture.intake import Request
    from ckptkit.verbs.save import save

    request = Request(
        weights=options.paths,
        model=options.model,
        from_training=False,
        config=[Path(path) for path in options.config],
        data=pairs(options.data, "--data", "write --data train=data/train.csv"),
        manifests=pairs(options.manifest, "--manifest", "write --manifest train=train.sha256"),
        deep=options.deep,
        data_budget=options.data_budget,
        metrics=_metrics(options.metric),
        metrics_file=options.metrics,
        aliases=options.alias,
        only_if=options.only_if,
        parents=options.parent,
        base_models=options.base_model,
        tags=pairs(options.tag, "--tag", "write --tag purpose=baseline"),
        card=pairs(options.card, "--card", "write --card license=mit"),
        step=options.step,
        epoch=options.epoch,
        message=options.message,
        exclude=options.exclude,
        rename=options.rename,
        move=options.move,
        root=options.root,
        python=options.python,
        not_applicable=pairs(options.not_applicable, "--not-applicable", "write --not-applicable seed='draws nothing'"),
        links=options.link,
        bundle=options.bundle,
        keep_secrets=options.keep_secrets,
        run=options.of_run,
    )
    with Bar() as bar:
        saved = save(request, progress=bar, expect=bar.expect if bar.is_shown else None)
    version, shown = saved.version, os.path.relpath(saved.version.path)
    for words in saved.notes:
        fail(words, FINE)
    warn(saved.warnings)
    if not options.json:
        return FINE, f"{inert(f'{version.ref}  {shown}  {version.digest}')}\n"
    facts = {"ref": version.ref, "path": shown, "digest": version.digest}
    said = {"notes": list(saved.notes), "warnings": list(saved.warnings)}
    return FINE, to_json({"schema": "ckptkit/saved/1", **facts, **said})


def _check(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit import rules
    from ckptkit.report import findings
    from ckptkit.verbs.check import check

    if options.explain:
        return FINE, f"{rules.explain(options.explain)}\n"
    with Bar() as bar:
        report = check(
            *options.paths,
            root=options.root,
            select=_codes(options.select),
            ignore=_codes(options.ignore),
            deep=options.deep,
            progress=bar,
            expect=bar.expect,
        )
    code = NO if report.failed(strict=options.strict) else FINE
    if options.json or options.format == "json":
        return code, to_json(findings.document(report))
    if options.format == "github":
        return code, f"{findings.github(report)}\n"
    return code, f"{findings.text(report, width=width(), colour=is_coloured())}\n"


def _codes(words: Iterable[str]) -> list[str]:
    return [code for word in words for code in word.replace(",", " ").split()]


def _list(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.report import versions
    from ckptkit.verbs.list import list as list_verb

    table = list_verb(
        options.model,
        root=options.root,
        sort=options.sort,
        columns=[name.strip() for word in options.columns for name in word.split(",") if name.strip()],
        tags=pairs(options.tag, "--tag", "write --tag purpose=baseline"),
        stage=options.stage,
        where=options.where,
        runs=options.runs,
        at=options.at,
    )
    if options.json:
        return FINE, to_json(versions.rows(table))
    if not options.csv:
        return FINE, f"{versions.table(table, width=width(), colour=is_coloured())}\n"
    for ref, words in table.unreadable.items():
        fail(f"warning: {ref}: {words}", FINE)
    return FINE, versions.csv(table)


def _show(options: argparse.Namespace) -> tuple[int, str]:
    from datetime import UTC, datetime

    from ckptkit.report import screen
    from ckptkit.verbs.show import show

    shown = show(options.ref, at=options.at, root=options.root)
    if options.json:
        return FINE, to_json(screen.shown_document(shown))
    cells = max(60, min(width() or 100, 100))
    return FINE, f"{screen.screen(shown, now=datetime.now(UTC), width=cells, colour=is_coloured())}\n"


def _path(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.verbs.path import path

    with Bar() as bar:
        found = path(
            options.ref,
            options.file,
            root=options.root,
            at=options.at,
            verify=options.verify,
            progress=bar,
            expect=bar.expect,
        )
    return FINE, f"{found}\n"


def _add_save(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("paths", metavar="PATH", nargs="+", help="what the training wrote: a file, a folder, or several")
    add("--model", required=True, metavar="NAME", help="the registered model; made when it is new")
    add(
        "--config",
        action="append",
        default=[],
        metavar="FILE",
        help="hyperparameters, YAML or JSON; later ones override",
    )
    add("--data", action="append", default=[], metavar="NAME=PATH", help="a dataset, a file or a folder")
    add("--metrics", type=Path, metavar="FILE", help="results, YAML or JSON")
    add("--metric", action="append", default=[], metavar="[SPLIT/]K=V", help="one result, such as test/accuracy=0.98")
    add(
        "--alias", action="append", default=[], metavar="A", help="a name that moves to this version, such as candidate"
    )
    add("--if", dest="only_if", metavar="METRIC:min|max", help="move aliases only if this version is better in that")
    add(
        "--parent",
        action="append",
        default=[],
        metavar="REF|PATH[:RELATION]",
        help=("what it was made from; RELATION is finetuned, resumed, merged, quantized, distilled or previous"),
    )
    add(
        "--base-model",
        action="append",
        default=[],
        metavar="ID[@REVISION]",
        help="a model from elsewhere that it was made from",
    )
    add(
        "--manifest",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="a list of sha256sum that stands in for hashing the dataset NAME",
    )
    add("--deep", action="store_true", help="hold the bytes against these lists")
    add("--data-budget", metavar="TIME", help="hash data no longer than this, such as 60s; names and sizes are kept")
    add("--tag", action="append", default=[], metavar="K=V", help="a free fact")
    add("--step", type=int, metavar="N", help="optimizer steps so far")
    add("--epoch", type=float, metavar="N", help="epochs so far")
    add("-m", "--message", metavar="TEXT", help="one line on why this version is")
    add(
        "--card",
        action="append",
        default=[],
        metavar="K=V",
        help="a part of the model card that only people know, such as license=mit",
    )
    add("--exclude", action="append", default=[], metavar="GLOB", help="leave such files out of folders")
    add("--as", dest="rename", metavar="NAME", help="the name that the one PATH gets in the version")
    add("--move", action="store_true", help="remove the sources once the version is published")
    add(
        "--run",
        dest="of_run",
        metavar="ID",
        help="the run that ckptkit.start began; without it the newest that named these weights, else this model",
    )
    add("--link", action="append", default=[], metavar="URL", help="the same run elsewhere, such as in wandb")
    add(
        "--not-applicable",
        action="append",
        default=[],
        metavar="NAME=WHY",
        help="a hyperparameter that there is none of, such as seed='draws nothing'",
    )
    add("--bundle", action="store_true", help="store the commits that are on no remote, with all that they hold")
    add("--keep-secrets", action="store_true", help="leave tokens and passwords in the record")
    add("--python", metavar="EXE", help="whose packages are pinned ($VIRTUAL_ENV, $CONDA_PREFIX, or ckptkit's own)")


def _add_check(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("paths", metavar="PATH", nargs="*", help="a registry root, a model or a version; without one the default root")
    add(
        "--select",
        action="append",
        default=[],
        metavar="CODES",
        help="only findings whose code begins so, such as CK2,CK8",
    )
    add("--ignore", action="append", default=[], metavar="CODES", help="no findings whose code begins so")
    add("--explain", metavar="CODE", help="why a rule is, and how to mend what it finds")
    add("--deep", action="store_true", help="hash every file again and trust no cache")
    add("--strict", action="store_true", help="exit 1 on warnings too")
    add("--format", choices=("text", "json", "github"), default="text", help="how findings are printed")


def _add_list(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", nargs="?", help="only this model's versions")
    add(
        "--sort",
        metavar="COLUMN",
        help="by a metric, a hyperparameter, or any column; a - before it descends: --sort -COLUMN",
    )
    add(
        "--columns",
        action="append",
        default=[],
        metavar="A,B",
        help="metrics, hyperparameters, size, created, commit, …",
    )
    add("--tag", action="append", default=[], metavar="K=V", help="only versions with this tag")
    add("--stage", metavar="STAGE", help="only versions in this stage")
    add("--where", metavar="CONDITION", help="only versions of which it holds, such as 'lr < 1e-3 and seed == 7'")
    add("--runs", action="store_true", help="a row for each run: its best version by --sort, its newest without")
    add_at(parser)
    add("--csv", action="store_true", help="print comma-separated values")
