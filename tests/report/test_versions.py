import csv
import io
import json
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lineages import lineage, step

from ckptkit.checkpoint import Unreadable
from ckptkit.record import Lineage
from ckptkit.registry import Version
from ckptkit.report import screen as report
from ckptkit.report import versions
from ckptkit.verbs.list import Table
from ckptkit.verbs.show import Shown
from ckptkit.words import cells

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
EVIL = "a\x1b[2J\x9b31m\r\n\tb\x07\u202e\ud800"


def table(*rows: tuple[Any, ...], columns: tuple[str, ...], **facts: Any) -> Table:
    whole = {"unreadable": {}, "pruned": {}, "evaluated": {}, "left_out": (), "spare": ()} | facts
    return Table(columns=columns, rows=rows, refs=tuple(row[0] for row in rows), **whole)


RUNS = table(
    ("penguins/v0001", (), "2026-11-24T10:00:02Z", 42, 0.9850746, 15_241, "first"),
    ("penguins/v0002", ("best", "champion"), "2026-11-25T09:30:00Z", None, "NaN", 14_200_000_000, None),
    columns=("version", "aliases", "created", "seed", "accuracy", "size", "message"),
)


def shown(record: dict[str, Any] | Unreadable | None = None, **facts: Any) -> Shown:
    whole: dict[str, Any] = {
        "version": Version(ref="penguins/v0002", path=Path("/r/penguins/v0002"), digest=f"sha256:{'5f1c09ab' * 8}"),
        "asked": "penguins@champion",
        "lineage": record if isinstance(record, Unreadable) else Lineage.from_dict(record or lineage()),
        "aliases": ("champion",),
        "saved": "2026-11-24T10:00:05.123456Z",
        "damage": None,
    }
    return Shown(**whole | facts)


def screen(record: dict[str, Any] | Unreadable | None = None, *, width: int = 100, **facts: Any) -> str:
    return report.screen(shown(record, **facts), now=NOW, width=width, colour=False)


def lines(text: str, label: str) -> list[str]:
    """What stands beside a label, and below it up to the next."""
    found: list[str] = []
    here = False
    for line in text.splitlines()[1:]:
        here = line[2:11].strip() == label if line[2:11].strip() else here
        found += [line[11:]] * here
    return found


def test_the_table_for_people() -> None:
    assert versions.table(RUNS, width=None, colour=False).splitlines() == [
        "version         aliases          created           seed  accuracy     size  message",
        "penguins/v0001  -                2026-11-24 10:00    42    0.9851    15 kB  first",
        "penguins/v0002  @best @champion  2026-11-25 09:30     -       NaN  14.2 GB  -",
    ]


def test_the_other_columns_for_people() -> None:
    row = ("m/v0001", f"sha256:{'ab' * 32}", "c3" * 20, True, 3700.5, "cosine", [1, 2])
    columns = ("version", "digest", "commit", "dirty", "seconds", "schedule", "seed")
    found = versions.table(table(row, columns=columns), width=None, colour=False).splitlines()
    assert found == [
        "version  digest            commit   dirty  seconds  schedule  seed",
        "m/v0001  sha256:abababab…  c3c3c3c  yes     1 hour  cosine    [1, 2]",
    ]


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_the_message_gives_way_to_the_width_and_the_reference_never(width: int) -> None:
    name = "n" * 40
    rows = [(f"{name}/v000{number}", 0.5, "word " * 60) for number in range(3)]
    found = versions.table(table(*rows, columns=("version", "loss", "message")), width=width, colour=False)
    assert all(line.startswith(f"{name}/v000{number}  ") for number, line in enumerate(found.splitlines()[1:]))
    assert all(len(line) <= max(width, 62) for line in found.splitlines())
    assert all(line.endswith("…") for line in found.splitlines()[1:])


