import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptkit import documents, index_file
from ckptkit.errors import FormatError
from ckptkit.index_file import SCHEMA, Rows

LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(LEAVES | st.text(), lambda each: st.lists(each) | st.dictionaries(st.text(), each), max_leaves=8)
ROWS = st.dictionaries(st.from_regex("v0[0-9]{3}", fullmatch=True), st.dictionaries(st.text(), VALUES), max_size=4)
NAMES = st.text(min_size=1) | st.sampled_from(['a": {', 'a": b', "a\n}", "}", "wh\udcffales"])


@st.composite
def indexes(draw: st.DrawFn) -> dict[str, Any]:
    models: dict[str, Any] = draw(
        st.dictionaries(NAMES, st.fixed_dictionaries({"aliases": VALUES, "gone": ROWS, "versions": ROWS}))
    )
    rows = {name: part | {key: Rows(part[key]) for key in index_file.ROWS} for name, part in models.items()}
    return {"schema": SCHEMA, "models": rows}


@given(indexes())
def test_what_is_written_is_read_again(index: dict[str, Any]) -> None:
    data = index_file.dump(index)
    read = index_file.parse(data)
    assert read == index
    assert index_file.dump(read) == data
    assert [*read["models"]] == [*index["models"]]
    plain = {
        name: {**part, **{key: dict(part[key]) for key in index_file.ROWS}} for name, part in index["models"].items()
    }
    assert documents.load_json(data)["models"] == plain


@given(indexes(), st.data())
def test_one_more_row_is_what_a_new_table_would_be(index: dict[str, Any], data: st.DataObject) -> None:
    read = index_file.parse(index_file.dump(index))
    for name, part in read["models"].items():
        row = data.draw(st.dictionaries(st.text(), VALUES))
        version = data.draw(st.sampled_from(["v0001", "v0002", *part["versions"]]))
        assert part["versions"].plus(version, row) == {**index["models"][name]["versions"], version: row}
        assert Rows(dict(part["versions"])).plus(version, row) == part["versions"].plus(version, row)


def test_a_line_is_parsed_when_it_is_asked_for() -> None:
    rows = Rows({}, {"v0001": b'{"a": 1}', "v0002": b"no JSON"})
    assert rows["v0001"] == {"a": 1}
    assert [*rows] == ["v0001", "v0002"]
    assert "v0003" not in rows
    with pytest.raises(json.JSONDecodeError):
        rows["v0002"]
    with pytest.raises(KeyError):
        rows["v0003"]


@pytest.mark.parametrize("edit", [lambda data: data[:-1], lambda data: data.replace(b"}", b"} ", 1), lambda _: b""])
def test_what_was_edited_is_refused(edit: Any) -> None:
    data = index_file.dump({"schema": SCHEMA, "models": {"m": {"gone": Rows({}), "versions": Rows({"v0001": {}})}}})
    with pytest.raises(FormatError, match="not as ckptkit wrote it"):
        index_file.parse(edit(data))


def test_another_format_is_refused() -> None:
    with pytest.raises(FormatError, match="is not of the format"):
        index_file.parse(index_file.dump({"schema": "ckptkit/index/1", "models": {}}))
