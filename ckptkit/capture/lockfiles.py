"""Lock files of the project: their digests, and where they disagree with what is installed."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from ckptkit.capture import attempt
from ckptkit.capture.distributions import normalised
from ckptkit.disk import read_regular, reason
from ckptkit.errors import FormatError
from ckptkit.record import CondaPackage, LockDifference, Lockfile, Package

_CONDA = "conda/"  # before a name that is conda's: a slash is in no name of a distribution
_Locked = Mapping[str, set[str]]
_Pairs = Iterator[tuple[str, str]]
_There = tuple[str, str, tuple[str, ...]]  # normalised name, name, and versions, of which the last says most

_IN_TOML = tuple(re.compile(rf'^{key} ?= ?"([^"\n]+)"', re.MULTILINE) for key in ("name", "version"))
_IN_YAML = tuple(re.compile(rf"^ *{key}: *[\"']?([^\"'\s]+)", re.MULTILINE) for key in ("name", "version"))
_CONDA_ENTRY = re.compile(r"^ *manager: conda$|^kind: conda$", re.MULTILINE)
_CONDA_FILE = re.compile(r"conda: \S*/([^/\s]+)-([^-/\s]+)-[^-/\s]+\.(?:conda|tar\.bz2)\s")
_REQUIREMENT = re.compile(
    r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]\n]*\])? *(?:== *([^\s;,\\#]+)|@ *\S+?(?:@([0-9a-f]{40,64})\b|(?=[\s#]|$)))",
    re.MULTILINE,
)
_COMMIT = re.compile(  # of uv, PEP 751, poetry and pdm
    r'^(?:source = \{ git = "[^"\n]*#|.*commit-id = "|(?:resolved_reference|revision) = ")([0-9a-f]{40,64})"',
    re.MULTILINE,
)


def lockfiles(
    project: Path,
    packages: Sequence[Package] | None,
    conda: Sequence[CondaPackage],
    *,
    ours: frozenset[str],
    unknown: dict[str, str],
) -> tuple[Lockfile, ...]:
    """The lock files at the project's root, each compared with what is installed.

    A distribution differs where its installed version or commit is none of those that the file locks (several, for
    other platforms), and where it took part in the run, imported or mapped, though no lock file here names it. Not
    counted: what is editable, whose code is recorded by itself; what is locked and not installed (optional groups,
    other platforms); what no file names and is not known to have taken part (an environment's pip), or stands beside a
    lock file of conda's packages, which bear names of their own.

    Args:
        project: the folder that is searched.
        packages: what is installed; None when that is not known, and nothing is compared.
        conda: the packages of the conda environment.
        ours: normalised names of the editable distributions.
        unknown: takes the reasons for what cannot be read.
    """
    digests: dict[str, str] = {}
    locked: dict[str, _Locked] = {}
    unread: list[str] = []
    for name in _names(project, unread):
        try:
            data = read_regular(project / name)
        except FormatError as error:
            unread.append(f"{name} {error.message}")
            continue
        digests[name] = hashlib.sha256(data).hexdigest()
        failed: dict[str, str] = {}
        none: _Locked = {}
        locked[name] = attempt(failed, name, partial(_locked, name, data), none)
        if not locked[name]:
            unread.append(f"{name} {failed.get(name, 'locks nothing that can be compared')}")
    if unread:
        unknown["code.environment.lockfiles"] = "; ".join(unread)
    named = {key.removeprefix(_CONDA) for each in locked.values() for key in each}
    there = [_there(each) for each in packages or () if normalised(each.name) not in ours]
    there += [(_CONDA + normalised(each.name), each.name, (each.version,)) for each in conda]
    with_conda = any(key.startswith(_CONDA) for each in locked.values() for key in each)
    extra = [] if with_conda else _unnamed(packages or (), named | ours)
    return tuple(
        Lockfile(
            path=name,
            sha256=digest,
            differs=_differs(locked[name], there, extra) if locked[name] and packages is not None else None,
        )
        for name, digest in digests.items()
    )


def _names(project: Path, unread: list[str]) -> list[str]:
    try:
        names = sorted(os.listdir(project))
    except OSError as error:
        unread.append(f"the project's root cannot be read: {reason(error)}")
        return []
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in LOCKFILES)]


def _unnamed(packages: Sequence[Package], named: set[str]) -> list[LockDifference]:
    return [
        LockDifference(name=each.name, locked=(), installed=each.version)
        for each in packages
        if (each.imported or each.mapped) and normalised(each.name) not in named
    ]


def _there(package: Package) -> _There:
    commit = package.origin.commit if package.origin else None
    versions = (package.version, package.local, commit)
    return normalised(package.name), package.name, tuple(filter(None, versions))


def _differs(locked: _Locked, there: Sequence[_There], extra: Sequence[LockDifference]) -> tuple[LockDifference, ...]:
    found = [
        LockDifference(name=name, locked=tuple(sorted(wanted)), installed=versions[-1])
        for key, name, versions in there
        if (wanted := locked.get(key)) and set(map(_canonical, wanted)).isdisjoint(map(_canonical, versions))
    ]
    return tuple(sorted((*found, *extra), key=lambda each: normalised(each.name)))


def _canonical(version: str) -> str:
    """A version so that two ways to write it (``1.0`` and ``1.0.0``, ``1.0-rc1`` and ``1.0rc1``) are one."""
    public, plus, label = version.lower().lstrip("v").partition("+")
    public = re.sub(r"[-_.](?=[a-z])|(?<=[a-z])[-_.]|(?:(?<=\.)|^)0+(?=\d)", "", public)
    return re.sub(r"(?:\.0)+(?=[a-z]|$)", "", public) + plus + label.replace("-", ".").replace("_", ".")


def _locked(name: str, data: bytes) -> _Locked:
    """Versions, or else commits, by normalised name; none for a name that is locked without either.

    By regular expressions: of 1.3 MB, tomllib makes 0.1 s and more, these 0.01 s.
    """
    text = data.decode(errors="replace").replace("\r\n", "\n")
    out: dict[str, set[str]] = {}
    for key, version in next(read for pattern, read in LOCKFILES.items() if fnmatchcase(name, pattern))(text):
        prefix = _CONDA if key.startswith(_CONDA) else ""
        out.setdefault(prefix + normalised(key.removeprefix(prefix)), set()).update([version] if version else ())
    return out


def _toml(text: str) -> _Pairs:
    for block in re.split(r"^\[\[packages?\]\]$", text, flags=re.MULTILINE)[1:]:
        head = block.partition("\n[")[0]
        name, version = (form.search(head) for form in _IN_TOML)
        locked = _COMMIT.search(block) or version
        if name:
            yield name[1], locked[1] if locked else ""


def _yaml(text: str) -> _Pairs:
    for name, version in set(_CONDA_FILE.findall(text)):
        yield _CONDA + name, version
    for block in text.split("\n- ")[1:]:
        name, version = (form.search(block) for form in _IN_YAML)
        if name and version:
            yield (_CONDA if _CONDA_ENTRY.search(block) else "") + name[1], version[1]


def _pipfile(text: str) -> _Pairs:
    for section, entries in json.loads(text).items():
        for name, entry in entries.items() if section != "_meta" else ():
            version = str(entry.get("version", ""))
            yield name, entry.get("ref") or (version.lstrip("=") if version.startswith("==") else "")


def _requirements(text: str) -> _Pairs:
    for name, version, commit in _REQUIREMENT.findall(text):
        yield name, commit or version


LOCKFILES: Mapping[str, Callable[[str], _Pairs]] = {
    **dict.fromkeys(("uv.lock", "poetry.lock", "pdm.lock", "pylock.toml", "pylock.*.toml"), _toml),
    **dict.fromkeys(("pixi.lock", "conda-lock.yml"), _yaml),
    "Pipfile.lock": _pipfile,
    "requirements*.lock": _requirements,
}
"""Names of lock files, as shell patterns, and who reads them; ``pylock`` from PEP 751."""
