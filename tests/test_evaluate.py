import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from registries import publish

from ckptkit import disk, index, references, registry
from ckptkit.cli import main
from ckptkit.errors import CkptkitError, NotFoundError
from ckptkit.record import Event
from ckptkit.verbs.check import check
from ckptkit.verbs.delete import delete
from ckptkit.verbs.evaluate import evaluate

END = "<!-- ckptkit: end of later evaluations -->"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry with two versions in a git repository, whose top is the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "test.csv").write_text("a,b\n")
    (tmp_path / ".gitignore").write_text("runs/\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    for _ in range(2):
        publish(tmp_path / "runs")
    return tmp_path / "runs"


def git(*words: str) -> str:
    return subprocess.run(["git", *words], check=True, capture_output=True, text=True).stdout.strip()


def events(root: Path) -> list[Event]:
    return [event for event in registry.read_model(root / "penguins").events if event.kind == "evaluated"]


def contents(folder: Path) -> dict[str, Any]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "README.md")
    return {str(path): (path.read_bytes(), path.stat()) for path in files}


def test_a_result_is_an_event_with_its_own_data_code_and_compute(root: Path) -> None:
    before = contents(root / "penguins" / "v0001")
    done = evaluate("penguins/1", metrics={"test/accuracy": 0.25}, data={"test": "data/test.csv"}, reason="asked")
    [event] = events(root)
    assert done.event == event
    assert done.warnings == ()
    assert (event.version, event.digest, event.reason) == ("v0001", done.version.digest, "asked")
    assert event.to_dict()["metrics"] == {"test/accuracy": {"value": 0.25, "split": "test"}}
    assert [(data.name, data.path, data.bytes, data.observed) for data in event.data] == [
        ("test", "data/test.csv", 4, "at save")
    ]
    assert event.code is not None
    assert event.compute is not None
    assert event.code.repository is not None
    assert event.code.repository.commit == git("rev-parse", "HEAD")
    assert event.code.repository.tree == git("rev-parse", "HEAD^{tree}")
    assert event.code.repository.dirty is False
    assert event.code.environment.python is not None
    assert event.code.environment.python.version == sys.version.split()[0]
    assert event.compute.platform is not None
    assert event.unknown["code.entry_point"] == "measured by another process"
    assert not {fact for fact in event.unknown if fact.startswith("run.")}
    after = contents(root / "penguins" / "v0001")
    assert {path: data for path, (data, _) in after.items()} == {path: data for path, (data, _) in before.items()}
    assert [status.st_mtime_ns for _, status in after.values()] == [status.st_mtime_ns for _, status in before.values()]


def test_index_references_and_check_know_of_it(root: Path) -> None:
    codes = {finding.code for finding in check(root).findings}
    evaluate("penguins/1", metrics={"accuracy": 0.5, "later": {"value": 1, "n": 3}})
    evaluate("penguins/1", metrics={"accuracy": 0.75})
    known = index.load(root)
    assert known["models"] == index.build(root)["models"]
    row = known["models"]["penguins"]["versions"]["v0001"]
    assert (row["metrics"]["accuracy"], row["metrics"]["later"], row["evaluated"]) == (0.75, 1, ["accuracy", "later"])
    assert "evaluated" not in known["models"]["penguins"]["versions"]["v0002"]
    found = references.find("penguins/1", root=root, cwd=root).evaluations
    assert [event.metrics["accuracy"].value for event in found] == [0.5, 0.75]
    earlier = references.find("penguins/1", root=root, cwd=root, at=found[0].time).evaluations
    assert earlier == found[:1]
    assert {finding.code for finding in check(root, deep=True).findings} == codes


