"""Settings that fit an input."""

from __future__ import annotations

from collections.abc import Collection
from math import ceil, floor, log10
from typing import Any

from batchjob.forecast.estimate import Estimate, Outlook
from batchjob.forecast.packing import ROWS_PER_REQUEST
from batchjob.settings.config import JobConfig

WORTH_SHARING = 500
"""Rows from which on several are put into a request: below, the little that is saved is not worth a doubt."""
WORTH_SAVING = 0.25
"""Of tokens (of requests, where tokens are not known): what a larger number of rows must save to be chosen."""
VERIFY = 0.02


def suggested(found: Outlook, config: JobConfig, *, rows: int, given: Collection[str]) -> dict[str, Any]:
    """Settings that fit the input, without those that are `given` already; `rows` go out in requests.

    Several rows a request where that saves a quarter, with a sample verified; concurrency for answers that take two
    seconds at the quota of requests; a budget of twice what is expected, with room for what is in flight to be as dear
    as it may, but no more than the worst case.
    """
    chosen: dict[str, Any] = {}
    most = config.rows_per_request
    if "rows_per_request" not in given:
        most = _rows_worth(found) if rows >= WORTH_SHARING else 1
        if most != config.rows_per_request:
            chosen["rows_per_request"] = most
    if most > 1 and "verify_sample" not in given and not config.verify_sample:
        chosen["verify_sample"] = VERIFY
    if "concurrency" not in given and rows >= WORTH_SHARING:
        concurrency = min(max(ceil(config.rpm / 60 * 2), 4), 64) if config.rpm else 32
        if concurrency != config.concurrency:
            chosen["concurrency"] = concurrency
    estimate = found.for_rows(most)
    if "budget" not in given and config.budget is None and estimate.expected_usd and estimate.worst_usd:
        chosen["budget"] = _budget(
            estimate.expected_usd, estimate.worst_usd, estimate.requests, chosen.get("concurrency", config.concurrency)
        )
    return chosen


def _rows_worth(found: Outlook) -> int:
    """How many rows a request: more only while each step saves WORTH_SAVING of what the step before takes."""
    most = 1
    for rows in ROWS_PER_REQUEST[1:]:
        before, after = _burden(found.for_rows(most)), _burden(found.for_rows(rows))
        if after > before * (1 - WORTH_SAVING):
            break
        most = rows
    return most


def _burden(estimate: Estimate) -> float:
    """What there is to save: money, else tokens, else requests."""
    if estimate.expected_usd is not None:
        return estimate.expected_usd
    if estimate.input_tokens is not None and estimate.output_tokens is not None:
        return estimate.input_tokens + estimate.output_tokens
    return estimate.requests


def _budget(expected: float, worst: float, requests: int, concurrency: int) -> float:
    """What a job does not stop for before its end: a request is sent where its worst case can be paid too."""
    in_flight = worst * min(concurrency, requests) / requests
    return _rounded_up(min(max(2 * expected, expected + in_flight), worst))


def _rounded_up(amount: float) -> float:
    """To two digits."""
    unit = 10.0 ** (floor(log10(amount)) - 1)
    return round(ceil(amount / unit) * unit, 12)
