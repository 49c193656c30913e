"""Changes: all that lies on disk and in no commit, as the id of a tree and as the patch that leads there."""

import contextlib
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ckptkit import redact
from ckptkit.capture.command import ProbeError
from ckptkit.capture.patch import CONFIDENTIAL, without_secrets
from ckptkit.capture.repository import Git, Place, refusal
from ckptkit.capture.status import LINK, Entry, Status, nested
from ckptkit.disk import reason
from ckptkit.record import Omitted, Submodule

FILE_LIMIT = 1_000_000
"""Most bytes of an untracked file whose content is taken into the patch."""

TOTAL_LIMIT = 20_000_000
"""Most bytes of all untracked files in the patch together, and of all tracked ones (as they are, or as they were)."""

_MADE = re.compile(r"/__pycache__/|\.egg-info/")
"""What Python and pip leave beside the code, in the paths of untracked files."""

LISTED = 1000
"""Most files left out of the patch that are listed one by one; more are told by their top folder."""

_DIFF = (
    *("diff-index", "--cached", "-p", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv"),
    *("--no-color", "--src-prefix=a/", "--dst-prefix=b/", "--submodule=short", "--ignore-submodules=none"),
)
_EMPTY_TREES = {
    40: "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    64: "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}
_GONE = "000000"
_MAY_HOLD = "may hold secrets"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Changes:
    """What becomes of the paths that differ: made as in HEAD, read from disk, left out, or repositories themselves."""

    back: list[tuple[str, str, str]] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    omitted: list[Omitted] = field(default_factory=list)
    embedded: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What lies on disk beyond the commit; unknown when git could not say."""

    dirty: bool | None = None
    tree: str | None = None
    patch: bytes = b""
    omitted: tuple[Omitted, ...] = ()
    submodules: tuple[Submodule, ...] = ()


def _inside(top: Path, exclude: Sequence[Path]) -> Callable[[str], bool]:
    """Whether a path of the repository is one of ``exclude`` or below; the whole repository never is."""
    folders = set[str]()
    for path in exclude:  # a link is excluded itself, and so is what it leads to
        places = Path(os.path.realpath(path.parent)) / path.name, os.path.realpath(path)
        folders |= {os.path.relpath(place, top) for place in places}
    prefixes = tuple(f"{folder}/" for folder in folders if folder != "." and folder.split("/")[0] != "..")
    return lambda path: f"{path}/".startswith(prefixes)


def content(place: Place, status: Status, project: Path, exclude: Sequence[Path], unknown: dict[str, str]) -> Content:
    """What lies on disk beyond the commit, as tree and patch.

    Args:
        place: the repository.
        status: what differs.
        project: root of the project, whose path is kept out of reasons.
        exclude: files and folders that count as in HEAD.
        unknown: takes the reasons for what could not be had.
    """
    changes, submodules = _beyond(place, status, exclude, unknown)
    some = bool(changes.back or changes.read)
    try:
        tree = _tree(place.git, changes)
        whole = place.git(*_DIFF, status.commit or _EMPTY_TREES[len(tree)]) if some else b""
        patch, withheld = without_secrets(whole, place.git)
    except ProbeError as error:
        unknown |= dict.fromkeys(("code.repository.tree", "code.repository.patch"), refusal(error, project))
        return Content(dirty=some or bool(changes.omitted), omitted=_folded(changes.omitted), submodules=submodules)
    sizes = {path: _unfit(place.top / path, TOTAL_LIMIT)[0] for path in withheld}
    partly = [Omitted(path=path, bytes=sizes[path], reason=why) for path, why in withheld.items()]
    omitted = _folded([*partly, *changes.omitted])
    return Content(dirty=bool(whole or omitted), tree=tree, patch=patch, omitted=omitted, submodules=submodules)


def state(place: Place, status: Status, exclude: Sequence[Path]) -> tuple[bool, str]:
    """Whether anything differs from the commit, and the id of the tree that ``content`` has; no patch is made.

    Raises:
        ProbeError: git does not answer.
    """
    changes, _ = _beyond(place, status, exclude, {})
    tree = _tree(place.git, changes)
    if changes.omitted or not (changes.back or changes.read):
        return bool(changes.omitted), tree
    return tree != place.git.ask("rev-parse", "-q", "--verify", "HEAD^{tree}"), tree


def _beyond(
    place: Place, status: Status, exclude: Sequence[Path], unknown: dict[str, str]
) -> tuple[_Changes, tuple[Submodule, ...]]:
    """What becomes of all that differs, and the repositories inside."""
    inside = _inside(place.top, exclude)
    entries = [
        entry
        for entry in status.entries
        if not inside(entry.path) and (entry.head or not _MADE.search(f"/{entry.path}"))
    ]
    changes = _sort(place, entries, status.links)
    changes.back.extend((*entry.head, entry.path) for entry in status.entries if entry.head and inside(entry.path))
    return changes, _submodules(place, status, {entry.path for entry in entries}, changes, unknown)


def _sort(place: Place, entries: Sequence[Entry], links: Mapping[str, str]) -> _Changes:
    changes = _Changes()
    total = 0
    for size, entry, (mode, oid) in _by_size(place, entries):
        bytes_now, why = None, ""
        replaced = entry.mode == LINK and entry.path not in links  # a file that gave way to a clone
        if replaced:
            changes.embedded.append(f"{entry.path}/")
        if entry.mode not in {LINK, _GONE}:
            bytes_now, why = _unfit(place.top / entry.path, TOTAL_LIMIT)
        if mode == _GONE and CONFIDENTIAL.fullmatch(entry.path):
            why = why or _MAY_HOLD
        if why or total + size > TOTAL_LIMIT:
            changes.back.append((mode, oid, entry.path))
            why = why or f"changed tracked files are over {TOTAL_LIMIT // 1_000_000} MB together"
            changes.omitted.append(Omitted(path=entry.path, bytes=bytes_now, reason=why))
            continue
        total += size
        if replaced or entry.mode == _GONE:
            changes.back.append(("0", "0" * len(oid), entry.path))
        else:
            changes.read.append(entry.path)
    _sort_untracked(place.top, {entry.path for entry in entries if entry.head is None}, changes)
    return changes


def _by_size(place: Place, entries: Sequence[Entry]) -> list[tuple[int, Entry, tuple[str, str]]]:
    """Tracked files with the larger of their sizes in HEAD and on disk, small ones first.

    A folder of new weights must not use up the room of a line in train.py; and what is gone stands in a patch as well.
    """
    tracked = [(entry, entry.head) for entry in entries if entry.head]
    said = b""
    if tracked:
        with contextlib.suppress(ProbeError):  # a partial clone lacks some
            objects = "".join(f"{oid}\n" for _, (_, oid) in tracked)
            said = place.git("cat-file", "--batch-check=%(objectname) %(objectsize)", stdin=objects)
    before = dict(line.split(" ", 1) for line in said.decode().splitlines() if not line.endswith(" missing"))
    sizes = [
        (max(int(before.get(head[1], 0)), _unfit(place.top / entry.path, TOTAL_LIMIT)[0] or 0), entry, head)
        for entry, head in tracked
    ]
    return sorted(sizes, key=lambda each: (each[0], each[1].path.count("/"), each[1].path))


def _sort_untracked(top: Path, paths: set[str], changes: _Changes) -> None:
    environments = {path.removesuffix("pyvenv.cfg"): 0 for path in paths if path.endswith("/pyvenv.cfg")}
    total = 0
    # The shallow first: a folder of thousands must not use up the room of train.py.
    for path in sorted(paths, key=lambda path: (path.count("/"), path)):
        if path.endswith("/"):
            if path not in changes.embedded:
                changes.embedded.append(path)
            continue
        size, why = _unfit(top / path, FILE_LIMIT)
        environment = next((folder for folder in environments if path.startswith(folder)), None)
        if environment:
            environments[environment] += size or 0
            continue
        if CONFIDENTIAL.fullmatch(path):
            why = why or _MAY_HOLD
        if why or total + (size or 0) > TOTAL_LIMIT:
            why = why or f"untracked files are over {TOTAL_LIMIT // 1_000_000} MB together"
            changes.omitted.append(Omitted(path=path, bytes=size, reason=why))
        else:
            total += size or 0
            changes.read.append(path)
    for folder, size in environments.items():
        changes.omitted.append(Omitted(path=folder.rstrip("/"), bytes=size, reason="an untracked virtual environment"))


def _unfit(path: Path, limit: int) -> tuple[int | None, str]:
    """Size of a file, and why its content cannot be taken; no reason when it can."""
    try:
        found = path.lstat()
    except OSError as error:
        return None, f"cannot be read: {reason(error)}"
    if stat.S_ISLNK(found.st_mode):
        return found.st_size, ""
    if not stat.S_ISREG(found.st_mode):
        return None, "is neither a file nor a link"
    if found.st_size > limit:
        return found.st_size, f"over {limit // 1_000_000} MB"
    return found.st_size, "" if os.access(path, os.R_OK) else "cannot be read: permission denied"


def _folded(omitted: Sequence[Omitted]) -> tuple[Omitted, ...]:
    """What was left out, as it is listed: without the tokens in names, and thousands of files by their top folder."""
    omitted = [replace(each, path=redact.text(each.path)) if redact.has_secret(each.path) else each for each in omitted]
    if len(omitted) <= LISTED:
        return tuple(omitted)
    folders: dict[str, list[Omitted]] = {}
    for each in omitted:
        folders.setdefault(each.path.split("/")[0], []).append(each)
    return tuple(
        each[0]
        if len(each) == 1
        else Omitted(
            path=folder,
            bytes=sum(one.bytes or 0 for one in each),
            reason=f"{len(each):,} files in this folder, the first of them: {each[0].reason}",
        )
        for folder, each in folders.items()
    )


def _submodules(
    place: Place, status: Status, changed: set[str], changes: _Changes, unknown: dict[str, str]
) -> tuple[Submodule, ...]:
    letters = {entry.path: entry.letters for entry in status.entries}
    found: list[Submodule] = []
    for path, recorded in status.links.items():
        commit: str | None = recorded
        said = letters.get(path, "S...")
        dirty = None if place.unsafe else said[2:] != ".."
        if not os.path.lexists(place.top / path / ".git"):
            commit = dirty = None
            unknown["code.repository.submodules"] = f"{path} is not checked out"
        elif said[1] == "C":
            commit, _ = nested(place, path)
        found.append(Submodule(path=path, commit=commit, dirty=dirty))
        if dirty and path in changed:
            changes.omitted.append(Omitted(path=path, bytes=None, reason="changes inside of a submodule"))
    for path in (path.rstrip("/") for path in changes.embedded):
        commit, dirty = nested(place, path)
        found.append(Submodule(path=path, commit=commit, dirty=dirty))
        changes.omitted.append(Omitted(path=path, bytes=None, reason="a repository of its own"))
    return tuple(found)


def _tree(git: Git, changes: _Changes) -> str:
    """The id of the tree with these changes; index and objects of it are in the scratch folder."""
    if changes.back:
        lines = (f"{mode} {oid}\t{path}\0" for mode, oid, path in changes.back)
        git("update-index", "-z", "--index-info", stdin="".join(lines))
    if changes.read:
        git("update-index", "--add", "--remove", "--replace", "-z", "--stdin", stdin="\0".join(changes.read))
    return git("write-tree", "--missing-ok").decode().strip()
