"""The changes beyond a commit: every kind of change, applied to a clean clone, and what is left out."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import repositories
from repositories import applied, git, modify, observe, on_disk

from ckptkit.capture import changes
from ckptkit.record import Omitted, Submodule

home, repo = repositories.home, repositories.repo
HOSTILE = """
[core]
    autocrlf = true
    safecrlf = true
    quotepath = true
    fsmonitor = "touch ~/ran; false"
    pager = "touch ~/ran; false"
    hooksPath = ~/hooks
    attributesFile = ~/attributes
[color]
    ui = always
[diff]
    external = "touch ~/ran; :"
    noprefix = true
    mnemonicPrefix = true
    orderFile = /nowhere
    context = 0
    interHunkContext = 9
    renames = copies
    submodule = log
    ignoreSubmodules = all
    relative = true
    wsErrorHighlight = all
    suppressBlankEmpty = true
    algorithm = patience
[diff "words"]
    command = "touch ~/ran; :"
    textconv = "touch ~/ran; :"
[status]
    showUntrackedFiles = no
    relativePaths = true
    renames = copies
    short = true
    branch = false
    showStash = true
    aheadBehind = true
[advice]
    statusHints = true
[index]
    version = 4
[apply]
    whitespace = error
"""


def stage(repo: Path) -> None:
    modify(repo)
    git(repo, "add", "train.py")
    (repo / "train.py").write_text((repo / "train.py").read_text() + "and more\n")
    (repo / "staged.py").write_text("new\n")
    git(repo, "add", "staged.py")


def stage_and_remove(repo: Path) -> None:
    (repo / "brief.py").write_text("new\n")
    git(repo, "add", "brief.py")
    (repo / "brief.py").unlink()
    modify(repo)


def add_binary(repo: Path) -> None:
    (repo / "new.bin").write_bytes(os.urandom(5000))
    (repo / "weights.bin").write_bytes(bytes(range(255, -1, -1)) * 40)


def remove(repo: Path) -> None:
    (repo / "old.py").unlink()
    git(repo, "rm", "-q", "model.py")
    (repo / "weights.bin").unlink()


def move(repo: Path) -> None:
    git(repo, "mv", "to be moved.py", "moved.py")
    (repo / "old.py").rename(repo / "older.py")


def change_modes(repo: Path) -> None:
    (repo / "run.sh").chmod(0o755)
    (repo / "new.sh").write_text("echo\n")
    (repo / "new.sh").chmod(0o755)


def link(repo: Path) -> None:
    (repo / "link").unlink()
    (repo / "link").symlink_to("model.py")
    (repo / "broken").symlink_to("nowhere/at all")
    (repo / "becomes_link").unlink()
    (repo / "becomes_link").symlink_to("train.py")


def unlink(repo: Path) -> None:
    (repo / "link").unlink()
    (repo / "link").write_text("now a file\n")


def mix_line_ends(repo: Path) -> None:
    (repo / "crlf.txt").write_bytes(b"one\r\n2\r\nthree\n\rfour")
    (repo / "new.txt").write_bytes(b"a\r\nb\r\n")
    (repo / "no newline").write_bytes(b"x")


def name_oddly(repo: Path) -> None:
    names = [b"a b", b"new\nline", b"ta\tb", b'quo"te', b"-dash", "ünïcödé".encode(), b"\xff\xfe.py", b"back\\slash"]
    names += [b" lead", b"trail ", b"b/ c", b"? x", b"# y", b"1 .M", b":(top)z", b"*", b"'", b"\x01"]
    for name in names:
        path = repo / "odd" / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content\n" + name)


def nest(repo: Path) -> None:
    (repo / "a" / "b" / "c").mkdir(parents=True)
    (repo / "a" / "b" / "c" / "deep.py").write_text("x = 1\n")
    (repo / "a" / "empty.py").write_text("")
    (repo / "hollow").mkdir()


def empty(repo: Path) -> None:
    (repo / "train.py").write_text("")
    (repo / "__init__.py").touch()


def intend(repo: Path) -> None:
    (repo / "intended.py").write_text("x = 1\n")
    git(repo, "add", "-N", "intended.py")
    (repo / "given_up.py").write_text("x = 1\n")
    git(repo, "add", "-N", "given_up.py")
    (repo / "given_up.py").unlink()


def swap_file_and_folder(repo: Path) -> None:
    (repo / "becomes_folder").unlink()
    (repo / "becomes_folder" / "deep").mkdir(parents=True)
    (repo / "becomes_folder" / "deep" / "x.py").write_text("x\n")
    shutil.rmtree(repo / "becomes_file")
    (repo / "becomes_file").write_text("a file now\n")


def conflict(repo: Path) -> None:
    git(repo, "checkout", "-qb", "other")
    (repo / "train.py").write_text("theirs\n")
    (repo / "old.py").unlink()
    git(repo, "commit", "-qam", "theirs")
    git(repo, "checkout", "-q", "main")
    (repo / "train.py").write_text("ours\n")
    (repo / "old.py").write_text("ours\n")
    git(repo, "commit", "-qam", "ours")
    subprocess.run(["git", "merge", "-q", "other"], cwd=repo, capture_output=True, check=False)
    assert "U" in git(repo, "status", "--porcelain")


def hide(repo: Path) -> None:
    git(repo, "update-index", "--assume-unchanged", "train.py")
    git(repo, "update-index", "--skip-worktree", "model.py")
    modify(repo)
    (repo / "model.py").write_text("hidden\n")


def everything(repo: Path) -> None:
    for change in (stage, add_binary, move, change_modes, link, mix_line_ends, name_oddly, nest, swap_file_and_folder):
        change(repo)


CHANGES = [
    modify, stage, stage_and_remove, add_binary, remove, move, change_modes, link, unlink, mix_line_ends, name_oddly,
    nest, empty, intend, swap_file_and_folder, conflict, hide, everything,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_the_patch_on_a_clean_clone_gives_the_tree(repo: Path, tmp_path: Path, change: Callable[[Path], None]) -> None:
    change(repo)
    before = on_disk(repo)
    repository, patch, unknown = observe(repo)
    assert on_disk(repo) == before
    assert repository.dirty is True
    assert repository.omitted == ()
    assert applied(repo, repository, patch, tmp_path / "clone") == repository.tree
    assert repository.tree != git(repo, "rev-parse", "HEAD^{tree}")
    assert set(unknown) == {"code.repository.url", "code.repository.unpushed"}
    for name in ("assume-unchanged", "skip-worktree"):  # git's own answer, for which nothing may be hidden
        git(repo, "update-index", f"--no-{name}", "train.py", "model.py") if change is hide else None
    git(repo, "add", "-A")
    assert git(repo, "write-tree") == repository.tree


def test_a_hostile_configuration_changes_nothing(repo: Path, tmp_path: Path, home: Path) -> None:
    everything(repo)
    (repo / "crlf.txt").unlink()  # whose bytes autocrlf changes on purpose
    (repo / "new.txt").unlink()
    expected, patch, _ = observe(repo)
    kept = (home / ".gitconfig").read_text()
    (home / ".gitconfig").write_text(kept + HOSTILE)
    (home / "attributes").write_text("*.py diff=words\n")
    (home / "hooks").mkdir()
    for name in ("post-index-change", "fsmonitor-watchman", "reference-transaction"):
        (home / "hooks" / name).write_text("#!/bin/sh\ntouch ~/ran\n")
        (home / "hooks" / name).chmod(0o755)
    found, hostile_patch, unknown = observe(repo)
    assert set(unknown) == {"code.repository.url", "code.repository.unpushed"}, unknown
    assert found == expected
    assert hostile_patch == patch
    assert not (home / "ran").exists()
    (home / ".gitconfig").write_text(kept)
    assert applied(repo, found, hostile_patch, tmp_path / "clone") == found.tree


@pytest.mark.parametrize(
    "attributes", ["", "* text=auto", "*.txt text", "*.txt text eol=crlf", "*.txt -text", "* ident"]
)
@pytest.mark.parametrize("autocrlf", ["false", "true", "input"])
@pytest.mark.parametrize("committed", ["as it was", "as it should"])
def test_line_ends_are_those_that_git_would_commit(
    repo: Path, tmp_path: Path, attributes: str, autocrlf: str, committed: str
) -> None:
    lines = {"dos.txt": b"a\r\nb\r\n", "unix.txt": b"a\nb\n", "mixed.txt": b"a\r\nb\n", "id.txt": b"$Id$\nx\n"}
    (repo / ".gitattributes").write_text(f"{attributes}\n")
    git(repo, "add", ".gitattributes")
    for name, text in lines.items():
        (repo / name).write_bytes(text)
    git(repo, "config", "--global", "core.safecrlf", "false")
    git(repo, "-c", f"core.autocrlf={autocrlf if committed == 'as it should' else 'false'}", "add", "-A")
    git(repo, "commit", "-qm", "lines")
    git(repo, "config", "--global", "core.autocrlf", autocrlf)
    for name, text in lines.items():
        (repo / name).write_bytes(text * 2)
    (repo / "crlf.txt").unlink()
    (repo / "new.txt").write_bytes(b"a\r\nb\r\n")
    repository, patch, _ = observe(repo)
    assert repository.dirty is True
    # Not to the files: git takes those whose line ends are not as their attributes say for changed if it looks at them,
    # which it does where they were written within one tick of its index.
    assert applied(repo, repository, patch, tmp_path / "alike", "--cached") == repository.tree
    git(repo, "config", "--global", "--unset", "core.autocrlf")
    assert applied(repo, repository, patch, tmp_path / "elsewhere", "--cached") == repository.tree
    git(repo, "-c", f"core.autocrlf={autocrlf}", "add", "-A")
    assert git(repo, "write-tree") == repository.tree


def test_a_clean_work_tree(repo: Path) -> None:
    (repo / "ignored.log").write_text("x")
    (repo / "__pycache__").mkdir()
    (repo / "__pycache__" / "model.cpython-311.pyc").write_bytes(b"x")
    (repo / "train.py").touch()
    repository, patch, _ = observe(repo)
    assert (repository.dirty, patch, repository.omitted) == (False, b"", ())
    assert repository.tree == git(repo, "rev-parse", "HEAD^{tree}")
    assert repository.commit == git(repo, "rev-parse", "HEAD")
    assert (repository.branch, repository.directory) == ("main", ".")


def test_what_is_staged_and_taken_back_is_no_change(repo: Path) -> None:
    before = (repo / "train.py").read_text()
    stage(repo)
    (repo / "train.py").write_text(before)
    (repo / "staged.py").unlink()
    git(repo, "rm", "-q", "--cached", "model.py")
    repository, patch, _ = observe(repo)
    assert (repository.dirty, patch) == (False, b"")


def test_a_change_of_the_same_size_within_the_same_second_is_seen(repo: Path) -> None:
    (repo / "quick.py").write_text("a = 1\n")
    git(repo, "add", "quick.py")
    git(repo, "commit", "-qm", "quick")
    info = (repo / "quick.py").stat()
    os.utime(repo / ".git" / "index", ns=(info.st_mtime_ns, info.st_mtime_ns))
    (repo / "quick.py").write_text("a = 2\n")
    os.utime(repo / "quick.py", ns=(info.st_mtime_ns, info.st_mtime_ns))
    assert observe(repo)[0].dirty is True


def test_what_is_recorded_otherwise_is_no_change(repo: Path, tmp_path: Path) -> None:
    (repo / "runs" / "penguins").mkdir(parents=True)
    (repo / "runs" / "penguins" / "x").write_text("x")
    (repo / "runs2.py").write_text("x = 1\n")
    (repo / "weights.bin").write_bytes(b"trained")
    git(repo, "add", "weights.bin")
    (repo / "old.py").unlink()
    (repo / "data").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    (repo / "staged.npy").write_bytes(b"x")
    git(repo, "add", "staged.npy")
    outside = [tmp_path, repo, repo.parent, tmp_path / "elsewhere"]
    names = ("runs", "weights.bin", "old.py", "data", "staged.npy")
    repository, patch, _ = observe(repo, exclude=[*(repo / name for name in names), *outside])
    assert repository.omitted == ()
    assert b"runs2.py" in patch
    assert patch.count(b"diff --git") == 1
    (repo / "runs2.py").unlink()
    repository, patch, _ = observe(repo, exclude=[repo / name for name in names])
    assert (repository.dirty, patch) == (False, b"")
    assert repository.tree == git(repo, "rev-parse", "HEAD^{tree}")


def test_exclusion_sees_through_links_to_the_repository(repo: Path, tmp_path: Path) -> None:
    (repo / "runs").mkdir()
    (repo / "runs" / "x").write_text("x")
    (tmp_path / "short").symlink_to(repo)
    repository, _, _ = observe(tmp_path / "short", exclude=[tmp_path / "short" / "runs"])
    assert repository.dirty is False


def test_a_conflict_in_an_excluded_file_stays_as_in_head(repo: Path) -> None:
    conflict(repo)
    repository, patch, unknown = observe(repo, exclude=[repo / "train.py", repo / "old.py"])
    assert "code.repository.tree" not in unknown
    assert (repository.dirty, patch) == (False, b"")


def test_the_temporary_folder_may_lie_in_the_repository(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repo / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(repo / "tmp"))
    assert observe(repo)[0].dirty is False
    assert list((repo / "tmp").iterdir()) == []


def test_large_untracked_files_are_listed_and_not_opened(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "TOTAL_LIMIT", 25_000)
    monkeypatch.setattr(changes, "FILE_LIMIT", 10_000)
    (repo / "deep").mkdir()
    for name in ("a", "b", "c"):
        (repo / "deep" / name).write_bytes(b"x" * 9_000)
    (repo / "large").write_bytes(b"x" * 10_001)
    (repo / "train2.py").write_bytes(b"x" * 9_000)
    (repo / "weights.bin").write_bytes(b"x" * 25_001)
    repository, patch, _ = observe(repo)
    assert {each.path: each.bytes for each in repository.omitted} == {
        "weights.bin": 25_001, "large": 10_001, "deep/b": 9_000, "deep/c": 9_000,
    }  # fmt: skip
    assert repository.omitted[0].reason == "over 0 MB"
    assert repository.dirty is True
    assert b"b/train2.py" in patch
    assert b"b/deep/a" in patch
    assert patch.count(b"diff --git") == 2


def test_large_tracked_files_leave_room_for_the_text(repo: Path, tmp_path: Path) -> None:
    for number in range(4):
        (repo / f"{number}.bin").write_bytes(os.urandom(9_000_000))
    (repo / "gone.bin").write_bytes(os.urandom(20_000_001))
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "large")
    for number in range(4):
        (repo / f"{number}.bin").write_bytes(os.urandom(9_000_000))
    (repo / "gone.bin").unlink()
    modify(repo)
    repository, patch, unknown = observe(repo)
    assert "code.repository.patch" not in unknown
    assert b"+train.py line seven" in patch
    why = "changed tracked files are over 20 MB together"
    assert repository.omitted == (
        Omitted(path="2.bin", bytes=9_000_000, reason=why),
        Omitted(path="3.bin", bytes=9_000_000, reason=why),
        Omitted(path="gone.bin", bytes=None, reason=why),
    )
    assert applied(repo, repository, patch, tmp_path / "clone") == repository.tree


def test_the_limits_are_those_of_the_documentation(repo: Path) -> None:
    (repo / "large").write_bytes(b"x" * 1_000_001)
    (repo / "fits").write_bytes(b"x" * 1_000_000)
    repository, patch, _ = observe(repo)
    assert repository.omitted == (Omitted(path="large", bytes=1_000_001, reason="over 1 MB"),)
    assert b"b/fits" in patch


def test_many_omitted_files_are_told_by_their_folder(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "LISTED", 3)
    monkeypatch.setattr(changes, "FILE_LIMIT", 10)
    (repo / "images").mkdir()
    for number in range(5):
        (repo / "images" / str(number)).write_bytes(b"x" * 11)
    (repo / "single").write_bytes(b"x" * 11)
    repository, _, _ = observe(repo)
    reasons = {each.path: (each.bytes, each.reason) for each in repository.omitted}
    assert reasons == {
        "single": (11, "over 0 MB"),
        "images": (55, "5 files in this folder, the first of them: over 0 MB"),
    }


def test_an_untracked_virtual_environment_is_left_out_whole(repo: Path) -> None:
    (repo / "env" / "lib").mkdir(parents=True)
    (repo / "env" / "pyvenv.cfg").write_text("home = /usr\n")
    (repo / "env" / "lib" / "x.py").write_text("x = 1\n")
    repository, patch, _ = observe(repo)
    assert repository.omitted == (Omitted(path="env", bytes=18, reason="an untracked virtual environment"),)
    assert (repository.dirty, patch) == (True, b"")


def test_special_files(repo: Path) -> None:
    (repo / "train.py").unlink()
    os.mkfifo(repo / "train.py")
    os.mkfifo(repo / "untracked")
    repository, patch, _ = observe(repo)
    assert repository.omitted == (Omitted(path="train.py", bytes=None, reason="is neither a file nor a link"),)
    assert patch == b""


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable to root")
def test_unreadable_files(repo: Path) -> None:
    (repo / "closed.py").write_text("x = 1\n")
    (repo / "closed.py").chmod(0)
    repository, _, _ = observe(repo)
    assert repository.omitted == (Omitted(path="closed.py", bytes=6, reason="cannot be read: permission denied"),)


def test_submodules_and_clones_inside(repo: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    (other / "lib.py").write_text("x = 1\n")
    git(other, "add", "-A")
    git(other, "commit", "-qm", "lib")
    first = git(other, "rev-parse", "HEAD")
    for name in ("clean", "dirty", "ahead", "absent"):
        git(repo, "submodule", "--quiet", "add", str(other), name)
    for name in ("dirty", "ahead"):
        git(repo, "config", "-f", ".gitmodules", f"submodule.{name}.ignore", "all")
    git(repo, "commit", "-qam", "submodules")
    (repo / "dirty" / "lib.py").write_text("x = 2\n")
    git(repo / "ahead", "commit", "-q", "--allow-empty", "-m", "more")
    second = git(repo / "ahead", "rev-parse", "HEAD")
    git(repo, "submodule", "--quiet", "deinit", "absent")
    git(repo, "clone", "-q", str(other), "vendored/clone")
    (repo / "vendored" / "clone" / "new.py").write_text("x")
    git(repo, "init", "-q", "unborn")
    repository, patch, unknown = observe(repo)
    assert repository.submodules == (
        Submodule(path="absent", commit=None, dirty=None),
        Submodule(path="ahead", commit=second, dirty=False),
        Submodule(path="clean", commit=first, dirty=False),
        Submodule(path="dirty", commit=first, dirty=True),
        Submodule(path="unborn", commit=None, dirty=False),
        Submodule(path="vendored/clone", commit=first, dirty=True),
    )
    assert unknown["code.repository.submodules"] == "absent is not checked out"
    assert {each.path: each.reason for each in repository.omitted} == {
        "dirty": "changes inside of a submodule",
        "unborn": "a repository of its own",
        "vendored/clone": "a repository of its own",
    }
    assert patch.count(b"diff --git") == 1
    assert f"+Subproject commit {second}".encode() in patch
    assert applied(repo, repository, patch, tmp_path / "clone") == repository.tree
    repository, patch, _ = observe(repo, exclude=[repo / name for name in ("dirty", "ahead", "unborn", "vendored")])
    assert (repository.dirty, patch, repository.omitted) == (False, b"", ())


def test_a_file_that_gave_way_to_a_clone(repo: Path, tmp_path: Path) -> None:
    (repo / "train.py").unlink()
    git(repo.parent, "clone", "-q", str(repo), str(tmp_path / "copy"))
    shutil.move(tmp_path / "copy", repo / "train.py")
    repository, patch, _ = observe(repo)
    assert repository.omitted == (Omitted(path="train.py", bytes=None, reason="a repository of its own"),)
    assert repository.submodules == (Submodule(path="train.py", commit=repository.commit, dirty=False),)
    assert applied(repo, repository, patch, tmp_path / "clone") == repository.tree


@pytest.mark.parametrize("index", ["--sparse-index", "--no-sparse-index"])
def test_a_sparse_checkout_misses_nothing(repo: Path, tmp_path: Path, index: str) -> None:
    (repo / "away" / "deep").mkdir(parents=True)
    (repo / "away" / "deep" / "x.py").write_text("x = 1\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "more")
    git(repo, "sparse-checkout", "set", "--cone", index, "becomes_file")
    assert not (repo / "away").exists()
    (repo / "becomes_file" / "inner.txt").write_text("changed\n")
    before = on_disk(repo)
    repository, patch, _ = observe(repo)
    assert on_disk(repo) == before
    assert patch.count(b"diff --git") == 1
    assert repository.omitted == ()
    assert applied(repo, repository, patch, tmp_path / "clone") == repository.tree
