"""Versions with datasets for tests, hashed and not, published by the package's own code."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registries import publish

from ckptkit import manifest
from ckptkit.manifest import Listing, State, listed_row
from ckptkit.registry import Version


def sha256(text: str | bytes) -> str:
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def dataset(name: str = "train", **facts: Any) -> dict[str, Any]:
    usual = {"kind": "directory", "path": f"data/{name}", "outside": False, "observed": "at save", "steps": []}
    nothing = dict.fromkeys(["digest", "files", "bytes", "manifest", "sizes", "source", "changed_during_run"])
    return {"name": name, **nothing, **usual, **facts}


def folder(root: Path, content: Mapping[str, str], name: str = "train", **facts: Any) -> Version:
    """A version with one dataset, a folder of these files."""
    text = manifest.dump((path, sha256(said)) for path, said in content.items())
    return listed(root, name, "sha256", text, content, digest=f"sha256:{sha256(text)}", **facts)


def unhashed(root: Path, content: Mapping[str, str], name: str = "train", **facts: Any) -> Version:
    """The same of a save that had no time to hash it."""
    rows = sorted(listed_row(os.fsencode(path), State(len(said), 0, 0, 0, 0)) for path, said in content.items())
    text = b"".join(Listing(rows=rows).lines())
    return listed(root, name, "sizes", text, content, unknown={f"data.{name}.digest": "there was no time"}, **facts)


def listed(
    root: Path,
    name: str,
    form: str,
    text: bytes,
    content: Mapping[str, str],
    digest: str | None = None,
    unknown: Mapping[str, str] | None = None,
    **facts: Any,
) -> Version:
    place = {"manifest" if form == "sha256" else "sizes": f"data/{name}.{form}"}
    counts: dict[str, Any] = {"files": len(content), "bytes": sum(map(len, content.values()))}
    record = dataset(name, digest=digest, **place, **counts | facts)
    return publish(root, files={f"data/{name}.{form}": text, "w.txt": b"0.1"}, data=[record], unknown=unknown or {})


def one(root: Path, path: str, content: str, **facts: Any) -> Version:
    usual: dict[str, Any] = {"kind": "file", "digest": f"sha256:{sha256(content)}", "files": 1, "bytes": len(content)}
    return publish(root, data=[dataset(path=path, **usual | facts)])
