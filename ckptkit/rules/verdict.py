"""From findings to an answer: for each of the four axes whether its record is complete, partial or broken. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ckptkit.checkpoint import CONFIG, LINEAGE, PATCH, REQUIREMENTS, SUMS, Checkpoint
from ckptkit.record import IN_THE_RUN, Lineage
from ckptkit.rules.base import Finding

AXES = {"data": "CK3", "code": "CK4", "config": "CK5", "compute": "CK6"}
"""The four axes of a lineage, and the family of rules that judges each."""

LEVELS = ("complete", "partial", "broken")
"""Verdicts on an axis, from good to bad."""

Verdict = Mapping[str, str]
"""The level of each axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a check found.

    ``verdicts`` are by version, as people see its path; ``ignored`` counts the findings that were set aside, by code,
    and ``reasons`` says why, where that was said; ``unhashed`` counts the large files whose bytes were not read,
    ``pruned`` the versions of which saved files were removed on purpose.
    """

    findings: tuple[Finding, ...]
    verdicts: Mapping[str, Verdict]
    models: int
    ignored: Mapping[str, int]
    reasons: Mapping[str, str]
    unhashed: int = 0
    pruned: int = 0

    @property
    def versions(self) -> int:
        """How many versions were checked."""
        return len(self.verdicts)

    @property
    def counts(self) -> Mapping[str, int]:
        """Findings by severity."""
        found = Counter(finding.severity for finding in self.findings)
        return {"error": found["error"], "warning": found["warning"]}

    @property
    def overall(self) -> Verdict:
        """The worst level of each axis over all versions; empty where there is no version."""
        if not self.verdicts:
            return {}
        return {axis: _worst(verdict[axis] for verdict in self.verdicts.values()) for axis in AXES}

    def failed(self, *, strict: bool) -> bool:
        """Whether the answer is no: there are errors, or with ``strict`` any findings."""
        return bool(self.findings) if strict else self.counts["error"] > 0


def _worst(levels: Iterable[str]) -> str:
    return max(levels, key=LEVELS.index)


def judge(found: Checkpoint, findings: Sequence[Finding]) -> Verdict:
    """The verdict on one version.

    An error of an axis's own family, or in a file that the axis rests on, breaks it; a warning makes it partial; and
    what was not observed in the run is never complete.

    Args:
        found: the version.
        findings: all findings about it, also those that nobody asked for.
    """
    levels = dict.fromkeys(AXES, "complete")
    if isinstance(found.lineage, Lineage):
        levels |= {axis: "partial" for axis, late in _late(found.lineage).items() if late}
    for finding in findings:
        for axis, family in AXES.items():
            if finding.code.startswith(family):
                level = "broken" if finding.severity == "error" else "partial"
            elif finding.severity == "error" and axis in _rests_on(finding):
                level = "broken"
            else:
                continue
            levels[axis] = _worst((levels[axis], level))
    return levels


def _late(lineage: Lineage) -> dict[str, bool]:
    return {
        "data": any(dataset.observed != IN_THE_RUN for dataset in lineage.data),
        "code": lineage.code.observed != IN_THE_RUN,
        "config": lineage.config.observed != IN_THE_RUN,
        "compute": lineage.compute.observed != IN_THE_RUN,
    }


def _rests_on(finding: Finding) -> Iterable[str]:
    """The axes whose record is in the file that a finding about layout, integrity or history is about."""
    if not finding.code.startswith(("CK1", "CK2", "CK9")):
        return ()
    if finding.where in {LINEAGE, SUMS}:
        return AXES
    if finding.where == CONFIG:
        return ("config",)
    if finding.where in {REQUIREMENTS, PATCH} or finding.where.startswith("code/"):
        return ("code",)
    return ("data",) if finding.where.startswith("data/") else ()


_MERGED = frozenset({"CK904", "CK907", "CK911"})
"""What tells that two copies of a registry were merged: the index of either is then one of half the history."""


def excused(told: Iterable[Finding], versions: Mapping[str, Sequence[Finding]]) -> list[str]:
    """The versions of a model of which its index may say anything, as it is told already what is wrong with them.

    Args:
        told: the findings about the model.
        versions: those about each version.

    Returns:
        Names of versions; "" stands for all of them.
    """
    merged = any(finding.code in _MERGED for findings in (told, *versions.values()) for finding in findings)
    return [version for version, findings in versions.items() if any(map(_is_damage, findings))] + [""] * merged


def _is_damage(finding: Finding) -> bool:
    return finding.severity == "error" and finding.code.startswith(("CK1", "CK2", "CK9"))
