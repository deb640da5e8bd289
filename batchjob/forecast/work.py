"""What labelling an input would take, found out before a request is paid for. Values in, values out.

Exact, but for hashes of 64 bits that collide (in a million texts one time in tens of millions): rows, defects,
duplicates, rows by rule, route and cache, lengths by power of two, scripts, and requests. The most frequent texts and
their counts are exact while no more than counting.MOST_TEXTS / 2 texts stand in the input more than once, else lower
bounds, marked so. The median and the like are exact up to 1,023 characters and within 1 % above. Tokens, cost and
time are estimates: tokens are reckoned from characters, and scripts and languages look at the first characters of a
text.

Memory grows by 11 to 21 bytes for each different text in each of two sets (three where there are rules or routes),
and with nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from math import ceil, floor, log10
from typing import Any

import msgspec

from batchjob.config import JobConfig
from batchjob.exchange.question import ROW_BYTES
from batchjob.forecast.counting import Frequent, HashSet, Lengths
from batchjob.model import InputRow, InputSource, Row, Usage, Value
from batchjob.money.prices import REQUEST_TOKENS, KnownPrice, cost_picousd, usd, worst_case_picousd
from batchjob.pace.pacer import SHARE
from batchjob.task.labels import LabelSet
from batchjob.task.prompt import Prompt, estimate_tokens, max_tokens_for
from batchjob.task.routes import Routes, Rules, language_of, script_of
from batchjob.task.texts import Key, Keys, normalise

Remembers = Callable[[Sequence[Key]], Collection[Key]]
"""Those of the keys whose label need not be paid for again."""

ROWS_PER_REQUEST = (1, 10, 25)
"""Compared with each other, besides the one that is set."""
ANSWER_SECONDS = 1.0
"""Of a request, assumed where no quota is slower."""
SEEN_CHARACTERS = 500
"""Of a text, where its script and language are looked for."""
SHOWN_TEXTS = 5
NO_LETTERS, UNTOLD = "none", "unknown"


class _Packing:
    """How many requests rows go out in, some a request: as supply.Supply puts them together."""

    __slots__ = ("_count", "_most", "_most_tokens", "_room", "alone", "requests")

    def __init__(self, most: int, most_tokens: float) -> None:
        self._most, self._most_tokens = most, most_tokens
        self._count, self._room = 0, 0.0
        self.requests = self.alone = 0  # alone: with one row

    def add(self, tokens: float) -> None:
        self._room -= tokens + 6
        if self._room >= 0 and 0 < self._count < self._most:
            self.alone -= self._count == 1
            self._count += 1
            return
        self.requests += 1
        self.alone += 1
        self._count, self._room = 1, self._most_tokens - tokens


class _Asked:
    """The rows that go out to one model."""

    def __init__(self, config: JobConfig) -> None:
        self.rows = self.text_bytes = 0
        self.text_tokens = 0.0
        sizes = sorted({*ROWS_PER_REQUEST, config.rows_per_request} - {1})
        self._packings = {most: _Packing(most, config.max_request_tokens) for most in sizes}

    def add(self, text: str) -> None:
        tokens = estimate_tokens(text)
        self.rows += 1
        self.text_tokens += tokens
        self.text_bytes += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        for packing in self._packings.values():
            packing.add(tokens)

    def requests(self, most: int) -> tuple[int, int]:
        """(requests, those with one row)."""
        packing = self._packings.get(most)
        return (self.rows, self.rows) if packing is None else (packing.requests, packing.alone)


# ---------------------------------------------------------------- rows


class Texts:
    """What the texts are like that can be labelled."""

    def __init__(self) -> None:
        self.exact_duplicates = self.duplicates = 0
        self._frequent = Frequent()
        self._lengths = Lengths()
        self._scripts: Counter[str] = Counter()
        self._languages: Counter[str] = Counter()
        self._exact = HashSet()
        self._normal = HashSet()

    def add(self, text: str, normal: str) -> bool:
        """Look at a text and its normal form; whether none before had this form."""
        self._lengths.add(len(text))
        if text.isascii():
            self._scripts[script_of(text) or NO_LETTERS] += 1
        else:
            seen = text[:SEEN_CHARACTERS]
            self._scripts[script_of(seen) or NO_LETTERS] += 1
            self._languages[language_of(seen) or UNTOLD] += 1
        self.exact_duplicates += not self._exact.add(hash(text))
        hash_ = hash(normal)
        if self._normal.add(hash_):
            return True
        self.duplicates += 1
        self._frequent.add(hash_, text)
        return False

    def document(self) -> dict[str, Any]:
        """What was found."""
        languages = self._languages + Counter({UNTOLD: self._scripts.total() - self._languages.total()})
        return {
            "duplicates": {
                "exact": self.exact_duplicates,
                "normalised": self.duplicates,
                "most_frequent": [
                    {"text": text, "count": count, "exact": exact}
                    for text, count, exact in self._frequent.top(SHOWN_TEXTS)
                ],
            },
            "characters": self._lengths.document(),
            "scripts": dict(self._scripts.most_common()),
            "languages": dict(languages.most_common()),
        }


class Work:
    """Which rows would be paid for, and which not: the steps of supply.Supply, without the requests.

    `remembers` is asked for keys, a chunk of rows at a time; None: nothing is remembered. `texts` is shown each text.

    Raises:
        SettingError: a rule or a route cannot be used.
    """

    def __init__(
        self, config: JobConfig, source: InputSource, remembers: Remembers | None, texts: Texts | None = None
    ) -> None:
        self.rows = self.blank = self.by_rule = self.by_cache = self.by_duplicate = 0
        self.defects: Counter[str] = Counter()
        self.rules = {rule.name: 0 for rule in config.rules}
        self.routes = {route.name: 0 for route in config.routes}
        self.models: dict[str, _Asked] = {}
        self.texts = texts
        self._config = config
        self._rules = Rules(config.rules)
        # By its name a route can be counted, also where two lead to one model.
        self._ways = Routes([msgspec.structs.replace(route, model=route.name) for route in config.routes], "")
        self._model_of = {"": config.model, **{route.name: route.model for route in config.routes}}
        self._keys = Keys(config)
        self._remembers = remembers
        self._seen = HashSet()
        self._others = [name for name in source.columns if name not in (source.id_column, source.text_column)]

    @property
    def asked(self) -> int:
        """Rows that would go out in a request."""
        return sum(asked.rows for asked in self.models.values())

    def add(self, rows: Sequence[InputRow]) -> None:
        """Consecutive rows of the input."""
        asking: list[tuple[str, str]] = []
        for _, _, text, rest, defect in rows:
            self.rows += 1
            if defect is not None:
                self.defects[defect.partition(":")[0]] += 1
            elif not text or text.isspace():
                self.blank += 1
            elif not self._takes_rule(text):
                asking.append((text, self._model(text, rest)))
        remembered = self._remembered(asking)
        for at, (text, model) in enumerate(asking):
            new = self._is_new(text, model)
            if at in remembered:
                self.by_cache += 1
            elif self._config.dedupe and not new:
                self.by_duplicate += 1
            else:
                if model not in self.models:
                    self.models[model] = _Asked(self._config)
                self.models[model].add(text)

    def _takes_rule(self, text: str) -> bool:
        found = self._rules.label(text) if self.rules else None
        if found is None:
            return False
        self.by_rule += 1
        self.rules[found[1]] += 1
        if self.texts is not None:
            self.texts.add(text, normalise(text))
        return True

    def _is_new(self, text: str, model: str) -> bool:
        """Whether no row before asks this model the same."""
        normal = normalise(text)
        new = None if self.texts is None else self.texts.add(text, normal)
        # Where all rows go one way the texts know it: another set would only take memory.
        return self._seen.add(hash((normal, model))) if new is None or self.rules or self.routes else new

    def _model(self, text: str, rest: str | None) -> str:
        if not self.routes:
            return self._config.model
        columns: Mapping[str, object] | None = None
        if rest is not None and self._ways.needs_columns:
            values = msgspec.json.decode(rest)
            columns = values if isinstance(values, dict) else dict(zip(self._others, values, strict=False))
        way = self._ways.model(text, columns)
        if way:
            self.routes[way] += 1
        return self._model_of[way]

    def _remembered(self, asking: Sequence[tuple[str, str]]) -> set[int]:
        """Which of these rows have their label already."""
        if self._remembers is None or not asking:
            return set()
        keys = [self._keys.of(text, model) for text, model in asking]
        known = self._remembers(keys)
        return {at for at, key in enumerate(keys) if key in known}

    def document(self) -> dict[str, Any]:
        """How many rows there are, and what becomes of them."""
        defective = sum(self.defects.values())
        saved = self._config.fallback is not None
        return {
            "rows": {
                "total": self.rows,
                "to_label": self.rows - self.blank - defective,
                "blank": self.blank,
                "defective": defective,
            },
            "defects": dict(self.defects.most_common()),
            "rules": self.rules,
            "routes": self.routes,
            "settled_by": {
                "request": self.asked,
                "rule": self.by_rule,
                "cache": self.by_cache,
                "duplicate": self.by_duplicate,
                "fallback": self.blank if saved else 0,
                "failed": defective + (0 if saved else self.blank),
            },
        }


# ---------------------------------------------------------------- tokens, cost, time


class Estimate(Value, frozen=True):
    """What the requests would take with so many rows in each. None: not known, and `Outlook.unknown` says why."""

    rows_per_request: int
    requests: int
    input_tokens: int | None
    output_tokens: int | None
    expected_usd: float | None
    worst_usd: float | None  # every byte a token, every answer as long as it may be; without requests sent again
    seconds: float


class Outlook(Value, frozen=True):
    """The estimates, and what they rest on."""

    estimates: tuple[Estimate, ...]
    unknown: tuple[str, ...]  # what could not be estimated, why, and how to change that
    prices: dict[str, str]  # model -> what says so; models without a price are not there

    def for_rows(self, rows_per_request: int) -> Estimate:
        """The estimate with so many rows in a request."""
        return next(found for found in self.estimates if found.rows_per_request == rows_per_request)


def outlook(work: Work, config: JobConfig, prices: Mapping[str, KnownPrice | None]) -> Outlook:
    """What labelling would take, with some numbers of rows in a request."""
    sizes = sorted({*ROWS_PER_REQUEST, config.rows_per_request})
    return Outlook(
        tuple([_estimate(work.models, config, prices, most) for most in sizes]),
        tuple(_unknown(work.models, config, prices)),
        {model: price.source for model in work.models if (price := prices.get(model)) is not None},
    )


def _unknown(models: Mapping[str, _Asked], config: JobConfig, prices: Mapping[str, KnownPrice | None]) -> Iterator[str]:
    if not config.labels:
        yield "tokens and cost, for they depend on the labels: give --labels or --labels-file"
    if not config.model:
        yield "cost, for there is no model: give --model"
    if not config.base_url:
        yield "cost, for prices depend on the endpoint: give --base-url"
    if config.model and config.base_url:
        for model in models:
            if prices.get(model) is None:
                yield (
                    f"cost, for no price is known of model {model!r} at {config.base_url}: give it in job.toml, as "
                    f'[prices."{model}"] with input and output in USD per million tokens'
                )


def _estimate(
    models: Mapping[str, _Asked], config: JobConfig, prices: Mapping[str, KnownPrice | None], most: int
) -> Estimate:
    requests = sum(asked.requests(most)[0] for asked in models.values())
    verified = sum(round(config.verify_sample * asked.rows) for asked in models.values()) if most > 1 else 0
    seconds = [(requests + verified) * ANSWER_SECONDS / config.concurrency]
    if config.rpm:
        seconds.append((requests + verified) / (SHARE * config.rpm / 60))
    if not config.labels:
        return Estimate(most, requests + verified, None, None, None, None, max(seconds))
    bills = {model: _bill(asked, config, most) for model, asked in models.items()}
    if config.tpm:
        charged = sum(bill.usage.input_tokens + bill.most_output for bill in bills.values())
        seconds.append(charged / (SHARE * config.tpm / 60))
    costs = [(cost_picousd(b.usage, p), b.worst(p)) for m, b in bills.items() if (p := prices.get(m)) is not None]
    known = len(costs) == len(bills) and bool(config.model and config.base_url)
    return Estimate(
        most,
        requests + verified,
        sum(bill.usage.input_tokens for bill in bills.values()),
        sum(bill.usage.output_tokens for bill in bills.values()),
        usd(sum(expected for expected, _ in costs)) if known else None,
        usd(sum(worst for _, worst in costs)) * config.max_paid if known else None,
        max(seconds),
    )


class _Bill(Value, frozen=True):
    """What one model's requests take."""

    requests: int
    usage: Usage
    most_bytes: int
    most_output: int

    def worst(self, price: KnownPrice) -> int:
        # Each request may have REQUEST_TOKENS more than its bytes, and worst_case_picousd adds them for one.
        return worst_case_picousd(self.most_bytes + (self.requests - 1) * REQUEST_TOKENS, self.most_output, price)


