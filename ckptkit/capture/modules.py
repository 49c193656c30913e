"""Loaded code: the project's modules in this process by digests of text and syntax, and modules from nowhere known."""

import contextlib
import os
import re
import sys
from collections.abc import Sequence
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Any

from ckptkit import redact
from ckptkit.capture import attempt
from ckptkit.disk import read_regular
from ckptkit.errors import FormatError
from ckptkit.record import Foreign, Module

SYNTAX_LIMIT = 1 << 20
"""Most bytes of source whose syntax is looked at; takes about 0.2 s."""

_NO_MEANING = frozenset(["ctx", "kind", "type_comment", "type_ignores"])  # fields of syntax that follow from the rest


def modules(project: Path, unknown: dict[str, str]) -> tuple[Module, ...]:
    """The project's own code that this process has loaded, sorted by path.

    Files of the standard library, of installed distributions, of virtual environments and of ckptkit are left out. The
    digest of the syntax ignores comments, layout, docstrings and positions; it is None for what does not parse, as what
    is compiled, and for what is past ``SYNTAX_LIMIT`` together, counted from the smallest file.
    """
    found: dict[str, bytes] = {}
    out: list[Module] = []
    reasons: list[str] = []
    none: dict[str, dict[str, str]] = {}
    loaded = attempt(
        unknown, "code.modules", lambda: project_files(project) | project_files(project, compiled=True), none
    )
    for path, files in loaded.items():
        try:
            found[path] = read_regular(next(iter(files.values())))
        except FormatError as error:
            reasons.append(f"{path} {error.message}")
            out.append(Module(path=path, sha256=None, syntax=None))
    if reasons:
        unknown["code.modules"] = "; ".join(sorted(reasons))
    left = SYNTAX_LIMIT
    for path, source in sorted(found.items(), key=lambda pair: (len(pair[1]), pair[0])):
        left -= len(source)
        syntax = _syntax_sha256(source) if left >= 0 else None
        out.append(Module(path=path, sha256=sha256(source).hexdigest(), syntax=syntax))
    return tuple(sorted(out, key=lambda module: module.path))


FOREIGN_LIMIT = 64 << 20
"""Most bytes of foreign modules that are digested together; takes about 0.1 s."""

_GENERATED = ("torch._inductor.",)  # what a compiler writes follows from what is recorded


def foreign(project: Path, unknown: dict[str, str]) -> tuple[Foreign, ...]:
    """Loaded modules that neither project nor pins speak of, sorted by name, compiled ones too.

    Such are kernels and remote code of a hub, torch.hub, and what PYTHONPATH adds. Left out are the standard library,
    installed distributions (editable ones by their folders), virtual environments and ckptkit.
    """
    none: dict[str, str] = {}
    found = attempt(unknown, "code.foreign", lambda: _foreign_files(project), none)
    left = FOREIGN_LIMIT
    reasons: list[str] = []
    out: list[Foreign] = []
    for name, file in sorted(found.items()):
        digest = None
        try:
            data = read_regular(file, left)
            left -= len(data)
            digest = sha256(data).hexdigest()
        except FormatError as error:
            reasons.append(f"{name} {error.message}")
        path, outside = redact.path(Path(file), project)
        out.append(Foreign(name=name, path=path, outside=outside, sha256=digest))
    if reasons:
        unknown["code.foreign"] = "; ".join(reasons)
    return tuple(out)


def _foreign_files(project: Path) -> dict[str, str]:
    known = _known(project)
    elsewhere: dict[str, bool] = {}  # by folder
    out: dict[str, str] = {}
    for name, file in _unpackaged().items():
        if not file.startswith("/") or name.startswith(_GENERATED):
            continue
        folder = file.rpartition("/")[0]
        if folder not in elsewhere:
            elsewhere[folder] = not _is_in(folder, known) and not _in_environment(folder)
        if elsewhere[folder]:
            out[name] = file
    distributions = _distribution_folders() if out else ()
    return {name: file for name, file in out.items() if not _is_in(file.rpartition("/")[0], distributions)}


def _known(project: Path) -> tuple[str, ...]:
    """Folders of the project, the standard library, ckptkit, and the commands of this Python."""
    library, commands = str(Path(os.__file__).parent), [f"{prefix}/bin" for prefix in (sys.prefix, sys.base_prefix)]
    return (*_roots(project), library, os.path.realpath(library), str(Path(__file__).parents[1]), *commands)


