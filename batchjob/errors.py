"""What a user can be told went wrong, each with the exit code it ends the program with.

BatchjobError               1   a known error: one sentence, and what to do next
├── SettingError            2   an option or a key of job.toml is missing or wrong
├── InputError              1   the input cannot be read: names the row, line or byte
│   ├── NoColumn            1   the input has no column of this name
│   └── InputChanged        1   the input is not the one this job began with
├── JobError                1   the job does not exist, or does not allow what was asked
│   ├── JobBusy             1   another process is working in this database
│   ├── JobRefused          3   the endpoint refuses what the job asks (raised in Python; the command ends so)
│   └── NoJobs              1   the database has no jobs yet
└── StoreError              1   the database cannot be used
    ├── DiskFull            1   no room left; what was answered is kept
    ├── CommitUnknown       1   the disk failed in a commit: only a restart can tell its outcome
    └── GivenUp             1   other workers took this one for dead: it writes no more

How a run ends (refused by the endpoint, out of budget, interrupted) is a result, not an error: see model.Ending. To a
program that calls batchjob, an ending with exit code 1 or 3 is one: see batchjob.api.
"""

from __future__ import annotations

from collections.abc import Sequence


class BatchjobError(Exception):
    """A known error. Its text says what happened and what to do; it is printed without a traceback.

    `then` is the command to type next, its verb first: who prints it knows how the user named the database.
    """

    exit_code = 1

    def __init__(self, text: str = "", *, then: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.then = tuple(then)


class SettingError(BatchjobError):
    """An option or a key of job.toml is missing or wrong."""

    exit_code = 2


class InputError(BatchjobError):
    """The input cannot be read."""


class NoColumn(InputError):
    """The input has no column of this name."""


class InputChanged(InputError):
    """The input is not the one this job began with."""


class JobError(BatchjobError):
    """The job does not exist, or does not allow what was asked."""


class JobBusy(JobError):
    """Another process is working in this database."""


class JobRefused(JobError):
    """The endpoint refuses what the job asks; its rows are still to be labelled."""

    exit_code = 3


class NoJobs(JobError):
    """The database has no jobs yet."""


class StoreError(BatchjobError):
    """The database cannot be used."""


class DiskFull(StoreError):
    """There was no room for a commit. Nothing of that commit was stored."""


class CommitUnknown(StoreError):
    """The disk reported an error in a commit, so nobody knows whether it is stored until it is read again."""


class GivenUp(StoreError):
    """Other workers on the job took this one for dead, so it may not write any more."""
