import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from registries import CUT, publish

from ckptkit import change, checkpoint, documents, registry, takein
from ckptkit.record import Event
from ckptkit.verbs.alias import move
from ckptkit.verbs.check import check
from ckptkit.verbs.delete import delete
from ckptkit.verbs.index import index
from ckptkit.verbs.prune import prune


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "runs"
    publish(root, message="first", aliases=["old"])
    publish(root, message="second", aliases=["champion"])
    return root


def told(root: Path) -> list[tuple[str, str | None, str | None]]:
    events = registry.read_model(root / "penguins").events
    return [(event.kind, event.version, event.was) for event in events if event.kind != "alias"]


SAVED = [("saved", "v0001", None), ("saved", "v0002", None)]


def damage(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.unlink()
    file.write_bytes(b"damaged!!!!")


def test_a_version_that_the_history_does_not_know_is_taken_in_once_if_it_verifies(root: Path) -> None:
    shutil.copytree(root / "penguins", root / "seals", ignore=shutil.ignore_patterns("history", "@*"))
    damage(root / "seals" / "v0002")
    for _ in range(2):
        with change.begin(root) as now:
            assert now.index["models"]["seals"]["unrecorded"] == ["v0002"]
    model = registry.read_model(root / "seals")
    assert [(event.kind, event.version, event.digest) for event in model.events] == [
        ("saved", "v0001", registry.digest_of(root / "penguins" / "v0001"))
    ]


def test_what_was_read_is_not_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / "penguins"
    shutil.copytree(folder / "v0001", folder / "v0005")
    shutil.copytree(folder / "v0001", folder / "v0006")
    damage(folder / "v0006")
    wanted = {"v0005": registry.digest_of(folder / "v0005")}
    assert takein.verified(folder, ["v0005", "v0006"]) == wanted
    with monkeypatch.context() as patch:
        patch.delattr(checkpoint, "read")
        assert takein.verified(folder, ["v0005", "v0006"]) == wanted
    (folder / "v0006" / "model.safetensors").write_bytes(b"the weights")
    assert list(takein.verified(folder, ["v0005", "v0006"])) == ["v0005", "v0006"]
    assert takein.verified(folder, ["v0006"], anew=True) == {"v0006": registry.digest_of(folder / "v0006")}
    known = json.loads((root / registry.HOME / "unrecorded.json").read_bytes())
    assert list(known) == ["penguins/v0006"]


def test_a_version_that_was_moved_by_hand_is_renumbered(root: Path) -> None:
    (root / "penguins" / "v0001").rename(root / "penguins" / "v0009")
    assert index(root).taken_in == ("penguins/v0009",)
    assert told(root) == [*SAVED, ("renumbered", "v0009", "v0001")]
    assert registry.read_model(root / "penguins").state.aliases == {"champion": "v0002", "old": "v0009"}
    assert str((root / "penguins" / "@old").readlink()) == "v0009"
    assert check(root, select=["CK9"]).findings == ()
    assert publish(root).ref == "penguins/v0010"
    (root / "penguins" / "v0009").rename(root / "penguins" / "v0001")
    index(root)
    assert told(root)[-1] == ("renumbered", "v0001", "v0009")
    assert check(root, select=["CK9"]).findings == ()
    assert publish(root).ref == "penguins/v0011"


def test_a_second_copy_of_a_version_is_not_taken_in(root: Path) -> None:
    shutil.copytree(root / "penguins" / "v0001", root / "penguins" / "v0009")
    assert index(root).taken_in == ()
    assert told(root) == SAVED
    assert "CK913" in {finding.code for finding in check(root, select=["CK9"]).findings}


def test_a_number_that_was_another_versions_is_not_taken(root: Path) -> None:
    delete("penguins/2", root=root, force=True)
    before = told(root)
    (root / "penguins" / "v0001").rename(root / "penguins" / "v0002")
    assert index(root).taken_in == ()
    assert told(root) == before
    (root / "penguins" / "v0002").rename(root / "penguins" / "v0003")
    assert index(root).taken_in == ("penguins/v0003",)
    assert check(root, select=["CK9"]).findings == ()


def codes(root: Path) -> list[str]:
    return [finding.code for finding in check(root, select=["CK20", "CK9"], deep=True).findings]


def bring_back(root: Path, backup: Path, version: str = "v0002") -> None:
    """Delete a version, and restore it from a backup."""
    shutil.copytree(root / "penguins" / version, backup)
    delete(f"penguins/{version}", root=root, force=True)
    shutil.copytree(backup, root / "penguins" / version)


def test_a_deleted_version_that_came_back_waits_for_a_decision(root: Path, tmp_path: Path) -> None:
    bring_back(root, tmp_path / "backup")
    publish(root)
    move("penguins@old", "3", root=root)
    assert told(root)[2:] == [("deleted", "v0002", None), ("saved", "v0003", None)]
    assert codes(root) == ["CK912"]
    assert index(root).taken_in == ("penguins/v0002",)
    assert told(root)[4:] == [("saved", "v0002", None)]
    assert registry.read_model(root / "penguins").state.deleted == {}
    assert (index(root).taken_in, codes(root)) == ((), [])
    delete("penguins/2", root=root)
    assert codes(root) == []


def test_a_deleted_version_that_came_back_can_be_deleted_again(root: Path, tmp_path: Path) -> None:
    bring_back(root, tmp_path / "backup")
    delete("penguins/2", root=root)
    assert not (root / "penguins" / "v0002").exists()
    assert codes(root) == []


def test_a_pruned_version_that_came_back_whole_is_whole(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "penguins" / "v0002", tmp_path / "backup")
    prune("penguins", keep_stages=["archived"], force=True, root=root)
    delete("penguins/2", root=root, force=True)
    shutil.copytree(tmp_path / "backup", root / "penguins" / "v0002")
    assert index(root).taken_in == ("penguins/v0002",)
    assert list(registry.read_model(root / "penguins").state.pruned) == ["v0001"]
    (root / "penguins" / "v0002" / "model.safetensors").unlink()
    assert codes(root) == ["CK204"]


def test_a_pruned_version_that_came_back_as_it_was_is_pruned(root: Path, tmp_path: Path) -> None:
    prune("penguins", keep_stages=["archived"], force=True, root=root)
    bring_back(root, tmp_path / "backup")
    assert codes(root) == ["CK912"]
    assert index(root).taken_in == ("penguins/v0002",)
    assert told(root)[-2:] == [("saved", "v0002", None), ("pruned", "v0002", None)]
    assert registry.read_model(root / "penguins").state.pruned["v0002"] == {"model.safetensors"}
    assert (codes(root), index(root).taken_in) == ([], ())


def test_a_damaged_version_that_came_back_is_not_taken_in(root: Path, tmp_path: Path) -> None:
    bring_back(root, tmp_path / "backup")
    damage(root / "penguins" / "v0002")
    assert index(root).taken_in == ()
    assert codes(root) == ["CK912", "CK205"]


def test_a_deleted_version_that_came_back_under_another_number(root: Path, tmp_path: Path) -> None:
    (root / "penguins" / "v0002").rename(root / "penguins" / "v0004")
    index(root)
    shutil.copytree(root / "penguins" / "v0004", tmp_path / "backup")
    delete("penguins/4", root=root, force=True)
    shutil.copytree(tmp_path / "backup", root / "penguins" / "v0007")
    assert index(root).taken_in == ("penguins/v0007",)
    assert list(registry.read_model(root / "penguins").state.saved) == ["v0001", "v0007"]
    assert index(root).taken_in == ()
    assert check(root, select=["CK9"]).findings == ()


def test_a_clock_that_went_ahead(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "penguins" / "v0002", tmp_path / "backup")
    delete("penguins/2", root=root, force=True)
    shutil.copytree(tmp_path / "backup", root / "penguins" / "v0002")
    history = root / "penguins" / "history"
    (event,) = [event for event in registry.read_model(history.parent).events if event.kind == "deleted"]
    (history / f"{event.id}.json").unlink()
    said = event.to_dict() | {"id": "20991231T235959.999999Z-0badcafe", "time": "2099-12-31T23:59:59.999999Z"}
    (history / f"{said['id']}.json").write_bytes(documents.dump_json(said))
    assert index(root).taken_in == ("penguins/v0002",)
    newest = registry.read_model(history.parent).events[-1]
    assert (newest.kind, newest.time) == ("saved", "2100-01-01T00:00:00.000000Z")
    assert newest.id.startswith("21000101T000000.000000Z-")
    assert Event.from_dict(newest.to_dict()) == newest
    assert index(root).taken_in == ()


@pytest.mark.parametrize("events", [0, 1, 2])
def test_the_events_of_a_save_that_was_killed_are_finished(root: Path, tmp_path: Path, events: int) -> None:
    (tmp_path / "w.bin").write_bytes(b"weights")
    index(root)
    command = [sys.executable, "-c", CUT, str(root), str(tmp_path / "w.bin"), "penguins", "champion", str(events)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 9
    assert index(root).taken_in == ("penguins/v0003",)
    model = registry.read_model(root / "penguins")
    assert model.state.aliases == {"champion": "v0003", "newest": "v0003", "old": "v0001"}
    assert len(model.state.heads["@champion"]) == 1
    assert [name for name in os.listdir(root / "penguins" / "history") if name.startswith(".")] == []
    assert check(root, select=["CK9"]).findings == ()
