import os
from pathlib import Path

import pytest

from ckptkit.capture import files
from ckptkit.errors import CkptkitError


def place(
    *paths: Path, rename: str | None = None, exclude: tuple[str, ...] = (), strict: bool = True
) -> dict[str, Path]:
    found = files.place(paths, rename=rename, exclude=exclude, strict=strict)
    return {file.path: file.source for file in found.files}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    out = tmp_path / "out"
    (out / "sub").mkdir(parents=True)
    (out / "a.bin").write_bytes(b"a")
    (out / "sub" / "b.bin").write_bytes(b"b")
    (out / "empty").touch()
    return out


def test_the_contents_of_one_folder_go_to_the_root(folder: Path) -> None:
    assert set(place(folder)) == {"a.bin", "sub/b.bin", "empty"}


def test_several_paths_keep_their_names(folder: Path) -> None:
    assert set(place(folder, folder / "a.bin")) == {"out/a.bin", "out/sub/b.bin", "out/empty", "a.bin"}


def test_rename(folder: Path) -> None:
    assert set(place(folder / "a.bin", rename="c.bin")) == {"c.bin"}
    assert set(place(folder, rename="inner")) == {"inner/a.bin", "inner/sub/b.bin", "inner/empty"}
    with pytest.raises(CkptkitError, match="--as"):
        place(folder, folder / "a.bin", rename="x")


@pytest.mark.parametrize("name", ["../x", "/x", "a/../b", "", ".", "a//b"])
def test_rename_stays_inside(folder: Path, name: str) -> None:
    with pytest.raises(CkptkitError, match="--as"):
        place(folder / "a.bin", rename=name)


def test_exclude(folder: Path) -> None:
    assert set(place(folder, exclude=("sub/*",))) == {"a.bin", "empty"}
    assert set(place(folder, exclude=("sub",))) == {"a.bin", "empty"}
    assert set(place(folder, exclude=("empt?",))) == {
        "a.bin",
        "sub/b.bin",
    }


def test_a_link_keeps_the_name_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "3f2a").write_bytes(b"w")
    (tmp_path / "model.safetensors").symlink_to("blobs/3f2a")
    (tmp_path / "run").symlink_to("blobs")
    assert set(place(tmp_path / "model.safetensors")) == {"model.safetensors"}
    assert set(place(tmp_path / "model.safetensors", tmp_path / "run")) == {"model.safetensors", "run/3f2a"}


def test_what_a_linked_folder_leads_to_is_not_inside(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "base" / "deep").mkdir(parents=True)
    (tmp_path / "base" / "deep" / "w.bin").write_bytes(b"w")
    (folder / "base").symlink_to(tmp_path / "base")
    (folder / "again").symlink_to("sub")
    (folder / "link.bin").symlink_to(tmp_path / "base" / "deep" / "w.bin")
    (tmp_path / "latest").symlink_to(folder)

    def inside(*paths: Path) -> set[str]:
        found = files.place(paths, rename=None, exclude=(), strict=True)
        return {file.path for file in found.files if file.inside}

    assert inside(folder) == inside(tmp_path / "latest") == {"a.bin", "sub/b.bin", "empty", "link.bin"}
    assert inside(folder / "base" / "deep" / "w.bin", folder / "link.bin") == {"w.bin", "link.bin"}


@pytest.mark.parametrize(
    ("times", "written"),
    [
        ({"model.safetensors": 100, "notes.txt": 900}, 100),
        ({"base.bin": 100, "adapter.safetensors": 500, "tokenizer.json": 50}, 500),
        ({"model.pkl.gz": 100, "README.txt": 900}, 100),
        ({"variables.data-00000-of-00001": 100, "variables.index": 200}, 100),
        ({"booster.json": 100, "features.txt": 200}, 200),
    ],
)
def test_weights_tell_when_they_were_written(tmp_path: Path, times: dict[str, int], written: int) -> None:
    for name, seconds in times.items():
        (tmp_path / name).write_bytes(b"w")
        os.utime(tmp_path / name, (seconds, seconds))
    assert files.place([tmp_path], rename=None, exclude=(), strict=True).written == written


def test_a_readme_becomes_the_cards(folder: Path) -> None:
    (folder / "README.md").write_text("# mine")
    found = files.place([folder], rename=None, exclude=(), strict=True)
    assert found.readme == folder / "README.md"
    assert "README.md" not in {file.path for file in found.files}


@pytest.mark.parametrize("name", ["config.yaml", "LINEAGE.JSON", "SHA256SUMS", "data/x", "code.patch"])
def test_reserved_names(tmp_path: Path, name: str) -> None:
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("x")
    with pytest.raises(CkptkitError, match="ckptkit writes that name itself"):
        place(tmp_path / "out")
    assert set(place(tmp_path / "out", strict=False)) == {f"weights/{name}"}


def test_links_are_followed_and_loops_refused(folder: Path) -> None:
    (folder / "link.bin").symlink_to("a.bin")
    assert "link.bin" in place(folder)
    (folder / "sub" / "up").symlink_to("..")
    with pytest.raises(CkptkitError, match="leads back"):
        place(folder)


@pytest.mark.parametrize(
    "kind",
    ["missing", "empty file", "empty folder", "fifo", "broken link", "only empty files", "a readme", "only a readme"],
)
def test_refuses(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "empty file":
        path.touch()
    elif kind == "empty folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "broken link":
        path.symlink_to("nowhere")
    elif kind == "only empty files":
        path.mkdir()
        (path / "a").touch()
    elif kind == "a readme":
        path = tmp_path / "README.md"
        path.write_text("words")
    elif kind == "only a readme":
        path.mkdir()
        (path / "README.md").write_text("words")
        (path / "empty").touch()
    with pytest.raises(CkptkitError) as caught:
        place(path)
    assert caught.value.hint


def test_one_place_for_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for file in ("m.bin", "README.md"):
            (tmp_path / name / file).write_text(name)
    for paths in (("a/m.bin", "b/m.bin"), ("a/m.bin", "a/README.md", "b/README.md")):
        with pytest.raises(CkptkitError, match="would both be saved as"):
            place(*(tmp_path / path for path in paths))
