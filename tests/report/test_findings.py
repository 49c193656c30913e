import json
from typing import Any

import pytest

from ckptkit.report import findings
from ckptkit.rules.base import Finding
from ckptkit.rules.verdict import AXES, Report

COMPLETE = dict.fromkeys(AXES, "complete")


def finding(**facts: Any) -> Finding:
    return Finding(
        **{
            "code": "CK401",
            "severity": "warning",
            "subject": "runs/penguins/v0001",
            "where": "lineage.json",
            "message": "commit is missing",
            "hint": "commit your work, then save again",
            "line": None,
            "column": None,
        }
        | facts
    )


def report(*found: Finding, **facts: Any) -> Report:
    known: dict[str, Any] = {
        "verdicts": {"runs/penguins/v0001": COMPLETE, "runs/penguins/v0002": COMPLETE | {"code": "partial"}},
        "models": 1,
        "ignored": {},
        "reasons": {},
    }
    return Report(findings=found, **known | facts)


def text(found: Report, *, width: int | None = None, colour: bool = False) -> str:
    return findings.text(found, width=width, colour=colour)


def test_text_is_grouped_by_version_and_ends_with_count_and_verdict() -> None:
    shown = text(
        report(
            finding(),
            finding(code="CK102", severity="error", message="is not JSON", line=3, column=14, hint="restore it"),
            finding(code="CK204", subject="runs/penguins/v0002", where="", message="not here: a", hint="copy it"),
        ),
        colour=False,
    )
    assert shown == (
        "runs/penguins/v0001\n"
        "  CK102 error    lineage.json:3:14: is not JSON\n"
        "        hint: restore it\n"
        "  CK401 warning  lineage.json: commit is missing\n"
        "        hint: commit your work, then save again\n"
        "\n"
        "runs/penguins/v0002\n"
        "  CK204 warning  not here: a\n"
        "        hint: copy it\n"
        "\n"
        "2 versions checked: 1 error, 2 warnings\n"
        "data complete · code partial · config complete · compute complete"
    )


def test_a_hint_stands_beside_the_first_finding_of_its_code_alone() -> None:
    other = "runs/penguins/v0002"
    found = report(
        *(finding(), finding(where="a"), finding(code="CK402", hint="add it")),
        *(finding(subject=other), finding(subject=other, hint="add a remote"), finding(subject="runs")),
    )
    shown = text(found).splitlines()
    assert [line[14:] for line in shown if "hint: " in line] == [
        "commit your work, then save again",
        "add it",
        "add a remote",
    ]
    assert shown[-3] == "warnings: CK401 in 2 versions"
    assert "warnings: " not in text(report(finding(), finding(), finding(subject=other, severity="error")))


def test_long_words_go_on_below_their_beginning() -> None:
    found = report(finding(message="a few words " * 9, hint="and more of them " * 6), ignored={"CK404": 1})
    shown = text(found, width=60).splitlines()
    assert all(len(line) <= 60 for line in shown[:-1])
    assert shown[1:4] == [
        "  CK401 warning  lineage.json: a few words a few words a few",
        "                 words a few words a few words a few words a",
        "                 few words a few words a few words",
    ]
    assert shown[4:6] == [
        "        hint: and more of them and more of them and more of",
        "              them and more of them and more of them and",
    ]
    assert " ".join(text(found).split()) == " ".join(" ".join(shown).split())
    assert len(text(found, width=5).splitlines()) < 30


def test_text_says_which_bytes_were_not_looked_at() -> None:
    assert text(report(unhashed=3)).splitlines()[-1] == "(bytes of 3 large files not hashed: --deep)"
    assert text(report(unhashed=1)).splitlines()[-1] == "(bytes of 1 large file not hashed: --deep)"
    assert "hashed" not in text(report())
    assert findings.document(report(unhashed=3))["unhashed"] == 3


def test_text_of_a_clean_tree() -> None:
    assert text(report()) == (
        "2 versions checked: no findings\ndata complete · code partial · config complete · compute complete"
    )
    assert text(report(verdicts={}, models=0)) == "0 versions checked: no findings"


def test_text_names_what_was_ignored_and_why() -> None:
    shown = text(report(ignored={"CK404": 2, "CK705": 1}, reasons={"CK404": "no remote here"}))
    assert shown.splitlines()[1:3] == [
        "ignored CK404 (2): no remote here",
        "ignored CK705 (1): asked for on the command line",
    ]


def test_colours_are_written_only_where_they_are_wanted() -> None:
    found = report(finding(severity="error"))
    assert "\x1b[31merror\x1b[0m    lineage.json: " in text(found, colour=True)
    assert "\x1b" not in text(found)


EVIL = "a\x1b[31m\nb\r\t\x00\x9b\u202e\ud800"


@pytest.mark.parametrize("field", ["subject", "where", "message", "hint"])
def test_what_a_terminal_would_obey_comes_out_inert(field: str) -> None:
    shown = text(report(finding(**{field: EVIL})))
    assert shown.replace("\n", "").isprintable()
    assert r"a\x1b[31m b  \x00\x9b\u202e\ud800" in shown


def test_the_document_is_json_with_all_facts() -> None:
    found = report(finding(line=3), finding(where="", code="CK204"), ignored={"CK404": 1}, reasons={"CK404": "why"})
    document = json.loads(json.dumps(findings.document(found)))
    assert document["schema"] == "ckptkit/check/1"
    assert (document["versions"], document["models"]) == (2, 1)
    assert document["counts"] == {"error": 0, "warning": 2}
    assert document["verdict"] == COMPLETE | {"code": "partial"}
    assert document["verdicts"]["runs/penguins/v0001"] == COMPLETE
    assert document["findings"][0] == {
        "code": "CK401",
        "severity": "warning",
        "path": "runs/penguins/v0001/lineage.json",
        "subject": "runs/penguins/v0001",
        "where": "lineage.json",
        "line": 3,
        "column": None,
        "message": "commit is missing",
        "hint": "commit your work, then save again",
    }
    assert document["findings"][1]["path"] == "runs/penguins/v0001"
    assert document["ignored"] == [{"code": "CK404", "count": 1, "reason": "why"}]


def test_github_annotations_are_escaped() -> None:
    found = finding(subject="runs/a,b:c%", where="x.json", message="100% bad\n::error::no", hint="h", line=2, column=5)
    assert findings.github(report(found)).splitlines() == [
        "::warning file=runs/a%2Cb%3Ac%25/x.json,line=2,col=5,title=CK401::100%25 bad%0A::error::no (hint: h)",
        "2 versions checked: 1 warning",
    ]


def test_github_annotations_are_inert_in_a_log() -> None:
    assert findings.github(report(finding(message=EVIL))).replace("\n", "").isprintable()
