"""Regular expressions of the user's: none hangs the program, and each means what it means to Python's `re`."""

from __future__ import annotations

import json
import random
import re
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from batchjob.cli import main
from batchjob.errors import SettingError
from batchjob.task import patterns
from batchjob.task.patterns import Pattern, PatternTimeout

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import BatchJob

ENDLESS = (("(a|aa)+$", "a" * 60 + "!"), ("(a|a)*$", "a" * 60 + "!"), ("(.*a){20}$", "a " * 3000 + "!"))
ATOMS = (
    *("a", "B", "ß", "1", "é", ".", r"\w", r"\W", r"\d", r"\s", r"\b", "^", "$", r"\A", r"\Z", "|", " ", "#", ":", "-"),
    *("(", ")", "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?P<n>", "(?P=n)", "(?i)", "(?x)", "(?s:", "(?>", "(?(1)", r"\1"),
    *("*", "+", "?", "*?", "+?", "*+", "++", "{2}", "{1,}", "{,2}", "{,}", "{", "}", "{}", "{e}", "{i}", "{e<=1}"),
    *("[", "]", "[^", "[ab]", "[^a]", "[a-c]", "[[", "&&", "||", "--", "~~", r"\{", r"\x41", r"\u00e9", r"\N{EM DASH}"),
)
TEXTS = (
    *("a", "ab", "AB", "aab b1", "foo{e}bar", "{", "}", "{i}", "a{2}", "é É ss ß", "a-b[c]", "a&&b", "1 2 \n3", "x"),
    *("a{e<=1}", "{}", "\\", "a||b", "~~a--", " #a", "\n", "aXb", "\u2014"),
)


def in_re(pattern: str) -> re.Pattern[str] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return re.compile(pattern, re.IGNORECASE)
        except re.error:
            return None


def test_a_pattern_means_what_it_means_to_python() -> None:
    chance, compared = random.Random(3), 0
    while compared < 3000:
        written = "".join(chance.choices(ATOMS, k=chance.randint(1, 6)))
        if (expected := in_re(written)) is None:
            continue
        pattern, compared = Pattern("pattern", written), compared + 1
        for text in TEXTS:
            assert pattern.found_in(text) == bool(expected.search(text)), (written, text)


@pytest.mark.parametrize(
    ("written", "text", "found"),
    [
        (r"^\w+$", "शब्द", True),  # a mark belongs to its word: to `re` it ends it
        (r"^\w$", "²", False),  # `re` takes it for a letter
        (r"^[[:alpha:]]$", "a", True),  # to `re` a set of [, :, a, l, p and h, before a ]
        ("^i$", "ı", False),  # to `re` another case of i
    ],
)
def test_what_a_pattern_means_otherwise_is_known(written: str, text: str, found: bool) -> None:
    expected = in_re(written)
    assert expected is not None
    assert Pattern("pattern", written).found_in(text) is found
    assert bool(expected.search(text)) is not found


@pytest.mark.parametrize(("written", "text"), ENDLESS)
def test_a_pattern_that_runs_out_of_time_is_neither_found_nor_not_found(
    written: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 0.05)
    with pytest.raises(PatternTimeout, match="rule 'x'"):
        Pattern("rule 'x'", written).found_in(text)


def test_a_long_text_has_the_time_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 0.0)
    assert Pattern("pattern", r"\b(invoice|bill)\w*\b").found_in("a card or a ticket " * 20_000 + "billing")


@pytest.mark.parametrize(
    "written", ["(((a{100}){100}){100}){100}", "(?:[ab](x{9999}){9999})", "a{1000001}", "(" * 9000]
)
def test_a_pattern_that_would_fill_the_memory_is_refused(written: str) -> None:
    with pytest.raises(SettingError, match=r"^pattern '.*' is not valid: "):
        Pattern("pattern", written)


# ---------------------------------------------------------------- in a job

RULE = '[[rules]]\nname = "twice"\nlabel = "x"\npattern = "(a|aa)+$"\n'
ROUTE = '[[routes]]\nname = "twice"\nmodel = "other"\npattern = "(a|aa)+$"\n'
TOLD = "twice': pattern takes too long on the text of row 3, so that nobody knows whether it is found there."


@pytest.mark.parametrize("table", [RULE, ROUTE], ids=["rule", "route"])
def test_a_job_stops_at_the_row_on_which_a_pattern_takes_too_long(batchjob: BatchJob, table: str) -> None:
    (batchjob.folder / "job.toml").write_text(table)
    (batchjob.folder / "in.csv").write_text(f"text\nb\nc\n{'a' * 60}!\nd\n")
    ended = batchjob("start", "in.csv", "--labels", "x,y", "--sandbox", "--rpm", "0")
    assert ended.code == 2
    assert f"batchjob: {table[2:6]}" in ended.err
    assert TOLD in ended.err
    told = json.loads(batchjob("status", "--json").out)
    assert told["rows"] == {"total": 4, "pending": 4, "in_flight": 0, "done": 0, "failed": 0, "unconfirmed": 0}
    assert TOLD in told["reason"]


@pytest.mark.parametrize("command", [("profile",), ("start", "--dry-run")], ids=" ".join)
def test_a_forecast_says_the_same(
    command: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 0.05)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.toml").write_text(RULE)
    (tmp_path / "in.csv").write_text(f"text\nb\nc\n{'a' * 60}!\nd\n")
    with pytest.raises(SystemExit) as ended:
        main([*command, "in.csv", "--labels", "x,y", "--sandbox"])
    assert ended.value.code == 2
    assert f"batchjob: rule '{TOLD}" in capfd.readouterr().err


def test_a_poison_that_takes_too_long_is_the_sandboxs_trouble(batchjob: BatchJob, sandbox: Any) -> None:
    (batchjob.folder / "in.csv").write_text(f"text\n{'a' * 60}!\n")
    url = sandbox("--poison", "(a|aa)+$")
    ended = batchjob("start", "in.csv", "--labels", "x,y", "--base-url", url, "--model", "m", "--max-attempts", "1")
    assert ended.code == 4
    assert "poison takes too long on this text" in batchjob("errors").out
