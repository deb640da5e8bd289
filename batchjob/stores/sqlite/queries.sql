-- The writing queries of the work table, one for each transition, and the reading queries of a run.

-- A group of writes is carried out by the queries of the first part. :rows is a JSON array of arrays, so that one
-- statement does a whole group; group.py makes a trigger of them, so that one step of SQLite does all of them.

-- name: add_input
-- Rows of the input, as they were read: [id, line, key, text, rest, defect].
INSERT INTO input (id, line, key, text, rest, defect)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(:rows);

-- name: add_rows
-- Work for those inputs: [first id, last id].
INSERT INTO row (id)
SELECT input.id FROM json_each(:rows) AS given CROSS JOIN input
WHERE input.id BETWEEN given.value ->> 0 AND given.value ->> 1;

-- name: advance_input
-- How far the input is in the work table: [rows before, rows, position, digest, ingested].
UPDATE job SET rows = given.rows, position = given.position, digest = given.digest, ingested = given.ingested
FROM (
    SELECT value ->> 0 AS before, value ->> 1 AS rows, value ->> 2 AS position, value ->> 3 AS digest,
        value ->> 4 AS ingested
    FROM json_each(:rows)
) AS given
WHERE job.id = :job AND job.rows = given.before;

-- name: settle_requests
-- What became of requests: [id, ended_at, outcome, status, request_id, input, cached, output, error_kind, error, cost].
UPDATE request SET ended_at = given.ended_at, outcome = given.outcome, status = given.status,
    request_id = given.request_id, input_tokens = given.input, cached_input_tokens = given.cached,
    output_tokens = given.output, error_kind = given.error_kind, error = given.error, cost_picousd = given.cost
FROM (
    SELECT value ->> 0 AS id, value ->> 1 AS ended_at, value ->> 2 AS outcome, value ->> 3 AS status,
        value ->> 4 AS request_id, value ->> 5 AS input, value ->> 6 AS cached, value ->> 7 AS output,
        value ->> 8 AS error_kind, value ->> 9 AS error, value ->> 10 AS cost
    FROM json_each(:rows)
) AS given
WHERE request.id = given.id AND request.outcome IS NULL;

-- name: complete
-- in_flight -> done: [row, claim, attempts, paid, label, source, answer].
UPDATE row SET state = 'done', attempts = given.attempts, paid = given.paid, label = given.label,
    source = given.source, answer = given.answer
FROM (
    SELECT value ->> 0 AS id, value ->> 1 AS claim, value ->> 2 AS attempts, value ->> 3 AS paid,
        value ->> 4 AS label, value ->> 5 AS source, value ->> 6 AS answer
    FROM json_each(:rows)
) AS given
WHERE row.id = given.id AND row.state = 'in_flight' AND row.claim = given.claim;

-- name: release
-- in_flight -> pending: [row, claim, attempts, paid, _, _, answer, error_kind, error, known_by].
UPDATE row SET state = 'pending', claim = coalesce(given.known_by, given.claim), attempts = given.attempts,
    paid = given.paid, answer = given.answer, error_kind = given.error_kind, error = given.error
FROM (
    SELECT value ->> 0 AS id, value ->> 1 AS claim, value ->> 2 AS attempts, value ->> 3 AS paid,
        value ->> 6 AS answer, value ->> 7 AS error_kind, value ->> 8 AS error, value ->> 9 AS known_by
    FROM json_each(:rows)
) AS given
WHERE row.id = given.id AND row.state = 'in_flight' AND row.claim = given.claim;

-- name: fail
-- in_flight -> failed: [row, claim, attempts, paid, _, _, answer, error_kind, error, known_by].
UPDATE row SET state = 'failed', claim = coalesce(given.known_by, given.claim), attempts = given.attempts,
    paid = given.paid, answer = given.answer, error_kind = given.error_kind, error = given.error
FROM (
    SELECT value ->> 0 AS id, value ->> 1 AS claim, value ->> 2 AS attempts, value ->> 3 AS paid,
        value ->> 6 AS answer, value ->> 7 AS error_kind, value ->> 8 AS error, value ->> 9 AS known_by
    FROM json_each(:rows)
) AS given
WHERE row.id = given.id AND row.state = 'in_flight' AND row.claim = given.claim;

-- name: lose
-- in_flight -> unconfirmed: [row, claim, attempts, paid, _, _, _, error_kind, error].
UPDATE row SET state = 'unconfirmed', attempts = given.attempts, paid = given.paid,
    error_kind = given.error_kind, error = given.error
FROM (
    SELECT value ->> 0 AS id, value ->> 1 AS claim, value ->> 2 AS attempts, value ->> 3 AS paid,
        value ->> 7 AS error_kind, value ->> 8 AS error
    FROM json_each(:rows)
) AS given
WHERE row.id = given.id AND row.state = 'in_flight' AND row.claim = given.claim;

-- name: assign
-- pending -> done, without a request: [row, _, attempts, paid, label, source, _, _, _, _, origin].
UPDATE row SET state = 'done', label = given.label, source = given.source, origin = given.origin,
    error_kind = NULL, error = NULL
