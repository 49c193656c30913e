import hashlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptkit import data, hashing, scanning, seen
from ckptkit.capture.code import Before
from ckptkit.capture.git import Worktree
from ckptkit.capture.intake import Guard, Request
from ckptkit.capture.moment import Moment
from ckptkit.capture.session import Start
from ckptkit.data import datasets, watch
from ckptkit.errors import CkptkitError
from ckptkit.hash_cache import Cache
from ckptkit.record import ANOTHER_PROCESS, NO_START

WHERE = "data.train.changed_during_run"
NOT_NOTED = "the state of the data when the run began was not noted"


def observe(
    given: Any, root: Path, *, strict: bool = False, started: float | None = 4e9, own: bool = True, **asked: Any
) -> tuple[list[data.Observation], Guard]:
    guard = Guard(strict=strict)
    now = Moment(project=root, code=root, observed="in the run" if own else "at save", started=started, why="")
    request = Request(weights=(), model="m", from_training=not strict, data=given, **asked)
    return datasets.observe(request, guard, now=now, root=root / "runs", progress=None), guard


def one(value: object, root: Path, **asked: Any) -> tuple[data.Observation, Guard]:
    (found,), guard = observe({"train": value}, root, **asked)
    return found, guard


def start(*paths: Path) -> Start:
    noted = {path: watch.Noted(listing=watch.note(path)) for path in paths}
    here = Path.cwd()
    return Start(
        id="20261125T000000.000000Z-00000000",
        now=Moment(project=here, code=here, observed="in the run", started=0.0, why=""),
        cwd=here,
        data=noted,
        names=dict.fromkeys(paths, "train"),
        files={},
        config=None,
        code=Before(at=time.time(), worktree=Worktree(repository=None, patch=b""), unknown={}, configs=()),
        generators=None,
        hasher=None,
    )


def warm(folder: Path) -> None:
    """Have the cache know a folder, as if it had been hashed some seconds after it was written."""
    with Cache.open() as cache:
        for entry in hashing.tree(folder):
            full = os.fsencode(folder / entry.path)
            later = time.time_ns() + 3_000_000_000
            cache.put(os.path.realpath(full), scanning.state(full), bytes.fromhex(entry.sha256), later)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir()
    for name in ("a", "b"):
        (made / name).write_bytes(name.encode())
    time.sleep(0.02)
    return made


# Without a start.


def test_files_written_after_the_process_began_are_named(folder: Path, tmp_path: Path) -> None:
    began = (folder / "b").stat().st_ctime + 0.01
    (folder / "new").write_bytes(b"x")
    (folder / "dated").write_bytes(b"x")
    os.utime(folder / "dated", (1, 1))
    found, guard = one(folder, tmp_path, started=began)
    assert found.dataset.changed_during_run == ("new",)
    assert guard.unknown == {}
    assert guard.warnings == []  # the script may have made it
    assert one(folder / "new", tmp_path, started=began)[0].dataset.changed_during_run == ("data/new",)


@pytest.mark.parametrize("touch", ["nothing", "mode", "hard link", "name"])
def test_without_a_start_no_change_is_never_known(folder: Path, tmp_path: Path, touch: str) -> None:
    path, began = folder / "a", (folder / "b").stat().st_ctime + 0.01
    if touch == "mode":
        path.chmod(0o400)
    elif touch == "hard link":
        (tmp_path / "other").hardlink_to(path)
    elif touch == "name":
        path.rename(path.with_name("c"))
    found, guard = one(folder, tmp_path, started=began)
    assert found.dataset.changed_during_run is None
    assert guard.unknown == {WHERE: NOT_NOTED if touch == "nothing" else watch.METADATA}


def test_why_changes_are_not_known(folder: Path, tmp_path: Path) -> None:
    for value, facts, why in (
        (folder, {"started": None}, NO_START),
        (folder, {"own": False}, ANOTHER_PROCESS),
        (folder, {"own": False, "start": start(folder)}, ANOTHER_PROCESS),
        (np.zeros(3), {}, NOT_NOTED),
        (np.zeros(3), {"start": start()}, NOT_NOTED),
        (folder, {"start": start()}, NOT_NOTED),
    ):
        found, guard = one(value, tmp_path, **facts)
        assert found.dataset.changed_during_run is None
        assert guard.unknown[WHERE] == why


# With one.


