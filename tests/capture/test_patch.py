"""The patch: what is redacted in it, and what is left out of it."""

import hashlib
from pathlib import Path

import repositories
from repositories import applied, git, modify, observe

from ckptkit.record import Omitted

home, repo = repositories.home, repositories.repo
TOKEN = "hf_" + "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3z"


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
