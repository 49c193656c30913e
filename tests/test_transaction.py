"""Operations of several steps, killed and refused by the disk before each step that changes it."""

import errno
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from registries import publish

from ckptkit import change, index, registry, roots, transaction
from ckptkit.errors import CkptkitError
from ckptkit.verbs.delete import delete
from ckptkit.verbs.prune import prune
from ckptkit.verbs.rename import rename
from ckptkit.verbs.stage import stage

FILES = {"model.bin": b"the weights", "parts/optimizer.bin": b"moments", "parts/deep/scheduler.bin": b"steps"}
STEPS = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
KILLED, NEVER, REFUSED, FAULT = 77, 78, 2, 3
FAULTS = (errno.ENOSPC, errno.EIO, errno.EACCES)

OPERATIONS: Mapping[str, Callable[[Path], object]] = {
    "delete": lambda root: delete("penguins/2", root=root),
    "delete what is gone": lambda root: delete("penguins/4", root=root),
    "prune": lambda root: prune("penguins", keep_last=1, keep_aliased=True, root=root),
    "renumber": lambda root: rename("penguins/1", "9", root=root),
    "rename": lambda root: rename("penguins", "seals", root=root),
    "rename by case": lambda root: rename("penguins", "Penguins", root=root),
    "rename back": lambda root: rename("whales", "orcas", root=root),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    publish(root, files=FILES, aliases=["champion"])
    publish(root, files=FILES)
    publish(root, files=FILES)
    publish(root, files=FILES)
    shutil.rmtree(root / "penguins" / "v0004")
    stage("penguins/1", "staging", root=root)
    publish(root, "orcas", files=FILES, aliases=["best"])
    rename("orcas", "whales", root=root)
    return root


def facts(root: Path) -> dict[str, Any]:
    """What a registry holds: every model with its versions, their digests and files, and what is said of them."""
    found: dict[str, Any] = {}
    for name, part in index.build(root)["models"].items():
        versions = {
            version: (
                row["digest"],
                row["event"] is not None,
                tuple(row.get("pruned", ())),
                below(root / name / version),
            )
            for version, row in part["versions"].items()
        }
        gone = {version: (row["digest"], row["deleted"] is None) for version, row in part["gone"].items()}
        links = {link.name: str(link.readlink()) for link in (root / name).glob("@*")}
        said = {key: part[key] for key in ("aliases", "stages", "last", "became", "unrecorded")}
        found[name] = {"versions": versions, "gone": gone, "links": links, **said}
    return found


def below(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()))


def mend(root: Path) -> None:
    """What the next command that writes does before its own work."""
    with change.begin(root) as now:
        now.reread(*now.index["models"])
    assert now.warnings == []


