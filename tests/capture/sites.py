"""Folders of installed distributions, written by hand as installers leave them."""

import json
from pathlib import Path
from typing import Any

from ckptkit.capture import distributions
from ckptkit.capture.distributions import Installed


def install(site: Path, name: str, version: str, *, files: str = "", source: Any = None, **others: str) -> Path:
    """Write a distribution; files to record are separated by blanks, others are files of its metadata."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    header = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense: MIT\n        Name: not this\n"
    (info / "METADATA").write_text(f"{header}\nName: in the text\nVersion: 0\n")
    if files:
        (info / "RECORD").write_text("".join(f"{file},sha256=x,1\n" for file in files.split()))
    if source is not None:
        (info / "direct_url.json").write_text(json.dumps(source))
    for key, text in others.items():
        (info / {"top_level": "top_level.txt", "installer": "INSTALLER"}[key]).write_text(text)
    return info


def editable(folder: Path) -> dict[str, Any]:
    """The direct_url.json of an editable installation."""
    return {"dir_info": {"editable": True}, "url": folder.as_uri()}


def installed(*path: Path) -> list[Installed]:
    """The distributions on a path, none of which is broken."""
    unknown: dict[str, str] = {}
    found = distributions.installed([str(each) for each in path], unknown)
    assert unknown == {}
    return found