def test_what_changed_since_the_start_is_named_and_warned_about(folder: Path, tmp_path: Path) -> None:
    begun = start(folder, folder / "b")
    assert one(folder, tmp_path, start=begun)[0].dataset.changed_during_run == ()
    (folder / "b").write_bytes(b"B")
    found, guard = one(folder, tmp_path, start=begun)
    assert found.dataset.changed_during_run == ("b",)
    assert found.dataset.digest == hashing.tree(folder).digest  # what is there at the end
    assert guard.warnings == ["data.train changed while the run went on: b"]
    assert one(folder / "b", tmp_path, start=begun)[0].dataset.changed_during_run == ("data/b",)


def test_a_change_is_told_though_the_digest_is_not_known(folder: Path, tmp_path: Path) -> None:
    begun = start(folder)
    found, guard = one(folder, tmp_path, start=begun, data_budget=0)
    assert (found.dataset.digest, found.dataset.changed_during_run) == (None, ())
    (folder / "b").write_bytes(b"B")
    found, guard = one(folder, tmp_path, start=begun, data_budget=0)
    assert (found.dataset.digest, found.dataset.changed_during_run) == (None, ("b",))
    assert len(guard.warnings) == 2


def test_data_that_is_gone(folder: Path, tmp_path: Path) -> None:
    begun = start(folder / "a")
    (folder / "a").unlink()
    found, guard = observe({"train": folder / "a", "rest": folder}, tmp_path, start=begun)
    assert [each.dataset.name for each in found] == ["rest"]
    assert guard.unknown["data.train"].endswith("data/a, is not there")


# Budget.


@pytest.mark.parametrize("given", ["-1", "soon", "nan", "inf", "1e999", "", "5 m", "1d", -1, float("nan"), True, []])
def test_a_time_that_is_none(folder: Path, tmp_path: Path, given: object) -> None:
    with pytest.raises(CkptkitError, match="is no time for hashing") as caught:
        observe({"train": folder}, tmp_path, strict=True, data_budget=given)
    assert caught.value.hint
    found, guard = one(folder, tmp_path, data_budget=given)
    assert found.dataset.digest  # no digest is lost to it
    assert guard.unknown == {WHERE: NOT_NOTED}
    assert len(guard.warnings) == 1


@pytest.mark.parametrize("given", [60, 0.5, "60s", "5m", "1.5h", " 7 "])
def test_time_that_is_enough(folder: Path, tmp_path: Path, given: object) -> None:
    assert one(folder, tmp_path, strict=True, data_budget=given)[0].dataset.digest == hashing.tree(folder).digest


def test_when_the_time_is_over_names_and_sizes_are_left(folder: Path, tmp_path: Path) -> None:
    with (folder / "large").open("wb") as file:
        file.truncate(1 << 40)
    began = time.monotonic()
    found, guard = one(folder, tmp_path, data_budget="0.2s", strict=True)
    assert time.monotonic() - began < 5
    kept = found.dataset
    assert (kept.digest, kept.files, kept.bytes, kept.manifest) == (None, 3, 2 + (1 << 40), None)
    assert kept.sizes == "data/train.sizes"
    assert found.content is not None
    assert b"".join(found.content.lines()) == b"1  ./a\n1  ./b\n1099511627776  ./large\n"
    assert guard.unknown["data.train.digest"] == "hashing took longer than 0.2 s"
    assert guard.warnings == ["data.train has no digest: hashing took longer than 0.2 s"]


def test_a_file_that_was_not_hashed_is_found_again_by_name_and_size(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "runs" / ".ckptkit").mkdir(parents=True)
    found, _ = one(folder / "a", tmp_path, data_budget=0)
    assert (found.dataset.digest, found.dataset.files, found.dataset.bytes, found.dataset.sizes) == (None, 1, 1, None)
    datasets.remember([found], tmp_path / "runs")
    assert seen.recall(tmp_path / "runs", seen.unhashed([b"1  ./a\n"])) == [folder / "a"]


def test_what_the_cache_knows_takes_no_time(folder: Path, tmp_path: Path) -> None:
    warm(folder)
    assert one(folder, tmp_path, data_budget=0)[0].dataset.digest == hashing.tree(folder).digest
    assert one(folder / "a", tmp_path, data_budget=0)[0].dataset.digest == f"sha256:{sha256(b'a')}"
    (folder / "b").write_bytes(b"B")
    assert one(folder, tmp_path, data_budget=0)[0].dataset.digest is None


# Ready manifests.


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def manifest(path: Path, files: Mapping[str, bytes]) -> Path:
    path.write_text("".join(f"{sha256(content)}  {name}\n" for name, content in files.items()))
    return path


