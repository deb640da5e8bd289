"""A false match of a rule is a wrong label nobody sees: words match whole or not at all."""

from __future__ import annotations

import builtins
import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.errors import SettingError
from batchjob.settings.config import JobConfig
from batchjob.settings.tables import Route, Rule
from batchjob.shortcuts.rules import Rules, check_rules
from batchjob.task.languages import LANGUAGES, RANKED_LANGUAGES, SCRIPTS, language_of, script_of
from batchjob.task.routes import Routes, check_routes


def word_rule(*words: str) -> Rules:
    return Rules([Rule("r", "refund", words=words)])


def model_for(text: str, columns: dict[str, object] | None = None, **conditions: Any) -> str:
    return Routes([Route("r", "other", **conditions)], "default").choose(text, columns)[0]


# ---------------------------------------------------------------- rules


def test_the_first_rule_that_matches_wins_and_is_named() -> None:
    rules = Rules(
        [Rule("a", "one", words=("never",)), Rule("b", "two", pattern="pay"), Rule("c", "three", pattern=".")]
    )
    assert rules.label("Payment failed") == ("two", "b")
    assert rules.label("hello") == ("three", "c")
    assert Rules([]).label("hello") is None


def test_a_rule_with_pattern_and_words_matches_by_either() -> None:
    rules = Rules([Rule("r", "refund", pattern=r"money\s+back", words=("refund",))])
    assert rules.label("give me my money  back")
    assert rules.label("a REFUND, now")
    assert not rules.label("money")


@given(
    word=st.text("abcdefghijklmnopqrstuvwxyzéßñжяΩअक", min_size=1, max_size=6),
    before=st.text("abcxyz019_éж\u0301\u200d", max_size=4),
    after=st.text("abcxyz019_éж\u0301\u093f\u200d", max_size=4),
)
def test_a_word_never_matches_inside_another_word(word: str, before: str, after: str) -> None:
    text = before + word + after
    alone = unicodedata.normalize("NFKC", text.casefold()) == unicodedata.normalize("NFKC", word.casefold())
    # Unless the word is repeated by its own surroundings there is no boundary in the text at all.
    assert bool(word_rule(word).label(text)) == alone


@given(word=st.from_regex(r"[a-z0-9]{1,5}", fullmatch=True), text=st.text("abc01_ .,-'\n", max_size=30))
def test_on_ascii_a_word_matches_where_a_regular_expression_with_word_boundaries_does(word: str, text: str) -> None:
    assert bool(word_rule(word).label(text)) == bool(re.search(rf"\b{word}\b", text, re.ASCII))


# Not the dotless i: its capital is the capital of another letter.
@given(word=st.text(st.characters(categories=["Lu", "Ll", "Lo"], exclude_characters="\u0131"), min_size=1, max_size=8))
def test_a_word_between_spaces_or_punctuation_always_matches(word: str) -> None:
    assert word_rule(word).label(f"so: ({word.upper()}) it is")
    assert word_rule(word).label(word)


@pytest.mark.parametrize(
    ("word", "text", "matches"),
    [
        ("退款", "我要退款谢谢", True),
        ("退款", "我要退 款", False),
        ("iphone", "我的iPhone坏了", True),  # Han beside it does not join it
        ("iphone", "我的iPhones坏了", False),
        ("返金", "返金してください", True),
        ("เงิน", "ขอคืนเงินด้วย", True),
        ("art", "Artikel", False),
        ("café", "cafe\u0301!", True),
        ("cafe", "cafe\u0301", False),
        ("strasse", "Hauptstraße, STRASSE", True),
        ("strasse", "Hauptstraße", False),
        ("हिन", "हिन्दी", False),
        ("हिन्दी", "यह हिन्दी है", True),
        ("credit card", "my Credit\n card is gone", True),
        ("credit card", "credit cards", False),
        ("c++", "in C++11", True),
        ("abc", "ＡＢＣ", True),
        ("refund", "refund_id", False),
        ("a", "aa a", True),
        ("не", "нет", False),
    ],
)
def test_words_in_many_scripts(word: str, text: str, matches: bool) -> None:
    assert bool(word_rule(word).label(text)) == matches


