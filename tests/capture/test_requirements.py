"""requirements.txt and requirements-vcs.txt, and that pip installs from them again."""

import base64
import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from sites import editable, install, installed

from ckptkit.capture import requirements
from ckptkit.record import CodeState, Editable

COMMIT, SHA256 = "c" * 40, "ab" * 32
HEAD = "# Python 3.11.7; every distribution that came from an index, ckptkit itself aside\n"


def files(site: Path, project: Path, *editables: Editable) -> dict[str, str]:
    found = requirements.files(installed(site), editables, python="3.11.7", project=project)
    return {name: text.decode() for name, text in found.items()}


def test_pins(tmp_path: Path) -> None:
    install(tmp_path, "zeta", "1.0.post1")
    install(tmp_path, "Alpha.Beta", "2.0+cpu")
    install(tmp_path, "torch", "2.14.1")
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "version.py").write_text("__version__ = '2.14.1+cu130'\n")
    install(tmp_path, "gpg", "1.16-unknown")
    install(tmp_path, "two words", "1")
    assert files(tmp_path, tmp_path) == {
        "requirements.txt": (
            f"{HEAD}"
            "# the next one is a build that only the index of its label +cpu has: --extra-index-url\n"
            "Alpha.Beta==2.0+cpu\n"
            "# gpg 1.16-unknown: no name and version that an index could have\n"
            "torch==2.14.1\n"
            "# two words 1: no name and version that an index could have\n"
            "zeta==1.0.post1\n"
        )
    }


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def pushed(folder: Path) -> str:
    """A git repository with one commit, which is returned, and on a remote."""
    (folder / "python").mkdir(parents=True)
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    git(folder, "update-ref", "refs/remotes/origin/main", "HEAD")
    return git(folder, "rev-parse", "HEAD")


VCS = {"vcs_info": {"vcs": "git", "commit_id": COMMIT}}


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (
            {"url": "https://ada:s3cret@example.org/lib.git", **VCS, "subdirectory": "py"},
            f"lib @ git+https://example.org/lib.git@{COMMIT}#subdirectory=py",
        ),
        ({"url": "ssh://git@example.org/lib", **VCS}, f"lib @ git+ssh://git@example.org/lib@{COMMIT}"),
        (
            {"url": "https://example.org/lib", "vcs_info": {"vcs": "hg", "commit_id": COMMIT}},
            f"lib @ hg+https://example.org/lib@{COMMIT}",
        ),
        ({"url": "file:///home/ada/lib", **VCS}, f"# lib 1: installed from a local repository, commit {COMMIT}"),
        (
            {"url": "https://example.org/lib-1.whl", "archive_info": {"hashes": {"sha256": SHA256}}},
            f"lib @ https://example.org/lib-1.whl#sha256={SHA256}",
        ),
        (
            {"url": "https://example.org/lib.zip", "archive_info": {}, "subdirectory": "py"},
            "lib @ https://example.org/lib.zip#subdirectory=py",
        ),
        (
            {"url": "file:///home/ada/lib-1.whl", "archive_info": {"hashes": {"sha256": SHA256}}},
            f"# lib 1: installed from a local archive, sha256:{SHA256}",
        ),
        ({"url": "file:///a/lib-1.whl", "archive_info": {}}, "# lib 1: installed from a local archive"),
        (
            {"url": "file:///home/ada/lib", "dir_info": {}},
            "# lib 1: installed from a local folder, of which nothing more is known",
        ),
        (
            {"url": "https://example.org/lib", "vcs_info": {"vcs": "git", "commit_id": "x\n-r other.txt"}},
            "# lib 1: no address that can be given to pip: git+https://example.org/lib@x -r other.txt",
        ),
    ],
)
def test_what_no_index_has(tmp_path: Path, source: dict[str, Any], line: str) -> None:
    install(tmp_path, "lib", "1", source=source)
    found = files(tmp_path, tmp_path)
    assert found["requirements.txt"] == HEAD
    *head, last = found["requirements-vcs.txt"].splitlines()
    assert last == line
    assert head[1:] == [f"#   pip install --no-deps -r {name}" for name in found]