def narrow(width: int, **facts: Any) -> list[str]:
    """A table of default columns with two metrics and no seed, of 81 cells at least."""
    columns = ("version", "aliases", "created", "seed", "accuracy", "loss", "size", "message")
    rows = [
        (
            f"penguins/v000{number}",
            ("champion",) * (number == 2),
            "2026-11-24T10:00:02Z",
            None,
            0.5,
            1.25,
            99,
            "word " * 9,
        )
        for number in (1, 2)
    ]
    whole: dict[str, Any] = {"spare": ("seed", "loss", "accuracy")} | facts
    return versions.table(table(*rows, columns=columns, **whole), width=width, colour=False).splitlines()


@pytest.mark.parametrize(
    ("width", "missing"),
    [
        *((200, []), (81, []), (80, ["seed"]), (75, ["seed"]), (74, ["seed", "loss"]), (69, ["seed", "loss"])),
        (68, ["seed", "accuracy", "loss"]),
    ],
)
def test_columns_go_before_words_are_cut(width: int, missing: list[str]) -> None:
    found = narrow(width, left_out=("auc",))
    assert found[2].startswith("penguins/v0002  @champion  2026-11-24 10:00  ")
    assert not set(found[0].split()) & set(missing)
    assert len(found[0].split()) == 8 - len(missing)
    shown = " ".join(found[3:])
    assert shown == f"not shown: {', '.join([*missing, 'auc'])} (name them with --columns)"
    assert all(len(line) <= width for line in found)


def test_the_reference_the_aliases_and_the_time_are_never_cut() -> None:
    assert narrow(20)[2].startswith("penguins/v0002  @champion  2026-11-24 10:00  99 B  word")
    assert narrow(20, spare=())[2].startswith("penguins/v0002  @champion  2026-11-24 10:00     -       0.5  1.25")


def test_wide_letters_are_aligned_by_their_cells() -> None:
    rows = [("m/v0001", "日本語"), ("m/v0002", "abc"), ("m/v0003", "e\u0301")]
    found = versions.table(
        table(*((*row, "x") for row in rows), columns=("version", "name", "end")), width=None, colour=False
    )
    ends = {
        sum(1 + (unicodedata.east_asian_width(c) == "W") - (c == "\u0301") for c in line)
        for line in found.splitlines()[1:]
    }
    assert ends == {18}


def test_what_cannot_be_read_and_what_is_left_out_stand_below() -> None:
    found = versions.table(
        table(columns=("version",), unreadable={"m/v0001": f"is not JSON {EVIL}"}, left_out=("auc", "f1")),
        width=80,
        colour=False,
    )
    assert found.splitlines()[:2] == ["no versions", "not shown: auc, f1 (name them with --columns)"]
    assert found.splitlines()[2].startswith(r"m/v0001 cannot be read: is not JSON a\x1b[2J")


def test_comma_separated_values_are_unrounded() -> None:
    found = [*csv.reader(io.StringIO(versions.csv(RUNS)))]
    assert found[0] == [*RUNS.columns]
    assert found[1] == ["penguins/v0001", "", "2026-11-24T10:00:02Z", "42", "0.9850746", "15241", "first"]
    assert found[2] == ["penguins/v0002", "best champion", "2026-11-25T09:30:00Z", "", "NaN", "14200000000", ""]


def test_comma_separated_values_keep_commas_quotes_and_lines() -> None:
    text = 'a, "b"\nc'
    assert [*csv.reader(io.StringIO(versions.csv(table(("m/v0001", text), columns=("version", "message")))))][1][
        1
    ] == text


def test_the_table_as_json() -> None:
    found = json.loads(json.dumps(versions.rows(RUNS)))
    assert found["columns"] == [*RUNS.columns]
    assert found["versions"][1]["aliases"] == ["best", "champion"]
    assert found["versions"][1]["accuracy"] == "NaN"
    assert (found["unreadable"], found["pruned"], found["evaluated"]) == ({}, {}, {})


def test_pruned_versions_and_later_metrics() -> None:
    rows = [(f"m/v000{number}", size) for number, size in ((1, 0), (2, 15_241), (3, 15_241))]
    pruned = {"m/v0001": ("a", "b"), "m/v0002": ("a",)}
    given = table(*rows, columns=("version", "size"), pruned=pruned, evaluated={"m/v0003": ("f1",)})
    assert versions.table(given, width=None, colour=False).splitlines()[1:] == [
        "m/v0001         pruned",
        "m/v0002  partly pruned",
        "m/v0003          15 kB",
    ]
    found = json.loads(json.dumps(versions.rows(given)))
    assert found["versions"][1] == {"version": "m/v0002", "size": 15_241}
    assert found["pruned"] == {"m/v0001": ["a", "b"], "m/v0002": ["a"]}
    assert found["evaluated"] == {"m/v0003": ["f1"]}


