"""Data under the care of other systems, and what is said of it once it was hashed."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from ckptkit import hashing
from ckptkit.data import pointers
from ckptkit.hash_cache import Cache
from ckptkit.manifest import Hashed, Manifest

# Of the text "hello a.csv", which is what DVC 3.67.1 and `git hash-object` give for it.
HASHES = {
    "md5": "a6c3ab5a8f2a1c56bacd294c3b5deb8d",
    "sha256": "66d6f8218fdd987e2ce1393b91ff40df372c40980d71e9c294b64f7a74c25c1c",
    "git": "8b105af91ccdc441d11a86cb2fc5ea1809e8fd61",
}

EVIL = {
    "binary": b"\xff\xfe\x00",
    "not YAML": b"outs: [",
    "a list": b"- outs\n",
    "empty": b"",
    "no outs": b"outs: 3\n",
    "odd outs": b"outs: [3]\n",
    "bomb": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(8)),
    "deep": b"outs: " + b"[" * 5000,
}


def put(folder: Path, files: Mapping[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.fsencode(content))


def hashed(path: Path) -> Manifest | Hashed:
    if path.is_dir():
        return hashing.tree(path)
    return Hashed(path=path.name, sha256=hashing.file_sha256(path), bytes=path.stat().st_size)


def agreed(
    path: Path, project: Path, cache: Cache | None = None, before_check: Callable[[], None] = lambda: None
) -> pointers.Pointer:
    """The pointer of what is there, held against its content."""
    found = pointers.find(path, project)
    assert found is not None
    content = hashed(path)
    before_check()
    return pointers.agree(found, path, content, cache, None)
