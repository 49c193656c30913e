"""The stages of ``dvc.lock`` files that made a path, followed back from output to dependency."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from ckptkit import documents, redact
from ckptkit.data import dvc_project
from ckptkit.data.dvc_project import Entry, Stage
from ckptkit.errors import FormatError
from ckptkit.record import Content, Step

_Link = tuple[Literal["verified", "broken", "unverified"], str | None]
_Key = tuple[Path, str | None]

_FACTS = ("md5", "size", "nfiles")


def steps(path: Path, project: Path, agrees: Mapping[str, Any]) -> tuple[Step, ...]:
    """The stages that made ``path``, the oldest first.

    Args:
        path: an absolute path.
        project: the folder that paths are recorded relative to.
        agrees: what the pointer of ``path`` says of its content: ``agrees``, ``difference``, ``why_not``.
    """
    made = list(_makers(str(path), project))
    open_ = [(stage, False) for stage, _ in made]
    links: dict[_Key, list[tuple[Entry, _Link]]] = {}
    for stage, out in made:
        links.setdefault(_key(stage), []).append((out, _last(out, str(path), agrees)))
    entered: set[_Key] = set()
    order: list[Stage] = []
    while open_:
        stage, followed = open_.pop()
        if followed:
            order.append(stage)
        elif _key(stage) not in entered:
            entered.add(_key(stage))
            open_.append((stage, True))
            for dep in stage.deps:
                for maker, out in _makers(dep.path, project, stage.file):
                    links.setdefault(_key(maker), []).append((out, _between(out, dep, stage)))
                    open_.append((maker, False))
    return tuple(_step(stage, links[_key(stage)], project) for stage in order)


def _key(stage: Stage) -> _Key:
    return stage.file, stage.name


def _makers(path: str | None, project: Path, *files: Path) -> Iterator[tuple[Stage, Entry]]:
    """Stages in ``files`` or on the way up, with an output that is ``path``, holds it, or lies in it."""
    if path is None:
        return
    for file in dict.fromkeys((*files, *dvc_project.locks(Path(path), dvc_project.root(Path(path), project)))):
        try:
            stages = dvc_project.read(file)
        except FormatError:  # said where the pointer is recorded
            continue
        for stage in stages:
            for out in stage.outs:
                if out.path and (f"{path}/".startswith(f"{out.path}/") or out.path.startswith(f"{path}/")):
                    yield stage, out
                    break


def _last(out: Entry, path: str, agrees: Mapping[str, Any]) -> _Link:
    if not f"{path}/".startswith(f"{out.path}/"):
        return "unverified", "it made a part of the dataset, whose hash was not compared"
    if agrees.get("agrees") is True:
        return "verified", None
    if agrees.get("agrees") is False:
        return "broken", str(agrees.get("difference"))
    return "unverified", str(agrees.get("why_not", "the content was not compared with what dvc.lock says"))


def _between(out: Entry, dep: Entry, reader: Stage) -> _Link:
    if out.path != dep.path:
        return "unverified", f"{reader.name} read a part of it or a folder around it, for which dvc.lock has no hash"
    if out.md5 is None or dep.md5 is None or out.said.get("hash") != dep.said.get("hash"):
        return "unverified", f"dvc.lock has no common hash of what {reader.name} read"
    if out.md5 != dep.md5:
        return "broken", f"it wrote the MD5 {out.md5}, {reader.name} read {dep.md5}"
    return "verified", None


def _step(stage: Stage, links: list[tuple[Entry, _Link]], project: Path) -> Step:
    out, (link, reason) = min(links, key=lambda each: ("broken", "unverified", "verified").index(each[1][0]))
    params = {
        key if file == "params.yaml" else f"{file}:{key}": value
        for file, values in stage.params.items()
        if isinstance(values, Mapping)
        for key, value in values.items()
    }
    return Step(
        name=redact.text(str(stage.name), project=project),
        by="dvc",
        params=redact.values(documents.finite(params), project=project),
        command=(" && ".join(_command(each, project) for each in stage.command),) if stage.command else None,
        code=None,
        inputs=tuple(_content(dep, stage, project) for dep in stage.deps),
        output=_content(out, stage, project),
        started=None,
        finished=None,
        seconds=None,
        link=link,
        reason=None if reason is None else redact.text(reason, project=project),
    )


def _command(command: str, project: Path) -> str:
    """A line of shell without secrets; as it was written where there are none."""
    shown = redact.text(command.strip(), project=project)
    try:
        words = shlex.split(shown)
    except ValueError:  # an open quote
        return shown
    for word, kept in zip(words, redact.argv(words, project=project), strict=True):
        if word != kept:
            shown = shown.replace(word, kept)
    return shown


def _content(entry: Entry, stage: Stage, project: Path) -> Content:
    facts = {key: entry.said[key] for key in _FACTS if isinstance(entry.said.get(key), str | int)}
    source: dict[str, Any] = {"dvc": facts}
    path, outside = (None, False) if entry.path is None else redact.path(Path(entry.path), project)
    if entry.path is None and (address := dvc_project.address(entry.said.get("path"), stage.file.parent, project)):
        source |= address
    size, files = entry.said.get("size"), entry.said.get("nfiles") if entry.is_folder else 1
    return Content(
        path=path,
        outside=outside,
        kind="remote" if path is None else "directory" if entry.is_folder else "file",
        digest=None,
        files=files if isinstance(files, int) else None,
        bytes=size if isinstance(size, int) else None,
        rows=None,
        source=source,
    )
