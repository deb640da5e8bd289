"""`report`: a job as one file, in which every text stays text."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import sqlite3
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batchjob.numbers import dollars
from batchjob.scoring.interval import wilson
from batchjob.views.report.html import html
from batchjob.views.report.markdown import markdown
from batchjob.views.report.parts import (
    Cell,
    Code,
    Facts,
    Headline,
    Ledger,
    Listing,
    Report,
    Section,
    Span,
    Table,
    interval,
    percent,
)

if TYPE_CHECKING:
    from tests.conftest import BatchJob

TICKETS = Path(__file__).resolve().parent.parent / "examples" / "tickets.csv"
LABELS = TICKETS.with_name("labels.txt")
ATTACK = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg/onload=alert(3)>&lt;"
    "\u202e\x00[a](javascript:alert(4))|`*_"
)


class Page(HTMLParser):
    """The elements of a page, its attributes and its text."""

    def __init__(self, content: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


MADE = frozenset(
    [
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "main",
        "header",
        "p",
        "h1",
        "h2",
        "h3",
        "b",
        "dl",
        "div",
        "dt",
        "dd",
        "small",
        "nav",
        "a",
        "section",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "svg",
        "rect",
        "line",
        "circle",
        "wbr",
        "span",
        "ol",
        "ul",
        "li",
        "pre",
        "footer",
    ]
)


def check_harmless(content: str) -> Page:
    """See that a page is well formed, has no elements but its own, and runs and loads nothing."""
    page = Page(content)
    assert page.open == []
    assert set(page.tags) <= MADE
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("style", "src", "srcset")]
    assert all((value or "").startswith("#") for name, value in page.attributes if name == "href")
    style = re.search(r"<style>(.*?)</style>", content, re.DOTALL)
    assert style is not None
    assert not re.search(r"url\(|@import|expression", style[1])
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in content
    return page


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, batchjob_in: type[BatchJob]) -> BatchJob:
    """The command in a folder with a job of 303 rows, the last of which is blank; and its reports."""
    batchjob = batchjob_in(tmp_path_factory.mktemp("told"))
    with TICKETS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rows += [{"id": "x1", "text": rows[0]["text"], "gold": rows[0]["gold"]}, {"id": "x2", "text": ATTACK, "gold": ""}]
    rows += [{"id": "x3", "text": "", "gold": "age_limit"}]
    with (batchjob.folder / "t.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "gold", ATTACK.replace("\x00", "")])
        writer.writerows(
            [row["id"], row["text"], row["gold"], ("mail", "chat", "")[at % 3]] for at, row in enumerate(rows)
        )
    task = ("--labels-file", str(LABELS), "--sandbox", "--rpm", "0", "--quiet", "--price", "10,40")
    assert batchjob("start", "t.csv", *task).code == 4
    for output in ("r.html", "r.md"):
        ended = batchjob("report", "-o", output, "--gold", "gold", "--by", ATTACK.replace("\x00", ""))
        assert ended.code == 0, ended.err
    return batchjob


def read(batchjob: BatchJob, name: str) -> str:
    return (batchjob.folder / name).read_text(encoding="utf-8")


def test_a_report_tells_what_status_and_score_tell(told: BatchJob) -> None:
    page = check_harmless(read(told, "r.html"))
    status = json.loads(told("status", "--json").out)
    score = json.loads(told("score", "--gold", "gold", "--json").out)
    assert "302 rows have a label, 99.7 % of those that were read." in page.text
    assert f"{100 * score['accuracy']['share']:.1f} % of the labels are right" in page.text
    assert f"cost {dollars(status['cost']['usd'])}" in page.text
    assert "duplicate: 1 row" in page.text
    assert "blank_text" in page.text
    for name, count in status["labels"].items():
        assert f"{name}{count}{100 * count / 302:.1f} %" in page.text
    with sqlite3.connect(told.folder / "batchjob.db") as db:
        (digest,) = db.execute("SELECT digest FROM job").fetchone()
    db.close()
    assert digest in page.text
    for name in ("card_arrival", "chat", "mail", "(blank)", "price = [10.0,40.0]", "batchjob 0.1.0"):
        assert name in page.text, name


def test_a_report_is_small_and_needs_nothing_else(told: BatchJob) -> None:
    assert len(read(told, "r.html")) < 200_000
    assert str(told.folder) not in read(told, "r.html")
    assert "http" not in re.sub(r"Content-Security-Policy|http-equiv", "", read(told, "r.html"))


@pytest.mark.parametrize("form", ["html", "md"])
def test_without_texts_no_text_stands_in_it(told: BatchJob, form: str) -> None:
    with TICKETS.open(newline="", encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file) if len(row["text"]) > 20]
    assert any(text in Page(read(told, "r.html")).text for text in texts)
    given = ("--gold", "gold", "--no-texts")
    assert told("report", "-o", f"none.{form}", *given).code == 0
    found = read(told, f"none.{form}")
    plain = Page(found).text if form == "html" else found.replace("\\", "")
    assert not [text for text in texts if text[:20] in plain]


def test_without_texts_examples_are_left_out_of_the_prompt(batchjob: BatchJob) -> None:
    task = ("--labels-file", str(LABELS), "--sandbox", "--rpm", "0", "--quiet", "--limit", "20")
    assert batchjob("start", str(TICKETS), *task, "--examples", "3", "--gold", "gold").code == 0
    assert batchjob("report", "-o", "with.html").code == batchjob("report", "-o", "none.html", "--no-texts").code == 0
    assert '{"text":"' in Page(read(batchjob, "with.html")).text
    assert '{"text":"' not in Page(read(batchjob, "none.html")).text
    assert "The job is not finished: 280 rows are still to be labelled." in Page(read(batchjob, "none.html")).text


def test_what_cannot_be_a_report_is_refused_before_anything_is_written(told: BatchJob) -> None:
    before = read(told, "t.csv")
    wrong = {
        ("-o", "r.pdf"): "name a file that ends in .html or .md",
        ("-o", "no/r.html"): "there is no folder",
        ("-o", "batchjob.db"): "batchjob.db",
        ("-o", "x.html", "--by", "chanel"): "--by 'chanel' is no column of the input",
        ("-o", "x.html", "--gold", "text"): "is the text itself",
    }
    for arguments, said in wrong.items():
        ended = told("report", *arguments)
        assert ended.code in (1, 2), arguments
        assert said in ended.err, ended.err
    assert not (told.folder / "x.html").exists()
    (told.folder / "in.md").hardlink_to(told.folder / "t.csv")
    assert told("report", "-o", "in.md").code == 2
    assert read(told, "t.csv") == before


def test_stdout_gets_the_page(told: BatchJob) -> None:
    ended = told("report", "-o", "-", "--no-texts")
    assert (ended.code, ended.err) == (0, "")
    check_harmless(ended.out)


# ---------------------------------------------------------------- hostile words everywhere

HOSTILE = Report(
    above=ATTACK,
    title=ATTACK,
    lead=(Span(ATTACK), Span(ATTACK, strong=True)),
    headlines=(Headline(ATTACK, ATTACK, ATTACK, ATTACK),),
    sections=(
        Section(
            "labels",
            ATTACK,
            ATTACK,
            (
                Table(
                    ATTACK,
                    (Cell(ATTACK),) * 2,
                    ((Cell(ATTACK, fill="model"), Cell(ATTACK, heat=3)),),
                    "heat",
                    total=True,
                ),
                Table(ATTACK, (), tuple([(Cell(ATTACK), Cell("", share=0.5), Cell("1"), Cell(ATTACK))] * 40), "bars"),
                Table(ATTACK, (), ((Cell(ATTACK), Cell(ATTACK, share=0.5, between=(0.4, 0.6))),)),
                Listing(((ATTACK, (ATTACK,)),)),
                Ledger(((ATTACK, 0.5, "model"),)),
                Code(f"{ATTACK}\n</pre>{ATTACK}"),
                Facts(((ATTACK, ATTACK),)),
            ),
        ),
    ),
    foot=ATTACK,
)


def test_no_word_of_a_report_becomes_markup() -> None:
    content = html(HOSTILE).decode()
    page = check_harmless(content)
    shown = ATTACK.replace("\u202e", "\ufffd").replace("\x00", "\ufffd")
    assert page.text.count(shown) > 50
    assert not any(hidden in content for hidden in ("\u202e", "\x00"))


def test_no_word_of_a_report_becomes_markdown() -> None:
    lines = markdown(HOSTILE).decode().split("\n")
    said = [line for line in lines if line[:4] != "    "]  # else it is code
    assert len(said) > 60
    assert not [line for line in said if "<" in line or re.search(r"(?<!\\)\]\(", line)]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in said if line.startswith("| ")} == {3, 4}
    for line in ("# a", "- b", "1. c", "+ d", "===", "www.e.f", "http://g", ":smile:"):
        found = markdown(Report("", "", (Span(line),), (), (), "")).decode().strip("# \n")
        assert found not in (line, f"#\n\n{line}"), line


@pytest.mark.parametrize(("hits", "n"), [(1498, 1500), (1, 1500), (93, 100), (0, 3), (3, 3)])
def test_a_share_lies_in_its_interval_as_both_are_shown(hits: int, n: int) -> None:
    found = wilson(hits, n)
    assert found is not None
    low, high = map(float, interval(found).split(" to "))
    assert low <= float(percent(hits, n).removesuffix(" %")) <= high


# ---------------------------------------------------------------- what people said, and several answers


def test_labels_that_people_gave_count_and_the_sample_tells_how_good_the_others_were(told: BatchJob) -> None:
    status = json.loads(told("status", "--json").out)
    wrong = next(row for row in score_rows(told) if row["label"] != row["gold"])
    try:
        assert told("correct", "t", wrong["id"], wrong["gold"]).code == 0
        assert told("correct", "t", "x3", "age_limit").code == 0
        found = json.loads(told("score", "--gold", "gold", "--json").out)
        assert found["sources"]["human"] == {"rows": 2, "right": 2}
        assert found["rows"]["failed"] == 0
        assert told("report", "-o", "by-hand.html").code == 0
        text = check_harmless(read(told, "by-hand.html")).text
        assert "303 rows have a label" in text
        assert "What failed" not in text
        count = status["labels"][wrong["gold"]] + 1 + (wrong["gold"] == "age_limit")
        assert f"{wrong['gold']}{count}{100 * count / 303:.1f} %" in text
        assert "By hand: 2 rows, 1 had another label, 1 had none." in text
    finally:
        assert told("correct", "t", wrong["id"], "--undo").code == 0
        assert told("correct", "t", "x3", "--undo").code == 0


def score_rows(job: BatchJob) -> list[dict[str, str]]:
    """The rows with gold and a label."""
    ended = job("export", "-o", "-")
    return [row for row in csv.DictReader(ended.out.splitlines()) if row["gold"] and row["label"]]


def test_a_person_who_labels_a_row_that_waits_for_another_try_takes_no_failed_one_away(batchjob: BatchJob) -> None:
    (batchjob.folder / "in.csv").write_text("id,text\n1,a card\n2,\n3,a refund\n")
    task = ("--labels", "a,b", "--sandbox", "--rpm", "0", "--quiet")
    assert batchjob("start", "in.csv", *task, "--limit", "2").code == 4
    with sqlite3.connect(batchjob.folder / "batchjob.db") as db:
        db.execute("UPDATE row SET error_kind = (SELECT error_kind FROM row WHERE state = 'failed') WHERE id % 8 = 3")
        assert db.total_changes == 1
    assert batchjob("correct", "in", "#3", "a").code == 0
    assert batchjob("report", "-o", "r.md").code == 0
    assert "1 failed" in read(batchjob, "r.md")
    assert "What failed" in read(batchjob, "r.md")


def test_of_several_answers_each_has_its_table_and_one_may_be_looked_at(batchjob: BatchJob) -> None:
    fields = '[[fields]]\nname = "topic"\nlabels = ["card_arrival", "change_pin"]\n'
    fields += '[[fields]]\nname = "sure"\nkind = "yes_no"\n'
    fields += '[[fields]]\nname = "stars"\nkind = "number"\nmin = 1\nmax = 5\n'
    (batchjob.folder / "job.toml").write_text(f"sandbox = true\nrpm = 0\nquiet = true\nlimit = 20\n{fields}")
    assert batchjob("start", str(TICKETS)).code == 0
    assert batchjob("report", "-o", "r.html").code == 0
    text = check_harmless(read(batchjob, "r.html")).text
    assert "300 rows, 3 answers about each" in text
    assert "because no values are counted: stars (20 labelled rows)" in text
    assert "topic: 20 labelled rows, and 0 failed rows without it" in text
    assert "sure: 20 labelled rows, and 0 failed rows without it" in text
    assert "Examples" not in text
    ended = batchjob("report", "-o", "r.html", "--by", "gold")
    assert (ended.code, "name one of them with --field: topic, sure, stars" in ended.err) == (2, True)
    assert batchjob("report", "-o", "r.html", "--by", "gold", "--gold", "gold", "--field", "topic").code == 0
    text = Page(read(batchjob, "r.html")).text
    assert "By gold" in text
    assert "Examples" in text
