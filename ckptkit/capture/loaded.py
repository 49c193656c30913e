"""Distributions in this process: of which a module is imported, of which a shared library is mapped."""

import os
import re
from collections.abc import Iterator, Sequence

from ckptkit.capture.command import ProbeError
from ckptkit.capture.distributions import Installed
from ckptkit.capture.modules import module_files

_AT_START_UP = re.compile(r"__editable__|_distutils_hack|_virtualenv|sitecustomize")  # imported for no one's use
_SHARED = re.compile(rb"\.so[^,\n/]*,")


def imported(installed: Sequence[Installed]) -> set[str]:
    """Keys of the distributions of which a module is loaded.

    Most are found by their name; the records, of which torch's alone has megabytes, are searched for what remains.
    """
    packages, elsewhere = _loaded(sorted({each.place for each in installed}, key=len, reverse=True))
    used = {each.key for each in installed if each.folder and any(f.startswith(f"{each.folder}/") for f in elsewhere)}
    for look in (_by_name, _by_top_level, _by_record):
        for each in installed:
            here = packages.get(each.place)
            if each.key not in used and here and (claimed := look(each, here)):
                used.add(each.key)
                for package in claimed:
                    del here[package]
    return used


def mapped(installed: Sequence[Installed]) -> set[str]:
    """Keys of the distributions of which a shared library is in this process, imported or not, as NVIDIA's are.

    Raises:
        ProbeError: what is mapped cannot be read on this machine.
    """
    from ckptkit.capture.libraries import mapped_files

    files = set(mapped_files())
    if not files:  # there is always a C library
        raise ProbeError("which files are mapped cannot be read here")
    real = {place: os.path.realpath(place) for each in installed for place in (each.place, each.folder) if place}
    used = set()
    for each in installed:
        place = real[each.place]
        if each.record and not files.isdisjoint(_libraries(place, each.record)):
            used.add(each.key)
        folders = () if each.record else tuple(f"{place}/{name}/" for name in _top_level(each))
        if each.folder:
            folders = (f"{real[each.folder]}/",)
        if folders and any(file.startswith(folders) for file in files):
            used.add(each.key)
    return used


def _libraries(place: str, record: bytes) -> Iterator[str]:
    """The shared libraries that a RECORD names, links resolved, as installers may link each file into their cache."""
    for found in _SHARED.finditer(record):
        start = record.rfind(b"\n", 0, found.start()) + 1
        yield os.path.realpath(f"{place}/{os.fsdecode(record[start : found.end() - 1])}")


def _top_level(each: Installed) -> list[str]:
    return each.text("top_level.txt").split() or [each.key.replace("-", "_")]


def _loaded(places: Sequence[str]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Loaded packages and single modules by place (path there, one file of it); and all other files of modules."""
    packages: dict[str, dict[str, str]] = {}
    elsewhere: list[str] = []
    files = module_files()
    for file in files.values():
        place = next((place for place in places if file.startswith(f"{place}/")), None)
        if place is None:
            elsewhere.append(file)
            continue
        below = file[len(place) + 1 :]
        parts = below.split("/")
        depth = 1
        while depth < len(parts) and ".".join(parts[:depth]) not in files:  # a namespace, which many may share
            depth += 1
        package = "/".join(parts[:depth])
        if not _AT_START_UP.match(package):
            packages.setdefault(place, {}).setdefault(package, below)
    return packages, elsewhere


def _by_name(each: Installed, here: dict[str, str]) -> list[str]:
    return [package for package in here if re.sub(r"[-_/]+", "-", _stem(package)).lower() == each.key]


def _by_top_level(each: Installed, here: dict[str, str]) -> list[str]:
    names = each.text("top_level.txt").split()
    return [package for package in here if _stem(package) in names]


def _by_record(each: Installed, here: dict[str, str]) -> list[str]:
    record = b"\n" + each.record
    return [package for package, file in here.items() if b"\n%s," % os.fsencode(file) in record]


def _stem(package: str) -> str:
    folder, slash, name = package.rpartition("/")
    return f"{folder}{slash}{name.partition('.')[0]}"
