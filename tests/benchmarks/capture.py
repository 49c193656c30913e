"""What the record costs in the process that trains: ``python tests/benchmarks/capture.py [PYTHON]``.

Run with torch installed. The environment is filled up to 50 and 200 distributions with copies of those that are there.
PYTHON is an interpreter with wandb or mlflow: each is timed from its import to a logged run, in the same run.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

from timing import row

ROOT = Path(__file__).parent.parent.parent

CHILD = """
import json, sys, time
sys.path.append(sys.argv[1])
import numpy, torch, yaml
import model
from ckptkit.capture import {rooms}
from ckptkit.capture import observation, code, compute
from ckptkit.capture.moment import moment
from pathlib import Path
times = {{}}
def timed(room, name):
    probe = getattr(room, name)
    def call(*given, **named):
        before = time.perf_counter()
        try:
            return probe(*given, **named)
        finally:
            key = f"{{room.__name__.rpartition('.')[2]}}.{{name}}"
            times[key] = times.get(key, 0) + time.perf_counter() - before
    setattr(room, name, call)
for path in {probes!r}:
    room, name = path.split(".")
    timed(globals()[room], name)
before = time.perf_counter()
now = moment(from_training=True, modified=None, cwd=Path.cwd())
seen = observation.observe(now, exclude=[], python=None, unknown={{}})
times["all"] = time.perf_counter() - before
times["distributions"] = len(seen.code.environment.packages)
print(json.dumps(times))
"""

PROBES = (
    *("git.worktree", "git.head_at", "packages.environment", "modules.modules", "modules.foreign", "live.changed"),
    *("sources.kept", "process.process", "generators.generators", "links.links", "hardware.hardware"),
    *("numerics.numerics", "numerics.gpus_in_use"),
)

PEERS = {
    "wandb": """
import time; before = time.perf_counter()
import wandb
run = wandb.init(mode="offline", dir="wandb-dir", config={"lr": 0.3}); run.log({"loss": 1.0}); run.finish()
print(time.perf_counter() - before)
""",
    "mlflow": """
import time; before = time.perf_counter()
import mlflow
mlflow.set_tracking_uri("sqlite:///mlflow.db")
with mlflow.start_run():
    mlflow.log_params({"lr": 0.3}); mlflow.log_metric("loss", 1.0)
print(time.perf_counter() - before)
""",
    "ckptkit": """
import time; before = time.perf_counter()
import ckptkit
run = ckptkit.start(model="m", config={"lr": 0.3})
open("w.bin", "wb").write(b"w")
run.save("w.bin", metrics={"loss": 1.0})
print(time.perf_counter() - before)
""",
}


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        project = dirty_repository(work / "project")
        for count in (50, 200):
            site = fill(work / f"site-{count}", count)
            rooms = ", ".join(dict.fromkeys(path.split(".")[0] for path in PROBES))
            code = CHILD.format(rooms=rooms, probes=PROBES)
            runs = [json.loads(run([sys.executable, "-c", code, str(site)], project)) for _ in range(5)]
            found = runs[0].pop("distributions")
            print(f"-- {found} distributions, torch loaded")
            for probe in runs[0]:
                row(probe, statistics.median(each[probe] for each in runs), note=_aim(probe, count))
        for peer, text in PEERS.items():
            python = sys.executable if peer == "ckptkit" or len(sys.argv) == 1 else sys.argv[1]
            try:
                seconds = [float(run([python, "-c", text], project).split()[-1]) for _ in range(3)]
            except subprocess.CalledProcessError:
                print(f"{peer}: not installed")
                continue
            row(f"{peer}: import, start, one logged run", statistics.median(seconds))


def _aim(probe: str, count: int) -> str:
    return f"aim {500 if count == 50 else 800} ms" if probe == "all" else ""


def run(command: list[str], cwd: Path) -> str:
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


def dirty_repository(folder: Path) -> Path:
    """A small project with changes."""
    folder.mkdir()
    (folder / "model.py").write_text("def loss(a, b):\n    return (a - b) ** 2\n")
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "all"],
    ):
        subprocess.run(["git", *words], cwd=folder, check=True)
    (folder / "model.py").write_text("def loss(a, b):\n    return abs(a - b)\n")
    (folder / "notes.txt").write_text("untracked\n")
    return folder


def fill(site: Path, count: int) -> Path:
    """A folder of distributions that makes ``count`` of them, copies under other names of those that are installed."""
    site.mkdir()
    there = [each for each in distributions() if isinstance(getattr(each, "_path", None), Path)]
    for position in range(max(count - len(there), 0)):
        source: Path = getattr(there[position % len(there)], "_path")  # noqa: B009 - it has no public name
        target = site / f"copy{position}-1.0.dist-info"
        if source.is_dir():
            shutil.copytree(source, target)
            (target / "METADATA").write_text(f"Metadata-Version: 2.1\nName: copy{position}\nVersion: 1.0\n")
    return site


if __name__ == "__main__":
    os.environ.pop("VIRTUAL_ENV", None)
    main()
