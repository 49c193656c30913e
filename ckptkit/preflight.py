"""What is looked at before a save stages anything: where it works, whether there is room, and what may be moved."""

import stat
from collections.abc import Sequence
from pathlib import Path

from ckptkit import checkpoint, disk, redact, words
from ckptkit.capture import files
from ckptkit.capture.intake import Request
from ckptkit.errors import CkptkitError, FormatError


def require_movable(paths: Sequence[Path], root: Path) -> None:
    """Refuse to move what a version holds, here or in another registry: versions are immutable.

    Raises:
        CkptkitError: one of the paths is part of a version.
    """
    for path in paths:
        real = disk.real(path)
        holders = [folder for folder in (real, *real.parents) if checkpoint.is_whole(folder)]
        if holders or disk.real(root) in real.parents:
            raise CkptkitError(
                f"{path} cannot be moved: it is part of {holders[0] if holders else root}", "leave out --move"
            )


def body(readme: Path | None) -> str | None:
    """The text of a README.md among the weights, which becomes the hand-written part of the card.

    Raises:
        CkptkitError: it is no text, or cannot be read.
    """
    if readme is None:
        return None
    try:
        return redact.text(disk.read_regular(readme, disk.CONFIG_LIMIT).decode())
    except (FormatError, UnicodeDecodeError) as error:
        why = error.message if isinstance(error, FormatError) else "is not UTF-8 text"
        raise CkptkitError(f"{readme} {why}", "mend it, or leave it out with --exclude README.md") from error


def require_space(request: Request, root: Path, found: Sequence[files.Placed]) -> None:
    """Refuse a save for which there is no room.

    Raises:
        CkptkitError: there is not enough of it on the disk of the root.
    """
    import shutil

    place = next(folder for folder in (root / str(request.model), root, *root.parents) if folder.is_dir())
    device = place.stat().st_dev
    needed = sum(file.bytes for file in found if not (request.move and _is_linkable(file.source, device)))
    free = shutil.disk_usage(place).free
    if needed > free:
        hint = "free some space, or give another --root DIR" if request.move else "use --move, or free some space"
        raise CkptkitError(f"{root} needs {words.size(needed)}, {words.size(free)} free", hint)


def _is_linkable(path: Path, device: int) -> bool:
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_dev == device


def cwd(request: Request) -> Path:
    """The working directory, that of the run's start; where it is gone, a named root still takes absolute paths.

    Raises:
        CkptkitError: it is gone, and no absolute root is named.
    """
    if request.start is not None:
        return request.start.cwd
    try:
        return Path.cwd()
    except OSError as error:
        if request.root is None or not Path(request.root).is_absolute():
            raise CkptkitError("the working directory is gone", "name an absolute root") from error
        return Path(request.root).parent
