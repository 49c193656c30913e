"""Code edited while it ran: the loaded code of the project, held against its files as they are now.

The file is compiled again and compared by instructions and constants, so that times, comments, layout, docstrings and
specialised bytecode do not matter. Of a module that still runs, as ``__main__`` does, all is compared. Of others the
top level is gone once it has run: functions and methods are compared, and in a file that was written since the process
began also their defaults and whether there are new ones; not the values of other names of modules and classes. Up to
Python 3.12 a line break moved inside of a condition can make the compiler write other jumps, which count as a change.
"""

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType, WrapperDescriptorType
from typing import Any

from ckptkit.capture import attempt, process
from ckptkit.capture.bytecode import differences, functions, same
from ckptkit.capture.modules import SYNTAX_LIMIT, project_files
from ckptkit.capture.moment import SLACK
from ckptkit.disk import read_regular
from ckptkit.errors import FormatError

FILE_GONE = "<file gone>"
SYNTAX_ERROR = "<syntax error>"

_FIELD = "code.changed_functions"


def changed(project: Path, unknown: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """The functions whose loaded code is not what their file holds, sorted, by the file's path from the project.

    A function stands for those defined in it. ``<module>`` stands for the top level of a module that still runs,
    ``FILE_GONE`` and ``SYNTAX_ERROR`` for all of a file that is not there or no longer compiles. Files that another
    loader than Python's own made into code, such as pytest's, and files past ``SYNTAX_LIMIT`` together, counted from
    the smallest, are not compared, which ``unknown`` tells; as it tells of those that differ, but were not written.
    """
    import warnings

    reasons: list[str] = []
    out: dict[str, tuple[str, ...]] = {}
    sources: dict[str, bytes] = {}
    loaded = project_files(project)
    for path, files in loaded.items():
        file = next(iter(files.values()))
        try:
            if loader := _rewriting_loader(files):
                reasons.append(f"{path} was loaded by {loader}, which may alter code")
            elif not os.path.exists(file):  # noqa: PTH110 - a string
                out[path] = (FILE_GONE,)
            else:
                sources[path] = read_regular(file)
        except FormatError as error:
            reasons.append(f"{path} {error.message}")
    live = _live_functions([*loaded.values()])
    running = _running()
    left = SYNTAX_LIMIT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an invalid escape in somebody's string
        for path, source in sorted(sources.items(), key=lambda pair: (len(pair[1]), pair[0])):
            left -= len(source)
            if left < 0:
                reasons.append(f"{path} is past the {SYNTAX_LIMIT >> 20} MB that are compared")
            elif names := _names(source, loaded[path], live, running):
                if _is_written(next(iter(loaded[path].values()))):
                    out[path] = tuple(sorted(names))
                else:  # typeguard compiles a function anew, or another folder took this one's name
                    reasons.append(
                        f"{path} was not written meanwhile, but loaded otherwise: {', '.join(sorted(names))}"
                    )
    if reasons:
        unknown[_FIELD] = "; ".join(sorted(reasons))
    return out


def _rewriting_loader(files: Iterable[str]) -> str | None:
    """The loader of a module that is not Python's own, which compiles a file as it is."""
    from importlib.machinery import SourceFileLoader

    for name in files:
        space = _space(name)
        loader = getattr(space.get("__spec__"), "loader", None) or space.get("__loader__")
        if loader is not None and type(loader) is not SourceFileLoader:
            return (loader if isinstance(loader, type) else type(loader)).__name__
    return None


def _space(name: str) -> Mapping[str, Any]:
    return getattr(sys.modules.get(name), "__dict__", {})


def _names(
    source: bytes,
    files: Mapping[str, str],
    live: Mapping[str, Sequence[FunctionType]],
    running: Mapping[int, CodeType],
) -> set[str]:
    """What of the modules loaded from one file is not what it holds."""
    file = next(iter(files.values()))
    try:
        code = compile(source, file, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return {SYNTAX_ERROR}
    tops = [running[id(_space(name))] for name in files if id(_space(name)) in running]
    places = {*files.values(), os.path.abspath(file), *(top.co_filename for top in tops)}  # noqa: PTH100 - a string
    spaces = {id(_space(name)) for name in files}  # code made elsewhere may be given the name of this file
    mine = [each for place in places for each in live.get(place, ()) if id(each.__globals__) in spaces]
    known = functions(code)
    out = {
        _shown(each.__code__)
        for each in mine
        if not any(same(each.__code__, other) for other in known.get(each.__code__.co_qualname, ()))
    }
    out.update(_shown(each) for top in tops for each in differences(top, code))
    if not tops and _is_written(file):
        out.update(_declared_otherwise(source, [_space(name) for name in files], mine))
    return out


def _shown(code: CodeType) -> str:
    """The name of the function or class in which code stands."""
    name = code.co_qualname.partition(".<")[0]
    return name if name == "<lambda>" or not name.startswith("<") else "<module>"


def _running() -> dict[int, CodeType]:
    """The code of each module that has not run to its end, by the id of its namespace."""
    out: dict[int, CodeType] = {}
    for innermost in sys._current_frames().values():  # noqa: SLF001 - the documented way to other threads
        frame = innermost
        while frame is not None:
            code, file = frame.f_code, str(frame.f_globals.get("__file__"))
            # A debugger's top level has the same namespace as that of the script, and so has what exec runs.
            if code.co_name == "<module>" and os.path.basename(code.co_filename) == os.path.basename(file):  # noqa: PTH119
                out[id(frame.f_globals)] = code
            frame = frame.f_back  # type: ignore[assignment]
    return out


_MOST = 256
"""Most members of a container that are looked through for functions."""

_HOLDERS = (FunctionType, MethodType, staticmethod, classmethod, property, partial)


def _live_functions(modules: Sequence[Mapping[str, str]]) -> dict[str, list[FunctionType]]:
    """All functions that can be reached from modules, by the file that their code names."""
    names = {name for files in modules for name in files}
    queue: list[Any] = [value for name in names for value in list(_space(name).values())]
    own = {_space(name).get("__name__", name) for name in names}
    seen: set[int] = set()
    out: dict[str, list[FunctionType]] = {}
    while queue:
        item = queue.pop()
        if id(item) not in seen:
            seen.add(id(item))
            if type(item) is FunctionType:
                out.setdefault(item.__code__.co_filename, []).append(item)
            queue += _held(item, own)
    return out


def _held(item: Any, own: set[str]) -> list[Any]:  # noqa: ANN401 - whatever a module holds
    """What may hold code in something; by its type and without its attributes, which may do anything."""
    kind = type(item)
    if kind is FunctionType:
        return [*_closed_over(item), *item.__dict__.values()]
    if issubclass(kind, type):
        return list(item.__dict__.values()) if item.__dict__.get("__module__") in own else []
    if kind in {staticmethod, classmethod, MethodType}:
        return [item.__func__]
    if kind is partial:
        return [item.func]
    if kind is property:
        return [item.fget, item.fset, item.fdel]
    if issubclass(kind, ModuleType):
        return []
    none: list[Any] = []  # also where a proxy stands for something that is not there
    return [each for each in attempt({}, _FIELD, lambda: _members(item), none) if type(each) in _HOLDERS]


def _members(item: Any) -> list[Any]:  # noqa: ANN401 - as _held
    """What a container holds, or an object in its attributes; nothing of one that holds very much."""
    inside = item if type(item) in {dict, list, tuple} else object.__getattribute__(item, "__dict__")
    return list(inside.values() if isinstance(inside, dict) else inside) if len(inside) <= _MOST else []


def _closed_over(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # it is empty
            yield cell.cell_contents


def _is_written(file: str) -> bool:
    """Whether a file's content or name was written since this process began: unlike an mtime, a ctime is not set."""
    started = process.started()
    return started is None or os.stat(file).st_ctime > started - SLACK  # noqa: PTH116 - a string


def _declared_otherwise(
    source: bytes, spaces: Sequence[Mapping[str, Any]], live: Sequence[FunctionType]
) -> Iterator[str]:
    """Names of functions whose file gives other constants as defaults, or that no module loaded from it has."""
    import ast

    tree = ast.parse(source)
    found: dict[str, list[Any]] = {}
    for name, node in _declared(tree.body, ""):
        found.setdefault(name, []).append(node)
    missing: list[str] = []
    for name, nodes in found.items():
        loaded = [each for each in live if each.__code__.co_qualname == name]
        if not loaded and not any(_is_bound(space, name) for space in spaces):
            missing.append(name)
        elif len(nodes) == 1 and not all(_same_defaults(each, nodes[0].args) for each in loaded):
            yield name
    if missing:
        deleted = {
            ast.unparse(each) for node in ast.walk(tree) if isinstance(node, ast.Delete) for each in node.targets
        }
        yield from (name for name in missing if deleted.isdisjoint(accumulate(name.split("."), "{}.{}".format)))


def _declared(body: Sequence[Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Functions and methods that a module has whatever happens, by qualified name."""
    import ast

    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{node.name}", node
        elif isinstance(node, ast.ClassDef):
            yield from _declared(node.body, f"{prefix}{node.name}.")


def _is_bound(space: Mapping[str, Any], name: str) -> bool:
    """Whether a qualified name stands for anything; what is below anything but a class of that name does."""
    first, *rest = name.split(".")
    if first not in space:
        return False
    value, path = space[first], first
    for part in rest:
        if not _is_as_declared(value, path):
            return True
        inside, mangled = value.__dict__, f"_{value.__name__.lstrip('_')}{part}"
        if part not in inside and mangled not in inside:
            return False
        value, path = inside.get(part, inside.get(mangled)), f"{path}.{part}"
    return True


def _is_as_declared(value: Any, name: str) -> bool:  # noqa: ANN401 - whatever a module holds
    """Whether it is the class of a ``class`` statement; a metaclass, a decorator, an import in C may drop methods."""
    if type(value) is not type or value.__qualname__ != name:
        return False
    return not any(type(each) is WrapperDescriptorType for each in value.__dict__.values())


def _same_defaults(function: FunctionType, arguments: Any) -> bool:  # noqa: ANN401 - ast.arguments
    given, named = function.__defaults__ or (), function.__kwdefaults__ or {}
    keywords = {each.arg: node for each, node in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if node}
    return (
        len(given) == len(arguments.defaults)
        and named.keys() == keywords.keys()
        and all(map(_is_written_so, arguments.defaults, given))
        and all(_is_written_so(keywords[name], value) for name, value in named.items())
    )


def _is_written_so(node: Any, value: object) -> bool:  # noqa: ANN401 - ast.expr
    """Whether an expression is this constant; one that is none, or may have been altered since, counts as such."""
    import ast

    try:
        written = ast.literal_eval(node)
    except (ValueError, TypeError):
        return True
    return isinstance(written, list | dict | set) or repr(written) == repr(value)
