"""Whether a database is whole: its pages, and its counters against what they count. Reads only, everything once."""

from __future__ import annotations

from collections.abc import Iterator

from batchjob.model import Usage
from batchjob.records import Difference
from batchjob.stores.counting import IN_SET
from batchjob.stores.ids import expand
from batchjob.stores.sqlite import schema
from batchjob.stores.sqlite.reader import SqliteReader

MOST_DAMAGES = 5

_REQUESTS = (
    "(SELECT run.job_id, one.* FROM ("
    "SELECT id, client_key, repeats, purpose, outcome, input_tokens, cached_input_tokens, output_tokens,"
    " reasoning_tokens, cost_picousd, cost_source, odd_usage FROM request"
    " UNION ALL SELECT id, client_key, repeats, purpose, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM intent"
    ") AS one LEFT JOIN run ON run.id = run_of(one.id))"
)

_PLAIN = "job_of(id) NOT IN (SELECT id FROM job WHERE json_type(settings, '$.fields') IS NOT NULL)"

COUNTED = {
    "row": "SELECT job_of(id), state, count(*) FROM row GROUP BY 1, 2",
    "label": f"SELECT job_of(id), label, count(*) FROM row WHERE label IS NOT NULL AND {_PLAIN} GROUP BY 1, 2",
    "field": (
        "SELECT field.job, field.name || ': ' || item.value, count(*)"
        " FROM (SELECT job.id AS job, one.value ->> 'name' AS name, coalesce(one.value ->> 'kind', 'one') AS kind"
        " FROM job, json_each(job.settings, '$.fields') AS one) AS field"
        " JOIN row ON job_of(row.id) = field.job AND row.label IS NOT NULL"
        " JOIN json_each(row.label, '$.' || field.name) AS item"
        f" WHERE field.kind IN ({IN_SET}) GROUP BY 1, 2"
    ),
    "source": "SELECT job_of(id), source, count(*) FROM row WHERE source IS NOT NULL GROUP BY 1, 2",
    "matched": "SELECT job_of(id), matched, count(*) FROM row WHERE matched IS NOT NULL GROUP BY 1, 2",
    "rule": "SELECT job_of(id), origin, count(*) FROM row WHERE source = 'rule' GROUP BY 1, 2",
    "error": "SELECT job_of(id), error_kind, count(*) FROM row WHERE state IN ('failed', 'unconfirmed') GROUP BY 1, 2",
    "request": (
        f"SELECT job_id, outcome, count(*) FROM {_REQUESTS} WHERE outcome IS NOT NULL GROUP BY 1, 2"
        f" UNION ALL SELECT job_id, 'sent', count(*) FROM {_REQUESTS} WHERE outcome <> 'not_sent' GROUP BY 1"
        f" UNION ALL SELECT job_id, 'resent', count(*) FROM {_REQUESTS} WHERE repeats IS NOT NULL GROUP BY 1"
        f" UNION ALL SELECT again.job_id, 'resent_as_new', count(*) FROM {_REQUESTS} AS again"
        f" JOIN request AS lost ON lost.id = again.repeats WHERE again.client_key <> lost.client_key GROUP BY 1"
    ),
    "second": (
        f"SELECT job_id, 'answered', count(*) FROM {_REQUESTS} WHERE purpose = 'second' AND outcome = 'answered'"
        f" GROUP BY 1 UNION ALL SELECT job_id, 'cost', total(cost_picousd) FROM {_REQUESTS}"
        f" WHERE purpose = 'second' AND outcome = 'answered' GROUP BY 1"
        f" UNION ALL SELECT job_id, 'unknown', count(*) FROM {_REQUESTS}"
        f" WHERE purpose = 'second' AND outcome = 'answered' AND cost_picousd IS NULL GROUP BY 1"
    ),
    "usage": " UNION ALL ".join(
        f"SELECT job_id, '{name}', sum({name}) FROM {_REQUESTS} WHERE {name} IS NOT NULL GROUP BY 1"
        for name in Usage.__struct_fields__
    )
    + f" UNION ALL SELECT job_id, 'odd', count(*) FROM {_REQUESTS}"
    f" WHERE outcome = 'answered' AND odd_usage IS NOT NULL GROUP BY 1",
    "cost": (
        f"SELECT job_id, outcome, sum(cost_picousd) FROM {_REQUESTS}"
        f" WHERE outcome IN ('answered', 'lost') AND cost_picousd IS NOT NULL GROUP BY 1, 2"
        f" UNION ALL SELECT job_id, 'unknown', count(*) FROM {_REQUESTS}"
        f" WHERE outcome = 'answered' AND cost_picousd IS NULL GROUP BY 1"
        f" UNION ALL SELECT job_id, 'reported', count(*) FROM {_REQUESTS}"
        f" WHERE outcome = 'answered' AND cost_source = 'reported' GROUP BY 1"
    ),
}
"""Kind of counter -> the query that counts again: job, name, n. What belongs to no job has no job here."""


class SqliteCheck(SqliteReader):
    """See ports.StoreCheck."""

    counts_all = True

    def version(self) -> tuple[int, int]:
        """The schema version of the database, and the newest this program knows."""
        return self._all("PRAGMA user_version")[0][0], len(schema.migrations())

    def damages(self) -> list[str]:
        """What SQLite finds wrong with the pages of the file; nothing where all is well."""
        found = [text for (text,) in self._all(f"PRAGMA quick_check({MOST_DAMAGES})")]
        return [] if found == ["ok"] else found

    def differences(self) -> list[Difference]:
        """The counters that differ from what they count, at one instant, also while a job is running."""
        with self._instant():
            return list(self._differences())

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
            (job_id, kind, name): n
            for kind, query in COUNTED.items()
            for job_id, name, n in self._all(expand(query))
            if n
        }
        for key in sorted(kept.keys() | counted.keys(), key=str):
            if kept.get(key, 0) != counted.get(key, 0):
                job_id, kind, name = key
                yield Difference(job(job_id), kind, name, kept.get(key, 0), counted.get(key, 0))
        read = dict(self._all(expand("SELECT job_of(id), count(*) FROM input GROUP BY 1")))
        work = dict(self._all(expand("SELECT job_of(id), count(*) FROM row GROUP BY 1")))
        expected = dict(self._all("SELECT id, rows FROM job"))
        for job_id in sorted(read.keys() | work.keys() | expected.keys()):
            for name, there in (("rows read", read), ("rows to label", work)):
                if expected.get(job_id, 0) != there.get(job_id, 0):
                    yield Difference(job(job_id), "job", name, expected.get(job_id, 0), there.get(job_id, 0))
