"""An answer that says "not done" is read in every shape that endpoints give it, and none is an error of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from batchjob.endpoints.headers import LONGEST_WAIT_SECONDS
from batchjob.endpoints.replies import read_reply
from batchjob.exchange.decide import decide
from batchjob.model import LONG_WAIT, Lost, Rejected, Reply


def heard(given: Any, status: int = 400, **headers: str) -> Reply:
    body = given if isinstance(given, bytes) else json.dumps(given).encode()
    return read_reply(status, CIMultiDict(headers), body, now=lambda: 0.0)


def refused(given: Any, status: int = 400, **headers: str) -> Rejected:
    reply = heard(given, status, **headers)
    assert isinstance(reply, Rejected)
    return reply


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"error": {"message": "as OpenAI", "code": "c", "type": "t", "param": "p"}}, ("as OpenAI", "c", "t", "p", ())),
        ({"error": "as text"}, ("as text", "", "", "", ())),
        ({"detail": "as FastAPI"}, ("as FastAPI", "", "", "", ())),
        ({"message": "as SiliconFlow", "code": 20012}, ("as SiliconFlow", "20012", "", "", ())),
        ({"error": {"message": "a status is no code", "code": 400}}, ("a status is no code", "", "", "", ())),
        ({"code": "Client", "error": "as xAI"}, ("as xAI", "client", "", "", ())),
        (
            {"error": {"message": "Provider returned error", "metadata": {"raw": "why"}}},
            ("Provider returned error: why", "", "", "", ()),
        ),
        (
            [{"error": {"message": "as Google", "code": 400, "details": [{"reason": "API_KEY_INVALID"}]}}],
            ("as Google", "", "", "", ("api_key_invalid",)),
        ),
        (
            {"error": {"message": "as Azure", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
            ("as Azure", "", "", "", ("responsibleaipolicyviolation",)),
        ),
        ({"error": {"message": "x", "metadata": {"flagged_input": "y"}}}, ("x", "", "", "", ("content_filter",))),
        (
            {"message": {"detail": [{"loc": ["body", "max_completion_tokens"], "msg": "Extra inputs"}]}},
            (
                '{"detail": [{"loc": ["body", "max_completion_tokens"], "msg": "Extra inputs"}]}',
                "",
                "",
                "max_completion_tokens",
                (),
            ),
        ),
        (b"<html><title>Sorry,\n you have been blocked</title></html>", None),
    ],
)
def test_its_words_are_found_wherever_they_stand(given: Any, said: tuple[Any, ...] | None) -> None:
    found = refused(given)
    if said is None:
        assert (found.message, found.page) == ("a page titled 'Sorry, you have been blocked'", True)
    else:
        assert (found.message, found.code, found.type, found.param, found.reasons) == said
        assert not found.page


def test_a_refusal_inside_a_200_is_one() -> None:
    found = refused({"choices": None, "base_resp": {"status_code": 1008, "status_msg": "no money"}}, 200)
    assert (found.message, found.reasons) == ("no money", ("1008",))
    assert not isinstance(heard({"choices": [], "base_resp": {"status_code": 0}}, 200), Rejected)


@pytest.mark.parametrize(
    ("headers", "details", "seconds", "long"),
    [
        ({}, [{"retryDelay": "38s"}], 38.0, False),
        ({"Retry-After": "5"}, [{"retryDelay": "38s"}], 5.0, False),
        ({"Retry-After": "72000"}, [], LONGEST_WAIT_SECONDS, True),
        ({"Retry-After": "31536000"}, [], LONGEST_WAIT_SECONDS, False),
        ({"Retry-After": "-5"}, [], 0.0, False),
        ({}, [{"retryDelay": "soon"}, 7, {}], None, False),
    ],
)
def test_a_wait_is_read_from_headers_and_details_and_a_long_one_is_no_quota_of_minutes(
    headers: dict[str, str], details: list[Any], seconds: float | None, long: bool
) -> None:
    found = refused({"error": {"message": "x", "details": details}}, 429, **headers)
    assert found.retry_after_seconds == seconds
    assert (LONG_WAIT in found.reasons) == long


OUTER = (
    "error",
    "message",
    "code",
    "type",
    "param",
    "detail",
    "details",
    "metadata",
    "innererror",
    "base_resp",
    "choices",
)
INNER = ("reason", "violations", "quotaId", "retryDelay", "raw", "loc", "status_code", "status_msg", "request_id")
KEYS = st.sampled_from((*OUTER, *INNER))
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.floats(allow_nan=False)
ODD = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=4))


@given(ODD, st.sampled_from([200, 400, 403, 429, 500]))
def test_nothing_that_comes_as_json_is_an_error_of_ours(given: Any, status: int) -> None:
    reply = heard(given, status)
    assert isinstance(reply, Lost | Rejected) or status == 200
    assert decide(reply).outcome
