import json
import math
import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptkit import ambiguity, documents
from ckptkit.errors import FormatError

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)

# Scalars that YAML 1.1 (PyYAML) or YAML 1.2 (core schema, section 10.3.2 of its specification) takes for no string.
LOOK_ALIKES = [
    "", "~", "null", "Null", "NULL", "none", "None", "true", "True", "yes", "Yes", "no", "NO", "on", "Off", "y", "N",
    "nan", ".nan", ".NaN", ".inf", "-.INF", "+.inf", "inf", "infinity", "0", "1", "-1", "+1", "-0", "010", "0o10",
    "0x1F", "0b11", "1_000", "1e3", "1E-3", "1.0e-3", "1.", ".5", "1:30", "1:30:59", "190:20:30", "2020-01-01",
    "2020-01-01T00:00:00Z", "0.1.2", "=", "<<", "-", "--- a", "...", "- a", "? a", ": a", "a: b", "a:", "a #b", "#a",
    "&a", "*a", "!a", "|", ">", "%a", "@a", "`a", "[a", "]", "{a", "}", ",", "a, b", "'a", '"a', "a\nb", "a\n", "\n",
    "\ta", "a\t", " a", "a ", "a\\b", "\0", "\x07", "\x85", "\xa0", "\u2028", "\ufeff", "\U0001f600", "é",
]  # fmt: skip


# -- JSON


@settings(deadline=None)
@given(plain)
def test_json_there_and_back(value: Any) -> None:
    for data in (documents.dump_json(value), documents.dump_line(value)):
        assert documents.load_json(data) == value
    assert documents.dump_json(value).endswith(b"\n")
    assert b"\n" not in documents.dump_line(value)


@pytest.mark.parametrize(
    ("data", "words", "place"),
    [
        (b"", "is not JSON", (1, 1)),
        (b'{"a": 1,\n  2}', "is not JSON", (2, 3)),
        (b"{'a': 1}", "is not JSON", (1, 2)),
        (b'{"a": 1} x', "is not JSON: Extra data", (1, 10)),
        (b'{"a": NaN}', "NaN is not JSON", (None, None)),
        (b"-Infinity", "-Infinity is not JSON", (None, None)),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' stands twice", (None, None)),
        (b'"\xff"', r"is not UTF-8 text \(byte 2\)", (None, None)),
        (b"[" * 100_000, "nested too deeply", (None, None)),
        (b"9" * 5_000, "is not usable JSON", (None, None)),
    ],
)
def test_json_that_is_none(data: bytes, words: str, place: tuple[int | None, int | None]) -> None:
    with pytest.raises(FormatError, match=words) as caught:
        documents.load_json(data)
    assert (caught.value.line, caught.value.column) == place


def test_json_of_windows() -> None:
    assert documents.load_json(b'\xef\xbb\xbf{"a": 1}\r\n') == {"a": 1}


def test_json_refuses_numbers_that_it_has_not() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        documents.dump_json({"a": math.nan})


def test_json_of_names_that_are_not_utf8() -> None:
    for dump in (documents.dump_json, documents.dump_line):
        assert documents.load_json(dump({"path": "a\udcff"})) == {"path": "a\udcff"}


def test_json_keeps_the_order_and_the_letters() -> None:
    assert documents.dump_json({"b": "é", "a": []}) == '{\n  "b": "é",\n  "a": []\n}\n'.encode()


def test_many_keys_with_one_twice_are_refused_quickly() -> None:
    keys = [f'"{number}": 0' for number in range(20_000)]
    begun = time.monotonic()
    with pytest.raises(FormatError, match="'19999' stands twice"):
        documents.load_json(f"{{{', '.join([*keys, keys[-1]])}}}".encode())
    assert time.monotonic() - begun < 1


# -- YAML


@settings(deadline=None)
@given(plain)
def test_yaml_there_and_back(value: Any) -> None:
    text = documents.dump_yaml(value)
    assert documents.load_yaml(text.encode()) == value
    assert yaml.safe_load(text) == value


