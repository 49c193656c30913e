"""The wheel alone: built, installed into a clean virtual environment, used there."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return out


def test_wheel_and_sdist_carry_templates_and_schemas(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert {
        "ckptkit/py.typed",
        "ckptkit/schemas/lineage.schema.json",
        "ckptkit/templates/checkpoint/cookiecutter.json",
    } <= names
    assert not [name for name in names if name.startswith(("tests", "examples", "templates"))]
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"ckptkit/schemas/lineage.schema.json", "templates/checkpoint/cookiecutter.json", "LICENSE"} <= names


def test_the_wheel_alone_saves_and_checks(built: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    bin_ = tmp_path / "venv" / "bin"
    wheel = next(built.glob("*.whl"))
    subprocess.run(
        [bin_ / "pip", "install", "--quiet", str(wheel)],
        check=True,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    (tmp_path / "weights.bin").write_bytes(b"weights")

    def run(*words: str) -> str:
        return subprocess.run(
            [bin_ / "ckptkit", *words], check=True, capture_output=True, text=True, cwd=tmp_path
        ).stdout

    saved = json.loads(run("save", "weights.bin", "--model", "m", "--json"))
    assert saved["ref"] == "m/v0001"
    report = json.loads(run("check", "runs", "--json"))
    assert not [finding for finding in report["findings"] if finding["severity"] == "error"]
    assert "Intended Use" in (tmp_path / "runs" / "m" / "v0001" / "README.md").read_text()
