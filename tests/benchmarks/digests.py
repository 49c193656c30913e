"""What a digest costs: 50,000 files of 4 kB, one of 2 GiB, and a million small ones; first time and unchanged."""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from timing import command, process, row

ONE_LINER = "find -L . -type f -print0 | LC_ALL=C sort -z | xargs -0r {} | sha256sum"
RUNS = 5


def digests(work: Path, *, million: bool) -> None:
    cache = work / "cache"
    os.environ["CKPTKIT_CACHE"] = str(cache)
    small, large = files(work / "small", 50_000), work / "large.bin"
    with large.open("wb") as file:
        for _ in range(32):
            file.write(os.urandom(64 << 20))
    time.sleep(2.1)  # what was written just now is not trusted to the cache
    print("50,000 files of 4 kB")
    plain = process(["bash", "-c", ONE_LINER.format("sha256sum")], runs=RUNS, cwd=small)
    row("find | xargs sha256sum", plain)
    compare(work, small, plain, cache, ["bash", "-c", ONE_LINER.format("b3sum")], small)
    print("one file of 2 GiB")
    plain = process(["openssl", "dgst", "-sha256", str(large)], runs=RUNS, cwd=work)
    row("openssl dgst -sha256", plain)
    compare(work, large, plain, cache, ["b3sum", str(large)], work)
    if million:
        print("a million files of 64 bytes")
        many = files(work / "million", 1_000_000, 64)
        time.sleep(2.1)
        shutil.rmtree(cache)
        for words in ("first time", "unchanged"):
            seconds, peak = measured([command(), "data", "digest", str(many)])
            row(f"ckptkit data digest, {words}", seconds, note=f"{peak >> 20} MiB at most, aim 200")


def files(folder: Path, count: int, size: int = 4096) -> Path:
    """A new folder with so many files of different content, a thousand in each folder below."""
    block = os.urandom(size)
    for number in range(count):
        place = folder / f"{number // 1000:04d}"
        if number % 1000 == 0:
            place.mkdir(parents=True)
        (place / f"{number:07d}.bin").write_bytes(number.to_bytes(8) + block[8:])
    return folder


def compare(work: Path, data: Path, plain: float, cache: Path, blake3: Sequence[str], cwd: Path) -> None:
    def forget() -> None:
        shutil.rmtree(cache, ignore_errors=True)

    digest = [command(), "data", "digest", str(data)]
    first = process(digest, runs=RUNS, cwd=work, fresh=forget)
    row("ckptkit data digest, first time", first, plain, "aim 1x")
    again = process(digest, runs=RUNS, cwd=work)
    row("ckptkit data digest, unchanged", again, plain)
    if shutil.which("b3sum"):
        row("b3sum", process(blake3, runs=RUNS, cwd=cwd), plain)
    if not shutil.which("dvc"):
        print("dvc is not on PATH: not compared")
        return
    add, status = dvc(work, data)
    row("dvc add", add, plain, f"{add / first:.1f} times ckptkit")
    row("dvc status, unchanged", status, plain, f"{status / again:.1f} times ckptkit")


def dvc(work: Path, data: Path) -> tuple[float, float]:
    """Seconds of ``dvc add`` into a new repository, and of ``dvc status`` after it."""
    project = work / "dvc"
    os.environ["DVC_NO_ANALYTICS"] = "1"

    def run(*words: str) -> None:
        subprocess.run(["dvc", *words], cwd=project, check=True, capture_output=True)

    project.mkdir()
    data.rename(project / data.name)
    run("init", "--no-scm")
    run("config", "core.site_cache_dir", str(work / "dvc-site"))  # what it remembers between repositories
    before = time.perf_counter()
    run("add", "-q", data.name)
    add = time.perf_counter() - before
    status = process(["dvc", "status"], runs=3, cwd=project)
    (project / data.name).rename(data)
    for place in (project, work / "dvc-site"):
        shutil.rmtree(place)
    return add, status


def measured(words: Sequence[str]) -> tuple[float, int]:
    """Seconds and peak memory in bytes of a whole process."""
    before = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as running:
        _, status, usage = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode:
        raise SystemExit(f"{words} ended with {running.returncode}")
    return time.perf_counter() - before, usage.ru_maxrss << 10
