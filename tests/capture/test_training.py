"""Optimizers, schedulers and data loaders of the libraries that make them, as they are recorded, and their states."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from scripts import python

from ckptkit.capture import training
from ckptkit.record import Component


def read(kind: str, given: object) -> tuple[tuple[Component, ...], dict[str, str]]:
    unknown: dict[str, str] = {}
    found = training.components(kind, given, unknown)
    json.dumps([each.to_dict() for each in found], allow_nan=False)
    return found, unknown


def one(kind: str, given: object) -> Any:
    found, unknown = read(kind, given)
    assert unknown == {}
    assert len(found) == 1
    return {"type": found[0].type, **found[0].settings}


class Schedule:
    """Stands for any library's: settings from get_config."""

    def get_config(self) -> dict[str, Any]:
        return {"rate": 0.1, "end": float("inf"), "loss": partial(max, 2)}


class Estimator:
    def get_params(self) -> dict[str, Any]:
        return {"alpha": 0.3, "inner": None}


class Broken:
    @property
    def param_groups(self) -> object:
        raise RuntimeError("sharded away")


class Transformation(NamedTuple):
    init: Callable[..., object]
    update: Callable[..., object]


def warmup(steps: int) -> Callable[[int], float]:
    def rate(step: int) -> float:
        return min(1.0, step / steps)

    return rate


def scaled(by: Callable[[int], float], model: object) -> Callable[[int], float]:
    def rate(step: int) -> float:
        return by(step) if model else 0

    return rate


# -- what needs no library


def test_nothing_given() -> None:
    for kind in ("optimizers", "schedulers", "dataloaders"):
        nothing: tuple[object, ...] = (None, [], {}, ())
        for given in nothing:
            assert read(kind, given) == ((), {})


def test_settings_from_get_config_and_get_params() -> None:
    assert one("schedulers", Schedule()) == {
        "type": "test_training.Schedule",
        "rate": 0.1,
        "end": "Infinity",
        "loss": {"function": "max", "arguments": [2]},
    }
    assert one("optimizers", Estimator()) == {"type": "test_training.Estimator", "alpha": 0.3, "inner": None}


def test_a_function_by_its_name_and_what_it_was_made_with() -> None:
    name = "test_training.warmup.<locals>.rate"
    assert one("schedulers", warmup(7)) == {"type": name, "steps": 7}
    assert one("schedulers", scaled(warmup(7), object())) == {
        "type": "test_training.scaled.<locals>.rate",
        "by": {"function": name, "steps": 7},
    }
    assert one("schedulers", partial(warmup, 9)) == {"type": "test_training.warmup", "arguments": [9]}
    assert one("schedulers", lambda: 1)["type"].endswith(".<lambda>")


def test_functions_that_hold_each_other_end() -> None:
    held: list[Callable[[], object]] = []
    held += [(lambda: held) for _ in range(50)]
    assert one("schedulers", held[0])["type"].endswith("<lambda>")


def test_a_named_tuple_of_functions() -> None:
    assert one("optimizers", Transformation(print, warmup(3))) == {
        "type": "test_training.Transformation",
        "update": {"function": "test_training.warmup.<locals>.rate", "steps": 3},
    }


def test_lists_and_names_as_trainers_nest_them() -> None:
    found, unknown = read("schedulers", {"gen": [warmup(1), [warmup(2)]], "disc": warmup(3), "none": None})
    assert [(each.name, each.settings["steps"]) for each in found] == [("gen", 1), ("gen", 2), ("disc", 3)]
    assert unknown == {}
    lightning = [{"scheduler": Schedule(), "interval": "step", "frequency": 2, "monitor": None}]
    assert one("schedulers", lightning)["wrappers"] == [
        {"type": "dict", "interval": "step", "frequency": 2, "monitor": None}
    ]


