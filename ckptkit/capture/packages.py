"""The environment: which Python, which installed distributions, which of them imported, which lock files."""

import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ckptkit import redact
from ckptkit.capture import attempt
from ckptkit.capture.command import ProbeError, run
from ckptkit.capture.modules import module_files
from ckptkit.disk import read_regular, reason
from ckptkit.errors import FormatError
from ckptkit.record import Editable, Environment, Interpreter, Lockfile, Package

if TYPE_CHECKING:
    from importlib.metadata import Distribution

SECONDS = 20.0
"""How long another interpreter may take to say what it is."""

LOCKFILES = (
    *("uv.lock", "poetry.lock", "pdm.lock", "pixi.lock", "conda-lock.yml", "Pipfile.lock"),
    *("pylock.toml", "pylock.*.toml", "requirements*.lock"),
)
"""Names of lock files, as shell patterns; ``pylock`` from PEP 751."""

_OURS = "ckptkit-lineage"
_FACTS = (
    "import json, platform as p, sys; print(json.dumps(dict(implementation=p.python_implementation(),"
    " version=p.python_version(), banner=sys.version, prefix=sys.prefix, base_prefix=sys.base_prefix,"
    " path=[folder for folder in sys.path if folder])))"
)
_FIELD = re.compile(r"^(name|version):[ \t]*(\S.*?)[ \t\r]*$", re.IGNORECASE | re.MULTILINE)
_AT_START_UP = re.compile(r"__editable__|_distutils_hack|_virtualenv|sitecustomize")  # imported for no one's use


@dataclass(frozen=True, slots=True, kw_only=True)
class _Python:
    """What an interpreter says of itself."""

    implementation: str
    version: str
    banner: str
    prefix: str
    base_prefix: str
    path: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Installed:
    """A distribution by the header of its metadata; ``folder`` is its source when it is editable."""

    distribution: "Distribution"
    key: str
    name: str
    version: str
    folder: str | None


def environment(
    *, python: str | None, in_process: bool, project: Path, unknown: dict[str, str]
) -> tuple[Environment, str]:
    """The interpreter and its distributions, and the text of requirements.txt (empty when nothing could be read).

    Args:
        python: an interpreter or a virtual environment to read instead of the one found.
        in_process: this process trained, so its own interpreter counts and what it imported is known.
        project: where lock files are looked for.
        unknown: takes the reasons for what could not be had.
    """
    source, found = ("this process", _own()) if in_process else _interpreter(python, project, unknown)
    installed: list[_Installed] | None = None
    used: set[str] | None = None
    if found is not None:
        installed = attempt(unknown, "code.environment.packages", lambda: _installed(found.path, unknown), None)
    if installed is not None and in_process:
        used = attempt(unknown, "code.environment.packages.imported", lambda: _imported(installed), None)
    pinned = [each for each in installed or [] if each.key != _OURS]
    text = ""
    if found is not None and installed is not None:
        text = f"# Python {found.version}; every distribution installed, ckptkit itself aside\n"
        text += "".join(f"{each.name}=={each.version}\n" for each in pinned)
    record = Environment(
        source=source,
        python=None if found is None else _recorded(found),
        requirements="requirements.txt" if text else None,
        packages=tuple(
            Package(name=each.name, version=each.version, imported=None if used is None else each.key in used)
            for each in pinned
        ),
        editable=tuple(_editable(each, Path(each.folder), project) for each in pinned if each.folder),
        lockfiles=_lockfiles(project, unknown),
    )
    return record, text


def _editable(found: _Installed, folder: Path, project: Path) -> Editable:
    path, outside = redact.path(folder, project)
    return Editable(name=found.name, version=found.version, path=path, outside=outside)


def _recorded(found: _Python) -> Interpreter:
    kind: Literal["virtual environment", "conda", "system"] = "system"
    if found.prefix != found.base_prefix:
        kind = "virtual environment"
    elif Path(found.prefix, "conda-meta").is_dir():
        kind = "conda"
    build = " ".join(found.banner.partition(" ")[2].split())
    return Interpreter(
        implementation=found.implementation, version=found.version, build=redact.text(build) or None, kind=kind
    )


