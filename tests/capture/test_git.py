"""The git probe, on real repositories with a private configuration."""

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from ckptkit.capture import git as capture
from ckptkit.record import Omitted, Repository, Submodule

TOKEN = "hf_" + "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3z"
HOSTILE = """
[core]
    autocrlf = true
    safecrlf = true
    quotepath = true
    fsmonitor = /bin/false
    pager = /bin/false
    attributesFile = ~/attributes
[color]
    ui = always
[diff]
    external = /bin/true
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
    command = /bin/true
    textconv = /bin/true
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


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    private = tmp_path / "home"
    private.mkdir()
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(private))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(private / "xdg"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    identity = "[user]\n name = Nobody\n email = nobody@example.org\n[init]\n defaultBranch = main\n"
    (private / ".gitconfig").write_text(identity + '[protocol "file"]\n allow = always\n')
    return private


def git(folder: Path, *words: str, stdin: bytes | None = None) -> str:
    done = subprocess.run(["git", *words], cwd=folder, input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


@pytest.fixture
def repo(tmp_path: Path, home: Path) -> Path:
    assert home.is_dir()
    folder = tmp_path / "work" / "repo"
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    for name in ("train.py", "model.py", "old.py", "to be moved.py", "run.sh"):
        (folder / name).write_text("".join(f"{name} line {number}\n" for number in range(30)))
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 40)
    (folder / "crlf.txt").write_bytes(b"one\r\ntwo\r\n")
    (folder / "becomes_folder").write_text("a file\n")
    (folder / "becomes_file").mkdir()
    (folder / "becomes_file" / "inner.txt").write_text("a folder\n")
    (folder / "link").symlink_to("train.py")
    (folder / "becomes_link").write_text("a file\n")
    (folder / ".gitignore").write_text("*.log\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


def observe(
    folder: Path, *, exclude: Sequence[Path] = (), project: Path | None = None
) -> tuple[Repository, bytes, dict[str, str]]:
    unknown: dict[str, str] = {}
    found = capture.worktree(folder, project=project or folder, exclude=exclude, unknown=unknown)
    assert found.repository is not None, unknown
    assert Repository.from_dict(found.repository.to_dict()) == found.repository
    assert (found.repository.patch == "code.patch") == bool(found.patch)
    return found.repository, found.patch, unknown


def applied(source: Path, repository: Repository, patch: bytes, clone: Path) -> str:
    """The tree of a clean clone at the recorded commit, with the patch applied."""
    git(source.parent, "clone", "-q", "--no-checkout", str(source), str(clone))
    if repository.commit:
        git(clone, "checkout", "-q", "--detach", repository.commit)
    if patch:
        git(clone, "apply", "--index", "--binary", "--whitespace=nowarn", stdin=patch)
    return git(clone, "write-tree")


def on_disk(folder: Path) -> dict[str, str]:
    """Kind, mode, time and digest of all in a folder; git may freshen the time of an object that it meets again."""
    found = {}
    for path in sorted(folder.rglob("*")):
        info = path.lstat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        changed = 0 if ".git/objects/" in str(path) else info.st_mtime_ns
        found[str(path)] = f"{info.st_mode:o} {changed} {digest}"
    return found


def modify(repo: Path) -> None:
    text = (repo / "train.py").read_text().replace("line 7\n", "line seven\n")
    (repo / "train.py").write_text(text)


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
    found, hostile_patch, unknown = observe(repo)
    assert set(unknown) == {"code.repository.url", "code.repository.unpushed"}, unknown
    assert found == expected
    assert hostile_patch == patch
    (home / ".gitconfig").write_text(kept)
    assert applied(repo, found, hostile_patch, tmp_path / "clone") == found.tree


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
    monkeypatch.setattr(capture, "TOTAL_LIMIT", 25_000)
    monkeypatch.setattr(capture, "FILE_LIMIT", 10_000)
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


def test_the_limits_are_those_of_the_documentation(repo: Path) -> None:
    (repo / "large").write_bytes(b"x" * 1_000_001)
    (repo / "fits").write_bytes(b"x" * 1_000_000)
    repository, patch, _ = observe(repo)
    assert repository.omitted == (Omitted(path="large", bytes=1_000_001, reason="over 1 MB"),)
    assert b"b/fits" in patch


def test_many_omitted_files_are_told_by_their_folder(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "LISTED", 3)
    monkeypatch.setattr(capture, "FILE_LIMIT", 10)
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


def test_secrets_in_added_lines_are_redacted(repo: Path, tmp_path: Path) -> None:
    (repo / "with space.py").write_text(f'a = 1\nlogin(token="{TOKEN}")\npath = "{Path.home()}/x"\r\nend')
    (repo / "train.py").write_text((repo / "train.py").read_text() + f"{TOKEN}\n")
    (repo / "ordinary.py").write_text("token = tokenizer.pad_token\nsecret = False\n")
    repository, patch, _ = observe(repo)
    assert TOKEN.encode() not in patch
    omitted = {each.path: each.reason for each in repository.omitted}
    assert omitted == dict.fromkeys(["train.py", "with space.py"], "redacted: holds a secret")
    assert applied(repo, repository, patch, tmp_path / "clone") != repository.tree
    clone = tmp_path / "clone"
    kept = f'a = 1\nlogin(token="<redacted:huggingface>")\npath = "{Path.home()}/x"\r\nend'
    assert (clone / "with space.py").read_bytes() == kept.encode()
    assert (clone / "ordinary.py").read_text() == (repo / "ordinary.py").read_text()
    git(repo, "add", "-A")
    assert git(repo, "write-tree") == repository.tree


def test_files_with_a_secret_elsewhere_are_left_out(repo: Path, tmp_path: Path) -> None:
    odd = 'o"dd\n\xfc.py'
    for name in (odd, "context.py", "gone.py"):
        (repo / name).write_text(f"a = 1\n{TOKEN}\nb = 1\n")
    (repo / "turned.py").write_text(TOKEN)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "a mistake")
    (repo / odd).write_text("a = 1\n\nb = 1\n")
    (repo / "context.py").write_text(f"a = 2\n{TOKEN}\nb = 1\n")
    (repo / "gone.py").unlink()
    (repo / "turned.py").unlink()
    (repo / "turned.py").symlink_to("train.py")
    body = "\n".join(hashlib.sha256(bytes([number])).hexdigest() for number in range(5))
    (repo / "key.pem").write_text(f"-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\n")
    modify(repo)
    repository, patch, _ = observe(repo)
    omitted = {each.path: each.reason for each in repository.omitted}
    names = [odd, "context.py", "gone.py", "turned.py", "key.pem"]
    assert omitted == dict.fromkeys(names, "left out: holds a secret")
    assert {each.path: each.bytes for each in repository.omitted}["gone.py"] is None
    assert TOKEN.encode() not in patch
    assert body.splitlines()[2].encode() not in patch
    assert patch.count(b"diff --git") == 1
    applied(repo, repository, patch, tmp_path / "clone")


def test_all_that_changed_may_be_secret(repo: Path) -> None:
    (repo / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n")
    repository, patch, _ = observe(repo)
    assert (repository.dirty, repository.patch, patch) == (True, None, b"")
    assert repository.tree != git(repo, "rev-parse", "HEAD^{tree}")


def test_pointers_of_large_file_storage_are_told(repo: Path, home: Path) -> None:
    script = home / "clean"
    pointer = r"version https://git-lfs.github.com/spec/v1\noid sha256:%s\n"
    script.write_text(f"#!/bin/sh\nprintf '{pointer}' $(sha256sum | cut -c 1-64)\n")
    script.chmod(0o755)
    git(repo, "config", "--global", "filter.lfs.clean", str(script))
    (repo / ".gitattributes").write_text("*.bin filter=lfs\n")
    (repo / "gone.bin").write_bytes(b"x")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "attributes")
    (repo / "gone.bin").unlink()
    (repo / "new.bin").write_bytes(b"x" * 100)
    (repo / "weights.bin").write_bytes(b"y")
    repository, patch, _ = observe(repo)
    reason = "kept by Git LFS: the patch holds its pointer"
    assert repository.omitted == (
        Omitted(path="new.bin", bytes=100, reason=reason),
        Omitted(path="weights.bin", bytes=1, reason=reason),
    )
    assert b"+oid sha256:" in patch


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


def test_a_sparse_checkout_misses_nothing(repo: Path) -> None:
    git(repo, "sparse-checkout", "set", "becomes_file")
    (repo / "becomes_file" / "inner.txt").write_text("changed\n")
    repository, patch, _ = observe(repo)
    assert patch.count(b"diff --git") == 1
    assert repository.omitted == ()


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
    found = capture.worktree(folder, project=folder, exclude=exclude, unknown=unknown)
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
    monkeypatch.setattr(capture, "SECONDS", 0.5)
    monkeypatch.setattr(capture, "GRACE", 0.5)
    shim(tmp_path, monkeypatch, "sleep 60 & sleep 60")
    started = time.monotonic()
    assert outside(repo) == "git timed out after 0.5 s"
    assert time.monotonic() - started < 10


def test_a_status_that_never_ends_leaves_the_commit(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "SECONDS", 0.0)
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


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    yield
    assert list(scratch.iterdir()) == []