def test_too_many_are_cut_and_it_is_said() -> None:
    found, unknown = read("schedulers", [Schedule()] * 101)
    assert len(found) == 100
    assert unknown == {"config.schedulers": "more than 100 were given: the rest was left out"}
    wide = type("Wide", (), {"get_config": lambda _: {str(at): at for at in range(200_000)}})()
    assert "more than 100,000 values" in read("schedulers", wide)[1]["config.schedulers[0].settings"]


def test_what_cannot_be_had_says_why() -> None:
    found, unknown = read("optimizers", ["adam", 3, Broken()])
    assert [(each.type, each.settings) for each in found] == [("str", {}), ("int", {}), ("test_training.Broken", {})]
    assert unknown == {
        "config.optimizers[0].settings": "str does not tell its settings",
        "config.optimizers[1].settings": "int does not tell its settings",
        "config.optimizers[2].settings": "RuntimeError: sharded away",
    }
    assert read("dataloaders", range(3))[1] == {"config.dataloaders[0].settings": "range does not tell how it loads"}


def test_what_is_no_scheduler_is_not_written_out() -> None:
    module = type("Module", (), {"parameters": None, "state_dict": lambda _: {"weight": [1.0]}})()
    found, unknown = read("schedulers", [module, Schedule, Broken()])
    assert [each.settings for each in found] == [{}, {}, {}]
    assert unknown["config.schedulers[0].settings"] == "test_training.Module is no scheduler"
    assert unknown["config.schedulers[1].settings"] == "test_training.Schedule is no scheduler"


def test_long_settings_are_described() -> None:
    long = type("Long", (), {"get_params": lambda _: {"a": [0] * 1_001, "b": {str(at): 0 for at in range(1_001)}}})()
    assert one("optimizers", long)["a"] == "<list of 1,001 elements>"
    assert one("optimizers", long)["b"] == "<dict of 1,001 elements>"


class Hostile:
    """Nothing may be asked of it, not even of which class it is."""

    def __getattribute__(self, name: str) -> object:
        raise RuntimeError(name)


class Keyed:
    def __getattr__(self, name: str) -> object:
        raise KeyError(name)


@pytest.mark.parametrize("kind", ["optimizers", "schedulers", "dataloaders"])
def test_objects_of_any_kind_never_raise(kind: str) -> None:
    assert read(kind, Hostile()) == ((), {f"config.{kind}": "RuntimeError: __class__"})
    found, unknown = read(kind, [Keyed(), Keyed, b"x", float("nan"), {1: Keyed()}])
    assert [each.type for each in found][2:4] == ["bytes", "float"]
    assert f"config.{kind}[0].settings" in unknown


def test_no_framework_is_imported(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import sys\nfrom ckptkit.capture import training\n"
        "print([training.components(k, [object()], {}) != () for k in ('optimizers', 'schedulers', 'dataloaders')])\n"
        "assert not {'torch', 'numpy', 'jax', 'keras'} & {*sys.modules}\n"
    )
    assert python(script, cwd=tmp_path) == "[True, True, True]\n"


# -- torch


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture
def model(torch: Any) -> Any:
    return torch.nn.Linear(3, 2)


@pytest.mark.torch
def test_optimizers_of_torch(torch: Any, model: Any) -> None:
    groups = [
        {"params": [model.weight], "lr": torch.tensor(0.5), "label": warmup(3)},
        {"params": [model.bias], "weight_decay": 0.0},
    ]
    found = one("optimizers", torch.optim.AdamW(groups, lr=0.1, betas=(0.8, 0.9)))
    first, second = found["groups"]
    assert found["type"] == "torch.optim.adamw.AdamW"
    assert (first["lr"], first["betas"], first["parameters"], first["tensors"]) == (0.5, [0.8, 0.9], 6, 1)
    assert first["label"] == {"function": "test_training.warmup.<locals>.rate", "steps": 3}
    assert (second["lr"], second["weight_decay"], second["parameters"]) == (0.1, 0.0, 2)
    assert "params" not in first
    named = one("optimizers", torch.optim.SGD(model.named_parameters(), lr=torch.tensor([0.25])))["groups"][0]
    assert (named["lr"], named["parameters"], named["tensors"]) == (0.25, 8, 2)
    assert "param_names" not in named
    meta = torch.optim.SGD([{"params": [model.weight], "scale": torch.zeros((), device="meta")}], lr=0.1)
    assert one("optimizers", meta)["groups"][0]["lr"] == 0.1


