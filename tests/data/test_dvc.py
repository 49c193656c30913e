"""Pointers of DVC. Every hash and form here is what DVC 3.67.1 wrote for the same files."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from tracked import HASHES, agreed, put

from ckptkit.data import pointers
from ckptkit.hash_cache import Cache

NAMES = [
    *("a.csv", "b c.txt", "sub/-x", "sub/deep/ü.txt", "é", "日本", "back\\slash", 'quo"te', "new\nline", "tab\t"),
    *("z.txt", "\U0001f600.txt", "\ufffd.txt", "sub.txt", "sub-a.txt"),
]
FOLDER_MD5 = "2d82def154a3530dbd98181300de3564.dir"
FOLDER = f"outs:\n- md5: {FOLDER_MD5}\n  size: 201\n  nfiles: 16\n  hash: md5\n  path: data\n"
FILE = f"outs:\n- md5: {HASHES['md5']}\n  size: 11\n  hash: md5\n  path: a.csv\n"
CONFIG = """[core]
    remote = origin
['remote "origin"']
    url = https://user:secret@example.org/store?sig=abc
['remote "near"']
    url = ../../store
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A DVC project with a folder of odd names, as `dvc add data` leaves it."""
    folder = tmp_path / "project"
    put(folder, {f"data/{name}": f"hello {name}" for name in NAMES})
    put(folder, {"data/crlf.txt": "a\r\nb\r\n", "data.dvc": FOLDER, ".dvc/config": CONFIG, ".dvcignore": "# none\n"})
    (folder / "data/empty").mkdir()
    return folder


def keep_list(project: Path) -> None:
    """Put the list of the folder's files where DVC's cache has it."""
    from hashlib import md5

    files = {path.relative_to(project / "data").as_posix(): path for path in (project / "data").rglob("*")}
    listed = [
        {"md5": md5(path.read_bytes(), usedforsecurity=False).hexdigest(), "relpath": name}
        for name, path in sorted(files.items())
        if path.is_file()
    ]
    put(project, {f".dvc/cache/files/md5/{FOLDER_MD5[:2]}/{FOLDER_MD5[2:]}": json.dumps(listed)})


def said(path: Path, project: Path, cache: Cache | None = None) -> dict[str, Any]:
    found: dict[str, Any] = agreed(path, project, cache).source["dvc"]
    return found


def verdict(path: Path, project: Path) -> Any:
    found = said(path, project)
    return found.get("agrees", found.get("why_not")) if found.get("agrees") is not False else found["difference"]


def test_a_folder_of_odd_names(project: Path) -> None:
    found = agreed(project / "data", project)
    assert found.source == {
        "dvc": {
            "file": "data.dvc",
            "md5": FOLDER_MD5,
            "hash": "md5",
            "size": 201,
            "nfiles": 16,
            "remote": {"name": "origin", "url": "https://example.org/store"},
            "agrees": True,
        }
    }
    assert (found.absent, found.digest, found.bytes, found.files) == (None, None, 201, 16)


def test_a_folder_that_is_other_than_its_pointer_says(project: Path) -> None:
    (project / "data/a.csv").write_text("jello a.csv")
    assert verdict(project / "data", project).startswith("has the MD5 ")
    (project / "data/a.csv").write_text("longer than it was")
    assert verdict(project / "data", project).startswith("has the MD5 ")
    (project / "data/a.csv").unlink()
    assert verdict(project / "data", project) == "holds 15 files, data.dvc says 16"
    shutil.rmtree(project / "data")
    (project / "data").write_text("now a file")
    assert verdict(project / "data", project) == "is a file, data.dvc says a folder"


def test_what_dvc_leaves_out_of_a_folder(project: Path) -> None:
    put(project, {"data/.git/HEAD": "x", "data/sub/.dvc/tmp": "x", "data/.hg/x": "x", "elsewhere/x": "x"})
    (project / "data/link").symlink_to("../elsewhere")
    (project / "data/sub/again").symlink_to("deep")
    assert verdict(project / "data", project) is True
    put(project, {"data/extra.tmp": "x"})
    assert verdict(project / "data", project) == "holds 17 files, data.dvc says 16"
    put(project, {".dvcignore": "# patterns\n*.tmp\n"})
    assert "are not applied here" in verdict(project / "data", project)
    (project / "data/a.csv").unlink()
    (project / "data/é").unlink()
    assert verdict(project / "data", project) == "holds 15 files, data.dvc says 16"


def test_links_to_files_count_as_files(tmp_path: Path) -> None:
    put(tmp_path, {"links/.gitignore": "gi\n", "links/real/f": "x\n", "outside.txt": "y\n", "other/z": "z\n"})
    for name, target in {"l": "../outside.txt", "d": "../other", "r2": "real"}.items():
        (tmp_path / "links" / name).symlink_to(target)
    md5 = "d6f56e300b79a1904280b5dad3aa7015.dir"
    put(tmp_path, {"links.dvc": f"outs:\n- md5: {md5}\n  size: 7\n  nfiles: 3\n  hash: md5\n  path: links\n"})
    assert verdict(tmp_path / "links", tmp_path) is True


def test_a_path_inside_of_a_tracked_folder(project: Path) -> None:
    assert "does not list its files" in verdict(project / "data/a.csv", project)
    keep_list(project)
    found = said(project / "data/sub/deep", project)
    assert (found["path"], found["md5"], found["agrees"]) == ("data", FOLDER_MD5, True)
    assert verdict(project / "data/a.csv", project) is True
    put(project, {"data/sub/-x": "changed", "data/sub/new": "x"})
    assert verdict(project / "data/sub", project) == "is not as data.dvc has it in 2 files: -x, new"
    put(project, {"data/new.csv": "x"})
    assert verdict(project / "data/new.csv", project) == "is not as data.dvc has it in 1 file: new.csv"
    listed = next((project / ".dvc/cache").rglob("*.dir"))
    listed.write_text(listed.read_text().replace("a.csv", "b.csv"))
    assert "does not list its files" in verdict(project / "data/a.csv", project)


def test_what_is_absent_and_what_is_a_wrong_name(project: Path) -> None:
    assert pointers.find(project / "data/tarin.csv", project) is None
    (project / "data/a.csv").unlink()
    assert pointers.find(project / "data/a.csv", project) is None
    shutil.rmtree(project / "data")
    for name in ("data", "data/a.csv"):
        found = pointers.find(project / name, project)
        assert found is not None
        assert found.source["dvc"]["absent"] is True
        assert found.absent == "only its pointer is here; `dvc pull data.dvc` brings its content"
    (project / "data").mkdir()
    assert pointers.find(project / "data", project) is not None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_not_absent(project: Path) -> None:
    (project / "data").chmod(0)
    found = pointers.find(project / "data", project)
    (project / "data").chmod(0o755)
    assert found is not None
    assert (found.absent, found.source) == (None, {"dvc": {"unreadable": "permission denied"}})


def test_the_list_in_the_cache_tells_a_wrong_name_from_an_absent_file(project: Path) -> None:
    keep_list(project)
    (project / "data/a.csv").unlink()
    shutil.rmtree(project / "data/sub")
    for name in ("data/a.csv", "data/sub", "data/sub/deep"):
        found = pointers.find(project / name, project)
        assert found is not None
        assert found.absent
    assert pointers.find(project / "data/su", project) is None


def test_a_file_and_its_hash_from_the_cache(tmp_path: Path) -> None:
    put(tmp_path, {"a.csv": "hello a.csv", "a.csv.dvc": FILE})
    with Cache(tmp_path / "cache") as cache:
        assert said(tmp_path / "a.csv", tmp_path, cache)["agrees"] is True
    with Cache(tmp_path / "cache") as cache:
        assert cache.md5_of(HASHES["sha256"]) == HASHES["md5"]
    (tmp_path / "a.csv").write_text("hello b.csv")
    assert verdict(tmp_path / "a.csv", tmp_path).endswith(f", a.csv.dvc says {HASHES['md5']}")
    (tmp_path / "a.csv").unlink()
    (tmp_path / "a.csv").mkdir()
    put(tmp_path, {"a.csv/b": "x"})
    assert verdict(tmp_path / "a.csv", tmp_path) == "is a folder, a.csv.dvc says a file"


@pytest.mark.parametrize(
    ("out", "words"),
    [
        (f"md5: {HASHES['md5']}\n  size: 11", "md5-dos2unix"),
        ("etag: '\"9a0364b9e99bb480dd25e1f0284c8555\"'\n  size: 11", "has no MD5 of it"),
        ("hash: md5\n  files:\n  - relpath: b.csv", "has no MD5 of it"),
    ],
)
def test_hashes_that_are_not_made_again(out: str, words: str, tmp_path: Path) -> None:
    put(tmp_path, {"a.csv": "hello a.csv", "a.csv.dvc": f"outs:\n- path: a.csv\n  {out}\n"})
    assert words in verdict(tmp_path / "a.csv", tmp_path)


def test_where_an_import_is_from(project: Path) -> None:
    repo = "repo:\n    url: https://me:token@example.org/data.git\n    rev: v1\n    rev_lock: 76f8cce3c940\n"
    put(project, {"a.csv": "hello a.csv", "a.csv.dvc": f"frozen: true\ndeps:\n- path: raw/a.csv\n  {repo}{FILE}"})
    assert said(project / "a.csv", project)["imported"] == {
        "repo": {"url": "https://example.org/data.git"},
        "file": "raw/a.csv",
        "rev": "v1",
        "rev_lock": "76f8cce3c940",
    }
    dep = "deps:\n- etag: abc\n  size: 11\n  path: https://me:token@example.org/a.csv?X-Amz-Signature=1\n"
    put(project, {"a.csv.dvc": dep + FILE})
    assert said(project / "a.csv", project)["imported"] == {
        "url": "https://example.org/a.csv",
        "etag": "abc",
        "size": 11,
    }
    put(project, {"a.csv.dvc": f"deps:\n- md5: x\n  path: /mnt/private/a.csv\n{FILE}"})
    assert said(project / "a.csv", project)["imported"] == {"path": "a.csv", "outside": True, "md5": "x"}


def test_remotes(project: Path) -> None:
    put(project, {"a.csv": "hello a.csv", "a.csv.dvc": f"{FILE}  remote: near\n"})
    assert said(project / "a.csv", project)["remote"] == {"name": "near", "path": "store", "outside": True}
    put(project, {"a.csv.dvc": FILE, ".dvc/config.local": "['remote \"origin\"']\nurl = s3://bucket/key\n"})
    assert said(project / "a.csv", project)["remote"] == {"name": "origin", "url": "s3://bucket/key"}
    put(project, {".dvc/config": "no section\n", ".dvc/config.local": ""})
    assert "remote" not in said(project / "a.csv", project)


def test_a_link_to_what_is_tracked(project: Path) -> None:
    (project / "link").symlink_to("data")
    found = said(project / "link", project)
    assert (found["file"], found["agrees"]) == ("data.dvc", True)


def test_links_into_a_cache_that_was_cleared_are_absent_and_not_damaged(project: Path) -> None:
    put(project, {"a.csv.dvc": FILE})
    shutil.rmtree(project / "data")
    (project / "data/sub").mkdir(parents=True)
    for name in ("a.csv", "data/sub/a.csv"):
        (project / name).symlink_to(project / ".dvc/cache/files/md5/a6/c3")
    for name in ("a.csv", "data", "data/sub/a.csv"):
        found = pointers.find(project / name, project)
        assert found is not None
        assert found.absent, name
    put(project, {".dvc/cache/files/md5/a6/c3": "hello a.csv"})
    assert verdict(project / "a.csv", project) is True
    assert verdict(project / "data", project) == "holds 1 file, data.dvc says 16"


@pytest.mark.parametrize("name", ["no", "on", "1_000", "2026-01-01", "0x1f", "é ü"])
def test_names_that_yaml_could_take_for_something_else(name: str, tmp_path: Path) -> None:
    plain = f"'{name}'" if name in {"1_000", "2026-01-01", "0x1f"} else name
    put(tmp_path, {name: "hello a.csv", f"{name}.dvc": FILE.replace("a.csv", plain), ".dvc/config": ""})
    assert said(tmp_path / name, tmp_path)["agrees"] is True


def test_the_way_up_ends_at_the_repository(tmp_path: Path) -> None:
    put(tmp_path, {"data/inner/a.csv": "hello a.csv", "data.dvc": FOLDER, "dvc.lock": "schema: '2.0'\n"})
    (tmp_path / "data/inner/.git").mkdir()
    assert pointers.find(tmp_path / "data/inner/a.csv", tmp_path) is None
    assert pointers.find(tmp_path / "data/inner", tmp_path) is not None


def test_paths_outside_of_project_and_home(tmp_path: Path) -> None:
    put(tmp_path, {"far/a.csv": "hello a.csv", "far/a.csv.dvc": FILE, "far/.dvc/config": CONFIG})
    (tmp_path / "project").mkdir()
    found = said(tmp_path / "far/a.csv", tmp_path / "project")
    assert (found["file"], found["agrees"]) == ("a.csv.dvc", True)


def test_a_stage_whose_output_is_not_here(tmp_path: Path) -> None:
    lock = f"    - path: out.csv\n      hash: md5\n      md5: {HASHES['md5']}\n      size: 11\n"
    put(tmp_path, {"sub/dvc.lock": f"schema: '2.0'\nstages:\n  make:\n    cmd: x\n    outs:\n{lock}"})
    found = pointers.find(tmp_path / "sub/out.csv", tmp_path)
    assert found is not None
    words = "only its pointer is here; `dvc repro --pull sub/dvc.yaml:make` brings its content"
    assert (found.absent, found.source["dvc"]["stage"]) == (words, "make")
