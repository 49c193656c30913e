"""GPUs and their drivers: NVIDIA's by NVML, nvidia-smi or /proc, AMD's by /sys, Apple's by ioreg. No unique ids.

Whatever asks a driver runs in a child process with a time-out, so that a hanging driver cannot hold up a save.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ckptkit.capture import attempt
from ckptkit.capture.command import ProbeError, python, run
from ckptkit.record import Gpu

DRIVER_SECONDS = 10
"""How long a GPU's driver may take to answer; waking several GPUs takes seconds."""

_WSL = "usr/lib/wsl/lib"
_Answer = tuple[list[Gpu], str]


def gpus(unknown: dict[str, str], root: Path) -> tuple[tuple[Gpu, ...] | None, str | None]:
    """All GPUs and their drivers. Where nothing hints at one there is none, and no driver to know of.

    Args:
        unknown: takes the reasons for what could not be had; the GPUs are then None.
        root: where proc, sys, dev and opt are.
    """
    found: list[Gpu] | None = []
    drivers: list[str | None] = []
    if sys.platform == "darwin":
        found, driver = _first_answer(unknown, (_apple,))
        drivers.append(driver)
    elif _has_nvidia(root):
        found, driver = _first_answer(unknown, (_nvml, lambda: _smi(root), lambda: _nvidia_proc(root)))
        drivers.append(driver)
    nodes = attempt(unknown, "compute.gpus", lambda: _amd_nodes(root), None)
    if nodes:
        drivers.append(attempt(unknown, "compute.driver", lambda: _amd_driver(root), "amdgpu"))
    every = None if found is None or nodes is None else (*found, *nodes)
    numbered = None if every is None else tuple(replace(gpu, index=index) for index, gpu in enumerate(every))
    return numbered, ", ".join(filter(None, drivers)) or None


def _has_nvidia(root: Path) -> bool:
    signs = ("proc/driver/nvidia/version", "dev/nvidiactl", "dev/nvidia0", f"{_WSL}/libnvidia-ml.so.1")
    return any(os.path.lexists(root / sign) for sign in signs) or shutil.which("nvidia-smi") is not None


def _first_answer(
    unknown: dict[str, str], asks: Sequence[Callable[[], _Answer]]
) -> tuple[list[Gpu] | None, str | None]:
    reasons: list[str] = []
    for ask in asks:
        tried: dict[str, str] = {}
        found = attempt(tried, "reason", ask, None)
        if found:
            return found
        reasons += tried.values()
    unknown["compute.gpus"] = unknown["compute.driver"] = "; ".join(reasons)
    return None, None


# NVML is asked in a child: it may hang on a sick GPU, and this process may hold CUDA.
_NVML = """
import json, pynvml as nvml
def known(ask, *given):
    try:
        value = getattr(nvml, ask)(*given)
    except (nvml.NVMLError, AttributeError):
        return None
    return value.decode() if isinstance(value, bytes) else value
def gpu(index):
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    facts = "Name", "MemoryInfo", "CudaComputeCapability", "NumGpuCores", "VbiosVersion", "EccMode", "MigMode"
    name, memory, capability, cores, vbios, ecc, mig = [known("nvmlDeviceGet" + fact, handle) for fact in facts]
    return {
        "name": name,
        "memory": memory and memory.total,
        "compute_capability": capability and "%d.%d" % tuple(capability),
        "cores": cores,
        "vbios": vbios,
        "ecc": ecc and bool(ecc[0]),
        "mig": mig and bool(mig[0]),
    }
try:
    nvml.nvmlInit()
    driver = known("nvmlSystemGetDriverVersion")
    print(json.dumps([driver, [gpu(index) for index in range(nvml.nvmlDeviceGetCount())]]))
except nvml.NVMLError as error:
    raise SystemExit(f"NVML: {error}")
"""
# NVML counts cores; by the throughput table of the CUDA C++ programming guide a multiprocessor has so many.
_CORES = dict.fromkeys(("6.0", "7.0", "7.2", "7.5", "8.0"), 64) | dict.fromkeys(
    ("5.0", "5.2", "5.3", "6.1", "6.2", "8.6", "8.7", "8.9", "9.0", "10.0", "10.3", "11.0", "12.0", "12.1"), 128
)


