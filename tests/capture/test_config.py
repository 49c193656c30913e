import argparse
import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import os
import types
from collections import OrderedDict, namedtuple
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptkit import ambiguity, disk, documents
from ckptkit.capture import config, objects
from ckptkit.errors import CkptkitError


def resolve(*sources: object, project: Path = Path("/nowhere")) -> tuple[config.Resolved, dict[str, str]]:
    unknown: dict[str, str] = {}
    return config.resolve(sources, project=project, unknown=unknown), unknown


def values(*sources: object) -> Any:
    found, _ = resolve(*sources)
    assert found.text is not None
    assert documents.finite(documents.load_yaml(found.text)) == found.values
    json.dumps(found.values, allow_nan=False)
    return found.values


def file(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# -- files


def test_one_yaml_file_is_kept_byte_for_byte(tmp_path: Path) -> None:
    text = "# tuned by hand\nlr:   0.1   # high\nseed: 7\nname: 'yes'\nbase: &b {x: 1}\nother: *b\n"
    found, unknown = resolve(file(tmp_path / "c.yaml", text))
    assert found.text == text.encode()
    assert found.values == {"lr": 0.1, "seed": 7, "name": "yes", "base": {"x": 1}, "other": {"x": 1}}
    assert found.seed == 7
    assert unknown == {}
    assert resolve(os.fspath(tmp_path / "c.yaml"))[0] == found


@pytest.mark.parametrize(
    "text",
    ["api_key: sk-abcdefghijklmnop0123456789\nlr: 1\n", "lr: 1  # see https://me:hunter2@example.org/x\n"],
)
def test_a_file_with_a_secret_is_written_anew(tmp_path: Path, text: str) -> None:
    found, _ = resolve(file(tmp_path / "c.yaml", text))
    assert found.text is not None
    assert b"abcdefghijklmnop" not in found.text
    assert b"hunter2" not in found.text
    assert found.values is not None
    assert found.values["lr"] == 1


def test_private_paths_are_shortened(tmp_path: Path, private_home: Path) -> None:
    text = f"data: {tmp_path}/data/x.csv\ncache: {private_home}/cache\n"
    found, _ = resolve(file(tmp_path / "c.yaml", text), project=tmp_path)
    assert found.values == {"data": "./data/x.csv", "cache": "~/cache"}
    assert found.text == documents.dump_yaml(found.values).encode()


def test_json_is_written_as_yaml(tmp_path: Path) -> None:
    path = file(tmp_path / "c.json", '{"lr": 1e-3, "names": ["no", "1e3", ""], "n": null}')
    assert values(path) == {"lr": 0.001, "names": ["no", "1e3", ""], "n": None}
    assert resolve(path)[0].text == b'lr: 0.001\nnames:\n- "no"\n- "1e3"\n- ""\n"n": null\n'


def test_later_ones_override_key_by_key(tmp_path: Path) -> None:
    one = file(tmp_path / "one.yaml", "lr: 0.1\nopt: {name: sgd, momentum: 0.9, betas: [1, 2]}\nseed: 1\n")
    two = file(tmp_path / "two.json", '{"opt": {"momentum": 0, "betas": [3]}, "new": {"a": 1}}')
    found = values(one, two, {"seed": 2, "new": 5, "lr": {"start": 1}})
    assert found == {
        "lr": {"start": 1},
        "opt": {"name": "sgd", "momentum": 0, "betas": [3]},
        "seed": 2,
        "new": 5,
    }
    assert list(found) == ["lr", "opt", "seed", "new"]


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("missing.yaml", None, r"missing\.yaml cannot be read: no such file"),
        ("c.yaml", "", r"c\.yaml holds nothing, no mapping"),
        ("c.yaml", "# only this\n", r"c\.yaml holds nothing"),
        ("c.yaml", "- a\n", r"c\.yaml holds a list, no mapping"),
        ("c.yaml", "just words\n", r"c\.yaml holds a str, no mapping"),
        ("c.yaml", "a: 1\nb: [\n", r"c\.yaml:3:1 is not YAML"),
        ("c.yaml", "a: 1\na: 2\n", r"c\.yaml:2:1 .*the key 'a' stands twice"),
        ("c.yaml", "a: !!python/object:os.system {}\n", r"c\.yaml:1:4 is not YAML"),
        ("c.yaml", b"a: \xff\n", r"c\.yaml is not UTF-8"),
        ("c.yaml", "a: b\0\n", r"c\.yaml.* is not YAML"),
        ("c.yaml", BOMB, r"c\.yaml:.*aliases expand to more than"),
        ("c.yaml", "a: &a [*a]\n", r"c\.yaml:1:8 .*inside its own anchor"),
        ("c.yaml", "a: " + "[" * 300 + "]" * 300, r"c\.yaml is nested too deeply"),
        ("c.yaml", "a: " + "[" * 5000, r"c\.yaml.* (is nested too deeply|is not YAML)"),
        ("c.json", '{"a": 1,}', r"c\.json:1:\d+ is not JSON"),
        ("c.json", '{"a": 1, "a": 2}', r"c\.json the key 'a' stands twice"),
        ("c.json", '{"a": NaN}', r"c\.json NaN is not JSON"),
        ("c.json", "[1]", r"c\.json holds a list"),
        ("c.json", '{"a":' * 300 + "1" + "}" * 300, r"c\.json is nested too deeply"),
        ("c.yaml", "#" * (disk.CONFIG_LIMIT + 1), r"c\.yaml has 4,194,305 bytes"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, name: str, text: str | bytes | None, words: str) -> None:
    path = tmp_path / name
    if text is not None:
        file(path, text)
    with pytest.raises(CkptkitError, match=words) as caught:
        resolve({"fine": 1}, path)
    assert caught.value.hint
    with pytest.raises(CkptkitError, match="the metrics .*" + words):
        config.load(path, "metrics")


def test_no_file_that_is_not_regular(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.yaml")
    for name in ("fifo.yaml", "."):
        with pytest.raises(CkptkitError, match="is not a regular file"):
            resolve(tmp_path / name)


AMBIGUOUS = "lr: 1e-3\nnesterov: no\nname: 'no'\nwarmup: 010\n"


def test_what_two_versions_of_yaml_read_differently_is_warned_of(tmp_path: Path) -> None:
    found, unknown = resolve(file(tmp_path / "c.yaml", AMBIGUOUS), {"lr": 0.1}, project=tmp_path)
    assert found.warnings == (
        'c.yaml:1:5: 1e-3 is text in YAML 1.1 and the number 0.001 in YAML 1.2; write 0.001 or "1e-3"',
        'c.yaml:2:11: no is false in YAML 1.1 and text in YAML 1.2; write false or "no"',
        "c.yaml:4:9: 010 is the number 8 in YAML 1.1 and the number 10 in YAML 1.2; write 8 or 10",
    )
    assert unknown == {}
    assert found.text is not None
    assert ambiguity.ambiguous(found.text) == []


def test_many_ambiguous_words_are_counted(tmp_path: Path) -> None:
    found, _ = resolve(file(tmp_path / "c.yaml", "".join(f"k{at}: {at}e3\n" for at in range(9))), project=tmp_path)
    assert len(found.warnings) == 6
    assert found.warnings[-1] == "c.yaml: 4 more words like these"


def test_json_and_objects_are_read_alike_by_all(tmp_path: Path) -> None:
    assert resolve(file(tmp_path / "c.json", '{"lr": 1e-3}'), {"name": "no", "n": "1e3"})[0].warnings == ()


# -- objects


@dataclasses.dataclass
class Optimizer:
    name: str = "sgd"
    betas: tuple[float, float] = (0.9, 0.99)
    late: int = dataclasses.field(init=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    lr: float
    optimizer: Optimizer


Pair = namedtuple("Pair", "lr seed")  # noqa: PYI024 - the untyped kind, too


class Typed(NamedTuple):
    lr: float


class Colour(enum.Enum):
    RED = "red"
    DEEP = (1, 2)


class Level(enum.IntEnum):
    HIGH = 3


class Setting:
    lr = 0.1
    _private = 1
    device = types

    def __init__(self) -> None:
        self.seed = 7
        self.loss = print

    def method(self) -> None:
        """No setting."""

    @property
    def computed(self) -> int:
        raise RuntimeError("not to be asked")


class Pretrained:
    def to_dict(self) -> dict[str, object]:
        return {"hidden_size": 8, "dtype": np.dtype("float32")}


EMPTY = {"lr": 0.1}
OBJECTS: dict[str, tuple[object, object]] = {
    "dict": ({"a": {"b": [1, (2, 3)]}}, {"a": {"b": [1, [2, 3]]}}),
    "ordered": (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    "read-only": (types.MappingProxyType({"a": 1}), {"a": 1}),
    "empty": ({}, {}),
    "dataclass": (Slotted(0.1, Optimizer()), {"lr": 0.1, "optimizer": {"name": "sgd", "betas": [0.9, 0.99]}}),
    "argparse": (argparse.Namespace(lr=0.1, f=None), {"lr": 0.1, "f": None}),
    "namespace": (types.SimpleNamespace(a=types.SimpleNamespace(b=1)), {"a": {"b": 1}}),
    "named tuple": (Pair(0.1, 7), {"lr": 0.1, "seed": 7}),
    "typed tuple": (Typed(0.1), EMPTY),
    "plain object": (Setting(), {"lr": 0.1, "seed": 7, "loss": "<built-in function print>"}),
    "plain class": (Setting, EMPTY),
    "to_dict": (Pretrained(), {"hidden_size": 8, "dtype": "dtype('float32')"}),
}


@pytest.mark.parametrize("case", OBJECTS)
def test_objects(case: str) -> None:
    given_, expected = OBJECTS[case]
    assert values(given_) == expected


def test_a_module_of_settings() -> None:
    module = types.ModuleType("settings")
    module.__dict__.update(lr=0.1, os=os, helper=resolve, names=["a"])
    assert values(module) == {"lr": 0.1, "names": ["a"]}


def test_omegaconf() -> None:
    omegaconf = pytest.importorskip("omegaconf", reason="omegaconf is not installed").OmegaConf
    assert values(omegaconf.create({"lr": 0.1, "half": "${lr}", "list": [{"a": 1}], "gone": "???"})) == {
        "lr": 0.1,
        "half": 0.1,
        "list": [{"a": 1}],
        "gone": "???",
    }
    assert values(omegaconf.create({"bad": "${nowhere}", "a": 1})) == {"bad": "${nowhere}", "a": 1}
    assert values(omegaconf.structured(Typed2)) == {"lr": 0.1, "colour": "red"}
    assert values({"inner": omegaconf.create({"a": 1})}) == {"inner": {"a": 1}}


@dataclasses.dataclass
class Typed2:
    lr: float = 0.1
    colour: Colour = Colour.RED


def test_pydantic() -> None:
    pydantic = pytest.importorskip("pydantic", reason="pydantic is not installed")
    inner = pydantic.create_model("Inner", path=(Path, Path("x")), colour=(Colour, Colour.RED))
    outer = pydantic.create_model("Outer", lr=(float, 0.1), inner=(inner, inner()), key=(pydantic.SecretStr, "hunter2"))
    found = values(outer(key="hunter2"))
    assert found["lr"] == 0.1
    assert found["inner"] == {"path": "x", "colour": "red"}
    assert "hunter2" not in str(found)


def test_ml_collections() -> None:
    library = pytest.importorskip("ml_collections", reason="ml_collections is not installed")
    found = library.ConfigDict({"lr": 0.1, "deep": {"a": (1, 2)}})
    found.same = found.get_ref("lr")
    assert values(found) == {"lr": 0.1, "deep": {"a": [1, 2]}, "same": 0.1}
    assert values(library.FrozenConfigDict({"a": 1})) == {"a": 1}


def test_attrs() -> None:
    attrs = pytest.importorskip("attrs", reason="attrs is not installed")
    kind = attrs.make_class("Config", ["lr", "inner"])
    assert values(kind(0.1, kind(1, None))) == {"lr": 0.1, "inner": {"lr": 1, "inner": None}}


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Endless(dict[str, object]):
    def items(self) -> Any:
        raise RuntimeError("no items")


VALUES: dict[str, tuple[object, object]] = {
    "path": (Path("a/b"), "a/b"),
    "dtype": (np.dtype("float32"), "dtype('float32')"),
    "numpy type": (np.float32, "<class 'numpy.float32'>"),
    "function": (values, "<function values>"),
    "lambda": (lambda: 0, "<function <lambda>>"),
    "method": (Setting().method, "<bound method Setting.method of <test_config.Setting object>>"),
    "bytes": (b"\0", "b'\\x00'"),
    "complex": (1j, "1j"),
    "range": (range(3), "range(0, 3)"),
    "set": ({3, 1, 2}, [1, 2, 3]),
    "mixed set": ({"a", 1}, ["a", 1]),
    "enum": (Colour.RED, "red"),
    "enum of no scalar": (Colour.DEEP, "DEEP"),
    "int enum": (Level.HIGH, 3),
    "numpy float": (np.float32(0.5), 0.5),
    "numpy int": (np.int64(3), 3),
    "numpy bool": (np.bool_(True), True),  # noqa: FBT003
    "numpy text": (np.str_("a"), "a"),
    "small array": (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
    "scalar array": (np.array(1.5), 1.5),
    "large array": (np.zeros((11, 10), np.float32), "<numpy.ndarray of shape (11, 10), float32>"),
    "date": (dt.date(2020, 1, 2), "2020-01-02"),
    "datetime": (dt.datetime(2020, 1, 2, tzinfo=dt.UTC), "2020-01-02T00:00:00+00:00"),
    "timedelta": (dt.timedelta(hours=1), "1:00:00"),
    "decimal": (decimal.Decimal("0.10"), "0.10"),
    "nan": (math.nan, "NaN"),
    "infinity": (-math.inf, "-Infinity"),
    "no repr": (Unprintable(), "<Unprintable, whose repr fails>"),
    "no items": (Endless(), "{}"),
    "long repr": (type("Long", (), {"__repr__": lambda _: "x" * 9_000})(), "x" * 2_000 + "..."),
    "huge int": (1 << 20_000, "<an integer of 20001 bits>"),
    "big int": (1 << 100, 1 << 100),
    "lone surrogate": ("a\udcffb", "a\\udcffb"),
    "control characters": ("\0\a\x1b[31m\u2028\ufeff", "\0\a\x1b[31m\u2028\ufeff"),
    "text like a number": ("1e3", "1e3"),
    "text like a date": ("2020-01-01", "2020-01-01"),
}


@pytest.mark.parametrize("case", VALUES)
def test_values(case: str) -> None:
    given_, expected = VALUES[case]
    found = values({"x": given_})
    assert found == {"x": expected}
    assert type(found["x"]) is type(expected)


def test_not_a_number_is_one_in_yaml() -> None:
    text = resolve({"a": math.nan, "b": math.inf, "c": [-math.inf]})[0].text
    assert text is not None
    found = yaml.safe_load(text)
    assert math.isnan(found["a"])
    assert (found["b"], found["c"]) == (math.inf, [-math.inf])


def test_keys_that_are_no_strings_lose_nothing() -> None:
    found = values({2: "int", "2": "str", None: 0, True: 1, 1.5: 2, (1, 2): 3, Colour.RED: 4, "red": 5})
    assert found == {
        "2": "int",
        "2 (str)": "str",
        "null": 0,
        "true": 1,
        "1.5": 2,
        "(1, 2)": 3,
        "red": 4,
        "red (str)": 5,
    }


def test_what_holds_itself() -> None:
    endless: dict[str, object] = {"a": 1}
    endless["self"] = [endless]
    assert values(endless) == {"a": 1, "self": ["<recursive>"]}
    shared = [1]
    assert values({"a": shared, "b": shared}) == {"a": [1], "b": [1]}
    deep: dict[str, object] = {}
    for _ in range(500):
        deep = {"x": deep}
    assert "x" in values(deep)


def test_a_vast_object_is_cut_and_says_so() -> None:
    found, unknown = resolve({"many": list(range(3 * objects.VALUES)), "seed": 1})
    assert found.values is not None
    assert 0 < len(found.values["many"]) <= objects.VALUES
    assert unknown["config.values"] == "it holds more than 100,000 values: the rest was left out"


@pytest.mark.parametrize("given_", [3, [1, 2], None, print, object(), Unprintable()])
def test_objects_without_names_never_raise(given_: object) -> None:
    found, unknown = resolve(given_)
    assert found == config.Resolved(values=None, text=None, seed=None)
    assert "holds no names and values" in unknown["config.values"]
    assert resolve({"lr": 1}, given_)[0].values == {"lr": 1}


def test_a_parser_is_told_from_what_it_parsed() -> None:
    found, unknown = resolve(argparse.ArgumentParser())
    assert found.values is None
    assert unknown["config.values"].endswith("holds no names and values: give what its parse_args() returned")


def test_no_configuration() -> None:
    found, unknown = resolve()
    assert found == config.Resolved(values=None, text=None, seed=None)
    assert unknown == {"config.values": "no configuration was given"}


def test_secrets_in_objects() -> None:
    found, _ = resolve({"api_key": "abcdef0123456789abcdef", "max_tokens": 5, "seed": 3})
    assert found.text is not None
    assert b"abcdef0123456789" not in found.text
    assert found.values is not None
    assert found.values["max_tokens"] == 5


@pytest.mark.torch
def test_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    assert values({"d": torch.bfloat16, "t": torch.ones(2, requires_grad=True), "s": torch.tensor(3)}) == {
        "d": "torch.bfloat16",
        "t": [1.0, 1.0],
        "s": 3,
    }
    assert values({"big": torch.zeros(200)}) == {"big": "<torch.Tensor of shape (200,), torch.float32>"}


def test_data_frames_and_estimators() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    assert values({"f": pandas.DataFrame({"a": [1]}), "e": linear.LogisticRegression(C=2.0)}) == {
        "f": "<pandas.DataFrame of shape (1, 1)>",
        "e": "LogisticRegression(C=2.0)",
    }


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
nests = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=5), nests, max_size=4))
def test_config_yaml_reads_as_the_values(given_: dict[str, Any]) -> None:
    values(given_)


# -- seeds

SEEDS: dict[str, tuple[dict[str, object], object]] = {
    "none": ({"lr": 1}, None),
    "plain": ({"seed": 7}, 7),
    "zero": ({"seed": 0}, 0),
    "shallowest first": ({"a": {"seed": 1}, "data_seed": 2}, 2),
    "in order": ({"torch_seed": 1, "random_state": 2, "data_seed": 3}, 2),
    "spelled otherwise": ({"Random-Seed": 4}, 4),
    "deep": ({"a": {"b": {"manual_seed": 5}}}, 5),
    "in a list": ({"stages": [{"lr": 1}, {"seed": 6}]}, 6),
    "list of seeds": ({"seed": [1, 2, 3]}, [1, 2, 3]),
    "text": ({"seed": "auto"}, "auto"),
    "missing in OmegaConf": ({"seed": "???", "inner": {"seed": "${oc.env:SEED}", "data_seed": 9}}, 9),
    "null": ({"seed": None, "inner": {"seed": 8}}, 8),
    "no seed": ({"seed": True, "random_state": 1.5, "global_seed": []}, None),
}


@pytest.mark.parametrize("case", SEEDS)
def test_seed(case: str) -> None:
    given_, expected = SEEDS[case]
    assert resolve(given_)[0].seed == expected


def test_what_can_be_used_beside_a_file_that_cannot_is_kept(tmp_path: Path) -> None:
    sources = [tmp_path / "gone.yaml", {"lr": 0.1, "seed": 7}, file(tmp_path / "list.yaml", "- a\n"), {"lr": 0.2}]
    unknown: dict[str, str] = {}
    found = config.resolve(sources, project=tmp_path, strict=False, unknown=unknown)
    assert (found.values, found.seed) == ({"lr": 0.2, "seed": 7}, 7)
    assert found.text == b"lr: 0.2\nseed: 7\n"
    assert list(unknown) == ["config.values"]
    assert "gone.yaml cannot be read" in unknown["config.values"]
    assert "list.yaml holds a list" in unknown["config.values"]
    with pytest.raises(CkptkitError, match="gone"):
        config.resolve(sources, project=tmp_path, strict=True, unknown={})
    nothing = config.resolve(sources[:1], project=tmp_path, strict=False, unknown=unknown)
    assert nothing == config.Resolved(values=None, text=None, seed=None)
    assert "gone.yaml" in unknown["config.values"]


def test_a_callable_is_never_called() -> None:
    called: list[int] = []
    values({"hook": lambda: called.append(1)})
    assert called == []
