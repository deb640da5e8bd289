"""The inner form of ids: a row's is job << 40 | number, a request's run << 40 | number. Besides, only the functions in
the tables of PostgreSQL know it (migrations/postgres).

SQL says job_of(id), run_of(id), number_of(id) and row_of(job, number); `expand` puts their arithmetic in before a
database sees it, so that an index can be used.
"""

from __future__ import annotations

import re

SHIFT = 40
NUMBERS = (1 << SHIFT) - 1
MOST_JOBS = (1 << 63 - SHIFT) - 1

_CALL = re.compile(r"\b(job_of|run_of|number_of|row_of)\(([\w.:]+)(?:, ([\w.]+))?\)")


def expand(sql: str) -> str:
    """SQL with the arithmetic of its ids written out."""
    return _CALL.sub(_arithmetic, sql)


def _arithmetic(call: re.Match[str]) -> str:
    name, id_, number = call.groups()
    if name == "row_of":
        return f"(({id_} << {SHIFT}) + {number})"
    return f"({id_} & {NUMBERS})" if name == "number_of" else f"({id_} >> {SHIFT})"


def row_range(job_id: int) -> tuple[int, int]:
    """The ids between which a job's rows lie: above the first, up to the second."""
    return job_id << SHIFT, ((job_id + 1) << SHIFT) - 1


def row_id(job_id: int, number: int) -> int:
    """The id of a job's row."""
    return (job_id << SHIFT) + number


def number_of(id_: int) -> int:
    """The number of a row in its job, or of a request in its run."""
    return id_ & NUMBERS


def owner_of(id_: int) -> int:
    """The job of a row, or the run of a request."""
    return id_ >> SHIFT


def moved(id_: int, owner: int) -> int:
    """The id that a row has in another job, or a request in another run."""
    return (owner << SHIFT) + number_of(id_)


def first_request_id(run_id: int) -> int:
    """The id of a run's first request; the others follow it."""
    return (run_id << SHIFT) + 1


def request_range(run_id: int) -> tuple[int, int]:
    """The ids between which a run's requests lie, both included."""
    return run_id << SHIFT, ((run_id + 1) << SHIFT) - 1


def spread(first: int, last: int, points: int) -> list[int]:
    """About so many numbers between two, both included."""
    return sorted({*range(first, last + 1, max((last - first) // points, 1)), last})
