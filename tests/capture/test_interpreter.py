"""Which interpreter is meant, and what it says of itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ckptkit.capture import interpreter
from ckptkit.capture.interpreter import Python

VERSION = ".".join(map(str, sys.version_info[:3]))


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def meant(project: Path, asked: str | None = None) -> tuple[str, Python | None, dict[str, str]]:
    unknown: dict[str, str] = {}
    return *interpreter.meant(asked, project, unknown), unknown


def program(prefix: Path, script: str) -> Path:
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin" / "python").write_text(f"#!/bin/sh\n{script}\n")
    (prefix / "bin" / "python").chmod(0o755)
    return prefix


def test_this_process() -> None:
    found = interpreter.training().recorded()
    assert (found.implementation, found.version) == ("CPython", VERSION)
    assert f"{VERSION} {found.build}" == " ".join(sys.version.split())
    assert found.kind == ("virtual environment" if sys.prefix != sys.base_prefix else "system")


def test_flags_that_are_set() -> None:
    code = "from ckptkit.capture import interpreter; print(*sorted(interpreter.training().flags.items()))"
    root = Path(__file__).parents[2]
    words = [sys.executable, "-B", "-OO", "-X", "dev", "-c", code]
    out = subprocess.run(
        words, cwd=root, env={"PYTHONHASHSEED": "0", "PYTHONUTF8": "0"}, check=True, capture_output=True, text=True
    )
    assert out.stdout == "('dev_mode', 1) ('dont_write_bytecode', 1) ('optimize', 2)\n"


def test_another_process_trained_in_a_virtual_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = tmp_path / "home" / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(env)], check=True, capture_output=True)
    (tmp_path / "json.py").write_text("raise SystemExit('imported from the working directory')\n")
    monkeypatch.chdir(tmp_path)
    for asked in (str(env), str(env / "bin" / "python")):
        source, found, unknown = meant(tmp_path, asked)
        assert (source, unknown) == (f"--python ~/{Path(asked).relative_to(tmp_path / 'home')}", {})
        assert found is not None
        assert found.prefix == str(env)
        assert (found.recorded().kind, found.flags) == ("virtual environment", {})
    monkeypatch.setenv("VIRTUAL_ENV", str(env))
    monkeypatch.setenv("CONDA_PREFIX", str(tmp_path / "nowhere"))
    source, found, unknown = meant(tmp_path)
    assert (source, unknown) == ("$VIRTUAL_ENV", {})
    assert found is not None
    assert found.prefix == str(env)


def test_conda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = tmp_path / "conda"
    banner = "3.10.4 | packaged by conda-forge | (main) \n[GCC 10.3.0]"
    facts = {"implementation": "CPython", "version": "3.10.4", "banner": banner, "path": [str(prefix / "lib")]}
    answer = json.dumps(facts | {"prefix": str(prefix), "base_prefix": str(prefix)})
    program(prefix, f"echo a greeting\nprintf '%s\\n' '{answer}'")
    (prefix / "conda-meta").mkdir()
    monkeypatch.setenv("CONDA_PREFIX", str(prefix))
    source, found, unknown = meant(tmp_path)
    assert (source, unknown) == ("$CONDA_PREFIX", {})
    assert found is not None
    recorded = found.recorded()
    assert (recorded.version, recorded.kind) == ("3.10.4", "conda")
    assert recorded.build == "| packaged by conda-forge | (main) [GCC 10.3.0]"


def test_the_own_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, own, unknown = meant(tmp_path)
    assert (source, unknown) == ("the interpreter of ckptkit", {})
    assert own is not None
    assert own.flags == {}
    monkeypatch.setattr(interpreter, "_FACTS", "raise SystemExit('a child was started')")
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    if Path(sys.prefix, "bin", "python").exists():
        assert meant(tmp_path) == ("$VIRTUAL_ENV", own, {})


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (None, "there is no such interpreter"),
        ("echo no >&2; exit 3", "python failed with exit status 3: no"),
        ("echo hello", "it does not answer as Python does"),
        ("echo '{}'", "it does not answer as Python does"),
        ("true", "it does not answer as Python does"),
        ("sleep 60", "python timed out after 0.3 s"),
    ],
)
def test_a_broken_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, why: str) -> None:
    monkeypatch.setattr(interpreter, "SECONDS", 0.3)
    (tmp_path / "none").mkdir()
    prefix = program(tmp_path / "env", script) if script else tmp_path / "none"
    monkeypatch.setenv("VIRTUAL_ENV", str(prefix))
    source, found, unknown = meant(tmp_path)
    assert source == "the interpreter of ckptkit, as that of $VIRTUAL_ENV does not work"
    assert found is not None
    assert unknown == {"code.environment.source": f"$VIRTUAL_ENV: {why}"}
    source, found, unknown = meant(tmp_path, str(prefix / "bin" / "python"))
    assert (source, found) == (f"--python {prefix.name}/bin/python", None)
    assert unknown == {"code.environment": f"{source}: {why}"}
