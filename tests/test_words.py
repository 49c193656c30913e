import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptkit import words


@pytest.mark.parametrize(
    ("count", "text"),
    [
        *((0, "0 B"), (999, "999 B"), (1000, "1 kB"), (15_241, "15 kB"), (999_499, "999 kB"), (999_500, "1 MB")),
        *((1_234_567, "1.23 MB"), (123_456_789, "123 MB"), (14_200_000_000, "14.2 GB"), (2 * 10**15, "2000 TB")),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert words.size(count) == text


@given(st.text(), st.integers(1, 50))
def test_cut_text_fits(text: str, width: int) -> None:
    found = words.cut(words.inert(text), width)
    assert words.cells(found) <= width
    assert found == words.inert(text) or found.endswith("…")


@given(st.text(), st.integers(1, 50))
def test_wrapped_text_fits_and_keeps_its_words(text: str, width: int) -> None:
    plain = words.inert(text)
    found = words.wrap(plain, width)
    assert [word for line in found for word in line.split(" ") if word] == [word for word in plain.split(" ") if word]
    assert all(words.cells(line) <= width or " " not in line for line in found)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Größe 🐧 ペンギン, 👩\u200d🔬, क्\u200cष", "Größe 🐧 ペンギン, 👩\u200d🔬, क्\u200cष"),
        ("a\nb\r\tc\x0b\x85\u2028d", "a b  c   d"),
        ("\x1b[31m\x00\x7f\x9b", r"\x1b[31m\x00\x7f\x9b"),
        ("\u202e\u2066\u200f\ufeff\u200b\xad", r"\u202e\u2066\u200f\ufeff\u200b\xad"),
        ("\ud800\udc80", r"\ud800\udc80"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_inert_text_spells_out_what_would_be_obeyed(text: str, plain: str) -> None:
    assert words.inert(text) == plain


@given(st.text())
def test_inert_text_is_one_line_and_stays_as_it_is(text: str) -> None:
    found = words.inert(text)
    assert words.inert(found) == found
    assert len(found.splitlines()) <= 1
    assert not any(ord(letter) < 32 or letter in "\x7f\u202e" for letter in found)
    found.encode()
