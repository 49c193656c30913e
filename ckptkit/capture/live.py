"""Code edited while it ran: the loaded code of the project, held against its files as they are now.

The file is compiled again and compared by instructions and constants, so that times, comments, layout, docstrings and
specialised bytecode do not matter. Of a module that still runs, as ``__main__`` does, all is compared. Of others the
top level is gone once it has run: functions and methods are compared, and in a file that was written since the process
began also their defaults and whether there are new ones; not the values of other names of modules and classes. Up to
Python 3.12 a line break moved inside of a condition can make the compiler write other jumps, which then count as a change.
"""

import contextlib
import os
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from ckptkit.capture import attempt, process
from ckptkit.capture.modules import SYNTAX_LIMIT, project_files, uncollected
from ckptkit.disk import read_regular
from ckptkit.errors import FormatError

FILE_GONE = "<file gone>"
SYNTAX_ERROR = "<syntax error>"

_FIELD = "code.changed_functions"
_SLACK = 2.0
"""Seconds by which clocks of disk and process may differ."""


def changed(project: Path, unknown: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """The functions whose loaded code is not what their file holds, sorted, by the file's path from the project.

    A function stands for those defined in it. ``<module>`` stands for the top level of a module that still runs,
    ``FILE_GONE`` and ``SYNTAX_ERROR`` for all of a file that is not there or no longer compiles. Files that another
    loader than Python's own made into code, such as pytest's, and files past ``SYNTAX_LIMIT`` together, counted from
    the smallest, are not compared, which ``unknown`` tells.
    """
    none: dict[str, tuple[str, ...]] = {}
    with uncollected():
        return attempt(unknown, _FIELD, lambda: _changed(project, unknown), none)


def _changed(project: Path, unknown: dict[str, str]) -> dict[str, tuple[str, ...]]:
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
                out[path] = tuple(sorted(names))
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
    mine = [function for place in places for function in live.get(place, ())]
    known = _functions(code)
    out = {
        _shown(each.__code__)
        for each in mine
        if not any(_same(each.__code__, other) for other in known.get(each.__code__.co_qualname, ()))
    }
    out.update(_shown(each) for top in tops for each in _differences(top, code))
    if not tops and _is_written(file):
        out.update(_declared_otherwise(source, [_space(name) for name in files], mine))
    return out


def _shown(code: CodeType) -> str:
    """The name of the function or class in which code stands."""
    name = code.co_qualname.partition(".<")[0]
    return name if name == "<lambda>" or not name.startswith("<") else "<module>"


_signature = attrgetter(
    "co_varnames", "co_freevars", "co_cellvars", "co_argcount", "co_posonlyargcount", "co_kwonlyargcount"
)
_body = attrgetter("co_code", "co_names", "co_flags", "co_exceptiontable")
_HAS_DOCSTRING = 0x4000000  # CO_HAS_DOCSTRING, from Python 3.13
_IS_FUNCTION = 0x1  # CO_OPTIMIZED: neither the top level of a module nor that of a class
_PAIRS = {  # made of two instructions where these stand in one line, from Python 3.13
    "LOAD_FAST_LOAD_FAST": ("LOAD_FAST", "LOAD_FAST"),
    "STORE_FAST_LOAD_FAST": ("STORE_FAST", "LOAD_FAST"),
    "STORE_FAST_STORE_FAST": ("STORE_FAST", "STORE_FAST"),
}
_ABOUT = frozenset(["__doc__", "__firstlineno__", "__static_attributes__"])  # the last: in the order of hashes


def _functions(code: CodeType) -> dict[str, list[CodeType]]:
    """All code in ``code`` by its qualified name; a property and its setter have the same, as have lambdas."""
    out: dict[str, list[CodeType]] = {}
    queue = [code]
    while queue:
        inside = _inside(queue.pop())
        queue += inside
        for each in inside:
            out.setdefault(each.co_qualname, []).append(each)
    return out


def _same(one: CodeType, two: CodeType) -> bool:
    """Whether two pieces of code, and those in them, do the same."""
    if _signature(one) != _signature(two):
        return False
    if _body(one) == _body(two) and len(one.co_consts) == len(two.co_consts):
        pairs = zip(one.co_consts, two.co_consts, strict=True)
        if all(
            _same(a, b) if isinstance(a, CodeType) and isinstance(b, CodeType) else _constant(a) == _constant(b)
            for a, b in pairs
        ):
            return True
    mine, yours = _inside(one), _inside(two)
    return len(mine) == len(yours) and all(map(_same, mine, yours)) and _is_same_itself(one, two)


def _differences(one: CodeType, two: CodeType) -> Iterator[CodeType]:
    """The functions of two modules' or classes' code that are not the same, and the code itself if its own is not."""
    if _same(one, two):
        return
    inside: list[CodeType] = []
    for here, there in ((one, two), (two, one)):
        for each in _unmatched(here, there):
            twins = [other for other in _inside(there) if other.co_qualname == each.co_qualname]
            is_function = each.co_flags & _IS_FUNCTION or len(twins) != 1
            inside += [each] if is_function else _differences(each, twins[0])
    yield from inside
    if not inside or not _is_same_itself(one, two):
        yield one


def _inside(code: CodeType) -> list[CodeType]:
    return [each for each in code.co_consts if isinstance(each, CodeType)]


def _unmatched(one: CodeType, two: CodeType) -> list[CodeType]:
    """Code that stands in the first and is not the same as any of its name in the second."""
    others = _inside(two)
    return [
        each
        for each in _inside(one)
        if not any(other.co_qualname == each.co_qualname and _same(each, other) for other in others)
    ]


def _is_same_itself(one: CodeType, two: CodeType) -> bool:
    """Whether code does the same, but for code in it, by its instructions: a docstring moves all constants."""
    if _signature(one) != _signature(two) or (one.co_flags ^ two.co_flags) & ~_HAS_DOCSTRING:
        return False
    (mine, left_out), (yours, left_out_there) = _instructions(one), _instructions(two)
    if mine != yours:
        return False
    return left_out != left_out_there or one.co_exceptiontable == two.co_exceptiontable  # which counts instructions


def _instructions(code: CodeType) -> tuple[list[tuple[str, object]], int]:
    """What code does, step by step, and how many steps were left out that do nothing or only tell of the code."""
    import dis

    steps: list[tuple[int, str, Any]] = []
    jumps = {dis.opname[each] for each in (*dis.hasjrel, *dis.hasjabs)}
    count = 0
    for step in dis.get_instructions(code):
        count += 1
        if step.opname == "STORE_NAME" and step.argval in _ABOUT and steps[-1][1] == "LOAD_CONST":
            steps.pop()
        elif step.opname in _PAIRS:
            pair = zip(_PAIRS[step.opname], step.argrepr.split(", "), strict=True)
            steps += [(step.offset, name, argument) for name, argument in pair]
        elif step.opname not in {"EXTENDED_ARG", "NOP"}:
            argument = _constant(step.argval) if step.opcode in dis.hasconst else step.argrepr or step.arg
            steps.append((step.offset, step.opname, step.argval if step.opname in jumps else argument))
    offsets = [offset for offset, _, _ in steps]
    out = [(name, bisect_left(offsets, to) if name in jumps else to) for _, name, to in steps]
    return out, count - len(steps)


def _constant(constant: object) -> object:
    """A constant as text, which tells 1 from 1.0 and True; a set in any order, code by its name."""
    if isinstance(constant, CodeType):
        return constant.co_qualname
    return sorted(map(repr, constant)) if isinstance(constant, frozenset) else repr(constant)


def _running() -> dict[int, CodeType]:
    """The code of each module that has not run to its end, by the id of its namespace."""
    out: dict[int, CodeType] = {}
    for innermost in sys._current_frames().values():  # noqa: SLF001 - the documented way to other threads
        frame = innermost
        while frame is not None:
            code = frame.f_code
            if code.co_name == "<module>" and not code.co_filename.startswith("<"):  # what exec runs there is not it
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
    try:
        inside = item if kind in {dict, list, tuple} else object.__getattribute__(item, "__dict__")
        members = list(inside.values() if isinstance(inside, dict) else inside) if len(inside) <= _MOST else []
    except AttributeError:
        return []
    return [each for each in members if type(each) in _HOLDERS]


def _closed_over(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # it is empty
            yield cell.cell_contents


def _is_written(file: str) -> bool:
    """Whether a file's content or name was written since this process began: unlike an mtime, a ctime is not set."""
    started = process.started()
    return started is None or os.stat(file).st_ctime > started - _SLACK  # noqa: PTH116 - a string


def _declared_otherwise(
    source: bytes, spaces: Sequence[Mapping[str, Any]], live: Sequence[FunctionType]
) -> Iterator[str]:
    """Names of functions whose file gives other constants as defaults, or that no module loaded from it has."""
    import ast

    tree = ast.parse(source)
    found: dict[str, list[Any]] = {}
    for name, node in _declared(tree.body, ""):
        found.setdefault(name, []).append(node)
    for name, nodes in found.items():
        loaded = [each for each in live if each.__code__.co_qualname == name]
        is_new = not loaded and not any(_is_bound(space, name) for space in spaces) and not _is_deleted(name, tree)
        if is_new or (len(nodes) == 1 and not all(_same_defaults(each, nodes[0].args) for each in loaded)):
            yield name


def _is_deleted(name: str, tree: Any) -> bool:  # noqa: ANN401 - ast.Module
    import ast

    return any(
        isinstance(target, ast.Name) and target.id == name
        for node in ast.walk(tree)
        if isinstance(node, ast.Delete)
        for target in node.targets
    )


def _declared(body: Sequence[Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Functions and methods that a module has whatever happens, by qualified name."""
    import ast

    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{node.name}", node
        elif isinstance(node, ast.ClassDef):
            yield from _declared(node.body, f"{prefix}{node.name}.")


def _is_bound(space: Mapping[str, Any], name: str) -> bool:
    """Whether a qualified name stands for anything; what is below anything but a class does."""
    first, *rest = name.split(".")
    if first not in space:
        return False
    value = space[first]
    for part in rest:
        if not issubclass(type(value), type):
            return True
        mangled = f"_{value.__name__.lstrip('_')}{part}"
        inside = value.__dict__
        if part not in inside and mangled not in inside:
            return False
        value = inside.get(part, inside.get(mangled))
    return True


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
