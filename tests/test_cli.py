"""The command: exit codes, streams that are closed or full, help, and what --json prints."""

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from registries import publish

import ckptkit
from ckptkit import cli, documents
from ckptkit.cli import everyday, main

HOME = str(Path(ckptkit.__file__).parents[1])
VERBS = ("save", "check", "list", "show", "path", "index")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry with two versions of penguins, below the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    version(tmp_path / "runs", metrics={"loss": 0.5})
    version(tmp_path / "runs", metrics={"loss": 0.25}, aliases=["champion"])
    return tmp_path / "runs"


def version(root: Path, **facts: Any) -> None:
    """A version without errors."""
    sha256 = hashlib.sha256(documents.dump_yaml({"seed": 7}).encode()).hexdigest()
    given: dict[str, Any] = {"config__values": {"seed": 7}, "config__sha256": sha256, "files": {"w.txt": b"0.1"}}
    publish(root, code__environment__requirements=None, **given | facts)


def shell(command: str) -> subprocess.CompletedProcess[str]:
    """A command line, in which ``ckptkit`` is the package at hand."""
    script = f'ckptkit() {{ "{sys.executable}" -m ckptkit "$@"; }}\n{command}'
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": HOME}
    )


def is_clean(errors: str) -> bool:
    """Whether there is at most one line, and it is ours."""
    return errors == "" or (errors.startswith("ckptkit: ") and errors.count("\n") == 1)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "no verb is given (hint: the verbs are save, check, list, show, path, alias"),
        (["--root", "x"], 2, "hint: "),
        (["lst"], 2, "'lst'"),
        (["list", "--nonsense"], 2, "--nonsense"),
        (["list", "seals"], 1, "no model 'seals'"),
        (["list", "--root", "none"], 1, "no registry at"),
        (["list", "--sort", "nonsense"], 2, "no version here has a column 'nonsense'"),
        (["list", "--sort"], 2, "--sort: expected one argument"),
        (["list", "--sort", "--json"], 2, "--sort: expected one argument"),
        (["show", "penguins@nobody"], 1, "nobody"),
        (["show"], 2, "REF"),
        (["path", "penguins", "nothing"], 1, "penguins/v0002 lists no nothing"),
        (["path", "penguins", "../x"], 2, "is no path in a version"),
        (["check", "none"], 2, "none does not exist"),
        (["check", "--explain", "CK999"], 2, "CK999"),
        (["save", "none", "--model", "m"], 2, "none"),
    ],
)
@pytest.mark.usefixtures("root")
def test_refusals_are_one_line(words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert is_clean(err)
    assert said in err


def test_the_answer_of_check_is_its_exit_code(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--select", "CK2"]) == 0
    (root / "penguins" / "v0001" / "w.txt").unlink()  # a warning, as weights may be elsewhere
    assert main(["check", "--select", "CK2"]) == 0
    assert main(["check", "--select", "CK2", "--strict"]) == 1
    assert main(["check", "--select", "CK2", "--deep"]) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("option", "given"),
    [
        ("--metric", ("loss=1", "loss=2")),
        ("--metric", ("test/loss=1", "test/loss=1")),
        ("--data", ("a=x", "a=y")),
        ("--tag", ("a=x", "a=y")),
        ("--card", ("license=mit", "license=mit")),
    ],
)
def test_what_is_given_twice_is_refused(
    root: Path, option: str, given: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (root.parent / "w.bin").write_bytes(b"w")
    assert main(["save", "w.bin", "--model", "m", *(word for each in given for word in (option, each))]) == 2
    assert f"{option} {given[0].partition('=')[0]} is given twice" in capsys.readouterr().err
    assert not (root / "m").exists()


@pytest.mark.parametrize("words", [["--sort", "-loss"], ["--sort=-loss"], ["--sort", "-metric:loss"]])
@pytest.mark.usefixtures("root")
def test_a_dash_before_the_column_descends(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", *words, "--columns", "loss", "--csv"]) == 0
    assert capsys.readouterr().out.splitlines() == ["version,loss", "penguins/v0001,0.5", "penguins/v0002,0.25"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_heeds_the_settings(
    root: Path, verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CKPTKIT_ROOT", str(root))
    (root.parent / "pyproject.toml").write_text('[tool.ckptkit]\nrot = "models"\n')
    arguments = {"save": ["w.bin", "--model", "m"], "show": ["penguins"], "path": ["penguins"]}.get(verb, [])
    assert main([verb, *arguments]) == 2
    assert "pyproject.toml" in capsys.readouterr().err


def test_a_working_directory_that_is_gone(root: Path) -> None:
    found = shell(f"mkdir gone; cd gone; rmdir ../gone; ckptkit list --root {root}")
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith("ckptkit: the working directory does not exist any more")


def test_help_names_every_verb_and_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n    {verb} " in text for verb in VERBS)
    for verb in VERBS:
        assert main([verb, "--help"]) == 0
        out, err = capsys.readouterr()
        assert f"ckptkit {verb}" in out
        assert err == ""
    assert main(["list", "--help"]) == 0
    assert "--sort -COLUMN" in " ".join(capsys.readouterr().out.split())
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ckptkit {ckptkit.__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        ["list", "--json"],
        ["list", "--json", "--csv"],
        ["show", "penguins", "--json"],
        ["check", "--json"],
        ["check", "--format", "json"],
        ["check", "--json", "--format", "github"],
        ["index", "--json"],
        ["save", "w.bin", "--model", "m", "--json"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("damage", [None, "lineage.json", "SHA256SUMS"])
def test_json_is_one_document(
    root: Path, words: list[str], damage: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    (root.parent / "w.bin").write_bytes(b"w")
    if damage:
        (root / "penguins" / "v0001" / damage).unlink()
        (root / "index.json").unlink()
    assert main(words) == (words[0] == "check")  # of cards that are none
    found: Any = json.loads(capsys.readouterr().out)
    assert found["schema"].startswith("ckptkit/")


def test_json_of_save_bears_what_is_warned_about(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root.parent / "w.bin").write_bytes(b"w")
    (root / "index.json").unlink()
    (root / "index.json").mkdir()
    assert main(["save", "w.bin", "--model", "m", "--json"]) == 0
    out, err = capsys.readouterr()
    [warning] = json.loads(out)["warnings"]
    assert err == f"ckptkit: warning: {warning}\n"


@pytest.mark.usefixtures("root")
def test_a_message_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--root", "a\x1b[2J\n\u202eb"]) == 1
    assert r"a\x1b[2J \u202eb" in capsys.readouterr().err


@pytest.mark.usefixtures("root")
def test_an_unexpected_fault_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("a\nb")

    monkeypatch.setattr(everyday, "_list", fail)
    assert main(["list"]) == 3
    assert is_clean(capsys.readouterr().err)
    monkeypatch.setattr(everyday, "_list", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main(["list"]) == 130


@pytest.mark.parametrize(
    ("command", "code"),
    [
        *((f"ckptkit {words} >&-", 2) for words in ("list", "list --json", "show penguins", "--help", "--version")),
        *((f"ckptkit {words} >&- <&-", 2) for words in ("list", "index")),
        ("ckptkit list > /dev/full", 2),
        ("ckptkit --help > /dev/full", 2),
        ("ckptkit list seals >&-", 1),
        ("ckptkit list 2>&-", 0),
        ("ckptkit list seals 2>&-", 1),
        ("ckptkit list seals 2>/dev/full", 1),
        ("ckptkit check --select CK2 2>&- <&-", 0),
        ("ckptkit nonsense 2>&-", 2),
        ("ckptkit list >&- 2>&- <&-", 2),
        ("ckptkit list seals >&- 2>&- <&-", 1),
        ("ckptkit path penguins 2>&-", 0),
    ],
)
@pytest.mark.usefixtures("root")
def test_streams_that_are_closed_or_full(command: str, code: int) -> None:
    found = shell(command)
    assert found.returncode == code
    assert is_clean(found.stderr)
    assert not (code == 2 and "2>" not in command) or "the output cannot be written" in found.stderr


def test_saving_without_streams_keeps_the_files_as_they_are(root: Path) -> None:
    (root.parent / "w.bin").write_bytes(b"w" * 5000)
    found = shell("git init -q; ckptkit save w.bin --model m <&- 2>&-; ckptkit path m")
    assert found.returncode == 0
    assert found.stderr == ""
    assert (root / "m" / "v0001" / "w.bin").read_bytes() == b"w" * 5000


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.usefixtures("root")
def test_a_stream_that_the_program_itself_closed(stream: str) -> None:
    code = f"import sys; from ckptkit.cli import main; sys.{stream}.close(); sys.exit(main(['list']))"
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": HOME},
    )
    assert found.returncode == (2 if stream == "stdout" else 0)
    assert is_clean(found.stderr)


def test_a_reader_who_has_seen_enough_changes_no_exit_code(root: Path) -> None:
    for _ in range(40):
        version(root)
    (root / "penguins" / "v0001" / "SHA256SUMS").unlink()
    for words, code in (("list", 0), ("check", 1), ("check --format json", 1), ("--help", 0)):
        found = shell(f"set -o pipefail; ckptkit {words} | true")
        assert (found.returncode, found.stderr) == (code, "")


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.usefixtures("root")
def test_lines_fit_a_terminal(columns: int) -> None:
    for words, most in (
        ("show penguins", max(60, min(columns, 100))),
        ("list", max(columns, 65)),
        ("check", max(columns, 70)),
    ):
        text, code = on_terminal(words.split(), columns)
        assert code == (words == "check")
        plain = [line for line in text.splitlines() if "load  " not in line]
        assert max(map(len, plain)) <= most
        assert "\x1b" not in text


def on_terminal(words: list[str], columns: int) -> tuple[str, int]:
    """What a verb prints on a terminal that is so wide, and its exit code."""
    import fcntl
    import pty
    import struct
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    with subprocess.Popen(
        [sys.executable, "-m", "ckptkit", *words],
        stdout=follower,
        env=environment | {"PYTHONPATH": HOME, "NO_COLOR": "1"},
    ) as process:
        os.close(follower)
        text = b""
        try:
            while data := os.read(leader, 65536):
                text += data
        except OSError:  # the last writer has gone
            pass
        os.close(leader)
    return text.decode(), process.returncode


def test_each_verb_is_where_it_is_looked_for(capsys: pytest.CaptureFixture[str]) -> None:
    for group in cli._GROUPS:
        verbs = argparse.ArgumentParser().add_subparsers()
        group.add(verbs)
        assert set(verbs.choices) == set(group.VERBS)
        assert main(["--help"]) == 0
        printed = capsys.readouterr().out
        assert all(f"    {verb}" in printed for verb in group.VERBS)
        assert all(main([verb, "--help"]) == 0 for verb in group.VERBS)


@pytest.mark.usefixtures("root")
def test_an_alias_moves_only_to_what_is_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "w.bin").write_bytes(b"weights")
    for loss, words in (("0.3", "it stood nowhere"), ("0.5", "is not below 0.3"), ("0.2", "is below 0.3")):
        save = ["save", str(tmp_path / "w.bin"), "--model", "m", "--alias", "best", "--if", "loss:min"]
        assert main([*save, "--metric", f"loss={loss}"]) == 0
        assert words in capsys.readouterr().err
    assert main(["path", "m@best", "--no-verify"]) == 0
    assert capsys.readouterr().out.endswith("/m/v0003\n")


def test_an_interrupt_while_it_starts_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "argparse.py").write_text("raise KeyboardInterrupt\n")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(Path(ckptkit.__file__).parents[1])))}
    done = subprocess.run([sys.executable, "-m", "ckptkit"], capture_output=True, check=False, env=env, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (130, b"")
