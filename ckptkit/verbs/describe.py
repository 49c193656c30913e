"""The verb ``describe``: what a person says of a model or of a version, for whoever comes later."""

import os
from dataclasses import dataclass
from pathlib import Path

from ckptkit import change, history, index, redact, references, roots
from ckptkit.capture import process
from ckptkit.errors import CkptkitError

LONGEST = 10_000
"""Most characters of a description."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A model or version by reference, and what was said of it before and is said of it now, None for nothing."""

    ref: str
    before: str | None
    after: str | None
    warnings: tuple[str, ...]


def describe(
    ref: str,
    text: str,
    *,
    at: str | None = None,
    reason: str | None = None,
    root: str | os.PathLike[str] | None = None,
) -> Described:
    """Say something of a version or, by its mere name, of a model, in place of what was said before.

    Saying the same again is no event.

    Args:
        ref: a reference of one version, or the name of a model.
        text: what to say, in several lines if need be; where it is blank nothing is said any more.
        at: the reference is read as of this time.
        reason: why, for the history.
        root: the registry root; see ``roots.default_root``.

    Raises:
        CkptkitError: the text is too long, or the reference is none.
        NotFoundError: the reference names nothing.
    """
    home, cwd = roots.default_root(root, Path.cwd()), Path.cwd()
    after = _usable(text, process.project(cwd))
    with change.begin(home) as now:
        then = now.index if at is None else index.load(home, roots.moment(at))
        version = references.resolve(home, then, ref, cwd=cwd, exact=ref not in then["models"])
        model = version.path.parent.name
        name = None if ref == model else version.path.name
        part = now.index["models"][model]
        before = part["texts"].get(name or "")
        event = now.event("described", model, name, text=after, reason=reason)
        if before != after or len(part["heads"].get(history.chain(event), ())) > 1:
            now.record(event)
    return Described(ref=version.ref if name else model, before=before, after=after, warnings=tuple(now.warnings))


def _usable(text: str, project: Path) -> str | None:
    said = redact.text("\n".join(line.rstrip() for line in text.splitlines()).strip(), project=project)
    if len(said) > LONGEST:
        raise CkptkitError(
            f"a description of {len(said):,} characters is longer than {LONGEST:,}", "write it into the model card"
        )
    return said or None
