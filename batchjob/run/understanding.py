"""What a reply means, with what is known of who gave it: the provider, whether the model has answered, the question."""

from __future__ import annotations

from batchjob.exchange.decide import Decision, Known, decide
from batchjob.exchange.question import Questions
from batchjob.model import Answered, NotSent, Parcel, Rejected, Reply
from batchjob.providers.table import provider_of
from batchjob.settings.config import JobConfig


class Understanding:
    """Decides about the replies of a run."""

    def __init__(self, config: JobConfig, questions: Questions) -> None:
        self._provider = provider_of(config.base_url, config.provider)
        self._waits_for_quota = config.wait_for_quota
        self._questions = questions
        self._answered: set[str] = set()  # models
        self._reached = False

    def decide(self, parcel: Parcel, reply: Reply) -> Decision:
        """What is to be done about a request for these rows."""
        if isinstance(reply, Answered):
            self._answered.add(parcel.model)
            self._reached = True
            return decide(reply)
        if isinstance(reply, NotSent):
            return decide(reply, Known(reached=self._reached))
        if isinstance(reply, Rejected):
            self._reached = True
            answered = parcel.model in self._answered
            known = Known(self._provider, answered, self._questions.texts(parcel), self._waits_for_quota)
            return decide(reply, known)
        return decide(reply)
