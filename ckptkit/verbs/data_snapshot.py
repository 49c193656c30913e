"""The verb ``data snapshot``: freeze what will change, a URL or a query, as the first step of a chain."""

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ckptkit import bridges, disk, hashing, redact, roots
from ckptkit.bridges import Fetched, database, filesystem, http
from ckptkit.capture import datasets, process, rows, sidecar
from ckptkit.errors import CkptkitError
from ckptkit.record import Content, Sidecar, Step

_SOURCES = "give a URL such as https://… or s3://…, or a database with --query"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What was frozen: where it is, its record beside it, and what whoever asked should know."""

    path: Path
    sidecar: Sidecar
    warnings: tuple[str, ...]


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
        out: the file or folder to make. The name of a file with rows ends in ``.parquet`` or ``.csv``.
        query: one SQL statement that reads, or ``@FILE`` with it.
        unordered: take a query without a stable order.
        root: the registry root, where no data may lie; see ``roots.default_root``.
        expect: called with the number of bytes to come.
        progress: called with the number of bytes done since the last call.

    Raises:
        CkptkitError: OUT is there already or may not lie there, the source cannot be read, or the disk refuses.
    """
    place = _place(out, roots.default_root(root, Path.cwd()))
    asked = _Asked(source=_named(source), query=_text(query), unordered=unordered, project=process.project(Path.cwd()))
    command = ["ckptkit", "data", "snapshot", asked.shown if not _variable(source) else source, str(out)]
    command += ["--query", query] if query is not None else []
    command += ["--unordered"] if unordered else []
    started, clock = time.time(), time.monotonic()
    with _draft(place, asked) as content:
        fetched = asked.fetch(content, expect, progress)
        unknown: dict[str, str] = {}
        output = _output(content, expect, progress, unknown)
        ...
