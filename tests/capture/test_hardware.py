"""The hardware probe: this machine for real; other machines as what their /proc and /sys have printed."""

import json
import os
import sys
from pathlib import Path

import pytest
from machines import SYSCTL_APPLE, SYSCTL_INTEL, printing, tool, write

from ckptkit.capture import hardware as probe

X86 = """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 63
model name\t: Intel(R) Xeon(R) CPU E5-2670 v3 @ 2.30GHz
stepping\t: 2
microcode\t: 0x49
flags\t\t: fpu sse2 avx2 avx2

processor\t: 1
model name\t: another
"""
NEOVERSE = """\
processor\t: 0
BogoMIPS\t: 50.00
Features\t: fp asimd sve
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1
"""
RASPBERRY = NEOVERSE + "\nprocessor\t: 1\nBogoMIPS\t: 50.00\n\nHardware\t: BCM2835\nModel\t\t: Raspberry Pi 4\n"
MEMINFO = "MemTotal:       16384000 kB\nMemFree:         1000000 kB\n"


@pytest.fixture(autouse=True)
def _no_gpu_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No nvidia-smi on PATH, modules to be found by children, and a cache of its own."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    monkeypatch.setenv("CKPTKIT_CACHE", str(tmp_path / "cache"))


def test_this_machine_is_known_and_unnamed(monkeypatch: pytest.MonkeyPatch) -> None:
    system, _, *rest = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((system, "a-private-name", *rest)))
    found = probe.hardware({})
    assert found.platform is not None
    assert found.platform.system == system
    assert found.cpu is not None
    assert found.cpu.logical == os.cpu_count()
    assert found.cpu.usable == len(os.sched_getaffinity(0))
    assert found.memory is not None
    assert found.memory.total > 64 << 20
    assert "a-private-name" not in repr(found)


def test_no_sign_of_a_gpu_is_known_to_be_none(tmp_path: Path) -> None:
    unknown: dict[str, str] = {}
    found = probe.hardware(unknown, root=write(tmp_path / "root", {"proc/cpuinfo": X86, "proc/meminfo": MEMINFO}))
    assert (found.gpus, found.driver) == ((), None)
    assert not [field for field in unknown if field.startswith(("compute.gpus", "compute.driver"))]


@pytest.mark.parametrize(
    ("text", "model", "vendor", "flags"),
    [
        (X86, "Intel(R) Xeon(R) CPU E5-2670 v3 @ 2.30GHz", "GenuineIntel", ("avx2", "fpu", "sse2")),
        (NEOVERSE, "implementer 0x41 part 0xd0c", "0x41", ("asimd", "fp", "sve")),
        (RASPBERRY, "implementer 0x41 part 0xd0c", "0x41", ("asimd", "fp", "sve")),
        ("processor\t: 0\ncpu\t\t: POWER9 (raw), altivec supported\n", "POWER9 (raw), altivec supported", None, ()),
    ],
)
def test_processors(text: str, model: str, vendor: str | None, flags: tuple[str, ...], tmp_path: Path) -> None:
    siblings = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    cores = {siblings.format(number): f"{number % 2},{number % 2 + 2}\n" for number in range(4)}
    cpu = probe.hardware({}, root=write(tmp_path / "root", {"proc/cpuinfo": text, **cores})).cpu
    assert cpu is not None
    assert (cpu.model, cpu.vendor, cpu.flags, cpu.physical) == (model, vendor, flags, 2)


@pytest.mark.parametrize(
    ("text", "stepping"),
    [
        (X86, "family 6, model 63, stepping 2, microcode 0x49"),
        (NEOVERSE, "implementer 0x41, variant 0x3, part 0xd0c, revision 1"),
        ("processor\t: 0\ncpu\t\t: POWER9 (raw), altivec supported\n", None),
    ],
)
def test_stepping(text: str, stepping: str | None, tmp_path: Path) -> None:
    cpu = probe.hardware({}, root=write(tmp_path / "root", {"proc/cpuinfo": text})).cpu
    assert cpu is not None
    assert cpu.stepping == stepping


def test_affinity_is_the_kernel_s_list(tmp_path: Path) -> None:
    status = "Name:\tpython\nCpus_allowed:\t10f\nCpus_allowed_list:\t0-3,8\nMems_allowed_list:\t0\n"
    cpu = probe.hardware({}, root=write(tmp_path / "root", {"proc/cpuinfo": X86, "proc/self/status": status})).cpu
    here = probe.hardware({}).cpu
    assert cpu is not None
    assert here is not None
    assert (cpu.affinity, here.affinity is None) == ("0-3,8", sys.platform != "linux")


