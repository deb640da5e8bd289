"""The values that travel between the parts: what is read, asked, replied, decided and written."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from batchjob.states import CostSource, Event, JobState, Matched, Outcome, Purpose, Source


class Value(msgspec.Struct, frozen=True, gc=False):
    """Base of the values below: frozen, slotted, compared by content."""


# ---------------------------------------------------------------- what is read

InputRow = tuple[int, str, str, str | None, str | None]
"""(line, key, text, rest, defect): line counts from 1 and is where the row begins; rest holds the other columns as
JSON (an array in header order, or an object for JSONL); defect is why it cannot be sent (`kind: sentence`), or None."""


class Layout(Value, frozen=True):
    """How the rows of a table stand in its file: what was given, or found out when the job began."""

    delimiter: str = ","
    quoting: Literal["doubled", "backslash", "none"] = "doubled"  # how a quote is written inside of quotes
    skip_lines: int = 0  # above the header
    header_row: bool = True


IN_MEMORY, OF_SAMPLE = "memory:", "\x1f"  # in an input's place: before the rows' digest; before the sample it is of


class InputSource(Value, frozen=True):
    """Where a job's rows come from, as far as it is known before reading: enough to open it again."""

    path: str  # absolute, or "-" for stdin
    format: str  # a key of inputs.FORMATS
    encoding: str
    columns: tuple[str, ...]  # in the order of the header; for JSONL those of the first object
    id_column: str | None  # None: rows are known by their number
    text_column: str
    size: int | None  # bytes on disk; None for stdin
    mtime_ns: int | None
    layout: Layout | None = None  # None: the format says it all
    schema: str = ""  # the types of its columns, where the format has them: see inputs.parquet
    said: tuple[str, ...] = ()  # what was found out about it and a person should know
    more: tuple[str, ...] = ()  # files whose rows come behind those of `path`
    file_column: str = ""  # which of them a row is from; "" where there is but one
    beside: tuple[str, ...] = ()  # the other files the job was begun with: of labels, prompt and settings
    sample: str = ""  # of a try: which of its rows the job has; "" for all
    held: str = ""  # digest of rows that a program held in memory; "" where they come from `path`

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file that rows come from."""
        return (self.path, *self.more)

    @property
    def named(self) -> str:
        """What a person calls it."""
        return "rows of a program" if self.held else "stdin" if self.path == "-" else self.path

    @property
    def place(self) -> str:
        """What tells the input from others."""
        if self.held:
            return f"{IN_MEMORY}{self.held}"
        return "\n".join((*self.paths, f"{OF_SAMPLE}{self.sample}") if self.sample else self.paths)


class Notice(NamedTuple):
    """Something that was noticed while the input was read."""

    kind: Literal["column", "warning"]
    what: str  # a column that the header, or the first object, has not; or a sentence


class Chunk(Value, frozen=True):
    """Some consecutive rows of the input, and where reading stands after them."""

    first_number: int  # rows count from 1
    rows: list[InputRow]
    position: int  # bytes of the decoded stream (unzipped, UTF-8) consumed so far
    digest: str  # SHA-256 of those bytes, hex
    complete: bool  # nothing follows
    noticed: tuple[Notice, ...] = ()


# ---------------------------------------------------------------- what is worked on

Key = tuple[int, int]
"""What a text asks of a model, in 128 bits as two signed 64-bit numbers: see task.identity."""


class Row(Value, frozen=True):
    """A row of the work table, as a run sees it."""

    number: int
    text: str
    attempts: int = 0  # tries that counted so far; a 429 costs none
    paid: int = 0  # answers bought so far, usable or not
    defect: str | None = None
    rest: str | None = None  # the other columns: see InputRow
    key: str = ""  # its id
    others: tuple[str, ...] = ()  # what it has in the other columns that the prompt uses: see task.prompt
    put_back: bool = False  # by the user, though its text may have been paid for
    answer: str | None = None  # that was paid for and gave no label
    asked_otherwise: bool = False  # for that answer: another question, or of another model
    first: str | None = None  # what the first model made of it (JSON), where the second one is asked


class Unheard(Value, frozen=True):
    """A row whose text may have been paid for, and whose answer nobody saw."""

    id: int  # over all jobs
    row: Row
    model: str
    job: str  # "" for one of this job


class LostRequest(Value, frozen=True):
    """A request whose answer was never seen: its rows go out again together, under its key."""

    request_id: int
    client_key: str
    body_digest: int = 0
    broken_off: bool = False  # what came of it was no whole answer, which its key would bring again


class Parcel(Value, frozen=True):
    """Rows that go out in one request."""

    rows: tuple[Row, ...]
    model: str = ""
    lost: LostRequest | None = None
    verifies: str | None = None  # the label its one row has already, which is to be compared
    keys: tuple[Key, ...] = ()  # of the rows, where their labels are remembered
    twins: tuple[Key, ...] = ()  # and under these, which only rows of the same job have, where it joins texts loosely

    @property
    def texts(self) -> tuple[Key, ...]:
        """Those by which rows of the job know each other."""
        return self.twins or self.keys


class Page(Value, frozen=True):
    """Rows to work on: lost requests, which go out again as they were, and single rows. A page may be empty."""

    parcels: tuple[Parcel, ...] = ()
    rows: tuple[Row, ...] = ()
    seconds: bool = False  # some were the second model's turn


class Usage(Value, frozen=True):
    """Tokens as the endpoint reported them: cached ones are a part of the input, and thinking of the output."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


