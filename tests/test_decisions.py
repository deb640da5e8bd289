"""The decisions, which do no I/O: what was heard -> what is done, an answer -> a label, failures -> health."""

from __future__ import annotations

import math
import random
from email.utils import formatdate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchjob import shortcuts
from batchjob.endpoints.headers import LONGEST_WAIT_SECONDS, duration_seconds, limits, retry_after_seconds
from batchjob.errors import SettingError
from batchjob.exchange.conclude import still_lost
from batchjob.exchange.decide import (
    ADVICE,
    ANSWERED,
    BACKOFF_MOST_SECONDS,
    Known,
    Next,
    Signal,
    backoff_seconds,
    decide,
)
from batchjob.exchange.exchange import Exchange
from batchjob.exchange.rows import Terms, read_answer, unanswered
from batchjob.model import (
    NO_ROOM,
    Answered,
    Ending,
    Lost,
    LostRequest,
    NotSent,
    Parcel,
    Rejected,
    Reply,
    Row,
    RowResult,
)
from batchjob.pace.gate import FIRST_CONTACT_SECONDS, MAX_OUTAGE_SECONDS, Down, Gate
from batchjob.pace.health import (
    ALIKE_AT_FIRST,
    ALIKE_IN_A_ROW,
    BREATH_SECONDS,
    FIRST_PROBE_SECONDS,
    LAST_PROBE_SECONDS,
    NOBODY_SECONDS,
    OUTAGE_IN_A_ROW,
    AlikeFailures,
    Health,
)
from batchjob.providers.table import PLAIN, by_name
from batchjob.settings.complete import check
from batchjob.settings.config import JobConfig, merge
from batchjob.settings.labelsfile import parse_labels_file
from batchjob.shortcuts.case import Case
from batchjob.shortcuts.unsendable import Unsendable
from batchjob.states import Event, JobState, Outcome
from batchjob.task.finish import Ended, how_it_ended
from batchjob.task.identity import Task
from batchjob.task.labels import LabelSet
from batchjob.task.prompt import Prompt
from batchjob.task.texts import estimate_tokens

LABELS = LabelSet(["card_arrival", "change pin", "exchange-rate", "Rückgabe", "other"])
ROW = Row(1, "a text")
REFUSED = NotSent("cannot_connect", "nobody there.")

# ---------------------------------------------------------------- Retry-After and durations

header = st.one_of(st.text(max_size=20), st.floats().map(str), st.integers().map(str), st.just("9" * 400))


@given(
    st.fixed_dictionaries({}, optional={"retry-after-ms": header, "Retry-After": header, "Date": header}),
    st.floats(0, 4e9),
)
@example({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, 0.0)
@example({"Retry-After": "Mon, 01 Jan 0001 00:00:00 +1400"}, 0.0)
@example({"Retry-After": "Mon, 99 Foo 2020"}, 0.0)
def test_a_wait_is_never_an_error_and_never_longer_than_an_hour(headers: dict[str, str], now: float) -> None:
    wait = retry_after_seconds(headers, now=now)
    assert wait is None or 0 <= wait <= LONGEST_WAIT_SECONDS


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "250", "Retry-After": "9"}, 0.25),
        ({"Retry-After": "2.5"}, 2.5),
        ({"Retry-After": " 3 "}, 3.0),
        ({"Retry-After": formatdate(1007, usegmt=True), "Date": formatdate(1000, usegmt=True)}, 7.0),
        ({"Retry-After": formatdate(507, usegmt=True)}, 7.0),
        ({"Retry-After": "-4"}, 0.0),
        ({"Retry-After": "31536000"}, LONGEST_WAIT_SECONDS),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_a_wait_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers, now=500.0) == seconds


@given(st.one_of(header, st.from_regex(r"(\d+d)?(\d+h)?(\d+m)?(\d+(\.\d+)?s)?", fullmatch=True)))
@example("9" * 400 + "s")
@example("9" * 400 + "ms")
def test_a_duration_is_never_an_error_and_never_endless(text: str) -> None:
    seconds = duration_seconds(text)
    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12", 12),
        ("1.5s", 1.5),
        ("500ms", 0.5),
        ("6m0s", 360),
        ("1h2m3s", 3723),
        ("1d", 86400),
        ("", None),
        ("x", None),
    ],
)
def test_a_duration_is_read_in_all_its_forms(text: str, seconds: float | None) -> None:
    assert duration_seconds(text) == seconds


