"""The environment as files that install it again: index pins, and what came from commits, archives and folders."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ckptkit import redact
from ckptkit.capture.distributions import Installed
from ckptkit.capture.editables import top, unpushed
from ckptkit.checkpoint import REQUIREMENTS, REQUIREMENTS_VCS
from ckptkit.record import Editable, Origin

_AGAIN = """\
# What came from commits, archives and folders. To install all again (with uv: uv pip install):
#   pip install --no-deps -r requirements.txt
#   pip install --no-deps -r requirements-vcs.txt
"""
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(  # PEP 440, appendix B
    r"v?(?:\d+!)?\d+(?:\.\d+)*(?:[-_.]?(?:alpha|beta|preview|pre|rc|a|b|c)[-_.]?\d*)?"
    r"(?:-\d+|[-_.]?(?:post|rev|r)[-_.]?\d*)?(?:[-_.]?dev[-_.]?\d*)?(?P<label>\+[a-z0-9]+(?:[-_.][a-z0-9]+)*)?",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"[\w.+-]+://[!-;=?-~]+")  # no blank and nothing that was redacted


def files(
    installed: Sequence[Installed], editable: Sequence[Editable], *, python: str, project: Path
) -> dict[str, bytes]:
    """requirements.txt, and requirements-vcs.txt where there is something for it; pip and uv install both.

    What cannot be installed again stands there as a comment, with the reason.

    Args:
        installed: all distributions but ckptkit.
        editable: those of them that are editable, with the state of their code.
        python: the interpreter's version.
        project: whose own distribution is named as such.
    """
    code = {each.name: each for each in editable}
    origins = {each.key: origin for each in installed if (origin := each.origin())}
    pins = [line for each in installed if each.key not in origins for line in _pin(each)]
    others = [
        _editable(each, code[each.name], project) if each.name in code else _other(each, origins[each.key])
        for each in installed
        if each.key in origins
    ]
    head = f"# Python {python}; every distribution that came from an index, ckptkit itself aside\n"
    out = {REQUIREMENTS: (head + "".join(f"{line}\n" for line in pins)).encode()}
    if others:
        out[REQUIREMENTS_VCS] = (_AGAIN + "".join(f"{line}\n" for line in others)).encode()
    return out


def _pin(each: Installed) -> Iterator[str]:
    version = _VERSION.fullmatch(each.version)
    if not version or not _NAME.fullmatch(each.name):  # one such line, and pip refuses the whole file
        yield f"# {each.name} {each.version}: no name and version that an index could have"
        return
    if version["label"]:
        yield f"# the next one is a build that only the index of its label {version['label']} has: --extra-index-url"
    yield f"{each.name}=={each.version}"


def _other(each: Installed, origin: Origin) -> str:
    if origin.kind == "folder":
        return _without(each, "installed from a local folder, of which nothing more is known")
    if origin.url in {None, "local"}:
        known = f"sha256:{origin.sha256}" if origin.sha256 else f"commit {origin.commit}" if origin.commit else ""
        return _without(each, f"installed from a local {_what(origin)}{known and f', {known}'}")
    fragment = [f"sha256={origin.sha256}"] if origin.sha256 else []
    fragment += [f"subdirectory={origin.subdirectory}"] if origin.subdirectory else []
    address = str(origin.url)
    if origin.kind == "vcs":
        address = f"{_vcs(each.source)}+{_as_url(address)}@{origin.commit}"
    return _at(each, address, fragment)


def _editable(each: Installed, found: Editable, project: Path) -> str:
    folder = str(each.folder)
    tree = top(Path(folder))
    if _holds(folder, project) or (tree is not None and tree == top(project)):
        return _without(each, f"editable, the code of this record: pip install -e {found.path}")
    if tree is None:
        return _without(each, f"editable, in a folder without git: {found.path}")
    if found.code is None or found.code.commit is None or found.code.dirty is None:
        return _without(each, f"editable, the state of its code is not known: {found.path}")
    if found.code.dirty:
        return _without(each, f"editable, changed since its commit {found.code.commit}: {found.path}")
    if found.url in {None, "local"}:
        return _without(each, f"editable, its repository has no remote; commit {found.code.commit}: {found.path}")
    if unpushed(Path(folder), found.code.commit) is not False:
        return _without(each, f"editable, its commit {found.code.commit} is not known to be on a remote: {found.path}")
    below = os.path.relpath(os.path.realpath(folder), tree)
    address = f"git+{_as_url(str(found.url))}@{found.code.commit}"
    return _at(each, address, [] if below == "." else [f"subdirectory={below}"])


def _at(each: Installed, address: str, fragment: Sequence[str]) -> str:
    whole = f"{address}#{'&'.join(fragment)}" if fragment else address
    if not _ADDRESS.fullmatch(whole) or not _NAME.fullmatch(each.name):
        return _without(each, f"no address that can be given to pip: {redact.text(whole)}")
    return f"{each.name} @ {whole}"


def _without(each: Installed, why: str) -> str:
    return f"# {each.name} {each.version}: " + " ".join(why.split())


def _what(origin: Origin) -> str:
    return "repository" if origin.kind == "vcs" else "archive"


def _vcs(source: Mapping[str, Mapping[str, object]]) -> str:
    return str(source["vcs_info"].get("vcs", "git"))


def _as_url(remote: str) -> str:
    """A remote as pip takes it: ``git@host:path`` has no scheme."""
    return remote if "://" in remote else "ssh://{}/{}".format(*remote.split(":", 1))


def _holds(folder: str, project: Path) -> bool:
    """Whether the project is that folder or lies in it."""
    return Path(os.path.realpath(project)).is_relative_to(os.path.realpath(folder))
