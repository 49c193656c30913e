"""Numerical libraries: the versions that this process has loaded, and the files that configure them.

A pin does not tell what runs: CUDA's libraries are found by the loader's path, and BLAS chooses its kernel by the
processor. Only what is loaded already is looked at.
"""

import glob
import os
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from ckptkit import redact
from ckptkit.capture import attempt
from ckptkit.capture.command import ProbeError
from ckptkit.capture.pools import pools
from ckptkit.disk import CONFIG_LIMIT, read_regular
from ckptkit.record import Gpu

_PACKAGES = (
    *("numpy", "scipy", "sklearn", "torch", "torchvision", "jax", "jaxlib", "tensorflow", "keras", "safetensors"),
    *("transformers", "xgboost", "lightgbm", "triton", "flash_attn", "deepspeed", "mkl", "cupy", "numba"),
)
_SHARED_OBJECT = re.compile(r"/.*\.so(?:\.[\w.-]+)?", re.DOTALL)
_NUMERICAL = re.compile(
    r"lib(cudart|nvrtc|cublas|cudnn|cufft|curand|cusolver|cusparse|cusparseLt|cutensor|nccl"
    r"|amdhip64|rocblas|hipblaslt|MIOpen|rccl|dnnl)(?:-[0-9a-f]{8})?\.so\.(\d[\d.]*)"
)
_WHEEL = re.compile(r"nvidia_(\w+?)(?:_cu\d+)?-([^-]+)\.dist-info")
_WHEEL_OF = {"cudart": "cuda_runtime", "nvrtc": "cuda_nvrtc"}  # the others are called as their library
_CONFIGURED_BY = (
    *("NCCL_CONF_FILE", "NCCL_TOPO_FILE", "NCCL_GRAPH_FILE"),
    *("CUBLASLT_HEURISTICS_LUT_FILE", "CUDNN_ERRATA_JSON_FILE"),
)


def libraries(unknown: dict[str, str], *, gpus: tuple[Gpu, ...] | None, root: Path) -> dict[str, str]:
    """Versions by the name of the package or library; several that are loaded at once stand side by side.

    Args:
        unknown: takes the reasons for what cannot be had.
        gpus: the machine's; torch is not asked for its build where that would wake one.
        root: where proc and opt are.
    """
    out: dict[str, str] = {}
    none: dict[str, str] = {}
    for probe in (_packages, _numpy_builds, lambda: _mapped(root), _pools):
        out |= attempt(unknown, "compute.libraries", probe, none)
    return out | attempt(unknown, "compute.libraries.torch", lambda: _torch_build(gpus), none)


def _packages() -> dict[str, str]:
    """Versions of loaded packages that compute; torch and its CUDA know more than their pins tell."""
    found = {name: _attribute(name, "__version__") for name in _PACKAGES}
    found["cuda"] = _attribute("torch.version", "cuda")
    found["hip"] = _attribute("torch.version", "hip")
    return {name: str(version) for name, version in found.items() if isinstance(version, str) and version}


def _attribute(module: str, name: str) -> Any:  # noqa: ANN401 - whatever a module holds
    try:
        return vars(sys.modules[module]).get(name)
    except (KeyError, TypeError):  # not loaded, or a stand-in
        return None


def _numpy_builds() -> dict[str, str]:
    """The BLAS that numpy and scipy were built with; their wheels bring it along."""
    out: dict[str, str] = {}
    for package in ("numpy", "scipy"):
        config = _attribute(f"{package}.__config__", "CONFIG")
        if isinstance(config, Mapping):  # since 1.26 and 1.11
            blas = config["Build Dependencies"]["blas"]
            out[f"{package}.blas"] = f"{blas['name']} {blas['version']}"
    return out


def _torch_build(gpus: tuple[Gpu, ...] | None) -> dict[str, str]:
    """MKL and oneDNN are linked into libtorch itself; torch counts its GPUs before it tells, which wakes the driver."""
    show = _attribute("torch.__config__", "show")
    if show is None:
        return {}
    with_gpu = _attribute("torch.version", "cuda") or _attribute("torch.version", "hip")
    if with_gpu and gpus != () and not _attribute("torch.cuda", "is_initialized")():
        raise ProbeError("torch does not tell without waking the GPU, which this process has not used")
    text = show()
    named = {"torch.mkl": r"Math Kernel Library Version ([\d.]+)", "torch.onednn": r"(?:MKL-DNN|oneDNN) v([\d.]+)"}
    return {name: found[1] for name, form in named.items() if (found := re.search(form, text))}