def _interpreter(asked: str | None, project: Path, unknown: dict[str, str]) -> tuple[str, _Python | None]:
    if asked is not None:
        source = f"--python {redact.path(Path(asked), project)[0] if os.sep in asked else asked}"
        try:
            return source, _other(asked)
        except ProbeError as error:
            unknown["code.environment"] = f"{source}: {redact.text(error.message, project=project)}"
            return source, None
    variable = next((name for name in ("VIRTUAL_ENV", "CONDA_PREFIX") if os.environ.get(name)), None)
    if variable is None:
        return "the interpreter of ckptkit", _own()
    try:
        return f"${variable}", _other(os.environ[variable])
    except ProbeError as error:
        unknown["code.environment.source"] = f"${variable}: {redact.text(error.message, project=project)}"
        return f"the interpreter of ckptkit, as that of ${variable} does not work", _own()


def _own() -> _Python:
    import platform

    return _Python(
        implementation=platform.python_implementation(),
        version=platform.python_version(),
        banner=sys.version,
        prefix=sys.prefix,
        base_prefix=sys.base_prefix,
        path=sys.path,
    )


def _other(where: str) -> _Python:
    """What the interpreter says that is named, or lies at a path or in an environment's folder.

    Raises:
        ProbeError: there is none, or it does not answer.
    """
    import shutil

    folder = Path(where)
    executable = shutil.which(folder / "bin" / "python" if folder.is_dir() else folder)
    if executable is None:
        raise ProbeError("there is no such interpreter")
    executable = os.path.abspath(executable)  # noqa: PTH100 - resolving the link would leave the environment
    prefix = os.path.realpath(Path(executable).parent.parent)
    if prefix == os.path.realpath(sys.prefix) and os.path.realpath(executable) == os.path.realpath(sys.executable):
        return _own()
    # Not -I: training saw the user's site-packages and PYTHONPATH. Not here: a json.py beside us would be imported.
    said = run([executable, "-c", _FACTS], seconds=SECONDS, cwd=Path("/"))
    try:
        return _Python(**json.loads(said.splitlines()[-1]))
    except (ValueError, TypeError, IndexError):
        raise ProbeError("it does not answer as Python does") from None


def _installed(path: Sequence[str], unknown: dict[str, str]) -> list[_Installed]:
    """The distributions, by normalised name: the first on the path is the one that is imported."""
    from importlib.metadata import distributions

    found: dict[str, _Installed] = {}
    broken: list[str] = []
    for distribution in distributions(path=list(path)):
        place = Path(str(getattr(distribution, "_path", "a distribution")))
        each = _read(distribution)
        if each is None or place.name.startswith("~"):
            broken.append(f"{place.name} " + ("has no name or version" if each is None else "is what pip left behind"))
            continue
        first = found.setdefault(each.key, each)
        if first is not each and first.folder is None and each.folder:  # seen as an egg-info in its own source first
            found[each.key] = replace(first, folder=each.folder)
        elif first.version != each.version and first.distribution.locate_file("") == distribution.locate_file(""):
            broken.append(f"{each.name} is there as {first.version} and as {each.version}")
    if broken:
        unknown["code.environment.packages"] = "; ".join(sorted(broken))
    return sorted(found.values(), key=lambda each: each.key)


def _read(distribution: "Distribution") -> _Installed | None:
    """Name and version from the text: the parser of e-mail that stands behind ``.metadata`` is many times slower."""
    try:
        texts = (_text(distribution, name) for name in ("METADATA", "PKG-INFO", ""))
        text = next((text for text in texts if text), "")
        origin = json.loads(_text(distribution, "direct_url.json") or "{}")
        fields = {
            key.lower(): value for key, value in reversed(_FIELD.findall(re.split(r"\r?\n\r?\n", text, maxsplit=1)[0]))
        }
        name, version = fields["name"], fields["version"]
    except Exception:  # noqa: BLE001 - whatever a broken installation makes of it
        return None
    key = re.sub(r"[-_.]+", "-", name).lower()
    return _Installed(distribution=distribution, key=key, name=name, version=version, folder=_source(origin))


