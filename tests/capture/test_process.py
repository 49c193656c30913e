"""The process probe, on real scripts and on this process."""

import json
import sys
import time
import types
from pathlib import Path

import pytest
from scripts import REPOSITORY, python

from ckptkit.capture import process as probe

ENTRY = """
import json, os, pathlib, sys
os.environ["OMP_NUM_THREADS"] = "7"
from ckptkit.capture import process
unknown = {}
found = process.process(pathlib.Path(sys.argv[1]), unknown)
told = {name: getattr(found, name) for name in found.__slots__}
print(json.dumps(told | {"started": process.started(), "unknown": unknown}))
"""


def entry(output: str) -> dict[str, object]:
    found = json.loads(output)
    assert isinstance(found, dict)
    return found


def test_script_module_and_command_are_named(tmp_path: Path) -> None:
    (tmp_path / "sub" / "pkg").mkdir(parents=True)
    script = tmp_path / "sub" / "train.py"
    for file in (script, tmp_path / "sub" / "pkg" / "__main__.py", tmp_path / "sub" / "pkg" / "fit.py"):
        file.write_text(ENTRY)
    found = entry(python(script, str(tmp_path), "--api-key", "xyz", cwd=script.parent, OMP_NUM_THREADS="3", OTHER="x"))
    assert found["entry_point"] == "sub/train.py"
    assert found["cwd"] == "sub"
    assert found["orig_argv"] == [
        *(Path(sys.executable).name, "-W", "error"),
        *("./sub/train.py", ".", "--api-key", "<redacted:api-key>"),
    ]
    assert found["variables_at_start"] == {"OMP_NUM_THREADS": "3", "PYTHONPATH": str(REPOSITORY)}
    assert found["unknown"] == {}
    started = found["started"]
    assert isinstance(started, float)
    assert 0 <= time.time() - started < 30
    assert entry(python("-m", "pkg", str(tmp_path), cwd=script.parent))["entry_point"] == "-m pkg"
    assert entry(python("-m", "pkg.fit", str(tmp_path), cwd=script.parent))["entry_point"] == "-m pkg.fit"
    assert entry(python("-c", ENTRY, str(tmp_path), cwd=script.parent))["entry_point"] == "-c"


def test_start_time_agrees_with_psutil() -> None:
    psutil = pytest.importorskip("psutil", reason="psutil is not installed")
    started = probe.started()
    assert started is not None
    assert abs(started - psutil.Process().create_time()) < 2  # psutil counts from a boot time in whole seconds


def test_what_was_written_just_before_the_process_began_is_before(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("from ckptkit.capture import process; print(process.started())")
    for number in range(5):
        data = tmp_path / f"{number}.csv"
        data.write_text("x")
        assert data.stat().st_mtime < float(python(script, cwd=tmp_path))


def test_notebooks_and_embedded_interpreters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(sys, "argv", ["host-program"])
    unknown: dict[str, str] = {}
    assert probe.process(tmp_path, unknown).entry_point is None
    assert "the main module names no file" in unknown["code.entry_point"]
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert probe.process(tmp_path, {}).entry_point == "interactive"
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    assert probe.process(tmp_path, {}).entry_point == "notebook"
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "try.ipynb"))
    assert probe.process(tmp_path, {}).entry_point == "try.ipynb"


def test_a_removed_working_directory_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (gone := tmp_path / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    unknown: dict[str, str] = {}
    assert probe.process(tmp_path, unknown).cwd is None
    assert unknown == {"code.cwd": "no such file or directory"}


def test_overwritten_variables_are_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "setproctitle", types.ModuleType("setproctitle"))
    unknown: dict[str, str] = {}
    assert probe.process(tmp_path, unknown).variables_at_start is None
    assert "setproctitle" in unknown["compute.variables.at_start"]


def test_project_is_the_nearest_root_or_the_folder_itself(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert probe.project(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    (tmp_path / "a" / "pyproject.toml").touch()
    assert probe.project(tmp_path / "a" / "b") == tmp_path / "a"