# ---------------------------------------------------------------- what was replied


class Quota(Value, frozen=True):
    """One of the endpoint's limits, as its x-ratelimit headers tell it. None: not told."""

    limit: float | None = None
    remaining: float | None = None
    reset_seconds: float | None = None


class Limits(Value, frozen=True):  # both of them
    requests: Quota = Quota()
    tokens: Quota = Quota()


NO_ROOM = "too_many_files"  # the kind of a request for which this machine could not open one more connection
LONG_WAIT = "long_wait"  # a reason of a refusal that asks to wait for more than an hour: no quota of minutes does
HUGE, SEVERAL = "huge", "several"  # finish_reasons: more than is read of an answer; choices that do not say the same


class NotSent(Value, frozen=True):
    """No byte of the request left this machine."""

    kind: str
    message: str


class Lost(Value, frozen=True):
    """The request left, and no whole answer came back: it may have been carried out and charged."""

    kind: str
    message: str
    status: int | None = None
    provider_id: str | None = None
    retry_after_seconds: float | None = None


class Rejected(Value, frozen=True):
    """An answer that says the request was not carried out."""

    status: int
    message: str
    code: str = ""  # the error's own code, type and param, lower case
    type: str = ""
    param: str = ""
    provider_id: str | None = None
    retry_after_seconds: float | None = None
    limits: Limits | None = None
    reasons: tuple[str, ...] = ()  # other words of its JSON that say why, lower case
    page: bool = False  # no JSON but a page, as from what stands before the endpoint


class Answered(Value, frozen=True):
    """A completion, usable or not: it was paid for."""

    content: str | None
    finish_reason: str | None = None
    refusal: str | None = None
    usage: Usage | None = None  # None: not reported, or not to be believed
    provider_id: str | None = None
    limits: Limits | None = None
    cost: int | None = None  # picodollars, as the endpoint itself reported
    odd_usage: str | None = None  # as it was reported, where it cannot be true
    thoughts: str | None = None  # that came beside the content
    tokens: tuple[tuple[str, float], ...] = ()  # of the content, with the logarithms of their probabilities


Reply = NotSent | Lost | Rejected | Answered


# ---------------------------------------------------------------- what is written


class RowResult(Value, frozen=True):
    """A transition of one row; the store applies it only where the row is in the state the event starts from."""

    number: int
    event: Event
    attempts: int = 0
    paid: int = 0
    label: str | None = None
    source: Source | None = None
    answer: str | None = None  # what the model said, where that is not the label itself
    origin: str | None = None  # of a label without a request: the rule, or the job that bought it
    error_kind: str | None = None
    error: str | None = None
    known_by: int | None = None  # the lost request it is to be known by, where that is not the one it went out in
    matched: Matched | None = None  # of a label the model gave
    confidence: float | None = None  # 0 to 1, how sure the model was of it; None: not known
    first: str | None = None  # the row is the second model's from here on: see Row


