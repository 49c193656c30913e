import operator
import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptkit import expression
from ckptkit.errors import CkptkitError

VERSION: Mapping[str, Any] = {
    "lr": 0.001,
    "optim.lr": "1e-3",
    "batch": 32,
    "val/loss": 0.25,
    "metric:val/loss": 0.25,
    "metric:train/loss": 0.5,
    "diverged": "NaN",
    "worst": "Infinity",
    "big": 10**400,
    "schedule": "cosine",
    "weight-decay": "off",
    "tag:env": "production",
    "debug": "true",
    "dirty": False,
    "nothing": "none",
    "seed": [1, 2],
    "stage": "production",
    "alias": ("best", "champion"),
    "version": ("penguins/v0012", "v0012", 12),
    "created": "2026-05-03T10:00:00Z",
    "commit": "c3" * 20,
    "digest": f"sha256:{'5f1c09ab' * 8}",
    "a b": 1,
}


def holds(text: str, values: Mapping[str, Any] = VERSION) -> bool:
    return expression.parse(text).holds(values.get)


@pytest.mark.parametrize(
    "text",
    [
        "lr == 1e-3",
        "lr==0.001",
        "optim.lr == 0.001",
        "optim.lr < 2e-3",
        "lr < 1e-2 and batch == 32",
        "1e-4 < lr < 1e-2",
        "1e-2 > lr >= .001",
        "batch >= +32",
        "val/loss > -1",
        "worst > 1e308",
        "worst == inf",
        "big > 1e308",
        "big < Infinity",
        "diverged == nan",
        "schedule == cosine",
        "schedule == 'cosine'",
        'schedule >= "cos"',
        "weight-decay == off",
        "'a b' == 1",
        "debug == true",
        "debug == TRUE",
        "dirty == false",
        "dirty != true",
        "nothing == none",
        "nothing == 'none'",
        "seed == 2",
        "seed in (7, 1)",
        "stage in (staging, production)",
        "stage not in (archived)",
        "alias == champion",
        "alias in (candidate, best)",
        "version == 12",
        "version == v0012",
        "version == penguins/v0012",
        "v0009 < version < v10000",
        "created == 2026-05-03",
        "created <= 2026-05-03",
        "created < 2026-05-03T10:00:01Z",
        "2026-05-02 < created < 2026-05-04",
        "commit == c3c3c3c",
        "digest == sha256:5f1c09ab",
        "missing == null",
        "missing == none",
        "missing != 3",
        "missing not in (1, 2)",
        "not missing < 3",
        "not not lr == 1e-3",
        "NOT lr == 1 AND (batch == 1 OR batch IN (32, 64))",
        "lr == 1 and lr == 1 or batch == 32",
        "not lr == 1 or lr == 1",
        "tag:env == 'production'",
    ],
)
def test_what_holds(text: str) -> None:
    assert holds(text)


@pytest.mark.parametrize(
    "text",
    [
        "lr != 1e-3",
        "lr < 1e-3",
        "lr > 1e-3 or batch < 32",
        "lr == 1e-3 and (batch == 1 or batch == 2)",
        "1e-2 < lr < 1",
        "missing < 3",
        "missing >= 3",
        "missing == 0",
        "missing == ''",
        "missing == 'null'",
        "missing in (1, null1)",
        "diverged < 1",
        "diverged >= 1",
        "diverged == 0.5",
        "schedule < 3",
        "schedule >= 3",
        "schedule == Cosine",
        "dirty == 0",
        "batch == true",
        "dirty < 1",
        "seed == 3",
        "seed not in (1, 9)",
        "alias == candidate",
        "alias != champion",
        "alias not in (best)",
        "alias == null",
        "version == 1",
        "version < v0002",
        "version > v9999",
        "created < 2026-05-03",
        "created > 2026-05-03",
        "commit == c3c3c3d",
        "digest == sha256:c3c3c3c3",
        "nothing == null",
        "not (lr == 1e-3 or lr == 1)",
    ],
)
def test_what_does_not_hold(text: str) -> None:
    assert not holds(text)


