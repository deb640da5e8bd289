"""Counts -> what a person or a program reads. Values in, text or a document out."""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from batchjob.config import JobConfig
from batchjob.exchange.decide import ADVICE
from batchjob.model import Problem, Snapshot
from batchjob.money.prices import KnownPrice, usd
from batchjob.printable import printable
from batchjob.states import JobState, Outcome, Source, State

MOST_LABELS = 12
"""Labels listed for a person; a program gets all."""


def job_state(snapshot: Snapshot) -> JobState:
    """The job's state; one that says it is running without a process is interrupted."""
    state = snapshot.job.state
    if state not in (JobState.INGESTING, JobState.RUNNING):
        return state
    if not snapshot.alive:
        return JobState.INTERRUPTED
    # A run writes its state when it begins; that the input is read to its end is known by the job.
    return JobState.RUNNING if snapshot.job.ingested else JobState.INGESTING


def status_document(snapshot: Snapshot) -> dict[str, Any]:
    """The document of `status --json`. Keys are stable; more may be added. Times are UTC epoch seconds."""
    rows = snapshot.tally.get("row", {})
    requests = snapshot.tally.get("request", {})
    usage = snapshot.tally.get("usage", {})
    total = sum(rows.values())
    unfinished = rows.get(State.PENDING, 0) + rows.get(State.IN_FLIGHT, 0)
    rate = snapshot.rows_per_second
    return {
        "job": snapshot.job.name,
        "name": snapshot.job.name,
        "state": str(job_state(snapshot)),
        "reason": printable(snapshot.job.reason),
        "rows": {"total": total, **{str(state): rows.get(state, 0) for state in State}},
        "ingested": snapshot.job.ingested,
        "labels": snapshot.tally.get("label", {}),
        "sources": {str(source): snapshot.tally.get("source", {}).get(source, 0) for source in Source},
        "requests": {
            "sent": requests.get("sent", 0),
            **{str(outcome): requests.get(outcome, 0) for outcome in Outcome},
            "resent": requests.get("resent", 0),
        },
        "paid_twice_at_most": requests.get("resent", 0),
        "usage": {key: usage.get(key, 0) for key in ("input_tokens", "cached_input_tokens", "output_tokens")},
        "cost": _cost_document(snapshot),
        "saved": _saved_document(snapshot),
        "rules": _rules_document(snapshot),
        "verified": {name: snapshot.tally.get("verify", {}).get(name, 0) for name in ("asked", "agreed")},
        "rate": {
            "rows_per_second": None if rate is None else round(rate, 2),
            "eta_seconds": round(unfinished / rate) if rate and snapshot.job.ingested else None,
        },
        "pacing": snapshot.pacing,
        "errors": [
            {"kind": kind, "count": count, "example": _example(snapshot, kind)}
            for kind, count in snapshot.tally.get("error", {}).items()
        ],
        "started_at": snapshot.started_at,
        "updated_at": snapshot.updated_at,
        "pid": snapshot.writer_pid,
    }


def _cost_document(snapshot: Snapshot) -> dict[str, Any]:
    """What was paid, as far as it is known: an unknown price is null, never 0."""
    cost, requests = snapshot.tally.get("cost", {}), snapshot.tally.get("request", {})
    answered = requests.get(Outcome.ANSWERED, 0)
    unknown = cost.get("unknown", 0)
    prices = msgspec.json.decode(snapshot.job.prices, type=dict[str, KnownPrice])
    return {
        "usd": usd(cost.get("answered", 0)) if answered > unknown or (prices and not answered) else None,
        "known": not unknown and (answered == 0 or bool(prices)),
        "unknown_requests": unknown,
        "lost_usd_at_most": usd(cost.get("lost", 0)),
        "prices": {model: price.source for model, price in prices.items()},
    }


