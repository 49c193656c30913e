import collections
import gzip
import io
import json
import os
import pickle
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptkit.errors import FormatError
from ckptkit.weights import Header, read_header

PICKLE = pickle.dumps({"weights": [1.0], "x": os.system})


def header(path: Path, data: bytes) -> Header:
    path.write_bytes(data)
    return read_header(path)


def safetensors(text: object, data: bytes = b"", *, length: int | None = None) -> bytes:
    raw = text if isinstance(text, bytes) else json.dumps(text).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def tensor(dtype: object, shape: object, begin: object, end: object) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


F32 = tensor("F32", [2], 0, 8)

BROKEN = {
    "empty file": (b"", "too few"),
    "seven bytes": (b"\2\0\0\0\0\0\0", "too few"),
    "header longer than the file": (safetensors({}, length=3), "a header of 3 bytes in a file of 10"),
    "header of more than 100 MB": (safetensors({}, length=100_000_001), "a header of 100,000,001 bytes"),
    "header of 2^64 - 1 bytes": (safetensors({}, length=(1 << 64) - 1), "a header of"),
    "a leading space": (safetensors(b" {}"), "does not begin with '{'"),
    "a list": (safetensors(b"[]"), "does not begin with '{'"),
    "not JSON": (safetensors(b"{nonsense}"), "its header is not JSON"),
    "not UTF-8": (safetensors(b'{"\xff":1}'), "not UTF-8"),
    "deep JSON": (safetensors(b'{"a":' * 100_000), "nested too deeply"),
    "a key twice": (safetensors(b'{"a":{},"a":{}}'), "stands twice"),
    "metadata of numbers": (safetensors({"__metadata__": {"a": 1}}), "__metadata__"),
    "metadata that is a list": (safetensors({"__metadata__": []}), "__metadata__"),
    "an entry that is no object": (safetensors({"a": 1}), "not an object"),
    "unknown dtype": (safetensors({"a": tensor("F31", [2], 0, 8)}, bytes(8)), "unknown dtype 'F31'"),
    "dtype of another type": (safetensors({"a": tensor([], [2], 0, 8)}, bytes(8)), "unknown dtype"),
    "negative dimension": (safetensors({"a": tensor("F32", [-2], 0, 8)}, bytes(8)), "lists of sizes"),
    "true as a dimension": (safetensors({"a": tensor("U8", [True], 0, 1)}, bytes(1)), "lists of sizes"),
    "dimension that overflows": (safetensors({"a": tensor("F32", [1 << 64, 0], 0, 0)}), "lists of sizes"),
    "shape that overflows": (safetensors({"a": tensor("F32", [1 << 40, 1 << 40, 0], 0, 0)}), "overflows"),
    "no shape": (safetensors({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)), "lists of sizes"),
    "three offsets": (safetensors({"a": F32 | {"data_offsets": [0, 4, 8]}}, bytes(8)), "lists of sizes"),
    "shape and bytes differ": (safetensors({"a": tensor("F32", [3], 0, 8)}, bytes(8)), "3 elements of F32, but 8"),
    "end before begin": (safetensors({"a": tensor("F32", [2], 8, 0)}, bytes(8)), "but -8 bytes"),
    "half a byte": (safetensors({"a": tensor("F4", [3], 0, 1)}, bytes(1)), "3 elements of F4"),
    "a hole": (safetensors({"a": F32, "b": tensor("F32", [1], 12, 16)}, bytes(16)), "'b' begin at 12, not at 8"),
    "a hole at the start": (safetensors({"a": tensor("F32", [2], 4, 12)}, bytes(12)), "begin at 4, not at 0"),
    "overlap": (safetensors({"a": F32, "b": tensor("F32", [2], 4, 12)}, bytes(12)), "begin at 4, not at 8"),
    "bytes left over": (safetensors({"a": F32}, bytes(9)), "8 bytes of tensors are declared, 9 are there"),
    "bytes that are missing": (safetensors({"a": F32}, bytes(7)), "8 bytes of tensors are declared, 7 are there"),
    "a pickle": (pickle.dumps({}), "not safetensors"),
}
LENIENT = {"a leading space"}  # what the library takes although the format says otherwise


@pytest.mark.parametrize("case", BROKEN)
def test_broken_safetensors(tmp_path: Path, case: str) -> None:
    data, words = BROKEN[case]
    with pytest.raises(FormatError) as caught:
        header(tmp_path / "model.safetensors", data)
    assert words in caught.value.message
    library = pytest.importorskip("safetensors", reason="safetensors is not installed")
    if case not in LENIENT:
        with pytest.raises(Exception, match=r"."):
            library.deserialize(data)


