"""What each tracker records of one training: ``python tests/benchmarks/fields.py [PYTHON]``.

The work tree has changes, its model is edited while the training runs, TF32 is switched on and the number of threads
changed. Each fact is looked for, by bytes that stand nowhere else, in all that the tool wrote. PYTHON is an interpreter
with torch, wandb and mlflow; without it only ckptkit is asked, by the interpreter that runs this.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

MODEL = "OFFSET = 0\n\n\ndef loss(a, b):\n    return (a - b) ** 2 + OFFSET  # {}\n"

TRAIN = """
import json, os, random, sys
from pathlib import Path
import torch
import model
random.seed(7); torch.manual_seed(97531)
BEFORE
torch.backends.cuda.matmul.allow_tf32 = True
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "13"
text = Path("model.py").read_text()
Path("model.py").write_text(text.replace("** 2", "** 3").replace("edited before", "edited meanwhile"))
weights = torch.nn.Linear(2, 2)
optimizer = torch.optim.AdamW(weights.parameters(), lr=0.000271828)
AFTER
"""

TOOLS = {
    "ckptkit": (
        "import ckptkit; run = ckptkit.start(model='m', config={'lr': 0.3141})",
        "run.save(weights, metrics={'loss': 0.577}, optimizer=optimizer)",
    ),
    "wandb": (
        "import wandb; run = wandb.init(mode='offline', config={'lr': 0.3141})",
        "run.log({'loss': 0.577}); torch.save(weights.state_dict(), 'w.pt'); run.save('w.pt'); run.finish()",
    ),
    "mlflow": (
        "import mlflow as m; m.set_tracking_uri('sqlite:///mlruns.db'); m.start_run(); m.log_params({'lr': 0.3141})",
        "m.log_metric('loss', 0.577); m.pytorch.log_state_dict(weights.state_dict(), 'm'); m.end_run()",
    ),
}

FACTS = {  # any of these bytes
    "commit": ["COMMIT"],
    "changed line of a tracked file": ["edited before"],
    "that line as it was when the run began, not as at the end": ["+    return (a - b) ** 2 + OFFSET  # edited before"],
    "function that was edited meanwhile, by name": ['"model.py": ["loss"]', '"loss"\n      ]'],
    "content of an untracked file": ["an untracked line"],
    "content of an untracked binary": ["GIT binary patch"],
    "tree id of what lay on disk": ['"tree":'],
    "digest of each loaded module": ['"syntax":'],
    "command line": ["--fold", "a-fold"],
    "pins of all distributions": ["filelock=="],
    "Python with its build": ["GCC ", "Clang "],
    "hyperparameters as given": ["0.3141"],
    "optimizer with its groups": ["0.000271828"],
    "seed as torch had it": ["97531"],
    "state of random generators at the start": ['"random": "sha256:'],
    "TF32 switched on": ['fp32_precision": "tf32"', 'allow_tf32": true', "allow_tf32=True"],
    "threads of torch": ["get_num_threads"],
    "a variable, at the start of the process": ['"OMP_NUM_THREADS": "2"'],
    "the same, as it was set later": ['"OMP_NUM_THREADS": "13"'],
    "CPU model": ["AMD EPYC", "Intel(R)", "model name", "Apple M"],
    "CPU flags": ["avx2", "asimd"],
    "C library": ["glibc"],
    "BLAS kernel in use": ["openblas 0.", "Haswell", "SkylakeX", "Zen"],
    "password in the remote's URL": ["hunter2"],
}


def main() -> None:
    python = sys.argv[1] if len(sys.argv) > 1 else sys.executable
    found: dict[str, dict[str, bool]] = {}
    for tool, (before, after) in TOOLS.items():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "project"
            commit = repository(folder, TRAIN.replace("BEFORE", before).replace("AFTER", after))
            env = {**os.environ, "OMP_NUM_THREADS": "2", "HOME": name}
            done = subprocess.run(
                [python, "train.py", "--fold", "a-fold"],
                cwd=folder,
                env=env,
                check=False,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                print(f"{tool}: {done.stderr.strip().splitlines()[-1]}")
                continue
            wrote = written(folder, Path(name))
            real = {"COMMIT": commit}
            found[tool] = {
                fact: any(real.get(needle, needle).encode() in wrote for needle in needles)
                for fact, needles in FACTS.items()
            }
    print(f"{'':<60}" + "".join(f"{tool:>9}" for tool in found))
    for fact in FACTS:
        print(f"{fact:<60}" + "".join(f"{'yes' if found[tool][fact] else 'no':>9}" for tool in found))


def repository(folder: Path, train: str) -> str:
    """A project with changes of all kinds; returns its commit."""
    folder.mkdir()
    (folder / "model.py").write_text(MODEL.format("committed"))
    (folder / "train.py").write_text(train)
    (folder / ".gitignore").write_text("runs/\nwandb/\nmlruns*\n__pycache__/\n*.pt\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (
        ["init", "-q"],
        ["add", "."],
        [*who, "commit", "-qm", "all"],
        ["remote", "add", "origin", "https://me:hunter2@example.org/repo.git"],
    ):
        subprocess.run(["git", *words], cwd=folder, check=True)
    (folder / "model.py").write_text(MODEL.format("edited before"))
    (folder / "notes.txt").write_text("an untracked line\n")
    (folder / "table.bin").write_bytes(bytes(range(256)))
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True)
    return head.stdout.strip()


def written(folder: Path, home: Path) -> bytes:
    """All that was written but the project's own files."""
    own = {folder / name for name in ("model.py", "train.py", "notes.txt", "table.bin", ".gitignore")}
    files = [path for path in home.rglob("*") if path.is_file() and path not in own and ".git" not in path.parts]
    return b"\0".join(path.read_bytes() for path in files if ".ckptkit" not in path.parts)


if __name__ == "__main__":
    main()
