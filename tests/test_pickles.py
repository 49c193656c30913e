import bz2
import collections
import gzip
import lzma
import os
import pickle
import resource
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptkit import pickles
from ckptkit.errors import FormatError
from ckptkit.pickles import LISTED, RUNS_CODE
from ckptkit.weights import Header, read_header


def header(path: Path, data: bytes) -> Header:
    path.write_bytes(data)
    return read_header(path)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch hacked",)


def evil(protocol: int = 4) -> bytes:
    return pickle.dumps({"weights": [1.0], "x": Evil()}, protocol)


WAYS: dict[str, Callable[[bytes], bytes]] = {
    ".pkl": bytes,
    ".joblib": zlib.compress,
    ".pickle": gzip.compress,
    ".pkl.gz": gzip.compress,
    ".pkl.bz2": bz2.compress,
    ".joblib.xz": lzma.compress,
    ".bin": bytes,
    ".npy": bytes,
    ".dat": zlib.compress,
}


@pytest.mark.parametrize("ending", WAYS)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_are_read_and_never_run(tmp_path: Path, ending: str, protocol: int) -> None:
    found = header(tmp_path / f"model{ending}", WAYS[ending](evil(protocol)))
    assert found.format == ("joblib" if ".joblib" in ending else "pickle")
    assert found.dangers[0] == RUNS_CODE
    assert "posix.system" in found.dangers[1]
    assert found.parameters is None
    assert not Path("hacked").exists()


@pytest.mark.parametrize("protocol", [0, 1])
def test_old_pickles_by_their_name(tmp_path: Path, protocol: int) -> None:
    assert "posix.system" in header(tmp_path / "model.pkl", evil(protocol)).dangers[1]


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_in_a_pickle_import_nothing_more(tmp_path: Path, protocol: int) -> None:
    value = collections.OrderedDict(w=np.zeros((3, 4)), n=np.float32(1), s={1, 2}, t=np.arange(3)[::2])
    assert header(tmp_path / "model.pkl", pickle.dumps(value, protocol)).dangers == (RUNS_CODE,)


