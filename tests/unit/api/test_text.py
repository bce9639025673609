"""What is shown of words that somebody else wrote."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuquery.api.text import MARK, clean, cleaned

TRICKS = (
    "\x00\t\n\r\x1b\x7f\x85\x9b\u00a0\u00ad\u034f\u200b\u200d\u200e\u202e\u2028\u2066\u2069\u3164\ufe00\ufeff\ufffe"
    "\ud800\udfff\ue000\U000e0041 |x"
)
PIECES = st.sampled_from(TRICKS) | st.text(st.characters(exclude_categories=()), max_size=5)
ANYTHING = st.lists(PIECES, max_size=20).map("".join)
"""Every code point there is, lone surrogates too; those that hide more often than others."""
HIDES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@given(ANYTHING)
def test_nothing_that_cannot_be_seen_comes_through_and_no_further_line_begins_at_the_margin(text: str) -> None:
    first, *further = clean(text).split("\n")
    assert all(unicodedata.category(character) not in HIDES for character in first + "".join(further))
    assert all(line.startswith(MARK) for line in further)
    clean(text).encode()


@given(ANYTHING)
def test_what_is_clean_stays_as_it_is(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@given(ANYTHING, st.integers(0, 80))
def test_a_text_is_never_longer_than_it_may_be_and_cut_visibly(text: str, limit: int) -> None:
    shown = clean(text, limit)
    assert len(shown) <= limit
    assert shown == clean(text) or shown.endswith(" ..."[:limit])
    assert clean(shown, limit) == shown


@given(st.text(st.characters(codec="latin-1", categories=("L", "N", "P", "S")), max_size=60))
def test_letters_digits_and_signs_stay(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("\x1b[31mred", "\\u001b[31mred", id="a terminal escape"),
        pytest.param("\x9b2J\x07", "\\u009b2J\\u0007", id="C1 control and bell"),
        pytest.param("\x7f\x00", "\\u007f\\u0000", id="DEL and NUL"),
        pytest.param("a\u202eb\u2066c\u200f", "a\\u202eb\\u2066c\\u200f", id="bidi marks"),
        pytest.param("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff", id="zero width"),
        pytest.param("\ud800", "\\ud800", id="a lone surrogate"),
        pytest.param("\U000e0041", "\\U000e0041", id="a tag character"),
        pytest.param("\u3164\u2800", "\\u3164\\u2800", id="letters without ink"),
        pytest.param("all is well\nState: Complete", "all is well\n  | State: Complete", id="a line like a field"),
        pytest.param("1\r2\r\n3\u2028", "1\n  | 2\n  | 3\\u2028", id="other line ends"),
        pytest.param("a\tb\u00a0c\u3000d", "a    b c d", id="blanks"),
        pytest.param("Größe 数量 😀 ❤\ufe0f", "Größe 数量 😀 ❤\ufe0f", id="letters and pictures of all scripts"),
        pytest.param("\n\nno empty lines around\n", "no empty lines around", id="lines around"),
    ],
)  # fmt: skip
def test_what_hides_is_shown_by_its_number(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_all_texts_of_a_document_are_shown_so() -> None:
    document = {"a": ["\x1b", {"b": ("\x07", 1, None, True)}]}
    assert cleaned(document) == {"a": ["\\u001b", {"b": ("\\u0007", 1, None, True)}]}
