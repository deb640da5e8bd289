"""A reply -> what becomes of the request: tried again, failed, or the job stopped.

An error is known by its status and by the code, type, param and reasons of its JSON. Words of its message count where
a provider is known to use them, or while nothing has been answered, and never where they stand in what was sent:
endpoints repeat it.
"""

from __future__ import annotations

from enum import Enum

from batchjob.model import HUGE, LONG_WAIT, NO_ROOM, SEVERAL, Answered, Lost, Rejected, Reply, Usage, Value
from batchjob.providers.meanings import meaning_of
from batchjob.providers.table import PLAIN, Meaning, Provider
from batchjob.states import Outcome, fields_of
from batchjob.task.finish import Ended, how_it_ended
from batchjob.task.thoughts import spoken

BACKOFF_BASE_SECONDS = 0.5
BACKOFF_MOST_SECONDS = 60.0
THOUGHTS_SHOWN = 200

# Error codes, types and params, in lower case; those that are no setting's are in providers.toml.
SETTINGS = frozenset(
    {
        "model",
        "temperature",
        "response_format",
        "max_tokens",
        "max_completion_tokens",
        "unsupported_parameter",
        "unsupported_value",
        "unknown_parameter",
    }
)
QUOTA_SECONDS = 900.0
"""Between two questions whether a quota of a day is new, where the endpoint does not say when it will be."""
PERMISSION = ("permission", "forbidden", "denied", "country")
"""In a code of a 403: it is about who asks, not about what."""


BUSY = (502, 503, 504, 529)
"""Statuses of an endpoint that cannot serve now, or of a proxy before it: no row's fault."""


class Next(Enum):
    """What comes after a request."""

    READ = "read"  # the answer is there to be read
    AGAIN = "again"  # its rows are worth another try
    REPHRASE = "rephrase"  # its rows go out again at once, asked in another way; it counts against none of them
    RESEND = "resend"  # lost: again with the same key, or held, as the user chose
    FAIL = "fail"  # its rows fail alone
    STOP = "stop"  # the job stops; its rows stay pending


class Signal(Enum):
    """What a request says of the endpoint's health."""

    GOOD = "good"
    RATE_LIMITED = "rate_limited"
    UNREACHABLE = "unreachable"  # there was no connection: nothing was sent, which says nothing of a row
    UNAVAILABLE = "unavailable"  # somebody is there, and cannot serve: no row's fault
    ERRED = "erred"  # an error that may be this row's


class Decision(Value, frozen=True):
    """What is to be done about a request, and why."""

    outcome: Outcome
    next: Next
    signal: Signal = Signal.GOOD
    kind: str = ""
    message: str = ""
    overload: bool = False  # a reason to have fewer requests in flight
    paid: bool = False  # an answer was bought
    advice: str = ""  # what a person can do, where that is not what ADVICE has for its kind
    doubtful: bool = False  # a reason to stop that may pass: see pace.hold
    pause: float = 0.0  # seconds in which nobody sends; then one request asks for all


class Known(Value, frozen=True):
    """What is known of who answered, by which a rejection, or that nobody was reached, is understood."""

    provider: Provider = PLAIN
    answered: bool = True  # this model has answered before, in this run
    sent: tuple[str, ...] = ()  # the messages of the request
    waits_for_quota: bool = False
    reached: bool = False  # the endpoint has answered before, in this run


ANYBODY = Known()

ANSWERED = Decision(Outcome.ANSWERED, Next.READ, paid=True)

UNUSABLE = {
    "refused_by_model": "the model refused to answer",
    "filtered_answer": "the answer was withheld by a content filter",
    "truncated_answer": "the answer was cut at max_tokens",
    "thought_only": "nothing but thoughts came back",
    "empty_answer": "the answer is empty",
    "huge_answer": "the answer is larger than any completion, so it was not read to its end",
    "several_answers": "the endpoint gave several answers that do not say the same",
}


