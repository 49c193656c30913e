import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from registries import publish

from ckptkit import documents, registry, roots
from ckptkit import index as derived_files
from ckptkit.errors import CkptkitError, NotFoundError
from ckptkit.verbs.alias import move
from ckptkit.verbs.check import check
from ckptkit.verbs.index import index


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    publish(root, aliases=["old"])
    publish(root, aliases=["champion"], message="with | a pipe and <b>markup</b>")
    publish(root, "whales", aliases=["champion"], metrics={"loss": "NaN"})
    index(root)
    return root


def derived(root: Path) -> dict[str, bytes | str]:
    """Everything derived: the two files, and every link with what it points to."""
    found: dict[str, bytes | str] = {name: (root / name).read_bytes() for name in ("index.json", "README.md")}
    return found | {str(link.relative_to(root)): str(link.readlink()) for link in root.glob("*/@*")}


def test_everything_derived_comes_again_byte_for_byte(root: Path) -> None:
    before = derived(root)
    links = {"penguins/@old": "v0001", "penguins/@champion": "v0002", "whales/@champion": "v0001"}
    assert {name: target for name, target in before.items() if "@" in name} == links
    for name in before:
        (root / name).unlink()
    done = index(root)
    assert derived(root) == before
    assert (done.models, done.versions) == (2, 3)
    assert done.written == ("index.json", "README.md")
    assert done.links == dict.fromkeys(links, "made")
    assert (done.taken_in, done.unreadable) == ((), {})


def test_a_second_time_nothing_is_touched(root: Path) -> None:
    times = {name: (root / name).lstat().st_mtime_ns for name in derived(root)}
    done = index(root)
    assert (done.written, done.links, done.taken_in) == ((), {}, ())
    assert {name: (root / name).lstat().st_mtime_ns for name in derived(root)} == times


def test_links_are_put_right(root: Path) -> None:
    (root / "penguins" / "@champion").unlink()
    (root / "penguins" / "@champion").symlink_to("v0001")
    (root / "penguins" / "@gone").symlink_to("v0001")
    (root / "whales" / "@champion").unlink()
    (root / "whales" / "@champion").symlink_to("@champion")
    done = index(root)
    assert done.links == {
        "penguins/@gone": "removed",
        "penguins/@champion": "changed",
        "whales/@champion": "changed",
    }
    assert str((root / "penguins" / "@champion").readlink()) == "v0002"
    assert not os.path.lexists(root / "penguins" / "@gone")


@pytest.fixture
def copy(root: Path) -> Path:
    """A version in the place of an alias link, as a copy that followed links leaves it."""
    place = root / "penguins" / "@old"
    place.unlink()
    shutil.copytree(root / "penguins" / "v0001", place)
    return place


def test_a_real_folder_in_a_links_place_that_equals_a_version_is_replaced(root: Path, copy: Path) -> None:
    assert index(root).links == {"penguins/@old": "replaced"}
    assert str(copy.readlink()) == "v0001"
    assert (root / "penguins" / "v0001" / "SHA256SUMS").is_file()
    assert os.listdir(root / registry.HOME / "trash") == []


def test_a_copy_of_where_the_alias_stood_is_replaced_too(root: Path, copy: Path) -> None:
    move("penguins@old", "2", root=root)
    assert index(root).links == {"penguins/@old": "replaced"}
    assert str(copy.readlink()) == "v0002"


def edit(path: Path, data: bytes = b"edited") -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def link(path: Path, target: Path) -> None:
    path.unlink()
    path.symlink_to(target)


