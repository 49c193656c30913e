"""Which distributions are in this process: by the modules and the mapped files that it has."""

import contextlib
import mmap
import sys
import types
from pathlib import Path

import pytest
from sites import editable, install, installed

from ckptkit.capture import loaded

LIBRARIES = Path("/proc/self/maps").exists()


def load(monkeypatch: pytest.MonkeyPatch, name: str, file: Path | None) -> None:
    module = types.ModuleType(name)
    if file:
        module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, name, module)


def test_which_are_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    install(site, "by-name", "1", files="by_name/__init__.py")
    install(site, "Other", "1", top_level="by_top\n_by_top\n")
    install(site, "recorded", "1", files="by_record/__init__.py")
    install(site, "single", "1", files="by_file.cpython-311-x86_64-linux-gnu.so")
    install(site, "idle", "1", files="idle/__init__.py", top_level="idle\n")
    install(site, "shared-used", "1", files="shared/used/__init__.py", top_level="shared\n")
    install(site, "shared-idle", "1", files="shared/idle/__init__.py", top_level="shared\n")
    install(site, "protocols", "1", files="shared/protocols/deep/__init__.py", top_level="shared\n")
    install(site, "starter", "1", files="_distutils_hack/__init__.py", top_level="_distutils_hack\n")
    install(site, "elsewhere", "1", files="elsewhere/__init__.py")
    install(site, "mine", "1", source=editable(tmp_path / "mine"))
    load(monkeypatch, "by_name", site / "by_name" / "__init__.py")
    load(monkeypatch, "_by_top", site / "_by_top.py")
    load(monkeypatch, "by_record", site / "by_record" / "__init__.py")
    load(monkeypatch, "by_file", site / "by_file.cpython-311-x86_64-linux-gnu.so")
    load(monkeypatch, "shared", None)
    load(monkeypatch, "shared.used", site / "shared" / "used" / "__init__.py")
    load(monkeypatch, "shared.protocols", None)
    load(monkeypatch, "shared.protocols.deep", site / "shared" / "protocols" / "deep" / "__init__.py")
    load(monkeypatch, "_distutils_hack", site / "_distutils_hack" / "__init__.py")
    load(monkeypatch, "elsewhere", tmp_path / "elsewhere.py")
    load(monkeypatch, "anything", tmp_path / "mine" / "src" / "anything.py")
    monkeypatch.setitem(sys.modules, "strange", None)
    used = {"by-name", "other", "recorded", "single", "shared-used", "protocols", "mine"}
    assert loaded.imported(installed(site)) == used


@pytest.mark.skipif(not LIBRARIES, reason="needs /proc/self/maps")
def test_which_are_mapped(tmp_path: Path) -> None:
    site = tmp_path / "real" / "site"
    install(site, "nvidia-cublas", "13.1", files="nvidia/__init__.py nvidia/cu13/lib/libcublas.so.13")
    install(site, "nvidia-cudnn", "9.24", files="nvidia/__init__.py nvidia/cu13/lib/libcudnn.so.9")
    install(site, "beside", "1", files="../lib/libbeside.so beside/__init__.py")
    install(site, "linked", "1", files="linked/fast.so")
    install(site, "unrecorded", "1", top_level="bare\n")
    install(site, "unrecorded-idle", "1")
    install(site, "mine", "1", source=editable(tmp_path / "mine"))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for file in (
        site / "nvidia" / "cu13" / "lib" / "libcublas.so.13",
        site.parent / "lib" / "libbeside.so",
        site / "bare" / "fast.so",
        tmp_path / "mine" / "kernel.so",
        tmp_path / "cache" / "0123" / "fast.so",
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * mmap.PAGESIZE)
    (site / "linked").mkdir()
    (site / "linked" / "fast.so").symlink_to(tmp_path / "cache" / "0123" / "fast.so")
    with contextlib.ExitStack() as held:
        for file in tmp_path.rglob("*.so*"):
            opened = held.enter_context(file.open("rb"))
            held.enter_context(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
        found = loaded.mapped(installed(tmp_path / "link" / "site"))
    assert found == {"nvidia-cublas", "beside", "linked", "unrecorded", "mine"}
