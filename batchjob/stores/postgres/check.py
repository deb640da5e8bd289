"""Whether a work table is whole: its counters against what they count. Reads only, everything once."""

from __future__ import annotations

from batchjob.model import Usage
from batchjob.records import Difference
from batchjob.stores.counting import IN_SET
from batchjob.stores.ids import expand
from batchjob.stores.postgres import schema
from batchjob.stores.postgres.line import Connection
from batchjob.stores.postgres.nul import restored
from batchjob.stores.postgres.reader import PgReader
from batchjob.stores.postgres.scripts import migrations

_REQUESTS = (
    "(SELECT run.job_id, one.* FROM batchjob.ledger AS one LEFT JOIN batchjob.run ON run.id = run_of(one.id)) AS one"
)
_WORK = "SELECT job_of(id)::int, {name}, count(*) FROM batchjob.work WHERE {which} GROUP BY 1, 2"
_ONE = "SELECT job_id, {name}, {n} FROM " + _REQUESTS + " WHERE {which} GROUP BY 1, 2"

_WITH_FIELDS = "(SELECT id FROM batchjob.job WHERE jsonb_typeof(settings::jsonb -> 'fields') IS NOT NULL)"

COUNTED = {
    "row": [_WORK.format(name="state", which="true")],
    "label": [_WORK.format(name="label", which=f"label IS NOT NULL AND job_of(id) NOT IN {_WITH_FIELDS}")],
    "field": [
        "SELECT field.job, field.name || ': ' || item.value, count(*)"
        " FROM (SELECT job.id AS job, one ->> 'name' AS name, coalesce(one ->> 'kind', 'one') AS kind"
        f" FROM batchjob.job AS job, jsonb_array_elements(job.settings::jsonb -> 'fields') AS one"
        f" WHERE job.id IN {_WITH_FIELDS}) AS field"
        " JOIN batchjob.row AS row ON job_of(row.id) = field.job AND row.label IS NOT NULL"
        " CROSS JOIN LATERAL jsonb_array_elements_text(CASE jsonb_typeof(row.label::jsonb -> field.name)"
        " WHEN 'array' THEN row.label::jsonb -> field.name ELSE jsonb_build_array(row.label::jsonb -> field.name) END)"
        f" AS item (value) WHERE field.kind IN ({IN_SET}) GROUP BY 1, 2"
    ],
    "source": [_WORK.format(name="source", which="source IS NOT NULL")],
    "matched": [_WORK.format(name="matched", which="matched IS NOT NULL")],
    "rule": [_WORK.format(name="origin", which="source = 'rule'")],
    "error": [_WORK.format(name="error_kind", which="state IN ('failed', 'unconfirmed')")],
    "request": [
        _ONE.format(name="outcome", n="count(*)", which="outcome IS NOT NULL"),
        _ONE.format(name="'sent'", n="count(*)", which="outcome <> 'not_sent'"),
        _ONE.format(name="'resent'", n="count(*)", which="repeats IS NOT NULL"),
        f"SELECT one.job_id, 'resent_as_new', count(*) FROM {_REQUESTS}"
        " JOIN batchjob.request AS lost ON lost.id = one.repeats WHERE one.client_key <> lost.client_key GROUP BY 1",
    ],
    "second": [
        _ONE.format(name="'answered'", n="count(*)", which="purpose = 'second' AND outcome = 'answered'"),
        _ONE.format(name="'cost'", n="sum(cost_picousd)::bigint", which="purpose = 'second' AND outcome = 'answered'"),
        _ONE.format(
            name="'unknown'",
            n="count(*)",
            which="purpose = 'second' AND outcome = 'answered' AND cost_picousd IS NULL",
        ),
    ],
    "usage": [
        *(_ONE.format(name=f"'{name}'", n=f"sum({name})::bigint", which="true") for name in Usage.__struct_fields__),
        _ONE.format(name="'odd'", n="count(*)", which="outcome = 'answered' AND odd_usage IS NOT NULL"),
    ],
    "cost": [
        _ONE.format(name="outcome", n="sum(cost_picousd)::bigint", which="outcome IN ('answered', 'lost')"),
        _ONE.format(name="'unknown'", n="count(*)", which="outcome = 'answered' AND cost_picousd IS NULL"),
        _ONE.format(name="'reported'", n="count(*)", which="outcome = 'answered' AND cost_source = 'reported'"),
    ],
}
"""Kind of counter -> the queries that count again: job, name, n. What belongs to no job has no job here."""


class PgCheck(PgReader):
    """See ports.StoreCheck."""

    def version(self) -> tuple[int, int]:
        """See ports.StoreCheck.version."""
        return self._ask(lambda db: schema.version_of(db, self._url)), len(migrations())

    def damages(self) -> list[str]:
        """See ports.StoreCheck.damages. Pages are the server's own to check: pg_amcheck, data checksums."""
        return []

    def differences(self) -> list[Difference]:
        """See ports.StoreCheck.differences."""
        return self._ask(_differences)


async def _differences(db: Connection) -> list[Difference]:
    names = {one["id"]: one["name"] for one in await db.fetch("SELECT id, name FROM batchjob.job")}
    kept = await _counted(db, "SELECT job_id, kind, name, sum(n)::bigint FROM batchjob.tally GROUP BY 1, 2, 3")
    kept = {key: n for key, n in kept.items() if key[1] in COUNTED}
    counted: dict[tuple[int | None, str, str], int] = {}
    for kind, queries in COUNTED.items():
        for query in queries:
            counted |= await _counted(db, f"SELECT job_id, '{kind}', name, n FROM ({query}) AS it (job_id, name, n)")
    read = await _counted(db, "SELECT job_of(id)::int, 'job', 'rows read', count(*) FROM batchjob.input GROUP BY 1")
    kept |= await _counted(db, "SELECT id, 'job', 'rows read', rows FROM batchjob.job")
    counted |= read
    return [
        Difference(names.get(job, f"number {job}, which is no job"), kind, name, kept.get(key, 0), counted.get(key, 0))
        for key in sorted(kept.keys() | counted.keys(), key=str)
        if kept.get(key, 0) != counted.get(key, 0)
        for job, kind, name in [key]
    ]


async def _counted(db: Connection, query: str) -> dict[tuple[int | None, str, str], int]:
    found = map(restored, await db.fetch(expand(query)))
    return {(job, kind, name): n for job, kind, name, n in found if n}
