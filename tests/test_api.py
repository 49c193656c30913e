import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import ckptkit
from ckptkit.data import memory


def test_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").write_bytes(b"x")
    x = hashlib.sha256(b"x").hexdigest()
    line = f"{x}  ./x\n".encode()
    whole = f"sha256:{hashlib.sha256(line).hexdigest()}"
    assert ckptkit.digest(tmp_path / "data" / "x") == f"sha256:{x}"
    assert ckptkit.digest(str(tmp_path / "data")) == ckptkit.digest("~/data") == whole
    with ThreadPoolExecutor(1) as pool:
        assert ckptkit.digest(tmp_path / "data", executor=pool, cache=False) == whole
    assert ckptkit.digest([1, "x"]) == memory.digest([1, "x"])[0]


def test_without_a_cache_none_is_made(tmp_path: Path, private_home: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    ckptkit.digest(tmp_path / "x", cache=False)
    assert not (private_home / "hashes").exists()
    ckptkit.digest(tmp_path / "x")
    assert (private_home / "hashes").exists()


def test_what_has_no_digest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    endless: list[object] = []
    endless.append(endless)
    for what, words in (
        ("", "an empty path"),
        (tmp_path / "nowhere", "nowhere cannot be read: no such file"),
        (tmp_path / "pipe", "pipe is not a regular file"),
        (tmp_path / "empty", "empty holds no file"),
        (object(), "objects of type object are not hashed"),
        (endless, "holds itself"),
    ):
        with pytest.raises(ckptkit.CkptkitError, match=words) as caught:
            ckptkit.digest(what)
        assert caught.value.hint
