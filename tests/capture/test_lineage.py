"""How the record is put together: which files count as the model, and that what is not known has its reason."""

from pathlib import Path
from typing import Any

import pytest
from lineages import lineage

from ckptkit.capture.config import Resolved
from ckptkit.capture.intake import Intake
from ckptkit.capture.lineage import Parts, compose
from ckptkit.capture.moment import Moment
from ckptkit.capture.observation import Observation
from ckptkit.record import ANOTHER_PROCESS, AT_SAVE, IN_THE_RUN, NO_START, Lineage, WeightsFile

WHOLE = Lineage.from_dict(lineage())
IN_RUN = Moment(project=Path("/p"), code=Path("/p"), observed=IN_THE_RUN, started=1000.0, why=ANOTHER_PROCESS)


def composed(
    *files: WeightsFile,
    values: dict[str, Any] | None = None,
    now: Moment = IN_RUN,
    modified: float | None = None,
    identical_to: str | None = None,
    **unknown: str,
) -> Lineage:
    given = Intake(
        config=Resolved(values=values, text=None, seed=(values or {}).get("seed")),
        metrics={},
        aliases=(),
        goal=None,
        keep=None,
        base_models=(),
        tags={},
        step=None,
        epoch=None,
        message=None,
        answers={},
        not_applicable={},
        links=(),
    )
    parts = Parts(
        model="m",
        now=now,
        start=None,
        given=given,
        seen=Observation(
            code=WHOLE.code, compute=WHOLE.compute, files={}, generators=None, job=None, links=(), restarts=None
        ),
        components={"optimizers": (), "schedulers": (), "dataloaders": ()},
        segments=(),
        data=(),
        parents=(),
        files=files,
        config_sha256=None,
        config_changed=None,
        modified=modified,
        unknown={where.replace("__", "."): why for where, why in unknown.items()},
    )
    record = compose(parts, "v0001", identical_to=identical_to)
    assert Lineage.from_dict(record.to_dict()) == record
    return record


def file(path: str, parameters: int | None = 28, dtype: str | None = "F32") -> WeightsFile:
    dtypes = None if dtype is None else {dtype: parameters or 9}
    return WeightsFile(path=path, bytes=1, sha256="0" * 64, format=None, parameters=parameters, dtypes=dtypes)


def shards(name: str, count: int, of: int, parameters: int = 10) -> list[WeightsFile]:
    return [file(f"{name}-{number:05d}-of-{of:05d}.safetensors", parameters) for number in range(1, count + 1)]


SEVERAL = "several files hold tensors; which are the model's is not known"
SILENT = "no saved file tells how many it holds"

COUNTS: dict[str, tuple[list[WeightsFile], int | str, dict[str, int]]] = {
    "one": ([file("w.npz")], 28, {"F32": 28}),
    "a copy beside the model": ([file("ema.safetensors", dtype="F64"), file("model.safetensors")], 28, {"F32": 28}),
    "a copy below": ([file("model.safetensors"), file("best/model.safetensors")], 28, {"F32": 28}),
    "two of no such name": ([file("a.safetensors"), file("b.safetensors")], SEVERAL, {"F32": 56}),
    "two of that name": ([file("a/model.safetensors"), file("b/model.safetensors")], SEVERAL, {"F32": 56}),
    "parts of a pipeline": ([file("unet/unet.safetensors"), file("text/model.safetensors")], SEVERAL, {"F32": 56}),
    "a variant beside": ([file("model.safetensors"), file("model.fp16.safetensors", dtype="F16")], 28, {"F32": 28}),
    "two formats": ([file("model.safetensors"), file("model.npz")], SEVERAL, {"F32": 56}),
    "a format that does not tell": ([file("pytorch_model.bin", None), file("w.safetensors")], 28, {"F32": 28}),
    "shards": ([*shards("model", 3, 3), file("ema.safetensors")], 30, {"F32": 30}),
    "shards of a variant": ([file(f"m-0000{n}-of-00002.fp16.safetensors") for n in (1, 2)], 56, {"F32": 56}),
    "a shard is missing": (
        shards("model", 2, 3),
        "of the 3 parts of model.safetensors only 2 were saved and tell",
        {"F32": 20},
    ),
    "whole and in shards": ([file("model.safetensors", 30), *shards("model", 3, 3)], SEVERAL, {"F32": 60}),
    "state": (
        [file("w.safetensors"), file("optimizer.safetensors"), file("rng_state.npz"), file("scaler.npy")],
        28,
        {"F32": 28},
    ),
    "names like state": ([file("optimus.safetensors"), file("string.txt", None, None)], 28, {"F32": 28}),
    "silent": ([file("model.pt", None, "F16"), file("optim.pt", None)], SILENT, {"F16": 9}),
    "nothing": ([file("notes.txt", None, None)], SILENT, {}),
}


@pytest.mark.parametrize("case", COUNTS)
def test_only_what_is_the_model_for_sure_is_counted(case: str) -> None:
    files, expected, dtypes = COUNTS[case]
    record = composed(*files)
    known = record.weights.parameters if isinstance(expected, int) else record.unknown["weights.parameters"]
    assert known == expected
    assert ("weights.parameters" in record.unknown) == (record.weights.parameters is None)
    assert record.compute.precision.weights == dtypes


def test_what_the_configuration_does_not_tell_has_a_reason() -> None:
    record = composed(file("w.npz"), values={"seed": 7, "dtype": "bfloat16"})
    assert (record.config.seed, record.compute.precision.requested, record.unknown) == (7, "bfloat16", {})
    record = composed(file("w.npz"), values={"lr": 1})
    assert record.unknown == {"config.seed": "the configuration names none"}
    record = composed(file("w.npz"), config__values="no configuration was given")
    nothing = ("config.seed", "config.values", "compute.precision.requested")
    assert record.unknown == dict.fromkeys(nothing, "no configuration was given")


def test_a_late_save_ends_when_the_weights_were_written() -> None:
    late = Moment(project=Path("/p"), code=Path("/p"), observed=AT_SAVE, started=None, why=NO_START)
    unknown = {"data__x__changed_during_run": ANOTHER_PROCESS, "code__repository": "it lies in /p/x"}
    record = composed(file("w.npz"), values={"seed": 1, "bf16": True}, now=late, modified=1000.5, **unknown)
    assert (record.run.started, record.run.finished, record.run.seconds) == (None, "1970-01-01T00:16:40Z", None)
    assert record.unknown == {"code.repository": "it lies in ./x", "data.x.changed_during_run": NO_START}


@pytest.mark.parametrize("known", ["m/v0007", None])
def test_whether_the_bytes_are_new_is_known_either_way(known: str | None) -> None:
    record = composed(file("w.npz"), identical_to=known)
    assert record.weights.identical_to == known
    assert not any(where.startswith("weights") for where in record.unknown)
