"""conda-meta, as conda and mamba write it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ckptkit.capture import conda
from ckptkit.record import CondaPackage

SHA256, MD5 = "ab" * 32, "cd" * 16


def write(prefix: Path, name: str, **fields: Any) -> None:
    (prefix / "conda-meta").mkdir(exist_ok=True)
    paths = {"paths": [{"_path": "bin/x", "sha256": "00" * 32, "md5": "00" * 16, "channel": "not this"}]}
    (prefix / "conda-meta" / name).write_text(json.dumps({"paths_data": paths, **fields}, indent=2))


def test_packages(tmp_path: Path) -> None:
    write(tmp_path, "numpy-2.0.1-py311h64a7726_0.json", channel="conda-forge", sha256=SHA256, md5=MD5)
    write(tmp_path, "ca-certificates-2026.1.4-hbcca054_0.json")
    write(tmp_path, "history.json")
    (tmp_path / "conda-meta" / "history").write_text("==> 2026 <==\n# cmd: conda create --token s3cret\n")
    os.mkfifo(tmp_path / "conda-meta" / "odd-1-0.json")
    unknown: dict[str, str] = {}
    assert conda.packages(tmp_path, unknown) == (
        CondaPackage(
            name="ca-certificates", version="2026.1.4", build="hbcca054_0", channel=None, sha256=None, md5=None
        ),
        CondaPackage(
            name="numpy", version="2.0.1", build="py311h64a7726_0", channel="conda-forge", sha256=SHA256, md5=MD5
        ),
    )
    assert unknown == {"code.environment.conda": "odd-1-0.json is not a regular file"}


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://conda.anaconda.org/conda-forge/linux-64", "conda-forge"),
        ("https://conda.anaconda.org/pytorch/label/dev/noarch", "pytorch/label/dev"),
        ("https://repo.anaconda.com/pkgs/main/osx-arm64", "pkgs/main"),
        ("https://conda.example.org/t/tk-s3cret-0000/private/linux-64", "private"),
        ("https://ada:s3cret@conda.example.org/team", "team"),
        ("file:///home/ada/channel/linux-64", "channel"),
        ("https://conda.example.org", None),
        ("<unknown>", None),
    ],
)
def test_a_channel_by_its_name(tmp_path: Path, address: str, name: str | None) -> None:
    write(tmp_path, "a-1-0.json", channel=address)
    (found,) = conda.packages(tmp_path, {})
    assert found.channel == name


def test_no_conda_environment(tmp_path: Path) -> None:
    unknown: dict[str, str] = {}
    assert conda.packages(tmp_path, unknown) == ()
    assert unknown == {}
