"""Builds the registry of a case: the complete one in base/, changed before and after it is sealed.

A case is a folder with any of these:

    lineage.json            values for penguins/v0001/lineage.json, by dotted path
    before/, after/         files to put over the registry, before or after it is sealed
    before.txt, after.txt   further steps, one a line: the functions of ``Steps``
    also.txt                codes that are found besides, each with its reason
"""

import hashlib
import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from ckptkit import checkpoint, documents, index, manifest, registry
from ckptkit.record import EVENT

BASE = Path(__file__).parent / "base"
VERSION = "penguins/v0001"


class Steps:
    """What a line of before.txt or after.txt may say; paths are below the root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = 0

    def run(self, script: Path) -> None:
        for line in script.read_text().splitlines() if script.exists() else ():
            verb, *words = shlex.split(line)
            getattr(self, verb)(*words)

    def remove(self, path: str) -> None:
        target = self.root / path
        shutil.rmtree(target) if target.is_dir() and not target.is_symlink() else target.unlink()

    def fifo(self, path: str) -> None:
        os.mkfifo(self.root / path)

    def link(self, target: str, path: str) -> None:
        (self.root / path).symlink_to(target)

    def folder(self, path: str) -> None:
        (self.root / path).mkdir(parents=True)

    def deep(self, path: str, levels: str) -> None:
        """Folders in folders, by steps that no limit on the length of a path forbids."""
        here = os.open(self.root / path, os.O_RDONLY)
        for _ in range(int(levels)):
            os.mkdir("d" * 200, dir_fd=here)
            below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(here)

    def copy(self, path: str, target: str) -> None:
        shutil.copytree(self.root / path, self.root / target)

    def move(self, path: str, target: str) -> None:
        (self.root / path).rename(self.root / target)

    def close(self, path: str) -> None:
        if os.geteuid() == 0:
            pytest.skip("root may read everything")
        (self.root / path).chmod(0)

    def zeros(self, path: str, count: str) -> None:
        (self.root / path).write_bytes(bytes(int(count)))

    def truncate(self, path: str, count: str) -> None:
        os.truncate(self.root / path, int(count))

    def append(self, path: str, text: str) -> None:
        with (self.root / path).open("a") as file:
            file.write(f"{text}\n")

    def latin(self, path: str, text: str) -> None:
        (self.root / path).write_bytes(text.encode("latin-1"))

    def sub(self, path: str, pattern: str, text: str) -> None:
        file = self.root / path
        changed, count = re.subn(pattern, text, file.read_text(), flags=re.MULTILINE)
        assert count, f"{pattern} is not in {path}"
        file.write_text(changed)

    def conflict(self, path: str) -> None:
        """Both sides of a file, as a merge by git leaves them."""
        text = (self.root / path).read_text()
        (self.root / path).write_text(f"<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> cluster\n")

    def event(self, kind: str, model: str, version: str, *facts: str) -> None:
        """An event a second after the last; ``digest=own`` is that of the version, ``previous=last`` the last event."""
        self.clock += 1
        said: dict[str, Any] = dict(fact.split("=") for fact in facts)
        if said.get("digest") == "own":
            said["digest"] = f"sha256:{sha256(self.root / model / version / checkpoint.SUMS)}"
        if said.get("previous") == "last":
            said["previous"] = self.stamp(self.clock - 1)
        seconds = f"{self.clock:02d}.000000Z"
        record = {
            "schema": EVENT,
            "id": self.stamp(self.clock),
            "time": f"2026-11-24T10:00:{seconds}",
            "kind": kind,
            "model": model,
            "version": None if version == "nowhere" else version,
        } | said
        history = self.root / model / registry.HISTORY
        history.mkdir(exist_ok=True)
        (history / f"{record['id']}.json").write_bytes(documents.dump_json(record))

    @staticmethod
    def stamp(second: int) -> str:
        return f"20261124T1000{second:02d}.000000Z-{second:08x}"

    def index(self) -> None:
        index.write(self.root, index.build(self.root))

    def reseal(self, path: str) -> None:
        """Write SHA256SUMS anew, as someone would who hides a change."""
        folder = self.root / path
        unsealed = {checkpoint.CARD, checkpoint.SUMS}
        files = [each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file()]
        sums = [(file, sha256(folder / file)) for file in files if file not in unsealed]
        (folder / checkpoint.SUMS).write_bytes(manifest.dump(sums))

    def seal(self) -> None:
        """Make a registry of the folders, as save would have."""
        for folder in sorted(self.root.glob("*/v[0-9]*")):
            model, version = folder.parent.name, folder.name
            path = f"{model}/{version}"
            self.reseal(path)
            card = folder / checkpoint.CARD
            card.write_text(card.read_text().replace("0" * 64, sha256(folder / checkpoint.SUMS)))
            self.event("saved", model, version, "digest=own")
            if version == "v0001":
                self.event("alias", model, version, "alias=champion")
                self.link(version, f"{model}/@champion")
        self.index()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def put(value: Any, path: str, new: Any) -> None:
    """Set what is at a dotted path of parsed JSON."""
    *way, last = path.split(".")
    for step in way:
        value = value[int(step) if isinstance(value, list) else step]
    value[int(last) if isinstance(value, list) else last] = new


def record(folder: Path) -> None:
    """Give lineage.json its number and the digests of the files that lie beside it."""
    file = folder / checkpoint.LINEAGE
    lineage = json.loads(file.read_text())
    lineage["version"] = folder.name
    known = {each["path"]: each for each in lineage["weights"]["files"]}
    saved = sorted(
        each.relative_to(folder).as_posix()
        for each in folder.rglob("*")
        if each.is_file() and not checkpoint.is_record(each.relative_to(folder).as_posix())
    )
    lineage["weights"]["files"] = [
        {"format": None, "parameters": None, "dtypes": None}
        | known.get(path, {})
        | {"path": path, "bytes": (folder / path).stat().st_size, "sha256": sha256(folder / path)}
        for path in saved
    ]
    if (folder / checkpoint.CONFIG).exists():
        lineage["config"]["sha256"] = sha256(folder / checkpoint.CONFIG)
    file.write_text(json.dumps(lineage, indent=2))


def build(case: Path, root: Path) -> Path:
    """The registry of a case, in the new folder ``root``."""
    steps = Steps(root)
    shutil.copytree(BASE, root)
    if (case / "before").exists():
        shutil.copytree(case / "before", root, dirs_exist_ok=True)
    steps.run(case / "before.txt")
    for folder in root.glob("*/v[0-9]*"):
        record(folder)
    if (case / "lineage.json").exists():
        file = root / VERSION / checkpoint.LINEAGE
        lineage = json.loads(file.read_text())
        for path, value in json.loads((case / "lineage.json").read_text()).items():
            put(lineage, path, value)
        file.write_text(json.dumps(lineage, indent=2))
    steps.seal()
    if (case / "after").exists():
        shutil.copytree(case / "after", root, dirs_exist_ok=True)
    steps.run(case / "after.txt")
    return root
