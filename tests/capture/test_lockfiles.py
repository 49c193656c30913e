"""Lock files of every kind, against what is installed."""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from ckptkit.capture.lockfiles import lockfiles
from ckptkit.record import CondaPackage, LockDifference, Lockfile, Origin, Package

INSTALLED = (
    Package(name="numpy", version="2.4.6", imported=True),
    Package(name="PyYAML", version="6.0", imported=False),
    Package(name="torch", version="2.14.1", local="2.14.1+cu130", imported=True),
    Package(name="idle", version="1", imported=False, mapped=False),
)
CONDA = (CondaPackage(name="openssl", version="3.5.0", build="h1_0", channel="conda-forge", sha256=None, md5=None),)
WHEELS = 'wheels = [\n    { url = "https://example.org/x.whl", hash = "sha256:00" },\n]\n'
UV = f"""\
version = 1
requires-python = ">=3.11"

[[package]]
name = "numpy"
version = "2.4.5"
source = {{ registry = "https://example.org/simple" }}
{WHEELS}
[[package]]
name = "project"
source = {{ editable = "." }}

[package.metadata]
version = "not this"

[[package]]
name = "pyyaml"
version = "6.0.0"

[[package]]
name = "torch"
version = "2.14.1"
resolution-markers = ["sys_platform == 'darwin'"]

[[package]]
name = "torch"
version = "2.14.1+cu130"

[[package]]
name = "colorama"
version = "0.4.6"
"""
POETRY_1 = """\
[[package]]
category = "main"
description = "name = 'not this'"
name = "numpy"
optional = false
version = "2.4.5"

[package.dependencies]
name = "not this"

[[package]]
name = "PyYAML"
version = "6.0"

[[package]]
name = "torch"
version = "2.14.1"

[metadata]
lock-version = "1.1"
"""
PYLOCK = f"""\
lock-version = "1.0"
created-by = "pip"

[[packages]]
name = "numpy"
version = "2.4.5"
{WHEELS}
[[packages]]
name = "pyyaml"
version = "6.0"

[[packages]]
name = "torch"
version = "2.14.1+cu130"
"""
PIPFILE = json.dumps(
    {
        "_meta": {"hash": {"sha256": "00"}, "sources": [{"name": "not-this", "version": "==0"}]},
        "default": {"numpy": {"version": "==2.4.5"}, "torch": {"version": "==2.14.1"}, "lib": {"git": "https://x"}},
        "develop": {"pyyaml": {"version": "==6.0"}},
    }
)
REQUIREMENTS = """\
# numpy==0
--index-url https://example.org/simple
numpy[extra]==2.4.5 ; python_version < "3.12" \\
    --hash=sha256:00
pyyaml == 6.0 --hash=sha256:00
torch==2.14.1
"""
CONDA_LOCK = """\
version: 1
metadata:
  channels:
  - url: conda-forge
package:
- name: openssl
  version: 3.4.0
  manager: conda
  platform: linux-64
  dependencies:
    name: not-this
- name: numpy
  version: '2.4.5'
  manager: pip
- category: main
  manager: conda
  name: numpy
  version: 1.0
"""
PIXI = """\
version: 6
environments:
  default:
    packages:
      linux-64:
      - conda: https://conda.example.org/conda-forge/linux-64/openssl-3.4.0-h7b32b05_1.conda
      - pypi: https://files.example.org/numpy-2.4.5-cp311.whl
packages:
- conda: https://conda.example.org/conda-forge/linux-64/openssl-3.4.0-h7b32b05_1.conda
  sha256: '00'
  depends:
  - name
- pypi: https://files.example.org/numpy-2.4.5-cp311.whl
  name: numpy
  version: 2.4.5
  sha256: '00'
"""
NUMPY = LockDifference(name="numpy", locked=("2.4.5",), installed="2.4.6")
OPENSSL = LockDifference(name="openssl", locked=("3.4.0",), installed="3.5.0")