def _text(distribution: "Distribution", name: str) -> str:
    """A file of a distribution's metadata; a FIFO in its place is not waited for."""
    place = getattr(distribution, "_path", None)
    if not isinstance(place, Path):  # in a zip file
        return distribution.read_text(name) or ""
    try:
        return read_regular(place / name).decode()
    except FormatError:
        return ""


def _source(origin: object) -> str | None:
    """The folder of an editable installation, from the content of direct_url.json (PEP 610)."""
    from urllib.parse import unquote, urlsplit

    match origin:
        case {"dir_info": {"editable": True}, "url": str(url)} if url.startswith("file:"):
            return unquote(urlsplit(url).path).rstrip("/") or None
    return None


def _imported(installed: Sequence[_Installed]) -> set[str]:
    """Keys of the distributions of which a module is loaded.

    Reading the record of every distribution takes seconds where torch is installed, so a loaded package is looked for
    first by its name, then in top_level.txt, and only what remains in the records of those still in question.
    """
    places = {each.key: str(Path.cwd() / str(each.distribution.locate_file(""))) for each in installed}
    packages, elsewhere = _loaded(sorted(set(places.values()), key=len, reverse=True))
    used = {each.key for each in installed if each.folder and any(f.startswith(f"{each.folder}/") for f in elsewhere)}
    for look in (_by_name, _by_top_level, _by_record):
        for each in installed:
            here = packages.get(places[each.key])
            if each.key not in used and here and (claimed := look(each, here)):
                used.add(each.key)
                for package in claimed:
                    del here[package]
    return used


def _loaded(places: Sequence[str]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Loaded packages and single modules by place (path there, one file of it); and all other files of modules."""
    packages: dict[str, dict[str, str]] = {}
    elsewhere: list[str] = []
    files = module_files()
    for file in files.values():
        place = next((place for place in places if file.startswith(f"{place}/")), None)
        if place is None:
            elsewhere.append(file)
            continue
        below = file[len(place) + 1 :]
        parts = below.split("/")
        depth = 1
        while depth < len(parts) and ".".join(parts[:depth]) not in files:  # a namespace, which many may share
            depth += 1
        package = "/".join(parts[:depth])
        if not _AT_START_UP.match(package):
            packages.setdefault(place, {}).setdefault(package, below)
    return packages, elsewhere


def _by_name(each: _Installed, here: dict[str, str]) -> list[str]:
    return [package for package in here if re.sub(r"[-_/]+", "-", _stem(package)).lower() == each.key]


def _by_top_level(each: _Installed, here: dict[str, str]) -> list[str]:
    names = _text(each.distribution, "top_level.txt").split()
    return [package for package in here if _stem(package) in names]


def _by_record(each: _Installed, here: dict[str, str]) -> list[str]:
    record = f"\n{_text(each.distribution, 'RECORD')}"
    return [package for package, file in here.items() if f"\n{file}," in record]


def _stem(package: str) -> str:
    folder, slash, name = package.rpartition("/")
    return f"{folder}{slash}{name.partition('.')[0]}"


def _lockfiles(project: Path, unknown: dict[str, str]) -> tuple[Lockfile, ...]:
    import hashlib

    found: list[Lockfile] = []
    unread: list[str] = []
    try:
        names = sorted(os.listdir(project))
    except OSError as error:
        names, unread = [], [f"the project's root cannot be read: {reason(error)}"]
    for name in names:
        if any(fnmatchcase(name, pattern) for pattern in LOCKFILES):
            try:
                found.append(Lockfile(path=name, sha256=hashlib.sha256(read_regular(project / name)).hexdigest()))
            except FormatError as error:
                unread.append(f"{name} {error.message}")
    if unread:
        unknown["code.environment.lockfiles"] = "; ".join(unread)
    return tuple(found)
