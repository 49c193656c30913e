"""Pointers of DVC: what a ``.dvc`` file or a ``dvc.lock`` says of a path, and its MD5 made again."""

import contextlib
import hashlib
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ckptkit import disk, documents, redact
from ckptkit.data import dvc_project
from ckptkit.data.claim import Claim, Held, Verdict, differs, is_there
from ckptkit.data.dvc_project import FOLDER, Entry, Stage
from ckptkit.errors import FormatError
from ckptkit.manifest import Hashed
from ckptkit.words import count

_FACTS = ("md5", "hash", "etag", "checksum", "version_id", "size", "nfiles")
_LEGACY = (
    "its MD5 is that of DVC 2 (md5-dos2unix), made after line ends are turned into others; it is not made again here"
)
_IGNORED = "the folder holds more files than {file} counts, and .dvcignore has patterns, which are not applied here"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tracked:
    """An output, and what of it was asked for; ``within`` is the place in it, empty for the whole."""

    file: str
    out: Entry
    top: Path
    within: str


def claim(path: Path, project: Path) -> Claim | None:
    """What DVC says of ``path``: that it is an output, or lies in one; None where it says nothing.

    Args:
        path: an absolute path, whether something is there or not.
        project: the folder that paths are recorded relative to.
    """
    top = dvc_project.root(path, project)
    damaged: Claim | None = None
    for file in dvc_project.pointers(path, top):
        shown = redact.path(file, project)[0]
        try:
            stages = dvc_project.read(file)
        except FormatError as error:
            why = redact.text(disk.reason(error), project=project)
            damaged = damaged or Claim(system="dvc", said={"file": shown, "unreadable": why})
            continue
        for stage in stages:
            for out in stage.outs:
                if out.path is not None and f"{path}/".startswith(f"{out.path}/"):
                    within = os.fspath(path)[len(out.path) + 1 :]
                    return _claim(path, stage, _Tracked(file=shown, out=out, top=top, within=within), project)
    return damaged if is_there(path) else None


def _claim(path: Path, stage: Stage, tracked: _Tracked, project: Path) -> Claim | None:
    said, whole = tracked.out.said, not tracked.within
    here = is_there(path) and not (_is_hollow(path) and said.get("nfiles") != 0)
    if not here and not _may_hold(tracked, path):
        return None
    size, files = said.get("size"), said.get("nfiles") if tracked.out.is_folder else 1
    return Claim(
        system="dvc",
        said=_source(stage, tracked, project),
        absent=None if here else _command(stage, tracked),
        bytes=size if isinstance(size, int) and whole else None,
        files=files if isinstance(files, int) and whole else None,
        check=partial(_check, tracked) if here else None,
    )


def _is_hollow(path: Path) -> bool:
    """Whether a folder holds no file, or links into a cache that was cleared.

    Raises:
        OSError: it cannot be read.
    """
    if not os.path.isdir(path):  # noqa: PTH112 - never raises
        return False
    walk = os.walk(path, onerror=_refuse)
    first = next((f"{folder}/{names[0]}" for folder, _, names in walk if names), None)
    return first is None or not is_there(Path(first))


def _refuse(error: OSError) -> None:
    raise error


def _may_hold(tracked: _Tracked, path: Path) -> bool:
    """Whether a path that is not there belongs to the output, as far as that can be told; a wrong name does not."""
    if not tracked.within or path.is_symlink():
        return True
    listed = _listed(tracked)
    if listed is None:
        whole = Path(str(tracked.out.path))
        return not is_there(whole) or _is_hollow(whole)
    return any(f"{name}/".startswith(f"{tracked.within}/") for name in listed)


def _command(stage: Stage, tracked: _Tracked) -> str:
    if stage.name is None:
        return shlex.join(["dvc", "pull", tracked.file])
    return shlex.join(["dvc", "repro", "--pull", f"{tracked.file.removesuffix('.lock')}.yaml:{stage.name}"])


def _source(stage: Stage, tracked: _Tracked, project: Path) -> dict[str, Any]:
    said = tracked.out.said
    out: dict[str, Any] = {"file": tracked.file}
    if stage.name is not None:
        out["stage"] = redact.text(stage.name, project=project)
    if tracked.within:
        out["path"] = redact.path(Path(str(tracked.out.path)), project)[0]
    out |= _facts(said)
    if remote := dvc_project.remote(tracked.top, said.get("remote"), project):
        out["remote"] = remote
    if stage.name is None and stage.deps:
        out["imported"] = _import(stage.deps[0], stage.file.parent, project)
    return out


def _facts(said: Mapping[str, Any]) -> dict[str, Any]:
    return {key: said[key] for key in _FACTS if isinstance(said.get(key), str | int)}


