"""Loaded code, by modules put where an import would put them and by real scripts."""

import _struct
import json
import sys
import time
import types
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from scripts import REPOSITORY, python

from ckptkit.capture import modules as probe
from ckptkit.record import Module


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], Path]:
    """Write a module and put it where an import would."""

    def loaded(file: Path, source: str) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
        module = types.ModuleType(name := f"ckptkit_test_{len(sys.modules)}")
        module.__file__ = str(file)
        monkeypatch.setitem(sys.modules, name, module)
        return file

    return loaded


def test_only_the_projects_own_code_is_modules(tmp_path: Path, load: Callable[[Path, str], Path]) -> None:
    project = tmp_path / "p"
    load(project / "pkg" / "model.py", "x = 1\n")
    load(project / "train.py", "y = 1\n")
    load(project / "native.so", "")
    load(project / ".venv" / "lib" / "python3.11" / "site-packages" / "lib.py", "")
    load(project / "venv2" / "odd" / "lib.py", "")
    (project / "venv2" / "pyvenv.cfg").touch()
    load(project / "conda" / "lib" / "lib.py", "")
    (project / "conda" / "conda-meta").mkdir()
    load(tmp_path / "p2" / "other.py", "")
    (tmp_path / "link").symlink_to(project)
    load(tmp_path / "link" / "linked.py", "")
    unknown: dict[str, str] = {}
    found = ["linked.py", "native.so", "pkg/model.py", "train.py"]
    assert [module.path for module in probe.modules(project, unknown)] == found
    assert [module.path for module in probe.modules(tmp_path / "link", unknown)] == found
    assert list(probe.project_files(project)) == ["pkg/model.py", "train.py", "linked.py"]
    assert unknown == {}


def test_the_main_script_is_a_module_and_ckptkit_is_not(tmp_path: Path) -> None:
    script = tmp_path / "train"  # an executable script without a suffix
    script.write_text(
        "import helper, pathlib\nfrom ckptkit.capture import modules\n"
        "print(*(module.path for module in modules.modules(pathlib.Path('.'), {})))\n"
    )
    (tmp_path / "helper.py").touch()
    assert python("train", cwd=tmp_path, PYTHONPATH=f"{REPOSITORY}") == "helper.py train\n"
    (tmp_path / "ckptkit").symlink_to(REPOSITORY / "ckptkit")
    assert python("train", cwd=tmp_path, PYTHONPATH=f"{tmp_path}") == "helper.py train\n"


def digests(load: Callable[[Path, str], Path], file: Path, source: str) -> Module:
    load(file, source)
    [module] = probe.modules(file.parent, {})
    return module


def test_syntax_ignores_what_does_not_compute(tmp_path: Path, load: Callable[[Path, str], Path]) -> None:
    file = tmp_path / "m.py"
    first = digests(load, file, 'def f(a, b=2):\n    """Doc."""\n    return a + b\n')
    quiet = digests(
        load, file, '"""New."""\n# why\n\ndef f(\n    a, b=2,\n):\n    """Other."""\n    return (a + b)  # sum\n'
    )
    loud = digests(load, file, 'def f(a, b=2):\n    """Doc."""\n    return a - b\n')
    assert len({first.sha256, quiet.sha256, loud.sha256}) == 3
    assert first.syntax == quiet.syntax is not None
    assert loud.syntax != first.syntax


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("x = None", "x = ''"),
        ("x = 1", "x = 1.0"),
        ("x = '1'", "x = b'1'"),
        ("f(a, *b)", "f(a, b)"),
        ("x = {**a}", "x = {None: a}"),
        ("def f():\n    'doc'", "def f():\n    'doc'\n    return 1"),
        ("def f(a, /): 0", "def f(a): 0"),
        ("x[1:]", "x[:1]"),
        ("async def f(): 0", "def f(): 0"),
        ("del x", "x"),
    ],
)
def test_syntax_tells_different_programs_apart(
    one: str, two: str, tmp_path: Path, load: Callable[[Path, str], Path]
) -> None:
    assert digests(load, tmp_path / "m.py", one).syntax != digests(load, tmp_path / "m.py", two).syntax


def test_syntax_is_stable_between_releases(tmp_path: Path, load: Callable[[Path, str], Path]) -> None:
    found = digests(
        load, tmp_path / "m.py", 'class A(B):\n    def f(self, *, k: int = 1) -> str:\n        return f"{k!r:>3}"\n'
    )
    assert found.syntax == "0b4ced8b072968edb425a224d3511f71d709169533ee9206d840d62faa15dbea"


