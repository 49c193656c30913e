import math
from typing import Any

import pytest

from ckptkit import comparison
from ckptkit.comparison import Goal
from ckptkit.errors import CkptkitError

LEAST, GREATEST = Goal(metric="loss", direction="min"), Goal(metric="loss", direction="max")


def rows(*values: Any, metric: str = "loss") -> dict[str, dict[str, Any]]:
    """A version for each value; one without the metric for None."""
    return {
        f"v{number:04d}": {"metrics": {} if value is None else {metric: value}}
        for number, value in enumerate(values, start=1)
    }


@pytest.mark.parametrize(
    ("text", "metric", "direction"),
    [
        ("loss:min", "loss", "min"),
        ("val/loss:max", "val/loss", "max"),
        ("a:b:min", "a:b", "min"),
        ("f1", "f1", "max"),
        ("f1:min", "f1", "min"),
        ("test/f1", "test/f1", "max"),
        ("train/f1", "train/f1", "min"),
    ],
)
def test_goals(text: str, metric: str, direction: str) -> None:
    found = comparison.parse_goal(text, {"f1": "max", "train/f1": "min"})
    assert (found.metric, found.direction, str(found)) == (metric, direction, f"{metric}:{direction}")


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("loss", "least or the greatest loss is", "write loss:min or loss:max, or say it once"),
        ("loss:", "greatest loss is", "write loss:min"),
        ("loss:least", "greatest loss:least is", "pyproject.toml"),
        ("loss:MIN", "greatest loss:MIN is", "write"),
        (":min", "':min' names no metric", "val_loss:min"),
        ("", "'' names no metric", "val_loss:min"),
    ],
)
def test_what_is_no_goal(text: str, words: str, hint: str) -> None:
    with pytest.raises(CkptkitError, match=words) as caught:
        comparison.parse_goal(text, {"f1": "max"})
    assert caught.value.exit_code == 2
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("loss", ["val/loss", "train/loss"]),
        ("val/loss", ["val/loss"]),
        ("f1", ["f1"]),
        ("test/f1", ["test/f1"]),
        ("oss", []),
    ],
)
def test_what_a_name_stands_for(name: str, full: list[str]) -> None:
    assert comparison.meant(name, ["val/loss", "train/loss", "f1", "test/f1"]) == full
    assert comparison.meant("lr", ["optim.lr", "dry/lr"], ".") == ["optim.lr"]


def test_a_value_by_its_full_name_or_the_only_short_one() -> None:
    row = {"metrics": {"val/loss": 0.5, "train/loss": 1, "f1": "Infinity", "auc": "NaN", "big": -(10**400)}}
    names = ("val/loss", "train/loss", "loss", "f1", "auc", "big", "none")
    assert [comparison.value(row, name) for name in names] == [0.5, 1.0, None, math.inf, None, -math.inf, None]
    assert comparison.value({"metrics": {"val/loss": 0.5}}, "loss") == 0.5
    assert comparison.value({"digest": None, "unreadable": "is not JSON"}, "loss") is None


@pytest.mark.parametrize(
    ("new", "old", "least", "greatest"),
    [
        (1.0, 2.0, True, False),
        (2.0, 1.0, False, True),
        (1.0, 1.0, False, False),
        (math.inf, None, True, True),
        (None, 1.0, False, False),
        (None, None, False, False),
        (-math.inf, 0.0, True, False),
    ],
)
def test_better(new: float | None, old: float | None, least: bool, greatest: bool) -> None:  # noqa: FBT001
    assert comparison.is_better(new, old, LEAST) == least
    assert comparison.is_better(new, old, GREATEST) == greatest


@pytest.mark.parametrize(
    ("values", "least", "greatest"),
    [
        ((0.5, 0.25, 1), "v0002", "v0003"),
        ((1, 1.0, 1), "v0001", "v0001"),
        (("NaN", None, 2), "v0003", "v0003"),
        (("NaN", "NaN"), None, None),
        (("Infinity", 0, "-Infinity"), "v0003", "v0001"),
        ((None, None), None, None),
        ((), None, None),
    ],
)
def test_the_best(values: tuple[Any, ...], least: str | None, greatest: str | None) -> None:
    assert comparison.best(rows(*values), LEAST) == least
    assert comparison.best(rows(*values), GREATEST) == greatest


def test_the_earliest_of_equals_is_by_number() -> None:
    known = {f"v{number:04d}": {"metrics": {"loss": 1}} for number in (10000, 9999, 10001)}
    assert comparison.best(known, LEAST) == "v9999"


def test_a_short_name_is_one_metric_in_all_versions() -> None:
    known = rows(0.5, 0.25, metric="val/loss")
    assert comparison.best(known, LEAST) == "v0002"
    assert comparison.best(known | {"v0003": {"metrics": {"train/loss": 0.1}}}, LEAST) is None
    known |= {"v0003": {"metrics": {"train/loss": 0.1}}, "v0004": {"unreadable": "is not JSON"}}
    assert comparison.best(known, Goal(metric="val/loss", direction="min")) == "v0002"
    assert comparison.metrics(known) == ["val/loss", "train/loss"]
