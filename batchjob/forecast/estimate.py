"""Tokens, cost and time of the requests: estimates, for tokens are reckoned from characters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from batchjob.exchange.question import most_tokens
from batchjob.forecast.packing import ROWS_PER_REQUEST, Asked
from batchjob.forecast.work import Work
from batchjob.model import Row, Usage, Value
from batchjob.money.cost import REQUEST_TOKENS, KnownPrice, cost_picousd, usd, worst_case_picousd
from batchjob.pace.quota import SHARE
from batchjob.providers.dialect import Dialect, dialect_of, differences
from batchjob.settings.config import JobConfig
from batchjob.task.prompt import FRAME_TOKENS, NUMBER_BYTES, Prompt
from batchjob.task.texts import estimate_tokens

ANSWER_SECONDS = 1.0
"""Of a request, assumed where no quota is slower."""


class Estimate(Value, frozen=True):
    """What the requests would take with so many rows in each. None: not known, and `Outlook.unknown` says why."""

    rows_per_request: int
    requests: int
    input_tokens: int | None
    output_tokens: int | None
    expected_usd: float | None
    worst_usd: float | None  # every byte a token, every answer as long as it may be; without requests sent again
    seconds: float
    examples_tokens: int = 0  # of those that are sent
    examples_usd: float | None = None  # of what is expected


class Outlook(Value, frozen=True):
    """The estimates, and what they rest on."""

    estimates: tuple[Estimate, ...]
    unknown: tuple[str, ...]  # what could not be estimated, why, and how to change that
    prices: dict[str, str]  # model -> what says so; models without a price are not there
    asked: dict[str, str]  # model -> in what its requests differ from OpenAI's form, and who says so

    def for_rows(self, rows_per_request: int) -> Estimate:
        """The estimate with so many rows in a request."""
        return next(found for found in self.estimates if found.rows_per_request == rows_per_request)


def outlook(work: Work, config: JobConfig, prices: Mapping[str, KnownPrice | None]) -> Outlook:
    """What labelling would take, with some numbers of rows in a request."""
    sizes = sorted({*ROWS_PER_REQUEST, config.rows_per_request})
    return Outlook(
        tuple([_estimate(work, config, prices, most) for most in sizes]),
        tuple(_unknown(work.models, config, prices)),
        {model: price.source for model in work.models if (price := prices.get(model)) is not None},
        {model: how for model in work.models if (how := _asked(work, config, model))},
    )


def _asked(work: Work, config: JobConfig, model: str) -> str:
    """In what a model's requests differ; a model that thinks is billed for more than is reckoned here."""
    dialect = dialect_of(config, model, work.learned.get(model))
    more = "; its thoughts are reckoned in at worst alone" if dialect.room else ""
    return differences(dialect) + more


def _unknown(models: Mapping[str, Asked], config: JobConfig, prices: Mapping[str, KnownPrice | None]) -> Iterator[str]:
    if not config.labels and not config.fields:
        yield "tokens and cost, for they depend on the labels: give --labels or --labels-file"
    if not config.model:
        yield "cost, for there is no model: give --model"
    if not config.base_url:
        yield "cost, for prices depend on the endpoint: give --base-url"
    if config.model and config.base_url:
        for model in models:
            if prices.get(model) is None:
                how = "as --price IN,OUT" if model == config.model else f'in job.toml as [prices."{model}"]'
                yield (
                    f"cost, for no price is known of model {model!r} at {config.base_url}: give it {how}, in USD per "
                    "million tokens"
                )


