"""The hardware probe: this machine for real; other machines as what their /proc, /sys and tools have printed."""

import json
import os
import sys
import types
from pathlib import Path

import pytest

from ckptkit.capture import hardware as probe
from ckptkit.record import Gpu

X86 = """\
processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) CPU E5-2670 v3 @ 2.30GHz
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
CPU part\t: 0xd0c
"""
RASPBERRY = NEOVERSE + "\nprocessor\t: 1\nBogoMIPS\t: 50.00\n\nHardware\t: BCM2835\nModel\t\t: Raspberry Pi 4\n"
MEMINFO = "MemTotal:       16384000 kB\nMemFree:         1000000 kB\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture(autouse=True)
def _no_gpu_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No nvidia-smi on PATH, a cache of its own, and a pynvml that finds no driver."""
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "sleep"):
        (tmp_path / "bin" / tool).symlink_to(f"/bin/{tool}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("CKPTKIT_CACHE", str(tmp_path / "cache"))
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


# --- GPUs ---

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
    found = probe.hardware(unknown, root=write(tmp_path / "root", {"proc/cpuinfo": X86}))
    gb10 = Gpu(index=1, name="NVIDIA GB10", memory=None, compute_capability="12.1")
    assert found.gpus == (A100, gb10)
    assert found.driver == "535.129.03"
    assert "compute.gpus" not in unknown


def test_nvidia_smi_is_the_second_choice(tmp_path: Path) -> None:
    line = "535.129.03, NVIDIA A100-SXM4-40GB, 40960, 8.0"
    nvidia_smi(tmp_path, f'[ "$1" = --query-gpu=driver_version,name,memory.total,compute_cap ] && echo "{line}"')
    unknown: dict[str, str] = {}
    found = probe.hardware(unknown, root=write(tmp_path / "root", {"proc/cpuinfo": X86}))
    assert (found.gpus, found.driver) == ((A100,), "535.129.03")
    assert "compute.gpus" not in unknown


def test_an_older_nvidia_smi_is_asked_for_less(tmp_path: Path) -> None:
    refusal = """echo 'Field "compute_cap" is not a valid field to query.'; exit 2"""
    answer = "echo '450.80.02, Tesla T4, [N/A]'; echo '450.80.02, Tesla T4, 15109'"
    nvidia_smi(tmp_path, f'case "$1" in *compute_cap*) {refusal} ;; *) {answer} ;; esac')
    found = probe.hardware({}, root=write(tmp_path / "root", {"proc/cpuinfo": X86}))
    assert found.gpus == (
        Gpu(index=0, name="Tesla T4", memory=None, compute_capability=None),
        Gpu(index=1, name="Tesla T4", memory=15109 << 20, compute_capability=None),
    )
    assert found.driver == "450.80.02"


@pytest.mark.parametrize(
    "version",
    ["x86_64 Kernel Module  535.129.03  Thu Oct 19", "Open Kernel Module for x86_64  535.129.03  Release Build"],
)
def test_the_kernels_files_are_the_last_choice(version: str, tmp_path: Path) -> None:
    cards = {
        f"proc/driver/nvidia/gpus/0000:0{bus}:00.0/information": "Model: \t\t Tesla V100\nIRQ: 3\n" for bus in (3, 4)
    }
    told = f"NVRM version: NVIDIA UNIX {version}\nGCC version:  gcc version 12.2.0\n"
    files = {"proc/cpuinfo": X86, "proc/driver/nvidia/version": told, **cards}
    found = probe.hardware({}, root=write(tmp_path / "root", files))
    assert found.driver == "535.129.03"
    assert found.gpus == tuple(
        Gpu(index=index, name="Tesla V100", memory=None, compute_capability=None) for index in (0, 1)
    )


def test_a_sign_without_an_answer_is_unknown_with_every_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "DRIVER_SECONDS", 0.5)
    nvidia_smi(tmp_path, "sleep 60")
    unknown: dict[str, str] = {}
    found = probe.hardware(unknown, root=write(tmp_path / "root", {"proc/cpuinfo": X86, "dev/nvidia0": ""}))
    assert (found.gpus, found.driver) == (None, None)
    assert unknown["compute.gpus"] == unknown["compute.driver"]
    for reason in ("NVML: Driver Not Loaded", "nvidia-smi timed out after 0.5 s", "no such file"):
        assert reason in unknown["compute.gpus"]


@pytest.mark.parametrize(
    "said", ["No devices were found", "", "NVIDIA-SMI has failed because it could not communicate"]
)
def test_what_nvidia_smi_says_in_words_is_no_gpu(said: str, tmp_path: Path) -> None:
    nvidia_smi(tmp_path, f'echo "{said}"')
    unknown: dict[str, str] = {}
    found = probe.hardware(unknown, root=write(tmp_path / "root", {"proc/cpuinfo": X86}))
    assert found.gpus is None
    assert f"nvidia-smi says: {said}" in unknown["compute.gpus"]


def test_amd(tmp_path: Path) -> None:
    nodes = "sys/class/kfd/kfd/topology/nodes"
    files = {
        "proc/cpuinfo": X86,
        f"{nodes}/0/properties": "cpu_cores_count 64\nsimd_count 0\n",
        f"{nodes}/1/properties": "simd_count 440\ngfx_target_version 90010\nunique_id 123\n",
        f"{nodes}/1/mem_banks/0/properties": "heap_type 1\nsize_in_bytes 68702699520\n",
        f"{nodes}/2/properties": "simd_count 192\ngfx_target_version 110000\n",
        "sys/module/amdgpu/version": "6.8.5\n",
    }
    unknown: dict[str, str] = {}
    found = probe.hardware(unknown, root=write(tmp_path / "root", files))
    assert found.gpus == (
        Gpu(index=0, name="AMD gfx90a", memory=68702699520, compute_capability=None),
        Gpu(index=1, name="AMD gfx1100", memory=None, compute_capability=None),
    )
    assert found.driver == "amdgpu 6.8.5"
    assert "compute.gpus" not in unknown


# --- libraries ---


def test_loaded_libraries_by_version(monkeypatch: pytest.MonkeyPatch) -> None:
    class Version(str):
        __slots__ = ()

    for name in list(sys.modules):
        if name.partition(".")[0] in {"torch", "jax", "scipy"}:
            monkeypatch.delitem(sys.modules, name)
    loaded: dict[str, dict[str, object]] = {
        "torch": {"__version__": Version("2.6.0+cu124")},
        "torch.version": {"cuda": "12.4", "hip": None},
        "jax": {},
    }
    for name, attributes in loaded.items():
        module = types.ModuleType(name)
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "scipy", None)
    found = probe.hardware({}).libraries
    assert found["torch"] == "2.6.0+cu124"
    assert type(found["torch"]) is str
    assert found["cuda"] == "12.4"
    assert not {"hip", "jax", "scipy"} & set(found)


def test_blas_is_named_with_its_kernel() -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")
    found = probe.hardware({}).libraries
    assert found["numpy"] == numpy.__version__
    for pool in threadpoolctl.threadpool_info():
        assert (pool["version"] or pool["prefix"]) in found[pool["internal_api"]]
        assert (pool.get("architecture") or "") in found[pool["internal_api"]]


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
