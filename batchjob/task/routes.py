"""Rules and routes: a row's text -> a label without a request, or the model that is asked for it."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import msgspec

from batchjob.config import JobConfig, Route, Rule
from batchjob.errors import SettingError

# ---------------------------------------------------------------- what there is to choose from

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
_UNSPACED = frozenset({"Han", "Kana", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan"})  # written without spaces
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

_BY_SCRIPT_ALONE = frozenset(SCRIPT_LANGUAGES.values())
LANGUAGES = _BY_SCRIPT_ALONE.union(*RANKED_LANGUAGES.values())
"""Languages a route can ask for."""

Ranker = Callable[[str], Sequence[tuple[str, float]]]
"""text -> (language, score), the likeliest first."""

# ---------------------------------------------------------------- rules


class Rules:
    """The rules of a job, ready to label rows.

    A rule matches where its pattern is found or any of its words stands. Patterns are Python's regular expressions and
    have no time limit: one that repeats a repetition, such as (a+)+$, can take minutes on a single long text.

    Raises:
        SettingError: a pattern is not a regular expression.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple((r, _compiled("rule", r), tuple(map(_folded, r.words))) for r in rules)
        self._any_words = any(rule.words for rule in rules)

    def label(self, text: str) -> tuple[str, str] | None:
        """The label and the name of the first rule that matches, or None."""
        folded = _folded(text) if self._any_words else ""
        for rule, pattern, words in self._rules:
            if (pattern is not None and pattern.search(text)) or any(_stands_in(word, folded) for word in words):
                return rule.label, rule.name
        return None


