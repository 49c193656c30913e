"""The bridge to every file system that fsspec knows: a file or a folder of it, as it is at this moment."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ckptkit import disk, hashing, redact
from ckptkit.bridges import Fetched, shown
from ckptkit.errors import CkptkitError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_TELLING = (  # what file systems call that which tells one content from another
    *("size", "mtime", "LastModified", "last_modified", "updated", "modified", "created", "ETag", "etag"),
    *("VersionId", "version_id", "generation", "md5Hash", "sha256", "blob_id", "xet_hash"),
)
_Files = Mapping[str, Mapping[str, Any]]
"""What is told of each file, by its path below the folder; that of a single file is empty."""


def fetch(url: str, content: Path, *, project: Path, expect: hashing.Progress, progress: hashing.Progress) -> Fetched:
    """Bring a file or a whole folder to ``content``, where nothing is yet.

    Args:
        url: such as ``s3://bucket/folder``; fsspec finds keys and passwords where its file systems look for them.
        content: the path of the file or folder.
        project: the folder that paths are recorded relative to.
        expect: called with the number of bytes to come.
        progress: called with the number of bytes that came since the last call.

    Raises:
        CkptkitError: fsspec or the file system's own package is not installed; the source cannot be read, holds no
            file or one of a name that leads elsewhere, or changed meanwhile.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise CkptkitError("fsspec is not installed", "pip install 'ckptkit-lineage[remote]'") from None
    name = shown(url, project)
    try:
        system, path = url_to_fs(url)
        before = _files(system, path)
        _get(system, path, before, content, expect, progress)
        after = _files(system, path)
    except CkptkitError as error:
        raise CkptkitError(f"{name} {error.message}", error.hint) from error
    except ImportError as error:  # it names what to install
        raise CkptkitError(f"{name} cannot be read: {error}", "install the package of that file system") from error
    except FileNotFoundError as error:
        raise CkptkitError(f"{name} is not there", "check the URL") from error
    except Exception as error:  # a file system's own
        raise CkptkitError(
            f"{name} cannot be read: {_why(error, url)}", "check the URL, and who may read it"
        ) from error
    if _states(before) != _states(after) or not _is_whole(before, content):
        raise CkptkitError(f"{name} changed while it was fetched", "wait until nothing writes to it")
    protocol = system.protocol if isinstance(system.protocol, str) else system.protocol[0]
    told = {"url": f"file:{redact.path(Path(path), project)[0]}" if protocol == "file" else name}
    told |= {"protocol": protocol, **({"file": redact.values(_telling(before[""]))} if "" in before else {})}
    return Fetched(source={"fsspec": told}, is_copy=True)


def _files(system: "AbstractFileSystem", path: str) -> _Files:
    """All files at or below a path.

    Raises:
        CkptkitError: there is none, or one whose name would lead out of a folder.
    """
    system.invalidate_cache()
    info = system.info(path)
    if info["type"] != "directory":
        return {"": info}
    found = system.find(path, detail=True)
    files = {name.removeprefix(path.rstrip("/")).lstrip("/"): each for name, each in found.items()}
    for name in files:
        if not {"", ".", ".."}.isdisjoint(name.split("/")) or "\0" in name:
            raise CkptkitError(f"holds a file of the name {name!r}", "rename it there")
    if not files:
        raise CkptkitError("holds no file", "give a file, or a folder with at least one file in it")
    return files


def _get(
    system: "AbstractFileSystem",
    path: str,
    files: _Files,
    content: Path,
    expect: hashing.Progress,
    progress: hashing.Progress,
) -> None:
    """All files in one call: file systems that can fetch several at a time."""
    from fsspec.callbacks import Callback

    class Counter(Callback):  # type: ignore[misc] # fsspec has no types
        """Tells of bytes: of each file by a counter of its own, the files themselves are not counted."""

        def __init__(self, tell: hashing.Progress) -> None:
            super().__init__()
            self._tell = tell

        def branched(self, *_: object, **__: object) -> "Counter":
            return Counter(progress)

        def relative_update(self, inc: int = 1) -> None:
            self._tell(inc)

    expect(sum(info["size"] or 0 for info in files.values()))
    targets = {name: content / name if name else content for name in files}
    for folder in {target.parent for target in targets.values()}:
        folder.mkdir(parents=True, exist_ok=True)
    sources = [f"{path.rstrip('/')}/{name}" if name else path for name in files]
    system.get(sources, [str(target) for target in targets.values()], callback=Counter(lambda _: None))
    for target in targets.values():
        disk.sync_file(target)


def _telling(info: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value if isinstance(value, int) else str(value) for key in _TELLING if (value := info.get(key))}


def _states(files: _Files) -> dict[str, Any]:
    return {name: _telling(info) for name, info in files.items()}


def _is_whole(files: _Files, content: Path) -> bool:
    """Whether every file has come with the size that was told of it."""
    sizes = ((content / name, info["size"]) for name, info in files.items())
    return all(size in {None, path.stat().st_size} for path, size in sizes)


def _why(error: Exception, url: str) -> str:
    """The words of whichever library failed; one may repeat the URL that it was given."""
    words = disk.reason(error)
    for part in url.split("::"):
        password = urlsplit(part).password
        words = words.replace(part, shown(part)).replace(password or part, "<redacted:password>")
    return redact.text(words)
