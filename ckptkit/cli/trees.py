"""The verbs over whole registries: merge, index, which."""

import argparse
from typing import Any

from ckptkit.bar import Bar
from ckptkit.cli.shared import FINE, NO, fail, to_json, verb, warn

VERBS = ("merge", "index", "which")


def add(verbs: Any) -> None:  # noqa: ANN401 - argparse keeps the type of its subparsers to itself
    """The parsers of these verbs."""
    merge = verb(verbs, "merge", _merge, "copy what another registry has and this one lacks, versions and events")
    merge.add_argument("other", metavar="OTHER_ROOT", help="the root of the other registry; nothing there is changed")
    verb(verbs, "index", _index, "write index.json, the registry's README and alias links again from the folders")
    _add_which(verbs)


def _add_which(verbs: Any) -> None:  # noqa: ANN401 - argparse keeps the type of its subparsers to itself
    words = "whose file or folder is this? pruned and deleted versions included"
    parser = verbs.add_parser("which", help=words, description=f"{words.capitalize()}.", allow_abbrev=False)
    parser.set_defaults(run=_which)
    parser.add_argument("what", metavar="FILE|FOLDER|sha256:…", help="what is looked for, by its bytes")
    parser.add_argument("--root", metavar="DIR", action="append", help="a registry root; may be given several times")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _merge(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.report import trees
    from ckptkit.verbs.merge import merge

    with Bar() as bar:
        done = merge(options.other, root=options.root, progress=bar, expect=bar.expect)
    warn(done.warnings)
    code = NO if done.refused else FINE
    return code, to_json(trees.merged_document(done)) if options.json else f"{trees.merged(done)}\n"


def _index(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.report import trees
    from ckptkit.verbs.index import index

    rebuilt = index(options.root)
    warn(words for words in rebuilt.warnings if not words.endswith("was taken in"))
    return FINE, to_json(trees.rebuilt_document(rebuilt)) if options.json else f"{trees.rebuilt(rebuilt)}\n"


def _which(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.report import trees
    from ckptkit.verbs.which import which

    with Bar() as bar:
        found = which(options.what, root=options.root or (), progress=bar)
    code = FINE if found.matches else NO
    if not found.matches:
        places = " or ".join(found.roots)
        fail(f"no version in {places} holds {options.what} (hint: name other registries with --root DIR)", code)
    if options.json:
        return code, to_json(trees.answer_document(found))
    return code, f"{trees.answer(found)}\n" if found.matches else ""
