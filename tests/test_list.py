import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from registries import publish

from ckptkit import change, index
from ckptkit.cli import main
from ckptkit.errors import CkptkitError, NotFoundError
from ckptkit.record import Metric, SealedFile
from ckptkit.verbs.list import METRICS, versions
from ckptkit.verbs.list import list as list_verb
from ckptkit.verbs.rename import rename


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four versions: a good one, a better one, a diverged one, and one of another model without metrics."""
    root = tmp_path / "runs"
    publish(root, metrics={"val/loss": 0.5, "train/loss": 0.1}, config__values={"optim": {"lr": "1e-3"}, "depth": 2})
    publish(root, metrics={"val/loss": 0.25, "train/loss": 0.2}, config__values={"optim": {"lr": 0.01}, "depth": 10})
    publish(
        root, metrics={"val/loss": "NaN"}, config__values={"optim": {"lr": 1.0}}, tags={"kind": "try", "who": "ada"}
    )
    publish(root, "whales", metrics={}, config__values=None, config__seed=None, tags={})
    return root


def test_the_default_columns(root: Path) -> None:
    publish(root, "whales", aliases=["champion", "best"], metrics={"f1": 0.5})
    table = list_verb(root=root)
    assert table.columns == (
        *("version", "aliases", "created", "seed", "val/loss", "train/loss", "f1", "size", "message"),
    )
    assert table.refs == ("penguins/v0001", "penguins/v0002", "penguins/v0003", "whales/v0001", "whales/v0002")
    assert table.rows[0] == (
        *("penguins/v0001", (), "2026-11-24T10:00:02Z", 42, 0.5, 0.1, None, 11, "lower learning rate"),
    )
    assert table.rows[3][3:7] == (None, None, None, None)
    assert table.rows[4][1] == ("best", "champion")
    assert (table.unreadable, table.left_out) == ({}, ())
    assert table.spare == ("f1", "train/loss", "val/loss")
    assert list_verb("whales", root=root, tags={"who": "nobody"}).spare == ()
    assert list_verb(root=root, columns=["f1"]).spare == ()


def test_what_is_empty_is_spared_first(root: Path) -> None:
    assert list_verb("whales", root=root).spare == ("aliases", "seed")
    publish(root, "whales", metrics={"b": 1, "a": 2}, message=None, config__seed=[1, 2])
    assert list_verb("whales", root=root).spare == ("aliases", "a", "b")
    assert list_verb("whales", root=root, sort="-b").spare == ("aliases", "a")
    assert list_verb("penguins", root=root, sort="metric:val/loss").spare == ("aliases", "train/loss")


def test_one_model(root: Path) -> None:
    assert list_verb("whales", root=root).refs == ("whales/v0001",)
    with pytest.raises(NotFoundError, match="no model 'seals'") as caught:
        list_verb("seals", root=root)
    assert caught.value.hint == "models here: penguins, whales"


def test_metrics_without_room_are_named(tmp_path: Path) -> None:
    publish(tmp_path, metrics={f"m{number}": number for number in range(METRICS + 2)})
    table = list_verb(root=tmp_path)
    assert table.columns[4:-2] == tuple(f"m{number}" for number in range(METRICS))
    assert table.left_out == (f"m{METRICS}", f"m{METRICS + 1}")
    assert list_verb(root=tmp_path, columns=[f"m{METRICS}"]).rows == (("penguins/v0001", METRICS),)


def test_a_metric_called_like_a_column_is_told_from_it(tmp_path: Path) -> None:
    publish(tmp_path, metrics={"seed": 0.5})
    table = list_verb(root=tmp_path)
    found = dict(zip(table.columns, table.rows[0], strict=True))
    assert (found["seed"], found["metric:seed"]) == (42, 0.5)
    assert list_verb(root=tmp_path, columns=["metric:seed"]).rows == (("penguins/v0001", 0.5),)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("val/loss", (0.5, 0.25, "NaN", None)),
        ("metric:val/loss", (0.5, 0.25, "NaN", None)),
        ("optim.lr", ("1e-3", 0.01, 1.0, None)),
        ("lr", ("1e-3", 0.01, 1.0, None)),
        ("config:lr", ("1e-3", 0.01, 1.0, None)),
        ("depth", (2, 10, None, None)),
        ("who", (None, None, "ada", None)),
        ("tag:kind", (None, None, "try", None)),
        ("seed", (42, 42, 42, None)),
        ("size", (11, 11, 11, 11)),
        ("step", (1800, 1800, 1800, 1800)),
        ("commit", ("c3" * 20,) * 4),
        ("dirty", (False,) * 4),
        ("observed", ("in the run",) * 4),
        ("alias", ((),) * 4),
    ],
)
def test_what_a_column_stands_for(root: Path, column: str, values: tuple[object, ...]) -> None:
    table = list_verb(root=root, columns=[column])
    assert table.columns == ("version", column)
    assert tuple(row[1] for row in table.rows) == values


def test_columns_come_in_the_order_asked_for_and_once(root: Path) -> None:
    assert list_verb(root=root, columns=["lr", "version", "seed", "lr"]).columns == ("version", "lr", "seed")


def test_the_name_alone_has_to_be_unique(root: Path) -> None:
    with pytest.raises(CkptkitError, match="'loss' could be val/loss or train/loss") as caught:
        list_verb(root=root, columns=["loss"])
    assert caught.value.exit_code == 2
    publish(root, "seals", metrics={"test/loss": 1.0}, config__values={"head": {"lr": 1}, "body": {"lr": 2}})
    assert list_verb("seals", root=root, columns=["loss"]).rows == (("seals/v0001", 1.0),)
    with pytest.raises(CkptkitError, match=r"could be head\.lr or body\.lr"):
        list_verb("seals", root=root, columns=["lr"])


@pytest.mark.parametrize(
    ("column", "hint"),
    [("valloss", "val/loss"), ("lrr", "optim.lr"), ("sede", "seed"), ("purpos", "purpose"), ("qqqqqq", "there are ")],
)
def test_an_unknown_column_is_refused_with_what_comes_close(root: Path, column: str, hint: str) -> None:
    for columns, sort in (([column], None), ([], column)):
        with pytest.raises(CkptkitError, match=f"no version here has a column '{column}'") as caught:
            list_verb(root=root, columns=columns, sort=sort)
        assert caught.value.exit_code == 2
        assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("val/loss", (2, 1, 3, 4)),
        ("-val/loss", (1, 2, 3, 4)),
        ("lr", (1, 2, 3, 4)),
        ("-lr", (3, 2, 1, 4)),
        ("depth", (1, 2, 3, 4)),
        ("-depth", (2, 1, 3, 4)),
        ("version", (1, 2, 3, 4)),
        ("-version", (4, 3, 2, 1)),
        ("-size", (1, 2, 3, 4)),
        ("who", (3, 1, 2, 4)),
    ],
)
def test_sorting_puts_nan_and_missing_values_last(root: Path, sort: str, order: tuple[int, ...]) -> None:
    refs = ("penguins/v0001", "penguins/v0002", "penguins/v0003", "whales/v0001")
    assert list_verb(root=root, sort=sort).refs == tuple(refs[number - 1] for number in order)


def test_infinities_have_a_place(tmp_path: Path) -> None:
    for value in ("Infinity", 1, "-Infinity", 10**400, "NaN"):
        publish(tmp_path, metrics={"loss": value})
    assert [ref[-1] for ref in list_verb(root=tmp_path, sort="loss").refs] == ["3", "2", "1", "4", "5"]
    assert [ref[-1] for ref in list_verb(root=tmp_path, sort="-loss").refs] == ["1", "4", "2", "3", "5"]


def test_numbers_are_sorted_as_numbers(root: Path) -> None:
    for name in ("v9999", "v10000"):
        shutil.copytree(root / "whales" / "v0001", root / "whales" / name)
    order = ("whales/v0001", "whales/v9999", "whales/v10000")
    assert list_verb("whales", root=root).refs == order
    assert list_verb("whales", root=root, sort="version").refs == order
    assert [version.ref for version in versions("whales", root=root)] == [*order]


def test_all_tags_have_to_hold(root: Path) -> None:
    assert list_verb(root=root, tags={"kind": "try"}).refs == ("penguins/v0003",)
    assert list_verb(root=root, tags={"kind": "try", "who": "ada"}).refs == ("penguins/v0003",)
    assert list_verb(root=root, tags={"kind": "try", "who": "grace"}).rows == ()
    assert list_verb(root=root, tags={"who": "grace"}, columns=["who", "depth"], sort="val/loss").rows == ()
    assert list_verb(root=root, tags={"purpose": "baseline"}).refs == ("penguins/v0001", "penguins/v0002")


def test_an_unreadable_version_is_listed_with_its_reason(root: Path) -> None:
    truncate(root / "penguins" / "v0002" / "lineage.json")
    (root / "index.json").unlink()
    table = list_verb(root=root, sort="val/loss", columns=["val/loss"])
    assert table.refs == ("penguins/v0001", "penguins/v0002", "penguins/v0003", "whales/v0001")
    assert table.rows[1] == ("penguins/v0002", None)
    assert [*table.unreadable] == ["penguins/v0002"]
    assert "is not JSON" in table.unreadable["penguins/v0002"]
    assert [*list_verb(root=root, tags={"who": "ada"}).unreadable] == ["penguins/v0002"]


def test_the_folders_are_not_opened(root: Path) -> None:
    for folder in (root / "penguins").glob("v*"):
        for path in folder.iterdir():
            path.unlink()
    assert [row[1] for row in list_verb("penguins", root=root, columns=["val/loss"]).rows] == [0.5, 0.25, "NaN"]


def test_versions_by_model_and_number(root: Path) -> None:
    found = versions(root=root)
    assert [version.ref for version in found] == [*list_verb(root=root).refs]
    assert found[0].path == root / "penguins" / "v0001"
    assert found[0].metrics == {"val/loss": 0.5, "train/loss": 0.1}
    assert found[3].config == {}
    assert [version.ref for version in versions("whales", root=root)] == ["whales/v0001"]
    with pytest.raises(NotFoundError):
        versions("seals", root=root)


def test_versions_leaves_out_what_has_no_digest(root: Path) -> None:
    sums = root / "penguins" / "v0002" / "SHA256SUMS"
    sums.unlink()
    os.mkfifo(sums)
    truncate(root / "penguins" / "v0001" / "lineage.json")
    (root / "index.json").unlink()
    assert [version.ref for version in versions("penguins", root=root)] == ["penguins/v0001", "penguins/v0003"]
    assert "is not a regular file" in list_verb("penguins", root=root).unreadable["penguins/v0002"]


def test_a_missing_root_is_not_found(tmp_path: Path) -> None:
    for verb in (list_verb, versions):
        with pytest.raises(NotFoundError, match="no registry at") as caught:
            verb(root=tmp_path / "nowhere")
        assert "--root" in caught.value.hint


def test_an_empty_root_lists_nothing(tmp_path: Path) -> None:
    assert list_verb(root=tmp_path).rows == ()
    assert list_verb(root=tmp_path, sort="val/loss", columns=["lr"]).rows == ()
    assert versions(root=tmp_path) == []


def test_the_root_is_found_from_the_project(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root.parent / "pyproject.toml").touch()
    (root.parent / "deep").mkdir()
    monkeypatch.chdir(root.parent / "deep")
    assert len(list_verb().refs) == 4


@pytest.mark.parametrize(
    "junk", [b"", b"{", b"\x00\xff" * 999, b"[]", b'{"schema": "ckptkit/index/1"}', b"<<<<<<< HEAD"]
)
def test_a_broken_index_is_made_anew_in_memory(root: Path, junk: bytes) -> None:
    before = list_verb(root=root)
    (root / "index.json").write_bytes(junk)
    assert list_verb(root=root) == before
    assert (root / "index.json").read_bytes() == junk


def test_folders_that_may_not_be_opened_are_survived(root: Path) -> None:
    closed = [root / "penguins" / "v0002", root / "penguins" / "history", root / "whales"]
    for folder in closed:
        folder.chmod(0)
    try:
        if os.access(root / "whales", os.R_OK):
            pytest.skip("this user reads everything")
        (root / "index.json").unlink()
        table = list_verb("penguins", root=root)
    finally:
        for folder in closed:
            folder.chmod(0o755)
    assert table.refs == ("penguins/v0001", "penguins/v0002", "penguins/v0003")
    assert [*table.unreadable] == ["penguins/v0002"]
    assert table.unreadable["penguins/v0002"] == "SHA256SUMS: cannot be read: permission denied"


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("aliases",), 5),
        (("aliases", "a"), ["v0001"]),
        (("heads",), None),
        (("last",), "1"),
        (("versions", "v0001"), 5),
        (("versions", "v0001"), {}),
        (("versions", "v0001", "digest"), None),
        (("versions", "v0001", "event"), 5),
        (("versions", "v0001", "metrics"), [1]),
        (("versions", "v0001", "config"), None),
        (("versions", "v0001", "tags"), "a"),
        (("versions", "v0001", "unreadable"), 5),
    ],
)
def test_an_index_that_was_edited_is_made_anew_in_memory(root: Path, keys: tuple[str, ...], value: object) -> None:
    before = list_verb(root=root)
    edited = json.loads((root / "index.json").read_bytes())
    part = edited["models"]["penguins"]
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    (root / "index.json").write_text(json.dumps(edited))
    assert list_verb(root=root) == before


@pytest.mark.parametrize("root", ["loop", "~nobody-of-that-name/x", "a\0b", "a" * 5000, "file"])
def test_a_root_that_cannot_be_one_is_told(tmp_path: Path, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    with pytest.raises(CkptkitError):
        list_verb(root=root)


def test_foreign_folders_and_odd_files_are_passed_over(root: Path) -> None:
    before = list_verb(root=root)
    (root / "tensorboard" / "Nov24").mkdir(parents=True)
    (root / "tensorboard" / "Nov24" / "events.out.tfevents.1").write_bytes(b"\x18\0\0")
    (root / "v0001").mkdir()
    (root / "loop").symlink_to("loop")
    (root / "up").symlink_to("..", target_is_directory=True)
    os.mkfifo(root / "pipe")
    (root / "null").symlink_to("/dev/null")
    (root / "penguins" / "v0004").symlink_to("v0004")
    (root / "penguins" / "v0005").symlink_to("/dev/zero")
    os.mkfifo(root / "penguins" / "v0006")
    (root / "penguins" / "history" / "junk.json").write_bytes(b"\x80\xff")
    os.mkfifo(root / "penguins" / "history" / "pipe.json")
    (root / "penguins" / "history" / "zero.json").symlink_to("/dev/zero")
    (root / "index.json").unlink()
    (root / "index.json").symlink_to("/dev/zero")
    assert list_verb(root=root) == before


def tell(root: Path, kind: str, version: str, **facts: Any) -> str:
    """An event on a version of the penguins; when it was."""
    with change.begin(root) as now:
        event = now.event(kind, "penguins", version, **facts)
        now.record(event)
        now.reread("penguins")
    return event.time


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        ("lr < 1", (1, 2)),
        ("lr == 1e-3", (1,)),
        ("1e-3 < optim.lr < 1", (2,)),
        ("val/loss < 0.5 or who == ada", (2, 3)),
        ("val/loss == nan", (3,)),
        ("not val/loss < 0.5 and seed == 42", (1, 3)),
        ("metric:val/loss < 0.5", (2,)),
        ("tag:purpose == baseline and depth in (2, 3)", (1,)),
        ("depth == null", (3, 4)),
        ("alias == champion", (2,)),
        ("alias == null and version > 1", (3,)),
        ("version in (v0001, whales/v0001)", (1, 4)),
        ("stage in (staging, production)", (2, 3)),
        ("stage != production and size > 0", (1, 2, 4)),
        ("commit == c3c3c3c and dirty == false and created <= 2026-11-24", (1, 2, 3, 4)),
        ("message == 'lower learning rate' and parameters > 5", (1, 2, 3, 4)),
        ("version == 9", ()),
    ],
)
def test_where(root: Path, where: str, numbers: tuple[int, ...]) -> None:
    tell(root, "alias", "v0002", alias="champion")
    tell(root, "stage", "v0002", stage="staging")
    tell(root, "stage", "v0003", stage="production")
    refs = ("penguins/v0001", "penguins/v0002", "penguins/v0003", "whales/v0001")
    assert list_verb(root=root, where=where).refs == tuple(refs[number - 1] for number in numbers)


def test_where_takes_the_names_of_columns(root: Path) -> None:
    with pytest.raises(CkptkitError, match="no version here has a column 'lrr'") as caught:
        list_verb(root=root, where="lrr < 1")
    assert caught.value.hint == "did you mean optim.lr?"
    with pytest.raises(CkptkitError, match="'loss' could be val/loss or train/loss"):
        list_verb(root=root, where="loss < 1")
    with pytest.raises(CkptkitError, match="at character 4"):
        list_verb(root=root, where="lr = 1")
    assert list_verb(root=root, where="lr < 1", tags={"purpose": "baseline"}, sort="-lr").refs[0] == "penguins/v0002"
    assert list_verb(root=root / "..", where="anything == 1").refs == ()


def test_stages(root: Path) -> None:
    assert "stage" not in list_verb(root=root).columns
    tell(root, "stage", "v0002", stage="production")
    table = list_verb(root=root)
    assert table.columns[:4] == ("version", "aliases", "stage", "created")
    assert [row[2] for row in table.rows] == [None, "production", None, None]
    assert "stage" not in list_verb("whales", root=root).columns
    assert list_verb(root=root, stage="Production").refs == ("penguins/v0002",)
    assert list_verb(root=root, stage="archived").refs == ()
    assert list_verb("penguins", root=root, stage="none").refs == ("penguins/v0001", "penguins/v0003")
    with pytest.raises(CkptkitError, match="'prod' is no stage") as caught:
        list_verb(root=root, stage="prod")
    assert caught.value.hint == "stages are none, staging, production, archived"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two interleaved runs, one version of a run that cannot be read, and the second run's of another model."""
    for run, loss in (("a", 0.5), ("a", 0.25), ("b", 0.3), ("a", "NaN"), ("b", 0.1), ("b", 0.2)):
        publish(tmp_path, metrics={"loss": loss}, run__id=run)
    publish(tmp_path, "whales", metrics={"loss": 0.4}, run__id="b")
    truncate(tmp_path / "penguins" / "v0006" / "lineage.json")
    (tmp_path / "index.json").unlink()
    return tmp_path


