"""The bundle of commits that are on no remote, from which git itself fetches and clones."""

import os
from pathlib import Path

import pytest
import repositories
from repositories import git, listing, modify

from ckptkit.capture import bundle

home, repo = repositories.home, repositories.repo


@pytest.fixture
def far(repo: Path) -> Path:
    """A remote that has the first commit of the repository."""
    git(repo.parent, "init", "-q", "--bare", "far.git")
    git(repo, "remote", "add", "origin", str(repo.parent / "far.git"))
    git(repo, "push", "-q", "origin", "main")
    return repo.parent / "far.git"


def add(folder: Path, name: str) -> str:
    (folder / name).write_text(f"{name}\n")
    git(folder, "add", name)
    git(folder, "commit", "-qm", name)
    return git(folder, "rev-parse", "HEAD")


def written(folder: Path, commit: str, into: Path) -> str:
    """Why no bundle was written; empty when it was. Nothing else is ever written."""
    unknown: dict[str, str] = {}
    before = listing(folder)
    done = bundle.write(folder, commit, into, unknown)
    assert listing(folder) == before
    assert done is into.is_file()
    assert set(unknown) == (set() if done else {"code.repository.bundle"})
    assert sorted(into.parent.glob("code.bundle*")) == ([into] if done else [])
    return unknown.get("code.repository.bundle", "")


def fetched(far: Path, file: Path, commit: str) -> str:
    """The files of the commit, in a clone of the remote that fetched from the bundle."""
    git(far.parent, "clone", "-q", str(far), "again")
    git(far.parent / "again", "fetch", "-q", str(file))
    assert git(far.parent / "again", "rev-parse", "FETCH_HEAD") == commit
    git(far.parent / "again", "fsck", "--strict")
    return git(far.parent / "again", "ls-tree", "-r", "--name-only", commit)


def test_what_the_remote_lacks_is_fetched_from_it(repo: Path, far: Path, tmp_path: Path) -> None:
    add(repo, "second.py")
    commit = add(repo, "third.py")
    modify(repo)
    assert written(repo / "becomes_file", commit, tmp_path / "code.bundle") == ""
    assert (tmp_path / "code.bundle").stat().st_size < 2000
    assert "second.py" in fetched(far, tmp_path / "code.bundle", commit)


@pytest.mark.parametrize("branch", ["main", "--detach"])
def test_without_a_remote_it_is_cloned(repo: Path, tmp_path: Path, branch: str) -> None:
    git(repo, "checkout", "-q", branch)
    commit = add(repo, "second.py")
    assert written(repo, commit, tmp_path / "code.bundle") == ""
    git(tmp_path, "clone", "-q", "code.bundle", "again")
    assert git(tmp_path / "again", "rev-parse", "HEAD") == commit
    assert (tmp_path / "again" / "second.py").read_text() == "second.py\n"
    assert len(git(tmp_path / "again", "rev-list", "HEAD").split()) == 2


def test_a_commit_that_head_has_left(repo: Path, far: Path, tmp_path: Path) -> None:
    behind = add(repo, "second.py")
    add(repo, "third.py")
    assert written(repo, behind, tmp_path / "code.bundle") == ""
    assert "third.py" not in fetched(far, tmp_path / "code.bundle", behind)
    git(repo, "reset", "-q", "--hard", behind)
    git(repo, "commit", "-q", "--amend", "-m", "in other words")
    (tmp_path / "code.bundle").unlink()
    assert written(repo, behind, tmp_path / "code.bundle") == ""
    git(far.parent / "again", "fetch", "-q", str(tmp_path / "code.bundle"))


def test_what_is_pushed_needs_none(repo: Path, far: Path, tmp_path: Path) -> None:
    commit = git(repo, "rev-parse", "HEAD")
    assert far.is_dir()
    assert written(repo, commit, tmp_path / "code.bundle") == "all commits are on a remote"
    add(repo, "second.py")
    assert written(repo, commit, tmp_path / "code.bundle") == "all commits are on a remote"