# ---------------------------------------------------------------- routes


def test_a_route_needs_all_its_conditions() -> None:
    conditions: dict[str, Any] = {
        "pattern": "bug",
        "min_length": 5,
        "max_length": 20,
        "column": "tier",
        "value": "gold",
    }
    assert model_for("a BUG here", {"tier": "gold"}, **conditions) == "other"
    assert model_for("bug", {"tier": "gold"}, **conditions) == "default"
    assert model_for("a bug " * 9, {"tier": "gold"}, **conditions) == "default"
    assert model_for("a bee here", {"tier": "gold"}, **conditions) == "default"
    assert model_for("a bug here", {"tier": "tin"}, **conditions) == "default"
    assert model_for("a bug here", {}, **conditions) == "default"
    assert model_for("a bug here", None, **conditions) == "default"


def test_the_first_route_that_fits_wins() -> None:
    routes = Routes([Route("a", "m1", min_length=5), Route("b", "m2", min_length=3)], "m0")
    assert [routes.choose(text, None)[0] for text in ("abcdef", "abc", "a")] == ["m1", "m2", "m0"]


def test_a_column_of_any_type_is_compared_as_the_file_shows_it() -> None:
    for value, written in ((5, "5"), (True, "true"), (None, ""), (1.5, "1.5"), ("x", "x")):
        assert model_for("t", {"c": value}, column="c", value=written) == "other"
    assert model_for("t", {}, column="c", value="") == "default"


def test_columns_are_asked_for_only_where_a_route_needs_them() -> None:
    assert Routes([Route("r", "m", column="c", value="v")], "d").needs_columns
    assert not Routes([Route("r", "m", script="Han")], "d").needs_columns


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("hello", "Latin"),
        ("ünïcode ﬁ", "Latin"),
        ("ＦＵＬＬ", "Latin"),
        ("我要退款 ok", "Han"),
        ("々", "Han"),
        ("カード", "Kana"),
        ("ｶｰﾄﾞ", "Kana"),
        ("환불", "Hangul"),
        ("возврат", "Cyrillic"),
        ("استرداد", "Arabic"),
        ("123 !?", None),
        ("１２３ €", None),
        ("", None),
    ],
)
def test_the_script_is_the_one_most_letters_have(text: str, script: str | None) -> None:
    assert script_of(text) == script


@given(st.text(max_size=40))
def test_every_text_has_a_known_script_or_none(text: str) -> None:
    assert script_of(text) in (*SCRIPTS, "Other", None)
    assert language_of(text) in (*LANGUAGES, None)
    assert (script_of(text) is None) == (not any(map(str.isalpha, text)))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("我要退款", "zh"),
        ("我的 iPhone 坏了怎么办", "zh"),
        ("返金してください", "ja"),
        ("カード", "ja"),
        ("iPhone 환불 요청합니다", "ko"),
        ("Please refund the order of 张伟, it never came", None),
        ("Верните деньги", "ru"),
        ("أريد استرداد", "ar"),
        ("אני רוצה החזר", "he"),
        ("ขอคืนเงิน", "th"),
        ("Επιστροφή", "el"),
        ("मुझे पैसे वापस चाहिए", "hi"),
        ("hello", None),
        ("42", None),
        ("", None),
    ],
)
def test_the_language_is_told_by_the_script_where_that_can_tell(text: str, language: str | None) -> None:
    assert language_of(text) == language


def test_scripts_and_languages_are_asked_for_without_regard_to_case() -> None:
    assert model_for("退款", script="han") == "other"
    assert model_for("退款", language="ZH") == "other"
    assert model_for("カード", script="Katakana") == "other"


