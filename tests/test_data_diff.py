import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from declared import dataset, folder, listed, one, sha256, unhashed
from registries import publish

from ckptkit import documents, index, manifest, registry
from ckptkit.cli import main
from ckptkit.errors import CkptkitError, NotFoundError
from ckptkit.inventory import File
from ckptkit.verbs.data_diff import Difference, data_diff

OLD = {"a": "1", "b": "2", "c": "3", "d/e": "4"}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def train(root: Path) -> Difference:
    return data_diff("penguins/1", "penguins/2", root=root).datasets["train"]


def names(files: Any) -> list[Any]:
    return [os.fsdecode(each.path) if isinstance(each, File) else tuple(names(each)) for each in files]


def kinds(found: Difference) -> dict[str, Any]:
    assert found.files is not None
    every = ("added", "removed", "changed", "renamed", "unknown")
    return {kind: names(getattr(found.files, kind)) for kind in every if getattr(found.files, kind)}


def test_every_way_to_differ(root: Path) -> None:
    folder(root, OLD)
    folder(root, {"a": "1", "b": "changed", "moved/c": "3", "new": "5"})
    found = train(root)
    assert found.state == "different"
    assert found.files is not None
    assert found.files.same == 1
    assert kinds(found) == {
        "added": ["new"],
        "removed": ["d/e"],
        "changed": [("b", "b")],
        "renamed": [("c", "moved/c")],
    }


def test_equal_digests_are_the_same_wherever_it_lay(root: Path) -> None:
    folder(root, OLD)
    folder(root, OLD, path="elsewhere", outside=True)
    (root / "penguins" / "v0001" / "data" / "train.sha256").unlink()  # not needed to tell
    found = data_diff("penguins/1", "penguins/2", root=root)
    assert (found.datasets["train"].state, found.datasets["train"].files, found.differs) == ("same", None, False)


def test_copies_are_renamed_once_each_in_their_order(root: Path) -> None:
    folder(root, {"a": "", "b": "", "k": "1"})
    folder(root, {"x": "", "y": "", "z": "", "k": "1"})
    assert kinds(train(root)) == {"renamed": [("a", "x"), ("b", "y")], "added": ["z"]}


