"""Pointers as a whole: several systems at once, and none that can fail a save."""

import json
import os
from pathlib import Path

import pytest
from tracked import EVIL, HASHES, agreed, put

from ckptkit.data import pointers


def test_a_path_that_nothing_tracks_has_no_pointer(tmp_path: Path) -> None:
    put(tmp_path, {"train.csv": "a", "folder/b.csv": "b"})
    for name in ("train.csv", "folder", "folder/b.csv", "absent.csv", "absent/b.csv"):
        assert pointers.find(tmp_path / name, tmp_path) is None
        assert pointers.steps(tmp_path / name, tmp_path) == ()


def test_two_systems_speak_of_one_path(tmp_path: Path) -> None:
    put(tmp_path, {f"hub/datasets--a--b/blobs/{HASHES['sha256']}": "hello a.csv"})
    snapshot = tmp_path / "hub/datasets--a--b/snapshots" / ("c0" * 20)
    snapshot.mkdir(parents=True)
    (snapshot / "a.csv").symlink_to(f"../../blobs/{HASHES['sha256']}")
    (tmp_path / "a.csv").symlink_to(snapshot / "a.csv")
    put(tmp_path, {"a.csv.dvc": f"outs:\n- md5: {HASHES['md5']}\n  size: 11\n  hash: md5\n  path: a.csv\n"})
    found = agreed(tmp_path / "a.csv", tmp_path)
    assert found.source == {
        "dvc": {"file": "a.csv.dvc", "md5": HASHES["md5"], "hash": "md5", "size": 11, "agrees": True},
        "hub": {
            "type": "dataset",
            "repo": "a/b",
            "revision": "c0" * 20,
            "file": "a.csv",
            "blob": HASHES["sha256"],
            "agrees": True,
        },
    }
    assert (found.digest, found.bytes, found.files) == (f"sha256:{HASHES['sha256']}", 11, 1)
    (tmp_path / "a.csv").resolve().unlink()
    absent = pointers.find(tmp_path / "a.csv", tmp_path)
    assert absent is not None
    assert absent.absent is not None
    assert "`dvc pull a.csv.dvc` brings its content" in absent.absent
    assert [absent.source[system]["absent"] for system in ("dvc", "hub")] == [True, True]
    json.dumps(absent.source)


@pytest.mark.parametrize("kind", [*EVIL, "fifo", "folder", "huge"])
def test_a_damaged_pointer_is_said_to_be_unreadable(kind: str, tmp_path: Path) -> None:
    put(tmp_path, {"a.csv": "hello a.csv"})
    pointer = tmp_path / "a.csv.dvc"
    if kind == "fifo":
        os.mkfifo(pointer)
    elif kind == "folder":
        pointer.mkdir()
    elif kind == "huge":
        pointer.touch()
        os.truncate(pointer, 1 << 30)
    else:
        pointer.write_bytes(EVIL[kind])
    found = agreed(tmp_path / "a.csv", tmp_path)
    assert found.absent is None
    assert found.source["dvc"].keys() == {"file", "unreadable"}, found.source
    assert found.source["dvc"]["file"] == "a.csv.dvc"
    (tmp_path / "a.csv").unlink()
    assert pointers.find(tmp_path / "a.csv", tmp_path) is None


def test_a_damaged_lock_is_said_and_has_no_steps(tmp_path: Path) -> None:
    put(
        tmp_path, {"a.csv": "x", "dvc.lock": "<<<<<<< HEAD\nschema: '2.0'\n=======\n>>>>>>> other\n", ".dvc/config": ""}
    )
    found = agreed(tmp_path / "a.csv", tmp_path)
    assert found.source["dvc"]["file"] == "dvc.lock"
    assert found.source["dvc"]["unreadable"].startswith("is not YAML")
    assert pointers.steps(tmp_path / "a.csv", tmp_path) == ()


def test_content_that_changes_after_it_was_hashed_is_not_compared(tmp_path: Path) -> None:
    put(tmp_path, {"a.csv": "hello a.csv"})
    put(tmp_path, {"a.csv.dvc": f"outs:\n- md5: {HASHES['md5']}\n  hash: md5\n  path: a.csv\n"})
    found = agreed(tmp_path / "a.csv", tmp_path, before_check=lambda: put(tmp_path, {"a.csv": "other"}))
    assert found.source["dvc"]["why_not"] == "a.csv changed after it was hashed"
    assert "agrees" not in found.source["dvc"]