def mapped_files(root: Path = Path("/")) -> tuple[str, ...]:
    """Absolute paths of the shared objects that are mapped into this process, links resolved, sorted.

    There are none where the system has no /proc/self/maps, as macOS. One that was deleted since keeps its path.
    """
    try:
        lines = os.fsdecode((root / "proc/self/maps").read_bytes()).split("\n")
    except OSError:
        return ()
    paths = {line.split(None, 5)[5].removesuffix(" (deleted)") for line in lines if "/" in line}
    return tuple(sorted(path for path in paths if _SHARED_OBJECT.fullmatch(path)))


def _mapped(root: Path) -> dict[str, str]:
    """Versions of mapped libraries: of the wheel that one lies in, else as its file's name tells."""
    found: dict[str, dict[str, None]] = {}
    wheels = cache(_nvidia_wheels)
    for path in mapped_files(root):
        if library := _NUMERICAL.fullmatch(path.rpartition("/")[2]):
            name, number = library[1].lower(), library[2]
            site, within, _ = path.rpartition("/nvidia/")
            versions = wheels(root / site.lstrip("/")).get(_WHEEL_OF.get(name, name), []) if within else []
            if len(versions) > 1:  # those for two releases of CUDA
                versions = [version for version in versions if version.startswith(f"{number}.")]
            found.setdefault(name, {})[versions[0] if len(versions) == 1 else number] = None
        if rocm := re.match(r"/(opt/rocm[^/]*)/", path):
            told = root / rocm[1] / ".info/version"
            if told.is_file():
                found.setdefault("rocm", {})[told.read_text(encoding="utf-8").strip()] = None
    return {name: ", ".join(versions) for name, versions in found.items()}


def _nvidia_wheels(site: Path) -> dict[str, list[str]]:
    """Versions by library: ``nvidia/cudnn/lib/libcudnn.so.9`` lies beside nvidia_cudnn_cu13-9.24.0.96.dist-info."""
    out: dict[str, list[str]] = {}
    for wheel in map(_WHEEL.fullmatch, os.listdir(site) if site.is_dir() else ()):
        if wheel:
            out.setdefault(wheel[1], []).append(wheel[2])
    return out


def _pools() -> dict[str, str]:
    """Loaded BLAS and OpenMP libraries with the kernel they chose for this processor."""
    out: dict[str, dict[str, None]] = {}
    for pool in pools():
        words = (pool["version"] or pool["prefix"], pool.get("architecture"))
        out.setdefault(pool["internal_api"], {})[" ".join(filter(None, words))] = None
    return {name: ", ".join(versions) for name, versions in out.items()}


def files(unknown: dict[str, str], root: Path) -> dict[str, str]:
    """The SHA-256 of files that configure numerical libraries, by the variable that names them or else their name.

    Args:
        unknown: takes the reason for each file that cannot be read, or is no configuration by its size.
        root: where etc and var are.
    """
    import hashlib

    out: dict[str, str] = {}
    for name, path in _configured(root):
        data = attempt(unknown, f"compute.files.{name}", partial(read_regular, path, CONFIG_LIMIT), None)
        if data is not None:
            out[name] = hashlib.sha256(data).hexdigest()
    return out


def _configured(root: Path) -> Iterator[tuple[str, Path]]:
    named = {name: os.environ[name] for name in _CONFIGURED_BY if os.environ.get(name)}
    for name, value in named.items():
        yield name, Path(value)
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - does not fail where there is none
    places = [root / "etc/nccl.conf", root / "etc/rccl.conf", home / ".rccl.conf"]
    if "NCCL_CONF_FILE" not in named:  # takes the place of the user's file, not of the machine's
        places.append(home / ".nccl.conf")
    if "NCCL_TOPO_FILE" not in named:
        places.append(root / "var/run/nvidia-topologyd/virtualTopology.xml")
    if not {"keras", "tensorflow"}.isdisjoint(sys.modules):
        places.append(Path(os.environ.get("KERAS_HOME") or home / ".keras") / "keras.json")
    for path in (*places, *_tuned()):
        if os.path.lexists(path):
            yield redact.text(path.name), path


def _tuned() -> list[Path]:
    """What TunableOp has written, one file a GPU, its number at ``%d`` or before the last dot."""
    enabled = os.environ.get("PYTORCH_TUNABLEOP_ENABLED") == "1"
    name = os.environ.get("PYTORCH_TUNABLEOP_FILENAME") or ("tunableop_results.csv" if enabled else None)
    if name is None:
        return []
    before, mark, after = name.partition("%d")
    if not mark:
        before, dot, ending = name.rpartition(".")
        before, after = (before, dot + ending) if dot else (name, "")
    pattern = f"{glob.escape(before)}[0-9]*{glob.escape(after)}"
    return [Path(path) for path in sorted(glob.glob(pattern))]  # noqa: PTH207 - torch's name is absolute or of the cwd
