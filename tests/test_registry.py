import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from registries import CUT

from ckptkit import checkpoint, documents, index, index_file, overview, references, registry, roots, settings, staging
from ckptkit.cli import main
from ckptkit.errors import CkptkitError
from ckptkit.verbs.check import check
from ckptkit.verbs.index import index as rebuild

WORKER = """
import sys
import ckptkit
for number in range(int(sys.argv[3])):
    ckptkit.save(sys.argv[2], model="m", root=sys.argv[1], metrics={"i": number}, aliases=["newest"])
"""


def save(root: Path, weights: Path, **facts: object) -> registry.Version:
    import ckptkit

    version = ckptkit.save(weights, model="m", root=root, **facts)  # type: ignore[arg-type]
    assert version is not None
    return version


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "w.bin"
    path.write_bytes(b"weights")
    return path


def test_the_index_after_each_save_is_what_a_rebuild_gives(tmp_path: Path, weights: Path) -> None:
    root = tmp_path / "runs"
    for number in range(3):
        save(root, weights, aliases=["best"] if number != 1 else ["other"], metrics={"loss": number})
        assert (root / "index.json").read_bytes() == index_file.dump(index.build(root))
        assert (root / "README.md").read_text() == overview.text(index.build(root))
    assert json.loads((root / "index.json").read_bytes())["models"]["m"]["aliases"] == {
        "best": "v0003",
        "other": "v0002",
    }
    assert (root / "m" / "@best").readlink() == Path("v0003")


def test_numbers_are_never_reused(tmp_path: Path, weights: Path) -> None:
    root = tmp_path / "runs"
    for _ in range(3):
        save(root, weights)
    shutil.rmtree(root / "m" / "v0003")
    (root / "index.json").unlink()
    assert save(root, weights).ref == "m/v0004"
    (root / "m" / "v9999").mkdir()
    assert save(root, weights).ref == "m/v10000"


def test_no_number_comes_from_the_index_alone(tmp_path: Path, weights: Path) -> None:
    root = tmp_path / "runs"
    for _ in range(3):
        save(root, weights)
    shutil.rmtree(root / "m" / "v0003")
    stored = json.loads((root / "index.json").read_bytes())
    stored["models"]["m"]["last"] = 2
    del stored["models"]["m"]["versions"]["v0003"]
    (root / "index.json").write_text(json.dumps(stored))
    assert save(root, weights).ref == "m/v0004"


def test_a_model_may_be_a_link(tmp_path: Path, weights: Path) -> None:
    import ckptkit

    root = tmp_path / "runs"
    (tmp_path / "big" / "m").mkdir(parents=True)
    root.mkdir()
    (root / "m").symlink_to("../big/m")
    for name, target in {"loop": "loop", "broken": "nowhere", "here": ".", "up": "..", "file": "../w.bin"}.items():
        (root / name).symlink_to(target)
    assert [save(root, weights, aliases=["best"]).ref for _ in range(2)] == ["m/v0001", "m/v0002"]
    assert sorted(os.listdir(tmp_path / "big" / "m")) == ["@best", "history", "v0001", "v0002"]
    assert [model.name for model in registry.models(root)] == ["m"]
    assert (root / "index.json").read_bytes() == index_file.dump(index.build(root))
    assert references.find("m@best", root=root, cwd=tmp_path).version.path == root / "m" / "v0002"
    assert ckptkit.path("m/1", "w.bin", root=root).read_bytes() == b"weights"
    report = check(root, deep=True)
    assert [path.rpartition("runs/")[2] for path in report.verdicts] == ["m/v0001", "m/v0002"]
    assert not [finding for finding in report.findings if finding.code.startswith(("CK1", "CK2", "CK9"))]
    assert check(root / "m").versions == 2
    shutil.rmtree(root / "m" / "v0002")
    assert [finding.code for finding in check(root, select=["CK9"]).findings] == ["CK906"]
    assert rebuild(root).versions == 1