@pytest.mark.parametrize(
    ("sort", "rows"),
    [
        (None, ("4 a 1 2 4", "5 b 3 5", "6 None 6", "1 b 1")),
        ("loss", ("5 b 3 5", "2 a 1 2 4", "1 b 1", "6 None 6")),
        ("-loss", ("1 a 1 2 4", "1 b 1", "3 b 3 5", "6 None 6")),
    ],
)
def test_a_row_for_each_run(runs: Path, sort: str | None, rows: tuple[str, ...]) -> None:
    table = list_verb(root=runs, sort=sort, runs=True, columns=["loss"])
    assert table.columns == ("version", "run", "versions", "loss")
    assert tuple(" ".join([row[0][-1], str(row[1]), *(each[-1] for each in row[2])]) for row in table.rows) == rows
    assert table.refs == tuple(row[0] for row in table.rows)
    assert list_verb(root=runs, sort=sort, runs=True, columns=["run", "versions", "loss"]) == table


def test_runs_of_what_is_asked_for(runs: Path) -> None:
    table = list_verb("penguins", root=runs, runs=True, sort="loss", where="loss > 0.2")
    assert [row[:3] for row in table.rows] == [
        ("penguins/v0002", "a", ("v0001", "v0002")),
        ("penguins/v0003", "b", ("v0003",)),
    ]
    assert table.columns == ("version", "run", "versions", "aliases", "created", "seed", "loss", "size", "message")
    assert table.spare == ("aliases",)