def test_the_versions_of_a_run() -> None:
    runs = (("v0003",), ("v0009", "v0010", "v0011"), ("v9998", "v10000"))
    rows = [(f"m/{of_run[-1]}", of_run) for of_run in runs]
    given = table(*rows, columns=("version", "versions"))
    assert versions.table(given, width=None, colour=False).splitlines()[1:] == [
        "m/v0003   v0003",
        "m/v0011   v0009-v0011",
        "m/v10000  2 of v9998-v10000",
    ]
    assert versions.rows(given)["versions"][1]["versions"] == ("v0009", "v0010", "v0011")
    assert "m/v10000,v9998 v10000" in versions.csv(given)


def test_the_screen_answers_the_four_questions() -> None:
    record = lineage(unknown={"compute.driver": "nvidia-smi is not installed"}, message=None, tags={})
    record["metrics"].pop("loss")
    assert screen(record).splitlines() == [
        "penguins/v0002  @champion                                         saved 2 days ago  sha256:5f1c09ab…",
        "  data     penguins  data/penguins.csv  sha256:b2b2b2b2…  1 file, 15 kB · unchanged while it ran",
        "  code     c3c3c3c main, clean, pushed · train.py --lr 0.3 · 3 pins, 2 imported",
        "  config   seed 42 · lr 0.3 · schedule cosine · batch_size 32 · epochs 200 · optimizer.name sgd",
        "           optimizer.momentum 0.9 · preprocessing.missing drop the row",
        "  compute  AMD EPYC 7B13, 2 cores · no GPU · weights F32, 28 parameters · Python 3.11.7",
        "  metrics  accuracy 0.9851 (test, n = 67) · worst slice species=Chinstrap 0.9167",
        "  run      took 4.25 s · step 1,800 · epoch 200",
        "  parent   penguins/v0001  sha256:a1a1a1a1… · finetuned",
        "  unknown  compute.driver: nvidia-smi is not installed",
        "  load     W=$(ckptkit path penguins/v0002 model.safetensors) || exit 1",
    ]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_lines_fit_and_are_parted_between_words(width: int) -> None:
    record = lineage(message="日本語 and a few words more, " * 6, unknown={"compute.driver": "nvidia-smi is gone " * 9})
    wide, found = screen(record, width=10_000), screen(record, width=width).splitlines()
    assert max(map(cells, found[:-1])) <= width  # the last is to be copied, and never parted
    assert set(" ".join(found).split()) <= set(wide.split())


def test_the_header_makes_room_for_its_end() -> None:
    many = ("best", "candidate", "champion", "production")
    assert screen(width=80, aliases=many).splitlines()[:3] == [
        "penguins/v0002  @best  @candidate  @champion  @production",
        "  saved 2 days ago  sha256:5f1c09ab…",
        "  message  lower learning rate",
    ]
    assert screen(width=80).splitlines()[0] == (
        "penguins/v0002  @champion                     saved 2 days ago  sha256:5f1c09ab…"
    )


def test_what_is_seldom_known_takes_one_dim_line() -> None:
    unknown = {
        "code.changed_during_run": "saved by another process",
        "data.train.changed_during_run": "saved by another process",
        "data.test.changed_during_run": "the start is not known",
        "weights.identical_to": "not looked for",
        "compute.driver": "no GPU",
    }
    record = lineage(unknown=unknown)
    assert lines(screen(record), "unknown") == ["compute.driver: no GPU", "whether code or data changed while it ran"]
    coloured = report.screen(shown(record), now=NOW, width=100, colour=True).splitlines()
    assert [line[:6] for line in coloured if "unknown" in line] == ["  \x1b[33", "  \x1b[2m"]
    del unknown["code.changed_during_run"]
    assert lines(screen(lineage(unknown=unknown)), "unknown")[1] == "whether data changed while it ran"


