import errno
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from declared import dataset, folder, one, unhashed
from registries import publish

import ckptkit
from ckptkit import hash_cache, registry, scanning, seen
from ckptkit.cli import main
from ckptkit.content import digest
from ckptkit.errors import CkptkitError, NotFoundError
from ckptkit.record import Event
from ckptkit.verbs.check import check
from ckptkit.verbs.data_diff import data_diff
from ckptkit.verbs.data_digest import Added, add
from ckptkit.verbs.merge import merge
from ckptkit.verbs.rename import rename
from ckptkit.verbs.show import show

ODD = ("a b", "-dash", "new\nline", "carriage\rreturn", "back\\slash", os.fsdecode(b"raw\xff"), "ä", "sub/-", ".hidden")
OLD = {"a": "1", "b/c": "22"}
BEFORE = 1_700_000_000  # seconds since the epoch: before the versions were saved


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, a project."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("")
    return tmp_path


@pytest.fixture
def root(project: Path) -> Path:
    return project / "runs"


def write(place: Path, content: dict[str, str]) -> Path:
    """A folder of files that were written before the versions were saved."""
    for path, said in content.items():
        file = place / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(said)
        os.utime(file, (BEFORE, BEFORE))
    return place


def coreutils(place: Path) -> str:
    """What anyone would compute."""
    script = "find -L . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum | sha256sum"
    out = subprocess.run(["sh", "-c", script], cwd=place, check=True, capture_output=True, text=True).stdout
    return f"sha256:{out.split()[0]}"


def events(root: Path, model: str = "penguins") -> list[Event]:
    return [event for event in registry.read_model(root / model).events if event.kind == "digested"]


