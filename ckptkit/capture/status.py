"""The status: which paths of a work tree differ from its commit, as git says it."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ckptkit.capture.command import ProbeError
from ckptkit.capture.repository import Place

LINK = "160000"
"""The mode of a submodule, or of another repository inside."""

_STATUS = ("status", "--porcelain=v2", "--branch", "-z", "--no-renames", "--no-ahead-behind")
_NOTABLE = re.compile(rb"(?<![^\0])(?=[a-zS] |. 160000 )(.) (\d{6}) ([0-9a-f]+) \d\t([^\0]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A path that differs: mode and id in HEAD (None when untracked), mode on disk, and a submodule's letters."""

    path: str
    head: tuple[str, str] | None = None
    mode: str = ""
    letters: str = "N..."


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The answer of ``git status``; ``links`` are the submodules in the index and their commits there."""

    commit: str | None = None
    branch: str | None = None
    entries: tuple[Entry, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)


def status(place: Place) -> Status:
    """Ask git which paths differ from the commit, those included that marks in the index hide.

    Raises:
        ProbeError: git does not answer.
    """
    git = place.git
    links: dict[str, str] = {}
    assumed, skipped = list[str](), list[str]()
    for notable in _NOTABLE.findall(git("ls-files", "-v", "-s", "-z")):
        tag, mode, oid, path = map(os.fsdecode, notable)
        if mode == LINK:
            links[path] = oid
        if tag.islower():
            assumed.append(path)
        if tag in "sS" and os.path.lexists(place.top / path):  # else outside of a sparse checkout
            skipped.append(path)
    # Whoever hides a change from `git status` by these marks trains with it all the same.
    for mark, paths in (("--no-assume-unchanged", assumed), ("--no-skip-worktree", skipped)):
        if paths:
            git("update-index", mark, "-z", "--stdin", stdin="\0".join(paths))
    submodules = "dirty" if place.unsafe else "none"  # git would run in them, with their own configuration
    said = os.fsdecode(git(*_STATUS, "--untracked-files=all", f"--ignore-submodules={submodules}")).split("\0")[:-1]
    heads = dict(line[2:].split(" ", 1) for line in said if line.startswith("# "))
    return Status(
        commit=None if heads["branch.oid"] == "(initial)" else heads["branch.oid"],
        branch=None if heads["branch.head"] == "(detached)" else heads["branch.head"],
        entries=tuple(_entry(line) for line in said if not line.startswith("# ")),
        links=links,
    )


def _entry(line: str) -> Entry:
    """One entry of ``git status --porcelain=v2``, as its manual page lays it out."""
    if line.startswith("? "):
        return Entry(path=line[2:])
    if line.startswith("1 "):
        _, _, letters, head, _, mode, oid, _, path = line.split(" ", 8)
    else:  # unmerged: of the three stages the second is HEAD's
        _, _, letters, _, head, _, mode, _, oid, _, path = line.split(" ", 10)
    return Entry(path=path, head=(head, oid), mode=mode, letters=letters)


def nested(place: Place, path: str) -> tuple[str | None, bool | None]:
    """Commit of a repository inside, and whether it holds changes; None for what git would not say."""
    folder = place.top / path
    variables = {**place.outer.variables, "GIT_CEILING_DIRECTORIES": str(folder.parent)}  # never this one's answer
    try:
        said = os.fsdecode(replace(place.outer, folder=folder, variables=variables)(*_STATUS)).split("\0")[:-1]
    except ProbeError:
        return None, None
    commit = next(line.split(" ")[2] for line in said if line.startswith("# branch.oid "))
    return (None if commit == "(initial)" else commit), any(not line.startswith("# ") for line in said)
