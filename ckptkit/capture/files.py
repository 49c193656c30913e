"""Which files a save was given, and where each goes in the version folder."""

import fnmatch
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ckptkit import checkpoint, disk
from ckptkit.errors import CkptkitError

_HOLDS_WEIGHTS = re.compile(  # by the end of its name; data-00000-of-00001 is TensorFlow's
    r"\.(safetensors|bin|pt|pth|ckpt|distcp|npz|npy|pkl|pickle|joblib|skops|dill|h5|hdf5|keras|tflite|gguf|ggml|onnx"
    r"|msgpack|pb|ubj|cbm|data-\d+-of-\d+)(\.(gz|z|bz2|xz|lz4))?\Z",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One file to be saved: where it is, its place in the version, size in bytes, time of its last change (epoch s).

    ``inside`` is false where a linked folder led to it: then it may lie anywhere, and belong to something else.
    """

    source: Path
    path: str
    bytes: int
    modified: float
    inside: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """All files to be saved; ``readme`` is a README.md among them, whose text becomes part of the card."""

    files: tuple[Placed, ...]
    readme: Path | None

    @property
    def written(self) -> float:
        """When the newest file that holds weights was last changed (epoch seconds); where none does, the newest of all.

        What lies beside them says nothing: notes may be newer than the training, a tokenizer or a base model older.
        """
        holding = [file for file in self.files if _HOLDS_WEIGHTS.search(file.source.name)]
        return max(file.modified for file in holding or self.files)


def place(paths: Sequence[Path], *, rename: str | None, exclude: Sequence[str], strict: bool) -> Weights:
    """Find the files below ``paths`` and give each its place.

    One folder's contents go to the root of the version; one file, or several paths, keep their names.

    Args:
        paths: files and folders; links are followed.
        rename: the name of the one path in the version; a folder then keeps its contents below it.
        exclude: shell patterns of relative paths or names that are left out.
        strict: refuse a file that would take a name of ckptkit's own; else all files go below ``weights/``.

    Raises:
        CkptkitError: a path is missing, unreadable, neither file nor folder, or empty; there is nothing but a
            README.md; two files would take one place.
    """
    files: list[Placed] = []
    if rename is not None:
        _require_place(rename, paths)
    for path in paths:
        top = rename if rename is not None else "" if len(paths) == 1 and path.is_dir() else _name(path)
        files += _below(path, top, exclude)
    _refuse_collisions(files)
    readme = next((file.source for file in files if file.path == checkpoint.CARD), None)
    files = [file for file in files if file.path != checkpoint.CARD]
    if not any(file.bytes for file in files):
        shown = ", ".join(str(path) for path in paths)
        words = "has nothing to save in it" if readme or any(path.is_dir() for path in paths) else "is empty"
        rest = f" but {readme.name}, which goes into the card" if readme else ""
        raise CkptkitError(f"{shown} {words}{rest}", "give the file or folder that the training wrote")
    try:
        for file in files:
            checkpoint.require_name(file.path)
    except CkptkitError:
        if strict:
            raise
        files = [replace(file, path=f"weights/{file.path}") for file in files]
    return Weights(files=tuple(files), readme=readme)


def _name(path: Path) -> str:
    """The name as it was given: that of a link, not of what it points to."""
    return os.path.basename(os.path.abspath(path))  # noqa: PTH100, PTH119 - pathlib would follow the link


def _require_place(rename: str, paths: Sequence[Path]) -> None:
    if len(paths) != 1:
        raise CkptkitError("--as names one path, and several were given", "save a folder that holds them")
    if not all(part not in {"", ".", ".."} for part in rename.split("/")):
        raise CkptkitError(f"--as {rename!r} is no place in a version", "write a name such as model.safetensors")


def _below(path: Path, top: str, exclude: Sequence[str]) -> Iterator[Placed]:
    if not path.is_dir():
        yield _placed(path, top, inside=True)
        return
    above: tuple[tuple[int, int], ...] = (_identity(path),)
    folders = [(path, f"{top}/" if top else "", "", above, True)]
    while folders:
        folder, place_, within, above, inside = folders.pop()
        for name in _listed(folder):
            inner, relative = folder / name, within + name
            if any(fnmatch.fnmatchcase(relative, glob) or fnmatch.fnmatchcase(name, glob) for glob in exclude):
                continue
            if not inner.is_dir():
                yield _placed(inner, place_ + name, inside=inside)
                continue
            itself = _identity(inner)
            if itself in above:
                raise CkptkitError(f"{inner} leads back to a folder above it", "leave it out with --exclude")
            below = inside and not inner.is_symlink()
            folders.append((inner, f"{place_}{name}/", f"{relative}/", (*above, itself), below))


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder), key=os.fsencode)
    except OSError as error:
        raise CkptkitError(
            f"{folder}: {disk.reason(error)}", "make it readable, or leave it out with --exclude"
        ) from error


def _placed(path: Path, place_: str, *, inside: bool) -> Placed:
    try:
        status = path.stat()
    except OSError as error:
        raise CkptkitError(
            f"{path}: {disk.reason(error)}", "give the file or folder that the training wrote"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise CkptkitError(f"{path} is neither a file nor a folder", "give the file or folder that the training wrote")
    if not os.access(path, os.R_OK):
        raise CkptkitError(f"{path}: permission denied", "make it readable first")
    return Placed(source=path, path=place_, bytes=status.st_size, modified=status.st_mtime, inside=inside)


def _refuse_collisions(files: Sequence[Placed]) -> None:
    taken: dict[str, Path] = {}
    for file in files:
        other = taken.setdefault(file.path.lower(), file.source)
        if other is not file.source:
            raise CkptkitError(
                f"{other} and {file.source} would both be saved as {file.path}",
                "save a folder that holds both, or rename one",
            )
