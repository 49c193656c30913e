import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lineages import lineage

from ckptkit import history
from ckptkit.history import State
from ckptkit.record import EVENT, Dataset, Event, Metric, SealedFile

ONE, TWO, THREE = (f"sha256:{letter * 64}" for letter in "123")


def event(second: int, kind: str, version: str | None = "v0001", digest: str | None = ONE, **facts: Any) -> Event:
    """An event at a second after ten o'clock, whose id is ``e`` and that second, unless it is given."""
    return Event(
        **{
            "schema": EVENT,
            "id": f"e{second}",
            "time": f"2026-11-24T10:{second // 60:02d}:{second % 60:02d}.000000Z",
            "kind": kind,
            "model": "penguins",
            "version": version,
            "digest": digest if version else None,
        }
        | facts
    )


def saved(second: int, version: str = "v0001", digest: str = ONE) -> Event:
    return event(second, "saved", version, digest)


def alias(second: int, version: str | None, digest: str | None = ONE, **facts: Any) -> Event:
    return event(second, "alias", version, digest, **{"alias": "champion"} | facts)


def files(*paths: str) -> tuple[SealedFile, ...]:
    return tuple(SealedFile(path=path, bytes=None, sha256="a" * 64) for path in paths)


def heads(state: State) -> dict[str, list[str]]:
    return {chain: [each.id for each in events] for chain, events in state.heads.items()}


def test_nothing_has_come_to_nothing() -> None:
    state = history.state([])
    assert state == State(
        saved={},
        deleted={},
        digests={},
        aliases={},
        stages={},
        texts={},
        evaluations={},
        digested={},
        pruned={},
        heads={},
        last=0,
        became=None,
    )


def test_a_version_that_was_saved() -> None:
    first = saved(1)
    state = history.state([saved(3, "v0002", TWO), first])
    assert state.saved["v0001"] == first
    assert list(state.saved) == ["v0001", "v0002"]
    assert state.digests == {"v0001": (ONE,), "v0002": (TWO,)}
    assert (state.last, state.deleted) == (2, {})


def test_the_first_of_two_saves_counts_and_both_digests_are_known() -> None:
    state = history.state([saved(2, digest=TWO), saved(1), saved(3)])
    assert state.saved["v0001"].id == "e1"
    assert state.digests == {"v0001": (ONE, TWO)}


def test_what_was_said_of_a_version_is_known_after_its_deletion() -> None:
    said = [
        saved(1),
        event(2, "stage", stage="production"),
        event(3, "described", text="the best"),
        event(4, "evaluated", metrics={"auc": Metric(value=0.9)}),
        event(5, "pruned", files=files("w.bin")),
    ]
    before, state = history.state(said), history.state([*said, event(6, "deleted")])
    assert before.stages == {"v0001": "production"}
    assert before.texts == {"v0001": "the best"}
    assert [each.id for each in before.evaluations["v0001"]] == ["e4"]
    assert before.pruned == {"v0001": {"w.bin"}}
    assert state.deleted["v0001"].id == "e6"
    assert replace(state, deleted={}) == before


def test_a_deleted_version_that_is_saved_again() -> None:
    said = [saved(1), event(2, "stage", stage="production"), event(3, "deleted"), saved(4)]
    state = history.state(said)
    assert (state.saved["v0001"].id, state.deleted) == ("e1", {})
    assert (state.digests, state.stages) == ({"v0001": (ONE,)}, {"v0001": "production"})
    assert history.state([*said, event(5, "deleted")]).deleted["v0001"].id == "e5"


def test_a_number_that_was_used_again_is_known() -> None:
    state = history.state([saved(1), event(2, "deleted"), saved(3, digest=TWO)])
    assert state.digests == {"v0001": (ONE, TWO)}
    assert history.told([saved(1), event(2, "renumbered", "v0002", was="v0001"), saved(3, digest=TWO)]) == {
        "v0001": {ONE, TWO},
        "v0002": {ONE},
    }


def test_what_was_pruned_is_so_until_it_is_saved_anew() -> None:
    pruned = [saved(1), event(2, "pruned", files=files("a")), event(3, "deleted")]
    assert history.state(pruned).pruned == {"v0001": {"a"}}
    assert history.state([*pruned, saved(4)]).pruned == {}
    assert history.state([*pruned, saved(4), event(5, "pruned", files=files("b"))]).pruned == {"v0001": {"b"}}


def test_by_digest_two_versions_of_one_number_are_told_apart() -> None:
    lives = history.by_digest([saved(1), saved(2, digest=TWO), event(3, "deleted", digest=TWO), alias(4, "v0001")])
    assert (list(lives.saved), list(lives.deleted), lives.aliases) == ([ONE, TWO], [TWO], {})


def test_an_alias_stands_where_the_last_of_its_chain_put_it() -> None:
    said = [alias(1, "v0001"), alias(2, "v0002", TWO, previous="e1"), alias(3, "v0003", THREE, alias="candidate")]
    state = history.state(said)
    assert state.aliases == {"candidate": "v0003", "champion": "v0002"}
    assert heads(state) == {"@candidate": ["e3"], "@champion": ["e2"]}


def test_an_alias_that_was_removed_stands_nowhere_and_its_chain_goes_on() -> None:
    state = history.state([alias(1, "v0001"), alias(2, None, previous="e1")])
    assert state.aliases == {}
    assert heads(state) == {"@champion": ["e2"]}


def test_an_alias_may_stand_on_a_version_that_was_deleted() -> None:
    assert history.state([saved(1), alias(2, "v0001"), event(3, "deleted")]).aliases == {"champion": "v0001"}


def test_a_chain_counts_for_more_than_the_clock() -> None:
    """The second machine's clock is behind by a minute; it had seen what the first one did."""
    state = history.state([alias(90, "v0001"), alias(30, "v0002", TWO, previous="e90")])
    assert state.aliases == {"champion": "v0002"}
    assert heads(state) == {"@champion": ["e30"]}


def test_of_a_fork_the_later_one_holds() -> None:
    base = alias(1, "v0001")
    here, there = alias(5, "v0002", TWO, previous="e1"), alias(4, "v0003", THREE, previous="e1")
    for events in ([base, here, there], [there, here, base]):
        state = history.state(events)
        assert state.aliases == {"champion": "v0002"}
        assert heads(state) == {"@champion": ["e4", "e5"]}


def test_of_two_heads_at_one_time_the_id_decides() -> None:
    pair = [alias(1, "v0001", id="b"), alias(1, "v0002", TWO, id="a")]
    assert history.state(pair).aliases == history.state(pair[::-1]).aliases == {"champion": "v0001"}


def test_a_fork_is_settled_by_one_event_that_follows_both() -> None:
    fork = [alias(1, "v0001"), alias(4, "v0002", TWO, previous="e1"), alias(5, "v0003", THREE, previous="e1")]
    settling = alias(6, "v0002", TWO, previous="e5", settles=("e4",))
    state = history.state([*fork, settling])
    assert (state.aliases, heads(state)) == ({"champion": "v0002"}, {"@champion": ["e6"]})
    other = alias(7, "v0003", THREE, previous="e5", settles=("e4",))
    assert heads(history.state([*fork, settling, other])) == {"@champion": ["e6", "e7"]}
    half = alias(6, "v0002", TWO, previous="e4")
    assert heads(history.state([*fork, half])) == {"@champion": ["e5", "e6"]}


def test_an_event_whose_predecessor_is_not_here_is_a_head() -> None:
    assert history.state([alias(2, "v0002", TWO, previous="lost")]).aliases == {"champion": "v0002"}


def test_aliases_and_stages_and_texts_are_chains_of_their_own() -> None:
    said = [
        alias(1, "v0001"),
        event(2, "stage", stage="staging"),
        event(3, "stage", "v0002", TWO, stage="production"),
        event(4, "described", text="one"),
        event(5, "described", None, text="of all penguins"),
        event(6, "evaluated"),
    ]
    state = history.state(said)
    assert heads(state) == {
        "@champion": ["e1"],
        history.stage_chain(ONE): ["e2"],
        history.stage_chain(TWO): ["e3"],
        history.text_chain(""): ["e5"],
        history.text_chain(ONE): ["e4"],
    }
    assert state.stages == {"v0001": "staging", "v0002": "production"}
    assert state.texts == {"": "of all penguins", "v0001": "one"}
    assert [history.chain(each) for each in said] == [
        "@champion",
        history.stage_chain(ONE),
        history.stage_chain(TWO),
        history.text_chain(ONE),
        history.text_chain(""),
        None,
    ]


@pytest.mark.parametrize(("kind", "last"), [("stage", {"stage": "none"}), ("described", {"text": None})])
def test_what_is_taken_back_is_not_said(kind: str, last: dict[str, Any]) -> None:
    first = {"stage": {"stage": "staging"}, "described": {"text": "good"}}[kind]
    state = history.state([event(1, kind, **first), event(2, kind, previous="e1", **last)])
    assert (state.stages, state.texts) == ({}, {})


def test_what_was_measured_later_is_in_the_order_of_time() -> None:
    said = [event(3, "evaluated"), event(1, "evaluated"), event(2, "evaluated", "v0002", TWO)]
    measured = history.state(said).evaluations
    assert {version: [each.id for each in events] for version, events in measured.items()} == {
        "v0001": ["e1", "e3"],
        "v0002": ["e2"],
    }


def hashed(*names: str, digest: str | None = ONE) -> tuple[Dataset, ...]:
    """Datasets as an event has them whose content was hashed."""
    usual = lineage()["data"][0] | {"digest": digest}
    return tuple(Dataset.from_dict(usual | {"name": name}) for name in names)


def test_of_a_dataset_that_was_hashed_later_the_last_event_counts() -> None:
    said = [
        event(4, "digested", data=hashed("train")),
        event(1, "digested", data=hashed("train", digest=TWO)),
        event(2, "digested", data=hashed("val")),
        event(3, "digested", "v0002", TWO, data=hashed("train")),
        event(5, "digested", data=hashed("train", digest=None)),
        event(6, "digested"),
    ]
    digested = history.state(said).digested
    assert {version: {name: each.id for name, each in known.items()} for version, known in digested.items()} == {
        "v0001": {"train": "e4", "val": "e2"},
        "v0002": {"train": "e3"},
    }
    assert {name: each.id for name, each in history.state(said, said[3].time).digested["v0001"].items()} == {
        "train": "e1",
        "val": "e2",
    }


def test_what_was_pruned_adds_up() -> None:
    said = [saved(1), event(2, "pruned", files=files("a", "b")), event(3, "pruned", files=files("b", "c"))]
    assert history.state(said).pruned == {"v0001": {"a", "b", "c"}}


def renumbering() -> list[Event]:
    """v0001 and v0002 with all that may be said of them; then v0001 is v0007."""
    return [
        saved(1),
        saved(2, "v0002", TWO),
        alias(3, "v0001"),
        event(4, "stage", stage="production"),
        event(5, "described", text="good"),
        event(6, "evaluated"),
        event(7, "pruned", files=(SealedFile(path="w", bytes=1, sha256="a" * 64),)),
        event(8, "digested", data=hashed("train")),
        event(9, "renumbered", "v0007", was="v0001"),
    ]


def test_all_that_was_said_of_a_version_goes_with_its_number() -> None:
    state = history.state(renumbering())
    assert state.saved.keys() == state.digests.keys() == {"v0007", "v0002"}
    assert (state.aliases, state.stages, state.texts) == (
        {"champion": "v0007"},
        {"v0007": "production"},
        {"v0007": "good"},
    )
    assert (list(state.evaluations), list(state.pruned), state.last) == (["v0007"], ["v0007"], 7)
    assert list(state.digested) == ["v0007"]
    assert history.renumbered(renumbering()) == {ONE: "v0007"}


def test_a_version_may_be_renumbered_more_than_once() -> None:
    said = [*renumbering(), event(10, "renumbered", "v0009", was="v0007")]
    state = history.state(said[::-1])
    assert (state.aliases["champion"], state.last) == ("v0009", 9)
    assert "v0007" not in state.saved
    assert history.state([*said, event(10, "deleted", "v0009")]).deleted.keys() == {"v0009"}


def test_two_versions_of_one_number_part_by_their_digests() -> None:
    """Two copies of a registry gave v0003 to different versions; one of them is given another number."""
    said = [
        saved(1, "v0003", ONE),
        saved(2, "v0003", TWO),
        event(3, "stage", "v0003", ONE, stage="staging"),
        event(4, "stage", "v0003", TWO, stage="production"),
        alias(5, "v0003", TWO),
    ]
    both, parted = (
        history.state(said),
        history.state([*said, event(6, "renumbered", "v0004", TWO, was="v0003")]),
    )
    assert both.digests == {"v0003": (ONE, TWO)}
    assert parted.digests == {"v0003": (ONE,), "v0004": (TWO,)}
    assert parted.stages == {"v0003": "staging", "v0004": "production"}
    assert parted.aliases == {"champion": "v0004"}
    assert parted.saved["v0003"].id == "e1"


def test_a_number_is_known_for_ever_also_by_what_bore_it_before() -> None:
    assert history.state([event(1, "renumbered", "v0002", was="v0009")]).last == 9
    assert history.state([saved(1, "v12345"), event(2, "deleted", "v12345")]).last == 12345


def test_a_model_that_was_renamed() -> None:
    assert history.state([event(1, "renamed", "v0004", None, became="birds")]).became == "birds"
    assert history.state([event(1, "renamed", "v0004", None, became="birds")]).last == 4
    again = [event(1, "renamed", became="birds"), event(2, "renamed", became="seabirds")]
    assert history.state(again[::-1]).became == "seabirds"


def test_the_kinds_of_later_releases_are_left_alone() -> None:
    known = renumbering()
    stranger = event(9, "reproduced", "v0002", TWO, alias="champion", stage="archived", text="no")
    assert history.state([*known, stranger]) == history.state(known)


def test_until_a_time_in_todays_numbers() -> None:
    said = [
        saved(1),
        alias(2, "v0001"),
        saved(3, "v0002", TWO),
        alias(4, "v0002", TWO, previous="e2"),
        event(5, "deleted"),
        event(6, "renumbered", "v0008", TWO, was="v0002"),
    ]
    stood = {second: history.state(said, said[second - 1].time) for second in range(1, 7)}
    assert [stood[second].aliases.get("champion") for second in stood] == [
        None,
        "v0001",
        "v0001",
        "v0008",
        "v0008",
        "v0008",
    ]
    assert [(list(stood[second].saved), list(stood[second].deleted)) for second in (2, 3, 5)] == [
        (["v0001"], []),
        (["v0001", "v0008"], []),
        (["v0001", "v0008"], ["v0001"]),
    ]
    assert [stood[second].last for second in (3, 6)] == [2, 8]
    assert history.state(said, "2026-11-24T10:00:00.999999Z") == history.state([])
    assert history.state(said, "9999") == history.state(said)


def test_a_fork_is_none_before_its_second_branch() -> None:
    said = [alias(1, "v0001"), alias(2, "v0002", TWO, previous="e1"), alias(3, "v0003", THREE, previous="e1")]
    assert heads(history.state(said, said[1].time)) == {"@champion": ["e2"]}


VERSIONS = (("v0001", ONE), ("v0002", TWO), ("v0002", THREE), (None, None))


