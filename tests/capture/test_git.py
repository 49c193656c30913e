"""The git probe, on real repositories with a private configuration."""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import repositories
from repositories import applied, git, listing, modify, observe, on_disk

from ckptkit.capture import repository as calls
from ckptkit.capture.command import ProbeError
from ckptkit.capture.git import head_at, state, worktree
from ckptkit.record import CodeState

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


def test_a_patch_of_a_detached_head_a_shallow_clone_and_a_subfolder(repo: Path, tmp_path: Path) -> None:
    (repo / "deep").mkdir()
    (repo / "deep" / "x.py").write_text("x = 1\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "second")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repo}", "shallow")
    git(repo, "checkout", "-q", "--detach", "HEAD^")
    git(repo, "commit", "-q", "--allow-empty", "-m", "on no branch")
    (repo / "deep").mkdir()
    for number, folder in enumerate((tmp_path / "shallow", repo)):
        modify(folder)
        (folder / "deep" / "new.py").write_text("x = 1\n")
        before = on_disk(folder)
        repository, patch, _ = observe(folder / "deep")
        assert on_disk(folder) == before
        assert repository.directory == "deep"
        assert applied(repo, repository, patch, tmp_path / f"clone {number}") == repository.tree


def test_variables_that_lead_git_elsewhere_are_not_followed(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q", "other")
    modify(repo)
    expected = observe(repo)
    address = state(repo)
    for name, value in {
        "GIT_DIR": tmp_path / "other" / ".git", "GIT_WORK_TREE": tmp_path / "other", "GIT_COMMON_DIR": tmp_path,
        "GIT_INDEX_FILE": tmp_path / "index", "GIT_OBJECT_DIRECTORY": tmp_path / "objects", "GIT_NAMESPACE": "x",
        "GIT_EXTERNAL_DIFF": "/bin/true", "GIT_DIFF_OPTS": "-u0", "GIT_ATTR_SOURCE": "HEAD", "GIT_PREFIX": "x/",
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "diff.noprefix", "GIT_CONFIG_VALUE_0": "true", "GIT_TRACE": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(value))
    assert observe(repo) == expected
    assert state(repo) == address


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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder to another user")
def test_a_folder_that_was_given_to_another_user(repo: Path, tmp_path: Path) -> None:
    modify(repo)
    for path in (repo, *repo.rglob("*")):
        os.chown(path, 4321, 4321, follow_symlinks=False)
    assert subprocess.run(["git", "status"], cwd=repo, capture_output=True, check=False).returncode
    before = on_disk(repo)
    repository, patch, unknown = observe(repo)
    assert unknown["code.repository"] == "git calls it unsafe, as another user owns it; its own filters were not run"
    assert state(repo)[1] == CodeState(commit=repository.commit, dirty=True, tree=repository.tree)
    assert head_at(repo, 0) is None
    assert on_disk(repo) == before
    for path in (repo, *repo.rglob("*")):
        os.chown(path, 0, 0, follow_symlinks=False)
    assert applied(repo, repository, patch, tmp_path / "clone") == repository.tree


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


def test_the_state_of_a_folder(repo: Path) -> None:
    (repo / ".gitignore").write_text("*.log\nvendored*/\n")
    git(repo, "commit", "-qam", "ignored")
    head, tree = git(repo, "rev-parse", "HEAD"), git(repo, "rev-parse", "HEAD^{tree}")
    git(repo, "remote", "add", "origin", "https://me:secret@example.org/x.git")
    (repo / "vendored[x]").mkdir()
    (repo / "vendored[x]" / "x.py").write_text("x = 1\n")
    (repo / "becomes_file" / "*").mkdir()
    (repo / "becomes_file" / "*" / "x.log").touch()
    before = listing(repo)
    assert state(repo / "becomes_file") == (
        "https://example.org/x.git",
        CodeState(commit=head, dirty=False, tree=tree),
    )
    for ignored in ("vendored[x]", "becomes_file/*"):
        with pytest.raises(ProbeError, match=r"^git ignores it$"):
            state(repo / ignored)
    assert listing(repo) == before
    modify(repo)
    before = listing(repo)
    repository, _, _ = observe(repo)
    assert state(repo)[1] == CodeState(commit=head, dirty=True, tree=repository.tree)
    assert listing(repo) == before
    git(repo, "checkout", "-q", "train.py")
    (repo / "large").write_bytes(b"x" * 1_000_001)
    assert state(repo)[1] == CodeState(commit=head, dirty=True, tree=tree)


def test_the_state_of_what_is_not_committed_or_no_repository(tmp_path: Path, home: Path) -> None:
    assert home.is_dir()
    with pytest.raises(ProbeError, match=r"^not in a git repository$"):
        state(tmp_path)
    with pytest.raises(ProbeError, match="No such file"):
        state(tmp_path / "nowhere")
    git(tmp_path, "init", "-q", "fresh")
    (tmp_path / "fresh" / "x.py").write_text("x = 1\n")
    url, found = state(tmp_path / "fresh")
    assert (url, found.commit, found.dirty) == (None, None, True)
    assert len(found.tree or "") == 40


def commit(folder: Path, second: int, *words: str) -> str:
    """A commit at a second since the epoch, made far from Greenwich; its id."""
    environment = {**os.environ, "GIT_COMMITTER_DATE": f"{second} +0530", "GIT_AUTHOR_DATE": f"{second} +0530"}
    words = words or ("commit", "-q", "--allow-empty", "-m", f"at {second}")
    subprocess.run(["git", *words], cwd=folder, env=environment, check=True, capture_output=True)
    return git(folder, "rev-parse", "HEAD")


def test_where_head_stood(repo: Path) -> None:
    (repo / ".git" / "logs" / "HEAD").unlink()
    assert head_at(repo, 0) is None
    born = git(repo, "rev-parse", "HEAD")
    first = commit(repo, 1_700_000_000)
    second = commit(repo, 1_700_000_100)
    amended = commit(repo, 1_700_000_200, "commit", "-q", "--allow-empty", "--amend", "-m", "x> 1700000050 +0000")
    before = listing(repo)
    assert head_at(repo, 1_600_000_000) == born
    assert head_at(repo, 1_700_000_000.9) == first
    assert head_at(repo, 1_700_000_099.9) == first
    assert head_at(repo, 1_700_000_100) == second
    assert head_at(repo / "becomes_file", 1_700_000_150) == second
    assert head_at(repo, 1_700_000_200) is None
    assert listing(repo) == before
    assert git(repo, "rev-parse", "HEAD") == amended


STAYS = [("checkout", "-q", "-b", "new"), ("reset", "-q", "--hard"), ("stash", "-q")]
MOVES = [
    ("reset", "-q", "--hard", "HEAD^"),
    ("checkout", "-q", "--detach", "HEAD^"),
    ("rebase", "-q", "side"),
    ("merge", "-q", "--no-edit", "side"),
    ("pull", "-q", "--rebase", ".", "side"),
    ("cherry-pick", "side"),
    ("commit", "-q", "--amend", "--no-edit"),
]


@pytest.mark.parametrize("words", [*STAYS, *MOVES], ids=" ".join)
def test_whatever_moves_head_is_noticed(repo: Path, words: tuple[str, ...]) -> None:
    git(repo, "checkout", "-qb", "side")
    (repo / "side.py").write_text("x = 1\n")
    git(repo, "add", "side.py")
    commit(repo, 1_700_000_000, "commit", "-qm", "side")
    git(repo, "checkout", "-q", "main")
    (repo / "main.py").write_text("x = 1\n")
    git(repo, "add", "main.py")
    stood = commit(repo, 1_700_000_050, "commit", "-qm", "main")
    log = repo / ".git" / "logs" / "HEAD"
    log.write_text(log.read_text().splitlines(keepends=True)[-1])  # the rest bears today's time
    if words in MOVES:
        assert commit(repo, 1_700_000_100, *words) != stood
    else:
        modify(repo)
        assert commit(repo, 1_700_000_100, *words) == stood
    assert head_at(repo, 1_700_000_070) == (stood if words in MOVES else None)
    assert head_at(repo, 1_700_000_100) is None


def test_each_linked_work_tree_has_a_head_of_its_own(repo: Path, tmp_path: Path) -> None:
    commit(repo, 1_700_000_000)
    commit(repo, 1_700_000_000, "worktree", "add", "-q", str(tmp_path / "linked"))
    first = commit(tmp_path / "linked", 1_700_000_000)
    commit(tmp_path / "linked", 1_700_000_100)
    assert head_at(tmp_path / "linked", 1_700_000_050) == first
    assert head_at(repo, 1_700_000_050) is None


def test_no_head_is_told_where_there_was_none_or_the_reflog_is_damaged(tmp_path: Path, repo: Path) -> None:
    assert head_at(tmp_path, 0) is None
    assert head_at(repo, 0) is None  # there was no commit
    log = repo / ".git" / "logs" / "HEAD"
    first = commit(repo, 1_700_000_000)
    second = commit(repo, 1_700_000_100)
    log.write_bytes(b"\0" * 50 + b"\n" + log.read_bytes() + b"\0" * 100 + b"\n1234 5678\n")
    assert head_at(repo, 1_700_000_050) == first
    log.write_text(f"{first} {second} without an address 1700000100 +0000\n")
    assert head_at(repo, 1_700_000_050) is None
    log.unlink()
    log.mkdir()
    assert head_at(repo, 0) is None
