import json
import os
import shutil
from pathlib import Path

import pytest
from registries import publish

from ckptkit import index, registry
from ckptkit.cli import main
from ckptkit.errors import CkptkitError, NotFoundError
from ckptkit.verbs.alias import log
from ckptkit.verbs.check import check
from ckptkit.verbs.delete import delete
from ckptkit.verbs.path import path
from ckptkit.verbs.rename import rename
from ckptkit.verbs.stage import stage


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "runs"
    publish(root, aliases=["old"])
    publish(root, aliases=["champion"])
    publish(root, "whales")
    stage("penguins/2", "production", root=root)
    return root


def is_clean(root: Path) -> bool:
    return index.load(root) == index.build(root) and check(root, select=["CK9"]).findings == ()


def said(root: Path, model: str) -> tuple[object, ...]:
    part = index.load(root)["models"][model]
    links = {link.name: str(link.readlink()) for link in (root / model).glob("@*")}
    return [*part["versions"]], part["aliases"], part["stages"], part["became"], links


PENGUINS = (
    ["v0001", "v0002"],
    {"champion": "v0002", "old": "v0001"},
    {"v0002": "production"},
    None,
    {"@champion": "v0002", "@old": "v0001"},
)


def test_a_model_keeps_all_that_is_said_of_it(root: Path) -> None:
    assert said(root, "penguins") == PENGUINS
    done = rename("penguins", "seals", reason="they were seals", root=root)
    assert (done.before, done.after, done.warnings) == ("penguins", "seals", ())
    assert said(root, "seals") == PENGUINS
    assert [event.alias for event in log("seals", root=root)] == ["old", "champion"]
    assert path("seals@champion", root=root).samefile(root / "seals" / "v0002")
    event = registry.read_model(root / "seals").events[-1]
    assert (event.kind, event.model, event.was, event.reason) == ("renamed", "seals", "penguins", "they were seals")
    assert is_clean(root)


def test_the_old_name_says_what_became_of_it(root: Path) -> None:
    rename("penguins", "seals", root=root)
    assert os.listdir(root / "penguins") == ["history"]
    assert index.load(root)["models"]["penguins"]["became"] == "seals"
    with pytest.raises(NotFoundError) as caught:
        path("penguins@champion", root=root)
    assert "seals" in caught.value.hint
    with pytest.raises(NotFoundError, match="no model 'penguins' any more") as caught:
        rename("penguins", "orcas", root=root)
    assert "seals" in caught.value.hint


def test_numbers_of_the_old_name_are_never_used_again(root: Path) -> None:
    delete("penguins/2", force=True, root=root)
    rename("penguins", "seals", root=root)
    assert registry.read_model(root / "penguins").last == 2
    assert publish(root, "seals").ref == "seals/v0003"


@pytest.mark.parametrize("names", [["seals"], ["seals", "orcas"], ["seals", "penguins", "seals"]])
def test_a_name_that_it_had_can_be_given_back(root: Path, names: list[str]) -> None:
    before = "penguins"
    for name in names:
        rename(before, name, root=root)
        before = name
    rename(before, "penguins", root=root)
    assert said(root, "penguins") == PENGUINS
    left = index.load(root)["models"]
    assert all(left[name]["became"] and not left[name]["versions"] for name in names if name != "penguins")
    assert publish(root, "penguins").ref == "penguins/v0003"
    assert is_clean(root)


def test_a_name_may_change_its_case(root: Path) -> None:
    rename("penguins", "Penguins", root=root)
    assert said(root, "Penguins") == PENGUINS
    assert "penguins" not in os.listdir(root)
    assert is_clean(root)
    rename("Penguins", "penguins", root=root)
    assert said(root, "penguins") == PENGUINS


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("whales", "the name whales is taken: another model is called so"),
        ("Whales", "differs from 'whales' by case alone"),
        ("logs", "the name logs is taken: there is .*/runs/logs"),
        ("lost", "the name lost is taken: there is .*/runs/lost"),
        ("penguins", "is called penguins already"),
        ("v0007", "no name for a model"),
        ("../x", "no name for a model"),
        ("seals\n", "no name for a model"),
        ("", "no name for a model"),
    ],
)
def test_names_that_cannot_be_given(root: Path, name: str, words: str) -> None:
    (root / "logs").mkdir()
    (root / "lost").symlink_to("nowhere")
    before = sorted(os.listdir(root))
    with pytest.raises(CkptkitError, match=words) as caught:
        rename("penguins", name, root=root)
    assert caught.value.hint
    assert (sorted(os.listdir(root)), said(root, "penguins")) == (before, PENGUINS)


def test_a_name_that_another_model_had_is_not_given(root: Path) -> None:
    rename("whales", "orcas", root=root)
    with pytest.raises(CkptkitError, match="the name whales is taken: orcas was called so before"):
        rename("penguins", "whales", root=root)
    delete("orcas", every=True, root=root)
    with pytest.raises(CkptkitError, match="the name orcas is taken: a model without versions is called so"):
        rename("penguins", "orcas", root=root)