def test_no_limits_are_learned_from_headers_that_say_nothing() -> None:
    assert limits({"x-ratelimit-limit-requests": "nan"}) is None
    assert limits({}) is None


# ---------------------------------------------------------------- decide

names = st.sampled_from(["", "odd", "insufficient_quota", "content_filter", "model", "context_length_exceeded"])
endings = st.none() | names | st.sampled_from(["length", "error", "abort", "odd"])
heards: st.SearchStrategy[Reply] = st.one_of(
    st.builds(NotSent, st.sampled_from(["cannot_connect", "bad_certificate"]), st.text(max_size=5)),
    st.builds(Lost, st.sampled_from(["timeout", "connection_lost", "garbled_answer"]), st.text(max_size=5)),
    st.builds(Rejected, st.integers(300, 599), st.text(max_size=5), names, names, names),
    st.builds(
        Answered,
        st.none() | st.text(max_size=5),
        st.none() | names | st.sampled_from(["length", "error", "abort", "odd"]),
        st.none() | st.text(),
    ),
)


@given(heards)
def test_everything_heard_is_decided_and_there_is_advice_for_it(heard: Reply) -> None:
    decision = decide(heard)
    broken_off = isinstance(heard, Answered) and how_it_ended(heard.finish_reason) is Ended.BROKEN
    answered = isinstance(heard, Answered) and not broken_off
    assert decision.paid == answered == (decision.outcome is Outcome.ANSWERED)
    assert (decision.next is Next.RESEND) == (isinstance(heard, Lost) or broken_off)
    assert decision.kind in ADVICE or decision.next is Next.READ


@given(st.text(max_size=50))
def test_what_an_error_says_in_prose_decides_nothing(message: str) -> None:
    for said in (message, "insufficient_quota model context_length_exceeded content_filter"):
        assert decide(Rejected(400, said)).kind == "bad_request"


CREDIT = "Your credit balance is too low"


@pytest.mark.parametrize("text", [CREDIT, f"they wrote:  {CREDIT.upper()}\n and went", f'"{CREDIT}"'])
def test_words_that_the_endpoint_only_repeats_decide_nothing(text: str) -> None:
    first = Known(answered=False, sent=("Which label?", text))
    assert decide(Rejected(400, f"odd input: {text}"), first).kind == "bad_request"
    assert decide(Rejected(400, CREDIT), Known(answered=False, sent=("Which label?", "hello"))).kind == "no_credit"


@pytest.mark.parametrize(
    ("name", "answered", "kind"),
    [(None, False, "no_credit"), (None, True, "bad_request"), ("anthropic", True, "no_credit")],
)
def test_words_count_of_a_known_provider_or_while_nothing_has_been_answered(
    name: str | None, answered: bool, kind: str
) -> None:
    provider = by_name(name) if name else PLAIN
    assert decide(Rejected(400, CREDIT), Known(provider, answered)).kind == kind


@pytest.mark.parametrize(
    ("status", "code", "param", "next_", "kind"),
    [
        (401, "", "", Next.STOP, "bad_key"),
        (402, "", "", Next.STOP, "no_credit"),
        (403, "", "", Next.STOP, "forbidden"),
        (403, "content_policy_violation", "", Next.FAIL, "content_filter"),
        (403, "context_length_exceeded", "", Next.FAIL, "too_long"),
        (404, "", "", Next.STOP, "not_found"),
        (429, "budget_exceeded", "", Next.STOP, "no_credit"),
        (400, "invalid_api_key", "", Next.STOP, "bad_key"),
        (400, "model_not_found", "", Next.STOP, "not_found"),
        (498, "", "", Next.AGAIN, "unavailable"),
        (308, "", "", Next.STOP, "redirected"),
        (429, "", "", Next.AGAIN, "rate_limited"),
        (429, "insufficient_quota", "", Next.STOP, "no_credit"),
        (400, "", "generation.temperature", Next.STOP, "bad_setting"),
        (400, "context_length_exceeded", "messages", Next.FAIL, "too_long"),
        (400, "", "messages", Next.FAIL, "bad_request"),
        (413, "", "", Next.FAIL, "too_long"),
        (408, "", "", Next.AGAIN, "conflict"),
        (500, "", "", Next.AGAIN, "server_error"),
        (529, "", "", Next.AGAIN, "unavailable"),
        (599, "", "", Next.AGAIN, "server_error"),
        (418, "", "", Next.FAIL, "bad_request"),
    ],
)
def test_a_rejection_is_known_by_status_code_and_param(
    status: int, code: str, param: str, next_: Next, kind: str
) -> None:
    decision = decide(Rejected(status, "no", code=code, param=param))
    assert (decision.next, decision.kind) == (next_, kind)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_is_full_jitter_up_to_a_minute(attempt: int, chance: float) -> None:
    assert 0 <= backoff_seconds(attempt, chance) <= min(BACKOFF_MOST_SECONDS, 0.5 * 2 ** min(attempt - 1, 30))


