import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from registries import publish

from ckptkit import index, registry
from ckptkit.cli import main
from ckptkit.errors import CkptkitError, NotFoundError
from ckptkit.report import space
from ckptkit.verbs.alias import undo
from ckptkit.verbs.check import check
from ckptkit.verbs.delete import Deletion, delete
from ckptkit.verbs.stage import stage
from ckptkit.verbs.which import which


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "runs"
    publish(root)
    publish(root, aliases=["champion", "old"])
    publish(root)
    publish(root, "whales")
    return root


def gone(root: Path) -> dict[str, str | None]:
    rows = index.build(root)["models"]["penguins"]["gone"]
    return {version: row["digest"] for version, row in rows.items() if row["deleted"]}


@pytest.mark.parametrize("ref", ["penguins/3", "penguins/v0003", "penguins@latest", "./runs/penguins/v0003", "sha256"])
def test_a_version_goes_and_what_it_was_stays_known(root: Path, ref: str) -> None:
    folder = root / "penguins" / "v0003"
    digest = registry.digest_of(folder)
    done = delete(digest[:20] if ref == "sha256" else ref, root=root, reason="a typo in it")
    assert not folder.exists()
    assert done.done
    assert done.warnings == ()
    assert gone(root) == {"v0003": digest}
    event = registry.read_model(root / "penguins").state.deleted["v0003"]
    assert event.reason == "a typo in it"
    assert {file.path for file in event.files} == {"model.safetensors", "config.yaml", "lineage.json"}
    assert {file.bytes for file in event.files if file.path == "model.safetensors"} == {11}
    assert index.load(root) == index.build(root)
    assert check(root, select=["CK9"]).findings == ()


def test_numbers_are_never_used_again(root: Path) -> None:
    delete("penguins/3", root=root)
    assert publish(root).ref == "penguins/v0004"
    delete("penguins", every=True, force=True, root=root)
    assert [*index.build(root)["models"]["penguins"]["versions"]] == []
    assert set(gone(root)) == {"v0001", "v0002", "v0003", "v0004"}
    (root / "index.json").unlink()
    assert publish(root).ref == "penguins/v0005"


@pytest.mark.parametrize("ref", ["penguins/1", "penguins"])
def test_what_was_deleted_is_not_deleted_again(root: Path, ref: str) -> None:
    delete(ref, every=ref == "penguins", force=True, root=root)
    events = len(os.listdir(root / "penguins" / "history"))
    with pytest.raises(NotFoundError, match=r"was deleted on|has no version"):
        delete(ref, every=ref == "penguins", root=root)
    assert len(os.listdir(root / "penguins" / "history")) == events


def test_what_bears_an_alias_stays_unless_forced(root: Path) -> None:
    with pytest.raises(CkptkitError, match="penguins/v0002 is @champion @old") as caught:
        delete("penguins/2", root=root)
    assert caught.value.exit_code == 2
    assert (root / "penguins" / "v0002").is_dir()
    delete("penguins/2", force=True, root=root)
    assert index.build(root)["models"]["penguins"]["aliases"] == {}
    assert list((root / "penguins").glob("@*")) == []
    kinds = [event.kind for event in registry.read_model(root / "penguins").events[-3:]]
    assert kinds == ["alias", "alias", "deleted"]
    with pytest.raises(NotFoundError, match="v0002"):
        undo("penguins@champion", root=root)


def test_what_is_in_production_stays_unless_forced(root: Path) -> None:
    stage("penguins/3", "production", root=root)
    stage("penguins/1", "staging", root=root)
    delete("penguins/1", root=root)
    with pytest.raises(CkptkitError, match="penguins/v0003 is production"):
        delete("penguins/3", root=root)
    delete("penguins/3", force=True, root=root)
    assert index.build(root)["models"]["penguins"]["stages"] == {}


def test_one_delete_mends_what_was_removed_by_hand(root: Path) -> None:
    digest = registry.digest_of(root / "penguins" / "v0001")
    shutil.copy(root / "penguins" / "v0001" / "model.safetensors", root.parent / "found")
    shutil.rmtree(root / "penguins" / "v0001")
    assert [finding.code for finding in check(root, select=["CK9"]).findings if finding.code != "CK907"]
    done = delete("penguins/1", root=root)
    assert (done.removals[0].bytes, done.freed) == (0, 0)
    assert [(file.path, file.bytes) for file in done.removals[0].files] == [("model.safetensors", None)]
    match = which(root.parent / "found", root=[root]).matches[0]
    assert (match.ref, match.path, match.state) == ("penguins/v0001", "model.safetensors", "deleted")
    assert gone(root) == {"v0001": digest}
    assert check(root, select=["CK9"]).findings == ()
    with pytest.raises(NotFoundError, match="was deleted on"):
        delete("penguins/1", root=root)


@pytest.mark.parametrize("how", ["no index", "another version", "broken"])
def test_files_are_those_of_this_version_or_not_known(root: Path, how: str) -> None:
    stored = root / "index.json"
    if how == "no index":
        stored.unlink()
    elif how == "broken":
        stored.write_bytes(stored.read_bytes().replace(b"penguins", b"pinguins"))
    else:
        here = root / "penguins"
        index.write(root, index.build(root, at="2000-01-01T00:00:00.000000Z"))
        shutil.copytree(here / "v0001", here / "kept")
        shutil.rmtree(here / "v0001")
        shutil.copytree(here / "v0002", here / "v0001")
        index.write(root, index.build(root))
        shutil.rmtree(here / "kept")
    shutil.rmtree(root / "penguins" / "v0001")
    assert delete("penguins/1", root=root).removals[0].files == ()