def look(
    project: Path,
    files: dict[str, str],
    packages: Sequence[Package] | None = INSTALLED,
    ours: frozenset[str] = frozenset(),
) -> tuple[tuple[Lockfile, ...], dict[str, str]]:
    for name, text in files.items():
        (project / name).write_text(text)
    unknown: dict[str, str] = {}
    return lockfiles(project, packages, CONDA, ours=ours, unknown=unknown), unknown


@pytest.mark.parametrize(
    ("name", "text", "differs"),
    [
        ("uv.lock", UV, (NUMPY,)),
        ("uv.lock", UV.replace("\n", "\r\n"), (NUMPY,)),
        ("pdm.lock", UV, (NUMPY,)),
        ("poetry.lock", POETRY_1, (NUMPY,)),
        ("pylock.toml", PYLOCK, (NUMPY,)),
        ("pylock.gpu.toml", PYLOCK, (NUMPY,)),
        ("Pipfile.lock", PIPFILE, (NUMPY,)),
        ("requirements-dev.lock", REQUIREMENTS, (NUMPY,)),
        ("conda-lock.yml", CONDA_LOCK, (NUMPY, OPENSSL)),
        ("pixi.lock", PIXI, (NUMPY, OPENSSL)),
        ("uv.lock", UV.replace("2.4.5", "2.4.6"), ()),
    ],
)
def test_where_a_lock_file_disagrees(tmp_path: Path, name: str, text: str, differs: tuple[LockDifference, ...]) -> None:
    found, unknown = look(tmp_path, {name: text})
    digest = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    assert found == (Lockfile(path=name, sha256=digest, differs=differs),)
    assert unknown == {}


@pytest.mark.parametrize(
    ("locked", "installed", "agree"),
    [
        ("1.0", "1", True),
        ("1.0.0rc1", "1-rc.1", True),
        ("2024.1.2", "2024.01.02", True),
        ("2.13.0+cpu", "2.13.0+cpu", True),
        ("2.13.0", "2.13.0+cpu", False),
        ("1.0", "1.0.1", False),
        ("1.10", "1.1", False),
        ("10", "1.0", False),
    ],
)
def test_versions_that_are_one(tmp_path: Path, locked: str, installed: str, *, agree: bool) -> None:
    packages = (Package(name="lib", version=installed, imported=True),)
    (found,), _ = look(tmp_path, {"requirements.lock": f"lib=={locked}\n"}, packages)
    assert (found.differs == ()) is agree


def test_what_took_part_and_no_lock_file_names(tmp_path: Path) -> None:
    packages = (
        *INSTALLED,
        Package(name="Added.By-hand", version="3", imported=True),
        Package(name="nvidia-added", version="4", imported=False, mapped=True),
        Package(name="mine", version="5", imported=True),
        Package(name="ruff", version="6", imported=True),
        Package(name="unobserved", version="7", imported=None),
    )
    files = {"pylock.toml": PYLOCK.replace("2.4.5", "2.4.6"), "requirements-dev.lock": "ruff==6\n"}
    found, _ = look(tmp_path, files, packages, frozenset({"mine"}))
    added = (
        LockDifference(name="Added.By-hand", locked=(), installed="3"),
        LockDifference(name="nvidia-added", locked=(), installed="4"),
    )
    assert [each.differs for each in found] == [added, added]


