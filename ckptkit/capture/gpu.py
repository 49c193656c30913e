"""GPUs and their drivers: NVIDIA's by NVML, nvidia-smi or /proc, AMD's by /sys.

Whatever asks a driver runs in a child process with a time-out, so that a hanging driver cannot hold up a save.
"""

import json
import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from ckptkit.capture import attempt
from ckptkit.capture.command import ProbeError, python, run
from ckptkit.record import Gpu

DRIVER_SECONDS = 10
"""How long a GPU's driver may take to answer; waking several GPUs takes seconds."""


def gpus(unknown: dict[str, str], root: Path) -> tuple[tuple[Gpu, ...] | None, str | None]:
    """All GPUs and their drivers. Where nothing hints at one there is none, and no driver to know of.

    Args:
        unknown: takes the reasons for what could not be had; the GPUs are then None.
        root: where proc, sys and dev are.
    """
    if sys.platform == "darwin":
        unknown["compute.gpus"] = unknown["compute.driver"] = "not looked for on macOS"
        return None, None
    none: list[Gpu] = []
    found, driver = _nvidia(unknown, root) if _has_nvidia(root) else (none, None)
    drivers = [driver] if driver else []
    nodes = attempt(unknown, "compute.gpus", lambda: _amd_nodes(root), None)
    found = None if found is None or nodes is None else found + nodes
    if nodes:
        drivers.append(attempt(unknown, "compute.driver", lambda: _amd_driver(root), "amdgpu"))
    numbered = None if found is None else tuple(replace(gpu, index=index) for index, gpu in enumerate(found))
    return numbered, ", ".join(drivers) or None


def _has_nvidia(root: Path) -> bool:
    signs = ("proc/driver/nvidia/version", "dev/nvidiactl", "dev/nvidia0", "usr/lib/wsl/lib/libnvidia-ml.so.1")
    return any(os.path.lexists(root / sign) for sign in signs) or shutil.which("nvidia-smi") is not None


def _nvidia(unknown: dict[str, str], root: Path) -> tuple[list[Gpu] | None, str | None]:
    reasons: list[str] = []
    for ask in (_nvml, _smi, lambda: _nvidia_proc(root)):
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
        return ask(*given)
    except nvml.NVMLError:
        return None
def text(value):
    return value.decode() if isinstance(value, bytes) else value
def gpu(index):
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = known(nvml.nvmlDeviceGetMemoryInfo, handle)
    capability = known(nvml.nvmlDeviceGetCudaComputeCapability, handle)
    return text(nvml.nvmlDeviceGetName(handle)), memory and memory.total, capability and "%d.%d" % tuple(capability)
try:
    nvml.nvmlInit()
    driver = text(nvml.nvmlSystemGetDriverVersion())
    print(json.dumps([driver, [gpu(index) for index in range(nvml.nvmlDeviceGetCount())]]))
except nvml.NVMLError as error:
    raise SystemExit(f"NVML: {error}")
"""


def _nvml() -> tuple[list[Gpu], str]:
    from importlib.util import find_spec

    if find_spec("pynvml") is None:
        raise ProbeError("pynvml is not installed")
    driver, gpus = json.loads(run(python("-c", _NVML), seconds=DRIVER_SECONDS))
    return [_gpu(*gpu) for gpu in gpus], driver


def _gpu(name: str, memory: int | None = None, capability: str | None = None) -> Gpu:
    return Gpu(index=0, name=name, memory=memory, compute_capability=capability)


def _smi() -> tuple[list[Gpu], str]:
    import csv

    fields = ("driver_version", "name", "memory.total", "compute_cap")
    try:
        text = _ask_smi(*fields)
    except ProbeError as error:
        if "timed out" in error.message:
            raise
        text = _ask_smi(*fields[:-1])  # older drivers refuse a query with a field that they do not know
    rows = [row for row in csv.reader(text.splitlines(), skipinitialspace=True) if row[len(fields) - 2 :]]
    if not rows:
        raise ProbeError(f"nvidia-smi says: {' '.join(text.split())[:200]}")
    known = [[None if value.startswith("[") else value for value in row] for row in rows]  # [N/A], [Not Supported]
    gpus = [
        _gpu(name or "NVIDIA", int(memory) << 20 if memory else None, next(iter(rest), None))
        for _, name, memory, *rest in known
    ]
    return gpus, rows[0][0]


def _ask_smi(*fields: str) -> str:
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    return run(command, seconds=DRIVER_SECONDS).decode(errors="replace")


def _nvidia_proc(root: Path) -> tuple[list[Gpu], str]:
    folder = root / "proc/driver/nvidia"
    version = re.search(r"Kernel Module.*?\s(\d+\.\d[\d.]*)\s", (folder / "version").read_text(errors="replace"))
    cards = [card.read_text(errors="replace") for card in sorted(folder.glob("gpus/*/information"))]
    names = [card.partition("Model:")[2].partition("\n")[0].strip() for card in cards]
    if version is None or not names or not all(names):
        raise ProbeError("/proc/driver/nvidia does not tell")
    return [_gpu(name) for name in names], version[1]


def _amd_nodes(root: Path) -> list[Gpu]:
    """GPUs of the kernel's compute driver; a node without SIMD units is a processor."""
    gpus: list[Gpu] = []
    for node in sorted(root.glob("sys/class/kfd/kfd/topology/nodes/[0-9]*"), key=lambda node: int(node.name)):
        told = _words(node / "properties")
        if told.get("simd_count", 0) > 0:
            major, rest = divmod(told.get("gfx_target_version", 0), 10_000)
            minor, stepping = divmod(rest, 100)
            name = f"AMD gfx{major}{minor:x}{stepping:x}"  # 90010 is gfx90a
            banks = [_words(bank).get("size_in_bytes", 0) for bank in node.glob("mem_banks/*/properties")]
            gpus.append(_gpu(name, sum(banks) or None))
    return gpus


def _words(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in path.read_text().splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}  # noqa: PLR2004 - a pair


def _amd_driver(root: Path) -> str:
    try:
        return f"amdgpu {(root / 'sys/module/amdgpu/version').read_text().strip()}"
    except FileNotFoundError:  # the driver that comes with the kernel has its version
        return "amdgpu"
