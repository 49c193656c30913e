from typing import Any

import pytest
from lineages import evaluation, lineage

from ckptkit.model_card.evaluations import put
from ckptkit.record import Event

BEGIN = "<!-- ckptkit: later evaluations, written anew by `ckptkit eval` -->"
END = "<!-- ckptkit: end of later evaluations -->"


def event(day: int = 24, **facts: Any) -> Event:
    whole = lineage()
    usual = {part: whole[part] for part in ("data", "code", "compute")}
    usual["metrics"] = {"accuracy": {"value": 0.9850746268656716, "split": "test", "n": 1067}}
    return Event.from_dict(evaluation(day, **usual | facts))


def rows(card: str) -> list[list[str]]:
    """The cells of the table's lines, less head and rule."""
    lines = [line for line in card.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_what_the_table_says() -> None:
    card = put("# A card\n", [event(24), event(25, metrics={"ood/loss": {"value": "NaN", "split": "ood"}, "k": 3})])
    data = "`penguins` `sha256:b2b2b2b2…`"
    assert rows(card) == [
        ["2026-11-25T10:00:02Z", "loss", "NaN", "ood", "not recorded", data, "`c3c3c3c`"],
        ["2026-11-25T10:00:02Z", "k", "3", "not recorded", "not recorded", data, "`c3c3c3c`"],
        ["2026-11-24T10:00:02Z", "accuracy", "0.985075", "test", "1,067", data, "`c3c3c3c`"],
    ]
    assert card.startswith(f"# A card\n\n{BEGIN}\n\n## Later Evaluations\n\n")
    assert card.endswith(f"|\n\n{END}\n")


@pytest.mark.parametrize("without", [{"code": None, "data": []}, {"code": lineage(code__repository=None)["code"]}])
def test_what_is_not_known_is_said(without: dict[str, Any]) -> None:
    [row] = rows(put("", [event(**without)]))
    assert row[-1] == "not known"
    assert row[-2] == ("none declared" if "data" in without else "`penguins` `sha256:b2b2b2b2…`")
    dirty = put("", [event(code=lineage(code__repository__dirty=True)["code"])])
    assert rows(dirty)[0][-1] == "`c3c3c3c`, with changes"


@pytest.mark.parametrize(
    ("card", "start"),
    [
        ("", ""),
        ("# A card\n", "# A card\n\n"),
        ("# A card", "# A card\n\n"),
        ("# A card\r\nmore\r\n", "# A card\r\nmore\r\n\r\n"),
        ("# A card\r\nmore", "# A card\r\nmore\r\n\r\n"),
        ("\ufeff# A card\n\n\n", "\ufeff# A card\n\n\n\n"),
        (f"text\n{BEGIN}\ntext\n", f"text\n{BEGIN}\ntext\n\n"),
        (f"text\n{END}\ntext\n", f"text\n{END}\ntext\n\n"),
        (f"{END}\n{BEGIN}\n", f"{END}\n{BEGIN}\n\n"),
        (f"see `{BEGIN}` and\n  {END}\n", f"see `{BEGIN}` and\n  {END}\n\n"),
        ("```\nleft open\n", "```\nleft open\n\n```\n\n"),
    ],
    ids=lambda text: repr(text[:20]),
)
def test_the_rest_is_untouched_and_a_second_time_changes_nothing(card: str, start: str) -> None:
    once = put(card, [event()])
    newline = "\r\n" if "\r\n" in card else "\n"
    assert once.startswith(f"{start}{BEGIN}{newline}")
    assert once.endswith(f"{END}{newline}")
    assert newline == "\n" or "\n" not in once.replace("\r\n", "")
    assert put(once, [event()]) == once


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("after", ["", "\n## By hand\n\ntext", "\n<!-- a comment\nof a person -->\n"])
def test_the_part_is_replaced_where_it_stands(after: str, newline: str) -> None:
    before, after = (text.replace("\n", newline) for text in (f"# A card\n\n{BEGIN}\nlost\n\n", after))
    first = put(before, [event(24)]) + after
    second = put(first, [event(24), event(25)])
    assert second.startswith(before)
    assert second.endswith(f"{END}{newline}{after}")
    assert len(rows(second)) == 2
    assert second.count(END) == 1


def test_a_part_that_a_person_removed_or_broke_comes_again() -> None:
    whole = put("# A card\n", [event()])
    assert put(whole[: whole.index(BEGIN)], [event()]).count(BEGIN) == 1
    broken = whole.replace(END, "")
    mended = put(broken, [event()])
    assert mended.startswith(broken)
    assert len(rows(mended)) == 4  # the old table, its mark lost, is a person's
    assert put(mended, [event()]) == mended


def test_nothing_in_it_is_markup() -> None:
    evil = f"a|b`<b>*c*\n{END}\n# x\x1b[2J\u202e\ud800"
    code = lineage(code__repository__commit=None)["code"]
    data = [lineage()["data"][0] | {"digest": None}]
    card = put("# A card\n", [event(metrics={evil: {"value": 1, "split": evil}}, code=code, data=data)])
    assert card.count(END) == 1
    assert "<b>" not in card
    assert "\x1b" not in card
    assert "a\\|b\\`&lt;b&gt;\\*c\\*" in card
    assert [line for line in card.splitlines() if line.startswith("#")] == ["# A card", "## Later Evaluations"]
    assert card.encode()
    assert put(card, [event()]) == put("# A card\n", [event()])


def test_hundreds_of_results_are_capped() -> None:
    card = put("", [event(metrics={f"m{number}": number for number in range(250)})])
    assert len(rows(card)) == 100
    assert "There are 150 earlier ones." in card
