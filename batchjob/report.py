"""Counts -> what a person or a program reads. Values in, text or a document out."""

from __future__ import annotations

from typing import Any

from batchjob.model import Problem, Snapshot
from batchjob.printable import printable
from batchjob.retry import ADVICE
from batchjob.states import JobState, Outcome, Source, State

MOST_LABELS = 12
"""Labels listed for a person; a program gets all."""


def job_state(snapshot: Snapshot) -> JobState:
    """The job's state; one that says it is running without a process is interrupted."""
    state = snapshot.job.state
    if state in (JobState.INGESTING, JobState.RUNNING) and not snapshot.alive:
        return JobState.INTERRUPTED
    return state


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
        "cost": {"usd": None, "known": False},
        "rate": {
            "rows_per_second": None if rate is None else round(rate, 2),
            "eta_seconds": round(unfinished / rate) if rate and snapshot.job.ingested else None,
        },
        "pacing": snapshot.pacing,
        "errors": [
            {"kind": kind, "count": count, "example": example_line(snapshot.examples[kind])}
            for kind, count in snapshot.tally.get("error", {}).items()
        ],
        "started_at": snapshot.started_at,
        "updated_at": snapshot.updated_at,
        "pid": snapshot.writer_pid,
    }


def example_line(problem: Problem) -> str:
    """A failed row in one line."""
    said = f", answer {problem.answer[:60]!r}" if problem.answer else ""
    provider = f", request {problem.request_id}" if problem.request_id else ""
    return printable(f"row {problem.key} (line {problem.line}): {problem.error or ''}{said}{provider}")


def summary_lines(document: dict[str, Any], *, seconds: float | None, next_command: str | None) -> list[str]:
    """What a person reads when a run ends, or asks how it stands; `seconds` is how long the run took."""
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
        lines.append(f"time      {_duration(seconds)}")
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
    others = [f"{count:,} {source}" for source, count in sources.items() if count and source != Source.MODEL]
    return ["not from the model: " + ", ".join(others)] if others else []


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
