"""Scripts run by a Python of their own, which knows this package and little else."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def python(script: Path | str, *arguments: str, cwd: Path, **env: str) -> str:
    """What a training script run by this Python prints."""
    return subprocess.run(
        [sys.executable, "-W", "error", script, *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": "/no/home", "PYTHONPATH": str(REPOSITORY), **env},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
