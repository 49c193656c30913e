"""Records read from JSON, strictly, as the type annotations of their fields say. No disk, no clock, no network."""

import re
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Annotated, Any, ClassVar, Literal, Self, Union, get_args, get_origin, get_type_hints

from ckptkit.errors import FormatError, NewerFormatError


class Form(str):
    """A regular expression that a string has to match whole; used in ``Annotated[str, Form(...)]``."""

    __slots__ = ()


_Read = Callable[[object, str], Any]
_SHOWN = 60  # characters of a wrong value in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Base of all records; keys that this release does not know are carried along in ``extra``."""

    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, value: object, where: str = "") -> Self:
        """Read a record from parsed JSON.

        Args:
            value: what the JSON held.
            where: dotted path of ``value`` in its file, for error messages.

        Raises:
            FormatError: ``value`` is not of this record's form.
        """
        if not isinstance(value, Mapping):
            raise _wrong(where, value, "an object")
        known: dict[str, Any] = {}
        for name, (read, required) in readers(cls).items():
            if name in value:
                known[name] = read(value[name], f"{where}.{name}" if where else name)
            elif required:
                raise FormatError(f"{f'{where}.' if where else ''}{name}: is missing")
        return cls(**known, extra={key: kept for key, kept in value.items() if key not in readers(cls)})

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON types, keys in reading order; the inverse of ``from_dict``."""
        out = {item.name: _plain(getattr(self, item.name)) for item in fields(self) if item.name != "extra"}
        return out | dict(self.extra)


def _plain(value: object) -> Any:  # noqa: ANN401 - JSON has no narrower type
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _wrong(where: str, value: object, wanted: str) -> FormatError:
    shown = repr(value)
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
    return FormatError(f"{where or 'the document'}: {shown} is not {wanted}")


_known_readers: dict[type[Record], Mapping[str, tuple[_Read, bool]]] = {}


def readers(cls: type[Record]) -> Mapping[str, tuple[_Read, bool]]:
    """For each field how to read it, and whether it must be there; worked out once per class."""
    if cls not in _known_readers:
        hints = get_type_hints(cls, include_extras=True)
        _known_readers[cls] = {
            item.name: (_reader(hints[item.name]), item.default is MISSING and item.default_factory is MISSING)
            for item in fields(cls)
            if item.name != "extra"
        }
    return _known_readers[cls]


def _reader(kind: Any) -> _Read:  # noqa: ANN401 - a type expression
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _form(arguments[1])
    if origin in {types.UnionType, Union}:
        return _union([_reader(each) for each in arguments])
    if origin is Literal:
        return _literal(arguments)
    if origin is tuple:
        return _sequence(_reader(arguments[0]))
    if origin is Mapping:
        return _mapping(_reader(arguments[1]))
    if isinstance(kind, type) and issubclass(kind, Record):
        return kind.from_dict
    return _SCALARS[kind]


def _form(pattern: str) -> _Read:
    matches = re.compile(pattern, re.ASCII).fullmatch

    def read(value: object, where: str) -> object:
        if isinstance(value, str) and matches(value):
            return value
        raise _wrong(where, value, f"a string of the form {pattern}")

    return read


def _literal(allowed: tuple[object, ...]) -> _Read:
    def read(value: object, where: str) -> object:
        if isinstance(value, str) and value in allowed:
            return value
        raise _wrong(where, value, f"one of {', '.join(map(repr, allowed))}")

    return read


def _sequence(item: _Read) -> _Read:
    def read(value: object, where: str) -> object:
        if isinstance(value, list | tuple):
            return tuple(item(each, f"{where}[{position}]") for position, each in enumerate(value))
        raise _wrong(where, value, "a list")

    return read


def _mapping(item: _Read) -> _Read:
    def read(value: object, where: str) -> object:
        if isinstance(value, Mapping):
            return {str(key): item(each, f"{where}.{key}") for key, each in value.items()}
        raise _wrong(where, value, "an object")

    return read


def _union(alternatives: list[_Read]) -> _Read:
    def read(value: object, where: str) -> object:
        failures: list[FormatError] = []
        for alternative in alternatives:
            try:
                return alternative(value, where)
            except FormatError as error:
                failures.append(error)
        raise max(failures, key=lambda error: error.message.partition(": ")[0].count("."))

    return read


def _scalar(accepts: Callable[[object], bool], wanted: str) -> _Read:
    def read(value: object, where: str) -> object:
        if accepts(value):
            return value
        raise _wrong(where, value, wanted)

    return read


_SCALARS: Mapping[object, _Read] = {
    str: _scalar(lambda value: isinstance(value, str), "a string"),
    bool: _scalar(lambda value: isinstance(value, bool), "true or false"),
    int: _scalar(lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number"),
    float: _scalar(lambda value: isinstance(value, int | float) and not isinstance(value, bool), "a number"),
    type(None): _scalar(lambda value: value is None, "null"),
    Any: _scalar(lambda _: True, "anything"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Document(Record):
    """Base of records that are a file of their own; ``FORMAT`` is the newest format of theirs that is read."""

    FORMAT: ClassVar[str]

    @classmethod
    def from_dict(cls, value: object, where: str = "") -> Self:
        """Read a whole file; see ``Record.from_dict``.

        Raises:
            NewerFormatError: it is of a later format.
        """
        _refuse_newer(value, cls.FORMAT)
        return super(Document, cls).from_dict(value, where)


def _refuse_newer(value: object, schema: str) -> None:
    family, _, version = schema.rpartition("/")
    said = value.get("schema") if isinstance(value, Mapping) else None
    found = re.fullmatch(rf"{re.escape(family)}/([1-9]\d*)", said) if isinstance(said, str) else None
    if found and int(found[1]) > int(version):
        raise NewerFormatError(
            f"the format {said} is newer than {schema}, the newest that this release reads",
            "install a newer release of ckptkit",
        )