def _import(dep: Entry, folder: Path, project: Path) -> dict[str, Any]:
    """Where ``dvc import`` or ``dvc import-url`` had it from."""
    repo = dep.said.get("repo")
    if not isinstance(repo, Mapping):
        return {**dvc_project.address(dep.said.get("path"), folder, project), **_facts(dep.said)}
    revisions = {key: redact.text(repo[key]) for key in ("rev", "rev_lock") if isinstance(repo.get(key), str)}
    inner = redact.text(str(dep.said.get("path", "")))
    return {"repo": dvc_project.address(repo.get("url"), folder, project), "file": inner, **revisions}


def _check(tracked: _Tracked, held: Held) -> Verdict:
    out, file = tracked.out, tracked.file
    if out.md5 is None:
        return {"why_not": f"{file} has no MD5 of it"}
    if out.said.get("hash") != "md5":
        return {"why_not": _LEGACY}
    if tracked.within:
        return _check_part(tracked, held)
    if isinstance(held.content, Hashed):
        if out.is_folder:
            return differs(f"is a file, {file} says a folder")
        md5 = held.md5(os.fspath(held.path), held.content)
    elif not out.is_folder:
        return differs(f"is a folder, {file} says a file")
    else:
        md5, files = _folder_md5(held)
        said = out.said.get("nfiles", files)
        if md5 != out.md5 and files > said and _ignores(held.path, tracked.top):
            return {"why_not": _IGNORED.format(file=file)}
        if md5 != out.md5 and files != said:
            return differs(f"holds {count(files, 'file')}, {file} says {said:,}")
    return {"agrees": True} if md5 == out.md5 else differs(f"has the MD5 {md5}, {file} says {out.md5}")


def _seen(held: Held) -> Iterator[tuple[str, Hashed]]:
    """The files of a folder that DVC sees: it follows no link to a folder, and leaves out its own and git's."""
    linked: dict[str, bool] = {"": False}

    def through_link(folder: str) -> bool:
        if folder not in linked:
            linked[folder] = through_link(os.path.dirname(folder)) or os.path.islink(held.path / folder)  # noqa: PTH114, PTH120 - a str, a million times
        return linked[folder]

    for file, entry in held.files():
        folder, _, name = entry.path.rpartition("/")
        if name != ".git" and {".git", ".hg", ".dvc"}.isdisjoint(folder.split("/")) and not through_link(folder):
            yield file, entry


def _ignores(path: Path, top: Path) -> bool:
    lines: list[bytes] = []
    for folder in path, top:
        with contextlib.suppress(FormatError):
            lines += disk.read_regular(folder / ".dvcignore", disk.CONFIG_LIMIT).split(b"\n")
    return any(line.strip() and not line.startswith(b"#") for line in lines)


def _folder_md5(held: Held) -> tuple[str, int]:
    """The MD5 of the JSON list that DVC makes of a folder, never whole in memory, and the number of files in it.

    Source: ``Tree.as_bytes`` in ``dvc_data/hashfile/tree.py``.
    """
    whole, files = hashlib.md5(b"[", usedforsecurity=False), 0
    for file, entry in _seen(held):
        listed = {"md5": held.md5(file, entry), "relpath": entry.path}
        whole.update((b", " if files else b"") + json.dumps(listed).encode())
        files += 1
    whole.update(b"]")
    return whole.hexdigest() + FOLDER, files


def _listed(tracked: _Tracked) -> Mapping[str, str] | None:
    """The MD5 of each file of a folder, by its path in it; None where DVC's cache here does not have the list."""
    md5 = tracked.out.md5 or ""
    store = dvc_project.settings(tracked.top).get("cache", {}).get("dir", "cache")
    try:
        data = disk.read_regular(tracked.top / dvc_project.POINTER / store / "files" / "md5" / md5[:2] / md5[2:])
        files = documents.load_json(data)
    except FormatError:
        return None
    if hashlib.md5(data, usedforsecurity=False).hexdigest() + FOLDER != md5:
        return None
    return {str(each["relpath"]): str(each["md5"]) for each in files}


def _check_part(tracked: _Tracked, held: Held) -> Verdict:
    """The verdict on a part of a folder, file by file."""
    listed = _listed(tracked)
    if listed is None:
        return {
            "why_not": f"{tracked.file} has one hash of the whole folder, and DVC's cache here does not list its files"
        }
    if isinstance(held.content, Hashed):
        wanted, seen = {held.content.path: listed.get(tracked.within)}, held.files()
    else:
        prefix = f"{tracked.within}/"
        wanted = {name[len(prefix) :]: md5 for name, md5 in listed.items() if name.startswith(prefix)}
        seen = _seen(held)
    extra, different = [], []
    for file, entry in seen:
        md5 = wanted.pop(entry.path, None)
        if md5 is None:
            extra.append(entry.path)
        elif md5 != held.md5(file, entry):
            different.append(entry.path)
    if extra and _ignores(held.path, tracked.top):
        return {"why_not": _IGNORED.format(file=tracked.file)}
    different += [*extra, *wanted]
    if not different:
        return {"agrees": True}
    names = ", ".join(sorted(different)[:5])
    return differs(f"is not as {tracked.file} has it in {count(len(different), 'file')}: {names}")