def test_saved_late_says_how_late() -> None:
    record = lineage(
        code__observed="at save",
        code__entry_point=None,
        code__orig_argv=None,
        compute__observed="at save",
        run__finished="2026-09-14T10:00:00Z",
        unknown={
            "code.entry_point": "saved by another process",
            "code.orig_argv": "saved by another process",
            "compute.driver": "no GPU",
        },
    )
    text = screen(record)
    assert "as found at save, 71 days after the weights were written" in lines(text, "code")[1]
    assert "entry point unknown" in lines(text, "code")[0]
    assert lines(text, "compute")[-1].endswith("as found at save")
    assert lines(text, "unknown") == [
        "code.entry_point, code.orig_argv: saved by another process",
        "compute.driver: no GPU",
    ]
    record["run"]["finished"] = None
    assert lines(screen(record), "code")[0].endswith("as found at save")


@pytest.mark.parametrize(
    ("facts", "label", "words"),
    [
        ({"data": []}, "data", "none declared"),
        ({"code__repository": None}, "code", "no commit known · train.py"),
        (
            {"code__repository__dirty": True, "code__repository__patch": "code.patch"},
            "code",
            "with changes (code.patch)",
        ),
        ({"code__repository__dirty": None}, "code", "clean or not is unknown"),
        ({"code__repository__branch": None}, "code", "c3c3c3c (no branch)"),
        ({"code__repository__commit": None}, "code", "commit unknown, branch main, clean, pushed"),
        (
            {"code__repository__commit": None, "unknown": {"code.repository.commit": "no commit yet"}},
            "code",
            "no commit yet, branch main, clean",
        ),
        ({"code__repository__unpushed": 3}, "code", "3 commits on no remote"),
        ({"code__repository__unpushed": None}, "code", "main, clean · train.py"),
        ({"code__changed_during_run": ["train.py"]}, "code", "CHANGED while it ran: train.py"),
        (
            {"code__entry_point": "-m pkg.train", "code__orig_argv": ["python", "-m", "pkg.train", "a b"]},
            "code",
            "-m pkg.train 'a b' ·",
        ),
        ({"code__entry_point": "notebook"}, "code", "· notebook ·"),
        ({"config__seed": None}, "config", "no seed found"),
        ({"config__seed": None, "config__not_applicable": {"seed": "exact"}}, "config", "no seed: exact"),
        ({"config__values": None}, "config", "no hyperparameters given"),
        ({"config__values": {f"k{number}": number for number in range(20)}}, "config", "k7 7 · 12 more in config.yaml"),
        ({"compute__gpus": None}, "compute", "GPU unknown"),
        ({"compute__cpu": None}, "compute", "CPU unknown"),
        ({"compute__precision__requested": "bf16"}, "compute", "bf16 (weights F32, 28 parameters)"),
        ({"compute__precision__weights": {}}, "compute", "precision unknown"),
        ({"config__changed_during_run": ["lr.yaml"]}, "config", "CHANGED while it ran: lr.yaml"),
        ({"metrics": {}}, "metrics", "none recorded"),
        ({"metrics": {"loss": "NaN"}}, "metrics", "loss NaN"),
        ({"base_models": [{"id": "bert", "revision": "abc"}, {"id": "gpt"}]}, "base", "bert@abc"),
        ({"weights__identical_to": "penguins/v0001"}, "run", "the same bytes as penguins/v0001"),
        ({"message": "lower lr"}, "message", "lower lr"),
    ],
)
def test_what_is_known_and_what_is_not(facts: dict[str, Any], label: str, words: str) -> None:
    assert words in " ".join(lines(screen(lineage(**facts)), label))


def test_gpus_and_their_driver() -> None:
    gpu = {"index": 0, "name": "NVIDIA A100", "memory": None, "compute_capability": "8.0"}
    record = lineage(compute__gpus=[gpu, gpu | {"index": 1}, gpu | {"name": "T4"}], compute__driver="550.54")
    assert "2x NVIDIA A100, T4, driver 550.54" in lines(screen(record), "compute")[0]