# ---------------------------------------------------------------- verdict


def terms(*, fallback: str | None = None, attempts: int = 3, paid: int = 1, hold: bool = False) -> Terms:
    return Terms(LABELS, fallback, attempts, paid, hold)


def by_row(row: Row, fallback: str | None = None) -> RowResult | None:
    return Unsendable(shortcuts.Terms(LABELS, (), fallback, True, True, None)).settle(Case(row))


def test_a_blank_text_is_never_sent() -> None:
    blank = by_row(Row(1, " \n"))
    assert blank is not None
    assert blank.event is Event.REJECT
    given_up = by_row(Row(1, ""), fallback="other")
    assert given_up is not None
    assert (given_up.event, given_up.label) == (Event.ASSIGN, "other")
    assert by_row(ROW) is None


def test_an_answer_off_the_list_is_paid_and_fails_or_is_the_fallback() -> None:
    failed = read_answer(ROW, "gamma", terms())
    assert (failed.event, failed.paid, failed.answer, failed.label) == (Event.FAIL, 1, "gamma", None)
    taken = read_answer(ROW, "gamma", terms(fallback="other"))
    assert (taken.event, taken.label, taken.source, taken.answer) == (Event.COMPLETE, "other", "fallback", "gamma")


@given(st.integers(0, 5), st.integers(1, 5), st.integers(1, 5))
def test_no_more_answers_are_bought_than_max_paid(paid: int, most: int, attempts: int) -> None:
    result = read_answer(Row(1, "x", 0, paid), "gamma", terms(paid=most, attempts=attempts))
    assert result.paid == paid + 1
    assert result.event is Event.FAIL or result.paid < most


@given(heards.filter(lambda heard: not isinstance(heard, Answered)), st.booleans(), st.booleans(), st.integers(0, 4))
def test_a_row_fails_only_for_its_own_sake_or_after_its_attempts(
    heard: Reply, counts: bool, hold: bool, tried: int
) -> None:
    decision = decide(heard)
    result = unanswered(
        Row(1, "x", tried), decision, terms(hold=hold), None, counts=counts and decision.next is not Next.STOP
    )
    assert result.paid == 0
    if decision.next is Next.STOP:
        assert (result.event, result.attempts) == (Event.RELEASE, tried)
    elif decision.next is Next.FAIL:
        assert result.event is Event.FAIL
    elif isinstance(heard, Lost) and hold:
        assert result.event is Event.LOSE
    else:
        assert (result.event is Event.FAIL) == (result.attempts >= 3)


@pytest.mark.parametrize(
    ("heard", "kept"),
    [
        (Lost("timeout", ""), "new"),
        (Rejected(429, ""), "old"),
        (Rejected(409, ""), "old"),
        (Rejected(401, ""), "old"),
        (NotSent("cannot_connect", ""), "old"),
        (Rejected(500, ""), None),
        (Rejected(400, ""), None),
        (Answered(None), None),
    ],
)
def test_a_key_is_kept_until_a_failure_was_answered(heard: Reply, kept: str | None) -> None:
    exchange = Exchange(2, "new", Parcel((ROW,), lost=LostRequest(1, "old")), b"", 0, 0.0)
    found = still_lost(exchange, decide(heard))
    assert (found.client_key if found else None) == kept


# ---------------------------------------------------------------- health


