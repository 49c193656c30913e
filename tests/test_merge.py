import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from registries import publish

from ckptkit import checkpoint, documents, index_file, registry
from ckptkit import index as derived
from ckptkit.cli import main
from ckptkit.errors import CkptkitError, NotFoundError
from ckptkit.verbs.alias import move
from ckptkit.verbs.check import check
from ckptkit.verbs.delete import delete
from ckptkit.verbs.index import index
from ckptkit.verbs.merge import merge
from ckptkit.verbs.prune import prune
from ckptkit.verbs.rename import rename


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A registry with one version that the other does not have."""
    root = tmp_path / "runs"
    publish(root, message="from here", aliases=["champion"], files={"model.safetensors": b"of here"})
    return root


@pytest.fixture
def there(tmp_path: Path) -> Path:
    root = tmp_path / "cluster"
    publish(root, message="from there", aliases=["best"], files={"model.safetensors": b"first", "sub/a.bin": b"a"})
    publish(root, message="second", aliases=["best"])
    publish(root, "whales", message="a whale")
    return root


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    memory = Path("/dev/shm")  # noqa: S108 - the one other disk that a Linux has
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second disk")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def tree(root: Path) -> dict[str, bytes | str]:
    """Everything in a registry but this machine's side."""
    found: dict[str, bytes | str] = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file() and not name.startswith(registry.HOME):
            found[name] = path.read_bytes()
    return found


def state(root: Path) -> dict[str, Any]:
    return {model.name: model.state for model in registry.models(root)}


def digests(root: Path, model: str = "penguins") -> dict[str, str]:
    return {
        version: registry.digest_of(root / model / version) for version in registry.read_model(root / model).versions
    }


def is_sound(root: Path, *undecided: str) -> None:
    """Every version verifies, is saved under its number, and what is derived is what a rebuild gives.

    Args:
        root: the registry root.
        undecided: the versions of which it is to be decided whether they stay.
    """
    found = [f for f in check(root, select=["CK20", "CK9"], deep=True).findings if f.code != "CK907"]
    assert [(f.code, f.path.removeprefix(f"{root}/")) for f in found] == [("CK912", ref) for ref in undecided]
    assert (root / "index.json").read_bytes() == index_file.dump(derived.build(root))
    assert [name for name in os.listdir(root / registry.HOME) if name.startswith(("stage-", "gone-"))] == []


def test_into_an_empty_folder_all_comes_as_it_is(there: Path, tmp_path: Path) -> None:
    index(there)
    (tmp_path / "empty").mkdir()
    seen: list[int] = []
    expected: list[int] = []
    before = tree(there)
    done = merge(there, root=tmp_path / "empty", progress=seen.append, expect=expected.append)
    refs = ["penguins/v0001", "penguins/v0002", "whales/v0001"]
    assert done.copied == {ref: ref for ref in refs}
    assert (done.renumbered, done.filled, done.deleted, done.refused, done.warnings) == ({}, [], [], {}, [])
    assert len(done.events) == 5
    assert tree(tmp_path / "empty") == tree(there) == before
    assert sum(expected) == sum(seen) > 0
    file = tmp_path / "empty" / "penguins" / "v0001" / "sub" / "a.bin"
    assert stat.S_IMODE(file.stat().st_mode) & 0o222 == 0
    assert (file.parent.parent / "README.md").stat().st_mode & 0o200
    is_sound(tmp_path / "empty")


def test_a_colliding_number_gives_way_to_one_that_nobody_used(here: Path, there: Path) -> None:
    for _ in range(3):
        publish(here)
    delete("penguins/4", root=here)
    first, second = digests(there).values()
    done = merge(there, root=here)
    assert done.renumbered == {"penguins/v0001": "penguins/v0005", "penguins/v0002": "penguins/v0006"}
    assert done.copied == done.renumbered | {"whales/v0001": "whales/v0001"}
    found = digests(here)
    assert (found["v0005"], found["v0006"]) == (first, second)
    model = registry.read_model(here / "penguins")
    moves = [(event.version, event.was, event.digest) for event in model.events if event.kind == "renumbered"]
    assert moves == [("v0005", "v0001", first), ("v0006", "v0002", second)]
    assert model.state.aliases == {"best": "v0006", "champion": "v0001"}
    assert {name: target for name, target in tree(here).items() if "@" in name} == {
        "penguins/@best": "v0006",
        "penguins/@champion": "v0001",
    }
    assert json.loads((here / "penguins" / "v0005" / "lineage.json").read_bytes())["version"] == "v0001"
    is_sound(here)


