"""label: a file, a list or a frame, labelled; the same call again resumes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from batchjob.api.held import input_of
from batchjob.api.job import Job
from batchjob.api.running import carry_out, key_for
from batchjob.api.settings import asked
from batchjob.api.words import errors_in_python
from batchjob.errors import SettingError
from batchjob.inputs.memory import Held
from batchjob.jobs import plans
from batchjob.stores import absolute


def label(
    data: Any,
    *,
    labels: Iterable[str] | Mapping[str, str] | None = None,
    model: str | None = None,
    base_url: str | None = None,
    db: str | os.PathLike[str] = "batchjob.db",
    api_key: str | None = None,
    progress: bool = True,
    new: bool = False,
    append: bool = False,
    **settings: Any,
) -> Job:
    """Give each text one of the labels. The same call again, also after a crash, resumes and pays nothing twice.

    A file is known by its path; a list or a frame by its texts, its ids and what else is asked about them. Call it in
    a script, a thread or a notebook, whether or not an event loop runs there. Ctrl-C stops when what is in flight has
    been answered and stored; a second one leaves at once.

    Args:
        data: the path of a file; a list of texts; a list of dicts; or a pandas or polars DataFrame or Series. Of dicts
            and frames `text_column` names the text, if it is not called `text`.
        labels: the labels, or a dict of labels with what each means.
        model: as the endpoint calls it.
        base_url: of the endpoint, as https://host/v1; without, BATCHJOB_BASE_URL or OPENAI_BASE_URL.
        db: the database, which keeps every row and label: a file, or the URL of a PostgreSQL database.
        api_key: is sent and never stored; without, the variables that the command reads.
        progress: one line that updates, and the end; False says nothing at all.
        new: a new job in any case, also where that pays for rows that another one has labelled.
        append: go on with the rows by which a file has grown.
        settings: any other (docs/reference/settings.md): `budget=5.0` (USD), or `config="job.toml"` for a file of them.

    Returns:
        The job, also where rows failed or the budget is used up: those rows have the label None.

    Raises:
        SettingError: a setting is missing, unknown or wrong.
        InputError: the data cannot be read.
        JobBusy: another run works in this database.
        JobRefused: the endpoint refuses what is asked.
        BatchjobError: any other known error; all of these are kinds of it, with the command's `exit_code`.
        KeyboardInterrupt: Ctrl-C stopped it.
    """
    settings |= {"labels": _in_order(labels), "model": model, "base_url": base_url}
    return _labelled(data, settings, absolute(os.fspath(db)), api_key, progress, new=new, append=append)


def _labelled(
    data: Any, settings: dict[str, Any], place: str, api_key: str | None, progress: bool, *, new: bool, append: bool
) -> Job:
    """The job of this data and these settings, run to its end."""
    with errors_in_python(place):
        config, files, key_command = asked(settings)
        config, input = plans.complete(config), input_of(data)
        if config.output == "-":
            raise SettingError("output is '-': name a file, or read the labels of the job")
        key = key_for(config, api_key, key_command)
        plan = plans.plan_start(input, config, db=place, new=new, append=append, beside=files)
        if plan.refusal:
            raise plan.refusal
        carry_out(plan, key, key_command, progress=progress)
    return Job(place, plan.name, input.length if isinstance(input, Held) else None)


def _in_order(labels: Any) -> Any:
    """Labels as a list, whatever gives them in an order of its own; a text, a set and a dict are seen to elsewhere."""
    if labels is None or isinstance(labels, str | Mapping | set | frozenset):
        return labels
    return [str(one) if isinstance(one, str) else one for one in labels]  # numpy has texts of a kind of its own