def test_the_card_has_all_of_them_and_what_people_wrote(root: Path) -> None:
    card = root / "penguins" / "v0001" / "README.md"
    card.write_bytes(b"# My card\r\n\r\nby hand")
    evaluate("penguins/1", metrics={"test/accuracy": 0.5})
    text = card.read_bytes()
    assert text.startswith(b"# My card\r\n\r\nby hand\r\n\r\n<!-- ckptkit")
    card.write_bytes(text + b"more by hand\r\n")
    evaluate("penguins/1", metrics={"test/accuracy": 0.75})
    text = card.read_bytes()
    assert text.endswith(END.encode() + b"\r\nmore by hand\r\n")
    assert (text.count(b"| accuracy | 0.5 | test |"), text.count(b"| accuracy | 0.75 | test |")) == (1, 1)
    assert "Evaluations" not in (root / "penguins" / "v0002" / "README.md").read_text()


@pytest.mark.parametrize("odd", ["gone", "link", "loop", "folder", "fifo", "not text"])
@pytest.mark.timeout(30)
def test_a_card_that_cannot_be_written_is_a_warning(root: Path, odd: str, tmp_path: Path) -> None:
    card = root / "penguins" / "v0001" / "README.md"
    card.unlink()
    if odd in {"link", "loop"}:
        card.symlink_to(tmp_path / "elsewhere.md" if odd == "link" else card.name)
        (tmp_path / "elsewhere.md").write_text("# Of several versions\n")
    elif odd == "folder":
        card.mkdir()
    elif odd == "fifo":
        os.mkfifo(card)
    elif odd == "not text":
        card.write_bytes("# Ä".encode("utf-16"))
    done = evaluate("penguins/1", metrics={"accuracy": 0.5})
    [words] = done.warnings
    assert words.endswith("the evaluation stands in the history alone")
    assert len(events(root)) == 1
    if odd == "link":
        assert (tmp_path / "elsewhere.md").read_text() == "# Of several versions\n"
    if odd == "not text":
        assert card.read_bytes() == "# Ä".encode("utf-16")


@pytest.mark.usefixtures("root")
def test_uncommitted_changes_are_told_and_no_patch_is_promised(tmp_path: Path) -> None:
    (tmp_path / "new.py").write_text("1\n")
    (tmp_path / "folder").mkdir()
    for number in range(30):
        (tmp_path / f"big{number}.bin").write_bytes(b"\0" * 1_000_001)
    (tmp_path / "folder" / "a").write_text("1\n")
    event = evaluate("penguins/1", metrics={"accuracy": 0.5}, data={"all": "folder"}).event
    assert event.code is not None
    assert event.code.repository is not None
    assert event.code.repository.dirty is True
    assert event.code.repository.patch is None
    assert event.code.repository.tree != git("rev-parse", "HEAD^{tree}")
    assert len(event.code.repository.omitted) == 20
    assert event.unknown["code.repository.omitted"] == "10 more are left out"
    assert event.unknown["code.repository.patch"].startswith("an event keeps none")
    assert event.data[0].manifest is None
    assert event.unknown["data.all.manifest"] == "an event keeps none"


def test_an_event_is_small_and_tells_the_packages_that_matter(root: Path) -> None:
    evaluate("penguins/1", metrics={"accuracy": 0.5})
    [path] = [path for path in (root / "penguins" / "history").iterdir() if b'"evaluated"' in path.read_bytes()]
    assert path.stat().st_size < 20_000
    [event] = events(root)
    assert event.code is not None
    packages = event.code.environment.packages
    assert 1 < len(packages) <= 80
    pins = [{"name": each.name, "version": each.version, "imported": False} for each in packages]
    pins[0]["imported"] = True
    pins[1]["version"] = "0.0.1"
    publish(root, code__environment__packages=pins)
    event = evaluate("penguins/3", metrics={"accuracy": 0.5}).event
    assert event.code is not None
    kept = {each.name for each in event.code.environment.packages} & {pin["name"] for pin in pins}
    assert kept == {packages[0].name, packages[1].name}
    assert "are left out" in event.unknown["code.environment.packages"]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"metrics": {}}, "there is no metric"),
        ({"metrics": {"accuracy": "high"}}, "metrics.accuracy"),
        ({"metrics_file": Path("nowhere.yaml")}, "nowhere.yaml"),
        ({"data": {"test": "nowhere.csv"}}, "is not there"),
        ({"data": {"test": "."}}, "holds the registry root"),
        ({"data": {"test": "runs/penguins/v0001"}}, "lies in the registry root"),
        ({"data": {"a/b": "data"}}, "a/b"),
        ({"ref": "penguins"}, "names a model"),
        ({"ref": "./copy/penguins/v0001"}, "is no version of the registry"),
        ({"at": "soon"}, "is no time"),
    ],
)
def test_what_is_refused_changes_nothing(root: Path, facts: dict[str, Any], words: str) -> None:
    publish(root.parent / "copy")
    before = sorted(os.listdir(root / "penguins" / "history"))
    with pytest.raises(CkptkitError, match=words):
        evaluate(**({"ref": "penguins/1", "metrics": {"accuracy": 1}} | facts))
    assert sorted(os.listdir(root / "penguins" / "history")) == before
    assert (root / "penguins" / "v0001" / "README.md").read_text() == "# A card\n"


