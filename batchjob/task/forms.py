"""Two spellings of one label: what is wrapping, and what counts.

White space, quotes, brackets, code fences, markdown and a closing `.` `!` or `,` are wrapping where they enclose or
close the text. Nothing else is: signs, digits and symbols make another label, so that `-1` is not `1`, nor `:)` `:(`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_SAME = str.maketrans(
    {
        # Dashes and minus signs, and apostrophes, that differ in typography alone.
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63", "-"),
        **dict.fromkeys("\u2018\u2019\u02bc", "'"),
        # What nobody sees: byte order mark, zero width space, marks of direction, variation of an emoji.
        **dict.fromkeys("\ufeff\u200b\u2060\u200e\u200f\u202a\u202b\u202c\u2066\u2067\u2068\u2069\ufe0f", ""),
    }
)
_WIDE = re.compile("[\uff01-\uffef]+")  # the forms of ASCII and kana for East Asian screens
_COMPARED = re.compile(r"(?<=[<>≤≥])[ ](?=\d)")  # `> 65` is `>65`
_BLANKS = re.compile(r"[^\S\n]+")
_UNSEEN = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0e-\x1f\x7f]")  # colours of a terminal, control characters
_ESCAPED = re.compile(r"\\([_*#<>~.!+-])")  # as markdown escapes them

_PAIR_LIST = """ "" '' `` ** __ () [] {} <> “” ”” „“ „” «» »» »« ‹› ›‹ 「」 『』 【】 《》 〈〉 〔〕 """
_PAIRS = frozenset(_PAIR_LIST.split())
_ENDS = ".!,。،۔।"

_FENCE = re.compile(r"(```|~~~)[\w+-]*+[^\S\n]*+\n(?P<inner>.*)\n[^\S\n]*+\1", re.DOTALL)
_TEX = re.compile(
    r"\\(?:boxed|text|textbf|textit|mathrm|mathbf|texttt)\{(?P<inner>.*)\}"
    r"|\$\$?(?P<dollars>\\.*?)\$\$?|\\\((?P<round>.*)\\\)|\\\[(?P<square>.*)\\\]",
    re.DOTALL,
)
# A bullet, a heading, a quotation or the number of the only row; before a digit or a symbol it may be a sign.
_PREFIX = re.compile(r"(?:(?:[-*•+]|#{1,6}|>)[ ]+|1[.:)][ ]*)(?=[^\W\d_]|[*_`\"'“«]+[^\W_])")
_ACCOUNTED = re.compile(r"\(\s*\d")
_LETTER_BEHIND = re.compile(r"[A-Za-z]\)")  # `B)` as in a test

_MOST_LAYERS = 12
_BETWEEN_WORDS = re.compile(r"(?<=[^\s_])[ _]+(?=[^\s_])|(?<=[^\W\d_])-(?=[^\W\d_])")


def plain(text: str) -> str:
    """The text with one spelling for what looks the same, without outer white space, runs of blanks as one."""
    if not text.isascii():
        text = text.translate(_SAME)
        text = _WIDE.sub(lambda wide: unicodedata.normalize("NFKC", wide[0]), text)
        text = unicodedata.normalize("NFC", text)
    if not text.isprintable():
        text = _UNSEEN.sub("", text)
    if "\\" in text:
        text = _ESCAPED.sub(r"\1", text)
    return _COMPARED.sub("", _BLANKS.sub(" ", text).strip())


def layers(text: str, *, prefixes: bool = True, brackets: bool = True) -> Iterator[str]:
    """The plain text, and what is left of it as one wrapping after the other is taken off.

    Args:
        brackets: take them off digits too, which they make negative in accounting: `(1)` is -1.
        prefixes: take bullets and such off too, which may be signs where a label of the set begins with one.
    """
    text = plain(text)
    yield text
    for _ in range(_MOST_LAYERS):
        if not brackets and _ACCOUNTED.match(text):
            return
        inner = _within(text) or _before_end(text) or (_behind_prefix(text) if prefixes else None)
        if not inner:
            return
        text = inner
        yield text


def enclosed(text: str) -> Iterator[str]:
    """What is left of a text as one enclosing pair after the other is taken off, none of which stands inside too."""
    text = plain(text)
    for _ in range(_MOST_LAYERS):
        inner = _within(text)
        if not inner or not {text[0], text[-1]}.isdisjoint(inner.strip(text[0] + text[-1])):
            return
        text = inner
        yield text


def _within(text: str) -> str | None:
    """What a pair encloses that encloses the whole text, if it is more than the like of the pair itself."""
    if len(text) < 3:
        return None
    if text[0] in "`~" and (fenced := _FENCE.fullmatch(text)):
        return fenced["inner"].strip()
    if text[0] in "\\$" and (tex := _TEX.fullmatch(text)):
        return next(part for part in tex.groups() if part is not None).strip()
    if text[0] + text[-1] not in _PAIRS:
        return None
    inner = text[1:-1].strip()
    if text[0] == "<" and not inner[:1].isalpha():
        return None  # `<3>`, `<18 or >`
    return inner if inner.strip(text[0] + text[-1]) else None


def _before_end(text: str) -> str | None:
    """What stands before a single closing mark, unless that is all punctuation: `!!` is not `!`."""
    if len(text) == 2 and _LETTER_BEHIND.fullmatch(text):
        return text[0]
    if text[-1:] not in _ENDS or text[-2:-1] in _ENDS:
        return None
    rest = text[:-1].rstrip()
    return rest if any(letter.isalnum() or not letter.isascii() for letter in rest) else None


def _behind_prefix(text: str) -> str | None:
    prefix = _PREFIX.match(text)
    return text[prefix.end() :] if prefix else None


def by_words(text: str) -> str:
    """The text in lower case with a blank between its words, whether blanks, `_` or `-` stood there.

    A `-` beside a digit stays: it may be a sign, or make a range.
    """
    return _BETWEEN_WORDS.sub(" ", text.casefold())