def test_a_second_time_nothing_changes(here: Path, there: Path) -> None:
    merge(there, root=here)
    before = tree(here)
    done = merge(there, root=here)
    assert (done.copied, done.renumbered, done.events) == ({}, {}, [])
    assert tree(here) == before


def test_two_registries_that_merge_each_other_hold_the_same(here: Path, there: Path) -> None:
    merge(there, root=here)
    merge(here, root=there)
    assert sorted(digests(here).values()) == sorted(digests(there).values())
    assert publish(here, "penguins").ref == "penguins/v0004"
    agree(here, there)


def events(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.glob("*/history/*")}


def agree(here: Path, there: Path, *undecided: str) -> None:
    """After a merge in both directions numbers and events are the same on both sides, and nothing is left to do."""
    merge(there, root=here)
    merge(here, root=there)
    assert events(here) == events(there)
    for name in ("penguins", "whales"):
        mine, theirs = ({digest: at for at, digest in digests(root, name).items()} for root in (here, there))
        assert all(mine[digest] == theirs[digest] for digest in mine.keys() & theirs.keys())
        assert registry.read_model(here / name).state == registry.read_model(there / name).state
    before = tree(here), tree(there)
    for root, other in 3 * [(here, there), (there, here)]:
        done = merge(other, root=root)
        assert (done.copied, done.renumbered, done.followed, done.moves, done.filled, done.events) == (
            {},
            {},
            {},
            {},
            [],
            [],
        )
    assert (tree(here), tree(there)) == before
    is_sound(here, *undecided)
    is_sound(there)


def test_registries_that_gave_the_same_numbers_agree(here: Path, there: Path) -> None:
    agree(here, there)
    assert digests(here) == digests(there)
    for root in (here, there):
        publish(root, message=f"one more on {root.name}")
        publish(root, "whales", message=f"one more on {root.name}")
    agree(here, there)
    assert digests(here) == digests(there)
    assert len(digests(here)) == 5


def test_both_sides_that_merged_before_either_was_told_agree(here: Path, there: Path, tmp_path: Path) -> None:
    shutil.copytree(here, tmp_path / "before", symlinks=True)
    merge(there, root=here)
    merge(tmp_path / "before", root=there)
    agree(here, there)
    assert digests(here) == digests(there)


def test_a_version_that_was_renumbered_there_is_so_here(here: Path, there: Path) -> None:
    agree(here, there)
    whale = digests(there, "whales")["v0001"]
    rename("whales/1", "5", root=there)
    publish(here, "whales", message="a second whale")
    done = merge(there, root=here)
    assert done.followed == {"whales/v0001": "whales/v0005"}
    assert digests(here, "whales")["v0005"] == whale
    agree(here, there)
    assert digests(here, "whales") == digests(there, "whales")


def test_of_two_numbers_that_one_version_was_given_the_later_holds(here: Path, there: Path) -> None:
    agree(here, there)
    rename("whales/1", "5", root=there)
    rename("whales/1", "7", root=here)
    agree(here, there)
    assert list(digests(there, "whales")) == ["v0007"]


def test_a_number_that_is_taken_here_is_not_followed(here: Path, there: Path) -> None:
    agree(here, there)
    whale = digests(there, "whales")["v0001"]
    rename("whales/1", "2", root=there)
    mine = publish(here, "whales", message="a second whale").digest
    done = merge(there, root=here)
    assert done.followed == {"whales/v0001": "whales/v0003"}
    assert digests(here, "whales") == {"v0002": mine, "v0003": whale}
    agree(here, there)
    assert digests(there, "whales") == digests(here, "whales")


def test_numbers_that_were_swapped(here: Path, there: Path) -> None:
    agree(here, there)
    one, two = digests(there)["v0001"], digests(there)["v0002"]
    folder = there / "penguins"
    for was, version in (("v0001", "v0009"), ("v0002", "v0001"), ("v0009", "v0002")):
        digest = registry.digest_of(folder / was)
        event = registry.new_event("renumbered", "penguins", version, was=was, digest=digest)
        (folder / "history" / f"{event.id}.json").write_bytes(documents.dump_json(event.to_dict()))
        (folder / was).rename(folder / version)
    index(there)
    assert (digests(there)["v0001"], digests(there)["v0002"]) == (two, one)
    agree(here, there)
    assert digests(here) == digests(there)


