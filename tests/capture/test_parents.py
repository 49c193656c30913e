"""Parents: references, versions by any path into them, and files from elsewhere by their digest."""

import hashlib
from pathlib import Path

import pytest
from registries import WEIGHTS, publish

from ckptkit import index
from ckptkit.capture import parents
from ckptkit.errors import CkptkitError, NotFoundError
from ckptkit.record import Parent
from ckptkit.registry import Version


@pytest.fixture
def version(tmp_path: Path) -> Version:
    files = WEIGHTS | {"tokenizer/vocab.txt": b"words"}
    return publish(tmp_path / "runs", files=files, aliases=["champion"])


def read(given: object, folder: Path, *, root: str = "runs") -> Parent:
    known = index.load(folder / root)
    return parents.read(given, root=folder / root, index=known, project=folder, cwd=folder)


@pytest.mark.parametrize("relation", [None, "resumed", "previous"])
@pytest.mark.parametrize(
    "place",
    [
        "penguins/v0001",
        "penguins@champion",
        "runs/penguins/v0001",
        "./runs/penguins/v0001",
        "runs/penguins/v0001/model.safetensors",
        "runs/penguins/v0001/lineage.json",
        "runs/penguins/v0001/tokenizer",
        "runs/penguins/v0001/tokenizer/vocab.txt",
        "runs/penguins/@champion/model.safetensors",
        "runs/penguins/../penguins/v0001/model.safetensors",
    ],
)
def test_a_version_by_any_name(place: str, relation: str | None, version: Version, tmp_path: Path) -> None:
    found = read(f"{place}:{relation}" if relation else place, tmp_path)
    assert found == Parent(ref="penguins/v0001", digest=version.digest, relation=relation)  # type: ignore[arg-type]


def test_a_version_by_a_path_object_a_link_and_from_inside(version: Version, tmp_path: Path) -> None:
    (tmp_path / "best.safetensors").symlink_to(version.path / "model.safetensors")
    for given in (version, version.path, version.path / "model.safetensors", "best.safetensors"):
        assert read((given, "finetuned"), tmp_path).ref == "penguins/v0001"
    known = index.load(tmp_path / "runs")
    inside = parents.read("model.safetensors", root=tmp_path / "runs", index=known, project=tmp_path, cwd=version.path)
    assert inside.ref == "penguins/v0001"


@pytest.mark.usefixtures("version")
def test_the_same_bytes_elsewhere_are_a_file(tmp_path: Path) -> None:
    digest = f"sha256:{hashlib.sha256(WEIGHTS['model.safetensors']).hexdigest()}"
    (tmp_path / "copy.safetensors").write_bytes(WEIGHTS["model.safetensors"])
    assert read("copy.safetensors:resumed", tmp_path) == Parent(
        ref="copy.safetensors", digest=digest, relation="resumed"
    )


def test_a_folder_that_bears_a_models_name_is_a_path(version: Version, tmp_path: Path) -> None:
    (tmp_path / "penguins").mkdir()
    (tmp_path / "penguins" / "best.pt").write_bytes(b"best")
    assert read("penguins/best.pt", tmp_path).ref == "penguins/best.pt"
    assert read("penguins/v0001", tmp_path).digest == version.digest


def test_what_lies_in_a_damaged_version_is_a_file(version: Version, tmp_path: Path) -> None:
    version.path.chmod(0o755)
    (version.path / "SHA256SUMS").unlink()
    assert read("runs/penguins/v0001/model.safetensors", tmp_path).ref == "runs/penguins/v0001/model.safetensors"


def test_a_version_of_another_registry_is_no_holder(tmp_path: Path) -> None:
    publish(tmp_path / "runs")
    publish(tmp_path / "other", "whales")
    found = read("other/whales/v0001/model.safetensors", tmp_path)
    assert found.ref == "other/whales/v0001/model.safetensors"


def test_what_is_not_there_is_refused(version: Version, tmp_path: Path) -> None:
    with pytest.raises(CkptkitError):
        read(version.path / "gone.safetensors", tmp_path)
    with pytest.raises(NotFoundError):
        read("penguins/v0009", tmp_path)
    with pytest.raises(CkptkitError, match="no relation"):
        read(("penguins/v0001", "inspired"), tmp_path)