COMMIT, OTHER = "c" * 40, "0d" * 20


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("uv.lock", '[[package]]\nname = "lib"\nversion = "1.2"\nsource = {{ git = "https://x/lib?rev=main#{0}" }}\n'),
        ("poetry.lock", '[[package]]\nname = "lib"\nversion = "1.2"\n\n[package.source]\nresolved_reference = "{0}"\n'),
        ("pdm.lock", '[[package]]\nname = "lib"\nversion = "1.2"\ngit = "https://x/lib"\nrevision = "{0}"\n'),
        ("pylock.toml", '[[packages]]\nname = "lib"\n\n[packages.vcs]\ncommit-id = "{0}"\n'),
        ("pylock.uv.toml", '[[packages]]\nname = "lib"\nvcs = {{ type = "git", commit-id = "{0}" }}\n'),
        ("Pipfile.lock", '{{"default": {{"lib": {{"git": "https://x/lib", "ref": "{0}"}}}}}}'),
        ("requirements.lock", "lib[all] @ git+ssh://git@x/lib@{0}#subdirectory=py ; python_version > '3'\n"),
    ],
)
def test_what_is_locked_by_its_commit(tmp_path: Path, name: str, text: str) -> None:
    origin = Origin(kind="vcs", url="local", commit=COMMIT, sha256=None, subdirectory=None)
    packages = (Package(name="lib", version="1.2", imported=True, origin=origin),)
    for locked, differs in {
        COMMIT: (),
        OTHER: (LockDifference(name="lib", locked=(OTHER,), installed=COMMIT),),
    }.items():
        (found,), unknown = look(tmp_path, {name: text.format(locked)}, packages)
        assert (found.differs, unknown) == (differs, {})
        (found,), _ = look(tmp_path, {}, packages, frozenset({"lib"}))
        assert found.differs == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("uv.lock", '[[package]]\nname = "lib"\nsource = { directory = "lib" }\n'),
        ("pylock.toml", '[[packages]]\nname = "lib"\n\n[[packages.wheels]]\nname = "lib-1-py3-none-any.whl"\n'),
        ("Pipfile.lock", '{"default": {"lib": {"path": "lib"}}}'),
        ("requirements.lock", "lib @ https://example.org/lib-1.whl\n"),
    ],
)
def test_what_is_locked_without_a_version(tmp_path: Path, name: str, text: str) -> None:
    (found,), unknown = look(tmp_path, {name: text}, (Package(name="lib", version="1", imported=True),))
    assert (found.differs, unknown) == ((), {})


def test_what_is_not_compared(tmp_path: Path) -> None:
    files = {"uv.lock": "version = 1\n", "Pipfile.lock": "{", "pylock.toml": PYLOCK, "my-uv.lock": "", "x.toml": ""}
    os.mkfifo(tmp_path / "pdm.lock")
    (tmp_path / "poetry.lock").mkdir()
    found, unknown = look(tmp_path, files)
    assert {each.path: each.differs for each in found} == {
        "Pipfile.lock": None,
        "pylock.toml": (NUMPY,),
        "uv.lock": None,
    }
    assert unknown["code.environment.lockfiles"].split("; ")[1:] == [
        "pdm.lock is not a regular file",
        "poetry.lock is not a regular file",
        "uv.lock locks nothing that can be compared",
    ]
    assert "Pipfile.lock JSONDecodeError" in unknown["code.environment.lockfiles"]
    found, _ = look(tmp_path, {}, None)
    assert {each.differs for each in found} == {None}
    assert "lockfiles" in str(look(tmp_path / "nowhere", {})[1])


def test_a_large_lock_file_is_quick(tmp_path: Path) -> None:
    blocks = (f'[[package]]\nname = "lib-{i}"\nversion = "1.{i}"\n' + WHEELS * 40 for i in range(400))
    packages = [Package(name=f"lib_{i}", version="1.7", imported=True) for i in range(400)]
    files = {"uv.lock": "\n".join(blocks)}
    look(tmp_path, files, packages)
    assert (tmp_path / "uv.lock").stat().st_size > 1 << 20
    start = time.process_time()
    (found,) = lockfiles(tmp_path, packages, (), ours=frozenset(), unknown={})
    assert time.process_time() - start < 0.1  # takes 0.01; tomllib alone takes more than 0.1
    assert found.differs is not None
    assert len(found.differs) == 399
