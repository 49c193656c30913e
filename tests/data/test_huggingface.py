import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from ckptkit.data import huggingface, memory
from ckptkit.record import Content, Step

datasets = pytest.importorskip("datasets", reason="datasets is not installed")
arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")


@pytest.fixture(autouse=True)
def _quiet() -> None:
    datasets.disable_progress_bars()


def digest(value: object) -> str:
    return memory.digest(value)[0]


def csv(folder: Path, *, rows: int = 40) -> Path:
    folder.mkdir(parents=True)
    path = folder / "rows.csv"
    path.write_text("text,label\n" + "".join(f"row {row},{row % 3}\n" for row in range(rows)))
    return path


def load(path: Path, cache: Path) -> Any:
    return datasets.load_dataset("csv", data_files=str(path), split="train", cache_dir=str(cache))


@pytest.fixture
def rows(tmp_path: Path) -> Any:
    return load(csv(tmp_path / "data"), tmp_path / "cache")


def long(row: dict[str, Any]) -> bool:
    return len(row["text"]) > len("row 1")


def length(row: dict[str, Any]) -> dict[str, int]:
    return {"length": len(row["text"])}


def test_neither_time_nor_place_of_the_source_counts(tmp_path: Path, rows: Any) -> None:
    path = tmp_path / "data" / "rows.csv"
    os.utime(path, (1, 1))
    touched = load(path, tmp_path / "cache")
    moved = load(csv(tmp_path / "elsewhere" / "data"), tmp_path / "other cache")
    assert len({each._fingerprint for each in (rows, touched, moved)}) == 3
    assert digest(rows) == digest(touched) == digest(moved)
    assert digest(rows) != digest(load(csv(tmp_path / "more", rows=41), tmp_path / "cache"))


def test_rows_that_are_picked_by_an_index_count_in_their_order(tmp_path: Path, rows: Any) -> None:
    shuffled = rows.shuffle(seed=1)
    assert shuffled._indices is not None
    assert digest(shuffled) == digest(shuffled.flatten_indices())
    texts = [rows[place]["text"] for place in (3, 1, 1, 39)]
    picked = rows.select([3, 1, 1, 39])
    assert picked["text"][:] == texts
    assert digest(picked) == digest(datasets.Dataset.from_dict(picked.to_dict(), features=rows.features))
    parts = datasets.concatenate_datasets([shuffled.select(range(7)), shuffled.select(range(7, 40))])
    assert digest(parts) == digest(shuffled)
    shuffled.save_to_disk(str(tmp_path / "saved"), num_shards=3)
    assert digest(datasets.load_from_disk(str(tmp_path / "saved"))) == digest(shuffled)
    assert len({digest(each) for each in (rows, shuffled, rows.shuffle(seed=2), picked, rows.select([]))}) == 5


def test_many_batches_of_rows_picked_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "n": list(range(5000)),
        "t": [str(n) if n % 7 else None for n in range(5000)],
        "l": [[n] for n in range(5000)],
    }
    datasets.Dataset.from_dict(values).save_to_disk(str(tmp_path / "rows"), num_shards=4)
    shuffled = datasets.load_from_disk(str(tmp_path / "rows")).shuffle(seed=3)
    whole = digest(shuffled.flatten_indices())
    assert digest(shuffled) == whole
    monkeypatch.setattr(memory.encoder, "BLOCK", 10_000)
    assert digest(shuffled) == whole


def test_what_is_content_of_a_dataset_and_what_is_not(rows: Any) -> None:
    labels = datasets.ClassLabel(names=["a", "b", "c"])
    base = rows.cast_column("label", labels)
    assert digest(base) == digest(base.with_format("numpy", columns=["label"]))
    assert digest(base) == digest(base.map(length).remove_columns("length"))
    changed = base.map(lambda row, at: {"label": 0 if at == 38 else row["label"]}, with_indices=True)
    others = [
        rows,
        changed,
        base.cast_column("label", datasets.ClassLabel(names=["a", "b", "d"])),
        rows.cast_column("label", datasets.Value("int32")),
        rows.select_columns(["label", "text"]),
        rows.rename_column("text", "words"),
        rows.data.table,
    ]
    assert len({digest(each) for each in (base, *others)}) == 1 + len(others)


def test_arrays_of_several_dimensions() -> None:
    features = datasets.Features({"x": datasets.Array2D((2, 2), "int8")})
    values = [[[n, 0], [0, n]] for n in range(9)]
    base = datasets.Dataset.from_dict({"x": values}, features=features)
    assert digest(base) == digest(base.select(list(range(8, -1, -1))).select(list(range(8, -1, -1))))
    flat = datasets.Dataset.from_dict(
        {"x": values}, features=datasets.Features({"x": datasets.Array2D((1, 4), "int8")})
    )
    assert digest(base) != digest(flat)


def images(folder: Path) -> Any:
    folder.mkdir()
    features = datasets.Features({"image": datasets.Image(), "more": datasets.List({"image": datasets.Image()})})
    for number in range(20):
        (folder / f"{number}.png").write_bytes(bytes([number]) * 9)
    named = [{"bytes": None, "path": str(folder / f"{number}.png")} for number in range(20)]
    table = arrow.table({"image": named, "more": [[{"image": each}] for each in named]}).cast(features.arrow_schema)
    return datasets.Dataset(table, info=datasets.DatasetInfo(features=features))