SOUND = {
    "no tensor": safetensors({}),
    "metadata only": safetensors({"__metadata__": {"format": "pt"}}),
    "padded": safetensors(b"{}      "),
    "in any order": safetensors({"b": tensor("F16", [2], 8, 12), "a": F32}, bytes(12)),
    "scalar": safetensors({"a": tensor("F64", [], 0, 8)}, bytes(8)),
    "empty between": safetensors(
        {"a": F32, "e": tensor("I64", [0, 7], 8, 8), "b": tensor("BF16", [1], 8, 10)}, bytes(10)
    ),
    "four bits": safetensors({"a": tensor("F4", [4], 0, 2)}, bytes(2)),
}


@pytest.mark.parametrize("case", SOUND)
def test_sound_safetensors(tmp_path: Path, case: str) -> None:
    found = header(tmp_path / "model.safetensors", SOUND[case])
    library = pytest.importorskip("safetensors", reason="safetensors is not installed")
    counts: collections.Counter[str] = collections.Counter()
    for _, each in library.deserialize(SOUND[case]):
        counts[each["dtype"]] += int(np.prod(each["shape"], dtype=int))
    assert (found.format, found.parameters, found.dangers) == ("safetensors", counts.total(), ())
    assert {dtype: count for dtype, count in (found.dtypes or {}).items() if count} == {
        "F4" if dtype == "F4" else dtype: count for dtype, count in counts.items() if count
    }


def test_every_dtype_of_the_library_is_known(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors", reason="safetensors is not installed")
    named = "BOOL U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ I16 U16 F16 BF16 I32 U32 F32 C64 F64 I64 U64"
    for dtype in [*named.split(), "F4", "F6_E2M3", "F6_E3M2"]:
        for size in (3, 4, 8, 16, 32, 64):
            data = safetensors({"a": tensor(dtype, [8], 0, size)}, bytes(size))
            try:
                library.deserialize(data)
            except Exception:  # noqa: BLE001 - the library's own class of errors
                with pytest.raises(FormatError):
                    header(tmp_path / "m.safetensors", data)
            else:
                assert header(tmp_path / "m.safetensors", data).dtypes == {dtype: 8}


def test_safetensors_under_another_name(tmp_path: Path) -> None:
    data = safetensors({"a": F32}, bytes(8))
    assert header(tmp_path / "model.bin", data).format == "safetensors"
    with pytest.raises(FormatError):
        header(tmp_path / "model.bin", data + b"x")


def saved(write: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def test_arrays_of_numpy(tmp_path: Path) -> None:
    data = saved(lambda file: np.save(file, np.zeros((2, 3), np.float16, order="F")))
    assert header(tmp_path / "a.npy", data) == Header(format="npy", parameters=6, dtypes={"F16": 6})
    many = {"w": np.zeros((2, 3)), "b": np.zeros(4, np.int8), "m": np.zeros(2, bool), "z": np.zeros((), complex)}
    for save in (np.savez, np.savez_compressed):
        data = saved(lambda file, save=save: save(file, **many, names=np.array(["a", "b"])))  # type: ignore[misc]
        found = header(tmp_path / "a.npz", data)
        assert found == Header(format="npz", parameters=13, dtypes={"BOOL": 2, "C128": 1, "F64": 6, "I8": 4})
    assert header(tmp_path / "b.npz", saved(np.savez)).parameters == 0
    structured = saved(lambda file: np.save(file, np.zeros(2, [("a", "<f4"), ("b", "<i4")])))
    assert header(tmp_path / "s.npy", structured) == Header(format="npy")


@pytest.mark.parametrize("dtype", [object, [("a", "<f4"), ("b", object)]])
def test_object_arrays_hold_a_pickle(tmp_path: Path, dtype: Any) -> None:
    array = np.zeros(2, dtype)
    found = header(tmp_path / "a.npy", saved(lambda file: np.save(file, array)))
    assert (found.parameters, found.dangers) == (None, ("holds a pickle: loading it runs code",))
    found = header(tmp_path / "a.npz", saved(lambda file: np.savez(file, fine=np.zeros(2), bad=array)))
    assert (found.parameters, found.dangers) == (None, ("holds a pickle in 'bad': loading it runs code",))


def npy(text: bytes, data: bytes = b"", version: int = 1) -> bytes:
    width = "<H" if version == 1 else "<I"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack(width, len(text)) + text + data


DESCR = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}"


@pytest.mark.parametrize(
    "data",
    [
        npy(DESCR, bytes(7)),
        npy(DESCR, bytes(8), version=4),
        npy(DESCR)[:40],
        npy(b"[1]"),
        npy(b"{}"),
        npy(b"__import__('os').system('false')"),
        npy(DESCR.replace(b"(2,)", b"(-2,)")),
        npy(DESCR.replace(b"(2,)", b"2")),
        npy(DESCR.replace(b"<f4", b"nonsense")),
        npy(b"(" * 9_000),
        npy(b"9" * 60_000),
        npy(DESCR, version=2)[:8] + b"\xff\xff\xff\xff",
        npy(DESCR.replace(b"(2,)", b"(" + b"2," * 70_000 + b")"), version=2),
    ],
)
def test_broken_arrays(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(FormatError):
        header(tmp_path / "a.npy", data)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", data)
    with pytest.raises(FormatError):
        read_header(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "name", ["a.pkl", "a.pickle", "a.joblib", "a.pt", "a.npy", "a.npz", "a.h5", "a.gguf", "a.pkl.gz"]
)
@pytest.mark.parametrize("data", [b"", b"no such format", b"\x1f\x8bjunk", b"PK\x03\x04junk", b"\x80\x04\xff"])
def test_a_name_that_the_bytes_belie(tmp_path: Path, name: str, data: bytes) -> None:
    with pytest.raises(FormatError):
        header(tmp_path / name, data)


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("config.json", b"{}", "other"),
        ("vocab.txt", b"x^2 begins like zlib", "other"),
        ("merges.txt", b"", "other"),
        ("data.csv.gz", gzip.compress(b"a,b\n" * 1000), "other"),
        ("raw.bin", b"\x80\x04\xff\xff\xff\xff", "other"),
        ("model.onnx", b"\x08\x07\x12\x07pytorch", "onnx"),
        ("model.h5", b"\x89HDF\r\n\x1a\n" + bytes(99), "hdf5"),
        ("weights", bytes(512) + b"\x89HDF\r\n\x1a\n" + bytes(99), "hdf5"),
        ("model.gguf", b"GGUF" + struct.pack("<IQQ", 3, 1, 1), "gguf"),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git-lfs pointer"),
        ("model.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git-lfs pointer"),
    ],
)
def test_other_formats(tmp_path: Path, name: str, data: bytes, kind: str) -> None:
    assert header(tmp_path / name, data) == Header(format=kind)


