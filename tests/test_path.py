import hashlib
import os
import shutil
from pathlib import Path

import pytest
from registries import publish

from ckptkit.errors import CkptkitError, NotFoundError
from ckptkit.verbs.path import DamagedError, path

FILES = {"model.safetensors": b"the weights", "tokenizer/vocab.txt": b"a b c", "tokenizer/deep/merges.txt": b"a b"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    publish(tmp_path / "runs", files=FILES, aliases=["champion"])
    return tmp_path / "runs"


@pytest.fixture
def version(root: Path) -> Path:
    return root / "penguins" / "v0001"


def rewrite(file: Path, data: bytes) -> None:
    file.unlink()
    file.write_bytes(data)


@pytest.mark.parametrize("ref", ["penguins", "penguins@champion", "penguins/1"])
def test_a_version_and_its_files(root: Path, version: Path, ref: str) -> None:
    assert path(ref, root=root) == version
    for name in (*FILES, "config.yaml", "lineage.json", "SHA256SUMS", "README.md", "./tokenizer//vocab.txt"):
        found = path(ref, name, root=root)
        assert found.is_absolute()
        assert found.samefile(version / name)


def test_a_folder_of_a_version(root: Path, version: Path) -> None:
    assert path("penguins", "tokenizer/", root=root) == version / "tokenizer"
    rewrite(version / "model.safetensors", b"not asked for")
    assert path("penguins", "tokenizer", root=root) == version / "tokenizer"
    rewrite(version / "tokenizer" / "deep" / "merges.txt", b"b a")
    with pytest.raises(DamagedError, match=r"tokenizer/deep/merges\.txt in penguins/v0001 is not as it was saved"):
        path("penguins", "tokenizer", root=root)


def test_a_path_needs_no_registry(root: Path, version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(version, tmp_path / "elsewhere" / "v0001")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert path("./v0001", "model.safetensors").read_bytes() == b"the weights"
    assert path(str(version), root=root / "nowhere") == version


@pytest.mark.parametrize("name", [None, "model.safetensors"])
def test_a_changed_file_is_refused(root: Path, version: Path, name: str | None) -> None:
    rewrite(version / "model.safetensors", b"the weightS")
    with pytest.raises(DamagedError, match=r"model\.safetensors in penguins/v0001 is not as it was saved") as caught:
        path("penguins", name, root=root)
    assert caught.value.exit_code == 1
    assert "ckptkit check --deep" in caught.value.hint
    assert path("penguins", name, root=root, verify=False).exists()
    assert path("penguins", "tokenizer/vocab.txt", root=root).read_bytes() == b"a b c"


@pytest.mark.parametrize("name", [None, "model.safetensors"])
def test_a_missing_file_is_not_found(root: Path, version: Path, name: str | None) -> None:
    (version / "model.safetensors").unlink()
    with pytest.raises(NotFoundError, match=r"penguins/v0001 lacks model\.safetensors"):
        path("penguins", name, root=root)


def test_a_file_beyond_those_listed_is_refused(root: Path, version: Path) -> None:
    (version / "modeling_custom.py").write_text("import os")
    with pytest.raises(DamagedError, match=r"modeling_custom\.py in penguins/v0001 is not one of the saved files"):
        path("penguins", root=root)
    with pytest.raises(NotFoundError, match=r"lists no modeling_custom\.py") as caught:
        path("penguins", "modeling_custom.py", root=root)
    assert caught.value.hint == "it lists model.safetensors, tokenizer/deep/merges.txt, tokenizer/vocab.txt"
    assert path("penguins", "model.safetensors", root=root).exists()


def test_the_card_may_be_edited(root: Path, version: Path) -> None:
    (version / "README.md").write_text("by hand")
    assert path("penguins", root=root) == version
    assert path("penguins", "README.md", root=root).read_text() == "by hand"
    (version / "README.md").unlink()
    assert path("penguins", root=root) == version
    with pytest.raises(NotFoundError, match=r"penguins/v0001 has no README\.md"):
        path("penguins", "README.md", root=root)


def resealed(version: Path) -> None:
    """Changed weights with a SHA256SUMS to match."""
    rewrite(version / "model.safetensors", b"other weights")
    old, new = (hashlib.sha256(data).hexdigest() for data in (b"the weights", b"other weights"))
    text = (version / "SHA256SUMS").read_text()
    assert old in text
    rewrite(version / "SHA256SUMS", text.replace(old, new).encode())


@pytest.mark.parametrize("is_index_there", [True, False])
@pytest.mark.parametrize("name", [None, "model.safetensors", "SHA256SUMS"])
def test_sums_that_were_not_sealed_are_refused(
    root: Path, version: Path, name: str | None, *, is_index_there: bool
) -> None:
    resealed(version)
    if not is_index_there:
        (root / "index.json").unlink()
    for ref in ("penguins", str(version)):
        with pytest.raises(DamagedError, match="SHA256SUMS in penguins/v0001 is not the one that was sealed"):
            path(ref, name, root=root)


def test_without_a_readable_event_the_index_tells(root: Path, version: Path) -> None:
    for event in (root / "penguins" / "history").iterdir():
        event.write_bytes(b"\xff")
    assert path("penguins/1", root=root) == version
    resealed(version)
    with pytest.raises(DamagedError, match="is not the one that was sealed"):
        path("penguins/1", root=root)


@pytest.mark.parametrize("data", [b"", b"\x00\xff", b"0" * 64 + b"  ../../x\n", b"<<<<<<< HEAD\n"])
def test_sums_that_cannot_be_read_are_damage(root: Path, version: Path, data: bytes) -> None:
    rewrite(version / "SHA256SUMS", data)
    with pytest.raises(DamagedError, match="SHA256SUMS in penguins/v0001"):
        path("penguins", root=root)


@pytest.mark.parametrize("name", ["../v0001/model.safetensors", "/etc/passwd", "a/../../b", "", ".", "..", "a\0b"])
@pytest.mark.parametrize("verify", [True, False])
def test_what_is_no_path_in_a_version_is_wrong_use(root: Path, name: str, *, verify: bool) -> None:
    with pytest.raises(CkptkitError, match="is no path in a version") as caught:
        path("penguins", name, root=root, verify=verify)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", ["nothing", "model", "model.safetensors/x", "tokenizer/voc", "x" * 5000, "\ud800"])
@pytest.mark.parametrize("verify", [True, False])
def test_what_is_not_there_is_not_found(root: Path, name: str, *, verify: bool) -> None:
    with pytest.raises(NotFoundError) as caught:
        path("penguins", name, root=root, verify=verify)
    assert caught.value.hint


def fifo(file: Path) -> None:
    os.mkfifo(file)


def loop(file: Path) -> None:
    file.symlink_to(file.name)


def device(file: Path) -> None:
    file.symlink_to("/dev/zero")


def folder(file: Path) -> None:
    file.mkdir()
    (file / "x").touch()


def dangling(file: Path) -> None:
    file.symlink_to("nowhere")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", [None, "model.safetensors"])
@pytest.mark.parametrize("odd", [fifo, loop, device, folder, dangling])
def test_something_odd_in_a_files_place_is_refused(root: Path, version: Path, odd: object, name: str | None) -> None:
    assert callable(odd)
    (version / "model.safetensors").unlink()
    odd(version / "model.safetensors")
    with pytest.raises(DamagedError, match=r"model\.safetensors") as caught:
        path("penguins", name, root=root)
    assert "penguins/v0001" in caught.value.message


@pytest.mark.timeout(30)
@pytest.mark.parametrize("odd", [fifo, loop, device, folder, dangling])
def test_something_odd_in_the_place_of_the_sums_is_refused(root: Path, version: Path, odd: object) -> None:
    assert callable(odd)
    (version / "SHA256SUMS").unlink()
    odd(version / "SHA256SUMS")
    with pytest.raises(DamagedError, match="SHA256SUMS"):
        path("penguins", root=root)


def test_an_unreadable_file_is_refused(root: Path, version: Path) -> None:
    (version / "model.safetensors").chmod(0)
    if os.access(version / "model.safetensors", os.R_OK):
        pytest.skip("this user reads everything")
    for name in (None, "model.safetensors"):
        with pytest.raises(DamagedError, match="permission denied"):
            path("penguins", name, root=root)


def test_progress_counts_every_byte_that_was_announced(root: Path) -> None:
    for name, size in (("model.safetensors", 11), ("tokenizer", 8)):
        done: list[int] = []
        expected: list[int] = []
        path("penguins", name, root=root, progress=done.append, expect=expected.append)
        assert sum(done) == sum(expected) == size


def test_a_version_saved_to_another_root_is_not_found(root: Path, tmp_path: Path) -> None:
    other = publish(tmp_path / "other", "whales")
    with pytest.raises(NotFoundError, match="no model 'whales'"):
        path(other.ref, root=root)
    with pytest.raises(NotFoundError, match="no registry at"):
        path("penguins", root=tmp_path / "nowhere")
