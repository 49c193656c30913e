"""Loaded code: which of the project's modules this process has loaded, with digests of their text and syntax."""

import os
import sys
from collections.abc import Sequence
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Any

from ckptkit.capture import attempt
from ckptkit.disk import read_regular
from ckptkit.errors import FormatError
from ckptkit.record import Module

SYNTAX_LIMIT = 1 << 20
"""Most bytes of source whose syntax is looked at; takes about 0.2 s."""

_NO_MEANING = frozenset(["ctx", "kind", "type_comment", "type_ignores"])  # fields of syntax that follow from the rest


def modules(project: Path, unknown: dict[str, str]) -> tuple[Module, ...]:
    """The project's own code that this process has loaded, sorted by path.

    Files of the standard library, of installed distributions, of virtual environments and of ckptkit are left out. The
    digest of the syntax ignores comments, layout, docstrings and positions; it is None for what does not parse and for
    what is past ``SYNTAX_LIMIT`` together, counted from the smallest file.
    """
    import gc

    found: dict[str, bytes] = {}
    out: list[Module] = []
    none: dict[str, str] = {}
    for path, file in attempt(unknown, "code.modules", lambda: _project_files(project), none).items():
        try:
            found[path] = read_regular(file)
        except FormatError as error:
            unknown["code.modules"] = f"{path} {error.message}"
            out.append(Module(path=path, sha256=None, syntax=None))
    left = SYNTAX_LIMIT
    was_on = gc.isenabled()
    gc.disable()  # syntax trees set it off, and one pass over torch's objects costs as much as all of this
    try:
        for path, source in sorted(found.items(), key=lambda pair: (len(pair[1]), pair[0])):
            left -= len(source)
            syntax = _syntax_sha256(source) if left >= 0 else None
            out.append(Module(path=path, sha256=sha256(source).hexdigest(), syntax=syntax))
    finally:
        if was_on:
            gc.enable()
    return tuple(sorted(out, key=lambda module: module.path))


def module_files() -> dict[str, str]:
    """The files of all loaded modules, by the modules' names."""
    # Not by attribute, which makes a lazy module load what it stands for; a stand-in may be anything.
    named = {name: getattr(module, "__dict__", {}).get("__file__") for name, module in list(sys.modules.items())}
    return {name: file for name, file in named.items() if isinstance(file, str)}


def _project_files(project: Path) -> dict[str, str]:
    roots = tuple(dict.fromkeys((str(project.absolute()), os.path.realpath(project))))
    inside: dict[str, str | None] = {}  # a module's folder: what stands before the file's name in the record
    out: dict[str, str] = {}
    for name, file in module_files().items():
        if not (file.endswith(".py") or name == "__main__"):
            continue
        folder, _, last = os.path.abspath(file).rpartition("/")  # noqa: PTH100 - a string, and thousands of them
        if folder not in inside:
            inside[folder] = _inside(folder, roots)
        below = inside[folder]
        if below is not None:
            out[f"{below}{last}"] = file
    return out


def _inside(folder: str, roots: Sequence[str]) -> str | None:
    foreign = Path(os.__file__).parent, Path(__file__).parents[1]  # the standard library, and ourselves
    if f"{folder}/".startswith(tuple(f"{each}/" for each in foreign)):
        return None
    for candidate in (folder, os.path.realpath(folder)):
        for root in roots:
            if candidate == root:
                return ""
            if candidate.startswith(f"{root.rstrip('/')}/"):
                parts = candidate[len(root) :].strip("/").split("/")
                return None if _installed(root, parts) else f"{'/'.join(parts)}/"
    return None


def _installed(root: str, parts: list[str]) -> bool:
    if not {"site-packages", "dist-packages"}.isdisjoint(parts):
        return True
    folders = accumulate(parts, lambda above, part: f"{above}/{part}", initial=root)
    return any(
        os.path.lexists(f"{folder}/{sign}") for folder in list(folders)[1:] for sign in ("pyvenv.cfg", "conda-meta")
    )


def _syntax_sha256(source: bytes) -> str | None:
    """Digest of the syntax tree, written out here because ``ast.dump`` differs between releases of Python."""
    import ast
    import warnings

    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    out: list[str] = []
    names: dict[type, tuple[str, ...]] = {}

    def write(node: Any) -> None:  # noqa: ANN401 - a node, a list of them, or a constant
        kind = type(node)
        if kind is list:
            out.append("[")
            for item in node:
                write(item)
                out.append(",")
            out.append("]")
        elif kind in names or issubclass(kind, ast.AST):
            if kind not in names:
                names[kind] = tuple(name for name in kind._fields if name not in _NO_MEANING)
            out.append(f"{kind.__name__}(")
            for name in names[kind]:
                value = getattr(node, name, None)
                if value is not None and value != []:
                    out.append(f"{name}=")
                    is_documented = name == "body" and isinstance(node, documented)
                    if is_documented and ast.get_docstring(node, clean=False) is not None:
                        value = value[1:]
                    write(value)
            out.append(")")
        else:
            out.append(repr(node))

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape in somebody's string
            write(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return sha256("".join(out).encode(errors="surrogatepass")).hexdigest()