@pytest.mark.parametrize(
    ("url", "commit", "dirty", "line"),
    [
        ("git@example.org:team/lib.git", COMMIT, False, f"lib @ git+ssh://git@example.org/team/lib.git@{COMMIT}"),
        ("https://example.org/lib", COMMIT, False, f"lib @ git+https://example.org/lib@{COMMIT}"),
        ("https://example.org/lib", COMMIT, True, f"# lib 1: editable, changed since its commit {COMMIT}: ~/lib"),
        ("https://example.org/lib", None, None, "# lib 1: editable, the state of its code is not known: ~/lib"),
        (None, COMMIT, False, f"# lib 1: editable, its repository has no remote; commit {COMMIT}: ~/lib"),
        ("local", COMMIT, False, f"# lib 1: editable, its repository has no remote; commit {COMMIT}: ~/lib"),
    ],
)
@pytest.mark.parametrize("below", ["", "/python"])
def test_editable_ones(
    tmp_path: Path, url: str | None, commit: str | None, *, dirty: bool, line: str, below: str
) -> None:
    real = pushed(tmp_path / "lib")
    line = line.replace(COMMIT, real)
    install(tmp_path / "site", "lib", "1", source=editable(Path(f"{tmp_path}/lib{below}")))
    code = CodeState(commit=commit and real, dirty=dirty, tree=None)
    found = Editable(name="lib", version="1", path="~/lib", outside=False, url=url, code=code)
    subdirectory = "#subdirectory=python" if below and not line.startswith("#") else ""
    text = files(tmp_path / "site", tmp_path / "project", found)["requirements-vcs.txt"]
    assert text.splitlines()[-1] == line + subdirectory


def test_an_editable_one_whose_commit_is_on_no_remote(tmp_path: Path) -> None:
    commit = pushed(tmp_path / "lib")
    git(tmp_path / "lib", "update-ref", "-d", "refs/remotes/origin/main")
    install(tmp_path / "site", "lib", "1", source=editable(tmp_path / "lib"))
    code = CodeState(commit=commit, dirty=False, tree=None)
    found = Editable(name="lib", version="1", path="~/lib", outside=False, url="https://example.org/lib", code=code)
    assert files(tmp_path / "site", tmp_path, found)["requirements-vcs.txt"].splitlines()[-1] == (
        f"# lib 1: editable, its commit {commit} is not known to be on a remote: ~/lib"
    )


def test_editable_ones_without_a_repository_of_their_own(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    for name, folder in (("far", tmp_path / "far"), ("mine", project), ("part", project / "libs" / "part")):
        install(tmp_path / "site", name, "1", source=editable(folder))
    names = {"far": "far", "mine": ".", "part": "libs/part"}
    found = [Editable(name=name, version="1", path=path, outside=False) for name, path in names.items()]
    assert files(tmp_path / "site", project, *found)["requirements-vcs.txt"].splitlines()[3:] == [
        "# far 1: editable, in a folder without git: far",
        "# mine 1: editable, the code of this record: pip install -e .",
        "# part 1: editable, the code of this record: pip install -e libs/part",
    ]


def wheel(folder: Path, name: str, version: str) -> Path:
    """A small wheel of one module."""
    info = f"{name}-{version}.dist-info"
    contents = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for path, text in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(text)}\n")
    contents[f"{info}/RECORD"] = "".join([*lines, f"{info}/RECORD,,\n"])
    folder.mkdir(exist_ok=True)
    out = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(out, "w") as archive:
        for path, text in contents.items():
            archive.writestr(path, text)
    return out


def environment(folder: Path) -> Path:
    """A fresh environment with pip; returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    return folder / "bin" / "python"


def pip(python: Path, *words: str) -> None:
    command = [str(python), "-m", "pip", "--isolated", "--disable-pip-version-check", *words]
    subprocess.run(command, check=True, capture_output=True)


def versions(site: Path) -> dict[str, str]:
    return {each.key: each.version for each in installed(site) if each.key not in {"pip", "setuptools"}}


def test_pip_installs_the_environment_again(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    for name, version in (("alpha_beta", "1.0"), ("alpha_beta", "2.0"), ("labelled", "1.2+cpu")):
        wheel(wheels, name, version)
    local = wheel(tmp_path / "elsewhere", "loose", "3.0")
    first = environment(tmp_path / "first")
    index = ("install", "--no-deps", "--no-index", "--find-links", str(wheels))
    pip(first, *index, "alpha-beta==1.0", "labelled", str(local))
    site = next((tmp_path / "first" / "lib").glob("python3*/site-packages"))
    found = [each for each in installed(site) if each.key not in {"pip", "setuptools"}]
    for name, text in requirements.files(found, (), python="3", project=tmp_path).items():
        (tmp_path / name).write_bytes(text)
    assert json.loads((next(site.glob("loose-*")) / "direct_url.json").read_text())["archive_info"]
    second = environment(tmp_path / "second")
    pip(second, *index, "-r", str(tmp_path / "requirements.txt"))
    pip(second, *index, "-r", str(tmp_path / "requirements-vcs.txt"))
    again = next((tmp_path / "second" / "lib").glob("python3*/site-packages"))
    assert versions(again) == {"alpha-beta": "1.0", "labelled": "1.2+cpu"}
    assert versions(site) == versions(again) | {"loose": "3.0"}
