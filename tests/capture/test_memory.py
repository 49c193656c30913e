import datetime as dt
import decimal
import hashlib
import struct
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptkit.capture import memory


def digest(value: object) -> str:
    return memory.digest(value)[0]


def test_the_encoding_is_what_the_module_says() -> None:
    def u(number: int) -> bytes:
        return struct.pack("<Q", number)

    def s(text: str) -> bytes:
        return u(len(text.encode())) + text.encode()

    def sha256(data: bytes) -> str:
        return f"sha256:{hashlib.sha256(data).hexdigest()}"

    assert digest(None) == sha256(s("none"))
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


def test_a_masked_column_is_what_the_module_says() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    index = struct.pack("<Q", 5) + b"int64"
    encoder = memory._Encoder()
    encoder._pandas_column(pandas.Series([1, None, 3], dtype="Int64"))
    expected = (
        index.replace(b"int64", b"Int64") + struct.pack("<Q", 3) + struct.pack("<Q", 6) + b"masked" + b"\0\1\0"
        + struct.pack("<Q", 3) + b"<i8" + struct.pack("<2Q", 1, 2) + struct.pack("<2q", 1, 3)
    )  # fmt: skip
    assert encoder.digest == f"sha256:{hashlib.sha256(expected).hexdigest()}"


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


def test_every_byte_of_an_array_counts() -> None:
    base = np.arange(12, dtype=np.float32)
    changed = base.copy()
    changed[-1] = np.nextafter(np.float32(11), np.float32(12))
    distinct(base, changed, base.reshape(3, 4), base.reshape(4, 3), base.astype(np.float64), base.view(np.int32))
    distinct(base, base.astype(">f4"), base[:-1], np.array(["a"]), np.array([b"a"]), np.array(["a"], object))
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


def test_large_arrays_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.random.default_rng(0).random((7, 50, 11))
    whole = digest(array)
    for block in (1, 88, 500, 5000):
        monkeypatch.setattr(memory, "_BLOCK", block)
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
    columns = [pandas.Series(["a", None], dtype=pandas.StringDtype(storage)) for storage in ("python", "pyarrow")]
    assert digest(columns[0]) == digest(columns[1])


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
        }
    )
    chunked = polars.concat([base[:1], base[1:]], rechunk=False)
    assert chunked.n_chunks() == 2
    assert digest(base) == digest(chunked) == digest(polars.concat([base[2:], base])[1:])
    distinct(
        base,
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
    }
    base = arrow.table(columns)
    chunked = arrow.concat_tables([base.slice(0, 1), base.slice(1)])
    assert chunked["text"].num_chunks == 2
    padded = arrow.concat_tables([base.slice(2), base, base.slice(0, 1)]).combine_chunks().slice(1, 3)
    assert digest(base) == digest(chunked) == digest(padded)
    assert digest(base["text"]) == digest(columns["text"])
    distinct(
        base,
        base.to_batches()[0],
        base.slice(0, 2),
        base.select(base.column_names[::-1]),
        base.rename_columns([*base.column_names[:-1], "other"]),
        base.set_column(1, "small", columns["small"].cast(arrow.int16())),
        base.set_column(1, "small", columns["small"].fill_null(0)),
        base.set_column(4, "text", columns["text"].cast(arrow.large_string())),
        *columns.values(),
    )
    assert digest(arrow.table({})).startswith("sha256:")


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
    for odd, words in ((torch.zeros(2, device="meta"), "on meta is not encoded"), (base.to_sparse(), "sparse")):
        with pytest.raises(memory.UnsupportedError, match=words):
            memory.digest(odd)


def test_sparse() -> None:
    sparse = pytest.importorskip("scipy.sparse", reason="scipy is not installed")
    base = sparse.csr_matrix(np.array([[0, 1, 2], [3, 0, 0.0]]))
    shuffled = sparse.csr_matrix((base.data[[1, 0, 2]], base.indices[[1, 0, 2]], base.indptr), base.shape)
    assert digest(base) == digest(shuffled)
    other = base.copy()
    other.data[0] = 7
    distinct(base, other, base.tocsc(), sparse.csr_array(base), base.astype(np.float32), base[:, :2], base.toarray())


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
