"""Findings as text for people, as one JSON document, and as annotations of GitHub's."""

from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from ckptkit.rules.base import Finding
from ckptkit.rules.verdict import AXES, Report
from ckptkit.words import count, inert, wrap

SCHEMA = "ckptkit/check/1"

_COLOURS = {"error": "31", "broken": "31", "warning": "33", "partial": "33", "complete": "32", "path": "1", "hint": "2"}
_NARROW = 20  # cells of a line that words get, however narrow the terminal is


def text(report: Report, *, width: int | None, colour: bool) -> str:
    """The findings by version, errors first, then what came of it all: counts, and the verdict on each axis.

    How to mend what a rule finds stands beside its first finding alone.

    Args:
        report: what a check found.
        width: the cells of a line, beyond which it goes on below; None parts no line.
        colour: whether to write terminal colours.
    """

    def paint(words: str, kind: str) -> str:
        return f"\x1b[{_COLOURS[kind]}m{words}\x1b[0m" if colour else words

    lines: list[str] = []
    told: set[tuple[str, str]] = set()
    for subject, findings in groupby(report.findings, key=lambda finding: finding.subject):
        lines.append(paint(inert(subject), "path"))
        for finding in sorted(findings, key=lambda finding: finding.severity):  # "error" comes before "warning"
            words = ": ".join(filter(None, (_place(finding), finding.message)))
            first, *more = _hanging(f"  {finding.code} {finding.severity:7}  ", words, width)
            lines += [first.replace(finding.severity, paint(finding.severity, finding.severity), 1), *more]
            if (finding.code, finding.hint) not in told:
                lines += [paint(line, "hint") for line in _hanging("        hint: ", finding.hint, width)]
                told.add((finding.code, finding.hint))
        lines.append("")
    for words in _ending(report):
        lines += _hanging("", words, width)
    if report.overall:
        lines.append(" · ".join(f"{axis} {paint(level, level)}" for axis, level in report.overall.items()))
    if report.unhashed:
        lines.append(f"(bytes of {count(report.unhashed, 'large file')} not hashed: --deep)")
    return "\n".join(lines)


def _ending(report: Report) -> Iterator[str]:
    """What is to be said of all findings together."""
    yield from _repeated(report)
    yield _summary(report)
    for code, number, why in _ignored(report):
        yield f"ignored {code} ({number}): {why}"


def _hanging(label: str, words: str, width: int | None) -> list[str]:
    """``words`` after their label, on lines that begin below each other."""
    lines = wrap(inert(words), max(width - len(label), _NARROW)) if width else [inert(words)]
    return [f"{' ' * len(label) if at else label}{line}" for at, line in enumerate(lines or [""])]


def _repeated(report: Report) -> Iterator[str]:
    """The warnings that more than one version has, by code."""
    found = {(each.code, each.subject) for each in report.findings if each.severity == "warning"}
    versions = Counter(code for code, subject in found if subject in report.verdicts)
    repeated = [f"{code} in {number:,} versions" for code, number in sorted(versions.items()) if number > 1]
    if repeated:
        yield f"warnings: {', '.join(repeated)}"


def _place(finding: Finding) -> str:
    numbers = [str(number) for number in (finding.line, finding.column) if number is not None]
    return ":".join([finding.where, *numbers]) if finding.where else ""


def _summary(report: Report) -> str:
    what = f"{count(report.versions, 'version')} checked{f', {report.pruned:,} pruned' if report.pruned else ''}"
    if not report.findings:
        return f"{what}: no findings"
    counts = [count(number, kind) for kind, number in report.counts.items() if number]
    return f"{what}: {', '.join(counts)}"


def _ignored(report: Report) -> Iterator[tuple[str, int, str]]:
    for code, number in sorted(report.ignored.items()):
        yield code, number, report.reasons.get(code, "asked for on the command line")


def document(report: Report) -> dict[str, Any]:
    """The report as JSON types; each finding with its whole path, and its place below the subject."""
    return {
        "schema": SCHEMA,
        "models": report.models,
        "versions": report.versions,
        "counts": dict(report.counts),
        "unhashed": report.unhashed,
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
        "ignored": [{"code": code, "count": number, "reason": why} for code, number, why in _ignored(report)],
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
