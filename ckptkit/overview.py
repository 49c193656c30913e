"""The README.md of a registry: the index for people."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ckptkit import disk
from ckptkit.errors import FormatError
from ckptkit.words import figure

_NEWEST = 3
_HEADING = "# Registered models\n\nWritten by ckptkit"


def is_own(path: Path) -> bool:
    """Whether the README.md of a root is ckptkit's to write: not there, or begun as ckptkit begins it."""
    try:
        return not path.is_symlink() and (not path.exists() or disk.read_regular(path).startswith(_HEADING.encode()))
    except (FormatError, OSError):
        return False


def text(index: Mapping[str, Any]) -> str:
    """For each model the versions with an alias or a stage, and the newest ones."""
    lines = [f"{_HEADING} from the folders beside it; `ckptkit index` writes it again.", ""]
    for name, model in index["models"].items():
        versions = model["versions"]
        if model["became"] and not versions:
            continue
        standing = {*model["aliases"].values(), *(v for v, stage in model["stages"].items() if stage != "archived")}
        shown = {*standing, *list(versions)[-_NEWEST:]} & set(versions)
        lines += [f"## {name}", ""]
        if "" in model["texts"]:
            lines += [_cell(model["texts"][""]), ""]
        lines += [f"{len(versions)} version{'s' * (len(versions) != 1)}.", ""]
        if shown:
            lines += ["| version | aliases | stage | created | metrics | message |"]
            lines += ["| --- | --- | --- | --- | --- | --- |"]
            lines += [_row(name, version, model) for version in reversed(list(versions)) if version in shown]
            lines.append("")
    return "\n".join(lines).encode("utf-8", "backslashreplace").decode()  # names need not be UTF-8


def _row(name: str, version: str, model: Mapping[str, Any]) -> str:
    row = model["versions"][version]
    cells = (
        f"[{version}]({name}/{version}/README.md)",
        " ".join(f"@{alias}" for alias, target in model["aliases"].items() if target == version),
        model["stages"].get(version, ""),
        row.get("created", "")[:10],
        ", ".join(f"{key} {figure(value)}" for key, value in row.get("metrics", {}).items()),
        model["texts"].get(version) or row.get("message") or "",
    )
    return f"| {' | '.join(_cell(text) for text in cells)} |"


def _cell(text: str) -> str:
    inert = text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")
    return "".join(letter if letter.isprintable() else " " for letter in inert)
