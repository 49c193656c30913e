"""The git probe, on real repositories with a private configuration."""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import repositories
from repositories import applied, git, modify, observe, on_disk

from ckptkit.capture import repository as calls
from ckptkit.capture.git import worktree

home, repo = repositories.home, repositories.repo


def test_remotes_and_what_is_not_pushed(repo: Path) -> None:
    repository, _, unknown = observe(repo)
    assert (repository.url, repository.unpushed) == (None, None)
    assert unknown == dict.fromkeys(["code.repository.url", "code.repository.unpushed"], "it has no remote")
    git(repo.parent, "init", "-q", "--bare", "far.git")
    git(repo, "remote", "add", "zeta", "https://me:secret@example.org/zeta.git?token=x")
    assert observe(repo)[0].url == "https://example.org/zeta.git"
    git(repo, "remote", "add", "origin", str(repo.parent / "far.git"))
    git(repo, "push", "-q", "origin", "main")
    git(repo, "commit", "-q", "--allow-empty", "-m", "second")
    repository, _, unknown = observe(repo)
    assert (repository.url, repository.unpushed, unknown) == ("local", 1, {})
    git(repo, "config", "branch.main.remote", "zeta")
    git(repo, "config", "--global", "url.https://x:injected@evil.example/.insteadOf", "https://me:secret@example.org/")
    assert observe(repo)[0].url == "https://example.org/zeta.git"
    git(repo.parent, "clone", "-q", "--depth=1", f"file://{repo}", "shallow")
    repository, _, unknown = observe(repo.parent / "shallow")
    assert (repository.unpushed, unknown) == (None, {"code.repository.unpushed": "the clone is shallow"})


def test_the_place_of_the_project(repo: Path, tmp_path: Path) -> None:
    (repo / "examples" / "penguins").mkdir(parents=True)
    (repo / "outer.py").write_text("x")
    repository, patch, _ = observe(repo / "examples" / "penguins")
    assert repository.directory == "examples/penguins"
    assert b"b/outer.py" in patch
    repository, _, unknown = observe(repo, project=tmp_path)
    assert repository.directory == "."
    assert unknown["code.repository.directory"] == "the project's root lies outside of the repository"


def test_unborn_and_detached_heads(tmp_path: Path, repo: Path) -> None:
    fresh = tmp_path / "work" / "fresh"
    fresh.mkdir()
    git(fresh, "init", "-q")
    (fresh / "train.py").write_text("x = 1\n")
    (fresh / "staged.py").write_text("x = 1\n")
    git(fresh, "add", "staged.py")
    repository, patch, unknown = observe(fresh)
    assert (repository.commit, repository.branch, repository.dirty) == (None, "main", True)
    assert unknown["code.repository.commit"] == "no commit yet"
    assert unknown["code.repository.unpushed"] == "its commit is not known"
    assert applied(fresh, repository, patch, tmp_path / "clone") == repository.tree
    git(repo, "checkout", "-q", "--detach")
    repository, _, unknown = observe(repo)
    assert repository.branch is None
    assert unknown["code.repository.branch"] == "detached HEAD"


def test_a_repository_of_sha256(tmp_path: Path, home: Path) -> None:
    assert home.is_dir()
    folder = tmp_path / "modern"
    folder.mkdir()
    git(folder, "init", "-q", "--object-format=sha256")
    (folder / "train.py").write_text("x = 1\n")
    unborn, patch, _ = observe(folder)
    assert patch
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    assert git(folder, "rev-parse", "HEAD^{tree}") == unborn.tree
    (folder / "train.py").unlink()
    (folder / "new.bin").write_bytes(os.urandom(3000))
    repository, patch, _ = observe(folder)
    assert len(repository.commit or "") == 64
    assert applied(folder, repository, patch, tmp_path / "clone") == repository.tree


def test_linked_work_trees_alternates_and_split_indexes(repo: Path, tmp_path: Path) -> None:
    git(repo, "worktree", "add", "-q", "-b", "linked", str(tmp_path / 'linked: "a"'))
    git(tmp_path, "clone", "-q", "--shared", str(repo), "shared")
    git(repo, "config", "core.splitIndex", "true")
    git(repo, "config", "splitIndex.maxPercentChange", "0")
    for folder in (tmp_path / 'linked: "a"', tmp_path / "shared", repo):
        modify(folder)
        (folder / "model.py").unlink()
        before = on_disk(repo / ".git")
        repository, patch, unknown = observe(folder)
        assert set(on_disk(repo / ".git")) == set(before)
        assert not any("tree" in name for name in unknown)
        clone = tmp_path / f"clone of {folder.name[:6]}"
        assert applied(repo, repository, patch, clone) == repository.tree


def test_replaced_objects_are_not_those_of_a_clone(repo: Path, tmp_path: Path) -> None:
    other = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"], cwd=repo, input=b"replaced\n", capture_output=True, check=True
    )
    git(repo, "replace", git(repo, "rev-parse", "HEAD:train.py"), other.stdout.decode().strip())
    modify(repo)
    repository, patch, _ = observe(repo)
    assert applied(repo, repository, patch, tmp_path / "clone") == repository.tree


def test_nothing_is_fetched(repo: Path) -> None:
    git(repo, "config", "uploadpack.allowFilter", "true")
    git(repo.parent, "clone", "-q", "--filter=blob:none", "--sparse", f"file://{repo}", "partial")
    partial = repo.parent / "partial"
    (partial / "train.py").write_text("changed\n")
    git(partial, "rm", "-q", "--cached", "--sparse", "becomes_file/inner.txt")
    before = on_disk(partial)
    repository, patch, unknown = observe(partial)
    assert on_disk(partial) == before
    assert (repository.dirty, patch) == (True, b"")
    assert "transport 'file' not allowed" in unknown["code.repository.patch"]


def shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    real = shutil.which("git")
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "git").write_text(f'#!/bin/sh\n{text}\nexec {real} "$@"\n')
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_repository_of_another_user(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = tmp_path / "ran"
    marks.mkdir()
    (repo / ".gitattributes").write_text("*.py filter=theirs\n*.bin filter=lo=cal\n")
    git(repo, "commit", "-qam", "attributes", "--allow-empty")
    for key, words in (
        ("filter.theirs.clean", f"touch {marks}/clean; cat"),
        ("filter.theirs.required", "true"),
        ("filter.lo=cal.process", f"touch {marks}/process"),
        ("core.fsmonitor", f"touch {marks}/fsmonitor; false"),
        ("diff.external", f"touch {marks}/diff"),
        ("core.pager", f"touch {marks}/pager"),
        ("core.hooksPath", str(tmp_path / "hooks")),
    ):
        git(repo, "config", key, words)
    (tmp_path / "hooks").mkdir()
    for name in ("post-index-change", "pre-commit"):
        (tmp_path / "hooks" / name).write_text(f"#!/bin/sh\ntouch {marks}/{name}\n")
        (tmp_path / "hooks" / name).chmod(0o755)
    modify(repo)
    (repo / "weights.bin").write_bytes(b"x" * 10)
    for mark in marks.iterdir():
        mark.unlink()
    shim(tmp_path, monkeypatch, "export GIT_TEST_ASSUME_DIFFERENT_OWNER=1")
    assert subprocess.run(["git", "status"], cwd=repo, capture_output=True, check=False).returncode
    repository, patch, unknown = observe(repo)
    assert list(marks.iterdir()) == []
    assert unknown["code.repository"] == "git calls it unsafe, as another user owns it; its own filters were not run"
    assert repository.dirty is True
    assert patch.count(b"diff --git") == 3
    assert repository.commit


def outside(folder: Path, exclude: Sequence[Path] = ()) -> str:
    unknown: dict[str, str] = {}
    found = worktree(folder, project=folder, exclude=exclude, unknown=unknown)
    assert (found.repository, found.patch) == (None, b"")
    assert set(unknown) == {"code.repository"}
    return unknown["code.repository"]


def test_no_repository(tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert outside(tmp_path) == "not in a git repository"
    assert "no such file" in outside(tmp_path / "nowhere").lower()
    assert outside(repo / ".git") == "in a bare repository or a .git folder, not in a work tree"
    git(tmp_path, "init", "-q", "--bare", "bare.git")
    assert outside(tmp_path / "bare.git") == "in a bare repository or a .git folder, not in a work tree"
    git(repo, "config", "core.worktree", str(tmp_path / "home"))
    assert outside(repo) == "its work tree is elsewhere"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert outside(repo) == "git is not installed"


def test_git_that_hangs(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "SECONDS", 0.5)
    monkeypatch.setattr(calls, "GRACE", 0.5)
    shim(tmp_path, monkeypatch, "sleep 60 & sleep 60")
    started = time.monotonic()
    assert outside(repo) == "git timed out after 0.5 s"
    assert time.monotonic() - started < 10


def test_a_status_that_never_ends_leaves_the_commit(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "SECONDS", 0.0)
    shim(tmp_path, monkeypatch, 'case " $* " in *" status "*) sleep 60;; esac')
    repository, _, unknown = observe(repo)
    assert repository.commit == git(repo, "rev-parse", "HEAD")
    assert (repository.branch, repository.dirty) == ("main", None)
    assert unknown["code.repository.dirty"] == "git timed out after 2 s"


@pytest.mark.parametrize(
    ("verb", "missing"),
    [
        ("status", {"dirty", "tree", "patch", "omitted", "submodules"}),
        ("ls-files", {"dirty", "tree", "patch", "omitted", "submodules"}),
        ("update-index", {"tree", "patch"}),
        ("diff-index", {"tree", "patch"}),
        ("config", {"url"}),
        ("rev-list", {"unpushed"}),
    ],
)
def test_one_call_that_fails_takes_only_its_own_facts(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, missing: set[str]
) -> None:
    git(repo, "remote", "add", "origin", "https://example.org/x.git")
    modify(repo)
    shim(tmp_path, monkeypatch, f'case " $* " in *" {verb} "*) echo "fatal: it broke in {repo}/x" >&2; exit 3;; esac')
    repository, _, unknown = observe(repo)
    assert set(unknown) == {f"code.repository.{name}" for name in missing}
    assert set(unknown.values()) == {"git failed with exit status 3: fatal: it broke in ./x"}
    assert repository.commit
    assert repository.branch == "main"
    assert repository.dirty is (None if "dirty" in missing else True)


def test_damage(repo: Path) -> None:
    (repo / ".git" / "index").write_bytes(b"DIRC junk")
    repository, patch, unknown = observe(repo)
    assert repository.commit == git(repo, "rev-parse", "HEAD")
    assert (repository.dirty, repository.tree, patch) == (None, None, b"")
    assert "index" in unknown["code.repository.tree"]
    (repo / ".git" / "index").unlink()
    shutil.rmtree(repo / ".git" / "objects")
    (repo / ".git" / "objects").mkdir()
    repository, _, unknown = observe(repo)
    assert repository.dirty is None
    assert unknown["code.repository.dirty"]
