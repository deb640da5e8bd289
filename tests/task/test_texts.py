"""Texts that are the same, exactly and loosely, and texts that show nothing."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.task.texts import exact_form, loose_form, shows_nothing

SHOWN_SIGNS = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
"""Format characters that can be seen, such as the Arabic number sign."""
WITHOUT_A_SHAPE = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\ufe00\ufe0f\U000e0100\U000e01ef"
)


@pytest.mark.parametrize("one", ["a b", "  a b\n", "a \t\u00a0\u3000 b", "a\u2028b"])
def test_white_space_makes_no_other_text(one: str) -> None:
    assert exact_form(one) == "a b"


def test_composed_and_decomposed_letters_are_the_same_and_look_alikes_are_not() -> None:
    assert exact_form("e\u0301\u1100\u1161") == exact_form("\u00e9\uac00")
    assert len(set(map(exact_form, ["1", "\u2460", "\uff11", "\u00b9"]))) == 4


def test_loosely_case_and_closing_marks_make_no_other_text_and_nothing_else() -> None:
    same = ["Stra\u00dfe", "STRASSE!", "strasse ?!. ", " strasse..."]
    assert set(map(loose_form, same)) == {"strasse"}
    different = [":)", ":(", ":", "c#", "c", "5 m2", "5 m\u00b2", "100%", "100", "(a)", "a", "a,", "a;", "?!", "!", "."]
    assert len(set(map(loose_form, different))) == len(different)


@given(st.text(max_size=20))
def test_a_form_is_its_own_form_and_texts_with_one_exact_form_have_one_loose_form(text: str) -> None:
    assert exact_form(exact_form(text)) == exact_form(text)
    assert loose_form(exact_form(text)) == loose_form(text)
    assert loose_form(text)[:1] or not exact_form(text)


def test_every_blank_control_and_format_character_shows_nothing() -> None:
    invisible = [
        chr(n) for n in range(sys.maxunicode + 1) if unicodedata.category(chr(n)) in ("Cc", "Cf", "Zs", "Zl", "Zp")
    ]
    assert [ascii(c) for c in invisible if not shows_nothing(c)] == [ascii(c) for c in SHOWN_SIGNS]
    assert shows_nothing("".join(set(invisible) - set(SHOWN_SIGNS)) + WITHOUT_A_SHAPE)


def test_whatever_has_a_shape_is_shown() -> None:
    kept = ("L", "N", "P", "S", "M")
    shown = [chr(n) for n in range(sys.maxunicode + 1) if unicodedata.category(chr(n))[0] in kept]
    hidden = {c for c in shown if shows_nothing(c)}
    names = [unicodedata.name(c) for c in hidden]
    telling = ("FILLER", "VARIATION SELECTOR", "INHERENT", "BLANK", "JOINER", "NULL")
    assert all(any(word in name for word in telling) for name in names), names


@pytest.mark.parametrize("text", ["a\u200b", "\u200b.\u200b", "\ud800", "\ue000", "\u0301"])
def test_one_character_that_is_shown_is_enough(text: str) -> None:
    assert not shows_nothing(text)
