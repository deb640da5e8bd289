"""Scripts and languages of texts, as far as routes and reports ask for them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from batchjob.errors import SettingError

SCRIPT_LANGUAGES = {
    "Han": "zh",
    "Kana": "ja",
    "Hangul": "ko",
    "Cyrillic": "ru",
    "Greek": "el",
    "Arabic": "ar",
    "Hebrew": "he",
    "Thai": "th",
    "Devanagari": "hi",
    "Bengali": "bn",
    "Gurmukhi": "pa",
    "Gujarati": "gu",
    "Oriya": "or",
    "Tamil": "ta",
    "Telugu": "te",
    "Kannada": "kn",
    "Malayalam": "ml",
    "Sinhala": "si",
    "Lao": "lo",
    "Khmer": "km",
    "Myanmar": "my",
    "Georgian": "ka",
    "Armenian": "hy",
    "Ethiopic": "am",
    "Thaana": "dv",
}
"""The language a script speaks for, where nothing better is known."""

SCRIPTS = ("Latin", *SCRIPT_LANGUAGES, "Mongolian", "Tibetan")
"""Scripts a route can ask for; Kana is hiragana and katakana together."""

_OTHER_SCRIPT = "Other"
# First words of Unicode's character names that are not the script's name.
_SCRIPT_NAMES = {
    "CJK": "Han",
    "IDEOGRAPHIC": "Han",
    "HIRAGANA": "Kana",
    "KATAKANA": "Kana",
    "KATAKANA-HIRAGANA": "Kana",
    "HENTAIGANA": "Kana",
} | {script.upper(): script for script in SCRIPTS}
_SCRIPT_ALIASES = {"hiragana": "Kana", "katakana": "Kana", "japanese kana": "Kana"}
UNSPACED = frozenset({"Han", "Kana", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan"})  # written without spaces
_DENSE = frozenset({"Han", "Kana", "Hangul"})
_DENSE_LETTERS = 3  # a Chinese text is about a third as many characters long as the same in English

RANKED_LANGUAGES = {
    script: frozenset(codes.split())
    for script, codes in {
        "Latin": "af az br bs ca cs cy da de en eo es et eu fi fo fr fy ga gd gl ha hr ht hu id ig is it jv ku la lb "
        "lg ln lt lv mg ms mt nl nn no oc om pl pt qu ro rw se sk sl sn so sq sr st sv sw tk tl tr uz vi wa xh yo zu",
        "Cyrillic": "ba be bg kk ky mk mn ru sr tg tt uk uz",
        "Arabic": "ar fa ps ug ur",
        "Devanagari": "hi mr ne sa",
        "Bengali": "as bn",
    }.items()
}
"""Languages that share a script: the extra `language` (py3langid) tells them apart."""

BY_SCRIPT_ALONE = frozenset(SCRIPT_LANGUAGES.values())
LANGUAGES = BY_SCRIPT_ALONE.union(*RANKED_LANGUAGES.values())
"""Languages a route can ask for."""

Ranker = Callable[[str], Sequence[tuple[str, float]]]
"""text -> (language, score), the likeliest first."""


def script_of(text: str) -> str | None:
    """The script most letters of a text have (of equals the one that comes first), or None without letters."""
    if text.isascii():
        return "Latin" if any(map(str.isalpha, text)) else None
    counts = _letters_by_script(text)
    return max(counts, key=counts.__getitem__) if counts else None


def language_of(text: str, ranker: Ranker | None = None) -> str | None:
    """The language of a text (ISO 639-1) by its script, and by the ranker where languages share that; or None.

    Han with kana is Japanese, without Chinese. So that a product's name does not outweigh a short Chinese, Japanese or
    Korean sentence, each character of those counts as three letters.
    """
    counts = Counter(Latin=any(map(str.isalpha, text))) if text.isascii() else _letters_by_script(text)
    kana = counts.pop("Kana", 0)
    counts["Han"] += kana
    script = max(counts, key=lambda name: counts[name] * (_DENSE_LETTERS if name in _DENSE else 1))
    if not counts[script]:
        return None
    if script == "Han" and kana:
        script = "Kana"
    likely = _likeliest(text, RANKED_LANGUAGES[script], ranker) if ranker and script in RANKED_LANGUAGES else None
    return likely or SCRIPT_LANGUAGES.get(script)


def _likeliest(text: str, candidates: Iterable[str], ranker: Ranker) -> str | None:
    """The best ranked of the candidates; None where the text gives the ranker nothing to go by."""
    ranked = ranker(text)
    if not ranked or ranked[0][1] == ranked[-1][1]:
        return None
    return next((language for language, _ in ranked if language in candidates), None)


def load_ranker(route: str, language: str) -> Ranker:
    """py3langid, made ready; it is loaded only for a route that needs it, for it takes most of a second."""
    try:
        import py3langid
    except ImportError:
        raise SettingError(
            f"route {route!r}: language {language!r} shares its script with others, and to tell them apart "
            f"needs an extra: pip install 'batchjob[language]'"
        ) from None
    py3langid.classify("")
    ranker: Ranker = py3langid.rank
    return ranker


def _letters_by_script(text: str) -> Counter[str]:
    """How many letters of each script a text has, in the order in which they come."""
    counts: Counter[str] = Counter()
    for character, times in Counter(text).items():
        if character.isalpha():
            counts[named_script(character)] += times
    return counts


@lru_cache(maxsize=65536)
def named_script(character: str) -> str:
    """The script of a character, by its Unicode name: the standard library has no table of scripts."""
    plain = unicodedata.normalize("NFKC", character)[0]  # a full-width or mathematical A is an A
    return _SCRIPT_NAMES.get(unicodedata.name(plain, "").partition(" ")[0], _OTHER_SCRIPT)


def script_meant(written: str) -> str | None:
    """The script a setting names, without regard to case, or None."""
    name = written.strip().lower()
    return _SCRIPT_ALIASES.get(name) or _SCRIPT_NAMES.get(name.upper())