@settings(deadline=None)
@given(st.lists(plain, max_size=3))
def test_yaml_has_no_anchors(value: list[Any]) -> None:
    assert documents.load_yaml(documents.dump_yaml([value, value]).encode()) == [value, value]
    tokens = yaml.scan(documents.dump_yaml([value, value]))
    assert not any(isinstance(token, yaml.AnchorToken | yaml.AliasToken) for token in tokens)


@pytest.mark.parametrize("text", LOOK_ALIKES)
def test_strings_that_look_like_something_else_are_quoted(text: str) -> None:
    """A quoted scalar is a string in every version of YAML."""
    for value in (text, [text], {text: "v"}, {"a": text}):
        dumped = documents.dump_yaml(value)
        assert documents.load_yaml(dumped.encode()) == value
        scalars = [event for event in yaml.parse(dumped) if isinstance(event, yaml.ScalarEvent)]
        assert all(event.style == '"' for event in scalars if event.value == text), dumped


@pytest.mark.parametrize("text", ["adam", "train.py", "a/b-c_d", "lr@0", "two words", "a=b", "x+y", "Yesterday", "E"])
def test_plain_words_stay_plain(text: str) -> None:
    assert documents.dump_yaml({"a": text}) == f"a: {text}\n"


@pytest.mark.parametrize("number", [1e-3, 1e-7, 1e22, 1.0, -0.0, 123456789.5, 5e-324, 1.7976931348623157e308])
def test_floats_are_floats_in_yaml_1_1_and_1_2(number: float) -> None:
    import re

    text = documents.dump_yaml(number).removesuffix("\n").removesuffix("\n...")
    assert re.fullmatch(r"[-+]?[0-9][0-9]*\.[0-9]*([eE][-+][0-9]+)?", text), text  # YAML 1.1
    assert re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", text), text  # YAML 1.2
    assert float(text) == number


def test_yaml_keeps_the_order_and_long_lines() -> None:
    value = {"b": "word " * 200 + "end", "a": {"c": [1, {"d": None}]}}
    text = documents.dump_yaml(value)
    assert text.splitlines()[0] == f"b: {value['b']}"
    assert list(documents.load_yaml(text.encode())) == ["b", "a"]


def test_yaml_becomes_plain_values() -> None:
    text = """
date: 2020-01-02
time: 2020-01-02T03:04:05Z
nan: .nan
infinity: [.inf, -.inf]
bytes: !!binary aGk=
set: !!set {b, a}
pairs: !!omap [a: 1]
2: int
null: nothing
true: bool
1.5: float
2020-01-01: date key
base: &b {x: 1, y: 2}
merged: {<<: *b, y: 3}
"""
    assert documents.finite(documents.load_yaml(text.encode())) == {
        "date": "2020-01-02",
        "time": "2020-01-02T03:04:05+00:00",
        "nan": "NaN",
        "infinity": ["Infinity", "-Infinity"],
        "bytes": "b'hi'",
        "set": ["a", "b"],
        "pairs": [["a", 1]],
        "2": "int",
        "null": "nothing",
        "true": "bool",
        "1.5": "float",
        "2020-01-01": "date key",
        "base": {"x": 1, "y": 2},
        "merged": {"x": 1, "y": 3},
    }
    assert documents.load_yaml(b"") is None
    assert documents.load_yaml(b"\xef\xbb\xbfa: 1\r\n") == {"a": 1}


def test_yaml_reads_as_pyyaml_does() -> None:
    assert documents.load_yaml(b"[1e-3, 1.0e-3, no, 010, 0o10, 1:30]") == ["1e-3", 0.001, False, 8, "0o10", 90]


