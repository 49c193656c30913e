import gzip
from pathlib import Path

import pytest

from ckptkit.data import rows

QUOTED = 'id,text\n1,"two\nlines ""and"" quotes"\n2,plain\n'


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.txt", "", 0),
        ("a.txt", "one", 1),
        ("a.txt", "one\n\nthree\n", 3),
        ("a.JSONL", "{}\n{}\n", 2),
        ("a.csv", "", 0),
        ("a.csv", "id,text\n", 0),
        ("a.csv", QUOTED, 2),
        ("a.csv", f"{QUOTED}3,unfinished", 3),
        ("a.tsv", 'id\ttext\n1\t5" wide\n', 1),
    ],
)
def test_lines_and_records(tmp_path: Path, name: str, text: str, expected: int) -> None:
    (tmp_path / name).write_text(text)
    assert rows.count(tmp_path / name) == expected


def test_a_record_may_reach_from_one_block_into_the_next(tmp_path: Path) -> None:
    long = "line\n" * 300_000
    (tmp_path / "a.csv").write_text(f'text\n"{long}"\nplain\n"{long}"\n')
    assert rows.count(tmp_path / "a.csv") == 3


def test_a_folder_has_the_rows_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.jsonl").write_text("{}\n" * 3)
    (folder / "deep" / "b.jsonl").write_text("{}\n" * 4)
    (folder / "a.jsonl.lineage.json").write_text("{}\n")
    assert rows.count(folder) == 7
    (folder / "README.txt").write_text("what this is\n")
    with pytest.raises(rows.UncountedError, match="several formats"):
        rows.count(folder)


def test_parquet_says_it_in_its_footer(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"x": range(1000)}), tmp_path / "a.parquet")
    assert rows.count(tmp_path / "a.parquet") == 1000
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    with pytest.raises(rows.UncountedError, match="it is not Parquet"):
        rows.count(tmp_path / "b.parquet")


def test_what_is_not_counted_says_why(tmp_path: Path) -> None:
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"one\n"))
    (tmp_path / "nameless").write_text("one\n")
    (tmp_path / "open.csv").write_text('a\n"b\n')
    with (tmp_path / "large.txt").open("wb") as file:
        file.truncate(rows.LIMIT + 1)
    for name, why in (
        ("a.txt.gz", "rows of .gz files"),
        ("nameless", "rows of nameless files"),
        ("open.csv", "never closed"),
        ("large.txt", "more than 256 MB"),
    ):
        with pytest.raises(rows.UncountedError, match=why):
            rows.count(tmp_path / name)