class Remembered(Value, frozen=True):
    """What a question was answered with, in the cache."""

    key: Key
    label: str  # or, where it is none of the labels, the answer as far as it is kept
    off_list: bool
    job_id: int = 0  # whose request it was
    job: str = ""
    loose: bool = False  # for rows of that job alone


class AddRows(Value, frozen=True):
    """A chunk of the input enters the work table, and the position behind it."""

    job_id: int
    chunk: Chunk


class Claim(Value, frozen=True):
    """A request about to be sent takes its rows. On disk before its first byte leaves."""

    request_id: int
    client_key: str
    rows: tuple[int, ...]
    model: str
    at: float
    body_digest: int = 0
    repeats: LostRequest | None = None  # the same rows went out in it before, and the answer was never seen
    cost: int | None = None  # its worst case in picodollars; None: no price is known
    purpose: Purpose = Purpose.LABEL
    texts: tuple[Key, ...] = ()  # of its rows, one each, where other runs may ask for the same
    outlives_run: bool = False  # at a provider that answers hours later: no death of a run makes it a lost one


class Settle(Value, frozen=True):
    """What became of a request, and of each of its rows."""

    request_id: int
    outcome: Outcome
    rows: tuple[RowResult, ...]
    at: float
    status: int | None = None
    provider_id: str | None = None
    usage: Usage | None = None
    cost: int | None = None  # picodollars: what it cost, or may have cost if lost; None: unknown
    cost_source: CostSource | None = None
    error_kind: str | None = None
    error: str | None = None
    remember: tuple[Remembered, ...] = ()
    agreed: bool | None = None  # of a request that verifies: whether the label was the same
    odd_usage: str | None = None
    untaken: bool | None = None  # sent again for a lost one, turned away, and yet to go: under a new key or not


class SettleSecond(Settle, frozen=True):
    """The same of a request to the second model, which is counted apart."""


class Skip(Value, frozen=True):
    """Rows that need no request any more (assign, reject or hold)."""

    rows: tuple[RowResult, ...]
    at: float


class Outage(Value, frozen=True):
    """Nothing is answered. Times are UTC epoch seconds."""

    since: float  # the last answer, or the run's start
    next_try: float
    until: float  # then the run stops
    error: str  # what was heard last


class Beat(Value, frozen=True):
    """A sign of life of the run, and what it would say of itself."""

    rows_per_second: float | None
    pacing: str
    at: float
    outage: Outage | None = None
    rows_unwanted: int = 0  # pending rows that the run does not want: behind its limit, or not put back for it


class Ending(Value, frozen=True):
    """How a run ended: the job's state, why, the exit code, and the error kind that ended it, if one did."""

    state: JobState
    reason: str
    exit_code: int
    kind: str = ""
    puts_back: bool = False  # rows that failed with this kind are pending again: the job was at fault


class EndAll(Value, frozen=True):
    """A run has met what ends the job for all its runs, if they have met it so often. To a store that runs share."""

    ending: Ending
    at_first: int = 1  # so often while the job has no label of a model
    later: int | None = 1  # so often since the last of them; None: it is no reason any more


Write = AddRows | Claim | Settle | Skip | Beat | EndAll


class TaskRecord(Value, frozen=True):
    """A task as the database holds it: see task.identity."""

    digest: str
    question: str  # digest of what is asked, but for the model and the text
    settings: bytes  # JSON


class Job(Value, frozen=True):
    """A job as the database holds it."""

    id: int
    uid: str
    name: str
    source: InputSource
    settings: bytes  # the JobConfig of its last run, as JSON
    prices: bytes  # JSON: model -> the price its costs were reckoned at, as of the last run
    task_digest: str  # of the task it began with
    state: JobState
    reason: str
    reason_kind: str  # the error kind that ended its last run, if one did
    created_at: float
    rows: int  # read into the work table so far
    position: int  # of the input: see Chunk
    digest: str
    ingested: bool  # the whole input is in the work table
    moved_to: str | None = None  # the database it goes on in: here it is only read


class Run(Value, frozen=True):
    """One process working on a job."""

    id: int
    first_request_id: int  # its requests count on from here; no other run's do
    shared: bool = False  # others may be working on the job
    heard: bool = False  # whether a run of the job before was ever answered, if only by a rejection
    labelled: bool = False  # whether the job has a label that a model gave
    fresh: bool = True  # whether it takes rows that were never tried
