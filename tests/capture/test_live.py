"""Code edited while it ran, by scripts that edit themselves and their modules."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import REPOSITORY

from ckptkit.capture import live

MODEL = '''"""A model."""

import functools
import operator
from dataclasses import dataclass


def twice(function):
    """Without functools.wraps, on purpose."""

    def wrapper(*args):
        return 2 * function(*args)

    return wrapper


def quiet(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


def loss(x, y):
    """The mean squared error."""
    total = 0.0
    for a, b in zip(x, y):
        if a is not None:
            total += (a - b) ** 2.0
    return total / len(x)


@quiet
def wrapped(x):
    return x + 10


@twice
def hidden(x):
    return x + 20


@functools.lru_cache
def cached(x):
    return x + 30


def outer(x):
    def inner(y):
        return y + 40

    return inner(x)


def make():
    return lambda z: z + 45


made = make()
halved = functools.partial(lambda x: x / 50, 1)
ACTIVATIONS = {"shift": lambda x: x + 60, "add": operator.add}


def order(x):
    return [(lambda a: a + 65)(x), (lambda a: a + 66)(x)]


def step(model, lr=0.125, *, decay=0.5):
    return lr * decay


@dataclass
class Config:
    lr: float = 0.25

    def scaled(self):
        return self.lr * 70


class Net:
    """A network."""

    width = 75

    def forward(self, x):
        try:
            return x + 80
        except ValueError:
            return None

    @staticmethod
    def still(x):
        return x + 90

    @classmethod
    def kind(cls):
        return 100

    @property
    def size(self):
        return 110

    @size.setter
    def size(self, value):
        self.value = value + 115

    class Head:
        def forward(self, x):
            return x + 120


if Net.width > 1000:

    def rare():
        return 1
'''

TRAIN = '''"""Train."""
import json, os, pathlib, sys
import model
from ckptkit.capture import live

RATE = 0.375
PAIR = (lambda: 1), (lambda: 2)


def epoch():
    return model.loss([1], [2]) * RATE


class Trainer:
    def fit(self):
        return epoch()


for _ in range(100):
    model.loss([1, 2], [3, 4])
    epoch()
exec(pathlib.Path(os.environ["EDIT"]).read_text(), {})
unknown = {}
print(json.dumps([live.changed(pathlib.Path(os.environ["PROJECT"]), unknown), unknown]))
'''


def run(
    folder: Path, edit: str, *command: str, train: str = TRAIN, model: str = MODEL
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """What is found changed by a training that runs ``edit`` before it looks."""
    project = folder / "project"
    project.mkdir()
    (project / "model.py").write_text(model)
    (project / "train.py").write_text(train)
    (folder / "edit.py").write_text(f"import os, pathlib\n{edit}")
    done = subprocess.run(
        [sys.executable, *(command or ("train.py",))],
        cwd=project,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(REPOSITORY),
            "EDIT": str(folder / "edit.py"),
            "PROJECT": str(project),
        },
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found, unknown = json.loads(done.stdout)
    return found, unknown


def replaced(file: str, old: str, new: str) -> str:
    """The lines of a script that edit a file."""
    return (
        f"f = pathlib.Path({file!r}); t = f.read_text(); assert {old!r} in t\n"
        f"f.write_text(t.replace({old!r}, {new!r}, 1))\n"
    )


OLD = "os.utime('model.py', (1e9, 1e9))\n"

UNCHANGED = {
    "untouched": "",
    "touched only": "pathlib.Path('model.py').touch(); pathlib.Path('train.py').touch()",
    "edited and restored": replaced("model.py", "** 2.0", "** 3.0") + replaced("model.py", "** 3.0", "** 2.0"),
    "a comment": replaced("model.py", "    total = 0.0", "    # why\n    total = 0.0  # what"),
    "a docstring": replaced("model.py", "The mean squared error.", "MSE."),
    "a docstring removed": replaced("model.py", '    """The mean squared error."""\n', ""),
    "a docstring added": replaced("model.py", "        try:\n", '        """Run."""\n        try:\n'),
    "the docstring of a class": replaced("model.py", '    """A network."""\n', ""),
    "lines moved": replaced("model.py", "\n\ndef loss", "\n\n\n\n\n\n\ndef loss"),
    "layout": replaced(
        "model.py",
        "total += (a - b) ** 2.0",
        "total += (\n                a\n                - b\n            ) ** 2.0",
    ),
    "functions in another order": replaced("model.py", "def make():\n    return lambda z: z + 45\n\n\n", "")
    + replaced("model.py", "def loss", "def make():\n    return lambda z: z + 45\n\n\ndef loss"),
    "the main script's comments and docstring": replaced("train.py", '"""Train."""', "# moved\n\n\n")
    + replaced("train.py", "class Trainer:\n", 'class Trainer:\n\n\n    """It."""\n\n')
    + replaced("train.py", "def epoch():\n", 'def epoch():\n    """One."""\n'),
}


@pytest.mark.parametrize("edit", UNCHANGED.values(), ids=UNCHANGED.keys())
def test_what_computes_the_same_is_not_changed(edit: str, tmp_path: Path) -> None:
    assert run(tmp_path, edit) == ({}, {})


CHANGED = {
    "** 2.0": ("** 3.0", "loss"),
    "if a is not None": ("if a is None", "loss"),
    "** 2": ("* 2", "loss"),
    "/ len(x)": ("/ len(y)", "loss"),
    "2.0": ("2", "loss"),
    "x + 10": ("x + 11", "wrapped"),
    "x + 20": ("x + 21", "hidden"),
    "x + 30": ("x + 31", "cached"),
    "y + 40": ("y + 41", "outer"),
    "z + 45": ("z + 46", "make"),
    "x / 50": ("x / 51", "<lambda>"),
    "x + 60": ("x + 61", "<lambda>"),
    "(lambda a: a + 65)(x), (lambda a: a + 66)(x)": ("(lambda a: a + 66)(x), (lambda a: a + 65)(x)", "order"),
    "self.lr * 70": ("self.lr * 71", "Config.scaled"),
    "x + 80": ("x + 81", "Net.forward"),
    "except ValueError": ("except KeyError", "Net.forward"),
    "x + 90": ("x + 91", "Net.still"),
    "return 100": ("return 101", "Net.kind"),
    "return 110": ("return 111", "Net.size"),
    "value + 115": ("value + 116", "Net.size"),
    "x + 120": ("x + 121", "Net.Head.forward"),
    "2 * function": ("3 * function", "twice"),
    "lr=0.125": ("lr=0.5", "step"),
    "decay=0.5": ("decay=0.75", "step"),
    "def loss": ("def cost", "cost loss"),
    "def kind(cls)": ("def sort(cls)", "Net.kind Net.sort"),
    "if Net.width > 1000": ("def fresh(): pass\n\nif Net.width > 1000", "fresh"),
}


@pytest.mark.parametrize(("old", "new", "name"), [(old, *rest) for old, rest in CHANGED.items()], ids=CHANGED.keys())
def test_an_edit_names_the_function(old: str, new: str, name: str, tmp_path: Path) -> None:
    assert run(tmp_path, replaced("model.py", old, new) + OLD) == ({"model.py": name.split()}, {})


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("RATE = 0.375", "RATE = 0.5", "<module>"),
        ("range(100)", "range(200)", "<module>"),
        ("* RATE", "/ RATE", "epoch"),
        ("return epoch()", "return 2 * epoch()", "Trainer.fit"),
        ("(lambda: 1), (lambda: 2)", "(lambda: 2), (lambda: 1)", "<module>"),
        ("class Trainer:", "class Trainer:\n    width = 3", "Trainer"),
        ("def fit(self)", "def fit(self, k=1)", "Trainer Trainer.fit"),
    ],
)
@pytest.mark.parametrize(
    "command", [("train.py",), ("-m", "train"), ("-O", "train.py"), ("-OO", "train.py")], ids=" ".join
)
def test_the_main_script_is_compared_whole(
    old: str, new: str, name: str, command: tuple[str, ...], tmp_path: Path
) -> None:
    assert run(tmp_path, replaced("train.py", old, new), *command) == ({"train.py": name.split()}, {})


@pytest.mark.parametrize(
    "command", [("-O", "train.py"), ("-OO", "train.py"), ("-B", "train.py"), ("-m", "train")], ids=" ".join
)
def test_how_it_was_started_changes_nothing(command: tuple[str, ...], tmp_path: Path) -> None:
    assert run(tmp_path, "", *command) == ({}, {})


def test_code_is_judged_from_elsewhere_than_its_folder(tmp_path: Path) -> None:
    assert run(tmp_path, f"{replaced('train.py', '0.375', '0.5')}os.chdir('/')") == ({"train.py": ["<module>"]}, {})


@pytest.mark.parametrize("main", ["model.loss([1], [2])", "epoch()"])
def test_another_thread_sees_the_main_script_too(main: str, tmp_path: Path) -> None:
    looks = 'print(json.dumps([live.changed(pathlib.Path(os.environ["PROJECT"]), unknown), unknown]))\n'
    train = TRAIN.replace(
        looks, f"import threading\n{main}\nt = threading.Thread(target=lambda: {looks.strip()})\nt.start()\nt.join()\n"
    )
    assert run(tmp_path, replaced("train.py", "0.375", "0.5"), train=train) == ({"train.py": ["<module>"]}, {})


def test_files_that_are_gone_or_broken_are_told(tmp_path: Path) -> None:
    assert run(tmp_path, "os.unlink('model.py'); pathlib.Path('train.py').write_text('def (')") == (
        {"model.py": [live.FILE_GONE], "train.py": [live.SYNTAX_ERROR]},
        {},
    )


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        ("pathlib.Path('train.py').touch()", {}),
        (replaced("train.py", "0.375", "0.5"), {"train.py": ["<module>"]}),
    ],
)
def test_a_module_that_saves_while_it_is_imported(edit: str, expected: dict[str, list[str]], tmp_path: Path) -> None:
    """What comes after the save is not there yet, and is no change."""
    train = f"{TRAIN}\n\ndef later():\n    return 1\n"
    assert run(tmp_path, edit, "-c", "import train", train=train) == (expected, {})


def test_compiled_code_without_its_source_is_not_judged(tmp_path: Path) -> None:
    train = TRAIN.replace(
        "import model\n",
        "import py_compile\npy_compile.compile('model.py', 'model.pyc')\nos.unlink('model.py')\nimport model\n",
    )
    assert run(tmp_path, "", train=train) == ({}, {})


def test_a_module_under_another_name(tmp_path: Path) -> None:
    load = (
        "import importlib.util\nspec = importlib.util.spec_from_file_location('odd.name', 'model.py')\n"
        "model = sys.modules['odd.name'] = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(model)\n"
    )
    train = TRAIN.replace("import model\n", load)
    assert run(tmp_path, replaced("model.py", "x + 120", "x + 121"), train=train) == (
        {"model.py": ["Net.Head.forward"]},
        {},
    )


def test_a_tracer_does_not_matter(tmp_path: Path) -> None:
    train = TRAIN.replace("import model\n", "sys.settrace(lambda *_: None)\nimport model\n")
    assert run(tmp_path, replaced("model.py", "return 100", "return 101"), train=train) == (
        {"model.py": ["Net.kind"]},
        {},
    )


def test_functions_that_others_put_in_a_module_are_not_judged_by_its_file(tmp_path: Path) -> None:
    train = TRAIN.replace("RATE = 0.375", "model.loss = lambda x, y: 0.5\nmodel.made.extra = sys\nRATE = 0.375")
    assert run(tmp_path, "pathlib.Path('model.py').touch()", train=train) == ({}, {})
    other = tmp_path / "other"
    other.mkdir()
    edit = replaced("train.py", "0.5", "0.75")
    assert run(other, edit, train=train) == ({"train.py": ["<lambda>"]}, {})


TAKES_AWAY = {
    "a deleted class": "class Gone:\n    def f(self):\n        return 1\n\n\ndel Gone\n",
    "a deleted method": "class Less:\n    def f(self):\n        return 1\n\n\ndel Less.f\n",
    "a class from C": "class attrgetter:\n    def f(self):\n        return 1\n\n\nfrom operator import attrgetter\n",
    "a decorator": "@lambda kind: dict\nclass Other:\n    def f(self):\n        return 1\n",
    "a metaclass": "class Meta(type):\n    def __new__(meta, name, bases, inside):\n"
    "        return super().__new__(meta, name, bases, {})\n\n\n"
    "class Empty(metaclass=Meta):\n    def f(self):\n        return 1\n",
    "a flag": "import types\n\n\n@types.coroutine\ndef sleep():\n    yield\n",
}


@pytest.mark.parametrize("source", TAKES_AWAY.values(), ids=TAKES_AWAY.keys())
def test_what_is_loaded_otherwise_than_it_is_written_is_not_changed(source: str, tmp_path: Path) -> None:
    assert run(tmp_path, "pathlib.Path('model.py').touch()", model=f"{MODEL}\n\n{source}") == ({}, {})


def test_functions_that_a_decorator_compiles_anew_are_no_edit(tmp_path: Path) -> None:
    """As typeguard does."""
    source = "pathlib.Path('model.py').read_text().replace('** 2.0', '** 3.0')"
    anew = f"exec(compile({source}, model.__file__, 'exec'), vars(model))"
    slack = "live.SLACK = -3600.0  # as if the files were written an hour before"
    assert run(tmp_path, "", train=TRAIN.replace("RATE = 0.375", f"{anew}\n{slack}\nRATE = 0.375")) == (
        {},
        {"code.changed_functions": "model.py was not written meanwhile, but loaded otherwise: loss"},
    )


def test_a_proxy_of_nothing_hides_no_change(tmp_path: Path) -> None:
    model = f"""{MODEL}

