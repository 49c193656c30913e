"""Pointers of Git LFS in real repositories; its filter never runs, as the index alone is asked."""

import hashlib
from pathlib import Path

import pytest
import repositories
from repositories import git
from tracked import agreed, put

from ckptkit.data import pointers

home = repositories.home


def pointer(content: str) -> str:
    oid = hashlib.sha256(content.encode()).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"


def digest(content: str) -> str:
    return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"


@pytest.fixture
def repo(tmp_path: Path, home: Path) -> Path:
    """A clone with `data/` in LFS; one of its files is here, one is a pointer, one is not checked out."""
    assert home.is_dir()
    folder = tmp_path / "repo"
    put(folder, {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "data/plain.txt": "plain"})
    git(folder, "init", "-q")
    git(folder, "remote", "add", "origin", "https://me:token@example.org/data.git")
    git(folder, "add", ".")
    for name, content in {"here é.bin": "here", "there.bin": "there", "gone.bin": "gone"}.items():
        blob = git(folder, "hash-object", "-w", "--stdin", stdin=pointer(content).encode())
        git(folder, "update-index", "--add", "--cacheinfo", f"100644,{blob},data/{name}")
    put(folder, {"data/here é.bin": "here", "data/there.bin": pointer("there")})
    return folder


def test_a_file_whose_content_is_here(repo: Path) -> None:
    found = agreed(repo / "data/here é.bin", repo)
    assert found.source == {
        "git_lfs": {"oid": digest("here"), "size": 4, "remote": "https://example.org/data.git", "agrees": True}
    }
    assert (found.absent, found.digest, found.bytes, found.files) == (None, digest("here"), 4, 1)
    put(repo, {"data/here é.bin": "edit"})
    changed = agreed(repo / "data/here é.bin", repo).source["git_lfs"]
    assert changed["agrees"] is False
    assert changed["difference"] == "has other content than git's pointers say in 1 file: here é.bin"


def test_a_pointer_in_place_of_content(repo: Path, tmp_path: Path) -> None:
    found = pointers.find(repo / "data/there.bin", repo)
    assert found is not None
    assert found.absent == "only its pointer is here; `git lfs pull` brings its content"
    assert found.source["git_lfs"] == {
        "oid": digest("there"),
        "size": 5,
        "remote": "https://example.org/data.git",
        "absent": True,
    }
    put(tmp_path, {"no repository/x.bin": pointer("x")})
    alone = pointers.find(tmp_path / "no repository/x.bin", tmp_path)
    assert alone is not None
    assert (alone.source["git_lfs"]["oid"], alone.digest) == (digest("x"), digest("x"))


def test_a_file_that_is_not_checked_out(repo: Path) -> None:
    found = pointers.find(repo / "data/gone.bin", repo)
    assert found is not None
    words = "only its pointer is here; `git restore data/gone.bin` brings its content"
    assert found.absent == words
    assert found.digest == digest("gone")
    assert pointers.find(repo / "data/wrong name.bin", repo) is None
    assert pointers.find(repo / "no folder/x.bin", repo) is None


def test_a_folder_in_which_some_files_hold_pointers(repo: Path) -> None:
    found = agreed(repo / "data", repo)
    assert found.absent is None
    assert found.source["git_lfs"] == {
        "files": 3,
        "pointers": 1,
        "such_as": ["there.bin"],
        "remote": "https://example.org/data.git",
        "agrees": True,
    }
    put(repo, {"data/here é.bin": "edited"})
    changed = agreed(repo / "data", repo).source["git_lfs"]
    assert changed["difference"] == "has other content than git's pointers say in 1 file: here é.bin"


def test_a_folder_of_nothing_but_pointers(repo: Path) -> None:
    for name in "ab":
        blob = git(repo, "hash-object", "-w", "--stdin", stdin=pointer(name).encode())
        git(repo, "update-index", "--add", "--cacheinfo", f"100644,{blob},all/{name}.bin")
    put(repo, {"all/a.bin": pointer("a"), "all/b.bin": pointer("b")})
    found = pointers.find(repo / "all", repo)
    assert found is not None
    assert found.absent == "only its pointer is here; `git lfs pull` brings its content"


def test_attributes_that_git_has_for_a_part_of_its_tree(repo: Path) -> None:
    put(repo, {"deep/below/.gitattributes": "*.dat filter=lfs\n", "deep/below/a.dat": "a"})
    blob = git(repo, "hash-object", "-w", "--stdin", stdin=pointer("a").encode())
    git(repo, "update-index", "--add", "--cacheinfo", f"100644,{blob},deep/below/a.dat")
    (repo / "link").symlink_to("deep")
    for place in ("deep", "link", "deep/below/a.dat"):
        assert agreed(repo / place, repo).source["git_lfs"]["agrees"] is True, place
    put(repo, {"deep/below/a.dat": "b"})
    assert agreed(repo / "deep", repo).source["git_lfs"]["agrees"] is False


def test_what_is_no_pointer(repo: Path) -> None:
    almost = pointer("x")
    put(
        repo,
        {
            "a.txt": almost.replace("size 1", "size one"),
            "b.txt": almost + "more\n",
            "c.txt": almost.replace("sha256:", "sha256:0"),
            "d.txt": almost + " " * 1024,
        },
    )
    for name in ("a.txt", "b.txt", "c.txt", "d.txt", "data/plain.txt"):
        assert pointers.find(repo / name, repo) is None


def test_the_address_of_lfs_itself_comes_first(repo: Path) -> None:
    put(repo, {".lfsconfig": "[lfs]\n\turl = https://me:token@lfs.example.org/store\n"})
    git(repo, "add", ".lfsconfig")
    assert agreed(repo / "data/here é.bin", repo).source["git_lfs"]["remote"] == "https://lfs.example.org/store"


def test_without_git_there_is_no_pointer(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert pointers.find(repo / "data/here é.bin", repo) is None
    held = pointers.find(repo / "data/there.bin", repo)
    assert held is not None
    assert "remote" not in held.source["git_lfs"]
