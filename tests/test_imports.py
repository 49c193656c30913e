"""The house: imports run downward only, and starting up loads nothing heavy."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "ckptkit"

# Each line may import the lines below it; rooms of one line may import each other, without a circle.
FLOORS = (
    ("__main__",),
    ("cli",),
    ("__init__", "api"),
    ("verbs", "report"),
    ("succession",),
    ("change",),
    (
        "takein",
        "numbering",
        "transaction",
        "packing",
        "preflight",
        "publication",
        "references",
        "duplicates",
        "rules",
        "capture",
        "data",
        "bridges",
        "templates",
    ),
    ("index", "removal", "retention", "roots"),
    ("summary",),
    ("registry", "seen", "started", "inventory", "index_file", "overview", "expression", "comparison"),
    ("history",),
    ("staging",),
    ("checkpoint", "model_card"),
    ("weights", "pickles", "state_dict", "content", "hashing", "spreading", "scanning"),
    ("manifest", "hash_cache", "record", "redact", "settings", "documents", "ambiguity", "markdown", "names"),
    ("disk",),
    ("typed",),
    ("errors", "words", "bar"),
)
HEIGHT = {room: floor for floor, rooms in enumerate(reversed(FLOORS)) for room in rooms}
PURE = ("rules", "typed", "record", "redact", "documents", "ambiguity", "manifest")
FORBIDDEN = {("rules", "capture"), *((room, "disk") for room in PURE)}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name(path: Path) -> str:
    return ".".join(("ckptkit", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def room(module: str) -> str:
    return [*module.split("."), "__init__"][1]


def imports(path: Path) -> Iterator[str]:
    """Every module of the package that a file imports, wherever the import stands."""
    known = {name(other) for other in modules()}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [each if each in known else node.module for each in found]
        else:
            continue
        yield from (each for each in found if each.split(".")[0] == "ckptkit")


@pytest.mark.parametrize("path", modules(), ids=name)
def test_imports_run_downward(path: Path) -> None:
    here = room(name(path))
    for other in imports(path):
        there = room(other)
        if there == "__init__":  # the version
            continue
        assert HEIGHT[there] <= HEIGHT[here], f"{name(path)} imports {other} from above"
        assert (here, there) not in FORBIDDEN, f"{name(path)} imports {other}"
        assert not (here == there == "verbs"), f"the verb {name(path)} imports the verb {other}"


def test_no_circle() -> None:
    edges = {name(path): {other for other in imports(path) if other != "ckptkit"} for path in modules()}
    edges = {
        module: {other for other in others if other in edges} for module, others in edges.items() if module != "ckptkit"
    }
    while free := [module for module, others in edges.items() if not others]:
        for module in free:
            del edges[module]
        edges = {module: others - set(free) for module, others in edges.items()}
    assert not edges


def test_no_module_bears_a_public_name() -> None:
    import ckptkit

    assert not {path.stem for path in PACKAGE.glob("*.py")} & set(ckptkit.__all__)


HEAVY = {
    "argparse",
    "yaml",
    "jinja2",
    "jsonschema",
    "psutil",
    "numpy",
    "torch",
    "subprocess",
    "sqlite3",
    "tqdm",
}


@pytest.mark.parametrize(
    ("code", "allowed"),
    [("import ckptkit", set()), ("import ckptkit.cli", {"argparse"})],
    ids=["import ckptkit", "import ckptkit.cli"],
)
def test_starting_up_is_light(code: str, allowed: set[str]) -> None:
    bare = loaded("pass")
    assert not ((loaded(code) - bare) & (HEAVY - allowed))


def loaded(code: str) -> set[str]:
    out = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], check=True, capture_output=True, text=True
    )
    return set(out.stdout.split())
