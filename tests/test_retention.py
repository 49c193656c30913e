from collections.abc import Mapping
from typing import Any

import pytest

from ckptkit.errors import CkptkitError
from ckptkit.retention import Policy, dropped, policy

FILES = {"model.bin": "0" * 64, "parts/optimizer.bin": "1" * 64, "data/train.sha256": "2" * 64}
LOSSES = {"v0001": 0.5, "v0002": 0.25, "v0003": 0.75, "v0010": 0.5}


def row(loss: float | str | None = None, **facts: Any) -> dict[str, Any]:
    metrics = {} if loss is None else {"loss": loss}
    return {"event": "some", "digest": f"sha256:{'a' * 64}", "files": FILES, "metrics": metrics, **facts}


def part(rows: Mapping[str, Any], **facts: Any) -> dict[str, Any]:
    return {"versions": rows, "aliases": {}, "stages": {}, **facts}


PENGUINS = part(
    {version: row(loss) for version, loss in reversed(LOSSES.items())},
    aliases={"champion": "v0001"},
    stages={"v0002": "production", "v0003": "archived"},
)


@pytest.mark.parametrize(
    ("facts", "gone"),
    [
        ({}, ["v0001", "v0002", "v0003", "v0010"]),
        ({"keep_last": 1}, ["v0001", "v0002", "v0003"]),
        ({"keep_last": 9}, []),
        ({"keep_best": ["loss:min"]}, ["v0001", "v0003", "v0010"]),
        ({"keep_best": ["loss"]}, ["v0001", "v0003", "v0010"]),
        ({"keep_best": ["loss:max", "loss:min"]}, ["v0001", "v0010"]),
        ({"keep_aliased": True}, ["v0002", "v0003", "v0010"]),
        ({"keep_stages": ["Production"]}, ["v0001", "v0003", "v0010"]),
        ({"keep_stages": ["production", "none"]}, ["v0003"]),
        ({"keep_last": 1, "keep_aliased": True, "keep_stages": ["archived"]}, ["v0002"]),
    ],
)
def test_what_is_not_kept_goes_in_the_order_of_numbers(facts: dict[str, Any], gone: list[str]) -> None:
    wanted = policy(**facts, directions={"loss": "min"})
    assert list(dropped(PENGUINS, wanted)) == gone


@pytest.mark.parametrize(
    ("drop", "paths"),
    [
        ((), ["model.bin", "parts/optimizer.bin"]),
        (("optim*",), ["parts/optimizer.bin"]),
        (("parts/*",), ["parts/optimizer.bin"]),
        (("*.bin", "optim*"), ["model.bin", "parts/optimizer.bin"]),
        (("train*", "data/*", "Model.bin"), []),
    ],
)
def test_saved_files_go_and_records_never(drop: tuple[str, ...], paths: list[str]) -> None:
    assert dropped(part({"v0001": row()}), Policy(drop=drop)) == ({"v0001": paths} if paths else {})


FOLDER = (
    *(
        "model.safetensors",
        "pytorch_model-00001-of-00002.bin",
        "optimizer.pt",
        "rng_state.pth",
        "tf_model.h5",
        "m.gguf",
    ),
    *("variables/variables.data-00000-of-00001", "d/0f3a9c", "flax.msgpack", "w.npz", "scaler.pkl", "dcp/__0_0.distcp"),
)
BESIDE = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "merges.txt"),
    *(
        "tokenizer/tokenizer.model",
        "spiece.model",
        "sentencepiece.bpe.model",
        "source.spm",
        "modeling_x.py",
        "a.tiktoken",
    ),
)


def test_weights_go_and_what_is_read_beside_them_stays() -> None:
    rows = {"v0001": row(files=dict.fromkeys([*FOLDER, *BESIDE], "0" * 64))}
    assert dropped(part(rows), Policy()) == {"v0001": sorted(FOLDER)}
    assert dropped(part(rows), Policy(drop=("*.json", "optimizer*"))) == {
        "v0001": ["config.json", "generation_config.json", "optimizer.pt", "tokenizer.json", "tokenizer_config.json"]
    }