def interrupted(operation: Callable[[], object], step: int, fault: int | None) -> int:
    """The exit code of an operation in a process of its own, killed or refused by the disk before its n-th step."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.dont_write_bytecode = True
    seen = 0

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in STEPS or (event == "open" and arguments[2] & WRITES):
            seen += 1
            if seen == step:
                if fault is None:
                    os._exit(KILLED)
                raise OSError(fault, os.strerror(fault), str(arguments[0]))

    code = 0
    sys.addaudithook(audit)
    try:
        operation()
    except (CkptkitError, OSError):  # the command line says either in one line
        code = REFUSED
    except BaseException:  # noqa: BLE001 - a child of a test ends here
        code = FAULT
    os._exit(code if seen >= step else NEVER)


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_is_killed_is_done_whole_or_not_at_all(root: Path, tmp_path: Path, name: str) -> None:
    before, after = facts(root), outcome(root, tmp_path, name)
    assert before != after
    ends: list[dict[str, Any]] = []
    copy = fresh(root, tmp_path)
    while (code := interrupted(lambda: OPERATIONS[name](tmp_path / "copy"), step := len(ends) + 1, None)) == KILLED:
        index.load(copy)  # a reading command works in between
        mend(copy)
        ends.append(facts(copy))
        assert ends[-1] in (before, after), step
        assert os.listdir(copy / ".ckptkit" / "trash") == []
        assert index.load(copy) == index.build(copy)
        fresh(root, tmp_path)
    assert code == NEVER
    assert len(ends) > 8
    done = [end == after for end in ends]
    assert done == sorted(done)  # undone before the event, done after it
    assert not done[0]
    assert done[-1]


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_fault_of_the_disk_is_a_clean_refusal_or_a_warning(root: Path, tmp_path: Path, name: str) -> None:
    before, after = facts(root), outcome(root, tmp_path, name)
    codes = []
    for step in range(1, 200):
        copy = fresh(root, tmp_path)
        code = interrupted(lambda: OPERATIONS[name](tmp_path / "copy"), step, FAULTS[step % len(FAULTS)])
        if code == NEVER:
            break
        mend(copy)
        assert code in {0, REFUSED}, step
        assert facts(copy) == (before if code else after), step
        assert os.listdir(copy / ".ckptkit" / "trash") == []
        codes.append(code)
    assert {*codes} == {0, REFUSED}


def outcome(root: Path, tmp_path: Path, name: str) -> dict[str, Any]:
    """What an operation comes to when nothing is in its way."""
    copy = fresh(root, tmp_path)
    OPERATIONS[name](copy)
    return facts(copy)


def fresh(root: Path, tmp_path: Path) -> Path:
    """A copy of the registry in which nothing was done yet."""
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(root, copy, symlinks=True)
    return copy


def halfway(root: Path, operation: Callable[[], object], marker: Callable[[], bool]) -> None:
    """Kill an operation at the first step before which ``marker`` holds."""
    kept = root.with_name("kept")
    shutil.copytree(root, kept, symlinks=True)
    for step in range(1, 200):
        shutil.rmtree(root)
        shutil.copytree(kept, root, symlinks=True)
        assert interrupted(operation, step, None) == KILLED
        if marker():
            return


def test_what_was_restored_after_its_deletion_stays(root: Path, tmp_path: Path) -> None:
    folder = root / "penguins" / "v0002"
    shutil.copytree(folder, tmp_path / "backup")
    halfway(root, lambda: OPERATIONS["delete"](root), lambda: not folder.exists())
    shutil.copytree(tmp_path / "backup", folder)
    mend(root)
    assert below(folder) == below(tmp_path / "backup")


def test_another_folder_in_a_deleted_ones_place_stays(root: Path) -> None:
    """Between the event and the move somebody puts another version there."""
    folder = root / "penguins" / "v0002"
    events = len(os.listdir(root / "penguins" / "history"))
    halfway(
        root, lambda: OPERATIONS["delete"](root), lambda: len(os.listdir(root / "penguins" / "history")) == events + 1
    )
    assert folder.exists()
    shutil.rmtree(folder)
    shutil.copytree(root / "penguins" / "v0003", folder)
    mend(root)
    assert folder.exists()


def test_leftovers_that_cannot_be_emptied_stop_nobody(root: Path) -> None:
    trash = root / ".ckptkit" / "trash" / "20261124T100000.000000Z-00000000"
    (trash / "version" / "closed").mkdir(parents=True)
    (trash / "version" / "closed" / "file").touch()
    (trash / "version" / "closed").chmod(0o555)
    mend(root)
    if trash.exists():  # not where this user removes everything
        (trash / "version" / "closed").chmod(0o755)
        mend(root)
    assert not trash.exists()


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"schema": "ckptkit/event/2"}'])
def test_a_plan_that_cannot_be_read_is_told(root: Path, data: bytes) -> None:
    trash = root / ".ckptkit" / "trash" / "20261124T100000.000000Z-00000000"
    (trash.with_name("z") / "version").mkdir(parents=True)
    trash.mkdir()
    (trash / "plan.json").write_bytes(data)
    with roots.locked(root), pytest.raises(CkptkitError, match="cannot be finished") as caught:
        transaction.recover(root)
    assert trash.name in caught.value.message
    assert (trash / "plan.json").read_bytes() == data
    assert os.listdir(trash.parent) == [trash.name]  # the others are emptied all the same


@pytest.mark.parametrize("folder", ["penguins", "penguins/v0002"])
def test_what_could_not_be_finished_is_not_begun(root: Path, folder: str) -> None:
    before = facts(root)
    (root / folder).chmod(0o555)
    try:
        if os.access(root / folder, os.W_OK):
            pytest.skip("this user writes everywhere")
        with pytest.raises(CkptkitError, match="not writable; nothing was changed"):
            delete("penguins/2", root=root)
    finally:
        (root / folder).chmod(0o755)
    assert facts(root) == before


def test_the_trash_of_a_registry_that_lies_in_this_one_is_its_own(root: Path) -> None:
    inner = root / "archive"
    publish(inner, files=FILES)
    trash = inner / ".ckptkit" / "trash" / "20261124T100000.000000Z-00000000"
    trash.mkdir(parents=True)
    (trash / "0").write_bytes(b"moved there a moment ago")
    mend(root)
    assert (trash / "0").read_bytes() == b"moved there a moment ago"
    mend(inner)
    assert not trash.exists()


def test_a_model_on_another_disk_has_its_own_trash(root: Path) -> None:
    memory = Path("/dev/shm")  # noqa: S108 - the one other disk that a Linux has
    if not memory.is_dir() or memory.stat().st_dev == root.stat().st_dev:
        pytest.skip("there is no other disk")
    other = memory / f"ckptkit-test-{os.getpid()}"
    shutil.move(root / "penguins", other)
    try:
        (root / "penguins").symlink_to(other)
        halfway_to = other / "v0002"
        child = interrupted(lambda: killed_at_the_trash(root), 10_000, None)
        assert child == KILLED
        assert (halfway_to.exists(), len(os.listdir(other / ".ckptkit" / "trash"))) == (False, 1)
        mend(root)
        assert os.listdir(other / ".ckptkit" / "trash") == []
        assert "v0002" in index.load(root)["models"]["penguins"]["gone"]
        prune("penguins", keep_last=1, force=True, root=root)
        assert not (other / "v0001" / "model.bin").exists()
        rename("penguins", "seals", root=root)
        assert (root / "seals").readlink() == other
        assert index.load(root)["models"]["penguins"]["became"] == "seals"
    finally:
        shutil.rmtree(other)


def killed_at_the_trash(root: Path) -> None:
    """Delete a version, and die when its trash is to be emptied."""

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.remove" and str(arguments[0]).endswith("plan.json"):
            os._exit(KILLED)

    sys.addaudithook(audit)
    delete("penguins/2", root=root)


def test_events_say_what_was_done(root: Path) -> None:
    version = registry.read_model(root / "penguins").state.saved["v0002"]
    delete("penguins/2", reason="too old", root=root)
    event = registry.read_model(root / "penguins").state.deleted["v0002"]
    assert (event.digest, event.reason) == (version.digest, "too old")
    assert {file.path: file.bytes for file in event.files}.items() >= {
        "model.bin": 11,
        "parts/optimizer.bin": 7,
    }.items()