class Proxy:
    @property
    def __dict__(self):
        raise RuntimeError("working outside of request context")


request = Proxy()
"""
    assert run(tmp_path, replaced("model.py", "** 2.0", "** 3.0"), model=model) == ({"model.py": ["loss"]}, {})


def test_code_made_elsewhere_in_the_name_of_a_file_is_not_judged_by_it(tmp_path: Path) -> None:
    """As hypothesis makes functions that tracebacks show where the test stands."""
    made = "eval(compile('lambda: 7', model.__file__, 'eval'), {})"
    assert run(tmp_path, "", train=TRAIN.replace("RATE = 0.375", f"model.made = {made}\nRATE = 0.375")) == ({}, {})


@pytest.mark.parametrize(
    ("edit", "expected"), [("", {}), (replaced("train.py", "0.375", "0.5"), {"train.py": ["<module>"]})]
)
def test_a_debugger_s_top_level_is_not_that_of_the_script(
    edit: str, expected: dict[str, list[str]], tmp_path: Path
) -> None:
    train = TRAIN.replace("print(json", "os.write(3, json").replace("unknown]))", "unknown]).encode())")
    debug = "import os, sys; os.dup2(1, 3); os.dup2(2, 1); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    command = ("-c", debug, "-m", "pdb", "-c", "continue", "-c", "quit", "train.py")
    assert run(tmp_path, edit, *command, train=train) == (expected, {})


def test_compiled_functions_are_compared_by_their_python(tmp_path: Path) -> None:
    """As numba, jax and torch.compile keep it: in ``__wrapped__`` or another attribute of an object."""
    model = f"""{MODEL}

class Dispatcher:
    def __init__(self, function):
        self.py_func = function


@Dispatcher
def jitted(x):
    return x + 130
"""
    assert run(tmp_path, replaced("model.py", "x + 130", "x + 131"), model=model) == (
        {"model.py": ["jitted"]},
        {},
    )


def test_code_that_its_loader_alters_is_not_judged() -> None:
    """Pytest rewrites the assertions of this very file."""
    unknown: dict[str, str] = {}
    found = live.changed(Path(__file__).parent, unknown)
    assert "test_live.py" not in found
    assert (
        "test_live.py was loaded by AssertionRewritingHook, which may alter code" in unknown["code.changed_functions"]
    )


def test_what_is_past_the_limit_is_told(tmp_path: Path) -> None:
    train = TRAIN.replace("RATE = 0.375", f"live.SYNTAX_LIMIT = {len(TRAIN) + 100}\nRATE = 0.375")
    found, unknown = run(tmp_path, replaced("model.py", "return 100", "return 101"), train=train)
    assert found == {}
    assert unknown == {"code.changed_functions": "model.py is past the 0 MB that are compared"}
