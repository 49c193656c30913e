"""Real git repositories with a private configuration, and what the git probe says of them."""

import hashlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ckptkit.capture.git import worktree
from ckptkit.record import Repository


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home with git's configuration; at the end nothing may be left in the folder for temporary files."""
    private = tmp_path / "home"
    private.mkdir()
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(private))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(private / "xdg"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    identity = "[user]\n name = Nobody\n email = nobody@example.org\n[init]\n defaultBranch = main\n"
    (private / ".gitconfig").write_text(identity + '[protocol "file"]\n allow = always\n')
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    yield private
    assert list(scratch.iterdir()) == []


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
    found = worktree(folder, project=project or folder, exclude=exclude, unknown=unknown)
    assert found.repository is not None, unknown
    assert Repository.from_dict(found.repository.to_dict()) == found.repository
    assert (found.repository.patch == "code.patch") == bool(found.patch)
    return found.repository, found.patch, unknown


def applied(source: Path, repository: Repository, patch: bytes, clone: Path, to: str = "--index") -> str:
    """The tree of a clean clone at the recorded commit, with the patch applied to files and index, or ``to`` this."""
    git(source.parent, "clone", "-q", "--no-checkout", str(source), str(clone))
    if repository.commit:
        git(clone, "checkout", "-q", "--detach", repository.commit)
    if patch:
        git(clone, "apply", to, "--binary", "--whitespace=nowarn", stdin=patch)
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


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Time and size of all in a folder, objects included."""
    found = {path: path.lstat() for path in (folder, *folder.rglob("*"))}
    return {str(path): (info.st_mtime_ns, info.st_size) for path, info in found.items()}


def modify(repo: Path) -> None:
    text = (repo / "train.py").read_text().replace("line 7\n", "line seven\n")
    (repo / "train.py").write_text(text)
