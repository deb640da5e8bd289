"""What a job is made of: the columns of each table that every kind of store has, in the order they are carried in."""

from __future__ import annotations

TASK = ("id", "digest", "question", "settings")
JOB = (
    *("id", "uid", "name", "task_id", "input_path", "source", "settings", "prices", "state", "reason", "reason_kind"),
    *("rows", "position", "digest", "ingested", "created_at", "updated_at"),
)
RUN = ("id", "task_id", "pid", "started_at", "updated_at", "ended_at", "rows_unwanted")
NOTICE = ("kind", "what", "number")
INPUT = ("id", "line", "key", "text", "rest", "defect")
ROW = (
    *("id", "state", "request_id", "task_id", "attempts", "paid", "label", "source", "matched", "confidence"),
    *("answer", "origin", "first", "put_back", "error_kind", "error"),
)
REQUEST = (
    *("id", "task_id", "client_key", "body_digest", "rows", "purpose", "model", "sent_at", "repeats", "ended_at"),
    *("outcome", "status", "provider_id", "input_tokens", "cached_input_tokens", "output_tokens"),
    *("reasoning_tokens", "cost_picousd", "cost_source", "odd_usage", "error_kind", "error"),
)
TALLY = ("kind", "name", "n")
LEARNED = ("base_url", "model", "facts", "at")
LABEL = ("id", "code", "label", "off_list", "job_id", "at", "loose")
"""Of the label cache."""
