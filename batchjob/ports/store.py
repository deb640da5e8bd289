"""The door to a work table that is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from batchjob.model import Ending, InputSource, Job, Key, Page, Remembered, Run, Settle, TaskRecord, Unheard, Write
from batchjob.ports.control import Asking, Control, Drawn


class Store(Protocol):
    """A work table, opened for writing. One suite tests whatever stands behind this door: tests/stores.

    Every method that writes is one transaction, on the disk when it returns; it is never half done, whatever happens
    to the caller. `create_job` or `choose` comes first, and says which job all others are about.
    """

    # ------------------------------------------------------------ the job

    async def create_job(
        self, *, uid: str, name: str, source: InputSource, settings: bytes, task: TaskRecord, at: float
    ) -> None:
        """A new job. `settings` is a JobConfig as JSON, `at` UTC epoch seconds here and below."""
        ...

    async def choose(self, name: str) -> None:
        """The job of this name, or a JobError."""
        ...

    async def join(self, name: str, settings: bytes) -> None:
        """The job of this name, beside others that are working on it, as long as these are its settings.

        Raises:
            JobError: there is none.
            SettingError: this store is for one process at a time.
        """
        ...

    async def job(self) -> Job:
        """The job as it stands."""
        ...

    async def set_settings(self, settings: bytes) -> None:
        """What the job goes by from now on (a JobConfig as JSON)."""
        ...

    async def set_source(self, source: InputSource) -> None:
        """Where its input lies from now on."""
        ...

    async def set_prices(self, prices: bytes) -> None:
        """What its costs are reckoned at, for the reports (JSON)."""
        ...

    async def counts(self) -> dict[str, int]:
        """Its rows by state."""
        ...

    async def failures(self) -> dict[str, int]:
        """Its failed and unconfirmed rows by error kind."""
        ...

    async def retry(self, kinds: Sequence[str], *, at: float, but: Sequence[int] = (), second: bool = False) -> int:
        """Put its failed or unconfirmed rows of these error kinds back to pending, but for these numbers; how many.
        With `second` that kind is what the first model made of them, and it is the second one's turn.
        """
        ...

    async def recover(self, *, hold: bool, at: float) -> int:
        """Settle what dead runs left in flight: their requests are lost, their rows pending again, or unconfirmed
        where `hold` is set; then rows of requests lost before, which are pending, are unconfirmed too. The number of
        those requests. A request that outlives its run is not touched. Beside other runs: what those left that are
        certainly dead; the rest is settled while the run goes on, see Control.lost.

        Raises:
            JobBusy: another process is working on the job, and this one did not join it; or one of another version is.
        """
        ...

    # ------------------------------------------------------------ a run of it

    async def begin_run(self, task: TaskRecord, *, fresh: bool, up_to: int | None, at: float) -> Run:
        """A run begins: the job is `running`, or `ingesting` while its input is not all read.

        Args:
            task: what it asks; requests and labels point to it.
            fresh: whether it wants rows that were never tried. One that joined others wants what they do: see Run.
            up_to: the last row number it wants; None: all.

        Raises:
            JobError: it joined others, and the job was stopped for all of them.
            JobBusy: another run has begun meanwhile, or the job's settings are others now.
        """
        ...

    async def wanted(self) -> int:
        """How many of the job's pending rows the run wants: those up to `up_to`, and only those that were tried before
        where it is not `fresh`.
        """
        ...

    async def commit(self, writes: Sequence[Write]) -> Control:
        """Carry out the writes in one flushed transaction: results before claims, else in this order.

        Raises:
            DiskFull: there was no room; nothing of it was stored.
            CommitUnknown: the disk failed: it may be stored or not.
            GivenUp: others took this run for dead; nothing of it was stored, and nothing will be.
            StoreError: a row was not in the state its event starts from; nothing of it was stored.
        """
        ...

    async def next_page(self, limit: int) -> Page | None:
        """About `limit` rows to work on, each given out once a run, and to no other run that is alive. Where there are
        none now: an empty page if other runs have some that may come back, None if not.

        First pending rows that were out before this run or put back by the user, those of a lost request together and
        never parted; then those that were never claimed, in input order. More may come while the input is read.
        """
        ...

    async def unheard_rows(self, *, after: int, limit: int) -> list[Unheard]:
        """Rows that were sent and whose answer nobody saw: held or failed ones of this job, and all of the other jobs
        that ask the same. With ids above `after`, in order, at most `limit`.
        """
        ...

    async def cached_labels(self, keys: Sequence[Key]) -> dict[Key, Remembered]:
        """The labels remembered under these keys, of whatever job."""
        ...

    async def learned(self, base_url: str) -> dict[str, bytes]:
        """What the endpoint at an address taught, by model (JSON); nothing where it taught nothing."""
        ...

    async def learn(self, base_url: str, model: str, facts: bytes, *, at: float) -> None:
        """What the endpoint teaches from now on, for every job; it replaces what was there."""
        ...

    async def draw(self, limit: int | None, *, held: int = 0, need: int = 0, want: int = 0) -> Drawn:
        """What this run may spend of the job's `limit`: what it has spent or put aside (`held`) and more, at least
        `need` and about `want`, or nothing more where so much is not left. The allowances of all runs and what was
        spent never pass the limit together. Picodollars.
        """
        ...

    async def asking(self, texts: Sequence[Key]) -> dict[Key, Asking]:
        """Which rows of the job ask for these texts, of those that were claimed with one (Claim.texts)."""
        ...

    def may_send(self) -> bool:
        """Whether a request whose claim is on disk may leave now. No, where the store was silent for so long that
        others may soon take this run for dead: a commit says more.
        """
        ...

    async def pause(self, seconds: float) -> None:
        """No run of the job sends for so long: see Control.pause."""
        ...

    async def hear_late(self, settles: Sequence[Settle]) -> int:
        """After GivenUp: labels of answers that came all the same. Rows that nobody has taken up meanwhile have them;
        how many.
        """
        ...

    async def end_run(self, ending: Ending, *, at: float) -> None:
        """The run is over. If it is the last of the job, or its ending is a reason for all to end (the endpoint refuses
        the job, the budget is reached), the job's state is now this. Requests still out are for `recover`.
        """
        ...

    # ------------------------------------------------------------ besides

    async def remove(self) -> bool:
        """Delete the job with all that belongs to it: its texts are nowhere in the store after that. Labels it bought
        stay in the cache, which holds no texts. False where a reader still keeps the old pages on the disk; they go
        with it.
        """
        ...

    async def forget_labels(self, *, before: float | None, but: Sequence[Key] = ()) -> int:
        """Take labels out of the cache, all or those remembered before a time; how many. Those that jobs bought which
        are not finished stay, and labels with these keys.
        """
        ...

    def free_reserve(self) -> None:
        """After DiskFull: make the little room that is kept for the answers in hand."""
        ...

    async def close(self) -> None:
        """Close it; another process may open it for writing from now on."""
        ...
