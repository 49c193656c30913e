"""Trees with every name that a file can have, and what coreutils say of them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ckptkit import hashing

ONE_LINER = "find -L . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum"
NAMES = [
    b"plain.csv",
    b"two words",
    b" leading space",
    b"trailing space ",
    b"line\nbreak",
    b"carriage\rreturn",
    b"crlf\r\n",
    b"-dash",
    b"*star",
    "größe/文件.txt".encode(),
    b"not-utf8-\xff\xfe",
    b"back\\slash",
    b"back\\nslash-n",
    b"a/b/c/d",
    b"a.b",
    b"a-b",
    b"A",
    b".hidden/x",
    b"/".join([b"deep"] * 400) + b"/end",
]


def coreutils() -> tuple[int, ...]:
    if not shutil.which("bash") or not shutil.which("sha256sum"):
        return (0,)
    first = subprocess.run(["sha256sum", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"sha256sum \(GNU coreutils\) (\d+)\.(\d+)", first)
    return tuple(map(int, found.groups())) if found else (0,)


gnu = pytest.mark.skipif(coreutils() < (9, 0), reason="needs sha256sum of GNU coreutils 9.0 or later")


def run(command: str, folder: Path) -> bytes:
    return subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, check=True).stdout


def write(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def strange(tmp_path: Path) -> Path:
    """A folder of odd names, links to a file and to folders, an empty folder and a file that is hashed in threads."""
    folder = tmp_path / "data"
    outside = tmp_path / "outside"
    write(outside / "sub" / "far.bin", b"far")
    for number, name in enumerate(NAMES):
        write(folder / os.fsdecode(name), name * number)
    write(folder / "large.bin", b"0123456789abcdef" * (hashing.LARGE // 16 + 1))
    (folder / "to-file").symlink_to(outside / "sub" / "far.bin")
    (folder / "to-folder").symlink_to(outside)
    (folder / "twice").symlink_to("a")
    (folder / "empty").mkdir()
    return folder
