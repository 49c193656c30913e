"""The container that this process runs in, by what its runtime leaves inside. No runtime leaves the image's digest."""

import os
import re
from pathlib import Path

from ckptkit import redact
from ckptkit.disk import CONFIG_LIMIT, read_regular
from ckptkit.errors import FormatError
from ckptkit.record import Container

NO_IMAGE = "an image does not tell its name inside; $CKPTKIT_IMAGE may"

_TOLD = ("docker", "lxc", "lxc-libvirt", "oci", "podman", "systemd-nspawn")  # not wsl, a machine of its own
_TRACES = (  # in the name of the control group and in what is mounted as /
    ("kubernetes", re.compile("kubepods")),
    ("podman", re.compile("libpod|/containers/storage/")),
    ("docker", re.compile("docker[-/][0-9a-f]{12}|/docker/overlay2/")),
    ("lxc", re.compile("/lxc[./]")),
    ("containerd", re.compile("cri-containerd|io.containerd.snapshotter")),
)
_LABELS = ("NVIDIA_PYTORCH_VERSION", "NVIDIA_TENSORFLOW_VERSION", "NVIDIA_BUILD_ID", "COLAB_RELEASE_TAG")


def container(unknown: dict[str, str], root: Path) -> Container | None:
    """The container and the label of its image; None outside of one.

    Args:
        unknown: takes the reason where the image has no label.
        root: where proc, run and the signs of a runtime are.
    """
    kind = _kind(root)
    if kind is None:
        return None
    image = _image(kind, root)
    if image is None:
        unknown["compute.container.image"] = NO_IMAGE
    return Container(kind=kind, image=redact.text(image) if image else None)


def _kind(root: Path) -> str | None:
    signs = {  # Apptainer's variables also reach the jobs that are submitted from inside of one
        "apptainer": os.path.lexists(root / ".singularity.d"),
        "kubernetes": "KUBERNETES_SERVICE_HOST" in os.environ,
        "podman": os.path.lexists(root / "run/.containerenv"),
        "docker": os.path.lexists(root / ".dockerenv"),
    }
    if kind := next((kind for kind, seen in signs.items() if seen), None):
        return kind
    told = (_text(root / "run/systemd/container").strip(), os.environ.get("container"))  # noqa: SIM112 - spelt so
    if kind := next((kind for kind in told if kind in _TOLD), None):
        return kind
    mounts = (line for line in _text(root / "proc/self/mountinfo").splitlines() if line.split()[4:5] == ["/"])
    traces = "\n".join((_text(root / "proc/self/cgroup"), *mounts))
    kind = next((kind for kind, trace in _TRACES if trace.search(traces)), None)
    return kind or ("container" if os.environ.get("CKPTKIT_IMAGE") else None)


def _image(kind: str, root: Path) -> str | None:
    """What the user says; else the image's file, name or release as the runtime or the image itself tells it."""
    if given := os.environ.get("CKPTKIT_IMAGE"):
        return given
    file = os.environ.get("APPTAINER_CONTAINER") or os.environ.get("SINGULARITY_CONTAINER")
    if file and kind == "apptainer":
        return Path(file).name
    if found := re.search(r'^image="(.+)"$', _text(root / "run/.containerenv"), re.MULTILINE):
        return found[1]
    labels = [f"{name}={os.environ[name]}" for name in _LABELS if os.environ.get(name)]
    if commit := _text(root / "etc/git_commit").strip():  # github.com/Kaggle/docker-python
        labels.append(f"git_commit={commit}")
    return " ".join(labels) or None


def _text(path: Path) -> str:
    try:
        return read_regular(path, CONFIG_LIMIT).decode(errors="replace")
    except FormatError:
        return ""
