"""The life of a row: its states, the events that move it, and TRANSITIONS, which is the only table of both.

pending ──claim──> in_flight ──complete──> done
   ^                  │ │ └────fail──────> failed
   │                  │ └──────lose──────> unconfirmed
   ├────release───────┘                      │  (failed, too)
   └────retry────────────────────────────────┘
A row that is not sent goes from pending straight to done (assign), failed (reject) or unconfirmed (hold).
"""

from enum import StrEnum


class State(StrEnum):
    """Where a row is in its life."""

    PENDING = "pending"
    IN_FLIGHT = "in_flight"
    DONE = "done"
    FAILED = "failed"
    UNCONFIRMED = "unconfirmed"


class Event(StrEnum):
    """What moves a row from one state to the next; each is one named query of the store."""

    CLAIM = "claim"  # taken by a run, with the request it goes out in
    RELEASE = "release"  # given back: not sent, rejected and worth another try, or to be sent again
    COMPLETE = "complete"  # answered with a label
    FAIL = "fail"  # answered or rejected, and not worth another try
    LOSE = "lose"  # sent, the answer never seen, and the user asked to hold such rows
    ASSIGN = "assign"  # labelled without a request
    REJECT = "reject"  # cannot be sent at all: a blank text, a ragged row
    HOLD = "hold"  # its text went out in another row, the answer never seen, and the user asked to hold such rows
    RETRY = "retry"  # put back by the user


TRANSITIONS: dict[Event, tuple[frozenset[State], State]] = {
    Event.CLAIM: (frozenset({State.PENDING}), State.IN_FLIGHT),
    Event.RELEASE: (frozenset({State.IN_FLIGHT}), State.PENDING),
    Event.COMPLETE: (frozenset({State.IN_FLIGHT}), State.DONE),
    Event.FAIL: (frozenset({State.IN_FLIGHT}), State.FAILED),
    Event.LOSE: (frozenset({State.IN_FLIGHT}), State.UNCONFIRMED),
    Event.ASSIGN: (frozenset({State.PENDING}), State.DONE),
    Event.REJECT: (frozenset({State.PENDING}), State.FAILED),
    Event.HOLD: (frozenset({State.PENDING}), State.UNCONFIRMED),
    Event.RETRY: (frozenset({State.FAILED, State.UNCONFIRMED}), State.PENDING),
}


def plain_kind(kind: str) -> str:
    """A kind of error without the fields that it is about, which stand behind a colon."""
    return kind.partition(":")[0]


def fields_of(kind: str) -> tuple[str, ...]:
    """The fields that a kind of error is about; none where it is about a whole row."""
    _, colon, names = kind.partition(":")
    return tuple(names.split(",")) if colon else ()


class JobState(StrEnum):
    """What a job is doing. INTERRUPTED and MOVED are never stored: they are what a reader sees where the process died,
    and where the job goes on in another database.
    """

    INGESTING = "ingesting"
    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    REFUSED = "refused"
    OVER_BUDGET = "over_budget"
    MOVED = "moved"


class Source(StrEnum):
    """Where a label came from."""

    MODEL = "model"
    DUPLICATE = "duplicate"
    CACHE = "cache"
    RULE = "rule"
    FALLBACK = "fallback"
    HUMAN = "human"
    SECOND = "second"  # the second model, where the first one gave none or was unsure


ASKED = (Source.MODEL, Source.SECOND, Source.FALLBACK)
"""Sources of labels for which a model was asked. A blank text that takes the fallback is counted with the others of
that.
"""
UNASKED = (Source.DUPLICATE, Source.CACHE, Source.RULE)
"""Sources of labels that saved a request."""


class Outcome(StrEnum):
    """What became of a request."""

    NOT_SENT = "not_sent"  # no byte left this machine
    REJECTED = "rejected"  # an answer that says it was not done
    ANSWERED = "answered"  # a completion, usable or not: it was paid
    LOST = "lost"  # sent, and no whole answer: it may have been paid


class Matched(StrEnum):
    """How a label was read from an answer."""

    EXACT = "exact"  # letter for letter
    NEAR = "near"  # in another case or wrapping, or where the answer marks it as its label


class Purpose(StrEnum):
    """What a request is for."""

    LABEL = "label"
    SECOND = "second"  # the same, of the second model
    VERIFY = "verify"  # a row that has a label is asked once more, to compare; nothing of the row changes


class CostSource(StrEnum):
    """What the cost of a request rests on."""

    PRICE = "price"  # its usage and a price
    REPORTED = "reported"  # the endpoint's own word
    WORST_CASE = "worst_case"  # it is lost: no more than that
