"""The bridge to databases: the rows of one query, through SQLAlchemy, in a transaction that changes nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ckptkit import disk, hashing, redact
from ckptkit.bridges import Fetched, shown, statement, tables
from ckptkit.errors import CkptkitError

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, CursorResult, Engine

_READ_ONLY = {"postgresql": "SET TRANSACTION READ ONLY"}  # SQLite's file is opened so
_ORDERED = "as its ORDER BY says; where that leaves a choice, the database's own"
_UNORDERED = "the database's own, which may be another each time"


def fetch(
    address: str, query: str, content: Path, *, unordered: bool, project: Path, progress: hashing.Progress
) -> Fetched:
    """Write the rows of a query to ``content``, as CSV or Parquet by its suffix; they stream, however many.

    Args:
        address: the database as SQLAlchemy names it, such as ``postgresql+psycopg://reader@host/name``.
        query: one statement that reads.
        content: the file, which does not exist yet.
        unordered: whether a query without a stable order is taken too.
        project: the folder that paths are recorded relative to.
        progress: called with the number of bytes written since the last call.

    Raises:
        CkptkitError: SQLAlchemy, the database's driver or pyarrow is not installed; the query could write, or has no
            stable order; the database cannot be reached or says no; a value cannot be written down.
    """
    asked = statement.read(query)
    if not asked.is_ordered and not unordered:
        words = "the query has no ORDER BY at its outermost level: its rows come in any order"
        raise CkptkitError(words, "order by the columns of a key, or say --unordered")
    write = tables.writer(content)
    url, engine = _engine(address)
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with engine.connect() as connection:
            result = _run(connection, asked.text)
            names = list(result.keys())
            _require_columns(names)
            told = _database_types(result)
            written = write(content, names, result.partitions(tables.BATCH), progress)
    except SQLAlchemyError as error:
        raise CkptkitError(_why(error, url), "check the database and the query") from error
    finally:
        engine.dispose()
    types = zip(names, written.types, told, strict=True)
    source = {
        "url": _place(url, project),
        "dialect": engine.dialect.name,
        "driver": engine.dialect.driver,
        "server": ".".join(map(str, engine.dialect.server_version_info or ())) or None,
        "query": redact.text(asked.text, project=project),
        "order": _ORDERED if asked.is_ordered else _UNORDERED,
        "columns": [{"name": name, "type": kind, "database_type": own} for name, kind, own in types],
    }
    return Fetched(
        source={"database": source},
        is_copy=False,
        rows=written.rows,
        params=written.params,
        doubts={"digest": "rows of a database have no bytes of their own"},
    )


def _engine(address: str) -> "tuple[URL, Engine]":
    try:
        import sqlalchemy
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    except ImportError:
        raise CkptkitError("SQLAlchemy is not installed", "pip install 'ckptkit-lineage[sql]'") from None
    try:
        url = sqlalchemy.make_url(address)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
        words = "the database's address cannot be read"
        raise CkptkitError(words, "write dialect+driver://host/name, or sqlite:///file.db") from None
    try:
        engine = sqlalchemy.create_engine(_read_only(url), poolclass=sqlalchemy.NullPool)
    except NoSuchModuleError:
        words = f"SQLAlchemy knows no database {url.drivername}"
        raise CkptkitError(words, "check the name, such as postgresql+psycopg, or install its dialect") from None
    except ImportError as error:
        hint = f"install it, or name another: {url.get_backend_name()}+driver://…"
        raise CkptkitError(f"the driver {error.name} is not installed", hint) from None
    return url, engine


def _read_only(url: "URL") -> "URL":
    """The address of a SQLite file as one that is only read, and not made where there is none."""
    if url.get_backend_name() != "sqlite":
        return url
    file = url.database or ""
    if not Path(file).is_file():
        hint = "write sqlite:///data.db, or sqlite:////data.db"
        raise CkptkitError(f"there is no SQLite file {file or 'of no name'}", hint)
    return url.set(database=f"file:{quote(file)}").update_query_dict({"uri": "true", "mode": "ro"})


def _run(connection: "Connection", query: str) -> "CursorResult[Any]":
    """The rows on their way: with a cursor at the server where the database has those. Closing rolls all back."""
    read_only = _READ_ONLY.get(connection.dialect.name)
    if read_only:
        connection.exec_driver_sql(read_only)
    options = {"stream_results": True, "max_row_buffer": tables.BATCH, "no_parameters": True}
    return connection.exec_driver_sql(query, execution_options=options)


def _require_columns(names: Sequence[str]) -> None:
    if not names:
        raise CkptkitError("the query has no column", "select at least one")
    for name in names:
        if names.count(name) > 1:
            raise CkptkitError(f"two columns of the query are called {name}", "name one of them with AS")


def _database_types(result: "CursorResult[Any]") -> list[str | None]:
    """What the database calls the types of the columns, where its driver tells."""
    return [getattr(column, "type_display", None) for column in result.cursor.description or ()]


def _place(url: "URL", project: Path) -> str:
    """Where the database is, without who asks and how."""
    plain = url.set(username=None, password=None, query={})
    if url.get_backend_name() == "sqlite":
        plain = plain.set(database=redact.path(Path(url.database or ""), project)[0])
    return shown(plain.render_as_string(), project)


def _why(error: Exception, url: "URL") -> str:
    """The words of the driver; one may repeat the password."""
    words = disk.reason(getattr(error, "orig", None) or error)
    secrets = [url.password, url.query.get("password")]
    for secret in secrets:
        if isinstance(secret, str) and secret:
            words = words.replace(secret, "<redacted:password>")
    return f"the database says {redact.text(words)}"
