"""The bytes of a request -> what is asked; an answer -> bytes. No I/O.

A task is read from the prompt: the labels are the first `enum` of the response format's schema, else the lines
`- label` behind a line `Labels:` (what each means is indented below it) in the system message (in the user's where
there is no other), else those of the settings. The text is the last user message. Where that is a JSON object with the
keys "1" to "n", it is n texts, and the answer is a JSON object with the same keys. A text that is an object of strings
is its values, a line each. Where several answers a text are asked for (see fields.py), each is an object of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from batchjob.sandbox.fields import Asked, fields_in

_CJK = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_DEFAULT_MAX_TOKENS = 16


class Refusal(Exception):
    """A request that is not carried out, as OpenAI's JSON error tells it. Not billed."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.error = {"message": message, "type": type, "param": param, "code": code}


class _Part(msgspec.Struct):
    type: str = "text"
    text: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None

    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class _Body(msgspec.Struct):
    model: str
    messages: list[_Message]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    response_format: msgspec.Raw = msgspec.Raw(b"null")
    stream: bool | None = None


class Task(msgspec.Struct, frozen=True):
    """What a request asks for."""

    model: str
    labels: tuple[str, ...]
    fields: tuple[Asked, ...]  # several answers a text; empty: a label
    texts: tuple[str, ...]
    keys: tuple[str, ...] | None  # of a many-row request, in its order
    in_object: bool  # a single answer goes out as {"label": ...}
    prompt_tokens: int
    max_tokens: int


class Completion(msgspec.Struct, frozen=True):
    """An answer that is billed, as it is sent, and sent again."""

    body: bytes
    rows: tuple[tuple[str, str | None], ...]
    input_tokens: int
    output_tokens: int


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_texts = msgspec.json.Decoder(dict[str, str | dict[str, str]]).decode


def read_task(body: bytes, labels: tuple[str, ...]) -> Task:
    """What the request asks for; `labels` are taken where it lists none.

    Raises:
        Refusal: it is no request for a completion, or there is nothing to classify.
    """
    try:
        asked = _decode_body(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(400, f"The body cannot be read: {error}") from None
    if asked.stream:
        raise Refusal(400, "The sandbox does not stream.", param="stream", code="unsupported_value")
    text = next((message.text() for message in reversed(asked.messages) if message.role == "user"), None)
    if text is None:
        raise Refusal(400, "There is no user message to classify.", param="messages")
    enum, in_object = _read_format(bytes(asked.response_format))
    texts = _many(text)
    return Task(
        model=asked.model,
        fields=_fields_in(asked.messages, text),
        labels=enum or _listed_in(asked.messages, text) or labels,
        texts=(text,) if texts is None else tuple(texts.values()),
        keys=None if texts is None else tuple(texts),
        in_object=in_object,
        prompt_tokens=math.ceil(sum(estimate_tokens(message.text()) for message in asked.messages)),
        max_tokens=asked.max_completion_tokens or asked.max_tokens or _DEFAULT_MAX_TOKENS,
    )


def _many(text: str) -> dict[str, str] | None:
    """The texts of a many-row request by key, or None where it is a text."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        texts = _decode_texts(text)
    except (msgspec.DecodeError, UnicodeError):
        return None
    if not texts or texts.keys() != {str(n + 1) for n in range(len(texts))}:
        return None
    return {key: text if isinstance(text, str) else "\n".join(text.values()) for key, text in texts.items()}


def _fields_in(messages: list[_Message], user_text: str) -> tuple[Asked, ...]:
    others = [message.text() for message in messages if message.role in ("system", "developer")]
    return next((fields for text in others or [user_text] if (fields := fields_in(text))), ())


def _listed_in(messages: list[_Message], user_text: str) -> tuple[str, ...]:
    others = [message.text() for message in messages if message.role in ("system", "developer")]
    return next((labels for text in others or [user_text] if (labels := _listed(text))), ())


@lru_cache(maxsize=64)
def _listed(text: str) -> tuple[str, ...]:
    """The lines `- label` right behind a line `Labels:`."""
    labels: list[str] = []
    listing = False
    for line in text.split("\n"):
        if listing and line.startswith("- "):
            labels.append(line[2:].strip())
        elif labels and line.startswith("  "):
            continue  # what the label means
        elif labels:
            break
        else:
            listing = line.strip().casefold() == "labels:"
    return tuple(labels)


@lru_cache(maxsize=64)
def _read_format(response_format: bytes) -> tuple[tuple[str, ...], bool]:
    """The first enum of a json_schema, and whether the schema has a property `label`."""
    given = msgspec.json.decode(response_format)
    schema = given.get("json_schema") if isinstance(given, dict) else None
    if not isinstance(schema, dict):
        return (), False
    inner = schema.get("schema")
    properties = inner.get("properties") if isinstance(inner, dict) else None
    return _enum_in(schema), isinstance(properties, dict) and "label" in properties


def _enum_in(schema: Any) -> tuple[str, ...]:
    if isinstance(schema, dict):
        enum = schema.get("enum")
        if isinstance(enum, list) and enum and all(isinstance(label, str) for label in enum):
            return tuple(enum)
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    return next((labels for value in inner if (labels := _enum_in(value))), ())


def content(task: Task, answers: Sequence[str | dict[str, Any]]) -> str:
    """The text of an answer that gives these, one for each text of the task."""
    if task.keys is not None:
        return msgspec.json.encode(dict(zip(task.keys, answers, strict=True))).decode()
    only = answers[0]
    if isinstance(only, dict):
        return msgspec.json.encode(only).decode()
    return msgspec.json.encode({"label": only}).decode() if task.in_object else only


def completion(
    task: Task,
    n: int,
    at: float,
    *,
    content: str | None,
    labels: list[str | None],
    finish_reason: str = "stop",
    refusal: str | None = None,
) -> Completion:
    """The n-th answer, made at this time (UTC epoch seconds); labels are what it gives each text, for the ledger."""
    spent = max(1, math.ceil(estimate_tokens(content or refusal or "")))
    output_tokens = task.max_tokens if finish_reason == "length" else spent
    message = {"role": "assistant", "content": content, "refusal": refusal}
    body = {
        "id": f"chatcmpl-sandbox-{n}",
        "object": "chat.completion",
        "created": int(at),
        "model": task.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}],
        "usage": {
            "prompt_tokens": task.prompt_tokens,
            "completion_tokens": output_tokens,
            "total_tokens": task.prompt_tokens + output_tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }
    rows = tuple(zip(task.texts, labels, strict=True))
    return Completion(msgspec.json.encode(body), rows, task.prompt_tokens, output_tokens)


def model_list(models: tuple[str, ...]) -> bytes:
    """The answer of GET /v1/models."""
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "sandbox"} for name in models or ("sandbox",)]
    return msgspec.json.encode({"object": "list", "data": data})


def estimate_tokens(text: str) -> float:
    """About how many tokens a text has: 4.3 ASCII characters, 1.33 Chinese, Japanese or Korean, 2.5 others a token.

    The sandbox counts for itself: it must not share a mistake with the program it tests.
    """
    if text.isascii():
        return len(text) / 4.3
    cjk = len(_CJK.findall(text))
    narrow = len(text.encode("ascii", "ignore"))
    return narrow / 4.3 + cjk * 0.75 + (len(text) - narrow - cjk) * 0.4