UNUSABLE_BY_ENDING = {Ended.WITHHELD: "filtered_answer", Ended.CUT: "truncated_answer"}

PAID_KINDS = frozenset({*UNUSABLE, "off_list"})
"""Kinds of rows that failed although an answer was paid for."""


def decide(reply: Reply, known: Known = ANYBODY) -> Decision:
    """What is to be done about a request, by its reply."""
    if isinstance(reply, Answered):
        return _of_an_answer(reply)
    if isinstance(reply, Rejected):
        return _of_a_rejection(reply, known)
    if isinstance(reply, Lost):
        busy = reply.status in BUSY  # a proxy's word for what is behind it, which says nothing of the row
        signal = Signal.UNAVAILABLE if busy else Signal.ERRED
        overload = busy or reply.kind in ("timeout", "connection_lost")
        return Decision(Outcome.LOST, Next.RESEND, signal, reply.kind, reply.message, overload)
    if reply.kind == "bad_certificate" and not known.reached:  # later it is an outage: somebody mends it overnight
        return Decision(Outcome.NOT_SENT, Next.STOP, Signal.GOOD, reply.kind, reply.message)
    return Decision(Outcome.NOT_SENT, Next.AGAIN, Signal.UNREACHABLE, reply.kind, reply.message, overload=True)


def _of_an_answer(reply: Answered) -> Decision:
    ended = how_it_ended(reply.finish_reason)
    if ended is Ended.BROKEN:
        message = f"the provider broke the answer off (finish_reason {reply.finish_reason})"
        return Decision(Outcome.LOST, Next.RESEND, Signal.ERRED, "broken_off_answer", message)
    if ended in (Ended.WHOLE, Ended.UNKNOWN) and reply.content and reply.content.strip():
        return ANSWERED
    if reply.finish_reason == HUGE:
        kind = "huge_answer"
    elif reply.finish_reason == SEVERAL:
        kind = "several_answers"
    elif reply.refusal:
        kind = "refused_by_model"
    elif ended is not Ended.WITHHELD and is_thought(reply):
        kind = "thought_only"
    else:
        kind = UNUSABLE_BY_ENDING.get(ended, "empty_answer")
    message = thought_words(reply) if kind == "thought_only" else UNUSABLE[kind]
    return Decision(Outcome.ANSWERED, Next.FAIL, Signal.GOOD, kind, message, paid=True)


def is_thought(reply: Answered) -> bool:
    """Whether an answer without a label holds thoughts: beside the content, in it, or by the usage."""
    used, content = reply.usage or Usage(), (reply.content or "").strip()
    hidden = used.output_tokens and not content and how_it_ended(reply.finish_reason) is Ended.CUT
    return bool(reply.thoughts or used.reasoning_tokens or hidden or (content and spoken(content) is None))


def thought_words(reply: Answered) -> str:
    """What is said of an answer that is nothing but thoughts."""
    tokens = reply.usage.output_tokens if reply.usage else 0
    went = f"all {tokens:,} tokens went into thinking" if tokens else UNUSABLE["thought_only"]
    said = (reply.thoughts or reply.content or "").strip()
    return f"{went}: {said[:THOUGHTS_SHOWN]!r}" if said else went


def _of_a_rejection(reply: Rejected, known: Known) -> Decision:
    kind, next_, signal = _classify(reply, known)
    why = reply.code or reply.type or next(iter(reply.reasons), "")
    detail = f"HTTP {reply.status}" + (f" {why}" if why else "")
    message = f"{detail}: {reply.message}" if reply.message else detail
    overload = kind == "unavailable" and reply.status in (498, *BUSY)
    doubtful = next_ is Next.STOP and known.answered and _may_pass(reply, kind, known.provider)
    pause = 0.0
    if kind == "daily_quota" and next_ is Next.AGAIN:
        pause = reply.retry_after_seconds or QUOTA_SECONDS
    return Decision(Outcome.REJECTED, next_, signal, kind, message, overload, doubtful=doubtful, pause=pause)


