import itertools
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lineages import step

from ckptkit import hashing
from ckptkit.data import preparation, sidecar, steps
from ckptkit.record import Content, Step

STEM = {"kept.txt": "filter", "unique.txt": "deduplicate", "tokens": "tokenise"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with raw.txt → kept.txt → unique.txt → tokens/ in its folder data."""
    home = tmp_path / "project"
    (home / "data").mkdir(parents=True)
    (home / "pyproject.toml").touch()
    monkeypatch.chdir(home)
    (home / "data" / "raw.txt").write_text("one\ntwo\n\ntwo\n")
    chain(home / "data")
    return home


def chain(data: Path) -> None:
    names = ("raw.txt", "kept.txt", "unique.txt", "tokens")
    for source, target in itertools.pairwise(names):
        prepare([data / source], data / target)


def prepare(
    inputs: Sequence[Path], output: Path, *, name: str = "", text: str = "", disturb: Path | None = None
) -> None:
    begun = preparation.begin(
        name or STEM.get(output.name, output.name),
        inputs=inputs,
        output=output,
        params={},
        command=["true"],
        root=Path("runs").absolute(),
    )
    if disturb:
        disturb.write_text("disturbed\n")
    if output.suffix:
        output.write_text(text or f"{output.name}\n")
    else:
        output.mkdir(exist_ok=True)
        (output / "ids.txt").write_text(text or "1\n2\n")
    preparation.finish(begun)


def digest(path: Path) -> str:
    return hashing.tree(path).digest if path.is_dir() else f"sha256:{hashing.file_sha256(path)}"


def follow(path: Path, **options: Any) -> tuple[list[tuple[str, str | None, str | None]], dict[str, str]]:
    """Name, link and reason of each step, and what is unknown."""
    unknown: dict[str, str] = {}
    given: dict[str, Any] = {
        "project": Path.cwd(),
        "where": "data.train.steps",
        "unknown": unknown,
        "digest": digest(path),
    } | options
    found = steps.follow(path, **given)
    for each in found:
        assert Step.from_dict(each.to_dict()) == each
    return [(each.name, each.link, each.reason) for each in found], unknown


def test_a_chain_is_followed_to_its_source_and_verified(project: Path) -> None:
    found, unknown = follow(project / "data" / "tokens")
    assert found == [(name, "verified", None) for name in ("filter", "deduplicate", "tokenise")]
    assert unknown == {}
    assert follow(project / "data" / "raw.txt") == ([], {})


def test_an_intermediate_file_that_was_edited_by_hand_breaks_the_link_of_its_step(project: Path) -> None:
    (project / "data" / "kept.txt").write_text("edited\n")
    found, _ = follow(project / "data" / "tokens")
    assert found == [
        ("filter", "broken", "data/kept.txt was written to after the step"),
        ("deduplicate", "verified", None),
        ("tokenise", "verified", None),
    ]


def test_so_does_an_edited_source(project: Path) -> None:
    (project / "data" / "raw.txt").write_text("edited\n")
    found, _ = follow(project / "data" / "tokens")
    assert found[0] == ("filter", "broken", "its input data/raw.txt was written to after the step")
    assert [link for _, link, _ in found[1:]] == ["verified", "verified"]


def test_and_the_declared_data_itself(project: Path) -> None:
    (project / "data" / "tokens" / "more.txt").write_text("3\n")
    found, _ = follow(project / "data" / "tokens")
    assert found[2] == ("tokenise", "broken", "data/tokens was written to after the step")


def test_a_step_that_was_run_again_without_those_after_it(project: Path) -> None:
    prepare([project / "data" / "raw.txt"], project / "data" / "kept.txt", text="another\n")
    found, _ = follow(project / "data" / "tokens")
    assert found[0] == ("filter", "broken", "the step deduplicate read another data/kept.txt than this one wrote")


def test_what_is_not_here_is_not_verified(project: Path) -> None:
    (project / "data" / "raw.txt").unlink()
    (project / "data" / "kept.txt").unlink()
    found, _ = follow(project / "data" / "tokens")
    assert found == [
        ("filter", "unverified", "data/kept.txt is not here"),
        ("deduplicate", "verified", None),
        ("tokenise", "verified", None),
    ]


def test_what_cannot_be_read_neither(project: Path) -> None:
    (project / "data" / "kept.txt").unlink()
    os.mkfifo(project / "data" / "kept.txt")
    (project / "data" / "raw.txt").unlink()
    os.mkfifo(project / "data" / "raw.txt")
    found, _ = follow(project / "data" / "tokens")
    assert found[0] == ("filter", "unverified", "data/kept.txt cannot be read")


def test_when_the_time_is_over_the_rest_is_unverified(project: Path) -> None:
    found, _ = follow(project / "data" / "tokens", progress=hashing.until(0))
    over = "was not read: the time was over"
    assert found == [
        ("filter", "unverified", f"data/kept.txt {over}"),
        ("deduplicate", "unverified", f"data/unique.txt {over}"),
        ("tokenise", "verified", None),
    ]
    found, _ = follow(project / "data" / "tokens", digest=None)
    assert found[2] == ("tokenise", "unverified", "data/tokens has no digest")


def test_an_input_that_changed_while_its_step_ran(project: Path) -> None:
    data = project / "data"
    prepare([data / "kept.txt"], data / "unique.txt", disturb=data / "kept.txt")
    found, _ = follow(data / "unique.txt")
    assert found[0] == ("filter", "broken", "data/kept.txt was written to after the step")
    assert found[1][:2] == ("deduplicate", "unverified")
    assert "data/kept.txt changed while the step ran" in str(found[1][2])


def test_several_inputs_and_a_step_that_two_others_read_from(project: Path) -> None:
    data = project / "data"
    prepare([data / "kept.txt"], data / "short.txt")
    prepare([data / "kept.txt"], data / "long.txt")
    prepare([data / "long.txt", data / "short.txt"], data / "mixed.txt")
    found, _ = follow(data / "mixed.txt")
    assert found == [(name, "verified", None) for name in ("filter", "long.txt", "short.txt", "mixed.txt")]
    prepare([data / "raw.txt"], data / "kept.txt", text="another\n")
    prepare([data / "kept.txt"], data / "short.txt", text="another short\n")
    found, _ = follow(data / "mixed.txt")
    assert found[0][2] == "the step long.txt read another data/kept.txt than this one wrote"
    assert found[2][2] == "the step mixed.txt read another data/short.txt than this one wrote"


def test_a_folder_has_the_steps_of_its_files_unless_it_has_its_own(project: Path) -> None:
    data, shards = project / "data", project / "data" / "shards"
    shards.mkdir()
    for name in ("b.txt", "a.txt", "gone.txt"):
        prepare([data / "kept.txt"], shards / name)
    (shards / "gone.txt").unlink()
    (shards / "source.txt").write_text("from elsewhere\n")
    (shards / "b.txt").write_text("edited\n")
    found, _ = follow(shards)
    assert found == [
        ("filter", "verified", None),
        ("a.txt", "verified", None),
        ("b.txt", "broken", "data/shards/b.txt was written to after the step"),
    ]
    prepare([shards], data / "joined.txt")
    assert [name for name, _, _ in follow(data / "joined.txt")[0]] == ["filter", "a.txt", "b.txt", "joined.txt"]
    prepare([data / "raw.txt"], shards, name="shard")
    assert follow(shards)[0] == [("shard", "verified", None)]


def test_a_circle_ends(project: Path) -> None:
    data = project / "data"
    prepare([data / "unique.txt"], data / "kept.txt", name="refine", text="refined\n")
    found, _ = follow(data / "kept.txt")
    assert [name for name, _, _ in found] == ["deduplicate", "refine"]
    assert found[1] == ("refine", "broken", "the step deduplicate read another data/kept.txt than this one wrote")


def test_a_damaged_sidecar_is_a_reason_and_the_steps_after_it_stay(project: Path) -> None:
    sidecar.path(project / "data" / "kept.txt").write_text('{"schema": "ckptkit/step/1", "step": ')
    found, unknown = follow(project / "data" / "tokens")
    assert found == [("deduplicate", "verified", None), ("tokenise", "verified", None)]
    assert unknown["data.train.steps"].startswith("data/kept.txt.lineage.json: is not JSON")
    sidecar.path(project / "data" / "tokens").write_text("[]")
    found, unknown = follow(project / "data" / "tokens")
    assert found == []
    assert unknown["data.train.steps"] == "data/tokens.lineage.json: the document: [] is not an object"


def test_a_long_chain_is_followed_only_so_far(tmp_path: Path) -> None:
    for number in range(steps.MOST + 10):
        write(tmp_path / f"{number + 1}.txt", path=f"./{number}.txt")
    (tmp_path / f"{steps.MOST + 10}.txt").write_text("the last\n")
    found, unknown = follow(tmp_path / f"{steps.MOST + 10}.txt")
    assert len(found) == steps.MOST
    assert found[0][0] == "11.txt"
    assert unknown == {"data.train.steps": "only 100 steps were followed"}


def write(output: Path, **facts: Any) -> None:
    """A sidecar of what nobody made."""
    source = Content.from_dict(step()["inputs"][0] | {"kind": "file", "outside": True} | facts)
    made = replace(Step.from_dict(step(output.name)), inputs=(source,))
    sidecar.write(output, replace(made, output=replace(made.output, path=output.name, outside=True)), {})


def test_a_project_may_move_as_a_whole(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.move(project, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    found, _ = follow(tmp_path / "moved" / "data" / "tokens")
    assert found == [(name, "verified", None) for name in ("filter", "deduplicate", "tokenise")]


def test_so_may_a_folder_outside_of_project_and_home(project: Path, tmp_path: Path) -> None:
    disk = tmp_path / "nfs" / "corpus"
    (disk / "raw").mkdir(parents=True)
    (disk / "raw" / "a.txt").write_text("one\n")
    prepare([disk / "raw", project / "data" / "raw.txt"], disk / "kept.txt")
    prepare([disk / "kept.txt"], disk / "tokens")
    shutil.move(disk, tmp_path / "elsewhere")
    disk = tmp_path / "elsewhere"
    assert follow(disk / "tokens")[0] == [("filter", "verified", None), ("tokenise", "verified", None)]
    (disk / "raw" / "a.txt").write_text("edited\n")
    assert follow(disk / "tokens")[0][0] == (
        "filter",
        "broken",
        "its input ./raw was written to after the step",
    )


def test_a_folder_of_the_project_may_bear_another_name(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project / "data", tmp_path / "elsewhere" / "corpus")
    found, _ = follow(tmp_path / "elsewhere" / "corpus" / "tokens")
    assert found == [(name, "verified", None) for name in ("filter", "deduplicate", "tokenise")]
    for name in ("tokens", "tokens.lineage.json"):  # its inputs stay where they were
        (project / "made").mkdir(exist_ok=True)
        shutil.move(project / "data" / name, project / "made" / name)
    (project / "made" / "unique.txt").write_text("of another\n")
    found, _ = follow(project / "made" / "tokens")
    assert found == [(name, "verified", None) for name in ("filter", "deduplicate", "tokenise")]


def test_a_file_in_the_folder_beside_that_of_the_output(project: Path, tmp_path: Path) -> None:
    disk = tmp_path / "nfs"
    for folder in ("raw", "kept"):
        (disk / folder).mkdir(parents=True)
    (disk / "raw" / "source.txt").write_text("one\n")
    prepare([disk / "raw" / "source.txt"], disk / "raw" / "a.txt")
    prepare([disk / "raw" / "a.txt", project / "data" / "raw.txt"], disk / "kept" / "a.txt", name="keep")
    found = sidecar.read(disk / "kept" / "a.txt")
    assert found is not None
    assert [each.path for each in found.step.inputs] == ["../raw/a.txt", "data/raw.txt"]
    shutil.move(disk, tmp_path / "elsewhere")
    kept = tmp_path / "elsewhere" / "kept" / "a.txt"
    assert follow(kept)[0] == [("a.txt", "verified", None), ("keep", "verified", None)]


def test_a_name_that_no_disk_takes_is_not_here(project: Path) -> None:
    write(project / "out.txt", path="n" * 5000, outside=False)
    (project / "out.txt").write_text("out\n")
    assert follow(project / "out.txt")[0] == [("out.txt", "broken", "out.txt was written to after the step")]


def test_data_below_the_home(project: Path, private_home: Path) -> None:
    (private_home / "raw.txt").write_text("one\n")
    prepare([private_home / "raw.txt"], private_home / "kept.txt")
    prepare([private_home / "kept.txt"], project / "data" / "other.txt")
    assert [link for _, link, _ in follow(project / "data" / "other.txt")[0]] == ["verified", "verified"]
    (private_home / "kept.txt").write_text("edited\n")
    assert follow(project / "data" / "other.txt")[0][0][2] == "~/kept.txt was written to after the step"


def test_a_link_to_what_a_step_wrote_has_its_steps(project: Path) -> None:
    (project / "current").symlink_to("data/tokens")
    found, _ = follow(project / "current")
    assert [(name, link) for name, link, _ in found] == [
        ("filter", "verified"),
        ("deduplicate", "verified"),
        ("tokenise", "verified"),
    ]


@pytest.mark.parametrize(
    "path",
    ["../raw.txt", "../../raw.txt", "", ".", "/etc/passwd", "./../raw.txt", "a\0b", "raw.txt", "~nobody/raw.txt", None],
)
def test_a_path_that_leads_elsewhere_is_not_followed(project: Path, path: str | None) -> None:
    outside = project.parent / "outside"
    outside.mkdir()
    (outside / "raw.txt").write_text("another\n")
    (outside / "out.txt").write_text("out\n")
    for facts in ({"outside": True}, {"outside": False}):
        write(outside / "out.txt", path=path, **facts)
        [(_, link, reason)], _ = follow(outside / "out.txt")
        assert (link, reason) == ("broken", "out.txt was written to after the step")


def test_what_somebody_else_wrote_is_redacted(project: Path, private_home: Path) -> None:
    output = project / "data" / "tokens"
    found = sidecar.read(output)
    assert found is not None
    told = replace(
        found.step,
        params={"api_key": "s3cret", "path": f"{private_home}/x"},
        command=("curl", "--api-key", "s3cret", "https://u:pw@host/"),
    )
    sidecar.write(output, told, {})
    unknown: dict[str, str] = {}
    shown = steps.follow(output, digest(output), project=project, where="data.train.steps", unknown=unknown)[-1]
    assert shown.params == {"api_key": "<redacted:api-key>", "path": "~/x"}
    assert shown.command == ("curl", "--api-key", "<redacted:api-key>", "https://host/")
    assert shown.link == "verified"