def test_a_name_that_something_else_took_gives_way_to_a_new_number(here: Path, there: Path) -> None:
    agree(here, there)
    rename("whales/1", "5", root=there)
    (here / "whales" / "v0005").mkdir()
    merge(there, root=here)
    assert registry.read_model(here / "whales").versions == ("v0005", "v0006")
    (here / "whales" / "v0005").rmdir()
    agree(here, there)
    assert list(digests(there, "whales")) == ["v0006"]


def test_deletions_and_prunings_on_both_sides_come_to_rest(here: Path, there: Path) -> None:
    agree(here, there)
    prune("penguins", keep_stages=["archived"], force=True, root=there)
    delete("whales/1", root=there)
    delete("penguins/1", root=here, force=True)
    rename("penguins/2", "9", root=here)
    publish(there, message="one more")
    merge(there, root=here)
    merge(here, root=there)
    assert events(here) == events(there)
    before = tree(here), tree(there)
    for root, other in 3 * [(here, there), (there, here)]:
        merge(other, root=root)
    assert (tree(here), tree(there)) == before
    is_sound(here, "whales/v0001")
    is_sound(there, "penguins/v0001")
    delete("whales/1", root=here)
    assert index(there).taken_in == ("penguins/v0001",)
    agree(here, there)
    assert digests(here) == digests(there)


def test_what_was_deleted_here_stays_deleted(here: Path, there: Path) -> None:
    merge(there, root=here)
    gone = digests(here)["v0002"]
    delete("penguins/2", root=here, force=True)
    for _ in range(2):
        done = merge(there, root=here)
        assert (done.copied, done.deleted) == ({}, ["penguins/v0002"])
        assert gone not in digests(here).values()
        is_sound(here)


def test_what_was_deleted_there_stays_here(here: Path, there: Path) -> None:
    merge(there, root=here)
    before = digests(here)
    delete("whales/1", root=there)
    delete("penguins/2", root=there, force=True)
    merge(there, root=here)
    assert digests(here) == before
    is_sound(here, "penguins/v0002", "whales/v0001")
    after = tree(here)
    assert merge(there, root=here).events == []
    assert tree(here) == after
    assert merge(here, root=there).deleted == ["penguins/v0002", "whales/v0001"]
    assert registry.read_model(there / "whales").versions == ()


def test_a_deletion_that_was_taken_back_elsewhere_is_taken_back(here: Path, there: Path) -> None:
    merge(there, root=here)
    delete("whales/1", root=there)
    merge(there, root=here)
    assert index(here).taken_in == ("whales/v0001",)
    assert merge(here, root=there).copied["whales/v0001"] == "whales/v0001"
    agree(here, there)


def test_what_was_pruned_and_deleted_there_is_still_pruned_here(there: Path, tmp_path: Path) -> None:
    prune("whales", keep_stages=["archived"], force=True, root=there)
    shutil.copytree(there, tmp_path / "clone", symlinks=True)
    delete("whales/1", root=tmp_path / "clone")
    merge(tmp_path / "clone", root=there)
    is_sound(there, "whales/v0001")
    assert index(there).taken_in == ("whales/v0001",)
    is_sound(there)
    assert registry.read_model(there / "whales").state.pruned == {"v0001": {"model.safetensors"}}


def test_a_deleted_version_of_there_does_not_take_a_number_here(here: Path, there: Path) -> None:
    delete("penguins/1", root=there)
    lost = digests(here)["v0001"]
    merge(there, root=here)
    model = registry.read_model(here / "penguins")
    assert model.state.digests["v0001"] == (lost,)
    assert [event.version for event in model.state.deleted.values()] == ["v0001"]
    assert list(model.state.deleted) == ["v0003"]
    is_sound(here)
    assert publish(here).ref == "penguins/v0004"


