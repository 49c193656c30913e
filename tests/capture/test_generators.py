"""Random generators: the same seed gives the same digest in every process, and looking advances none of them."""

import hashlib
import json
import random
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from scripts import python

from ckptkit.capture.generators import generators

ASK = """
import json
from ckptkit.capture.generators import generators
print(json.dumps(generators({})))
"""
SEEDED = "import random; random.seed(SEED); import numpy; numpy.random.seed(SEED)\n" + ASK


def asked(script: str, cwd: Path) -> dict[str, Any]:
    file = cwd / "train.py"
    file.write_text(script)
    found: dict[str, Any] = json.loads(python(file, cwd=cwd, OMP_NUM_THREADS="1"))
    return found


def test_one_seed_is_one_digest_in_every_process(tmp_path: Path) -> None:
    one, again, other = (asked(SEEDED.replace("SEED", str(seed)), tmp_path) for seed in (7, 7, 8))
    assert one == again
    assert one.keys() == {"random", "numpy"}
    assert all(one[name] != other[name] for name in one)
    random.seed(7)
    state = json.dumps(random.getstate()).encode()
    assert one["random"] == f"sha256:{hashlib.sha256(state).hexdigest()}"


def test_what_is_not_loaded_is_not_there(tmp_path: Path) -> None:
    script = ASK + "import sys\nassert not {'torch', 'numpy'} & {*sys.modules}\n"
    assert asked(script, tmp_path).keys() == {"random"}  # which the standard library itself loads


def test_none_is_advanced() -> None:
    numpy = pytest.importorskip("numpy.random", reason="numpy is not installed")
    random.seed(1)
    numpy.seed(1)
    drawn = random.getrandbits(32), numpy.random()
    random.seed(1)
    numpy.seed(1)
    unknown: dict[str, str] = {}
    assert generators(unknown) == generators(unknown)
    assert unknown == {}
    assert (random.getrandbits(32), numpy.random()) == drawn


def test_another_bit_generator_of_numpy() -> None:
    numpy = pytest.importorskip("numpy.random", reason="numpy is not installed")
    before = numpy.get_bit_generator()
    try:
        found = []
        for seed in (1, 1, 2):
            numpy.set_bit_generator(numpy.PCG64(seed))
            found.append(generators({})["numpy"])
    finally:
        numpy.set_bit_generator(before)
    assert found[0] == found[1] != found[2]


def test_a_generator_that_cannot_be_read_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy.random.mtrand", type("Renamed", (), {"_rand": object()}))
    unknown: dict[str, str] = {}
    assert "random" in generators(unknown)
    assert "get_state" in unknown["config.generators.numpy"]


@pytest.mark.torch
def test_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    script = f"import torch; torch.manual_seed(7)\n{ASK}assert not torch.cuda.is_initialized()\n"
    found = asked(script, tmp_path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        here = generators({})
        drawn = torch.rand(1).item()
        after = generators({})
        torch.manual_seed(7)
        assert torch.rand(1).item() == drawn
    assert found["torch.initial_seed"] == here["torch.initial_seed"] == 7
    assert found["torch"] == here["torch"] != after["torch"]
    assert "torch.cuda" not in found


@pytest.mark.torch
def test_gpus_are_asked_only_where_cuda_is_awake(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    devices = [torch.Generator(), torch.Generator()]
    for seed, device in enumerate(devices):
        device.manual_seed(seed)
    for awake in (True, False):
        cuda = types.SimpleNamespace(is_initialized=lambda awake=awake: awake, default_generators=tuple(devices))
        monkeypatch.setitem(sys.modules, "torch.cuda", cuda)
        found = generators({}).get("torch.cuda")
        assert (found is None) != awake
        assert found is None or len({*found}) == 2