def test_what_was_put_under_the_old_name_stays(root: Path) -> None:
    rename("penguins", "seals", root=root)
    (root / "penguins" / "notes.txt").write_text("mine")
    with pytest.raises(CkptkitError, match=r"the name penguins is taken: there is .*/runs/penguins/notes\.txt"):
        rename("seals", "penguins", root=root)
    assert (root / "penguins" / "notes.txt").read_text() == "mine"
    assert said(root, "seals") == PENGUINS


def test_a_model_that_is_a_link(root: Path, tmp_path: Path) -> None:
    shutil.move(root / "penguins", tmp_path / "elsewhere")
    (root / "penguins").symlink_to(tmp_path / "elsewhere")
    rename("penguins", "seals", root=root)
    assert (root / "seals").readlink() == tmp_path / "elsewhere"
    assert said(root, "seals") == PENGUINS
    rename("seals/1", "7", root=root)
    assert (tmp_path / "elsewhere" / "v0007").is_dir()
    rename("seals", "penguins", root=root)
    assert (root / "penguins").is_symlink()


@pytest.mark.parametrize("ref", ["penguins/2", "penguins@champion", "./runs/penguins/v0002"])
@pytest.mark.parametrize("number", ["9", "v9", "v0009"])
def test_a_version_keeps_all_that_is_said_of_it(root: Path, ref: str, number: str) -> None:
    digest = registry.digest_of(root / "penguins" / "v0002")
    done = rename(ref, number, root=root)
    assert (done.before, done.after) == ("penguins/v0002", "penguins/v0009")
    assert registry.digest_of(root / "penguins" / "v0009") == digest
    assert said(root, "penguins") == (
        ["v0001", "v0009"],
        {"champion": "v0009", "old": "v0001"},
        {"v0009": "production"},
        None,
        {"@champion": "v0009", "@old": "v0001"},
    )
    event = registry.read_model(root / "penguins").events[-1]
    assert (event.kind, event.version, event.was, event.digest) == ("renumbered", "v0009", "v0002", digest)
    assert publish(root).ref == "penguins/v0010"
    assert is_clean(root)


def test_a_number_is_never_used_twice(root: Path) -> None:
    rename("penguins/2", "9", root=root)
    delete("penguins/1", force=True, root=root)
    for number in ("1", "2", "9"):
        with pytest.raises(CkptkitError, match=f"penguins/v000{number} is or was there") as caught:
            rename("penguins/9", number, root=root)
        assert caught.value.hint == "the next is v0010"
    rename("penguins/9", "5", root=root)
    assert said(root, "penguins")[1] == {"champion": "v0005"}
    assert is_clean(root)


@pytest.mark.parametrize("number", ["0", "x", "v0", "", "-1", "1.5", "9" * 30, "seals"])
def test_numbers_that_are_none(root: Path, number: str) -> None:
    with pytest.raises(CkptkitError, match="is no number of a version"):
        rename("penguins/2", number, root=root)
    assert said(root, "penguins") == PENGUINS


def test_a_number_that_leaves_room_for_those_after_it(root: Path) -> None:
    for number in ("100000000", "9" * 18):
        with pytest.raises(CkptkitError, match="is above 99,999,999") as caught:
            rename("penguins/1", number, root=root)
        assert caught.value.hint == "the next is v0003"
    assert said(root, "penguins") == PENGUINS
    rename("penguins/1", "99999999", root=root)
    assert publish(root).ref == "penguins/v100000000"
    assert is_clean(root)


def test_versions_that_cannot_be_renumbered(root: Path, tmp_path: Path) -> None:
    other = publish(tmp_path / "other")
    with pytest.raises(CkptkitError, match="is no version of the registry"):
        rename(str(other.path), "9", root=root)
    shutil.copytree(other.path, root / "penguins" / "copy")
    with pytest.raises(CkptkitError, match="is no version of the registry"):
        rename("./runs/penguins/copy", "9", root=root)
    with pytest.raises(NotFoundError, match="no version penguins/v0008"):
        rename("penguins/8", "9", root=root)
    with pytest.raises(NotFoundError, match="no model 'seals'"):
        rename("seals", "orcas", root=root)
    shutil.copytree(root / "penguins" / "v0001", root / "penguins" / "v0004")
    with pytest.raises(CkptkitError, match="no event says that penguins/v0004 was saved"):
        rename("penguins/4", "9", root=root)


def test_the_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rename", "penguins", "seals", "--root", str(root)]) == 0
    assert capsys.readouterr().out == "penguins is seals now\n"
    assert main(["rename", "seals/1", "7", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": "ckptkit/renamed/1",
        "before": "seals/v0001",
        "after": "seals/v0007",
        "warnings": [],
    }
    assert main(["rename", "seals/1", "8"]) == 1
    assert main(["rename", "seals"]) == 2
