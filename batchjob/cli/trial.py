"""batchjob try: a few rows first, in one way of asking or several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import click
import msgspec

from batchjob.cli.estimate import learned_in, remembering, watched
from batchjob.cli.options import GroupedCommand, GroupedOption, database, db_flag, setting_options
from batchjob.cli.request import first_request
from batchjob.cli.run import carry_out, say
from batchjob.cli.show import columns, show_document, show_lines
from batchjob.cli.start import Gathered, gather_settings
from batchjob.cli.typed import start_line
from batchjob.endpoints.key import require_key
from batchjob.errors import SettingError
from batchjob.forecast.estimate import outlook
from batchjob.forecast.work import Work
from batchjob.jobs.drawing import with_examples
from batchjob.jobs.intake import open_as_set
from batchjob.jobs.plans import complete
from batchjob.jobs.trials import Sample, Tried, Wanted, draw, plan_trial, tried
from batchjob.model import Job
from batchjob.money.prices import prices_of
from batchjob.ports import Reader
from batchjob.providers.dialect import tells_cost
from batchjob.settings.config import JobConfig
from batchjob.stores import open_reader
from batchjob.task.examples import is_example
from batchjob.task.fields.looked_at import Written, looked_at, written
from batchjob.views.next_steps import next_command
from batchjob.views.status import named_input, status_of
from batchjob.views.summary import trouble_lines
from batchjob.views.trial import Trial, TrialRow, Variant, trial_lines, trial_row, whole_of

OWN = ("rows", "sample", "seed", "field")
MOST_VARIANTS = 10
WORST_FIRST = (130, 3, 1, 5, 4, 0)
"""The exit codes of runs: that of a try is the worst of its variants'."""


class Way(NamedTuple):
    """One way of asking."""

    name: str
    gathered: Gathered
    chosen: dict[str, str]  # the options that make it
    config: JobConfig


class Found(NamedTuple):
    """What came of one way."""

    job: str
    code: int
    bought: int  # rows that a request has labelled now
    tried: Tried


_option = partial(click.option, cls=GroupedOption, group="input")


@click.command("try", cls=GroupedCommand)
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@_option("-n", "--rows", type=click.IntRange(1, 1000), default=10, show_default=True, metavar="N", help="Rows to try")
@_option("--sample", type=click.Choice(["random", "first"]), default="random", show_default=True, help="Which rows")
@_option("--seed", type=int, default=1, show_default=True, metavar="N", help="Another seed draws other rows")
@_option("--field", metavar="NAME", help="Which answer, of several for each row  [all; named with --gold]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document", cls=GroupedOption, group="output")
@setting_options("try", several=("model", "prompt_file"))
def command(
    inputs: tuple[str, ...],
    rows: int,
    sample: str,
    seed: int,
    field: str | None,
    db: str | None,
    config: str | None,
    api_key_command: str | None,
    as_json: bool,
    **flags: Any,
) -> int:
    """Label a few rows of INPUT, look at the prompt and the labels, and see what all rows would take.

    With several --model or --prompt-file, each way of asking is a column. The rows are kept in jobs of their own: to
    try them again costs nothing, and neither do they when start labels the whole file. With --gold only rows that have
    some are drawn, and accuracy is told.
    """
    ways = _ways(inputs, config, flags, field)
    first, gold = ways[0], ways[0].gathered.settings.gold
    path = database(db, configured=first.gathered.db)
    key_command = api_key_command or first.gathered.key_command
    key = require_key(first.config, key_command)
    reader = open_as_set(inputs, first.config)
    wanted = Wanted(rows, "first" if sample == "first" else "random", seed, first.config.limit, gold)
    drawn, works = _drawn(reader, wanted, ways, path)
    requests = _requests(ways, works, drawn)
    if not as_json:
        show_lines([line for request in requests for line in (*request, "")])
    found = list(_all_tried(ways, drawn, path, key, key_command, field))
    if found[-1].code == 130:
        return 130
    trial = Trial(
        input=named_input(reader.source),
        sample=drawn.source.sample,
        requests=tuple(requests),
        gold=gold,
        fields=tuple([one.name for one in first.config.fields]),
        field=field,
        variants=tuple(map(_variant, ways, works, found)),
        rows=tuple(_rows(drawn, [one.tried for one in found], _meant(first.config, gold, field))),
    )
    show_document(trial) if as_json else show_lines(trial_lines(trial, columns()))
    return min((one.code for one in found), key=WORST_FIRST.index)


