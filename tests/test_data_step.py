import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import ckptkit
from ckptkit.cli import main
from ckptkit.data import sidecar
from ckptkit.errors import CkptkitError
from ckptkit.record import Sidecar
from ckptkit.verbs.check import check

REPOSITORY = Path(__file__).parent.parent
SCHEMA = json.loads((REPOSITORY / "ckptkit" / "schemas" / "step.schema.json").read_text())
KEEP = "grep . data/raw.txt > data/kept.txt"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "raw.txt").write_text("one\n\ntwo\n")
    return tmp_path


def run(
    *words: str, script: str, name: str = "filter", source: str = "data/raw.txt", out: str = "data/kept.txt"
) -> int:
    return main(["data", "step", name, "--in", source, "--out", out, *words, "--", "sh", "-c", script])


def read(output: str = "data/kept.txt") -> Sidecar:
    found = sidecar.read(Path(output).absolute())
    assert found is not None
    jsonschema.validate(json.loads(sidecar.path(Path(output)).read_bytes()), SCHEMA)
    return found


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def git(*words: str) -> str:
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout.strip()


def test_a_step_is_recorded_beside_its_output(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("--param", "least=1", "--param", "mode=no", script=f"{KEEP}; echo out; echo err >&2") == 0
    assert capfd.readouterr() == ("out\n", "err\nckptkit: the record of filter is data/kept.txt.lineage.json\n")
    step = read().step
    [source] = step.inputs
    assert (step.name, step.by, step.params) == ("filter", "ckptkit", {"least": 1, "mode": "no"})
    assert step.command == ("sh", "-c", f"{KEEP}; echo out; echo err >&2")
    assert (source.path, source.digest, source.rows, source.files) == ("data/raw.txt", sha256(b"one\n\ntwo\n"), 3, 1)
    assert (step.output.path, step.output.digest) == ("data/kept.txt", sha256(b"one\ntwo\n"))
    assert (step.output.rows, step.output.bytes, step.output.kind) == (2, 8, "file")
    assert step.started is not None
    assert step.finished is not None
    assert step.started <= step.finished
    assert step.seconds is not None
    assert 0 <= step.seconds < 60
    assert read().unknown == {"step.code": "not in a git repository"}
    assert step.code is None


def test_the_state_of_the_code_is_that_before_the_command_and_data_is_no_code(here: Path) -> None:
    git("init", "-q")
    (here / "filter.sh").write_text(KEEP)
    git("add", "filter.sh")
    git("commit", "-qm", "first")
    assert run(script=f"{KEEP}; echo changed >> filter.sh") == 0
    code = read().step.code
    assert code is not None
    assert (code.commit, code.dirty, code.tree) == (git("rev-parse", "HEAD"), False, git("rev-parse", "HEAD^{tree}"))
    assert run(script=KEEP) == 0
    code = read().step.code
    assert code is not None
    assert code.dirty
    assert code.tree != git("rev-parse", "HEAD^{tree}")


def test_what_other_steps_made_is_no_code_either() -> None:
    git("init", "-q")
    git("add", "data/raw.txt")
    git("commit", "-qm", "first")
    assert run(script=KEEP) == 0
    assert run(script="sort data/kept.txt > data/sorted.txt", source="data/kept.txt", out="data/sorted.txt") == 0
    assert run(script="sort data/sorted.txt > data/last.txt", source="data/sorted.txt", out="data/last.txt") == 0
    code = read("data/last.txt").step.code
    assert code is not None
    assert (code.dirty, code.tree) == (False, git("write-tree"))


def test_parameters_are_json_or_text_and_secrets_stay_out() -> None:
    words = {
        "int": ("-3", -3),
        "float": ("1e-3", 0.001),
        "half": (".5", ".5"),
        "yes": ("true", True),
        "list": ('[1, "a"]', [1, "a"]),
        "nan": ("NaN", "NaN"),
        "none": ("null", None),
        "id": ("007", "007"),
        "clock": ("12:30", "12:30"),
        "huge": ("9" * 5000, "9" * 5000),
        "text": ("a=b c", "a=b c"),
        "api_key": ("abc", "<redacted:api-key>"),
    }
    given = [word for key, (text, _) in words.items() for word in ("--param", f"{key}={text}")]
    assert run(*given, script=f"{KEEP}; : --token=hf_{'a' * 32}1") == 0
    assert read().step.params == {key: value for key, (_, value) in words.items()}
    assert "hf_a" not in sidecar.path(Path("data/kept.txt")).read_text()


def test_with_json_stdout_is_one_document(capfd: pytest.CaptureFixture[str]) -> None:
    assert run("--json", script=f"{KEEP}; echo out") == 0
    told = capfd.readouterr()
    assert json.loads(told.out) == json.loads(sidecar.path(Path("data/kept.txt")).read_bytes())
    assert told.err == "out\n"


def test_a_command_that_fails_leaves_no_record_and_the_earlier_one_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(script=f"{KEEP}; exit 7") == 1
    assert capfd.readouterr().err == "ckptkit: sh ended with exit status 7: nothing was recorded\n"
    assert sorted(os.listdir("data")) == ["kept.txt", "raw.txt"]
    assert run(script=KEEP) == 0
    before = sidecar.path(Path("data/kept.txt")).read_bytes()
    assert run(script="echo half > data/kept.txt; kill -9 $$") == 1
    assert "sh ended with signal SIGKILL" in capfd.readouterr().err
    assert sidecar.path(Path("data/kept.txt")).read_bytes() == before


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("f --in data/raw.txt --out data/kept.txt", "the following arguments are required: COMMAND"),
        ("f --in data/raw.txt -- true", "the following arguments are required: --out"),
        ("f --in data/raw.txt --out data/kept.txt -- no-such-command", "there is no command 'no-such-command'"),
        ("f --in data/raw.txt --out data/kept.txt -- data/raw.txt", "there is no command 'data/raw.txt'"),
        ("f --in data/none --out data/kept.txt -- true", "none is not there"),
        ("f --in data/raw.txt --out data/kept.txt -- true", "the step f did not make"),
        ("f --in data/raw.txt --out data/raw.txt -- true", "data/raw.txt is both input and output"),
        ("f --in= --out data/kept.txt -- true", "the path of an input is empty"),
        ("f --in data --out data/kept.txt -- true", "lie in one another"),
        ("f --in data/raw.txt --out data -- true", "lie in one another"),
        ("f --in data/raw.txt --out runs/a/b -- true", "lies in the registry root"),
        ("f --in data/raw.txt --out . -- true", "holds the registry root"),
        ("f --in data/raw.txt --out data/x --param least -- true", "--param 'least' has no '='"),
    ],
)
def test_wrong_use_is_one_line(capfd: pytest.CaptureFixture[str], words: str, expected: str) -> None:
    assert main(["data", "step", *words.split()]) == 2
    said = capfd.readouterr().err
    assert expected in said.replace(",", "")
    assert "hint: " in said
    assert said.count("\n") == 1
    assert not list(Path("data").glob("*.lineage.json"))


