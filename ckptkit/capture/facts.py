"""Single facts of a run, as people give them: its base models, step, epoch and message."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ckptkit import redact
from ckptkit.errors import CkptkitError
from ckptkit.record import BaseModel

_MOST = 1 << 63  # what every reader of JSON holds


def base_model(given: object) -> BaseModel:
    """A base model: a text such as ``ID@REVISION``, or its ``id`` and ``revision``."""
    if isinstance(given, Mapping) and isinstance(given.get("id"), str):
        name, revision = given["id"], None if given.get("revision") is None else str(given["revision"])
    elif isinstance(given, str) and given.partition("@")[0].strip():
        name, _, revision = redact.text(given).partition("@")  # the @ of credentials is none
    else:
        raise CkptkitError(
            f"{redact.text(str(given))!r} is no base model",
            "write ID or ID@REVISION, such as google/vit-base-patch16-224@main",
        )
    return BaseModel(id=redact.text(name), revision=redact.text(revision) if revision else None)


def step(given: Any) -> int | None:  # noqa: ANN401 - an int of any library
    """A step: a whole number from 0 up, of any library."""
    if given is None:
        return None
    try:
        step = int(given)
        if not 0 <= step < _MOST or step != given:
            raise ValueError  # noqa: TRY301 - one message for all that is no step
    except (TypeError, ValueError, OverflowError):
        raise CkptkitError(f"{given!r} is no step", "a step is a whole number from 0 up") from None
    return step


def epoch(given: Any) -> float | None:  # noqa: ANN401 - a number of any library
    """An epoch: a number from 0 up, of any library."""
    if given is None:
        return None
    try:
        epoch = float(given)
        if not 0 <= epoch < _MOST:
            raise ValueError  # noqa: TRY301 - one message for all that is no epoch
    except (TypeError, ValueError, OverflowError):
        raise CkptkitError(f"{given!r} is no epoch", "an epoch is a number from 0 up") from None
    return int(epoch) if epoch.is_integer() else epoch


def message(given: object, project: Path) -> str | None:
    """A message without its secrets; None where there is none."""
    return None if given is None or not str(given).strip() else redact.text(str(given).strip(), project=project)
