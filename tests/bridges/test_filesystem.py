"""The bridge to file systems, with two that fsspec has in itself: the disk, and its own in memory."""

import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from freezing import CANARY, Freeze, project

from ckptkit import hashing
from ckptkit.errors import CkptkitError
from ckptkit.verbs.data_snapshot import data_snapshot

FILES = {"a.csv": b"text,label\na,0\n", "deep/er/b.csv": b"text,label\nb,1\nc,1\n", "deep/empty": b""}


@pytest.fixture
def freeze(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Freeze:
    return project(tmp_path, monkeypatch, capsys)


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    for name, data in FILES.items():
        system.pipe_file(f"/shards/{name}", data)
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.mark.usefixtures("memory")
def test_a_file(freeze: Freeze) -> None:
    done = freeze(f"memory://ada:{CANARY}@shards/a.csv?token={CANARY}", "a.csv")
    assert done.code == 2
    done = freeze("memory://shards/a.csv", "a.csv")
    assert (done.code, done.err) == (0, "")
    assert (done.folder / "a.csv").read_bytes() == FILES["a.csv"]
    facts = done.source("a.csv")
    assert (facts["url"], facts["protocol"]) == ("memory://shards/a.csv", "memory")
    assert facts["file"]["size"] == len(FILES["a.csv"])
    step = done.record("a.csv")["step"]
    assert step["inputs"][0]["digest"] == step["output"]["digest"] == done.out.split()[1]


@pytest.mark.usefixtures("memory")
def test_a_folder(freeze: Freeze) -> None:
    done = freeze("memory://shards/", "shards")
    assert (done.code, done.err) == (0, "")
    found = {str(path.relative_to("shards")): path.read_bytes() for path in Path("shards").rglob("*") if path.is_file()}
    assert found == FILES
    output = done.record("shards")["step"]["output"]
    assert (output["kind"], output["files"], output["bytes"]) == ("directory", 3, 34)
    assert output["digest"] == hashing.tree(Path("shards")).digest
    assert "file" not in done.source("shards")
    assert done.names() == ["pyproject.toml", "shards", "shards.lineage.json"]


def test_a_folder_on_the_disk(freeze: Freeze, tmp_path: Path) -> None:
    for name, data in FILES.items():
        (tmp_path / CANARY / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / CANARY / "in" / name).write_bytes(data)
    done = freeze(f"file://{tmp_path}/{CANARY}/in", "out")
    assert done.source("out") == {"url": "file:in", "protocol": "file"}
    assert hashing.tree(tmp_path / CANARY / "in").digest == hashing.tree(Path("out")).digest
    Path("data.csv").write_bytes(FILES["a.csv"])
    assert freeze(f"file://{Path.cwd()}/data.csv", "again.csv").source("again.csv")["url"] == "file:data.csv"


@pytest.mark.parametrize("name", ["../evil", "a/../../../evil", "a//b"])
def test_no_name_leads_out_of_the_folder(freeze: Freeze, memory: fsspec.AbstractFileSystem, name: str) -> None:
    memory.store[f"/shards/{name}"] = memory.store["/shards/a.csv"]
    done = freeze("memory://shards", "shards")
    assert (done.code, done.names()) == (2, ["pyproject.toml"])
    assert not (done.folder.parent / "evil").exists()


def test_what_changes_while_it_is_fetched(freeze: Freeze, memory: fsspec.AbstractFileSystem) -> None:
    done = freeze("memory://shards/a.csv", "a.csv")

    def meddle(_: int) -> None:
        memory.pipe_file("/shards/later", b"x")

    with pytest.raises(CkptkitError, match="changed while it was fetched"):
        data_snapshot("memory://shards", "shards", expect=lambda _: None, progress=meddle)
    assert done.names() == ["a.csv", "a.csv.lineage.json", "pyproject.toml"]


def test_progress_tells_of_every_byte_once_fetched_and_once_hashed(
    freeze: Freeze, memory: fsspec.AbstractFileSystem
) -> None:
    freeze("memory://no", "no")
    memory.pipe_file("/shards/large", bytes(9 << 20))
    expected: list[int] = []
    told: list[int] = []
    done = data_snapshot("memory://shards", "shards", expect=expected.append, progress=told.append)
    size = done.sidecar.step.output.bytes
    assert size == (9 << 20) + 34
    assert sum(expected) == sum(told) == 2 * size


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize(
    ("source", "said"),
    [
        (f"gopher://{CANARY}@host/a?token={CANARY}", "gopher://host/a cannot be read"),
        (f"ftp://{CANARY}@127.0.0.1:9/a", "ftp://127.0.0.1:9/a cannot be read"),
        (
            f"zip://a.csv::https://ada:{CANARY}@localhost:9/a.zip",
            "zip://a.csv::https://localhost:9/a.zip cannot be read",
        ),
        ("memory://shards/none", "memory://shards/none is not there"),
        ("s3://bucket/a", "install the package of that file system"),
        ("sqlite:///a.db", "sqlite is a database, and no query is given"),
    ],
)
def test_what_cannot_be_read(freeze: Freeze, source: str, said: str) -> None:
    done = freeze(source, "out")
    assert (done.code, done.out, done.err.count("\n"), done.names()) == (2, "", 1, ["pyproject.toml"])
    assert said in done.err


def test_an_empty_folder(freeze: Freeze, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no file" in freeze(f"file://{tmp_path}/empty", "out").err


@pytest.mark.usefixtures("memory")
def test_without_fsspec(freeze: Freeze, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "fsspec"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    done = freeze("memory://shards", "shards")
    assert (done.code, done.names()) == (2, ["pyproject.toml"])
    assert done.err == "ckptkit: fsspec is not installed (hint: pip install 'ckptkit-lineage[remote]')\n"
