-- The writing queries of the work table, one for each transition, and the reading queries of a run.
-- job_of(), run_of() and number_of() take an id apart: see ids.py.

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

-- name: add_notices
-- What was noticed in those inputs: [kind, what]. A run that reads on may notice again what one before it has.
INSERT INTO notice (job_id, kind, what, number)
SELECT :job, value ->> 0, value ->> 1,
    given.key + 1 + (SELECT coalesce(max(number), 0) FROM notice WHERE job_id = :job)
FROM json_each(:rows) AS given WHERE true
ON CONFLICT DO NOTHING;

-- name: settle_requests
-- What became of requests, which are over now: [id, ended_at, outcome, status, provider_id, input, cached, output,
-- cost, cost_source, error_kind, error, reasoning, odd_usage, untaken]. One that was turned away, and goes again for
-- the lost one, repeats nothing.
INSERT INTO request (id, task_id, client_key, body_digest, rows, purpose, model, sent_at, repeats, ended_at, outcome,
    status, provider_id, input_tokens, cached_input_tokens, output_tokens, cost_picousd, cost_source, error_kind, error,
    reasoning_tokens, odd_usage)
SELECT intent.id, intent.task_id, intent.client_key, intent.body_digest, intent.rows, intent.purpose, intent.model,
    intent.sent_at, CASE WHEN given.value ->> 14 IS NULL THEN intent.repeats END, given.value ->> 1,
    given.value ->> 2, given.value ->> 3, given.value ->> 4, given.value ->> 5, given.value ->> 6, given.value ->> 7, given.value ->> 8, given.value ->> 9, given.value ->> 10,
    given.value ->> 11, given.value ->> 12, given.value ->> 13
FROM json_each(:rows) AS given CROSS JOIN intent ON intent.id = given.value ->> 0;
DELETE FROM intent WHERE id IN (SELECT value ->> 0 FROM json_each(:rows));

-- name: complete
-- in_flight -> done: [row, request, attempts, paid, label, source, matched, answer, confidence].
UPDATE row SET state = 'done', task_id = :task, attempts = given.attempts, paid = given.paid, label = given.label,
    source = given.source, matched = given.matched, answer = given.answer,
    confidence = given.confidence, put_back = 0
FROM (
    SELECT value ->> 0 AS id, value ->> 1 AS request, value ->> 2 AS attempts, value ->> 3 AS paid,
        value ->> 4 AS label, value ->> 5 AS source, value ->> 6 AS matched, value ->> 7 AS answer,
        value ->> 8 AS confidence
    FROM json_each(:rows)
) AS given
WHERE row.id = given.id AND row.state = 'in_flight' AND row.request_id = given.request;

-- name: release
-- in_flight -> pending: [row, request, attempts, paid, answer, error_kind, error, known_by, first].
UPDATE row SET state = 'pending', request_id = coalesce(given.known_by, given.request), attempts = given.attempts,
    paid = given.paid, answer = given.answer, error_kind = given.error_kind, error = given.error,
    first = coalesce(given.first, row.first)
FROM (
    SELECT value ->> 0 AS id, value ->> 1 AS request, value ->> 2 AS attempts, value ->> 3 AS paid,
        value ->> 4 AS answer, value ->> 5 AS error_kind, value ->> 6 AS error, value ->> 7 AS known_by,
        value ->> 8 AS first
    FROM json_each(:rows)
) AS given
WHERE row.id = given.id AND row.state = 'in_flight' AND row.request_id = given.request;

-- name: fail
-- in_flight -> failed: [row, request, attempts, paid, answer, error_kind, error, known_by].
UPDATE row SET state = 'failed', request_id = coalesce(given.known_by, given.request), attempts = given.attempts,
    paid = given.paid, answer = given.answer, put_back = 0, error_kind = given.error_kind, error = given.error
FROM (
    SELECT value ->> 0 AS id, value ->> 1 AS request, value ->> 2 AS attempts, value ->> 3 AS paid,
        value ->> 4 AS answer, value ->> 5 AS error_kind, value ->> 6 AS error, value ->> 7 AS known_by
    FROM json_each(:rows)
) AS given
WHERE row.id = given.id AND row.state = 'in_flight' AND row.request_id = given.request;

