"""What may be shown of a text, a command line, of values and of addresses."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ckptkit.redact.forms import tokens
from ckptkit.redact.keeping import keeping
from ckptkit.redact.naming import Kind, assigned, assignments, kind_of, mark
from ckptkit.redact.places import without_places

_OPTION = re.compile(r"(?P<key>-{0,2}\+{0,2}[\w.-]+)=(?P<value>.*)", re.DOTALL)

_SHELL_WORD = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\s\"']+")
_SECRETS = re.compile(r"<redacted:(?!host>|uuid>)[a-z0-9-]+>")
_SCP = re.compile(r"(?:(?P<user>[^/]*)@)?(?P<host>[^/:@]{2,}|\[[^/\]]+\]):(?P<path>(?!:).+)")


def text(value: str, *, project: Path | None = None) -> str:
    """``value`` without secrets, private paths, and the names of this user and host.

    Tokens of a public form and what is assigned to a secret's name (``password=...``, ``api key: ...``) leave a mark,
    URLs lose their credentials; the project is written ``.``, the home ``~``, the user in a path ``<user>``, the host
    ``<host>``.
    """
    return without_places(assignments(tokens(value)), project)


def argv(arguments: Sequence[str], *, project: Path | None = None) -> tuple[str, ...]:
    """A command line as ``text``; ``--api-key X``, ``--api-key=X``, ``api_key=X`` lose the X, ``--host X`` too."""
    return tuple(_options([text(argument, project=project) for argument in arguments]))


def _options(words: Sequence[str]) -> Iterator[str]:
    """The words of a command line, as they may be shown; one of several words is a line for a shell."""
    option: str | None = None
    for shown in words:
        taken = None if option is None or shown.startswith("--") else mark(kind_of(option), shown.strip("\"'"))
        is_user = option in {"-u", "--user"} and ":" in shown and not keeping.get()
        if is_user and any(word.rpartition("/")[2] == "curl" for word in words):
            taken = "<redacted:user>"
        told = taken or option_without_secret(shown)
        if (told == shown or option == "-c") and len(parts := _SHELL_WORD.findall(shown)) > 1:
            redacted = _options(parts)
            told = _SHELL_WORD.sub(lambda _, redacted=redacted: next(redacted), shown)  # type: ignore[misc]
        yield told
        option = shown if shown.startswith("-") and "=" not in shown else None


def values(value: Any, *, project: Path | None = None) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """The same mappings, lists and tuples with every string redacted, by its key and as ``text``."""
    return _walk(value, "", None, project)


def url(value: str) -> str | None:
    """A git remote without credentials, query and fragment; a local path is ``local``; None for what is no address."""
    value = value.strip()
    if "://" in value:
        try:
            parts = urlsplit(value)
        except ValueError:  # brackets that hold no address
            return None
        user, _, host = parts.netloc.rpartition("@")
        if parts.scheme == "file" or not host:
            return "local"
        if keeping.get() and (":" in user or "ssh" not in parts.scheme):
            return text(value)
        kept = "git@" if user == "git" and "ssh" in parts.scheme else ""
        return text(f"{parts.scheme}://{kept}{host}{parts.path}")
    found = _SCP.fullmatch(value)
    if found:
        has_password = keeping.get() and ":" in (found["user"] or "")
        kept = f"{found['user']}@" if found["user"] == "git" or has_password else ""
        return text(f"{kept}{found['host']}:{found['path']}")
    return "local" if value else None


def counted(lineage: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, int]:
    """How many marks of secrets stand in a record, by dotted path of up to three parts, and in files, by their names.

    Args:
        lineage: the record as JSON types.
        files: the contents of files.
    """
    found: dict[str, int] = {}
    queue: list[tuple[str, Any]] = [("", lineage)]
    while queue:
        where, value = queue.pop()
        if isinstance(value, Mapping):
            deep = where.count(".") >= 2  # noqa: PLR2004 - three parts
            for key, each in value.items():
                queue.append((where if deep else f"{where}.{key}" if where else str(key), each))
                queue.append((where, str(key)))
        elif isinstance(value, list | tuple):
            queue += [(where, each) for each in value]
        elif isinstance(value, str) and (number := len(_SECRETS.findall(value))):
            found[where] = found.get(where, 0) + number
    for name, content in files.items():
        if b"<redacted:" in content:
            found[name] = len(_SECRETS.findall(content.decode("utf-8", "replace")))
    return {where: number for where, number in sorted(found.items()) if number}


def _walk(value: Any, name: str, kind: Kind, project: Path | None) -> Any:  # noqa: ANN401 - as values
    if isinstance(value, str):
        shown = text(value, project=project)
        return mark(kind, shown) or shown
    if isinstance(value, Mapping):
        under = kind if kind and kind[1] else None  # all that stands below "credentials" is secret
        return {
            (text(key, project=project) if isinstance(key, str) else key): _walk(
                item, str(key), _kind_below(name, str(key)) or under, project
            )
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        items = [_walk(item, name, kind, project) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    return value


def _kind_below(name: str, key: str) -> Kind:
    """The kind of secret that stands under a key, which alone may say little: ``wandb: {key: ...}``."""
    return kind_of(f"{name} {key}") if key.lower() in {"key", "pass", "token"} else kind_of(key)


def option_without_secret(argument: str) -> str:
    """A word of a command line without what is assigned in it to a name of a secret or of a host."""
    whole = _OPTION.fullmatch(argument)
    taken = mark(kind_of(whole["key"]), whole["value"]) if whole else None
    return f"{whole['key']}={taken}" if whole and taken else assigned(argument, certain=False)
