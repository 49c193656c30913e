"""The patch: what has to be left out of it before it is kept."""

import os
import re
from itertools import groupby

from ckptkit import redact

_NAME = re.compile(r"^(?:---|\+\+\+) (?:\"[ab]/(.*)\"|[ab]/(.*?))\t?$", re.MULTILINE)
_LFS = re.compile(r"^[+ ]version https://git-lfs\.github\.com/spec/v1$", re.MULTILINE)


def without_secrets(patch: bytes) -> tuple[bytes, dict[str, str]]:
    """The patch with secrets in added lines redacted, less the files that hold one elsewhere.

    Returns:
        The patch, and by path the reason of each file that it does not hold as it was.
    """
    kept: list[str] = []
    reasons: dict[str, str] = {}
    sections = re.split(r"^(?=diff --git )", patch.decode("utf-8", "surrogateescape"), flags=re.MULTILINE)[1:]
    for _, parts in groupby(sections, key=lambda section: section.partition("\n")[0]):  # two where the type changed
        redacted = [(part, *_redacted(part)) for part in parts]
        if all(text for _, text, _ in redacted):
            kept.extend(text for _, text, _ in redacted)
        part, _, why = max(redacted, key=lambda each: (bool(each[2]), not each[1]))
        if why:
            reasons[_name(part)] = why
    return "".join(kept).encode("utf-8", "surrogateescape"), reasons


def _redacted(section: str) -> tuple[str, str]:
    """One file's part of a patch as it may be kept, empty if not at all; and why it is not as it was."""
    header, at, body = section.partition("\n@@ ")
    lines = body.split("\n")
    if not at:  # binary, empty, or another mode only
        return section, ""
    if not redact.has_secret("\n".join(line[1:] for line in lines)):
        return section, "kept by Git LFS: the patch holds its pointer" if _LFS.search(body) else ""
    added = "\n".join(line[1:] for line in lines if line.startswith("+"))
    lines = [
        f"+{redact.text(line[1:])}" if line.startswith("+") and redact.has_secret(line[1:]) else line for line in lines
    ]
    one_line_each = redact.text(added).count("\n") == added.count("\n")  # a private key has many
    if not one_line_each or redact.has_secret("\n".join(line[1:] for line in lines)):
        return "", "left out: holds a secret"
    return header + at + "\n".join(lines), "redacted: holds a secret"


def _name(section: str) -> str:
    quoted, plain = _NAME.findall(section.partition("\n@@ ")[0])[-1]
    if not quoted:
        return str(plain)
    escaped = os.fsencode(quoted).decode("unicode_escape")  # as in C, by bytes
    return os.fsdecode(escaped.encode("latin-1"))