def _is_in(folder: str, roots: Sequence[str]) -> bool:
    return any(_below(each, root) is not None for each in (folder, os.path.realpath(folder)) for root in roots)


def _in_environment(folder: str) -> bool:
    return any(installed("", each.strip("/").split("/")) for each in (folder, os.path.realpath(folder)))


def _distribution_folders() -> tuple[str, ...]:
    """Folders of editable distributions (PEP 610, or a .pth file), and those that ``pip install --target`` filled."""
    out: list[str] = []
    for place in dict.fromkeys(sys.path):
        names: list[str] = []
        with contextlib.suppress(OSError):  # not there, an archive, or closed to us
            names = os.listdir(place)
        if not _in_environment(place) and any(name.endswith(".dist-info") for name in names):
            out.append(place)
        for name in names:
            with contextlib.suppress(FormatError, ValueError):
                if name.endswith(".dist-info"):
                    out += _editable_folder(read_regular(f"{place}/{name}/direct_url.json"))
                elif name.endswith(".pth"):
                    out += [line for line in read_regular(f"{place}/{name}").decode().split("\n") if line[:1] == "/"]
    return tuple(out)


def _editable_folder(direct_url: bytes) -> list[str]:
    import json
    from urllib.parse import unquote, urlsplit

    match json.loads(direct_url):
        case {"dir_info": {"editable": True}, "url": str(url)}:
            return [unquote(urlsplit(url).path)]
        case _:
            return []


def module_files() -> dict[str, str]:
    """The files of all loaded modules, by the modules' names."""
    # Not by attribute, which makes a lazy module load what it stands for; a stand-in may be anything.
    named = {name: getattr(module, "__dict__", {}).get("__file__") for name, module in list(sys.modules.items())}
    return {name: file for name, file in named.items() if isinstance(file, str)}


def _unpackaged() -> dict[str, str]:
    """The files of loaded modules less what is plainly installed, so that of thousands few are looked at closely."""
    return {name: file for name, file in module_files().items() if "/site-packages/" not in file}


def calling(project: Path, name: str) -> str | None:
    """The path of a loaded module of the project whose source calls a function of a name; None where none does."""
    call = re.compile(rb"^[^#\n]*\b%b\(" % name.encode(), re.MULTILINE)
    for path, files in project_files(project).items():
        with contextlib.suppress(FormatError):
            if call.search(read_regular(next(iter(files.values())))):
                return path
    return None


def project_files(project: Path, *, compiled: bool = False) -> dict[str, dict[str, str]]:
    """The project's loaded files of source, or those without, by their paths in the record.

    Each is given by the names of its modules.
    """
    roots = _roots(project)
    inside: dict[str, str | None] = {}  # a module's folder: what stands before the file's name in the record
    out: dict[str, dict[str, str]] = {}
    for name, file in _unpackaged().items():
        if compiled is (file.endswith(".py") or name == "__main__"):
            continue
        folder, _, last = os.path.abspath(file).rpartition("/")  # noqa: PTH100 - a string, and thousands of them
        if folder not in inside:
            inside[folder] = _inside(folder, roots)
        below = inside[folder]
        if below is not None:
            out.setdefault(f"{below}{last}", {})[name] = file
    return out


def _roots(project: Path) -> tuple[str, ...]:
    return tuple(dict.fromkeys((str(project.absolute()), os.path.realpath(project))))


def _below(folder: str, root: str) -> str | None:
    """The path from ``root`` to a folder in it, empty for itself; None for a folder elsewhere."""
    if folder == root:
        return ""
    return folder[len(root) :].strip("/") if folder.startswith(f"{root.rstrip('/')}/") else None


def _inside(folder: str, roots: Sequence[str]) -> str | None:
    foreign = Path(os.__file__).parent, Path(__file__).parents[1]  # the standard library, and ourselves
    if f"{folder}/".startswith(tuple(f"{each}/" for each in foreign)):
        return None
    for candidate in (folder, os.path.realpath(folder)):
        for root in roots:
            below = _below(candidate, root)
            if below is not None:
                return None if below and installed(root, below.split("/")) else below and f"{below}/"
    return None


def installed(root: str, parts: Sequence[str]) -> bool:
    """Whether a folder, by the parts of its path from ``root``, belongs to an environment's packages or commands."""
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
