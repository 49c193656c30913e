"""What would go of a version, and what that gives back: read before anything is removed."""

import contextlib
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckptkit import checkpoint, disk, manifest, registry
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.record import Event, SealedFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What goes of a version: the files that its event names, and the bytes that all that goes has on disk.

    ``digest`` is None where it is not known; ``aliases`` and ``stage`` are those that it has.
    """

    model: str
    version: str
    digest: str | None
    files: tuple[SealedFile, ...]
    bytes: int
    aliases: tuple[str, ...]
    stage: str | None

    @property
    def ref(self) -> str:
        """``model/version``."""
        return f"{self.model}/{self.version}"

    @property
    def marks(self) -> tuple[str, ...]:
        """What speaks against removing it: its aliases, and that it is in production."""
        aliases = tuple(f"@{alias}" for alias in self.aliases)
        return (*aliases, "production") if self.stage == "production" else aliases


def refuse_marked(removals: Iterable[Removal], hint: str) -> None:
    """Refuse to remove what bears an alias or is in production.

    Raises:
        CkptkitError: one of them does, or is.
    """
    for each in removals:
        if each.marks:
            raise CkptkitError(f"{each.ref} is {' '.join(each.marks)}", hint)


def of(root: Path, part: Mapping[str, Any], model: str, version: str, paths: Collection[str]) -> Removal:
    """What goes of a version: of these files those that are here, as they were sealed.

    Args:
        root: the registry root.
        part: the model's part of the index.
        model: the registered model.
        version: its version.
        paths: the files that are to go.

    Raises:
        FormatError: it cannot be read, or is not the one that was saved.
    """
    folder, row = root / model / version, part["versions"][version]
    saved = registry.read_event(root / model / registry.HISTORY / f"{row['event']}.json")
    if not isinstance(saved, Event) or saved.digest != registry.digest_of(folder):
        raise FormatError("is not the one that was saved")
    files = tuple(file for file in sealed(folder) if file.path in paths and file.bytes is not None)
    sizes = {file.path: file.bytes for file in checkpoint.read_lineage(folder).weights.files}
    for file in files:
        if sizes.get(file.path, file.bytes) != file.bytes:
            raise FormatError(f"{file.path} is not as it was saved")
    return Removal(
        model=model,
        version=version,
        digest=saved.digest,
        files=files,
        bytes=sum(file.bytes or 0 for file in files),
        aliases=tuple(alias for alias, target in part["aliases"].items() if target == version),
        stage=part["stages"].get(version),
    )


def sealed(folder: Path) -> Iterator[SealedFile]:
    """The files that SHA256SUMS lists; without bytes where one is not there.

    Raises:
        FormatError: that file cannot be read.
    """
    for path, sha256 in manifest.load(disk.read_regular(folder / checkpoint.SUMS)).items():
        yield SealedFile(path=path, bytes=_size(folder, path), sha256=sha256)


def _size(folder: Path, path: str) -> int | None:
    """The bytes of a file; None where it is not there, as in a git clone, or only by a link that leads elsewhere."""
    try:
        status = (folder / path).lstat()
    except OSError:
        return None
    is_here = disk.real((folder / path).parent) == (disk.real(folder) / path).parent
    return status.st_size if is_here and stat.S_ISREG(status.st_mode) else None


def freed(paths: Iterable[Path]) -> int:
    """The bytes that come free when files are removed: those of a file that has several links go with the last.

    Args:
        paths: the files; what cannot be looked at counts nothing.
    """
    links: dict[tuple[int, int], int] = {}
    total = 0
    for path in paths:
        with contextlib.suppress(OSError):
            status = path.lstat()
            key = status.st_dev, status.st_ino
            links[key] = links.get(key, 0) + 1
            if links[key] == status.st_nlink:
                total += status.st_size
    return total
