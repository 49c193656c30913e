"""How the benchmarks measure, and how they say what they measured."""

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path


def process(command: Sequence[str], *, runs: int, cwd: Path, fresh: Callable[[], object] = lambda: None) -> float:
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


def command() -> str:
    beside = Path(sys.executable).parent / "ckptkit"
    found = str(beside) if beside.exists() else shutil.which("ckptkit")
    if not found:
        raise SystemExit("install ckptkit first: pip install -e '.[test]'")
    return found
