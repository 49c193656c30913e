"""What a registry costs as it grows, and what many processes get done that save into one at once."""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from timing import command, process, row

from ckptkit import checkpoint, documents, index, manifest, registry, roots
from ckptkit.verbs.check import check

SMALL = 10
TOGETHER = (1, 4, 16)
SAVES = 48

SAVING = """
import statistics, sys, time
import ckptkit

def save(name):
    open(name, "w").write(name)
    before = time.perf_counter()
    ckptkit.save(name, model="penguins", metrics={"loss": 0.5}, root=sys.argv[1])
    return time.perf_counter() - before

save(f"{sys.argv[3]}.bin")
print(flush=True)
sys.stdin.read()
print(statistics.median([save(f"{sys.argv[3]}-{number}.bin") for number in range(int(sys.argv[2]))]))
"""


def registry_of(count: int, root: Path, source: Path) -> None:
    """A registry of so many versions like the one at ``source``, each with its own record, seal, card and event."""
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


def growth(work: Path, source: Path, counts: Sequence[int]) -> None:
    """What check costs against linear, and the other verbs in the largest registry against one of ten versions."""
    registry_of(SMALL, work / f"registry{SMALL}", source)
    first = None
    for count in counts:
        root = work / f"registry{count}"
        registry_of(count, root, source)
        errors = [finding for finding in check(str(root)).findings if finding.severity == "error"]
        assert not errors, errors[:3]
        seconds = process([command(), "check", str(root)], runs=1, cwd=work)
        first = first or seconds / count
        note = "against linear" if count != counts[0] else "aim 5000 ms per 1,000"
        row(f"ckptkit check, {count:,} versions", seconds, first * count, note)
    (work / "new.bin").write_bytes(b"new weights")
    verbs(work, [SMALL, *counts[-1:]])
    saves(work, [SMALL, *counts[-1:]])


VERBS = (
    ("save new.bin --model penguins", "aim 1.5x"),
    ("list", "aim 500 ms"),
    ("show penguins@latest", "aim 500 ms"),
    ("alias set penguins@champion 1", "aim 500 ms"),
    ("which new.bin", "aim 500 ms"),
)


def verbs(work: Path, counts: Sequence[int]) -> None:
    """Whole processes; the alias stands elsewhere before each of its moves."""
    for words, note in VERBS:
        first = None
        for count in counts:
            root = ["--root", str(work / f"registry{count}")]
            elsewhere = partial(
                subprocess.run,
                [command(), "alias", "set", "penguins@champion", "2", *root],
                check=True,
                capture_output=True,
            )
            fresh = elsewhere if words.startswith("alias") else lambda: None
            seconds = process([command(), *words.split(), *root], runs=7, cwd=work, fresh=fresh)
            row(f"ckptkit {words}, {count:,} versions", seconds, first, note if first else "")
            first = first or seconds


def saves(work: Path, counts: Sequence[int]) -> None:
    """A save in a process that has saved before."""
    first = None
    for count in counts:
        _, seconds = together(1, 20, work / f"registry{count}", work)
        row(f"ckptkit.save, in process, {count:,} versions", seconds, first, "aim 1.5x" if first else "")
        first = first or seconds


def together(processes: int, saves: int, root: Path, cwd: Path) -> tuple[float, float]:
    """Seconds until each of some processes made its saves, all begun at once; and of one save, the median."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SAVING, str(root), str(saves), str(number)],
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for number in range(processes)
    ]
    for each in started:
        assert each.stdout
        each.stdout.readline()
    before = time.perf_counter()
    for each in started:
        assert each.stdin
        each.stdin.close()
        each.stdin = None
    said = [each.communicate()[0] for each in started]
    seconds = time.perf_counter() - before
    assert not any(each.returncode for each in started)
    return seconds, float(said[0])


def throughput(work: Path) -> None:
    """Versions per second of processes that save into one registry at once."""
    first = None
    for count in TOGETHER:
        seconds, _ = together(count, SAVES // count, work / f"together{count}", work)
        row(
            f"{SAVES} saves by {count} process(es) at once",
            seconds,
            first,
            f"{SAVES / seconds:.0f} versions per second",
        )
        first = first or seconds
