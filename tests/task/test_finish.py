"""How an answer ended."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.task.finish import Ended, how_it_ended

REASONS = {
    Ended.WHOLE: (
        None,
        "",
        "stop",
        "STOP",
        "FINISH_REASON_STOP",
        "eos",
        "eos_token",
        "end_turn",
        "stop_sequence",
        "COMPLETE",
    ),
    Ended.CUT: (
        *("length", "LENGTH", "max_tokens", "MAX_TOKENS", "model_length", "max_output_tokens", "token_limit"),
        *("model_context_window_exceeded", "ERROR_LIMIT"),
    ),
    Ended.WITHHELD: (
        *("content_filter", "content-filter", "content_filter: PROHIBITED_CONTENT", "content_filtered", "sensitive"),
        *("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "refusal", "guardrail_intervened"),
    ),
    Ended.BROKEN: (
        *("error", "ERROR", "network_error", "insufficient_system_resource", "abort", "aborted", "ABORTED_BY_ENGINE"),
        *("cancelled", "timeout"),
    ),
    Ended.UNKNOWN: ("tool_calls", "function_call", "OTHER", "something_new", "stopped?", "unknown"),
}


@pytest.mark.parametrize(("reason", "ended"), [(reason, ended) for ended, all_ in REASONS.items() for reason in all_])
def test_a_finish_reason_says_how_the_answer_ended(reason: str | None, ended: Ended) -> None:
    assert how_it_ended(reason) is ended


@given(st.text(max_size=20))
def test_no_finish_reason_makes_it_raise_and_capitals_do_not_count(reason: str) -> None:
    if reason.isascii():
        assert how_it_ended(reason) is how_it_ended(reason.upper()) is how_it_ended(f" {reason.lower()} ")
    assert isinstance(how_it_ended(reason), Ended)
