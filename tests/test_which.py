import hashlib
import json
import os
import shutil
import stat
from pathlib import Path

import pytest
from registries import publish

from ckptkit import hash_cache, registry
from ckptkit.cli import main
from ckptkit.errors import CkptkitError, NotFoundError
from ckptkit.verbs.delete import delete
from ckptkit.verbs.prune import prune
from ckptkit.verbs.rename import rename
from ckptkit.verbs.which import Match, which

FIRST, SECOND = b"the first weights", b"the second weights"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "runs"
    publish(root, files={"model.safetensors": FIRST, "shard/b.bin": b"b"})
    publish(root, files={"model.safetensors": SECOND}, message="second")
    publish(root, "whales", files={"w.bin": FIRST})
    return root


@pytest.fixture
def found(root: Path, tmp_path: Path) -> Path:
    """A file that turned up."""
    assert root.is_dir()
    path = tmp_path / "found.bin"
    path.write_bytes(SECOND)
    return path


def places(*matches: Match) -> list[tuple[str, str | None, str]]:
    return [(match.ref, match.path, match.state) for match in matches]


def test_a_file_by_its_bytes(root: Path, found: Path) -> None:
    answer = which(found)
    assert answer.sha256 == hashlib.sha256(SECOND).hexdigest()
    assert (answer.files, answer.unknown) == (1, ())
    assert answer.matches == (
        Match(root="runs", ref="penguins/v0002", path="model.safetensors", file=None, state="here", deleted=None),
    )
    found.write_bytes(FIRST)
    assert places(*which("found.bin").matches) == [
        ("penguins/v0001", "model.safetensors", "here"),
        ("whales/v0001", "w.bin", "here"),
    ]
    assert which(root / "penguins" / "v0001" / "shard" / "b.bin").matches[0].path == "shard/b.bin"


def test_records_are_found_too(root: Path) -> None:
    for name in ("lineage.json", "config.yaml", "SHA256SUMS"):
        shutil.copy(root / "penguins" / "v0002" / name, root.parent / name)
    assert places(*which("lineage.json").matches) == [("penguins/v0002", "lineage.json", "here")]
    assert ("penguins/v0002", "config.yaml", "here") in places(*which("config.yaml").matches)
    assert places(*which("SHA256SUMS").matches) == [("penguins/v0002", None, "here")]


def test_what_was_pruned_deleted_or_removed(root: Path, found: Path) -> None:
    prune("penguins", keep_last=1, root=root)
    found.write_bytes(FIRST)
    assert ("penguins/v0001", "model.safetensors", "pruned") in places(*which(found).matches)
    delete("penguins/2", root=root)
    found.write_bytes(SECOND)
    event = registry.read_model(root / "penguins").state.deleted["v0002"]
    (match,) = which(found).matches
    assert (match.ref, match.path, match.state, match.deleted) == (
        "penguins/v0002",
        "model.safetensors",
        "deleted",
        event.time,
    )
    assert places(*which(str(event.digest)).matches) == [("penguins/v0002", None, "deleted")]
    digest = registry.digest_of(root / "whales" / "v0001")
    shutil.rmtree(root / "whales" / "v0001")
    assert places(*which(digest).matches) == [("whales/v0001", None, "missing")]


def test_a_deleted_versions_records(root: Path) -> None:
    shutil.copy(root / "penguins" / "v0002" / "lineage.json", root.parent / "found.json")
    delete("penguins/2", root=root)
    assert places(*which("found.json").matches) == [("penguins/v0002", "lineage.json", "deleted")]


def test_a_file_that_a_clone_lacks(root: Path, found: Path) -> None:
    (root / "penguins" / "v0002" / "model.safetensors").unlink()
    assert places(*which(found).matches) == [("penguins/v0002", "model.safetensors", "missing")]


def test_under_todays_names(root: Path, found: Path) -> None:
    rename("penguins/2", "7", root=root)
    rename("penguins", "birds", root=root)
    assert places(*which(found).matches) == [("birds/v0007", "model.safetensors", "here")]


def test_digests_of_versions_and_files(root: Path) -> None:
    digest = registry.digest_of(root / "penguins" / "v0002")
    assert places(*which(digest).matches) == [("penguins/v0002", None, "here")]
    assert places(*which(digest[: len("sha256:") + 8].upper()).matches) == [("penguins/v0002", None, "here")]
    sha256 = hashlib.sha256(SECOND).hexdigest()
    assert places(*which(f"sha256:{sha256[:12]}").matches) == [("penguins/v0002", "model.safetensors", "here")]
    lineage = hashlib.sha256((root / "penguins" / "v0001" / "lineage.json").read_bytes()).hexdigest()
    assert places(*which(f"sha256:{lineage[:9]}").matches) == [("penguins/v0001", "lineage.json", "here")]
    assert which(f"sha256:{'0' * 64}").matches == ()


