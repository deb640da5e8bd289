"""How far a run is: what fits a narrow terminal, and what it waits for."""

from __future__ import annotations

import msgspec
import pytest

from batchjob.api.shown import line_of
from batchjob.states import JobState, Source
from batchjob.views.lines import width
from batchjob.views.live import Live, live_figures, live_lines, live_of, live_sentence
from batchjob.views.status import ErrorCount, Rate, Rows, status_of
from batchjob.views.summary import watch_lines
from tests.views.test_status import snapshot

LIVE = Live(
    settled=5_200,
    total=10_000,
    reading=False,
    failed=13,
    last_kind="off_list",
    rows_per_second=123.4,
    eta_seconds=39.0,
    seconds=72.0,
    cost_usd=0.0123,
    in_flight=10,
    oldest_seconds=0.8,
    held_back="held to 7,500 requests a minute by --rpm",
)


def but(**changes: object) -> Live:
    return msgspec.structs.replace(LIVE, **changes)


def test_in_a_wide_terminal_all_is_on_one_line_and_what_holds_back_below() -> None:
    assert live_lines(LIVE, 150) == [
        "[##########----------]  52 %  5,200/10,000 rows  123.4 rows/s  39.0 s left  13 failed (off_list)  0.0123 USD"
        "  10 in flight  1 min 12 s so far",
        "held to 7,500 requests a minute by --rpm",
    ]


def test_in_a_notebook_it_is_one_line_that_names_arguments() -> None:
    assert line_of(LIVE).endswith("1 min 12 s so far  held to 7,500 requests a minute by rpm")


@pytest.mark.parametrize("columns", [119, 79, 39, 24])
def test_in_a_narrow_one_nothing_is_lost_and_nothing_too_wide(columns: int) -> None:
    lines = live_lines(LIVE, columns)
    assert max(map(width, lines)) <= columns
    assert len(lines) < 12
    whole = " ".join(lines)
    for piece in ("52 %", "5,200/10,000 rows", "39.0 s left", "13 failed (off_list)", "0.0123 USD"):
        assert piece in whole


def test_while_the_input_is_read_nothing_is_said_of_a_whole() -> None:
    reading = live_sentence(but(reading=True, eta_seconds=None))
    assert reading.startswith("5,200/10,000+ rows, 123.4 rows/s, 13 failed")
    assert "%" not in reading
    assert "left" not in reading
    assert live_lines(but(total=0, settled=0), 80)[0].startswith("[----------")


def test_the_oldest_request_is_named_only_when_nothing_else_moves() -> None:
    waits = but(held_back="", rows_per_second=0.0, oldest_seconds=75.0)
    assert live_lines(waits, 80)[-1] == "waiting for an answer for 1 min 15 s"
    for other in (msgspec.structs.replace(waits, rows_per_second=1.0), but(held_back="", oldest_seconds=3.0)):
        assert "waiting" not in live_sentence(other)


def test_a_log_for_programs_has_numbers_and_nothing_unknown() -> None:
    figures = live_figures(but(cost_usd=None, held_back="", seconds=1.23456789))
    assert figures["seconds"] == 1.2346
    assert not {"cost_usd", "held_back"} & set(figures)


@pytest.mark.parametrize(("columns", "lines"), [(39, 23), (79, 23), (119, 23), (39, 14)])
def test_who_watches_sees_a_screen_with_the_labels_last_and_no_more(columns: int, lines: int) -> None:
    status = msgspec.structs.replace(
        status_of(snapshot(alive=True)),
        state=JobState.RUNNING,
        rows=Rows(1000, 600, 10, 380, 10, 0),
        rate=Rate(12.0, 50, 210),
        labels={f"a_rather_long_label_{n}": 30 for n in range(40)},
        sources={**dict.fromkeys(map(str, Source), 0), "model": 380},
        errors=(ErrorCount("off_list", 8, None), ErrorCount("timeout", 2, None)),
    )
    assert live_of(status, "").total == 600
    shown = watch_lines(status, columns=columns, lines=lines)
    assert len(shown) <= lines
    assert max(map(width, shown)) <= columns
    assert "65 %" in " ".join(shown)
    assert "rows      380 of 1,000" in " ".join(shown)
    labels = [at for at, line in enumerate(shown) if "a_rather_long_label" in line]
    assert labels == [] if lines == 14 else labels[-1] >= len(shown) - 2


@pytest.mark.parametrize("lines", [40, 23, 13, 8, 4])
def test_of_what_does_not_fit_a_watched_screen_the_least_is_left_out(lines: int) -> None:
    full = msgspec.structs.replace(
        status_of(snapshot(alive=True, request={"sent": 4000, "answered": 4000})),
        state=JobState.RUNNING,
        rows=Rows(10_000, 5_990, 10, 3_800, 200, 0),
        rate=Rate(12.0, 500, 6_000),
        input="/a/folder/with/a/rather/long/name/" * 4 + "tickets.csv",
        pacing="held to 100 requests a minute by --rpm",
        warnings=("the input is on a network disk, where a lock may not hold: keep the database on a local one",) * 2,
        labels={"refund": 3_800},
        errors=tuple(ErrorCount(kind, 20, None) for kind in ("off_list", "timeout", *"abcdefgh")),
    )
    shown = watch_lines(full, columns=39, lines=lines)
    assert len(shown) <= lines
    assert max(map(width, shown)) <= 39
    assert shown[0] == "job tickets: running"
    told = " ".join(" ".join(shown).split())
    assert "40 %" in told
    assert ("3,800 of 10,000 rows labelled" in told) == (lines >= 8)
    assert ("20 off_list: give --fallback LABEL" in told) == (lines >= 13)
    assert ("cost      0.0000 USD" in "\n".join(shown)) == (lines >= 13)
    assert ("…rather/long/name/tickets.csv" in told) == (lines == 40)
    assert shown[-1].endswith("…") == (lines in (13, 8, 4))
    assert ("refund 3,800" in shown[-1]) == (lines == 40)
