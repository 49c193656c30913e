"""The verbs that remove, rename and weigh: delete, rename, prune, du."""

import argparse
from typing import Any

from ckptkit.cli.shared import FINE, NO, add_consent, add_reason, confirm, to_json, verb, warn

VERBS = ("delete", "rename", "prune", "du")


def add(verbs: Any) -> None:  # noqa: ANN401 - argparse keeps the type of its subparsers to itself
    """The parsers of these verbs."""
    delete = verb(verbs, "delete", _delete, "remove a version; an event keeps what it was")
    delete.add_argument("ref", metavar="VERSION|MODEL", help="such as penguins/2 or penguins@old; with --all a model")
    delete.add_argument("--all", dest="every", action="store_true", help="all versions of MODEL")
    delete.add_argument("--force", action="store_true", help="also what bears an alias or is in production")
    add_consent(delete)
    rename = verb(verbs, "rename", _rename, "give a model another name, or a version another number")
    rename.add_argument("ref", metavar="MODEL|VERSION", help="such as penguins, or penguins/2")
    rename.add_argument("to", metavar="NEW|NUMBER", help="such as whales, or 7")
    add_reason(rename)
    _add_prune(verb(verbs, "prune", _prune, "remove the weights of versions that a policy does not keep"))
    du = verb(verbs, "du", _du, "what each model, run and version weighs")
    du.add_argument("model", metavar="MODEL", nargs="?", help="only this model")


def _add_prune(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="MODEL", nargs="?", help="the registered model")
    add("--all", dest="every", action="store_true", help="all models, each by itself")
    add("--keep-last", type=int, metavar="N", help="keep the newest N versions")
    add(
        "--keep-best",
        action="append",
        default=[],
        metavar="METRIC:max|min",
        help="keep the best version by METRIC; may be repeated",
    )
    add("--keep-aliased", action="store_true", help="keep versions that bear an alias")
    add("--keep-stage", action="append", default=[], metavar="S", help="keep versions in this stage; may be repeated")
    add(
        "--drop",
        action="append",
        default=[],
        metavar="GLOB",
        help="remove such files, as in 'optimizer*', instead of the weights (all saved files but those called like a "
        "configuration, a tokenizer or code, such as *.json, *.txt, *.py, tokenizer.model); may be repeated",
    )
    add("--dry-run", action="store_true", help="show what would go, and remove nothing")
    add("--force", action="store_true", help="also of what bears an alias or is in production")
    add_consent(parser)


def _delete(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.report import space
    from ckptkit.verbs.delete import delete

    done = delete(
        options.ref,
        every=options.every,
        force=options.force,
        reason=options.reason,
        root=options.root,
        agree=lambda plan: confirm(space.deletion(plan), yes=options.yes),
    )
    warn(done.warnings)
    code = FINE if done.done else NO
    if options.json:
        return code, to_json(space.deletion_document(done))
    return code, f"{space.deletion(done)}\n" * done.done


def _prune(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.report import space
    from ckptkit.verbs.prune import Pruning, prune

    refused = False

    def agree(plan: Pruning) -> bool:
        nonlocal refused
        refused = not confirm(space.pruning(plan), yes=options.yes)
        return not refused

    done = prune(
        options.model,
        every=options.every,
        keep_last=options.keep_last,
        keep_best=options.keep_best,
        keep_aliased=options.keep_aliased,
        keep_stages=options.keep_stage,
        drop=options.drop,
        dry_run=options.dry_run,
        force=options.force,
        reason=options.reason,
        root=options.root,
        agree=agree,
    )
    warn(done.warnings)
    code = NO if refused else FINE
    if options.json:
        return code, to_json(space.pruning_document(done))
    return code, "" if refused else f"{space.pruning(done)}\n"


def _rename(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.report import space
    from ckptkit.verbs.rename import rename

    done = rename(options.ref, options.to, reason=options.reason, root=options.root)
    warn(done.warnings)
    return FINE, to_json(space.renamed_document(done)) if options.json else f"{space.renamed(done)}\n"


def _du(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.report import space
    from ckptkit.verbs.du import du

    found = du(options.model, root=options.root)
    return FINE, to_json(space.usage_document(found)) if options.json else f"{space.usage(found)}\n"