-- name: lose
-- in_flight -> unconfirmed: [row, request, attempts, paid, _, error_kind, error].
UPDATE row SET state = 'unconfirmed', attempts = given.attempts, paid = given.paid, put_back = 0,
    error_kind = given.error_kind, error = given.error
FROM (
    SELECT value ->> 0 AS id, value ->> 1 AS request, value ->> 2 AS attempts, value ->> 3 AS paid,
        value ->> 5 AS error_kind, value ->> 6 AS error
    FROM json_each(:rows)
) AS given
WHERE row.id = given.id AND row.state = 'in_flight' AND row.request_id = given.request;

-- name: assign
-- pending -> done, without a request: [row, label, source, origin, matched, confidence].
UPDATE row SET state = 'done', task_id = :task, label = given.label, source = given.source, origin = given.origin,
    matched = given.matched, confidence = given.confidence, put_back = 0, error_kind = NULL, error = NULL
FROM (
    SELECT value ->> 0 AS id, value ->> 1 AS label, value ->> 2 AS source, value ->> 3 AS origin,
        value ->> 4 AS matched, value ->> 5 AS confidence
    FROM json_each(:rows)
) AS given
WHERE row.id = given.id AND row.state = 'pending';

-- name: reject
-- pending -> failed, without a request: [row, error_kind, error, answer]; an answer that is not given stays.
UPDATE row SET state = 'failed', put_back = 0, error_kind = given.error_kind, error = given.error,
    answer = coalesce(given.answer, row.answer)
FROM (
    SELECT value ->> 0 AS id, value ->> 1 AS error_kind, value ->> 2 AS error, value ->> 3 AS answer
    FROM json_each(:rows)
) AS given
WHERE row.id = given.id AND row.state = 'pending';

-- name: hold
-- pending -> unconfirmed, without a request: [row, error_kind, error].
UPDATE row SET state = 'unconfirmed', request_id = 0, put_back = 0, error_kind = given.error_kind, error = given.error
FROM (SELECT value ->> 0 AS id, value ->> 1 AS error_kind, value ->> 2 AS error FROM json_each(:rows)) AS given
WHERE row.id = given.id AND row.state = 'pending';

-- name: add_intents
-- Requests about to be sent: [id, client_key, body_digest, rows, purpose, model, sent_at, outlives_run, cost, repeats].
INSERT INTO intent (id, task_id, client_key, body_digest, rows, purpose, model, sent_at, outlives_run, cost_picousd,
    repeats)
SELECT value ->> 0, :task, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
    value ->> 8, value ->> 9
FROM json_each(:rows);

-- name: claim_rows
-- pending -> in_flight: [row, request].
UPDATE row SET state = 'in_flight', request_id = given.request, error_kind = NULL, error = NULL
FROM (SELECT value ->> 0 AS id, value ->> 1 AS request FROM json_each(:rows)) AS given
WHERE row.id = given.id AND row.state = 'pending';

-- name: remember
-- Labels for whoever asks the same again: [id, code, label, off_list, at, loose].
INSERT INTO label_cache_inbox (id, code, label, off_list, job_id, at, loose)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, :job, value ->> 4, value ->> 5 FROM json_each(:rows);

-- name: beat
-- A sign of life of the run: [at, rows_per_second, pacing, outage, rows_unwanted].
UPDATE run SET updated_at = given.at, rows_per_second = given.rate, pacing = given.pacing, outage = given.outage,
    rows_unwanted = given.rows_unwanted
FROM (
    SELECT value ->> 0 AS at, value ->> 1 AS rate, value ->> 2 AS pacing, value ->> 3 AS outage, value ->> 4 AS rows_unwanted
    FROM json_each(:rows)
) AS given
WHERE run.id = :run;

-- name: count_up
-- Counters move: [kind, name, by].
INSERT INTO tally (job_id, kind, name, n)
SELECT :job, value ->> 0, value ->> 1, value ->> 2 FROM json_each(:rows) WHERE true
ON CONFLICT DO UPDATE SET n = n + excluded.n;

-- ---------------------------------------------------------------- jobs and runs

-- name: add_task
INSERT INTO task (digest, question, settings) VALUES (:digest, :question, :settings) ON CONFLICT DO NOTHING;