def test_an_output_that_the_command_left_alone_is_not_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    Path("data/kept.txt").write_text("of long ago\n")
    assert run(script="true") == 2
    assert "left" in capfd.readouterr().err
    assert run(script=KEEP) == 0
    before = sidecar.path(Path("data/kept.txt")).read_bytes()
    assert run(script="test data/kept.txt -nt data/raw.txt") == 0
    assert "was left as it was: its record of 20" in capfd.readouterr().err
    assert run("--param", "least=2", script="true") == 2
    assert sidecar.path(Path("data/kept.txt")).read_bytes() == before


def test_a_folder_in_and_a_folder_out(here: Path) -> None:
    (here / "raw").mkdir()
    (here / "raw" / "a.jsonl").write_text("{}\n{}\n")
    (here / "raw" / "b.jsonl").write_text("{}\n")
    assert run(script="cp -r raw clean", source="raw", out="clean/") == 0
    step = read("clean").step
    assert (step.inputs[0].kind, step.inputs[0].files, step.inputs[0].rows) == ("directory", 2, 3)
    assert (step.output.path, step.output.digest) == ("clean", step.inputs[0].digest)
    assert run("--param", "again=1", script="true", source="raw", out="clean") == 2
    assert run("--param", "again=1", script="touch clean/b.jsonl", source="raw", out="clean") == 0


def test_an_input_that_changes_under_the_command_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(script=f"{KEEP}; echo three >> data/raw.txt") == 0
    assert "warning: the input data/raw.txt changed while the step ran" in capfd.readouterr().err
    found = read()
    assert found.step.inputs[0].digest is None
    assert "changed while the step ran" in found.unknown["step.inputs[0].digest"]
    assert run(script="mv data/raw.txt data/kept.txt") == 0
    assert read().step.inputs[0].digest == sha256(b"one\n\ntwo\nthree\n")