def test_what_is_alone_is_the_weights_whatever_it_is_called() -> None:
    """As some libraries of decision trees call them."""
    rows = {"v0001": row(files={"model.json": "0" * 64, "data/train.sha256": "1" * 64})}
    assert dropped(part(rows), Policy()) == {"v0001": ["model.json"]}


@pytest.mark.parametrize("drop", [(), ("*.bin",), ("*",)])
def test_a_version_counts_as_long_as_something_of_it_could_go(drop: tuple[str, ...]) -> None:
    files = {"model.bin": "0" * 64, "config.json": "1" * 64}
    rows = {f"v000{number}": row(files=files) for number in (1, 2)} | {"v0003": row(files=files, pruned=["model.bin"])}
    every = {"v0001": sorted(files), "v0002": sorted(files)}
    gone = every if drop == ("*",) else {"v0001": ["model.bin"]}
    assert dropped(part(rows), Policy(keep_last=1, drop=drop)) == gone


def test_what_was_pruned_does_not_go_again_and_does_not_count() -> None:
    bare = {"pruned": ["model.bin", "parts/optimizer.bin"]}
    rows = {
        "v0001": row(0.1, **bare),
        "v0002": row(0.2),
        "v0003": row(0.3, pruned=["model.bin"]),
        "v0004": row(0.4, **bare),
    }
    assert dropped(part(rows), Policy()) == {
        "v0002": ["model.bin", "parts/optimizer.bin"],
        "v0003": ["parts/optimizer.bin"],
    }
    assert list(dropped(part(rows), Policy(keep_last=1))) == ["v0002"]
    assert list(dropped(part(rows), policy(keep_best=["loss:min"], directions={}))) == ["v0003"]


def test_damaged_ones_are_passed_over() -> None:
    rows = {
        "v0001": row(),
        "v0002": {"event": "some", "digest": None, "unreadable": "SHA256SUMS: is missing"},
        "v0003": row(event=None),
        "v0004": row(digest=None),
    }
    assert list(dropped(part(rows), Policy())) == ["v0001"]
    assert dropped(part(rows), Policy(keep_last=1)) == {}


def test_some_versions_as_if_there_were_no_others() -> None:
    assert list(dropped(PENGUINS, Policy(keep_last=1), among={"v0001", "v0002"})) == ["v0001"]
    best = policy(keep_best=["loss:min"], directions={})
    assert list(dropped(PENGUINS, best, among={"v0003", "v0010"})) == ["v0003"]
    assert dropped(PENGUINS, best, among=set()) == {}


@pytest.mark.parametrize("loss", [None, "NaN"])
def test_a_metric_that_no_version_has_is_refused(loss: str | None) -> None:
    """A misspelt metric must not cost the best version."""
    with pytest.raises(CkptkitError, match="it cannot be told which version has the best loss"):
        dropped(part({"v0001": row(loss), "v0002": row(loss)}), policy(keep_best=["loss:min"], directions={}))


def test_a_metric_that_could_be_several_is_refused() -> None:
    rows = {"v0001": row(metrics={"val/loss": 1, "test/loss": 2})}
    with pytest.raises(CkptkitError, match="best loss, that is val/loss or test/loss"):
        dropped(part(rows), policy(keep_best=["loss:min"], directions={}))
    assert dropped(part(rows), policy(keep_best=["val/loss:min"], directions={})) == {}


@pytest.mark.parametrize(
    "facts",
    [
        *({"keep_last": given} for given in (0, -1, True, False, "2", 2.0)),
        *({"keep_stages": ["live"]}, {"keep_best": ["loss"]}, {"keep_best": [""]}),
    ],
)
def test_a_policy_that_says_nothing_is_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(CkptkitError) as caught:
        policy(**facts, directions={})
    assert caught.value.hint


def test_an_integer_of_another_library_is_one() -> None:
    numpy = pytest.importorskip("numpy")
    assert policy(keep_last=numpy.int64(2), directions={}).keep_last == 2


def test_a_policy_that_keeps_nothing_knows_that_it_does() -> None:
    assert policy(directions={}).is_empty
    assert policy(drop=["optimizer*"], directions={}).is_empty
    assert not policy(keep_aliased=True, directions={}).is_empty
