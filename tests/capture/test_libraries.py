"""Numerical libraries: what this process has loaded for real; others as a maps file and folders of wheels."""

import hashlib
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from machines import write

from ckptkit.capture import libraries as probe
from ckptkit.disk import CONFIG_LIMIT
from ckptkit.record import Gpu

SITE = "/venv/lib/python3.11/site-packages"
A100 = Gpu(index=0, name="NVIDIA A100-SXM4-40GB", memory=40 << 30, compute_capability="8.0")
SHOW = """\
PyTorch built with:
  - GCC 13.3
  - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605 for Intel(R) 64 architecture applications
  - Intel(R) MKL-DNN v3.12.0 (Git Hash 80afa71049cd69a3df32adcccb623b12cd7baa22)
"""


def maps(*paths: str) -> dict[str, str]:
    lines = [
        f"7f1d4c{number:03x}000-7f1d4cfff000 r-xp 00000000 08:02 135522  {path}" for number, path in enumerate(paths)
    ]
    lines += [
        "7ffd2a1c2000-7ffd2a1c4000 r-xp 00000000 00:00 0   [vdso]",
        "7f1d4d000000-7f1d4d021000 rw-p 00000000 00:00 0 ",
    ]
    return {"proc/self/maps": "\n".join(lines) + "\n"}


def load(monkeypatch: pytest.MonkeyPatch, name: str, **attributes: Any) -> None:
    module = types.ModuleType(name)
    vars(module).update(attributes)
    monkeypatch.setitem(sys.modules, name, module)


def found(unknown: dict[str, str] | None = None, *, root: Path, gpus: tuple[Gpu, ...] = ()) -> dict[str, str]:
    return probe.libraries({} if unknown is None else unknown, gpus=gpus, root=root)


def test_loaded_packages_by_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Version(str):
        __slots__ = ()

    for name in list(sys.modules):
        if name.partition(".")[0] in {"torch", "jax", "scipy"}:
            monkeypatch.delitem(sys.modules, name)
    load(monkeypatch, "torch", __version__=Version("2.6.0+cu124"))
    load(monkeypatch, "torch.version", cuda="12.4", hip=None)
    load(monkeypatch, "jax")
    monkeypatch.setitem(sys.modules, "scipy", None)
    versions = found(root=tmp_path)
    assert versions["torch"] == "2.6.0+cu124"
    assert type(versions["torch"]) is str
    assert versions["cuda"] == "12.4"
    assert not {"hip", "jax", "scipy"} & set(versions)


def test_blas_is_named_with_its_kernel(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")
    versions = found(root=tmp_path)
    assert versions["numpy"] == numpy.__version__
    blas = numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]
    assert versions["numpy.blas"] == f"{blas['name']} {blas['version']}"
    for pool in threadpoolctl.threadpool_info():
        assert (pool["version"] or pool["prefix"]) in versions[pool["internal_api"]]
        assert (pool.get("architecture") or "") in versions[pool["internal_api"]]


def test_what_is_linked_into_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if "Math Kernel Library" not in (text := torch.__config__.show()):
        pytest.skip("this torch is built without MKL")
    versions = found(root=tmp_path)
    assert f"Library Version {versions['torch.mkl']}" in text
    assert f"v{versions['torch.onednn']} " in text


