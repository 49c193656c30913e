"""The GPU probe: machines with GPUs as what their drivers and tools have printed."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from machines import IOREG, KFD_NODE, NVIDIA_PROC, printing, tool, write

from ckptkit.capture import gpu as probe
from ckptkit.record import Gpu


@pytest.fixture(autouse=True)
def _no_gpu_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No nvidia-smi on PATH, and a pynvml that finds no driver."""
    (tmp_path / "bin").mkdir()
    for name in ("sh", "sleep"):
        (tmp_path / "bin" / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    nvml(monkeypatch, tmp_path, "raise NVMLError('Driver Not Loaded')")


def nvml(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, init: str, rest: str = "") -> None:
    source = f"class NVMLError(Exception):\n    pass\ndef nvmlInit():\n    {init}\n{rest}"
    write(tmp_path / "modules", {"pynvml.py": source})
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(tmp_path / "modules")


def nvidia_smi(tmp_path: Path, script: str) -> None:
    tool(tmp_path / "bin", "nvidia-smi", script)


A100 = Gpu(
    index=0,
    name="NVIDIA A100-SXM4-40GB",
    memory=40 << 30,
    compute_capability="8.0",
    multiprocessors=108,
    vbios="92.00.45.00.05",
    ecc=True,
    mig=False,
)
NVML = """
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
    return only_the_first(gpu, SimpleNamespace(total=40 << 30))
def nvmlDeviceGetCudaComputeCapability(gpu):
    return (8, 0) if gpu == 0 else (12, 1)
def nvmlDeviceGetNumGpuCores(gpu):
    return 6912 if gpu == 0 else 6144
def nvmlDeviceGetVbiosVersion(gpu):
    return only_the_first(gpu, b"92.00.45.00.05")
def nvmlDeviceGetEccMode(gpu):
    return only_the_first(gpu, [1, 1])
def nvmlDeviceGetMigMode(gpu):
    return only_the_first(gpu, [0, 1])
def only_the_first(gpu, value):
    if gpu == 1:
        raise NVMLError("Not Supported")
    return value
"""


def test_nvml_is_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch, tmp_path, "pass", NVML)
    nvidia_smi(tmp_path, "exit 1")
    unknown: dict[str, str] = {}
    found, driver = probe.gpus(unknown, write(tmp_path / "root", {}))
    gb10 = Gpu(index=1, name="NVIDIA GB10", memory=None, compute_capability="12.1", multiprocessors=48)
    assert found == (A100, gb10)
    assert driver == "535.129.03"
    assert "compute.gpus" not in unknown


def test_a_pynvml_without_a_newer_question_answers_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch, tmp_path, "pass", NVML.replace("nvmlDeviceGetNumGpuCores", "nvmlDeviceGetCores"))
    found, _ = probe.gpus({}, write(tmp_path / "root", {"dev/nvidiactl": ""}))
    assert found is not None
    assert found[0] == replace(A100, multiprocessors=None)


def test_nvidia_smi_is_the_second_choice(tmp_path: Path) -> None:
    fields = "driver_version,name,memory.total,compute_cap,vbios_version,ecc.mode.current,mig.mode.current"
    a100 = "535.129.03, NVIDIA A100-SXM4-40GB, 40960, 8.0, 92.00.45.00.05, Enabled, Disabled"
    rtx = "535.129.03, NVIDIA GeForce RTX 3090, 24576, 8.6, 94.02.26.40.81, [N/A], [N/A]"
    nvidia_smi(tmp_path, f'[ "$1" = --query-gpu={fields} ] && echo "{a100}" && echo "{rtx}"')
    unknown: dict[str, str] = {}
    found, driver = probe.gpus(unknown, write(tmp_path / "root", {}))
    assert found is not None
    assert found[0] == replace(A100, multiprocessors=None)
    assert (found[1].vbios, found[1].ecc, found[1].mig) == ("94.02.26.40.81", None, None)
    assert driver == "535.129.03"
    assert "compute.gpus" not in unknown


