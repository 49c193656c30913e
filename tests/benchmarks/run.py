"""What ckptkit costs, measured side by side in one run: ``python tests/benchmarks/run.py [--million]``.

Whole processes are timed from outside, the median of several runs; ratios are against the first row of their group.
Peers are measured where they are installed.
"""

import argparse
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from digests import digests
from growth import growth, throughput
from timing import command, process, row

ROOT = Path(__file__).parent.parent.parent
PENGUINS = ROOT / "examples" / "penguins"

IN_PROCESS = """
import sys, time
import ckptkit
from safetensors.numpy import load_file
load_file("model.safetensors")
before = time.perf_counter()
ckptkit.save("model.safetensors", model="inside", config="config.yaml", data={"penguins": "penguins.csv"},
             metrics={"accuracy": 0.98}, root=sys.argv[1])
print(time.perf_counter() - before)
"""

MLFLOW = """
import sys, mlflow
mlflow.set_tracking_uri(f"sqlite:///{sys.argv[1]}/mlflow.db")
mlflow.set_experiment("penguins")
with mlflow.start_run() as run:
    mlflow.log_params({"lr": 0.3, "seed": 7})
    mlflow.log_metric("accuracy", 0.98)
    mlflow.log_artifact("model.safetensors")
client = mlflow.MlflowClient()
client.create_registered_model("penguins")
client.create_model_version("penguins", f"{run.info.artifact_uri}/model.safetensors", run.info.run_id)
"""


def start_up(work: Path) -> None:
    bare = process([sys.executable, "-c", "pass"], runs=15, cwd=work)
    row("python -c pass", bare)
    row("import ckptkit", process([sys.executable, "-c", "import ckptkit"], runs=15, cwd=work), bare)
    row("ckptkit --version", process([command(), "--version"], runs=15, cwd=work), bare, "aim 4x")


def saves(work: Path) -> None:
    project = work / "project"
    shutil.copytree(PENGUINS, project)
    subprocess.run(
        [sys.executable, "train.py"],
        check=True,
        capture_output=True,
        cwd=project,
        env={**os.environ, "CKPTKIT_ROOT": str(work / "first")},
    )
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "all"],
    ):
        subprocess.run(["git", *words], check=True, cwd=project)
    save = [command(), "save", "model.safetensors", "--model", "penguins", "--config", "config.yaml", "--data"]
    save += ["penguins=penguins.csv", "--metric", "accuracy=0.98", "--root", str(work / "whole")]
    whole = process(save, runs=7, cwd=project)
    row("ckptkit save, whole process", whole, note="aim 500 ms")
    inside = [
        float(
            subprocess.run(
                [sys.executable, "-c", IN_PROCESS, str(work / "inside")],
                check=True,
                capture_output=True,
                text=True,
                cwd=project,
            ).stdout
        )
        for _ in range(7)
    ]
    row("ckptkit.save, in process, first call", statistics.median(inside), whole, "aim 300 ms")
    if importlib.util.find_spec("mlflow"):

        def fresh() -> None:
            shutil.rmtree(work / "mlflow", ignore_errors=True)
            (work / "mlflow").mkdir()

        row(
            "mlflow, log and register, whole process",
            process([sys.executable, "-c", MLFLOW, str(work / "mlflow")], runs=3, cwd=project, fresh=fresh),
            whole,
        )
    else:
        print("mlflow is not installed: not compared")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--versions", type=int, nargs="+", default=[1000, 10000], help="sizes of the registries to check"
    )
    parser.add_argument("--million", action="store_true", help="digest a million small files too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        start_up(work)
        saves(work)
        digests(work, million=options.million)
        growth(work, work / "whole" / "penguins" / "v0001", options.versions)
        throughput(work)


if __name__ == "__main__":
    main()
