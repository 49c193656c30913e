"""start and Run.save, in scripts as people write them, in real repositories."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trainings
from trainings import REPOSITORY, git

import ckptkit
from ckptkit.api import Run
from ckptkit.errors import CkptkitError

project = trainings.project


START = """
import os, sys, time
from pathlib import Path
import ckptkit
run = ckptkit.start(model="m", config="config.yaml", data={"train": "data/train"})
time.sleep(0.02)
"""

SAVE = """
Path("model.bin").write_bytes(b"weights")
run.save("model.bin")
"""


def script(project: Path, text: str, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    """What became of a training script; without options it is train.py in the project."""
    if not options:
        (project / "train.py").write_text(text)
        git(project, "add", "train.py")
        git(project, "commit", "-qm", "train", "--allow-empty")
    return subprocess.run(
        [sys.executable, "-W", "error", *(options or ["train.py"])],
        cwd=project,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
        | {name: os.environ[name] for name in ("HOME", "CKPTKIT_CACHE", "GIT_CONFIG_NOSYSTEM")}
        | env,
        check=False,
        capture_output=True,
        text=True,
    )


def lineages(project: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted(project.glob("runs/m/v*/lineage.json"))]


def trained(project: Path, between: str = "", **env: str) -> tuple[dict[str, Any], str]:
    """The record of a training that did something between start and save, and what it said on stderr."""
    done = script(project, f"{START}\n{between}\n{SAVE}", **env)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    (lineage,) = lineages(project)
    return lineage, done.stderr


def changes(lineage: dict[str, Any]) -> tuple[Any, Any, Any]:
    data, code, config = lineage["data"][0], lineage["code"], lineage["config"]
    return data["changed_during_run"], code["changed_during_run"], config["changed_during_run"]


def test_a_quiet_run(project: Path) -> None:
    lineage, said = trained(project)
    assert changes(lineage) == ([], [], [])
    assert said.count("\n") == 1
    assert not [fact for fact in lineage["unknown"] if fact.endswith("changed_during_run")]
    assert lineage["data"][0]["observed"] == "in the run"
    assert lineage["config"]["values"] == {"lr": 0.3, "seed": 7}


def test_what_changes_while_it_runs_is_named(project: Path) -> None:
    lineage, said = trained(
        project,
        "Path('data/train/b').write_text('B'); Path('data/train/new').write_text('x')\n"
        "Path('model.py').write_text('SIZE = 4'); Path('config.yaml').write_text('lr: 9')",
    )
    assert changes(lineage) == (["b", "new"], ["model.py"], ["config.yaml"])
    assert "warning: data.train changed while the run went on: b, new\n" in said
    assert lineage["config"]["values"] == {"lr": 0.3, "seed": 7}  # what the training read
    assert lineage["data"][0]["files"] == 3  # what is there at the end


def test_what_a_training_writes_is_no_change_of_code(project: Path) -> None:
    lineage, _ = trained(
        project,
        "Path('logs').mkdir(); Path('logs/events.out').write_text('x'); Path('ckpt-1.pt').write_text('x')\n"
        "import model; Path('config.yaml').unlink()",
    )
    assert changes(lineage) == ([], [], ["config.yaml"])
    assert lineage["config"]["values"] == {"lr": 0.3, "seed": 7}


@pytest.mark.parametrize("how", ["script", "-c"])
def test_a_run_that_goes_elsewhere(project: Path, tmp_path: Path, how: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    text = f"{START}\nos.chdir({str(tmp_path / 'elsewhere')!r})\n{SAVE}"
    done = script(project, text, *(["-c", text] if how == "-c" else []))
    assert done.returncode == 0, done.stderr
    (lineage,) = lineages(project)
    assert changes(lineage) == ([], [], [])
    assert lineage["data"][0]["path"] == "data/train"
    assert lineage["code"]["repository"]["commit"] == git(project, "rev-parse", "HEAD")
    assert list((tmp_path / "elsewhere").iterdir()) == [tmp_path / "elsewhere" / "model.bin"]


def test_each_save_of_a_run_tells_of_all_since_its_start(project: Path) -> None:
    text = f"{START}\nPath('data/train/a').write_text('A')\n{SAVE}\nPath('data/train/b').write_text('B')\n{SAVE}"
    assert script(project, text).returncode == 0
    assert [changes(each)[0] for each in lineages(project)] == [["a"], ["a", "b"]]
    assert len({each["run"]["id"] for each in lineages(project)}) == 1


WORKERS = """
for number in range(3):
    child = os.fork()
    if not child:
        (sys.exit if number else os._exit)(0)
    os.waitpid(child, 0)
