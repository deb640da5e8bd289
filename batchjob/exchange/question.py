"""The question a parcel asks: the request's body, what it may cost, and how many tokens a quota is charged for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from batchjob.exchange.decide import Decision
from batchjob.model import Parcel, Row, Usage
from batchjob.money.budget import Budget
from batchjob.money.cost import REQUEST_TOKENS
from batchjob.ports import Bodies
from batchjob.providers.dialect import Dialect, Learned, dialect_of
from batchjob.settings.config import JobConfig
from batchjob.settings.pairs import merged
from batchjob.states import Outcome
from batchjob.task.prompt import NUMBER_BYTES, Message, Prompt

MARKS = ("\N{OBJECT REPLACEMENT CHARACTER}", "\N{REPLACEMENT CHARACTER}")
"""What stands for a text where a frame is made begins and ends with these: two, so that it cannot overlap itself."""
NOTHING_LEARNED = Learned()


class Questions:
    """The questions of a job. What replies teach about them (usage, a refused schema) is kept here.

    Args:
        learned: what the endpoint taught before, by model.
    """

    def __init__(
        self,
        config: JobConfig,
        prompt: Prompt,
        bodies: Bodies,
        budget: Budget,
        learned: Mapping[str, Learned] | None = None,
    ) -> None:
        self.by_schema = config.response_format is not False  # whether many rows are asked for with a response_format
        self._by_schema_worked = False
        self._config = config
        self._bodies = bodies
        self._budget = budget
        self._prompt = prompt
        self._prompt_tokens = self._prompt.overhead_tokens()
        self._prompt_bytes = self._prompt.overhead_bytes()
        self._least_input: dict[tuple[str, int], int] = {}
        self._lied: set[tuple[str, int]] = set()  # too few input tokens were reported of one of these
        self._most_output: dict[tuple[str, int], int] = {}
        self._dearest: dict[tuple[str, int], int] = {}  # picodollars, of those whose cost was reported
        self._extra = bool(config.confidence or config.response_format)
        self._learned = dict(learned or {})
        self._dialects: dict[str, Dialect] = {}
        self._max_tokens: dict[tuple[str, int], int] = {}
        self._frames: dict[str, list[bytes]] = {}  # model -> a body for one row, cut where its text stands

    def body(self, parcel: Parcel) -> bytes:
        """The request that asks for the labels of these rows."""
        if len(parcel.rows) > 1 or not self._prompt.framed:
            return self._body(parcel)
        frame = self._frames.get(parcel.model)
        if frame is None:
            frame = self._frames[parcel.model] = self._frame(parcel.model)
        return msgspec.json.encode(parcel.rows[0].text)[1:-1].join(frame)

    def _frame(self, model: str) -> list[bytes]:
        """What the bodies of all single rows share. Only the text differs, so the rest is written once."""
        without, mark, more = self._body(Parcel((Row(0, ""),), model)), "", 0
        while not mark or mark.encode() in without:
            mark, more = f"{MARKS[0]}{more}{MARKS[1]}", more + 1
        return self._body(Parcel((Row(0, mark),), model)).split(mark.encode())

    def _body(self, parcel: Parcel) -> bytes:
        count, dialect = len(parcel.rows), self.dialect(parcel.model)
        messages = self._prompt.messages(parcel.rows)
        return self._bodies.body(
            messages if dialect.system else one_message(messages),
            model=parcel.model,
            max_tokens=self._most_tokens(parcel.model, count) if dialect.token_field else None,
            temperature=self._config.temperature if dialect.temperature else None,
            response_format=self._format(parcel.rows, dialect),
            token_field=dialect.token_field,
            params=merged(self._chosen(count, dialect), dialect.params) if self._extra else dialect.params,
        )

    def _chosen(self, count: int, dialect: Dialect) -> dict[str, Any]:
        """Parameters that come of settings: probabilities of tokens, and a choice among the labels."""
        params: dict[str, Any] = {"logprobs": True} if self._config.confidence else {}
        if self._config.response_format and dialect.choice and not self._needs_schema(count):
            table: Any = list(self._config.labels)
            for name in reversed(dialect.choice.split(".")):
                table = {name: table}
            params |= table
        return params

    def texts(self, parcel: Parcel) -> tuple[str, ...]:
        """What the model is told and asked, message by message."""
        return tuple([text for _, text in self._prompt.messages(parcel.rows)])

    def formats(self, parcel: Parcel) -> bool:
        """Whether it is asked with a response_format."""
        return self._format(parcel.rows, self.dialect(parcel.model)) is not None

    @property
    def all_learned(self) -> Mapping[str, Learned]:
        """What the endpoint taught, by model."""
        return self._learned

    def learned(self, model: str) -> Learned:
        """What the endpoint taught of a model."""
        return self._learned.get(model, NOTHING_LEARNED)

    def learn(self, model: str, learned: Learned) -> None:
        """The endpoint taught this of a model: it is asked so from here on."""
        self._learned[model] = learned
        self._dialects.pop(model, None)
        self._frames.pop(model, None)
        self._max_tokens = {key: most for key, most in self._max_tokens.items() if key[0] != model}

    def dialect(self, model: str) -> Dialect:
        """How a model is asked."""
        found = self._dialects.get(model)
        if found is None:
            found = self._dialects[model] = dialect_of(self._config, model, self._learned.get(model))
        return found

    def _format(self, rows: Sequence[Row], dialect: Dialect) -> dict[str, Any] | None:
        if not (self.by_schema and dialect.response_format):
            return None
        held = self._needs_schema(len(rows)) or (self._config.response_format and not dialect.choice)
        return self._prompt.schema(rows) if held else None

    def _needs_schema(self, count: int) -> bool:
        """Whether an answer for so many rows is an object, which a schema keeps in its form."""
        return count > 1 or self._prompt.schema_alone

    def _most_tokens(self, model: str, count: int) -> int:
        found = self._max_tokens.get((model, count))
        if found is None:
            found = self._max_tokens[model, count] = most_tokens(self._config, self._prompt, self.dialect(model), count)
        return found

    def tokens(self, parcel: Parcel) -> float:
        """About what a token quota is charged for it: what is sent, and the most that may come back."""
        texts = sum([self._prompt.tokens(row) for row in parcel.rows])
        return self._prompt_tokens + texts + self._most_tokens(parcel.model, len(parcel.rows))

    def worst_case(self, parcel: Parcel, *, by_reports: bool = False) -> int | None:
        """The most it can cost, in picodollars; None where no price is known.

        A token has a byte at least. An answer may have been billed for more than it was allowed (thinking), or at
        another price: then the next may cost as much.

        Args:
            by_reports: what stands around the texts has no more tokens than the smallest request of as many rows had in
                all, as the endpoint reported. So this is closer, and as true as that.
        """
        key = parcel.model, len(parcel.rows)
        if self._budget.price(parcel.model) is None:
            return self._dearest.get(key)
        most = max(self._most_tokens(*key), self._most_output.get(key, 0))
        size = self._most_input(parcel, by_reports=by_reports)
        cost = self._budget.worst_case(parcel.model, bytes_sent=size, max_tokens=most) or 0
        return max(cost, self._dearest.get(key, 0))

    def _most_input(self, parcel: Parcel, *, by_reports: bool) -> int:
        """Input tokens; REQUEST_TOKENS come on top."""
        count = len(parcel.rows)
        around = self._least_input.get((parcel.model, count)) if by_reports else None
        if around is None:
            around = self._prompt_bytes
            if self.by_schema and (self._needs_schema(count) or self._config.response_format):  # some endpoints bill it
                around += self._prompt.schema_bytes(count)
        return around + self._prompt.text_bytes(parcel.rows) + NUMBER_BYTES * count

    # ------------------------------------------------------------ what replies teach

    def learn_answer(self, parcel: Parcel, usage: Usage | None, cost: int | None = None) -> bool:
        """A request was answered. Whether the next with as many rows may cost more than was known, by what it cost.

        `cost` is what the endpoint itself reported, in picodollars.

        Where many rows were answered by schema, a refusal that comes later has another cause.
        """
        if self._needs_schema(len(parcel.rows)):
            self._by_schema_worked = True
        key = parcel.model, len(parcel.rows)
        if usage is not None and usage.input_tokens:
            self._learn_input(key, parcel, usage.input_tokens)
        output = 0 if usage is None else usage.output_tokens
        dearer = (cost or 0) > self._dearest.get(key, 0)
        if dearer:
            self._dearest[key] = cost or 0
        longer = output > max(self._most_tokens(*key), self._most_output.get(key, 0))
        if longer:
            self._most_output[key] = output
        return dearer or longer

    def _learn_input(self, key: tuple[str, int], parcel: Parcel, tokens: int) -> None:
        if tokens > self._most_input(parcel, by_reports=True) + REQUEST_TOKENS:
            self._lied.add(key)
            self._least_input.pop(key, None)
        elif key not in self._lied:
            self._least_input[key] = min(tokens, self._least_input.get(key, tokens))

    def gives_up_schema(self, parcel: Parcel, decision: Decision) -> bool:
        """Whether the endpoint refused the response_format, as far as can be told; from now on it goes without."""
        refused = decision.outcome is Outcome.REJECTED and decision.kind in ("bad_request", "bad_response_format")
        shaped = self._needs_schema(len(parcel.rows))
        if not refused or not shaped or not self.by_schema or self._by_schema_worked:
            return False
        self.by_schema = False
        return True


def one_message(messages: Sequence[Message]) -> Sequence[Message]:
    """The messages as one of the user's, for a model that takes no other."""
    return (("user", "\n\n".join(text for _, text in messages)),)


def most_tokens(config: JobConfig, prompt: Prompt, dialect: Dialect, count: int) -> int:
    """The most output tokens of an answer for so many rows: what the user sets, else room for labels and thoughts."""
    if dialect.most_tokens is not None:
        return dialect.most_tokens
    room = prompt.room(count)
    if config.max_tokens is not None:
        return config.max_tokens if count == 1 else max(config.max_tokens, room)
    return room + dialect.room