def test_an_outage_is_noticed_after_twenty_in_a_row_and_probed_ever_more_rarely() -> None:
    health = Health(now=0.0)
    health.good(0.0)
    for number in range(OUTAGE_IN_A_ROW):
        assert health.outage_since is None
        health.bad(Signal.UNAVAILABLE, Row(number, "x"), 1.0)
    assert health.probing
    assert health.outage_since == 0.0
    now, waits = 1.0, []
    for _ in range(10):
        waits.append(health.probe_at - now)
        now = health.probe_at
        assert not health.bad(Signal.ERRED, ROW, now), "an outage costs no row an attempt"
    assert waits == sorted(waits)
    assert waits[-1] == LAST_PROBE_SECONDS
    health.good(now)
    assert not health.probing
    assert health.outage_since is None


def test_requests_that_were_in_flight_when_an_outage_was_noticed_do_not_put_the_probe_off() -> None:
    health = Health(now=0.0)
    for number in range(OUTAGE_IN_A_ROW + 40):
        health.bad(Signal.UNAVAILABLE, Row(number, "x"), 1.0)
    assert health.probe_at == 1.0 + FIRST_PROBE_SECONDS


def test_a_row_that_is_turned_away_while_all_others_are_answered_is_to_blame_itself() -> None:
    health = Health(now=0.0)
    tries = 1
    while not health.bad(Signal.UNAVAILABLE, ROW, 0.0):
        tries += 1
        for _ in range(200):
            health.good(0.0)
    assert 2 < tries < 10


@pytest.mark.parametrize("answered", [0.1, 0.5, 0.9])
def test_an_endpoint_that_turns_many_away_costs_no_row_an_attempt(answered: float) -> None:
    health, chance = Health(now=0.0), random.Random(4)
    waiting = [Row(number, "x") for number in range(1000)]
    while waiting:
        row = waiting.pop(chance.randrange(len(waiting)))
        if chance.random() < answered:
            health.good(0.0, (row,))
        else:
            assert not health.bad(Signal.UNAVAILABLE, row, 0.0)
            waiting.append(row)


def test_what_was_never_sent_is_held_against_no_row_and_one_connection_is_no_outage() -> None:
    health = Health(now=0.0)
    for n in range(200):
        now = n * 0.01
        assert not health.bad(Signal.UNREACHABLE, ROW, now)
        assert health.probe_at == now + BREATH_SECONDS
        health.good(now)
    assert health.outage_since is None


def test_connections_that_are_not_made_are_an_outage_when_nothing_was_answered_for_a_second() -> None:
    health = Health(now=0.0)
    health.good(10.0)
    for number in range(3 * OUTAGE_IN_A_ROW):
        health.bad(Signal.UNREACHABLE, Row(number, "x"), 10.0 + 0.99 * NOBODY_SECONDS)
    assert health.outage_since is None
    health.bad(Signal.UNREACHABLE, ROW, 10.0 + NOBODY_SECONDS)
    assert health.outage_since == 10.0


def test_an_answer_in_an_outage_lets_others_go_at_once() -> None:
    health = Health(now=0.0)
    for number in range(OUTAGE_IN_A_ROW):
        health.bad(Signal.UNAVAILABLE, Row(number, "x"), 1.0)
    assert health.probe_at > 1.5
    health.good(1.5)
    assert health.probe_at == 1.5


def unheard(gate: Gate, reply: Reply, now: float) -> Ending | None:
    """How the job ends by a reply that comes after the gate has looked at the clock each second."""
    for second in range(int(gate._looked_at), int(now)):
        gate.look(second)
    return gate.learn(decide(reply), reply, Parcel((ROW,), "m"), sent_at=now, now=now).stop


def test_a_job_that_never_reached_its_endpoint_gives_up_after_a_minute_and_says_what_to_check() -> None:
    gate = Gate(JobConfig(), heard=False, now=0.0)
    assert unheard(gate, REFUSED, FIRST_CONTACT_SECONDS) is None
    ending = unheard(gate, REFUSED, FIRST_CONTACT_SECONDS + 3)
    assert ending is not None
    assert (ending.state, ending.exit_code) == (JobState.REFUSED, 3)
    assert "no connection in 1 min 03 s" in ending.reason
    assert "nobody there. What to do: check the address, " in ending.reason


