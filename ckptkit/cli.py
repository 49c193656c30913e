"""The command line: parsers, one thin function per verb, the only prints and exit codes.

Exit 0 fine; 1 the answer is no; 2 wrong use or bad input; 3 an unexpected fault; 130 interrupted.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn, Self, TextIO

from ckptkit import __version__
from ckptkit.errors import CkptkitError
from ckptkit.words import inert

FINE, NO, WRONG, FAULT, INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; no exception leaves this function.

    Args:
        arguments: the words after ``ckptkit``; those of the process when None.
    """
    _open_streams()
    try:
        return _print(*_run(sys.argv[1:] if arguments is None else arguments))
    except CkptkitError as error:
        return _fail(f"{error.message} (hint: {error.hint})" if error.hint else error.message, error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{(error.strerror or str(error)).lower()}", WRONG)
    except Exception as error:  # noqa: BLE001 - a traceback never reaches a user
        return _fail(_report(error), FAULT)


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


def _run(arguments: Sequence[str]) -> tuple[int, str]:
    """The exit code of a command, and what it has to say on stdout."""
    try:
        options = _parser().parse_args(_joined(arguments))
    except SystemExit as error:  # --help and --version
        return (error.code if isinstance(error.code, int) else FINE), ""
    from ckptkit import roots

    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise CkptkitError("the working directory does not exist any more", "go to one that does") from None
    roots.require_settings(here)
    found: tuple[int, str] = options.run(options)
    return found


def _joined(arguments: Sequence[str]) -> list[str]:
    """``--sort -loss`` as ``--sort=-loss``: argparse would take the word with the dash for an option."""
    words: list[str] = []
    for word in arguments:
        if words and words[-1] == "--sort" and re.match("-[^-]", word):
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words


def _print(code: int, text: str) -> int:
    try:
        data = os.fsencode(text)  # a file's name comes out as its bytes
    except UnicodeEncodeError:
        data = text.encode("utf-8", "backslashreplace")
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough
        _drop(sys.stdout)
    except OSError as error:
        _drop(sys.stdout)
        return _fail(f"the output cannot be written: {(error.strerror or str(error)).lower()}", WRONG)
    return code


def _fail(words: str, code: int) -> int:
    try:
        print(f"ckptkit: {inert(words)}", file=sys.stderr, flush=True)
    except OSError:
        _drop(sys.stderr)
    return code


def _drop(stream: TextIO) -> None:
    """Let the interpreter's own flush at exit go nowhere."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):  # no real stream
        return


def _report(error: Exception) -> str:
    import platform
    import traceback

    frame = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"an unexpected fault, {type(error).__name__}: {error} (at {Path(frame.filename).name}:{frame.lineno} in "
        f"{frame.name}; ckptkit {__version__}, Python {platform.python_version()}, {platform.system()}); "
        "please report this line"
    )


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise CkptkitError(message, f"see `{self.prog} --help`")


class _Bar:
    """A progress bar on a terminal, once the work has lasted half a second; nothing elsewhere."""

    def __init__(self) -> None:
        self._bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=0, unit="B", unit_scale=True, delay=0.5, leave=False, file=sys.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def expect(self, count: int) -> None:
        """So many bytes more will be read."""
        if self._bar is not None:
            self._bar.total += count

    def __call__(self, count: int) -> None:
        """So many bytes more were read."""
        if self._bar is not None:
            self._bar.update(count)


def _json(document: object) -> str:
    from ckptkit import documents

    return documents.dump_json(document).decode()


def _width() -> int | None:
    """The cells of the terminal's lines; None where stdout is no terminal."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _is_coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _pairs(words: Iterable[str], option: str, value: str) -> dict[str, str]:
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
        data=_pairs(options.data, "--data", "write --data train=data/train.csv"),
        metrics=_metrics(options.metric),
        metrics_file=options.metrics,
        aliases=options.alias,
        parents=options.parent,
        base_models=options.base_model,
        tags=_pairs(options.tag, "--tag", "write --tag purpose=baseline"),
        card=_pairs(options.card, "--card", "write --card license=mit"),
        step=options.step,
        epoch=options.epoch,
        message=options.message,
        exclude=options.exclude,
        rename=options.rename,
        move=options.move,
        root=options.root,
        python=options.python,
    )
    with _Bar() as bar:
        saved = save(request, progress=bar, expect=bar.expect)
    version, shown = saved.version, os.path.relpath(saved.version.path)
    for words in saved.warnings:
        _fail(f"warning: {words}", FINE)
    if not options.json:
        return FINE, f"{inert(f'{version.ref}  {shown}  {version.digest}')}\n"
    facts = {"ref": version.ref, "path": shown, "digest": version.digest, "warnings": list(saved.warnings)}
    return FINE, _json({"schema": "ckptkit/saved/1", **facts})