def test_a_model_may_lie_on_another_disk(tmp_path: Path, weights: Path) -> None:
    memory = Path("/dev/shm")  # noqa: S108 - the one other disk that a Linux has
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second disk")
    with tempfile.TemporaryDirectory(dir=memory) as big:
        (tmp_path / "runs").mkdir()
        (tmp_path / "runs" / "m").symlink_to(big)
        assert save(tmp_path / "runs", weights).ref == "m/v0001"
        assert (Path(big) / "v0001" / "w.bin").read_bytes() == b"weights"
        assert os.listdir(Path(big) / registry.HOME) == []
        assert [finding.code for finding in check(tmp_path / "runs", select=["CK1", "CK9"]).findings] == []


LOCKLESS = """
import fcntl, os
def refuse(*_):
    raise OSError({0}, os.strerror({0}))
fcntl.flock = refuse
"""


def save_in_parallel(root: Path, weights: Path, before: str = "") -> registry.Model:
    command = [sys.executable, "-W", "error", "-c", before + WORKER, str(root), str(weights), "4"]
    workers = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(5)]
    assert [worker.communicate(timeout=120)[1].count(b"warning") for worker in workers] == [0] * 5
    assert [worker.returncode for worker in workers] == [0] * 5
    model = registry.read_model(root / "m")
    assert list(model.versions) == [f"v{number:04d}" for number in range(1, 21)]
    assert sorted(model.state.saved) == list(model.versions)
    for version, event in model.state.saved.items():
        assert event.digest == registry.digest_of(root / "m" / version)
    assert not [name for name in os.listdir(root / "m" / "history") if name.startswith(".")]
    assert not [name for name in os.listdir(root / registry.HOME) if name.startswith("stage-")]
    return model


def test_parallel_saves_are_all_there_once(tmp_path: Path, weights: Path) -> None:
    model = save_in_parallel(tmp_path / "runs", weights)
    assert len(model.state.heads["@newest"]) == 1
    assert (tmp_path / "runs" / "index.json").read_bytes() == index_file.dump(index.build(tmp_path / "runs"))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_parallel_saves_without_locks_are_all_there_once(tmp_path: Path, weights: Path, number: int) -> None:
    save_in_parallel(tmp_path / "runs", weights, LOCKLESS.format(int(number)))
    assert index.load(tmp_path / "runs") == index.build(tmp_path / "runs")


