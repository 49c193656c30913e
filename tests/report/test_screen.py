import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lineages import evaluation, lineage

from ckptkit.checkpoint import Unreadable
from ckptkit.record import Event, Lineage
from ckptkit.registry import Version
from ckptkit.report.screen import screen, shown_document
from ckptkit.verbs.show import Shown


def shown(**facts: Any) -> Shown:
    whole: dict[str, Any] = {
        "version": Version(ref="penguins/v0002", path=Path("/r/penguins/v0002"), digest=f"sha256:{'5f1c09ab' * 8}"),
        "asked": "penguins@champion",
        "lineage": Lineage.from_dict(lineage(message=None, tags={}, parents=[])),
        "aliases": ("champion",),
        "saved": "2026-11-24T10:00:05.123456Z",
        "damage": None,
        "stage": "production",
        "text": "the one in the paper,\nand on the web",
        "evaluations": (event(25), event(26, metrics={"loss": 0.25}, data=[], code=None)),
        "pruned": ("model.safetensors",),
    }
    return Shown(**whole | facts)


def event(day: int, **facts: Any) -> Event:
    usual = {
        "metrics": {"ood/accuracy": {"value": 0.5, "split": "ood", "n": 1000}, "k": 3},
        "data": lineage()["data"],
        "code": lineage(code__repository__dirty=True)["code"],
    }
    return Event.from_dict(evaluation(day, **usual | facts))


def lines(found: Shown, *, width: int = 100) -> list[str]:
    return screen(found, now=datetime(2026, 11, 26, 12, tzinfo=UTC), width=width, colour=False).splitlines()


def test_what_the_history_says_is_on_the_screen() -> None:
    found = lines(shown())
    assert found[0].startswith("penguins/v0002  @champion  production    ")
    assert found[1] == "  about    the one in the paper, and on the web"
    at = next(number for number, line in enumerate(found) if line.startswith("  later"))
    assert found[at - 1].startswith(("  metrics", "           "))
    assert found[at : at + 5] == [
        "  later    2026-11-25  ood/accuracy 0.5 (ood, n = 1,000) · k 3",
        "           penguins  data/penguins.csv  sha256:b2b2b2b2… · c3c3c3c, with changes",
        "  later    2026-11-26  loss 0.25 · no commit known",
        "  pruned   model.safetensors · removed on purpose, the record stays",
        "  run      took 4.25 s · step 1,800 · epoch 200",
    ]


def test_what_is_pruned_is_not_offered() -> None:
    assert not [line for line in lines(shown()) if line.startswith("  load")]
    assert lines(shown(pruned=("optimizer.pt",)))[-1].endswith("penguins/v0002 model.safetensors) || exit 1")
    assert lines(shown(pruned=()))[-1].endswith("penguins/v0002 model.safetensors) || exit 1")


def test_it_stays_one_screen() -> None:
    many = {f"m{number}": number for number in range(30)}
    found = lines(shown(evaluations=tuple(event(25, metrics=many) for _ in range(30)), text="word " * 4000))
    later = [line for line in found if line.startswith("  later")]
    assert later[0] == "  later    22 earlier ones in the history"
    assert len(later) == 9
    assert "22 more in the history" in " ".join(found)
    assert len(found) < 50


@pytest.mark.parametrize("evil", ["a\x1b[2J\x9b31m\r\n\tb\x07\u202e\ud800"])
def test_nothing_in_it_acts_on_a_terminal(evil: str) -> None:
    data = [lineage()["data"][0] | {"path": evil, "digest": None}]
    found = lines(shown(text=evil, pruned=(evil,), evaluations=(event(25, metrics={evil: 1}, data=data),)))
    assert not {"\x1b", "\x9b", "\r", "\t", "\x07", "\u202e", "\ud800"} & set("".join(found))


def test_as_json() -> None:
    document = json.loads(json.dumps(shown_document(shown())))
    assert (document["stage"], document["description"]) == ("production", "the one in the paper,\nand on the web")
    assert document["pruned"] == ["model.safetensors"]
    assert [each["metrics"] for each in document["evaluations"]][1] == {"loss": 0.25}
    assert Event.from_dict(document["evaluations"][0]) == event(25)
    bare = shown_document(shown(stage=None, text=None, evaluations=(), pruned=(), lineage=Unreadable(reason="broken")))
    assert (bare["stage"], bare["description"], bare["evaluations"], bare["pruned"]) == ("none", None, [], [])
    assert bare["unreadable"] == "broken"
