import datetime as dt
import decimal
import hashlib
import struct
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptkit.data import memory
from ckptkit.data.memory import arrays, sparse


def digest(value: object) -> str:
    return memory.digest(value)[0]


def u(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *numbers)


def s(text: str) -> bytes:
    return u(len(text.encode())) + text.encode()


def column(
    kind: str, rows: int, *, missing: bytes = b"", lengths: bytes = b"", values: bytes = b"", **inner: bytes
) -> bytes:
    streams = b"".join(hashlib.sha256(stream).digest() for stream in (missing, lengths, values))
    return s(kind) + u(rows) + streams + u(len(inner)) + b"".join(s(name) + each for name, each in inner.items())


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_the_encoding_is_what_the_package_says() -> None:
    assert digest(None) == sha256(s("NoneType"))
    mixed = [True, 255, "é", b"\0"]
    assert digest(mixed) == sha256(
        s("list") + u(4) + s("bool") + b"\1" + s("int") + s("0xff") + s("str") + s("é") + s("bytes") + u(1) + b"\0"
    )
    array = np.arange(6, dtype="<i4").reshape(2, 3)
    assert digest({"x": array, "y": 1.5}) == sha256(
        s("dict") + u(2) + s("str") + s("x") + s("array") + s("<i4") + u(2) + u(2) + u(3) + array.tobytes()
        + s("str") + s("y") + s("float") + struct.pack("<d", 1.5)
    )  # fmt: skip
    assert digest(np.array([("a", 1)], [("n", "O"), ("v", "<i2")])) == sha256(
        s("array") + s("structure") + u(1) + u(1) + u(2)
        + s("n") + s("|O") + u(1) + u(1) + s("str") + s("a")
        + s("v") + s("<i2") + u(1) + u(1) + b"\1\0"
    )  # fmt: skip


def test_the_columns_of_pandas_are_what_the_package_says() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame(
        {
            "n": pandas.array([1, None, 3], dtype="Int64"),
            "t": pandas.array(["é", None, ""], dtype="string"),
            "c": pandas.Categorical(["y", None, "y"], categories=["x", "y"]),
        },
        columns=pandas.Index(["n", "t", "c"], dtype=object),
    )
    names = s("index") + s("NoneType") + column("|O", 3, values=b"".join(s("str") + s(name) for name in "ntc"))
    codes = struct.pack("<2q", 1, 1)
    categories = column("categories", 2, values=encoded(frame["c"].cat.categories))
    assert digest(frame) == sha256(
        s("dataframe") + s("index") + s("NoneType") + column("<i8", 3, values=struct.pack("<3q", 0, 1, 2)) + names
        + u(3)
        + column("Int64", 3, missing=u(1), values=struct.pack("<2q", 1, 3))
        + column("string", 3, missing=u(1), lengths=u(2, 0), values="é".encode())
        + column("category", 3, missing=u(1), values=codes, categories=categories)
    )  # fmt: skip


def encoded(index: Any) -> bytes:
    texts = column(str(index.dtype), 2, lengths=u(1, 1), values=b"xy")
    objects = column("|O", 2, values=b"".join(s("str") + s(name) for name in "xy"))
    return s("index") + s("NoneType") + (objects if index.dtype == object else texts)


def test_the_columns_of_arrow_are_what_the_package_says() -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    table = arrow.table(
        {
            "b": arrow.array([True, None, False]),
            "l": arrow.array([["a"], None, ["bc", None]]),
            "s": arrow.array([{"x": 1}, None, {"x": None}], arrow.struct([("x", arrow.int8())])),
            "d": arrow.array(["p", None, "p"]).dictionary_encode(),
        }
    )
    items = column("string", 3, missing=u(2), lengths=u(1, 2), values=b"abc")
    plain = column("string", 3, missing=u(1), lengths=u(1, 1), values=b"pp")
    assert digest(table) == sha256(
        s("pyarrow.Table") + u(4)
        + s("b") + column("bool", 3, missing=u(1), values=b"\1\0")
        + s("l") + column("list", 3, missing=u(1), lengths=u(1, 2), **{"": items})
        + s("s") + column("struct", 3, missing=u(1), x=column("int8", 3, missing=u(1, 2), values=b"\1"))
        + s("d") + column("dictionary int32", 3, **{"": plain})
    )  # fmt: skip


