"""Queries as text: what reads, what could write, and what says in which order."""

import pytest

from ckptkit.bridges import statement
from ckptkit.errors import CkptkitError


@pytest.mark.parametrize(
    "text",
    [
        "select a from t order by a",
        "SELECT a FROM t ORDER\n-- why\nBY a DESC LIMIT 5",
        "SELECT a FROM t ORDER /* by */ BY a",
        "WITH x AS (SELECT 1) SELECT * FROM x ORDER BY 1",
        "(SELECT 1) UNION ALL (SELECT 2) ORDER BY 1",
        "VALUES (2), (1) ORDER BY 1",
        "TABLE t ORDER BY a",
        "SELECT random() FROM t ORDER BY a",
        "SELECT 'it''s; (' FROM t ORDER BY a;",
        "SELECT $x$ ; ( $x$, \"o;(\", `b;(`, E'\\';(' FROM t ORDER BY a",
    ],
)
def test_ordered(text: str) -> None:
    assert statement.read(text).is_ordered


@pytest.mark.parametrize(
    "text",
    [
        "SELECT a FROM t",
        "SELECT a FROM (SELECT a FROM t ORDER BY a) x",
        "(SELECT a FROM t ORDER BY a)",
        "SELECT row_number() OVER (ORDER BY a) FROM t",
        "SELECT array_agg(a ORDER BY a) FROM t",
        "SELECT a FROM t -- ORDER BY a",
        "SELECT a FROM t /* ORDER BY a */",
        "SELECT 'ORDER BY a' FROM t",
        'SELECT "ORDER" "BY" FROM t',
        "SELECT $$ ORDER BY a $$ FROM t",
        "SELECT E'\\' ORDER BY a' FROM t",
        "SELECT a FROM t ORDER BY random()",
    ],
)
def test_unordered(text: str) -> None:
    assert not statement.read(text).is_ordered


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        (" -- nothing\n", "is empty"),
        (";", "begins with nothing"),
        ("INSERT INTO t VALUES (1)", "begins with INSERT"),
        ("PRAGMA query_only = OFF", "begins with PRAGMA"),
        ("EXPLAIN ANALYZE DELETE FROM t", "begins with EXPLAIN"),
        ("SELECT 1; SELECT 2", "more than one statement"),
        ("SELECT 1;;", "more than one statement"),
        ("SELECT 'open", "never ends"),
        ("SELECT 1 /* open", "never ends"),
        ("SELECT 1 /* a /* b */ c */", "holds another"),
    ],
)
def test_refused(text: str, said: str) -> None:
    with pytest.raises(CkptkitError, match=said):
        statement.read(text)


@pytest.mark.parametrize("text", ["SELECT 1 ; -- done", "  SELECT 1 ;  ", "SELECT 1"])
def test_the_text_has_no_semicolon(text: str) -> None:
    assert statement.read(text).text == "SELECT 1"
