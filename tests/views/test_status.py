"""The typed status: its keys are a contract, and hold what the states and outcomes name."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from batchjob import page
from batchjob.model import InputSource, Job
from batchjob.records import Snapshot
from batchjob.settings.config import JobConfig
from batchjob.states import ASKED, UNASKED, JobState, Outcome, Source, State
from batchjob.views.forecast import SettledBy
from batchjob.views.report.content import SAID_OF
from batchjob.views.status import Requests, Rows, Status, status_of

JOB = Job(
    id=1,
    uid="u",
    name="tickets",
    source=InputSource("/t.csv", "csv", "utf-8", ("id", "text"), "id", "text", 1, 1),
    settings=msgspec.json.encode(JobConfig(labels=("a", "b"))),
    prices=b"{}",
    task_digest="",
    state=JobState.RUNNING,
    reason="",
    reason_kind="",
    created_at=1.0,
    rows=10,
    position=0,
    digest="",
    ingested=True,
)


def snapshot(*, alive: bool = False, **tally: dict[str, int]) -> Snapshot:
    return Snapshot(
        job=JOB,
        alive=alive,
        tally=tally,
        examples={},
        started_at=1.0,
        updated_at=2.0,
        rows_per_second=2.0 if alive else None,
        pacing="",
        writer_pid=7 if alive else None,
    )


def test_every_state_and_every_outcome_has_its_key() -> None:
    assert Rows.__struct_fields__ == ("total", *State)
    assert set(Requests.__struct_fields__) == {"sent", "resent", "resent_as_new", *Outcome}
    assert list(status_of(snapshot()).sources) == [str(source) for source in Source]


def test_the_keys_of_status_json_are_those_that_scripts_rely_on() -> None:
    document = msgspec.json.decode(msgspec.json.encode(status_of(snapshot())))
    assert " ".join(document) == (
        "job name state reason reason_kind rows skipped ingested labels fields sources matched requests "
        "paid_twice_at_most usage cost saved rules second verified rate pacing outage errors warnings learned model "
        "endpoint input created_at started_at updated_at pid by_hand moved_to workers"
    )
    inner = {key: list(value) for key, value in document.items() if isinstance(value, dict) and value}
    assert inner == {
        "rows": ["total", "pending", "in_flight", "done", "failed", "unconfirmed"],
        "sources": ["model", "duplicate", "cache", "rule", "fallback", "human", "second"],
        "matched": ["exact", "near"],
        "requests": ["sent", "not_sent", "rejected", "answered", "lost", "resent", "resent_as_new"],
        "usage": ["input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens"],
        "cost": [
            "usd",
            "known",
            "reported_requests",
            "unknown_requests",
            "odd_usages",
            "lost_usd_at_most",
            "prices",
        ],
        "verified": ["asked", "agreed"],
        "rate": ["rows_per_second", "eta_seconds", "rows_left"],
    }


def test_a_status_can_be_read_back_from_its_document() -> None:
    status = status_of(snapshot(alive=True, row={"done": 4, "pending": 6}, source={"model": 3, "rule": 1}))
    assert msgspec.json.decode(msgspec.json.encode(status), type=Status) == status
    assert (status.rows.total, status.rate.eta_seconds, status.busy, status.unfinished) == (10, 3, True, True)


def test_a_running_job_without_a_process_is_interrupted() -> None:
    assert status_of(snapshot()).state is JobState.INTERRUPTED


def test_an_unknown_price_is_no_cost_and_never_nothing() -> None:
    cost = status_of(snapshot(request={"sent": 2, "answered": 2}, cost={"unknown": 2})).cost
    assert (cost.usd, cost.known, cost.unknown_requests) == (None, False, 2)


def test_whatever_counts_by_source_knows_every_source() -> None:
    assert {*ASKED, *UNASKED, Source.HUMAN} == set(Source)
    assert {*UNASKED, Source.FALLBACK} <= {*SettledBy.__struct_fields__}
    assert SAID_OF.keys() == set(Source)
    script = Path(page.__file__).with_name("static").joinpath("job.js").read_text(encoding="utf-8")
    listed, coloured = re.findall(r"^const (?:SOURCES|COLOURS) = (.*);$", script, re.MULTILINE)
    assert set(re.findall(r'"(\w+)"', listed)) == set(re.findall(r"(\w+):", coloured)) == {*map(str, Source)}