def test_a_sparse_matrix_is_what_the_package_says() -> None:
    sparse = pytest.importorskip("scipy.sparse", reason="scipy is not installed")
    matrix = sparse.csr_matrix(np.array([[0, 5, 0], [7, 0, 0]], "<i2"))
    places = {"0": column("<i8", 2, values=u(0, 1)), "1": column("<i8", 2, values=u(1, 0))}
    entries = column("<i2", 2, values=struct.pack("<2h", 5, 7), **places)
    assert digest(matrix) == sha256(s("sparse") + u(2, 2, 3) + entries)


def distinct(*values: object) -> None:
    digests = [digest(value) for value in values]
    for one, two in combinations(range(len(values)), 2):
        assert digests[one] != digests[two], (values[one], values[two])


def test_scalars_and_containers_never_collide() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    distinct(
        None,
        False,  # noqa: FBT003 - one value of many
        0,
        0.0,
        -0.0,
        0j,
        "",
        "0",
        b"",
        bytearray(),
        [],
        (),
        {},
        [[]],
        [0],
        [0, 0],
        ["ab"],
        ["a", "b"],
        {"a": 1},
        {"a": 1, "b": 2},
        {"b": 2, "a": 1},
        float("nan"),
        pandas.NA,
        pandas.NaT,
        np.float32(0),
        np.float64(0),
        np.array(0.0),
        np.array([0.0]),
        np.array([]),
        dt.date(2020, 1, 1),
        dt.datetime(2020, 1, 1),  # noqa: DTZ001 - without a zone, on purpose
        dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
        pandas.Timestamp("2020-01-01"),
        "2020-01-01",
        decimal.Decimal(0),
        decimal.Decimal("0.0"),
        -1,
        1 << 100,
    )


def test_a_time_zone_counts_by_its_offset() -> None:
    class Zone(dt.tzinfo):
        def utcoffset(self, _: dt.datetime | None) -> dt.timedelta:
            return dt.timedelta(hours=1)

        def dst(self, _: dt.datetime | None) -> None:
            return None

        def tzname(self, _: dt.datetime | None) -> None:
            return None

    one, two = (dt.datetime(2020, 1, 1, tzinfo=zone) for zone in (Zone(), Zone()))
    assert digest(one) == digest(two) != digest(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))


def test_every_byte_of_an_array_counts() -> None:
    base = np.arange(12, dtype=np.float32)
    changed = base.copy()
    changed[-1] = np.nextafter(np.float32(11), np.float32(12))
    distinct(base, changed, base.reshape(3, 4), base.reshape(4, 3), base.astype(np.float64), base.view(np.int32))
    distinct(base, base[:-1], np.array(["a"]), np.array([b"a"]), np.array(["a"], object))
    payloads = np.array([0x7FC00000, 0x7FC00001], np.uint32).view(np.float32)
    distinct(payloads[:1], payloads[1:])


def layouts(array: Any) -> dict[str, Any]:
    wide = np.zeros((*array.shape, 3), array.dtype)
    wide[..., 1] = array
    backwards = array[::-1].copy()[::-1]
    return {"F": np.asfortranarray(array), "strided": wide[..., 1], "backwards": backwards, "T": array.T.copy().T}


@pytest.mark.parametrize("dtype", ["f4", "i8", "bool", "c16", "M8[us]", "U3", "S2", "O", "f2", "V2"])
def test_the_layout_of_an_array_does_not_count(dtype: str) -> None:
    array = np.arange(24).reshape(4, 6).astype("i8").astype(dtype if dtype != "V2" else "i2")
    array = array.view("V2") if dtype == "V2" else array
    for name, other in layouts(array).items():
        assert digest(other) == digest(array), name