def _compiled(kind: str, given: Rule | Route) -> re.Pattern[str] | None:
    if given.pattern is None:
        return None
    try:
        return re.compile(given.pattern, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise SettingError(f"{kind} {given.name!r}: pattern {given.pattern!r} is not valid: {error}") from None


def _folded(text: str) -> str:
    """Text as words are looked for in it: without case, in one Unicode form, runs of white space one space."""
    if text.isascii():
        text = text.lower()
    else:
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(text.split())


def _stands_in(word: str, text: str) -> bool:
    """Whether a word stands in a text and is not a piece of another; both are folded."""
    start = text.find(word) if word else -1
    while start >= 0:
        if _is_whole(text, start, start + len(word)):
            return True
        start = text.find(word, start + 1)
    return False


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether no letter, mark or digit is joined to text[start:end]."""
    before, after = text[start - 1 : start], text[end : end + 1]
    if before and _joins(before) and _joins(text[start]):
        return False
    if not after:
        return True
    if unicodedata.category(after)[0] == "M":  # it belongs to the letter before it, in every script
        return not text[end - 1].isalnum()
    return not (_joins(after) and _joins(text[end - 1]))


@lru_cache(maxsize=65536)
def _joins(character: str) -> bool:
    """Whether a character makes one word with such a character beside it; in scripts without spaces none does."""
    if character in "_\u00ad\u200c\u200d":  # soft hyphen and (non-)joiner stand inside words
        return True
    return unicodedata.category(character)[0] in "LMN" and _named_script(character) not in _UNSPACED


# ---------------------------------------------------------------- routes


class Routes:
    """The routes of a job, ready to choose a model; the first whose conditions all hold wins.

    Raises:
        SettingError: a pattern is not a regular expression, or a language needs the extra `language`.
    """

    def __init__(self, routes: Sequence[Route], default: str) -> None:
        self._routes = tuple((route, _compiled("route", route)) for route in routes)
        self._default = default
        self.needs_columns = any(route.column is not None for route in routes)
        named = next((r for r in routes if r.language and r.language.lower() not in _BY_SCRIPT_ALONE), None)
        self._ranker = None if named is None else _load_ranker(named)

    def model(self, text: str, column_values: Mapping[str, object] | None) -> str:
        """The model a row goes to; column_values are its other columns, by name, where needs_columns asks for them."""
        traits = _Traits(text, self._ranker)
        return next(
            (route.model for route, pattern in self._routes if _fits(route, pattern, traits, column_values)),
            self._default,
        )


class _Traits:
    """What routes ask about a text, each found out once and only when asked."""

    def __init__(self, text: str, ranker: Ranker | None) -> None:
        self.text = text
        self._ranker = ranker

    @cached_property
    def script(self) -> str | None:
        return script_of(self.text)

    @cached_property
    def language(self) -> str | None:
        return language_of(self.text, self._ranker)


def _fits(
    route: Route, pattern: re.Pattern[str] | None, traits: _Traits, column_values: Mapping[str, object] | None
) -> bool:
    """Whether every condition of the route holds; the cheap ones are tried first."""
    length = len(traits.text)
    return (
        (route.min_length is None or length >= route.min_length)
        and (route.max_length is None or length <= route.max_length)
        and (route.column is None or _as_text(column_values, route.column) == route.value)
        and (pattern is None or pattern.search(traits.text) is not None)
        and (route.script is None or traits.script == _script_meant(route.script))
        and (route.language is None or traits.language == route.language.lower())
    )


def _as_text(values: Mapping[str, Any] | None, column: str) -> str | None:
    """A column's value as the file shows it: true, 5, an empty cell or null as nothing; None without the column."""
    if values is None or column not in values:
        return None
    value = values[column]
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


# ---------------------------------------------------------------- scripts and languages


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


def _load_ranker(route: Route) -> Ranker:
    """py3langid, made ready; it is loaded only for a route that needs it, for it takes most of a second."""
    try:
        import py3langid
    except ImportError:
        raise SettingError(
            f"route {route.name!r}: language {route.language!r} shares its script with others, and to tell them apart "
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
            counts[_named_script(character)] += times
    return counts


@lru_cache(maxsize=65536)
def _named_script(character: str) -> str:
    """The script of a character, by its Unicode name: the standard library has no table of scripts."""
    plain = unicodedata.normalize("NFKC", character)[0]  # a full-width or mathematical A is an A
    return _SCRIPT_NAMES.get(unicodedata.name(plain, "").partition(" ")[0], _OTHER_SCRIPT)


def _script_meant(written: str) -> str | None:
    """The script a setting names, without regard to case, or None."""
    name = written.strip().lower()
    return _SCRIPT_ALIASES.get(name) or _SCRIPT_NAMES.get(name.upper())


# ---------------------------------------------------------------- before a run


def check_rules(config: JobConfig) -> None:
    """See that rules and routes can do what they say.

    Raises:
        SettingError: one cannot; the text names it.
    """
    _check_names("rule", [rule.name for rule in config.rules])
    _check_names("route", [route.name for route in config.routes])
    for rule in config.rules:
        _check_rule(rule, config)
    for route in config.routes:
        _check_route(route)
    Rules(config.rules)
    Routes(config.routes, config.model)


def _check_names(kind: str, names: Sequence[str]) -> None:
    for number, name in enumerate(names, 1):
        if not name.strip():
            raise SettingError(f"{kind} number {number} has a blank name: give it one, as reports show it")
        if names.count(name) > 1:
            raise SettingError(f"{kind} {name!r} is there twice: give each {kind} a name of its own")


def _check_rule(rule: Rule, config: JobConfig) -> None:
    if not rule.pattern and not rule.words:
        raise SettingError(f'rule {rule.name!r} matches nothing: give it a pattern or words = ["..."]')
    if rule.pattern == "":
        raise SettingError(f"rule {rule.name!r}: an empty pattern matches every text: leave it out")
    if not all(_folded(word) for word in rule.words):
        raise SettingError(f"rule {rule.name!r} has a blank word")
    if rule.label not in config.labels and rule.label != config.fallback:
        raise SettingError(
            f"rule {rule.name!r}: {rule.label!r} is not a label of this job.{_nearest(rule.label, config.labels)}"
        )


def _check_route(route: Route) -> None:
    conditions = (route.pattern, route.script, route.language, route.column)
    lengths = (route.min_length, route.max_length)
    if not any(conditions) and all(length is None for length in lengths):
        if route.value is not None:
            raise SettingError(f"route {route.name!r} has a value but no column: give both")
        raise SettingError(
            f"route {route.name!r} has no condition, so that every row would take it: give it a pattern, script, "
            f"language, min_length, max_length or column, or set model"
        )
    if not route.model.strip():
        raise SettingError(f"route {route.name!r} has a blank model")
    if (route.column is None) != (route.value is None):
        given, lacking = ("value", "column") if route.column is None else ("column", "value")
        raise SettingError(f"route {route.name!r} has a {given} but no {lacking}: give both")
    if route.min_length is not None and route.max_length is not None and route.min_length > route.max_length:
        raise SettingError(f"route {route.name!r}: min_length is more than max_length, so no row can take it")
    _check_script_and_language(route)


def _check_script_and_language(route: Route) -> None:
    if route.script is not None and _script_meant(route.script) is None:
        raise SettingError(
            f"route {route.name!r}: unknown script {route.script!r}.{_nearest(route.script, SCRIPTS)} "
            f"Known: {', '.join(SCRIPTS)}."
        )
    if route.language is not None and route.language.lower() not in LANGUAGES:
        raise SettingError(
            f"route {route.name!r}: unknown language {route.language!r}: give an ISO 639-1 code. "
            f"Known: {', '.join(sorted(LANGUAGES))}."
        )


def _nearest(written: str, known: Sequence[str]) -> str:
    found = difflib.get_close_matches(written, known, n=1, cutoff=0.5)
    return f" Did you mean {found[0]!r}?" if found else ""
