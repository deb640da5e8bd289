"""A second model for what the first left off the list, failed on, or was unsure of."""

from __future__ import annotations

import asyncio
import csv
import json
import math
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from faults.server import LABELS, Exchange, FaultServer, completion, http, label_of

from batchjob.errors import SettingError
from batchjob.settings.complete import check
from batchjob.settings.config import merge

if TYPE_CHECKING:
    from tests.conftest import BatchJob

PRICES = {"small": 1, "large": 1_000_000, "huge": 1}
SURE, UNSURE = math.log(0.95), math.log(0.3)


def said(label: str, logarithm: float) -> bytes:
    body = json.loads(completion(label))
    body["choices"][0]["logprobs"] = {"content": [{"token": label, "logprob": logarithm}]}
    return http(json.dumps(body).encode())


def other(row: int) -> str:
    return LABELS[(row + 1) % 2]


def of_small(row: int) -> bytes:
    """What the first model says of a row, by its last digit."""
    return {
        0: said("neither of them", SURE),
        1: said(other(row), UNSURE),
        2: http(completion(None, refusal="I cannot")),
        3: http(b'{"error":{"message":"no","code":"content_filter"}}', 400),
    }.get(row % 10) or said(label_of(row), SURE)


def of_large(row: int) -> bytes:
    """And the second: rows 11 and 20 are too much for it, too."""
    return said("no idea", SURE) if row in (11, 20) else said(label_of(row), UNSURE)


@pytest.fixture
def endpoint(batchjob: BatchJob) -> Iterator[FaultServer]:
    async def act(x: Exchange) -> None:
        if x.body["model"] == "small":
            await x.send(of_small(x.row))
        else:
            await asyncio.sleep(0.02)
            await x.send(of_large(x.row))

    rows = "".join(f"{n},row {n}\n" for n in range(1, 41))
    (batchjob.folder / "in.csv").write_text("id,text\n" + rows)
    prices = "".join(f'[prices."{model}"]\ninput = 1\noutput = 1\n' for model in ("small", "large"))
    (batchjob.folder / "job.toml").write_text(prices)
    with FaultServer(act).running() as server:
        yield server


def task(server: FaultServer, *more: str) -> tuple[str, ...]:
    usual = ("--labels", ",".join(LABELS), "--model", "small", "--second-model", "large", "--confidence")
    return ("start", "in.csv", "--base-url", server.url, *usual, "--rpm", "0", *more)


def asked(server: FaultServer) -> Counter[tuple[int, str]]:
    """How many keys each row went out under to each model."""
    keys = {(x.row, x.body["model"], x.key) for x in server.requests}
    return Counter((row, model) for row, model, _ in keys)


def exported(batchjob: BatchJob) -> list[dict[str, str]]:
    return list(csv.DictReader(batchjob("export", "-o", "-", "--details").out.splitlines()))


DEAR = "".join(f'[prices."{model}"]\ninput = {usd}\noutput = 1\n' for model, usd in PRICES.items())
HARD = [n for n in range(1, 41) if n % 10 in (0, 1, 2, 3)]


def see_all(server: FaultServer, rows: list[dict[str, str]]) -> None:
    """Each row was asked once of the first, hard ones once of the second, and each has the right end."""
    assert asked(server) == Counter({(n, "small"): 1 for n in range(1, 41)}) + Counter({(n, "large"): 1 for n in HARD})
    sources = {int(row["id"]): row["source"] for row in rows}
    assert {n for n, source in sources.items() if source == "second"} == {*HARD} - {11, 20}
    for row in rows:
        number = int(row["id"])
        if number == 20:
            assert (row["state"], row["label"]) == ("failed", "")
        else:
            assert row["label"] == (other(number) if number == 11 else label_of(number)), row


def test_the_second_model_is_asked_for_what_the_first_has_no_sure_label_for(
    batchjob: BatchJob, endpoint: FaultServer
) -> None:
    ended = batchjob(*task(endpoint), "--json")
    assert ended.code == 4, ended.err
    see_all(endpoint, exported(batchjob))
    status = json.loads(ended.out)
    assert (status["sources"]["second"], status["sources"]["model"]) == (14, 25)
    told = {"model": "large", "labelled": 14, "answered": 16, "unknown": 0}
    assert status["second"] == {**told, "usd": pytest.approx(16 * 12e-6)}
    assert status["cost"]["usd"] == pytest.approx((36 + 16) * 12e-6)
    assert status["model"] == "small, large"
    assert "second    14 rows labelled by a second model (now large), in 16 answers" in batchjob("status").out
    assert "counters    equal to what they count" in batchjob("doctor").out
    purposes = Counter(
        row["purpose"] for row in csv.DictReader(batchjob("export", "--requests", "-o", "-").out.splitlines())
    )
    assert purposes == {"label": 40, "second": 16}