def test_byte_order_and_padding_do_not_count() -> None:
    for dtype in ("f4", "i8", "c16", "M8[us]", "U3"):
        array = np.arange(24).reshape(4, 6).astype("i8").astype(f"<{dtype}")
        assert digest(array) == digest(array.astype(f">{dtype}")) == digest(array.astype(f">{dtype}").T.copy().T)
    packed, padded = (np.zeros(3, np.dtype([("a", "i1"), ("b", "f8")], align=align)) for align in (False, True))
    padded.view("u1")[:] = 255
    for rows in (packed, padded):
        rows["a"], rows["b"] = [1, 2, 3], [4, 5, 6]
    assert digest(packed) == digest(padded) == digest(padded.view(np.recarray))
    packed["b"][2] = 7
    assert digest(packed) != digest(padded)


def test_texts_of_any_length_in_an_array() -> None:
    texts = np.array(["a", "", "lang" * 99], np.dtypes.StringDType())
    again = np.array(["-", "a", "-", "", "-", "lang" * 99], np.dtypes.StringDType())[1::2]
    assert digest(texts) == digest(again)
    distinct(texts, texts[::-1], texts.astype(object), texts.astype("U400"))


def test_large_arrays_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.random.default_rng(0).random((7, 50, 11))
    whole = digest(array)
    for block in (1, 88, 500, 5000):
        monkeypatch.setattr(arrays, "BLOCK", block)
        for name, other in layouts(array).items():
            assert digest(other) == whole, (name, block)


def test_a_large_array_is_not_copied() -> None:
    import tracemalloc

    array = np.zeros(50_000_000, np.uint8)[:]
    strided = np.zeros((50_000_000, 2), np.uint8)[:, 0]
    for each, limit in ((array, 1 << 20), (strided, 40 << 20)):
        tracemalloc.start()
        digest(each)
        assert tracemalloc.get_traced_memory()[1] < limit
        tracemalloc.stop()


def test_a_mapped_array_is_an_array(tmp_path: Path) -> None:
    array = np.arange(10.0)
    np.save(tmp_path / "x.npy", array)
    assert digest(np.load(tmp_path / "x.npy", mmap_mode="r")) == digest(array)


def frame(pandas: Any) -> Any:
    return pandas.DataFrame(
        {
            "number": [1.5, float("nan"), 3.0],
            "text": ["a", None, "c"],
            "label": pandas.Categorical(["x", "y", "x"]),
            "when": pandas.to_datetime(["2020-01-01", None, "2020-01-03"]).tz_localize("Europe/Berlin"),
            "count": pandas.array([1, None, 3], dtype="Int64"),
            "flag": pandas.array([True, None, False], dtype="boolean"),
            "mixed": [1, "1", None],
            "span": pandas.interval_range(0, 3),
            "period": pandas.period_range("2020", periods=3, freq="D"),
        }
    )


def test_every_value_of_a_data_frame_counts() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    base = frame(pandas)
    changed = []
    for column, value in {
        "number": 1.25,
        "text": "b",
        "label": "y",
        "when": base["when"][2],
        "count": 2,
        "flag": False,
        "mixed": 1.0,
        "span": base["span"][1],
        "period": base["period"][1],
    }.items():
        other = base.copy()
        other.loc[0, column] = value
        assert other.dtypes.equals(base.dtypes)
        changed.append(other)
    distinct(
        base,
        *changed,
        base[base.columns[::-1]],
        base.rename(columns={"text": "words"}),
        base.iloc[::-1],
        base.iloc[:2],
        base.reset_index(),
        base.set_index(["text", "label"]),
        base.rename_axis("row"),
        base.assign(number=base["number"].astype("float32")),
        base.assign(count=base["count"].astype("Int32")),
        base.assign(label=base["label"].cat.add_categories("z")),
        base["number"],
        base["number"].rename("other"),
        base.index,
        base.columns,
    )


