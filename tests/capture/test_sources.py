"""Sources that git does not hold, by modules put where an import would put them and files in a folder."""

import os
import sys
import types
from hashlib import sha256
from pathlib import Path

import pytest

from ckptkit.capture import sources
from ckptkit.record import Source

TOKEN = "hf_" + "Ab1" * 12


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose script and model are loaded, and that is the working directory."""
    folder = tmp_path / "project"
    (folder / "pkg").mkdir(parents=True)
    for path in ("train.py", "pkg/model.py"):
        (folder / path).write_text(f"# {path}\n")
        module = types.ModuleType(name := f"ckptkit_test_{path}")
        module.__file__ = str(folder / path)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.chdir(folder)
    return folder


def kept(project: Path, *arguments: str, held: set[str] | None = None) -> tuple[list[str], dict[str, str]]:
    """The paths of what is kept, and what is said to be unknown; file and bytes are those in the project."""
    unknown: dict[str, str] = {}
    found, files = sources.kept(project, held, arguments, unknown, cwd=project)
    for source in found:
        data = (project / source.path).read_bytes()
        assert source == Source(path=source.path, file=f"code/{source.path}", sha256=sha256(data).hexdigest())
    assert files.keys() == {source.file for source in found}
    return [source.path for source in found], unknown


def test_outside_of_git_all_that_is_loaded_or_named_is_kept(project: Path) -> None:
    for path in ("conf.yaml", "more.txt", "third.toml", "not_named.yaml"):
        (project / path).write_text("lr: 1\n")
    words = ("python", "train.py", "conf.yaml", "--more=more.txt", "@third.toml", "--lr", "0.5", "", "=", "x" * 5000)
    found = ["conf.yaml", "more.txt", "pkg/model.py", "third.toml", "train.py"]
    assert kept(project, *words) == (found, {})


def test_within_git_only_what_it_does_not_hold_is_kept(project: Path) -> None:
    (project / "conf.yaml").write_text("lr: 1\n")
    (project / "local.yaml").write_text("lr: 1\n")
    (project / "link.yaml").symlink_to("conf.yaml")
    held = {"train.py", "conf.yaml", "link.yaml"}
    words = ("train.py", "conf.yaml", "local.yaml", "link.yaml")
    assert kept(project, *words, held=held) == (["local.yaml", "pkg/model.py"], {})
    assert kept(project, *words, held={*held, "local.yaml", "pkg/model.py"}) == ([], {})


def test_only_text_below_the_project_is_kept(project: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.yaml").write_text("lr: 1\n")
    (project / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    (project / "weights.bin").write_bytes(b"a\0b")
    (project / "latin.txt").write_bytes("é".encode("latin-1"))
    (project / "large.bin").write_bytes(bytes(sources.FILE_LIMIT + 1))
    (project / "table.csv").write_text("a,b\n")
    (project / "folder").mkdir()
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / "pyvenv.cfg").touch()
    (project / ".venv" / "bin" / "torchrun").write_text("#!python\n")
    words = ("../outside.yaml", "link.yaml", "weights.bin", "latin.txt", "large.bin", "table.csv", "folder", ".")
    assert kept(project, ".venv/bin/torchrun", *words) == (["pkg/model.py", "train.py"], {})


def test_what_is_too_large_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "words.txt").write_text("é" * (sources.FILE_LIMIT // 2) + "a")
    found, unknown = kept(project, "words.txt")
    assert found == ["pkg/model.py", "train.py"]
    assert unknown == {"code.sources": "words.txt has 1,048,577 bytes; at most 1,048,576 are read"}
    monkeypatch.setattr(sources, "TOTAL_LIMIT", 15)
    found, unknown = kept(project)
    assert found == ["train.py"], "the smallest are kept"
    assert unknown == {"code.sources": "pkg/model.py is past the 0 MB that are kept"}


def test_a_module_that_cannot_be_read_is_told(project: Path) -> None:
    (project / "train.py").unlink()
    assert kept(project) == (
        ["pkg/model.py"],
        {"code.sources": "train.py cannot be read: no such file or directory"},
    )


def test_files_that_hold_secrets_are_never_kept(project: Path) -> None:
    names = (".env", "deploy.pem", "credentials.json", f"{TOKEN}.yaml")
    for name in names:
        (project / name).write_text("a: 1\n")
    found, unknown = kept(project, *names)
    assert found == ["pkg/model.py", "train.py"]
    assert unknown["code.sources"].count("is not copied: by its name it holds a secret") == len(names)
    assert TOKEN not in unknown["code.sources"]


def test_secrets_in_a_source_are_left_out_of_its_copy(project: Path) -> None:
    source = f'login("{TOKEN}")\n'
    (project / "train.py").write_text(source)
    found, files = sources.kept(project, None, (), {}, cwd=project)
    assert TOKEN.encode() not in files["code/train.py"]
    assert b"login(" in files["code/train.py"]
    assert {each.path: each.sha256 for each in found}["train.py"] == sha256(source.encode()).hexdigest()


def test_an_odd_name_has_a_form_that_a_record_can_hold(project: Path) -> None:
    odd = os.fsdecode(b"conf-\xff\n.yaml")
    (project / odd).write_text("lr: 1\n")
    found, files = sources.kept(project, {"train.py", "pkg/model.py"}, (odd,), {}, cwd=project)
    assert [each.path for each in found] == ["conf-?\n.yaml"]
    assert files == {"code/conf-?\n.yaml": b"lr: 1\n"}
    assert Source.from_dict(found[0].to_dict()) == found[0]