def _bill(asked: _Asked, config: JobConfig, most: int) -> _Bill:
    """The requests for the rows of one model; those that verify go alone, and are as long as the mean."""
    requests, alone = asked.requests(most)
    shared = requests - alone
    each = round((asked.rows - alone) / shared) if shared else 1
    verified = round(config.verify_sample * asked.rows) if most > 1 else 0
    more = 1 + verified / max(asked.rows, 1)
    prompt = Prompt(LabelSet(config.labels), config.prompt)
    labels = [estimate_tokens(label) for label in config.labels]
    answer = max(sum(labels) / len(labels), 1.0)
    schema = ROW_BYTES + sum(len(label.encode()) + 3 for label in config.labels) if config.response_format else 0
    shared_rows = asked.rows - alone
    single = max_tokens_for(config.labels, 1) if config.max_tokens is None else config.max_tokens
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
        + (asked.rows + verified) * ROW_BYTES
        + shared_rows * schema,
        most_output=(alone + verified) * single
        + shared * max(config.max_tokens or 0, max_tokens_for(config.labels, each)),
    )


def _frame_tokens(prompt: Prompt, rows: int) -> float:
    """Tokens of a request besides its rows' texts."""
    return 8 + sum(estimate_tokens(content) for _, content in prompt.messages([Row(n, "") for n in range(rows)]))


