"""The commands under test: the registry that they meet, their words, and what must hold after a fault."""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ckptkit import cli, index, index_file, registry
from ckptkit.verbs.check import check

Facts = Mapping[tuple[str, str, str], object]
"""What a registry holds, fact by fact: versions with their files and metrics, aliases, stages, what was deleted."""

ALIAS, SAVE = "alias set k@mended v0001", "save {}/mended.bin --model m"
"""Writing commands that may come next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command and its claims.

    ``words`` are those after ``ckptkit``, in which ``{}`` is the workspace. ``before`` changes the workspace first.
    Where it ``is_one_step`` all of it is done or nothing; of others each fact alone is as before or as after.
    ``mends`` are writing commands that can come next.
    """

    name: str
    words: str
    before: Callable[[Path], object] = lambda _: None
    is_one_step: bool = True
    mends: tuple[str, ...] = (ALIAS, SAVE)


def lose_all(workspace: Path) -> None:
    shutil.rmtree(workspace / "runs")


def lose_derived(workspace: Path) -> None:
    """Remove all that is derived, and the saved event of one version."""
    runs = workspace / "runs"
    for path in (runs / registry.INDEX, runs / registry.README, *runs.glob("*/@*")):
        path.unlink()
    event = registry.read_model(runs / "k").state.saved["v0001"]
    (runs / "k" / registry.HISTORY / f"{event.id}.json").unlink()


def leave_unhashed(workspace: Path) -> None:
    """A version with a dataset for which there was no time."""
    (workspace / "late").mkdir()
    (workspace / "late" / "rows.txt").write_text("rows")
    run("save {}/new.bin --model m --data late={}/late --data-budget 0s", workspace)


COMMANDS = (
    Command(name="first save", words="save {}/new.bin --model m --alias champion", before=lose_all, mends=(SAVE,)),
    Command(name="save", words="save {}/new.bin --model m --alias champion --alias new"),
    Command(name="save --move", words="save {}/new.bin --model m --move"),
    Command(name="alias set", words="alias set m@champion v0003"),
    Command(name="alias rm", words="alias rm m@champion"),
    Command(name="stage", words="stage m/v0003 production --archive-existing", is_one_step=False),
    Command(name="eval", words="eval m/v0003 --metric accuracy=0.5"),
    Command(name="data digest", words="data digest m/v0004 late {}/late", before=leave_unhashed),
    Command(name="delete", words="delete m/v0003 --yes"),
    Command(name="delete --all", words="delete m --all --force --yes", is_one_step=False),
    Command(name="prune", words="prune m --keep-last 1 --force --yes", is_one_step=False),
    Command(name="rename model", words="rename m n", mends=(ALIAS,)),
    Command(name="rename version", words="rename m/v0002 7"),
    Command(name="merge", words="merge {}/other", is_one_step=False),
    Command(name="index", words="index", before=lose_derived),
)


def furnish(workspace: Path) -> None:
    """A registry of two models, another one that shares versions with it, and files to save."""
    for name in ("one", "two", "three"):
        (workspace / name).mkdir()
        (workspace / name / "model.bin").write_text(name)
        (workspace / name / "optimizer.bin").write_text(f"optimizer of {name}")
    for name in ("four", "five", "six", "new", "mended"):
        (workspace / f"{name}.bin").write_text(name)
    run("save {}/one --model m --alias champion", workspace)
    run("save {}/two --model m", workspace)
    shutil.copytree(workspace / "runs", workspace / "other", symlinks=True)
    run("save {}/three --model m", workspace)
    run("save {}/four.bin --model k", workspace)
    run("stage m/v0002 production", workspace)
    run("save {}/five.bin --model m --alias candidate", workspace, "other")
    run("save {}/six.bin --model l", workspace, "other")


def words(command: str, workspace: Path, root: str = "runs") -> list[str]:
    return [*(word.format(workspace) for word in command.split()), "--root", f"{workspace}/{root}"]


def run(command: str, workspace: Path, root: str = "runs") -> None:
    """Run a command in this process; it has to succeed."""
    assert cli.main(words(command, workspace, root)) == 0, command


