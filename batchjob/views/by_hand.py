"""What people did to a job's rows, in figures and in words."""

from __future__ import annotations

import msgspec

from batchjob.model import Value
from batchjob.numbers import counted
from batchjob.scoring.interval import Share


class ByHand(Value, frozen=True):
    """Rows that a person labelled, or said are right."""

    rows: int
    changed: int  # of these, those whose label was another one
    unlabelled: int  # and those that had none
    sample: Share | None  # of the random sample, the labels that were right
    fields: dict[str, Share] = msgspec.field(
        default_factory=dict
    )  # the same by field, of a job with several answers a text


def hand_words(hand: ByHand) -> str:
    """The same on one line."""
    parts = [counted(hand.rows, "row")]
    others = {"had another label": hand.changed, "had none": hand.unlabelled}
    parts += [f"{count:,} {what}" for what, count in others.items() if count]
    if hand.sample is not None:
        parts.append(f"accuracy {accuracy_words(hand.sample)}")
    parts += [f"accuracy of {field} {accuracy_words(share)}" for field, share in hand.fields.items()]
    return ", ".join(parts)


def accuracy_words(share: Share) -> str:
    """A share of a sample with its interval, never without its n."""
    low, high = round(100 * share.low), round(100 * share.high)
    return f"{100 * share.share:.0f} % ({low} to {high}), n={share.n:,}"
