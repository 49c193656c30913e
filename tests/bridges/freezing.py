"""How the tests of bridges freeze something: by the command, with a secret that must come out nowhere."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import ckptkit
from ckptkit.cli import main

CANARY = "c4nary"
SCHEMA = json.loads((Path(ckptkit.__file__).parent / "schemas" / "step.schema.json").read_text())


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """What the command said, and the folder that it wrote to."""

    code: int
    out: str
    err: str
    folder: Path

    def record(self, name: str) -> dict[str, Any]:
        """The sidecar of what was frozen, as its schema has it."""
        found: dict[str, Any] = json.loads((self.folder / f"{name}.lineage.json").read_bytes())
        Draft202012Validator(SCHEMA).validate(found)
        return found

    def source(self, name: str) -> dict[str, Any]:
        (only,) = self.record(name)["step"]["inputs"]
        ((_, facts),) = only["source"].items()
        assert isinstance(facts, dict)
        return facts

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


Freeze = Callable[..., Frozen]


def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Freeze:
    """What runs ``ckptkit data snapshot`` in a project; the secret is nowhere in it then, nor in what was said."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    monkeypatch.chdir(folder)

    def run(*words: str) -> Frozen:
        capsys.readouterr()
        code = main(["data", "snapshot", *words])
        said = capsys.readouterr()
        assert CANARY not in said.out + said.err
        assert "Traceback" not in said.err
        for path in folder.rglob("*"):
            assert CANARY not in path.name
            with contextlib.suppress(IsADirectoryError):
                assert CANARY.encode() not in path.read_bytes(), path
        return Frozen(code=code, out=said.out, err=said.err, folder=folder)

    return run
