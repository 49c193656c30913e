"""The process probe, on real scripts and on this process."""

import json
import os
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest
from scripts import REPOSITORY, python

from ckptkit.capture import process as probe

ENTRY = """
import json, os, pathlib, sys
os.environ["OMP_NUM_THREADS"] = "7"
from ckptkit.capture import process
def look(project):
    unknown = {}
    found = process.process(pathlib.Path(project), unknown)
    told = {name: getattr(found, name) for name in found.__slots__}
    told["variables"] = process.variables_at_start(pathlib.Path(project))
    line = json.dumps(told | {"started": process.started(), "unknown": unknown})
    os.write(1, line.encode() + bytes([10]))  # whole, also beside that of another rank
if __name__ == "__main__":
    os.chdir("/")
    look(sys.argv[1])
"""


def entry(output: str) -> dict[str, Any]:
    found = json.loads(output)
    assert isinstance(found, dict)
    return found


def test_a_script_is_named_and_its_start_told(tmp_path: Path) -> None:
    script = tmp_path / "sub" / "train.py"
    script.parent.mkdir()
    script.write_text(ENTRY)
    found = entry(python("train.py", str(tmp_path), "--api-key", "xyz", cwd=script.parent, OMP_NUM_THREADS="3", O="x"))
    assert found["entry_point"] == "sub/train.py"
    assert found["cwd"] == "sub"
    assert found["orig_argv"] == [
        *(Path(sys.executable).name, "-W", "error"),
        *("train.py", ".", "--api-key", "<redacted:api-key>"),
    ]
    assert found["variables"] == {"OMP_NUM_THREADS": "3", "PYTHONPATH": str(REPOSITORY)}
    assert found["unknown"] == {}
    started = found["started"]
    assert isinstance(started, float)
    assert 0 <= time.time() - started < 30


@pytest.mark.parametrize(("module", "name"), [("pkg", "-m pkg"), ("pkg.fit", "-m pkg.fit")])
def test_a_module_began_where_it_was_found_and_the_shell_was(module: str, name: str, tmp_path: Path) -> None:
    (folder := tmp_path / "sub" / "pkg").mkdir(parents=True)
    for file in ("__main__.py", "fit.py"):
        (folder / file).write_text(ENTRY)
    (tmp_path / "link").symlink_to("sub")
    for pwd, cwd in ((str(tmp_path / "link"), "sub"), (str(tmp_path), "/"), ("", "/")):
        found = entry(python("-m", module, str(tmp_path), cwd=folder.parent, PWD=pwd))
        assert (found["entry_point"], found["cwd"]) == (name, cwd)


def test_options_of_python_folders_and_words(tmp_path: Path) -> None:
    (tmp_path / "sub" / "pkg").mkdir(parents=True)
    for file in ("__main__.py", "fit.py"):
        (tmp_path / "sub" / "pkg" / file).write_text(ENTRY)
    found = entry(python("-O", "-X", "dev", "pkg/fit.py", str(tmp_path), cwd=tmp_path / "sub", PWD=str(tmp_path)))
    assert (found["entry_point"], found["cwd"]) == ("sub/pkg/fit.py", "sub"), "PWD may be that of another program"
    assert found["orig_argv"] == [Path(sys.executable).name, "-W", "error", "-O", "-X", "dev", "pkg/fit.py", "."]
    assert entry(python("-c", ENTRY, str(tmp_path), cwd=tmp_path))["entry_point"] == "-c"
    assert entry(python("sub/pkg", str(tmp_path), cwd=tmp_path))["entry_point"] == "sub/pkg/__main__.py"