def test_files_that_a_dataset_names_are_read_undecoded(tmp_path: Path) -> None:
    base = images(tmp_path / "one")
    first = digest(base)
    assert first == digest(images(tmp_path / "two"))
    assert first == digest(base.cast_column("image", datasets.Image(decode=False)))
    base.shuffle(seed=1).save_to_disk(str(tmp_path / "saved"))
    assert digest(base.shuffle(seed=1)) == digest(datasets.load_from_disk(str(tmp_path / "saved")))
    (tmp_path / "one" / "19.png").write_bytes(b"changed")
    assert first != digest(base)


def test_files_at_urls_are_not_fetched() -> None:
    features = datasets.Features({"more": datasets.List(datasets.Image())})
    table = arrow.table({"more": [[{"bytes": None, "path": "https://example.org/a.png"}]]}).cast(features.arrow_schema)
    with pytest.raises(memory.UnsupportedError, match="at URLs, whose content was not read"):
        memory.digest(datasets.Dataset(table, info=datasets.DatasetInfo(features=features)))


def test_splits(rows: Any) -> None:
    splits = datasets.DatasetDict({"train": rows, "test": rows.select([0])})
    assert digest(splits) == digest(datasets.DatasetDict({"test": rows.select([0]), "train": rows}))
    assert digest(splits) != digest(datasets.DatasetDict({"train": rows, "val": rows.select([0])}))
    described = describe(splits)["splits"]
    assert described["train"] == describe(rows)
    assert list(described) == ["train", "test"]


def test_what_is_streamed_is_not_consumed(rows: Any) -> None:
    for streamed in (rows.to_iterable_dataset(), datasets.IterableDatasetDict({"train": rows.to_iterable_dataset()})):
        with pytest.raises(memory.UnsupportedError, match="without consuming it"):
            memory.digest(streamed)
        assert huggingface.steps(streamed) == ()


def describe(value: object) -> dict[str, Any]:
    (facts,) = huggingface.describe(value).values()
    return dict(facts)


def test_where_a_dataset_came_from(rows: Any) -> None:
    assert describe(rows) == {
        "fingerprint": rows._fingerprint,
        "dataset": "csv",
        "builder": "csv",
        "config": "default",
        "split": "train",
        "version": "0.0.0",
    }
    made = datasets.Dataset.from_dict({"a": [1]})
    assert describe(made) == {"fingerprint": made._fingerprint}
    assert huggingface.describe({"a": [1]}) == {}


@pytest.mark.parametrize("name", ["Dataset", "IterableDataset", "DatasetDict"])
def test_what_only_calls_itself_a_dataset_is_not_touched(name: str) -> None:
    def touched(*_: object) -> None:
        raise SystemExit

    liar = type(name, (dict,), {"__module__": "datasets.arrow_dataset", "__getattr__": touched, "items": touched})()
    assert huggingface.describe(liar) == {}
    assert huggingface.steps(liar) == ()


def test_the_commit_on_the_hub(tmp_path: Path) -> None:
    commit, files = "0123456789" * 4, {"train": [str(csv(tmp_path / "data"))]}
    builder = datasets.packaged_modules.csv.Csv(
        cache_dir=str(tmp_path), dataset_name="penguins", hash=commit, data_files=files
    )
    builder.download_and_prepare()
    found = builder.as_dataset("train")
    mapped = describe(found.map(length))
    assert (mapped["dataset"], mapped["revision"], mapped["builder"]) == ("penguins", commit, "csv")
    shutil.copytree(tmp_path / "penguins", tmp_path / "ada___penguins")
    (file,) = (tmp_path / "ada___penguins").rglob("penguins-*.arrow")
    named = datasets.Dataset.from_file(str(file), info=found.info)
    assert describe(named)["dataset"] == "ada/penguins"
    assert "revision" not in describe(datasets.concatenate_datasets([found, named]))


def shown(value: object) -> list[tuple[str, dict[str, Any], int | None]]:
    return [(step.name, dict(step.params), step.output.rows) for step in huggingface.steps(value)]


def test_the_transforms_that_a_dataset_shows(rows: Any) -> None:
    mapped = rows.map(length)
    filtered = mapped.filter(long)
    one, two = ({"fingerprint": each._fingerprint} for each in (mapped, filtered))
    assert shown(rows) == shown(rows.data.table) == []
    assert shown(mapped) == [("map", one, 40)]
    assert shown(filtered) == [("map", one, None), ("transform", two, 30)]
    shuffled = filtered.shuffle(seed=1).rename_column("text", "words")
    (last,) = shown(shuffled)[2:]
    assert shown(shuffled)[0] == ("map", one, None)
    assert shown(shuffled)[1][0] == "transform"
    assert last == ("transform", {"fingerprint": shuffled._fingerprint}, 30)
    again = rows.map(lambda _: {"length": 0})
    both = datasets.concatenate_datasets([mapped, again])
    assert [name for name, _, _ in shown(both)] == ["map", "map", "transform"]
    assert shown(datasets.DatasetDict({"test": mapped})) == [("map", one | {"split": "test"}, 40)]


def test_a_map_over_several_processes_is_one(rows: Any) -> None:
    mapped = rows.map(length, num_proc=2)
    assert shown(mapped) == [("map", {"fingerprint": mapped._fingerprint}, 40)]


def test_a_step_as_it_is_recorded() -> None:
    mapped = datasets.Dataset.from_dict({"text": ["a"]}).map(length)
    (step,) = huggingface.steps(mapped)
    assert (step.by, step.inputs, step.command, step.link) == ("huggingface", (), None, None)
    assert Step.from_dict(step.to_dict()) == step
    assert isinstance(step.output, Content)
    assert step.output.source == {"huggingface": {"fingerprint": mapped._fingerprint}}
