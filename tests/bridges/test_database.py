"""The bridge to databases, against a real SQLite file and a real PostgreSQL: order, types, bytes, and no writing."""

import csv
import datetime as dt
import hashlib
import json
import os
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import postgres
import pytest
from freezing import CANARY, Freeze, Frozen, project
from pyarrow import parquet

import ckptkit
from ckptkit.bridges import tables

BY_ID = "SELECT * FROM reviews ORDER BY id"
ROWS = [
    (1, "good, really", 0.1, b"\x00\xff", None),
    (2, "", 1e300, None, 5),
    (3, None, None, b"", 6),
    (4, 'a "quote"\r\nand a line', -0.0, b"x", 2.5),
    (5, " ü ", float("inf"), None, None),
]


@pytest.fixture
def freeze(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Freeze:
    run = project(tmp_path, monkeypatch, capsys)
    with sqlite3.connect("reviews.db") as connection:
        connection.execute("CREATE TABLE reviews (id INTEGER PRIMARY KEY, text, score, raw, mixed)")
        connection.executemany("INSERT INTO reviews VALUES (?, ?, ?, ?, ?)", ROWS)
    connection.close()
    return run


def query(freeze: Freeze, sql: str, out: str = "out.csv", *more: str) -> Frozen:
    return freeze("sqlite:///reviews.db", out, "--query", sql, *more)


def test_csv(freeze: Freeze) -> None:
    done = query(freeze, BY_ID)
    assert (done.code, done.err) == (0, "")
    assert (done.folder / "out.csv").read_bytes().decode() == (
        "id,text,score,raw,mixed\n"
        '1,"good, really",0.1,00ff,\n'
        '2,"",1e+300,,5\n'
        "3,,,,6\n"
        '4,"a ""quote""\r\nand a line",-0.0,78,2.5\n'
        "5, ü ,Infinity,,\n"
    )
    with Path("out.csv").open(encoding="utf-8", newline="") as file:
        assert [row[1] for row in csv.reader(file)] == ["text", *(text or "" for _, text, *_ in ROWS)]
    assert done.record("out.csv")["step"]["params"]["null"] == 'an empty field; the empty text is ""'


def test_parquet(freeze: Freeze) -> None:
    assert query(freeze, BY_ID, "out.parquet").code == 0
    table = parquet.read_table("out.parquet")
    assert [tuple(row.values()) for row in table.to_pylist()] == ROWS
    assert list(map(str, table.schema.types)) == ["int64", "string", "double", "binary", "double"]


def test_the_record(freeze: Freeze) -> None:
    done = query(freeze, f"{BY_ID} ;  -- all", "out.parquet")
    assert done.source("out.parquet") == {
        "url": "sqlite:///reviews.db",
        "dialect": "sqlite",
        "driver": "pysqlite",
        "server": sqlite3.sqlite_version,
        "query": BY_ID,
        "order": "as its ORDER BY says; where that leaves a choice, the database's own",
        "columns": [
            {"name": name, "type": kind, "database_type": None}
            for name, kind in (
                *(("id", "int64"), ("text", "string"), ("score", "double"), ("raw", "binary"), ("mixed", "double")),
            )
        ],
    }
    step = done.record("out.parquet")["step"]
    (source,) = step["inputs"]
    assert (source["rows"], source["digest"], source["kind"]) == (5, None, "remote")
    assert (step["output"]["rows"], step["output"]["digest"]) == (5, done.out.split()[1])
    assert step["command"][3:] == ["sqlite:///reviews.db", "out.parquet", "--query", f"{BY_ID} ;  -- all"]
    assert done.names() == ["out.parquet", "out.parquet.lineage.json", "pyproject.toml", "reviews.db"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_same_rows_have_the_same_bytes(freeze: Freeze, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BATCH", 2)  # types differ between batches
    assert query(freeze, BY_ID, f"one.{suffix}").code == query(freeze, BY_ID, f"two.{suffix}").code == 0
    assert Path(f"one.{suffix}").read_bytes() == Path(f"two.{suffix}").read_bytes()
    if suffix == "parquet":
        assert [tuple(row.values()) for row in parquet.read_table("one.parquet").to_pylist()] == ROWS
        assert parquet.read_metadata("one.parquet").num_row_groups == 3


def test_a_query_from_a_file(freeze: Freeze) -> None:
    Path("all.sql").write_text(f"-- all of them\n{BY_ID};\n")
    done = query(freeze, "@all.sql")
    assert done.source("out.csv")["query"] == f"-- all of them\n{BY_ID}"
    assert "--query @none.sql: cannot be read" in query(freeze, "@none.sql", "b.csv").err


def test_order_is_demanded_or_said_to_be_absent(freeze: Freeze) -> None:
    inner = "SELECT id FROM (SELECT id FROM reviews ORDER BY id)"
    done = query(freeze, inner)
    assert (done.code, done.names()) == (2, ["pyproject.toml", "reviews.db"])
    assert "no ORDER BY at its outermost level" in done.err
    done = query(freeze, inner, "out.csv", "--unordered")
    assert done.code == 0
    assert done.source("out.csv")["order"] == "the database's own, which may be another each time"


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("DELETE FROM reviews", "begins with DELETE"),
        ("SELECT 1; DROP TABLE reviews", "more than one statement"),
        ("SELECT nope FROM reviews ORDER BY 1", "the database says OperationalError: no such column: nope"),
        ("SELECT id, id FROM reviews ORDER BY 1", "two columns of the query are called id"),
        ("SELECT text FROM reviews ORDER BY id", "alone in a CSV it is an empty line"),
    ],
)
def test_what_is_refused(freeze: Freeze, sql: str, said: str) -> None:
    done = query(freeze, sql)
    assert (done.code, done.err.count("\n"), done.names()) == (2, 1, ["pyproject.toml", "reviews.db"])
    assert said in done.err


def test_what_no_column_of_parquet_holds(freeze: Freeze, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BATCH", 2)
    sql = "SELECT id, CASE id WHEN 5 THEN 'five' ELSE id END AS what FROM reviews ORDER BY id"
    done = query(freeze, sql, "out.parquet")
    assert "'what' holds integer and text" in done.err
    assert done.names() == ["pyproject.toml", "reviews.db"]
    assert query(freeze, sql, "out.csv").source("out.csv")["columns"][1]["type"] == "integer or text"
    exact = "SELECT id, CASE id WHEN 5 THEN 0.5 ELSE 9007199254740993 END AS what FROM reviews ORDER BY id"
    assert "the rows do not fit Parquet" in query(freeze, exact, "out.parquet").err


def test_no_row(freeze: Freeze) -> None:
    sql = "SELECT id, text FROM reviews WHERE id > 9 ORDER BY id"
    assert query(freeze, sql, "out.parquet").record("out.parquet")["step"]["output"]["rows"] == 0
    assert parquet.read_table("out.parquet").column_names == ["id", "text"]
    assert query(freeze, sql).code == 0
    assert Path("out.csv").read_text() == "id,text\n"


def test_colons_and_percent_signs_are_no_parameters(freeze: Freeze) -> None:
    done = query(freeze, "SELECT id, ':a %s %(b)s ?' AS x FROM reviews WHERE text LIKE '%good%' ORDER BY id")
    assert done.code == 0
    assert Path("out.csv").read_text() == "id,x\n1,:a %s %(b)s ?\n"


def test_it_reads_only(freeze: Freeze) -> None:
    before = Path("reviews.db").read_bytes()
    done = query(freeze, "WITH [a'] AS (SELECT 1) DELETE FROM reviews AS [b'] RETURNING id", "out.csv", "--unordered")
    assert done.code == 2
    assert "attempt to write a readonly database" in done.err
    assert Path("reviews.db").read_bytes() == before
    assert freeze("sqlite:///none.db", "out.csv", "--query", BY_ID).names() == ["pyproject.toml", "reviews.db"]


@pytest.mark.parametrize("asked", ["?mode=rw&uri=true", "?mode=rwc&uri=1&timeout=1"])
def test_options_of_sqlite_make_no_file_and_do_not_let_it_write(freeze: Freeze, asked: str) -> None:
    Path("reviews.db").rename("re view?s#.db")
    done = freeze(f"sqlite:///re view%3Fs#.db{asked}", "out.csv", "--query", BY_ID)
    assert done.err == ""
    assert done.names() == ["out.csv", "out.csv.lineage.json", "pyproject.toml", "re view?s#.db"]
    sql = "WITH x AS (SELECT 1) DELETE FROM reviews RETURNING id, text"
    done = freeze(f"sqlite:///re view%3Fs#.db{asked}", "b.csv", "--query", sql, "--unordered")
    assert "attempt to write a readonly database" in done.err


@pytest.mark.parametrize("out", ["out.csv", "out.parquet"])
@pytest.mark.usefixtures("freeze")
def test_a_disk_that_is_full(out: str) -> None:
    sql = "SELECT id, hex(zeroblob(200000)) AS text FROM reviews ORDER BY id"
    words = [sys.executable, "-m", "ckptkit", "data", "snapshot", "sqlite:///reviews.db", out, "--query", sql]
    env = os.environ | {"PYTHONPATH": str(Path(ckptkit.__file__).parents[1])}
    line = f"ulimit -f 100; exec {shlex.join(words)}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"{out} cannot be written: " in done.stderr
    assert sorted(os.listdir()) == ["pyproject.toml", "reviews.db"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (f"postgresql+psycopg://ada:{CANARY}@127.0.0.1:9/db?password={CANARY}", "the database says OperationalError"),
        (f"postgresql+psycopg://ada:{CANARY}@127.0.0.1:x/db", "the database's address cannot be read"),
        (f"nosuch://ada:{CANARY}@host/db", "SQLAlchemy knows no database nosuch"),
        (f"mysql+mysqldb://ada:{CANARY}@host/db", "the driver MySQLdb is not installed"),
        (f"ada:{CANARY}@host", "SOURCE is no URL"),
        ("sqlite:///none.db", "there is no SQLite file none.db"),
        ("sqlite:///pyproject.toml", "file is not a database"),
    ],
)
def test_databases_that_cannot_be_read(freeze: Freeze, source: str, said: str) -> None:
    Path("pyproject.toml").write_text("# no database\n" * 100)
    done = freeze(source, "out.csv", "--query", BY_ID)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert said in done.err
    assert done.names() == ["pyproject.toml", "reviews.db"]


def test_other_formats(freeze: Freeze) -> None:
    assert "out.json is neither .parquet nor .csv" in query(freeze, BY_ID, "out.json").err


@pytest.mark.parametrize(("package", "out"), [("sqlalchemy", "out.csv"), ("pyarrow", "out.parquet")])
def test_without_the_extra(freeze: Freeze, monkeypatch: pytest.MonkeyPatch, package: str, out: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    done = query(freeze, BY_ID, out)
    assert done.code == 2
    assert "is not installed (hint: pip install 'ckptkit-lineage[sql]'" in done.err


def test_secrets_in_a_query(freeze: Freeze) -> None:
    done = query(freeze, "SELECT id, 'password=CANARY' = text AS x FROM reviews ORDER BY id".replace("CANARY", CANARY))
    assert done.code == 0
    assert "<redacted:" in done.source("out.csv")["query"]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a PostgreSQL with a table of many types."""
    psycopg = pytest.importorskip("psycopg")
    with postgres.serve() as port:
        address = f"postgresql://{postgres.USER}:{quote(postgres.PASSWORD, safe='')}@127.0.0.1:{port}/postgres"
        with psycopg.connect(address) as connection:
            connection.execute(TYPES)
            connection.execute("CREATE TABLE many AS SELECT n AS id, n::text AS text FROM generate_series(1, 100000) n")
        yield address.replace("postgresql:", "postgresql+psycopg:")


TYPES = """
CREATE TABLE types (id int PRIMARY KEY, price numeric(10, 2), free numeric, at timestamptz, local timestamp, day date,
  clock time, span interval, flag boolean, raw bytea, key uuid, doc jsonb, list int[], text varchar(20), ratio real);
INSERT INTO types VALUES (1, 1.50, 1e20, '2024-03-01 12:00+02', '2024-03-01 12:00', '2024-03-01', '12:30', '90 min',
  true, '\\x00ff', '5f1c09ab-0000-4000-8000-000000000000', '{"b": [1, null]}', '{1,2}', '', 0.5);
INSERT INTO types (id, free, price) VALUES (2, 0.001, 123.45);
"""
FIRST: dict[str, Any] = {
    "id": 1,
    "price": Decimal("1.50"),
    "free": Decimal("100000000000000000000.000"),
    "at": dt.datetime(2024, 3, 1, 10, tzinfo=dt.UTC),
    "local": dt.datetime(2024, 3, 1, 12),  # noqa: DTZ001 - a timestamp without zone
    "day": dt.date(2024, 3, 1),
    "clock": dt.time(12, 30),
    "span": dt.timedelta(minutes=90),
    "flag": True,
    "raw": b"\x00\xff",
    "key": "5f1c09ab-0000-4000-8000-000000000000",
    "doc": '{"b": [1, null]}',
    "list": "[1, 2]",
    "text": "",
    "ratio": 0.5,
}


def test_types_of_postgresql_in_parquet(freeze: Freeze, server: str) -> None:
    done = freeze(server, "out.parquet", "--query", "SELECT * FROM types ORDER BY id")
    assert (done.code, done.err) == (0, "")
    first, second = parquet.read_table("out.parquet").to_pylist()
    assert first == FIRST
    assert {name for name, value in second.items() if value is not None} == {"id", "price", "free"}
    columns = done.source("out.parquet")["columns"]
    told = {column["name"]: (column["type"], column["database_type"]) for column in columns}
    assert told["price"] == ("decimal128(5, 2)", "numeric(10,2)")
    assert told["at"] == ("timestamp[us, tz=UTC]", "timestamptz")
    assert told["text"] == ("string", "varchar(20)")


def test_types_of_postgresql_in_csv(freeze: Freeze, server: str) -> None:
    done = freeze(server, "out.csv", "--query", "TABLE types ORDER BY id")
    assert done.code == 0
    assert Path("out.csv").read_text().splitlines()[1:] == [
        (
            "1,1.50,100000000000000000000,2024-03-01T10:00:00+00:00,2024-03-01T12:00:00,2024-03-01,12:30:00,5400.0,true,"
            '00ff,5f1c09ab-0000-4000-8000-000000000000,"{""b"": [1, null]}","[1, 2]","",0.5'
        ),
        "2,123.45,0.001,,,,,,,,,,,,",
    ]


def test_the_password_of_postgresql_is_nowhere(freeze: Freeze, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE", f"{server}?application_name={CANARY}")
    done = freeze("env:DATABASE", "out.csv", "--query", "SELECT id, text FROM many ORDER BY id LIMIT 3")
    url = done.source("out.csv")["url"]
    assert url.startswith("postgresql+psycopg://127.0.0.1:")
    assert url.endswith("/postgres")
    assert postgres.USER not in json.dumps(done.record("out.csv"))
    done = freeze(server.replace("ada:", "ada:wrong"), "b.csv", "--query", "SELECT 1 AS a, 2 AS b ORDER BY 1")
    assert 'password authentication failed for user "ada"' in done.err


def test_rows_of_postgresql_stream_and_are_the_same_twice(freeze: Freeze, server: str) -> None:
    sums = set()
    for name in ("one.parquet", "two.parquet"):
        assert freeze(server, name, "--query", "SELECT * FROM many WHERE text LIKE '%' ORDER BY id").code == 0
        sums.add(hashlib.sha256(Path(name).read_bytes()).hexdigest())
    assert len(sums) == 1
    assert parquet.read_metadata("one.parquet").num_row_groups == 4
    assert parquet.read_table("one.parquet")["id"].to_pylist() == list(range(1, 100_001))


def test_the_cursor_is_at_the_server(freeze: Freeze, server: str) -> None:
    assert freeze(server, "out.csv", "--query", "SELECT count(*) AS n FROM pg_cursors ORDER BY 1").code == 0
    assert Path("out.csv").read_text() == "n\n1\n"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT nextval('counter') AS a, 1 AS b ORDER BY 1",
        "SELECT id, text FROM many ORDER BY id LIMIT 1 FOR UPDATE",
        "WITH x AS (SELECT 1) DELETE FROM many RETURNING id, text",
        "WITH x AS (DELETE FROM many RETURNING id) SELECT id FROM x",
        "SELECT id INTO copy FROM many",
    ],
)
def test_postgresql_is_only_read(freeze: Freeze, server: str, sql: str) -> None:
    psycopg = pytest.importorskip("psycopg")
    with psycopg.connect(server.replace("+psycopg", "")) as connection:
        connection.execute("CREATE SEQUENCE IF NOT EXISTS counter")
    done = freeze(server, "out.csv", "--query", sql, "--unordered")
    assert done.code == 2
    assert "the database says" in done.err
    with psycopg.connect(server.replace("+psycopg", "")) as connection:
        told = connection.execute("SELECT count(*), to_regclass('copy'), (SELECT is_called FROM counter) FROM many")
        assert told.fetchone() == (100_000, None, False)


def test_values_that_are_written_down_in_no_one_way(freeze: Freeze, server: str) -> None:
    done = freeze(server, "out.csv", "--query", "SELECT 1 AS a, int4range(1, 5) AS b ORDER BY 1")
    assert "the column 'b' holds Range" in done.err
    assert "CAST(b AS TEXT)" in done.err
    done = freeze(server, "out.parquet", "--query", "SELECT 'NaN'::numeric AS a ORDER BY 1")
    assert "the column 'a' holds a decimal that Parquet has no type for" in done.err
    assert done.names() == ["pyproject.toml", "reviews.db"]