def test_the_numbers_of_a_run_are_in_order(tmp_path: Path) -> None:
    for loss in (3, 1, 2):
        publish(tmp_path, metrics={"loss": loss}, run__id="a")
    (tmp_path / "penguins" / "v0003").rename(tmp_path / "penguins" / "v10000")
    assert list_verb(root=tmp_path, runs=True, sort="loss").rows[0][2] == ("v0001", "v0002", "v10000")


def test_what_was_pruned_and_what_was_measured_later(root: Path) -> None:
    publish(root, files={"model.bin": b"weights", "optimizer.bin": b"state"})
    for version, paths in (("v0001", ["model.safetensors"]), ("v0004", ["optimizer.bin"])):
        files = tuple(SealedFile(path=path, bytes=None, sha256="a" * 64) for path in paths)
        tell(root, "pruned", version, files=files)
    tell(root, "evaluated", "v0002", metrics={"f1": Metric(value=0.9), "val/loss": Metric(value=0.125, split="val")})
    table = list_verb("penguins", root=root, columns=["size", "f1", "val/loss"], sort="f1")
    assert table.rows == (
        ("penguins/v0002", 11, 0.9, 0.125),
        ("penguins/v0001", 0, None, 0.5),
        ("penguins/v0003", 11, None, "NaN"),
        ("penguins/v0004", 12, None, None),
    )
    assert table.pruned == {"penguins/v0001": ["model.safetensors"], "penguins/v0004": ["optimizer.bin"]}
    assert table.evaluated == {"penguins/v0002": ["f1", "val/loss"]}
    assert list_verb(root=root, where="f1 > 0.5 and val/loss < 0.2").refs == ("penguins/v0002",)


