"""The environment probe, on real virtual environments with distributions written by hand."""

import hashlib
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from ckptkit.capture import packages
from ckptkit.record import Editable, Environment, Lockfile, Package

VERSION = ".".join(map(str, sys.version_info[:3]))


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of distributions, the only one on the path of this process beside the standard library."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder), *(each for each in sys.path if "site-packages" not in each)])
    return folder


def install(site: Path, name: str, version: str, *, files: str = "", **others: str) -> Path:
    """Write a distribution; files to record are separated by blanks, others are files of its metadata."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    header = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense: MIT\n        Name: not this\n"
    (info / "METADATA").write_text(f"{header}\nName: in the text\nVersion: 0\n")
    if files:
        (info / "RECORD").write_text("".join(f"{file},sha256=x,1\n" for file in files.split()))
    for key, text in others.items():
        (info / {"top_level": "top_level.txt", "direct_url": "direct_url.json"}[key]).write_text(text)
    return info


def load(monkeypatch: pytest.MonkeyPatch, name: str, file: Path | None) -> None:
    module = types.ModuleType(name)
    if file:
        module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, name, module)


def observe(
    project: Path, *, python: str | None = None, in_process: bool = True
) -> tuple[Environment, str, dict[str, str]]:
    unknown: dict[str, str] = {}
    found, text = packages.environment(python=python, in_process=in_process, project=project, unknown=unknown)
    assert Environment.from_dict(found.to_dict()) == found
    return found, text, unknown


def versions(found: Environment) -> dict[str, str]:
    return {each.name: each.version for each in found.packages}


def test_every_distribution_is_pinned(site: Path, tmp_path: Path) -> None:
    install(site, "zeta", "1.0")
    install(site, "Alpha.Beta", "2.0+cu130")
    install(site, "ckptkit-lineage", "0.1.0")
    (site / "old.egg-info").mkdir()
    (site / "old.egg-info" / "PKG-INFO").write_text("Name: old\r\nVersion: 0.9\r\n\r\n")
    (site / "older-0.1.egg-info").write_text("Name: older\nVersion: 0.1\n")
    found, text, unknown = observe(tmp_path)
    assert unknown == {}
    assert text == (
        f"# Python {VERSION}; every distribution installed, ckptkit itself aside\n"
        "Alpha.Beta==2.0+cu130\nold==0.9\nolder==0.1\nzeta==1.0\n"
    )
    assert found.source == "this process"
    assert found.requirements == "requirements.txt"
    assert [each.name for each in found.packages] == ["Alpha.Beta", "old", "older", "zeta"]
    assert found.python is not None
    assert (found.python.implementation, found.python.version) == ("CPython", VERSION)
    assert f"{VERSION} {found.python.build}" == " ".join(sys.version.split())


def test_the_first_on_the_path_wins(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second = tmp_path / "second"
    install(site, "Py_YAML", "2")
    install(second, "py-yaml", "1")
    monkeypatch.setattr(sys, "path", [*sys.path, str(second)])
    found, _, unknown = observe(tmp_path)
    assert (versions(found), unknown) == ({"Py_YAML": "2"}, {})


def test_broken_distributions_are_named(site: Path, tmp_path: Path) -> None:
    install(site, "good", "1")
    (site / "empty-1.dist-info").mkdir()
    (site / "binary-1.dist-info").mkdir()
    (site / "binary-1.dist-info" / "METADATA").write_bytes(b"Name: \xff\xfe\nVersion: 1\n\n")
    (site / "nameless-1.dist-info").mkdir()
    (site / "nameless-1.dist-info" / "METADATA").write_text("Version: 1\n\nName: late\n")
    install(site, "torn", "1", direct_url="{")
    install(site, "~ood", "0.9")
    install(site, "twice", "1")
    install(site, "twice", "2")
    found, text, unknown = observe(tmp_path)
    assert set(versions(found)) == {"good", "twice"}
    assert "good==1\n" in text
    reasons = unknown["code.environment.packages"].split("; ")
    for name in ("empty-1", "binary-1", "nameless-1", "torn-1"):
        assert f"{name}.dist-info has no name or version" in reasons
    assert "~ood-0.9.dist-info is what pip left behind" in reasons
    assert reasons[-2] in {"twice is there as 1 and as 2", "twice is there as 2 and as 1"}


def test_which_are_imported(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "by-name", "1", files="by_name/__init__.py")
    install(site, "Other", "1", top_level="by_top\n_by_top\n")
    install(site, "recorded", "1", files="by_record/__init__.py")
    install(site, "single", "1", files="by_file.cpython-311-x86_64-linux-gnu.so")
    install(site, "idle", "1", files="idle/__init__.py", top_level="idle\n")
    install(site, "shared-used", "1", files="shared/used/__init__.py", top_level="shared\n")
    install(site, "shared-idle", "1", files="shared/idle/__init__.py", top_level="shared\n")
    install(site, "protocols", "1", files="shared/protocols/deep/__init__.py", top_level="shared\n")
    install(site, "starter", "1", files="_distutils_hack/__init__.py", top_level="_distutils_hack\n")
    install(site, "elsewhere", "1", files="elsewhere/__init__.py")
    load(monkeypatch, "by_name", site / "by_name" / "__init__.py")
    load(monkeypatch, "_by_top", site / "_by_top.py")
    load(monkeypatch, "by_record", site / "by_record" / "__init__.py")
    load(monkeypatch, "by_file", site / "by_file.cpython-311-x86_64-linux-gnu.so")
    load(monkeypatch, "shared", None)
    load(monkeypatch, "shared.used", site / "shared" / "used" / "__init__.py")
    load(monkeypatch, "shared.protocols", None)
    load(monkeypatch, "shared.protocols.deep", site / "shared" / "protocols" / "deep" / "__init__.py")
    load(monkeypatch, "_distutils_hack", site / "_distutils_hack" / "__init__.py")
    load(monkeypatch, "elsewhere", tmp_path / "elsewhere.py")
    monkeypatch.setitem(sys.modules, "strange", None)
    found, _, unknown = observe(tmp_path)
    used = {each.name for each in found.packages if each.imported}
    assert used == {"by-name", "Other", "recorded", "single", "shared-used", "protocols"}
    assert {each.imported for each in found.packages} == {True, False}
    assert unknown == {}


def test_this_process_as_it_is(tmp_path: Path) -> None:
    found, _, _ = observe(tmp_path)
    assert {each.name: each.imported for each in found.packages}["pytest"] is True


def test_editable_distributions(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    library = tmp_path / "home" / "my lib"
    for name, folder in (("mine", project), ("lib", library), ("far", tmp_path / "far")):
        direct_url = json.dumps({"dir_info": {"editable": True}, "url": folder.as_uri()})
        install(site, name, "1", direct_url=direct_url)
    install(site, "copied", "1", direct_url=json.dumps({"dir_info": {}, "url": library.as_uri()}))
    install(site, "ckptkit_lineage", "1", direct_url=json.dumps({"dir_info": {"editable": True}, "url": "file:///x"}))
    source = tmp_path / "project" / "src"
    (source / "mine.egg-info").mkdir(parents=True)
    (source / "mine.egg-info" / "PKG-INFO").write_text("Name: mine\nVersion: 1.1\n\n")
    monkeypatch.setattr(sys, "path", [str(source), *sys.path])
    load(monkeypatch, "anything", library / "src" / "anything.py")
    found, _, _ = observe(project)
    assert found.editable == (
        Editable(name="far", version="1", path="far", outside=True),
        Editable(name="lib", version="1", path="~/my lib", outside=False),
        Editable(name="mine", version="1.1", path=".", outside=False),
    )
    assert Package(name="lib", version="1", imported=True) in found.packages
    assert Package(name="far", version="1", imported=False) in found.packages


def venv(folder: Path) -> Path:
    """A virtual environment; returns its site-packages."""
    words = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    subprocess.run(words, check=True, capture_output=True)
    return next(folder.glob("lib/python3*/site-packages"))


def test_another_process_trained_in_a_virtual_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(venv(tmp_path / "home" / "env"), "only-there", "3")
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "home" / "env"))
    monkeypatch.setenv("CONDA_PREFIX", str(tmp_path / "nowhere"))
    (tmp_path / "json.py").write_text("raise SystemExit('imported from the working directory')\n")
    monkeypatch.chdir(tmp_path)
    found, text, unknown = observe(tmp_path, in_process=False)
    assert unknown == {}
    assert found.source == "$VIRTUAL_ENV"
    assert found.packages == (Package(name="only-there", version="3", imported=None),)
    assert text.endswith("\nonly-there==3\n")
    assert found.python is not None
    assert (found.python.version, found.python.kind) == (VERSION, "virtual environment")
    for given in ("env", "env/bin/python"):
        found, _, unknown = observe(tmp_path, in_process=False, python=str(tmp_path / "home" / given))
        assert found.source == f"--python ~/{given}"
        assert versions(found) == {"only-there": "3"}


def test_what_training_saw_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv(tmp_path / "env")
    install(tmp_path / "extra", "by-variable", "1")
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "env"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "extra"))
    found, _, _ = observe(tmp_path, in_process=False)
    assert versions(found) == {"by-variable": "1"}


def test_a_conda_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = tmp_path / "conda"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "conda-meta").mkdir()
    install(prefix / "lib", "from-conda", "1")
    banner = "3.10.4 | packaged by conda-forge | (main) \n[GCC 10.3.0]"
    facts = {"implementation": "CPython", "version": "3.10.4", "banner": banner, "path": [str(prefix / "lib")]}
    answer = json.dumps(facts | {"prefix": str(prefix), "base_prefix": str(prefix)})
    (prefix / "bin" / "python").write_text(f"#!/bin/sh\necho a greeting\nprintf '%s\\n' '{answer}'\n")
    (prefix / "bin" / "python").chmod(0o755)
    monkeypatch.setenv("CONDA_PREFIX", str(prefix))
    found, text, _ = observe(tmp_path, in_process=False)
    assert found.source == "$CONDA_PREFIX"
    assert found.python is not None
    assert (found.python.version, found.python.kind) == ("3.10.4", "conda")
    assert found.python.build == "| packaged by conda-forge | (main) [GCC 10.3.0]"
    assert text == "# Python 3.10.4; every distribution installed, ckptkit itself aside\nfrom-conda==1\n"


def test_the_own_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, _, unknown = observe(tmp_path, in_process=False)
    assert (own.source, unknown) == ("the interpreter of ckptkit", {})
    assert {each.imported for each in own.packages} == {None}
    monkeypatch.setattr(packages, "_FACTS", "raise SystemExit('a child was started')")
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    found, _, unknown = observe(tmp_path, in_process=False)
    if Path(sys.prefix, "bin", "python").exists():
        assert (found.source, unknown) == ("$VIRTUAL_ENV", {})
        assert found.packages == own.packages


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
    monkeypatch.setattr(packages, "SECONDS", 0.3)
    (tmp_path / "bin").mkdir()
    if script:
        (tmp_path / "bin" / "python").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / "python").chmod(0o755)
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path))
    found, text, unknown = observe(tmp_path, in_process=False)
    assert found.source == "the interpreter of ckptkit, as that of $VIRTUAL_ENV does not work"
    assert unknown == {"code.environment.source": f"$VIRTUAL_ENV: {why}"}
    assert found.packages
    assert text
    found, text, unknown = observe(tmp_path, in_process=False, python=str(tmp_path / "bin" / "python"))
    assert (found.source, found.python, found.requirements) == ("--python bin/python", None, None)
    assert (found.packages, text) == ((), "")
    assert unknown == {"code.environment": f"--python bin/python: {why}"}


def test_lock_files(tmp_path: Path) -> None:
    names = ("Pipfile.lock", "pylock.gpu.toml", "pylock.toml", "requirements-dev.lock", "uv.lock")
    for name in (*names, "package-lock.json", "pyproject.toml", "my-uv.lock"):
        (tmp_path / name).write_text(name)
    os.mkfifo(tmp_path / "pdm.lock")
    (tmp_path / "poetry.lock").mkdir()
    found, _, unknown = observe(tmp_path)
    assert found.lockfiles == tuple(
        Lockfile(path=name, sha256=hashlib.sha256(name.encode()).hexdigest()) for name in names
    )
    assert unknown == {
        "code.environment.lockfiles": "pdm.lock is not a regular file; poetry.lock is not a regular file"
    }
    assert "lockfiles" in str(observe(tmp_path / "nowhere")[2])