def test_the_layout_of_a_data_frame_does_not_count() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    base = frame(pandas)
    again = pandas.concat([base.iloc[:1], base.iloc[1:]])
    assert again.dtypes.equals(base.dtypes)
    assert digest(base) == digest(again) == digest(base.copy(deep=True)) == digest(base.iloc[::-1].iloc[::-1])
    numbers = pandas.DataFrame(np.arange(12.0).reshape(4, 3), columns=list("abc"))
    assert digest(numbers) == digest(pandas.DataFrame({name: numbers[name].to_list() for name in "abc"}))
    assert digest(numbers[["a", "c"]]) == digest(numbers.drop(columns="b").copy())


def test_text_columns_of_pandas_whatever_stores_them() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    texts = ["a", None, "é" * 20, ""]
    columns = [pandas.Series(texts, dtype=pandas.StringDtype(storage)) for storage in ("python", "pyarrow")]
    assert digest(columns[0]) == digest(columns[1]) == digest(pandas.concat([columns[1][:1], columns[1][1:]]))
    distinct(columns[0], columns[0].fillna(""), columns[0][::-1], pandas.Series(texts, dtype=object))
    distinct(
        columns[0], columns[0].astype("string[pyarrow]").astype(pandas.ArrowDtype(columns[1].array._pa_array.type))
    )


def test_arrow_columns_of_pandas() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    base = pandas.DataFrame({"n": [1, None, 3], "t": ["a", None, "c"]}).astype({"n": "int64[pyarrow]"})
    assert digest(base) == digest(pandas.concat([base[:1], base[1:]])) == digest(base[::-1][::-1])
    other = base.copy()
    other.loc[2, "n"] = 4
    distinct(base, other, *(base.astype({"n": kind}) for kind in ("int32[pyarrow]", "float64", "Int64")))


def test_what_is_content_in_pandas_and_what_is_not() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    base = pandas.DataFrame({"a": [0.0, 0.0, 1.5], "b": pandas.Categorical(["x", "y", "x"])})
    noted = base.copy()
    noted.attrs["source"] = "somewhere"
    assert digest(base) == digest(noted) == digest(base.set_index(pandas.Index([0, 1, 2])))
    categories = [base["b"].cat.set_categories(each) for each in (["x", "y"], ["y", "x"], ["x", "y", "z"])]
    distinct(*categories, categories[0].cat.as_ordered(), base["b"].astype(object))
    with pytest.raises(memory.UnsupportedError, match="columns of Sparse"):
        memory.digest(base["a"].astype(pandas.SparseDtype(float, 0.0)))
    numbers = pandas.Series([1, None], dtype="Int64")
    hidden = pandas.Series(pandas.arrays.IntegerArray(np.array([1, 99]), np.array([False, True])))
    assert digest(numbers) == digest(hidden)


def test_indexes_of_pandas() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    days = pandas.date_range("2020", periods=3)
    pairs = pandas.MultiIndex.from_product([["x", "y"], [1, 2]], names=["letter", "number"])
    assert digest(days) == digest(pandas.DatetimeIndex(days.to_list()).astype(days.dtype))
    assert digest(pandas.RangeIndex(3)) == digest(pandas.Index([0, 1, 2]))
    assert digest(pairs) == digest(pandas.MultiIndex.from_tuples(pairs.to_list(), names=pairs.names))
    distinct(
        days,
        days[::-1],
        days.tz_localize("UTC"),
        days.tz_localize("Europe/Berlin"),
        days.to_period("D"),
        days - days[0],
        pandas.IntervalIndex.from_breaks(days),
        pandas.IntervalIndex.from_breaks(days.tz_localize("UTC")),
        pandas.CategoricalIndex(days),
        pairs,
        pairs.swaplevel(),
        pairs.rename(["letter", "other"]),
        pairs[::-1],
    )


