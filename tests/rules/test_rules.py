"""Every rule has a bad folder that it finds and a good one, that comes close, in which it finds nothing."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from cases import VERSION, build

from ckptkit import checkpoint, rules
from ckptkit.checkpoint import Unreadable
from ckptkit.errors import CkptkitError
from ckptkit.rules.base import Rule
from ckptkit.verbs.check import check

HERE = Path(__file__).parent
CASES = sorted(path for path in HERE.glob("CK*/*"))


def also(case: Path) -> set[str]:
    file = case / "also.txt"
    return {line.split()[0] for line in file.read_text().splitlines()} if file.exists() else set()


def test_every_rule_has_a_good_and_a_bad_folder() -> None:
    assert {f"{case.parent.name}/{case.name}" for case in CASES} == {
        f"{rule.code}/{kind}" for rule in rules.RULES for kind in ("good", "bad")
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.name}")
def test_a_case(case: Path, tmp_path: Path) -> None:
    expected = also(case) | ({case.parent.name} if case.name == "bad" else set())
    report = check(build(case, tmp_path / "runs"))
    assert {finding.code for finding in report.findings} == expected, report.findings
    for finding in report.findings:
        assert finding.message
        assert finding.hint


def test_the_base_is_complete(tmp_path: Path) -> None:
    report = check(build(HERE / "nothing", tmp_path / "runs"), deep=True)
    assert report.findings == ()
    assert set(report.overall.values()) == {"complete"}


def test_codes_are_unique_and_of_a_family() -> None:
    codes = [rule.code for rule in rules.RULES]
    assert len(set(codes)) == len(codes)
    assert {code[:3] for code in codes} == set(rules.FAMILIES)


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.code)
def test_every_rule_explains_itself(rule: Rule) -> None:
    words = rules.explain(rule.code.lower())
    assert words.startswith(f"{rule.code} {rule.title} ({rule.severity})\n\n")
    assert rule.why in words
    assert words.endswith(f"fix: {rule.fix}")
    assert len(rule.why.split()) > 7
    assert {*rule.unless} <= {other.code for other in rules.RULES} - {rule.code}


def test_an_unknown_code_is_refused_with_its_neighbours() -> None:
    with pytest.raises(CkptkitError, match="there is no rule 'CK999'") as caught:
        rules.explain("CK999")
    assert "CK901" in caught.value.hint


def test_a_prefix_that_matches_nothing_is_refused_with_the_families() -> None:
    with pytest.raises(CkptkitError, match="no rule's code begins with 'CK0'") as caught:
        rules.chosen(["CK2", "CK0"])
    assert "CK4 code and dependencies" in caught.value.hint


def test_a_prefix_stands_for_all_codes_that_begin_so() -> None:
    assert rules.chosen(["ck60", "CK701"]) == {"CK601", "CK602", "CK603", "CK604", "CK701"}


def test_each_violation_of_the_schema_is_told_by_its_pointer(tmp_path: Path) -> None:
    report = check(build(HERE / "CK103" / "bad", tmp_path / "runs"))
    assert [finding.message.partition(" is ")[0] for finding in report.findings] == [
        "/created: 'yesterday'",
        "/data: {'train': 'x'}",
        "/weights/parameters: 'many'",
    ]


def test_what_cannot_be_read_is_told_once(tmp_path: Path) -> None:
    """As a user who is not root would find it, whoever runs the tests."""
    found = checkpoint.read(build(HERE / "nothing", tmp_path / "runs") / VERSION)
    closed = Unreadable(reason="cannot be read: permission denied")
    found = dataclasses.replace(
        found,
        hashed={**found.hashed, "requirements.txt": closed, "config.yaml": closed, "model.safetensors": closed},
        headers={"model.safetensors": closed},
        config=closed,
    )
    told = rules.without_echoes(rules.examine(found, "runs"))
    assert {(finding.code, finding.where) for finding in told} == {
        ("CK107", "config.yaml"),
        ("CK208", "model.safetensors"),
        ("CK208", "requirements.txt"),
    }
    assert len(told) == 3


def test_jsonschema_is_loaded_only_for_a_record_that_is_refused(tmp_path: Path) -> None:
    script = "import sys; from ckptkit.verbs.check import check; check(sys.argv[1]); print('jsonschema' in sys.modules)"
    for case, loaded in (("CK103/good", "False"), ("CK103/bad", "True")):
        root = build(HERE / case, tmp_path / case / "runs")
        command = [sys.executable, "-c", script, str(root)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE.parent.parent)
        assert done.stdout.strip() == loaded
