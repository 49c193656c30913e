"""The bundle: commits that are on no remote, as one file from which git itself fetches or clones."""

import contextlib
from dataclasses import replace
from pathlib import Path

from ckptkit.capture.command import ProbeError
from ckptkit.capture.repository import Found, Git, find, refusal

LIMIT = 200_000_000
"""Most bytes that the commits of a bundle may take in the repository."""

_FIELD = "code.repository.bundle"
_MISSING = ("HEAD", "--not", "--remotes")


def write(start: Path, commit: str, into: Path, unknown: dict[str, str]) -> bool:
    """Write the commits behind ``commit``, itself included, that are on no remote; all of them where there is none.

    ``git fetch code.bundle`` in a clone of the remote, or ``git clone code.bundle`` where there is no remote, has the
    commit, as HEAD; it may be on no branch any more. History is stored as it is: secrets in it stay. Commits of
    submodules and what Git LFS keeps are not in it.

    Args:
        start: a folder in the work tree.
        commit: the commit that is wanted.
        into: the file to write; its folder is there.
        unknown: takes the reason under ``code.repository.bundle`` where nothing is written.

    Returns:
        Whether it is written.
    """
    import tempfile

    try:
        with tempfile.TemporaryDirectory(prefix="ckptkit-", ignore_cleanup_errors=True) as name:
            found = find(start)
            why = _write(found, _standing_on(commit, found, Path(name)), into.absolute())
    except (ProbeError, OSError, ValueError) as error:
        why = refusal(error, start)
    if why:
        unknown[_FIELD] = why
        for left in (into, into.with_name(f"{into.name}.lock")):  # of a git that was killed
            with contextlib.suppress(OSError):
                left.unlink()
    return not why


def _write(found: Found, git: Git, into: Path) -> str:
    """Write the bundle; returns why not, empty when it is written."""
    size = int(git("rev-list", "--objects", "--disk-usage", *_MISSING))
    if not size:
        return "all commits are on a remote"
    if size > LIMIT:
        return f"its commits have {size / 1e6:,.0f} MB, more than the {LIMIT // 1_000_000} MB that are stored"
    if found.shallow:
        ends = set((found.shared / "shallow").read_text().split())
        if not ends.isdisjoint(git("rev-list", *_MISSING).decode().split()):
            return "the clone is shallow: commits before these are missing"
    git("bundle", "create", "-q", str(into), *_MISSING)
    return ""


def _standing_on(commit: str, found: Found, scratch: Path) -> Git:
    """Git in a linked work tree that lies in the scratch folder alone, whose HEAD is the commit.

    So HEAD of the bundle is the commit, also when the user's own has moved on or was amended.
    """
    own = scratch / "own"
    own.mkdir()
    (own / "HEAD").write_text(f"{commit}\n")
    (own / "commondir").write_text(f"{found.shared}\n")
    return replace(found.outer, variables=found.variables(scratch, own))
