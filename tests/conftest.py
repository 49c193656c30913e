"""A private home for every test: no git configuration, cache or registry of the person who runs them."""

import os
from pathlib import Path

import pytest

SCHEDULERS = ("SLURM_", "PBS_", "LSB_", "OMPI_", "PMI", "TORCHELASTIC_", "GIT_")
ALONE = ("CKPTKIT_ROOT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "CONDA_PREFIX", "NO_COLOR", "XDG_CONFIG_HOME")


@pytest.fixture(autouse=True)
def private_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path_factory.mktemp("home")
    for name in os.environ:
        if name.startswith(SCHEDULERS) or name in ALONE:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("CKPTKIT_CACHE", str(home / "hashes"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Ada")
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "ada@example.org")
    monkeypatch.setenv("GIT_COMMITTER_NAME", "Ada")
    monkeypatch.setenv("GIT_COMMITTER_EMAIL", "ada@example.org")
    return home
