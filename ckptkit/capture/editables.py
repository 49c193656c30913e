"""Editable distributions: the folder that each is read from, and the state of the git work tree there."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ckptkit import redact
from ckptkit.capture import attempt
from ckptkit.capture.distributions import Installed
from ckptkit.record import CodeState, Editable

_State = tuple[str | None, CodeState | None]


def editables(installed: Sequence[Installed], project: Path, unknown: dict[str, str]) -> tuple[Editable, ...]:
    """The editable distributions among ``installed``, each work tree asked once.

    That of the project is not asked, as it is the record's own repository; nor a folder that is in none.

    Args:
        installed: all distributions.
        project: how paths are shown.
        unknown: takes, under ``code.environment.editable.<name>``, why a work tree could not be read.
    """
    from ckptkit.capture import git

    own = top(project)
    states: dict[str, _State] = {}
    nothing: _State = (None, None)
    out: list[Editable] = []
    for each in installed:
        if not each.folder:
            continue
        tree = top(Path(each.folder))
        if tree is not None and tree != own and tree not in states:
            field = f"code.environment.editable.{each.key}"
            states[tree] = attempt(unknown, field, partial(git.state, Path(each.folder)), nothing)
        url, code = states.get(tree or "", nothing)
        path, outside = redact.path(Path(each.folder), project)
        out.append(Editable(name=each.name, version=each.version, path=path, outside=outside, url=url, code=code))
    return tuple(out)


def unpushed(folder: Path, commit: str) -> bool | None:
    """Whether a commit is on no remote, as far as the repository around a folder knows; None where git does not say.

    What a tag names counts as pushed: a clone of a tag alone has no branch of the remote.
    """
    from ckptkit.capture import repository

    words = ("-c", "safe.directory=*", "rev-list", "--count", commit, "--not", "--remotes", "--tags")
    missing = repository.at(folder, seconds=repository.SECONDS).ask(*words)
    return None if missing is None else missing != "0"


def top(folder: Path) -> str | None:
    """The top of the git work tree around a folder, by its ``.git``; None where there is none."""
    real = Path(os.path.realpath(folder))
    return next((str(each) for each in (real, *real.parents) if os.path.lexists(each / ".git")), None)