def test_polars() -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    base = polars.DataFrame(
        {
            "number": [1.5, None, float("nan")],
            "count": [1, None, 3],
            "flag": [True, None, False],
            "text": ["a", None, "c"],
            "when": [dt.date(2020, 1, 1), None, dt.date(2020, 1, 3)],
            "label": polars.Series(["x", "y", None], dtype=polars.Categorical),
            "kind": polars.Series(["x", "y", None], dtype=polars.Enum(["x", "y"])),
            "many": [[1], [], None],
            "price": polars.Series([decimal.Decimal("1.50"), None, None]),
            "pair": polars.Series([[1, 2], None, [3, None]], dtype=polars.Array(polars.Int8, 2)),
            "deep": [[{"x": ["a"]}, None], [], None],
            "raw": [b"a", None, b""],
            "large": polars.Series([1 << 100, None, -1], dtype=polars.Int128),
            "nothing": [None, None, None],
        }
    )
    chunked = polars.concat([base[:1], base[1:]], rechunk=False)
    assert chunked.n_chunks() == 2
    assert digest(base) == digest(chunked) == digest(base[::-1][::-1])
    distinct(
        base,
        base.with_columns(polars.Series("deep", [[{"x": ["b"]}, None], [], None])),
        base.with_columns(polars.Series("deep", [[{"x": ["a"]}, None], None, [], None][:3])),
        base.with_columns(polars.Series("kind", ["x", "y", None], dtype=polars.Enum(["y", "x"]))),
        base.with_columns(polars.col("pair").arr.to_list()),
        base.with_columns(polars.col("raw").fill_null(b"")),
        base.with_columns(polars.col("text").cast(polars.Binary)),
        base[::-1],
        base[:2],
        base.select(reversed(base.columns)),
        base.with_columns(polars.col("count").cast(polars.Int32)),
        base.with_columns(polars.col("count").fill_null(0)),
        base.with_columns(polars.col("number").fill_nan(None)),
        base.rename({"text": "words"}),
        base["text"],
        base["text"].rename("words"),
    )


def test_pyarrow() -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    columns = {
        "number": arrow.array([1.5, None, 3.0]),
        "small": arrow.array([1, None, 3], arrow.int8()),
        "half": arrow.array([np.float16(1), None, np.float16(3)], arrow.float16()),
        "flag": arrow.array([True, None, False]),
        "text": arrow.array(["a", None, "c"]),
        "view": arrow.array(["a", None, "c"], arrow.string_view()),
        "when": arrow.array([1, None, 3], arrow.timestamp("ns", "UTC")),
        "day": arrow.array([1, None, 3], arrow.date32()),
        "time": arrow.array([1, None, 3], arrow.time32("s")),
        "label": arrow.array(["x", None, "x"]).dictionary_encode(),
        "many": arrow.array([[1], None, []]),
        "nothing": arrow.nulls(3),
        "pairs": arrow.array([[1, 2], None, [3, None]], arrow.list_(arrow.int8(), 2)),
        "seen": arrow.array([["a"], None, []], arrow.list_view(arrow.string())),
        "map": arrow.array([[("a", 1)], None, [("b", None)]], arrow.map_(arrow.string(), arrow.int8())),
        "deep": arrow.array([{"x": [{"y": "a"}]}, None, {"x": None}]),
        "raw": arrow.array([b"a", None, b"\0"], arrow.binary_view()),
        "fixed": arrow.array([b"ab", None, b"cd"], arrow.binary(2)),
        "price": arrow.array([decimal.Decimal("1.50"), None, decimal.Decimal(2)], arrow.decimal128(5, 2)),
        "ordered": arrow.DictionaryArray.from_arrays(arrow.array([0, None, 1]), ["lo", "hi"], ordered=True),
        "uuid": arrow.ExtensionArray.from_storage(
            arrow.uuid(), arrow.array([b"a" * 16, None, b"b" * 16], arrow.binary(16))
        ),
    }
    base = arrow.table(columns)
    chunked = arrow.concat_tables([base.slice(0, 1), base.slice(1)])
    assert chunked["text"].num_chunks == 2
    assert digest(base) == digest(chunked)
    assert digest(base["text"]) == digest(columns["text"])
    assert (
        digest(base)
        == digest(base.combine_chunks().to_batches()[0])
        == digest(base.replace_schema_metadata({"a": "b"}))
    )
    distinct(
        base,
        base.slice(0, 2),
        base.select(base.column_names[::-1]),
        base.rename_columns([*base.column_names[:-1], "other"]),
        base.set_column(1, "small", columns["small"].cast(arrow.int16())),
        base.set_column(1, "small", columns["small"].fill_null(0)),
        base.set_column(4, "text", columns["text"].cast(arrow.large_string())),
        *columns.values(),
    )
    assert digest(arrow.table({})).startswith("sha256:")