SPELLINGS = {
    "inst": b"(S'true'\nios\nsystem\n.",
    "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
    "through the memo": b"\x80\x04\x8c\x06system\x940\x8c\x02osh\x00\x93.",
    "hidden by dup": b"\x80\x04\x8c\x02os\x8c\x06system\x8c\x01x20\x30\x93.",
    "hidden by decoys": b"\x80\x04\x8c\x02os\x8c\x06system\x8c\x05numpy\x8c\x05dtype00\x93.",
    "extension": b"\x80\x02\x82\x01.",
    "long opcode": b"\x80\x02cos\nsystem\n(X\x04\x00\x00\x00truetR.",
    "before it breaks off": None,
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_spelling_hides_an_import(tmp_path: Path, spelling: str) -> None:
    data = SPELLINGS[spelling]
    if data is None:
        with pytest.raises(FormatError, match="broken pickle"):
            header(tmp_path / "model.pkl", b"\x80\x02cos\nsystem\n")
        return
    dangers = header(tmp_path / "model.pkl", data).dangers
    assert any(name in dangers[1] for name in ("os.system", "a hidden name", "the extension 1")), dangers


@pytest.mark.parametrize("compress", [0, 3, ("xz", 3), ("bz2", 3), ("gzip", 3), ("lzma", 3)])
def test_joblib(tmp_path: Path, compress: Any) -> None:
    joblib = pytest.importorskip("joblib", reason="joblib is not installed")
    joblib.dump({"a": np.arange(100.0), "x": Evil()}, tmp_path / "model.pkl", compress=compress)
    if compress == ("lzma", 3):
        with pytest.raises(FormatError):  # the headerless format of old xz, that no magic tells
            read_header(tmp_path / "model.pkl")
        return
    found = read_header(tmp_path / "model.pkl")
    assert (found.format, found.dangers[0]) == ("joblib", RUNS_CODE)
    assert found.dangers[-1] == "could not be read to its end, so that it may import more"


def test_lz4_is_told_by_magic_and_name(tmp_path: Path) -> None:
    found = header(tmp_path / "model.joblib", b"\x04\x22\x4d\x18rest")
    assert found.dangers == (RUNS_CODE, "is compressed with lz4, so that what it imports is unknown")
    assert header(tmp_path / "text.lz4", b"\x04\x22\x4d\x18rest").format == "other"


@pytest.mark.torch
def test_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    weights = torch.zeros(3, 4)
    state = {"w": weights, "tied": weights, "b": torch.zeros(5, dtype=torch.bfloat16), "n": torch.tensor(1)}
    torch.save(state, tmp_path / "model.pt")
    found = read_header(tmp_path / "model.pt")
    assert found == Header(format="torch", dtypes={"BF16": 5, "F32": 12, "I64": 1}, dangers=(LISTED,))
    torch.save({"w": torch.nn.Parameter(weights)}, tmp_path / "model.bin")
    assert read_header(tmp_path / "model.bin").dtypes == {"F32": 12}
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert read_header(tmp_path / "old.pt") == Header(format="torch", dangers=(RUNS_CODE,))
    torch.save({**state, "x": Evil()}, tmp_path / "evil.pt")
    assert "posix.system" in read_header(tmp_path / "evil.pt").dangers[1]


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["numpy", "a deque", "protocol 4", "cut", "two pickles", "twice", "no storage"])
def test_only_what_torch_lists_is_said_to_load_without_code(tmp_path: Path, kind: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    value = {"numpy": np.zeros(3), "a deque": collections.deque([1]), "no storage": None}.get(kind, torch.zeros(3, 4))
    torch.save({"x": value, "s": {1}}, tmp_path / "model.pt", pickle_protocol=4 if kind == "protocol 4" else 2)
    if kind in {"cut", "two pickles", "twice"}:
        (tmp_path / "model.pt").rename(tmp_path / "whole.pt")
        with zipfile.ZipFile(tmp_path / "whole.pt") as whole, zipfile.ZipFile(tmp_path / "model.pt", "w") as other:
            for name in whole.namelist():
                other.writestr(name, whole.read(name)[: 5 if kind == "cut" and "data/0" in name else None])
            if kind == "two pickles":
                other.writestr("whole/constants.pkl", evil())
            if kind == "twice":
                with pytest.warns(UserWarning, match="Duplicate name"):
                    other.writestr(next(name for name in whole.namelist() if name.endswith("data.pkl")), evil(2))
    assert (read_header(tmp_path / "model.pt").dangers == (LISTED,)) == (kind == "no storage")


@pytest.mark.torch
def test_what_is_said_to_load_without_code_is_on_the_list_of_torch() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    import torch._weights_only_unpickler as unpickler

    for name in (
        "os.system",
        "torch.load",
        "torch.hub.load",
        "builtins.eval",
        "collections.deque",
        "torch.FloatTensor",
    ):
        assert not pickles._LISTED.fullmatch(name)
    listed = {name for name in unpickler._get_allowed_globals() if pickles._LISTED.fullmatch(name)}
    assert {"torch.float32", "torch.Size", "torch.FloatStorage", "collections.OrderedDict"} <= listed
    assert len(listed) > 60


@pytest.mark.torch
def test_torch_with_a_storage_that_is_not_what_it_says(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    torch.save({"w": torch.zeros(3, 4)}, tmp_path / "model.pt")
    with zipfile.ZipFile(tmp_path / "model.pt") as whole, zipfile.ZipFile(tmp_path / "cut.pt", "w") as cut:
        for name in whole.namelist():
            cut.writestr(name, whole.read(name)[:40] if name.endswith("data/0") else whole.read(name))
    assert read_header(tmp_path / "cut.pt").parameters is None


def bomb(path: Path, kind: str) -> None:
    match kind:
        case "compressed":
            path.write_bytes(gzip.compress(b"\x80\x04" + b"N0" * (200 << 20 >> 1) + b"."))
        case "long":
            path.write_bytes(b"\x80\x04" + b"N0" * 20_000_000 + b"N.")
        case "long argument":
            with path.open("wb") as file:
                file.write(b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40))
                file.truncate((1 << 40) + 11)
                file.seek((1 << 40) + 11)
                file.write(b"cos\nsystem\n.")
        case "long line":
            with path.open("wb") as file:
                file.write(b"\x80\x04c")
                file.truncate(1 << 40)
        case "zip of a million names":
            with path.open("wb") as file:
                entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", *[0] * 6, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
                file.write(b"PK\3\4" + bytes(26))
                file.write(entry * 1_000_000)
                file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, len(entry) * 1_000_000, 30, 0))
        case _:
            raise AssertionError(kind)


@pytest.mark.parametrize("kind", ["compressed", "long", "long argument", "long line", "zip of a million names"])
def test_no_file_takes_long_to_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.pkl"
    bomb(path, kind)
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if kind == "zip of a million names":
        with pytest.raises(FormatError):
            read_header(path)
    else:
        expected = "os.system" if kind == "long argument" else "could not be read to its end"
        assert expected in read_header(path).dangers[1]
    assert time.monotonic() - begun < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kB
