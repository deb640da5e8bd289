"""What a job's counters say."""

from __future__ import annotations

from batchjob.model import Run
from batchjob.states import Outcome, Source, State
from batchjob.stores import ids


class Counters:
    """A part of ports.Store."""

    async def _tally(self, kind: str) -> dict[str, int]:
        """The job's counters of a kind."""
        raise NotImplementedError

    async def counts(self) -> dict[str, int]:
        """See ports.Store.counts."""
        found = await self._tally("row")
        return {state: found.get(state, 0) for state in State}

    async def failures(self) -> dict[str, int]:
        """See ports.Store.failures."""
        return {kind: n for kind, n in (await self._tally("error")).items() if n}

    async def _begun(self, run_id: int, *, fresh: bool, shared: bool) -> Run:
        """A run that has begun, by what those before it came to."""
        requests = await self._tally("request")
        heard = requests.get(Outcome.ANSWERED, 0) + requests.get(Outcome.REJECTED, 0) > 0
        labelled = bool((await self._tally("source")).get(Source.MODEL))
        first = ids.first_request_id(run_id)
        return Run(run_id, first, shared=shared, heard=heard, labelled=labelled, fresh=fresh)
