"""The patch: what has to be left out of it before it is kept."""

import os
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator
from io import BytesIO
from itertools import groupby

from ckptkit import redact
from ckptkit.capture.repository import Git

CONFIDENTIAL = re.compile(
    r"(?:.*/)?(?:[^/]*\.env|\.env\.[^/]*|[^/]*\.(?:jks|kdbx|key|keystore|p12|p8|pem|pfx|ppk)|id_(?:dsa|ecdsa|ed25519|rsa)[^/]*"
    r"|\.(?:git-credentials|htpasswd|netrc|npmrc|pgpass|pypirc)|credentials(?:\.(?:ini|json|toml))?|kaggle\.json)",
    re.DOTALL,
)
"""Paths of files that are there to hold a secret: never in a patch unless they are committed."""

_LFS = re.compile(r"^[+ ]version https://git-lfs\.github\.com/spec/v1$", re.MULTILINE)
_SETTINGS = re.compile(  # files whose values need no quotes; a shell ends them at a blank
    r"(?:.*/)?(?:(?:[^/]*\.)?env(?:\.[^/]*|rc)?|[^/]*\.(?:cfg|cnf|conf|config|ini|properties|toml|ya?ml)"
    r"|(?P<shell>[^/]*\.(?:bash|pbs|sbatch|sh|slurm|zsh)|[^/]*Dockerfile[^/]*))",
    re.DOTALL,
)
_SETTING = re.compile(r"(\W*(?:export\s+)?([\w.-]{1,128})\s{0,16}[:=]\s{0,16})([^\s\"'`{|>].*?)(\s#.*|\r?)")
_STRING = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")
_ESCAPED_STRING = re.compile(r"\\\"[^\"\\]*\\\"|'[^'\\]*'")  # of code in a notebook
_ASSIGNED = re.compile(  # what stands before a string: a name, a hint of its type, = or :, what opens a literal
    r"(?<![\w.-])([\w.-]{1,128})(\\?[\"']\]?)?\s{0,16}(?::[\w.\[\], |]{1,60}=|:=|=>?|(:))\s{0,16}"
    r"\(?\\?\s{0,64}[rbuRBU]{0,2}$"
)
_FALLBACK = re.compile(  # what stands before a string that is taken where nothing is given: `getenv("API_KEY", "...")`
    r"(?:get|getenv|putenv|setdefault|setenv)\(\s*\\?[\"']([\w.-]{1,128})\\?[\"'],\s*$"
    r"|(?:argument|option)\((?:[^()]|\([^()]*\))*?--([\w-]{1,128})(?:[^()]|\([^()]*\))*\bdefault\s*=\s*$"
)
_REACH = 256
_BINARY = re.compile(r"^index ([0-9a-f]+)\.\.([0-9a-f]+).*\nGIT binary patch$", re.MULTILINE)
_PRINTABLE = re.compile(rb"[\x20-\x7e]{8,}")
_LEFT_OUT = "left out: holds a secret"


def without_secrets(patch: bytes, git: Git) -> tuple[bytes, dict[str, str]]:
    """The patch with secrets in added lines redacted, less the files that hold one elsewhere.

    In added lines both signs of a secret count: the public form of a token, and the name that a literal is assigned to
    (in code a quoted one, in files of settings any). In removed lines, in those around and in a file's name only the
    form counts, and it costs the whole file, as the patch would not apply without them. An assignment there stays: it
    is in the commit already, and an old password of a test must not keep every change to its file out of the record.
    Of a binary file, before and after, the form counts as well; what is compressed in it is not looked into.

    Args:
        patch: as git made it.
        git: where the objects of binary files are read.

    Returns:
        The patch, and by path the reason of each file that it does not hold as it was.

    Raises:
        ProbeError: the objects cannot be read.
    """
    kept: list[str] = []
    reasons: dict[str, str] = {}
    whole = f"\n{patch.decode('utf-8', 'surrogateescape')}".removesuffix("\n")
    sections = [f"diff --git {section}\n" for section in whole.split("\ndiff --git ")[1:]]
    secret = frozenset(_secret_objects(sections, git))
    for first, parts in groupby(sections, key=lambda section: section.partition("\n")[0]):  # two where the type changed
        name = _name(first)
        redacted = [_redacted(part, name, secret) for part in parts]
        if all(text for text, _ in redacted):
            kept.extend(text for text, _ in redacted)
        _, why = max(redacted, key=lambda each: (bool(each[1]), not each[0]))
        if why:
            reasons[name] = why
    return "".join(kept).encode("utf-8", "surrogateescape"), reasons


def source(data: bytes, path: str) -> bytes:
    """A file of source code without its secrets, as added lines of a patch are.

    Args:
        data: its content.
        path: its name, which tells what a literal looks like in it.
    """
    lines = redact.tokens(data.decode("utf-8", "surrogateescape")).split("\n")
    kept = _without_literals((f"+{line}" for line in lines), path)
    return "\n".join(line[1:] for line in kept).encode("utf-8", "surrogateescape")


