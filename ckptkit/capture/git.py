"""The git work tree: commit, branch, remote and place of the project, and the changes beyond the commit."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ckptkit import disk, redact
from ckptkit.capture import attempt, changes
from ckptkit.capture.command import ProbeError
from ckptkit.capture.repository import Git, Place, find, locate, refusal
from ckptkit.capture.status import Status, status
from ckptkit.errors import FormatError
from ckptkit.record import CodeState, Repository

T = TypeVar("T")

# Old and new commit and the time of a line in a reflog: in UTC, whatever zone stands behind it.
_MOVE = re.compile(rb"^([0-9a-f]{40,64}) ([0-9a-f]{40,64}) [^>\n]*> (\d{1,12}) ", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worktree:
    """What git knows of the code: its record, None outside of a repository, and the content of code.patch.

    ``files`` are the ids of the files in the tree, of untracked ones only Python's, by their paths from the project;
    None where they are not known.
    """

    repository: Repository | None
    patch: bytes
    files: Mapping[str, str] | None = None


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
    return attempt(
        unknown,
        "code.repository",
        lambda: _looked(
            start, project, unknown, lambda at, scratch: _observe(at, project, [*exclude, scratch], unknown)
        ),
        Worktree(repository=None, patch=b""),
    )


def state(folder: Path) -> tuple[str | None, CodeState]:
    """Address of the remote, and state of the work tree around a folder, such as that of an editable installation.

    Args:
        folder: where to look.

    Raises:
        ProbeError: there is no repository, git ignores the folder, or git does not answer.
    """
    return _looked(folder, folder, {}, lambda place, scratch: _state(place, folder, [scratch]))


def _looked(start: Path, project: Path, unknown: dict[str, str], look: Callable[[Place, Path], T]) -> T:
    """What ``look`` finds in the repository around ``start``, with a scratch folder for all that git writes.

    Raises:
        ProbeError: why git could not say, in plain words.
    """
    import tempfile

    try:
        with tempfile.TemporaryDirectory(prefix="ckptkit-", ignore_cleanup_errors=True) as name:
            return look(locate(start, Path(name), unknown), Path(name))
    except (ProbeError, OSError, ValueError) as error:
        raise ProbeError(refusal(error, project)) from None


def _state(place: Place, folder: Path, exclude: Sequence[Path]) -> tuple[str | None, CodeState]:
    held = ("ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", os.path.realpath(folder))
    if not place.git("--literal-pathspecs", *held):
        raise ProbeError("git ignores it")
    found = status(place)
    dirty, tree = changes.state(place, found, exclude)
    url = _url(_remotes(place.git, found.branch, folder, {}), {})
    return url, CodeState(commit=found.commit, dirty=dirty, tree=tree)


def head_at(start: Path, since: float) -> str | None:
    """The commit on which HEAD stood at a time, where it moved afterwards; None where it did not, or has no reflog.

    A move within the same second counts as before: a reflog has no parts of seconds, and who types ``git commit``
    and starts a training right away has not moved HEAD while it ran.

    Args:
        start: a folder in the work tree.
        since: seconds since the epoch.
    """
    try:
        log = disk.read_regular(find(start).own / "logs" / "HEAD")
    except (ProbeError, FormatError):
        return None
    commit, moved = b"", False
    for before, after, seconds in reversed(_MOVE.findall(log)):
        if int(seconds) <= since:
            break
        commit, moved = before, moved or before != after
    return commit.decode() if moved and commit.strip(b"0") else None


def _observe(place: Place, project: Path, exclude: Sequence[Path], unknown: dict[str, str]) -> Worktree:
    git = place.git
    why = ""
    try:
        found = status(place)
        content = changes.content(place, found, project, exclude, unknown)
    except (ProbeError, OSError, ValueError) as error:
        head = git.ask("rev-parse", "-q", "--verify", "HEAD")
        found = Status(commit=head, branch=git.ask("symbolic-ref", "-q", "--short", "HEAD"))
        content = changes.Content()
        why = refusal(error, project)
        fields = ("dirty", "tree", "patch", "omitted", "submodules")
        unknown |= {f"code.repository.{name}": why for name in fields}
    if found.commit is None:
        unknown["code.repository.commit"] = why or "no commit yet"
    if found.branch is None:
        unknown["code.repository.branch"] = why or "detached HEAD"
    directory = os.path.relpath(os.path.realpath(project), place.top)
    if directory.split("/")[0] == "..":
        directory = "."
        unknown["code.repository.directory"] = "the project's root lies outside of the repository"
    remotes = _remotes(git, found.branch, project, unknown)
    repository = Repository(
        url=_url(remotes, unknown),
        commit=found.commit,
        branch=found.branch and redact.text(found.branch, project=project),
        directory=directory,
        dirty=content.dirty,
        tree=content.tree,
        patch="code.patch" if content.patch else None,
        omitted=content.omitted,
        unpushed=_unpushed(place, found.commit, remotes, project, unknown),
        submodules=content.submodules,
    )
    files = _files(git, directory, found) if content.tree else None
    return Worktree(repository=repository, patch=content.patch, files=files)


def _files(git: Git, directory: str, found: Status) -> Mapping[str, str]:
    """The ids of the files in the index that the tree was written from, less the logs and what else a run writes."""
    others = {each.path for each in found.entries if each.head is None and not each.path.endswith(".py")}
    lines = os.fsdecode(git("ls-files", "-s", "-z")).split("\0")[:-1]
    fields = (line.partition("\t")[::2] for line in lines)
    project = "" if directory == "." else f"{directory}/"
    return {
        path.removeprefix(project) if path.startswith(project) else os.path.relpath(path, directory): known
        for known, path in fields
        if path not in others
    }


def _remotes(git: Git, branch: str | None, project: Path, unknown: dict[str, str]) -> list[str] | None:
    """Addresses of the remotes: first that of the branch, then origin's; None when git would not say."""
    try:  # not `git remote get-url`, which applies insteadOf, and that may put a password in
        settings = os.fsdecode(git("config", "--list", "-z")).split("\0")
    except ProbeError as error:
        unknown["code.repository.url"] = refusal(error, project)
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
    place: Place, commit: str | None, remotes: list[str] | None, project: Path, unknown: dict[str, str]
) -> int | None:
    if commit is None:
        why = "its commit is not known"
    elif remotes == []:
        why = "it has no remote"
    elif place.shallow:
        why = "the clone is shallow"
    else:
        try:
            return int(place.git("rev-list", "--count", commit, "--not", "--remotes"))
        except (ProbeError, ValueError) as error:
            why = refusal(error, project)
    unknown["code.repository.unpushed"] = why
    return None
