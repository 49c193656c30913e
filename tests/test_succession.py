"""What a new version takes from those before it: an alias only if it is better, and room only within its run."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from registries import publish

import ckptkit
from ckptkit import change, comparison, index, registry, succession
from ckptkit.capture.intake import Request
from ckptkit.errors import CkptkitError
from ckptkit.record import Metric
from ckptkit.verbs.check import check
from ckptkit.verbs.save import Saved
from ckptkit.verbs.save import save as save_verb


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def save(root: Path, content: str, **facts: Any) -> ckptkit.Version:
    (root.parent / "w.bin").write_text(content)
    version = ckptkit.save("w.bin", model="m", root=root, **facts)
    assert version is not None
    return version


def part(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = index.load(root)["models"]["m"]
    return found


DECISIONS = {
    "lower": ("loss:min", 0.1, 0.2, "@best moves from v0001: loss 0.1 is below 0.2"),
    "higher": ("loss:min", 0.3, 0.2, "@best stays on v0001: loss 0.3 is not below 0.2"),
    "the same": ("loss:min", 0.2, 0.2, "@best stays on v0001: loss 0.2 is not below 0.2"),
    "greater": ("acc:max", 0.9, 0.8, "@best moves from v0001: acc 0.9 is above 0.8"),
    "less": ("acc:max", 0.7, 0.8, "@best stays on v0001: acc 0.7 is not above 0.8"),
    "whole numbers": ("rank:min", 3, 12, "@best moves from v0001: rank 3 is below 12"),
    "not measured": ("loss:min", None, 0.2, "@best stays on v0001: no loss to compare"),
    "not a number": ("loss:min", "NaN", 0.2, "@best stays on v0001: no loss to compare"),
    "holder without it": ("loss:min", 5.0, None, "@best moves from v0001: that has no loss to compare"),
    "holder is not a number": ("loss:min", 5.0, "NaN", "@best moves from v0001: that has no loss to compare"),
    "beyond all numbers": ("acc:max", "Infinity", 0.8, "@best moves from v0001: acc inf is above 0.8"),
}


def metrics(name: str, value: Any) -> dict[str, Metric]:
    return {} if value is None else {name: Metric(value=value)}


@pytest.mark.parametrize("case", DECISIONS)
def test_an_alias_is_taken_from_what_is_no_better(case: str) -> None:
    goal, new, old, words = DECISIONS[case]
    name = goal.partition(":")[0]
    row = {"metrics": {} if old is None else {name: old}, "splits": {}}
    held = {"aliases": {"best": "v0001"}, "heads": {"@best": ["id"]}, "versions": {"v0001": row}}
    taken, notes = succession.claim(held, ["best"], comparison.parse_goal(goal, {}), metrics(name, new))
    assert notes == [words]
    assert taken == ({"best": ["id"]} if "moves" in words else {})


@pytest.mark.parametrize(
    ("value", "words"), [(0.5, "@best is set: it stood nowhere"), (None, "@best is not set: no loss to compare")]
)
def test_an_alias_that_stands_nowhere_is_taken_by_what_has_the_metric(value: Any, words: str) -> None:
    nothing: dict[str, Any] = {"aliases": {}, "heads": {}, "versions": {}}
    taken, notes = succession.claim(nothing, ["best"], comparison.parse_goal("loss:min", {}), metrics("loss", value))
    assert (list(taken), notes) == (["best"] if value else [], [words])


def test_each_alias_is_decided_by_itself(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(root, "1", metrics={"val/loss": 0.19}, aliases=["best"])
    save(root, "2", metrics={"val/loss": 0.3}, aliases=["newest"])
    capsys.readouterr()
    save(root, "3", metrics={"val/loss": 0.21}, aliases=["best", "newest", "first"], only_if="val/loss:min")
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "@best stays on v0001: val/loss 0.21 is not below 0.19; @newest moves from v0002" in err
    assert part(root)["aliases"] == {"best": "v0001", "newest": "v0003", "first": "v0003"}
    assert (root / "m" / "@best" / "w.bin").read_text() == "1"


def test_the_direction_may_stand_in_the_settings(root: Path) -> None:
    (root.parent / "pyproject.toml").write_text('[tool.ckptkit.metrics]\nloss = "min"\n')
    for value in (0.2, 0.1, 0.3):
        save(root, str(value), metrics={"loss": value}, aliases=["best"], only_if="loss")
    assert part(root)["aliases"] == {"best": "v0002"}


def by_hand(root: Path, **facts: Any) -> Saved:
    (root.parent / "w.bin").write_text("by hand")
    return save_verb(Request(weights=["w.bin"], model="m", from_training=False, root=root, **facts))


@pytest.mark.parametrize(
    ("aliases", "goal"), [(["best"], "loss"), (["best"], "loss:up"), (["best"], ""), ([], "loss:min")]
)
def test_a_condition_that_decides_nothing_is_refused_at_once(root: Path, aliases: list[str], goal: str) -> None:
    with pytest.raises(CkptkitError) as caught:
        by_hand(root, aliases=aliases, only_if=goal)
    assert caught.value.hint
    assert not root.exists()


@pytest.mark.parametrize(("aliases", "goal"), [(["best"], "loss:up"), (["best"], 5), ([], "loss:min")])
def test_after_a_training_it_is_a_warning_and_no_alias_moves(
    root: Path, aliases: list[str], goal: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    version = save(root, "1", metrics={"loss": 1}, aliases=aliases, only_if=goal)
    assert "warning: aliases: " in capsys.readouterr().err
    assert "aliases" in version.lineage["unknown"]
    assert part(root)["aliases"] == {}


RACE = """
import sys, ckptkit
for value in map(float, sys.argv[2:]):
    open(f"{value}.bin", "w").write(str(value))
    ckptkit.save(f"{value}.bin", model="m", root=sys.argv[1], metrics={"loss": value}, aliases=["best"],
                 only_if="loss:min")