def test_of_no_alias_all_but_null_is_false() -> None:
    assert holds("alias == null and not alias == champion and alias != champion", {"alias": ()})
    assert not holds("alias in (champion, best) or alias < 'z'", {"alias": ()})


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("lr < 1 and (seed == 7 or not stage in (production)) and lr > 0", ("lr", "seed", "stage")),
        ("stage == production", ("stage",)),
        ("1 < lr < 2", ("lr",)),
        ("'stage' == production", ("stage",)),
        ("'a b' == 'c d'", ("a b",)),
        ("'1' < '2'", ("1",)),
    ],
)
def test_which_words_are_names(text: str, names: tuple[str, ...]) -> None:
    assert expression.parse(text).names == names


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("", "at character 1: it ends where a name or a value is due", "write one"),
        ("  ", "at character 3: it ends", "write one"),
        ("lr <", "at character 5: it ends", "write one"),
        ("lr = 3", "at character 4: '='", "write =="),
        ("lr === 3", "at character 6: '='", "write =="),
        ("lr <> 3", "at character 4: '<'", "write !="),
        ("lr < 3 & seed == 1", "at character 8: '&'", "write and"),
        ("lr < 3 || seed == 1", "at character 8: '|'", "write or"),
        ("!dirty == true", "at character 1: '!'", "write != or not"),
        ("message == 'a", """at character 12: "'\"""", "close the quote"),
        ("lr in [1, 2]", "at character 7: '['", "( and )"),
        ("dirty", "at character 1: 'dirty' is compared with nothing", "dirty == true"),
        ("lr 3", "at character 1: 'lr' is compared with nothing", "lr < 1e-3"),
        ("lr < 3 seed == 1", "at character 8: 'seed' joins nothing", "write and"),
        ("lr < 3)", "at character 7: ')' joins nothing", "write and"),
        ("(lr < 3", "at character 8: ')' is missing", "close the parenthesis"),
        ("lr in 3", "at character 7: '(' is missing", "seed in (1, 2)"),
        ("lr in ()", "at character 8: ')' where", "write one"),
        ("lr in (1", "at character 9: ')' is missing", "seed in"),
        ("lr not 3", "at character 8: 'in' is missing", "seed in"),
        ("lr and seed", "at character 1: 'lr' is compared with nothing", "write a comparison"),
        ("and", "at character 1: 'and' where a name", "quote words"),
        ("lr < 1 and", "at character 11: it ends", "write one"),
        ("stage == in", "at character 10: 'in' where a name", "quote words"),
        ("1 < lr", "at character 1: '1' is no name of a column", "the column first, such as lr < 1e-3"),
        ("lr < 1 < 2", "at character 6: '1' is no name of a column", "between two values"),
        ("1 < lr < 2 < 3", "at character 12: '<' joins nothing", "write and"),
        ("3 in (1, 2)", "at character 1: '3' is no name of a column", "the column first"),
        ("true == dirty", "at character 1: 'true' is no name of a column", "the column first"),
        ("null >= lr", "at character 1: 'null' is no name of a column", "the column first"),
        ("2026-05-01 < created", "at character 1: '2026-05-01' is no name of a column", "the column first"),
        ("v0003 < version", "at character 1: 'v0003' is no name of a column", "the column first"),
        ("val/loss < train/loss", "at character 12: 'train/loss' has no order", "quote text"),
        ("val/loss == metric:train/loss", "at character 13: 'metric:train/loss' is a column's name", "with a value"),
        ("lr < true", "at character 6: 'true' has no order", "write a number"),
        ("size<1kB", "at character 6: '1kB' is neither number, date nor digest", "a plain number"),
        ("run in (7, 7f-3)", "at character 12: '7f-3' is neither number, date nor digest", "quote text"),
    ],
)
def test_what_cannot_be_read(text: str, words: str, hint: str) -> None:
    with pytest.raises(CkptkitError) as caught:
        expression.parse(text)
    assert words in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2
    assert "\n" not in f"{caught.value.message}{caught.value.hint}"


def test_depth_and_length_are_limited() -> None:
    deep = expression.DEPTH - 1
    assert holds("(" * deep + "lr == 1e-3" + ")" * deep)
    assert holds("not " * (deep - deep % 2) + "lr == 1e-3")
    for text in ("(" * 5000, "not " * 2000, "(" * expression.DEPTH + "lr == 1" + ")" * expression.DEPTH):
        with pytest.raises(CkptkitError, match="too many parentheses"):
            expression.parse(text)
    assert holds(" or ".join(["lr == 1"] * 600 + ["lr == 1e-3"]))
    with pytest.raises(CkptkitError, match="longer than 10,000 characters"):
        expression.parse("lr == 1 or " * 1000)


WORDS = ["lr", "==", "<", "in", "(", ")", ",", "and", "or", "not", "'a'", "1e-3", "null", "x", "tag:z"]


@given(st.text(max_size=60) | st.lists(st.sampled_from(WORDS)).map(" ".join))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        found = expression.parse(text)
    except CkptkitError:
        return
    assert found.names
    assert found.holds(VERSION.get) in {True, False}


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers() | st.text())


@given(PLAIN, st.text(st.characters(exclude_characters='"')))
def test_conditions_are_true_or_false_of_any_value(found: Any, wanted: str) -> None:
    for sign, negation in (("==", "!="), ("in", "not in")):
        right = f'"{wanted}"' if sign == "==" else f'("{wanted}")'
        assert holds(f"x {sign} {right}", {"x": found}) != holds(f"x {negation} {right}", {"x": found})
    assert not (found is None and holds(f'x <= "{wanted}"', {"x": found}))


@given(st.floats(allow_nan=False) | st.integers(), st.floats(allow_nan=False) | st.integers())
def test_numbers_are_compared_as_numbers(found: float, wanted: float) -> None:
    for sign, meaning in (("<", operator.lt), ("<=", operator.le), ("==", operator.eq), (">", operator.gt)):
        for value in (found, repr(found)):
            assert holds(f"x {sign} {wanted!r}", {"x": value}) == meaning(found, wanted)


@given(st.randoms(use_true_random=False))
def test_and_or_not_are_those_of_logic(chance: random.Random) -> None:
    """Python binds these words the same way."""

    def any_condition(depth: int) -> str:
        if not depth or chance.random() < 0.2:
            return f"{chance.choice('abc')} == {chance.choice('01')}"
        one, other = any_condition(depth - 1), any_condition(depth - 1)
        return chance.choice([f"{one} and {other}", f"{one} or {other}", f"not {one}", f"({one} or {other})"])

    text, values = any_condition(5), {name: chance.randint(0, 1) for name in "abc"}
    assert holds(text, values) == eval(text, {}, values)  # noqa: S307 - our own text