UNEQUAL: dict[str, Callable[[Path, Path], object]] = {
    "a file more": lambda copy, _: edit(copy / "mine.txt"),
    "a folder more": lambda copy, _: (copy / "mine").mkdir(),
    "a file less": lambda copy, _: (copy / "config.yaml").unlink(),
    "another card": lambda copy, _: edit(copy / "README.md"),
    "a card that is no text": lambda copy, _: edit(copy / "README.md", b"\xff"),
    "other weights": lambda copy, _: edit(copy / "model.safetensors"),
    "other weights in the version": lambda _, version: edit(version / "model.safetensors"),
    "no weights in the version": lambda _, version: (version / "model.safetensors").unlink(),
    "a link": lambda copy, version: link(copy / "config.yaml", version / "config.yaml"),
    "other sums": lambda copy, _: edit(copy / "SHA256SUMS"),
    "no sums": lambda copy, _: (copy / "SHA256SUMS").unlink(),
}


@pytest.mark.parametrize("change", UNEQUAL)
def test_what_does_not_equal_a_version_is_left_alone(root: Path, copy: Path, change: str) -> None:
    UNEQUAL[change](copy, root / "penguins" / "v0001")
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert "penguins/@old" not in index(root).links
    assert not copy.is_symlink()
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["mine.txt", "README.md"])
def test_what_is_not_sealed_has_to_be_equal_too(root: Path, copy: Path, name: str) -> None:
    edit(copy / name, b"\xff1")
    edit(root / "penguins" / "v0001" / name, b"\xff2")
    assert index(root).links == {}
    assert (copy / name).read_bytes() == b"\xff1"


def test_a_folder_that_is_no_alias_is_left_alone(root: Path) -> None:
    shutil.copytree(root / "penguins" / "v0001", root / "penguins" / "@mine")
    assert index(root).links == {}
    assert (root / "penguins" / "@mine" / "SHA256SUMS").is_file()


def test_the_name_of_a_version_in_a_links_place_is_replaced(root: Path) -> None:
    """What git writes where there are no links."""
    for name, data in {"@old": b"v0002", "@champion": b"v0002, and more"}.items():
        (root / "penguins" / name).unlink()
        (root / "penguins" / name).write_bytes(data)
    assert index(root).links == {"penguins/@old": "replaced"}
    assert str((root / "penguins" / "@old").readlink()) == "v0001"
    assert (root / "penguins" / "@champion").read_bytes() == b"v0002, and more"