def _estimate(work: Work, config: JobConfig, prices: Mapping[str, KnownPrice | None], most: int) -> Estimate:
    models = work.models
    requests = sum(asked.requests(most)[0] for asked in models.values())
    verified = sum(round(config.verify_sample * asked.rows) for asked in models.values()) if most > 1 else 0
    if not config.labels and not config.fields:
        return Estimate(most, requests + verified, None, None, None, None, run_seconds(requests + verified, 0, config))
    bills = {
        model: _bill(asked, work.prompt, config, most, dialect_of(config, model, work.learned.get(model)))
        for model, asked in models.items()
    }
    charged = sum(bill.usage.input_tokens + bill.most_output for bill in bills.values())
    costs = [(cost_picousd(b.usage, p), b.worst(p)) for m, b in bills.items() if (p := prices.get(m)) is not None]
    known = len(costs) == len(bills) and bool(config.model and config.base_url)
    return Estimate(
        most,
        requests + verified,
        sum(bill.usage.input_tokens for bill in bills.values()),
        sum(bill.usage.output_tokens for bill in bills.values()),
        usd(sum(expected for expected, _ in costs)) if known else None,
        usd(sum(worst for _, worst in costs)) * config.max_paid if known else None,
        run_seconds(requests + verified, charged, config),
        sum(bill.examples_tokens for bill in bills.values()),
        usd(sum(cost_picousd(Usage(b.examples_tokens), p) for m, b in bills.items() if (p := prices.get(m))))
        if known
        else None,
    )


def run_seconds(requests: int, tokens: float, config: JobConfig, answer_seconds: float = ANSWER_SECONDS) -> float:
    """How long a run of so many requests takes, by the slowest of its limits.

    Args:
        tokens: what counts against --tpm.
        answer_seconds: how long the endpoint takes for one.
    """
    seconds = [requests * answer_seconds / config.concurrency]
    if config.rpm:
        seconds.append(requests / (SHARE * config.rpm / 60))
    if config.tpm:
        seconds.append(tokens / (SHARE * config.tpm / 60))
    return max(seconds)


class _Bill(Value, frozen=True):
    """What one model's requests take."""

    requests: int
    usage: Usage
    most_bytes: int
    most_output: int
    examples_tokens: int

    def worst(self, price: KnownPrice) -> int:
        # Each request may have REQUEST_TOKENS more than its bytes, and worst_case_picousd adds them for one.
        return worst_case_picousd(self.most_bytes + (self.requests - 1) * REQUEST_TOKENS, self.most_output, price)


def _bill(asked: Asked, prompt: Prompt, config: JobConfig, most: int, dialect: Dialect) -> _Bill:
    """The requests for the rows of one model; those that verify go alone, and are as long as the mean."""
    requests, alone = asked.requests(most)
    shared = requests - alone
    each = round((asked.rows - alone) / shared) if shared else 1
    verified = round(config.verify_sample * asked.rows) if most > 1 else 0
    more = 1 + verified / max(asked.rows, 1)
    answer = prompt.answer_tokens()
    by_schema = config.response_format is not False
    schema = shared * prompt.schema_bytes(-(-(asked.rows - alone) // shared)) if by_schema and shared else 0
    if by_schema and prompt.schema_alone:
        schema += (alone + verified) * prompt.schema_bytes(1)
    shared_rows = asked.rows - alone
    return _Bill(
        requests=requests + verified,
        usage=Usage(
            input_tokens=round(
                (alone + verified) * _frame_tokens(prompt, 1)
                + shared * _frame_tokens(prompt, each)
                + asked.text_tokens * more
            ),
            output_tokens=round((asked.rows + verified) * answer + alone + verified + shared_rows * 4 + shared * 3),
        ),
        most_bytes=(requests + verified) * prompt.overhead_bytes()
        + round(asked.text_bytes * more)
        + (asked.rows + verified) * NUMBER_BYTES
        + shared_rows * prompt.names_bytes
        + schema,
        examples_tokens=round((requests + verified) * prompt.examples_tokens),
        most_output=(alone + verified) * most_tokens(config, prompt, dialect, 1)
        + shared * most_tokens(config, prompt, dialect, each),
    )


def _frame_tokens(prompt: Prompt, rows: int) -> float:
    """Tokens of a request besides its rows' texts."""
    blank = [Row(n, "", others=("",) * len(prompt.columns)) for n in range(rows)]
    return FRAME_TOKENS + sum(estimate_tokens(content) for _, content in prompt.messages(blank))
