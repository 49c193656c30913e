"""Findings as text for people, as one JSON document, and as annotations of GitHub's."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from ckptkit.rules.base import Finding
from ckptkit.rules.verdict import AXES, Report

SCHEMA = "ckptkit/check/1"

_COLOURS = {"error": "31", "broken": "31", "warning": "33", "partial": "33", "complete": "32", "path": "1", "hint": "2"}


def text(report: Report, *, colour: bool) -> str:
    """The findings by version, how to mend each, a count, and the verdict on each axis.

    Args:
        report: what a check found.
        colour: whether to write terminal colours.
    """

    def paint(words: str, kind: str) -> str:
        return f"\x1b[{_COLOURS[kind]}m{words}\x1b[0m" if colour else words

    lines = []
    for subject, findings in groupby(report.findings, key=lambda finding: finding.subject):
        lines.append(paint(inert(subject), "path"))
        for finding in findings:
            place = inert(_place(finding))
            words = f"{place}: {inert(finding.message)}" if place else inert(finding.message)
            lines.append(f"  {finding.code} {paint(f'{finding.severity:7}', finding.severity)}  {words}")
            lines.append(paint(f"        hint: {inert(finding.hint)}", "hint"))
        lines.append("")
    lines.append(_summary(report))
    lines += [f"ignored {code} ({count}): {inert(why)}" for code, count, why in _ignored(report)]
    if report.overall:
        lines.append(" · ".join(f"{axis} {paint(level, level)}" for axis, level in report.overall.items()))
    return "\n".join(lines)


def inert(words: str) -> str:
    """``words`` on one line, with whatever a terminal would obey written out as an escape.

    Control characters and marks that turn the direction of writing are no printable characters, nor are half ones.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode()
        for letter in words
    )


def _place(finding: Finding) -> str:
    numbers = [str(number) for number in (finding.line, finding.column) if number is not None]
    return ":".join([finding.where, *numbers]) if finding.where else ""


def _summary(report: Report) -> str:
    what = _count(report.versions, "version")
    if not report.findings:
        return f"{what} checked: no findings"
    counts = [_count(number, kind) for kind, number in report.counts.items() if number]
    return f"{what} checked: {', '.join(counts)}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _ignored(report: Report) -> Iterator[tuple[str, int, str]]:
    for code, count in sorted(report.ignored.items()):
        yield code, count, report.reasons.get(code, "asked for on the command line")


def document(report: Report) -> dict[str, Any]:
    """The report as JSON types; each finding with its whole path, and its place below the subject."""
    return {
        "schema": SCHEMA,
        "models": report.models,
        "versions": report.versions,
        "counts": dict(report.counts),
        "verdict": dict(report.overall),
        "verdicts": {subject: {axis: verdict[axis] for axis in AXES} for subject, verdict in report.verdicts.items()},
        "findings": [
            {
                "code": finding.code,
                "severity": finding.severity,
                "path": finding.path,
                "subject": finding.subject,
                "where": finding.where,
                "line": finding.line,
                "column": finding.column,
                "message": finding.message,
                "hint": finding.hint,
            }
            for finding in report.findings
        ],
        "ignored": [{"code": code, "count": count, "reason": why} for code, count, why in _ignored(report)],
    }


# https://docs.github.com/actions/reference/workflow-commands-for-github-actions
_DATA = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY = _DATA | str.maketrans({":": "%3A", ",": "%2C"})


def github(report: Report) -> str:
    """One workflow command of GitHub Actions for each finding, then the summary."""
    return "\n".join([*map(_annotation, report.findings), _summary(report)])


def _annotation(finding: Finding) -> str:
    properties = {"file": finding.path, "line": finding.line, "col": finding.column, "title": finding.code}
    words = ",".join(
        f"{name}={_harmless(str(value)).translate(_PROPERTY)}"
        for name, value in properties.items()
        if value is not None
    )
    message = _harmless(f"{finding.message} (hint: {finding.hint})").translate(_DATA)
    return f"::{finding.severity} {words}::{message}"


def _harmless(words: str) -> str:
    """``words`` inert but for line ends, which GitHub's own escapes carry."""
    return "".join(letter if letter in "\r\n" else inert(letter) for letter in words)
