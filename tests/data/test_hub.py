"""The cache of the Hugging Face Hub, laid out as huggingface_hub does it."""

from pathlib import Path

import pytest
from tracked import HASHES, agreed, put

from ckptkit.data import pointers

COMMIT = "c0ffee" * 6 + "beef"


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A snapshot of one large file, named by its SHA-256, and one small one, named by git's id."""
    repo = tmp_path / "hub/datasets--org--penguins"
    put(repo / "blobs", {HASHES["sha256"]: "hello a.csv", HASHES["git"]: "hello a.csv"})
    folder = repo / "snapshots" / COMMIT
    (folder / "data").mkdir(parents=True)
    (folder / "data/large.csv").symlink_to(f"../../../blobs/{HASHES['sha256']}")
    (folder / "small.csv").symlink_to(f"../../blobs/{HASHES['git']}")
    return folder


def test_a_snapshot_and_its_files(snapshot: Path, tmp_path: Path) -> None:
    known = {"type": "dataset", "repo": "org/penguins", "revision": COMMIT}
    assert agreed(snapshot, tmp_path).source == {"hub": {**known, "agrees": True}}
    assert agreed(snapshot / "data", tmp_path).source == {"hub": {**known, "file": "data", "agrees": True}}
    large = agreed(snapshot / "data/large.csv", tmp_path)
    assert large.source == {"hub": {**known, "file": "data/large.csv", "blob": HASHES["sha256"], "agrees": True}}
    assert (large.digest, large.files) == (f"sha256:{HASHES['sha256']}", 1)
    small = agreed(snapshot / "small.csv", tmp_path)
    assert (small.source["hub"]["blob"], small.source["hub"]["agrees"], small.digest) == (HASHES["git"], True, None)


@pytest.mark.parametrize("name", ["data/large.csv", "small.csv"])
def test_a_blob_that_is_not_what_its_name_says(name: str, snapshot: Path, tmp_path: Path) -> None:
    (snapshot / name).resolve().write_text("damaged")
    for path in (snapshot, snapshot / name):
        found = agreed(path, tmp_path).source["hub"]
        assert found["agrees"] is False
        assert found["difference"].endswith(Path(name).name)


def test_links_into_the_cache(snapshot: Path, tmp_path: Path) -> None:
    (tmp_path / "near.csv").symlink_to(snapshot / "data/large.csv")
    (tmp_path / "nearer.csv").symlink_to("near.csv")
    (tmp_path / "folder").symlink_to(snapshot)
    for name, file in {"nearer.csv": "data/large.csv", "folder/small.csv": "small.csv", "folder": None}.items():
        found = agreed(tmp_path / name, tmp_path).source["hub"]
        assert (found.get("file"), found["agrees"]) == (file, True)


def test_a_blob_that_several_repositories_share(snapshot: Path, tmp_path: Path) -> None:
    blob = snapshot.parents[1] / "blobs" / HASHES["sha256"]
    put(tmp_path / "hub/blobs/0a", {"0a" * 32: "hello a.csv"})
    blob.unlink()
    blob.symlink_to(f"../../blobs/0a/{'0a' * 32}")
    assert agreed(snapshot / "data/large.csv", tmp_path).source["hub"]["agrees"] is True


def test_what_is_absent_and_what_is_a_wrong_name(snapshot: Path, tmp_path: Path) -> None:
    assert pointers.find(snapshot / "smal.csv", tmp_path) is None
    (snapshot / "small.csv").resolve().unlink()
    found = pointers.find(snapshot / "small.csv", tmp_path)
    assert found is not None
    command = f"hf download org/penguins small.csv --repo-type dataset --revision {COMMIT}"
    assert found.absent == f"only its pointer is here; `{command}` brings its content"
    other = snapshot.with_name("0" * 40)
    for path in (other, other / "x.csv"):
        absent = pointers.find(path, tmp_path)
        assert absent is not None
        assert absent.source["hub"]["absent"] is True


def test_copies_instead_of_links_are_not_compared(snapshot: Path, tmp_path: Path) -> None:
    (snapshot / "small.csv").unlink()
    put(snapshot, {"small.csv": "hello a.csv"})
    assert "are no links" in agreed(snapshot, tmp_path).source["hub"]["why_not"]


def test_kinds_and_names_of_repositories(tmp_path: Path) -> None:
    for folder, kind, repo in (("models--gpt2", "model", "gpt2"), ("spaces--a--b-c", "space", "a/b-c")):
        put(tmp_path, {f"{folder}/snapshots/main/x": "x"})
        found = agreed(tmp_path / folder / "snapshots/main", tmp_path).source["hub"]
        assert (found["type"], found["repo"], found["revision"]) == (kind, repo, "main")
    (tmp_path / "a loop").symlink_to("a loop")
    assert pointers.find(tmp_path / "a loop", tmp_path) is None