"""


def test_parallel_saves_agree_on_the_best(root: Path) -> None:
    values = [["7", "3", "9"], ["8", "1", "4"], ["6", "2", "5"]]
    workers = [
        subprocess.Popen([sys.executable, "-c", RACE, str(root), *mine], stderr=subprocess.DEVNULL) for mine in values
    ]
    assert [worker.wait(120) for worker in workers] == [0, 0, 0]
    model = registry.read_model(root / "m")
    rows = index.load(root)["models"]["m"]["versions"]
    moves = [event for event in model.events if event.kind == "alias"]
    losses = [rows[event.version]["metrics"]["loss"] for event in moves]
    assert losses == sorted(set(losses), reverse=True)
    assert losses[-1] == 1
    assert [event.previous for event in moves] == [None, *(event.id for event in moves[:-1])]


def left(root: Path, model: str = "m") -> list[str]:
    """The versions whose weights are there."""
    return sorted(path.parent.name for path in (root / model).glob("v*/*.bin"))


def test_of_a_run_only_what_is_kept_keeps_its_weights(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, loss in enumerate([0.5, 0.1, 0.4, 0.3, 0.2]):
        save(root, f"{number}", metrics={"loss": loss}, step=number, keep_last=2, keep_best="loss:min")
    assert left(root) == ["v0002", "v0004", "v0005"]
    err = capsys.readouterr().err
    assert "the weights of v0001 were pruned" in err
    assert "warning" not in err
    assert (root / "m" / "v0001" / "lineage.json").is_file()
    assert part(root)["versions"]["v0001"]["pruned"] == ["w.bin"]
    pruned = [event for event in registry.read_model(root / "m").events if event.kind == "pruned"]
    assert [(event.version, event.files[0].bytes) for event in pruned] == [("v0001", 1), ("v0003", 1)]
    assert not [finding for finding in check(str(root), deep=True).findings if finding.severity == "error"]


def test_what_bears_an_alias_or_a_stage_or_is_of_another_run_or_model_is_kept(root: Path) -> None:
    publish(root, "m", files={"w.bin": b"another run's"})
    publish(root, "n", files={"w.bin": b"another model's"})
    save(root, "2", aliases=["candidate"])
    save(root, "3")
    with change.begin(root) as now:
        now.record(now.event("stage", "m", "v0003", stage="archived"))
    save(root, "4")
    save(root, "5", keep_last=1)
    assert left(root) == ["v0001", "v0002", "v0003", "v0005"]
    assert left(root, "n") == ["v0001"]


def test_the_version_just_saved_is_kept_though_it_is_not_the_best(root: Path) -> None:
    for loss in (0.1, 0.5):
        save(root, str(loss), metrics={"loss": loss}, keep_best=["loss:min"])
    save(root, "last", metrics={"loss": 0.9}, keep_best=["loss:min"])
    assert left(root) == ["v0001", "v0003"]


@pytest.mark.parametrize(
    "facts",
    [
        *({"keep_last": given} for given in (0, "two", "1", True, 1.0)),
        *({"keep_best": given} for given in ("loss", 5, "f1:max")),
    ],
)
def test_a_policy_that_cannot_be_is_a_warning_and_prunes_nothing(
    root: Path, facts: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    save(root, "1", metrics={"loss": 1})
    save(root, "2", metrics={"loss": 2}, **facts)
    err = capsys.readouterr().err
    assert "warning" in err
    assert "Error" not in err
    assert left(root) == ["v0001", "v0002"]


def test_what_cannot_be_pruned_is_a_warning(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    first = save(root, "1")
    first.path.chmod(0o555)
    try:
        assert save(root, "2", keep_last=1).ref == "m/v0002"
    finally:
        first.path.chmod(0o755)
    assert "not pruned" in capsys.readouterr().err
    assert left(root) == ["v0001", "v0002"]
