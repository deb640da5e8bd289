"""What stands in a report: a job's status, its score and a look at its rows, put into parts and sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath

import msgspec

from batchjob.model import InputSource, Value
from batchjob.numbers import counted, day, dollars
from batchjob.printable import without_passwords
from batchjob.records import Snapshot
from batchjob.settings.config import JobConfig, settings_of
from batchjob.settings.declared import declared, spelled
from batchjob.settings.endpoint import SANDBOX_URL
from batchjob.states import Source
from batchjob.views.by_hand import ByHand, hand_words
from batchjob.views.next_steps import advice
from batchjob.views.report.parts import (
    Block,
    Cell,
    Code,
    Facts,
    Headline,
    Ledger,
    Listing,
    Report,
    Section,
    Span,
    Table,
    interval,
    number,
    percent,
    text,
)
from batchjob.views.report.quality import how_well
from batchjob.views.score import ScoreReport
from batchjob.views.status import Status, asked_rows, status_of

MOST_LABELS = 200
MOST_ERRORS = 30
HEATS = (0.06, 0.13, 0.22, 0.30, 0.38, 0.50, 0.75)
"""Shares from which on a cell's ground is one step stronger."""
TOLD = frozenset(
    [
        "labels",
        "descriptions",
        "fields",
        "prompt",
        "model",
        "base_url",
        "examples",
        "rules",
        "routes",
        "text_column",
        "sandbox",
    ]
)
"""Settings that are told in other places, or too long."""
PRIVATE = frozenset(("headers", "api_key_env"))
"""And those that are nobody's business who is handed a report; so is the output's group."""


class Crosstab(Value, frozen=True):
    """Rows by the value of a column and by label; `rows` adds up all labels of a value."""

    column: str
    labels: tuple[str, ...]
    lines: tuple[tuple[str, tuple[int, ...], int], ...]  # value, its rows by label, and in all


class Seen(Value, frozen=True):
    """What a look at the rows has found."""

    crosstab: Crosstab | None = None
    examples: tuple[tuple[str, tuple[str, ...]], ...] = ()  # label, texts


def report_of(
    snapshot: Snapshot,
    corrected: Snapshot,
    by_hand: ByHand | None,
    seen: Seen,
    score: ScoreReport | None,
    *,
    messages: Sequence[tuple[str, str]],
    versions: Mapping[str, str],
    now: float,
    texts: bool,
) -> Report:
    """A job as a report.

    Args:
        corrected: the same with the labels that people gave, who did `by_hand` to its rows; None: nothing.
        messages: what a row is asked, as (role, content).
        now: UTC epoch seconds.
        texts: whether texts of the input may stand in it.
    """
    status, config = status_of(corrected, by_hand), settings_of(snapshot.job)
    sections = [
        _labels(status),
        *([_by(seen.crosstab)] if seen.crosstab else []),
        *([how_well(score, texts=texts)] if score else []),
        _sources(status),
        *([_failed(status)] if status.errors else []),
        _cost(status_of(snapshot)),
        *([_examples(seen)] if texts and seen.examples else []),
        _made(status, config, snapshot, messages, versions),
    ]
    return Report(
        above=f"Report of the batchjob job {status.job}, {day(now)}",
        title=f"{counted(status.rows.total, 'row')}, {_asked_for(status)}",
        lead=tuple(_lead(status, score)),
        headlines=tuple(_headlines(status, score)),
        sections=tuple(sections),
        foot=f"Made by batchjob on {day(now)}. The numbers are those of the database at that time.",
    )


def _asked_for(status: Status) -> str:
    if status.fields:
        return f"{counted(len(status.fields), 'answer')} about each"
    return counted(len(status.labels), "label")


# ---------------------------------------------------------------- on top