def _saved_document(snapshot: Snapshot) -> dict[str, Any]:
    """What rows without a request would have cost, at the mean of those the model labelled; null where unknown."""
    sources = snapshot.tally.get("source", {})
    asked = sources.get(Source.MODEL, 0) + sources.get(Source.FALLBACK, 0)
    paid = snapshot.tally.get("cost", {}).get("answered", 0)
    each = usd(paid) / asked if asked and paid else None
    return {
        str(source): {"rows": rows, "usd": None if each is None else each * rows}
        for source in (Source.DUPLICATE, Source.CACHE, Source.RULE)
        if (rows := sources.get(source, 0))
    }


def _rules_document(snapshot: Snapshot) -> dict[str, int]:
    """How many rows each rule took, also those that took none."""
    took = snapshot.tally.get("rule", {})
    settings = msgspec.json.decode(snapshot.job.settings, type=JobConfig)
    return {rule.name: took.get(rule.name, 0) for rule in settings.rules}


def _example(snapshot: Snapshot, kind: str) -> str | None:
    problem = snapshot.examples.get(kind)
    return example_line(problem) if problem else None


def example_line(problem: Problem) -> str:
    """A failed row in one line."""
    said = f", answer {problem.answer[:60]!r}" if problem.answer else ""
    provider = f", request {problem.request_id}" if problem.request_id else ""
    return printable(f"row {problem.key} (line {problem.line}): {problem.error or ''}{said}{provider}")


def summary_lines(
    document: dict[str, Any], *, seconds: float | None, next_command: str | None, requests: int | None = None
) -> list[str]:
    """What a person reads when a run ends, or asks how it stands.

    `seconds` is how long the run took, and `requests` how many of the job's requests were this run's.
    """
    rows = document["rows"]
    lines = [
        f"job {document['job']}: {document['state']}" + (f" - {document['reason']}" if document["reason"] else ""),
        _rows_line(rows, ingested=document["ingested"]),
        *_label_lines(document["labels"]),
        *_source_lines(document["sources"]),
    ]
    lines += [f"  {count:,} {kind}: {advice(kind)}" for kind, count in _kinds(document)]
    lines += _request_lines(document)
    if seconds is not None:
        lines.append(f"this run  {_duration(seconds)}, {requests or 'no'} request{'' if requests == 1 else 's'}")
    lines += _cost_lines(document)
    if document["paid_twice_at_most"]:
        lines.append(f"paid twice, at most: {document['paid_twice_at_most']:,} requests (sent again unanswered)")
    if document["pacing"]:
        lines.append(f"now       {document['pacing']}")
    if document["rate"]["rows_per_second"] is not None:
        eta = document["rate"]["eta_seconds"]
        left = f", about {_duration(eta)} left" if eta is not None else ""
        lines.append(f"rate      {document['rate']['rows_per_second']:,.1f} rows/s{left}")
    if next_command:
        lines.append(f"next      {next_command}")
    return lines


def next_command(document: dict[str, Any], flag: str) -> str:
    """What to type next about a job, ready to paste; `flag` is the part that names the database."""
    rows, job = document["rows"], _word(document["job"])
    if document["state"] in (JobState.INGESTING, JobState.RUNNING):
        return f"batchjob status {job} --watch{flag}"
    if rows["pending"] or rows["in_flight"] or not document["ingested"]:
        return f"batchjob resume {job}{flag}"
    if rows["failed"] or rows["unconfirmed"]:
        return f"batchjob errors {job}{flag}"
    return f"batchjob export {job} -o {job}-labels.csv{flag}"


def _word(text: str) -> str:
    """A name as a shell takes it, also where it begins like an option."""
    quoted = shlex.quote(text)
    return f"-- {quoted}" if text.startswith("-") else quoted


def advice(kind: str) -> str:
    """What to do about an error kind."""
    return ADVICE.get(kind, "see batchjob errors")


def _kinds(document: dict[str, Any]) -> list[tuple[str, int]]:
    return [(error["kind"], error["count"]) for error in document["errors"]]


