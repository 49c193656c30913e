"""Step and epoch as every library has them, and what is none."""

import pytest

from ckptkit.capture import facts
from ckptkit.errors import CkptkitError


def test_numbers_of_other_libraries() -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    assert (facts.step(numpy.int64(3)), facts.epoch(numpy.float32(1.5)), facts.epoch(2.0)) == (3, 1.5, 2)


@pytest.mark.parametrize("given", ["{0}@{0}", {"id": "{0}", "revision": "{0}"}])
def test_no_secret_in_a_base_model(given: str | dict[str, str]) -> None:
    secret = f"hf_{'aB3' * 12}"
    filled = given.format(secret) if isinstance(given, str) else dict.fromkeys(given, secret)
    assert secret not in str(facts.base_model(filled))
    with pytest.raises(CkptkitError) as caught:
        facts.base_model(f"@{secret}")
    assert secret not in caught.value.message


@pytest.mark.parametrize("given", [-1, 1.5, "x", float("nan"), 1 << 63, [1]])
def test_what_is_no_step(given: object) -> None:
    with pytest.raises(CkptkitError, match="is no step"):
        facts.step(given)


@pytest.mark.parametrize("given", [-1, "x", float("nan"), float("inf"), [1]])
def test_what_is_no_epoch(given: object) -> None:
    with pytest.raises(CkptkitError, match="is no epoch"):
        facts.epoch(given)
