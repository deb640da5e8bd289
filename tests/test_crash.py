"""A few blows of the storm (tests/storm, `make storm`): the installed command is killed, and the ledger judges."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from storm.harness import (
    FINISHED,
    Blow,
    Plan,
    World,
    between_runs,
    finish,
    see_rival,
    storm,
    strike,
    wait_for,
)
from storm.oracle import Bill, Exported, Oracle
from storm.readers import read_all

QUICK = (0.005, 0.02)


def kills(*seconds: float, after: str = "request", **more: Any) -> tuple[Blow, ...]:
    return tuple(Blow("kill", after, at, command=("start", "resume")[n % 2], **more) for n, at in enumerate(seconds))


# ---------------------------------------------------------------- killed


@pytest.mark.parametrize("mode", ["resend", "hold", "idempotent", "resend, faults"])
def test_a_job_killed_three_times_has_every_label_once_and_no_bill_it_does_not_name(tmp_path: Path, mode: str) -> None:
    blows = (*kills(0.02, 0.1), Blow("kill", "request", 0.0, export=True))
    plan = Plan(3, mode, 160, ".csv", 8, (0.03, 0.06), blows)
    with World(tmp_path, plan, warm=True) as world:
        told = storm(world)
    assert told.objections == []
    assert told.blows["kill"] >= 2


@pytest.mark.parametrize("suffix", [".csv.gz", ".jsonl"])
def test_a_job_killed_while_it_reads_its_input_reads_on_where_it_was(tmp_path: Path, suffix: str) -> None:
    # From before there is a database to the middle of the second chunk of the input.
    blows = kills(0.0, 0.1, after="spawn") + kills(0.0, 0.002, 0.005, 0.01, after="database")
    plan = Plan(4, "resend", 2100, suffix, 40, (0.0, 0.0), blows)
    with World(tmp_path, plan, warm=True) as world:
        told = storm(world)
    assert told.objections == []


def test_other_settings_forgotten_labels_and_readers_beside_a_kill_harm_no_job(tmp_path: Path) -> None:
    with World(tmp_path, Plan(11, "settings, hold", 80, ".several", 4, (0.3, 0.3), ()), warm=True) as world:
        process = world.spawn(world.arguments("start"))
        world.runs += 1
        assert wait_for(lambda: world.endpoint.received() > 0, seconds=60)
        read_all(world)
        process.kill()
        world.ended(process)
        between_runs(world)
        finish(world)
    assert world.oracle.objections == []


def test_a_process_stopped_for_longer_than_its_timeout_counts_what_it_did_not_hear(tmp_path: Path) -> None:
    plan = Plan(5, "resend", 200, ".csv", 8, QUICK, (Blow("stop", "request", 0.1),))
    with World(tmp_path, plan, warm=True) as world:
        told = storm(world)
    assert told.objections == []
    assert told.blows["stop"] == 1


# ---------------------------------------------------------------- Ctrl-C


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_ends_a_run_when_what_is_in_flight_is_committed(tmp_path: Path, number: signal.Signals) -> None:
    plan = Plan(6, "resend", 40, ".csv", 8, (0.2, 0.3), ())
    with World(tmp_path, plan, warm=True) as world:
        process = world.spawn(world.arguments("start"))
        assert wait_for(lambda: world.endpoint.received() > 0, seconds=60)
        time.sleep(0.1)  # the others of the eight are out now
        process.send_signal(number)
        assert world.ended(process) == 130
        assert "batchjob resume tickets" in world.said_by(process)
        status = world.judge()
        assert status is not None
        assert status["state"] == "stopped"
        assert status["requests"]["lost"] == status["rows"]["in_flight"] == 0
        assert status["rows"]["done"] == len([bill for bill in world.endpoint.bills() if bill.billed])
        finish(world)
    assert world.oracle.objections == []
    assert world.oracle.printed == world.oracle.extra_bills == 0


def test_a_second_ctrl_c_leaves_at_once_and_what_was_out_is_counted(tmp_path: Path) -> None:
    plan = Plan(7, "resend", 16, ".csv", 8, (0.6, 0.8), ())
    with World(tmp_path, plan, warm=True) as world:
        process = world.spawn(world.arguments("start"))
        # The first request goes out alone; so many more are out when it has been answered.
        assert wait_for(lambda: world.endpoint.received() > 0, seconds=60)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert world.ended(process) == 130
        assert time.monotonic() - began < 0.4
        status = world.judge()
        assert status is not None
        out = status["rows"]["in_flight"]
        assert 1 <= out <= 8
        finish(world)
    assert world.oracle.objections == []
    assert world.oracle.printed == out == world.oracle.extra_bills


# ---------------------------------------------------------------- two at once


def test_a_second_runner_is_refused_by_name_and_may_start_when_the_first_is_dead(tmp_path: Path) -> None:
    plan = Plan(8, "resend", 240, ".csv", 4, (0.05, 0.1), ())
    with World(tmp_path, plan, warm=True) as world:

        def works(pid: int) -> Callable[[], bool]:
            return lambda: (world.status() or {}).get("pid") == pid

        began = time.monotonic()
        first = world.spawn(world.arguments("start"))
        assert wait_for(works(first.pid), seconds=60)
        to_start = time.monotonic() - began
        see_rival(world, first)
        assert first.poll() is None
        first.kill()
        first.wait()
        began = time.monotonic()
        second = world.spawn(world.arguments("resume"))
        assert wait_for(works(second.pid), seconds=60)
        assert time.monotonic() - began < 1.0 + to_start
        assert world.ended(second) in FINISHED
        world.judge(final=True)
    assert world.oracle.objections == []


def test_the_numbers_of_status_never_fall_while_a_job_is_killed_and_resumed(tmp_path: Path) -> None:
    plan = Plan(9, "hold", 200, ".csv", 8, QUICK, (Blow("kill", "request", 0.3, watch=True),))
    with World(tmp_path, plan, warm=True) as world:
        strike(world, plan.blows[0])
        finish(world)
    assert world.oracle.objections == []


# ---------------------------------------------------------------- the oracle itself

ROWS = [("1", "one"), ("2", "two")]
STATUS: dict[str, Any] = {
    "rows": {"total": 2, "pending": 0, "in_flight": 0, "done": 2, "failed": 0, "unconfirmed": 0},
    "requests": {"sent": 2, "answered": 2, "rejected": 0, "lost": 0, "not_sent": 0, "resent": 0, "resent_as_new": 0},
    "usage": {"input_tokens": 14, "output_tokens": 2},
    "paid_twice_at_most": 0,
}


def bill(n: int, text: str, label: str = "yes", *, at: float = 10.0, key: str | None = None) -> Bill:
    return Bill(at, key or f"k{n}", f"r{n}", {text: label}, True, True, None, (7, 1))


def done(key: str, text: str, label: str = "yes", request_id: str | None = None) -> Exported:
    return Exported(key, text, label, "done", request_id or f"r{key}")


LEDGER = [bill(1, "one"), bill(2, "two")]
EXPORT = [done("1", "one"), done("2", "two")]
REQUESTS = [{"client_key": f"k{n}", "request_id": f"r{n}", "outcome": "answered"} for n in (1, 2)]


def objections(
    *,
    exports: tuple[list[Exported], ...] = (EXPORT,),
    ledger: list[Bill] = LEDGER,
    requests: list[dict[str, Any]] = REQUESTS,
    status: dict[str, Any] = STATUS,
) -> str:
    oracle = Oracle(ROWS)
    for export in exports:
        oracle.see_export(export, ended_at=20.0, whole=True)
        oracle.see_labels(export, ledger)
    oracle.see_bills(ledger, requests, status["paid_twice_at_most"])
    oracle.see_usage(status, ledger, requests)
    oracle.see_status(status, final=True)
    return "; ".join(oracle.objections)


def test_the_oracle_has_nothing_against_a_job_as_it_should_be() -> None:
    assert objections() == ""


def test_the_oracle_has_nothing_against_another_answer_for_a_useless_one_that_was_heard_as_a_replay() -> None:
    useless = bill(8, "one", key="k8")._replace(fault="null", at=8.0)
    replay = bill(9, "one", key="k8")._replace(billed=False, at=9.0)
    asked = [
        {"client_key": "k8", "request_id": None, "outcome": "lost"},
        {"client_key": "k8", "request_id": "r9", "outcome": "answered"},
        *REQUESTS,
    ]
    status = {
        **STATUS,
        "requests": {**STATUS["requests"], "sent": 4, "answered": 3, "lost": 1},
        "usage": {"input_tokens": 21, "output_tokens": 3},
    }
    assert objections(ledger=[useless, replay, *LEDGER], requests=asked, status=status) == ""
    unheard = [asked[0], {**asked[1], "outcome": "lost", "request_id": None}, *REQUESTS]
    assert "paid twice: 1 extra bills" in objections(ledger=[useless, replay, *LEDGER], requests=unheard)


@pytest.mark.parametrize(
    ("evidence", "objection"),
    [
        ({"exports": (EXPORT[:1],)}, "once and in order"),
        ({"exports": ([EXPORT[1], EXPORT[0]],)}, "once and in order"),
        ({"exports": ([*EXPORT, EXPORT[1]],)}, "once and in order"),
        ({"exports": ([done("1", "one", "no"), EXPORT[1]],)}, "label: row 1 has 'no'"),
        ({"exports": ([done("1", "one", request_id="r2"), EXPORT[1]],)}, "did not carry it"),
        ({"exports": (EXPORT, [Exported("1", "one", None, "pending", None), EXPORT[1]])}, "label lost: row 1"),
        ({"ledger": [*LEDGER, bill(3, "one", at=30.0, key="k1")]}, "billed after its commit: 'one'"),
        ({"ledger": [*LEDGER, bill(3, "one", at=11.0, key="k1")]}, "paid twice: 1 extra bills, 0 allowed"),
        ({"requests": [*REQUESTS[:1], {**REQUESTS[1], "client_key": "k9"}]}, "without a claim on disk: 1"),
        ({"requests": [*REQUESTS, {**REQUESTS[0], "outcome": "lost"}]}, "status: requests"),
        ({"status": {**STATUS, "usage": {"input_tokens": 7, "output_tokens": 1}}}, "usage: status says"),
        ({"status": {**STATUS, "rows": {**STATUS["rows"], "done": 1}}}, "do not sum"),
        ({"status": {**STATUS, "rows": {**STATUS["rows"], "done": 1, "pending": 1}}}, "at its end"),
    ],
)
def test_the_oracle_objects_to(evidence: dict[str, Any], objection: str) -> None:
    assert objection in objections(**evidence)