@pytest.mark.parametrize(
    ("text", "model", "vendor", "stepping", "flags"),
    [
        (SYSCTL_APPLE, "Apple M1", None, None, ("FEAT_LSE", "floatingpoint", "neon")),
        (
            SYSCTL_INTEL,
            "Intel(R) Core(TM) i5-5250U CPU @ 1.60GHz",
            "GenuineIntel",
            "family 6, model 61, stepping 4, microcode 47",
            ("avx1.0", "avx2", "bmi2", "f16c", "fpu", "lzcnt", "sse4.2", "syscall"),
        ),
    ],
)
def test_macs(
    text: str,
    model: str,
    vendor: str | None,
    stepping: str | None,
    flags: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    tool(tmp_path / "bin", "sysctl", f'[ "$*" = "machdep.cpu hw.optional" ] && {printing(text)}')
    (tmp_path / "bin" / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    cpu = probe.hardware({}, root=write(tmp_path / "root", {})).cpu
    assert cpu is not None
    assert (cpu.model, cpu.vendor, cpu.stepping, cpu.flags) == (model, vendor, stepping, flags)


CPUINFO = """
import json, os, pathlib
with open(os.environ["ASKED"], "a") as file:
    file.write("asked ")
print(json.dumps({"brand_raw": "Apple M2", "flags": ["neon", "fp16"]}))
"""


def test_without_proc_py_cpuinfo_is_asked_once_per_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tmp_path / "asked"
    monkeypatch.setenv("ASKED", str(asked))
    write(tmp_path / "modules", {"cpuinfo.py": CPUINFO})
    (tmp_path / "root").mkdir()
    for _ in range(2):
        unknown: dict[str, str] = {}
        cpu = probe.hardware(unknown, root=tmp_path / "root").cpu
        assert cpu is not None
        assert (cpu.model, cpu.vendor, cpu.flags) == ("Apple M2", None, ("fp16", "neon"))
        assert unknown == {}
    assert asked.read_text() == "asked "
    cache = tmp_path / "cache" / "cpuinfo.json"
    kept = json.loads(cache.read_text())
    cache.write_text(json.dumps(kept | {"boot": kept["boot"] - 3600}))
    probe.hardware({}, root=tmp_path / "root")
    assert asked.read_text() == "asked asked ", "another boot may be another machine"
    for broken in ("{", '{"boot": "x"}', "[]", '{"boot": 1, "cpu": 3}'):
        cache.write_text(broken)
        again = probe.hardware({}, root=tmp_path / "root").cpu
        assert again is not None
        assert again.model == "Apple M2"


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    write(tmp_path / "modules", {"cpuinfo.py": CPUINFO})
    write(tmp_path, {"cache": "a file, not a folder"})
    (tmp_path / "root").mkdir()
    unknown: dict[str, str] = {}
    cpu = probe.hardware(unknown, root=tmp_path / "root").cpu
    assert cpu is not None
    assert cpu.model == "Apple M2"
    assert unknown == {}


def test_a_py_cpuinfo_that_fails_is_a_reason(tmp_path: Path) -> None:
    write(tmp_path / "modules", {"cpuinfo.py": "raise SystemExit('no idea')"})
    (tmp_path / "root").mkdir()
    unknown: dict[str, str] = {}
    cpu = probe.hardware(unknown, root=tmp_path / "root").cpu
    assert cpu is not None
    assert (cpu.model, cpu.flags) == (None, ())
    assert cpu.logical == os.cpu_count()
    assert "no idea" in unknown["compute.cpu.model"]


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/user.slice\n", "sys/fs/cgroup/user.slice/memory.max": "max\n"}, None),
        (
            {
                "proc/self/cgroup": "0::/job/step\n",
                "sys/fs/cgroup/job/step/memory.max": "4294967296\n",
                "sys/fs/cgroup/job/memory.max": "2147483648\n",
            },
            2 << 30,
        ),
        ({"proc/self/cgroup": "0::/not/seen/from/inside\n", "sys/fs/cgroup/memory.max": "1073741824\n"}, 1 << 30),
        (
            {
                "proc/self/cgroup": "7:cpu,cpuacct:/\n4:memory:/slurm/job\n",
                "sys/fs/cgroup/memory/slurm/job/memory.limit_in_bytes": "1073741824\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            1 << 30,
        ),
    ],
)
def test_memory_and_the_control_groups_limit(files: dict[str, str], limit: int | None, tmp_path: Path) -> None:
    memory = probe.hardware(
        {}, root=write(tmp_path / "root", {"proc/cpuinfo": X86, "proc/meminfo": MEMINFO, **files})
    ).memory
    assert memory is not None
    assert (memory.total, memory.limit) == (16384000 * 1024, limit)


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/user.slice\n", "sys/fs/cgroup/user.slice/cpu.max": "max 100000\n"}, None),
        (
            {
                "proc/self/cgroup": "0::/job/step\n",
                "sys/fs/cgroup/job/step/cpu.max": "400000 100000\n",
                "sys/fs/cgroup/job/cpu.max": "150000 100000\n",
            },
            1.5,
        ),
        (
            {
                "proc/self/cgroup": "3:cpuset:/\n2:cpu,cpuacct:/docker/cb\n",
                "sys/fs/cgroup/cpu/docker/cb/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/docker/cb/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu/docker/cpu.cfs_quota_us": "250000\n",
                "sys/fs/cgroup/cpu/docker/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
    ],
)
def test_quota_of_the_control_group(files: dict[str, str], quota: float | None, tmp_path: Path) -> None:
    cpu = probe.hardware({}, root=write(tmp_path / "root", {"proc/cpuinfo": X86, **files})).cpu
    assert cpu is not None
    assert cpu.quota == quota


def test_a_probe_that_throws_does_not_lose_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    monkeypatch.setitem(sys.modules, "psutil", None)
    root = write(tmp_path / "root", {"proc/cpuinfo": X86, "proc/meminfo": "nothing"})
    unknown: dict[str, str] = {}
    found = probe.hardware(unknown, root=root)
    assert found.memory is None
    assert found.cpu is not None
    assert found.cpu.model
    assert found.cpu.physical is None
    assert {"compute.memory", "compute.cpu.physical", "compute.libraries"} <= set(unknown)
