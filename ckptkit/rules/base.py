"""What a rule is: one pure generator over something that was read, with its code, its title, its why and its fix.

The disk is behind us when a rule runs; what could not be read is there as an ``Unreadable`` value.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from ckptkit import checkpoint
from ckptkit.checkpoint import Card, Checkpoint, Unreadable
from ckptkit.record import ANOTHER_PROCESS, NO_START, Lineage
from ckptkit.registry import HISTORY
from ckptkit.rules.contents import Contents

Severity = Literal["error", "warning"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A version against the history: the digest of its SHA256SUMS, and those that events give its number.

    ``saved`` are those that stand under the number, ``told`` those that ever did; ``free`` is a number never used.
    """

    ref: str
    digest: str | None
    saved: tuple[str, ...]
    told: frozenset[str]
    free: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A registry as a whole: the names of its models, why each derived file that is not up to date is not, its text."""

    root: Path
    models: tuple[str, ...]
    stale: Mapping[str, str]
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Text files below one folder, by path; ``mend`` says how to undo a conflict in them, where not as in a version."""

    files: Mapping[str, str]
    mend: str = ""


_PLACES: Mapping[type, str] = {Lineage: checkpoint.LINEAGE, Card: checkpoint.CARD, Sealed: checkpoint.SUMS}
"""Where a finding about such a thing is, unless its rule says otherwise; the folder itself for the others."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a rule yields: one fault in words, and whatever of it differs from its rule's own.

    Args:
        message: what is wrong, to be read after the path.
        where: the path below the thing's folder, POSIX.
        hint: how to mend it.
        line: 1-based line.
        column: 1-based column.
        severity: when it depends on more than the rule.
    """

    message: str
    where: str | None = None
    hint: str = ""
    line: int | None = None
    column: int | None = None
    severity: Severity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault of one thing.

    ``subject`` is the folder of the version, model or registry as people see it, ``where`` the path below it ("" for
    the folder itself); lines and columns are 1-based.
    """

    code: str
    severity: Severity
    subject: str
    where: str
    message: str
    hint: str
    line: int | None
    column: int | None

    @property
    def path(self) -> str:
        """The whole path as people see it."""
        return f"{self.subject.rstrip('/')}/{self.where}" if self.where else self.subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A check with a stable code. ``unless`` are the codes of which this one, at the same place, would be an echo."""

    code: str
    title: str
    fix: str
    severity: Severity
    of: type
    unless: tuple[str, ...]
    judge: Callable[[Any], Iterator[Fault]]

    @property
    def why(self) -> str:
        """The docstring of the rule's function."""
        return inspect.cleandoc(self.judge.__doc__ or "")

    def findings(self, thing: object, subject: str) -> Iterator[Finding]:
        """What is wrong with ``thing``, whose folder people know as ``subject``."""
        for fault in self.judge(thing):
            yield Finding(
                code=self.code,
                severity=fault.severity or self.severity,
                subject=subject,
                where=_PLACES.get(self.of, "") if fault.where is None else fault.where,
                message=fault.message,
                hint=fault.hint or self.fix,
                line=fault.line,
                column=fault.column,
            )


def rule(
    code: str, title: str, *, of: type[T], fix: str, severity: Severity = "error", unless: tuple[str, ...] = ()
) -> Callable[[Callable[[T], Iterator[Fault]]], Rule]:
    """Make a rule of a generator function, whose docstring says why it matters.

    Args:
        code: its stable code.
        title: what it finds, in a few words.
        of: the kind of thing that it looks at: Checkpoint, Lineage, Card, Sealed, Model, Contents, Tree or Texts.
        fix: what to do about it, in one sentence.
        severity: ``error`` for damaged or untrue, ``warning`` for incomplete.
        unless: codes that are its cause: where one of them is found at the same place, this one is silent.
    """

    def wrap(judge: Callable[[T], Iterator[Fault]]) -> Rule:
        return Rule(code=code, title=title, fix=fix, severity=severity, of=of, unless=unless, judge=judge)

    return wrap


Thing = Checkpoint | Sealed | Contents | Tree
"""What is read as a whole."""


def things(found: Thing) -> Iterator[object]:
    """``found``, and those parts of it that could be read and have rules of their own."""
    yield found
    if isinstance(found, Checkpoint):
        if isinstance(found.lineage, Lineage):
            yield found.lineage
        if isinstance(found.card, Card):
            yield found.card
        yield Texts(files={path: text for path, text in found.texts.items() if isinstance(text, str)})
    elif isinstance(found, Contents):
        yield found.model
        yield Texts(files=found.texts, mend=f"take one side: `git checkout --ours -- {HISTORY}`, or --theirs")
    elif isinstance(found, Tree):
        yield Texts(files=found.texts, mend="run `ckptkit index`")


def absent(found: Checkpoint, path: str) -> bool:
    """Whether nothing is there under a file's name, or a folder, which a git checkout and a copy can leave behind."""
    return path not in found.entries or found.entries[path].kind == "folder"


def unread(found: Checkpoint, path: str, value: object) -> Unreadable | None:
    """Why ``value``, read from the file ``path``, is not its content; None where it is, or where there is no file."""
    if isinstance(value, Unreadable):
        return value
    entry = found.entries.get(path)
    if value is None and entry is not None and entry.kind == "file" and entry.bytes > checkpoint.HASHED_ALWAYS:
        return Unreadable(reason=f"has {entry.bytes:,} bytes, too many to be read")
    return None


def intact(found: Checkpoint, *paths: str) -> bool:
    """Whether these files are as SHA256SUMS has them, so that it makes sense to compare what they say."""
    sums = found.sums if isinstance(found.sums, Mapping) else {}
    return all(path not in sums or found.hashed.get(path, sums[path]) == sums[path] for path in paths)


def refused(value: Unreadable, where: str | None = None) -> Fault:
    """The fault that a file could not be read, in the words of whoever tried."""
    return Fault(value.reason, where, value.hint, value.line, value.column)


def unknown(lineage: Lineage, *prefixes: str) -> dict[str, str]:
    """The unknown facts at or below dotted paths, with their reasons.

    Facts that are unknown because another process trained, or may have, are left out: one finding speaks for them all.
    """
    return {
        fact: reason
        for fact, reason in lineage.unknown.items()
        if reason not in {ANOTHER_PROCESS, NO_START} and any(f"{fact}.".startswith(f"{prefix}.") for prefix in prefixes)
    }


def some(names: list[str], most: int = 5) -> str:
    """The first few of ``names`` in words."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
