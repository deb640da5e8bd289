"""What is asked, as a value: a job's task, what of it is the question, and the key of a text's label in the cache.

Two digests come of a task. `digest` is of all that decides a row's label: a job with another one is another job.
`question` is of what a request says, but for the model and the text: labels are remembered under it, so that a label
is used again wherever the same is asked. Settings at their default are left out of both, so that a new setting moves
no digest.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from batchjob.model import Key, TaskRecord, Value
from batchjob.settings.config import JobConfig, deciding
from batchjob.task.texts import exact_form, loose_form

READING = 2
"""The version of how answers are read, and of which texts are the same: another one must not take over labels that were
remembered by this one."""

QUESTION = (
    *("base_url", "labels", "descriptions", "fields", "examples", "prompt"),
    *("temperature", "thinking", "params", "models", "second_model", "second_below"),
)
"""The settings a request's body and address come from, besides the model, which each row may have another of; and the
second model, whose answers are remembered under what the first was asked."""

NO_ANSWER = frozenset(
    {
        *("service_tier", "user", "metadata", "store", "prompt_cache_key", "prompt_cache_retention"),
        *("safety_identifier", "max_tokens", "max_completion_tokens"),
    }
)
"""Parameters that change no answer that ended by itself."""

_PLAIN = JobConfig()
_BETWEEN, _BEHIND_SENT = b"\xff", b"\xfe"
_unpack = struct.Struct("<qq").unpack


class Task(Value, frozen=True):
    """All that decides a row's label, each setting in one form: what makes no difference to a label is not in it."""

    settings: dict[str, Any]  # those that are not at their default

    @classmethod
    def of(cls, config: JobConfig) -> Task:
        """The task of a job with these settings."""
        told = {name: _plain(name, getattr(config, name)) for name in deciding()}
        return cls({name: value for name, value in told.items() if value != _plain(name, getattr(_PLAIN, name))})

    @property
    def digest(self) -> str:
        """What a job is known by, with its input: 16 hex digits of a SHA-256."""
        return _digest(self.settings)

    @property
    def question(self) -> str:
        """What its labels are remembered under, with model and text."""
        return _digest({name: self.settings[name] for name in QUESTION if name in self.settings})

    def record(self) -> TaskRecord:
        """As a database holds it."""
        return TaskRecord(self.digest, self.question, msgspec.json.encode(self.settings, order="sorted"))

    def changed_from(self, other: Task) -> list[str]:
        """The names of the settings in which it differs from another task."""
        return [name for name in deciding() if self.settings.get(name) != other.settings.get(name)]


def asked_first(config: JobConfig) -> str:
    """What decides the answer of the first model, or of the only one: question, model and routes. 16 hex digits."""
    alone = msgspec.structs.replace(config, second_model=None, second_below=_PLAIN.second_below)
    settings = Task.of(alone).settings
    return _digest({name: settings[name] for name in (*QUESTION, "model", "routes") if name in settings})


def _plain(name: str, value: Any) -> Any:
    """A setting without what makes no difference to a label."""
    if name == "base_url":
        return value.partition("?")[0].rstrip("/")
    if name == "labels":
        return sorted(value)
    if name == "descriptions":
        return {label: text for label, said in value.items() if (text := " ".join(said.split()))}
    if name == "prompt":
        return (value or "").rstrip()
    if name == "params":
        return {key: one for key, one in value.items() if key not in NO_ANSWER}
    if name == "models":
        own = {model: _plain("params", one.params) for model, one in value.items()}
        return {model: {"params": params} for model, params in own.items() if params}
    if isinstance(value, tuple):
        return [without_defaults(table) for table in value]
    return value


def without_defaults(table: msgspec.Struct) -> dict[str, Any]:
    """A rule, a route or the like without what it does not set, so that a new key of these moves no digest either."""
    fields = msgspec.structs.fields(table)
    defaults = {f.name: f.default if f.default_factory is msgspec.NODEFAULT else f.default_factory() for f in fields}
    return {name: value for name, default in defaults.items() if (value := getattr(table, name)) != default}


def _digest(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(settings, order="sorted")).hexdigest()[:16]


class Keys:
    """The keys of one question: whatever changes the question changes every key, so no label outlives it.

    Args:
        form: what texts that have one key have in common.
        sent: what a model is asked besides, by providers.toml or because its endpoint taught it; b"" for nothing.
    """

    def __init__(
        self,
        question: str,
        form: Callable[[str], str] = exact_form,
        sent: Callable[[str], bytes] = lambda model: b"",
    ) -> None:
        self._question = f"{READING} {question}".encode()
        self._form = form
        self._sent = sent
        self._of_model: dict[str, hashlib.blake2b] = {}

    def of(self, model: str, *values: str) -> Key:
        """The key of the label of a row with these values when this model is asked.

        The byte between two values is in no UTF-8, so that ("a", "bc") is not ("ab", "c").
        """
        state = self._of_model.get(model)
        if state is None:
            sent = self._sent(model)
            asked = model.encode() + _BETWEEN + (sent + _BEHIND_SENT if sent else b"")
            state = self._of_model[model] = hashlib.blake2b(asked, key=self._question, digest_size=16)
        state = state.copy()
        if len(values) == 1:
            state.update(self._form(values[0]).encode("utf-8", "surrogatepass"))
        else:
            state.update(_BETWEEN.join([self._form(value).encode("utf-8", "surrogatepass") for value in values]))
        high, low = _unpack(state.digest())
        return high, low


def loose_keys(question: str, job: str) -> Keys:
    """The keys under which the rows of one job (its uid) know each other loosely; no other job has them."""
    return Keys(f"{question} loose {job}", loose_form)