def _rows_line(rows: dict[str, int], *, ingested: bool) -> str:
    parts = [f"{rows['done']:,} of {rows['total']:,}{'' if ingested else '+'} rows labelled"]
    parts += [f"{rows[state]:,} {state.replace('_', ' ')}" for state in State if state != "done" and rows[state]]
    return "rows      " + ", ".join(parts)


def _label_lines(labels: dict[str, int]) -> list[str]:
    if not labels:
        return []
    shown = [f"{printable(label)} {count:,}" for label, count in list(labels.items())[:MOST_LABELS]]
    more = f", and {len(labels) - MOST_LABELS} more" if len(labels) > MOST_LABELS else ""
    return ["labels    " + ", ".join(shown) + more]


def _source_lines(sources: dict[str, int]) -> list[str]:
    taken = sources[Source.FALLBACK]
    return [f"fallback  {taken:,} rows, whose answer was none of the labels"] if taken else []


def _cost_lines(document: dict[str, Any]) -> list[str]:
    cost, lines = document["cost"], []
    if cost["usd"] is not None:
        lost = (
            f", and {_dollars(cost['lost_usd_at_most'])} at most for lost requests" if cost["lost_usd_at_most"] else ""
        )
        but = f" (besides {cost['unknown_requests']:,} requests of unknown cost)" if cost["unknown_requests"] else ""
        lines.append(
            f"cost      {_dollars(cost['usd'])} USD{but}{lost}, by usage as reported and {_price_origin(cost)}"
        )
    elif document["requests"]["answered"]:
        lines.append('cost      unknown: no price is known for the model; give it in job.toml as [prices."MODEL"]')
    for source, saved in document["saved"].items():
        worth = "" if saved["usd"] is None else f", about {_dollars(saved['usd'])} USD saved"
        lines.append(f"saved     {saved['rows']:,} {'row' if saved['rows'] == 1 else 'rows'} by {source}{worth}")
    lines += [f"rule      {name} took no row" for name, rows in document["rules"].items() if not rows]
    verified = document["verified"]
    if verified["asked"]:
        share = 100 * verified["agreed"] / verified["asked"]
        lines.append(f"verified  {share:.1f} % of {verified['asked']:,} labels were the same when asked alone")
    return lines


def _dollars(amount: float) -> str:
    """An amount with four decimals, or as many as it takes for one that is not nothing to be seen."""
    return f"{amount:.4f}" if amount >= 0.001 or not amount else f"{amount:.1e}"


def _price_origin(cost: dict[str, Any]) -> str:
    return "; ".join(sorted(set(cost["prices"].values()))) or "prices as known then"


def _request_lines(document: dict[str, Any]) -> list[str]:
    requests, usage = document["requests"], document["usage"]
    if not requests["sent"]:
        return ["requests  none were sent"]
    told = [f"{requests[outcome]:,} {outcome}" for outcome in ("answered", "rejected", "lost") if requests[outcome]]
    cached = f" ({usage['cached_input_tokens']:,} cached)" if usage["cached_input_tokens"] else ""
    return [
        f"requests  {requests['sent']:,} sent: " + ", ".join(told),
        f"tokens    {usage['input_tokens']:,} in{cached}, {usage['output_tokens']:,} out, as reported",
    ]


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


# ---------------------------------------------------------------- errors

UNSENDABLE = frozenset({"blank_text", "ragged_row", "bad_json", "missing_text", "not_text"})
"""Kinds of rows that cannot be sent at all: to put them back would change nothing."""
MOST_TEXT_CHARACTERS = 80
LEAST_PATH_COLUMNS = 12


