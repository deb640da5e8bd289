"""How a run meets what an endpoint refuses of a request's form: one change each, said, kept, and asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from batchjob.exchange.adapt import Change, makes_room, meets_refusal, wants_auth
from batchjob.exchange.decide import Decision, Next
from batchjob.exchange.question import Questions
from batchjob.logs import Logger
from batchjob.model import Answered, Parcel, Rejected, Reply
from batchjob.ports import Store
from batchjob.providers.dialect import place_of
from batchjob.providers.table import provider_of
from batchjob.run.supply import Supply
from batchjob.settings.config import JobConfig, settings_of

OF_THE_FORM = frozenset({"bad_setting", "bad_request", "bad_response_format"})
"""Kinds of refusals that may be about how the model is asked."""


class Adapting:
    """What is learned of each model while it has given no answer that can be read."""

    def __init__(
        self,
        config: JobConfig,
        questions: Questions,
        supply: Supply,
        store: Store,
        *,
        wall: Callable[[], float],
        log: Logger,
    ) -> None:
        self.aside: list[asyncio.Task[None]] = []  # to be awaited at the end
        self._config, self._questions, self._supply, self._store = config, questions, supply, store
        self._wall, self._log = wall, log
        self._auth = config.auth or provider_of(config.base_url, config.provider).auth
        self._unsure = False  # that is said
        self._understood: set[str] = set()  # models that gave an answer which can be read
        self.out: set[str] = set()  # of the others, those that are being asked
        self._done: dict[str, frozenset[str]] = {}  # the changes made for a model

    def waits(self, model: str) -> bool:
        """Whether a model is being asked for the first time: then nobody else asks it."""
        return model in self.out

    def asks(self, model: str) -> None:
        """A request to a model is on its way."""
        if model not in self._understood:
            self.out.add(model)

    def heard(self, model: str) -> None:
        """It came back."""
        self.out.discard(model)

    def understood(self, model: str, reply: Reply) -> None:
        """A model gave an answer that can be read: from here on nothing is changed for it."""
        self._understood.add(model)
        if self._config.confidence and not self._unsure:
            self._see_tokens(reply)

    def meet(self, parcel: Parcel, reply: Reply, decision: Decision) -> tuple[Parcel, Decision]:
        """The parcel and the decision about its reply: it is asked in another way where a change meets that."""
        if parcel.model in self._understood or parcel.verifies is not None:
            return parcel, decision
        if isinstance(reply, Rejected) and (auth := wants_auth(reply, self._auth)):
            return parcel, msgspec.structs.replace(decision, advice=f"if the key is right, resume with --auth {auth}")
        change = self._change(parcel, reply, decision)
        if change is None:
            return parcel, decision
        if not self._config.adapt:
            return parcel, msgspec.structs.replace(decision, advice=f"give {change.type}, or leave out --no-adapt")
        return self._learn(parcel, change, decision), msgspec.structs.replace(decision, next=Next.REPHRASE)

    def remember_no_schema(self) -> None:
        """Many rows are asked for without a response_format from here on, in later runs, too."""
        self._log.warning("response_format_refused", now="many rows are asked for without it")
        self.aside.append(asyncio.create_task(self._keep_no_schema()))

    async def _keep_no_schema(self) -> None:
        kept = settings_of(await self._store.job())  # this run may go by fewer requests at once than are set
        await self._store.set_settings(msgspec.json.encode(msgspec.structs.replace(kept, response_format=False)))

    def _see_tokens(self, reply: Reply) -> None:
        """Say once that an endpoint does not tell what was asked for."""
        if isinstance(reply, Answered) and not reply.tokens:
            self._unsure = True
            self._log.warning("confidence_unknown", meaning="the endpoint told no probabilities (logprobs)")

    def _change(self, parcel: Parcel, reply: Reply, decision: Decision) -> Change | None:
        questions, model = self._questions, parcel.model
        dialect, learned = questions.dialect(model), questions.learned(model)
        done = self._done.get(model, frozenset())
        if isinstance(reply, Answered):
            change = makes_room(reply, dialect, learned)
            return None if change is None or change.name in done else change
        if not isinstance(reply, Rejected) or reply.status not in (400, 422) or decision.kind not in OF_THE_FORM:
            return None
        formatted = questions.formats(parcel)
        return meets_refusal(reply, dialect, learned, questions.texts(parcel), done, formatted=formatted)

    def _learn(self, parcel: Parcel, change: Change, decision: Decision) -> Parcel:
        model, before = parcel.model, self._questions.dialect(parcel.model).asked
        self._done[model] = self._done.get(model, frozenset()) | {change.name}
        self._questions.learn(model, change.learned)
        vain = "1 answer paid in vain" if decision.paid else "1 request refused, not paid"
        self._log.warning("asked_otherwise", model=model, now=change.said, because=decision.message, lost=vain)
        facts = msgspec.json.encode(change.learned)
        write = self._store.learn(place_of(self._config), model, facts, at=self._wall())
        self.aside.append(asyncio.create_task(write))
        if self._questions.dialect(model).asked == before:
            return parcel
        return self._supply.ask_as(self._questions.all_learned, parcel)