def test_as_of_a_time(root: Path) -> None:
    first = tell(root, "alias", "v0001", alias="champion")
    second = tell(root, "stage", "v0002", stage="production")
    tell(root, "alias", "v0002", alias="champion")
    tell(root, "evaluated", "v0002", metrics={"f1": Metric(value=0.9)})
    publish(root, metrics={"auc": 0.5})
    assert (len(list_verb("penguins", root=root).refs), len(list_verb("penguins", root=root, at=first).refs)) == (4, 3)
    for time, stage, aliases in ((first, None, ("champion",)), (second, "production", ("champion",))):
        table = list_verb("penguins", root=root, at=time, columns=["stage", "alias"])
        assert table.rows[:2] == (("penguins/v0001", None, aliases), ("penguins/v0002", stage, ()))
    assert list_verb(root=root, at=second, stage="production").refs == ("penguins/v0002",)
    with pytest.raises(CkptkitError, match="no version here has a column 'f1'"):
        list_verb(root=root, at=second, columns=["f1"])
    assert list_verb(root=root, at="2020-01-01").rows == ()
    with pytest.raises(CkptkitError, match="'yesterday' is no time"):
        list_verb(root=root, at="yesterday")


def test_what_was_there_then_and_is_not_now_is_told(root: Path) -> None:
    time = tell(root, "alias", "v0002", alias="champion")
    tell(root, "deleted", "v0001")
    shutil.rmtree(root / "penguins" / "v0001")
    shutil.rmtree(root / "penguins" / "v0002")
    index.write(root, index.build(root))
    assert list_verb("penguins", root=root).refs == ("penguins/v0003",)
    table = list_verb("penguins", root=root, at=time, columns=["alias", "val/loss"])
    assert table.rows == (
        ("penguins/v0001", (), None),
        ("penguins/v0002", ("champion",), None),
        ("penguins/v0003", (), "NaN"),
    )
    assert table.unreadable == dict.fromkeys(("penguins/v0001", "penguins/v0002"), "it is not there any more")


def test_the_new_name_of_a_model_is_told(root: Path) -> None:
    rename("penguins", "emperors", root=root)
    assert len(list_verb("emperors", root=root).refs) == 3
    with pytest.raises(NotFoundError, match="'penguins' has no version") as caught:
        list_verb("penguins", root=root)
    assert caught.value.hint == "it is called emperors now"


def test_on_the_command_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    time = tell(root, "stage", "v0002", stage="production")
    tell(root, "stage", "v0001", stage="staging")
    options = ["--where", "lr < 1", "--stage", "production", "--runs", "--at", time, "--sort", "-lr", "--json"]
    assert main(["list", "penguins", "--root", str(root), "--columns", "stage", *options]) == 0
    run = list_verb(root=root, columns=["run"]).rows[0][1]
    assert json.loads(capsys.readouterr().out)["versions"] == [
        {"version": "penguins/v0002", "run": run, "versions": ["v0002"], "stage": "production"}
    ]
    assert main(["list", "--root", str(root), "--where", "lr = 1"]) == 2
    words = "ckptkit: the condition cannot be read at character 4: '=' (hint: write == for equal)\n"
    assert capsys.readouterr().err == words


def truncate(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[: len(data) // 2])