def _secret_objects(sections: list[str], git: Git) -> Iterator[str]:
    """The ids of the objects in binary sections that hold a secret; they are compressed there, and read from git."""
    ids = {
        oid
        for section in sections
        if (found := _BINARY.search(section.partition("\n@@ ")[0]))
        for oid in found.groups()
    }
    asked = sorted(oid for oid in ids if oid.strip("0"))
    said = BytesIO(git("cat-file", "--batch", stdin="".join(f"{oid}\n" for oid in asked)) if asked else b"")
    for oid in asked:
        size = int(said.readline().split()[2])
        blob = said.read(size + 1)
        if blob.startswith((BOM_UTF16_BE, BOM_UTF16_LE)):
            blob = blob.replace(b"\0", b"")
        words = _PRINTABLE.findall(blob)
        if redact.has_secret(b"\n".join(words).decode("ascii")):
            yield oid


def _redacted(section: str, name: str, secret: frozenset[str]) -> tuple[str, str]:
    """One file's part of a patch as it may be kept, empty if not at all; and why it is not as it was."""
    if redact.has_secret(name):
        return "", "left out: its name holds a secret"
    header, at, body = section.partition("\n@@ ")
    if not at:  # binary, empty, or another mode only
        binary = _BINARY.search(header)
        return ("", _LEFT_OUT) if binary and not secret.isdisjoint(binary.groups()) else (section, "")
    lines = body.split("\n")
    if redact.has_secret("\n".join(line[1:] for line in lines)):
        added = "\n".join(line[1:] for line in lines if line.startswith("+"))
        lines = [
            f"+{redact.tokens(line[1:])}" if line.startswith("+") and redact.has_secret(line[1:]) else line
            for line in lines
        ]
        one_line_each = redact.tokens(added).count("\n") == added.count("\n")  # a private key has many
        if not one_line_each or redact.has_secret("\n".join(line[1:] for line in lines)):
            return "", _LEFT_OUT
    if redact.may_assign(body):
        lines = list(_without_literals(lines, name))
    kept = "\n".join(lines)
    if kept != body:
        return header + at + kept, "redacted: holds a secret"
    return section, "kept by Git LFS: the patch holds its pointer" if _LFS.search(body) else ""


def _without_literals(lines: Iterable[str], path: str) -> Iterator[str]:
    """Lines of a patch, of which the added ones lose the literals that are assigned to a secret's name."""
    above = ""
    for line in lines:
        yield f"+{_unassigned(line[1:], path, above)}" if line.startswith("+") else line
        if not line.startswith("-"):
            above = f"{above}{line[1:]}\n"[-_REACH:]


def _unassigned(line: str, path: str, above: str) -> str:
    """A line of a file without literals that are assigned to a secret's name; calls, names and attributes are none."""
    quoted = '"' in line or "'" in line
    if not redact.may_assign(above + line if quoted else line):
        return line
    settings = _SETTINGS.fullmatch(path)
    if settings:
        whole = None if settings["shell"] else _SETTING.fullmatch(line)
        mark = redact.literal(whole[2], whole[3].strip()) if whole else None
        return f"{whole[1]}{mark}{whole[4]}" if whole and mark else redact.assignments(line)
    out: list[str] = []
    done = 0
    # Strings are taken from left to right, so that `"Password: "` is one and not the beginning of an assignment.
    for string in (_ESCAPED_STRING if path.endswith(".ipynb") else _STRING).finditer(line):
        before = line[done : string.start()] if done else above + line[: string.start()]
        value = string[0].strip("\\\"'")
        mark = redact.literal(_assigned_to(before[-_REACH:], path), value)
        if mark:
            out += [line[done : string.start()], string[0].replace(value, mark)]
            done = string.end()
    return "".join([*out, line[done:]])


def _assigned_to(before: str, path: str) -> str:
    """The name that a string is assigned to, by what stands before it; empty where there is none."""
    if found := _FALLBACK.search(before):
        return found[1] or found[2]
    found = _ASSIGNED.search(before)
    is_hint = found and found[3] and not found[2] and path.endswith((".py", ".pyi", ".ipynb"))  # `password: "Secret"`
    return found[1] if found and not is_hint else ""


def _name(first: str) -> str:
    pair = first.removeprefix("diff --git ")  # a/x b/x: nothing is renamed
    name = pair[len(pair) // 2 + 1 :]
    if not name.startswith('"'):
        return name[len("b/") :]
    escaped = os.fsencode(name[1:-1]).decode("unicode_escape")  # as in C, by bytes
    return os.fsdecode(escaped.encode("latin-1"))[len("b/") :]
