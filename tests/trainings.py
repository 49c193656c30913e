"""Trainings that note their start, and saves of what they made by another process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parent.parent

TRAIN = """
import os, sys, time
from pathlib import Path
import model
import ckptkit
run = ckptkit.start(model="m", config="config.yaml", data={"train": "data/train"}, weights="out/model.bin")
Path("out").mkdir(exist_ok=True)
time.sleep(0.02)
Path("out/model.bin").write_bytes(os.urandom(9))
"""


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committed project, which is also the working directory."""
    made = tmp_path / "project"
    (made / "data" / "train").mkdir(parents=True)
    for name in ("a", "b"):
        (made / "data" / "train" / name).write_bytes(name.encode())
    (made / "config.yaml").write_text("lr: 0.3\nseed: 7\n")
    (made / "model.py").write_text("SIZE = 3\n\ndef loss():\n    return 1\n")
    (made / "train.py").write_text(TRAIN)
    (made / ".gitignore").write_text("runs/\ndata/\nout/\n__pycache__/\n")
    git(made, "init", "-q")
    git(made, "add", ".")
    git(made, "commit", "-qm", "all")
    monkeypatch.chdir(made)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    return made


def environment(**more: str) -> dict[str, str]:
    kept = ("PATH", "HOME", "CKPTKIT_CACHE", "GIT_CONFIG_NOSYSTEM")
    return {"PYTHONPATH": str(REPOSITORY)} | {name: os.environ[name] for name in kept} | more


def python(project: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=project, env=environment(**env), check=False, capture_output=True, text=True)


def train(project: Path, more: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    return python(project, *(["-c", f"{TRAIN}{more}"] if more else ["train.py", "--lr", "0.3"]), **env)


def save(project: Path, *words: str, path: str = "out/model.bin") -> subprocess.CompletedProcess[str]:
    return python(project, "-m", "ckptkit", "save", path, "--model", "m", *words)


def lineages(project: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted(project.glob("runs/m/v*/lineage.json"))]


def runs(project: Path) -> list[str]:
    return sorted(path.name for path in project.glob("runs/.ckptkit/started/2*"))