def test_languages_that_share_a_script_are_told_apart_by_py3langid() -> None:
    pytest.importorskip("py3langid")
    german = "Ich möchte mein Geld zurück, das Paket ist nie angekommen."
    french = "Je voudrais être remboursé, le colis n'est jamais arrivé."
    assert model_for(german, language="de") == "other"
    assert model_for(french, language="de") == "default"
    routes = Routes([Route("uk", "m-uk", language="uk"), Route("ru", "m-ru", language="ru")], "d")
    assert routes.choose("Я хочу повернути гроші за своє замовлення", None)[0] == "m-uk"
    assert routes.choose("Я хочу вернуть деньги за свой заказ", None)[0] == "m-ru"
    for featureless in ("ok", "42", "", "?!"):
        assert model_for(featureless, language="af") == "default"


def test_py3langid_knows_every_language_that_is_said_to_need_it() -> None:
    py3langid = pytest.importorskip("py3langid")
    known = {language for language, _ in py3langid.rank("hello there")}
    assert set().union(*RANKED_LANGUAGES.values()) <= known


def test_without_py3langid_a_latin_language_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "py3langid":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(SettingError, match=r"route 'german'.*pip install 'batchjob\[language\]'"):
        Routes([Route("german", "m", language="de")], "d")
    assert model_for("退款", language="zh") == "other"


# ---------------------------------------------------------------- the check before a run


def job(*, rules: tuple[Rule, ...] = (), routes: tuple[Route, ...] = ()) -> JobConfig:
    return JobConfig(labels=("billing", "refund"), fallback="other", model="m", rules=rules, routes=routes)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Rule("x", "refund"), "rule 'x' matches nothing"),
        (Rule("x", "refund", pattern="", words=("a",)), "rule 'x': an empty pattern"),
        (Rule("x", "refund", pattern="(a"), "rule 'x': pattern"),
        (Rule("x", "refund", pattern="a{99999999999}"), "rule 'x': pattern"),
        (Rule("x", "refund", words=(" ",)), "rule 'x' has a blank word"),
        (Rule("x", "refnd", pattern="a"), "rule 'x': 'refnd' is not a label.*Did you mean 'refund'"),
        (Rule(" ", "refund", pattern="a"), "rule number 1 has a blank name"),
    ],
)
def test_a_rule_that_cannot_work_is_named(rule: Rule, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        check_rules(job(rules=(rule,)))


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({}, "route 'x' has no condition"),
        ({"pattern": "["}, "route 'x': pattern"),
        ({"script": "Hann"}, "route 'x': unknown script 'Hann'. Did you mean 'Han'"),
        ({"language": "xx"}, "route 'x': unknown language 'xx'"),
        ({"language": "German"}, "route 'x': unknown language 'German'"),
        ({"column": "tier"}, "route 'x' has a column but no value"),
        ({"value": "gold"}, "route 'x' has a value but no column"),
        ({"value": "gold", "min_length": 1}, "route 'x' has a value but no column"),
        ({"min_length": 9, "max_length": 3}, "route 'x': min_length is more than max_length"),
    ],
)
def test_a_route_that_cannot_work_is_named(conditions: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        check_routes(job(routes=(Route("x", "m", **conditions),)))


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(SettingError, match="rule 'x' is there twice"):
        check_rules(job(rules=(Rule("x", "refund", pattern="a"), Rule("x", "billing", pattern="b"))))
    with pytest.raises(SettingError, match="route 'x' is there twice"):
        check_routes(job(routes=(Route("x", "m", min_length=1), Route("x", "m", min_length=2))))


def test_what_works_is_let_through() -> None:
    check_rules(job())
    check_rules(
        job(
            rules=(Rule("a", "refund", words=("refund",)), Rule("b", "other", pattern="spam")),
            routes=(Route("a", "m", min_length=0), Route("b", "m", script="han", column="c", value="")),
        )
    )