@pytest.mark.torch
@pytest.mark.parametrize("attribute", ["optimizer", "base_optimizer", "optim"])
def test_wrapped_optimizers(torch: Any, model: Any, attribute: str) -> None:
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = type("Wrapper", (), {})()
    vars(wrapper).update({attribute: sgd, "rho": 0.05, "_hidden": 1, "model": model})
    found = one("optimizers", wrapper)
    assert (found["type"], found["groups"][0]["lr"]) == ("torch.optim.sgd.SGD", 0.1)
    assert found["wrappers"] == [{"type": "test_training.Wrapper", "rho": 0.05}]


@pytest.mark.torch
def test_schedulers_of_torch(torch: Any, model: Any) -> None:
    schedules, sgd = torch.optim.lr_scheduler, torch.optim.SGD(model.parameters(), lr=0.1)
    parts = [schedules.LinearLR(sgd, total_iters=4), schedules.LambdaLR(sgd, [partial(max, 2, key=None)])]
    found = one("schedulers", schedules.SequentialLR(sgd, parts, milestones=[4]))
    assert found["type"] == "torch.optim.lr_scheduler.SequentialLR"
    assert found["state"]["_milestones"] == [4]
    linear, by_function = found["schedulers"]
    assert (linear["type"], linear["state"]["total_iters"]) == ("torch.optim.lr_scheduler.LinearLR", 4)
    assert by_function["lambdas"] == [{"function": "max", "arguments": [2], "key": None}]
    plateau = one("schedulers", schedules.ReduceLROnPlateau(sgd, patience=3))
    assert (plateau["state"]["patience"], plateau["state"]["best"]) == (3, "Infinity")


class Lazy:
    """A dataset that must not be touched."""

    def __init__(self, samples: int | None) -> None:
        self.samples = samples

    def __len__(self) -> int:
        if self.samples is None:
            raise RuntimeError("not known yet")
        return self.samples

    def __getitem__(self, at: int) -> object:
        raise AssertionError("it was read")


def collate(items: object) -> object:
    raise AssertionError(f"it was called with {items}")


class Collator:
    def __init__(self, longest: int) -> None:
        self.longest, self._token = longest, "private"

    def __call__(self, items: object) -> object:
        return items


@pytest.mark.torch
def test_data_loaders_of_torch(torch: Any) -> None:
    data = torch.utils.data
    generator = torch.Generator()
    generator.manual_seed(5)
    loader = data.DataLoader(
        data.Subset(Lazy(10), range(8)),
        4,
        shuffle=True,
        drop_last=True,
        num_workers=2,
        persistent_workers=True,
        collate_fn=collate,
        worker_init_fn=partial(collate, 1),
        generator=generator,
    )
    state = generator.get_state().tolist()
    found = one("dataloaders", loader)
    assert found["dataset"] == {
        "type": "torch.utils.data.dataset.Subset",
        "samples": 8,
        "dataset": {"type": "test_training.Lazy", "samples": 10},
    }
    assert {name: found[name] for name in ("batch_size", "drop_last", "shuffle", "num_workers", "prefetch_factor")} == {
        "batch_size": 4,
        "drop_last": True,
        "shuffle": True,
        "num_workers": 2,
        "prefetch_factor": 2,
    }
    assert found["sampler"]["type"] == "torch.utils.data.sampler.RandomSampler"
    assert (found["sampler"]["num_samples"], found["sampler"]["replacement"]) == (8, False)
    assert (found["collate_fn"], found["generator_seed"]) == ("test_training.collate", 5)
    assert one("dataloaders", data.DataLoader([1], collate_fn=Collator(5)))["collate_fn"] == {
        "type": "test_training.Collator",
        "longest": 5,
    }
    assert found["worker_init_fn"] == {"function": "test_training.collate", "arguments": [1]}
    assert loader._iterator is None
    assert generator.get_state().tolist() == state