"""


@pytest.mark.parametrize(
    ("between", "env"),
    [
        (WORKERS, {}),
        ("other = ckptkit.start(model='other', data={'train': 'data'})", {}),
        ("", {"CKPTKIT_CACHE": "/proc/nowhere"}),
        ("", {"RANK": "1", "WORLD_SIZE": "2"}),  # no framework trains together here
    ],
    ids=["workers", "twice", "no cache", "another rank"],
)
def test_what_a_run_survives(project: Path, between: str, env: dict[str, str]) -> None:
    lineage, said = trained(project, between, **env)
    assert changes(lineage) == ([], [], [])
    assert lineage["data"][0]["digest"]
    assert said.count("\n") == 1


def test_other_ranks_note_no_data_and_save_nothing(project: Path) -> None:
    (project / "torch.py").write_text("")  # what counts is that a framework is loaded
    done = script(
        project, f"import torch\n{START}\nassert not run.noted.data\n{SAVE}", RANK="1", WORLD_SIZE="2", LOCAL_RANK="1"
    )
    assert done.returncode == 0, done.stderr
    assert "not saving m: this is rank 1 of 2 (torchrun)" in done.stderr
    assert lineages(project) == []


def test_without_a_process_of_its_own(project: Path) -> None:
    text = f"import sys\nsys.executable = '/no/python'\n{START}\nassert run.noted.hasher is None\n{SAVE}"
    assert script(project, text).returncode == 0
    assert changes(lineages(project)[0]) == ([], [], [])


def test_data_that_is_gone_by_the_save_loses_nothing_else(project: Path) -> None:
    lineage, said = trained(project, "import shutil; shutil.rmtree('data')")
    assert lineage["data"] == []
    assert lineage["unknown"]["data.train"] == "the dataset train, ./data/train, is not there"
    assert "warning: data.train: the dataset train" in said


def test_outside_of_git(project: Path, tmp_path: Path) -> None:
    (project / ".git").rename(tmp_path / "aside")
    done = script(project, "", "-c", f"{START}\n{SAVE}")
    assert done.returncode == 0, done.stderr
    (lineage,) = lineages(project)
    assert changes(lineage) == ([], None, [])
    assert lineage["unknown"]["code.changed_during_run"]


# From Python, in this process.


def run(**facts: Any) -> Run:
    return ckptkit.start(**({"model": "m"} | facts))


def saved(begun: Run, **facts: Any) -> dict[str, Any]:
    version = begun.save({"w": np.zeros(3, np.float32)}, **facts)
    assert version is not None
    return dict(version.lineage)


def test_configurations(project: Path) -> None:
    assert saved(run(config=["config.yaml", {"lr": 1}]))["config"]["values"] == {"lr": 1, "seed": 7}
    assert saved(run(config={"lr": 2}))["config"]["values"] == {"lr": 2}
    assert saved(run())["config"]["values"] is None
    begun = run(config="config.yaml")
    (project / "config.yaml").write_text("lr: 4\n")
    late = saved(begun, config={"lr": 3})
    assert (late["config"]["values"], late["config"]["changed_during_run"]) == ({"lr": 3}, None)
    assert saved(begun)["config"]["values"] == {"lr": 0.3, "seed": 7}


def test_further_data_and_another_model(project: Path) -> None:
    os.utime(project / "data" / "train" / "a", (1, 1))
    begun = run(data={"train": "data/train"})
    lineage = saved(begun, model="other", data={"test": project / "data" / "train" / "a"})
    assert [(each["name"], each["changed_during_run"]) for each in lineage["data"]] == [("train", []), ("test", None)]
    assert lineage["model"] == "other"


def test_a_ready_manifest_and_a_budget(project: Path) -> None:
    begun = run(data={"train": "data/train"})
    listed = "".join(f"{'0' * 64}  {name}\n" for name in ("a", "b"))
    (project / "ready").write_text(listed)
    (declared,) = saved(begun, manifests={"train": "ready"})["data"]
    assert (declared["observed"], declared["files"], declared["changed_during_run"]) == ("declared", 2, [])
    lineage = saved(begun, data_budget=0)
    (unhashed,) = lineage["data"]
    assert (unhashed["digest"], unhashed["sizes"], unhashed["changed_during_run"]) == (None, "data/train.sizes", [])
    sizes = project / "runs" / lineage["model"] / lineage["version"] / "data" / "train.sizes"
    assert sizes.read_text() == "1  ./a\n1  ./b\n"


REFUSED: dict[str, tuple[Callable[[Path], dict[str, Any]], str]] = {
    "model": (lambda _: {"model": "a/b"}, "model"),
    "model by case": (lambda root: {"model": "M", "root": made(root / "runs", "m")}, "by case alone"),
    "data": (lambda _: {"data": {"train": "nowhere"}}, "the dataset train, .*nowhere, is not there"),
    "data of no kind": (lambda _: {"data": ["data"]}, "the data is a list, no mapping"),
    "data in the root": (lambda root: {"data": {"t": made(root / "runs", "x")}}, "lies in the registry root"),
    "data around the root": (lambda root: {"data": {"t": root}}, "holds the registry root"),
    "config": (lambda _: {"config": "nowhere.yaml"}, "the configuration .*nowhere.yaml cannot be read"),
    "root": (lambda root: {"root": root / "model.py"}, "is not a folder"),
    "root below a file": (lambda root: {"root": root / "model.py" / "x"}, "is not a folder"),
    "root of no kind": (lambda _: {"root": 3}, "is no path for a registry root"),
    "root that is closed": (lambda _: {"root": "/proc/x/runs"}, "cannot be written|not a folder"),
}


def made(root: Path, name: str) -> Path:
    (root / name).mkdir(parents=True)
    (root / name / "file").write_bytes(b"x")
    return root if name == "m" else root / name


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_said_at_once(project: Path, case: str) -> None:
    facts, words = REFUSED[case]
    if case == "root that is closed" and os.access("/proc", os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(CkptkitError, match=words) as caught:
        run(**facts(project))
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_a_save_without_a_name_says_so(project: Path) -> None:
    with pytest.raises(CkptkitError, match="model"):
        ckptkit.start().save("config.yaml")
    assert project.is_dir()