@pytest.mark.parametrize("ref", ["seals/1", "penguins/9", "penguins@nobody"])
def test_what_names_nothing_is_not_found(root: Path, ref: str) -> None:
    with pytest.raises(NotFoundError):
        evaluate(ref, metrics={"accuracy": 1}, root=root)
    with pytest.raises(NotFoundError, match="no registry"):
        evaluate(ref, metrics={"accuracy": 1}, root=root / "nowhere")
    assert not (root / "nowhere").exists()


def test_others_do_not_wait_while_the_data_is_read(root: Path) -> None:
    read = []

    def progress(count: int) -> None:
        with disk.lock(root / ".ckptkit" / "lock", 0):  # raises where it is held
            read.append(count)

    evaluate("penguins/1", metrics={"accuracy": 0.5}, data={"test": "data/test.csv"}, progress=progress)
    assert read == [4]


def test_a_version_that_goes_meanwhile_is_told(root: Path) -> None:
    before = (root / "penguins" / "v0002" / "README.md").read_bytes()

    def progress(_: int) -> None:
        delete("penguins/1", root=root)

    with pytest.raises(CkptkitError, match="penguins/v0001 is another one by now, or gone"):
        evaluate("penguins/1", metrics={"accuracy": 0.5}, data={"test": "data/test.csv"}, progress=progress)
    assert events(root) == []
    assert (root / "penguins" / "v0002" / "README.md").read_bytes() == before


def test_evaluations_in_parallel_are_all_told(root: Path) -> None:
    code = (
        "import sys; from ckptkit.verbs.evaluate import evaluate\n"
        "for turn in range(3): evaluate('penguins/1', metrics={f'm{sys.argv[1]}{turn}': turn})\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(number)]) for number in range(3)]
    assert [process.wait(60) for process in started] == [0] * 3
    names = {name for event in events(root) for name in event.metrics}
    assert names == {f"m{number}{turn}" for number in range(3) for turn in range(3)}
    card = (root / "penguins" / "v0001" / "README.md").read_text()
    assert all(f"| {name} |" in card for name in names)
    assert index.load(root)["models"] == index.build(root)["models"]


def test_on_the_command_line(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "more.yaml").write_text("test: {loss: 0.5, accuracy: 0.1}\n")
    words = ["eval", "penguins/1", "--metric", "test/accuracy=0.9", "--metrics", "more.yaml"]
    assert main([*words, "--data", "test=data/test.csv", "--reason", "password=hunter22"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("penguins/v0001  test/loss 0.5 (test), test/accuracy 0.9 (test)  test sha256:")
    [event] = events(root)
    assert "hunter22" not in (event.reason or "")
    (root / "penguins" / "v0001" / "README.md").unlink()
    assert main([*words, "--json"]) == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert (document["schema"], document["ref"]) == ("ckptkit/evaluation/1", "penguins/v0001")
    assert document["event"]["metrics"]["test/accuracy"]["value"] == 0.9
    assert said.err.startswith("ckptkit: warning: the card ")
    for wrong in (["eval", "penguins/1"], [*words, "--metric", "test/accuracy=1"], [*words, "--data", "x"]):
        assert main(wrong) == 2
        assert capsys.readouterr().err.count("\n") == 1