def test_shallow_clones(repo: Path, far: Path, tmp_path: Path) -> None:
    for number in range(3):
        add(repo, f"{number}.py")
    git(repo, "push", "-q", "origin", "main")
    git(tmp_path, "clone", "-q", "--depth=2", f"file://{far}", "shallow")
    commit = add(tmp_path / "shallow", "new.py")
    assert written(tmp_path / "shallow", commit, tmp_path / "code.bundle") == ""
    assert "new.py" in fetched(far, tmp_path / "code.bundle", commit)
    (tmp_path / "code.bundle").unlink()
    git(tmp_path / "shallow", "remote", "remove", "origin")
    why = written(tmp_path / "shallow", commit, tmp_path / "code.bundle")
    assert why == "the clone is shallow: commits before these are missing"


def test_linked_work_trees_and_clones_that_share(repo: Path, far: Path, tmp_path: Path) -> None:
    git(repo, "worktree", "add", "-q", "--detach", str(tmp_path / 'linked: "a"'))
    git(tmp_path, "clone", "-q", "--shared", "-o", "near", str(repo), "shared")
    for folder in (tmp_path / 'linked: "a"', tmp_path / "shared"):
        commit = add(folder, "new.py")
        before = listing(repo / ".git")
        assert written(folder, commit, tmp_path / "code.bundle") == ""
        assert listing(repo / ".git") == before
        (tmp_path / "code.bundle").rename(tmp_path / f"{folder.name[:6]}.bundle")
    assert "new.py" in fetched(far, tmp_path / "linked.bundle", git(tmp_path / 'linked: "a"', "rev-parse", "HEAD"))


def test_a_submodule_is_a_repository_like_others(tmp_path: Path, far: Path) -> None:
    git(tmp_path, "init", "-q", "outer")
    git(tmp_path / "outer", "submodule", "--quiet", "add", str(far), "inner")
    commit = add(tmp_path / "outer" / "inner", "new.py")
    before = listing(tmp_path / "outer")
    assert written(tmp_path / "outer" / "inner", commit, tmp_path / "code.bundle") == ""
    assert listing(tmp_path / "outer") == before
    assert "new.py" in fetched(far, tmp_path / "code.bundle", commit)


def test_a_repository_of_sha256(tmp_path: Path, home: Path) -> None:
    assert home.is_dir()
    git(tmp_path, "init", "-q", "--object-format=sha256", "modern")
    commit = add(tmp_path / "modern", "new.py")
    assert written(tmp_path / "modern", commit, tmp_path / "code.bundle") == ""
    git(tmp_path, "clone", "-q", "code.bundle", "again")
    assert git(tmp_path / "again", "rev-parse", "HEAD") == commit


def test_a_history_that_is_too_large(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "LIMIT", 2_000_000)
    (repo / "weights.bin").write_bytes(os.urandom(3_000_000))
    git(repo, "commit", "-qam", "weights")
    (repo / "weights.bin").unlink()
    git(repo, "commit", "-qam", "taken out again")
    why = written(repo, git(repo, "rev-parse", "HEAD"), tmp_path / "code.bundle")
    assert why == "its commits have 3 MB, more than the 2 MB that are stored"


def test_what_cannot_be_written_says_why(repo: Path, tmp_path: Path) -> None:
    assert "bad" in written(repo, "0123456789" * 4, tmp_path / "code.bundle").lower()
    (tmp_path / "empty").mkdir()
    assert written(tmp_path / "empty", "0" * 40, tmp_path / "code.bundle") == "not in a git repository"
    commit = git(repo, "rev-parse", "HEAD")
    assert "no such file" in written(repo, commit, tmp_path / "nowhere" / "code.bundle").lower()
    (repo / "code.bundle.lock").write_text("of a git that was killed")
    for path in (repo / ".git" / "objects").glob("??/*"):
        path.unlink()
    unknown: dict[str, str] = {}
    assert not bundle.write(repo, commit, repo / "code.bundle", unknown)
    assert unknown["code.repository.bundle"]
    assert not (repo / "code.bundle.lock").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder to another user")
def test_a_repository_of_another_user(repo: Path, far: Path, tmp_path: Path) -> None:
    commit = add(repo, "second.py")
    for path in (repo, *repo.rglob("*")):
        os.chown(path, 4321, 4321, follow_symlinks=False)
    assert written(repo, commit, tmp_path / "code.bundle") == ""
    assert "second.py" in fetched(far, tmp_path / "code.bundle", commit)
