"""The container probe: what runtimes leave inside."""

import os
from pathlib import Path

import pytest
from machines import write

from ckptkit.capture import container as probe
from ckptkit.record import Container

OVERLAY = "751 640 0:66 / / rw,relatime master:300 - overlay overlay rw,lowerdir={}/l/A:{}/l/B,workdir=/w\n"
CONTAINERENV = """\
engine="podman-4.9.3"
name="upbeat_darwin"
id="0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
image="docker.io/library/alpine:latest"
rootless=1
"""


@pytest.fixture(autouse=True)
def _no_container_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    prefixes = ("APPTAINER_", "SINGULARITY_", "KUBERNETES_", "NVIDIA_", "COLAB_", "CKPTKIT_IMAGE", "container")
    for name in [name for name in os.environ if name.startswith(prefixes)]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("files", "variables", "kind", "image"),
    [
        ({".dockerenv": ""}, {}, "docker", None),
        ({"run/.containerenv": ""}, {}, "podman", None),
        ({"run/.containerenv": CONTAINERENV}, {}, "podman", "docker.io/library/alpine:latest"),
        ({".dockerenv": ""}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes", None),
        ({".singularity.d/Singularity": ""}, {"APPTAINER_CONTAINER": "/u/ada/torch.sif"}, "apptainer", "torch.sif"),
        ({".singularity.d/Singularity": ""}, {"SINGULARITY_CONTAINER": "/u/old.sif"}, "apptainer", "old.sif"),
        ({".dockerenv": ""}, {"APPTAINER_CONTAINER": "/u/ada/torch.sif"}, "docker", None),
        ({"run/systemd/container": "lxc\n"}, {}, "lxc", None),
        ({}, {"container": "podman"}, "podman", None),
        ({"proc/self/cgroup": "4:cpu:/kubepods/besteffort/pod8\n"}, {}, "kubernetes", None),
        ({"proc/self/cgroup": "0::/system.slice/docker-0123456789abcdef.scope\n"}, {}, "docker", None),
        ({"proc/self/mountinfo": OVERLAY.format(*["/var/lib/docker/overlay2"] * 2)}, {}, "docker", None),
        (
            {"proc/self/mountinfo": OVERLAY.format(*["/var/lib/containerd/io.containerd.snapshotter.v1"] * 2)},
            {},
            "containerd",
            None,
        ),
        ({".dockerenv": ""}, {"CKPTKIT_IMAGE": "lab/torch@sha256:ab"}, "docker", "lab/torch@sha256:ab"),
        ({}, {"CKPTKIT_IMAGE": "lab/torch@sha256:ab"}, "container", "lab/torch@sha256:ab"),
        (
            {".dockerenv": ""},
            {"NVIDIA_PYTORCH_VERSION": "24.05", "NVIDIA_BUILD_ID": "91431255"},
            "docker",
            "NVIDIA_PYTORCH_VERSION=24.05 NVIDIA_BUILD_ID=91431255",
        ),
        (
            {".dockerenv": ""},
            {"COLAB_RELEASE_TAG": "release-colab_20250725-060057_RC00"},
            "docker",
            "COLAB_RELEASE_TAG=release-colab_20250725-060057_RC00",
        ),
        ({".dockerenv": "", "etc/git_commit": "4f2c1d9e\n"}, {}, "docker", "git_commit=4f2c1d9e"),
    ],
)
def test_containers(
    files: dict[str, str],
    variables: dict[str, str],
    kind: str,
    image: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    unknown: dict[str, str] = {}
    assert probe.container(unknown, write(tmp_path, files)) == Container(kind=kind, image=image)
    assert unknown == ({} if image else {"compute.container.image": probe.NO_IMAGE})


@pytest.mark.parametrize(
    ("files", "variables"),
    [
        ({}, {}),
        ({"proc/self/cgroup": "0::/user.slice/user-1000.slice/session-2.scope\n"}, {}),
        ({"proc/self/cgroup": "0::/system.slice/docker.service\n"}, {}),  # the daemon itself, on a host
        ({"proc/self/mountinfo": OVERLAY.format("/run/live", "/run/live").replace(" / / ", " / /var/lib/docker ")}, {}),
        ({"run/systemd/container": "wsl\n"}, {"container": "wsl"}),
        ({}, {"APPTAINER_CONTAINER": "/u/ada/torch.sif"}),  # came along with a job submitted from inside of one
    ],
)
def test_no_container(
    files: dict[str, str], variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    unknown: dict[str, str] = {}
    assert probe.container(unknown, write(tmp_path, files)) is None
    assert unknown == {}


def test_a_label_with_a_secret_is_recorded_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CKPTKIT_IMAGE", "https://ada:pass-word-1@registry.example.org/torch:2")
    found = probe.container({}, write(tmp_path, {".dockerenv": ""}))
    assert found is not None
    assert found.image == "https://registry.example.org/torch:2"