def _ways(inputs: Sequence[str], config: str | None, flags: dict[str, Any], field: str | None) -> list[Way]:
    """Each --model with each --prompt-file.

    Raises:
        SettingError: they are too many, or settings are not enough to label with.
    """
    models, prompts = (flags.pop(name) or (None,) for name in ("model", "prompt_file"))
    if len(models) * len(prompts) > MOST_VARIANTS:
        raise SettingError(f"{len(models) * len(prompts)} ways of asking are too many: {MOST_VARIANTS} at most")
    ways = []
    for model in models:
        for prompt in prompts:
            chosen = {name: one for name, one in (("model", model), ("prompt_file", prompt)) if one is not None}
            gathered = gather_settings(config, {**flags, **chosen})
            complete(gathered.settings)
            if gathered.settings.gold is not None or field is not None:
                looked_at(gathered.settings, field)
            name = ", ".join([gathered.settings.model, *([prompt] if prompt else [])])
            ways.append(Way(name, gathered, chosen, _asking(gathered.settings, inputs)))
    return ways


def _asking(config: JobConfig, inputs: Sequence[str]) -> JobConfig:
    """The settings with their examples; gold is for looking at, where it is not for drawing these."""
    if config.draw_examples is None:
        return msgspec.structs.replace(config, gold=None)
    return with_examples(config, inputs)


def _drawn(reader: Reader, wanted: Wanted, ways: Sequence[Way], db: str) -> tuple[Sample, list[Work]]:
    """The rows to try, and what all rows would take in each way."""
    with ExitStack() as stack:
        works = []
        for way in ways:
            look_up = stack.enter_context(remembering(db, way.config))
            works.append(Work(way.config, reader.source, look_up, learned=learned_in(db, way.config)))
        config = ways[0].config
        look = partial(watched, quiet=config.quiet)
        return draw(reader, wanted, works, is_example(config), look), works


def _requests(ways: Sequence[Way], works: Sequence[Work], drawn: Sample) -> list[list[str]]:
    """The first request of the sample, once for each prompt."""
    found: dict[str | None, list[str]] = {}
    for way, whole in zip(ways, works, strict=True):
        if way.config.prompt not in found:
            work = Work(way.config, drawn.source, None, learned=whole.learned)
            work.add(drawn.chunk.rows)
            found[way.config.prompt] = first_request(work, way.config)
    return [lines for lines in found.values() if lines]


def _meant(config: JobConfig, gold: str | None, field: str | None) -> Written:
    """How gold is read, where there is any."""
    return (lambda text: None) if gold is None else written(config, field)


def _all_tried(
    ways: Sequence[Way], drawn: Sample, db: str, key: str | None, key_command: str | None, field: str | None
) -> Iterator[Found]:
    """The ways one after the other, until Ctrl-C."""
    for way in ways:
        found = _try(way, drawn, db, key, key_command, field)
        yield found
        if found.code == 130:
            return


def _try(way: Way, drawn: Sample, db: str, key: str | None, key_command: str | None, field: str | None) -> Found:
    """Label the sample in one way; what stopped it is said."""
    plan, before = plan_trial(drawn, way.config, db=db, beside=way.gathered.files), 0
    if isinstance(plan.job, Job):
        with open_reader(db) as store:
            before = tried(store, plan.name, None, field).bought
    ended, _ = carry_out(plan, key, key_command)
    with open_reader(db) as store:
        status = status_of(store.snapshot(plan.name))
        if ended.ending.exit_code not in (0, 4):
            say(*trouble_lines(status, next_command(status, plan.config, db_flag())))
        found = tried(store, plan.name, drawn.gold, field)
    return Found(plan.name, ended.ending.exit_code, found.bought - before, found)


def _variant(way: Way, work: Work, found: Found) -> Variant:
    side, config = found.tried.side, way.config
    estimate = outlook(work, config, prices_of(config, told=tells_cost(config))).for_rows(config.rows_per_request)
    left = max(work.asked - found.bought, 0)
    own = OWN if config.draw_examples else (*OWN, "gold")
    start = start_line(click.get_current_context(), way.chosen, own)
    return Variant(
        name=way.name,
        job=found.job,
        exit_code=found.code,
        side=side,
        accuracy=found.tried.accuracy,
        whole=whole_of(side, estimate, config, rows=work.rows, asked=work.asked, left=left),
        start=start,
    )


def _rows(drawn: Sample, tries: Sequence[Tried], meant: Written) -> Iterator[TrialRow]:
    for number, (line, key, text, rest, _) in enumerate(drawn.chunk.rows, start=1):
        gold = None if drawn.gold is None else drawn.gold.of(key, rest)
        answers = tuple([one.answers[number] for one in tries if number in one.answers])
        yield trial_row(key, line, text, gold, answers, gold and (meant(gold) or gold))
