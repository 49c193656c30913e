"""Configuration objects of the libraries that make them: what each holds, and nothing of the library itself."""

import argparse
import dataclasses
import enum
import sys
from pathlib import Path
from typing import Any

import pytest
from scripts import python

from ckptkit.capture import objects


def settings(value: object) -> Any:
    return objects.Plain().settings(value)


class Schedule(enum.Enum):
    COSINE = "cosine"


@dataclasses.dataclass
class Optimizer:
    lr: float = 0.1
    schedule: Schedule = Schedule.COSINE


@dataclasses.dataclass
class Training:
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    data: Path = Path("data")


def test_dataclasses_in_dataclasses() -> None:
    assert settings(Training()) == {"optimizer": {"lr": 0.1, "schedule": "cosine"}, "data": "data"}


def test_argparse_gives_its_defaults_and_a_parser_nothing() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--seed", type=int)
    assert settings(parser.parse_args([])) == {"lr": 0.1, "seed": None}
    assert settings(parser) is None
    assert objects.is_parser(parser)


def test_jsonargparse() -> None:
    library = pytest.importorskip("jsonargparse", reason="jsonargparse is not installed")
    parser = library.ArgumentParser()
    parser.add_argument("--model.width", type=int, default=8)
    assert settings(parser.parse_args([])) == {"model": {"width": 8}}


def test_absl() -> None:
    flags = pytest.importorskip("absl.flags", reason="absl-py is not installed")
    pytest.importorskip("absl.logging", reason="absl-py is not installed")  # has flags of its own
    given = flags.FlagValues()
    flags.DEFINE_float("lr", 0.1, "", flag_values=given)
    flags.DEFINE_list("layers", ["a"], "", flag_values=given)
    flags.DEFINE_integer("verbosity", 0, "", flag_values=given, module_name="absl.logging")
    given(["train.py", "--lr=0.2"])
    assert settings(given) == {"lr": 0.2, "layers": ["a"]}


def test_pydantic_1() -> None:
    pydantic = pytest.importorskip("pydantic", reason="pydantic is not installed")
    v1 = pytest.importorskip("pydantic.v1", reason="pydantic is older than 2") if hasattr(pydantic, "v1") else pydantic
    inner = v1.create_model("Inner", width=(int, 8), key=(v1.SecretStr, v1.SecretStr("hunter2")))
    outer = v1.create_model("Outer", lr=(float, 0.1), inner=(inner, inner()))
    found = settings(outer())
    assert found["lr"] == 0.1
    assert found["inner"]["width"] == 8
    assert "hunter2" not in str(found)


def test_hydra(tmp_path: Path) -> None:
    pytest.importorskip("hydra", reason="hydra-core is not installed")
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "big.yaml").write_text("width: 80\n")
    (tmp_path / "conf" / "config.yaml").write_text(
        "defaults: [_self_, {model: null}]\nlr: 1e-3\nhalf: ${lr}\napi_key: ${oc.env:SERVICE}\nneeded: ???\n"
    )
    script = tmp_path / "train.py"
    script.write_text(
        """
import hydra
from pathlib import Path

@hydra.main(config_path="conf", config_name="config", version_base=None)
def main(settings):
    from ckptkit.capture import config
    print(config.resolve([settings], project=Path("/nowhere"), unknown={}).text.decode())

main()
"""
    )
    found = python(script, "model=big", "lr=0.2", "+password=hunter2", cwd=tmp_path, SERVICE="hunter3hunter3")
    assert found.strip() == (
        "hydra:\n  config_name: config\n  choices:\n    model: big\n  overrides:\n  - model=big\n"
        '  - lr=0.2\n  - "+password=<redacted:password>"\n'
        'lr: 0.2\nhalf: 0.2\napi_key: "<redacted:api-key>"\nneeded: "???"\nmodel:\n  width: 80\n'
        'password: "<redacted:password>"'
    )


def test_without_hydra_there_is_no_composition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "hydra.core.hydra_config", raising=False)
    assert objects.composed() == {}