-- name: add_job
-- A job, with nothing read yet.
INSERT INTO job (uid, name, task_id, input_path, source, settings, state, created_at, updated_at)
VALUES (:uid, :name, (SELECT id FROM task WHERE digest = :digest), :input_path, :source, :settings, 'stopped',
    :at, :at);

-- name: set_settings
-- What the next run goes by.
UPDATE job SET settings = :settings WHERE id = :job;

-- name: set_source
-- The input lies elsewhere now, or has grown.
UPDATE job SET source = :source, input_path = :input_path WHERE id = :job;

-- name: set_state
-- What the job is doing, and why.
UPDATE job SET state = :state, reason = :reason, reason_kind = :kind, updated_at = :at WHERE id = :job;

-- name: set_prices
-- What costs are reckoned at.
UPDATE job SET prices = :prices WHERE id = :job;

-- name: add_run
-- A process begins to work on a job.
INSERT INTO run (job_id, task_id, pid, started_at, updated_at)
VALUES (:job, (SELECT id FROM task WHERE digest = :digest), :pid, :at, :at);

-- name: end_run
UPDATE run SET updated_at = :at, pacing = '', outage = NULL, rows_per_second = NULL, ended_at = :at WHERE id = :run;

-- ---------------------------------------------------------------- what endpoints taught

-- name: learned
SELECT model, facts FROM learned WHERE base_url = :base_url ORDER BY model;

-- name: learn
INSERT INTO learned (base_url, model, facts, at) VALUES (:base_url, :model, :facts, :at)
ON CONFLICT DO UPDATE SET facts = excluded.facts, at = excluded.at;

-- ---------------------------------------------------------------- a job is removed

-- name: remove_requests
-- Of one run.
DELETE FROM request WHERE id BETWEEN :first AND :last;
-- name: remove_intents
DELETE FROM intent WHERE id BETWEEN :first AND :last;

-- name: remove_row
DELETE FROM row WHERE id > :first AND id <= :last;
-- name: remove_input
DELETE FROM input WHERE id > :first AND id <= :last;

-- name: remove_notice
DELETE FROM notice WHERE job_id = :job;
-- name: remove_tally
DELETE FROM tally WHERE job_id = :job;
-- name: remove_run
DELETE FROM run WHERE job_id = :job;
-- name: disown_cache
-- Its number may be given to another job, which has not bought these labels.
UPDATE label_cache SET job_id = 0 WHERE job_id = :job;
-- name: disown_inbox
UPDATE label_cache_inbox SET job_id = 0 WHERE job_id = :job;
-- name: remove_job
DELETE FROM job WHERE id = :job;
-- name: remove_tasks
-- Nobody asks them any more.
DELETE FROM task WHERE id NOT IN (SELECT task_id FROM job UNION SELECT task_id FROM run);

-- ---------------------------------------------------------------- rows to work on

-- name: fresh_rows
-- Rows never claimed, in input order, between two ids.
SELECT row.id, input.text, input.defect, input.rest, input.key FROM row CROSS JOIN input ON input.id = row.id
WHERE row.id > :after AND row.id <= :last AND row.state = 'pending' AND row.request_id IS NULL
ORDER BY row.id LIMIT :limit;

-- name: returned_rows
-- Pending rows that were out before, or put back; those of one request together, a lost request's with its key. An
-- answer that a row has is that of its request, if that was answered: whether :run asks otherwise is told with it.
SELECT row.request_id, row.id, input.text, row.attempts, row.paid, input.defect, input.rest, row.put_back, row.answer,
    request.model, CASE request.outcome WHEN 'lost' THEN request.client_key END, request.body_digest,
    request.error_kind IS 'broken_off_answer',
    row.answer IS NOT NULL AND (request.outcome IS NOT 'answered' OR NOT EXISTS (
        SELECT 1 FROM run JOIN task AS own ON own.id = run.task_id JOIN task AS other USING (question)
        WHERE run.id = :run AND other.id = request.task_id
            AND own.settings ->> 'model' IS other.settings ->> 'model'
            AND own.settings ->> 'routes' IS other.settings ->> 'routes'
    )),
    row.first, input.key
FROM row INDEXED BY row_returned CROSS JOIN input ON input.id = row.id
    LEFT JOIN request ON request.id = row.request_id
WHERE row.state = 'pending' AND row.request_id IS NOT NULL AND row.id > :first AND row.id <= :last
    AND (row.request_id, row.id) > (:request, :after) AND row.request_id <= :last_request