@pytest.mark.parametrize(
    ("cuda", "used", "gpus", "told"),
    [
        (None, False, (A100,), True),
        ("12.4", False, (), True),
        ("12.4", True, (A100,), True),
        ("12.4", False, (A100,), False),
    ],
)
def test_torch_is_not_asked_where_that_would_wake_a_gpu(
    *,
    cuda: str | None,
    used: bool,
    gpus: tuple[Gpu, ...],
    told: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def show() -> str:
        asked.append("torch")
        return SHOW

    load(monkeypatch, "torch.version", cuda=cuda, hip=None)
    load(monkeypatch, "torch.cuda", is_initialized=lambda: used)
    load(monkeypatch, "torch.__config__", show=show)
    unknown: dict[str, str] = {}
    versions = found(unknown, root=tmp_path, gpus=gpus)
    assert (versions.get("torch.mkl"), versions.get("torch.onednn")) == (("2024.2", "3.12.0") if told else (None, None))
    assert bool(asked) is told
    assert ("compute.libraries.torch" in unknown) is not told


def test_mapped_files_are_shared_objects_once_each(tmp_path: Path) -> None:
    paths = ("/usr/lib/libm.so.6", "/usr/lib/libm.so.6", "/opt/a b/libx.so", "/usr/share/a.mo", "/gone/y.so (deleted)")
    root = write(tmp_path, maps(*paths, f"{SITE}/q.cpython-311-x86_64-linux-gnu.so", "/memfd:jit (deleted)"))
    assert probe.mapped_files(root) == (
        "/gone/y.so",
        "/opt/a b/libx.so",
        "/usr/lib/libm.so.6",
        f"{SITE}/q.cpython-311-x86_64-linux-gnu.so",
    )
    assert probe.mapped_files(tmp_path / "elsewhere") == ()


def test_mapped_files_of_this_process() -> None:
    if not Path("/proc/self/maps").exists():
        pytest.skip("this system does not tell what is mapped")
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    assert any(path.startswith(f"{Path(numpy.__file__).resolve().parent}/") for path in probe.mapped_files())


def test_mapped_libraries_by_their_wheel_or_their_name(tmp_path: Path) -> None:
    wheels = (
        "nvidia_cudnn_cu13-9.24.0.96",
        "nvidia_cublas-13.1.1.3",
        "nvidia_cuda_runtime-13.0.96",
        "nvidia_nccl_cu13-2.30.7",
    )
    libraries = (
        f"{SITE}/nvidia/cudnn/lib/libcudnn.so.9",
        f"{SITE}/nvidia/cudnn/lib/libcudnn_ops.so.9",
        f"{SITE}/nvidia/cu13/lib/libcublas.so.13",
        f"{SITE}/nvidia/cu13/lib/libcublasLt.so.13",
        f"{SITE}/nvidia/cu13/lib/libcudart.so.13",
        f"{SITE}/nvidia/cufft/lib/libcufft.so.12",
        f"{SITE}/torch/lib/libnvrtc-a1b2c3d4.so.11.2",
        "/usr/lib/x86_64-linux-gnu/libnccl.so.2.21.5",
    )
    files = {f"{SITE}/{wheel}.dist-info/METADATA"[1:]: "" for wheel in wheels}
    versions = found(root=write(tmp_path, files | maps(*libraries)))
    expected = {
        "cudnn": "9.24.0.96",
        "cublas": "13.1.1.3",
        "cudart": "13.0.96",
        "cufft": "12",
        "nvrtc": "11.2",
        "nccl": "2.21.5",
    }
    assert {name: versions.get(name) for name in expected} == expected


def test_of_two_wheels_of_a_library_the_mapped_one_counts(tmp_path: Path) -> None:
    wheels = (
        "nvidia_cublas_cu12-12.4.5.8",
        "nvidia_cublas-13.1.1.3",
        "nvidia_cudnn_cu12-9.1.0.70",
        "nvidia_cudnn_cu13-9.24.0",
    )
    files = {f"{SITE}/{wheel}.dist-info/METADATA"[1:]: "" for wheel in wheels}
    mapped = maps(f"{SITE}/nvidia/cublas/lib/libcublas.so.12", f"{SITE}/nvidia/cudnn/lib/libcudnn.so.9")
    versions = found(root=write(tmp_path, files | mapped))
    assert (versions["cublas"], versions["cudnn"]) == ("12.4.5.8", "9")


def test_rocm_is_the_one_that_is_mapped(tmp_path: Path) -> None:
    files = {"opt/rocm-6.2.0/.info/version": "6.2.0-66\n", "opt/rocm-5.7.1/.info/version": "5.7.1-98\n"}
    versions = found(root=write(tmp_path, files | maps("/opt/rocm-6.2.0/lib/libamdhip64.so.6.2.60200")))
    assert (versions["rocm"], versions["amdhip64"]) == ("6.2.0-66", "6.2.60200")


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_files_that_configure_libraries(tmp_path: Path, private_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(private_home, {".nccl.conf": "NCCL_ALGO=Tree\n", ".keras/keras.json": '{"floatx": "float16"}'})
    root = write(tmp_path / "root", {"etc/nccl.conf": "NCCL_DEBUG=WARN\n", "topology.xml": "<system/>"})
    monkeypatch.setenv("NCCL_TOPO_FILE", str(root / "topology.xml"))
    for name in ("keras", "tensorflow"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    unknown: dict[str, str] = {}
    expected = {
        "NCCL_TOPO_FILE": sha256("<system/>"),
        "nccl.conf": sha256("NCCL_DEBUG=WARN\n"),
        ".nccl.conf": sha256("NCCL_ALGO=Tree\n"),
    }
    assert probe.files(unknown, root) == expected
    load(monkeypatch, "keras")
    assert probe.files(unknown, root) == expected | {"keras.json": sha256('{"floatx": "float16"}')}
    assert unknown == {}


def test_nccl_conf_file_takes_the_place_of_the_users(
    tmp_path: Path, private_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(private_home, {".nccl.conf": "NCCL_ALGO=Tree\n", "mine.conf": "NCCL_ALGO=Ring\n"})
    monkeypatch.setenv("NCCL_CONF_FILE", str(private_home / "mine.conf"))
    assert probe.files({}, tmp_path) == {"NCCL_CONF_FILE": sha256("NCCL_ALGO=Ring\n")}


@pytest.mark.parametrize(
    ("name", "enabled", "names"),
    [
        ("tuned-%d.csv", "", ["tuned-0.csv", "tuned-11.csv"]),
        ("tuned-.csv", "", ["tuned-0.csv", "tuned-11.csv"]),
        ("[x]", "", ["[x]0"]),
        ("", "1", ["tunableop_results0.csv"]),
        ("", "", []),
    ],
)
def test_what_tunableop_has_written(
    name: str, enabled: str, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = dict.fromkeys(("tuned-0.csv", "tuned-11.csv", "tuned-x.csv", "[x]0", "x0", "tunableop_results0.csv"), "v\n")
    monkeypatch.chdir(write(tmp_path, texts))
    monkeypatch.setenv("PYTORCH_TUNABLEOP_FILENAME", name)
    monkeypatch.setenv("PYTORCH_TUNABLEOP_ENABLED", enabled)
    assert list(probe.files({}, tmp_path)) == names


def test_a_named_file_that_cannot_be_read_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(CONFIG_LIMIT + 1))
    monkeypatch.setenv("NCCL_GRAPH_FILE", str(tmp_path / "pipe"))
    monkeypatch.setenv("NCCL_TOPO_FILE", str(tmp_path / "none.xml"))
    monkeypatch.setenv("CUDNN_ERRATA_JSON_FILE", str(tmp_path / "large"))
    unknown: dict[str, str] = {}
    assert probe.files(unknown, tmp_path) == {}
    assert unknown["compute.files.NCCL_GRAPH_FILE"] == "is not a regular file"
    assert "no such file" in unknown["compute.files.NCCL_TOPO_FILE"]
    assert "at most" in unknown["compute.files.CUDNN_ERRATA_JSON_FILE"]
