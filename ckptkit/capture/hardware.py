"""The machine: platform, processor, memory, GPUs, driver and numerical libraries. Never its name.

What Linux tells in /proc and /sys is read there, in well under a millisecond each.
"""

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ckptkit.capture import attempt
from ckptkit.capture.command import ProbeError, python, run
from ckptkit.capture.gpu import gpus
from ckptkit.capture.pools import pools
from ckptkit.record import Cpu, Gpu, Memory, Platform

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
    found, driver = gpus(unknown, root)
    none: dict[str, str] = {}
    return Hardware(
        platform=attempt(unknown, "compute.platform", lambda: _platform(unknown), None),
        cpu=attempt(unknown, "compute.cpu", lambda: _cpu(unknown, root), None),
        memory=attempt(unknown, "compute.memory", lambda: _memory(root), None),
        gpus=found,
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
    import platformdirs
    import psutil

    boot = psutil.boot_time()
    cache = Path(os.environ.get("CKPTKIT_CACHE") or platformdirs.user_cache_dir("ckptkit")) / "cpuinfo.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(cache.read_text(encoding="utf-8"))
        if abs(kept["boot"] - boot) < 60:  # noqa: PLR2004 - a clock that was set in between moves it by seconds
            return dict(kept["cpu"])
    told = json.loads(run(python("-m", "cpuinfo", "--json"), seconds=CPUINFO_SECONDS))
    names = {"model name": "brand_raw", "vendor_id": "vendor_id_raw"}
    cpu = {name: told[key] for name, key in names.items() if told.get(key)} | {"flags": " ".join(told.get("flags", ()))}
    with contextlib.suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text(json.dumps({"boot": boot, "cpu": cpu}), encoding="utf-8")
    return cpu


def _memory(root: Path) -> Memory:
    total = _total(root)
    return Memory(total=total, limit=min((limit for limit in _limits(root) if limit < total), default=None))


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
    out: dict[str, dict[str, None]] = {}
    for pool in pools():
        words = (pool["version"] or pool["prefix"], pool.get("architecture"))
        out.setdefault(pool["internal_api"], {})[" ".join(filter(None, words))] = None
    return {name: ", ".join(versions) for name, versions in out.items()}
