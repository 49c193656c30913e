"""Whose stage may be swept away: a dead process's of this host, any that is a day old and not held; no living one."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from registries import publish

from ckptkit import publication, roots

LIVING = """
import sys
from pathlib import Path

from ckptkit import publication

with publication.open_stage(Path(sys.argv[1])) as stage:
    print(stage.home, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    roots.open_root(tmp_path / "runs")
    return tmp_path / "runs"


class Owner:
    """Another process, with a stage of its own."""

    def __init__(self, root: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", LIVING, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout
        self.stage = Path(self._process.stdout.readline().strip())
        assert self.stage.is_dir()

    def die(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def owner(root: Path) -> Iterator[Owner]:
    owner = Owner(root)
    yield owner
    owner.die()


def make_old(stage: Path) -> None:
    then = time.time() - 2 * 86_400
    for path in (*stage.rglob("*"), stage):
        os.utime(path, (then, then))


def from_another_host(stage: Path) -> None:
    """As if the registry was on a disk that several machines share."""
    (stage / "host").write_text("0123456789abcdef")


def test_a_living_stage_stays_however_old_and_wherever_from(root: Path, owner: Owner) -> None:
    make_old(owner.stage)
    publish(root)
    assert owner.stage.is_dir()
    from_another_host(owner.stage)
    make_old(owner.stage)
    publish(root)
    assert (owner.stage / "version").is_dir()


def test_a_dead_stage_of_this_host_is_swept_at_once(root: Path, owner: Owner) -> None:
    owner.die()
    publish(root)
    assert not owner.stage.exists()


def test_a_dead_stage_of_another_host_is_swept_after_a_day(root: Path, owner: Owner) -> None:
    from_another_host(owner.stage)
    owner.die()
    publish(root)
    assert owner.stage.is_dir()
    make_old(owner.stage)
    publish(root)
    assert not owner.stage.exists()


def test_a_stage_that_is_published_while_others_sweep_is_whole(root: Path) -> None:
    with publication.open_stage(root) as mine:
        make_old(mine.home)
        publish(root)
        assert mine.folder.is_dir()
