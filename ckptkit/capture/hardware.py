"""The machine: platform, processor, memory, GPUs, driver and numerical libraries. Never its name.

What Linux tells in /proc and /sys is read there, in well under a millisecond each; everything that asks a driver runs
in a child process with a time-out, so that a hanging driver cannot hold up a save.
"""

import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ckptkit.capture import attempt
from ckptkit.capture.process import ProbeError, run
from ckptkit.record import Cpu, Gpu, Memory, Platform

DRIVER_SECONDS = 10
"""How long a GPU's driver may take to answer; waking several GPUs takes seconds."""

CPUINFO_SECONDS = 15
"""How long py-cpuinfo may take; about 2 s are usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What the computation runs on; ``gpus`` is empty where there are none and None where that is not known."""

    platform: Platform | None
    cpu: Cpu | None
    memory: Memory | None
    gpus: tuple[Gpu, ...] | None
    driver: str | None
    libraries: Mapping[str, str]


def hardware(unknown: dict[str, str], *, root: Path = Path("/")) -> Hardware:
    """Look at the machine.

    Args:
        unknown: takes the reason for each fact that cannot be had.
        root: where proc, sys and dev are.
    """
    gpus, driver = _gpus(unknown, root)
    none: dict[str, str] = {}
    return Hardware(
        platform=attempt(unknown, "compute.platform", lambda: _platform(unknown), None),
        cpu=attempt(unknown, "compute.cpu", lambda: _cpu(unknown, root), None),
        memory=attempt(unknown, "compute.memory", lambda: _memory(root), None),
        gpus=gpus,
        driver=driver,
        libraries=attempt(unknown, "compute.libraries", _libraries, none)
        | attempt(unknown, "compute.libraries", _loaded_pools, none),
    )


def _platform(unknown: dict[str, str]) -> Platform:
    system = os.uname()
    return Platform(
        system=system.sysname,
        release=system.release,
        machine=system.machine,
        distribution=attempt(unknown, "compute.platform.distribution", _distribution, None),
        libc=attempt(unknown, "compute.platform.libc", _libc, None),
    )


def _distribution() -> str:
    import platform

    if version := platform.mac_ver()[0]:
        return f"macOS {version}"
    release = platform.freedesktop_os_release()
    return release.get("PRETTY_NAME") or release["NAME"]


def _libc() -> str:
    with contextlib.suppress(ValueError, OSError):
        if name := os.confstr("CS_GNU_LIBC_VERSION"):
            return name
    import platform

    name, version = platform.libc_ver()
    if not name:
        raise ProbeError("the C library does not tell its version")
    return f"{name} {version}".strip()


def _cpu(unknown: dict[str, str], root: Path) -> Cpu:
    first = _first_processor(root)
    if first is None:
        none: dict[str, str] = {}
        first = attempt(unknown, "compute.cpu.model", _cpuinfo, none)
    part = first.get("CPU part")  # ARM names its cores by numbers
    model = first.get("model name") or first.get("cpu")
    flags = first.get("flags") or first.get("Features") or ""
    affinity = getattr(os, "sched_getaffinity", None)
    return Cpu(
        model=model or (f"implementer {first.get('CPU implementer')} part {part}" if part else None),
        vendor=first.get("vendor_id") or first.get("CPU implementer"),
        physical=attempt(unknown, "compute.cpu.physical", lambda: _cores(root), None),
        logical=os.cpu_count(),
        usable=len(affinity(0)) if affinity else os.cpu_count(),
        flags=tuple(sorted(set(flags.split()))),
    )


def _first_processor(root: Path) -> dict[str, str] | None:
    try:
        with (root / "proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            head = file.read(1 << 16)  # the kernel asks every core for its frequency as the file is read on
    except OSError:
        return None
    blocks = [dict(_fields(block)) for block in re.split(r"\n\s*\n", head)]
    merged = {**blocks[-1], **blocks[0]}  # some ARM kernels tell the model once, at the end
    return merged if {"model name", "cpu", "CPU part"} & set(merged) else None


def _fields(text: str) -> Iterable[tuple[str, str]]:
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            yield name.strip(), value.strip()


def _cores(root: Path) -> int:
    siblings = {
        path.read_text() for path in root.glob("sys/devices/system/cpu/cpu[0-9]*/topology/thread_siblings_list")
    }
    if siblings:
        return len(siblings)
    import psutil

    cores = psutil.cpu_count(logical=False)
    if cores is None:
        raise ProbeError("the system does not tell")
    return cores


def _cpuinfo() -> dict[str, str]:
    """py-cpuinfo's answer in the words of /proc/cpuinfo, asked once per boot."""
    boot = _boot_time()
    cache = _cache_folder() / "cpuinfo.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(cache.read_text(encoding="utf-8"))
        if abs(kept["boot"] - boot) < 60:  # noqa: PLR2004 - a clock that was set in between moves it by seconds
            return dict(kept["cpu"])
    told = json.loads(run(_python("-m", "cpuinfo", "--json"), seconds=CPUINFO_SECONDS))
    names = {"model name": "brand_raw", "vendor_id": "vendor_id_raw"}
    cpu = {name: told[key] for name, key in names.items() if told.get(key)} | {"flags": " ".join(told.get("flags", ()))}
    with contextlib.suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps({"boot": boot, "cpu": cpu}), encoding="utf-8")
    return cpu


