import json
import stat
from pathlib import Path

import pytest
from registries import publish

from ckptkit.cli import main
from ckptkit.errors import NotFoundError
from ckptkit.report import space
from ckptkit.verbs.alias import move
from ckptkit.verbs.du import Usage, du
from ckptkit.verbs.prune import prune
from ckptkit.verbs.rename import rename

SIZE = 2_000_000


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "runs"
    for run in ("a", "a", "b"):
        publish(root, files={"model.bin": b"x" * SIZE}, run__id=run)
    publish(root, "whales", files={"deep/model.bin": b"y" * SIZE}, run__id="c")
    move("penguins@champion", "2", root=root)
    return root


def on_disk(folder: Path) -> int:
    found = [path.lstat() for path in folder.rglob("*")]
    return sum(status.st_size for status in found if not stat.S_ISDIR(status.st_mode))


def weights(found: Usage) -> dict[str, int]:
    versions = [version for model in found.models for run in model.runs for version in run.versions]
    return {version.ref: version.bytes for version in versions}


def test_models_runs_and_versions(root: Path) -> None:
    found = du(root=root)
    assert [model.model for model in found.models] == ["penguins", "whales"]
    penguins = found.models[0]
    assert [(run.run, [version.ref for version in run.versions]) for run in penguins.runs] == [
        ("a", ["penguins/v0001", "penguins/v0002"]),
        ("b", ["penguins/v0003"]),
    ]
    assert [version.aliases for run in penguins.runs for version in run.versions] == [(), ("champion",), ()]
    assert weights(found) == {ref: on_disk(root / ref) for ref in weights(found)}
    assert penguins.runs[0].bytes == sum(version.bytes for version in penguins.runs[0].versions)
    assert penguins.bytes == on_disk(root / "penguins")
    assert found.bytes == sum(model.bytes for model in found.models) + found.private
    assert found.shared == 0


def test_shared_bytes_count_once(root: Path) -> None:
    before = du(root=root)
    first, second = (root / "penguins" / version / "model.bin" for version in ("v0001", "v0002"))
    other = root / "whales" / "v0001" / "deep" / "model.bin"
    for path in (second, other):
        path.unlink()
        path.hardlink_to(first)
    found = du(root=root)
    assert weights(found) == weights(before)
    assert before.models[0].runs[0].bytes - found.models[0].runs[0].bytes == SIZE
    assert before.models[0].bytes - found.models[0].bytes == SIZE
    assert before.models[1].bytes == found.models[1].bytes
    assert (before.bytes - found.bytes, found.shared) == (2 * SIZE, 2 * SIZE)
    assert "4 MB more would be files that share their bytes" in space.usage(found)


def test_what_lies_in_the_private_folder_is_a_line(root: Path) -> None:
    assert du(root=root).private == 0
    (root / ".ckptkit" / "stage-0a1b2c3d4e5f" / "version").mkdir(parents=True)
    (root / ".ckptkit" / "stage-0a1b2c3d4e5f" / "version" / "model.bin").write_bytes(b"z" * SIZE)
    found = du(root=root)
    assert found.private == SIZE
    assert "2 MB  .ckptkit" in space.usage(found)
    assert du("penguins", root=root).private == 0


def test_what_was_pruned_weighs_nothing_any_more(root: Path) -> None:
    before = du("penguins", root=root)
    prune("penguins", keep_last=1, keep_aliased=True, root=root)
    found = du("penguins", root=root)
    assert before.models[0].runs[0].bytes - found.models[0].runs[0].bytes == SIZE
    assert [version.pruned for run in found.models[0].runs for version in run.versions] == [True, False, False]


def test_a_version_that_cannot_be_read_weighs_something(root: Path) -> None:
    (root / "penguins" / "v0003" / "lineage.json").unlink()
    (root / "index.json").unlink()
    found = du("penguins", root=root)
    assert [(run.run, len(run.versions)) for run in found.models[0].runs] == [("a", 2), (None, 1)]
    assert weights(found)["penguins/v0003"] > SIZE


@pytest.mark.usefixtures("root")
def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["du"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ", 1)[1] for line in lines] == [
        "penguins",
        "  run a",
        "    penguins/v0001",
        "    penguins/v0002 @champion",
        "  penguins/v0003",
        "whales",
        "  whales/v0001",
        "in all",
    ]
    assert len({line.index("B") for line in lines}) == 1  # units stand below each other
    assert main(["du", "whales", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "ckptkit/du/1"
    assert document["models"][0]["runs"][0]["versions"][0]["ref"] == "whales/v0001"
    assert main(["du", "seals"]) == 1


def test_a_name_that_a_model_had_is_no_model(root: Path) -> None:
    rename("whales", "orcas", root=root)
    assert [model.model for model in du(root=root).models] == ["orcas", "penguins"]
    assert du("whales", root=root).models[0].runs == ()


def test_where_there_is_nothing(root: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no model 'seals'"):
        du("seals", root=root)
    with pytest.raises(NotFoundError, match="no registry at"):
        du(root=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert du(root=tmp_path / "empty") == Usage(models=(), private=0, bytes=0, shared=0)