def test_a_ready_manifest_stands_in_for_hashing(folder: Path, tmp_path: Path) -> None:
    ready = manifest(tmp_path / "ready", {"./b": b"another", "a": b"a"})
    found, guard = one(folder, tmp_path, manifests={"train": ready}, start=start(folder), data_budget=0)
    assert found.dataset.observed == "declared"
    assert found.content is not None
    listed = f"{sha256(b'a')}  ./a\n{sha256(b'another')}  ./b\n".encode()
    assert b"".join(found.content.lines()) == listed
    assert found.dataset.digest == f"sha256:{sha256(listed)}"
    assert (found.dataset.files, found.dataset.bytes, found.dataset.changed_during_run) == (2, 2, ())
    assert guard.warnings == []
    with pytest.raises(CkptkitError, match=r"is not what its manifest says: b\n"):
        one(folder, tmp_path, manifests={"train": ready}, deep=True, strict=True)
    manifest(ready, {"b": b"b", "a": b"a"})
    found, _ = one(folder, tmp_path, manifests={"train": ready}, deep=True, strict=True)
    assert (found.dataset.observed, found.dataset.digest) == ("in the run", hashing.tree(folder).digest)


def test_a_ready_manifest_of_a_file(folder: Path, tmp_path: Path) -> None:
    ready = manifest(tmp_path / "ready", {"data/a": b"another"})
    found, _ = one(folder / "a", tmp_path, manifests={"train": ready}, strict=True)
    assert (found.dataset.digest, found.dataset.observed) == (f"sha256:{sha256(b'another')}", "declared")
    with pytest.raises(CkptkitError, match=r"is not what its manifest says: a\n"):
        one(folder / "a", tmp_path, manifests={"train": ready}, strict=True, deep=True)


def test_the_size_of_what_a_manifest_lists_has_to_be_the_one_that_was_seen(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "runs" / ".ckptkit").mkdir(parents=True)
    ready = manifest(tmp_path / "ready", {"a": b"a", "b": b"b"})
    found, _ = one(folder, tmp_path, strict=True)
    datasets.remember([found], tmp_path / "runs")
    one(folder, tmp_path, manifests={"train": ready}, strict=True)
    (folder / "b").write_bytes(b"longer")
    with pytest.raises(CkptkitError, match="train has 7 bytes, and that of this manifest had 2 when it was seen"):
        one(folder, tmp_path, manifests={"train": ready}, strict=True)


MISFITS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "another dataset": (lambda path: {"test": path}, "a manifest is given for 'test', which is no dataset on disk"),
    "an object's": (lambda path: {"array": path}, "a manifest is given for 'array', which is no dataset on disk"),
    "no mapping": (lambda path: [path], "the manifests are a list, no mapping"),
    "not there": (lambda path: {"train": path / "x"}, "the manifest .*x cannot be read"),
    "other files": (lambda path: {"train": manifest(path / "other", {"a": b"a"})}, "does not list: b"),
    "no list": (lambda path: {"train": path / "a"}, "its last line is cut off"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_manifest_that_does_not_fit_loses_no_digest_after_a_training(folder: Path, tmp_path: Path, case: str) -> None:
    make, words = MISFITS[case]
    given, manifests = {"train": folder, "array": np.zeros(3)}, make(folder)
    with pytest.raises(CkptkitError, match=words) as caught:
        observe(given, tmp_path, strict=True, manifests=manifests)
    assert caught.value.hint
    (found, _), guard = observe(given, tmp_path, manifests=manifests)
    assert (found.dataset.digest, found.dataset.observed) == (hashing.tree(folder).digest, "in the run")
    assert len(guard.warnings) == 1
    assert set(guard.unknown) == {WHERE, "data.array.changed_during_run"}


# At the start.


def test_the_data_of_a_run_that_begins(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    array = np.zeros(3)
    given = {"train": "data", "one": Path("data/a"), "array": array, "far": "s3://bucket/x"}
    assert datasets.declared(given, tmp_path / "runs") == given | {"train": folder, "one": folder / "a"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"": "data"}, "dataset"),
        ({"a/b": "data"}, "dataset"),
        ({1: "data"}, "dataset"),
        ({"train": "data", "Train": "data"}, "by case alone"),
        ({"train": "nowhere"}, "the dataset train, .*nowhere, is not there"),
        ({"train": "link"}, "is a broken link"),
        ({"train": "fifo"}, "is a FIFO, socket or device"),
        ({"train": ""}, "has an empty path"),
        ({"train": "runs"}, "holds the registry root"),
        ({"train": "."}, "holds the registry root"),
        ({"train": "runs/x"}, "lies in the registry root"),
        (["data"], "the data is a list, no mapping"),
    ],
)
def test_data_that_no_run_can_have(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Any, words: str
) -> None:
    monkeypatch.chdir(folder.parent)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "x").write_bytes(b"x")
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(CkptkitError, match=words) as caught:
        datasets.declared(given, tmp_path / "runs")
    assert caught.value.hint