ORDER BY row.request_id, row.id LIMIT :limit;

-- name: wanted_rows
-- How many pending rows there are between two ids.
SELECT count(*) FROM row WHERE id > :first AND id <= :last AND state = 'pending';

-- name: wanted_returned_rows
-- And how many of them were out before, or put back.
SELECT count(*) FROM row INDEXED BY row_returned
WHERE id > :first AND id <= :last AND state = 'pending' AND request_id IS NOT NULL;

-- name: unheard_rows
-- Rows that went out and were not heard of: those of the job itself that are held or failed, whatever was asked; of
-- other jobs that ask the same, also those that are out or to go out again. Ids are sorted before texts are looked up.
WITH alike AS (
    SELECT other.id FROM run JOIN task AS own ON own.id = run.task_id JOIN task AS other USING (question)
    WHERE run.id = :run
), unheard AS (
    SELECT row.id FROM row INDEXED BY row_problem CROSS JOIN request ON request.id = row.request_id
    WHERE row.state IN ('failed', 'unconfirmed') AND request.outcome = 'lost'
        AND (job_of(row.id) = :job OR request.task_id IN (SELECT id FROM alike))
    UNION ALL
    SELECT row.id FROM row INDEXED BY row_returned CROSS JOIN request ON request.id = row.request_id
    WHERE row.state = 'pending' AND row.request_id IS NOT NULL AND job_of(row.id) <> :job AND request.outcome = 'lost'
        AND request.task_id IN (SELECT id FROM alike)
    UNION ALL
    SELECT row_of(run.job_id, given.value)
    FROM intent CROSS JOIN run ON run.id = run_of(intent.id) CROSS JOIN json_each(intent.rows) AS given
    WHERE intent.purpose <> 'verify' AND run.job_id <> :job AND intent.task_id IN (SELECT id FROM alike)
)
SELECT row.id, input.text, input.rest, input.key, row.first, coalesce(request.model, intent.model), iif(job.id = :job, '', job.name)
FROM (SELECT id FROM unheard WHERE id > :after ORDER BY id LIMIT :limit) AS page
    CROSS JOIN row ON row.id = page.id JOIN input ON input.id = row.id
    LEFT JOIN request ON request.id = row.request_id LEFT JOIN intent ON intent.id = row.request_id
    JOIN job ON job.id = job_of(row.id);

-- ---------------------------------------------------------------- after a crash, and put back by the user

-- name: dead_requests
-- The requests that dead runs of a job had out; one that outlives its run is not lost by its death.
SELECT intent.id, coalesce(intent.cost_picousd, 0) FROM intent CROSS JOIN run ON run.id = run_of(intent.id)
WHERE run.job_id = :job AND run.id <> :run AND intent.outlives_run = 0;

-- name: in_flight_rows
-- The rows of requests: :rows is [[id]].
SELECT row_of(:job, number.value), intent.id
FROM json_each(:rows) AS given CROSS JOIN intent ON intent.id = given.value ->> 0
    CROSS JOIN json_each(intent.rows) AS number
WHERE intent.purpose <> 'verify';

-- name: recover_rows
-- in_flight -> pending or unconfirmed, after a crash: [row, request].
UPDATE row SET state = :state, put_back = iif(:state = 'pending', put_back, 0),
    error_kind = iif(:state = 'pending', error_kind, 'unconfirmed'), error = :error
FROM (SELECT value ->> 0 AS id, value ->> 1 AS request FROM json_each(:rows)) AS given
WHERE row.id = given.id AND row.state = 'in_flight' AND row.request_id = given.request;

-- name: lose_requests
-- They are lost, at their worst case: [id].
INSERT INTO request (id, task_id, client_key, body_digest, rows, purpose, model, sent_at, repeats, ended_at, outcome,
    cost_picousd, cost_source, error_kind, error)
SELECT intent.id, task_id, client_key, body_digest, rows, purpose, model, sent_at, repeats, :at, 'lost',
    cost_picousd, iif(cost_picousd IS NULL, NULL, 'worst_case'), 'unconfirmed', :error
FROM json_each(:rows) AS given CROSS JOIN intent ON intent.id = given.value ->> 0;

