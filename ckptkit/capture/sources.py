"""Sources that git does not hold: copies of loaded modules and of text files that the command line names."""

import codecs
import os
from collections.abc import Container, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from ckptkit import redact
from ckptkit.capture import attempt
from ckptkit.capture.modules import installed, project_files
from ckptkit.capture.patch import CONFIDENTIAL, source
from ckptkit.disk import read_regular
from ckptkit.errors import FormatError
from ckptkit.record import Source

FILE_LIMIT = 1 << 20
"""Most bytes of a file that is kept."""

TOTAL_LIMIT = 20 << 20
"""Most bytes that are kept together, counted from the smallest file."""

_FIELD = "code.sources"
_DATA = (".csv", ".jsonl", ".ndjson", ".tsv")  # text, but no code: data is digested, never copied


def kept(
    project: Path, held: Container[str] | None, arguments: Sequence[str], unknown: dict[str, str], *, cwd: Path
) -> tuple[tuple[Source, ...], dict[str, bytes]]:
    """What of the code has to be copied, as no commit and no patch brings it back, sorted by path.

    Args:
        project: the folder that paths are relative to.
        held: paths from the project that git's tree holds; None outside of git.
        arguments: the command line; its words, and what stands in them after ``=`` or ``@``, may name a file.
        unknown: takes the reasons of files that are not copied.
        cwd: where the command line was given, which names in it are relative to.

    Returns:
        The sources, and by their path in the version their bytes, secrets left out.
    """
    none: tuple[tuple[Source, ...], dict[str, bytes]] = (), {}
    return attempt(unknown, _FIELD, lambda: _kept(_candidates(project, arguments, held, cwd), unknown), none)


def _kept(found: Mapping[str, str], unknown: dict[str, str]) -> tuple[tuple[Source, ...], dict[str, bytes]]:
    reasons: list[str] = []
    read: dict[str, bytes] = {}
    for path, file in found.items():
        try:
            if CONFIDENTIAL.fullmatch(path) or redact.has_secret(path):
                reasons.append(f"{redact.text(path)} is not copied: by its name it holds a secret")
            else:
                read[path] = read_regular(file, FILE_LIMIT)
        except FormatError as error:
            reasons.append(f"{path} {error.message}")
    out: list[Source] = []
    files: dict[str, bytes] = {}
    left = TOTAL_LIMIT
    for path, data in sorted(read.items(), key=lambda pair: (len(pair[1]), pair[0])):
        left -= len(data)
        if left < 0:
            reasons.append(f"{path} is past the {TOTAL_LIMIT >> 20} MB that are kept")
            continue
        name = path.encode(errors="replace").decode()  # of undecodable bytes there may be some in a name
        out.append(Source(path=name, file=f"code/{name}", sha256=sha256(data).hexdigest()))
        files[f"code/{name}"] = source(data, path)
    if reasons:
        unknown[_FIELD] = "; ".join(sorted(reasons))
    return tuple(sorted(out, key=lambda source: source.path)), files


def _candidates(project: Path, arguments: Sequence[str], held: Container[str] | None, cwd: Path) -> dict[str, str]:
    """Files to be kept, by their paths from the project."""
    root = os.path.realpath(project)
    found = {path: next(iter(files.values())) for path, files in project_files(project).items()}
    for name in (name for word in arguments for name in _names(word)):
        file = os.path.realpath(os.path.join(cwd, name))  # noqa: PTH118 - a string
        below = file.removeprefix(f"{root.rstrip('/')}/")
        # An interpreter or command of an environment in the project is named on a command line too.
        if below != file and not installed(root, below.split("/")) and _is_text(file):
            found.setdefault(below, file)
    if held is None:
        return found
    # Git does not follow links: what one leads to may be held under its own path.
    real = {path: os.path.relpath(os.path.realpath(file), root) for path, file in found.items()}
    return {path: file for path, file in found.items() if path not in held and real[path] not in held}


def _names(word: str) -> Iterator[str]:
    """What of an argument may be a file's name: ``conf.yaml``, ``--config=conf.yaml``, ``@arguments.txt``."""
    yield word
    yield word.partition("=")[2]
    yield word.removeprefix("@")


def _is_text(file: str) -> bool:
    """Whether a file shows to be text, and is not data by its name."""
    if file.endswith(_DATA) or not os.path.isfile(file):  # noqa: PTH113 - a string
        return False
    try:
        with open(file, "rb") as opened:  # noqa: PTH123 - the same
            start = opened.read(FILE_LIMIT)
        is_whole = len(start) < FILE_LIMIT  # else its last character may be cut
        codecs.getincrementaldecoder("utf-8")().decode(start, is_whole)
    except UnicodeDecodeError:
        return False
    except OSError:
        return True  # it may be, and why it cannot be read is told where it is read whole
    return b"\0" not in start
