"""Pointers of DVC: what a ``.dvc`` file or a ``dvc.lock`` says of a path, and its MD5 made again."""

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
from ckptkit.capture import dvc_project
from ckptkit.capture.claim import Claim, entries, is_there, rehash
from ckptkit.capture.dvc_project import Entry, Stage
from ckptkit.errors import FormatError
from ckptkit.hash_cache import Cache
from ckptkit.hashing import Progress
from ckptkit.manifest import Hashed, Manifest
from ckptkit.words import count

_FOLDER = ".dir"
_FACTS = ("md5", "hash", "etag", "checksum", "version_id", "size", "nfiles")
_LEGACY = (
    "its MD5 is that of DVC 2 (md5-dos2unix), made after the line ends of what looks like text are turned into others; "
    "it is not made again here"
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
            if damaged is None and file.name.removesuffix(dvc_project.POINTER) in {*path.parts, dvc_project.LOCK}:
                why = redact.text(disk.reason(error), project=project)
                damaged = Claim(system="dvc", said={"file": shown, "unreadable": why})
            continue
        for stage in stages:
            for out in stage.outs:
                if out.path is not None and f"{path}/".startswith(f"{out.path}/"):
                    within = os.fspath(path)[len(out.path) + 1 :]
                    return _claim(path, stage, _Tracked(file=shown, out=out, top=top, within=within), project)
    return damaged if is_there(path) else None


def _claim(path: Path, stage: Stage, tracked: _Tracked, project: Path) -> Claim | None:
    here = is_there(path) and not (_is_empty(path) and tracked.out.said.get("nfiles") != 0)
    if not here and not _may_hold(tracked):
        return None
    said = tracked.out.said
    size, files = said.get("size"), said.get("nfiles") if _is_folder(tracked.out) else 1 if tracked.out.md5 else None
    return Claim(
        system="dvc",
        said=_source(stage, tracked, project),
        absent=None if here else _absence(stage, tracked, project),
        bytes=size if isinstance(size, int) and not tracked.within else None,
        files=files if isinstance(files, int) and not tracked.within else None,
        check=partial(_check, tracked) if here else None,
    )


def _is_empty(path: Path) -> bool:
    try:
        with os.scandir(path) as names:
            return next(names, None) is None
    except OSError:  # a file, mostly
        return False


def _is_folder(out: Entry) -> bool:
    return "files" in out.said or (out.md5 or "").endswith(_FOLDER)


def _may_hold(tracked: _Tracked) -> bool:
    """Whether a path that is not there belongs to the output, as far as that can be told; a wrong name does not."""
    if not tracked.within:
        return True
    listed = _listed(tracked)
    if listed is None:
        return tracked.out.path is not None and not is_there(Path(tracked.out.path))
    return any(f"{name}/".startswith(f"{tracked.within}/") for name in listed)


def _absence(stage: Stage, tracked: _Tracked, project: Path) -> str:
    target = tracked.file
    if stage.name is not None and tracked.out.said.get("cache") is False:
        verb, target = "repro", f"{target.removesuffix('.lock')}.yaml:{stage.name}"
    elif stage.name is not None:
        verb, target = "pull", redact.path(Path(str(tracked.out.path)), project)[0]
    else:
        verb = "pull"
    return f"its content is not here, only what {tracked.file} says of it: `dvc {verb} {shlex.quote(target)}` brings it"


def _source(stage: Stage, tracked: _Tracked, project: Path) -> dict[str, Any]:
    said = tracked.out.said
    out: dict[str, Any] = {"file": tracked.file}
    if stage.name is not None:
        out["stage"] = redact.text(stage.name, project=project)
    if tracked.within:
        out["path"] = redact.path(Path(str(tracked.out.path)), project)[0]
    out |= {key: said[key] for key in _FACTS if isinstance(said.get(key), str | int)}
    out |= {key: False for key in ("cache", "push") if said.get(key) is False}
    if isinstance(said.get("cloud"), Mapping):
        out["cloud"] = redact.values(documents.finite(said["cloud"]), project=project)
    if said.get("cache") is not False and (remote := dvc_project.remote(tracked.top, said.get("remote"), project)):
        out["remote"] = remote
    if stage.name is None and stage.deps:
        out["imported"] = _import(stage.deps[0], stage.file.parent, project)
    return out


def _import(dep: Entry, folder: Path, project: Path) -> dict[str, Any]:
    """Where ``dvc import`` or ``dvc import-url`` had it from."""
    repo = dep.said.get("repo")
    if not isinstance(repo, Mapping):
        facts = {key: dep.said[key] for key in _FACTS if isinstance(dep.said.get(key), str | int)}
        return {**dvc_project.address(dep.said.get("path"), folder, project), **facts}
    revisions = {key: redact.text(repo[key]) for key in ("rev", "rev_lock") if isinstance(repo.get(key), str)}
    inner = redact.text(str(dep.said.get("path", "")))
    return {"repo": dvc_project.address(repo.get("url"), folder, project), "file": inner, **revisions}


def _check(
    tracked: _Tracked, path: Path, content: Manifest | Hashed, cache: Cache | None, progress: Progress | None
) -> Mapping[str, Any]:
    out, file = tracked.out, tracked.file
    if out.said.get("hash") != "md5":
        return {"why_not": _LEGACY if out.md5 else f"{file} has no MD5 of it"}
    if tracked.within or (out.md5 is None and "files" in out.said):
        listed = _listed(tracked)
        if listed is None:
            return {"why_not": f"{file} has one hash of the whole folder, and DVC's cache here does not list its files"}
        return _compared(path, tracked, listed, content, cache, progress)
    if out.md5 is None:
        return {"why_not": f"{file} has no MD5 of it"}
    if isinstance(content, Hashed) == out.md5.endswith(_FOLDER):
        kinds = ("file", "folder") if isinstance(content, Hashed) else ("folder", "file")
        return _differs(f"is a {kinds[0]}, {file} says a {kinds[1]}")
    if isinstance(content, Hashed):
        md5 = _md5(os.fspath(path), content, cache, progress)
    else:
        verdict = _counted(path, tracked, content)
        if verdict is not None:
            return verdict
        md5 = _folder_md5(path, content, cache, progress)
    return {"agrees": True} if md5 == out.md5 else _differs(f"has the MD5 {md5}, {file} says {out.md5}")


def _differs(words: str) -> dict[str, Any]:
    return {"agrees": False, "difference": words}


def _counted(path: Path, tracked: _Tracked, content: Manifest) -> Mapping[str, Any] | None:
    """The verdict that number and size of the files allow, without reading them."""
    files = size = 0
    for _, entry in _seen(path, content):
        files, size = files + 1, size + entry.bytes
    said, file = tracked.out.said, tracked.file
    if isinstance(said.get("nfiles"), int) and files != said["nfiles"]:
        if files > said["nfiles"] and _ignores(path, tracked.top):
            return {"why_not": _IGNORED.format(file=file)}
        return _differs(f"holds {count(files, 'file')}, {file} says {said['nfiles']:,}")
    if isinstance(said.get("size"), int) and size != said["size"]:
        return _differs(f"holds {size:,} bytes, {file} says {said['size']:,}")
    return None


def _seen(path: Path, content: Manifest) -> Iterator[tuple[str, Hashed]]:
    """The files of a folder that DVC sees: it follows no link to a folder, and leaves out its own and git's."""
    linked: dict[str, bool] = {"": False}

    def through_link(folder: str) -> bool:
        if folder not in linked:
            linked[folder] = through_link(os.path.dirname(folder)) or os.path.islink(path / folder)  # noqa: PTH114, PTH120 - a str, a million times
        return linked[folder]

    for file, entry in entries(content, path):
        folder, _, name = entry.path.rpartition("/")
        if name != ".git" and {".git", ".hg", ".dvc"}.isdisjoint(folder.split("/")) and not through_link(folder):
            yield file, entry


def _ignores(path: Path, top: Path) -> bool:
    for folder in (path, *path.parents):
        try:
            lines = disk.read_regular(folder / ".dvcignore", disk.CONFIG_LIMIT).split(b"\n")
        except FormatError:
            lines = []
        if any(line.strip() and not line.startswith(b"#") for line in lines):
            return True
        if folder == top:
            break
    return False


def _folder_md5(path: Path, content: Manifest, cache: Cache | None, progress: Progress | None) -> str:
    """The MD5 of the JSON list that DVC makes of a folder, the list never being whole in memory.

    Source: ``Tree.as_bytes`` in ``dvc_data/hashfile/tree.py``.
    """
    whole = hashlib.md5(b"[", usedforsecurity=False)
    comma = b""
    for file, entry in _seen(path, content):
        listed = {"md5": _md5(file, entry, cache, progress), "relpath": entry.path}
        whole.update(comma + json.dumps(listed).encode())
        comma = b", "
    whole.update(b"]")
    return whole.hexdigest() + _FOLDER


def _md5(file: str, entry: Hashed, cache: Cache | None, progress: Progress | None) -> str:
    known = None if cache is None else cache.md5_of(entry.sha256)
    if known is None:
        known = rehash(file, entry, hashlib.md5(usedforsecurity=False), progress)
        if cache is not None:
            cache.put_md5(entry.sha256, known)
    return known


def _listed(tracked: _Tracked) -> Mapping[str, str] | None:
    """The MD5 of each file of a folder, by its path in it; None where they are not at hand."""
    files: object = tracked.out.said.get("files")
    if files is None and tracked.out.md5:
        store = dvc_project.settings(tracked.top).get("cache", {}).get("dir", "cache")
        place = tracked.top / dvc_project.POINTER / store / "files" / "md5" / tracked.out.md5[:2] / tracked.out.md5[2:]
        try:
            data = disk.read_regular(place)
            files = documents.load_json(data)
        except FormatError:
            return None
        if hashlib.md5(data, usedforsecurity=False).hexdigest() + _FOLDER != tracked.out.md5:
            return None
    if not isinstance(files, list):
        return None
    return {
        str(each["relpath"]): str(each["md5"])
        for each in files
        if isinstance(each, Mapping) and {"relpath", "md5"} <= each.keys()
    }


def _compared(
    path: Path,
    tracked: _Tracked,
    listed: Mapping[str, str],
    content: Manifest | Hashed,
    cache: Cache | None,
    progress: Progress | None,
) -> Mapping[str, Any]:
    """The verdict on a part of a folder, file by file."""
    prefix = f"{tracked.within}/" if tracked.within else ""
    if isinstance(content, Hashed):
        wanted, seen = {content.path: listed.get(tracked.within)}, entries(content, path)
    else:
        wanted = {name[len(prefix) :]: md5 for name, md5 in listed.items() if name.startswith(prefix)}
        seen = _seen(path, content)
    extra, different = [], []
    for file, entry in seen:
        md5 = wanted.pop(entry.path, None)
        if md5 is None:
            extra.append(entry.path)
        elif md5 != _md5(file, entry, cache, progress):
            different.append(entry.path)
    if extra and _ignores(path, tracked.top):
        return {"why_not": _IGNORED.format(file=tracked.file)}
    different += [*extra, *wanted]
    if not different:
        return {"agrees": True}
    return _differs(
        f"is not as {tracked.file} has it in {count(len(different), 'file')}: {', '.join(sorted(different)[:5])}"
    )
