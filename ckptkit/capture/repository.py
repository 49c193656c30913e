"""A git repository: where it is, and how git is asked about it.

Nothing is written into the repository: index and new objects live in a scratch folder (git alone may freshen the time
of an object that it would have written and that is there). No command of a repository runs that git would not run for
this user, and no network is used.
"""

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ckptkit import redact
from ckptkit.capture.command import ProbeError, run
from ckptkit.disk import reason

SECONDS = 60.0
"""How long git may take altogether."""

GRACE = 2.0
"""How long one quick question may take when that time is over."""

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
_KEPT = (
    *("GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_SYSTEM", "GIT_EXEC_PATH"),
    *("GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """A way to ask git: where, with which variables, and until when."""

    folder: Path
    variables: Mapping[str, str]
    deadline: float

    def __call__(self, *words: str, stdin: str | None = None) -> bytes:
        """What git prints.

        Raises:
            ProbeError: it fails, or the time is over.
        """
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
class Place:
    """A repository that was found. ``git`` works in it by way of the scratch folder, ``outer`` in any other."""

    git: Git
    outer: Git
    top: Path
    shallow: bool
    unsafe: bool


def at(folder: Path, *, seconds: float) -> Git:
    """Git in a folder, whether that is in a repository or not; it reads alone.

    Args:
        folder: where git works.
        seconds: how long it may take altogether.
    """
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in _KEPT}
    # Replaced objects are not in a clone; without a protocol, a partial clone fetches nothing behind our back.
    plain |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_REPLACE_OBJECTS": "1", "GIT_ALLOW_PROTOCOL": "none"}
    return Git(folder=Path(os.path.realpath(folder)), variables=plain, deadline=time.monotonic() + seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where git says that a repository is: its top, its own .git folder, and the one it shares with other work trees.

    ``unsafe`` says that it belongs to another user, for which git itself would refuse to work in it.
    """

    outer: Git
    top: Path
    shared: Path
    own: Path
    shallow: bool
    unsafe: bool

    def variables(self, scratch: Path, own: Path) -> dict[str, str]:
        """Variables by which git works here by way of ``own``, and all new objects go to the scratch folder."""
        (scratch / "objects").mkdir()
        return {
            **self.outer.variables,
            "GIT_DIR": str(own),
            "GIT_WORK_TREE": str(self.top),
            "GIT_OBJECT_DIRECTORY": str(scratch / "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(str(self.shared / "objects")),
        }


def find(start: Path) -> Found:
    """Find the repository around ``start``.

    Raises:
        ProbeError: there is none, it has no work tree, or git cannot be asked.
    """
    outer = at(start, seconds=SECONDS)
    unsafe = False
    try:
        said = outer(*_LOCATE)
    except ProbeError as error:
        if "dubious ownership" not in error.message:
            raise
        said = outer("-c", "safe.directory=*", *_LOCATE)
        unsafe = True
    shallow, _, rest = os.fsdecode(said).partition("\n")
    places = rest.removesuffix("\n").split("\ntrue\n")  # a name may hold a newline
    if len(places) != len(("top", "shared", "own")):
        raise ProbeError("its work tree is elsewhere")
    top, shared, own = (outer.folder / each for each in places)
    return Found(outer=outer, top=top, shared=shared, own=own, shallow=shallow == "true", unsafe=unsafe)


def locate(start: Path, scratch: Path, unknown: dict[str, str]) -> Place:
    """Find the repository around ``start``; its index is copied into ``scratch``, which takes all that is written.

    Raises:
        ProbeError: there is none, it has no work tree, or git cannot be asked.
        OSError: the index cannot be copied.
    """
    found = find(start)
    if found.unsafe:
        unknown["code.repository"] = "git calls it unsafe, as another user owns it; its own filters were not run"
    if (found.own / "index").exists():
        shutil.copy2(found.own / "index", scratch / "index")  # with its time, which git compares with the files'
    variables = found.variables(scratch, found.own)
    variables["GIT_INDEX_FILE"] = str(scratch / "index")
    git = Git(folder=found.top, variables=variables, deadline=found.outer.deadline)
    settings = {"lfs.storage": str(scratch / "lfs"), **(_no_filters(git) if found.unsafe else {})}
    for position, (key, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{position}": key, f"GIT_CONFIG_VALUE_{position}": value}
    git = replace(git, variables={**variables, "GIT_CONFIG_COUNT": str(len(settings))})
    return Place(git=git, outer=found.outer, top=found.top, shallow=found.shallow, unsafe=found.unsafe)


def _quoted(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _no_filters(git: Git) -> dict[str, str]:
    """Settings that switch off the content filters of the repository's own configuration."""
    fields = os.fsdecode(git("config", "--list", "--show-scope", "-z")).split("\0")
    names = {
        setting.partition("\n")[0].rpartition(".")[0]
        for scope, setting in zip(fields[::2], fields[1::2], strict=False)
        if scope in {"local", "worktree"} and setting.startswith("filter.")
    }
    off = {"clean": "", "smudge": "", "process": "", "required": "false"}
    return {f"{name}.{key}": value for name in sorted(names) for key, value in off.items()}


def refusal(error: Exception, project: Path) -> str:
    """Why git could not say, in plain words without secrets and private paths."""
    words = error.message if isinstance(error, ProbeError) else reason(error)
    for said, plain in (
        ("not a git repository", "not in a git repository"),
        ("must be run in a work tree", "in a bare repository or a .git folder, not in a work tree"),
    ):
        if said in words:
            return plain
    return redact.text(words, project=project)
