"""The machine: platform, processor, memory, container, and what other rooms tell of GPUs and libraries. Never its name.

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
from ckptkit.capture.container import container
from ckptkit.capture.gpu import gpus
from ckptkit.capture.libraries import files, libraries
from ckptkit.record import Container, Cpu, Gpu, Memory, Platform

CPUINFO_SECONDS = 15
"""How long py-cpuinfo or sysctl may take; about 2 s are usual for the former, milliseconds for the latter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What the computation runs on; ``gpus`` is empty where there are none and None where that is not known.

    ``files`` are the SHA-256 of files that configure numerical libraries.
    """

    platform: Platform | None
    cpu: Cpu | None
    memory: Memory | None
    gpus: tuple[Gpu, ...] | None
    driver: str | None
    libraries: Mapping[str, str]
    container: Container | None
    files: Mapping[str, str]


def hardware(unknown: dict[str, str], *, root: Path = Path("/")) -> Hardware:
    """Look at the machine.

    Args:
        unknown: takes the reason for each fact that cannot be had.
        root: where proc, sys, dev, etc and the like are.
    """
    found, driver = gpus(unknown, root)
    none: dict[str, str] = {}
    return Hardware(
        platform=attempt(unknown, "compute.platform", lambda: _platform(unknown), None),
        cpu=attempt(unknown, "compute.cpu", lambda: _cpu(unknown, root), None),
        memory=attempt(unknown, "compute.memory", lambda: _memory(root), None),
        gpus=found,
        driver=driver,
        libraries=libraries(unknown, gpus=found, root=root),
        container=attempt(unknown, "compute.container", lambda: container(unknown, root), None),
        files=attempt(unknown, "compute.files", lambda: files(unknown, root), none),
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
        first = attempt(unknown, "compute.cpu.model", _sysctl if sys.platform == "darwin" else _cpuinfo, none)
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
        stepping=", ".join(f"{word} {first[name]}" for name, word in _STEPPING.items() if name in first) or None,
        affinity=_affinity(root),
        quota=min(_quotas(root), default=None),
    )


_STEPPING = {  # as /proc/cpuinfo has it on x86 and on ARM: the word that stands here
    "cpu family": "family",
    "model": "model",
    "stepping": "stepping",
    "microcode": "microcode",
    "CPU implementer": "implementer",
    "CPU variant": "variant",
    "CPU part": "part",
    "CPU revision": "revision",
}


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


def _affinity(root: Path) -> str | None:
    """The cores that the process may use, as the kernel writes them; None where it binds no process to some."""
    with contextlib.suppress(OSError):
        return dict(_fields((root / "proc/self/status").read_text(errors="replace"))).get("Cpus_allowed_list")
    return None


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


def _sysctl() -> dict[str, str]:
    """What macOS tells, in the words of /proc/cpuinfo; Apple's processors name their extensions one by one."""
    told = dict(_fields(run(["sysctl", "machdep.cpu", "hw.optional"], seconds=CPUINFO_SECONDS).decode()))
    names = {
        "model name": "brand_string",
        "vendor_id": "vendor",
        "cpu family": "family",
        "microcode": "microcode_version",
    }
    names |= {name: name for name in ("model", "stepping")}
    cpu = {name: told[f"machdep.cpu.{key}"] for name, key in names.items() if f"machdep.cpu.{key}" in told}
    sets = (told.get(f"machdep.cpu.{key}", "") for key in ("features", "leaf7_features", "extfeatures"))
    optional = (name.rpartition(".")[2] for name, value in told.items() if (name[:12], value) == ("hw.optional.", "1"))
    return cpu | {"flags": " ".join(sets).strip().lower() or " ".join(optional)}


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
    """Limits of memory of the process's control group and of those above it, in bytes."""
    for group in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):  # "max"; a group seen from inside a container
                yield int((group / name).read_text())


def _quotas(root: Path) -> Iterable[float]:
    """How many cores' time the process's control group and those above it may take."""
    for group in _groups(root, "cpu"):
        with contextlib.suppress(OSError, ValueError):  # "max"
            quota, period = (group / "cpu.max").read_text().split()
            yield int(quota) / int(period)
        with contextlib.suppress(OSError, ValueError):
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            if int(quota) > 0:  # -1 is none
                yield int(quota) / int(period)


def _groups(root: Path, controller: str) -> Iterable[Path]:
    """The process's control group and those above it, for one controller; see cgroups(7), versions 1 and 2."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, group = line.split(":", 2)
        if number == "0" or controller in controllers.split(","):
            top = root / "sys/fs/cgroup" / ("" if number == "0" else controller)
            folder = Path(group.lstrip("/"))
            yield from (top / each for each in (folder, *folder.parents))
