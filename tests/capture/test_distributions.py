"""Installed distributions, as different installers leave them."""

from pathlib import Path
from typing import Any

import pytest
from sites import editable, install, installed

from ckptkit.capture import distributions
from ckptkit.record import Origin

SHA256 = "ab" * 32


def test_names_and_versions_of_every_kind(tmp_path: Path) -> None:
    install(tmp_path, "zeta", "1.0")
    install(tmp_path, "Alpha.Beta", "2.0+cu130")
    (tmp_path / "old.egg-info").mkdir()
    (tmp_path / "old.egg-info" / "PKG-INFO").write_text("Name: old\r\nVersion: 0.9\r\n\r\n")
    (tmp_path / "older-0.1.egg-info").write_text("Name: older\nVersion: 0.1\n")
    found = installed(tmp_path)
    assert [(each.key, each.name, each.version) for each in found] == [
        ("alpha-beta", "Alpha.Beta", "2.0+cu130"),
        ("old", "old", "0.9"),
        ("older", "older", "0.1"),
        ("zeta", "zeta", "1.0"),
    ]
    assert {each.place for each in found} == {str(tmp_path)}
    assert {each.folder for each in found} == {None}


def test_the_first_on_the_path_wins(tmp_path: Path) -> None:
    install(tmp_path / "one", "Py_YAML", "2")
    install(tmp_path / "two", "py-yaml", "1")
    assert [(each.name, each.version) for each in installed(tmp_path / "one", tmp_path / "two")] == [("Py_YAML", "2")]


def test_metadata_in_an_old_encoding(tmp_path: Path) -> None:
    info = install(tmp_path, "old", "1")
    (info / "METADATA").write_bytes(b"Author: Jos\xe9\nName: old\nVersion: 1\n\n\xff")
    assert [(each.name, each.version) for each in installed(tmp_path)] == [("old", "1")]


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    install(tmp_path, "lib", "1", source={"dir_info": {"editable": True}, "url": "file:///lib%00"})
    assert [each.folder for each in installed(tmp_path)] == [None]


def test_broken_ones_are_named(tmp_path: Path) -> None:
    install(tmp_path, "good", "1")
    (tmp_path / "empty-1.dist-info").mkdir()
    (tmp_path / "binary-1.dist-info").mkdir()
    (tmp_path / "binary-1.dist-info" / "METADATA").write_bytes(b"Name: \xff\xfe\nVersion: 1\n\n")
    (tmp_path / "nameless-1.dist-info").mkdir()
    (tmp_path / "nameless-1.dist-info" / "METADATA").write_text("Version: 1\n\nName: late\n")
    (install(tmp_path, "torn", "1") / "direct_url.json").write_text("{")
    install(tmp_path, "~ood", "0.9")
    install(tmp_path, "twice", "1")
    install(tmp_path, "twice", "2")
    unknown: dict[str, str] = {}
    found = distributions.installed([str(tmp_path)], unknown)
    assert {each.name for each in found} == {"good", "twice"}
    reasons = unknown["code.environment.packages"].split("; ")
    for name in ("empty-1", "binary-1", "nameless-1", "torn-1"):
        assert f"{name}.dist-info has no name or version" in reasons
    assert "~ood-0.9.dist-info is what pip left behind" in reasons
    assert reasons[-2] in {"twice is there as 1 and as 2", "twice is there as 2 and as 1"}


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("debug = False\n__version__ = '2.14.1+cu130'\n", "2.14.1+cu130"),
        ('from typing import Final\n__version__: Final = "2.14.1+cpu"\n', "2.14.1+cpu"),
        ("__version__ = '2.14.1'\n", None),
        ("__version__ = '2.13.0+cu130'  # left behind by another version\n", None),
        ("print('never executed')\nraise SystemExit\n__version__ = compute()\n", None),
        (None, None),
    ],
)
def test_the_local_label(tmp_path: Path, text: str | None, local: str | None) -> None:
    install(tmp_path, "torch-like", "2.14.1")
    if text is not None:
        (tmp_path / "torch_like").mkdir()
        (tmp_path / "torch_like" / "version.py").write_text(text)
    assert installed(tmp_path)[0].local() == local


@pytest.mark.parametrize(
    ("source", "origin"),
    [
        (
            {
                "url": "https://ada:s3cret@example.org/team/lib.git",
                "vcs_info": {"vcs": "git", "commit_id": "c" * 40},
                "subdirectory": "python",
            },
            ("vcs", "https://example.org/team/lib.git", "c" * 40, None, "python"),
        ),
        (
            {"url": "file:///home/ada/lib", "vcs_info": {"vcs": "git", "commit_id": "c" * 40}},
            ("vcs", "local", "c" * 40, None, None),
        ),
        (
            {"url": "https://example.org/lib-1.whl?token=x", "archive_info": {"hashes": {"sha256": SHA256}}},
            ("archive", "https://example.org/lib-1.whl", None, SHA256, None),
        ),
        (
            {"url": "file:///home/ada/lib-1.whl", "archive_info": {"hash": f"sha256={SHA256}"}},
            ("archive", None, None, SHA256, None),
        ),
        (
            {"url": "https://example.org/lib-1.whl", "archive_info": {"hash": "md5=0"}},
            ("archive", "https://example.org/lib-1.whl", None, None, None),
        ),
        (
            {"url": "https://[example.org/lib-1.whl", "archive_info": {"hashes": [1]}},
            ("archive", None, None, None, None),
        ),
        ({"url": "file:///home/ada/lib", "dir_info": {}}, ("folder", None, None, None, None)),
        ({"url": "file:///home/ada/lib", "dir_info": {"editable": True}}, ("folder", None, None, None, None)),
        ({}, None),
    ],
)
def test_where_it_came_from(tmp_path: Path, source: dict[str, Any], origin: tuple[Any, ...] | None) -> None:
    install(tmp_path, "lib", "1", source=source)
    kind = origin and Origin(kind=origin[0], url=origin[1], commit=origin[2], sha256=origin[3], subdirectory=origin[4])
    assert installed(tmp_path)[0].origin() == kind


def test_a_conda_package_did_not_come_from_the_folder_that_it_was_built_in(tmp_path: Path) -> None:
    source = {"dir_info": {}, "url": "file:///croot/numpy_1700000000000/work"}
    install(tmp_path, "numpy", "2.0", source=source, installer="conda\n")
    install(tmp_path, "lib", "1", source=editable(tmp_path / "lib"), installer="conda\n")
    lib, numpy = installed(tmp_path)
    assert (numpy.origin(), numpy.folder) == (None, None)
    assert lib.folder == str(tmp_path / "lib")


def test_an_egg_info_in_its_own_source_is_editable(tmp_path: Path) -> None:
    for place in (tmp_path / "flat", tmp_path / "deep" / "src", tmp_path / "site-packages"):
        (place / f"{place.name}.egg-info").mkdir(parents=True)
        (place / f"{place.name}.egg-info" / "PKG-INFO").write_text(f"Name: {place.name}\nVersion: 1\n\n")
    (tmp_path / "flat" / "setup.py").touch()
    (tmp_path / "deep" / "pyproject.toml").touch()
    found = installed(tmp_path / "flat", tmp_path / "deep" / "src", tmp_path / "site-packages")
    assert {each.name: each.folder for each in found} == {
        "flat": str(tmp_path / "flat"),
        "src": str(tmp_path / "deep"),
        "site-packages": None,
    }
    assert found[0].origin() == Origin(kind="folder", url=None, commit=None, sha256=None, subdirectory=None)