def test_what_arrow_keeps_out_of_sight_does_not_count() -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    validity = arrow.py_buffer(b"\x05")
    numbers = arrow.Array.from_buffers(arrow.int8(), 3, [validity, arrow.py_buffer(b"\1\x63\3")])
    assert digest(numbers) == digest(arrow.array([1, None, 3], arrow.int8()))
    assert digest(
        arrow.Array.from_buffers(arrow.int8(), 3, [arrow.py_buffer(b"\7"), arrow.py_buffer(b"\1\2\3")])
    ) == digest(arrow.array([1, 2, 3], arrow.int8()))
    offsets = arrow.py_buffer(struct.pack("<4i", 0, 1, 2, 3))
    texts = arrow.Array.from_buffers(arrow.string(), 3, [validity, offsets, arrow.py_buffer(b"a?c")])
    assert digest(texts) == digest(arrow.array(["a", None, "c"]))
    lists = arrow.Array.from_buffers(arrow.list_(arrow.int8()), 3, [validity, offsets], children=[numbers.fill_null(9)])
    assert digest(lists) == digest(arrow.array([[1], None, [3]], arrow.list_(arrow.int8())))
    structs = arrow.StructArray.from_arrays([arrow.array([1, 2])], ["x"], mask=arrow.array([False, True]))
    assert digest(structs) == digest(arrow.array([{"x": 1}, None]))
    payloads = [np.array([bits], np.uint32).view(np.float32) for bits in (0x7FC00000, 0x7FC00001)]
    distinct(*(arrow.array(each) for each in payloads))
    one, two = (
        arrow.DictionaryArray.from_arrays(codes, names) for codes, names in (([0, 1], ["a", "b"]), ([1, 0], ["b", "a"]))
    )
    assert digest(one) == digest(two) != digest(one.cast(arrow.string()))
    first, second = (arrow.DictionaryArray.from_arrays([0], [each], ordered=True) for each in "ab")
    assert digest(arrow.chunked_array([first, first])).startswith("sha256:")
    with pytest.raises(memory.UnsupportedError, match="unify the dictionaries"):
        digest(arrow.chunked_array([first, second]))
    union = arrow.UnionArray.from_sparse(arrow.array([0], arrow.int8()), [arrow.array([1])])
    for rare in (union, arrow.compute.run_end_encode(arrow.array([1, 1]))):
        with pytest.raises(memory.UnsupportedError, match=r"columns of .* are not hashed"):
            digest(rare)


def test_a_long_value_that_stands_for_many_rows_is_spelled_out_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    codes = arrow.array(np.zeros(3000, np.int32))
    long = arrow.DictionaryArray.from_arrays(codes, arrow.array(["x" * 100_000]))
    before, content, held = arrow.total_allocated_bytes(), memory.encoder.Encoder.content, list[int]()

    def watched(encoder: Any, data: Any) -> None:
        held.append(arrow.total_allocated_bytes() - before)
        content(encoder, data)

    monkeypatch.setattr(memory.encoder.Encoder, "content", watched)
    digest(long)
    assert 0 < max(held) < 100 << 20


def test_a_slice_of_maps_with_entries_out_of_sight() -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    kind = arrow.map_(arrow.string(), arrow.struct([("n", arrow.null()), ("i", arrow.int8())]))
    rows = [[(name, {"n": None, "i": at})] for at, name in enumerate("abcd")]
    hidden = arrow.StructArray.from_arrays([arrow.array(rows, kind)], ["x"], mask=arrow.array([False, True] * 2))
    for start in range(4):
        part = hidden.slice(start)
        assert digest(part) == digest(arrow.array(part.to_pylist(), hidden.type)), start