def _lead(status: Status, score: ScoreReport | None) -> Iterator[Span]:
    rows = status.rows
    yield Span(f"{counted(rows.done, 'row')} {'has' if rows.done == 1 else 'have'} a label", strong=True)
    yield Span(f", {percent(rows.done, rows.total)} of those that were read. ")
    if status.unfinished:
        yield Span(f"The job is not finished: {rows.unfinished:,} rows are still to be labelled. ")
    if score and score.accuracy:
        found = score.accuracy
        yield Span(f"{percent(found.hits, found.n)} of the labels are right", strong=True)
        yield Span(f", between {interval(found, ' and ')} %, by {counted(found.n, 'row')} with {score.gold}. ")
    elif status.by_hand and status.by_hand.sample:
        found = status.by_hand.sample
        yield Span(f"{percent(found.hits, found.n)} of the job's own labels were right", strong=True)
        yield Span(
            f", between {interval(found, ' and ')} %: a person judged {counted(found.n, 'row')} drawn by chance. "
        )
    if status.cost.usd is None:
        yield Span("What it cost is unknown. ")
    else:
        yield Span("It ")
        yield Span(f"cost {dollars(status.cost.usd)}", strong=True)
        yield Span(", as far as prices are known. " if not status.cost.known else ". ")
    lost = {"failed": rows.failed, "unconfirmed, which may have been paid without an answer": rows.unconfirmed}
    told = "; ".join(f"{count:,} {what}" for what, count in lost.items() if count)
    if told:
        yield Span(f"{told[0].upper()}{told[1:]}.")


def _headlines(status: Status, score: ScoreReport | None) -> Iterator[Headline]:
    rows = status.rows
    yield Headline("Labelled", percent(rows.done, rows.total), "", f"{rows.done:,} of {rows.total:,} rows")
    if score and score.accuracy:
        found = score.accuracy
        said = f"{found.hits:,} of {found.n:,} rows with gold"
        yield Headline("Accuracy", percent(found.hits, found.n), f"({interval(found)})", said)
    elif status.by_hand and status.by_hand.sample:
        found = status.by_hand.sample
        said = f"{found.hits:,} of {found.n:,} rows, by hand"
        yield Headline("Accuracy", percent(found.hits, found.n), f"({interval(found)})", said)
    cost = status.cost.usd
    each = "" if cost is None or not rows.done else f"{dollars(1000 * cost / rows.done)} a thousand labelled rows"
    yield Headline("Cost", "unknown" if cost is None else dollars(cost), "", each or "no price is known")
    if status.labels:
        name, count = max(status.labels.items(), key=lambda one: one[1])
        yield Headline("Most frequent", name, "", f"{percent(count, rows.done)} of the labelled rows")


# ---------------------------------------------------------------- labels


def _labels(status: Status) -> Section:
    done = status.rows.done
    if status.fields:
        held = {name: counted(one.done, "labelled row") for name, one in status.fields.items()}
        tables = [
            _bars(f"{name}: {held[name]}, and {counted(one.failed, 'failed row')} without it", one.values, one.done)
            for name, one in status.fields.items()
            if one.values
        ]
        others = [f"{name} ({held[name]})" for name, one in status.fields.items() if not one.values]
        said = f"{counted(len(status.fields), 'answer')} about each text."
        said += f" Without a table, because no values are counted: {', '.join(others)}." if others else ""
        for name, found in (status.by_hand.fields if status.by_hand else {}).items():
            said += f" Of {name}, {percent(found.hits, found.n)} were right, between {interval(found, ' and ')} %:"
            said += f" a person judged {counted(found.n, 'row')} drawn by chance."
        return Section("labels", "Answers", said, tuple(tables))
    left = len(status.labels) - MOST_LABELS
    said = f"{counted(len(status.labels), 'label')} on {counted(done, 'row')}."
    more = f" The {MOST_LABELS} most frequent are shown, {left:,} are not." if left > 0 else ""
    table = _bars("Rows by label, and the share of the labelled rows", status.labels, done)
    return Section("labels", "Labels", said + more, (table,) if status.labels else ())


