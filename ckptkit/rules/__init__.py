"""What check knows: all rules by code, how they are chosen, and how one is explained."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ckptkit.checkpoint import SUMS
from ckptkit.errors import CkptkitError
from ckptkit.rules import card, code, compute, config, data, integrity, layout, registry, weights
from ckptkit.rules.base import Finding, Thing, things

RULES = (
    *layout.RULES,
    *integrity.RULES,
    *data.RULES,
    *code.RULES,
    *config.RULES,
    *compute.RULES,
    *card.RULES,
    *weights.RULES,
    *registry.RULES,
)

FAMILIES = {
    "CK1": "layout",
    "CK2": "integrity",
    "CK3": "data",
    "CK4": "code and dependencies",
    "CK5": "hyperparameters",
    "CK6": "compute and precision",
    "CK7": "model card",
    "CK8": "weights safety",
    "CK9": "registry",
}

_BY_CODE = {rule.code: rule for rule in RULES}


def examine(found: Thing, subject: str) -> list[Finding]:
    """Everything that any rule says about a thing, whose folder people know as ``subject``."""
    return [
        finding
        for thing in things(found)
        for rule in RULES
        if isinstance(thing, rule.of)
        for finding in rule.findings(thing, subject)
    ]


def without_echoes(findings: Sequence[Finding]) -> list[Finding]:
    """One cause, one finding: leave out what only repeats another finding.

    The other is at the same place, or at SHA256SUMS or the folder itself, which stand for everything in the folder.
    """
    places = {(finding.subject, finding.code, finding.where) for finding in findings}
    return [
        finding
        for finding in findings
        if not any(
            (finding.subject, cause, where) in places
            for cause in _BY_CODE[finding.code].unless
            for where in (finding.where, SUMS, "")
        )
    ]


def chosen(prefixes: Iterable[str]) -> frozenset[str]:
    """The codes that begin with one of ``prefixes``, in any case.

    Raises:
        CkptkitError: a prefix matches no rule.
    """
    codes: set[str] = set()
    for prefix in prefixes:
        matching = {code for code in _BY_CODE if prefix and code.startswith(prefix.upper())}
        if not matching:
            families = ", ".join(f"{family} {words}" for family, words in FAMILIES.items())
            raise CkptkitError(f"no rule's code begins with {prefix!r}", f"the families are {families}")
        codes |= matching
    return frozenset(codes)


def choice(
    settings: Mapping[str, Any], select: Sequence[str], ignore: Sequence[str]
) -> tuple[frozenset[str], frozenset[str], dict[str, str]]:
    """The codes to report, the codes to set aside, and why those of pyproject.toml are.

    Args:
        settings: the table ``[tool.ckptkit]``.
        select: prefixes of codes to report, in place of those in the table; all without any.
        ignore: prefixes of codes to set aside, besides those in the table.

    Raises:
        CkptkitError: a prefix matches no rule, or the table is not usable.
    """
    table = settings.get("check", {})
    where = "[tool.ckptkit.check] in pyproject.toml"
    if not isinstance(table, Mapping):
        raise CkptkitError(f"{where} is not a table", 'write select = ["CK2"] in it, for example')
    listed, excused = table.get("select", []), table.get("ignore", {})
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise CkptkitError(f"select in {where} is not a list of codes", 'write select = ["CK2", "CK8"]')
    if not isinstance(excused, Mapping) or not all(isinstance(why, str) and why.strip() for why in excused.values()):
        raise CkptkitError(f"ignore in {where} gives no reasons", 'write ignore = { CK404 = "why" }')
    reasons = {code: why for prefix, why in excused.items() for code in sorted(chosen([prefix]))}
    wanted = chosen(select or listed) or frozenset(_BY_CODE)
    return wanted, chosen(ignore) | reasons.keys(), reasons


def explain(code: str) -> str:
    """Title, severity, why and fix of a rule, as text for people.

    Raises:
        CkptkitError: there is no such rule.
    """
    rule = _BY_CODE.get(code.upper())
    if rule is None:
        alike = [known for known in _BY_CODE if known.startswith(code.upper()[:3])] or list(FAMILIES)
        raise CkptkitError(f"there is no rule {code!r}", f"try one of {', '.join(alike)}")
    return f"{rule.code} {rule.title} ({rule.severity})\n\n{rule.why}\n\nfix: {rule.fix}"