def _classify(reply: Rejected, known: Known) -> tuple[str, Next, Signal]:
    """(kind, next, signal) of an answer that says the request was not carried out."""
    names = {reply.code, reply.type, reply.param.rsplit(".", 1)[-1], *reply.reasons} - {""}
    message = " ".join((reply.message, *reply.reasons))
    meaning = meaning_of(known.provider, reply.status, names, message, sent=known.sent, anybody=not known.answered)
    if reply.page and known.answered and reply.status in (403, 404):
        return "unavailable", Next.AGAIN, Signal.ERRED  # a firewall's or a proxy's: the endpoint has said nothing
    return (meaning and _by_meaning(meaning, reply, known)) or _by_status(reply, names, known)


def _by_meaning(meaning: Meaning, reply: Rejected, known: Known) -> tuple[str, Next, Signal] | None:
    status = reply.status
    if meaning in ("content_filter", "too_long"):
        return meaning, Next.FAIL, Signal.GOOD
    if meaning == "daily_quota":
        return _by_quota(known)
    if meaning == "rate_limited" or (meaning == "hiccup" and status in (402, 429)):
        return "rate_limited", Next.AGAIN, Signal.RATE_LIMITED
    if meaning == "hiccup":
        return "unavailable", Next.AGAIN, Signal.UNAVAILABLE
    if meaning == "wrong_model":
        if status >= 500 and known.answered:
            return "unavailable", Next.AGAIN, Signal.UNAVAILABLE  # a gateway that has no channel for it just now
        return "not_found", Next.STOP, Signal.GOOD
    return meaning, Next.STOP, Signal.GOOD


def _by_quota(known: Known) -> tuple[str, Next, Signal]:
    return "daily_quota", *((Next.AGAIN, Signal.RATE_LIMITED) if known.waits_for_quota else (Next.STOP, Signal.GOOD))


def _by_status(reply: Rejected, names: set[str], known: Known) -> tuple[str, Next, Signal]:
    status = reply.status
    if status == 429 and LONG_WAIT in names:
        return _by_quota(known)
    if status == 429 or (status == 402 and reply.retry_after_seconds is not None):
        return "rate_limited", Next.AGAIN, Signal.RATE_LIMITED
    if (kind := _STOPS.get(status)) or 300 <= status < 400:
        return kind or "redirected", Next.STOP, Signal.GOOD
    if "idempotency_key_reused" in names:
        return "key_conflict", Next.AGAIN, Signal.GOOD
    if status in (400, 422) and (kind := _refused_setting(reply, names)):
        return kind, Next.STOP, Signal.GOOD
    if status in (408, 409, 425):
        return "conflict", Next.AGAIN, Signal.ERRED
    if status in BUSY:
        return "unavailable", Next.AGAIN, Signal.UNAVAILABLE
    if status >= 500 or status == 200:
        return "server_error", Next.AGAIN, Signal.ERRED
    return "bad_request", Next.FAIL, Signal.GOOD


_STOPS = {
    401: "bad_key",
    402: "no_credit",
    403: "forbidden",
    404: "not_found",
    405: "not_found",
    410: "not_found",
}


def _refused_setting(reply: Rejected, names: set[str]) -> str:
    """The kind of a refusal of one of our settings; "" where it is none."""
    if reply.param.startswith("response_format"):
        return "bad_response_format"
    if "permission_denied" in names:
        return "forbidden"
    return "" if names.isdisjoint(SETTINGS) else "bad_setting"


def _may_pass(reply: Rejected, kind: str, provider: Provider) -> bool:
    """Whether a reason to stop, from an endpoint that has answered, may pass by itself or be this row's alone."""
    if kind == "forbidden":
        return not any(word in name for name in (reply.code, reply.type, *reply.reasons) for word in PERMISSION)
    # Qwen says it of the tokens of a minute, also through a proxy.
    return kind == "no_credit" and provider is PLAIN and "insufficient_quota" in (reply.code, reply.type)