@pytest.mark.parametrize(
    ("heard", "first"), [(True, None), (False, Rejected(503, "")), (False, Lost("timeout", "")), (False, Answered("a"))]
)
def test_once_an_endpoint_was_reached_an_outage_is_waited_out_for_hours(heard: bool, first: Reply | None) -> None:
    gate = Gate(JobConfig(), heard=heard, now=0.0)
    if first is not None:
        unheard(gate, first, 0.0)
    assert unheard(gate, REFUSED, MAX_OUTAGE_SECONDS) is None
    ending = unheard(gate, REFUSED, MAX_OUTAGE_SECONDS + 1)
    assert ending is not None
    assert (ending.state, ending.exit_code) == (JobState.STOPPED, 1)


def test_a_run_gives_up_when_it_says_and_tries_once_more_just_then() -> None:
    gate = Gate(JobConfig(max_outage=90.0), heard=True, now=0.0)
    now = 1.0
    while unheard(gate, REFUSED, now) is None:
        if down := gate.down(now):
            assert down.next_try <= down.until == pytest.approx(90.0)
            now = down.next_try + 0.01
    assert now == pytest.approx(90.0, abs=0.1)


@pytest.mark.parametrize("given", [5.0, 600.0])
def test_an_explicit_max_outage_wins_also_at_the_first_contact(given: float) -> None:
    gate = Gate(JobConfig(max_outage=given), heard=False, now=0.0)
    assert unheard(gate, REFUSED, given) is None
    ending = unheard(gate, REFUSED, given + 1)
    assert ending is not None
    assert ending.exit_code == 1


def test_the_time_in_which_a_run_stood_still_is_no_outage() -> None:
    gate = Gate(JobConfig(max_outage=30.0), heard=True, now=0.0)
    assert gate.look(1.0) == 0.0
    assert gate.look(500.0) == 499.0
    assert unheard(gate, REFUSED, 520.0) is None
    assert unheard(gate, REFUSED, 540.0) is not None
    late = Gate(JobConfig(max_outage=30.0), heard=True, now=0.0)
    assert late.learn(decide(REFUSED), REFUSED, Parcel((ROW,), "m"), sent_at=0.0, now=500.0).stop is None


def test_a_certificate_that_turns_bad_in_the_middle_of_a_run_is_an_outage() -> None:
    bad = NotSent("bad_certificate", "expired")
    assert decide(bad).next is Next.STOP
    later = decide(bad, Known(reached=True))
    assert (later.next, later.signal, later.kind) == (Next.AGAIN, Signal.UNREACHABLE, "bad_certificate")


def test_where_no_more_files_may_be_open_fewer_requests_are_in_flight() -> None:
    gate = Gate(JobConfig(concurrency=100), heard=True, now=0.0)
    unheard(gate, Answered("a"), 0.5)
    for in_flight in (50, 49, 48):
        gate.in_flight = in_flight
        unheard(gate, NotSent(NO_ROOM, ""), 1.0)
    gate.in_flight = 47
    assert gate.seconds_to_room(2.0) == math.inf
    gate.in_flight = 46
    assert gate.seconds_to_room(2.0) == 0.0


def test_an_outage_says_since_when_until_when_and_what_was_heard_last() -> None:
    gate = Gate(JobConfig(), heard=True, now=0.0)
    unheard(gate, Answered("a"), 100.0)
    for second in range(4):
        assert gate.down(101.0 + second) is None
        unheard(gate, REFUSED, 101.0 + second)
    unheard(gate, NotSent("cannot_connect", "no route"), 105.0)
    assert gate.down(105.5) == Down(100.0, 106.0, 100.0 + MAX_OUTAGE_SECONDS, "no route")
    over = gate.learn(ANSWERED, Answered("a"), Parcel((ROW,), "m"), sent_at=130.0, now=130.0).over
    assert (over, gate.down(131.0)) == (30.0, None)


def test_one_bad_row_makes_no_outage() -> None:
    health = Health(now=0.0)
    for _ in range(100):
        health.bad(Signal.ERRED, ROW, 0.0)
        health.good(0.0)
    assert health.outage_since is None


def test_the_job_stops_at_five_rows_alike_before_any_label_and_at_twenty_after_one() -> None:
    for labelled, most in ((False, ALIKE_AT_FIRST), (True, ALIKE_IN_A_ROW)):
        alike = AlikeFailures()
        if labelled:
            alike.labelled()
        assert [alike.failed("bad_request", Row(n, "x")) for n in range(most)] == [False] * (most - 1) + [True]


