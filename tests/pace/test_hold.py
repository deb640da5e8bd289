"""A refusal that may pass is asked about once more; while a job has no label, few answers are paid in vain."""

from __future__ import annotations

from math import inf

import pytest

from batchjob.exchange.decide import Decision, Known, Next, decide
from batchjob.model import Answered, Ending, Lost, Parcel, Rejected, Reply, Row, RowResult
from batchjob.pace.first_label import FirstLabel
from batchjob.pace.gate import Gate
from batchjob.pace.hold import MONEY_SECONDS
from batchjob.settings.config import JobConfig
from batchjob.states import Event, Source

MONEY = Rejected(429, "You exceeded your current quota", code="insufficient_quota")
FORBIDDEN = Rejected(403, "no")
RIGHT = Answered("yes", "stop")


class Bench:
    """A gate whose endpoint has answered once, at 0."""

    def __init__(self) -> None:
        self.gate = Gate(JobConfig(concurrency=4, rpm=0), heard=True, now=0.0)
        self.heard(RIGHT, row=1, sent_at=0.0, now=0.0)

    def heard(self, reply: Reply, *, row: int, sent_at: float, now: float) -> Decision:
        parcel = Parcel((Row(row, "x"),))
        decision = self.gate.judge(decide(reply), reply, parcel, sent_at=sent_at)
        lesson = self.gate.learn(decision, reply, parcel, sent_at=sent_at, now=now)
        assert not lesson.counts or decision.next is not Next.AGAIN
        return decision


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_no_money_is_believed_when_it_is_said_again_after_a_pause(bench: Bench) -> None:
    assert bench.heard(MONEY, row=2, sent_at=1.0, now=2.0).next is Next.AGAIN
    until = 2.0 + MONEY_SECONDS
    assert bench.heard(MONEY, row=3, sent_at=1.0, now=2.0).next is Next.AGAIN  # it was out before
    assert bench.gate.seconds_to_room(3.0) == until - 3.0
    bench.gate.in_flight = 1
    assert bench.gate.seconds_to_room(until) == inf  # one asks for all
    assert bench.heard(MONEY, row=4, sent_at=until, now=until).next is Next.STOP


def test_a_minutes_limit_that_calls_itself_money_stops_no_job_however_often(bench: Bench) -> None:
    now = 1.0
    for _ in range(5):
        assert bench.heard(MONEY, row=2, sent_at=now, now=now).next is Next.AGAIN
        bench.heard(RIGHT, row=3, sent_at=now, now=now + 1)  # it was out before: no sign that the pause is over
        assert bench.gate.seconds_to_room(now + 1) > 0
        now += MONEY_SECONDS
        bench.heard(RIGHT, row=4, sent_at=now, now=now)
        assert bench.gate.seconds_to_room(now) == 0.0
        now += 1.0


def test_a_row_that_is_forbidden_while_others_are_answered_fails_alone(bench: Bench) -> None:
    assert bench.heard(FORBIDDEN, row=2, sent_at=1.0, now=1.0).next is Next.AGAIN
    bench.heard(RIGHT, row=3, sent_at=9.0, now=9.0)
    again = bench.heard(FORBIDDEN, row=2, sent_at=10.0, now=10.0)
    assert (again.next, again.kind) == (Next.FAIL, "bad_request")


def test_rows_that_are_forbidden_one_after_another_stop_the_job(bench: Bench) -> None:
    assert bench.heard(FORBIDDEN, row=2, sent_at=1.0, now=1.0).next is Next.AGAIN
    assert bench.heard(FORBIDDEN, row=3, sent_at=9.0, now=9.0).next is Next.STOP


@pytest.mark.parametrize("code", ["budget_exceeded", "billing_hard_limit_reached"])
def test_what_means_one_thing_everywhere_needs_no_second_word(bench: Bench, code: str) -> None:
    assert bench.heard(Rejected(429, "", code=code), row=2, sent_at=1.0, now=1.0).next is Next.STOP


def test_a_quota_of_a_day_is_waited_for_beyond_any_outage() -> None:
    gate = Gate(JobConfig(max_outage=5.0), heard=True, now=0.0)
    reply, parcel = Rejected(429, "1000 API calls / month"), Parcel((Row(1, "x"),))
    decision = decide(reply, Known(answered=False, waits_for_quota=True))
    now = 0.0
    for _ in range(100):
        lesson = gate.learn(decision, reply, parcel, sent_at=now, now=now)
        assert (lesson.stop, lesson.counts) == (None, False)
        now += gate.seconds_to_room(now)
    assert now > 24 * 3600
    assert "1000 API calls / month" in gate.describe(now - 1)


# ---------------------------------------------------------------- while a job has no label


def ended(source: Source | None = None) -> tuple[RowResult, ...]:
    event = Event.FAIL if source is None else Event.COMPLETE
    return (RowResult(1, event, label=source and "yes", source=source),)


def watched(first: FirstLabel, reply: Reply, results: tuple[RowResult, ...]) -> Ending | None:
    return first.watch(decide(reply), reply, results)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Answered("ye", "length"), "truncated_answer"),
        (Answered(None, "stop"), "empty_answer"),
        (Lost("garbled_answer", "no JSON", 200), "garbled_answer"),
    ],
)
def test_two_paid_answers_alike_are_enough_while_there_is_no_label(reply: Reply, kind: str) -> None:
    first = FirstLabel(waiting=True)
    assert watched(first, reply, ended()) is None
    assert watched(first, RIGHT, ended(Source.FALLBACK)) is None  # neither opens nor stops
    ending = watched(first, reply, ended())
    assert ending is not None
    assert (ending.exit_code, ending.kind) == (3, kind)
    assert watched(FirstLabel(waiting=False), reply, ended()) is None


def test_what_was_not_paid_or_differs_is_no_sign() -> None:
    first = FirstLabel(waiting=True)
    for reply in (
        Lost("garbled_answer", "a proxy", 502),
        Lost("garbled_answer", "a proxy", 503),
        Rejected(400, ""),
        Rejected(400, ""),
        Answered("ye", "length"),
        Answered(None, "stop"),
        Answered(None, "content_filter"),
        Answered(None, "content_filter"),
    ):
        assert watched(first, reply, ended()) is None
    assert first.waiting
    assert watched(first, RIGHT, ended(Source.MODEL)) is None
    assert not first.waiting
