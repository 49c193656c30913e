"""Where this machine and its user show: the home, the project, the user's name in a path, the host."""

import os
import re
from functools import lru_cache
from pathlib import Path

from ckptkit.redact.forms import tokens

_MARK = re.compile(r"<redacted:[a-z0-9-]+>")
_COMMON = re.compile(  # users and hosts of these names tell nobody's name, and the words are needed
    r"admin|data|docker|gpu|guest|home|host|jovyan|local|localhost(?:\..*)?|main|master|models?|node|nobody|opt|projects?"
    r"|root|runner|runs|scratch|server|share|src|srv|test|tmp|train|ubuntu|users?|usr|var|vscode|work|worker|workspace",
    re.IGNORECASE,
)


def path(value: Path, project: Path | None) -> tuple[str, bool]:
    """How a path is recorded, and whether it lies outside of project and home.

    Returns:
        The POSIX path relative to the project (``.`` for itself) or below ``~``, and False; or else the last component
        and True.
    """
    asked = os.path.abspath(value)  # noqa: PTH100 - Path.absolute keeps ".."
    for candidate in dict.fromkeys((asked, os.path.realpath(asked))):
        for base, name in _places(_home(), project):
            if candidate == base:
                return name, False
            if candidate.startswith(f"{base}/"):
                below = candidate[len(base) + 1 :]
                return tokens(below if name == "." else f"{name}/{below}"), False
    return _anonymous(f"/{tokens(os.path.basename(asked))}")[1:] or "/", True  # noqa: PTH119 - a string already


def found(shown: str, project: Path) -> Path:
    """Where a path lies that ``path`` wrote as one below the project or the home folder."""
    if shown == "~" or shown.startswith("~/"):
        return Path(_home() + shown[1:])
    return project / shown


def without_places(value: str, project: Path | None) -> str:
    """``value`` with the project as ``.``, the home as ``~``, ``<user>`` and ``<host>``."""
    pattern, names = _private_paths(_home(), project)
    if any(folder in value for folder in names):
        value = pattern.sub(lambda found: names[found[0]], value)
    return _anonymous(value)


def _anonymous(value: str) -> str:
    users, hosts = _users(), _hosts(os.uname().nodename)
    if any(user in value for user in users):  # a URL's path is no path of this machine
        names = "|".join(map(re.escape, users))
        before = r"(?<=/)|(?<=/tmp/)(?P<of>[\w-]{1,64}[_-])"  # /tmp/torchinductor_me, /tmp/pytest-of-me
        form = rf"(?<![\w+.-])(?!file:)[A-Za-z][\w+.-]{{0,20}}://[^\s\"']*|(?:{before})(?:{names})(?![\w-]|\.\w)"
        value = re.sub(form, lambda found: found[0] if "://" in found[0] else f"{found['of'] or ''}<user>", value)
    if any(host in value for host in hosts):
        form = rf"{_MARK.pattern}|(?<![A-Za-z0-9<-])(?:{'|'.join(map(re.escape, hosts))})(?![A-Za-z0-9-])"
        value = re.sub(form, lambda found: found[0] if found[0].startswith("<") else "<host>", value)
    return value


def _users() -> tuple[str, ...]:
    return _told_apart(os.environ.get("LOGNAME") or os.environ.get("USER") or _account(), _home())


@lru_cache(maxsize=8)
def _told_apart(account: str, home: str) -> tuple[str, ...]:
    """The names of this user that are told from ordinary words; in a container a home may bear another than root's."""
    folder, _, last = home.rpartition("/")
    names = dict.fromkeys((account, last if folder.endswith(("/home", "/Users")) else ""))
    return tuple(name for name in names if len(name) >= len("eve") and not _COMMON.fullmatch(name))


@lru_cache(maxsize=1)
def _account() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container
        return ""


@lru_cache(maxsize=8)
def _hosts(node: str) -> tuple[str, ...]:
    """The names of this host that are told from ordinary words, the longest first."""
    both = dict.fromkeys((node, node.partition(".")[0]))
    return tuple(name for name in both if len(name) > len("gpu") and not (name.isdigit() or _COMMON.fullmatch(name)))


def _home() -> str:
    return os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none


@lru_cache(maxsize=64)
def _places(home: str, project: Path | None) -> tuple[tuple[str, str], ...]:
    """Folders and how they are written, as given and with links resolved, the deeper of home and project first."""
    inside = dict.fromkeys(_variants(str(project or "")), ".")
    private = dict.fromkeys(_variants(home), "~")
    if any(one.startswith(f"{two}/") for one in private for two in inside):
        return tuple((private | inside).items())
    return tuple((inside | {folder: name for folder, name in private.items() if folder not in inside}).items())


def _variants(folder: str) -> list[str]:
    if not os.path.isabs(folder):  # noqa: PTH117 - a string already
        return []
    both = os.path.normpath(folder), os.path.realpath(folder)
    return [each for each in both if each.strip("/")]  # "/" would eat every path


@lru_cache(maxsize=64)
def _private_paths(home: str, project: Path | None) -> tuple[re.Pattern[str], dict[str, str]]:
    names = dict(_places(home, project))
    folders = "|".join(re.escape(folder) for folder in names)
    # A folder begins a path: at the start of a word, after -I or -L, or after file://; and ends at a component's end.
    return re.compile(
        rf"(?:(?<![\w.~/-])(?<!<host>|<user>)|(?<=(?<!\w)-[A-Za-z])|(?<=file://))(?:{folders})(?![\w-]|\.\w)"
    ), names
