"""Whether a database is whole: its pages, and its counters against what they count. Reads only, everything once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from batchjob.stores.sqlite import schema
from batchjob.stores.sqlite.reader import StoreReader

MOST_DAMAGES = 5

COUNTED = {
    "row": "SELECT id >> 40, state, count(*) FROM row GROUP BY 1, 2",
    "label": "SELECT id >> 40, label, count(*) FROM row WHERE label IS NOT NULL GROUP BY 1, 2",
    "source": "SELECT id >> 40, source, count(*) FROM row WHERE source IS NOT NULL GROUP BY 1, 2",
    "rule": "SELECT id >> 40, origin, count(*) FROM row WHERE source = 'rule' GROUP BY 1, 2",
    "error": "SELECT id >> 40, error_kind, count(*) FROM row WHERE state IN ('failed', 'unconfirmed') GROUP BY 1, 2",
    "request": (
        "SELECT run.job_id, outcome, count(*) FROM request LEFT JOIN run ON run.id = run_id"
        " WHERE outcome IS NOT NULL GROUP BY 1, 2"
        " UNION ALL SELECT run.job_id, 'sent', count(*) FROM request LEFT JOIN run ON run.id = run_id"
        " WHERE outcome <> 'not_sent' GROUP BY 1"
        # A request that goes out again does so under the key of the lost one.
        " UNION ALL SELECT run.job_id, 'resent', count(*) - count(DISTINCT client_key) FROM request"
        " LEFT JOIN run ON run.id = run_id GROUP BY 1"
    ),
    "usage": (
        "SELECT job_id, name, sum(n) FROM ("
        " SELECT run.job_id, 'input_tokens' AS name, input_tokens AS n FROM request LEFT JOIN run ON run.id = run_id"
        " UNION ALL SELECT run.job_id, 'cached_input_tokens', cached_input_tokens FROM request"
        " LEFT JOIN run ON run.id = run_id"
        " UNION ALL SELECT run.job_id, 'output_tokens', output_tokens FROM request LEFT JOIN run ON run.id = run_id"
        ") WHERE n IS NOT NULL GROUP BY 1, 2"
    ),
    "cost": (
        "SELECT run.job_id, outcome, sum(cost_picousd) FROM request LEFT JOIN run ON run.id = run_id"
        " WHERE outcome IN ('answered', 'lost') AND cost_picousd IS NOT NULL GROUP BY 1, 2"
        " UNION ALL SELECT run.job_id, 'unknown', count(*) FROM request LEFT JOIN run ON run.id = run_id"
        " WHERE outcome = 'answered' AND cost_picousd IS NULL GROUP BY 1"
    ),
}
"""Kind of counter -> the query that counts anew: job, name, n. What belongs to no job is counted under none."""


class Difference(NamedTuple):
    """A counter that is not what it counts."""

    job: str
    kind: str
    name: str
    kept: int  # what the counter says
    counted: int  # what is there


class StoreCheck(StoreReader):
    """A work table, opened for reading and checked. Opening it finds out whether it is ours."""

    def version(self) -> tuple[int, int]:
        """The schema version of the database, and the newest this program knows."""
        return self._all("PRAGMA user_version")[0][0], len(schema.migrations())

    def damages(self) -> list[str]:
        """What SQLite finds wrong with the pages of the file; nothing where all is well."""
        found = [text for (text,) in self._all(f"PRAGMA quick_check({MOST_DAMAGES})")]
        return [] if found == ["ok"] else found

    def differences(self) -> list[Difference]:
        """The counters that differ from what they count, at one instant, also while a job is running."""
        self._db.execute("BEGIN")
        try:
            return list(self._differences())
        finally:
            self._db.execute("COMMIT")

    def _differences(self) -> Iterator[Difference]:
        names: dict[int | None, str] = dict(self._all("SELECT id, name FROM job"))

        def job(id_: int | None) -> str:
            return names.get(id_, f"number {id_}, which is no job")

        kept = {
            (job_id, kind, name): n
            for job_id, kind, name, n in self._all("SELECT job_id, kind, name, n FROM tally WHERE n <> 0")
            if kind in COUNTED
        }
        counted = {
            (job_id, kind, name): n for kind, query in COUNTED.items() for job_id, name, n in self._all(query) if n
        }
        for key in sorted(kept.keys() | counted.keys(), key=str):
            if kept.get(key, 0) != counted.get(key, 0):
                job_id, kind, name = key
                yield Difference(job(job_id), kind, name, kept.get(key, 0), counted.get(key, 0))
        read = dict(self._all("SELECT id >> 40, count(*) FROM input GROUP BY 1"))
        work = dict(self._all("SELECT id >> 40, count(*) FROM row GROUP BY 1"))
        expected = dict(self._all("SELECT id, rows FROM job"))
        for job_id in sorted(read.keys() | work.keys() | expected.keys()):
            for name, there in (("rows read", read), ("rows to label", work)):
                if expected.get(job_id, 0) != there.get(job_id, 0):
                    yield Difference(job(job_id), "job", name, expected.get(job_id, 0), there.get(job_id, 0))
