import os
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptkit import manifest
from ckptkit.errors import FormatError

names = st.lists(
    st.binary(min_size=1, max_size=12).filter(lambda name: not {b"\0", b"/"} & {*map(bytes, zip(name, strict=True))}),
    min_size=1,
    max_size=4,
).filter(lambda parts: not {b".", b".."} & {*parts})
paths = names.map(lambda parts: os.fsdecode(b"/".join(parts)))
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)


@settings(deadline=None)
@given(st.dictionaries(paths, digests, max_size=6))
def test_load_is_the_inverse_of_dump(entries: dict[str, str]) -> None:
    data = manifest.dump(entries.items())
    assert manifest.load(data) == entries
    assert manifest.dump(manifest.load(data).items()) == data
    assert list(manifest.load(data)) == sorted(entries, key=os.fsencode)


@settings(deadline=None)
@given(st.dictionaries(paths, digests, min_size=1, max_size=3), st.data())
def test_whatever_loads_dumps_to_the_same_lines(entries: dict[str, str], data: st.DataObject) -> None:
    text = bytearray(manifest.dump(entries.items()))
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = manifest.load(bytes(text))
    except FormatError:
        return
    again = manifest.dump(found.items())
    assert sorted(again.split(b"\n")) == sorted(re.sub(rb"(?m)^(\\?[0-9a-f]{64}) \*", rb"\1  ", text).split(b"\n"))


HEX = b"0" * 64


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (HEX + b" ./a", "not of the form"),
        (HEX + b"  a", "not of the form"),
        (HEX.upper().replace(b"0", b"A") + b"  ./a", "not of the form"),
        (HEX[1:] + b"  ./a", "not of the form"),
        (b"", "not of the form"),
        (HEX + b"  ./", "not of the form"),
        (HEX + b"  ./a\0b", "not of the form"),
        (HEX + b"  ./a\r", "CR LF"),
        (HEX + b"  ./a\rb", "backslashes"),
        (HEX + b"  ./a\\b", "backslashes"),
        (b"\\" + HEX + b"  ./a", "backslashes"),
        (b"\\" + HEX + b"  ./a\\tb", "backslashes"),
        (b"\\" + HEX + b"  ./a\\", "backslashes"),
        (HEX + b"  ./../a", "not plainly below"),
        (HEX + b"  ./a/../b", "not plainly below"),
        (HEX + b"  .//etc/passwd", "not plainly below"),
        (HEX + b"  ./a//b", "not plainly below"),
        (HEX + b"  ././a", "not plainly below"),
        (HEX + b"  ./a/", "not plainly below"),
        (HEX + b"  ./first", "stands twice"),
        (HEX + b" *./first", "stands twice"),
    ],
)
def test_load_names_the_line_that_is_wrong(line: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words) as caught:
        manifest.load(HEX + b"  ./first\n" + line + b"\n")
    assert caught.value.line == 2


def test_load_takes_binary_mode_and_refuses_a_cut_line() -> None:
    assert manifest.load(HEX + b" *./a\n") == {"a": HEX.decode()}
    assert manifest.load(b"") == {}
    with pytest.raises(FormatError, match="cut off") as caught:
        manifest.load(HEX + b"  ./a\n" + HEX + b"  ./b")
    assert caught.value.line == 2
