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


@pytest.mark.parametrize("kind", ["missing", "empty file", "empty folder", "fifo", "broken link", "only empty files"])
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
    with pytest.raises(CkptkitError) as caught:
        place(path)
    assert caught.value.hint


def test_one_place_for_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m.bin").write_text(name)
    with pytest.raises(CkptkitError, match="would both be saved as"):
        place(tmp_path / "a" / "m.bin", tmp_path / "b" / "m.bin")