def _boot_time() -> float:
    import psutil

    return psutil.boot_time()


def _cache_folder() -> Path:
    import platformdirs

    return Path(os.environ.get("CKPTKIT_CACHE") or platformdirs.user_cache_dir("ckptkit"))


def _python(*arguments: str) -> list[str]:
    if getattr(sys, "frozen", False) or not sys.executable:  # a bundled program would start itself again
        raise ProbeError("there is no Python to ask in a process of its own")
    return [sys.executable, "-P", *arguments]


def _memory(root: Path) -> Memory:
    total = _total(root)
    limits = [limit for limit in _limits(root) if limit < total]
    return Memory(total=total, limit=min(limits, default=None))


def _total(root: Path) -> int:
    with contextlib.suppress(OSError, KeyError, ValueError):
        told = dict(_fields((root / "proc/meminfo").read_text(encoding="ascii")))
        return int(told["MemTotal"].removesuffix("kB")) << 10
    import psutil

    return psutil.virtual_memory().total


def _limits(root: Path) -> Iterable[int]:
    """Limits of the process's control group and of those above it, in bytes; see cgroups(7), versions 1 and 2."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, group = line.split(":", 2)
        if number == "0" or "memory" in controllers.split(","):
            top, name = ("", "memory.max") if number == "0" else ("memory", "memory.limit_in_bytes")
            folder = Path(group.lstrip("/"))
            for each in (folder, *folder.parents):
                with contextlib.suppress(OSError, ValueError):  # "max"; a group seen from inside a container
                    yield int((root / "sys/fs/cgroup" / top / each / name).read_text())


def _gpus(unknown: dict[str, str], root: Path) -> tuple[tuple[Gpu, ...] | None, str | None]:
    """All GPUs and their drivers. Where nothing hints at one there is none, and no driver to know of."""
    if sys.platform == "darwin":
        unknown["compute.gpus"] = unknown["compute.driver"] = "not looked for on macOS"
        return None, None
    gpus: list[Gpu] | None = []
    drivers: list[str] = []
    if _has_nvidia(root):
        found, driver = _nvidia(unknown, root)
        gpus = found
        drivers += [driver] if driver else []
    none: list[Gpu] = []
    nodes = attempt(unknown, "compute.gpus", lambda: _amd_nodes(root), none)
    if nodes:
        gpus = None if gpus is None else gpus + nodes
        drivers += [attempt(unknown, "compute.driver", lambda: _amd_driver(root), "amdgpu")]
    numbered = None if gpus is None else tuple(replace(gpu, index=index) for index, gpu in enumerate(gpus))
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
    driver, gpus = json.loads(run(_python("-c", _NVML), seconds=DRIVER_SECONDS))
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
    cards = [dict(_fields(card.read_text(errors="replace"))) for card in sorted(folder.glob("gpus/*/information"))]
    if version is None or not cards:
        raise ProbeError("/proc/driver/nvidia does not tell")
    return [_gpu(card["Model"]) for card in cards], version[1]


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


_NUMERICAL = (
    *("numpy", "scipy", "sklearn", "torch", "torchvision", "jax", "jaxlib", "tensorflow", "keras", "safetensors"),
    *("transformers", "xgboost", "lightgbm", "triton", "flash_attn", "deepspeed", "mkl", "cupy", "numba"),
)


def _libraries() -> dict[str, str]:
    """Versions of loaded packages that compute; torch and its CUDA know more than their pins tell."""
    found = {name: _attribute(name, "__version__") for name in _NUMERICAL}
    found["cuda"] = _attribute("torch.version", "cuda")
    found["hip"] = _attribute("torch.version", "hip")
    return {name: version for name, version in found.items() if version}


def _attribute(module: str, name: str) -> str | None:
    try:
        value = vars(sys.modules[module]).get(name)
    except (KeyError, TypeError):  # not loaded, or a stand-in
        return None
    return str(value) if isinstance(value, str) else None


def _loaded_pools() -> dict[str, str]:
    """Loaded BLAS and OpenMP libraries with the kernel they chose for this processor."""
    import warnings

    import threadpoolctl

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two OpenMP runtimes at once are its worry
        pools = threadpoolctl.threadpool_info()
    out: dict[str, dict[str, None]] = {}
    for pool in pools:
        words = (pool["version"] or pool["prefix"], pool.get("architecture"))
        out.setdefault(pool["internal_api"], {})[" ".join(filter(None, words))] = None
    return {name: ", ".join(versions) for name, versions in out.items()}