def test_gguf_of_the_future(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="version of GGUF: 99"):
        header(tmp_path / "model.gguf", b"GGUF" + struct.pack("<IQQ", 99, 1, 1))


def test_zips_that_are_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("a.npy", "no array")
    assert read_header(tmp_path / "model.keras") == Header(format="other")


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(FormatError, match="not a regular file"):
        read_header(tmp_path / "model.safetensors")


@settings(deadline=None)
@given(
    st.sampled_from([".safetensors", ".npz", ".npy", ".pkl", ".pt", ".joblib", ".gguf", ".bin", ".h5"]),
    st.sampled_from(
        [
            *SOUND.values(),
            PICKLE,
            pickle.dumps(os.system, 0),
            zlib.compress(PICKLE),
            saved(lambda file: np.savez(file, a=np.zeros(3))),
        ]
    ),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=5),
    st.integers(0, 500),
)
def test_damage_raises_format_errors_only(
    tmp_path_factory: pytest.TempPathFactory, ending: str, data: bytes, changes: list[tuple[int, int]], length: int
) -> None:
    damaged = bytearray(data)
    for position, value in changes:
        damaged[position % len(damaged)] = value
    path = tmp_path_factory.getbasetemp() / f"damaged{ending}"
    path.write_bytes(damaged[: length or None])
    try:
        found = read_header(path)
    except FormatError as error:
        assert error.message  # noqa: PT017 - any refusal is right
    else:
        assert found.parameters is None or found.parameters >= 0


def test_importing_loads_nothing_heavy() -> None:
    import sys

    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent.parent)!r}); from ckptkit import weights\n"
        "print({'zipfile', 'pickletools', 'pickle', 'numpy', 'lzma'} & {*sys.modules})"
    )
    out = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"
