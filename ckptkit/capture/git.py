"""The git work tree: commit, remote, and as a patch all that lies on disk and in no commit.

Nothing is written into the repository: index and new objects live in a scratch folder. No command of a repository runs
that git would not run for this user, and no network is used.
"""

import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from ckptkit import redact
from ckptkit.capture.process import ProbeError, run
from ckptkit.disk import reason
from ckptkit.record import Omitted, Repository, Submodule

SECONDS = 60.0
"""How long git may take altogether."""

GRACE = 2.0
"""How long one quick question may take when that time is over."""

FILE_LIMIT = 1_000_000
"""Most bytes of an untracked file whose content is taken into the patch."""

TOTAL_LIMIT = 20_000_000
"""Most bytes of all untracked files in the patch together, and of one tracked file."""

LISTED = 1000
"""Most files left out of the patch that are listed one by one; more are told by their top folder."""

_OPTIONS = (
    "--no-optional-locks",
    *("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotepath=off"),
    # A split index would write its shared part beside the real one; safecrlf would turn a warning into a failure.
    *("-c", "core.splitIndex=false", "-c", "core.safecrlf=false", "-c", "submodule.recurse=false"),
    *("-c", "core.looseCompression=0", "-c", "diff.orderFile=/dev/null"),
)
_LOCATE = (
    *("rev-parse", "--is-shallow-repository", "--show-toplevel", "--is-inside-work-tree"),
    *("--git-common-dir", "--is-inside-work-tree", "--absolute-git-dir"),
)
_STATUS = ("status", "--porcelain=v2", "--branch", "-z", "--no-renames", "--no-ahead-behind")
_DIFF = (
    *("diff-index", "--cached", "-p", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv"),
    *("--no-color", "--src-prefix=a/", "--dst-prefix=b/", "--submodule=short", "--ignore-submodules=none"),
)
_KEPT = (
    *("GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_SYSTEM", "GIT_EXEC_PATH"),
    *("GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM"),
)
_EMPTY_TREES = {
    40: "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    64: "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}
_LINK, _GONE = "160000", "000000"
_NOTABLE = re.compile(rb"(?<![^\0])(?=[a-zS] |. 160000 )(.) (\d{6}) ([0-9a-f]+) \d\t([^\0]+)")
_NAME = re.compile(r"^(?:---|\+\+\+) (?:\"[ab]/(.*)\"|[ab]/(.*?))\t?$", re.MULTILINE)
_LFS = re.compile(r"^[+ ]version https://git-lfs\.github\.com/spec/v1$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worktree:
    """What git knows of the code: its record, None outside of a repository, and the content of code.patch."""

    repository: Repository | None
    patch: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Git:
    """A way to ask git: where, with which variables, and until when."""

    folder: Path
    variables: Mapping[str, str]
    deadline: float

    def __call__(self, *words: str, stdin: str | None = None) -> bytes:
        return run(
            ["git", *_OPTIONS, "-C", str(self.folder), *words],
            seconds=round(max(self.deadline - time.monotonic(), GRACE), 1),
            env=self.variables,
            stdin=None if stdin is None else os.fsencode(stdin),
        )

    def ask(self, *words: str) -> str | None:
        """The answer on one line; None when there is none."""
        try:
            return os.fsdecode(self(*words)).strip() or None
        except ProbeError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A repository found. ``git`` works in it by way of the scratch folder, ``outer`` in any other."""

    git: _Git
    outer: _Git
    top: Path
    shallow: bool
    unsafe: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A path that differs: mode and id in HEAD (None when untracked), mode on disk, and a submodule's letters."""

    path: str
    head: tuple[str, str] | None = None
    mode: str = ""
    letters: str = "N..."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Status:
    """The answer of ``git status``; ``links`` are the submodules in the index and their commits there."""

    commit: str | None = None
    branch: str | None = None
    entries: tuple[_Entry, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Changes:
    """What becomes of the paths that differ: made as in HEAD, read from disk, left out, or repositories themselves."""

    back: list[tuple[str, str, str]] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    omitted: list[Omitted] = field(default_factory=list)
    embedded: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """What lies on disk beyond the commit; unknown when git could not say."""

    dirty: bool | None = None
    tree: str | None = None
    patch: bytes = b""
    omitted: tuple[Omitted, ...] = ()
    submodules: tuple[Submodule, ...] = ()


def worktree(start: Path, *, project: Path, exclude: Sequence[Path], unknown: dict[str, str]) -> Worktree:
    """The repository around ``start``, and what it holds on disk beyond its last commit.

    ``git apply --index --binary`` of the patch on a clean clone at the commit gives the tree where nothing is omitted.
    Python's byte code caches that are not tracked are no change.

    Args:
        start: folder of the entry point, or the working directory.
        project: root of the project, whose place in the repository is recorded.
        exclude: files and folders that are recorded otherwise (registry, weights, data): they count as in HEAD.
        unknown: takes the reasons for what could not be had.
    """
    import tempfile

    try:
        with tempfile.TemporaryDirectory(prefix="ckptkit-", ignore_cleanup_errors=True) as name:
            scratch = Path(name)
            place = _locate(start, scratch, unknown)
            return _observe(place, project, [*exclude, scratch], unknown)
    except Exception as error:  # noqa: BLE001 - a probe never fails a save
        unknown["code.repository"] = _why(error, project)
        return Worktree(repository=None, patch=b"")


def _why(error: Exception, project: Path) -> str:
    words = error.message if isinstance(error, ProbeError) else reason(error)
    for said, plain in (
        ("not a git repository", "not in a git repository"),
        ("must be run in a work tree", "in a bare repository or a .git folder, not in a work tree"),
    ):
        if said in words:
            return plain
    return redact.text(words, project=project)


def _locate(start: Path, scratch: Path, unknown: dict[str, str]) -> _Place:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in _KEPT}
    # Replaced objects are not in a clone; without a protocol, a partial clone fetches nothing behind our back.
    plain |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_REPLACE_OBJECTS": "1", "GIT_ALLOW_PROTOCOL": "none"}
    outer = _Git(folder=Path(os.path.realpath(start)), variables=plain, deadline=time.monotonic() + SECONDS)
    unsafe = False
    try:
        said = outer(*_LOCATE)
    except ProbeError as error:
        if "dubious ownership" not in error.message:
            raise
        said = outer("-c", "safe.directory=*", *_LOCATE)
        unsafe = True
        unknown["code.repository"] = "git calls it unsafe, as another user owns it; its own filters were not run"
    shallow, _, rest = os.fsdecode(said).partition("\n")
    places = rest.removesuffix("\n").split("\ntrue\n")  # a name may hold a newline
    if len(places) != len(("top", "shared", "own")):
        raise ProbeError("its work tree is elsewhere")
    top, shared, own = (outer.folder / each for each in places)
    if (own / "index").exists():
        shutil.copy2(own / "index", scratch / "index")  # with its time, which git compares with the files'
    (scratch / "objects").mkdir()
    variables = plain | {
        "GIT_DIR": str(own),
        "GIT_WORK_TREE": str(top),
        "GIT_INDEX_FILE": str(scratch / "index"),
        "GIT_OBJECT_DIRECTORY": str(scratch / "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(str(shared / "objects")),
    }
    git = _Git(folder=top, variables=variables, deadline=outer.deadline)
    settings = {"lfs.storage": str(scratch / "lfs"), **(_no_filters(git) if unsafe else {})}
    for position, (key, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{position}": key, f"GIT_CONFIG_VALUE_{position}": value}
    git = replace(git, variables={**variables, "GIT_CONFIG_COUNT": str(len(settings))})
    return _Place(git=git, outer=outer, top=top, shallow=shallow == "true", unsafe=unsafe)


def _quoted(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _no_filters(git: _Git) -> dict[str, str]:
    """Settings that switch off the content filters of the repository's own configuration."""
    fields = os.fsdecode(git("config", "--list", "--show-scope", "-z")).split("\0")
    names = {
        setting.partition("\n")[0].rpartition(".")[0]
        for scope, setting in zip(fields[::2], fields[1::2], strict=False)
        if scope in {"local", "worktree"} and setting.startswith("filter.")
    }
    off = {"clean": "", "smudge": "", "process": "", "required": "false"}
    return {f"{name}.{key}": value for name in sorted(names) for key, value in off.items()}


def _observe(place: _Place, project: Path, exclude: Sequence[Path], unknown: dict[str, str]) -> Worktree:
    git = place.git
    why = ""
    try:
        status = _status(place)
        content = _content(place, status, project, exclude, unknown)
    except (ProbeError, OSError, ValueError) as error:
        head = git.ask("rev-parse", "-q", "--verify", "HEAD")
        status = _Status(commit=head, branch=git.ask("symbolic-ref", "-q", "--short", "HEAD"))
        content = _Content()
        why = _why(error, project)
        fields = ("dirty", "tree", "patch", "omitted", "submodules")
        unknown |= {f"code.repository.{name}": why for name in fields}
    if status.commit is None:
        unknown["code.repository.commit"] = why or "no commit yet"
    if status.branch is None:
        unknown["code.repository.branch"] = why or "detached HEAD"
    directory = os.path.relpath(os.path.realpath(project), place.top)
    if directory.split("/")[0] == "..":
        directory = "."
        unknown["code.repository.directory"] = "the project's root lies outside of the repository"
    remotes = _remotes(git, status.branch, project, unknown)
    repository = Repository(
        url=_url(remotes, unknown),
        commit=status.commit,
        branch=status.branch,
        directory=directory,
        dirty=content.dirty,
        tree=content.tree,
        patch="code.patch" if content.patch else None,
        omitted=content.omitted,
        unpushed=_unpushed(place, status.commit, remotes, project, unknown),
        submodules=content.submodules,
    )
    return Worktree(repository=repository, patch=content.patch)


def _remotes(git: _Git, branch: str | None, project: Path, unknown: dict[str, str]) -> list[str] | None:
    """Addresses of the remotes: first that of the branch, then origin's; None when git would not say."""
    try:  # not `git remote get-url`, which applies insteadOf, and that may put a password in
        settings = os.fsdecode(git("config", "--list", "-z")).split("\0")
    except ProbeError as error:
        unknown["code.repository.url"] = _why(error, project)
        return None
    pairs = [setting.partition("\n")[::2] for setting in settings]
    followed = f"remote.{dict(pairs).get(f'branch.{branch}.remote')}.url"
    found = [(key, value) for key, value in pairs if key.startswith("remote.") and key.endswith(".url")]
    found.sort(key=lambda pair: (pair[0] != followed, pair[0] != "remote.origin.url"))
    return [value for _, value in found]


def _url(remotes: list[str] | None, unknown: dict[str, str]) -> str | None:
    url = redact.url(remotes[0]) if remotes else None
    if url is None:
        unknown.setdefault("code.repository.url", "its remote has no address" if remotes else "it has no remote")
    return url


def _unpushed(
    place: _Place, commit: str | None, remotes: list[str] | None, project: Path, unknown: dict[str, str]
) -> int | None:
    why = "its commit is not known" if not commit else "it has no remote" if remotes == [] else ""
    why = why or ("the clone is shallow" if place.shallow else "")
    if commit and not why:
        try:
            return int(place.git("rev-list", "--count", commit, "--not", "--remotes"))
        except (ProbeError, ValueError) as error:
            why = _why(error, project)
    unknown["code.repository.unpushed"] = why
    return None


def _status(place: _Place) -> _Status:
    git = place.git
    links: dict[str, str] = {}
    assumed, skipped = list[str](), list[str]()
    for notable in _NOTABLE.findall(git("ls-files", "-v", "-s", "-z")):
        tag, mode, oid, path = map(os.fsdecode, notable)
        if mode == _LINK:
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
    return _Status(
        commit=None if heads["branch.oid"] == "(initial)" else heads["branch.oid"],
        branch=None if heads["branch.head"] == "(detached)" else heads["branch.head"],
        entries=tuple(_entry(line) for line in said if not line.startswith("# ")),
        links=links,
    )


def _entry(line: str) -> _Entry:
    """One entry of ``git status --porcelain=v2``, as its manual page lays it out."""
    if line.startswith("? "):
        return _Entry(path=line[2:])
    if line.startswith("1 "):
        _, _, letters, head, _, mode, oid, _, path = line.split(" ", 8)
    else:  # unmerged: of the three stages the second is HEAD's
        _, _, letters, _, head, _, mode, _, oid, _, path = line.split(" ", 10)
    return _Entry(path=path, head=(head, oid), mode=mode, letters=letters)


def _inside(top: Path, exclude: Sequence[Path]) -> Callable[[str], bool]:
    """Whether a path of the repository is one of ``exclude`` or below; the whole repository never is."""
    folders = set[str]()
    for path in exclude:  # a link is excluded itself, and so is what it leads to
        places = Path(os.path.realpath(path.parent)) / path.name, os.path.realpath(path)
        folders |= {os.path.relpath(place, top) for place in places}
    prefixes = tuple(f"{folder}/" for folder in folders if folder != "." and folder.split("/")[0] != "..")
    return lambda path: f"{path}/".startswith(prefixes)


def _content(
    place: _Place, status: _Status, project: Path, exclude: Sequence[Path], unknown: dict[str, str]
) -> _Content:
    inside = _inside(place.top, exclude)
    entries = [
        entry
        for entry in status.entries
        if not inside(entry.path) and (entry.head or "/__pycache__/" not in f"/{entry.path}")
    ]
    changes = _sort(place.top, entries, status.links)
    changes.back.extend((*entry.head, entry.path) for entry in status.entries if entry.head and inside(entry.path))
    submodules = _submodules(place, status, {entry.path for entry in entries}, changes, unknown)
    try:
        tree, patch = _written(place.git, status.commit, changes)
    except ProbeError as error:
        unknown |= dict.fromkeys(("code.repository.tree", "code.repository.patch"), _why(error, project))
        return _Content(dirty=bool(entries), omitted=_folded(changes.omitted), submodules=submodules)
    dirty = bool(patch or changes.omitted)
    patch, withheld = _without_secrets(patch, place.top)
    omitted = _folded([*withheld, *changes.omitted])
    return _Content(dirty=dirty, tree=tree, patch=patch, omitted=omitted, submodules=submodules)


def _sort(top: Path, entries: Sequence[_Entry], links: Mapping[str, str]) -> _Changes:
    changes = _Changes()
    for entry in entries:
        if entry.head is None:
            continue
        replaced = entry.mode == _LINK and entry.path not in links  # a file that gave way to a clone
        if replaced:
            changes.embedded.append(f"{entry.path}/")
        if replaced or entry.mode == _GONE:
            changes.back.append(("0", "0" * len(entry.head[1]), entry.path))
            continue
        size, why = (None, "") if entry.mode == _LINK else _unfit(top / entry.path, TOTAL_LIMIT)
        if why:
            changes.back.append((*entry.head, entry.path))
            changes.omitted.append(Omitted(path=entry.path, bytes=size, reason=why))
        else:
            changes.read.append(entry.path)
    _sort_untracked(top, {entry.path for entry in entries if entry.head is None}, changes)
    return changes


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
        elif why or total + (size or 0) > TOTAL_LIMIT:
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
    place: _Place, status: _Status, changed: set[str], changes: _Changes, unknown: dict[str, str]
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
            commit, _ = _nested(place, path)
        found.append(Submodule(path=path, commit=commit, dirty=dirty))
        if dirty and path in changed:
            changes.omitted.append(Omitted(path=path, bytes=None, reason="changes inside of a submodule"))
    for path in (path.rstrip("/") for path in changes.embedded):
        commit, dirty = _nested(place, path)
        found.append(Submodule(path=path, commit=commit, dirty=dirty))
        changes.omitted.append(Omitted(path=path, bytes=None, reason="a repository of its own"))
    return tuple(found)


def _nested(place: _Place, path: str) -> tuple[str | None, bool | None]:
    """Commit of a repository inside, and whether it holds changes; None for what git would not say."""
    folder = place.top / path
    variables = {**place.outer.variables, "GIT_CEILING_DIRECTORIES": str(folder.parent)}  # never this one's answer
    try:
        said = os.fsdecode(replace(place.outer, folder=folder, variables=variables)(*_STATUS)).split("\0")[:-1]
    except ProbeError:
        return None, None
    commit = next(line.split(" ")[2] for line in said if line.startswith("# branch.oid "))
    return (None if commit == "(initial)" else commit), any(not line.startswith("# ") for line in said)


def _written(git: _Git, commit: str | None, changes: _Changes) -> tuple[str, bytes]:
    """The tree id of the changes, and the patch that leads there; both in the scratch folder."""
    if changes.back:
        lines = (f"{mode} {oid}\t{path}\0" for mode, oid, path in changes.back)
        git("update-index", "-z", "--index-info", stdin="".join(lines))
    if changes.read:
        git("update-index", "--add", "--remove", "--replace", "-z", "--stdin", stdin="\0".join(changes.read))
    tree = git("write-tree", "--missing-ok").decode().strip()
    if not (changes.back or changes.read):
        return tree, b""
    return tree, git(*_DIFF, commit or _EMPTY_TREES[len(tree)])


def _without_secrets(patch: bytes, top: Path) -> tuple[bytes, list[Omitted]]:
    """The patch with secrets in added lines redacted, less the files that hold one elsewhere; and which these are."""
    kept: list[str] = []
    omitted: list[Omitted] = []
    sections = re.split(r"^(?=diff --git )", patch.decode("utf-8", "surrogateescape"), flags=re.MULTILINE)[1:]
    for _, parts in groupby(sections, key=lambda section: section.partition("\n")[0]):  # two where the type changed
        redacted = [(part, *_redacted(part)) for part in parts]
        if all(text for _, text, _ in redacted):
            kept.extend(text for _, text, _ in redacted)
        worst = max(redacted, key=lambda each: (bool(each[2]), not each[1]))
        if worst[2]:
            path = _name(worst[0])
            omitted.append(Omitted(path=path, bytes=_unfit(top / path, TOTAL_LIMIT)[0], reason=worst[2]))
    return "".join(kept).encode("utf-8", "surrogateescape"), omitted


def _redacted(section: str) -> tuple[str, str]:
    """One file's part of a patch as it may be kept, empty if not at all; and why it is not as it was."""
    header, at, body = section.partition("\n@@ ")
    lines = body.split("\n")
    if not at:  # binary, empty, or another mode only
        return section, ""
    if not redact.has_secret("\n".join(line[1:] for line in lines)):
        return section, "kept by Git LFS: the patch holds its pointer" if _LFS.search(body) else ""
    added = "\n".join(line[1:] for line in lines if line.startswith("+"))
    lines = [
        f"+{redact.text(line[1:])}" if line.startswith("+") and redact.has_secret(line[1:]) else line for line in lines
    ]
    one_line_each = redact.text(added).count("\n") == added.count("\n")  # a private key has many
    if not one_line_each or redact.has_secret("\n".join(line[1:] for line in lines)):
        return "", "left out: holds a secret"
    return header + at + "\n".join(lines), "redacted: holds a secret"


def _name(section: str) -> str:
    quoted, plain = _NAME.findall(section.partition("\n@@ ")[0])[-1]
    if not quoted:
        return str(plain)
    escaped = os.fsencode(quoted).decode("unicode_escape")  # as in C, by bytes
    return os.fsdecode(escaped.encode("latin-1"))
