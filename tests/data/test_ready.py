import hashlib
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from ckptkit import hashing
from ckptkit.data import ready, watch
from ckptkit.errors import CkptkitError
from ckptkit.manifest import Listing, Manifest, State, hashed_row, listed_row


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    (made / "sub").mkdir(parents=True)
    for name in ("a", "b c", "sub/d\\e", "ü"):
        (made / name).write_bytes(name.encode())
    (made / "empty").write_bytes(b"")
    return made


def take(file: Path, path: Path) -> Manifest:
    return ready.take(file, path, watch.note(path))


MAKERS = {
    "sha256sum": "find . -type f -exec sha256sum {} +",
    "sha256sum --tag": "find . -type f -exec sha256sum --tag {} +",
    "binary": "find . -type f -exec sha256sum -b {} +",
    "shasum": "find . -type f -exec shasum -a 256 {} +",
    "openssl": "find . -type f -exec openssl dgst -sha256 {} +",
    "names alone": "find * -type f -exec sha256sum {} +",
}


@pytest.mark.parametrize("maker", MAKERS)
def test_lists_that_other_programs_make(folder: Path, tmp_path: Path, maker: str) -> None:
    if maker in {"openssl", "shasum"}:
        (folder / "sub" / "d\\e").rename(folder / "sub" / "d")  # they do not escape it as sha256sum does
    if not shutil.which(next(each for each in ("openssl", "shasum", "sha256sum") if each in MAKERS[maker])):
        pytest.skip(f"{maker} is not installed")
    said = subprocess.run(["sh", "-c", MAKERS[maker]], cwd=folder, check=True, capture_output=True).stdout
    (tmp_path / "ready").write_bytes(said)
    assert take(tmp_path / "ready", folder).rows == hashing.tree(folder).rows


def test_a_list_in_the_dataset_itself(folder: Path) -> None:
    command = "find . -type f ! -name ready -exec sha256sum {} + > ready"
    subprocess.run(["sh", "-c", command], cwd=folder, check=True)
    assert take(folder / "ready", folder).rows == hashing.tree(folder).rows


SHA256 = hashlib.sha256(b"a").hexdigest()
EMPTY = hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lists no file"),
        (f"{SHA256}  a\r\n", ":1 ends in CR LF"),
        (f"{SHA256}  a", "last line is cut off"),
        (f"{'0' * 32}  a\n", ":1 holds a digest of MD5, where SHA-256 is needed"),
        (f"{'0' * 128}  a\n", ":1 holds a digest of SHA512"),
        ("hello\n", ":1 is not of the form"),
        (f"{SHA256}  ../a\n", ":1 '../a' is not plainly below"),
        (f"{SHA256}  /data/a\n", "is not plainly below"),
        (f"{SHA256}  a\n{SHA256}  a\n", ":2 'a' stands twice"),
        (f"{SHA256}  data/a\n{SHA256}  data/b\n", "lists what is not there: data/a, data/b"),
        (f"{SHA256}  a\n", "does not list: b"),
        (f"{SHA256}  a\n{SHA256}  b\n{SHA256}  c\n", "lists what is not there: c"),
        (f"{SHA256}  a\n{EMPTY}  b\n", "gives the digest of nothing to what is not empty, or the other way round: b"),
    ],
)
def test_lists_that_do_not_fit(tmp_path: Path, text: str, words: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).write_bytes(b"a")
    (tmp_path / "ready").write_text(text, newline="")
    with pytest.raises(CkptkitError) as caught:
        take(tmp_path / "ready", folder)
    assert words in caught.value.message
    assert "ready" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_lists_that_cannot_be_read(folder: Path, tmp_path: Path, kind: str) -> None:
    if kind == "folder":
        (tmp_path / "ready").mkdir()
    with pytest.raises(CkptkitError, match=r"the manifest .*ready") as caught:
        take(tmp_path / "ready", folder)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["a", "./a", "data/a", "some/where/a"])
def test_a_list_of_one_file(folder: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "ready").write_text(f"{SHA256}  {name}\n{EMPTY}  another\n")
    assert [each.sha256 for each in take(tmp_path / "ready", folder / "a")] == [SHA256]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{SHA256}  b\n", "does not list: a"),
        (f"{SHA256}  x/a\n{EMPTY}  y/a\n", "gives several digests to: a"),
        (f"{EMPTY}  a\n", "gives the digest of nothing"),
    ],
)
def test_lists_that_do_not_fit_a_file(folder: Path, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "ready").write_text(text)
    with pytest.raises(CkptkitError, match=words) as caught:
        take(tmp_path / "ready", folder / "a")
    assert caught.value.hint


def test_bytes_are_held_against_a_list(folder: Path) -> None:
    ready.verify(hashing.tree(folder), folder, progress=None)
    declared = hashing.tree(folder)
    (folder / "a").write_bytes(b"Z")
    (folder / "empty").write_bytes(b"Z")
    with pytest.raises(CkptkitError, match="data is not what its manifest says: a, empty") as caught:
        ready.verify(declared, folder, progress=None)
    assert caught.value.hint


def test_a_hundred_thousand_lines(tmp_path: Path) -> None:
    names = [f"{number:06}.bin".encode() for number in range(100_000)]
    (tmp_path / "ready").write_bytes(b"".join(b"%b  ./%b\n" % (SHA256.encode(), name) for name in names))
    (tmp_path / "data").mkdir()
    seen = Listing(rows=[listed_row(name, State(1, 0, 0, 0, 0)) for name in names])
    began = time.process_time()
    found = ready.take(tmp_path / "ready", tmp_path / "data", seen)
    assert time.process_time() - began < 10
    assert found.rows == [hashed_row(name, bytes.fromhex(SHA256), 1) for name in names]