# ---------------------------------------------------------------- what to choose

WORTH_SHARING = 500
"""Rows from which on several are put into a request: below, the little that is saved is not worth a doubt."""
WORTH_SAVING = 0.25
"""Of tokens (of requests, where tokens are not known): what a larger number of rows must save to be chosen."""
VERIFY = 0.02


def suggested(found: Outlook, config: JobConfig, *, rows: int, given: Collection[str]) -> dict[str, Any]:
    """Settings that fit the input, without those that are `given` already; `rows` go out in requests.

    Several rows a request where that saves a quarter, with a sample verified; concurrency for answers that take two
    seconds at the quota of requests; a budget of twice what is expected, but no more than the worst case.
    """
    chosen: dict[str, Any] = {}
    most = config.rows_per_request
    if "rows_per_request" not in given:
        most = _rows_worth(found) if rows >= WORTH_SHARING else 1
        if most != config.rows_per_request:
            chosen["rows_per_request"] = most
    if most > 1 and "verify_sample" not in given and not config.verify_sample:
        chosen["verify_sample"] = VERIFY
    if "concurrency" not in given and rows >= WORTH_SHARING:
        concurrency = min(max(ceil(config.rpm / 60 * 2), 4), 64) if config.rpm else 32
        if concurrency != config.concurrency:
            chosen["concurrency"] = concurrency
    estimate = found.for_rows(most)
    if "budget" not in given and config.budget is None and estimate.expected_usd and estimate.worst_usd:
        chosen["budget"] = _rounded_up(min(2 * estimate.expected_usd, estimate.worst_usd))
    return chosen


def _rows_worth(found: Outlook) -> int:
    """How many rows a request: more only while each step saves WORTH_SAVING of what the step before takes."""
    most = 1
    for rows in ROWS_PER_REQUEST[1:]:
        before, after = _burden(found.for_rows(most)), _burden(found.for_rows(rows))
        if after > before * (1 - WORTH_SAVING):
            break
        most = rows
    return most


def _burden(estimate: Estimate) -> float:
    """What there is to save: money, else tokens, else requests."""
    if estimate.expected_usd is not None:
        return estimate.expected_usd
    if estimate.input_tokens is not None and estimate.output_tokens is not None:
        return estimate.input_tokens + estimate.output_tokens
    return estimate.requests


def _rounded_up(amount: float) -> float:
    """To two digits."""
    unit = 10.0 ** (floor(log10(amount)) - 1)
    return round(ceil(amount / unit) * unit, 12)