def arrow_values() -> st.SearchStrategy[tuple[Any, list[Any]]]:
    """Types of Arrow, each with rows of it."""
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    leaves: list[tuple[Any, st.SearchStrategy[Any]]] = [
        (arrow.int16(), st.integers(-3, 3)),
        (arrow.bool_(), st.booleans()),
        (arrow.string(), st.text("aé", max_size=3)),
        (arrow.large_binary(), st.binary(max_size=3)),
        (arrow.dictionary(arrow.int8(), arrow.string()), st.sampled_from("xyz")),
    ]

    def nested(kind: Any, values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]]:
        optional = st.none() | values
        return st.sampled_from(
            [
                (arrow.list_(kind), st.lists(optional, max_size=3)),
                (arrow.large_list(kind), st.lists(optional, max_size=3)),
                (arrow.list_(kind, 2), st.lists(optional, min_size=2, max_size=2)),
                (
                    arrow.struct([("x", kind), ("y", arrow.int16())]),
                    st.fixed_dictionaries({"x": optional, "y": st.none()}),
                ),
                (arrow.map_(arrow.string(), kind), st.lists(st.tuples(st.sampled_from("kl"), optional), max_size=2)),
            ]
        )

    plain = st.sampled_from(leaves)
    deep = plain.flatmap(lambda each: nested(*each))
    kinds = plain | deep | deep.flatmap(lambda each: nested(*each))
    return kinds.flatmap(lambda each: st.tuples(st.just(each[0]), st.lists(st.none() | each[1], max_size=20)))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_the_same_rows_of_arrow_however_they_are_cut(data: st.DataObject) -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    kind, rows = data.draw(arrow_values())
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    parts = [rows[start:end] for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    around = data.draw(st.lists(st.sampled_from(rows), max_size=3)) if rows else []
    sliced = [arrow.array(around + part + around, kind).slice(len(around), len(part)) for part in parts]
    whole = digest(arrow.array(rows, kind))
    assert whole == digest(arrow.chunked_array(sliced, kind))
    other = data.draw(st.permutations(rows) | st.just(rows[:-1]) | st.just([*rows, None]))
    assert (digest(arrow.array(other, kind)) == whole) == (other == rows)


@settings(deadline=None)
@given(st.lists(st.none() | st.text(max_size=5), max_size=20), st.integers(0, 20))
def test_texts_however_they_are_kept(texts: list[str | None], cut: int) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    polars = pytest.importorskip("polars", reason="polars is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    one, two = (pandas.Series(texts, dtype=pandas.StringDtype(storage)) for storage in ("python", "pyarrow"))
    assert digest(one) == digest(two) == digest(pandas.concat([two[:cut], two[cut:]]))
    series = polars.Series(texts, dtype=polars.String)
    assert digest(series) == digest(polars.concat([series[:cut], series[cut:]], rechunk=False))


@pytest.mark.torch
def test_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    base = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    assert digest(base) == digest(base.T.contiguous().T) == digest(base.clone().requires_grad_())
    assert digest(base) == digest(torch.nn.Parameter(base)) == digest(torch.cat([base, base], 1)[:, :4])
    values = [base.to(dtype) for dtype in (torch.float64, torch.bfloat16, torch.float16, torch.int8, torch.bool)]
    distinct(base, base.reshape(4, 3), base + 1, base.numpy(), torch.tensor(0), torch.zeros(0), *values)
    lazy = torch.tensor([1 + 2j]).conj()
    assert digest(lazy) == digest(lazy.resolve_conj())
    negative = torch.complex(base, -base).conj().imag
    assert digest(negative) == digest(base)
    meta, inside = torch.zeros(2, device="meta"), torch.zeros(2).as_subclass(type("Image", (torch.Tensor,), {}))
    rare = ((meta, "on meta, are not hashed"), (inside, "Image are not hashed"), (base.to_sparse(), "torch.sparse_coo"))
    for odd, words in rare:
        with pytest.raises(memory.UnsupportedError, match=words):
            memory.digest(odd)


@pytest.mark.torch
def test_a_dataset_of_tensors() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tensors = torch.arange(6).reshape(3, 2), torch.arange(3)
    base = torch.utils.data.TensorDataset(*tensors)
    assert digest(base) == digest(torch.utils.data.TensorDataset(*(each.clone() for each in tensors)))
    distinct(base, tensors, torch.utils.data.TensorDataset(tensors[0], tensors[1] + 1))


def test_sparse() -> None:
    scipy = pytest.importorskip("scipy.sparse", reason="scipy is not installed")
    base = scipy.csr_matrix(np.array([[0, 1, 2], [3, 0, 0.0]]))
    shuffled = scipy.csr_matrix((base.data[[1, 0, 2]], base.indices[[1, 0, 2]], base.indptr), base.shape)
    assert digest(base) == digest(shuffled) == digest(scipy.csr_array(base))
    other = base.copy()
    other.data[0] = 7
    distinct(base, other, base.T, base.astype(np.float32), base[:, :2], base.toarray(), scipy.csr_matrix((2, 3)))
    distinct(scipy.coo_array([0.0]), scipy.coo_array(([-0.0], ([0],)), shape=(1,)), scipy.coo_array([0.0, 0.0]))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 4), st.integers(-2, 2)), max_size=30), st.integers(1, 200))