def _check(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit import rules
    from ckptkit.report import findings
    from ckptkit.verbs.check import check

    if options.explain:
        return FINE, f"{rules.explain(options.explain)}\n"
    with _Bar() as bar:
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
        return code, _json(findings.document(report))
    if options.format == "github":
        return code, f"{findings.github(report)}\n"
    return code, f"{findings.text(report, width=_width(), colour=_is_coloured())}\n"


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
        tags=_pairs(options.tag, "--tag", "write --tag purpose=baseline"),
    )
    if options.json:
        return FINE, _json(versions.rows(table))
    if not options.csv:
        return FINE, f"{versions.table(table, width=_width(), colour=_is_coloured())}\n"
    for ref, words in table.unreadable.items():
        _fail(f"warning: {ref}: {words}", FINE)
    return FINE, versions.csv(table)


def _show(options: argparse.Namespace) -> tuple[int, str]:
    from datetime import UTC, datetime

    from ckptkit.report import screen
    from ckptkit.verbs.show import show

    shown = show(options.ref, root=options.root)
    if options.json:
        return FINE, _json(screen.shown_document(shown))
    width = max(60, min(_width() or 100, 100))
    return FINE, f"{screen.screen(shown, now=datetime.now(UTC), width=width, colour=_is_coloured())}\n"


def _path(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.verbs.path import path

    with _Bar() as bar:
        found = path(
            options.ref, options.file, root=options.root, verify=options.verify, progress=bar, expect=bar.expect
        )
    return FINE, f"{found}\n"


def _index(options: argparse.Namespace) -> tuple[int, str]:
    from ckptkit.report import versions
    from ckptkit.verbs.index import index

    rebuilt = index(options.root)
    return FINE, _json(versions.rebuilt_document(rebuilt)) if options.json else f"{versions.rebuilt(rebuilt)}\n"


_DESCRIPTION = """\
Which data, code, hyperparameters and compute produced this checkpoint? Answered from plain files, without a server.

  ckptkit save model.safetensors --model penguins --config config.yaml --data train=data/train.csv
  ckptkit check runs/
  ckptkit show penguins
"""

_REFERENCE = "penguins, penguins@champion, penguins@latest, penguins/v0002, penguins/2, sha256:…, or ./a/path"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ckptkit",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ckptkit {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    _add_save(_verb(verbs, "save", _save, "publish a checkpoint as a new, immutable version"))
    _add_check(_verb(verbs, "check", _check, "validate a registry, a model or a version"))
    _add_list(_verb(verbs, "list", _list, "the versions as a table, sorted by whatever decides"))
    show = _verb(verbs, "show", _show, "which data, code, hyperparameters and compute: one screen")
    show.add_argument("ref", metavar="REF", help=_REFERENCE)
    path = _verb(verbs, "path", _path, "the path of a version or of a file in it, verified", json=False)
    path.add_argument("ref", metavar="REF", help=_REFERENCE)
    path.add_argument(
        "file", metavar="FILE", nargs="?", help="a file in the version; without it the folder is verified whole"
    )
    path.add_argument("--no-verify", dest="verify", action="store_false", help="trust the bytes")
    _verb(verbs, "index", _index, "write index.json, the registry's README and alias links again from the folders")

    def refuse(_: argparse.Namespace) -> NoReturn:
        raise CkptkitError("no verb is given", f"the verbs are {', '.join(verbs.choices)}; see `ckptkit --help`")

    parser.set_defaults(run=refuse)
    return parser


def _verb(
    verbs: Any,  # noqa: ANN401 - argparse keeps the type of its subparsers to itself
    name: str,
    run: Callable[[argparse.Namespace], tuple[int, str]],
    words: str,
    *,
    json: bool = True,
) -> argparse.ArgumentParser:
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
    add("--csv", action="store_true", help="print comma-separated values")
