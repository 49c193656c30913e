import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from ckptkit import data, hashing
from ckptkit.errors import CkptkitError
from ckptkit.hash_cache import Cache
from ckptkit.manifest import Manifest
from ckptkit.record import Dataset


def observe(
    value: object,
    project: Path = Path("/nowhere"),
    *,
    observed: Literal["in the run", "at save"] = "in the run",
) -> tuple[data.Observation, dict[str, str]]:
    unknown: dict[str, str] = {}
    found = data.observe("train", value, data.Look(project=project, observed=observed, unknown=unknown))
    assert Dataset.from_dict(found.dataset.to_dict()) == found.dataset
    return found, unknown


def reason(value: object) -> str:
    found, unknown = observe(value)
    assert found.dataset.digest is None
    return unknown["data.train.digest"]


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "data" / "x.csv"
    path.parent.mkdir()
    path.write_bytes(b"a,b\n")
    found, unknown = observe(path, tmp_path)
    assert found.content is None
    assert found.dataset.to_dict() == {
        "name": "train",
        "path": "data/x.csv",
        "outside": False,
        "kind": "file",
        "digest": f"sha256:{hashlib.sha256(b'a,b' + bytes([10])).hexdigest()}",
        "files": 1,
        "bytes": 4,
        "manifest": None,
        "sizes": None,
        "source": None,
        "steps": [],
        "observed": "in the run",
        "changed_during_run": None,
    }
    assert unknown == {}


def test_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "1.bin").write_bytes(b"one")
    (folder / "0.bin").write_bytes(b"zero")
    found, unknown = observe(os.fspath(folder), tmp_path / "elsewhere")
    assert isinstance(found.content, Manifest)
    listed = b"".join(found.content.lines())
    assert listed == b"".join(hashing.tree(folder).lines())
    assert found.dataset.digest == f"sha256:{hashlib.sha256(listed).hexdigest()}"
    kept = found.dataset
    assert (kept.kind, kept.files, kept.bytes, kept.manifest) == ("directory", 2, 7, "data/train.sha256")
    assert (kept.path, kept.outside) == ("shards", True)
    assert unknown == {}


def test_a_link_is_recorded_as_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "x.csv").write_bytes(b"x")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "data").symlink_to("../far")
    monkeypatch.chdir(tmp_path / "project")
    for given in ("data/x.csv", "./data/../data/x.csv"):
        assert observe(given, tmp_path / "project")[0].dataset.path == "data/x.csv"
    assert observe("data", tmp_path / "project")[0].dataset.path == "data"


def test_home_is_written_as_a_tilde(private_home: Path, tmp_path: Path) -> None:
    (private_home / "x.csv").write_bytes(b"x")
    for given in ("~/x.csv", private_home / "x.csv", os.fsencode(private_home / "x.csv").decode()):
        kept = observe(given, tmp_path)[0].dataset
        assert (kept.path, kept.outside) == ("~/x.csv", False)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "the dataset train, .*x, is not there"),
        ("broken", "is a broken link"),
        ("fifo", "is a FIFO, socket or device"),
        ("empty", "holds no file"),
        ("below a file", "cannot be read: not a directory"),
    ],
)
def test_paths_that_cannot_be_used(tmp_path: Path, kind: str, words: str) -> None:
    path = tmp_path / "x"
    if kind == "broken":
        path.symlink_to("nowhere")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "empty":
        path.mkdir()
    elif kind == "below a file":
        path.write_bytes(b"")
        path = path / "y"
    with pytest.raises(CkptkitError, match=words) as caught:
        observe(path)
    assert caught.value.hint


def test_progress_and_cache_are_used(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    done: list[int] = []
    with Cache(tmp_path / "cache") as cache:
        data.observe(
            "train",
            tmp_path / "x",
            data.Look(project=tmp_path, observed="at save", cache=cache, progress=done.append, unknown={}),
        )
    assert done == [5]


@pytest.mark.parametrize("url", ["s3://bucket/train", "https://user:secret@example.org/x?token=abc", "hf://datasets/x"])
def test_remote(url: str) -> None:
    found, unknown = observe(url)
    assert (found.dataset.kind, found.dataset.path, found.dataset.digest) == ("remote", None, None)
    assert unknown["data.train.digest"] == "is remote: its content was not read"
    assert found.dataset.source is not None
    assert "secret" not in str(found.dataset.source)
    assert "example.org" in found.dataset.source["url"] or "@" not in url


def test_what_is_recorded_of_an_object() -> None:
    found, unknown = observe(np.zeros((2, 3), np.int16))
    kept = found.dataset
    assert (kept.kind, kept.path, kept.files, kept.manifest, kept.bytes) == ("memory", None, None, None, 12)
    assert kept.source == {"type": "numpy.ndarray", "shape": [2, 3], "dtype": "int16"}
    assert unknown == {}
    assert observe((np.zeros(3), [1, "ab"]))[0].dataset.bytes == 24 + 8 + 2
    assert observe((1, 2))[0].dataset.source == {"type": "tuple", "length": 2}


@pytest.mark.torch
def test_what_is_recorded_of_a_tensor() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    source = observe(torch.zeros(3, 4))[0].dataset.source
    assert source == {"type": "torch.Tensor", "shape": [3, 4], "dtype": "torch.float32"}


class Rows(list[int]):
    pass


class Broken:
    @property
    def shape(self) -> object:
        raise RuntimeError("no shape")


UNHASHED: dict[str, tuple[Callable[[], object], str]] = {
    "function": (lambda: print, "objects of type builtin_function_or_method are not hashed"),
    "set": (lambda: {1}, "objects of type set are not hashed"),
    "object in a list": (lambda: [1, object()], "objects of type object are not hashed"),
    "object in an array": (lambda: np.array([object()]), "objects of type object are not hashed"),
    "subclass": (Rows, "Rows are not hashed"),
    "long double": (lambda: np.zeros(1, np.longdouble), "bytes without a meaning"),
    "broken": (Broken, "Broken are not hashed"),
}


@pytest.mark.parametrize("case", UNHASHED)
def test_what_has_no_digest_says_why(case: str) -> None:
    make, words = UNHASHED[case]
    assert words in reason(make())


def test_an_iterator_is_not_consumed() -> None:
    numbers = iter([1, 2, 3])
    observe(numbers)
    assert list(numbers) == [1, 2, 3]


def test_a_list_that_holds_itself() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert reason(endless) == "holds itself, or is nested too deeply"