FROM (
    SELECT value ->> 0 AS id, value ->> 4 AS label, value ->> 5 AS source, value ->> 10 AS origin
    FROM json_each(:rows)
) AS given
WHERE row.id = given.id AND row.state = 'pending';

-- name: reject
-- pending -> failed, without a request: [row, _, _, _, _, _, _, error_kind, error].
UPDATE row SET state = 'failed', error_kind = given.error_kind, error = given.error
FROM (
    SELECT value ->> 0 AS id, value ->> 7 AS error_kind, value ->> 8 AS error FROM json_each(:rows)
) AS given
WHERE row.id = given.id AND row.state = 'pending';

-- name: hold
-- pending -> unconfirmed, without a request: [row, _, _, _, _, _, _, error_kind, error].
UPDATE row SET state = 'unconfirmed', claim = 0, error_kind = given.error_kind, error = given.error
FROM (
    SELECT value ->> 0 AS id, value ->> 7 AS error_kind, value ->> 8 AS error FROM json_each(:rows)
) AS given
WHERE row.id = given.id AND row.state = 'pending';

-- name: add_requests
-- Requests about to be sent: [id, client_key, rows, model, sent_at, cost, purpose].
INSERT INTO request (id, run_id, client_key, rows, model, sent_at, cost_picousd, purpose)
SELECT value ->> 0, :run, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
FROM json_each(:rows);

-- name: claim_rows
-- pending -> in_flight: [row, request].
UPDATE row SET state = 'in_flight', claim = given.claim, error_kind = NULL, error = NULL
FROM (SELECT value ->> 0 AS id, value ->> 1 AS claim FROM json_each(:rows)) AS given
WHERE row.id = given.id AND row.state = 'pending';