def test_one_row_that_fails_often_and_rows_that_fail_differently_do_not_stop_the_job() -> None:
    alike = AlikeFailures()
    assert not any(alike.failed("bad_request", ROW) for _ in range(50))
    assert not any(alike.failed(f"kind {n % 2}", Row(n, "x")) for n in range(50))


# ---------------------------------------------------------------- prompt


@given(st.text(max_size=40))
def test_a_text_reaches_the_model_letter_for_letter_whatever_marks_are_in_it(text: str) -> None:
    assert Prompt(LABELS, None).messages([Row(1, text)])[-1] == ("user", text)
    framed = Prompt(LABELS, "Which of {labels}? <{text}>").messages([Row(1, text)])
    assert framed[0][1].endswith(f"? <{text}>")


@pytest.mark.parametrize("prompt", [None, "", "Say which.", "Say which: {labels}", "{text}: which?"])
def test_the_model_is_always_told_every_label(prompt: str | None) -> None:
    told = " ".join(content for _, content in Prompt(LABELS, prompt).messages([ROW]))
    assert all(label in told for label in LABELS.labels)


@given(st.text(max_size=200))
def test_an_estimate_of_tokens_is_never_negative_and_never_more_than_the_bytes(text: str) -> None:
    assert 0 <= estimate_tokens(text) <= len(text.encode("utf-8", "replace")) + 1


# ---------------------------------------------------------------- config


def test_a_later_layer_wins_over_an_earlier_one() -> None:
    assert merge({"model": "a", "rpm": 5}, {"model": "b"}) == JobConfig(model="b", rpm=5)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("concurrency", 0),
        ("timeout", 0),
        ("timeout", "soon"),
        ("temperature", 3),
        ("on_unconfirmed", "maybe"),
        ("rpm", -1),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(setting: str, value: object) -> None:
    with pytest.raises(SettingError, match=setting):
        merge({setting: value})


GOOD = {"base_url": "http://x/v1", "model": "m", "labels": ["a", "b"]}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"labels": []}, "--labels"),
        ({"labels": ["a", "a"]}, "twice"),
        ({"labels": ["a", " b"]}, "spaces"),
        ({"labels": ["a", "b\n"]}, "label"),
        ({"base_url": ""}, "--base-url"),
        ({"base_url": "x.org/v1"}, "http"),
        ({"base_url": "http://"}, "no address"),
        ({"base_url": "http://x.org:99999/v1"}, "no address"),
        ({"base_url": "http://[::1/v1"}, "no address"),
        ({"base_url": "http://a..b/v1"}, "no address"),
        ({"base_url": "http://x org/v1"}, "no address"),
        ({"base_url": "http://x.org\\v1"}, "no address"),
        ({"base_url": "https://x.org/v1?version=1"}, "query"),
        ({"base_url": "https://me:secret@x.org/v1"}, "password"),
        ({"base_url": "https://me:secret@x.org//v1"}, "password"),
        ({"base_url": "https://me:secret@x.org:99999/v1"}, "no address"),
        ({"base_url": "https:/me:secret@x.org/v1"}, "no address"),
        ({"base_url": "https://me:sec/secret@x.org/v1"}, "no address"),
        ({"model": ""}, "--model"),
    ],
)
def test_a_config_that_cannot_work_is_refused_with_what_to_do(change: dict[str, object], named: str) -> None:
    check(merge(GOOD))
    with pytest.raises(SettingError, match=named) as caught:
        check(merge(GOOD, change))
    assert "secret" not in str(caught.value)


def test_the_task_is_what_labels_depend_on_and_nothing_else() -> None:
    config = check(merge(GOOD))
    task = Task.of(config)
    assert task.digest == Task.of(merge(GOOD, {"concurrency": 99, "rpm": 1})).digest
    other = Task.of(merge(GOOD, {"model": "n"}))
    assert task.digest != other.digest
    assert other.changed_from(task) == ["model"]


@pytest.mark.parametrize("text", ['["a", "b"]', "a\nb\n", "# mine\n a \n\nb"])
def test_a_labels_file_is_a_list_or_lines(text: str) -> None:
    assert parse_labels_file(text, "labels.txt") == ["a", "b"]
