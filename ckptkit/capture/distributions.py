"""Installed distributions: what the files of their metadata say, each read as text, and once."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

from ckptkit import redact
from ckptkit.capture import attempt
from ckptkit.disk import read_regular
from ckptkit.errors import FormatError
from ckptkit.record import Origin

if TYPE_CHECKING:
    from importlib.metadata import Distribution

_FIELD = re.compile(rb"^(name|version):[ \t]*(\S.*?)[ \t\r]*$", re.IGNORECASE | re.MULTILINE)
_LABELLED = re.compile(rb"^__version__\b[^=\n]*=[ \t]*[\"']([\w.!]+)(\+[\w.]+)[\"']", re.MULTILINE)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A distribution: name and version from the header of its metadata, ``key`` its normalised name.

    ``place`` is the folder that its modules lie in, ``record`` the bytes of its RECORD (empty without one), ``source``
    the content of direct_url.json (PEP 610), and ``folder`` where its code lies when it is editable.
    """

    distribution: "Distribution"
    key: str
    name: str
    version: str
    place: str
    record: bytes
    source: Mapping[str, Any]
    folder: str | None

    def text(self, name: str) -> str:
        """The text of a file of its metadata; empty when there is none that can be read."""
        return _bytes(self.distribution, name).decode(errors="replace")

    def local(self) -> str | None:
        """The version with its local label (PEP 440) where only the package's version.py holds it, as torch's does.

        It is read as text; a file that is of another version tells nothing.
        """
        if self.folder or "+" in self.version:
            return None
        try:
            found = _LABELLED.search(read_regular(f"{self.place}/{self.key.replace('-', '_')}/version.py"))
        except FormatError:
            return None
        return (found[1] + found[2]).decode() if found and found[1].decode() == self.version else None

    def origin(self) -> Origin | None:
        """Where it came from, when not from an index: a commit, an archive, or a folder, which is never named."""
        match self.source:
            case {"vcs_info": {"commit_id": str(commit)}, "url": str(address)}:
                return self._from("vcs", redact.url(address), commit=commit)
            case {"archive_info": dict(info), "url": str(address)}:
                url = None if address.startswith("file:") else redact.url(address)
                return self._from("archive", url, sha256=_digest(info))
            case {"dir_info": dict()}:
                return self._from("folder", None)
            case _:
                return self._from("folder", None) if self.folder else None

    def _from(
        self,
        kind: Literal["vcs", "archive", "folder"],
        url: str | None,
        *,
        commit: str | None = None,
        sha256: str | None = None,
    ) -> Origin:
        below = self.source.get("subdirectory")
        subdirectory = below if isinstance(below, str) else None
        return Origin(kind=kind, url=url, commit=commit, sha256=sha256, subdirectory=subdirectory)


def _digest(archive: Mapping[str, Any]) -> str | None:
    match archive:
        case {"hashes": {"sha256": str(digest)}} | {"hash": str(digest)}:  # the second by older installers
            digest = digest.removeprefix("sha256=")
            return digest if _SHA256.fullmatch(digest) else None
        case _:
            return None


def normalised(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(path: Sequence[str], unknown: dict[str, str]) -> list[Installed]:
    """The distributions, by normalised name: the first on the path is the one that is imported.

    Args:
        path: the interpreter's ``sys.path``.
        unknown: takes the names of broken ones.
    """
    from importlib.metadata import distributions

    found: dict[str, Installed] = {}
    broken: list[str] = []
    for distribution in distributions(path=list(path)):
        place = Path(str(getattr(distribution, "_path", "a distribution")))
        each = _read(distribution)
        if each is None or place.name.startswith("~"):
            broken.append(f"{place.name} " + ("has no name or version" if each is None else "is what pip left behind"))
            continue
        first = found.setdefault(each.key, each)
        if first is not each and each.folder and not first.source:  # seen as an egg-info in its own source first
            found[each.key] = replace(first, folder=each.folder, record=each.record, source=each.source)
        elif first.version != each.version and first.place == each.place:
            broken.append(f"{each.name} is there as {first.version} and as {each.version}")
    if broken:
        unknown["code.environment.packages"] = "; ".join(sorted(broken))
    return sorted(found.values(), key=lambda each: each.key)


def _read(distribution: "Distribution") -> Installed | None:
    """What a distribution says of itself; None where its installation is broken, however it is."""
    none: Installed | None = None
    return attempt({}, "code.environment.packages", lambda: _said(distribution), none)


def _said(distribution: "Distribution") -> Installed:
    """Name and version from the text: the parser of e-mail that stands behind ``.metadata`` is many times slower."""
    text = next((text for name in ("METADATA", "PKG-INFO", "") if (text := _bytes(distribution, name))), b"")
    source = dict(json.loads(_bytes(distribution, "direct_url.json") or "{}"))
    head = re.split(rb"\r?\n\r?\n", text, maxsplit=1)[0]
    fields = {key.lower().decode(): value.decode() for key, value in reversed(_FIELD.findall(head))}
    place = str(Path.cwd() / str(distribution.locate_file("")))
    return Installed(
        distribution=distribution,
        key=normalised(fields["name"]),
        name=fields["name"],
        version=fields["version"],
        place=place,
        record=_bytes(distribution, "RECORD"),
        source={} if _built_by_conda(distribution, source) else source,
        folder=_folder(source) or _developed(distribution, place),
    )


def _bytes(distribution: "Distribution", name: str) -> bytes:
    """A file of a distribution's metadata; a FIFO in its place is not waited for."""
    place = getattr(distribution, "_path", None)
    if not isinstance(place, Path):  # in a zip file
        return (distribution.read_text(name) or "").encode()
    try:
        return read_regular(f"{place}/{name}" if name else place)
    except FormatError:
        return b""


def _built_by_conda(distribution: "Distribution", source: Mapping[str, Any]) -> bool:
    """Whether direct_url.json names a folder of the machine on which a conda package was built."""
    local = str(source.get("url", "")).startswith("file:") and not _folder(source)
    return local and _bytes(distribution, "INSTALLER").strip() == b"conda"


def _folder(source: object) -> str | None:
    match source:
        case {"dir_info": {"editable": True}, "url": str(url)} if url.startswith("file:") and "%00" not in url:
            return unquote(urlsplit(url).path).rstrip("/") or None
    return None


def _developed(distribution: "Distribution", place: str) -> str | None:
    """The source folder of an egg-info that lies in it: ``setup.py develop``, or the source itself on the path."""
    if not str(getattr(distribution, "_path", "")).endswith(".egg-info"):
        return None
    folders = (place.rstrip("/"), os.path.dirname(place.rstrip("/")))  # noqa: PTH120 - strings already
    signs = ("pyproject.toml", "setup.py", "setup.cfg")
    return next((each for each in folders if any(os.path.isfile(f"{each}/{sign}") for sign in signs)), None)  # noqa: PTH113