@pytest.mark.parametrize("name", ["a b", "-a", "a\nb", "a\rb", "a\\b", os.fsdecode(b"a\xffb"), "ä", "\u202etxt"])
def test_every_name_that_a_file_can_have(root: Path, name: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    folder(root, {"k": "1"})
    folder(root, {"k": "1", name: "2", f"{name}/sub": "3"})
    assert kinds(train(root)) == {"added": [name, f"{name}/sub"]}
    assert main(["data", "diff", "penguins/1", "penguins/2", "--json"]) == 1
    document = json.loads(capfdbinary.readouterr().out)
    assert [each["path"] for each in document["datasets"]["train"]["added"]] == [name, f"{name}/sub"]
    assert main(["data", "diff", "penguins/1", "penguins/2"]) == 1
    text = capfdbinary.readouterr().out
    assert text.count(b"\n") == 3
    assert not {"\r", "\u202e", "\udcff"} & set(text.decode())


def test_the_order_is_that_of_bytes(root: Path) -> None:
    folder(root, {"a": "1", "a.b": "2", "a/b": "3", "B": "4", os.fsdecode(b"\xff"): "5", "\U0001f40b": "6"})
    folder(root, {"a.b": "2", "B": "4", "\U0001f40b": "6", "z": "7"})
    found = train(root)
    assert found.files is not None
    assert found.files.same == 3
    assert kinds(found) == {"added": ["z"], "removed": ["a", "a/b", os.fsdecode(b"\xff")]}


def test_a_large_manifest_is_read_in_parts(root: Path) -> None:
    many = {f"{number:06}-{'x' * 60}": str(number) for number in range(20_000)}  # 2.7 MB
    folder(root, many)
    folder(root, many | {"000003-new": "", f"010000-{'x' * 60}": "changed"})
    found = train(root)
    assert found.files is not None
    assert found.files.same == 19_999
    assert kinds(found) == {"added": ["000003-new"], "changed": [(f"010000-{'x' * 60}",) * 2]}


def test_what_was_not_hashed_is_unknown_and_never_the_same(root: Path) -> None:
    unhashed(root, {"a\n": "1", "b": "2"})
    unhashed(root, {"a\n": "1", "b": "9"})
    found = data_diff("penguins/1", "penguins/2", root=root)
    difference = found.datasets["train"]
    assert (difference.state, found.differs, difference.reason) == ("unknown", False, "there was no time")
    assert kinds(difference) == {"unknown": [("a\n", "a\n"), ("b", "b")]}


def test_names_and_sizes_tell_that_it_differs(root: Path) -> None:
    unhashed(root, {"a": "1", "b": "2", "c": "33", "d": "4"})
    unhashed(root, {"a": "1", "b": "22", "c": "3", "e": "4"})
    found = train(root)
    assert found.state == "different"
    assert kinds(found) == {
        "added": ["e"],
        "removed": ["d"],
        "changed": [("b", "b"), ("c", "c")],
        "unknown": [("a", "a")],
    }


def test_digests_against_sizes(root: Path) -> None:
    folder(root, {"a": "1", "b": "2"})
    unhashed(root, {"a": "1", "b": "2"})
    unhashed(root, {"a": "1", "b": "222"})
    assert (train(root).state, kinds(train(root))) == ("unknown", {"unknown": [("a", "a"), ("b", "b")]})
    whole = data_diff("penguins/1", "penguins/3", root=root).datasets["train"]
    assert whole.state == "different"  # as a whole: nobody can tell which file it is
    assert kinds(whole) == {"unknown": [("a", "a"), ("b", "b")]}


def tell(root: Path, content: Mapping[str, str], **facts: Any) -> None:
    """The event that gives the newest version's dataset its digest."""
    folder = root / "penguins"
    version = registry.read_model(folder).versions[-1]
    text = manifest.dump((path, sha256(said)) for path, said in content.items())
    files = [{"path": path, "bytes": len(said), "sha256": sha256(said)} for path, said in content.items()]
    event = registry.new_event("digested", "penguins", version, digest=registry.digest_of(folder / version))
    said = {"data": [dataset(digest=f"sha256:{sha256(text)}", files=len(files))], "files": files}
    (folder / "history" / f"{event.id}.json").write_bytes(documents.dump_json(event.to_dict() | said | facts))
    index.write(root, index.build(root))


def test_a_digest_that_came_later_counts_with_its_files(root: Path) -> None:
    folder(root, {"b": "1", "a": "2"})
    unhashed(root, {"b": "1", "a": "9"})
    tell(root, {"b": "1", "a": "9"})
    found = train(root)
    assert (found.state, found.reason) == ("different", None)
    assert kinds(found) == {"changed": [("a", "a")]}
    assert found.after is not None
    assert found.after.digest is not None


def test_a_digest_that_came_later_without_its_files(root: Path) -> None:
    folder(root, {"a": "1", "b": "2"})
    unhashed(root, {"a": "1", "b": "9"})
    tell(root, {"a": "1", "b": "9"}, files=[])
    assert (train(root).state, kinds(train(root))) == ("different", {"unknown": [("a", "a"), ("b", "b")]})
    folder(root, {"a": "1", "b": "9"})
    assert data_diff("penguins/2", "penguins/3", root=root).datasets["train"].state == "same"


def test_single_files(root: Path) -> None:
    one(root, "data/a.csv", "1")
    one(root, "raw/b.csv", "2")
    one(root, "raw/c.csv", "2")
    one(root, "raw/c.csv", "2", digest=None)
    one(root, "raw/c.csv", "33", digest=None)
    found = train(root)
    assert (found.state, kinds(found)) == ("different", {"changed": [("a.csv", "b.csv")]})
    states = [
        data_diff(f"penguins/{before}", f"penguins/{after}", root=root).datasets["train"].state
        for before, after in ((2, 3), (3, 4), (4, 5))
    ]
    assert states == ["same", "unknown", "different"]


def test_a_file_that_became_a_folder(root: Path) -> None:
    one(root, "data/a.csv", "1")
    folder(root, {"a.csv": "1", "b.csv": "2"})
    found = train(root)
    assert found.files is not None
    assert (found.state, found.files.same, kinds(found)) == ("different", 1, {"added": ["b.csv"]})


def test_data_in_memory(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = {"type": "numpy.ndarray", "shape": [3, 2], "dtype": "float32"}
    later = {"shape": [4, 2], "length": 1}
    for digit, noted in (("a", source), ("a", source), ("b", source | later)):
        publish(root, data=[dataset(kind="memory", path=None, digest=f"sha256:{digit * 64}", source=noted)])
    assert train(root).state == "same"
    found = data_diff("penguins/2", "penguins/3", root=root).datasets["train"]
    assert (found.state, found.files) == ("different", None)
    assert found.source == {"shape": ([3, 2], [4, 2]), "length": (None, 1)}
    assert main(["data", "diff", "penguins/2", "penguins/3"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "train  different  sha256:aaaaaaaa… → sha256:bbbbbbbb…",
        "  source   shape [3, 2] → [4, 2]",
        "  source   length None → 1",
    ]


def test_remote_data_is_unknown(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        publish(root, data=[dataset(kind="remote", path=None)], unknown={"data.train.digest": "it was not read"})
    assert main(["data", "diff", "penguins/1", "penguins/2"]) == 0
    assert capsys.readouterr().out == "train  unknown  no digest → no digest  it was not read\n"


def test_datasets_are_paired_by_name(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder(root, OLD, "train")
    folder(root, OLD, "val")
    found = data_diff("penguins/1", "penguins/2", root=root)
    assert {name: each.state for name, each in found.datasets.items()} == {"train": "removed", "val": "added"}
    assert main(["data", "diff", "penguins/1", "penguins/2", "val"]) == 1
    assert capsys.readouterr().out.startswith("val  only in penguins/v0002  data/val  sha256:")
    with pytest.raises(NotFoundError, match="neither penguins/v0001 nor penguins/v0002 has a dataset 'tset'"):
        data_diff("penguins/1", "penguins/2", "tset", root=root)
    publish(root, data=[])
    assert main(["data", "diff", "penguins/3", "penguins/3"]) == 0
    assert capsys.readouterr().out == "neither version names a dataset\n"


def test_totals_come_first_and_then_some_names(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unhashed(root, {"a": "1", "b": "22"})
    unhashed(root, {"a": "1", "b": "2"} | {f"n{number:02}": "1234" for number in range(10)})
    assert main(["data", "diff", "penguins/1", "penguins/2"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "train  different  added 10 (40 B), changed 1, unknown 1, same 0  there was no time"
    assert lines[1:3] == ["  added    n00  4 B", "  added    n01  4 B"]
    assert lines[8:] == [
        "  added    n07  4 B",
        "  added    2 more in --json",
        "  changed  b  2 B → 1 B",
        "  unknown  a  1 B",
    ]


def test_as_json_there_is_all(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder(root, OLD)
    folder(root, {f"n{number:02}": str(number) for number in range(30)})
    assert main(["data", "diff", "penguins/1", "./runs/penguins/v0002", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "ckptkit/data-diff/1"
    assert (document["before"], document["after"]) == ("penguins/v0001", "penguins/v0002")
    found = document["datasets"]["train"]
    assert (found["state"], found["same"], found["before"]["files"], found["after"]["files"]) == ("different", 0, 4, 30)
    assert len(found["added"]) == 26
    assert found["renamed"][0] == {"before": {"path": "a"}, "after": {"path": "n01"}}


@pytest.mark.parametrize("form", ["sha256", "sizes"])
@pytest.mark.parametrize("odd", ["gone", "cut", "a line more", "not text", "a folder", "one long line", "unsealed"])
def test_a_damaged_list_is_one_line(root: Path, form: str, odd: str, capsys: pytest.CaptureFixture[str]) -> None:
    make = folder if form == "sha256" else unhashed
    make(root, OLD)
    make(root, OLD | {"new": "12"})
    path = root / "penguins" / "v0002" / "data" / f"train.{form}"
    data = path.read_bytes()
    path.unlink()
    if odd == "a folder":
        path.mkdir()
    elif odd == "unsealed":
        path.write_bytes(data)
        (root / "penguins" / "v0002" / "SHA256SUMS").chmod(0o644)
        (root / "penguins" / "v0002" / "SHA256SUMS").write_bytes(b"junk\n")
    elif odd != "gone":
        changed = {
            "cut": data[:-9],
            "a line more": data + data[:9],
            "not text": b"\xff\0",
            "one long line": b"a" * 200_000,
        }
        path.write_bytes(changed[odd])
    index.write(root, index.build(root))
    assert main(["data", "diff", "penguins/1", "./runs/penguins/v0002"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert ("SHA256SUMS" if odd == "unsealed" else f"train.{form} ") in captured.err


def test_a_list_that_is_not_sorted_is_refused(root: Path) -> None:
    text = b"".join(reversed(manifest.dump((path, sha256(path)) for path in OLD).splitlines(keepends=True)))
    listed(root, "train", "sha256", text, OLD, digest=f"sha256:{sha256(text)}")
    folder(root, OLD)
    with pytest.raises(CkptkitError, match="is not sorted"):
        train(root)


def test_a_record_that_cannot_be_read_is_one_line(root: Path) -> None:
    folder(root, OLD)
    folder(root, OLD)
    path = root / "penguins" / "v0002" / "lineage.json"
    path.unlink()
    path.write_text("{")
    with pytest.raises(CkptkitError, match=r"lineage\.json is not JSON"):
        train(root)
    with pytest.raises(NotFoundError, match="no version penguins/v0009"):
        data_diff("penguins/1", "penguins/9", root=root)
