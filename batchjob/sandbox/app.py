"""A request -> its answer.

In this order: the key, the body, the model, the quota, the idempotency key; then the work, which takes the latency,
ends in a rejection or in a billed completion, is written down, and only then is answered.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from aiohttp import web

from batchjob.sandbox import wire
from batchjob.sandbox.classifier import classify
from batchjob.sandbox.faults import FAULTS, HTML_PAGE, Dice, Fault
from batchjob.sandbox.fields import answer
from batchjob.sandbox.ledger import Ledger, LedgerRow, Line
from batchjob.sandbox.memory import Memory
from batchjob.sandbox.quota import Denied, Quota
from batchjob.sandbox.settings import SandboxSettings
from batchjob.sandbox.tongues import PLAIN, TONGUES, Asked
from batchjob.sandbox.wire import Completion, Refusal, Task
from batchjob.task.patterns import Pattern, PatternTimeout

_HANG_SECONDS = 3600.0  # longer than any timeout
_OFF_LIST = "something_else_entirely"


class SandboxApp:
    """The endpoint. `handle` is what an aiohttp server calls for each request."""

    def __init__(self, settings: SandboxSettings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger
        self._dice = Dice(settings.faults, settings.seed)
        self._quota = Quota(settings)
        self._memory = Memory(settings.remembered_keys) if settings.idempotent else None
        self._poison = Pattern("poison", settings.poison, any_case=False) if settings.poison else None
        self._start = secrets.token_hex(4)  # request ids stay unique over restarts
        self.received = 0
        self._tongue = TONGUES.get(settings.tongue, PLAIN)
        path = self._tongue.base_path
        self._routes = {("POST", f"{path}/chat/completions"): self._chat, ("GET", f"{path}/models"): self._models}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        route = self._routes.get((request.method, request.path))
        if route is not None:
            return await route(request)
        known = any(path == request.path for _, path in self._routes)
        status, code = (405, "method_not_allowed") if known else (404, "unknown_url")
        return self._refused(Refusal(status, f"Invalid URL ({request.method} {request.path})", code=code), {})

    async def _models(self, request: web.BaseRequest) -> web.Response:
        try:
            self._check_key(request)
        except Refusal as refusal:
            return self._refused(refusal, {})
        return _json(200, wire.model_list(self._settings.models), {})

    async def _chat(self, request: web.BaseRequest) -> web.StreamResponse:
        self.received += 1
        line = Line(
            n=self.received,
            at=time.time(),
            client_key=request.headers.get("Idempotency-Key"),
            request_id=f"req_{self._start}{self.received:08d}",
        )
        headers = {self._tongue.id_header: line.request_id}
        try:
            return await self._answer(request, line, headers)
        except Refusal as refusal:
            line.status = refusal.status
            self._ledger.append(line)
            return self._refused(refusal, headers)
        except OSError as error:  # the ledger's; what is not written down is not answered as done
            return self._refused(Refusal(500, f"The ledger cannot be written: {error}", type="server_error"), headers)

    async def _answer(self, request: web.BaseRequest, line: Line, headers: dict[str, str]) -> web.StreamResponse:
        self._check_key(request)
        body = await _read(request)
        task = wire.read_task(body, self._settings.labels)
        asked = {} if self._tongue is PLAIN else msgspec.json.decode(body, type=dict[str, Any])
        refusal = self._tongue.refuses(asked)
        line.model = task.model
        line.rows = [LedgerRow(text) for text in task.texts]
        if refusal is not None:
            raise refusal
        self._check_task(task)
        self._charge(task, headers)
        if self._memory is None or line.client_key is None:
            return await self._work(request, line, headers, task, asked)
        stored = await self._memory.recall(line.client_key, body)
        if stored is not None:
            return self._replay(line, headers, stored)
        try:
            return await self._work(request, line, headers, task, asked)
        finally:
            self._memory.forget(line.client_key)  # where it was not kept

    async def _work(
        self, request: web.BaseRequest, line: Line, headers: dict[str, str], task: Task, asked: Asked
    ) -> web.StreamResponse:
        fault = self._fault(task)
        line.fault = fault.kind if fault else None
        if seconds := self._dice.latency(*self._settings.latency):
            await asyncio.sleep(seconds)
        if fault is not None and not fault.billed:
            return self._reject(line, fault)
        completed = self._complete(task, line, fault)
        if self._tongue is not PLAIN:
            completed = self._tongue.answer(completed, asked)
        line.billed = True
        line.status = fault.status if fault else 200
        self._write(line, completed)
        if self._memory is not None and line.client_key is not None:
            self._memory.keep(line.client_key, completed)
        return await _deliver(request, completed.body, headers, fault)

    def _refused(self, refusal: Refusal, headers: dict[str, str]) -> web.Response:
        body = msgspec.json.encode(self._tongue.error(refusal.error, refusal.status))
        return _json(refusal.status, body, headers | refusal.headers)

    def _check_key(self, request: web.BaseRequest) -> None:
        tongue, key = self._tongue, self._settings.api_key
        if tongue.query and request.query_string != tongue.query:
            raise Refusal(404, "Resource not found", code="404")
        given = request.headers.get(tongue.key_header, "")
        bearer = "Bearer " if tongue.key_header == PLAIN.key_header else ""
        if key is None:
            wrong = not given and not bearer  # who wants the key in another header wants one
        else:
            wrong = not secrets.compare_digest(given.encode(), f"{bearer}{key}".encode())
        if wrong:
            raise Refusal(401, "Incorrect API key provided.", code="invalid_api_key")

    def _check_task(self, task: Task) -> None:
        if self._settings.models and task.model not in self._settings.models:
            message = f"The model `{task.model}` does not exist or you do not have access to it."
            raise Refusal(404, message, code="model_not_found")
        if not task.labels and not task.fields:
            raise Refusal(400, "The sandbox found no labels: list them behind a line `Labels:`.", code="no_labels")

    def _charge(self, task: Task, headers: dict[str, str]) -> None:
        now = time.monotonic()
        denied = self._quota.admit(task.prompt_tokens + task.max_tokens, now)
        headers.update(self._quota.headers(now))
        if denied is not None:
            raise _over_quota(task, denied)

    def _fault(self, task: Task) -> Fault | None:
        try:
            meant = self._settings.poison_model in (None, task.model)
            if self._poison is not None and meant and any(map(self._poison.found_in, task.texts)):
                return FAULTS[self._settings.poison_fault]
        except PatternTimeout as error:
            raise Refusal(500, f"{error} takes too long on this text", type="server_error") from None
        return self._dice.fault()

    def _reject(self, line: Line, fault: Fault) -> web.Response:
        if fault.way == "html":
            line.status = fault.status
            self._ledger.append(line)
            return web.Response(status=502, body=HTML_PAGE, content_type="text/html")  # no x-request-id: a proxy's
        wait = {"Retry-After": f"{self._settings.retry_after_seconds:g}"} if fault.retry_after else None
        raise Refusal(fault.status or 500, fault.message, type=fault.type, code=fault.code, headers=wait)

    def _complete(self, task: Task, line: Line, fault: Fault | None) -> Completion:
        kind = fault.kind if fault else ""
        if task.fields and kind in ("", "dropped", "cut", "slow", "prose", "off_list"):
            return _several(task, line, kind)
        if task.fields:
            return _useless(task, line, kind, [answer(text, task.fields) for text in task.texts])
        labels = [classify(text, task.labels) for text in task.texts]
        if kind in ("", "dropped", "cut", "slow", "prose"):
            answers = [f"I would say the label is {label}." for label in labels] if kind == "prose" else labels
            text = wire.content(task, answers)
            return wire.completion(task, line.n, line.at, content=text, labels=list(labels))
        return _useless(task, line, kind, labels)

    def _replay(self, line: Line, headers: dict[str, str], stored: Completion) -> web.Response:
        line.replayed = True
        line.status = 200
        self._write(line, stored)
        return _json(200, stored.body, headers)

    def _write(self, line: Line, completed: Completion) -> None:
        line.rows = [LedgerRow(text, label) for text, label in completed.rows]
        line.input_tokens = completed.input_tokens
        line.output_tokens = completed.output_tokens
        self._ledger.append(line)


def _several(task: Task, line: Line, kind: str) -> Completion:
    """A completion with several answers a text; of those with `off_list` the last one of each is none."""
    given = [answer(text, task.fields) for text in task.texts]
    last = task.fields[-1].name
    said = wire.content(task, [one | {last: _OFF_LIST} if kind == "off_list" else one for one in given])
    labels: list[str | None] = [_told(one, {last: None} if kind == "off_list" else {}) for one in given]
    text = f"I would say the answer is {said}" if kind == "prose" else said
    return wire.completion(task, line.n, line.at, content=text, labels=labels)


def _told(given: dict[str, Any], useless: dict[str, None]) -> str:
    """What a text got, as the ledger has it: null where that is no value."""
    return msgspec.json.encode(given | useless).decode()


def _useless(task: Task, line: Line, kind: str, labels: Sequence[str | dict[str, Any]]) -> Completion:
    """A completion that is billed and labels nothing."""
    full = wire.content(task, labels)
    text = {"empty": "", "length": full[: len(full) // 2], "off_list": wire.content(task, [_OFF_LIST] * len(labels))}
    return wire.completion(
        task,
        line.n,
        line.at,
        content=text.get(kind),
        labels=[_told(one, dict.fromkeys(one)) if isinstance(one, dict) else None for one in labels],
        finish_reason="length" if kind == "length" else "stop",
        refusal="I cannot help with that." if kind == "refusal" else None,
    )


async def _deliver(
    request: web.BaseRequest, body: bytes, headers: dict[str, str], fault: Fault | None
) -> web.StreamResponse:
    way = fault.way if fault else "completion"
    if way == "slow":
        await asyncio.sleep(_HANG_SECONDS)
    if way in ("slow", "dropped") and request.transport is not None:
        request.transport.close()
    return _json(200, body[: len(body) // 2] if way == "cut" else body, headers)


async def _read(request: web.BaseRequest) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise Refusal(413, "The body is larger than the sandbox reads.") from None


def _over_quota(task: Task, denied: Denied) -> Refusal:
    too_large = "Request too large" if denied.asked > denied.limit else "Rate limit reached"
    message = (
        f"{too_large} for {task.model} on {denied.unit} per window: "
        f"Limit {denied.limit}, Used {denied.used}, Requested {denied.asked}."
    )
    # Rounded up: a client that waits exactly so long must find room.
    wait = -(-denied.retry_after_seconds * 1000 // 1) / 1000
    headers = {"Retry-After": f"{wait:.3f}".rstrip("0").rstrip(".")}
    return Refusal(429, message, type=denied.unit, code="rate_limit_exceeded", headers=headers)


def _json(status: int, body: bytes, headers: dict[str, str]) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
