import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from ckptkit import documents
from ckptkit.capture import metrics
from ckptkit.errors import CkptkitError


def read(given: Any) -> dict[str, Any]:
    return {name: metric.to_dict() for name, metric in metrics.read(given).items()}


def test_numbers_of_any_library() -> None:
    assert read({"a": 1, "b": 0.5, "c": np.float32(0.5), "d": np.array([3]), "e": Decimal("0.5")}) == {
        "a": 1,
        "b": 0.5,
        "c": 0.5,
        "d": 3,
        "e": 0.5,
    }


def test_what_is_not_finite_is_the_result() -> None:
    assert read({"a": math.nan, "b": np.inf, "c": -math.inf}) == {"a": "NaN", "b": "Infinity", "c": "-Infinity"}


def test_nests_are_splits() -> None:
    assert read({"test": {"accuracy": 0.9}, "train/loss": 0.1}) == {
        "test/accuracy": {"value": 0.9, "split": "test"},
        "train/loss": {"value": 0.1, "split": "train"},
    }


def test_slices() -> None:
    found = read(
        {
            "acc": {
                "value": 0.9,
                "split": "test",
                "n": np.int64(10),
                "ci": (0.8, 1.0),
                "slices": {"s": {"x": 0.5, "y": 1}},
            }
        }
    )
    assert found["acc"] == {
        "value": 0.9,
        "split": "test",
        "n": 10,
        "ci": [0.8, 1.0],
        "slices": {"s": {"x": {"value": 0.5, "n": None}, "y": {"value": 1, "n": None}}},
    }


class Level(int):
    pass


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def test_whole_numbers_up_to_what_a_float_holds_are_kept() -> None:
    found = read({"a": 2**64, "b": Level(3), "c": -(10**300)})
    assert found == {"a": 2**64, "b": 3, "c": -(10**300)}
    assert documents.load_json(documents.dump_json(found)) == found


@pytest.mark.parametrize(
    "bad",
    [
        *("high", None, True, [1, 2], np.arange(3), {"value": "x"}, {"value": 1, "n": 1.5}),
        *(1j, np.complex64(1), np.array([1j]), 10**400, -(10**5000), Level(10**5000), {"value": 1, "n": 10**5000}),
        *(Broken(), {"value": 1, "ci": [0, 10**5000]}, {"value": 1, "slices": {"s": {"a": 10**5000}}}),
    ],
    ids=map(str, range(17)),  # some have no repr
)
def test_what_is_no_metric(bad: Any) -> None:
    with pytest.raises(CkptkitError, match=r"metrics\.a"):
        metrics.read({"a": bad})
    unknown: dict[str, str] = {}
    assert list(metrics.read({"a": bad, "b": 1}, unknown)) == ["b"]
    assert next(iter(unknown)).startswith("metrics.a")


def test_no_mapping() -> None:
    with pytest.raises(CkptkitError, match="no mapping"):
        metrics.read([1])


@pytest.mark.parametrize(
    ("text", "pair"),
    [("a=1", ("a", 1)), ("test/a=0.5", ("test/a", 0.5)), ("a=nan", ("a", "NaN")), ("a=-inf", ("a", "-Infinity"))],
)
def test_parse(text: str, pair: tuple[str, Any]) -> None:
    assert metrics.parse(text) == pair


@pytest.mark.parametrize("text", ["a", "=1", "a=", "a=high", "/=1", "a=1e999", "a=" + "9" * 400])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(CkptkitError, match="is no metric"):
        metrics.parse(text)
