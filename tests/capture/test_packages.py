"""The environment probe, on real virtual environments with distributions written by hand."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from sites import editable, install

from ckptkit.capture import packages
from ckptkit.record import Environment, LockDifference, Package

VERSION = ".".join(map(str, sys.version_info[:3]))
HEAD = f"# Python {VERSION}; every distribution that came from an index, ckptkit itself aside\n"


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of distributions, the only one on the path of this process beside the standard library."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder), *(each for each in sys.path if "site-packages" not in each)])
    return folder


def observe(
    project: Path, *, python: str | None = None, in_process: bool = True
) -> tuple[Environment, dict[str, bytes], dict[str, str]]:
    unknown: dict[str, str] = {}
    found, files = packages.environment(python=python, in_process=in_process, project=project, unknown=unknown)
    assert Environment.from_dict(found.to_dict()) == found
    assert [found.requirements, found.requirements_vcs] == [
        name if name in files else None for name in ("requirements.txt", "requirements-vcs.txt")
    ]
    return found, files, unknown


def test_all_of_it(site: Path, tmp_path: Path) -> None:
    install(site, "lib", "1", files="lib/__init__.py lib/version.py")
    (site / "lib").mkdir()
    (site / "lib" / "version.py").write_text("__version__ = '1+cu130'\n")
    install(site, "ckptkit-lineage", "0.1.0", source=editable(tmp_path / "ckptkit"))
    source = {"url": "https://example.org/vcs", "vcs_info": {"vcs": "git", "commit_id": "c" * 40}}
    install(site, "vcs", "2", source=source)
    (tmp_path / "requirements.lock").write_text("lib==2\n")
    found, files, unknown = observe(tmp_path)
    assert unknown == {}
    record = hashlib.sha256(b"lib/__init__.py,sha256=x,1\nlib/version.py,sha256=x,1\n").hexdigest()
    lib, vcs = found.packages
    assert lib == Package(name="lib", version="1", imported=False, mapped=False, local="1+cu130", record=record)
    assert vcs.origin is not None
    assert (vcs.origin.kind, vcs.origin.url, vcs.record) == ("vcs", "https://example.org/vcs", None)
    assert files["requirements.txt"].decode() == f"{HEAD}lib==1\n"
    assert files["requirements-vcs.txt"].decode().endswith(f"\nvcs @ git+https://example.org/vcs@{'c' * 40}\n")
    assert (found.source, found.editable, found.conda) == ("this process", (), ())
    assert found.lockfiles[0].differs == (LockDifference(name="lib", locked=("2",), installed="1+cu130"),)


def test_only_from_an_index(site: Path, tmp_path: Path) -> None:
    install(site, "lib", "1")
    _, files, _ = observe(tmp_path)
    assert files == {"requirements.txt": f"{HEAD}lib==1\n".encode()}


def test_an_editable_one_seen_in_its_source_first(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    (project / "src" / "mine.egg-info").mkdir(parents=True)
    (project / "src" / "mine.egg-info" / "PKG-INFO").write_text("Name: mine\nVersion: 1.1\n\n")
    install(site, "mine", "1", source=editable(project))
    monkeypatch.setattr(sys, "path", [str(project / "src"), *sys.path])
    found, files, _ = observe(project)
    assert [(each.name, each.version, each.path) for each in found.editable] == [("mine", "1.1", ".")]
    assert files["requirements.txt"].decode() == HEAD
    assert b"# mine 1.1: editable, the code of this record" in files["requirements-vcs.txt"]


def test_this_process_as_it_is(tmp_path: Path) -> None:
    found, _, _ = observe(tmp_path)
    assert {each.name: each.imported for each in found.packages}["pytest"] is True
    assert found.python is not None
    assert found.python.flags.get("optimize", 0) == sys.flags.optimize


def test_another_process_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")]
    subprocess.run(words, check=True, capture_output=True)
    install(next((tmp_path / "env").glob("lib/python3*/site-packages")), "only-there", "3")
    install(tmp_path / "extra", "by-variable", "1")
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "env"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "extra"))
    found, files, unknown = observe(tmp_path, in_process=False)
    assert (found.source, unknown) == ("$VIRTUAL_ENV", {})
    assert found.packages == (
        Package(name="by-variable", version="1", imported=None),
        Package(name="only-there", version="3", imported=None),
    )
    assert files["requirements.txt"].decode() == f"{HEAD}by-variable==1\nonly-there==3\n"


def test_a_conda_environment(tmp_path: Path) -> None:
    prefix = tmp_path / "conda"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "conda-meta").mkdir()
    (prefix / "conda-meta" / "python-3.10.4-h1_0.json").write_text('{\n  "channel": "conda-forge"\n}\n')
    install(prefix / "lib", "from-conda", "1", source={"dir_info": {}, "url": "file:///x"}, installer="conda")
    facts = {"implementation": "CPython", "version": "3.10.4", "banner": "3.10.4 x", "path": [str(prefix / "lib")]}
    answer = json.dumps(facts | {"prefix": str(prefix), "base_prefix": str(prefix)})
    (prefix / "bin" / "python").write_text(f"#!/bin/sh\nprintf '%s\\n' '{answer}'\n")
    (prefix / "bin" / "python").chmod(0o755)
    found, files, _ = observe(tmp_path, in_process=False, python=str(prefix))
    assert [(each.name, each.version, each.channel) for each in found.conda] == [("python", "3.10.4", "conda-forge")]
    assert found.python is not None
    assert found.python.kind == "conda"
    assert list(files) == ["requirements.txt"]
    assert files["requirements.txt"].endswith(b"\nfrom-conda==1\n")


def test_no_interpreter(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").write_text('[[package]]\nname = "lib"\nversion = "1"\n')
    found, files, unknown = observe(tmp_path, in_process=False, python=str(tmp_path / "nowhere"))
    assert (found.python, found.packages, found.conda, files) == (None, (), (), {})
    assert found.lockfiles[0].differs is None
    assert list(unknown) == ["code.environment"]
