"""A DVC project as it lies on disk: its root, its remotes, its ``.dvc`` files and the stages of each ``dvc.lock``.

Formats: https://dvc.org/doc/user-guide/project-structure, and ``dvc/schema.py`` of DVC 3.67.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ckptkit import disk, documents, redact
from ckptkit.errors import FormatError

LOCK = "dvc.lock"
POINTER = ".dvc"
FOLDER = ".dir"
"""How the MD5 of a folder ends."""

# DVC writes YAML 1.2, in which `no` is a text and 1e-05 a number; PyYAML reads 1.1.
_TEXTS = re.compile(rb"(?m)^([ -]*(?:[^\s:'\"]+: |- ))(yes|no|on|off)$", re.IGNORECASE)
_NUMBERS = re.compile(rb"(?m)^([ -]*(?:[^\s:'\"]+: |- )-?\d+)(e[-+]\d+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A dependency or output as DVC wrote it down; ``path`` is where it lies, None where that is not in this tree."""

    path: str | None
    said: Mapping[str, Any]

    @property
    def md5(self) -> str | None:
        """Its MD5, ending in ``FOLDER`` for a folder."""
        found = self.said.get("md5")
        return found if isinstance(found, str) and found else None

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, as far as its MD5 tells."""
        return (self.md5 or "").endswith(FOLDER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage of a ``dvc.lock``; or a ``.dvc`` file, which has neither name nor command."""

    file: Path
    name: str | None
    command: tuple[str, ...]
    params: Mapping[str, Any]
    deps: tuple[Entry, ...]
    outs: tuple[Entry, ...]


def root(path: Path, project: Path) -> Path:
    """The folder where the way up from ``path`` ends: that of DVC or git, the project, or else the one around it."""
    for folder in path.parents:
        if os.path.isdir(folder / POINTER) or os.path.lexists(folder / ".git"):  # noqa: PTH112 - never raises
            return folder
        if os.path.ismount(folder):
            break
    return project if project in path.parents else path.parent


def pointers(path: Path, top: Path) -> Iterator[Path]:
    """The files that may say that ``path`` or a folder above it is tracked, the likeliest first."""
    for place in (path, *path.parents):
        if place == top:
            break
        file = place.with_name(f"{place.name}{POINTER}")
        if os.path.exists(file):  # noqa: PTH110 - never raises
            yield file
    yield from locks(path, top)


def locks(path: Path, top: Path) -> Iterator[Path]:
    """Every ``dvc.lock`` on the way from ``path`` up to ``top``."""
    for folder in path.parents:
        if os.path.exists(folder / LOCK):  # noqa: PTH110 - never raises
            yield folder / LOCK
        if folder == top:
            return


def read(file: Path) -> tuple[Stage, ...]:
    """The stages of a ``.dvc`` file or a ``dvc.lock``.

    Raises:
        FormatError: it cannot be read, or is not of DVC's form.
    """
    try:
        status = file.stat()
    except OSError as error:
        raise FormatError(f"cannot be read: {disk.reason(error)}") from error
    return _read(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _read(file: Path, *_: int) -> tuple[Stage, ...]:
    said = _load(file)
    if file.name != LOCK:
        return (_stage(file, None, said, {}),)
    stages = said.get("stages")
    if not isinstance(stages, Mapping) or not all(isinstance(each, Mapping) for each in stages.values()):
        raise FormatError("holds no stages of the form that DVC writes")
    written: Any = None
    with contextlib.suppress(FormatError):
        written = _load(file.with_name("dvc.yaml")).get("stages")
    return tuple(_stage(file, name, each, _written(written, name)) for name, each in stages.items())


def _load(file: Path) -> Mapping[str, Any]:
    data = disk.read_regular(file, disk.CONFIG_LIMIT)
    said = documents.load_yaml(_NUMBERS.sub(rb"\1.0\2", _TEXTS.sub(rb"\1'\2'", data)))
    if not isinstance(said, Mapping):
        raise FormatError("is not of the form that DVC writes")
    return said


def _written(stages: object, name: str) -> Mapping[str, Any]:
    """A stage as dvc.yaml has it, which alone tells its working directory."""
    found = stages.get(name, stages.get(name.partition("@")[0])) if isinstance(stages, Mapping) else None
    found = found.get("do", found) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _stage(file: Path, name: str | None, said: Mapping[str, Any], written: Mapping[str, Any]) -> Stage:
    below = (said if name is None else written).get("wdir") or "."
    folder = None if "${" in str(below) else os.path.normpath(file.parent / str(below))
    command, params = said.get("cmd"), said.get("params")
    outs = said.get("outs") or []
    if not isinstance(outs, list) or not all(isinstance(each, Mapping) for each in outs):
        raise FormatError("names no outputs in the form that DVC writes")
    return Stage(
        file=file,
        name=name,
        command=tuple(map(str, command if isinstance(command, list) else [command])) if command else (),
        params=params if isinstance(params, Mapping) else {},
        deps=_entries(said.get("deps"), folder),
        outs=_entries(outs, folder),
    )


def _entries(listed: object, folder: str | None) -> tuple[Entry, ...]:
    found = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    return tuple(Entry(path=_place(each, folder), said=each) for each in found)


def _place(said: Mapping[str, Any], folder: str | None) -> str | None:
    path = said.get("path")
    if folder is None or not isinstance(path, str) or not path or "://" in path or "repo" in said:
        return None
    return os.path.normpath(os.path.join(folder, path))  # noqa: PTH118 - strings, compared as such


def settings(top: Path) -> Mapping[str, Mapping[str, str]]:
    """The configuration in ``.dvc``, with this clone's own over it; sections by their names, without quotes."""
    import configparser

    found: dict[str, dict[str, str]] = {}
    for name in ("config", "config.local"):
        parser = configparser.RawConfigParser(strict=False, inline_comment_prefixes=("#",))
        with contextlib.suppress(FormatError, configparser.Error):
            parser.read_string(disk.read_regular(top / POINTER / name, disk.CONFIG_LIMIT).decode(errors="replace"))
        for section in parser.sections():
            values = {key: value.strip("\"'") for key, value in parser.items(section)}
            found.setdefault(section.strip("'"), {}).update(values)
    return found


def remote(top: Path, name: object, project: Path) -> Mapping[str, Any] | None:
    """The remote of that name, else the default one: its name, and its ``address``."""
    known = settings(top)
    name = name if isinstance(name, str) else known.get("core", {}).get("remote")
    if name is None:
        return None
    url = known.get(f'remote "{name}"', {}).get("url", "")
    return {"name": redact.text(name), **address(url, top / POINTER, project)}


def address(value: object, folder: Path, project: Path) -> dict[str, Any]:
    """``url`` without credentials; or ``path`` for a local one, relative to ``folder``, as paths are recorded."""
    url = redact.url(value) if isinstance(value, str) else None
    if url != "local":
        return {"url": url} if url else {}
    path, outside = redact.path(folder / str(value).removeprefix("file://"), project)
    return {"path": path, "outside": True} if outside else {"path": path}
