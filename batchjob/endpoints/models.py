"""What models an endpoint has: one GET, which costs nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from batchjob.endpoints.bodies import NONE
from batchjob.endpoints.chat import ChatEndpoint
from batchjob.endpoints.replies import fit_to_keep, read_reply
from batchjob.model import Answered, Lost, NotSent, Rejected, Reply
from batchjob.providers.table import Auth


class ModelsEndpoint(ChatEndpoint):
    """The endpoint at a base URL, asked for its list of models the way completions are asked for."""

    METHOD, PATH = "GET", "/models"

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None,
        timeout: float,
        auth: Auth = "bearer",
        headers: Mapping[str, str] = NONE,
        secrets: tuple[str, ...] = (),
    ) -> None:
        super().__init__(
            base_url,
            key=key,
            timeout=timeout,
            connect_timeout=timeout,
            auth=auth,
            headers=headers,
            secrets=secrets,
        )

    @property
    def through_proxy(self) -> bool:
        """Whether a proxy stands between: then names are resolved there, not here."""
        return self._proxy is not None

    async def models(self) -> tuple[str, ...] | NotSent | Lost | Rejected:
        """The names of the models, or what was heard instead; the key is in none of it."""
        heard: Reply
        try:
            with self._deadlines.begin():
                answer = await self._transport.ask()
            if answer.status == 200:
                return tuple(self._secrets.blotted(name) for name in _names(answer.body))
            heard = read_reply(answer.status, answer.headers, answer.body, now=time.time)
        except Exception as error:
            heard = self._translate(error)
        heard = fit_to_keep(heard, self._secrets.blotted)
        if isinstance(heard, Answered):  # a 2xx that is not 200
            return Lost("garbled_answer", "")
        return heard


def _names(body: bytes | None) -> tuple[str, ...]:
    """The ids in a list of models.

    Raises:
        ValueError: the body is none.
    """
    listed = json.loads(body or b"")
    models = listed.get("data") if isinstance(listed, dict) else None
    if not isinstance(models, list):
        raise ValueError
    return tuple(model["id"] for model in models if isinstance(model, dict) and isinstance(model.get("id"), str))