def bomb(width: int, depth: int) -> str:
    lines = [f"a0: &a0 [{', '.join(['x'] * width)}]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * width)}]" for level in range(1, depth)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("a: 1\nb: [1\n", "is not YAML", 3),
        ("a: 1\n\tb: 2\n", "is not YAML", 2),
        ("a: 1\na: 2\n", "the key 'a' stands twice in one mapping", 2),
        ("x:\n  a: 1\n  b: 1\n  a: 2\n", "the key 'a' stands twice in one mapping", 4),
        ("a: 1\n'a': 2\n", "the key 'a' stands twice in one mapping", 2),
        ("1: a\n'1': b\n", "two keys of one mapping read as '1'", None),
        ("1: a\n0x1: b\n", "stands twice|read as", None),
        ("1: a\n1.0: b\n", "stands twice|read as", None),
        ("1: a\ntrue: b\n", "stands twice|read as", None),
        ("a: 1\n---\nb: 2\n", "is not YAML", 2),
        ("a: *nowhere\n", "is not YAML", 1),
        ("a: !!python/object/apply:os.system [false]\n", "is not YAML", 1),
        ("a: !custom 1\n", "is not YAML", 1),
        ("{[a]: 1}\n", "is not YAML|unhashable", 1),
        ("a: 2026-13-45\n", "is not usable YAML", None),
        ("a: &x [*x]\n", "inside its own anchor", 1),
        ("a: &x {b: *x}\n", "inside its own anchor", 1),
        (bomb(9, 9), "aliases expand to more than 200,000 values", None),
        (bomb(2, 30), "aliases expand to more than 200,000 values", None),
        ("a: " + "[" * 100_000, "nested too deeply|is not YAML", None),
        ("a: " + "{a: " * 5_000 + "1" + "}" * 5_000, "nested too deeply|is not YAML", None),
        ("- " * 50_000 + "a", "nested too deeply|is not YAML", None),
        ("a: \x01\n", "is not YAML", None),
    ],
)
def test_yaml_that_is_none(text: str, words: str, line: int | None) -> None:
    begun = time.monotonic()
    with pytest.raises(FormatError, match=words) as caught:
        documents.load_yaml(text.encode())
    assert line is None or caught.value.line == line
    assert time.monotonic() - begun < 5


def test_yaml_that_is_not_utf8() -> None:
    with pytest.raises(FormatError, match=r"is not UTF-8 text \(byte 4\)"):
        documents.load_yaml(b"a: \xff")


def test_a_few_aliases_are_fine() -> None:
    assert documents.load_yaml(bomb(3, 5).encode())["a4"][2][2][2][2] == ["x", "x", "x"]


@pytest.mark.parametrize("shape", ["wide", "long", "deep anchors"])
def test_large_yaml_ends_in_time(shape: str) -> None:
    text = {
        "wide": "\n".join(f"key{number}: {number}" for number in range(50_000)),
        "long": "a: " + "x" * (1 << 20),
        "deep anchors": "\n".join(
            f"k{number}: &a{number} [*a{number - 1}]" if number else "k0: &a0 [x]" for number in range(200)
        ),
    }[shape]
    begun = time.monotonic()
    documents.load_yaml(text.encode())
    assert time.monotonic() - begun < 20


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_junk_raises_format_errors_only(data: bytes) -> None:
    for load in (documents.load_json, documents.load_yaml):
        try:
            value = load(data)
        except FormatError as error:
            assert error.message  # noqa: PT017 - any refusal is right
        else:
            json.dumps(value, allow_nan=False)


@settings(deadline=None)
@given(st.text(alphabet="ab:{}[],&*!|>-? \n\t'\"#%0.1_~=<", max_size=40))
def test_junk_of_yaml_signs_raises_format_errors_only(text: str) -> None:
    try:
        value = documents.load_yaml(text.encode())
    except FormatError:
        return
    json.dumps(value, allow_nan=False)


@pytest.mark.parametrize(
    ("value", "expected"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity"), (1.5, 1.5), ("x", "x")]
)
def test_finite(value: object, expected: object) -> None:
    assert documents.finite(value) == expected


@pytest.mark.parametrize(
    "text", ["!!bool maybe", "!!int ''", "!!float ''", "!!timestamp xyz", "!!set [x]", f"0x{'f' * 4000}"]
)
def test_tags_that_lie_are_refused_in_words(text: str) -> None:
    with pytest.raises(FormatError):
        documents.load_yaml(f"a: {text}".encode())


def test_nothing_of_ours_is_ambiguous() -> None:
    assert ambiguity.ambiguous(documents.dump_yaml([*LOOK_ALIKES, 1e-7, 1e22, 10, False, None]).encode()) == []
