"""Many processes that save into one registry at once, with the lock and without: no number twice, no version lost."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ckptkit import index, index_file, registry
from ckptkit.registry import Model
from ckptkit.verbs.check import check
from ckptkit.verbs.index import index as rebuild

PROCESSES = 16
SAVES = 25 if os.environ.get("CKPTKIT_ALL_FAULTS") else 5

SAVING = """
import sys
from pathlib import Path

import ckptkit
from ckptkit import disk

me, saves, root = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
aliases = {"aliases": ["best"], "only_if": "loss:min"} if me % 4 == 0 else {}
with disk.lock(Path(f"lock-{me}")) as known:
    print(known, flush=True)
sys.stdin.readline()
for number in range(saves):
    weights = Path(f"{me}-{number}.bin")
    weights.write_text(weights.name)
    loss = (me * 7 + number * 13) % 101
    ckptkit.save(weights, model="m", root=root, metrics={"loss": loss}, **aliases)
"""

USELESS_LOCK = """
import errno
import fcntl
import os


def flock(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


fcntl.flock = flock
"""


def save_at_once(folder: Path, path: Sequence[Path] = ()) -> tuple[Path, set[str]]:
    """Many saves at once, begun together; the root, and what the processes think of their locks."""
    root = folder / "runs"
    python_path = os.pathsep.join([*map(str, path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", SAVING, str(number), str(SAVES), str(root)],
                    cwd=folder,
                    env={**os.environ, "PYTHONPATH": python_path},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(PROCESSES)
        ]
        locks = {process.stdout.readline().strip() for process in started if process.stdout}
        for process in started:
            if process.stdin:
                process.stdin.close()
                process.stdin = None
        for process in started:
            _, stderr = process.communicate(timeout=200)
            assert process.returncode == 0, stderr
            assert "Traceback" not in stderr
    return root, locks


def require_all(model: Model) -> None:
    """Every save is one version with one saved event, and holds the weights that were saved."""
    wanted = sorted(f"{me}-{number}.bin" for me in range(PROCESSES) for number in range(SAVES))
    assert sorted(path.name for path in model.path.glob("v*/*.bin")) == wanted
    assert all(path.read_text() == path.name for path in model.path.glob("v*/*.bin"))
    saved = [str(event.version) for event in model.events if event.kind == "saved"]
    assert sorted(saved) == sorted(model.versions)
    assert len(set(saved)) == PROCESSES * SAVES
    assert model.last == PROCESSES * SAVES


def losses(model: Model) -> dict[str, float]:
    return {
        version: json.loads((model.path / version / "lineage.json").read_bytes())["metrics"]["loss"]
        for version in model.versions
    }


def test_parallel_saves_get_distinct_numbers_and_one_alias(tmp_path: Path) -> None:
    root, locks = save_at_once(tmp_path)
    model = registry.read_model(root / "m")
    assert locks == {"True"}
    require_all(model)
    assert (root / "index.json").read_bytes() == index_file.dump(index.build(root))
    assert not check(root, select=("CK1", "CK2", "CK9")).findings
    told = losses(model)
    mine = [version for version in told if int(next((root / "m" / version).glob("*.bin")).name.split("-")[0]) % 4 == 0]
    assert told[model.state.aliases["best"]] == min(told[version] for version in mine)
    assert len(model.state.heads["@best"]) == 1
    moves = [told[event.version] for event in model.events if event.kind == "alias" and event.version]
    assert moves == sorted(set(moves), reverse=True)


def test_without_locks_the_rename_is_the_claim(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(USELESS_LOCK)
    root, locks = save_at_once(tmp_path, [tmp_path / "site"])
    model = registry.read_model(root / "m")
    assert locks == {"False"}
    require_all(model)
    assert index.load(root) == index.build(root)
    rebuild(root)
    assert (root / "index.json").read_bytes() == index_file.dump(index.build(root))
    findings = check(root, select=("CK1", "CK2", "CK9")).findings
    assert {finding.code for finding in findings} <= {"CK907"}  # an alias that was moved twice at once is a fork
