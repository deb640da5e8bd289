"""open: the jobs of a database, read-only, also while a run writes."""

from __future__ import annotations

import os

import msgspec

from batchjob.api.job import Job
from batchjob.api.table import Table
from batchjob.api.words import errors_in_python
from batchjob.printable import without_passwords
from batchjob.stores import absolute, open_reader
from batchjob.views.jobs_table import JobEntry, jobs_of


def open(db: str | os.PathLike[str] = "batchjob.db") -> Database:
    """The jobs of a database, to be read while a run writes or after it. Nothing is written.

    Raises:
        JobError: there is no database at this path.
        StoreError: it is not batchjob's, is newer than this program, or cannot be read.
    """
    place = absolute(os.fspath(db))
    with errors_in_python(place), open_reader(place):
        return Database(place)


class Database:
    """The jobs of a database. Each call reads them anew."""

    def __init__(self, db: str) -> None:
        self.db = db

    def jobs(self) -> Table:
        """Every job, the oldest first: its name in `job`, `state`, `reason`, `rows` by state, `input`, and times (UTC
        epoch seconds).
        """
        with errors_in_python(self.db), open_reader(self.db) as reader:
            found = jobs_of([one for one in reader.overview() if not one.job.source.sample])
        return Table(JobEntry.__struct_fields__, map(msgspec.to_builtins, found))

    def job(self, name: str | None = None) -> Job:
        """The job of this name; without one, the job that was worked on last.

        Raises:
            JobError: there is none; the text names the nearest.
        """
        with errors_in_python(self.db), open_reader(self.db) as reader:
            return Job(self.db, (reader.job(name) if name else reader.latest()).name)

    def __repr__(self) -> str:
        return f"<batchjob database {without_passwords(self.db)}>"