def test_how_each_dataset_was_seen() -> None:
    whole = lineage()["data"][0]
    nothing = ("path", "digest", "files", "bytes")
    record = lineage(
        data=[
            whole
            | {"name": "late", "path": "x.csv", "observed": "at save", "changed_during_run": None, "outside": True},
            whole | {"name": "said", "observed": "declared", "kind": "remote"} | dict.fromkeys(nothing),
            whole
            | {"name": "moved", "changed_during_run": ["data/a.csv", "data/b.csv"], "kind": "memory", "path": None},
            whole | {"name": "made", "steps": [step("filter"), step("dedup")]},
        ]
    )
    assert lines(screen(record), "data") == [
        "late  x.csv (outside the project)  sha256:b2b2b2b2…  1 file, 15 kB · as found at save",
        "said  remote  no digest · unchanged while it ran · declared, not looked at",
        "moved  in memory  sha256:b2b2b2b2…  1 file, 15 kB",
        "CHANGED while it ran: data/a.csv, data/b.csv · the digest is of what was there at the end",
        "made  data/penguins.csv  sha256:b2b2b2b2…  1 file, 15 kB · unchanged while it ran",
        "steps: filter BROKEN → dedup BROKEN",
    ]


@pytest.mark.parametrize(
    ("name", "values", "found"),
    [
        ("accuracy", (0.5, 0.9), "worst slice by=0 0.5"),
        ("test/f1", (0.9, 0.5), "worst slice by=1 0.5"),
        ("val_loss", (0.5, 0.9), "worst slice by=1 0.9"),
        ("val_loss", (0.5, "NaN"), "worst slice by=1 NaN"),
        ("accuracy", ("-Infinity", 0.9), "worst slice by=0 -Infinity"),
        ("reward", (0.5, 0.9), "slices from by=0 0.5 to by=1 0.9"),
        ("reward", (10**400, 0.9), f"slices from by=1 0.9 to by=0 {10**400}"),
    ],
)
def test_the_worst_slice_where_the_name_tells_what_is_worse(name: str, values: tuple[Any, ...], found: str) -> None:
    slices = {"by": {str(level): {"value": value} for level, value in enumerate(values)}}
    text = " ".join(lines(screen(lineage(metrics={name: {"value": 0.7, "slices": slices}})), "metrics"))
    assert f"{name} 0.7 · {found}".startswith(text.removesuffix("…"))


def test_several_files_are_loaded_as_a_folder() -> None:
    record = lineage()
    record["weights"]["files"].append(record["weights"]["files"][0] | {"path": "tokenizer.json"})
    assert lines(screen(record), "load") == ["W=$(ckptkit path penguins/v0002) || exit 1"]


def test_what_is_to_be_copied_is_quoted_and_never_parted() -> None:
    record = lineage()
    record["weights"]["files"][0]["path"] = "my model; rm -rf $HOME " + "x" * 100
    [load] = lines(screen(record, asked="./a b/v0002"), "load")
    assert load == f"W=$(ckptkit path './a b/v0002' '{record['weights']['files'][0]['path']}') || exit 1"


def test_damage_and_a_record_that_cannot_be_read() -> None:
    text = screen(
        Unreadable(reason=f"is not JSON: {EVIL}", hint="restore it"), damage="lineage.json is not as it was sealed"
    )
    assert lines(text, "damaged") == ["lineage.json is not as it was sealed · see `ckptkit check penguins/v0002`"]
    assert lines(text, "lineage")[0].startswith("cannot be read: is not JSON: a")
    assert lines(text, "load") == []


@pytest.mark.parametrize(
    ("saved", "words"),
    [
        ("2026-11-26T11:59:30Z", "saved just now"),
        ("2026-11-26T11:48:00Z", "saved 12 min ago"),
        ("2026-11-26T10:59:00Z", "saved 1 hour ago"),
        ("2026-11-25T11:00:00Z", "saved 1 day ago"),
        ("2025-11-26T12:00:00Z", "saved 365 days ago"),
        ("2026-11-27T12:00:00Z", "saved on 2026-11-27"),
        ("2026-06-30T23:59:60Z", "  sha256:"),
        ("2026-02-30T00:00:00Z", "  sha256:"),
        (None, "saved 2 days ago"),
    ],
)
def test_when_it_was_saved(saved: str | None, words: str) -> None:
    assert words in screen(saved=saved).splitlines()[0]


