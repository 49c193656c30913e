"""What runs noted of themselves when they began, on this machine's side of a registry: ``.ckptkit/started/ID/``."""

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ckptkit import disk, documents, registry
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.record import Started

_KEPT = 50
"""How many runs are kept, the newest, besides those that go on."""

_LONGEST = timedelta(days=90)
"""How long a run may go on."""

_ID = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8}")
_RECORD = "started.json"
_FILES = "files"


def folder(root: Path) -> Path:
    """Where the runs of a registry root note themselves."""
    return root / registry.HOME / "started"


def write(root: Path, started: Started, files: Mapping[str, bytes]) -> None:
    """Note a run, or once more at its end; the files first, so that whoever reads the record finds them.

    Args:
        root: the registry root, which is there.
        started: what is noted.
        files: what belongs to a version of it, and the states of its data, by path.

    Raises:
        OSError: the disk refuses.
    """
    home = folder(root) / started.id
    for name, data in files.items():
        (home / _FILES / name).parent.mkdir(parents=True, exist_ok=True)
        disk.replace(home / _FILES / name, data)
    disk.replace(home / _RECORD, documents.dump_json(started.to_dict()))
    for old in _ids(root)[_KEPT:]:
        if _is_over(root, old):
            shutil.rmtree(folder(root) / old, ignore_errors=True)


def is_there(root: Path, run: str) -> bool:
    """Whether a run has noted itself, and neither its root nor its note was removed since."""
    return (folder(root) / run / _RECORD).is_file()


def _is_over(root: Path, run: str) -> bool:
    """Whether a run has ended, or began so long ago that it surely has."""
    try:
        return read(root, run).ended is not None or run < f"{datetime.now(UTC) - _LONGEST:%Y%m%dT%H%M%S}"
    except CkptkitError:
        return True


def read(root: Path, run: str) -> Started:
    """What a run noted.

    Raises:
        CkptkitError: there is no such run on this machine, or its note cannot be read.
    """
    if run not in _ids(root):
        known = ", ".join(_ids(root)[:3]) or "none"
        raise CkptkitError(f"no run {run!r} began here", f"the newest that did are: {known}")
    try:
        return Started.from_dict(documents.load_json(disk.read_regular(folder(root) / run / _RECORD)))
    except FormatError as error:
        raise CkptkitError(f"what the run {run} noted {error.message}", "save without --run") from error


def every(root: Path) -> Iterator[Started]:
    """All runs that began here and can be read, the newest first."""
    for run in _ids(root):
        with contextlib.suppress(CkptkitError):
            yield read(root, run)


def contents(root: Path, run: str) -> dict[str, bytes]:
    """The files of a run by path, those that can be read."""
    home = folder(root) / run / _FILES
    found = {}
    for path in sorted(home.rglob("*")):
        with contextlib.suppress(FormatError):
            found[path.relative_to(home).as_posix()] = disk.read_regular(path, 1 << 30)
    return found


def _ids(root: Path) -> list[str]:
    try:
        names = [path.name for path in folder(root).iterdir()]
    except OSError:
        return []
    return sorted((name for name in names if _ID.fullmatch(name)), reverse=True)
