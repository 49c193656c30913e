"""Other machines, as what their /proc, /sys and /dev hold and what their tools print."""

from pathlib import Path


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def tool(folder: Path, name: str, script: str) -> None:
    """A program of that name, as a shell script."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}")
    (folder / name).chmod(0o755)


def printing(text: str) -> str:
    """A shell script that prints a recorded output."""
    return f"while IFS= read -r line; do echo \"$line\"; done <<'END'\n{text}END\n"


NVIDIA_PROC = """\
Model: \t\t NVIDIA A10G
IRQ:   \t\t 42
GPU UUID: \t GPU-82523fd8-3897-f599-d088-ccd04ae45ec1
Video BIOS: \t 94.04.42.00.01
Bus Type: \t PCIe
DMA Size: \t 47 bits
DMA Mask: \t 0x7fffffffffff
Bus Location: \t 0000:00:1e.0
Device Minor: \t 3
GPU Excluded: \t No
"""

IOREG = """\
+-o AGXAcceleratorG16G  <class AGXAcceleratorG16G, id 0x10000039c, registered, matched, active>
    {
      "IOMatchedAtBoot" = Yes
      "MetalStatisticsName" = "AGXMetalStatisticsExternalG16G"
      "IOSourceVersion" = "324.6"
      "PerformanceStatistics" = {"In use system memory (driver)"=0,"Alloc system memory"=2181693440,"recoveryCount"=0}
      "model" = "Apple M4"
      "gpu-core-count" = 10
    }
"""

SYSCTL_APPLE = """\
machdep.cpu.cores_per_package: 8
machdep.cpu.core_count: 8
machdep.cpu.logical_per_package: 8
machdep.cpu.thread_count: 8
machdep.cpu.brand_string: Apple M1
hw.optional.floatingpoint: 1
hw.optional.neon: 1
hw.optional.armv8_2_sha3: 0
hw.optional.amx_version: 2
hw.optional.arm.FEAT_LSE: 1
"""

SYSCTL_INTEL = """\
machdep.cpu.vendor: GenuineIntel
machdep.cpu.brand_string: Intel(R) Core(TM) i5-5250U CPU @ 1.60GHz
machdep.cpu.family: 6
machdep.cpu.model: 61
machdep.cpu.extmodel: 3
machdep.cpu.stepping: 4
machdep.cpu.leaf7_feature_bits: 35399595 0
machdep.cpu.features: FPU SSE4.2 AVX1.0 F16C
machdep.cpu.leaf7_features: AVX2 BMI2
machdep.cpu.extfeatures: SYSCALL LZCNT
machdep.cpu.microcode_version: 47
hw.optional.avx2_0: 1
"""

KFD_NODE = """\
cpu_cores_count 0
simd_count 440
mem_banks_count 1
caches_count 206
max_waves_per_simd 8
wave_front_size 64
array_count 8
simd_arrays_per_engine 1
cu_per_simd_array 14
simd_per_cu 4
gfx_target_version 90010
vendor_id 4098
device_id 29704
drm_render_minor 128
unique_id 11743735912347093459
"""