class Judge:
    """Says what is wrong in a workspace after a fault, given one before the command and one after it."""

    def __init__(self, command: Command, before: Path, after: Path) -> None:
        self._command = command
        self._before, self._after = facts(before / "runs"), facts(after / "runs")
        self._other = _content(before / "other")

    def wrongs(self, workspace: Path, *, mend: str, done: bool | None) -> Iterator[str]:
        """What does not hold, in words.

        Args:
            workspace: where the command met the fault.
            mend: the writing command that comes next.
            done: whether the command said that it was done; None where it could say nothing.
        """
        root = workspace / "runs"
        issued = {model: _last(root / model) for model in ("m", "n")}
        yield from self._sources(workspace)
        run(mend, workspace)
        yield from _findings(root)
        yield from self._unlike(facts(root), done=done)
        _make_old(root)
        for model, last in issued.items():
            if registry.read_model(root / model).versions:
                run(f"save {{}}/mended.bin --model {model}", workspace)
                if _last(root / model) <= last:
                    yield f"a number of {model} was used again: {_last(root / model)} after {last}"
        run("index", workspace)
        yield from _findings(root)
        yield from _litter(root)

    def _sources(self, workspace: Path) -> Iterator[str]:
        source = workspace / "new.bin"
        if source.exists():
            if source.read_bytes() != b"new":
                yield "the source is damaged"
        elif "--move" not in self._command.words:
            yield "the source is gone"
        elif not any(path.read_bytes() == b"new" for path in workspace.glob("runs/m/v*/new.bin")):
            yield "the weights are lost"
        if _content(workspace / "other") != self._other:
            yield "the other registry changed"

    def _unlike(self, found: Facts, *, done: bool | None) -> Iterator[str]:
        """Facts that are neither as they were nor as they were to be."""
        allowed = {True: [self._after], False: [self._before], None: [self._before, self._after]}[done]
        if self._command.is_one_step:
            if found not in allowed:
                yield f"neither all nor nothing was done: {_difference(found, allowed[-1])}"
            return
        for key in sorted({*self._before, *self._after, *found}):
            if done is not True and found.get(key) in (self._before.get(key), self._after.get(key)):
                continue
            if found.get(key) != self._after.get(key):
                yield f"{' '.join(key)} is {found.get(key)}, and was to be {self._after.get(key)}"


def facts(root: Path) -> Facts:
    """What folders and events of a registry say, without times, identities, and what was saved to mend it."""
    found: dict[tuple[str, str, str], object] = {}
    for model, part in index.build(root)["models"].items() if root.is_dir() else ():
        for version, row in part["versions"].items():
            told = (row.get("files"), row.get("pruned"), row.get("metrics"), sorted(row.get("digested", ())))
            found["version", model, version] = told
        for version, row in part["gone"].items():
            found["gone", model, version] = row["digest"]
        for kind in ("aliases", "stages", "texts"):
            found |= {(kind, model, name): value for name, value in part[kind].items()}
        found |= {("became", model, part["became"]): True} if part["became"] else {}
    return {key: value for key, value in found.items() if "mended" not in key and "mended.bin" not in str(value)}


def _difference(found: Facts, wanted: Facts) -> str:
    keys = [key for key in sorted({*found, *wanted}) if found.get(key) != wanted.get(key)]
    return "; ".join(f"{' '.join(key)} is {found.get(key)}, not {wanted.get(key)}" for key in keys)


def _content(folder: Path) -> Mapping[Path, bytes | None]:
    """All that a registry holds but this machine's side."""
    paths = [path for path in folder.rglob("*") if registry.HOME not in path.parts]
    return {path.relative_to(folder): path.read_bytes() if path.is_file() else None for path in paths}


def _last(model: Path) -> int:
    """The highest number that a model's folders and events bear."""
    return registry.read_model(model).last


def _findings(root: Path) -> Iterator[str]:
    """What check finds of layout, integrity and registry, and whether what is derived is what it would be anew."""
    for finding in check(root, deep=True, select=("CK1", "CK2", "CK9")).findings:
        yield f"{finding.code} {finding.subject}: {finding.message}"
    built = index.build(root)
    if index.load(root) != built:
        yield "the index is not what it would be if it was built anew"
    if (root / registry.INDEX).read_bytes() != index_file.dump(built):
        yield "index.json is not what it would be if it was built anew"


def _make_old(root: Path) -> None:
    """Let all that only a killed process can have left be two days old."""
    then = time.time() - 2 * 86_400
    for path in root.rglob("*"):
        if any(part.startswith(".") for part in path.relative_to(root).parts):
            os.utime(path, (then, then), follow_symlinks=False)


_KEPT = {registry.HOME, ".gitignore", ".gitattributes"}


def _litter(root: Path) -> Iterator[str]:
    """Drafts and stages that nothing will ever remove."""
    for path in root.rglob(".*"):
        if path.name not in _KEPT:
            yield f"{path.relative_to(root)} stays for ever"
    for path in (root / registry.HOME).glob("*-*"):
        yield f"{path.relative_to(root)} stays for ever"
    for path in (root / registry.HOME / "trash").glob("*"):
        yield f"{path.relative_to(root)} stays for ever"
