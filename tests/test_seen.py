import hashlib
import json
import os
from pathlib import Path

import pytest
from registries import publish

from ckptkit import hashing, seen
from ckptkit.verbs.merge import merge

KEY = f"sha256:{'5e' * 32}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "runs" / ".ckptkit").mkdir(parents=True)
    return tmp_path / "runs"


def file(root: Path) -> Path:
    return root / ".ckptkit" / "seen" / f"{'5e' * 32}.json"


def test_the_last_place_comes_first_and_none_twice(root: Path) -> None:
    assert seen.recall(root, KEY) == []
    for name in ("one", "two", "three", "one"):
        seen.remember(root, KEY, Path("/data") / name, 12, 3)
    assert seen.recall(root, KEY) == [Path("/data/one"), Path("/data/three"), Path("/data/two")]
    assert seen.recall(root, f"sha256:{'5f' * 32}") == []
    assert json.loads(file(root).read_bytes()) == {
        "schema": "ckptkit/seen/1",
        "key": KEY,
        "files": 3,
        "bytes": 12,
        "paths": ["/data/one", "/data/three", "/data/two"],
    }
    assert [path.name for path in (root / ".ckptkit").rglob("*") if path.is_file()] == [file(root).name]


def test_eight_places_are_kept(root: Path) -> None:
    for number in range(12):
        seen.remember(root, KEY, Path(f"/data/{number}"), 1, 1)
    assert seen.recall(root, KEY) == [Path(f"/data/{number}") for number in range(11, 3, -1)]


@pytest.mark.parametrize("name", ["a\nb", os.fsdecode(b"\xff"), "ä \\ b"])
def test_any_name(root: Path, name: str) -> None:
    seen.remember(root, KEY, Path("/data") / name, 1, 1)
    assert seen.recall(root, KEY) == [Path("/data") / name]


@pytest.mark.parametrize(
    "data", [b"", b"junk", b"[]", b'{"paths": "/data"}', b'{"paths": [1, null]}', b'{"paths": {}}']
)
def test_what_is_damaged_says_nothing_and_is_replaced(root: Path, data: bytes) -> None:
    file(root).parent.mkdir()
    file(root).write_bytes(data)
    assert seen.recall(root, KEY) == []
    seen.remember(root, KEY, Path("/data/one"), 1, 1)
    assert seen.recall(root, KEY) == [Path("/data/one")]


@pytest.mark.parametrize("odd", ["no registry", "a file in the folder's place", "a folder in the file's place"])
def test_a_disk_that_refuses_costs_nothing_but_the_memory(root: Path, odd: str) -> None:
    if odd == "no registry":
        (root / ".ckptkit").rmdir()
    elif odd.startswith("a file"):
        (root / ".ckptkit" / "seen").write_text("")
    else:
        file(root).mkdir(parents=True)
    seen.remember(root, KEY, Path("/data/one"), 1, 1)
    assert seen.recall(root, KEY) == []
    assert not list(root.rglob(".*.json.*"))


def test_the_key_of_what_was_not_hashed_is_the_digest_of_its_list(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("12")
    (tmp_path / "b\nc").write_text("1")
    text = b"2  ./a.txt\n\\1  ./b\\nc\n"
    assert seen.unhashed(hashing.scan(tmp_path).lines()) == f"sha256:{hashlib.sha256(text).hexdigest()}"


def test_merge_leaves_it_where_it_is(root: Path, tmp_path: Path) -> None:
    publish(tmp_path / "cluster")
    seen.remember(tmp_path / "cluster", KEY, Path("/nfs/data"), 1, 1)
    merge(tmp_path / "cluster", root=root)
    assert (root / "penguins" / "v0001").is_dir()
    assert seen.recall(root, KEY) == []
