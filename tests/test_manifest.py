import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptkit import manifest
from ckptkit.errors import FormatError
from ckptkit.manifest import Listing, Manifest, State, hashed_row, listed_row

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
states = st.tuples(
    st.integers(0, 1 << 63),
    st.integers(-(1 << 40), 1 << 62),
    st.integers(0, 1 << 62),
    st.integers(0, (1 << 64) - 1),
    st.integers(0, 1 << 32),
).map(lambda parts: State(*parts))


@settings(deadline=None)
@given(st.dictionaries(paths, st.tuples(digests, states), max_size=6))
def test_rows_keep_what_was_put_in(files: dict[str, tuple[str, State]]) -> None:
    encoded = {os.fsencode(path): known for path, known in files.items()}
    found = Manifest(
        rows=sorted(hashed_row(path, bytes.fromhex(hex_), state.size) for path, (hex_, state) in encoded.items())
    )
    listed = Listing(rows=sorted(listed_row(path, state) for path, (_, state) in encoded.items()))
    assert [(file.path, file.sha256, file.bytes) for file in found] == [
        (path, files[path][0], files[path][1].size) for path in sorted(files, key=os.fsencode)
    ]
    assert [(path, state) for path, state in listed] == [
        (path, files[path][1]) for path in sorted(files, key=os.fsencode)
    ]
    text = manifest.dump((path, hex_) for path, (hex_, _) in files.items())
    assert b"".join(found.lines()) == text
    assert found.digest == f"sha256:{hashlib.sha256(text).hexdigest()}"
    assert len(found) == len(listed) == len(files)
    assert found.bytes == listed.bytes == sum(state.size for _, state in files.values())


def test_a_state_far_in_the_future_fits() -> None:
    state = State(1, 1 << 63, 1 << 64, 1, 0)
    ((_, kept),) = Listing(rows=[listed_row(b"x", state)])
    assert kept == State(1, (1 << 63) - 1, (1 << 63) - 1, 1, 0)


def test_a_million_files_are_small() -> None:
    rows = [hashed_row(b"shards/%07d.jpg" % number, bytes(32), 4096) for number in range(1000)]
    assert sum(map(sys.getsizeof, rows)) < 105 * len(rows)


def test_the_lines_of_a_listing() -> None:
    listed = Listing(rows=[listed_row(b"a\nb", State(12, 1, 1, 1, 0)), listed_row(b"c d", State(0, 1, 1, 1, 0))])
    assert b"".join(listed.lines()) == b"\\12  ./a\\nb\n0  ./c d\n"


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


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (HEX + b"  a", "a"),
        (HEX + b" *a b", "a b"),
        (HEX + b"  ./a/b", "a/b"),
        (HEX.replace(b"0", b"A") + b"  a", "a"),
        (HEX + b"  -a", "-a"),
        (HEX + b"  a\\b", "a\\b"),
        (b"\\" + HEX + b"  a\\\\b\\nc", "a\\b\nc"),
        (b"SHA256 (a (1)) = " + HEX, "a (1)"),
        (b"\\SHA256 (a\\nb) = " + HEX, "a\nb"),
        (b"SHA2-256(./a)= " + HEX, "a"),
    ],
)
def test_what_people_have_made(line: bytes, path: str) -> None:
    assert manifest.read_loose(line + b"\n" + HEX + b"  zz\n").keys() == {path, "zz"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"0" * 32 + b"  a", "holds a digest of MD5, where SHA-256 is needed"),
        (b"0" * 40 + b"  a", "holds a digest of SHA1"),
        (b"0" * 128 + b"  a", "holds a digest of SHA512"),
        (b"0" * 60 + b"  a", "holds 60 hex digits"),
        (b"MD5 (a) = " + b"0" * 32, "holds a digest of MD5"),
        (b"SHA512/256 (a) = " + HEX, "holds a digest of SHA512/256"),
        (HEX + b"  first", "stands twice"),
        (HEX + b"  ./first", "stands twice"),
        (HEX + b"  /data/a", "not plainly below"),
        (HEX + b"  ../a", "not plainly below"),
        (HEX + b"  a\r", "CR LF"),
        (b"a,b", "not of the form"),
        (b"", "not of the form"),
    ],
)
def test_what_people_have_made_that_is_no_manifest(line: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words) as caught:
        manifest.read_loose(HEX + b"  first\n" + line + b"\n")
    assert caught.value.line == 2


def test_a_manifest_of_nothing() -> None:
    with pytest.raises(FormatError, match="lists no file"):
        manifest.read_loose(b"")


@pytest.mark.parametrize(
    "command", ["sha256sum *", "sha256sum -b ./*", "sha256sum --tag *", "shasum -a 256 *", "openssl dgst -sha256 *"]
)
def test_what_the_tools_really_print(tmp_path: Path, command: str) -> None:
    tool = command.partition(" ")[0]
    if not shutil.which(tool):
        pytest.skip(f"needs {tool}")
    expected = {}
    for name in ("plain", "two words", "a(1)", "größe", "line\nbreak", "back\\slash"):
        if tool == "openssl" and {*"\n\\"} & {*name}:  # which escapes nothing
            continue
        (tmp_path / name).write_text(name)
        expected[name] = hashlib.sha256(name.encode()).hexdigest()
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, check=True)
    assert manifest.read_loose(done.stdout) == expected