-- name: remember
-- Labels for whoever asks the same again: [id, code, label, fallback, at].
INSERT INTO label_cache (id, code, label, fallback, job_id, at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, :job, value ->> 4 FROM json_each(:rows) WHERE true
ON CONFLICT DO UPDATE SET code = excluded.code, label = excluded.label, fallback = excluded.fallback,
    job_id = excluded.job_id, at = excluded.at;

-- name: beat
-- A sign of life of the run: [at, rows_per_second, pacing].
UPDATE run SET updated_at = given.at, rows_per_second = given.rate, pacing = given.pacing
FROM (SELECT value ->> 0 AS at, value ->> 1 AS rate, value ->> 2 AS pacing FROM json_each(:rows)) AS given
WHERE run.id = :run;

-- name: count_up
-- Counters move: [kind, name, by].
INSERT INTO tally (job_id, kind, name, n)
SELECT :job, value ->> 0, value ->> 1, value ->> 2 FROM json_each(:rows) WHERE true
ON CONFLICT DO UPDATE SET n = n + excluded.n;

-- name: retry
-- failed, unconfirmed -> pending, one error kind of a job.
UPDATE row SET state = 'pending', claim = coalesce(claim, 0), attempts = 0, paid = 0, answer = NULL
WHERE id >> 40 = :job AND error_kind = :kind AND state IN ('failed', 'unconfirmed');

-- name: add_job
-- A job, with nothing read yet.
INSERT INTO job (uid, name, input_path, source, settings, task_digest, state, created_at, updated_at)
VALUES (:uid, :name, :input_path, :source, :settings, :task_digest, 'stopped', :at, :at);

-- name: set_settings
-- What the next run goes by.
UPDATE job SET settings = :settings WHERE id = :job;

-- name: set_state
-- What the job is doing, and why.
UPDATE job SET state = :state, reason = :reason, updated_at = :at WHERE id = :job;

-- name: add_run
-- A process begins to work on a job.
INSERT INTO run (job_id, pid, started_at, updated_at, last_request_before) VALUES (:job, :pid, :at, :at, :last);

-- name: end_run
-- It has ended; one whose requests have not all come to an outcome is left to be recovered like one that died.
UPDATE run SET updated_at = :at, pacing = '', rows_per_second = NULL, ended_at = iif(EXISTS (
    SELECT 1 FROM request WHERE request.id > run.last_request_before AND run_id = run.id AND outcome IS NULL
), NULL, :at) WHERE id = :run;

-- name: last_request
-- The highest request so far.
SELECT coalesce(max(id), 0) FROM request;

-- name: fresh_rows
-- Rows never claimed, in input order, between two ids.
SELECT row.id, input.text, input.defect, input.rest FROM row CROSS JOIN input ON input.id = row.id
WHERE row.id > :after AND row.id <= :last AND row.state = 'pending' AND row.claim IS NULL
ORDER BY row.id LIMIT :limit;

-- name: returned_rows
-- Pending rows that were claimed before, those of one request together; a lost request's with its key.
SELECT row.claim, row.id, input.text, row.attempts, row.paid, input.defect, input.rest, request.model,
    CASE request.outcome WHEN 'lost' THEN request.client_key END, row.error_kind IS 'unconfirmed'
FROM row CROSS JOIN input ON input.id = row.id LEFT JOIN request ON request.id = row.claim
WHERE row.id >> 40 = :job AND row.state = 'pending' AND row.claim IS NOT NULL
    AND (row.claim, row.id) > (:claim, :after) AND row.claim <= :last_claim
ORDER BY row.claim, row.id LIMIT :limit;

-- name: unheard_rows
-- Rows that went out and were not heard of, in all jobs that ask as this one does: those that are held or failed; in
-- the other jobs also those that are out, or to go out again, in the next run. The ids are sorted before their texts are
-- looked up, one after the other.
WITH asks_alike AS (
    SELECT other.id FROM job AS own JOIN job AS other
        ON json_extract(other.settings, '$.base_url', '$.labels', '$.prompt', '$.max_tokens', '$.temperature')
        = json_extract(own.settings, '$.base_url', '$.labels', '$.prompt', '$.max_tokens', '$.temperature')
    WHERE own.id = :job
), unheard AS (
    SELECT row.id FROM asks_alike CROSS JOIN row INDEXED BY row_problem ON row.id >> 40 = +asks_alike.id
    WHERE row.state IN ('failed', 'unconfirmed') AND (SELECT outcome FROM request WHERE request.id = row.claim) = 'lost'
    UNION ALL
    SELECT row.id FROM asks_alike CROSS JOIN row INDEXED BY row_returned ON row.id >> 40 = +asks_alike.id
    WHERE row.state = 'pending' AND row.claim IS NOT NULL AND asks_alike.id <> :job
        AND (SELECT outcome FROM request WHERE request.id = row.claim) = 'lost'
    UNION ALL
    SELECT (asks_alike.id << 40) + given.value
    FROM asks_alike CROSS JOIN run ON run.job_id = asks_alike.id AND run.ended_at IS NULL
        CROSS JOIN request NOT INDEXED ON request.id > run.last_request_before AND +request.run_id = run.id
        CROSS JOIN json_each(request.rows) AS given
    WHERE request.outcome IS NULL AND +request.purpose = 'label' AND asks_alike.id <> :job
)
SELECT row.id, input.text, request.model, iif(job.id = :job, '', job.name)
FROM (SELECT id FROM unheard WHERE id > :after ORDER BY id LIMIT :limit) AS page
    CROSS JOIN row ON row.id = page.id JOIN input ON input.id = row.id
    JOIN request ON request.id = row.claim JOIN job ON job.id = row.id >> 40;

-- name: in_flight_rows
-- What a dead run left in flight.
SELECT id, claim FROM row WHERE id > :first AND id <= :last AND state = 'in_flight';

-- name: recover_rows
-- in_flight -> pending or unconfirmed, after a crash: [row, claim].
UPDATE row SET state = :state, error_kind = iif(:state = 'pending', error_kind, 'unconfirmed'), error = :error
FROM (SELECT value ->> 0 AS id, value ->> 1 AS claim FROM json_each(:rows)) AS given
WHERE row.id = given.id AND row.state = 'in_flight' AND row.claim = given.claim;

-- name: dead_requests
-- The requests that dead runs had out.
SELECT request.id, coalesce(request.cost_picousd, 0) FROM run JOIN request
    ON request.id > run.last_request_before AND request.run_id = run.id AND request.outcome IS NULL
WHERE run.job_id = :job AND run.ended_at IS NULL;

-- name: hold_lost_rows
-- pending -> unconfirmed: rows of lost requests, which an earlier run would have sent again.
UPDATE row SET state = 'unconfirmed', error_kind = 'unconfirmed'
WHERE id >> 40 = :job AND state = 'pending' AND claim > 0
    AND (SELECT outcome FROM request WHERE request.id = row.claim) = 'lost';

-- name: recover_requests
-- They are lost: [id, cost].
UPDATE request SET outcome = 'lost', ended_at = :at, error_kind = 'unconfirmed', error = :error
FROM (SELECT value ->> 0 AS id FROM json_each(:rows)) AS given
WHERE request.id = given.id AND request.outcome IS NULL;

-- name: end_dead_runs
-- They ended when they last gave a sign of life.
UPDATE run SET ended_at = updated_at WHERE job_id = :job AND ended_at IS NULL;

-- name: cached_labels
-- Remembered labels: :keys is [[id, code]].
SELECT label_cache.id, label_cache.code, label_cache.label, label_cache.fallback, label_cache.job_id,
    coalesce(job.name, '')
FROM json_each(:keys) AS given JOIN label_cache ON label_cache.id = given.value ->> 0
    LEFT JOIN job ON job.id = label_cache.job_id
WHERE label_cache.code = given.value ->> 1;

-- name: set_prices
-- What costs are reckoned at.
UPDATE job SET prices = :prices WHERE id = :job;

-- name: forget_all
-- No label is remembered any more.
DELETE FROM label_cache;

-- name: forget_older
-- Nor are those remembered before a time.
DELETE FROM label_cache WHERE at < :before;
