"""Every system call that changes the file system, hit: by SIGKILL, and by a disk that is full, broken or forbidden.

A sample in the daily tests. All of it, in about half an hour: ``CKPTKIT_ALL_FAULTS=1 pytest tests/faults``.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from commands import COMMANDS, Command, Judge, furnish, words
from strace import Call, Run, Tracer, obstacle

ALL = bool(os.environ.get("CKPTKIT_ALL_FAULTS"))
KILLS, ERRORS = 3, ("ENOSPC", "EIO", "EACCES")

pytestmark = [
    pytest.mark.skipif(bool(obstacle()), reason=obstacle() or "none"),
    pytest.mark.timeout(1800 if ALL else 300),
]

T = TypeVar("T")


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = tmp_path_factory.mktemp("furnished")
    furnish(workspace)
    return workspace


@pytest.fixture(scope="session")
def tracer(tmp_path_factory: pytest.TempPathFactory) -> Tracer:
    return Tracer(bytecode=tmp_path_factory.mktemp("bytecode"))


class Trial:
    """One command, tried on copies of one workspace with a fault at one call after the other."""

    def __init__(self, command: Command, furnished: Path, tracer: Tracer, folder: Path) -> None:
        self.command, self.tracer = command, tracer
        self._furnished, self._folder = furnished, folder
        self._traced(self.workspace("compiled"))
        after = self.workspace("after")
        self.calls = self._traced(after)
        self.judge = Judge(command, self.workspace("before"), after)

    def workspace(self, name: str) -> Path:
        workspace = shutil.copytree(self._furnished, self._folder / name, symlinks=True)
        self.command.before(workspace)
        return workspace

    def _traced(self, workspace: Path) -> list[Call]:
        return self.tracer.changes(words(self.command.words, workspace), workspace)

    def each(self, faults: Sequence[T], hit: Callable[[list[str], Path, T], Run]) -> Iterator[tuple[T, Path, Run]]:
        """Each fault with the workspace and what came of the run."""

        def attempt(number: int) -> tuple[T, Path, Run]:
            workspace = self.workspace(str(number))
            return faults[number], workspace, hit(words(self.command.words, workspace), workspace, faults[number])

        with ThreadPoolExecutor(os.cpu_count()) as workers:
            for fault, workspace, run in workers.map(attempt, range(len(faults))):
                yield fault, workspace, run
                shutil.rmtree(workspace)

    def wrongs(self, number: int, workspace: Path, *, done: bool | None) -> Iterator[str]:
        mends = self.command.mends
        return self.judge.wrongs(workspace, mend=mends[number % len(mends)], done=done)


@pytest.fixture(params=COMMANDS, ids=lambda command: command.name)
def trial(
    request: pytest.FixtureRequest,
    furnished: Path,
    tracer: Tracer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Trial:
    monkeypatch.chdir(tmp_path)
    return Trial(request.param, furnished, tracer, tmp_path)


def sample(calls: Sequence[Call], count: int) -> Sequence[Call]:
    """All calls, or so many of them at equal distances."""
    return calls if ALL else calls[len(calls) // count // 2 :: max(len(calls) // count, 1)]


def test_a_command_that_is_killed_leaves_all_or_nothing(trial: Trial) -> None:
    wrong = []
    for number, (call, workspace, run) in enumerate(trial.each(sample(trial.calls, KILLS), trial.tracer.kill)):
        assert (run.code, run.hit) == (-9, True), f"not killed at {call}: {run}"
        wrong += [f"killed at {call}: {words}" for words in trial.wrongs(number, workspace, done=None)]
    assert not wrong, "\n".join(wrong)


def test_a_disk_that_refuses_is_told_in_one_line_and_loses_nothing(trial: Trial) -> None:
    faults = [(call, error) for call in trial.calls for error in ERRORS]
    if not ALL:
        faults = [(call, ERRORS[n % len(ERRORS)]) for n, call in enumerate(sample(trial.calls, 2 * KILLS))]

    def hit(words: list[str], workspace: Path, fault: tuple[Call, str]) -> Run:
        return trial.tracer.fail(words, workspace, *fault)

    wrong = []
    for number, ((call, error), workspace, run) in enumerate(trial.each(faults, hit)):
        assert run.hit, f"not hit: {call}"
        told = [*_unclean(run), *trial.wrongs(number, workspace, done=run.code == 0)]
        wrong += [f"{error} at {call}: {words} [{run.code}: {run.stderr.strip()}]" for words in told]
    assert not wrong, "\n".join(wrong)


def _unclean(run: Run) -> Iterator[str]:
    """What is not right about how a command told of a fault."""
    lines = [line for line in run.stderr.splitlines() if not line.startswith("ckptkit: warning: ")]
    if run.code not in {0, 2}:
        yield f"the exit code is {run.code}"
    if len(lines) != (run.code == 2) or not all(line.startswith("ckptkit: ") for line in lines):
        yield "it is not told in one line"