def test_what_does_not_verify_is_left_there(here: Path, there: Path) -> None:
    damaged = there / "penguins" / "v0002" / "model.safetensors"
    damaged.chmod(0o600)
    damaged.write_bytes(b"damaged")
    (there / "whales" / "v0001" / "model.safetensors").unlink()
    (there / "whales" / "v0007").mkdir()
    (there / "whales" / "history" / "junk.json").write_bytes(b"{")
    done = merge(there, root=here)
    assert done.refused == {
        "penguins/v0002": "model.safetensors is not as it was saved",
        "whales/v0001": "lacks model.safetensors",
        "whales/v0007": "SHA256SUMS cannot be read: no such file or directory",
        "whales/history/junk.json": done.refused["whales/history/junk.json"],
    }
    assert done.copied == {"penguins/v0001": "penguins/v0003"}
    assert sorted(digests(here)) == ["v0001", "v0003"]
    assert {finding.code for finding in check(here, select=["CK20", "CK9"]).findings} == {"CK905", "CK906"}
    damaged.write_bytes(b"the weights")
    assert merge(there, root=here).copied == {"penguins/v0002": "penguins/v0002"}


def test_files_that_a_clone_lacks_are_filled_in(there: Path, tmp_path: Path) -> None:
    index(there)
    clone = tmp_path / "clone"
    shutil.copytree(there, clone, symlinks=True)
    for path in [*clone.rglob("*.safetensors"), *clone.rglob("*.bin")]:
        path.unlink()
    (clone / "penguins" / "v0001" / "sub").rmdir()
    (clone / "whales" / "v0001" / "README.md").unlink()
    done = merge(there, root=clone)
    assert (done.copied, done.events) == ({}, [])
    assert done.filled == ["penguins/v0001", "penguins/v0002", "whales/v0001"]
    assert tree(clone) == tree(there)
    is_sound(clone)


