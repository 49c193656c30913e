import json
from typing import Any

from ckptkit.report import trees
from ckptkit.verbs.index import Rebuilt
from ckptkit.verbs.merge import Merged
from ckptkit.verbs.which import Answer, Match

EVIL = "\x1b[31m\n\u202e"


def lines(text: str) -> list[str]:
    assert all(letter.isprintable() for letter in text.replace("\n", ""))
    return text.split("\n")


def match(ref: str, file: str | None = None, root: str = "runs", **facts: Any) -> Match:
    known: dict[str, Any] = {"path": "w.bin", "state": "here", "deleted": None}
    return Match(root=root, ref=ref, file=file, **known | facts)


def answer(
    *matches: Match, files: int = 1, unknown: tuple[str, ...] = (), roots: tuple[str, ...] = ("runs",)
) -> Answer:
    return Answer(roots=roots, sha256="ab" * 32, files=files, unknown=unknown, matches=matches)


def test_what_index_did() -> None:
    done = Rebuilt(
        models=1,
        versions=2,
        written=("index.json",),
        links={"m/@best": "made", f"m/@{EVIL}": "not removed"},
        taken_in=("m/v0002",),
        unreadable={"m/v0001": EVIL},
    )
    assert lines(trees.rebuilt(done)) == [
        "1 model, 2 versions",
        "written: index.json",
        "link made: m/@best",
        r"link not removed: m/@\x1b[31m \u202e",
        "taken in: m/v0002",
        r"m/v0001 cannot be read: \x1b[31m \u202e",
    ]
    document = json.loads(json.dumps(trees.rebuilt_document(done)))
    assert document["schema"] == "ckptkit/rebuilt/1"
    assert document["links"]["m/@best"] == "made"


def test_what_merge_did() -> None:
    done = Merged(
        copied={"m/v0001": "m/v0001", "m/v0002": "m/v0005"},
        renumbered={"m/v0002": "m/v0005", "m/v0003": "m/v0006"},
        filled=["m/v0004"],
        deleted=["m/v0007"],
        events=["m/history/x.json"],
        refused={"m/v0008": EVIL},
    )
    assert lines(trees.merged(done)) == [
        "copied: 2 versions, 1 event",
        "m/v0001",
        "m/v0002 → m/v0005: the number was another version's",
        "m/v0003 → m/v0006: the number was another version's",
        "filled in: m/v0004",
        "stays deleted: m/v0007",
        r"not taken: m/v0008: \x1b[31m \u202e",
    ]
    assert trees.merged_document(done)["events"] == 1
    assert trees.merged(Merged()) == "copied: 0 versions, 0 events"


def test_whose_file_it_is() -> None:
    found = answer(
        match("m/v0001"),
        match("m/v0002", path=None),
        match("m/v0003", state="deleted", deleted="2026-05-03T12:00:00.000000Z"),
        match("m/v0004", state="pruned", path=EVIL),
    )
    assert lines(trees.answer(found)) == [
        "m/v0001/w.bin  here",
        "m/v0002  here",
        "m/v0003/w.bin  deleted on 2026-05-03",
        r"m/v0004/\x1b[31m \u202e  pruned",
    ]
    assert trees.answer_document(found)["matches"][0] == {
        "root": "runs",
        "ref": "m/v0001",
        "path": "w.bin",
        "file": None,
        "state": "here",
        "deleted": None,
    }


def test_whose_folder_it_is() -> None:
    found = answer(
        match("m/v0001", "a"),
        match("m/v0002", "a"),
        match("m/v0002", "a", path="again.bin"),
        match("m/v0002", "b", state="pruned"),
        match("m/v0002", "c", root="more"),
        files=4,
        unknown=("d",),
        roots=("runs", "more"),
    )
    assert lines(trees.answer(found)) == [
        "runs  m/v0002  2 of 4 files  here, pruned",
        "runs  m/v0001  1 of 4 files  here",
        "more  m/v0002  1 of 4 files  here",
        "in no version: 1 of 4 files: d",
    ]


def test_more_than_people_read() -> None:
    files = tuple(f"f{number}" for number in range(30))
    found = answer(*(match(f"m/v{number:04d}") for number in range(1, 31)), files=60, unknown=files)
    said = lines(trees.answer(found))
    assert said[19:21] == ["m/v0020/w.bin  here", "and 10 more (--json has all)"]
    assert said[21].startswith("in no version: 30 of 60 files: f0, f1, ")
    assert said[21].endswith("f19, …")
