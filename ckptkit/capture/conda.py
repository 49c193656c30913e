"""Conda: the packages of an environment, from conda-meta, without running conda."""

import os
import re
from pathlib import Path

from ckptkit import redact
from ckptkit.disk import read_regular, reason
from ckptkit.errors import FormatError
from ckptkit.record import CondaPackage

_NAME = re.compile(r"(.+)-([^-]+)-([^-]+)\.json")
_FIELDS = ("channel", "sha256", "md5")
_PLATFORM = re.compile(r"noarch|(?:linux|osx|win|emscripten|wasi|zos|freebsd)-\w+")
_HASH = re.compile(r"[0-9a-f]{64}|[0-9a-f]{32}")


def packages(prefix: Path, unknown: dict[str, str]) -> tuple[CondaPackage, ...]:
    """The packages of the environment at ``prefix``, by name; none where it is no conda environment.

    Name, version and build are those of the file's name. Of its text only lines of the first level are looked at,
    as conda and mamba write them: the lists of files that follow are megabytes.
    """
    folder = prefix / "conda-meta"
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        unknown["code.environment.conda"] = reason(error)
        return ()
    found: list[CondaPackage] = []
    unread: list[str] = []
    for name in names:
        if parts := _NAME.fullmatch(name):
            try:
                text = read_regular(folder / name)
            except FormatError as error:
                unread.append(f"{name} {error.message}")
                continue
            found.append(_package(*parts.groups(), text=text))
    if unread:
        unknown["code.environment.conda"] = "; ".join(unread)
    return tuple(sorted(found, key=lambda each: each.name))


def _package(name: str, version: str, build: str, *, text: bytes) -> CondaPackage:
    fields = {field: _first_level(text, field) for field in _FIELDS}
    sha256, md5 = (value if _HASH.fullmatch(value := fields[key] or "") else None for key in ("sha256", "md5"))
    channel = _channel(fields["channel"])
    return CondaPackage(name=name, version=version, build=build, channel=channel, sha256=sha256, md5=md5)


def _first_level(text: bytes, field: str) -> str | None:
    found = re.search(rb'\n {1,4}"%s": ?"([^"\\\n]*)"' % field.encode(), text)
    return found[1].decode(errors="replace") if found else None


def _channel(address: str | None) -> str | None:
    """The name of a channel, such as ``conda-forge`` or ``pkgs/main``: no host, and no token, which may stand there."""
    path = re.sub(r"^\w+://[^/]*|[?#].*", "", address or "")
    parts = [part for part in path.split("/") if part]
    if parts and _PLATFORM.fullmatch(parts[-1]):
        parts.pop()
    if "t" in parts[:-1]:  # /t/<token>/
        parts = parts[parts.index("t") + 2 :]
    first = next((at for at, part in enumerate(parts) if part in {"pkgs", "label"}), len(parts) - 1)
    named = parts[first - 1 :] if parts[first : first + 1] == ["label"] else parts[first:]
    return redact.text("/".join(named)) if named and address != "<unknown>" else None
