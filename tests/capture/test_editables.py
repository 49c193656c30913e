"""Editable distributions and the state of their repositories."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from sites import editable, install, installed

from ckptkit.capture.editables import editables, top, unpushed


def repository(folder: Path, remote: str | None = None) -> str:
    """A git repository with one commit, which is returned."""
    (folder / "python").mkdir(parents=True)
    (folder / "python" / "lib.py").write_text("x = 1\n")
    words = [["init", "-q"], ["add", "."], ["commit", "-qm", "first"]]
    for each in (*words, *([["remote", "add", "origin", remote]] if remote else [])):
        subprocess.run(["git", *each], cwd=folder, check=True, capture_output=True)
    out = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True)
    return out.stdout.strip()


def test_where_they_lie_and_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    monkeypatch.setenv("HOME", str(home))
    project.mkdir()
    commit = repository(home / "my lib", "https://ada:s3cret@example.org/lib.git")
    (home / "my lib" / "python" / "lib.py").write_text("x = 2\n")
    for name, folder in (("lib", home / "my lib"), ("part", home / "my lib" / "python"), ("far", tmp_path / "far")):
        install(tmp_path / "site", name, "1", source=editable(folder))
    unknown: dict[str, str] = {}
    far, lib, part = editables(installed(tmp_path / "site"), project, unknown)
    assert unknown == {}
    assert (far.path, far.outside, far.url, far.code) == ("far", True, None, None)
    assert (lib.path, lib.outside, lib.url) == ("~/my lib", False, "https://example.org/lib.git")
    assert lib.code is not None
    assert (lib.code.commit, lib.code.dirty) == (commit, True)
    assert (part.path, part.url, part.code) == ("~/my lib/python", lib.url, lib.code)


def test_the_project_is_not_asked(tmp_path: Path) -> None:
    repository(tmp_path / "project", "https://example.org/project.git")
    for name, folder in (("mine", tmp_path / "project"), ("part", tmp_path / "project" / "python")):
        install(tmp_path / "site", name, "1", source=editable(folder))
    found = editables(installed(tmp_path / "site"), tmp_path / "project" / "python", {})
    assert [(each.path, each.url, each.code) for each in found] == [("project", None, None), (".", None, None)]


def test_what_the_installation_left_is_no_change(tmp_path: Path) -> None:
    repository(tmp_path / "lib", "https://example.org/lib.git")
    for name, folder in (("lib", "lib"), ("part", "lib/python")):
        install(tmp_path / "site", name, "1", source=editable(tmp_path / folder))
        for made in (tmp_path / folder / f"{name}.egg-info", tmp_path / folder / "src" / f"{name}.egg-info"):
            made.mkdir(parents=True)
            (made / "PKG-INFO").write_text("made\n")
    found = editables(installed(tmp_path / "site"), tmp_path, {})
    assert [each.code and each.code.dirty for each in found] == [False, False]


def test_whether_a_commit_is_on_a_remote(tmp_path: Path) -> None:
    commit = repository(tmp_path / "lib", "https://example.org/lib.git")
    assert unpushed(tmp_path / "lib" / "python", commit) is True
    subprocess.run(["git", "update-ref", "refs/remotes/origin/main", commit], cwd=tmp_path / "lib", check=True)
    assert unpushed(tmp_path / "lib" / "python", commit) is False
    subprocess.run(["git", "clone", "-q", tmp_path / "lib", tmp_path / "clone"], check=True)
    assert unpushed(tmp_path / "clone", commit) is False
    subprocess.run(["git", "commit", "-q", "--allow-empty", "-m", "second"], cwd=tmp_path / "clone", check=True)
    assert unpushed(tmp_path / "clone", "HEAD") is True
    assert unpushed(tmp_path, commit) is None


def test_a_repository_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / ".git").write_text("gitdir: /nowhere\n")
    install(tmp_path / "site", "My.Lib", "1", source=editable(tmp_path / "lib"))
    unknown: dict[str, str] = {}
    (found,) = editables(installed(tmp_path / "site"), tmp_path, unknown)
    assert (found.url, found.code) == (None, None)
    assert list(unknown) == ["code.environment.editable.my-lib"]


def test_one_repository_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository(tmp_path / "lib")
    log, script = tmp_path / "log", tmp_path / "bin" / "git"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\necho asked >> "{log}"\nexec "{shutil.which("git")}" "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
    asked = []
    for name in ("one", "two"):
        install(tmp_path / "site", name, "1", source=editable(tmp_path / "lib"))
        log.write_text("")
        found = editables(installed(tmp_path / "site"), tmp_path, {})
        assert {each.code and each.code.dirty for each in found} == {False}
        asked.append(log.read_text())
    assert asked[0] == asked[1] != ""


def test_the_top_of_a_work_tree(tmp_path: Path) -> None:
    (tmp_path / "real" / ".git").mkdir(parents=True)
    (tmp_path / "real" / "module" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "module" / ".git").write_text("gitdir: ../.git/modules/module\n")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert top(tmp_path / "link") == str(tmp_path / "real")
    assert top(tmp_path / "link" / "module" / "deep") == str(tmp_path / "real" / "module")
