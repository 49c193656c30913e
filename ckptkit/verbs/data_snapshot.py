"""The verb ``data snapshot``: freeze what will change, a URL or a query, as the first step of a chain."""

import contextlib
import hashlib
import os
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ckptkit import bridges, disk, hashing, redact, roots
from ckptkit.bridges import Fetched, database, filesystem, http
from ckptkit.capture import process
from ckptkit.content import hashed
from ckptkit.data import rows, sidecar
from ckptkit.data.preparation import require_place
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.record import Content, ContentKind, Sidecar, Step
from ckptkit.words import timestamp

_DATABASES = frozenset(["duckdb", "mariadb", "mssql", "mysql", "oracle", "postgresql", "sqlite"])
_VARIABLE = "env:"
_QUERY = 64 << 10  # most bytes of a file with a query


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What was frozen: where it is, its record, which lies beside it, and what whoever asked should know."""

    path: Path
    sidecar: Sidecar
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Progress:
    """Who is told of bytes to come, and of bytes done."""

    expect: hashing.Progress
    done: hashing.Progress


def data_snapshot(
    source: str,
    out: str | os.PathLike[str],
    *,
    query: str | None = None,
    unordered: bool = False,
    root: str | os.PathLike[str] | None = None,
    expect: hashing.Progress,
    progress: hashing.Progress,
) -> Snapshot:
    """Bring in what a source holds now, and write ``OUT.lineage.json``; OUT appears whole or not at all.

    Args:
        source: an http(s) URL, any that fsspec knows, or with ``query`` a database as SQLAlchemy names it;
            ``env:NAME`` for one that an environment variable holds.
        out: the file or folder to make; a file with rows ends in ``.parquet`` or ``.csv``.
        query: one SQL statement that reads, or ``@FILE`` with it.
        unordered: whether a query without a stable order is taken too.
        root: the registry root, where no data may lie; see ``roots.default_root``.
        expect: called with the number of bytes to come.
        progress: called with the number of bytes done since the last call.

    Raises:
        CkptkitError: OUT is there already or may not lie there, the source cannot be read, or the disk refuses.
    """
    place, project = _place(out, roots.default_root(root, Path.cwd())), process.project(Path.cwd())
    statement = _statement(query)
    address = _address(source, statement)
    if unordered and statement is None:
        raise CkptkitError("--unordered is about the rows of a --query", "leave it out")
    watch = _Progress(expect=expect, done=progress)
    started, clock = time.time(), time.monotonic()
    with _draft(place, bridges.shown(address) if statement is None else statement) as content:
        fetched = _fetch(address, statement, content, project, watch, unordered=unordered)
        unknown = {"step.code": "no code of the project ran"}
        unknown |= {f"step.inputs[0].{fact}": why for fact, why in fetched.doubts.items()}
        output = _look(content, fetched.rows, watch, unknown)
        path, outside = redact.path(place, project)
        step = Step(
            name="snapshot",
            by="ckptkit",
            params=fetched.params,
            command=_command(source, path, query, fetched, project),
            code=None,
            inputs=(_input(output, fetched),),
            output=replace(output, path=path, outside=outside),
            started=timestamp(started),
            finished=timestamp(time.time()),
            seconds=round(time.monotonic() - clock, 3),
        )
        return Snapshot(path=place, sidecar=_publish(content, place, step, unknown), warnings=fetched.warnings)


def _place(out: str | os.PathLike[str], root: Path) -> Path:
    """Where OUT is to be, if nothing is there and it may be there."""
    if "://" in os.fsdecode(out):
        raise CkptkitError("OUT is a URL", "SOURCE comes first, then the file or folder to make")
    place = require_place(out, root)
    if os.path.lexists(place):
        raise _taken(place)
    if not place.parent.is_dir():
        raise CkptkitError(f"there is no folder {place.parent}", f"mkdir -p {shlex.quote(str(place.parent))}")
    return place


def _taken(place: Path) -> CkptkitError:
    return CkptkitError(f"{place} is there already, and a snapshot replaces nothing", "give another name, or move it")


def _address(source: str, statement: str | None) -> str:
    """The source, from the environment where it is kept there."""
    if source.startswith(_VARIABLE):
        name = source.removeprefix(_VARIABLE)
        source = os.environ.get(name, "")
        if not source:
            raise CkptkitError(f"the environment variable {name} is not set", f"export {name}=…")
    if "://" not in source:
        raise CkptkitError(
            "SOURCE is no URL", "give https://…, s3://…, or for a database, with --query, sqlite:///data/app.db"
        )
    dialect = source.partition("://")[0].partition("+")[0]
    if statement is None and dialect in _DATABASES:
        raise CkptkitError(f"{dialect} is a database, and no query is given", "--query 'SELECT … ORDER BY …'")
    return source


def _statement(query: str | None) -> str | None:
    """The text of the query, from the file that it is in."""
    if query is None or not query.startswith("@"):
        return query
    hint = "give a file with one SQL statement"
    try:
        return disk.read_regular(disk.expand(query[1:]), _QUERY).decode()
    except FormatError as error:
        raise CkptkitError(f"--query {query}: {error.message}", hint) from error
    except UnicodeError:
        raise CkptkitError(f"--query {query}: is not UTF-8 text", hint) from None


@contextlib.contextmanager
def _draft(place: Path, source: str) -> Iterator[Path]:
    """Where the content arrives, beside OUT; the same place for the same source, and kept where that can be resumed."""
    sign = hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    folder = place.with_name(f".{place.name}.{sign}")
    content, kept = folder / "arriving" / place.name, False
    try:
        folder.mkdir(exist_ok=True)
        with disk.lock(folder / "lock", 0):
            if not http.is_resumable(content):
                shutil.rmtree(content.parent, ignore_errors=True)  # of a process that was killed
            content.parent.mkdir(exist_ok=True)
            try:
                yield content
            except BaseException:
                kept = http.is_resumable(content)
                raise
            finally:
                if not kept:
                    shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise CkptkitError(f"{place} cannot be written: {disk.reason(error)}", disk.advice(error)) from error


def _fetch(
    address: str, statement: str | None, content: Path, project: Path, watch: _Progress, *, unordered: bool
) -> Fetched:
    if statement is not None:
        return database.fetch(address, statement, content, unordered=unordered, project=project, progress=watch.done)
    if address.partition("://")[0].lower() in {"http", "https"}:
        return http.fetch(address, content, expect=watch.expect, progress=watch.done)
    return filesystem.fetch(address, content, project=project, expect=watch.expect, progress=watch.done)


def _look(content: Path, number: int | None, watch: _Progress, unknown: dict[str, str]) -> Content:
    """What arrived, synced, and its digest."""
    kind: ContentKind = "directory" if content.is_dir() else "file"
    if kind == "file":
        disk.sync_file(content)
    found = hashed(content, progress=watch.done, expect=watch.expect)
    if number is None:
        try:
            number = rows.count(content)
        except rows.UncountedError as error:
            unknown["step.output.rows"] = str(error)
    return Content(
        path=None,
        outside=False,
        kind=kind,
        digest=found.digest,
        files=found.files,
        bytes=found.size,
        rows=number,
        source=None,
    )


def _input(output: Content, fetched: Fetched) -> Content:
    """The source as it was: its bytes are those of the output where they were copied."""
    if fetched.is_copy:
        return replace(output, kind="remote", source=fetched.source)
    return replace(output, kind="remote", digest=None, files=None, bytes=None, source=fetched.source)


def _command(source: str, path: str, query: str | None, fetched: Fetched, project: Path) -> tuple[str, ...]:
    """What was asked for, as it can be typed again in the project."""
    named = source if source.startswith(_VARIABLE) else next(iter(fetched.source.values()))["url"]
    words = ["ckptkit", "data", "snapshot", named, path, *(["--query", query] if query else [])]
    return redact.argv(words, project=project)


def _publish(content: Path, place: Path, step: Step, unknown: Mapping[str, str]) -> Sidecar:
    """Give the content its name, unless that was taken meanwhile, and write its record."""
    try:
        if content.is_dir():
            content.rename(place)
        else:
            _link(content, place)
        disk.sync_folder(place.parent)
    except OSError as error:
        if os.path.lexists(place):
            raise _taken(place) from error
        raise
    try:
        return sidecar.write(place, step, unknown)
    except BaseException:
        if place.is_dir():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)
        raise


def _link(content: Path, place: Path) -> None:
    try:
        place.hardlink_to(content)
    except OSError:  # the name is taken, or a file system has no hard links
        if os.path.lexists(place):
            raise
        content.rename(place)