def _nvml() -> _Answer:
    from importlib.util import find_spec

    if find_spec("pynvml") is None:
        raise ProbeError("pynvml is not installed")
    driver, told = json.loads(run(python("-c", _NVML), seconds=DRIVER_SECONDS))
    found: list[Gpu] = []
    for facts in told:
        cores, each = facts.pop("cores"), _CORES.get(facts["compute_capability"])
        facts["name"] = facts["name"] or "NVIDIA"
        found.append(Gpu(index=0, multiprocessors=cores // each if cores and each else None, **facts))
    return found, driver


_SMI_MINIMUM = ("driver_version", "name", "memory.total")
_SMI_FIELDS = (*_SMI_MINIMUM, "compute_cap", "vbios_version", "ecc.mode.current", "mig.mode.current")


def _smi(root: Path) -> _Answer:
    import csv

    fields: Sequence[str] = _SMI_FIELDS
    try:
        text = _ask_smi(root, fields)
    except ProbeError as error:
        if "timed out" in error.message:
            raise
        fields = _SMI_MINIMUM  # a driver refuses a query with a field that it does not know
        text = _ask_smi(root, fields)
    rows = [row for row in csv.reader(text.splitlines(), skipinitialspace=True) if len(row) == len(fields)]
    if not rows:
        raise ProbeError(f"nvidia-smi says: {' '.join(text.split())[:200]}")
    return [_smi_gpu(dict(zip(fields, row, strict=True))) for row in rows], rows[0][0]


def _smi_gpu(row: dict[str, str]) -> Gpu:
    known = {field: value for field, value in row.items() if not value.startswith("[") and value != "N/A"}
    mode = {"Enabled": True, "Disabled": False}
    memory = known.get("memory.total")  # [N/A] or [Not Supported] where the GPU shares the machine's
    return Gpu(
        index=0,
        name=known.get("name") or "NVIDIA",
        memory=int(memory) << 20 if memory else None,
        compute_capability=known.get("compute_cap"),
        vbios=known.get("vbios_version"),
        ecc=mode.get(known.get("ecc.mode.current", "")),
        mig=mode.get(known.get("mig.mode.current", "")),
    )


def _ask_smi(root: Path, fields: Sequence[str]) -> str:
    tool = shutil.which("nvidia-smi") or shutil.which(root / _WSL / "nvidia-smi") or "nvidia-smi"
    command = [str(tool), f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    return run(command, seconds=DRIVER_SECONDS).decode(errors="replace")


def _nvidia_proc(root: Path) -> _Answer:
    folder = root / "proc/driver/nvidia"
    version = re.search(r"Kernel Module.*?\s(\d+\.\d[\d.]*)\s", (folder / "version").read_text(errors="replace"))
    found: list[Gpu] = []
    for card in sorted(folder.glob("gpus/*/information")):
        pairs = (line.partition(":") for line in card.read_text(errors="replace").splitlines())
        told = {name.strip(): value.strip() for name, _, value in pairs}
        vbios = told.get("Video BIOS", "?")  # ??.??.??.??.?? until the GPU was used
        found.append(_gpu(told.get("Model") or "NVIDIA", vbios=None if "?" in vbios else vbios))
    if version is None or not found:
        raise ProbeError("/proc/driver/nvidia does not tell")
    return found, version[1]


def _gpu(name: str, *, memory: int | None = None, multiprocessors: int | None = None, vbios: str | None = None) -> Gpu:
    return Gpu(
        index=0,
        name=name,
        memory=memory,
        compute_capability=None,
        multiprocessors=multiprocessors,
        vbios=vbios,
    )


def _amd_nodes(root: Path) -> list[Gpu]:
    """GPUs of the kernel's compute driver; a node without SIMD units is a processor."""
    found: list[Gpu] = []
    for node in sorted(root.glob("sys/class/kfd/kfd/topology/nodes/[0-9]*"), key=lambda node: int(node.name)):
        told = _words(node / "properties")
        if told.get("simd_count", 0) > 0:
            major, rest = divmod(told.get("gfx_target_version", 0), 10_000)
            minor, stepping = divmod(rest, 100)
            banks = [_words(bank) for bank in node.glob("mem_banks/*/properties")]
            vbios = root / f"sys/class/drm/renderD{told.get('drm_render_minor')}/device/vbios_version"
            gpu = _gpu(
                f"AMD gfx{major}{minor:x}{stepping:x}",  # 90010 is gfx90a
                memory=sum(bank.get("size_in_bytes", 0) for bank in banks if bank.get("heap_type") != 0) or None,
                multiprocessors=told["simd_count"] // told["simd_per_cu"] if told.get("simd_per_cu") else None,
                vbios=vbios.read_text().strip() if vbios.is_file() else None,
            )
            found.append(gpu)
    if not found and (root / "dev/dxg").exists() and (root / "opt/rocm").exists():
        raise ProbeError("ROCm does not tell of its GPUs in /sys under WSL")
    return found


def _words(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in path.read_text().splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}  # noqa: PLR2004 - a pair


def _amd_driver(root: Path) -> str:
    try:
        return f"amdgpu {(root / 'sys/module/amdgpu/version').read_text().strip()}"
    except FileNotFoundError:  # the driver that comes with the kernel has its version
        return "amdgpu"


def _apple() -> _Answer:
    """Apple's own GPU, whose memory is the machine's; those of Macs with an Intel processor are not looked for."""
    text = run(["ioreg", "-rd1", "-w0", "-c", "AGXAccelerator"], seconds=DRIVER_SECONDS).decode(errors="replace")
    told = dict(re.findall(r'^\s*"(model|gpu-core-count|IOSourceVersion)" = "?([^"\n]+)', text, re.MULTILINE))
    if "model" not in told:
        raise ProbeError("ioreg tells of no GPU by Apple")
    cores = told.get("gpu-core-count", "")
    driver = f"AGX {told['IOSourceVersion']}" if "IOSourceVersion" in told else "AGX"
    return [_gpu(told["model"], multiprocessors=int(cores) if cores.isdecimal() else None)], driver
