"""What ckptkit costs, measured side by side in one run: ``python tests/benchmarks/run.py [--versions 1000 10000]``.

Whole processes are timed from outside, the median of several runs; ratios are against the first row of their group.
Peers are measured where they are installed.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ckptkit import checkpoint, documents, hashing, index, manifest, registry, roots
from ckptkit.verbs.check import check

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


def process(command: list[str], *, runs: int, cwd: Path, fresh: Callable[[], object] = lambda: None) -> float:
    """Median wall time of a whole process, in seconds, after one run that does not count."""
    times = []
    for position in range(runs + 1):
        fresh()
        before = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, cwd=cwd)
        if position:
            times.append(time.perf_counter() - before)
    return statistics.median(times)


def row(name: str, seconds: float, against: float | None = None, note: str = "") -> None:
    ratio = f"{seconds / against:6.2f}x" if against else "       "
    print(f"{name:<58} {seconds * 1000:10.1f} ms {ratio}  {note}".rstrip(), flush=True)


def start_up(work: Path) -> None:
    bare = process([sys.executable, "-c", "pass"], runs=15, cwd=work)
    row("python -c pass", bare)
    row("import ckptkit", process([sys.executable, "-c", "import ckptkit"], runs=15, cwd=work), bare)
    row("ckptkit --version", process([command(), "--version"], runs=15, cwd=work), bare, "aim 4x")


def command() -> str:
    beside = Path(sys.executable).parent / "ckptkit"
    found = str(beside) if beside.exists() else shutil.which("ckptkit")
    if not found:
        raise SystemExit("install ckptkit first: pip install -e '.[test]'")
    return found


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


def generated(root: Path, source: Path, count: int) -> None:
    """A registry of ``count`` versions like the one at ``source``, each with its own record, seal, card and event."""
    roots.open_root(root)
    folder = root / "penguins"
    (folder / registry.HISTORY).mkdir(parents=True)
    files = {path.relative_to(source).as_posix(): path.read_bytes() for path in source.rglob("*") if path.is_file()}
    lineage = json.loads(files[checkpoint.LINEAGE])
    card, sums = files.pop(checkpoint.CARD).decode(), files.pop(checkpoint.SUMS)
    known = manifest.load(sums)
    old = hashlib.sha256(sums).hexdigest()
    for number in range(1, count + 1):
        version = folder / f"v{number:04d}"
        lineage |= {"version": version.name, "tags": {"number": str(number)}}
        files[checkpoint.LINEAGE] = documents.dump_json(lineage)
        known[checkpoint.LINEAGE] = hashlib.sha256(files[checkpoint.LINEAGE]).hexdigest()
        sealed = manifest.dump(known.items())
        new = hashlib.sha256(sealed).hexdigest()
        for path, data in {**files, checkpoint.SUMS: sealed, checkpoint.CARD: card.replace(old, new).encode()}.items():
            (version / path).parent.mkdir(parents=True, exist_ok=True)
            (version / path).write_bytes(data)
        event = registry.new_event("saved", "penguins", version.name, digest=f"sha256:{new}")
        (folder / registry.HISTORY / f"{event.id}.json").write_bytes(documents.dump_json(event.to_dict()))
    index.write(root, index.build(root))


def checks(work: Path, counts: list[int]) -> None:
    first = None
    for count in counts:
        root = work / f"registry{count}"
        generated(root, work / "whole" / "penguins" / "v0001", count)
        errors = [finding for finding in check(str(root)).findings if finding.severity == "error"]
        assert not errors, errors[:3]
        seconds = process([command(), "check", str(root)], runs=1, cwd=work)
        first = first or seconds / count
        row(
            f"ckptkit check, {count:,} versions",
            seconds,
            first * count,
            "against linear" if count != counts[0] else "aim 5000 ms per 1,000",
        )
        row(f"ckptkit list, {count:,} versions", process([command(), "list", "--root", str(root)], runs=3, cwd=work))


def digests(work: Path) -> None:
    tree = work / "tree"
    for number in range(5000):
        path = tree / f"{number // 100:03d}" / f"{number:05d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(4096))
    plain = process(
        ["bash", "-c", "find -L . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum | sha256sum"],
        runs=3,
        cwd=tree,
    )
    row("find | xargs sha256sum, 5,000 files of 4 kB", plain)
    row("ckptkit's digest of the same folder", best(lambda: hashing.tree(tree)), plain)


def best(work: Callable[[], object]) -> float:
    def times() -> Iterator[float]:
        for _ in range(3):
            before = time.perf_counter()
            work()
            yield time.perf_counter() - before

    return statistics.median(times())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--versions", type=int, nargs="+", default=[1000, 10000], help="sizes of the registries to check"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        start_up(work)
        saves(work)
        digests(work)
        checks(work, options.versions)


if __name__ == "__main__":
    main()
