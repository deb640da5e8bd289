"""While a job has no label nobody knows whether it makes sense: one request at a time, and few paid in vain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from batchjob.exchange.decide import Decision, Next, advice_of
from batchjob.model import Ending, Lost, Reply, RowResult
from batchjob.states import Event, JobState, Source

IN_VAIN = frozenset({"truncated_answer", "thought_only", "empty_answer", "garbled_answer", "several_answers"})
"""Kinds of answers, paid or perhaps, that the next one will most likely be of, too."""
ENOUGH = 2


class FirstLabel:
    """Whether a job still waits for its first label of a model. A fallback is none, and says nothing against it.

    Where several runs share a job, nobody but the store can count: then each answer in vain is said to be enough.
    """

    enough = ENOUGH, None  # without a label, and after one

    def __init__(self, *, waiting: bool, shared: bool = False) -> None:
        self.waiting, self._most = waiting, 1 if shared else ENOUGH
        self._in_vain: Counter[str] = Counter()

    def watch(self, decision: Decision, reply: Reply, results: Iterable[RowResult]) -> Ending | None:
        """A request is over; how the job ends where paid answers alike gave no label, and none gave one."""
        if not self.waiting or decision.next is Next.REPHRASE:
            return None
        if any(result.event is Event.COMPLETE and result.source is not Source.FALLBACK for result in results):
            self.waiting = False
        elif decision.kind in IN_VAIN and (decision.paid or _is_no_stumble(reply)):
            self._in_vain[decision.kind] += 1
            if self._in_vain[decision.kind] >= self._most:
                return _ending(decision)
        return None


def _is_no_stumble(reply: Reply) -> bool:
    """Whether something that is no answer came, and not for a moment: a gateway's 5xx passes."""
    return isinstance(reply, Lost) and (reply.status is None or reply.status < 500)


def _ending(decision: Decision) -> Ending:
    kind = decision.kind
    advice = "check what answers at --base-url" if kind == "garbled_answer" else advice_of(kind)
    said = f"{ENOUGH} paid answers alike gave no label, and none gave one ({kind}: {decision.message})"
    return Ending(JobState.REFUSED, f"{said}. What to do: {advice}", 3, kind)