def test_what_cannot_go_keeps_its_aliases(root: Path) -> None:
    events = os.listdir(root / "penguins" / "history")
    (root / "penguins" / "v0002").chmod(0o555)
    try:
        if os.access(root / "penguins" / "v0002", os.W_OK):
            pytest.skip("this user writes everywhere")
        for ref in ("penguins/2", "penguins"):
            with pytest.raises(CkptkitError, match="v0002 is not writable; nothing was changed"):
                delete(ref, every=ref == "penguins", force=True, root=root)
    finally:
        (root / "penguins" / "v0002").chmod(0o755)
    assert os.listdir(root / "penguins" / "history") == events
    assert index.load(root)["models"]["penguins"]["aliases"] == {"champion": "v0002", "old": "v0002"}
    assert {path.name for path in (root / "penguins").glob("v*")} == {"v0001", "v0002", "v0003"}


def no_sums(folder: Path) -> None:
    (folder / "SHA256SUMS").unlink()


def bad_sums(folder: Path) -> None:
    (folder / "SHA256SUMS").unlink()
    (folder / "SHA256SUMS").write_bytes(b"<<<<<<< HEAD\n")


def other_sums(folder: Path) -> None:
    (folder / "SHA256SUMS").unlink()
    (folder / "SHA256SUMS").write_bytes(b"0" * 64 + b"  ./model.safetensors\n")


def no_lineage(folder: Path) -> None:
    (folder / "lineage.json").unlink()


@pytest.mark.parametrize("is_index_there", [True, False])
@pytest.mark.parametrize("damage", [no_sums, bad_sums, other_sums, no_lineage])
def test_a_damaged_version_can_go(root: Path, damage: Callable[[Path], None], *, is_index_there: bool) -> None:
    folder = root / "penguins" / "v0001"
    digest = registry.digest_of(folder)
    damage(folder)
    if not is_index_there:
        (root / "index.json").unlink()
    delete("penguins/1", root=root)
    assert not folder.exists()
    assert gone(root) == {"v0001": digest}
    assert check(root, select=["CK9"]).findings == ()


def test_a_version_that_no_event_knows_can_go(root: Path) -> None:
    (root / "penguins" / "v0007").mkdir()
    (root / "penguins" / "v0007" / "lineage.json").write_text("{}")
    delete("penguins/7", root=root)
    assert gone(root) == {"v0007": None}
    assert publish(root).ref == "penguins/v0008"


def test_a_second_copy_goes_and_the_first_stays(root: Path) -> None:
    shutil.copytree(root / "penguins" / "v0001", root / "penguins" / "v0009")
    delete("penguins/9", root=root)
    versions = index.build(root)["models"]["penguins"]["versions"]
    assert [*versions] == ["v0001", "v0002", "v0003"]
    assert versions["v0001"]["event"] is not None
    assert not (root / "penguins" / "v0009").exists()


def test_a_path_outside_the_registry_is_refused(root: Path, tmp_path: Path) -> None:
    other = publish(tmp_path / "other", "penguins")
    for ref in (str(other.path), "./other/penguins/v0001", "./runs", "./nowhere", "./runs/penguins/@champion/../.."):
        with pytest.raises(CkptkitError, match="is no version of the registry"):
            delete(ref, root=root)
    assert other.path.is_dir()


@pytest.mark.parametrize(
    ("ref", "every", "said"),
    [
        ("penguins", False, "names a model"),
        ("seals", True, "no model 'seals'"),
        ("seals/1", False, "no model 'seals'"),
        ("penguins/1", True, "no model 'penguins/1'"),
        ("penguins/8", False, "no version penguins/v0008"),
        ("penguins/x", False, "'x' is no version"),
        ("penguins@nobody", False, "no alias @nobody"),
    ],
)
def test_what_names_no_version_is_refused(root: Path, ref: str, said: str, *, every: bool) -> None:
    with pytest.raises(CkptkitError, match=said) as caught:
        delete(ref, every=every, root=root)
    assert caught.value.hint


def test_nothing_goes_without_consent(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[Deletion] = []

    def refuse(plan: Deletion) -> bool:
        asked.append(plan)
        return False

    done = delete("penguins/3", root=root, agree=refuse)
    assert (done.done, asked) == (False, [done])
    assert main(["delete", "penguins/3"]) == 2
    out, err = capsys.readouterr()
    assert (out, "add --yes" in err, "1 version to delete: " in err) == ("", True, True)
    assert (root / "penguins" / "v0003").is_dir()
    assert main(["delete", "penguins/3", "--yes"]) == 0
    assert capsys.readouterr().out.endswith(" freed\n")
    assert main(["delete", "penguins/1", "--yes", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["done"]) == ("ckptkit/deletion/1", True)
    assert [version["version"] for version in document["versions"]] == ["penguins/v0001"]


def test_what_changed_while_it_was_asked_about_stays(root: Path) -> None:
    def agree(_: Deletion) -> bool:
        publish(root, aliases=["champion"])
        return True

    with pytest.raises(CkptkitError, match="changed meanwhile; nothing was deleted"):
        delete("penguins/2", force=True, root=root, agree=agree)
    assert (root / "penguins" / "v0002").is_dir()


def test_shared_bytes_come_free_with_their_last_link(root: Path) -> None:
    weights = [root / "penguins" / version / "model.safetensors" for version in ("v0001", "v0003")]
    size = 1_000_000
    for path in weights:
        path.unlink()
    weights[0].write_bytes(b"x" * size)
    weights[1].hardlink_to(weights[0])
    first = delete("penguins/1", root=root)
    assert first.freed == first.removals[0].bytes - size
    assert "1 MB are shared with files that stay" in space.deletion(first)
    second = delete("penguins/3", root=root)
    assert second.freed == second.removals[0].bytes
    assert "shared" not in space.deletion(second)
