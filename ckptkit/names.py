"""What may be called what: models, versions, aliases, datasets. Pure words; every refusal says what would do."""

import re
from collections.abc import Iterable
from typing import get_args

from ckptkit.errors import CkptkitError
from ckptkit.record import MODEL_NAME, Stage

STAGES: tuple[str, ...] = get_args(Stage)
VERSION = re.compile(r"v([0-9]{4,18})", re.ASCII)
_NUMBER = re.compile(r"v?0*([1-9][0-9]{0,17})", re.ASCII | re.IGNORECASE)
_MODEL = re.compile(MODEL_NAME, re.ASCII)
_ALIAS = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_VERSION_LIKE = re.compile(r"v[0-9]+", re.ASCII | re.IGNORECASE)
# Names that Windows keeps for devices, with or without an ending.
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.ASCII | re.IGNORECASE)
_TAKEN = frozenset({"now", "index.json", "readme.md"})


HIGHEST = 99_999_999
"""The highest number that can be given to a version; those that saves then count up to can be read far beyond."""


def require_model(name: object, kind: str = "model") -> str:
    """``name`` if a model (or, by ``kind``, a dataset) may be called so.

    Raises:
        CkptkitError: it may not.
    """
    hint = "use letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 96 of them"
    if not isinstance(name, str) or not _MODEL.fullmatch(name) or name.endswith("."):
        raise CkptkitError(f"{name!r} is no name for a {kind}", hint)
    if name.lower() in _TAKEN or _VERSION_LIKE.fullmatch(name) or _DEVICE.fullmatch(name):
        raise CkptkitError(f"{name!r} is no name for a {kind}: it means something else here", "choose another word")
    return name


def require_alias(name: object) -> str:
    """``name`` if an alias may be called so; a leading ``@`` is left out.

    Raises:
        CkptkitError: it may not.
    """
    word = name.removeprefix("@") if isinstance(name, str) else name
    if not isinstance(word, str) or not _ALIAS.fullmatch(word):
        raise CkptkitError(f"{name!r} is no name for an alias", "use 1 to 128 letters, digits, '_' and '-'")
    if word.lower() == "latest" or _VERSION_LIKE.fullmatch(word):
        raise CkptkitError(f"the alias {word!r} is reserved", "choose another word, such as champion or candidate")
    return word


def require_stage(name: str) -> str:
    """The stage of that name, which may be written in any case.

    Raises:
        CkptkitError: there is none.
    """
    if name.lower() not in STAGES:
        raise CkptkitError(f"{name!r} is no stage", f"stages are {', '.join(STAGES)}")
    return name.lower()


def require_unlike(name: str, others: Iterable[str], kind: str) -> None:
    """Refuse a name that differs from one of ``others`` by case alone.

    Raises:
        CkptkitError: it does; on some disks both would be the same file.
    """
    for other in others:
        if other != name and other.lower() == name.lower():
            raise CkptkitError(f"the {kind} {name!r} differs from {other!r} by case alone", f"call it {other}")


def version_number(text: str) -> int | None:
    """The number that ``v0002``, ``v2`` or ``2`` stands for; None for anything else."""
    found = _NUMBER.fullmatch(text)
    return int(found[1]) if found else None


def version_name(number: int) -> str:
    """The folder name of a version: ``v`` and at least four digits."""
    return f"v{number:04d}"


def counted(name: str | None) -> int:
    """The number of a version that others are counted on from; 0 for none, and for one that nobody ever counted to."""
    number = folder_number(name or "") or 0
    return number if number < 10 * HIGHEST else 0


def folder_number(name: str) -> int | None:
    """The number of a version folder's name, written exactly as ckptkit writes it; None for any other name."""
    found = VERSION.fullmatch(name)
    return int(found[1]) if found and int(found[1]) and version_name(int(found[1])) == name else None
