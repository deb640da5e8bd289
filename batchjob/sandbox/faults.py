"""What can go wrong with an answer, and when: FAULTS is the only table of the kinds.

A fault is billed or it is not. Not billed: everything that says in so many words that it was not done (4xx, 429, a
JSON 5xx), and `html`, which comes from a proxy that reached nobody. Billed: every completion, however useless, and
`dropped`, `cut` and `slow`: the work was done and only its answer is lost, which is the worst case for a client.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Literal

import msgspec

Way = Literal["error", "html", "completion", "dropped", "cut", "slow"]

HTML_PAGE = b"""<html>
<head><title>502 Bad Gateway</title></head>
<body>
<center><h1>502 Bad Gateway</h1></center>
<hr><center>nginx</center>
</body>
</html>
"""


class Fault(msgspec.Struct, frozen=True):
    """A kind of fault. The last four are those of the JSON error, where the way is `error`."""

    kind: str
    way: Way
    billed: bool
    status: int | None  # None: no status line is ever sent
    type: str = ""
    code: str | None = None
    message: str = ""
    retry_after: bool = False


def _error(
    kind: str,
    status: int,
    type: str,
    code: str | None,
    message: str,
    *,
    retry_after: bool = False,
) -> Fault:
    return Fault(kind, "error", False, status, type, code, message, retry_after)


_INVALID = "invalid_request_error"

_ALL = (
    _error("429", 429, "requests", "rate_limit_exceeded", "Rate limit reached.", retry_after=True),
    _error("500", 500, "server_error", None, "The server had an error while processing your request."),
    _error("503", 503, "service_unavailable", "overloaded", "The engine is overloaded.", retry_after=True),
    Fault("html", "html", False, 502),
    Fault("dropped", "dropped", True, None),  # the connection is closed without an answer
    Fault("cut", "cut", True, 200),  # half of the JSON, with a Content-Length that fits the half
    Fault("slow", "slow", True, None),  # no answer within any timeout
    Fault("null", "completion", True, 200),  # content null
    Fault("empty", "completion", True, 200),  # content ""
    Fault("length", "completion", True, 200),  # half of the answer, finish_reason length
    Fault("off_list", "completion", True, 200),  # an answer that is no label
    Fault("prose", "completion", True, 200),  # the label in a sentence
    Fault("refusal", "completion", True, 200),  # content null, and a refusal
    _error("400", 400, _INVALID, None, "The request could not be processed."),
    _error("content_filter", 400, _INVALID, "content_filter", "The prompt was refused by the content filter."),
    _error("context_length", 400, _INVALID, "context_length_exceeded", "The prompt is longer than the context."),
    _error("401", 401, _INVALID, "invalid_api_key", "Incorrect API key provided."),
    _error("402", 402, "insufficient_balance", "insufficient_balance", "Insufficient balance."),
    _error("quota", 429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota."),
)

FAULTS: dict[str, Fault] = {fault.kind: fault for fault in _ALL}


class Dice:
    """Chance, seeded: the same seed deals the same faults and latencies to the same sequence of requests."""

    def __init__(self, rates: Mapping[str, float], seed: int) -> None:
        self._rates = [(FAULTS[kind], rate) for kind, rate in rates.items() if rate > 0]
        self._faults = random.Random(f"faults {seed}")
        self._latency = random.Random(f"latency {seed}")

    def fault(self) -> Fault | None:
        """The fault of the next request, or None."""
        if not self._rates:
            return None
        point = self._faults.random()
        for fault, rate in self._rates:
            point -= rate
            if point < 0:
                return fault
        return None

    def latency(self, low: float, high: float) -> float:
        """Seconds the next answer takes."""
        return low if low == high else self._latency.uniform(low, high)