def errors_document(
    snapshot: Snapshot, problems: dict[str, list[Problem]], *, kind: str | None, flag: str
) -> dict[str, Any]:
    """The document of `errors --json`. `kind` is the one that was asked for, if one was; `flag` names the database."""
    counts = snapshot.tally.get("error", {})
    state = job_state(snapshot)
    rows = snapshot.tally.get("row", {})
    return {
        "job": snapshot.job.name,
        "state": str(state),
        "failed": rows.get(State.FAILED, 0),
        "unconfirmed": rows.get(State.UNCONFIRMED, 0),
        "asked": kind,
        "kinds": [
            {
                "kind": name,
                "count": max(counts.get(name, 0), len(found)),
                "advice": advice(name),
                "rows": [_problem_document(problem) for problem in found],
                "more": f"batchjob errors {_word(snapshot.job.name)} --kind {name} --limit {counts.get(name, 0)}{flag}",
            }
            for name, found in problems.items()
            if found
        ],
        "next": _after_errors(snapshot, state, list(problems) if kind else list(counts), kind, flag),
    }


def _problem_document(problem: Problem) -> dict[str, Any]:
    return {
        "row": problem.number,
        "key": printable(problem.key),
        "line": problem.line,
        "text": printable(problem.text[:MOST_TEXT_CHARACTERS]),
        "error": printable(problem.error or ""),
        "answer": None if problem.answer is None else printable(problem.answer),
        "attempts": problem.attempts,
        "request_id": None if problem.request_id is None else printable(problem.request_id),
    }


def _after_errors(snapshot: Snapshot, state: JobState, kinds: list[str], kind: str | None, flag: str) -> str:
    """What to type next after a look at the errors."""
    job = _word(snapshot.job.name)
    if state in (JobState.INGESTING, JobState.RUNNING):
        return f"batchjob status {job} --watch{flag}"
    rows = snapshot.tally.get("row", {})
    if rows.get(State.PENDING, 0) or rows.get(State.IN_FLIGHT, 0) or not snapshot.job.ingested:
        return f"batchjob resume {job}{flag}"
    worth = [name for name in kinds if name not in UNSENDABLE and snapshot.tally.get("error", {}).get(name)]
    if kind in worth:
        return f"batchjob retry {job} --kind {kind}{flag}"
    if any(name != State.UNCONFIRMED for name in worth):
        return f"batchjob retry {job}{flag}"
    if worth:
        return f"batchjob retry {job} --kind {State.UNCONFIRMED}{flag}"
    return f"batchjob export {job} -o {job}-labels.csv{flag}"


def errors_lines(document: dict[str, Any]) -> list[str]:
    """What a person reads of errors_document."""
    counts = [f"{document[state]:,} {state}" for state in (State.FAILED, State.UNCONFIRMED) if document[state]]
    lines = [f"job {document['job']}: " + (", ".join(counts) or "no failed rows")]
    if document["asked"] and not document["kinds"]:
        lines.append(f"none of kind {document['asked']}")
    for group in document["kinds"]:
        lines += ["", f"{group['count']:,} {group['kind']}: {group['advice']}"]
        lines += [line for row in group["rows"] for line in _problem_lines(row)]
        left = group["count"] - len(group["rows"])
        if left > 0:
            lines.append(f"  and {left:,} more: {group['more']}")
    return [*lines, *([""] if document["kinds"] else []), f"next      {document['next']}"]


def _problem_lines(row: dict[str, Any]) -> Iterator[str]:
    tries = f", {row['attempts']} attempt{'' if row['attempts'] == 1 else 's'}" if row["attempts"] else ""
    request = f", request {row['request_id']}" if row["request_id"] else ""
    yield f"  row {row['key']} (line {row['line']}){tries}{request}"
    yield f"    text    {row['text']!r}"
    if row["error"]:
        yield f"    error   {row['error']}"
    if row["answer"] is not None:
        yield f"    answer  {row['answer']!r}"


# ---------------------------------------------------------------- jobs


def jobs_document(snapshots: Sequence[Snapshot]) -> list[dict[str, Any]]:
    """The document of `jobs --json`. Times are UTC epoch seconds."""
    return [
        {
            "job": snapshot.job.name,
            "state": str(job_state(snapshot)),
            "reason": printable(snapshot.job.reason),
            "rows": {
                "total": sum(snapshot.tally["row"].values()),
                **{str(state): snapshot.tally["row"].get(state, 0) for state in State},
            },
            "ingested": snapshot.job.ingested,
            "input": snapshot.job.source.path,
            "created_at": snapshot.job.created_at,
            "started_at": snapshot.started_at,
            "updated_at": snapshot.updated_at,
        }
        for snapshot in snapshots
    ]