@st.composite
def histories(draw: Callable[..., Any]) -> list[Event]:
    """Events of all kinds, with clocks that disagree, forks, settled forks and lost predecessors."""
    made: list[Event] = []
    for number in range(draw(st.integers(0, 14))):
        kind = draw(
            st.sampled_from(
                ["saved", "deleted", "alias", "stage", "described", "pruned", "evaluated", "digested", "renumbered"]
            )
        )
        version, digest = draw(st.sampled_from(VERSIONS[: 4 if kind in {"alias", "described"} else 3]))
        facts: dict[str, Any] = {
            "alias": {"alias": draw(st.sampled_from(["best", "champion"]))},
            "stage": {"stage": draw(st.sampled_from(["none", "staging", "production"]))},
            "described": {"text": draw(st.sampled_from([None, "one", "two"]))},
            "pruned": {"files": (SealedFile(path=f"f{number}", bytes=1, sha256="a" * 64),)},
            "digested": {"data": hashed(draw(st.sampled_from(["train", "val"])))},
            "renumbered": {"was": version, "version": draw(st.sampled_from(["v0005", "v0006"]))},
        }.get(kind, {})
        one = replace(event(draw(st.integers(0, 9)), kind, version, digest, id=f"e{number:02d}"), **facts)
        past = [each.id for each in made if history.chain(each) == history.chain(one)] if history.chain(one) else []
        followed = draw(st.lists(st.sampled_from(past), max_size=2, unique=True)) if past else []
        made.append(replace(one, previous=next(iter(followed), None), settles=tuple(followed[1:])))
    return made


def united(*copies: Iterable[Event]) -> list[Event]:
    """The events of several copies of a history, as any copy of files would unite them."""
    files: Mapping[str, Event] = {each.id: each for copy in copies for each in copy}
    return list(files.values())


@given(histories(), st.randoms(use_true_random=False))
def test_the_order_in_which_events_are_read_does_not_matter(events: list[Event], chance: random.Random) -> None:
    mixed = chance.sample(events, len(events))
    assert history.state(mixed) == history.state(events)
    assert list(history.state(mixed).heads.items()) == list(history.state(events).heads.items())


@given(histories(), st.data())
def test_two_histories_are_united_by_having_the_events_of_both(events: list[Event], data: st.DataObject) -> None:
    parts = st.lists(st.sampled_from(events), unique_by=lambda each: each.id) if events else st.just([])
    here, there, elsewhere = data.draw(parts), data.draw(parts), data.draw(parts)
    whole = history.state(united(here, there))
    assert whole == history.state(united(there, here))
    assert history.state(united(here, here)) == history.state(here)
    assert history.state(united(united(here, there), elsewhere)) == history.state(
        united(here, united(there, elsewhere))
    )
    ends = {each.id for part in (here, there) for chain in history.state(part).heads.values() for each in chain}
    assert {each.id for chain in whole.heads.values() for each in chain} <= ends
    assert whole.last >= max(history.state(here).last, history.state(there).last)


@given(histories())
def test_of_every_chain_something_holds_and_no_head_was_followed(events: list[Event]) -> None:
    state = history.state(events)
    assert state.heads.keys() == {chain for each in events if (chain := history.chain(each))}
    followed = {previous for each in events for previous in (each.previous, *each.settles)}
    assert not followed & {each.id for chain in state.heads.values() for each in chain}
    assert state.saved.keys() == state.digests.keys()
    assert {digest for known in state.digests.values() for digest in known} == {
        each.digest for each in events if each.kind == "saved"
    }


@given(histories(), st.integers(0, 9))
def test_an_earlier_time_is_what_the_events_until_then_come_to(events: list[Event], second: int) -> None:
    until = event(second, "saved").time
    kept = [each for each in events if each.kind != "renumbered"]
    assert history.state(kept, until) == history.state([each for each in kept if each.time <= until])