-- name: forget_intents
-- [id].
DELETE FROM intent WHERE id IN (SELECT value ->> 0 FROM json_each(:rows));

-- name: hold_lost_rows
-- pending -> unconfirmed: rows of lost requests, which an earlier run would have sent again.
UPDATE row INDEXED BY row_returned SET state = 'unconfirmed', put_back = 0, error_kind = 'unconfirmed'
WHERE state = 'pending' AND request_id > 0 AND id > :first AND id <= :last
    AND (SELECT outcome FROM request WHERE request.id = row.request_id) = 'lost';

-- name: end_dead_runs
-- They ended when they last gave a sign of life.
UPDATE run SET ended_at = updated_at WHERE job_id = :job AND id <> :run AND ended_at IS NULL;

-- name: problems
-- How many rows failed, or are held, with an error kind; not those with the numbers in :but.
SELECT total(state = 'failed'), total(state = 'unconfirmed') FROM row INDEXED BY row_problem
WHERE error_kind = :kind AND state IN ('failed', 'unconfirmed') AND id > :first AND id <= :last
    AND id - :first NOT IN (SELECT value FROM json_each(:but));

-- name: retry
-- failed, unconfirmed -> pending, one error kind of a job, but for the numbers in :but. With :second that kind is what
-- the first model made of them.
UPDATE row INDEXED BY row_problem SET state = 'pending', request_id = coalesce(request_id, 0), attempts = 0, paid = 0,
    put_back = 1, error_kind = NULL, error = NULL,
    first = coalesce(first, iif(:second, json_object('kind', error_kind), NULL))
WHERE error_kind = :kind AND state IN ('failed', 'unconfirmed') AND id > :first AND id <= :last
    AND id - :first NOT IN (SELECT value FROM json_each(:but));

-- ---------------------------------------------------------------- labels remembered

-- name: cached_labels
-- Remembered labels: :keys is [[id, code]].
SELECT label_cache.id, label_cache.code, label_cache.label, label_cache.off_list, label_cache.job_id,
    coalesce(job.name, '')
FROM json_each(:keys) AS given CROSS JOIN label_cache ON label_cache.id = given.value ->> 0
    LEFT JOIN job ON job.id = label_cache.job_id
WHERE label_cache.code = given.value ->> 1;

-- name: beating
-- The process of the newest run that has not ended, and its last sign of life.
SELECT pid, updated_at FROM run WHERE ended_at IS NULL ORDER BY id DESC LIMIT 1;

-- name: inbox
-- Those that came lately, the latest of a key last.
SELECT inbox.id, code, label, off_list, job_id, coalesce(job.name, '')
FROM label_cache_inbox AS inbox LEFT JOIN job ON job.id = inbox.job_id ORDER BY number;

-- name: merge_inbox
INSERT INTO label_cache (id, code, label, off_list, job_id, at, loose)
SELECT id, code, label, off_list, job_id, at, loose FROM label_cache_inbox
WHERE id BETWEEN :first AND :last ORDER BY id, number
ON CONFLICT DO UPDATE SET code = excluded.code, label = excluded.label, off_list = excluded.off_list,
    job_id = excluded.job_id, at = excluded.at, loose = excluded.loose;

-- name: empty_inbox
DELETE FROM label_cache_inbox;

-- name: count_older
-- How many were remembered before a time, each once. Those of jobs that are not finished stay: rows of theirs may still
-- come with the same texts, and would be paid for again. So do labels with the ids in :but.
SELECT count(*) FROM label_cache WHERE at < :before AND loose IS NULL AND job_id NOT IN (
    SELECT id FROM job WHERE ingested = 0 OR EXISTS (
        SELECT 1 FROM tally WHERE job_id = job.id AND kind = 'row' AND name IN ('pending', 'in_flight') AND n > 0
    )
) AND (off_list = 1 OR id NOT IN (SELECT value FROM json_each(:but)));

-- name: forget_older
-- These are not remembered any more.
DELETE FROM label_cache WHERE at < :before AND job_id NOT IN (
    SELECT id FROM job WHERE ingested = 0 OR EXISTS (
        SELECT 1 FROM tally WHERE job_id = job.id AND kind = 'row' AND name IN ('pending', 'in_flight') AND n > 0
    )
) AND (off_list = 1 OR id NOT IN (SELECT value FROM json_each(:but)));
