"""Links: real runs of other systems where they are installed, their shapes where not, and addresses."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scripts import REPOSITORY, python

from ckptkit.capture import links
from ckptkit.errors import CkptkitError
from ckptkit.record import Link

TELL = """
import json, sys
from ckptkit.capture import links

def tell():
    unknown = {}
    found = links.links(unknown)
    return [[each.system, each.id, each.url] for each in found], unknown
"""
ON_A_LAPTOP = """
import os, types
os.uname = lambda: types.SimpleNamespace(nodename="ada-laptop")
"""


def told(script: str, cwd: Path, **env: str) -> Any:
    """What a script prints as JSON in its last line; it has ``tell``, which is what is found and the reasons."""
    path = cwd / "train.py"
    path.write_text(TELL + script)
    return json.loads(python(path, cwd=cwd, **env).splitlines()[-1])


def stand_in(folder: Path, name: str, text: str) -> None:
    """A small module of that name, where scripts find it first."""
    file = folder.joinpath(*name.split(".")).with_suffix(".py")
    file.parent.mkdir(parents=True, exist_ok=True)
    for depth in range(1, name.count(".") + 1):
        file.parents[depth - 1].joinpath("__init__.py").touch()
    file.write_text(text)


def test_nothing_is_imported(tmp_path: Path) -> None:
    script = """
before = set(sys.modules)
assert tell() == ([], {})
systems = {"wandb", "mlflow", "trackio", "tensorboard", "tensorflow", "psutil"}
print(json.dumps(sorted(systems & (set(sys.modules) - before))))
"""
    assert told(script, tmp_path) == []


WANDB = """
class Run:
    id, project, disabled = "1a2b", "penguins", False
    offline = {offline}
    @property
    def url(self):
        assert not self.offline, "it complains"
        return "https://ada:secret@wandb.ai/ada/penguins/runs/1a2b?apiKey=abc"
run = {run}
"""


@pytest.mark.parametrize(
    ("offline", "run", "found"),
    [
        (False, "Run()", [["wandb", "penguins/1a2b", "https://wandb.ai/ada/penguins/runs/1a2b"]]),
        (True, "Run()", [["wandb", "penguins/1a2b", None]]),
        (True, "None", []),
    ],
)
def test_shapes_of_wandb(offline: bool, run: str, found: list[Any], tmp_path: Path) -> None:  # noqa: FBT001 - a parameter
    stand_in(tmp_path, "wandb", WANDB.format(offline=offline, run=run))
    assert told("import wandb; print(json.dumps(tell()))", tmp_path) == [found, {}]


def test_a_name_does_not_tell_the_host(tmp_path: Path) -> None:
    stand_in(tmp_path, "wandb", WANDB.format(offline=True, run="Run()"))
    script = ON_A_LAPTOP + "import wandb; wandb.Run.project = 'on_ada-laptop'; print(json.dumps(tell()))"
    assert told(script, tmp_path) == [[["wandb", "on_<host>/1a2b", None]], {}]


def test_a_module_of_that_name_which_is_another_is_told(tmp_path: Path) -> None:
    (tmp_path / "wandb").mkdir()  # wandb's own folder of runs, found as a package
    assert told("import wandb; print(json.dumps(tell()))", tmp_path) == [[], {}]
    stand_in(tmp_path, "wandb", "run = 5")
    (tmp_path / "wandb").rmdir()
    found, unknown = told("import wandb; print(json.dumps(tell()))", tmp_path)
    assert found == []
    assert unknown["run.links"].startswith("wandb: AttributeError: ")


MLFLOW = """
import types
def active_run():
    return types.SimpleNamespace(info=types.SimpleNamespace(run_id="f00d", experiment_id="3"))
"""


@pytest.mark.parametrize(
    ("uri", "url"),
    [
        ("https://ada:secret@mlflow.example.org/team/", "https://mlflow.example.org/team/#/experiments/3/runs/f00d"),
        ("http://10.0.0.7:5000", "http://10.0.0.7:5000/#/experiments/3/runs/f00d"),
        ("sqlite:////home/ada/mlflow.db", None),
        ("file:///home/ada/mlruns", None),
        ("databricks", None),
    ],
)
def test_shapes_of_mlflow(uri: str, url: str | None, tmp_path: Path) -> None:
    stand_in(tmp_path, "mlflow.tracking.fluent", MLFLOW)
    (tmp_path / "mlflow" / "__init__.py").write_text(f"def get_tracking_uri(): return {uri!r}\n")
    assert told("import mlflow.tracking.fluent; print(json.dumps(tell()))", tmp_path) == [[["mlflow", "f00d", url]], {}]


TRACKIO = """
import contextvars, types
current_run = contextvars.ContextVar("current_run", default=types.SimpleNamespace(project="penguins", name="brave-0"))
current_server = contextvars.ContextVar("current_server", default={server!r})
"""


@pytest.mark.parametrize(
    ("space", "server", "url"),
    [
        ("ada/trackio", None, "https://huggingface.co/spaces/ada/trackio"),
        (None, "https://trackio.example.org/?write_token=secret", "https://trackio.example.org/"),
        (None, None, None),
    ],
)
def test_shapes_of_trackio(space: str | None, server: str | None, url: str | None, tmp_path: Path) -> None:
    variable = f'current_space_id = contextvars.ContextVar("current_space_id", default={space!r})' if space else ""
    stand_in(tmp_path, "trackio.context_vars", TRACKIO.format(server=server) + variable)
    found = told("import trackio.context_vars; print(json.dumps(tell()))", tmp_path)
    assert found == [[["trackio", "penguins/brave-0", url]], {}]


def test_event_files_that_tensorflow_holds_open(tmp_path: Path) -> None:
    stand_in(tmp_path, "tensorflow", "")
    script = """