def test_a_job_that_is_killed_pays_neither_model_again(batchjob: BatchJob, endpoint: FaultServer) -> None:
    process = batchjob.begin(*task(endpoint, "--quiet", "--concurrency", "3"))
    until = time.monotonic() + 20
    while sum(x.body["model"] == "large" for x in endpoint.requests) < 5 and time.monotonic() < until:
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert len({x.key for x in endpoint.requests}) < 56
    assert batchjob("resume", "--quiet").code == 4
    see_all(endpoint, exported(batchjob))


def test_what_waits_for_the_second_model_is_asked_of_it_alone_by_the_next_run(
    batchjob: BatchJob, endpoint: FaultServer
) -> None:
    assert batchjob(*task(endpoint, "--quiet", "--limit", "9")).code == 0
    act, stopping = endpoint.act, threading.Event()

    async def late(x: Exchange) -> None:
        while not stopping.is_set():
            await asyncio.sleep(0.005)
        await act(x)

    endpoint.act, before = late, len(endpoint.requests)
    process = batchjob.begin(*task(endpoint))
    assert process.stderr is not None
    until = time.monotonic() + 20
    while len(endpoint.requests) == before and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    assert any("stopping" in line for line in process.stderr)
    stopping.set()
    process.communicate()
    assert {(row, model) for row, model in asked(endpoint) if row > 9} == {(10, "small")}
    assert batchjob("resume", "--quiet").code == 4
    see_all(endpoint, exported(batchjob))


def test_failed_rows_of_one_model_go_to_a_second_one_without_being_asked_of_the_first_again(
    batchjob: BatchJob, endpoint: FaultServer
) -> None:
    alone = [word for word in task(endpoint, "--quiet") if word not in ("--second-model", "large")]
    assert batchjob(*alone).code == 4
    assert batchjob("retry", "--second-model", "large", "--quiet").code == 4
    failed = [n for n in range(1, 41) if n % 10 in (0, 2, 3)]
    firsts, seconds = ({(n, "small"): 1 for n in range(1, 41)}, {(n, "large"): 1 for n in failed})
    assert asked(endpoint) == Counter(firsts) + Counter(seconds)
    rows = {int(row["id"]): row for row in exported(batchjob)}
    assert {n for n, row in rows.items() if row["source"] == "second"} == {*failed} - {20}
    assert batchjob("retry", "--second-model", "huge", "--fallback", "beta", "--quiet").code == 0
    assert asked(endpoint) == Counter(firsts) + Counter(seconds) + Counter({(20, "huge"): 1})
    (left,) = (row for row in exported(batchjob) if row["id"] == "20")
    assert (left["label"], left["source"]) == ("beta", "fallback")


def test_what_waits_for_a_second_model_is_asked_of_another_one_without_the_first(
    batchjob: BatchJob, endpoint: FaultServer
) -> None:
    (batchjob.folder / "job.toml").write_text(DEAR)
    assert batchjob(*task(endpoint, "--quiet", "--budget", "1")).code == 5
    before = asked(endpoint)
    assert {model for _, model in before} == {"small"}
    assert batchjob("resume", "--second-model", "huge", "--quiet").code == 4
    found = asked(endpoint)
    assert {n: found[n, "small"] for n in range(1, 41)} == dict.fromkeys(range(1, 41), 1)
    assert {n for n, model in found if model == "huge"} == {*HARD}
    assert batchjob("retry", "--model", "medium", "--price", "1,1", "--quiet").code == 4
    assert asked(endpoint) - found == {(20, "medium"): 1, (20, "huge"): 1}, "another first model has not been asked"