def test_without_locks_the_rename_is_the_claim(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "runs"
    save(root, weights)
    real = staging.Stage.publish

    def slower(stage: staging.Stage, target: Path) -> None:
        if target.name == "v0002":  # another process claims the number first
            shutil.copytree(root / "m" / "v0001", target, dirs_exist_ok=True)
        real(stage, target)

    monkeypatch.setattr(staging.Stage, "publish", slower)
    version = save(root, weights)
    assert version.ref == "m/v0003"
    assert version.lineage["version"] == "v0003"
    found = checkpoint.read(version.path, deep=True)
    assert found.hashed == found.sums
    assert found.digest == version.digest


def test_a_dead_stage_is_swept_and_a_living_one_is_not(tmp_path: Path, weights: Path) -> None:
    root = tmp_path / "runs"
    save(root, weights)
    code = (
        "import os, sys; from pathlib import Path; from ckptkit import publication\n"
        "stage = publication.open_stage(Path(sys.argv[1])); print(stage.home, flush=True)\n"
        "sys.stdin.read() if len(sys.argv) > 2 else os._exit(1)"
    )
    dead = subprocess.run(
        [sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=False
    ).stdout.strip()
    assert Path(dead).is_dir()
    with subprocess.Popen(
        [sys.executable, "-c", code, str(root), "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as living:
        assert living.stdout
        alive = living.stdout.readline().strip()
        save(root, weights)
        assert not Path(dead).exists()
        assert Path(alive).is_dir()
        living.communicate()


@pytest.mark.parametrize("events", [0, 1, 2])
def test_an_alias_outlives_a_death_after_publication(tmp_path: Path, weights: Path, events: int) -> None:
    root = tmp_path / "runs"
    save(root, weights, aliases=["best"])
    command = [sys.executable, "-c", CUT, str(root), str(weights), "m", "best", str(events)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 9
    assert registry.read_model(root / "m").versions == ("v0001", "v0002")
    assert "CK902" in {finding.code for finding in check(root).findings}
    assert save(root, weights).ref == "m/v0003"
    model = registry.read_model(root / "m")
    assert sorted(model.state.saved) == ["v0001", "v0002", "v0003"]
    assert model.state.aliases == {"best": "v0002", "newest": "v0002"}
    assert len(model.state.heads["@best"]) == 1
    assert check(root, select=["CK9"]).findings == ()
    assert not [name for name in os.listdir(root / "m" / "history") if name.startswith(".")]


def test_a_death_before_publication_leaves_no_event(tmp_path: Path, weights: Path) -> None:
    root = tmp_path / "runs"
    save(root, weights)
    code = "import os\nfrom ckptkit import staging\nstaging.Stage.publish = lambda *_: os._exit(9)\n" + WORKER
    command = [sys.executable, "-c", code, str(root), str(weights), "1"]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 9
    drafts = [path for path in (root / "m" / "history").iterdir() if path.name.startswith(".")]
    assert len(drafts) == 2
    assert rebuild(root).taken_in == ()
    assert [event.version for event in registry.read_model(root / "m").events] == ["v0001"]
    for draft in drafts:
        os.utime(draft, (0, 0))
    rebuild(root)
    assert not [draft for draft in drafts if draft.exists()]


def test_once_published_a_refusing_disk_is_a_warning(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "runs"
    rename = os.rename

    def refuse(source: Any, target: Any, **places: Any) -> None:
        if Path(target).parent.name == "history":
            raise OSError(errno.EIO, os.strerror(errno.EIO), source)
        rename(source, target, **places)

    monkeypatch.setattr(os, "rename", refuse)
    assert save(root, weights, aliases=["best"]).ref == "m/v0001"
    assert "an event of v0001 could not be written (input/output error)" in capsys.readouterr().err
    monkeypatch.undo()
    assert index.load(root) == index.build(root)
    assert rebuild(root).taken_in == ("m/v0001",)
    assert registry.read_model(root / "m").state.aliases == {"best": "v0001"}
    assert check(root, select=["CK9"]).findings == ()


def test_foreign_folders_are_left_alone(tmp_path: Path, weights: Path) -> None:
    root = tmp_path / "runs"
    (root / "tensorboard" / "version_0").mkdir(parents=True)
    (root / "tensorboard" / "v0001").mkdir()
    (root / "events.out").touch()
    save(root, weights)
    assert [model.name for model in registry.models(root)] == ["m"]


def test_a_stale_index_is_seen_through(tmp_path: Path, weights: Path) -> None:
    root = tmp_path / "runs"
    save(root, weights)
    old = (root / "index.json").read_bytes()
    save(root, weights)
    (root / "index.json").write_bytes(old)
    assert list(index.load(root)["models"]["m"]["versions"]) == ["v0001", "v0002"]
    for junk in (
        b"\xff\x00",
        b"[]",
        b"{}",
        b'{"schema": "ckptkit/index/1", "models": []}',
        b'{"schema": "ckptkit/index/1", "models": {"m": 3}}',
    ):
        (root / "index.json").write_bytes(junk)
        assert list(index.load(root)["models"]["m"]["versions"]) == ["v0001", "v0002"]
    assert save(root, weights).ref == "m/v0003"


def test_roots_that_cannot_be(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CkptkitError, match="is not a folder"):
        save(tmp_path / "file", weights)
    with pytest.raises(CkptkitError, match="is not a folder"):
        save(tmp_path / "file" / "below", weights)


def test_default_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert roots.default_root(None, tmp_path / "a") == tmp_path / "a" / "runs"
    (tmp_path / "a" / ".git").mkdir()
    assert roots.default_root(None, tmp_path / "a" / "b") == tmp_path / "a" / "runs"
    (tmp_path / "a" / "pyproject.toml").write_text('[tool.ckptkit]\nroot = "models"')
    assert roots.default_root(None, tmp_path / "a" / "b") == tmp_path / "a" / "models"
    monkeypatch.setenv("CKPTKIT_ROOT", "elsewhere")
    assert roots.default_root(None, tmp_path / "a" / "b") == tmp_path / "a" / "b" / "elsewhere"
    assert roots.default_root("here", tmp_path / "a" / "b") == tmp_path / "a" / "b" / "here"


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        (
            'rot = "x"',
            "'rot' in [tool.ckptkit] of ",
            "did you mean root? known are check and links and metrics and root",
        ),
        ("folder = 1", "'folder' in [tool.ckptkit] of ", "known are check and links and metrics and root"),
        (
            "check.sleect = []",
            "'sleect' in [tool.ckptkit.check] of ",
            "did you mean select? known are ignore and select",
        ),
    ],
)
def test_settings_that_nothing_reads_are_refused(tmp_path: Path, text: str, words: str, hint: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.ckptkit]\n{text}\n")
    with pytest.raises(CkptkitError) as caught:
        settings.require(tmp_path)
    assert words in caught.value.message
    assert caught.value.hint == hint


@pytest.mark.parametrize("text", ["", "root = 'x'\ncheck.select = ['CK2']\ncheck.ignore = { CK7 = 'why' }"])
def test_settings_that_are_known(tmp_path: Path, text: str) -> None:
    settings.require(tmp_path)
    (tmp_path / "pyproject.toml").write_text(f"[tool.ckptkit]\n{text}\n")
    settings.require(tmp_path)


def test_a_history_that_cannot_be_listed_is_no_empty_one(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "runs"
    save(root, weights, aliases=["best"])
    save(root, weights)
    shutil.rmtree(root / "m" / "v0002")
    listdir = os.listdir

    def refuse(path: Any = ".") -> list[str]:
        if str(path).endswith("history"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(CkptkitError, match="history"):
        save(root, weights)
    monkeypatch.undo()
    assert (root / "m" / "@best").is_symlink()
    assert save(root, weights).ref == "m/v0003"


def test_numbers_in_events_of_a_later_format_are_not_used_again(tmp_path: Path, weights: Path) -> None:
    root = tmp_path / "runs"
    for _ in range(2):
        save(root, weights)
    for event in (root / "m" / "history").iterdir():
        if '"v0002"' in (text := event.read_text()):
            event.write_text(text.replace("ckptkit/event/1", "ckptkit/event/2"))
    shutil.rmtree(root / "m" / "v0002")
    (root / "index.json").unlink()
    assert save(root, weights).ref == "m/v0003"


@pytest.mark.parametrize("verb", ["alias set m@best 1", "stage m/1 production", "describe m words", "delete m/1"])
def test_a_folder_that_is_no_registry_is_left_as_it_is(tmp_path: Path, verb: str) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "index.json").write_text('{"my": "site"}')
    assert main([*verb.split(), "--root", str(tmp_path / "web")]) == 1
    assert os.listdir(tmp_path / "web") == ["index.json"]
    assert (tmp_path / "web" / "index.json").read_text() == '{"my": "site"}'


def test_a_number_that_nobody_counted_to_is_not_counted_on(tmp_path: Path, weights: Path) -> None:
    root = tmp_path / "runs"
    save(root, weights)
    event = registry.new_event("saved", "m", "v" + "9" * 18, digest=f"sha256:{'0' * 64}")
    (root / "m" / "history" / f"{event.id}.json").write_bytes(documents.dump_json(event.to_dict()))
    assert save(root, weights).ref == "m/v0002"
