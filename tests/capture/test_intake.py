"""What a save was given, made usable: what does not apply, and why."""

from pathlib import Path

import pytest

from ckptkit.capture import intake
from ckptkit.capture.intake import Guard, Request
from ckptkit.errors import CkptkitError


def reasons(given: object, guard: Guard) -> object:
    request = Request(weights=(), model="m", from_training=not guard.strict, not_applicable=given)
    return intake.read(request, guard, Path("/nowhere"), Path("/nowhere")).not_applicable


def test_one_that_says_nothing_takes_no_other_with_it() -> None:
    guard = Guard(strict=False)
    given = {"batch_size": "full batch", "seed": None, "lr": " ", "epochs": 3, " ": "why"}
    assert reasons(given, guard) == {"batch_size": "full batch"}
    assert {where: why for where, why in guard.unknown.items() if where != "config.values"} == {
        f"config.not_applicable.{name}": f"{name!r} does not apply, and no reason is given"
        for name in ("seed", "lr", "epochs", " ")
    }
    assert len(guard.warnings) == 4


@pytest.mark.parametrize("given", [["seed"], "seed", 3])
def test_names_without_reasons(given: object) -> None:
    guard = Guard(strict=False)
    assert reasons(given, guard) == {}
    assert guard.warnings == [f"config.not_applicable: a {type(given).__name__} is no names and reasons"]
    with pytest.raises(CkptkitError) as caught:
        reasons(given, Guard(strict=True))
    assert caught.value.hint


def test_secrets_in_a_reason_and_in_a_name() -> None:
    secret = f"hf_{'aB3' * 12}"
    guard = Guard(strict=False)
    assert secret not in str(reasons({"token": secret, secret: "none"}, guard))
    reasons({secret: ""}, guard)
    assert secret not in str(guard.warnings)
