"""A request as a person reads it, before it is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from batchjob.model import Row
from batchjob.numbers import counted
from batchjob.printable import printable
from batchjob.task.prompt import Prompt

SHOWN_CHARACTERS = 100

LIST_APPENDED = (
    "the prompt does not name every label as a whole word, so the list of labels is put at its end: "
    "write {labels} where it is to stand"
)


def request_lines(url: str, body: bytes, rows: Sequence[Row]) -> list[str]:
    """A whole request: where it goes, its parameters as JSON, and its messages as they are."""
    request: dict[str, Any] = msgspec.json.decode(body)
    messages = request.pop("messages")
    lines = [f"POST {url}", f"with {_which(rows)}", msgspec.json.encode(request).decode()]
    for message in messages:
        lines += ["", f"{message['role']}:", *message["content"].split("\n")]
    return lines


def _which(rows: Sequence[Row]) -> str:
    first = f"row {rows[0].number}"
    return first if len(rows) == 1 else f"{first} and {counted(len(rows) - 1, 'row')} more"


def beginning_lines(body: bytes) -> Iterator[str]:
    """How each message of a request begins, on a line."""
    for message in msgspec.json.decode(body)["messages"]:
        said = printable(message["content"][: SHOWN_CHARACTERS + 1])
        more = "..." if len(said) > SHOWN_CHARACTERS else ""
        yield f"{message['role']:<9} {said[:SHOWN_CHARACTERS]}{more}"


def prompt_lines(prompt: Prompt) -> Iterator[str]:
    """What is to be said of a prompt: columns it uses besides the text, and a list that it did not ask for."""
    if prompt.columns:
        yield f"columns   {', '.join(map(printable, prompt.columns))}, besides the text, are in the prompt"
    if prompt.examples:
        tokens = round(prompt.examples_tokens)
        yield f"examples  {prompt.examples:,} stand in each request: about {counted(tokens, 'token')} of it"
    if prompt.appends_labels:
        yield f"prompt    {LIST_APPENDED}"
