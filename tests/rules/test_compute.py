"""What of the precision has to be known, beyond the one folder that the rule finds and the one that it does not."""

import pytest
from lineages import lineage

from ckptkit.record import NO_START, Lineage
from ckptkit.rules.compute import RULES, machine_unknown, precision_unknown

ASKED = {"compute.precision.requested": "the configuration names none"}
WHY = "none of the numerical libraries that are known was loaded"


@pytest.mark.parametrize(
    ("effective", "weights", "unknown", "message"),
    [
        ({"numpy.default_dtype": "float64"}, {"F64": 3}, ASKED, None),
        ({}, {"F64": 3}, {}, "not known: precision"),
        ({}, {"I64": 3}, {}, None),
        ({}, {}, {}, None),
        (None, {"BF16": 3}, ASKED | {"compute.precision.effective": WHY}, f"not known: precision.effective ({WHY})"),
    ],
)
def test_precision(
    effective: dict[str, str] | None, weights: dict[str, int], unknown: dict[str, str], message: str | None
) -> None:
    found = Lineage.from_dict(
        lineage(compute__precision__effective=effective, compute__precision__weights=weights, unknown=unknown)
    )
    assert [fault.message for fault in precision_unknown.judge(found)] == ([message] if message else [])


def test_a_process_of_unknown_start_is_one_finding_of_the_code_s_and_none_of_the_machine_s() -> None:
    reasons = dict.fromkeys(("compute.threads", "compute.determinism", "compute.variables"), NO_START)
    found = Lineage.from_dict(lineage(compute__observed="at save", compute__determinism=None, unknown=reasons))
    assert [fault for rule in RULES for fault in rule.judge(found)] == []


def test_an_image_without_a_label_is_no_finding_and_an_unread_configuration_is_one() -> None:
    reasons = {
        "compute.container.image": "an image does not tell its name inside",
        "compute.files.NCCL_TOPO_FILE": "cannot be read: no such file or directory",
    }
    found = Lineage.from_dict(lineage(unknown=reasons))
    told = "not known: files.NCCL_TOPO_FILE (cannot be read: no such file or directory)"
    assert [fault.message for fault in machine_unknown.judge(found)] == [told]