def backoff_seconds(attempt: int, chance: float) -> float:
    """How long a row waits before another try: full jitter, from 0.5 s doubling to 60 s.

    Args:
        attempt: how many tries it has had, from 1.
        chance: a random number in [0, 1).
    """
    return chance * min(BACKOFF_MOST_SECONDS, BACKOFF_BASE_SECONDS * 2.0 ** min(attempt - 1, 30))


ADVICE = {
    "rate_limited": "the endpoint's rate limit; nothing to do",
    "bad_key": "check the key: doctor shows which variable it is read from; then resume",
    "no_credit": "top up the account or raise its limit, then resume",
    "forbidden": "the key may not use this model or path: check its permissions, then resume",
    "not_found": "check the address (it usually ends in /v1) and the model; then resume with --base-url or --model",
    "redirected": "if you trust the address it points to, resume with that as --base-url",
    "daily_quota": "resume when the quota of the day or month is new, or add --wait-for-quota to wait for that",
    "bad_certificate": "check the address, or the machine's certificates and clock, then resume",
    "bad_setting": "the endpoint does not take one of the settings: resume with another value of it",
    "missing_answer": "the model left it out of an answer for many rows: retry with fewer --rows-per-request",
    "key_conflict": "nothing to do: it is sent again under a new key",
    "bad_response_format": "resume with --no-response-format",
    "bad_request": "see the message; mend what it names, then retry",
    "content_filter": "the endpoint does not take this text: label it by hand",
    "filtered_answer": "the endpoint withheld the answer: label it by hand",
    "refused_by_model": "label it by hand, or ask another --model or with another --prompt",
    "too_long": "shorten the text, or ask a --model with a larger context",
    "truncated_answer": "more --max-tokens are needed: models that think need hundreds",
    "thought_only": "retry with --thinking off, or with more --max-tokens: thinking takes hundreds",
    "empty_answer": "retry buys another answer; if many are empty, try more --max-tokens or another --model",
    "off_list": "give --fallback LABEL, the label that is missing in --labels, or a clearer --prompt",
    "timeout": "if the model is slow, retry with a longer --timeout",
    "connection_lost": "the connection broke before the answer each time: retry",
    "garbled_answer": "no completion came back, as from a proxy: retry",
    "broken_off_answer": "the provider broke its answer off each time: retry",
    "huge_answer": "the answer is larger than any completion: check what answers at --base-url",
    "several_answers": "it was asked for one answer: check what answers at --base-url, and which --model",
    "conflict": "the endpoint was still busy with it each time: retry",
    "server_error": "the endpoint failed on this row each time: retry",
    "unavailable": "the endpoint was not available: retry",
    NO_ROOM: "nothing to do: fewer requests are kept in flight; ulimit -n allows more",
    "cannot_connect": "check the address and the network, then resume",
    "blank_text": "there is nothing to label: give --fallback LABEL, or --blank skip to let such rows pass",
    "unreadable_row": "mend the row, then start the mended file as a new job",
    "ragged_row": "quote the text or mend the row, then start the mended file as a new job",
    "bad_json": "mend the line, then start the mended file as a new job",
    "missing_text": "mend the row, then start the mended file as a new job",
    "not_text": "mend the row, then start the mended file as a new job",
    "unconfirmed": "sent, and the answer never seen, so it may have been paid: sent again only if you say so",
}
"""Error kind -> what a person can do about it. views/next_steps.py has what to type."""
FIELDS_ADVICE = (
    "retry asks for these fields alone, and the others are kept; a clearer ask, or another --model, may help"
)


def advice_of(kind: str) -> str:
    """What a person can do about an error kind, which may name the fields that a row lacks; "" where none is known."""
    return FIELDS_ADVICE if fields_of(kind) else ADVICE.get(kind, "")
