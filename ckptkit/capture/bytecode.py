"""Compiled code compared: whether two pieces of it do the same, whatever their lines, docstrings and layout."""

from bisect import bisect_left
from collections.abc import Iterator
from operator import attrgetter
from types import CodeType
from typing import Any

_signature = attrgetter(
    "co_varnames", "co_freevars", "co_cellvars", "co_argcount", "co_posonlyargcount", "co_kwonlyargcount"
)
_body = attrgetter("co_code", "co_names", "co_flags", "co_exceptiontable")
_HAS_DOCSTRING = 0x4000000  # CO_HAS_DOCSTRING, from Python 3.13
_MAY_DIFFER = 0x100 | _HAS_DOCSTRING  # CO_ITERABLE_COROUTINE: types.coroutine sets it on code that is there
_IS_FUNCTION = 0x1  # CO_OPTIMIZED: neither the top level of a module nor that of a class
_PAIRS = {  # made of two instructions where these stand in one line, from Python 3.13
    "LOAD_FAST_LOAD_FAST": ("LOAD_FAST", "LOAD_FAST"),
    "STORE_FAST_LOAD_FAST": ("STORE_FAST", "LOAD_FAST"),
    "STORE_FAST_STORE_FAST": ("STORE_FAST", "STORE_FAST"),
}
_ABOUT = frozenset(["__doc__", "__firstlineno__", "__static_attributes__"])  # the last: in the order of hashes


def functions(code: CodeType) -> dict[str, list[CodeType]]:
    """All code in ``code`` by its qualified name; a property and its setter have the same, as have lambdas."""
    out: dict[str, list[CodeType]] = {}
    queue = [code]
    while queue:
        inside = _inside(queue.pop())
        queue += inside
        for each in inside:
            out.setdefault(each.co_qualname, []).append(each)
    return out


def same(one: CodeType, two: CodeType) -> bool:
    """Whether two pieces of code, and those in them, do the same."""
    if _signature(one) != _signature(two):
        return False
    if _body(one) == _body(two) and len(one.co_consts) == len(two.co_consts):
        pairs = zip(one.co_consts, two.co_consts, strict=True)
        if all(
            same(a, b) if isinstance(a, CodeType) and isinstance(b, CodeType) else _constant(a) == _constant(b)
            for a, b in pairs
        ):
            return True
    mine, yours = _inside(one), _inside(two)
    return len(mine) == len(yours) and all(map(same, mine, yours)) and _is_same_itself(one, two)


def differences(one: CodeType, two: CodeType) -> Iterator[CodeType]:
    """The functions of two modules' or classes' code that are not the same, and the code itself if its own is not."""
    if same(one, two):
        return
    inside: list[CodeType] = []
    for here, there in ((one, two), (two, one)):
        for each in _unmatched(here, there):
            twins = [other for other in _inside(there) if other.co_qualname == each.co_qualname]
            is_function = each.co_flags & _IS_FUNCTION or len(twins) != 1
            inside += [each] if is_function else differences(each, twins[0])
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
        if not any(other.co_qualname == each.co_qualname and same(each, other) for other in others)
    ]


def _is_same_itself(one: CodeType, two: CodeType) -> bool:
    """Whether code does the same, but for code in it, by its instructions: a docstring moves all constants."""
    if _signature(one) != _signature(two) or (one.co_flags ^ two.co_flags) & ~_MAY_DIFFER:
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