def test_without_a_second_model_rows_end_as_the_first_left_them_and_are_not_asked_again(
    batchjob: BatchJob, endpoint: FaultServer
) -> None:
    alone = tuple(word for word in task(endpoint, "--quiet") if word not in ("--second-model", "large"))
    (batchjob.folder / "job.toml").write_text(DEAR)
    assert batchjob(*alone, "--limit", "1").code == 0
    assert batchjob("resume", "--quiet", "--second-model", "large", "--second-below", "0.9", "--budget", "1").code == 5
    assert batchjob(*alone).code == 4
    assert asked(endpoint) == Counter({(n, "small"): 1 for n in range(1, 41)})
    rows = exported(batchjob)
    ends = {int(row["id"]): (row["label"], row["error"].partition(":")[0]) for row in rows}
    assert float(rows[10]["confidence"]) == pytest.approx(0.3, abs=0.01)
    assert [ends[n] for n in (11, 10, 2, 3)] == [
        (other(11), ""),
        ("", "off_list"),
        ("", "refused_by_model"),
        ("", "content_filter"),
    ]
    assert "counters    equal" in batchjob("doctor").out


def test_what_another_first_model_made_of_a_row_does_not_count_also_after_a_stop(
    batchjob: BatchJob, endpoint: FaultServer
) -> None:
    (batchjob.folder / "job.toml").write_text(DEAR)
    assert batchjob(*task(endpoint, "--quiet", "--budget", "1")).code == 5
    act = endpoint.act

    async def refuse(x: Exchange) -> None:
        await x.send(http(b'{"error":{"message":"no such key"}}', 401))

    endpoint.act = refuse
    others = ("--model", "medium", "--second-model", "huge", "--price", "1,1")
    assert batchjob("resume", "--quiet", *others).code == 3
    endpoint.act, before = act, asked(endpoint)
    assert batchjob("resume", "--quiet").code == 4
    assert {n for n, model in asked(endpoint) - before if model == "medium"} >= {*HARD}


def test_without_a_second_model_what_another_first_one_made_of_a_row_does_not_count(
    batchjob: BatchJob, endpoint: FaultServer
) -> None:
    alone = tuple(word for word in task(endpoint, "--quiet") if word not in ("--second-model", "large"))
    (batchjob.folder / "job.toml").write_text(DEAR)
    assert batchjob(*alone, "--limit", "1").code == 0
    other = ("--model", "huge", "--second-model", "large", "--second-below", "0.9", "--budget", "1")
    assert batchjob("resume", "--quiet", *other).code == 5
    labelled = {int(row["id"]) for row in exported(batchjob) if row["label"]}
    assert batchjob(*alone).code == 4
    assert {n for n, model in asked(endpoint) if model == "small"} >= {*range(1, 41)} - labelled


def test_what_was_put_back_for_a_second_model_is_asked_of_the_first_where_there_is_none_any_more(
    batchjob: BatchJob, endpoint: FaultServer
) -> None:
    alone = tuple(word for word in task(endpoint, "--quiet") if word not in ("--second-model", "large"))
    (batchjob.folder / "job.toml").write_text(DEAR)
    assert batchjob(*alone).code == 4
    assert batchjob("retry", "--second-model", "large", "--quiet", "--budget", "1").code == 5
    assert batchjob(*alone).code == 4
    again = {(n, "small"): 2 if n % 10 in (0, 2, 3) else 1 for n in range(1, 41)}
    assert asked(endpoint) == Counter(again)
    assert "counters    equal" in batchjob("doctor").out


def test_the_same_texts_are_not_asked_again_of_either_and_a_fallback_waits_for_the_second(
    batchjob: BatchJob, endpoint: FaultServer
) -> None:
    assert batchjob(*task(endpoint, "--quiet", "--limit", "12")).code == 0
    before = len(endpoint.requests)
    text = (batchjob.folder / "in.csv").read_text()
    (batchjob.folder / "in.csv").write_text(text + "41,row 10\n42,row 2\n")
    status = json.loads(batchjob(*task(endpoint, "--new", "--fallback", "beta", "--json")).out)
    rows = {int(row["id"]): row for row in exported(batchjob)}
    assert len(endpoint.requests) == before + 28 + 10
    assert (rows[41]["label"], rows[42]["label"]) == (label_of(10), label_of(2))
    assert (status["sources"]["cache"], status["sources"]["fallback"]) == (12 + 2, 1)
    assert (rows[20]["label"], rows[20]["source"]) == ("beta", "fallback")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"second_model": "m"}, "name another model"),
        ({"second_below": 0.5}, "is for --second-model with --confidence"),
        ({"second_model": "n", "second_below": 0.5}, "is for --second-model with --confidence"),
    ],
)
def test_a_second_model_is_another_one_and_a_limit_needs_confidence(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        check(merge({"base_url": "https://host/v1", "model": "m", "labels": ["a", "b"]}, settings))
