import json
from pathlib import Path

import pytest
from registries import publish

from ckptkit import index, references, registry
from ckptkit.cli import main
from ckptkit.errors import CkptkitError, NotFoundError
from ckptkit.verbs.check import check
from ckptkit.verbs.describe import LONGEST, describe


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        publish(tmp_path / "runs")
    return tmp_path / "runs"


def texts(root: Path) -> dict[str, str]:
    part = index.load(root)["models"]["penguins"]
    assert part == index.build(root)["models"]["penguins"]
    found: dict[str, str] = part["texts"]
    return found


def told(root: Path) -> int:
    return sum(event.kind == "described" for event in registry.read_model(root / "penguins").events)


def test_a_model_and_a_version_are_described_apart(root: Path) -> None:
    before = (root / "penguins" / "v0001" / "README.md").read_bytes()
    done = describe("penguins", "species from bills", reason="for the paper")
    assert (done.ref, done.before, done.after, done.warnings) == ("penguins", None, "species from bills", ())
    done = describe("penguins/1", "the first try")
    assert (done.ref, done.before, done.after) == ("penguins/v0001", None, "the first try")
    assert describe("penguins@latest", "the second").ref == "penguins/v0002"
    assert texts(root) == {"": "species from bills", "v0001": "the first try", "v0002": "the second"}
    assert references.find("penguins/1", root=root, cwd=root).text == "the first try"
    assert (root / "penguins" / "v0001" / "README.md").read_bytes() == before
    events = [event for event in registry.read_model(root / "penguins").events if event.kind == "described"]
    assert [(event.version, event.reason, bool(event.digest)) for event in events] == [
        (None, "for the paper", False),
        ("v0001", None, True),
        ("v0002", None, True),
    ]


def test_the_same_again_is_no_event_and_nothing_takes_it_away(root: Path) -> None:
    for text in ("one", " one \n", "two", "", "  \n"):
        describe("penguins/1", text)
    assert told(root) == 3
    assert texts(root) == {}
    assert describe("penguins", "").after is None
    assert told(root) == 3
    describe("penguins/1", "one")
    assert texts(root) == {"v0001": "one"}


def test_saying_it_settles_a_fork(root: Path) -> None:
    for text in ("here", "there"):
        event = registry.new_event("described", "penguins", None, text=text)
        (root / "penguins" / "history" / f"{event.id}.json").write_text(json.dumps(event.to_dict()))
    assert "CK911" in {finding.code for finding in check(root).findings}
    assert describe("penguins", "there").before == "there"
    assert "CK911" not in {finding.code for finding in check(root).findings}
    assert texts(root) == {"": "there"}


def test_lines_stay_and_secrets_do_not(root: Path, tmp_path: Path) -> None:
    describe("penguins", f"first  \r\n\r\n  second, from {tmp_path}/x with password=hunter22\n")
    assert texts(root)[""] == "first\n\n  second, from ./x with password=<redacted:password>"


def test_a_text_has_an_end(root: Path) -> None:
    assert describe("penguins", "é" * LONGEST).after == "é" * LONGEST
    with pytest.raises(CkptkitError, match="longer than"):
        describe("penguins", "é" * (LONGEST + 1))
    assert told(root) == 1


def test_as_of_a_time(root: Path) -> None:
    first = describe("penguins@latest", "the newest")
    then = registry.read_model(root / "penguins").events[-1].time
    publish(root)
    again = describe("penguins@latest", "the newest then", at=then)
    assert (first.ref, again.ref, again.before) == ("penguins/v0002", "penguins/v0002", "the newest")


@pytest.mark.parametrize("ref", ["seals", "seals/1", "penguins/9", "penguins@nobody", "sha256:12", "./data", "2"])
def test_what_names_nothing_is_refused(root: Path, ref: str) -> None:
    with pytest.raises(CkptkitError):
        describe(ref, "text")
    with pytest.raises(NotFoundError, match="no registry"):
        describe(ref, "text", root=root / "nowhere")
    assert told(root) == 0


def test_a_version_of_another_registry_is_refused(root: Path) -> None:
    publish(root.parent / "other")
    with pytest.raises(CkptkitError, match="is no version of the registry"):
        describe("./other/penguins/v0001", "text")
    assert describe("./runs/penguins/v0001", "text").ref == "penguins/v0001"


def test_on_the_command_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = [
        ("penguins", "two\nlines\x1b[2J", "penguins: two lines\\x1b[2J\n"),
        ("penguins", "two\nlines\x1b[2J", "penguins is described so already\n"),
        ("penguins", "", "penguins: the description is removed\n"),
        ("penguins", "", "penguins has no description\n"),
    ]
    for ref, text, words in said:
        assert main(["describe", ref, text]) == 0
        assert capsys.readouterr().out == words
    assert main(["describe", "penguins/2", "text", "--json", "--root", str(root)]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": "ckptkit/description/1",
        "ref": "penguins/v0002",
        "before": None,
        "after": "text",
        "warnings": [],
    }
    assert main(["describe", "seals", "text"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