@pytest.mark.parametrize("what", ["sha256:1234567", "sha256:xyz", f"sha256:{'0' * 65}"])
def test_what_is_no_digest(root: Path, what: str) -> None:
    with pytest.raises(CkptkitError, match="is no digest") as caught:
        which(what, root=[root])
    assert caught.value.exit_code == 2
    assert "at least 8 hexadecimal digits" in caught.value.hint


def test_a_versions_folder_wherever_it_lies(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "penguins" / "v0002", tmp_path / "copy")
    for folder in (root / "penguins" / "v0002", tmp_path / "copy"):
        assert places(*which(folder).matches) == [("penguins/v0002", None, "here")]


def test_a_folders_files(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.bin").write_bytes(SECOND)
    (folder / "deep" / "b.bin").write_bytes(b"b")
    (folder / "notes.txt").write_bytes(b"mine")
    shutil.copy(root / "penguins" / "v0002" / "lineage.json", folder)
    answer = which(folder)
    assert (answer.files, answer.unknown) == (4, ("notes.txt",))
    assert [(match.file, match.ref, match.path) for match in answer.matches] == [
        ("a.bin", "penguins/v0002", "model.safetensors"),
        ("deep/b.bin", "penguins/v0001", "shard/b.bin"),
        ("lineage.json", "penguins/v0002", "lineage.json"),
    ]


def test_the_folder_of_a_dataset(root: Path, tmp_path: Path) -> None:
    import ckptkit

    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.csv").write_text("1,2")
    (tmp_path / "w.bin").write_bytes(b"more")
    version = ckptkit.save(tmp_path / "w.bin", model="fish", data={"train": tmp_path / "train"}, root=root)
    assert version is not None
    assert places(*which(tmp_path / "train").matches) == [(version.ref, "data/train.sha256", "here")]


def test_several_registries(found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(tmp_path / "more", "seals", files={"s.bin": SECOND})
    assert [(match.root, match.ref) for match in which(found, root=["runs", tmp_path / "more"]).matches] == [
        ("runs", "penguins/v0002"),
        ("more", "seals/v0001"),
    ]
    assert main(["which", "found.bin", "--root", "runs", "--root", "more"]) == 0
    assert capsys.readouterr().out == ("runs  penguins/v0002/model.safetensors  here\nmore  seals/v0001/s.bin  here\n")
    with pytest.raises(NotFoundError, match="no registry at"):
        which(found, root=["runs", "nowhere"])


def test_what_is_printed(root: Path, found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old").mkdir()
    shutil.copy(found, tmp_path / "old")
    (tmp_path / "old" / "b.bin").write_bytes(b"b")
    (tmp_path / "old" / "mine.txt").write_bytes(b"mine")
    assert main(["which", "old"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "penguins/v0001  1 of 3 files  here",
        "penguins/v0002  1 of 3 files  here",
        "in no version: 1 of 3 files: mine.txt",
    ]
    delete("penguins/2", root=root)
    assert main(["which", "found.bin"]) == 0
    assert capsys.readouterr().out.startswith("penguins/v0002/model.safetensors  deleted on 20")
    assert main(["which", "found.bin", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "ckptkit/which/1"
    assert [match["ref"] for match in document["matches"]] == ["penguins/v0002"]


def test_none_is_a_no(found: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found.write_bytes(b"unheard of")
    assert main(["which", "found.bin"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "no version in runs holds found.bin" in err
    assert main(["which", "found.bin", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["matches"] == []


@pytest.mark.usefixtures("root")
def test_what_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    for what, words in (("pipe", "pipe is not a regular file"), ("nowhere", "no file nowhere"), ("empty", "no file")):
        with pytest.raises(CkptkitError, match=words) as caught:
            which(what)
        assert caught.value.exit_code == 2


def test_a_known_file_is_not_read_again(found: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(found, (1, 1))
    monkeypatch.setattr(hash_cache.Cache, "_GRANULARITY", 0)
    which(found)
    monkeypatch.delattr(os, "readv")
    assert which(found).matches


def test_a_registry_that_cannot_be_written(root: Path, found: Path) -> None:
    (root / "index.json").unlink()
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*")) if path.is_dir()}
    before = sorted(root.rglob("*"))
    for path in modes:
        path.chmod(0o555)
    try:
        assert which(found).matches[0].ref == "penguins/v0002"
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    assert sorted(root.rglob("*")) == before