def test_links_that_are_switched_off_are_removed(root: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    (root.parent / "pyproject.toml").write_text("[tool.ckptkit]\nlinks = false\n")
    assert index(root).links == {"penguins/@champion": "removed", "whales/@champion": "removed"}
    assert copy.is_dir()
    assert list(root.glob("whales/@*")) == []
    assert index(root).links == {}


def test_a_copy_that_a_killed_command_had_set_aside_is_gone_for_good(root: Path, copy: Path) -> None:
    code = (
        "import os, sys\nos.symlink = lambda *_: os._exit(9)\nfrom ckptkit.verbs.index import index\nindex(sys.argv[1])"
    )
    assert subprocess.run([sys.executable, "-c", code, str(root)], check=False).returncode == 9
    assert not os.path.lexists(copy)
    assert index(root).links == {"penguins/@old": "made"}
    assert os.listdir(root / registry.HOME / "trash") == []


def test_an_alias_of_a_version_that_is_gone_keeps_its_link(root: Path) -> None:
    shutil.rmtree(root / "penguins" / "v0002")
    before = str((root / "penguins" / "@champion").readlink())
    assert index(root).links == {}
    (root / "penguins" / "@champion").unlink()
    index(root)
    assert str((root / "penguins" / "@champion").readlink()) == before


def test_a_version_without_an_event_is_taken_in_once_if_it_verifies(root: Path) -> None:
    shutil.copytree(root / "whales" / "v0001", root / "seals" / "v0003")
    shutil.copytree(root / "whales" / "v0001", root / "seals" / "v0004")
    damaged = root / "seals" / "v0004" / "model.safetensors"
    damaged.unlink()
    damaged.write_bytes(b"damaged")
    assert index(root).taken_in == ("seals/v0003",)
    assert [event.version for event in registry.read_model(root / "seals").events] == ["v0003"]
    assert json.loads((root / "index.json").read_bytes())["models"]["seals"]["versions"]["v0004"]["event"] is None
    assert index(root).taken_in == ()


def test_a_removed_alias_loses_its_link(root: Path) -> None:
    model = registry.read_model(root / "penguins")
    event = registry.new_event("alias", "penguins", None, alias="old", previous=model.state.heads["@old"][-1].id)
    written = documents.dump_json(event.to_dict())
    (root / "penguins" / "history" / f"{event.id}.json").write_bytes(written)
    done = index(root)
    assert done.links == {"penguins/@old": "removed"}
    assert done.written == ("index.json", "README.md")


@pytest.mark.timeout(60)
def test_a_tree_in_bad_shape_is_indexed_as_far_as_it_can_be_read(root: Path) -> None:
    lineage = root / "penguins" / "v0002" / "lineage.json"
    lineage.unlink()
    lineage.write_bytes(b'{"schema":')
    sums = root / "whales" / "v0001" / "SHA256SUMS"
    sums.unlink()
    os.mkfifo(sums)
    (root / "penguins" / "history" / "junk.json").write_bytes(b"\x00\xff")
    os.mkfifo(root / "penguins" / "history" / "pipe.json")
    (root / "penguins" / "v0003").symlink_to("v0003")
    (root / "penguins" / "v0004").symlink_to("/dev/zero")
    (root / "penguins" / "@loop").symlink_to("@loop")
    (root / "tensorboard").mkdir()
    (root / "tensorboard" / "events.out.tfevents.1").write_bytes(b"\x18\0")
    (root / "up").symlink_to("..", target_is_directory=True)
    os.mkfifo(root / "pipe")
    done = index(root)
    assert (done.models, done.versions) == (2, 3)
    assert [*done.unreadable] == ["penguins/v0002", "whales/v0001"]
    assert done.links == {"penguins/@loop": "removed"}
    assert (root / "tensorboard" / "events.out.tfevents.1").read_bytes() == b"\x18\0"
    assert index(root).written == ()


def test_names_and_numbers_that_no_model_has_are_indexed(root: Path) -> None:
    shutil.copytree(root / "whales", root / os.fsdecode(b"wh\xff\nales"), symlinks=True)
    lineage = root / "whales" / "v0001" / "lineage.json"
    text = lineage.read_text()
    lineage.unlink()
    lineage.write_text(text.replace('"seconds": 4.25', '"seconds": 1e999'))
    done = index(root)
    assert [*done.unreadable] == ["whales/v0001"]
    assert "lineage.json: 1e999 is beyond" in done.unreadable["whales/v0001"]
    assert index(root).written == ()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("odd", ["fifo", "loop", "/dev/zero"])
def test_something_odd_in_the_place_of_the_index_is_replaced(root: Path, odd: str) -> None:
    before = derived(root)
    (root / "index.json").unlink()
    if odd == "fifo":
        os.mkfifo(root / "index.json")
    else:
        (root / "index.json").symlink_to(odd.replace("loop", "index.json"))
    index(root)
    assert derived(root) == before
    assert not (root / "index.json").is_symlink()


def test_a_folder_in_the_place_of_the_index_is_told(root: Path) -> None:
    (root / "index.json").unlink()
    (root / "index.json").mkdir()
    with pytest.raises(CkptkitError, match=r"cannot be written: .*directory") as caught:
        index(root)
    assert caught.value.exit_code == 2
    assert [path.name for path in root.iterdir() if ".index.json." in path.name] == []


def test_where_there_is_no_registry_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("my project")
    for place in (tmp_path, tmp_path / "nowhere", tmp_path / "README.md"):
        with pytest.raises(NotFoundError, match="no registry at"):
            index(place)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "my project"


def test_an_empty_registry(tmp_path: Path) -> None:
    roots.open_root(tmp_path)
    assert (index(tmp_path).versions, index(tmp_path).written) == (0, ())
    stored = json.loads((tmp_path / "index.json").read_bytes())
    assert (stored["schema"], stored["models"]) == ("ckptkit/index/2", {})
    assert check(tmp_path).findings == ()


def test_a_copy_without_this_machines_side(root: Path, tmp_path: Path) -> None:
    before = derived(root)
    shutil.copytree(root, tmp_path / "copy", symlinks=True, ignore=shutil.ignore_patterns(".ckptkit", "index.json"))
    assert index(tmp_path / "copy").written == ("index.json",)
    assert derived(tmp_path / "copy") == before


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a number for a time": lambda part: part["versions"]["v0002"].update(created=5),
    "a number for words": lambda part: part["versions"]["v0002"].update(message=["x"]),
    "a list for metrics": lambda part: part["versions"]["v0002"].update(metrics=[]),
    "a list for a metric": lambda part: part["versions"]["v0002"]["metrics"].update(loss=[[]]),
    "a number for bytes": lambda part: part["versions"]["v0002"].update(bytes="many"),
    "a mapping for a digest": lambda part: part["versions"]["v0001"].update(digest={}),
    "another digest": lambda part: part["versions"]["v0001"].update(digest="sha256:" + "0" * 64),
    "a key too few": lambda part: part["versions"]["v0001"].pop("config"),
    "a key too many": lambda part: part.update(stages={}),
    "an alias elsewhere": lambda part: part["aliases"].update(champion="v0001"),
    "another order": lambda part: part.update(versions=dict(reversed(part["versions"].items()))),
    "a lower number": lambda part: part.update(last=1),
    "no number": lambda part: part.update(last=True),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_index_counts_for_nothing(root: Path, edit: str) -> None:
    true = derived_files.load(root)
    stored = json.loads((root / "index.json").read_bytes())
    EDITS[edit](stored["models"]["penguins"])
    (root / "index.json").write_bytes(json.dumps(stored).encode())
    assert derived_files.load(root) == true
    assert {finding.where for finding in check(root, select=["CK9"]).findings} == {"index.json"}
    assert publish(root).ref == "penguins/v0003"
    assert check(root, select=["CK9"]).findings == ()


def test_an_index_of_other_events_is_seen_through(root: Path) -> None:
    """As many events, and the newest of the same name, say nothing: one was removed, an older one came by a merge."""
    history = root / "penguins" / "history"
    names = sorted(os.listdir(history))
    event = json.loads((history / names[0]).read_bytes())
    event |= {"id": event["id"][:-8] + "00000000", "version": "v0009"}
    (history / names[0]).unlink()
    (history / f"{event['id']}.json").write_bytes(json.dumps(event).encode())
    assert len(os.listdir(history)) == len(names)
    assert derived_files.load(root)["models"]["penguins"]["last"] == 9


def test_an_event_that_could_not_be_read_once_is_read_later(root: Path) -> None:
    history = root / "penguins" / "history"
    newest = sorted(history.iterdir())[-2]
    text = newest.read_bytes()
    shutil.rmtree(root / "penguins" / "v0002")
    newest.write_bytes(text[:20])
    index(root)
    newest.write_bytes(text)
    assert derived_files.load(root)["models"]["penguins"]["last"] == 2


def test_the_readme_of_a_project_is_no_finding(root: Path) -> None:
    (root / "README.md").write_text("# My project\n")
    assert index(root).written == ()
    assert check(root, select=["CK9"]).findings == ()


@pytest.mark.parametrize("folder", [".", ".ckptkit", "penguins"])
def test_a_read_only_root_is_told(root: Path, folder: str) -> None:
    (root / "index.json").unlink()
    (root / "penguins" / "@gone").symlink_to("v0001")
    (root / folder).chmod(0o555)
    try:
        if os.access(root / folder, os.W_OK):
            pytest.skip("this user writes everywhere")
        with pytest.raises(CkptkitError, match="writ") as caught:
            index(root)
    finally:
        (root / folder).chmod(0o755)
    assert caught.value.exit_code == 2
