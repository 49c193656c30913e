"""The GPU probe: machines with GPUs as what their drivers and tools have printed."""

from pathlib import Path

import pytest
from machines import write

from ckptkit.capture import gpu as probe
from ckptkit.record import Gpu


@pytest.fixture(autouse=True)
def _no_gpu_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No nvidia-smi on PATH, and a pynvml that finds no driver."""
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "sleep"):
        (tmp_path / "bin" / tool).symlink_to(f"/bin/{tool}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    nvml(monkeypatch, tmp_path, "raise NVMLError('Driver Not Loaded')")


def nvml(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, init: str, rest: str = "") -> None:
    source = f"class NVMLError(Exception):\n    pass\ndef nvmlInit():\n    {init}\n{rest}"
    write(tmp_path / "modules", {"pynvml.py": source})
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(tmp_path / "modules")


def nvidia_smi(tmp_path: Path, script: str) -> None:
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}")
    tool.chmod(0o755)


A100 = Gpu(index=0, name="NVIDIA A100-SXM4-40GB", memory=40 << 30, compute_capability="8.0")
NVML_A100 = """
from types import SimpleNamespace
def nvmlSystemGetDriverVersion():
    return b"535.129.03"
def nvmlDeviceGetCount():
    return 2
def nvmlDeviceGetHandleByIndex(index):
    return index
def nvmlDeviceGetName(gpu):
    return b"NVIDIA A100-SXM4-40GB" if gpu == 0 else "NVIDIA GB10"
def nvmlDeviceGetMemoryInfo(gpu):
    if gpu == 1:
        raise NVMLError("Not Supported")
    return SimpleNamespace(total=40 << 30)
def nvmlDeviceGetCudaComputeCapability(gpu):
    return (8, 0) if gpu == 0 else (12, 1)
"""


def test_nvml_is_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch, tmp_path, "pass", NVML_A100)
    nvidia_smi(tmp_path, "exit 1")
    unknown: dict[str, str] = {}
    found, driver = probe.gpus(unknown, write(tmp_path / "root", {}))
    gb10 = Gpu(index=1, name="NVIDIA GB10", memory=None, compute_capability="12.1")
    assert found == (A100, gb10)
    assert driver == "535.129.03"
    assert "compute.gpus" not in unknown


def test_nvidia_smi_is_the_second_choice(tmp_path: Path) -> None:
    line = "535.129.03, NVIDIA A100-SXM4-40GB, 40960, 8.0"
    nvidia_smi(tmp_path, f'[ "$1" = --query-gpu=driver_version,name,memory.total,compute_cap ] && echo "{line}"')
    unknown: dict[str, str] = {}
    found, driver = probe.gpus(unknown, write(tmp_path / "root", {}))
    assert (found, driver) == ((A100,), "535.129.03")
    assert "compute.gpus" not in unknown


def test_an_older_nvidia_smi_is_asked_for_less(tmp_path: Path) -> None:
    refusal = """echo 'Field "compute_cap" is not a valid field to query.'; exit 2"""
    answer = "echo '450.80.02, Tesla T4, [N/A]'; echo '450.80.02, Tesla T4, 15109'"
    nvidia_smi(tmp_path, f'case "$1" in *compute_cap*) {refusal} ;; *) {answer} ;; esac')
    found, driver = probe.gpus({}, write(tmp_path / "root", {}))
    assert found == (
        Gpu(index=0, name="Tesla T4", memory=None, compute_capability=None),
        Gpu(index=1, name="Tesla T4", memory=15109 << 20, compute_capability=None),
    )
    assert driver == "450.80.02"


@pytest.mark.parametrize(
    "version",
    ["x86_64 Kernel Module  535.129.03  Thu Oct 19", "Open Kernel Module for x86_64  535.129.03  Release Build"],
)
def test_the_kernels_files_are_the_last_choice(version: str, tmp_path: Path) -> None:
    cards = {
        f"proc/driver/nvidia/gpus/0000:0{bus}:00.0/information": "Model: \t\t Tesla V100\nIRQ: 3\n" for bus in (3, 4)
    }
    told = f"NVRM version: NVIDIA UNIX {version}\nGCC version:  gcc version 12.2.0\n"
    files = {"proc/driver/nvidia/version": told, **cards}
    found, driver = probe.gpus({}, write(tmp_path / "root", files))
    assert driver == "535.129.03"
    assert found == tuple(Gpu(index=index, name="Tesla V100", memory=None, compute_capability=None) for index in (0, 1))


def test_a_sign_without_an_answer_is_unknown_with_every_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "DRIVER_SECONDS", 0.5)
    nvidia_smi(tmp_path, "sleep 60")
    unknown: dict[str, str] = {}
    assert probe.gpus(unknown, write(tmp_path / "root", {"dev/nvidia0": ""})) == (None, None)
    assert unknown["compute.gpus"] == unknown["compute.driver"]
    for reason in ("NVML: Driver Not Loaded", "nvidia-smi timed out after 0.5 s", "no such file"):
        assert reason in unknown["compute.gpus"]


@pytest.mark.parametrize(
    "said", ["No devices were found", "", "NVIDIA-SMI has failed because it could not communicate"]
)
def test_what_nvidia_smi_says_in_words_is_no_gpu(said: str, tmp_path: Path) -> None:
    nvidia_smi(tmp_path, f'echo "{said}"')
    unknown: dict[str, str] = {}
    assert probe.gpus(unknown, write(tmp_path / "root", {})) == (None, None)
    assert f"nvidia-smi says: {said}" in unknown["compute.gpus"]


def test_amd(tmp_path: Path) -> None:
    nodes = "sys/class/kfd/kfd/topology/nodes"
    files = {
        f"{nodes}/0/properties": "cpu_cores_count 64\nsimd_count 0\n",
        f"{nodes}/1/properties": "simd_count 440\ngfx_target_version 90010\nunique_id 123\n",
        f"{nodes}/1/mem_banks/0/properties": "heap_type 1\nsize_in_bytes 68702699520\n",
        f"{nodes}/2/properties": "simd_count 192\ngfx_target_version 110000\n",
        "sys/module/amdgpu/version": "6.8.5\n",
    }
    unknown: dict[str, str] = {}
    found, driver = probe.gpus(unknown, write(tmp_path / "root", files))
    assert found == (
        Gpu(index=0, name="AMD gfx90a", memory=68702699520, compute_capability=None),
        Gpu(index=1, name="AMD gfx1100", memory=None, compute_capability=None),
    )
    assert driver == "amdgpu 6.8.5"
    assert "compute.gpus" not in unknown
