"""The bytes of index.json: a line for each version, parsed when it is looked at, sealed with their own digest.

What bears the seal is what ``dump`` once wrote, so it is taken apart by its lines. A registry of ten thousand versions
is then read without parsing ten thousand lines, and one more version costs one more line.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from ckptkit import documents
from ckptkit.errors import FormatError

SCHEMA = "ckptkit/index/2"
"""The form of the index, down to each version's line: what bears it needs no further look."""

ROWS = ("gone", "versions")
"""The parts of a model that have a line for each version."""

_SEAL = b'"sha256": "'


class Rows(Mapping[str, dict[str, Any]]):
    """Lines of the index by version, in order; a line is parsed when it is asked for. Nobody changes what it gives."""

    __slots__ = ("_lines", "_parsed")

    def __init__(self, parsed: Mapping[str, dict[str, Any]], lines: Mapping[str, bytes] | None = None) -> None:
        """Rows of values, or of the lines that they were written as."""
        self._parsed = dict(parsed)
        self._lines = lines or {}

    def __getitem__(self, version: str) -> dict[str, Any]:
        if version not in self._parsed:
            self._parsed[version] = json.loads(self._lines[version])
        return self._parsed[version]

    def __contains__(self, version: object) -> bool:
        return version in self._lines or version in self._parsed

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines or self._parsed)

    def __len__(self) -> int:
        return len(self._lines or self._parsed)

    def plus(self, version: str, row: dict[str, Any]) -> "Rows":
        """These rows and one more, or another in place of one."""
        if not self._lines:
            return Rows(self._parsed | {version: row})
        return Rows(
            {name: known for name, known in self._parsed.items() if name != version} | {version: row},
            {**self._lines, version: documents.dump_line(row)},
        )

    def holding(self, text: bytes) -> list[str]:
        """The versions whose line holds ``text``: in bytes, which is many times faster than parsing each line."""
        return [version for version, line in self.lines() if text in line]

    def lines(self) -> Iterator[tuple[str, bytes]]:
        """Each version with its line."""
        if self._lines:
            yield from self._lines.items()
        else:
            for version, row in self._parsed.items():
                yield version, documents.dump_line(row)


def dump(index: Mapping[str, Any]) -> bytes:
    """The bytes of index.json: valid JSON with a line for each version, and the SHA-256 of all that precedes it."""
    lines = [b"{", b'"schema": %b,' % documents.dump_line(index["schema"]), b'"models": {']
    for position, (name, model) in enumerate(index["models"].items()):
        lines.append(b"%b: {" % documents.dump_line(name))
        lines += [b'"%b": %b,' % (key.encode(), documents.dump_line(model[key])) for key in model if key not in ROWS]
        for key in ROWS:
            lines.append(b'"%b": {' % key.encode())
            rows = [b'"%b": %b,' % (version.encode(), line) for version, line in model[key].lines()]
            if rows:
                rows[-1] = rows[-1][:-1]
            lines += rows
            lines.append(b"}" if key == ROWS[-1] else b"},")
        lines.append(b"}" if position == len(index["models"]) - 1 else b"},")
    return _sealed(b"\n".join([*lines, b"},", b""]))


def _sealed(body: bytes) -> bytes:
    return b'%b%b%b"\n}\n' % (body, _SEAL, hashlib.sha256(body).hexdigest().encode())


def parse(data: bytes) -> dict[str, Any]:
    """The index from the bytes of index.json.

    Raises:
        FormatError: it is not as ``dump`` wrote it.
    """
    body, _, _ = data.rpartition(_SEAL)
    if data != _sealed(body):
        raise FormatError("is not as ckptkit wrote it")
    head = b'{\n"schema": "%b",\n"models": {\n' % SCHEMA.encode()
    if not body.startswith(head):
        raise FormatError(f"is not of the format {SCHEMA}")
    models, at = {}, len(head)
    while body[at : at + 1] == b'"':
        end = body.index(b"\n", at)
        name = json.loads(body[at:end].removesuffix(b": {"))
        models[name], at = _model(body, end + 1)
    return {"schema": SCHEMA, "models": models}


def _model(body: bytes, at: int) -> tuple[dict[str, Any], int]:
    """A model's part, and where the next line begins."""
    part: dict[str, Any] = {}
    while body[at : at + 1] == b'"':
        end = body.index(b"\n", at)
        key, _, value = body[at + 1 : end].partition(b'": ')
        if value == b"{":
            end = body.index(b"\n}", end)  # no line of a version begins so
            part[key.decode()] = Rows({}, _rows(body[at + len(key) + len(b'"": {\n') : end]))
            end = body.index(b"\n", end + 1)
        else:
            part[key.decode()] = json.loads(value.removesuffix(b","))
        at = end + 1
    return part, body.index(b"\n", at) + 1


def _rows(lines: bytes) -> dict[str, bytes]:
    """The lines of versions; all but the last end in a comma."""
    split = (line[1:].partition(b'": ') for line in (lines + b",").split(b"\n")) if lines else ()
    return {version.decode(): row[:-1] for version, _, row in split}
