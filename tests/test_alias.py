import os
import subprocess
import sys
from pathlib import Path

import pytest
from registries import publish

from ckptkit import index, names, references, registry
from ckptkit.errors import CkptkitError, NotFoundError
from ckptkit.report import moves
from ckptkit.verbs import alias
from ckptkit.verbs.check import check
from ckptkit.verbs.stage import stage

# The names that the suite of MLflow's registry has, but for its longest ones: ours are of 128 characters at most.
GOOD = ["a", "Ab-5_", "test-alias", "1a2b5cDeFgH", "a" * 128, "lates", "v123_temp", "123", "123v", "temp_V123"]
BAD = ["", ".", "/", "..", "//", "a b", "a/./b", "/a", "a/", ":", "\\", "./", "/./", "a" * 129, "$dgs"]
BAD += ["v123", "V1", "latest", "Latest", "LATEST", "champion\n"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    for _ in range(3):
        publish(root)
    publish(root, "whales")
    return root


def stands(root: Path, name: str = "champion") -> str | None:
    part = index.load(root)["models"]["penguins"]
    assert part == index.build(root)["models"]["penguins"]
    link = root / "penguins" / f"@{name}"
    version: str | None = part["aliases"].get(name)
    assert (str(link.readlink()) if link.is_symlink() else None) == version
    return version


@pytest.mark.parametrize("name", GOOD)
def test_good_names(name: str) -> None:
    assert names.require_alias(name) == name


@pytest.mark.parametrize("name", BAD)
def test_bad_names(root: Path, name: str) -> None:
    with pytest.raises(CkptkitError):
        names.require_alias(name)
    with pytest.raises(CkptkitError):
        alias.move(f"penguins@{name}", "1", root=root)
    assert index.load(root)["models"]["penguins"]["aliases"] == {}


@pytest.mark.parametrize("ref", ["2", "v0002", "penguins/2", "penguins/v0002", "penguins@old", "./runs/penguins/v0002"])
def test_set_takes_a_number_or_any_reference(
    root: Path, ref: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    alias.move("penguins@old", "2", root=root)
    moved = alias.move("penguins@champion", ref, root=root)
    assert (moved.before, moved.after, moved.warnings) == (None, "v0002", ())
    assert stands(root) == "v0002"


def test_set_by_digest_and_as_of_a_time(root: Path) -> None:
    alias.move("penguins@champion", publish(root).digest, root=root)
    assert stands(root) == "v0004"
    [event] = [event for event in registry.read_model(root / "penguins").events if event.kind == "alias"]
    alias.move("penguins@champion", "1", root=root)
    alias.move("penguins@before", "penguins@champion", at=event.time, root=root)
    assert stands(root, "before") == "v0004"
    with pytest.raises(NotFoundError, match="has no version"):
        alias.move("penguins@before", "penguins@champion", at="2020-01-01", root=root)


@pytest.mark.parametrize("ref", ["penguins", "9", "whales/1", "penguins@nobody", "sha256:12", "../penguins"])
def test_what_names_no_version_of_the_model_is_refused(root: Path, ref: str) -> None:
    before = sorted(os.listdir(root / "penguins" / "history"))
    with pytest.raises(CkptkitError):
        alias.move("penguins@champion", ref, root=root)
    assert sorted(os.listdir(root / "penguins" / "history")) == before
    assert not os.path.lexists(root / "penguins" / "@champion")


def test_no_move_is_silent_and_none_is_told_twice(root: Path) -> None:
    for version in ("1", "2", "2"):
        alias.move("penguins@champion", version, reason=f"because {version}", root=root)
    alias.move("penguins@champion", None, root=root)
    told = [(event.version, event.reason) for event in alias.log("penguins@champion", root=root)]
    assert told == [("v0001", "because 1"), ("v0002", "because 2"), (None, None)]
    assert stands(root) is None
    lines = moves.log(alias.log("penguins", root=root)).splitlines()
    assert [line.split("  ", 1)[1] for line in lines] == [
        "@champion: nothing → v0001  because 1",
        "@champion: v0001 → v0002  because 2",
        "@champion: v0002 → nothing",
    ]


def test_compare_and_swap(root: Path) -> None:
    alias.move("penguins@champion", "1", expect="none", root=root)
    with pytest.raises(alias.ElsewhereError, match="stands on v0001, not on nothing") as raised:
        alias.move("penguins@champion", "2", expect="none", root=root)
    assert raised.value.exit_code == 1
    with pytest.raises(alias.ElsewhereError, match="stands on v0001, not on v0003"):
        alias.move("penguins@champion", "2", expect="3", root=root)
    assert stands(root) == "v0001"
    alias.move("penguins@champion", "2", expect="v1", root=root)
    with pytest.raises(alias.ElsewhereError):
        alias.move("penguins@champion", None, expect="1", root=root)
    assert stands(root) == "v0002"


def test_removing_what_stands_nowhere_is_a_no(root: Path) -> None:
    with pytest.raises(NotFoundError, match="penguins@champion stands on nothing"):
        alias.move("penguins@champion", None, root=root)
    with pytest.raises(NotFoundError, match="never moved"):
        alias.undo("penguins@champion", root=root)
    with pytest.raises(NotFoundError, match="never moved"):
        alias.log("penguins@champion", root=root)
    with pytest.raises(NotFoundError, match="no model 'seals'"):
        alias.move("seals@champion", "1", root=root)


def test_undo_goes_back_one_move_and_twice_is_redo(root: Path) -> None:
    for version in ("1", "3"):
        alias.move("penguins@champion", version, root=root)
    assert alias.undo("penguins@champion", root=root).after == "v0001"
    assert stands(root) == "v0001"
    assert alias.undo("penguins@champion", root=root).after == "v0003"
    alias.move("penguins@champion", None, root=root)
    assert alias.undo("penguins@champion", root=root).after == "v0003"
    alias.move("penguins@new", "1", root=root)
    assert alias.undo("penguins@new", root=root).after is None
    assert stands(root, "new") is None


def test_several_aliases_a_version_and_none_differs_by_case_alone(root: Path) -> None:
    for name in ("champion", "candidate"):
        alias.move(f"penguins@{name}", "2", root=root)
    found = references.find("penguins/2", root=root, cwd=root)
    assert found.aliases == ("candidate", "champion")
    with pytest.raises(CkptkitError, match="by case alone"):
        alias.move("penguins@Champion", "1", root=root)
    alias.move("whales@Champion", "1", root=root)


def test_setting_a_forked_alias_settles_it(root: Path) -> None:
    for version in ("v0001", "v0002"):
        event = registry.new_event("alias", "penguins", version, alias="champion")
        (root / "penguins" / "history" / f"{event.id}.json").write_text(
            f'{{"schema": "ckptkit/event/1", "id": "{event.id}", "time": "{event.time}", "kind": "alias", '
            f'"model": "penguins", "version": "{version}", "alias": "champion"}}'
        )
    assert [finding.code for finding in check(root).findings if finding.code == "CK907"] == ["CK907"]
    alias.move("penguins@champion", "2", root=root)
    assert stands(root) == "v0002"
    assert not [finding for finding in check(root).findings if finding.code == "CK907"]


def test_links_can_be_switched_off(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.ckptkit]\nlinks = false\n")
    alias.move("penguins@champion", "2", root=root)
    assert not os.path.lexists(root / "penguins" / "@champion")
    assert references.find("penguins@champion", root=root, cwd=root).version.ref == "penguins/v0002"
    assert not [finding for finding in check(root).findings if finding.code.startswith("CK9")]


def test_as_of_a_time_references_say_what_they_said_then(root: Path) -> None:
    times = []
    for version in ("1", "2"):
        alias.move("penguins@champion", version, root=root)
        times.append(registry.read_model(root / "penguins").events[-1].time)
    stage("penguins/2", "production", root=root)
    alias.move("penguins@champion", None, root=root)
    publish(root)
    for time, version in zip(times, ("v0001", "v0002"), strict=True):
        found = references.find("penguins@champion", root=root, cwd=root, at=time)
        assert (found.version.path.name, found.stage) == (version, None)
        assert references.find("penguins@latest", root=root, cwd=root, at=time).version.path.name == "v0003"
    assert references.find("penguins", root=root, cwd=root).version.path.name == "v0004"
    path = str(root / "penguins" / "v0001")
    assert references.find(path, root=root, cwd=root, at=times[0]).aliases == ("champion",)
    assert references.find(path, root=root, cwd=root).aliases == ()
    with pytest.raises(NotFoundError, match="no version penguins/v0004 as of "):
        references.find(str(root / "penguins" / "v0004"), root=root, cwd=root, at=times[0])


def test_parallel_moves_are_one_chain(root: Path) -> None:
    code = (
        "import sys\nfrom ckptkit.verbs import alias\n"
        "for turn in range(6):\n"
        "    alias.move('penguins@champion', str(1 + (turn + int(sys.argv[2])) % 3), root=sys.argv[1])\n"
    )
    command = [sys.executable, "-c", code, str(root)]
    started = [subprocess.Popen([*command, str(number)]) for number in range(4)]
    assert [process.wait(60) for process in started] == [0] * 4
    model = registry.read_model(root / "penguins")
    assert len(model.state.heads["@champion"]) == 1
    assert stands(root) == model.state.aliases["champion"]


def test_stages_are_mlflows(root: Path) -> None:
    done = stage("penguins/1", "Production", reason="first", root=root)
    assert done.moves == {"penguins/v0001": ("none", "production")}
    done = stage("penguins/2", "PRODUCTION", root=root)
    assert index.load(root)["models"]["penguins"]["stages"] == {"v0001": "production", "v0002": "production"}
    done = stage("penguins/3", "production", archive_existing=True, root=root)
    assert done.moves == {
        "penguins/v0003": ("none", "production"),
        "penguins/v0001": ("production", "archived"),
        "penguins/v0002": ("production", "archived"),
    }
    before = len(registry.read_model(root / "penguins").events)
    assert stage("penguins/3", "production", archive_existing=True, root=root).moves == {
        "penguins/v0003": ("production", "production")
    }
    assert len(registry.read_model(root / "penguins").events) == before
    stage("penguins/3", "none", root=root)
    part = index.load(root)["models"]["penguins"]
    assert part["stages"] == {"v0001": "archived", "v0002": "archived"}
    assert part == index.build(root)["models"]["penguins"]
    assert references.find("penguins/1", root=root, cwd=root).stage == "archived"


@pytest.mark.parametrize("to", ["", "prod", "production\n", "Deleted_Internal"])
def test_what_is_no_stage_is_refused(root: Path, to: str) -> None:
    with pytest.raises(CkptkitError, match="is no stage"):
        stage("penguins/1", to, root=root)


@pytest.mark.parametrize("to", ["none", "archived"])
def test_existing_versions_are_archived_for_active_stages_alone(root: Path, to: str) -> None:
    with pytest.raises(CkptkitError, match="are not archived"):
        stage("penguins/1", to, archive_existing=True, root=root)


def test_a_model_is_no_version_to_be_staged(root: Path) -> None:
    with pytest.raises(CkptkitError, match="names a model"):
        stage("penguins", "production", root=root)
    with pytest.raises(NotFoundError):
        stage("penguins/9", "production", root=root)


def test_a_registry_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no registry"):
        alias.move("penguins@champion", "1", root=tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