def test_a_folder(project: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    write(project / "d", {name: name[:1] for name in ODD})
    assert main(["data", "digest", "d"]) == 0
    assert capfdbinary.readouterr().out == f"{coreutils(project / 'd')}  d\n".encode()
    assert main(["data", "digest", "d/", "--manifest"]) == 0
    text = capfdbinary.readouterr().out
    assert f"sha256:{hashlib.sha256(text).hexdigest()}" == coreutils(project / "d")
    subprocess.run(["sha256sum", "-c", "--strict", "--quiet"], input=text, cwd=project / "d", check=True)
    assert main(["data", "digest", "d", "--json", "--manifest"]) == 0
    document = json.loads(capfdbinary.readouterr().out)
    assert document["schema"] == "ckptkit/digest/1"
    assert (document["kind"], document["files"], document["bytes"]) == ("directory", len(ODD), len(ODD) + 1)  # an ä
    assert {each["path"] for each in document["manifest"]} == set(ODD)


def test_a_file(project: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    name = "odd\nname"
    write(project / "d", {name: "abc"})
    sha256 = hashlib.sha256(b"abc").hexdigest()
    assert main(["data", "digest", f"d/{name}"]) == 0
    assert capfdbinary.readouterr().out == f"sha256:{sha256}  d/odd name\n".encode()
    assert main(["data", "digest", f"d/{name}", "--manifest"]) == 0
    text = capfdbinary.readouterr().out
    subprocess.run(["sha256sum", "-c", "--strict", "--quiet"], input=text, cwd=project / "d", check=True)
    assert main(["data", "digest", f"d/{name}", "--json"]) == 0
    assert json.loads(capfdbinary.readouterr().out) == {
        "schema": "ckptkit/digest/1",
        "path": f"d/{name}",
        "kind": "file",
        "digest": f"sha256:{sha256}",
        "files": 1,
        "bytes": 3,
    }


@pytest.mark.timeout(30)
@pytest.mark.parametrize("place", ["d", "d/odd"])
@pytest.mark.parametrize("odd", ["nothing", "broken link", "loop", "fifo", "socket", "closed", "empty folder"])
def test_what_has_no_digest_is_one_line(
    project: Path, place: str, odd: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if place == "d/odd":
        (project / "d").mkdir()
    path = project / place
    if odd == "broken link":
        path.symlink_to("nowhere")
    elif odd == "loop":
        path.symlink_to(path.name)
    elif odd == "fifo":
        os.mkfifo(path)
    elif odd == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(place)
    elif odd == "closed":
        path.write_text("")
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("root may read everything")
    elif odd == "empty folder":
        path.mkdir()
    assert main(["data", "digest", "d"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ckptkit: d")
    assert (captured.err.count("\n"), captured.err.count("hint: ")) == (1, 1)


def test_without_the_cache_every_byte_is_read(project: Path) -> None:
    file = write(project / "d", {"a": "1"}) / "a"
    right = digest("d").digest
    with hash_cache.Cache.open() as cache:
        real, state = os.fsencode(os.path.realpath(file)), scanning.state_of(file.stat())
        cache.put(real, state, bytes.fromhex("5e" * 32), time.time_ns() + 10**10)
    assert digest("d").digest != right
    assert digest("d", cached=False).digest == right
    assert main(["data", "digest", "d", "--no-cache"]) == 0
    assert digest("d/a").digest == f"sha256:{'5e' * 32}"
    assert digest("d/a", cached=False).digest == f"sha256:{hashlib.sha256(b'1').hexdigest()}"


@pytest.mark.parametrize("path", ["d", "d/a"])
def test_what_is_expected_is_what_is_done(project: Path, path: str) -> None:
    write(project / "d", {"a": "12345"})
    expected, done = list[int](), list[int]()
    digest(path, progress=done.append, expect=expected.append)
    assert sum(expected) == sum(done) == 5


def test_a_manifest_is_streamed_into_whatever_takes_it(project: Path) -> None:
    write(project / "d", {f"{number:05}": "" for number in range(3000)})
    command = [sys.executable, "-m", "ckptkit", "data", "digest", "d", "--manifest"]
    environment = os.environ | {"PYTHONPATH": str(Path(ckptkit.__file__).parents[1])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline().endswith(b"  ./00000\n")
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, env=environment)
    words = os.strerror(errno.ENOSPC).lower().encode()
    assert (run.returncode, run.stderr) == (2, b"ckptkit: the output cannot be written: " + words + b"\n")


def test_what_a_save_had_no_time_for_is_added_later(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(project / "data" / "train", OLD | {os.fsdecode(b"\xff\n"): "3"})
    (project / "w.bin").write_bytes(b"0.1")
    given = ["--data", "train=data/train", "--data", "one=data/train/a"]
    assert main(["save", "w.bin", "--model", "penguins", *given, "--data-budget", "0s"]) == 0
    assert main(["save", "w.bin", "--model", "penguins", *given]) == 0
    root = project / "runs"
    before = {path: path.read_bytes() for path in (root / "penguins" / "v0001").rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main(["data", "digest", "penguins/1", "train"]) == 0
    right = coreutils(project / "data" / "train")
    captured = capsys.readouterr()
    assert captured.out == f"penguins/v0001  train  {right}  3 files, 4 B\n"
    assert captured.err == ""
    [event] = events(root)
    assert (event.version, event.digest) == ("v0001", registry.digest_of(root / "penguins" / "v0001"))
    assert [file.path for file in event.files] == ["a", "b/c", os.fsdecode(b"\xff\n")]
    [data] = event.data
    assert (data.name, data.digest, data.files, data.bytes, data.path) == ("train", right, 3, 4, "data/train")
    assert (data.manifest, data.sizes, data.observed) == (None, None, "at save")
    assert event.unknown.keys() == {"data.train.changed_during_run"}
    assert {path: path.read_bytes() for path in before} == before
    assert main(["data", "digest", "penguins/1", "one", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["same"]) == ("ckptkit/data-digest/1", True)
    assert "files" not in document["event"]
    assert not data_diff("penguins/1", "penguins/2").differs
    assert {each.state for each in data_diff("penguins/1", "penguins/2").datasets.values()} == {"same"}
    assert not {finding.code for finding in check(root).findings} & {"CK302", "CK901", "CK902"}


def test_where_the_digest_is_known_the_data_is_held_against_it(
    root: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder(root, OLD)
    unhashed(root, OLD)
    write(project / "data" / "train", OLD)
    write(project / "other", OLD | {"a": "9"})
    add("penguins/2", "train")
    for ref in ("penguins/1", "penguins/2"):
        assert main(["data", "digest", ref, "train"]) == 0
        assert "is known already, and is that of" in capsys.readouterr().out
        assert main(["data", "digest", ref, "train", "other"]) == 1
        captured = capsys.readouterr()
        assert f"is not that of other, {coreutils(project / 'other')}" in captured.out
        assert captured.err == ""
    assert main(["data", "digest", "penguins/1", "train", "other", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["same"], document["event"], document["found"]["path"]) == (False, None, "other")
    assert len(events(root)) == 1


@pytest.mark.parametrize(
    ("here", "words"),
    [
        ({"a": "1"}, "b/c is missing"),
        (OLD | {"z": ""}, "z was not there"),
        (OLD | {"a": "12"}, "a has 2 bytes and had 1"),
        ({}, "holds no file"),
        (OLD | {f"n{number}": "" for number in range(9)}, "n4 was not there and 4 more"),
    ],
)
def test_other_names_or_sizes_are_other_data(
    root: Path, project: Path, here: dict[str, str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    unhashed(root, OLD)
    (project / "data" / "train").mkdir(parents=True)
    write(project / "data" / "train", here)
    assert main(["data", "digest", "penguins/1", "train"]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert words in captured.err
    assert events(root) == []
    assert not (root / ".ckptkit" / "seen").exists()


def test_what_was_written_since_the_save_is_said(root: Path, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unhashed(root, OLD, created="2026-11-24T10:00:02Z")
    place = write(project / "data" / "train", OLD)
    saved = 1_795_514_402  # 2026-11-24T10:00:02Z
    os.utime(place / "a", (saved, saved + 0.5))  # within the second of the save
    os.utime(place / "b" / "c", (saved, saved + 1))
    assert main(["data", "digest", "penguins/1", "train"]) == 0
    assert "warning: the digest of the dataset train of penguins/v0001 is of what was written after the save: b/c" in (
        capsys.readouterr().err
    )
    [event] = events(root)
    assert event.unknown == {"data.train.digest": "is of what was written after the save: b/c"}


def test_the_data_is_found_where_this_machine_saw_it(
    root: Path, project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = write(tmp_path_factory.mktemp("nfs") / "shards", OLD)
    (project / "w.bin").write_bytes(b"0.1")
    ckptkit.save("w.bin", model="penguins", data={"train": place}, data_budget=0)
    ckptkit.save("w.bin", model="penguins", data={"train": place})
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    done = [add(f"penguins/{number}", "train", root=root) for number in (1, 2)]
    assert [(each.is_same, each.found.path) for each in done] == [(True, place)] * 2
    assert [(each.path, each.outside) for each in events(root)[0].data] == [("shards", True)]
    shutil.rmtree(place)
    with pytest.raises(CkptkitError, match="the dataset train of penguins/v0001, shards, is not to be found here"):
        add("penguins/1", "train", root=root)


def test_a_place_that_holds_other_data_is_passed_over(root: Path, project: Path) -> None:
    version = unhashed(root, OLD)
    write(project / "data" / "train", {"a": "1"})
    place = write(project / "copy", OLD)
    key = f"sha256:{hashlib.sha256((version.path / 'data' / 'train.sizes').read_bytes()).hexdigest()}"
    seen.remember(root, key, project / "gone", 3, 2)
    seen.remember(root, key, place, 3, 2)
    assert add("penguins/1", "train").found.path == place
    assert seen.recall(root, coreutils(place)) == [place]


def test_below_the_home(root: Path, private_home: Path) -> None:
    unhashed(root, OLD, path="~/data/train")
    place = write(private_home / "data" / "train", OLD)
    assert add("penguins/1", "train").found.path == place
    assert events(root)[0].data[0].path == "~/data/train"


def test_a_single_file(root: Path, project: Path) -> None:
    one(root, "data/a.csv", "12", digest=None)
    write(project, {"data/a.csv": "123", "copy.csv": "12"})
    with pytest.raises(CkptkitError, match=r"a\.csv is not the dataset train: a\.csv has 3 bytes and had 2"):
        add("penguins/1", "train")
    with pytest.raises(CkptkitError, match="data is not the dataset train, a file"):
        add("penguins/1", "train", "data")
    with pytest.raises(CkptkitError, match="an empty path names nothing"):
        add("penguins/1", "train", "")
    done = add("penguins/1", "train", "copy.csv")
    assert done.event is not None
    assert done.event.data[0].digest == f"sha256:{hashlib.sha256(b'12').hexdigest()}"
    assert (done.event.data[0].path, done.event.files) == ("copy.csv", ())


def test_more_than_ten_thousand_files_are_left_out(root: Path, project: Path) -> None:
    many = {f"{number:05}": "" for number in range(10_001)}
    unhashed(root, many)
    folder(root, many)
    write(project / "data" / "train", many)
    done = add("penguins/1", "train")
    assert done.event is not None
    assert (done.event.files, done.event.data[0].files) == ((), 10_001)
    assert done.event.unknown == {"files": "10,001 are left out: an event lists at most 10,000"}
    assert data_diff("penguins/1", "penguins/2").datasets["train"].state == "same"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"kind": "memory", "path": None}, "was in memory"),
        ({"kind": "remote", "path": None}, "was remote"),
        ({"files": 1, "bytes": 1}, "the names and sizes of the dataset train were not recorded"),
        ({"kind": "file"}, "the names and sizes of the dataset train were not recorded"),
        ({"sizes": "data/train.sizes", "files": 1, "bytes": 1}, "train.sizes cannot be read: no such file"),
    ],
)
def test_what_nobody_can_add(root: Path, project: Path, facts: dict[str, Any], words: str) -> None:
    publish(root, data=[dataset(**facts)])
    write(project / "data" / "train", {"a": "1"})
    with pytest.raises(CkptkitError, match=words):
        add("penguins/1", "train", "data/train/a" if facts.get("kind") == "file" else "data/train")
    assert events(root) == []


def test_what_names_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unhashed(root, OLD)
    with pytest.raises(NotFoundError, match="no dataset 'tset'"):
        add("penguins/1", "tset")
    with pytest.raises(CkptkitError, match="names a model"):
        add("penguins", "train")
    with pytest.raises(CkptkitError, match="nowhere cannot be read: no such file"):
        add("penguins/1", "train", "nowhere")
    assert main(["data", "digest", "penguins/1"]) == 2
    assert "for a dataset of a version give REF and NAME" in capsys.readouterr().err
    assert main(["data", "digest", "penguins/1", "train", "--manifest"]) == 2
    assert "--manifest goes with a PATH alone" in capsys.readouterr().err


def test_it_goes_where_the_version_goes(root: Path, project: Path) -> None:
    unhashed(root, OLD)
    publish(project / "cluster", "whales", message="there")
    write(project / "data" / "train", OLD)
    add("penguins/1", "train")
    merge(root, root=project / "cluster")
    rename("penguins/1", "7", root=project / "cluster")
    rename("penguins", "birds", root=project / "cluster")
    found = show("birds/7", root=project / "cluster")
    assert found.digested["train"].data[0].digest == coreutils(project / "data" / "train")
    assert "CK302" not in {finding.code for finding in check(project / "cluster").findings}


def test_data_that_changes_while_it_is_hashed_is_refused(root: Path, project: Path) -> None:
    unhashed(root, OLD)
    place = write(project / "data" / "train", OLD)
    with pytest.raises(CkptkitError, match="changed while it was hashed"):
        add("penguins/1", "train", progress=lambda _: (place / "new").touch())
    assert events(root) == []


def test_of_two_at_once_the_first_is_kept(root: Path, project: Path) -> None:
    unhashed(root, OLD)
    write(project / "data" / "train", OLD)
    first: list[Added] = []

    def meanwhile(_: int) -> None:
        if not first:
            first.append(add("penguins/1", "train"))

    with pytest.raises(CkptkitError, match="train has its digest"):
        add("penguins/1", "train", progress=meanwhile)
    assert [event.id for event in events(root)] == [each.event.id for each in first if each.event]


def test_before_it_was_added_it_was_not_known(root: Path, project: Path) -> None:
    unhashed(root, OLD)
    write(project / "data" / "train", OLD)
    done = add("penguins/1", "train")
    assert done.event is not None
    assert list(show("penguins/1", at=done.event.time).digested) == ["train"]
    assert show("penguins/1", at=registry.read_model(root / "penguins").state.saved["v0001"].time).digested == {}