def _bars(caption: str, counts: Mapping[str, int], whole: int) -> Table:
    most = max(counts.values(), default=1)
    rows = [
        (text(name), Cell("", share=count / most), number(f"{count:,}"), number(percent(count, whole), faint=True))
        for name, count in list(counts.items())[:MOST_LABELS]
    ]
    return Table(caption, (), tuple(rows), "bars")


def _by(found: Crosstab) -> Section:
    head = (text(found.column), *(Cell(label) for label in found.labels), number("rows"))
    rows = [
        (text(value), *(_share_of_line(count, whole) for count in counts), number(f"{whole:,}"))
        for value, counts, whole in found.lines
    ]
    sums = [sum(counts[at] for _, counts, _ in found.lines) for at in range(len(found.labels))]
    whole = sum(line[2] for line in found.lines)
    all_ = (text("all"), *(Cell(f"{100 * one / whole:.1f}" if whole else "–") for one in sums), number(f"{whole:,}"))
    said = f"Of 100 labelled rows with a value of {found.column}, so many have each label."
    table = Table("Percent of the rows with a value", head, (*rows, all_), "heat", total=True)
    return Section("by", f"By {found.column}", said, (table,))


def _share_of_line(count: int, whole: int) -> Cell:
    share = count / whole if whole else 0.0
    return Cell(f"{100 * share:.1f}", heat=sum(share >= step for step in HEATS))


# ---------------------------------------------------------------- where from, what failed, what it cost

SAID_OF = {
    Source.MODEL: "asked and answered",
    Source.DUPLICATE: "the same text as another row",
    Source.CACHE: "labelled in an earlier job",
    Source.RULE: "by a rule, without a request",
    Source.FALLBACK: "the text was blank, or the answer none of the labels",
    Source.SECOND: "by the second model, where the first gave none or was unsure",
    Source.HUMAN: "set by a person",
}
FILLS = {Source.FALLBACK: "plain"}


def _sources(status: Status) -> Section:
    rows = status.rows
    without = rows.failed + rows.unconfirmed
    told = [(str(name), SAID_OF[Source(name)], count) for name, count in status.sources.items() if count]
    told += [("no label", f"{rows.failed:,} failed, {rows.unconfirmed:,} unconfirmed", without)] if without else []
    parts = [(name, said, count, _fill(name)) for name, said, count in told]
    lines = [
        (Cell(name, fill=fill), text(said), number(f"{count:,}"), number(percent(count, rows.total)))
        for name, said, count, fill in parts
    ]
    ledger = Ledger(tuple([(name, count / max(rows.total, 1), fill) for name, _, count, fill in parts]))
    asked = asked_rows(status.sources)
    said = f"The model was asked for {counted(asked, 'row')} that got its label so."
    said += f" By hand: {hand_words(status.by_hand)}." if status.by_hand else ""
    return Section(
        "sources", "Where the labels come from", said, (ledger, Table("", (), tuple(lines), "src")) if lines else ()
    )


def _fill(name: str) -> str:
    return "failed" if name == "no label" else FILLS.get(Source(name), name)


def _failed(status: Status) -> Section:
    total = status.rows.failed + status.rows.unconfirmed
    shown = status.errors[:MOST_ERRORS]
    rows = [(text(one.kind), number(f"{one.count:,}"), text(advice(one.kind, status))) for one in shown]
    said = f"{counted(total, 'row')} {'has' if total == 1 else 'have'} no label. None was guessed."
    table = Table("Rows without a label, by kind", (text("kind"), number("rows"), text("what to do")), tuple(rows))
    return Section("failed", "What failed", said, (table,))