def test_under_wsl_nvidia_smi_need_not_be_on_the_path(tmp_path: Path) -> None:
    root = write(tmp_path / "root", {"usr/lib/wsl/lib/libnvidia-ml.so.1": ""})
    answer = "546.33, NVIDIA GeForce RTX 3080, 10240, 8.6, 94.02.42.00.b1, [N/A], [N/A]"
    tool(root / "usr/lib/wsl/lib", "nvidia-smi", f'echo "{answer}"')
    found, driver = probe.gpus({}, root)
    assert driver == "546.33"
    assert [gpu.name for gpu in found or ()] == ["NVIDIA GeForce RTX 3080"]


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
    folder = "proc/driver/nvidia"
    unused = NVIDIA_PROC.replace("94.04.42.00.01", "??.??.??.??.??")
    told = f"NVRM version: NVIDIA UNIX {version}\nGCC version:  gcc version 12.2.0\n"
    files = {
        f"{folder}/version": told,
        f"{folder}/gpus/0000:00:1e.0/information": NVIDIA_PROC,
        f"{folder}/gpus/0000:00:1f.0/information": unused,
    }
    found, driver = probe.gpus({}, write(tmp_path / "root", files))
    assert driver == "535.129.03"
    a10g = Gpu(index=0, name="NVIDIA A10G", memory=None, compute_capability=None)
    assert found == (replace(a10g, vbios="94.04.42.00.01"), replace(a10g, index=1))


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
        f"{nodes}/1/properties": KFD_NODE,
        f"{nodes}/1/mem_banks/0/properties": "heap_type 1\nsize_in_bytes 68702699520\n",
        f"{nodes}/1/mem_banks/1/properties": "heap_type 0\nsize_in_bytes 4096\n",
        f"{nodes}/2/properties": "simd_count 192\ngfx_target_version 110000\n",
        "sys/class/drm/renderD128/device/vbios_version": "113-D65201-042\n",
        "sys/module/amdgpu/version": "6.8.5\n",
    }
    unknown: dict[str, str] = {}
    found, driver = probe.gpus(unknown, write(tmp_path / "root", files))
    mi250 = Gpu(
        index=0,
        name="AMD gfx90a",
        memory=68702699520,
        compute_capability=None,
        multiprocessors=110,
        vbios="113-D65201-042",
    )
    assert found == (mi250, Gpu(index=1, name="AMD gfx1100", memory=None, compute_capability=None))
    assert driver == "amdgpu 6.8.5"
    assert "compute.gpus" not in unknown


def test_rocm_under_wsl_is_unknown_and_another_windows_gpu_is_none(tmp_path: Path) -> None:
    assert probe.gpus({}, write(tmp_path / "intel", {"dev/dxg": ""})) == ((), None)
    unknown: dict[str, str] = {}
    rocm = write(tmp_path / "amd", {"dev/dxg": "", "opt/rocm/.info/version": "6.4.2-120"})
    assert probe.gpus(unknown, rocm) == (None, None)
    assert "WSL" in unknown["compute.gpus"]


def test_apple(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    tool(tmp_path / "bin", "ioreg", printing(IOREG))
    unknown: dict[str, str] = {}
    found, driver = probe.gpus(unknown, write(tmp_path / "root", {}))
    m4 = Gpu(index=0, name="Apple M4", memory=None, compute_capability=None, multiprocessors=10)
    assert (found, driver, unknown) == ((m4,), "AGX 324.6", {})


def test_a_mac_without_an_apple_gpu_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    tool(tmp_path / "bin", "ioreg", "exit 0")
    unknown: dict[str, str] = {}
    assert probe.gpus(unknown, write(tmp_path / "root", {})) == (None, None)
    assert unknown["compute.gpus"] == unknown["compute.driver"] == "ioreg tells of no GPU by Apple"


def test_no_unique_id_is_asked_for_or_kept(tmp_path: Path) -> None:
    files = {
        "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19\n",
        "proc/driver/nvidia/gpus/0000:00:1e.0/information": NVIDIA_PROC,
        "sys/class/kfd/kfd/topology/nodes/1/properties": KFD_NODE,
    }
    nvidia_smi(tmp_path, 'case "$*" in *uuid*|*serial*) echo asked > "$0.asked" ;; esac; exit 9')
    found = probe.gpus({}, write(tmp_path / "root", files))
    assert len(found[0] or ()) == 2
    assert "82523fd8" not in repr(found)
    assert "11743735912347093459" not in repr(found)
    assert not (tmp_path / "bin" / "nvidia-smi.asked").exists()
