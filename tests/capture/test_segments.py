"""Segments: trainings that were resumed from versions of a registry, once and many times."""

import copy
from pathlib import Path
from typing import Any

import pytest
from lineages import lineage
from registries import publish

from ckptkit import index
from ckptkit.capture.segments import LIMIT, segments
from ckptkit.record import Parent, Segment
from ckptkit.registry import Version


def resumed(version: Version) -> Parent:
    return Parent(ref=version.ref, digest=version.digest, relation="resumed")


def plain(root: Path, *parents: Parent) -> list[dict[str, Any]]:
    unknown: dict[str, str] = {}
    found = segments(parents, root, index.load(root), unknown)
    assert not unknown
    return [each.to_dict() for each in found]


def earlier(run: str) -> dict[str, Any]:
    part = lineage()
    return {"run": run, "version": None, "job": None, "compute": part["compute"]} | {
        name: part["run"][name] for name in ("started", "finished", "seconds", "step")
    }


def test_each_version_adds_itself(tmp_path: Path) -> None:
    first = publish(tmp_path, run__id="one", run__step=10, run__job={"scheduler": "slurm", "id": "7"})
    found = plain(tmp_path, resumed(first))
    record = first.lineage
    assert found == [
        {
            "run": "one",
            "version": "penguins/v0001",
            "started": record["run"]["started"],
            "finished": record["run"]["finished"],
            "seconds": record["run"]["seconds"],
            "step": 10,
            "job": {"scheduler": "slurm", "id": "7"},
            "compute": record["compute"],
        }
    ]
    second = publish(tmp_path, run__id="two", run__segments=found)
    assert [(each["run"], each["version"]) for each in plain(tmp_path, resumed(second))] == [
        ("one", "penguins/v0001"),
        ("two", "penguins/v0002"),
    ]


def test_a_run_that_saved_twice_is_one_segment(tmp_path: Path) -> None:
    version = publish(tmp_path, run__id="two", run__segments=[earlier("one"), earlier("two")])
    assert [each["run"] for each in plain(tmp_path, resumed(version))] == ["one", "two"]


def test_only_the_first_resumed_parent_counts(tmp_path: Path) -> None:
    first, second = publish(tmp_path, run__id="one"), publish(tmp_path, run__id="two")
    merged = Parent(ref=first.ref, digest=first.digest, relation="merged")
    assert [each["run"] for each in plain(tmp_path, merged, resumed(second), resumed(first))] == ["two"]
    assert plain(tmp_path, merged) == []


@pytest.mark.parametrize(
    "parent",
    [
        Parent(ref="best.pt", digest=f"sha256:{'0' * 64}", relation="resumed"),
        Parent(ref="penguins/v0001", digest=f"sha256:{'0' * 64}", relation="resumed"),
        Parent(ref="penguins/v0009", digest=None, relation="resumed"),
    ],
    ids=["a file", "another registry's", "none"],
)
def test_a_parent_from_elsewhere_is_told(parent: Parent, tmp_path: Path) -> None:
    publish(tmp_path)
    unknown: dict[str, str] = {}
    assert segments([parent], tmp_path, index.load(tmp_path), unknown) == ()
    assert unknown == {"run.segments": f"{parent.ref} is no version of this registry"}


def test_a_parent_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    version = publish(tmp_path)
    known = index.load(tmp_path)
    (version.path / "lineage.json").chmod(0o644)
    (version.path / "lineage.json").write_text("{")
    unknown: dict[str, str] = {}
    assert segments([resumed(version)], tmp_path, known, unknown) == ()
    assert unknown["run.segments"].startswith("lineage.json of penguins/v0001: ")


def test_many_are_bounded_and_say_so_ever_after(tmp_path: Path) -> None:
    parts = [earlier(f"run {number}") for number in range(LIMIT)]
    version = publish(tmp_path, run__id="last", run__segments=parts)
    unknown: dict[str, str] = {}
    found = segments([resumed(version)], tmp_path, index.load(tmp_path), unknown)
    assert [found[0].run, found[-1].run, len(found)] == ["run 1", "last", LIMIT]
    said = unknown["run.segments"]
    assert "those before are in the record of penguins/v0001" in said

    few = [Segment.from_dict(copy.deepcopy(part)).to_dict() for part in parts[:2]]
    after = publish(tmp_path, run__segments=few, unknown={"run.segments": said})
    segments([resumed(after)], tmp_path, index.load(tmp_path), unknown := {})
    assert unknown == {"run.segments": said}
