"""Words for what records hold: text that no terminal or editor acts upon, numbers in units, digests in short."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_SPACE = re.compile("[\t-\r\x1c-\x1f\x85\u2028\u2029]")
# Controls, what turns the writing direction, half characters, and what nobody sees but for the joiners that words and
# emoji need; written out, as str.isprintable differs between versions of Python.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def inert(text: str) -> str:
    """``text`` on one line, with every character that a terminal or an editor would obey written as its escape."""
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], _SPACE.sub(" ", text))


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as records have them, in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def world(distributed: Mapping[str, Any] | None) -> str:
    """Of how many ranks a training was, and who says so; empty where it was of one."""
    for launcher, told in (distributed or {}).items():
        if isinstance(told, Mapping) and isinstance(told.get("world_size"), int) and told["world_size"] > 1:
            return f"{told['world_size']} ranks ({launcher})"
    return ""


def cells(text: str) -> int:
    """How many cells of a terminal a text takes."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in {"W", "F"})
        for letter in text
    )


def cut(text: str, width: int) -> str:
    """``text``, ending in ``…`` where it takes more than ``width`` cells."""
    start = text[: 4 * width]  # a record may hold megabytes
    if start == text and cells(text) <= width:
        return text
    while start and cells(start) >= width:
        start = start[:-1]
    return f"{start}…"


def wrap(text: str, width: int) -> list[str]:
    """``text`` as lines of at most ``width`` cells, parted between words alone: a longer word has a line of its own."""
    lines: list[str] = []
    for word in re.findall(" *[^ ]+", text):
        if lines and cells(lines[-1]) + cells(word) <= width:
            lines[-1] += word
        else:
            lines.append(word.lstrip(" "))
    return lines


_UNITS = ("B", "kB", "MB", "GB", "TB")
_MOST = 1e18  # a record may claim what no disk holds and no run lasts


def size(count: int) -> str:
    """Bytes in decimal units: 999 B, 15 kB, 14.2 GB."""
    number = float(min(max(count, -_MOST), _MOST))
    place = 0
    while number >= 999.5 and place < len(_UNITS) - 1:  # noqa: PLR2004 - what rounds to the next unit
        number, place = number / 1000, place + 1
    digits = f"{number:.0f}" if place < 2 or number >= 100 else f"{number:.3g}"  # noqa: PLR2004 - three digits
    return f"{digits} {_UNITS[place]}"


def span(seconds: float) -> str:
    """A span of time in its largest unit: 12 s, 5 min, 3 hours, 71 days."""
    seconds = min(max(seconds, -_MOST), _MOST)
    for length, one, many in ((86_400, "day", "days"), (3600, "hour", "hours"), (60, "min", "min")):
        if seconds >= length:
            number = int(seconds // length)
            return f"{number} {one if number == 1 else many}"
    return f"{seconds:.3g} s"


def moment(text: str | None) -> datetime | None:
    """A time of a record; None for one that the calendar does not have, such as 30 February or a leap second."""
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None


def short(value: str) -> str:
    """A digest or commit by its first digits."""
    return f"{value[:15]}…" if value.startswith("sha256:") else value[:7]


def count(number: int, one: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def figure(value: object) -> str:
    """A metric's value in at most four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