def test_an_address_is_recorded_as_remote() -> None:
    assert run(script="echo one > data/kept.txt", source="https://user:pw@example.org/raw?X-Amz-Signature=abc") == 0
    [source] = read().step.inputs
    assert (source.kind, source.digest, source.path) == ("remote", None, None)
    assert source.source == {"url": "https://example.org/raw"}
    assert read().unknown["step.inputs[0].digest"] == "is remote: its content was not read"


WAITING = """
trap 'echo got INT > told; exit 0' INT
trap 'echo got TERM > told; exit 0' TERM
echo > data/kept.txt; touch ready; while :; do sleep 0.05; done
"""


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 1, "sh ended with signal SIGTERM: nothing was recorded")],
)
def test_a_signal_reaches_the_command_which_may_clean_up(here: Path, number: int, code: int, said: str) -> None:
    words = ["data", "step", "f", "--in", "data/raw.txt", "--out", "data/kept.txt", "--", "sh", "-c", WAITING]
    child = subprocess.Popen(
        [sys.executable, "-m", "ckptkit", *words],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + 60
    while not (here / "ready").exists() and time.monotonic() < end:
        time.sleep(0.02)
    child.send_signal(number)
    _, told = child.communicate(timeout=60)
    assert (child.returncode, told) == (code, f"ckptkit: {said}\n")
    assert (here / "told").read_text() == f"got {signal.Signals(number).name[3:]}\n"
    assert not (here / "data" / "kept.txt.lineage.json").exists()


def test_a_step_in_python(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = here / "data" / "tokens.npy"
    given = [np.arange(6).reshape(3, 2), "data/raw.txt"]
    with ckptkit.data_step("tokenise", inputs=given, output=out, params={"rate": np.float32(0.5)}) as step:
        np.save(out, np.arange(3))
        step.params["kept"] = 3
        step.params["password"] = "s3cret"  # noqa: S105 - what is to be redacted
    assert capfd.readouterr() == ("", "ckptkit: the record of tokenise is data/tokens.npy.lineage.json\n")
    step_ = read("data/tokens.npy").step
    assert step_.params == {"rate": 0.5, "kept": 3, "password": "<redacted:password>"}
    memory, file = step_.inputs
    assert (memory.kind, memory.rows, memory.path) == ("memory", 3, None)
    assert memory.digest is not None
    assert file.path == "data/raw.txt"
    assert step_.output.digest == sha256(out.read_bytes())
    assert step_.command is not None


def test_what_a_block_does_to_its_input_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    array = np.arange(3)
    with ckptkit.data_step("f", inputs=array, output="data/kept.npy"):
        np.save("data/kept.npy", array)
        array[0] = 7
    assert "the input (in memory) changed while the step ran" in capfd.readouterr().err
    assert read("data/kept.npy").step.inputs[0].digest is None


def test_after_an_exception_there_is_no_record() -> None:
    def fail() -> None:
        Path("data/kept.txt").write_text("half\n")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), ckptkit.data_step("f", inputs="data/raw.txt", output="data/kept.txt"):
        fail()
    assert not sidecar.path(Path("data/kept.txt")).exists()
    with pytest.raises(CkptkitError, match="did not make"), ckptkit.data_step("f", inputs=[], output="data/none"):
        pass


def example(script: str) -> None:
    subprocess.run(
        [sys.executable, "-W", "error", f"examples/text/{script}.py"],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        check=True,
        capture_output=True,
    )


def steps(version: str) -> list[tuple[Any, ...]]:
    lineage = json.loads(Path("runs", "text", version, "lineage.json").read_text())
    return [(step["name"], step["link"], step["output"]["rows"]) for step in lineage["data"][0]["steps"]]


def test_the_example_ends_in_a_version_with_the_whole_chain(here: Path) -> None:
    shutil.copytree(REPOSITORY / "examples" / "text", here / "examples" / "text", ignore=shutil.ignore_patterns("data"))
    (here / "pyproject.toml").touch()
    example("prepare")
    example("train")
    assert steps("v0001") == [
        ("filter", "verified", 133),
        ("deduplicate", "verified", 120),
        ("tokenise", "verified", None),
    ]
    assert check(here / "runs").overall
    assert "CK304" not in {finding.code for finding in check(here / "runs").findings}
    with (here / "examples" / "text" / "data" / "unique.txt").open("a") as file:
        file.write("A line by hand.\n")
    example("train")
    [broken] = [finding for finding in check(here / "runs").findings if finding.code == "CK304"]
    assert broken.subject.endswith("v0002")
    assert "break at deduplicate" in broken.message
    assert "examples/text/data/unique.txt was written to after the step" in broken.message
