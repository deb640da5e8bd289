"""How a run ends that nothing stopped: the job's state, why, and the exit code."""

from __future__ import annotations

from batchjob.model import Ending
from batchjob.numbers import counted, dollars
from batchjob.ports import Store
from batchjob.settings.config import JobConfig
from batchjob.settings.failures import Failures
from batchjob.states import JobState, State


def over_budget(config: JobConfig, spent_usd: float, next_usd: float) -> Ending:
    """Not even the smallest next request can be afforded; `next_usd` is the most it could cost."""
    reason = (
        f"{dollars(spent_usd)} of the budget of {dollars(config.budget or 0)} are spent, and the next request could "
        f"cost {dollars(next_usd)}"
    )
    return Ending(JobState.OVER_BUDGET, reason, 5)


async def ending_of(store: Store, config: JobConfig, *, unread: bool) -> Ending:
    """Nothing more is to be sent; `unread`: more rows may be in the input."""
    counts = await store.counts()
    failures = Failures.of(config, counts, await store.failures())
    return by_itself(config, failures, left=bool(counts[State.PENDING] or counts[State.IN_FLIGHT] or unread))


def by_itself(config: JobConfig, failures: Failures, *, left: bool) -> Ending:
    """How a run ends that has done all it was asked for; `left`: the job has more rows."""
    code = 4 if failures.too_many else 0
    reasons = []
    if left and config.limit:
        done = "row is" if config.limit == 1 else f"{config.limit:,} rows are"
        reasons.append(f"the first {done} done (--limit)")
    elif left:
        reasons.append("rows are left")
    if failures.failed and not failures.too_many:
        reasons.append(f"{counted(failures.failed, 'failed row')} let pass by --allow-failed {config.allow_failed}")
    return Ending(JobState.STOPPED if left else JobState.FINISHED, "; ".join(reasons), code)