def test_sources_that_cannot_be_parsed_or_read_keep_what_is_known(
    tmp_path: Path, load: Callable[[Path, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(tmp_path / "broken.py", "def (:\n")
    load(tmp_path / "deep.py", "x = " + "-" * 20_000 + "1\n")
    load(tmp_path / "escape.py", 'x = "\\d"\n')  # warned about; warnings are errors here
    load(tmp_path / "gone.py", "").unlink()
    load(tmp_path / "lost.so", "").unlink()
    unknown: dict[str, str] = {}
    found = {module.path: module for module in probe.modules(tmp_path, unknown)}
    assert found["broken.py"].sha256
    assert (found["broken.py"].syntax, found["deep.py"].syntax) == (None, None)
    assert found["escape.py"].syntax
    assert found["gone.py"] == Module(path="gone.py", sha256=None, syntax=None)
    why = "cannot be read: no such file or directory"
    assert unknown == {"code.modules": f"gone.py {why}; lost.so {why}"}
    monkeypatch.setattr(probe, "SYNTAX_LIMIT", 16)
    found = {module.path: module for module in probe.modules(tmp_path, {})}
    assert found["escape.py"].syntax, "the smallest are looked at first"
    assert all(module.sha256 for module in found.values() if module.path not in {"gone.py", "lost.so"})


def test_stand_ins_among_the_modules_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Trap(types.ModuleType):
        def __getattr__(self, name: str) -> str:
            raise AssertionError(name)

    for number, odd in enumerate((None, 3, Trap("trap"), types.SimpleNamespace(__file__=7))):
        monkeypatch.setitem(sys.modules, f"ckptkit_test_odd_{number}", odd)
    unknown: dict[str, str] = {}
    assert probe.modules(tmp_path, unknown) == ()
    assert unknown == {}


def foreign(*lines: str, cwd: Path, path: Path | None = None) -> list[list[object]]:
    """Name, path, whether it is outside, and digest of each foreign module that a script in ``cwd`` ends with."""
    script = cwd / "train.py"
    shows = "[[m.name, m.path, m.outside, m.sha256] for m in modules.foreign(pathlib.Path('.'), unknown)], unknown"
    script.write_text(
        "\n".join((*lines, "import json, pathlib", "from ckptkit.capture import modules", "unknown = {}"))
        + f"\nprint(json.dumps([{shows}]))\n"
    )
    places = ":".join(map(str, filter(None, (REPOSITORY, path))))
    found, unknown = json.loads(python("train.py", cwd=cwd, PYTHONPATH=places, HOME=str(cwd.parent / "home")))
    assert unknown == {}
    return list(found)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "own.py").touch()
    return tmp_path / "project"


def digest(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


def written(file: Path, text: str = "x = 1\n") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_a_usual_script_has_no_foreign_modules(project: Path) -> None:
    assert foreign("import own, sqlite3, yaml, pytest, asyncio, ctypes, numpy, safetensors", cwd=project) == []


def test_foreign_modules_are_named(project: Path, tmp_path: Path) -> None:
    """Remote code of a hub, a compiled kernel, and a folder that PYTHONPATH adds."""
    remote = written(tmp_path / "home/.cache/huggingface/modules/transformers_modules/org/model/modeling.py")
    above = written(tmp_path / "labtools.py")
    kernel = tmp_path / "home/.cache/huggingface/hub/kernels/_relu.so"
    kernel.parent.mkdir(parents=True)
    kernel.write_bytes(Path(_struct.__file__).read_bytes())
    lines = (
        "import sys, importlib.machinery, importlib.util, own, labtools",
        f"sys.path.append({str(remote.parents[3])!r})",
        "import transformers_modules.org.model.modeling",
        f"loader = importlib.machinery.ExtensionFileLoader('_struct', {str(kernel)!r})",
        "spec = importlib.util.spec_from_loader('_struct', loader)",
        "sys.modules['_relu_kernel'] = importlib.util.module_from_spec(spec)",
    )
    hub = "~/.cache/huggingface"
    name = "transformers_modules.org.model.modeling"
    assert foreign(*lines, cwd=project, path=tmp_path) == [
        ["_relu_kernel", f"{hub}/hub/kernels/_relu.so", False, digest(kernel)],
        ["labtools", "labtools.py", True, digest(above)],
        [name, f"{hub}/modules/transformers_modules/org/model/modeling.py", False, digest(remote)],
    ]


def test_what_is_installed_in_other_ways_is_a_distribution(project: Path, tmp_path: Path) -> None:
    target, layers, older = tmp_path / "target", tmp_path / "my layers", tmp_path / "older"
    written(target / "vendored.py")
    written(target / "vendored-1.0.dist-info" / "METADATA")
    written(layers / "src" / "layers.py")
    written(older / "older.py")
    site = tmp_path / "place" / "site-packages"
    written(
        site / "layers-0.1.dist-info" / "direct_url.json",
        json.dumps({"url": layers.as_uri(), "dir_info": {"editable": True}}),
    )
    written(site / "broken-0.1.dist-info" / "direct_url.json", "{")
    written(site / "older.pth", f"import sys\n{older}\n")
    written(tmp_path / "venv" / "lib" / "inside.py")
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    (tmp_path / "link").symlink_to(tmp_path / "venv" / "lib")
    places = [site, target, layers / "src", older, tmp_path / "link"]
    lines = ("import sys", f"sys.path += {[str(place) for place in places]}", "import vendored, layers, older, inside")
    assert foreign(*lines, cwd=project) == []


def test_foreign_modules_that_cannot_be_read_are_named(
    tmp_path: Path, load: Callable[[Path, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(tmp_path / "gone.py", "").unlink()
    load(tmp_path / "large.py", "x" * 100)
    monkeypatch.setattr(probe, "FOREIGN_LIMIT", 99)
    unknown: dict[str, str] = {}
    found = [each for each in probe.foreign(tmp_path / "project", unknown) if "ckptkit_test" in each.name]
    assert [(each.path, each.outside, each.sha256) for each in found] == [
        ("gone.py", True, None),
        ("large.py", True, None),
    ]
    one, two = (each.name for each in found)
    assert f"{one} cannot be read: no such file or directory" in unknown["code.foreign"]
    assert f"{two} has 100 bytes; at most" in unknown["code.foreign"]


def test_three_thousand_modules_are_looked_through_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for number in range(3000):
        module = types.ModuleType(f"ckptkit_test_many_{number}")
        module.__file__ = f"/opt/lib/python3.11/site-packages/p{number % 300}/m{number}.py"
        monkeypatch.setitem(sys.modules, module.__name__, module)
    begun = time.perf_counter()
    found = probe.foreign(tmp_path, {})
    assert time.perf_counter() - begun < 0.25
    assert not any("_many_" in each.name for each in found)