def _cost(status: Status) -> Section:
    usage, cost = status.usage, status.cost
    tokens = [
        (text("in"), number(f"{usage.input_tokens:,}")),
        (text("of these from the endpoint's cache"), number(f"{usage.cached_input_tokens:,}")),
        (text("out"), number(f"{usage.output_tokens:,}")),
        (text("of these for thinking"), number(f"{usage.reasoning_tokens:,}")),
    ]
    tokens = [row for at, row in enumerate(tokens) if at in (0, 2) or row[1].text != "0"]
    blocks: list[Block] = []
    if cost.usd is None:
        said = "The cost is unknown, for no price is known of the model or no usage was told."
    else:
        said = (
            f"{dollars(cost.usd)} were paid, by {'; '.join(sorted(set(cost.prices.values()))) or 'what was reported'}."
        )
        if cost.lost_usd_at_most:
            said += f" Requests without an answer may have cost {dollars(cost.lost_usd_at_most)} more, at most."
        blocks.append(_fall(status, cost.usd))
    return Section("cost", "Cost, and what was saved", said, (*blocks, Table("Tokens", (), tuple(tokens))))


def _fall(status: Status, paid: float) -> Table:
    """From what all rows would have cost, down to what was paid."""
    saved = [(name, one.rows, one.usd or 0.0) for name, one in status.saved.items()]
    whole = paid + sum(usd for _, _, usd in saved)
    share = 1 / whole if whole else 0.0
    rows = [(text("had each row been asked for"), Cell("", share=whole * share, fill="model"), number(dollars(whole)))]
    left = whole
    for name, count, usd in saved:
        left -= usd
        bar = Cell("", start=left * share, share=usd * share, fill="cache")
        rows.append((text(f"{name}: {counted(count, 'row')}"), bar, number(f"−{dollars(usd)}")))
    rows.append((text("what was paid"), Cell("", share=paid * share, fill="model"), number(dollars(paid))))
    return Table("By the mean cost of the rows that were asked for", (), tuple(rows), "fall", total=True)


def _examples(seen: Seen) -> Section:
    return Section("examples", "Examples", "Some rows of each label, drawn by chance.", (Listing(seen.examples),))


# ---------------------------------------------------------------- how it was made


def _made(
    status: Status,
    config: JobConfig,
    snapshot: Snapshot,
    messages: Sequence[tuple[str, str]],
    versions: Mapping[str, str],
) -> Section:
    source, requests = snapshot.job.source, status.requests
    asked = "the built-in sandbox" if status.endpoint == SANDBOX_URL else without_passwords(status.endpoint)
    outcomes = f"{requests.answered:,} answered, {requests.rejected:,} rejected, {requests.lost:,} lost"
    facts = [
        ("input", f"{_files(source)}, {counted(status.rows.total, 'row')}, column {source.text_column}"),
        ("its SHA-256", snapshot.job.digest if snapshot.job.ingested else "it is not read to its end"),
        ("model", f"{status.model} at {asked}"),
        ("when", f"{day(status.created_at)} to {day(status.updated_at)}"),
        ("requests", f"{requests.sent:,} sent: {outcomes}"),
        ("paid twice, at most", counted(status.paid_twice_at_most, "request")),
        ("settings", "; ".join(_settings(config)) or "all at their defaults"),
        ("made with", ", ".join(f"{name} {version}" for name, version in versions.items())),
    ]
    prompt = "\n\n".join(f"{role}:\n{content}" for role, content in messages)
    many = f", {config.rows_per_request} texts a request" if config.rows_per_request > 1 else ""
    said = f"Each text goes to the model with the words below{many}. Only an answer that is asked for counts."
    return Section("made", "How it was made", said, (Code(prompt), Facts(tuple(facts))))


def _files(source: InputSource) -> str:
    """The names of the input's files, without the folders they lie in."""
    names = [PurePath(path).name if path != "-" else "stdin" for path in source.paths]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _settings(config: JobConfig) -> Iterator[str]:
    """Those that are not at their defaults, but for what is told elsewhere."""
    for setting in declared(JobConfig):
        value = getattr(config, setting.name)
        hidden = setting.name in TOLD | PRIVATE or setting.about.group == "output"
        if hidden or value == setting.default:
            continue
        plain = msgspec.to_builtins(value)
        said = spelled(plain) if not isinstance(plain, list | tuple | dict) else msgspec.json.encode(plain).decode()
        yield f"{setting.name} = {without_passwords(said)}"