def test_what_fills_in_is_verified(there: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(there, clone, symlinks=True)
    (clone / "whales" / "v0001" / "model.safetensors").unlink()
    file = there / "whales" / "v0001" / "model.safetensors"
    file.chmod(0o600)
    file.write_bytes(b"damaged")
    assert merge(there, root=clone).refused == {"whales/v0001": "model.safetensors is not as it was saved"}
    assert not (clone / "whales" / "v0001" / "model.safetensors").exists()


def test_a_version_that_rm_removed_comes_back(there: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(there, clone, symlinks=True)
    shutil.rmtree(clone / "penguins" / "v0001")
    assert merge(there, root=clone).copied == {"penguins/v0001": "penguins/v0001"}
    assert tree(clone / "penguins" / "v0001") == tree(there / "penguins" / "v0001")
    is_sound(clone)


def test_a_version_whose_event_is_not_there_yet(here: Path, there: Path) -> None:
    for event in (there / "whales" / "history").iterdir():
        event.unlink()
    merge(there, root=here)
    assert list(registry.read_model(here / "whales").state.saved) == ["v0001"]
    is_sound(here)


def test_a_tree_that_was_copied_over_is_put_right(here: Path, there: Path) -> None:
    """rsync put the events of there over those of here; the versions of there had their numbers taken."""
    shutil.copytree(there / "penguins" / "history", here / "penguins" / "history", dirs_exist_ok=True)
    assert "CK904" in {finding.code for finding in check(here).findings}
    done = merge(there, root=here)
    assert done.copied["penguins/v0001"] == "penguins/v0003"
    is_sound(here)


def test_an_alias_that_both_moved_is_told_and_the_later_move_wins(there: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    publish(there, message="third")
    merge(there, root=clone)
    move("penguins@best", "1", root=clone)
    move("penguins@best", "3", root=there)
    merge(there, root=clone)
    assert [finding.code for finding in check(clone, select=["CK9"]).findings] == ["CK907"]
    assert str((clone / "penguins" / "@best").readlink()) == "v0003"
    move("penguins@best", "1", root=clone)
    is_sound(clone)


def test_what_is_pruned_on_either_side(here: Path, there: Path) -> None:
    prune("penguins", keep_last=1, keep_best=[], force=True, root=there)
    merge(there, root=here)
    is_sound(here)
    assert os.listdir(here / "penguins" / "v0003") == os.listdir(there / "penguins" / "v0001")
    assert set(registry.read_model(here / "penguins").state.pruned) == {"v0003"}
    prune("whales", keep_stages=["archived"], force=True, root=here)
    before = tree(here)
    assert merge(there, root=here).filled == []
    assert tree(here) == before


def test_what_is_pruned_there_stays_whole_here(there: Path, tmp_path: Path) -> None:
    merge(there, root=tmp_path / "clone")
    prune("penguins", keep_stages=["archived"], force=True, root=there)
    merge(there, root=tmp_path / "clone")
    assert (tmp_path / "clone" / "penguins" / "v0001" / "model.safetensors").read_bytes() == b"first"
    is_sound(tmp_path / "clone")


def test_a_model_that_was_renamed_on_one_side(there: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    merge(there, root=clone)
    rename("whales", "orcas", root=there)
    with pytest.raises(CkptkitError, match="whales was renamed orcas there") as caught:
        merge(there, root=clone)
    assert caught.value.hint == "run `ckptkit rename whales orcas` first"
    with pytest.raises(CkptkitError, match="whales was renamed orcas here") as caught:
        merge(clone, root=there)
    assert caught.value.hint == f"run `ckptkit rename whales orcas --root {clone}` first"
    rename("whales", "orcas", root=clone)
    assert merge(there, root=clone).copied == {}
    is_sound(clone)
    assert publish(clone, "orcas").ref == "orcas/v0002"


def test_a_clock_that_goes_ahead(here: Path, there: Path) -> None:
    merge(there, root=here)
    delete("whales/1", root=there)
    event = next(path for path in (there / "whales" / "history").iterdir() if b"deleted" in path.read_bytes())
    said = json.loads(event.read_bytes()) | {
        "id": "20990101T000000.000000Z-0badcafe",
        "time": "2099-01-01T00:00:00.000000Z",
    }
    event.unlink()
    event.with_name(f"{said['id']}.json").write_bytes(json.dumps(said).encode())
    merge(there, root=here)
    is_sound(here, "whales/v0001")
    before = tree(here)
    merge(there, root=here)
    assert tree(here) == before


def test_a_model_on_another_disk(there: Path, tmp_path: Path, other_disk: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "whales").symlink_to(other_disk)
    assert set(merge(there, root=tmp_path / "runs").copied) == {"penguins/v0001", "penguins/v0002", "whales/v0001"}
    assert (other_disk / "v0001" / "model.safetensors").read_bytes() == b"the weights"
    assert os.listdir(other_disk / registry.HOME) == []
    is_sound(tmp_path / "runs")


def test_nothing_is_written_there(here: Path, there: Path) -> None:
    shutil.rmtree(there / registry.HOME)
    (there / "index.json").write_bytes(b"old")
    before = tree(there)
    merge(there, root=here)
    assert tree(there) == before
    assert not (there / registry.HOME).exists()


def test_what_is_printed(here: Path, there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (there / "whales" / "v0001" / "model.safetensors").unlink()
    assert main(["merge", str(there), "--root", str(here)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "copied: 2 versions, 5 events",
        "penguins/v0002",
        "penguins/v0001 → penguins/v0003: the number was another version's",
        "penguins@best: nothing → v0002",
        "not taken: whales/v0001: lacks model.safetensors",
    ]
    assert main(["merge", str(there), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "ckptkit/merged/1"
    assert (document["copied"], document["events"]) == ({}, 0)
    assert list(document["refused"]) == ["whales/v0001"]
    rename("penguins/2", "9", root=there)
    move("penguins@best", "1", root=there)
    main(["merge", str(there), "--root", str(here)])
    assert capsys.readouterr().out.splitlines() == [
        "copied: 0 versions, 2 events",
        "penguins/v0002 → penguins/v0009: renumbered, as it was there",
        "penguins@best: v0002 → v0003",
        "not taken: whales/v0001: lacks model.safetensors",
    ]


@pytest.mark.parametrize("name", ["Penguins", "WHALES"])
def test_names_that_differ_by_case_alone_are_refused_before_anything_comes(here: Path, there: Path, name: str) -> None:
    (there / "whales").rename(there / name)
    if name == "WHALES":
        publish(here, "whales")
    before = tree(here)
    with pytest.raises(CkptkitError, match="by case alone"):
        merge(there, root=here)
    assert tree(here) == before


def test_a_name_that_no_model_has_is_refused(here: Path, there: Path) -> None:
    (there / "whales").rename(there / "no name")
    with pytest.raises(CkptkitError, match="'no name' is no name for a model"):
        merge(there, root=here)


def test_a_registry_is_not_merged_with_itself(here: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(here)
    for other in (here, tmp_path / "link", here / "penguins", tmp_path):
        with pytest.raises(CkptkitError, match="are one registry, or one lies in the other") as caught:
            merge(other, root=here)
        assert caught.value.exit_code == 2


def test_where_there_is_no_registry(here: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for other in ("other", "nowhere"):
        with pytest.raises(NotFoundError, match="no registry at"):
            merge(other, root=here)
    assert os.listdir(tmp_path / "other") == []


def test_without_space_nothing_is_copied(here: Path, there: Path) -> None:
    big = there / "whales" / "v0001" / "model.safetensors"
    big.chmod(0o600)
    with big.open("wb") as file:
        file.truncate(1 << 43)
    before = tree(here)
    with pytest.raises(CkptkitError, match=r"needs 8.8 TB, .* free"):
        merge(there, root=here)
    assert tree(here) == before


CUT = """
import os, sys
left = [int(sys.argv.pop())]
def cut(name):
    real = getattr(os, name)
    def call(*args, **named):
        if "/runs/" in str(args[-1]):
            if not left[0]:
                os._exit(9)
            left[0] -= 1
        return real(*args, **named)
    setattr(os, name, call)
for name in ("rename", "replace", "link"):
    cut(name)
from ckptkit.verbs.merge import merge
merge(sys.argv[2], root=sys.argv[1])
"""


@pytest.mark.parametrize("is_first", [True, False])
def test_a_killed_merge_is_finished_by_the_next(here: Path, there: Path, tmp_path: Path, *, is_first: bool) -> None:
    if is_first:
        delete("penguins/1", root=there)
    else:  # what is here is to be renumbered
        merge(here, root=there)
    publish(there, aliases=["best"], message="third")
    kept = tmp_path / "kept"
    shutil.copytree(here, kept, symlinks=True)
    merge(there, root=here)
    wanted = state_in_words(here)
    for step in range(200):
        shutil.rmtree(here)
        shutil.copytree(kept, here, symlinks=True)
        command = [sys.executable, "-c", CUT, str(here), str(there), str(step)]
        ended = subprocess.run(command, check=False, capture_output=True)
        if ended.returncode == 0:
            break
        assert ended.returncode == 9, ended.stderr
        for version in registry.read_model(here / "penguins").versions:
            found = checkpoint.read(here / "penguins" / version, deep=True)
            assert found.hashed == found.sums
        if step % 2:
            publish(here, "whales", message="between")
        merge(there, root=here)
        if step % 2 == 0:
            assert state_in_words(here) == wanted
        is_sound(here)
    assert step > 10


def state_in_words(root: Path) -> dict[str, Any]:
    return {
        name: (known.aliases, known.digests, {version: event.digest for version, event in known.deleted.items()})
        for name, known in state(root).items()
    } | {"folders": digests(root)}


def test_aliases_that_differ_by_case_alone_are_refused_before_anything_comes(here: Path, there: Path) -> None:
    move("penguins@Finest", "1", root=there)
    move("penguins@finest", "1", root=here)
    before = tree(here)
    with pytest.raises(CkptkitError, match="penguins@Finest there differs from @finest here by case alone") as raised:
        merge(there, root=here)
    assert "ckptkit alias rm penguins@Finest --root" in raised.value.hint
    assert tree(here) == before
    move("penguins@Finest", None, root=there)
    merge(there, root=here)
    is_sound(here)


def test_a_model_that_both_sides_renamed_is_not_copied_beside_itself(tmp_path: Path) -> None:
    publish(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two", symlinks=True)
    rename("penguins", "gentoos", root=tmp_path / "one")
    rename("penguins", "adelies", root=tmp_path / "two")
    with pytest.raises(CkptkitError, match="adelies there has versions of gentoos here") as raised:
        merge(tmp_path / "two", root=tmp_path / "one")
    assert "ckptkit rename adelies gentoos --root" in raised.value.hint
    rename("adelies", "gentoos", root=tmp_path / "two")
    assert merge(tmp_path / "two", root=tmp_path / "one").copied == {}
    is_sound(tmp_path / "one")
