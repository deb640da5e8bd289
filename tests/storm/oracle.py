"""What must hold after every run, by the endpoint's ledger and the exports alone.

`status`, `export --requests` and the database are checked against these two; never the other way round.
"""

from __future__ import annotations

import csv
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from operator import mul
from pathlib import Path
from typing import Any, NamedTuple

from batchjob.stores import open_check

ASKED = frozenset({"model", "second"})
"""Sources of labels that an answer gave."""
UNUSABLE = frozenset({"null", "empty", "length", "off_list", "prose", "refusal"})
"""Faults of the sandbox whose answers are paid and give no label: the user may buy another."""
LISTED = "\n\nLabels:\n"
"""Behind the text of a prompt of the user's own."""
ROUNDING_USD = 1e-9
"""USD by which sums of floats may differ."""
TALLIES = {
    "row": "SELECT state, count(*) FROM row GROUP BY 1",
    "label": "SELECT label, count(*) FROM row WHERE state = 'done' GROUP BY 1",
    "source": "SELECT source, count(*) FROM row WHERE state = 'done' GROUP BY 1",
    "error": "SELECT error_kind, count(*) FROM row WHERE state IN ('failed', 'unconfirmed') GROUP BY 1",
    "request": "SELECT outcome, count(*) FROM request GROUP BY 1",
}
"""Kind of counter -> what it should say."""


FIELDS = ("category", "urgent", "score")
"""Of a job with several answers a text. Each is a row of its own to the oracle: a text, a line break and the name."""
FIELD_TALLIES = {
    "field": "SELECT key || ': ' || value, count(*) FROM row, json_each(row.label) WHERE key <> 'score' GROUP BY 1"
}


class Bill(NamedTuple):
    """A request as the endpoint saw it."""

    at: float  # when it was received, UTC epoch seconds
    key: str | None  # its Idempotency-Key; None: the endpoint does not tell
    request_id: str | None
    labels: Mapping[str, str | None]  # text -> the label the answer gave it
    billed: bool
    answered: bool  # billed now, or a replay of what was
    fault: str | None = None
    tokens: tuple[int, int] = (0, 0)
    model: str | None = None


def read_ledger(path: Path) -> list[Bill]:
    """The bills of a sandbox's ledger file."""
    lines = [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
    return [
        Bill(
            line["at"],
            line["client_key"],
            line["request_id"],
            dict(pair for row in line["rows"] for pair in _given(row["text"].partition(LISTED)[0], row["label"])),
            line["billed"],
            line["billed"] or line["replayed"],
            line["fault"],
            (line["input_tokens"], line["output_tokens"]),
            line["model"],
        )
        for line in lines
    ]


def _given(text: str, label: str | None) -> list[tuple[str, str | None]]:
    """What a text got: a label, or each field that it was asked for."""
    if label is None or not label.startswith("{"):
        return [(text, label)]
    values: dict[str, Any] = json.loads(label)
    return [(f"{text}\n{name}", None if value is None else str(value)) for name, value in values.items()]


class Exported(NamedTuple):
    """A row of an export."""

    key: str
    text: str
    label: str | None
    state: str
    request_id: str | None
    source: str | None = "model"


def by_field(rows: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """(key, text) of each field of rows."""
    return [(f"{key} {name}", f"{text}\n{name}") for key, text in rows for name in FIELDS]


def _fields_of(row: Mapping[str, Any]) -> Iterator[Exported]:
    for name in FIELDS:
        value = None if row[name] in (None, "") else str(row[name])
        state = "done" if value is not None else "pending" if row["state"] == "done" else row["state"]
        key, text = f"{row['id']} {name}", f"{row['text']}\n{name}"
        yield Exported(key, text, value, state, row["request_id"] or None, row["source"] or "model")


def read_export(path: Path) -> list[Exported]:
    """The rows of an export with details, CSV or JSONL by its suffix."""
    with path.open(newline="", encoding="utf-8") as file:
        records: Iterable[Mapping[str, Any]] = (
            csv.DictReader(file) if path.suffix == ".csv" else (json.loads(line) for line in file)
        )
        records = list(records)
        if records and FIELDS[0] in records[0]:
            return [one for row in records for one in _fields_of(row)]
        return [
            Exported(
                str(row["id"]),
                f"{row['topic']}\n{row['text']}" if "topic" in row else row["text"],
                row["label"] or None,
                row["state"],
                row["request_id"] or None,
                row["source"] or None,
            )
            for row in records
        ]


class Oracle:
    """Remembers what was committed, and objects.

    A question is what all texts have in common that ask the same: it is to be billed once.

    Args:
        rows: (key, text) of the input in its order; the keys are distinct.
        extra: the most bills beyond one a question: as many as `status` prints ("printed"), "none" new, or besides as
            many as requests were "lost", where another row, or another job, may ask what a lost request asked.
        questions: text -> its question, for the texts that are not their own.
        sources: where a label may come from.
        before: the oracle of an earlier job in the same database, whose questions are not to be billed again.
    """

    def __init__(
        self,
        rows: Sequence[tuple[str, str]],
        *,
        extra: str = "printed",
        questions: Mapping[str, str] | None = None,
        sources: Collection[str] = ("model",),
        before: Oracle | None = None,
        fields: bool = False,
    ) -> None:
        self.fields = fields
        self.rows = by_field(rows) if fields else list(rows)
        self._number = len(rows)
        self.extra = extra
        self.objections: list[str] = before.objections if before else []
        self.labels_lost = 0
        self.billed_after_commit = 0
        self.extra_bills = self._extra_before = before.extra_bills if before else 0
        self.printed = 0
        self._questions = {**(before._questions if before else {}), **(questions or {})}
        self._sources = frozenset(sources)
        self._committed: dict[str, tuple[str, str | None]] = {}  # key -> (text, label)
        self._answered_at: dict[str, float] = before._answered_at if before else {}  # question -> seen done
        self._rebilled: set[str] = before._rebilled if before else set()
        self._highest: Counter[str] = Counter()

    def question(self, text: str) -> str:
        """What this text asks."""
        return self._questions.get(text, text)

    def object(self, sentence: str) -> None:
        """Note what does not hold."""
        if sentence not in self.objections:
            self.objections.append(sentence)

    # ------------------------------------------------------------ one thing at a time

    def see_export(self, export: Sequence[Exported], *, ended_at: float, whole: bool) -> None:
        """An export that was complete at `ended_at`, also one taken during a run; `whole`: all input is read."""
        expected = self.rows if whole else self.rows[: len(export)]
        if [(row.key, row.text) for row in export] != expected:
            self.object(f"export: {len(export)} rows are not the input's {len(expected)}, each once and in order")
        for row in export:
            done = row.state == "done"
            if done != (row.label is not None):
                self.object(f"export: row {row.key} is {row.state} with label {row.label!r}")
            before = self._committed.get(row.key)
            if before is not None and (row.text, row.label) != before:
                self.labels_lost += 1
                self.object(f"label lost: row {row.key} was done ({before[1]}) and is {row.state} ({row.label})")
            elif done and before is None:
                self._committed[row.key] = (row.text, row.label)
                self._answered_at.setdefault(self.question(row.text), ended_at)

    def see_labels(self, export: Sequence[Exported], ledger: Sequence[Bill]) -> None:
        """Each label is one the endpoint gave to what this text asks; the model's, in the request the export names."""
        given: dict[str, set[str | None]] = {}
        for bill in ledger:
            if bill.answered:
                for text, label in bill.labels.items():
                    given.setdefault(self.question(text), set()).add(label)
        by_id = {bill.request_id: bill for bill in ledger if bill.request_id is not None}
        for row in export:
            if row.state != "done":
                continue
            if row.source not in self._sources:
                self.object(f"label: row {row.key} has its label by {row.source}, which cannot be")
            if row.label not in given.get(self.question(row.text), ()):
                self.object(f"label: row {row.key} has {row.label!r}, the ledger gave {given.get(row.text)}")
            elif (
                by_id and row.source in ASKED and not self.fields and not _carried(by_id.get(row.request_id), row.text)
            ):
                self.object(f"label: row {row.key} names request {row.request_id}, which did not carry it")

    def see_bills(self, ledger: Sequence[Bill], requests: Sequence[Mapping[str, Any]], printed: int) -> None:
        """Nothing is billed after its commit, without a claim, or more often than allowed.

        `requests` and `printed` are of all jobs that the ledger is about. Verifications are another matter.
        """
        self._see_claims(ledger, requests)
        verifying = verification_keys(requests)
        labelling = [bill for bill in ledger if bill.key not in verifying]
        for bill in labelling:
            if not bill.billed:
                continue
            for question in map(self.question, bill.labels):
                at = self._answered_at.get(question, bill.at)
                if bill.at > at and question not in self._rebilled:
                    self._rebilled.add(question)
                    self.object(f"billed after its commit: {question!r}, {bill.at - at:.3f} s later")
        self.billed_after_commit = len(self._rebilled)
        self.extra_bills, self.printed = extra_bills(labelling, requests, self.question), printed
        lost = sum(request["outcome"] in ("lost", None) for request in requests)
        allowed = {"printed": printed, "none": self._extra_before, "lost": printed + lost}[self.extra]
        if self.extra_bills > allowed:
            self.object(f"paid twice: {self.extra_bills} extra bills, {allowed} allowed")

    def _see_claims(self, ledger: Sequence[Bill], requests: Sequence[Mapping[str, Any]]) -> None:
        received = Counter(bill.key for bill in ledger if bill.key is not None)
        claimed = Counter(request["client_key"] for request in requests)
        unclaimed = received - claimed
        if unclaimed:
            self.object(f"sent without a claim on disk: {unclaimed.total()} requests, such as {next(iter(unclaimed))}")

    def see_status(self, status: Mapping[str, Any], *, final: bool = False) -> None:
        """A status document: rows sum to the total, what is counted never falls."""
        rows = status["rows"]
        total = sum(n for state, n in rows.items() if state != "total")
        if total != rows["total"] or rows["total"] > self._number or min(rows.values()) < 0:
            self.object(f"status: rows do not sum to their total: {rows}")
        figures = {"done": rows["done"], "total": rows["total"]}
        figures |= {f"requests.{name}": n for name, n in status["requests"].items()}
        for name, n in figures.items():
            if n < self._highest[name]:
                self.object(f"status: {name} fell from {self._highest[name]} to {n}")
            self._highest[name] = n
        if final and (rows["total"] != self._number or rows["pending"] or rows["in_flight"]):
            self.object(f"status: the job is at its end with {rows} of {self._number} rows")

    def see_usage(
        self, status: Mapping[str, Any], ledger: Sequence[Bill], requests: Sequence[Mapping[str, Any]]
    ) -> None:
        """Tokens and outcomes in `status` are those of the requests that were answered, as the ledger has them."""
        outcomes = Counter(request["outcome"] for request in requests if request["outcome"] is not None)
        told = {name: status["requests"][name] for name in ("answered", "rejected", "lost", "not_sent")}
        if told != {name: outcomes[name] for name in told}:
            self.object(f"status: requests {told}, their list has {dict(outcomes)}")
        by_id = {bill.request_id: bill for bill in ledger}
        answered = [request["request_id"] for request in requests if request["outcome"] == "answered"]
        unknown = [request_id for request_id in answered if request_id not in by_id]
        if unknown:
            self.object(f"requests: {len(unknown)} answered ones are not in the ledger, such as {unknown[0]}")
            return
        sums = tuple(sum(by_id[request_id].tokens[at] for request_id in answered) for at in (0, 1))
        usage = (status["usage"]["input_tokens"], status["usage"]["output_tokens"])
        if usage != sums:
            self.object(f"usage: status says {usage}, the ledger {sums}")

    def see_cost(
        self,
        status: Mapping[str, Any],
        ledger: Sequence[Bill],
        requests: Sequence[Mapping[str, Any]],
        *,
        prices: tuple[float, float],
        budget: float,
    ) -> None:
        """What was billed is within the budget, and `status` tells no less; all in USD, prices a token."""
        answered = {request["request_id"] for request in requests if request["outcome"] == "answered"}
        costs = [(bill, sum(map(mul, bill.tokens, prices))) for bill in ledger]
        billed = sum(cost for bill, cost in costs if bill.billed)
        seen = sum({bill.request_id: cost for bill, cost in costs if bill.request_id in answered}.values())
        unseen = sum(cost for bill, cost in costs if bill.billed and bill.request_id not in answered)
        told, told_lost = status["cost"]["usd"] or 0.0, status["cost"]["lost_usd_at_most"]
        if billed > budget + ROUNDING_USD:
            self.object(f"over the budget: {billed:.6f} USD were billed, {budget:.6f} allowed")
        if abs(told - seen) > ROUNDING_USD:
            self.object(f"cost: status says {told:.6f} USD, the ledger {seen:.6f}")
        settled = all(request["outcome"] is not None for request in requests)
        if settled and unseen > told_lost + ROUNDING_USD:
            self.object(f"cost: lost requests cost {unseen:.6f} USD, status says at most {told_lost:.6f}")

    def see_second(self, ledger: Sequence[Bill], model: str) -> None:
        """The second model is asked only what the first one was, and gave no label for."""
        unlabelled = {
            self.question(text)
            for bill in ledger
            if bill.model != model and bill.answered
            for text, label in bill.labels.items()
            if label is None
        }
        answered = (bill for bill in ledger if bill.model == model and bill.answered)
        asked = {self.question(text) for bill in answered for text in bill.labels}
        if asked - unlabelled:
            self.object(
                f"second: it was asked {min(asked - unlabelled)!r}, for which the first gave a label or nothing"
            )

    def see_verifications(
        self, status: Mapping[str, Any], ledger: Sequence[Bill], requests: Sequence[Mapping[str, Any]], sample: float
    ) -> None:
        """Labels that were bought together are asked for once more alone: about so many, each once, and counted."""
        asked = [request for request in requests if request["purpose"] == "verify"]
        rows = Counter(number for request in asked for number in json.loads(request["rows"]))
        if any(n > 1 for n in rows.values()) or rows.total() != len(asked):
            self.object(f"verify: {len(asked)} requests for {len(rows)} rows")
        shared = [json.loads(request["rows"]) for request in requests if request["purpose"] != "verify"]
        together = {number for numbers in shared if len(numbers) > 1 for number in numbers}
        if rows.keys() - together:
            self.object(f"verify: row {min(rows.keys() - together)} was asked alone, and verified")
        mean = sample * len(together)
        if len(asked) > mean + 6 * mean**0.5:
            self.object(f"verify: {len(asked)} requests, where a sample of {len(together)} rows has {mean:.0f}")
        useless = {bill.request_id for bill in ledger if bill.fault in UNUSABLE}
        answers = sum(request["outcome"] == "answered" and request["request_id"] not in useless for request in asked)
        told = status["verified"]
        if told != {"asked": answers, "agreed": answers}:
            self.object(f"verify: status says {told}, {answers} were answered with the same label")

    def see_database(self, url: str) -> None:
        """Only while no process works with it: it is sound and its counters are true."""
        if "://" in url:
            with open_check(url) as check:
                for wrong in check.differences():
                    self.object(f"database: {wrong}")
            return
        path = Path(url)
        db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            verdict = db.execute("PRAGMA integrity_check").fetchone()[0]
            if verdict != "ok":
                self.object(f"database: integrity_check says {verdict}")
            tallies = {**TALLIES, **FIELD_TALLIES} if self.fields else TALLIES
            for kind, question in tallies.items():
                if self.fields and kind == "label":
                    question = "SELECT NULL, 0 WHERE false"
                counted = dict(db.execute(question))
                summed = "SELECT name, sum(n) FROM tally WHERE kind = ? GROUP BY 1 HAVING sum(n) <> 0"
                told = dict(db.execute(summed, (kind,)))
                if kind == "request":
                    told = {name: n for name, n in told.items() if name not in ("sent", "resent", "resent_as_new")}
                if counted != told:
                    self.object(f"database: {kind} counters say {told}, counted are {counted}")
        finally:
            db.close()


def _carried(bill: Bill | None, text: str) -> bool:
    return bill is not None and text in bill.labels


def verification_keys(requests: Sequence[Mapping[str, Any]]) -> set[str]:
    """The keys of requests that ask once more, on purpose, for a label that is there."""
    return {request["client_key"] for request in requests if request.get("purpose") == "verify"}


def extra_bills(
    ledger: Sequence[Bill], requests: Sequence[Mapping[str, Any]], question: Callable[[str], str] = str
) -> int:
    """Bills for questions that were billed before, but for useless answers that the client did see, be it replayed.

    A useless answer that nobody saw counts like any other, until one is seen: from then on it may be bought again.
    """
    seen_answers = {request["request_id"] for request in requests if request["outcome"] == "answered"}
    replays = (bill for bill in ledger if bill.answered and not bill.billed and bill.request_id in seen_answers)
    seen_again = {bill.key for bill in replays}
    billed: set[str] = set()
    extra = 0
    for bill in sorted((bill for bill in ledger if bill.billed), key=lambda bill: bill.at):
        useless = bill.fault in UNUSABLE and (bill.request_id in seen_answers or bill.key in seen_again)
        partly = bill.fault == "off_list"  # of several fields the others are good
        asked = {question(text): label for text, label in bill.labels.items()}
        extra += not billed.isdisjoint(asked)
        billed.update(asked)
        if useless:
            billed.difference_update(one for one, label in asked.items() if label is None or not partly)
    return extra