def test_a_sparse_matrix_in_any_format(entries: list[tuple[int, int, int]], block: int) -> None:
    scipy = pytest.importorskip("scipy.sparse", reason="scipy is not installed")
    rows, columns, values = zip(*entries, strict=True) if entries else ((), (), ())
    base = scipy.coo_matrix((np.array(values, "i2"), (rows, columns)), (9, 5))
    whole = digest(scipy.csr_matrix(base.toarray()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse, "BLOCK", block)
        for kind in ("bsr", "coo", "csc", "csr", "dia", "dok", "lil"):
            assert digest(base.asformat(kind)) == whole, kind


def test_bunch_of_sklearn() -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    digits = datasets.load_digits()
    first = digest(digits)
    assert first == digest(datasets.load_digits())
    assert first != digest(dict(digits))
    digits.target[-1] += 1
    assert first != digest(digits)


def test_many_small_values_are_hashed_as_they_come() -> None:
    import tracemalloc

    numbers = [1] * 500_000
    tracemalloc.start()
    digest(numbers)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def called(name: str) -> Any:
    """An object of a class that calls itself something, and ends the process when it is touched."""

    def touched(*_: object) -> Any:
        raise SystemExit(name)

    kind = type("Liar", (), dict.fromkeys(["__getattr__", "__len__", "__iter__", "__index__", "__array__"], touched))
    kind.__module__, _, kind.__qualname__ = name.rpartition(".")
    return kind()


def test_what_only_calls_itself_data_is_not_touched() -> None:
    names = ["builtins.list", "builtins.int", "numpy.ndarray", "numpy.generic", "pandas.DataFrame", "torch.Tensor"]
    for name in names:
        with pytest.raises(memory.UnsupportedError, match="are not hashed"):
            memory.digest(called(name))


def test_classes_that_have_no_name() -> None:
    def touched(_: type) -> str:
        raise SystemExit

    odd = type("Meta", (type,), {"__module__": property(touched)})
    number = type("Odd", (), {"__module__": 5})
    for each in (odd("Odd", (), {}), number):
        assert memory.type_name(each()).endswith("Odd")
        with pytest.raises(memory.UnsupportedError, match="Odd are not hashed"):
            memory.digest(each())


def test_what_holds_itself_or_cannot_be_read_has_no_digest() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(memory.UnsupportedError, match="holds itself"):
        memory.digest(circle)
    nowhere = type("Nowhere", (dt.tzinfo,), {"utcoffset": lambda _zone, _time: 1 / 0})()
    with pytest.raises(memory.UnsupportedError, match="could not be read: ZeroDivisionError"):
        memory.digest(dt.datetime(2020, 1, 1, tzinfo=nowhere))