@pytest.mark.torch
def test_samplers_of_torch(torch: Any) -> None:
    data, lazy = torch.utils.data, Lazy(10)
    plain = one("dataloaders", data.DataLoader(lazy))
    assert (plain["shuffle"], plain["batch_size"]) == (False, 1)
    assert "batch_sampler" not in plain
    ranked = data.DistributedSampler(lazy, num_replicas=4, rank=1, seed=3)
    found = one("dataloaders", data.DataLoader(lazy, sampler=ranked))
    assert found["shuffle"] is True
    assert {name: found["sampler"][name] for name in ("num_replicas", "rank", "seed")} == {
        "num_replicas": 4,
        "rank": 1,
        "seed": 3,
    }
    batches = data.BatchSampler(data.RandomSampler(lazy), batch_size=5, drop_last=True)
    found = one("dataloaders", data.DataLoader(lazy, batch_sampler=batches))
    assert (found["batch_size"], found["drop_last"], found["shuffle"]) == (5, True, True)
    assert found["batch_sampler"]["sampler"]["num_samples"] == 10
    assert "sampler" not in found
    assert one("dataloaders", data.DataLoader(lazy, sampler=[0, 1]))["shuffle"] is None


@pytest.mark.torch
def test_a_dataset_that_does_not_know_its_length(torch: Any) -> None:
    found, unknown = read("dataloaders", torch.utils.data.DataLoader(Lazy(None), sampler=[0]))
    assert found[0].settings["dataset"] == {"type": "test_training.Lazy", "samples": None}
    assert unknown == {"config.dataloaders[0].settings.dataset.samples": "RuntimeError: not known yet"}

    class Stream(torch.utils.data.IterableDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            raise AssertionError("a stream was asked")

        def __iter__(self) -> Any:
            raise AssertionError("a stream was read")

    assert "samples" not in one("dataloaders", torch.utils.data.DataLoader(Stream()))["dataset"]


@pytest.mark.torch
def test_accelerate(tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    script = tmp_path / "train.py"
    script.write_text(
        """
import json, warnings
warnings.simplefilter("ignore")
import accelerate, torch
from ckptkit.capture import training
model = torch.nn.Linear(2, 2)
sgd = torch.optim.SGD(model.parameters(), 0.1)
given = sgd, torch.optim.lr_scheduler.StepLR(sgd, 3), torch.utils.data.DataLoader([1, 2, 3], 2, shuffle=True)
prepared = accelerate.Accelerator(cpu=True).prepare(*given)
unknown = {}
for kind, each in zip(("optimizers", "schedulers", "dataloaders"), prepared):
    print(json.dumps(training.components(kind, each, unknown)[0].to_dict()))
print(unknown)
"""
    )
    *lines, unknown = python(script, cwd=tmp_path, PYTHONWARNINGS="ignore").splitlines()
    optimizer, scheduler, loader = map(json.loads, lines)
    assert unknown == "{}"
    assert (optimizer["type"], optimizer["settings"]["groups"][0]["lr"]) == ("torch.optim.sgd.SGD", 0.1)
    assert optimizer["settings"]["wrappers"][0]["type"] == "accelerate.optimizer.AcceleratedOptimizer"
    assert scheduler["settings"]["state"]["step_size"] == 3
    assert (loader["settings"]["batch_size"], loader["settings"]["shuffle"]) == (2, True)


def test_optax() -> None:
    optax = pytest.importorskip("optax", reason="optax is not installed")
    found = one("optimizers", optax.chain(optax.clip(2.0), optax.adam(optax.cosine_decay_schedule(0.1, 40))))
    assert found["type"].startswith("optax.")
    assert all(part in json.dumps(found) for part in ('"max_delta": 2.0', '"b1": 0.9', '"decay_steps": 40'))


def test_scikit_learn() -> None:
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    assert one("optimizers", linear.SGDClassifier(alpha=0.3))["alpha"] == 0.3
