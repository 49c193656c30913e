"""Other programs: real children, which answer, fail, hang or print without end."""

import os
import time
from pathlib import Path

import pytest
from scripts import python

from ckptkit.capture import command


def test_run_passes_input_environment_and_folder(tmp_path: Path) -> None:
    out = command.run(
        ["sh", "-c", 'cat; echo "$NAME"; pwd'], seconds=20, cwd=tmp_path, env={"NAME": "x"}, stdin=b"in " * 100_000
    )
    assert out == b"in " * 100_000 + f"x\n{tmp_path}\n".encode()


def test_run_says_why_there_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def words(script: str) -> str:
        with pytest.raises(command.ProbeError) as raised:
            command.run(["sh", "-c", script], seconds=20)
        return raised.value.message

    assert words("echo >&2; echo 'bad flag' >&2; echo more >&2; exit 3") == "sh failed with exit status 3: bad flag"
    assert words("kill -9 $$") == "sh failed with signal SIGKILL"
    with pytest.raises(command.ProbeError, match=r"^no-such-program is not installed$"):
        command.run(["no-such-program"], seconds=1)
    with pytest.raises(command.ProbeError, match=r"^sh cannot be run: no such file or directory$"):
        command.run(["sh"], seconds=1, cwd=tmp_path / "gone")
    monkeypatch.setattr(command, "OUTPUT_LIMIT", 1 << 20)
    with pytest.raises(command.ProbeError, match=r"^yes printed more than 1 MB$"):
        command.run(["yes"], seconds=20)


def is_gone(group: int) -> bool:
    for _ in range(100):  # the killed are reaped by the system in its own time
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("script", ["sleep 60 & echo $!; sleep 60", "sleep 60 & echo $!", "exec >&-; sleep 60"])
def test_run_kills_the_whole_session_when_the_time_is_over(script: str, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(command.ProbeError, match=r"^sh timed out after 0.3 s$"):
        command.run(["sh", "-c", f"echo $$ > leader; {script}"], seconds=0.3, cwd=tmp_path)
    assert time.monotonic() - began < 10
    leader = int((tmp_path / "leader").read_text())
    assert is_gone(leader), "background jobs too"


def test_run_works_while_the_interpreter_ends(tmp_path: Path) -> None:
    body = "import atexit; from ckptkit.capture import command\n"
    body += "atexit.register(lambda: print(command.run(['echo', 'x'], seconds=20)))"
    assert python("-c", body, cwd=tmp_path) == "b'x\\n'\n"
