"""The environment: which Python, which installed distributions from where, which of them in use, which lock files."""

import hashlib
from pathlib import Path

from ckptkit.capture import attempt, conda, distributions, interpreter, loaded, lockfiles, requirements
from ckptkit.capture.distributions import Installed, normalised
from ckptkit.capture.editables import editables
from ckptkit.checkpoint import REQUIREMENTS, REQUIREMENTS_VCS
from ckptkit.record import CondaPackage, Environment, Package

_OURS = "ckptkit-lineage"
_PACKAGES = "code.environment.packages"


def environment(
    *, python: str | None, in_process: bool, project: Path, unknown: dict[str, str]
) -> tuple[Environment, dict[str, bytes]]:
    """The interpreter and its distributions, ckptkit itself aside.

    Args:
        python: an interpreter or a virtual environment to read instead of the one found.
        in_process: this process trained, so its own interpreter counts and what it imported is known.
        project: where lock files are looked for, and how paths are shown.
        unknown: takes the reasons for what could not be had.

    Returns:
        The record, and by name the files that install the environment again: requirements.txt, and
        requirements-vcs.txt where not all came from an index; none when the distributions cannot be read.
    """
    source, found = "this process", interpreter.training() if in_process else None
    if not in_process:
        source, found = interpreter.meant(python, project, unknown)
    installed: list[Installed] | None = None
    if found is not None:
        installed = attempt(unknown, _PACKAGES, lambda: distributions.installed(found.path, unknown), None)
    pinned = [each for each in installed or [] if each.key != _OURS]
    packages = _packages(pinned, in_process=in_process, unknown=unknown)
    editable = editables(pinned, project, unknown)
    files: dict[str, bytes] = {}
    if found is not None and installed is not None:
        files = requirements.files(pinned, editable, python=found.version, project=project)
    in_conda = () if found is None else _conda(Path(found.prefix), unknown)
    record = Environment(
        source=source,
        python=None if found is None else found.recorded(),
        requirements=_named(REQUIREMENTS, files),
        requirements_vcs=_named(REQUIREMENTS_VCS, files),
        packages=packages,
        editable=editable,
        conda=in_conda,
        lockfiles=lockfiles.lockfiles(
            project,
            None if installed is None else packages,
            in_conda,
            ours=frozenset(normalised(each.name) for each in editable),
            unknown=unknown,
        ),
    )
    return record, files


def _packages(pinned: list[Installed], *, in_process: bool, unknown: dict[str, str]) -> tuple[Package, ...]:
    imported: set[str] | None = None
    mapped: set[str] | None = None
    if in_process and pinned:
        imported = attempt(unknown, f"{_PACKAGES}.imported", lambda: loaded.imported(pinned), None)
        mapped = attempt(unknown, f"{_PACKAGES}.mapped", lambda: loaded.mapped(pinned), None)
    return tuple(
        Package(
            name=each.name,
            version=each.version,
            imported=None if imported is None else each.key in imported,
            local=each.local(),
            mapped=None if mapped is None else each.key in mapped,
            record=hashlib.sha256(each.record).hexdigest() if each.record else None,
            origin=each.origin(),
        )
        for each in pinned
    )


def _conda(prefix: Path, unknown: dict[str, str]) -> tuple[CondaPackage, ...]:
    none: tuple[CondaPackage, ...] = ()
    return attempt(unknown, "code.environment.conda", lambda: conda.packages(prefix, unknown), none)


def _named(name: str, files: dict[str, bytes]) -> str | None:
    return name if name in files else None
