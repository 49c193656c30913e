"""Bridges to outside systems: each brings in what a source holds at this moment, and says what that was.

What a bridge writes it writes to a draft; it says nothing of a source that could let anyone in.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ckptkit import redact

_USER_INFO = re.compile(r"(?<=://)[^/?#]*@")
_ANY = "https://example.org/?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What was brought in from a source, and what the source said of it.

    Attributes:
        source: what is known of the source, keyed by its system.
        is_copy: whether the bytes are those of the source.
        rows: how many rows were written; None where the bridge did not look into them.
        params: how they were written.
        doubts: what is not known of the source, by field of ``record.Content``, and why.
        warnings: what whoever asked should know.
    """

    source: Mapping[str, Any]
    is_copy: bool
    rows: int | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    doubts: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def shown(url: str, project: Path | None = None) -> str:
    """A URL without user info, without what in its query is secret, and without fragment."""
    address, _, query = _USER_INFO.sub("", url).partition("#")[0].partition("?")
    kept = [each for each in query.split("&") if each and redact.text(f"{_ANY}{each}") == f"{_ANY}{each}"]
    return redact.text("?".join([address, *(["&".join(kept)] if kept else [])]), project=project)