def test_colours_change_nothing_but_colours() -> None:
    import re

    facts: dict[str, Any] = {"damage": "lineage.json is not as it was sealed"}
    record = lineage(unknown={"compute.driver": "no GPU"})
    coloured = report.screen(shown(record, **facts), now=NOW, width=100, colour=True)
    assert re.sub(r"\x1b\[\d*m", "", coloured) == screen(record, **facts)
    assert coloured.count("\x1b[0m") == len(re.findall(r"\x1b\[[1-9]\d*m", coloured)) > 5
    plain = versions.table(RUNS, width=80, colour=False)
    assert re.sub(r"\x1b\[\d*m", "", versions.table(RUNS, width=80, colour=True)) == plain


def evil(value: Any) -> Any:
    """The same document with every free text made dangerous and long."""
    if isinstance(value, dict):
        return {key: evil(item) for key, item in value.items()}
    if isinstance(value, list):
        return [evil(item) for item in value]
    return f"{value} {EVIL * 200}" if isinstance(value, str) else value


def test_nothing_in_a_record_acts_on_the_terminal() -> None:
    record = lineage(
        message=f"{EVIL} " * 999,
        tags={EVIL: EVIL},
        unknown={EVIL: EVIL * 999},
        metrics={EVIL: {"value": 1, "split": EVIL, "slices": {EVIL: {EVIL: {"value": 2}}}}},
        config__values=evil(lineage()["config"]["values"]) | {EVIL: EVIL},
        config__seed=EVIL,
        code__entry_point=f"train.py{EVIL}",
        code__orig_argv=["python", f"train.py{EVIL}", EVIL],
        base_models=[{"id": EVIL, "revision": EVIL}],
        weights__identical_to=EVIL,
    )
    record["code"]["repository"] |= {"branch": EVIL, "url": EVIL}
    record["data"][0] |= {"path": EVIL, "steps": [step(EVIL)], "changed_during_run": [EVIL]}
    record["parents"][0]["ref"] = EVIL
    record["compute"]["cpu"]["model"] = EVIL
    record["compute"]["gpus"] = [{"index": 0, "name": EVIL, "memory": 1, "compute_capability": None}]
    record["weights"]["files"][0]["path"] = EVIL
    version = Version(ref=f"{EVIL}/v0001", path=Path("x"), digest=f"sha256:{'0' * 64}")
    text = screen(record, damage=EVIL, version=version, aliases=(EVIL,))
    text += screen(Unreadable(reason=EVIL * 999, hint=EVIL))
    rows = table((EVIL, (EVIL,), EVIL), columns=("version", "aliases", EVIL), unreadable={EVIL: EVIL}, left_out=(EVIL,))
    text += versions.table(rows, width=80, colour=False) + versions.csv(rows)
    assert {letter for letter in text if not letter.isprintable()} == {"\n"}


def test_numbers_that_no_run_has_are_shown_all_the_same() -> None:
    huge = 10**400
    record = lineage(
        run__step=huge, run__epoch=huge, run__seconds=huge, weights__parameters=-huge, created="0000-01-01T00:00:00Z"
    )
    record["data"][0] |= {"bytes": huge, "files": -1}
    record["metrics"] = {"loss": huge, "other": -1e308}
    assert "took" in screen(record, saved=None)


def test_the_version_as_json() -> None:
    found = json.loads(json.dumps(report.shown_document(shown())))
    assert found["schema"] == "ckptkit/show/1"
    assert found["lineage"] == lineage()
    assert (found["ref"], found["path"], found["aliases"]) == ("penguins/v0002", "/r/penguins/v0002", ["champion"])
    broken = report.shown_document(shown(Unreadable(reason="is not JSON"), damage="x"))
    assert (broken["lineage"], broken["unreadable"], broken["damage"]) == (None, "is not JSON", "x")
