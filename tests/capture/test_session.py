import os
import time
from pathlib import Path

import pytest
import repositories
from repositories import git

from ckptkit.capture import code, session
from ckptkit.capture.git import worktree
from ckptkit.capture.moment import Moment
from ckptkit.errors import CkptkitError

home, repo = repositories.home, repositories.repo


def begin(project: Path, *sources: object, exclude: tuple[Path, ...] = ()) -> session.Start:
    time.sleep(0.02)  # what was written so far is older than the start
    return session.begin(_here(project), run=RUN, data={}, sources=sources, cwd=project, exclude=exclude)


RUN = "20261125T000000.000000Z-00000000"


def _here(project: Path) -> Moment:
    return Moment(project=project, code=project, observed="in the run", started=0.0, why="")


def changed(start: session.Start, project: Path, *exclude: Path) -> tuple[tuple[str, ...] | None, str]:
    files = worktree(project, project=project, exclude=exclude, unknown={}).files
    return code.changed_files(start.code, files, project=project, exclude=exclude)


def test_code_that_stays_as_it_is(repo: Path) -> None:
    (repo / "train.py").write_text("changed before\n")
    assert changed(begin(repo), repo) == ((), "")


def test_code_that_changes_is_named_and_what_a_run_writes_is_not(repo: Path) -> None:
    (repo / "notes.txt").write_text("not tracked, and there before\n")
    (repo / "draft.py").write_text("not tracked, and there before\n")
    (repo / "lib").mkdir()
    (repo / "lib" / "metrics.json").write_text("{}\n")
    git(repo, "add", "lib")
    start = begin(repo)
    (repo / "notes.txt").write_text("appended\n")
    (repo / "events.out").write_text("a log\n")
    (repo / "checkpoint-1").mkdir()
    (repo / "checkpoint-1" / "model.bin").write_bytes(bytes(9))
    (repo / "__pycache__").mkdir()
    (repo / "__pycache__" / "model.cpython-311.pyc").write_bytes(b"x")
    assert changed(start, repo) == ((), "")
    (repo / "train.py").write_text("changed\n")
    (repo / "draft.py").write_text("changed\n")
    (repo / "lib" / "metrics.json").write_text("changed\n")
    (repo / "old.py").unlink()
    (repo / "lib" / "new.py").write_text("new\n")
    expected = ("draft.py", "lib/metrics.json", "lib/new.py", "old.py", "train.py")
    assert changed(start, repo) == (expected, "")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "while it ran")
    assert changed(start, repo) == (expected, "")


def test_what_is_recorded_otherwise_is_no_code(repo: Path) -> None:
    (repo / "config.yaml").write_text("lr: 1\n")
    git(repo, "add", "-A")
    start = begin(repo, repo / "config.yaml")
    (repo / "config.yaml").write_text("lr: 2\n")
    (repo / "weights.bin").write_bytes(b"new")
    assert changed(start, repo, repo / "weights.bin") == ((), "")


@pytest.mark.parametrize("name", ["train.py", "run.sh"])
def test_code_that_is_touched_or_restored_may_have_been_another(repo: Path, name: str) -> None:
    start = begin(repo)
    text = (repo / name).read_text()
    (repo / name).write_text("for a while\n")
    (repo / name).write_text(text)
    names, why = changed(start, repo)
    assert names is None
    assert why.startswith("some of it was written or touched")


def test_no_repository(tmp_path: Path, home: Path) -> None:
    assert home.is_dir()
    (tmp_path / "train.py").write_text("")
    names, why = changed(begin(tmp_path), tmp_path)
    assert names is None
    assert "was not watched" in why


def test_configuration_files(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.json"
    one.write_text("lr: 1\nseed: 3\n")
    two.write_text('{"lr": 2}')
    start = begin(tmp_path, one, two)
    assert start.config is not None
    assert session.changed_config(start, tmp_path) == ()
    os.utime(one)
    assert session.changed_config(start, tmp_path) == ()
    one.write_text("lr: 3\n")
    two.unlink()
    assert session.changed_config(start, tmp_path) == ("one.yaml", "two.json")
    assert (start.config.values, start.config.seed) == ({"lr": 2, "seed": 3}, 3)  # as the training read it


def test_configuration_objects(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("lr: 1\n")
    assert begin(tmp_path).config is None
    assert session.changed_config(begin(tmp_path), tmp_path) is None
    assert session.changed_config(begin(tmp_path, {"lr": 1}), tmp_path) is None
    both = begin(tmp_path, tmp_path / "one.yaml", {"lr": 1})
    assert both.config is None
    assert session.changed_config(both, tmp_path) is None
    (tmp_path / "one.yaml").write_text("lr: 2\n")
    assert session.changed_config(both, tmp_path) == ("one.yaml",)


@pytest.mark.parametrize("text", [None, "- 1\n", "lr: [\n"])
def test_a_configuration_that_cannot_be_read_is_refused_at_once(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "x.yaml").write_text(text)
    for others in ((), ({"lr": 1},)):
        with pytest.raises(CkptkitError, match=r"x\.yaml") as caught:
            begin(tmp_path, tmp_path / "x.yaml", *others)
        assert caught.value.hint


def test_a_write_after_the_start_bears_a_later_time(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"a")
    data = {tmp_path / "x": "x"}
    start = session.begin(_here(tmp_path), run=RUN, data=data, sources=(), cwd=tmp_path, exclude=())
    (tmp_path / "x").write_bytes(b"b")
    noted = next(state for _, state in start.data[tmp_path / "x"].listing)
    assert (tmp_path / "x").stat().st_ctime_ns > noted.ctime
    assert start.hasher is not None
    start.hasher.end()