import os, tensorflow
os.makedirs("logs/one"); os.makedirs("logs/two")
writer = open("logs/one/events.out.tfevents.1.a-host.2.0.v2", "w")
open("logs/two/events.out.tfevents.1.a-host.2.0.v2", "w").close()
reader = open("logs/two/events.out.tfevents.1.a-host.2.0.v2")
print(json.dumps(tell()))
"""
    assert told(script, tmp_path) == [[["tensorboard", "logs/one", None]], {}]


STREAM = """
import threading
class Writer:
    _file_name = {file!r}
class Logger(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self._record_writer = Writer()
        self.ended = threading.Event()
    def run(self):
        self.ended.wait()
"""


def test_a_writer_whose_folder_cannot_be_found_is_told(tmp_path: Path) -> None:
    stand_in(tmp_path, "tensorboardX.event_file_writer", STREAM.format(file="gone/events.out.tfevents.1.a-host"))
    script = """
from tensorboardX.event_file_writer import Logger
thread = Logger(); thread.start()
one = tell()
thread.ended.set(); thread.join()
print(json.dumps([one, tell()]))
"""
    (found, unknown), after = told(script, tmp_path)
    assert found == [["tensorboard", None, None]]
    assert unknown["run.links"].startswith("tensorboard: a writer's folder is not on this disk")
    assert after == [[], {}]


def real(script: str, cwd: Path) -> Any:
    """As ``told``, with warnings of the other system let be."""
    (cwd / "train.py").write_text(TELL + script)
    env = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    out = subprocess.run([sys.executable, "train.py"], cwd=cwd, env=env, check=True, capture_output=True, text=True)
    return json.loads(out.stdout.splitlines()[-1])


def test_a_real_run_of_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    script = """
import wandb
before = tell()
run = wandb.init(project="penguins")
during, id = tell(), run.id
run.finish()
off = wandb.init(mode="disabled")
disabled = tell()
off.finish()
print(json.dumps([before, during, disabled, tell(), id]))
"""
    before, during, disabled, after, run = real(script, tmp_path)
    assert during == [[["wandb", f"penguins/{run}", None]], {}]
    assert before == disabled == after == [[], {}]


def test_a_real_run_of_mlflow(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    script = """
import mlflow
mlflow.set_tracking_uri("sqlite:///mlflow.db")
before = tell()
with mlflow.start_run() as run:
    during = tell()
print(json.dumps([before, during, tell(), run.info.run_id]))
"""
    before, during, after, run = real(script, tmp_path)
    assert during == [[["mlflow", run, None]], {}]
    assert before == after == [[], {}]


def test_a_real_run_of_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackio")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    script = """
import trackio
before = tell()
trackio.init(project="penguins", name="brave-0")
during = tell()
trackio.finish()
print(json.dumps([before, during, tell()]))
"""
    before, during, after = real(script, tmp_path)
    assert during == [[["trackio", "penguins/brave-0", None]], {}]
    assert before == after == [[], {}]


@pytest.mark.parametrize("package", ["torch.utils.tensorboard", "tensorboardX"])
def test_real_writers_of_tensorboard(package: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard" if package.startswith("torch") else package)
    pytest.importorskip(package)
    script = f"""
from {package} import SummaryWriter
{ON_A_LAPTOP}
one, two = SummaryWriter("logs/one"), SummaryWriter("logs/Nov24_ada-laptop")
one.add_scalar("loss", 0.5, 1)
during = tell()
one.close()
after = tell()
two.close()
print(json.dumps([during, after, tell()]))
"""
    during, after, last = real(script, tmp_path)
    second = ["tensorboard", "logs/Nov24_<host>", None]
    assert during == [[["tensorboard", "logs/one", None], second], {}]
    assert after == [[second], {}]
    assert last == [[], {}]


@pytest.mark.parametrize(
    ("text", "system", "url"),
    [
        ("https://wandb.ai/team/project/runs/1a2b", "wandb", None),
        (" https://acme.wandb.ai/team/p/runs/1 ", "wandb", "https://acme.wandb.ai/team/p/runs/1"),
        ("https://wandb.ai/t/p/runs/1?apiKey=0123", "wandb", "https://wandb.ai/t/p/runs/1"),
        ("https://notwandb.ai/x", "link", None),
        ("https://www.comet.com/ada/p/1", "comet", None),
        ("https://app.clear.ml/projects/1/experiments/2", "clearml", None),
        (
            "http://u:pw@lab.example.org:5000/#/experiments/0/runs/f",
            "mlflow",
            "http://lab.example.org:5000/#/experiments/0/runs/f",
        ),
        ("https://x.cloud.databricks.com/ml/experiments/3/runs/f", "mlflow", None),
        ("HTTPS://example.org/a?page=2", "link", None),
    ],
)
def test_given(text: str, system: str, url: str | None) -> None:
    assert links.given(text) == Link(system=system, id=None, url=url or text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "wandb.ai/t/p",
        "ftp://example.org/x",
        "file:///x",
        "https://",
        "https://[x",
        "https://a b",
        "javascript:x",
        None,
        5,
    ],
)
def test_what_is_no_address_is_refused(text: object) -> None:
    with pytest.raises(CkptkitError, match="is no address of a run") as caught:
        links.given(text)
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_a_refused_address_is_shown_without_its_password() -> None:
    with pytest.raises(CkptkitError) as caught:
        links.given("sftp://ada:hunter22@example.org")
    assert "hunter22" not in caught.value.message