def test_a_script_named_by_its_whole_path_is_where_it_is_now(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(ENTRY)
    assert entry(python(tmp_path / "train.py", ".", "train.py", cwd=tmp_path))["cwd"] == "/"


def test_standard_input_is_named(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-", str(tmp_path)]
    done = subprocess.run(command, input=ENTRY, env=environ, check=True, capture_output=True, text=True)
    assert entry(done.stdout)["entry_point"] == "standard input"


CHILDREN = f"""{ENTRY}
    import multiprocessing
    for way in ("fork", "spawn"):
        child = multiprocessing.get_context(way).Process(target=look, args=(sys.argv[1],))
        child.start()
        child.join()
"""


def test_children_of_a_training_script_name_it(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(CHILDREN)
    out = python("train.py", ".", cwd=tmp_path, PWD=str(tmp_path), OMP_NUM_THREADS="3").splitlines()
    itself, forked, spawned = (entry(line) for line in out)
    assert itself["entry_point"] == forked["entry_point"] == spawned["entry_point"]
    assert itself["variables"] == forked["variables"]
    assert (itself["variables"]["OMP_NUM_THREADS"], spawned["variables"]["OMP_NUM_THREADS"]) == ("3", "7")


def test_console_scripts_and_bundles_are_named_by_their_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / ".venv" / "bin" / "train"
    script.parent.mkdir(parents=True)
    script.write_text(ENTRY)
    assert entry(python(script, str(tmp_path), cwd=tmp_path))["entry_point"] == ".venv/bin/train"
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "dist" / "train"))
    assert probe.process(tmp_path, {}).entry_point == "dist/train"


@pytest.mark.torch
def test_torchrun_sets_threads_before_the_process_begins(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    (tmp_path / "train.py").write_text(ENTRY.replace('os.environ["OMP_NUM_THREADS"] = "7"', ""))
    script = tmp_path / "run.py"
    script.write_text(
        "import warnings; warnings.simplefilter('ignore')\nfrom torch.distributed.run import main; main()"
    )
    out = python(script, "--standalone", "--nproc-per-node=2", "train.py", ".", cwd=tmp_path)
    for line in out.splitlines():
        found = entry(line)
        assert found["variables"]["OMP_NUM_THREADS"] == "1"
        assert str(found["entry_point"]).endswith("train.py")
        assert found["orig_argv"][1:] == ["-u", "train.py", "."]
    assert len(out.splitlines()) == 2


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
    monkeypatch.setattr(sys, "orig_argv", [])
    unknown: dict[str, str] = {}
    assert probe.process(tmp_path, unknown).entry_point is None
    assert "the main module names no file" in unknown["code.entry_point"]
    assert "keeps no command line" in unknown["code.orig_argv"]
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert probe.process(tmp_path, {}).entry_point == "interactive"
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    assert probe.process(tmp_path, {}).entry_point == "notebook"
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "try.ipynb"))
    assert probe.process(tmp_path, {}).entry_point == "try.ipynb"
    main.__file__ = str(tmp_path / "widgets.py")
    assert probe.process(tmp_path, {}).entry_point == "widgets.py", "what loads ipykernel is not yet in a notebook"


def test_a_removed_working_directory_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (gone := tmp_path / "gone").mkdir()
    monkeypatch.chdir(gone)
    monkeypatch.setattr(sys, "argv", [""])
    gone.rmdir()
    unknown: dict[str, str] = {}
    assert probe.process(tmp_path, unknown).cwd is None
    assert unknown == {"code.cwd": "no such file or directory"}


# Writes over the environment as setproctitle does: the title, and zeros to its end.
TITLE = """
import ctypes, pathlib
from ckptkit.capture import attempt, process
began = int(pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()[47])  # env_start, field 50
end = int(pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()[48])
title = b"{title}"
ctypes.memmove(began, title + bytes(end - began - len(title)), end - began)
unknown = {{}}
print(attempt(unknown, "here", lambda: process.variables_at_start(pathlib.Path.cwd()), None), unknown)
"""


@pytest.mark.parametrize("title", ["", "train: step 3"])
def test_overwritten_variables_are_not_believed(title: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TITLE.format(title=title))
    out = python("train.py", cwd=tmp_path, OMP_NUM_THREADS="3")
    assert out.startswith("None {'here': 'a title of the process was written over them")


UNREADABLE = """
import os, pathlib
from ckptkit.capture import attempt, process
os.umask(0)
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)  # what follows is no longer this user's to read
unknown = {}
print(attempt(unknown, "here", lambda: process.variables_at_start(pathlib.Path("/")), None), unknown)
"""


def test_an_environment_that_may_not_be_read_is_a_reason(tmp_path: Path) -> None:
    pytest.importorskip("psutil", reason="psutil is not installed")
    if os.geteuid() != 0:
        pytest.skip("only root becomes another user, and so is kept from its own environment")
    script = "import psutil\n" + UNREADABLE
    (tmp_path / "train.py").write_text(script)
    out = python("train.py", cwd=tmp_path, OMP_NUM_THREADS="3")
    assert out.startswith("None {'here': '")


def test_project_is_the_nearest_root_or_the_folder_itself(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert probe.project(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    (tmp_path / "a" / "pyproject.toml").touch()
    assert probe.project(tmp_path / "a" / "b") == tmp_path / "a"