def jobs_lines(document: Sequence[dict[str, Any]], flag: str, columns: int | None) -> list[str]:
    """A table of jobs_document, in local time; in a terminal too narrow for it, three lines a job."""
    if not document:
        return ["no jobs yet", f"next      batchjob start INPUT{flag}"]
    next_ = f"next      batchjob status {_word(document[-1]['job'])}{flag}"
    table: list[tuple[str, ...]] = [("JOB", "STATE", "DONE", "FAILED", "STARTED", "INPUT")]
    table += [_job_cells(job) for job in document]
    widths = [max(map(_cells, column)) for column in zip(*table, strict=True)]
    room = None if columns is None else columns - sum(widths[:-1]) - 2 * (len(widths) - 1)
    if room is not None and room < LEAST_PATH_COLUMNS:
        return [*(line for cells in table[1:] for line in _job_card(cells, columns or 0)), next_]
    lines = ["  ".join([*map(_pad, cells[:-1], widths), _ending(cells[-1], room)]) for cells in table]
    return [*lines, next_]


def _job_card(cells: Sequence[str], columns: int) -> Iterator[str]:
    job, state, done, lost, begun, path = cells
    yield f"{job}: {state}"
    yield f"  {done} done, {lost} failed, {begun}"
    yield f"  {_ending(path, columns - 2)}"


def _ending(text: str, columns: int | None) -> str:
    """The end of a text, which of a path tells the most, where all of it has no room."""
    if columns is None or _cells(text) <= columns:
        return text
    while _cells(text) >= columns:
        text = text[1:]
    return f"…{text}"


def _job_cells(job: dict[str, Any]) -> tuple[str, ...]:
    rows = job["rows"]
    begun = datetime.fromtimestamp(job["created_at"]).isoformat(sep=" ", timespec="minutes")
    lost = rows["failed"] + rows["unconfirmed"]
    done = f"{rows['done']:,}/{rows['total']:,}{'' if job['ingested'] else '+'}"
    path = "stdin" if job["input"] == "-" else printable(job["input"])
    return printable(job["job"]), job["state"], done, f"{lost:,}", begun, path


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _cells(text))


# ---------------------------------------------------------------- lines in a terminal


def folded(lines: Sequence[str], columns: int | None) -> list[str]:
    """Lines fit for a terminal: printable, and folded between words with what follows under what it belongs to.

    Commands stay whole, so that they can be copied: a terminal folds them itself. None leaves all lines whole.
    """
    shown = [printable(line) for line in lines]
    if columns is None:
        return shown
    return [part for line in shown for part in _fold(line, columns)]


def _fold(line: str, columns: int) -> Iterator[str]:
    if _cells(line) <= columns or line.startswith("next ") or "batchjob " in line:
        yield line
        return
    indent = min(_hanging(line), columns // 2)
    start = len(line) - len(line.lstrip())
    kept = line[:start]
    for word in line[start:].split(" "):
        if kept.strip() and _cells(kept) + 1 + _cells(word) > columns:
            yield kept.rstrip()
            kept = " " * indent + word
        else:
            kept += (" " if kept.strip() else "") + word
    yield kept.rstrip()


def _hanging(line: str) -> int:
    """Where the lines that follow begin: under the value of `name   value`, else a little behind the line's start."""
    start = len(line) - len(line.lstrip())
    gap = line.find("  ", start)
    if gap < 0 or gap > start + 12:
        return start + 2
    return gap + len(line[gap:]) - len(line[gap:].lstrip())


def _cells(text: str) -> int:
    """The columns a text takes in a terminal: two for an East Asian wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )
