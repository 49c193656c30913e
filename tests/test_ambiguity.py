"""Words that YAML 1.1 and 1.2 read differently, held against PyYAML and the core schema."""

import time

import pytest
import yaml

from ckptkit import ambiguity


def read(text: str) -> list[tuple[str, str, str]]:
    return [(each.word, each.one, each.other) for each in ambiguity.ambiguous(text.encode())]


AMBIGUOUS = {
    "1e-3": ("text", "the number 0.001"),
    "1E5": ("text", "the number 100000.0"),
    "1e-7": ("text", "the number 1.0e-07"),
    ".5e3": ("text", "the number 500.0"),
    "-.5": ("text", "the number -0.5"),
    "12e03": ("text", "the number 12000.0"),
    "1e999": ("text", "the number .inf"),
    "0o10": ("text", "the number 8"),
    "089": ("text", "the number 89"),
    "010": ("the number 8", "the number 10"),
    "no": ("false", "text"),
    "NO": ("false", "text"),
    "yes": ("true", "text"),
    "On": ("true", "text"),
    "off": ("false", "text"),
    "1:30": ("the number 90", "text"),
    "1:30.5": ("the number 90.5", "text"),
    "1_000": ("the number 1000", "text"),
    "1_0.5": ("the number 10.5", "text"),
    "0b11": ("the number 3", "text"),
    "-0x1F": ("the number -31", "text"),
    "2001-01-01": ("the date 2001-01-01", "text"),
    "2001-01-01 10:00:00": ("the date 2001-01-01T10:00:00", "text"),
    "2001-02-31": ("no value", "text"),
    "=": ("a sign of its own", "text"),
}


@pytest.mark.parametrize("word", AMBIGUOUS)
def test_words_that_versions_of_yaml_read_differently(word: str) -> None:
    one, other = AMBIGUOUS[word]
    assert read(f"a: {word}") == read(f"[{word}]") == read(f"{word}: 1") == [(word, one, other)]
    assert read(f"a: '{word}'\nb: [\"{word}\"]\nc: |\n  {word}\nd: ! '{word}'\ne: !!str {word}\n") == []


@pytest.mark.parametrize(
    "word", [word for word in AMBIGUOUS if AMBIGUOUS[word][0] not in {"no value", "a sign of its own"}]
)
def test_the_reading_by_yaml_1_1_is_that_of_pyyaml(word: str) -> None:
    one, value = AMBIGUOUS[word][0], yaml.safe_load(word)
    if isinstance(value, str | bool):
        assert one == {word: "text", True: "true", False: "false"}[value]
    elif isinstance(value, int | float):
        assert float(one.removeprefix("the number ")) == value
    else:
        assert one == f"the date {value.isoformat()}"


ALIKE = (  # as YAML 1.1 and 1.2 have them
    "~ null Null true True FALSE 0 1 -1 +1 007 0x1F 1. 1.5 .5 -0.5 1.0e-3 1.5E+10 .inf -.INF .NaN"
    " none y N e3 1e 1e- 0o8 0.1.2 12e4f adam v0001 yes! 1:90 tRUE nUll +.nan 192.168.0.1 -a"
)


@pytest.mark.parametrize("word", ALIKE.split())
def test_words_that_are_read_alike(word: str) -> None:
    assert read(f"[{word}]") == []


def test_where_the_words_stand() -> None:
    text = b"\xef\xbb\xbfname: \xc3\xa9\nbase: &b {lr: 1e-3}\nall: [*b, *b,\n  no]\nmore:\n  <<: *b\n  on: x\n"
    found = ambiguity.ambiguous(text)
    assert [(each.line, each.column, each.word) for each in found] == [
        (2, 15, "1e-3"),
        (4, 3, "no"),
        (6, 3, "<<"),
        (7, 3, "on"),
    ]
    assert [str(each).partition("; write ")[2] for each in found] == [
        '0.001 or "1e-3"',
        'false or "no"',
        "the keys out",
        'true or "on"',
    ]


@pytest.mark.parametrize("text", [b"a: [1e3\n", b"a: \xff\n", b"a: b\0\n", b"", b"# 1e3\n", b"a: " + b"9" * 5_000])
def test_what_is_no_yaml_has_no_ambiguous_words(text: bytes) -> None:
    assert ambiguity.ambiguous(text) == []


def test_ambiguous_words_are_found_quickly() -> None:
    text = "".join(f"name_{at}: {{lr: 0.{at}, layers: [{at}, x], nesterov: no}}\n" for at in range(2_000)).encode()
    begun = time.process_time()
    assert len(ambiguity.ambiguous(text)) == 2_000
    assert time.process_time() - begun < 1
