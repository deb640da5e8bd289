-- The work table and its ledger in PostgreSQL, for any number of workers. Times are UTC epoch seconds, those of the
-- machine that wrote them: nothing is decided by a clock. docs/schema.md says what each column holds.
--
-- Ids are those of SQLite: a row's is job << 40 | its number, a request's run << 40 | its number in that run. So a
-- request's id says which run sent it, and a run that was given up cannot use those of another.
--
-- What large tables hold is only ever inserted. A row is pending while it is in `input` alone; `flight` says which
-- rows are out, and `row` what became of those that left the straight way or reached its end.

CREATE SCHEMA batchjob;
SET LOCAL search_path = batchjob;

CREATE TABLE meta (
    version int NOT NULL
);

CREATE TABLE task (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest text NOT NULL UNIQUE,
    question text NOT NULL,
    settings text NOT NULL
);

CREATE TABLE job (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY CHECK (id BETWEEN 1 AND 8388607),
    uid text NOT NULL UNIQUE,
    name text NOT NULL UNIQUE,
    task_id int NOT NULL REFERENCES task (id),
    input_path text NOT NULL,
    source text NOT NULL,
    settings text NOT NULL,
    prices text NOT NULL DEFAULT '{}',
    state text NOT NULL,
    reason text NOT NULL DEFAULT '',
    reason_kind text NOT NULL DEFAULT '',
    rows bigint NOT NULL DEFAULT 0 CHECK (rows >= 0),
    position bigint NOT NULL DEFAULT 0 CHECK (position >= 0),
    digest text NOT NULL DEFAULT '',
    ingested boolean NOT NULL DEFAULT false,
    created_at float8 NOT NULL,
    updated_at float8 NOT NULL
) WITH (fillfactor = 50);

CREATE INDEX job_by_input ON job (md5(input_path));

-- One process working on a job. Its number comes from here at each start, never from a host's or a pod's name.
CREATE TABLE run (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY CHECK (id BETWEEN 1 AND 8388607),
    token text NOT NULL UNIQUE,  -- of its beginning, which may be asked for twice where an answer is lost
    job_id int NOT NULL,
    task_id int NOT NULL REFERENCES task (id),
    host text NOT NULL,
    place text NOT NULL,         -- boot and process namespace: where its pid can be looked for
    pid int NOT NULL,
    started text NOT NULL,       -- of the process, in ticks since boot: a pid may be given to another
    version text NOT NULL,       -- of batchjob
    seq bigint NOT NULL DEFAULT 0,  -- groups committed so far: fence, sign of life, and whether a commit was done
    started_at float8 NOT NULL,
    updated_at float8 NOT NULL,
    beat_at timestamptz NOT NULL DEFAULT clock_timestamp(),  -- of its last step, by the server: to be shown, no more
    ended_at float8,             -- it commits nothing more
    ended_by int,                -- the run that gave it up, if it did not end by itself
    rows_per_second float8,
    pacing text NOT NULL DEFAULT '',
    outage text,
    rows_unwanted bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

CREATE INDEX run_by_job ON run (job_id);

CREATE TABLE input (
    id bigint PRIMARY KEY,
    line bigint NOT NULL,
    key text NOT NULL,
    text text NOT NULL,
    rest text,
    defect text
);

CREATE TABLE notice (
    job_id int NOT NULL,
    kind text NOT NULL,
    what text NOT NULL,
    number int NOT NULL,
    PRIMARY KEY (job_id, kind, what)
);

CREATE TABLE row (
    id bigint PRIMARY KEY,
    state text NOT NULL CHECK (state IN ('pending', 'done', 'failed', 'unconfirmed')),
    request_id bigint,
    task_id int,
    attempts int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    paid int NOT NULL DEFAULT 0 CHECK (paid >= 0),
    label text,
    source text,
    matched text,
    confidence float8,
    answer text,
    origin text,
    first text,
    put_back boolean NOT NULL DEFAULT false,
    error_kind text,
    error text,
    CHECK ((state = 'done') = (label IS NOT NULL)),
    CHECK ((label IS NULL) = (source IS NULL)),
    CHECK (state <> 'unconfirmed' OR request_id >= 0),
    CHECK (source <> 'model' OR request_id > 0),
    CHECK ((state IN ('failed', 'unconfirmed')) <= (error_kind IS NOT NULL))
);

CREATE INDEX row_returned ON row (request_id, id) WHERE state = 'pending' AND request_id IS NOT NULL;
CREATE INDEX row_problem ON row (error_kind, id) WHERE state IN ('failed', 'unconfirmed');

-- Rows that are out, each in one request: that is the primary key.
CREATE TABLE flight (
    row_id bigint PRIMARY KEY,
    request_id bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

CREATE TABLE intent (
    id bigint PRIMARY KEY,
    task_id int NOT NULL,
    client_key text NOT NULL,
    body_digest bigint NOT NULL,
    rows text NOT NULL,          -- JSON: the numbers of the rows it carries
    purpose text NOT NULL,
    model text NOT NULL,
    sent_at float8 NOT NULL,
    cost_picousd bigint,
    repeats bigint,
    outlives_run boolean NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

CREATE TABLE request (
    id bigint PRIMARY KEY,
    task_id int NOT NULL,
    client_key text NOT NULL,
    body_digest bigint NOT NULL,
    rows text NOT NULL,
    purpose text NOT NULL,
    model text NOT NULL,
    sent_at float8 NOT NULL,
    repeats bigint,
    ended_at float8 NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('not_sent', 'rejected', 'answered', 'lost')),
    status int,
    provider_id text,
    input_tokens bigint,
    cached_input_tokens bigint,
    output_tokens bigint,
    reasoning_tokens bigint,
    cost_picousd bigint,
    cost_source text,
    odd_usage text,
    error_kind text,
    error text
);

-- Counters, a run's own, so that no two workers wait for each other. A job's are the sums over its runs; run 0 holds
-- what is done to a job between runs.
CREATE TABLE tally (
    job_id int NOT NULL,
    run_id int NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (job_id, run_id, kind, name)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

CREATE TABLE learned (
    base_url text NOT NULL,
    model text NOT NULL,
    facts text NOT NULL,
    at float8 NOT NULL,
    PRIMARY KEY (base_url, model)
);

CREATE TABLE label_cache (
    id bigint PRIMARY KEY,
    code bigint NOT NULL,
    label text NOT NULL,
    off_list boolean NOT NULL,
    job_id int NOT NULL,
    at bigint NOT NULL,
    loose boolean NOT NULL DEFAULT false
);

-- What people say of rows. Only ever inserted, in the order of the ids: whoever adds holds the table until its commit.
CREATE TABLE correction (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at float8 NOT NULL,
    who text NOT NULL,
    job text NOT NULL,           -- its uid
    "row" bigint NOT NULL,
    label text,
    before text,
    model text,
    why text NOT NULL,
    field text
);

-- Every row as it stands, with the columns that SQLite's table of that name has.
CREATE VIEW work AS
SELECT input.id, input.line, input.key, input.text, input.rest, input.defect,
    CASE WHEN flight.row_id IS NULL THEN coalesce(row.state, 'pending') ELSE 'in_flight' END AS state,
    coalesce(flight.request_id, row.request_id) AS request_id, row.task_id, coalesce(row.attempts, 0) AS attempts,
    coalesce(row.paid, 0) AS paid, row.label, row.source, row.matched, row.confidence, row.answer, row.origin, row.first,
    coalesce(row.put_back, false) AS put_back,
    CASE WHEN flight.row_id IS NULL THEN row.error_kind END AS error_kind,
    CASE WHEN flight.row_id IS NULL THEN row.error END AS error
FROM input LEFT JOIN row ON row.id = input.id LEFT JOIN flight ON flight.row_id = input.id;

-- Requests over and out.
CREATE VIEW ledger AS
SELECT id, client_key, repeats, provider_id, rows, purpose, model, sent_at, ended_at, outcome, status, input_tokens,
    cached_input_tokens, output_tokens, reasoning_tokens, cost_picousd, cost_source, odd_usage, error_kind, error
FROM request
UNION ALL
SELECT id, client_key, repeats, NULL, rows, purpose, model, sent_at, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    cost_picousd, NULL, NULL, NULL, NULL
FROM intent;

-- ---------------------------------------------------------------- what a run does

-- A transition that does not change the rows it should undoes its whole transaction.
CREATE FUNCTION expect(n bigint, given jsonb, what text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF n <> jsonb_array_length(given) THEN
        RAISE EXCEPTION 'batchjob: %', what USING ERRCODE = 'BJ002';
    END IF;
END $$;

CREATE FUNCTION count_up(job int, by_run int, given jsonb) RETURNS void LANGUAGE sql
SET search_path = batchjob AS $$
    INSERT INTO tally (job_id, run_id, kind, name, n)
    SELECT job, by_run, value ->> 0, value ->> 1, (value ->> 2)::bigint FROM jsonb_array_elements(given)
    ORDER BY 3, 4
    ON CONFLICT (job_id, run_id, kind, name) DO UPDATE SET n = tally.n + excluded.n
$$;

-- One step of a run: the one before must be the last that was carried out. True: this one was, and its answer was lost.
CREATE FUNCTION step(own int, at_seq bigint) RETURNS boolean LANGUAGE plpgsql
SET search_path = batchjob AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true), set_config('idle_in_transaction_session_timeout', '10s', true);
    UPDATE run SET seq = at_seq, beat_at = clock_timestamp() WHERE id = own AND seq = at_seq - 1 AND ended_at IS NULL;
    IF FOUND THEN
        RETURN false;
    END IF;
    PERFORM 1 FROM run WHERE id = own AND seq = at_seq AND ended_at IS NULL;
    IF FOUND THEN
        RETURN true;
    END IF;
    RAISE EXCEPTION 'batchjob: fenced' USING ERRCODE = 'BJ001';
END $$;

-- Rows are not out any more: [row, request, ...]. How many.
CREATE FUNCTION land(given jsonb) RETURNS bigint LANGUAGE plpgsql
SET search_path = batchjob AS $$
DECLARE n bigint;
BEGIN
    DELETE FROM flight USING jsonb_array_elements(given) AS one
    WHERE flight.row_id = (one ->> 0)::bigint AND flight.request_id = (one ->> 1)::bigint;
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN n;
END $$;

-- in_flight -> pending, failed or unconfirmed: [row, request, attempts, paid, answer, error_kind, error, known_by,
-- first].
CREATE FUNCTION unanswered(given jsonb, to_state text) RETURNS void LANGUAGE plpgsql
SET search_path = batchjob AS $$
DECLARE n bigint;
BEGIN
    PERFORM expect(land(given), given, to_state);
    INSERT INTO row (id, state, request_id, attempts, paid, answer, error_kind, error, first)
    SELECT (value ->> 0)::bigint, to_state, coalesce((value ->> 7)::bigint, (value ->> 1)::bigint),
        (value ->> 2)::int, (value ->> 3)::int, value ->> 4, value ->> 5, value ->> 6, CASE to_state WHEN 'pending' THEN value ->> 8 END
    FROM jsonb_array_elements(given)
    ON CONFLICT (id) DO UPDATE SET state = excluded.state, request_id = excluded.request_id,
        first = coalesce(excluded.first, row.first), attempts = excluded.attempts, paid = excluded.paid,
        answer = CASE to_state WHEN 'unconfirmed' THEN row.answer ELSE excluded.answer END,
        put_back = row.put_back AND to_state = 'pending', error_kind = excluded.error_kind, error = excluded.error
    WHERE row.state = 'pending';
    GET DIAGNOSTICS n = ROW_COUNT;
    PERFORM expect(n, given, to_state);
END $$;

-- pending -> failed or unconfirmed, without a request: [row, error_kind, error].
CREATE FUNCTION unsent(given jsonb, to_state text, request bigint) RETURNS void LANGUAGE plpgsql
SET search_path = batchjob AS $$
DECLARE n bigint;
BEGIN
    INSERT INTO row (id, state, request_id, error_kind, error)
    SELECT input.id, to_state, request, value ->> 1, value ->> 2
    FROM jsonb_array_elements(given) JOIN input ON input.id = (value ->> 0)::bigint
    WHERE NOT EXISTS (SELECT 1 FROM flight WHERE row_id = input.id)
    ON CONFLICT (id) DO UPDATE SET state = excluded.state, request_id = coalesce(excluded.request_id, row.request_id),
        put_back = false, error_kind = excluded.error_kind, error = excluded.error
    WHERE row.state = 'pending';
    GET DIAGNOSTICS n = ROW_COUNT;
    PERFORM expect(n, given, to_state);
END $$;

-- What became of requests, which are over now: [id, ended_at, outcome, status, provider_id, input, cached, output,
-- cost, cost_source, error_kind, error, reasoning, odd_usage].
CREATE FUNCTION settle(given jsonb) RETURNS void LANGUAGE plpgsql
SET search_path = batchjob AS $$
DECLARE n bigint;
BEGIN
    WITH gone AS (
        DELETE FROM intent USING jsonb_array_elements(given) AS one WHERE intent.id = (one ->> 0)::bigint
        RETURNING intent.*, one
    )
    INSERT INTO request (id, task_id, client_key, body_digest, rows, purpose, model, sent_at, repeats, ended_at,
        outcome, status, provider_id, input_tokens, cached_input_tokens, output_tokens, cost_picousd, cost_source,
        error_kind, error, reasoning_tokens, odd_usage)
    SELECT id, task_id, client_key, body_digest, rows, purpose, model, sent_at, repeats, (one ->> 1)::float8,
        one ->> 2, (one ->> 3)::int, one ->> 4, (one ->> 5)::bigint, (one ->> 6)::bigint, (one ->> 7)::bigint,
        (one ->> 8)::bigint, one ->> 9, one ->> 10, one ->> 11, (one ->> 12)::bigint, one ->> 13
    FROM gone;
    GET DIAGNOSTICS n = ROW_COUNT;
    PERFORM expect(n, given, 'settle_requests');
END $$;

-- in_flight -> done: [row, request, attempts, paid, label, source, matched, answer, confidence].
CREATE FUNCTION complete(given jsonb, task int) RETURNS void LANGUAGE plpgsql
SET search_path = batchjob AS $$
DECLARE n bigint;
BEGIN
    PERFORM expect(land(given), given, 'complete');
    INSERT INTO row (id, state, request_id, task_id, attempts, paid, label, source, matched, answer, confidence)
    SELECT (value ->> 0)::bigint, 'done', (value ->> 1)::bigint, task, (value ->> 2)::int, (value ->> 3)::int,
        value ->> 4, value ->> 5, value ->> 6, value ->> 7, (value ->> 8)::float8
    FROM jsonb_array_elements(given)
    ON CONFLICT (id) DO UPDATE SET state = 'done', request_id = excluded.request_id, task_id = excluded.task_id,
        attempts = excluded.attempts, paid = excluded.paid, label = excluded.label, source = excluded.source,
        matched = excluded.matched, answer = excluded.answer, confidence = excluded.confidence, put_back = false,
        error_kind = NULL, error = NULL
    WHERE row.state = 'pending';
    GET DIAGNOSTICS n = ROW_COUNT;
    PERFORM expect(n, given, 'complete');
END $$;

-- pending -> done, without a request: [row, label, source, origin, matched].
CREATE FUNCTION assign(given jsonb, task int) RETURNS void LANGUAGE plpgsql
SET search_path = batchjob AS $$
DECLARE n bigint;
BEGIN
    INSERT INTO row (id, state, task_id, label, source, origin, matched)
    SELECT input.id, 'done', task, value ->> 1, value ->> 2, value ->> 3, value ->> 4
    FROM jsonb_array_elements(given) JOIN input ON input.id = (value ->> 0)::bigint
    WHERE NOT EXISTS (SELECT 1 FROM flight WHERE row_id = input.id)
    ON CONFLICT (id) DO UPDATE SET state = 'done', task_id = excluded.task_id, label = excluded.label,
        source = excluded.source, origin = excluded.origin, matched = excluded.matched, put_back = false,
        error_kind = NULL, error = NULL
    WHERE row.state = 'pending';
    GET DIAGNOSTICS n = ROW_COUNT;
    PERFORM expect(n, given, 'assign');
END $$;

-- Requests about to be sent: [id, client_key, body_digest, rows, purpose, model, sent_at, outlives_run, cost, repeats];
-- their rows, pending -> in_flight: [row, request].
CREATE FUNCTION claim(own int, task int, intents jsonb, claimed jsonb) RETURNS void LANGUAGE plpgsql
SET search_path = batchjob AS $$
DECLARE n bigint;
BEGIN
    INSERT INTO intent (id, task_id, client_key, body_digest, rows, purpose, model, sent_at, outlives_run,
        cost_picousd, repeats)
    SELECT (value ->> 0)::bigint, task, value ->> 1, (value ->> 2)::bigint, value ->> 3, value ->> 4, value ->> 5,
        (value ->> 6)::float8, (value ->> 7)::int = 1, (value ->> 8)::bigint, (value ->> 9)::bigint
    FROM jsonb_array_elements(intents) WHERE (value ->> 0)::bigint >> 40 = own;
    GET DIAGNOSTICS n = ROW_COUNT;
    PERFORM expect(n, intents, 'add_intents');
    INSERT INTO flight (row_id, request_id)
    SELECT input.id, (value ->> 1)::bigint FROM jsonb_array_elements(claimed)
    JOIN input ON input.id = (value ->> 0)::bigint;
    GET DIAGNOSTICS n = ROW_COUNT;
    PERFORM expect(n, claimed, 'claim_rows');
    -- Asked behind the insert, which waited for whoever had the row: what that one made of it is seen now.
    PERFORM 1 FROM jsonb_array_elements(claimed) JOIN row ON row.id = (value ->> 0)::bigint
    WHERE row.state <> 'pending';
    IF FOUND THEN
        RAISE EXCEPTION 'batchjob: claim_rows' USING ERRCODE = 'BJ002';
    END IF;
END $$;

-- How far the input is in the work table: [rows before, rows, position, digest, ingested]; what was noticed: [kind, what].
CREATE FUNCTION advance(job int, given jsonb, notices jsonb) RETURNS void LANGUAGE plpgsql
SET search_path = batchjob AS $$
DECLARE one jsonb;
BEGIN
    FOR one IN SELECT value FROM jsonb_array_elements(given) LOOP
        UPDATE job AS j SET rows = (one ->> 1)::bigint, position = (one ->> 2)::bigint, digest = one ->> 3,
            ingested = (one ->> 4)::int = 1
        WHERE j.id = advance.job AND j.rows = (one ->> 0)::bigint;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'batchjob: advance_input' USING ERRCODE = 'BJ002';
        END IF;
    END LOOP;
    INSERT INTO notice (job_id, kind, what, number)
    SELECT job, value ->> 0, value ->> 1,
        ordinality + (SELECT coalesce(max(number), 0) FROM notice WHERE job_id = job)
    FROM jsonb_array_elements(coalesce(notices, '[]')) WITH ORDINALITY ON CONFLICT DO NOTHING;
END $$;

-- A group of writes in one transaction: results before claims. True: it was carried out before.
CREATE FUNCTION commit_group(own int, at_seq bigint, job int, task int, g jsonb) RETURNS boolean LANGUAGE plpgsql
SET search_path = batchjob AS $$
BEGIN
    IF step(own, at_seq) THEN
        RETURN true;
    END IF;
    IF g ? 'advance_input' THEN PERFORM advance(job, g -> 'advance_input', g -> 'add_notices'); END IF;
    IF g ? 'settle_requests' THEN PERFORM settle(g -> 'settle_requests'); END IF;
    IF g ? 'complete' THEN PERFORM complete(g -> 'complete', task); END IF;
    IF g ? 'release' THEN PERFORM unanswered(g -> 'release', 'pending'); END IF;
    IF g ? 'fail' THEN PERFORM unanswered(g -> 'fail', 'failed'); END IF;
    IF g ? 'lose' THEN PERFORM unanswered(g -> 'lose', 'unconfirmed'); END IF;
    IF g ? 'assign' THEN PERFORM assign(g -> 'assign', task); END IF;
    IF g ? 'reject' THEN PERFORM unsent(g -> 'reject', 'failed', NULL); END IF;
    IF g ? 'hold' THEN PERFORM unsent(g -> 'hold', 'unconfirmed', 0); END IF;
    IF g ? 'add_intents' THEN PERFORM claim(own, task, g -> 'add_intents', coalesce(g -> 'claim_rows', '[]')); END IF;
    IF g ? 'remember' THEN
        INSERT INTO label_cache (id, code, label, off_list, job_id, at, loose)
        SELECT DISTINCT ON (1) (value ->> 0)::bigint, (value ->> 1)::bigint, value ->> 2, (value ->> 3)::int = 1, job,
            (value ->> 4)::bigint, coalesce((value ->> 5)::int, 0) = 1
        FROM jsonb_array_elements(g -> 'remember') WITH ORDINALITY ORDER BY 1, ordinality DESC
        ON CONFLICT (id) DO UPDATE SET code = excluded.code, label = excluded.label, off_list = excluded.off_list,
            job_id = excluded.job_id, at = excluded.at, loose = excluded.loose;
    END IF;
    IF g ? 'beat' THEN
        UPDATE run SET updated_at = (one ->> 0)::float8, rows_per_second = (one ->> 1)::float8, pacing = one ->> 2,
            outage = one ->> 3, rows_unwanted = (one ->> 4)::bigint
        FROM (SELECT g -> 'beat' -> 0 AS one) AS given WHERE run.id = own;
    END IF;
    IF g ? 'count_up' THEN PERFORM count_up(job, own, g -> 'count_up'); END IF;
    RETURN false;
END $$;

-- ---------------------------------------------------------------- a run that is dead

-- A run commits nothing more: not after it ended, nor after it was given up with `seen` as its last step. False: it
-- has gone on since it was seen.
CREATE FUNCTION give_up(dead int, seen bigint, by_run int, at float8) RETURNS boolean LANGUAGE plpgsql
SET search_path = batchjob AS $$
BEGIN
    UPDATE run SET ended_at = at, ended_by = by_run WHERE id = dead AND seq = seen AND ended_at IS NULL;
    RETURN FOUND;
END $$;

-- What runs that are over left out is lost, at its worst case; its rows are pending again, or unconfirmed under `hold`.
-- How many requests.
CREATE FUNCTION lose_left(job int, by_run int, hold boolean, at float8, why text) RETURNS bigint LANGUAGE plpgsql
SET search_path = batchjob AS $$
DECLARE
    n bigint; landed bigint; cost numeric; lost_ids bigint[];
    state_now text := CASE WHEN hold THEN 'unconfirmed' ELSE 'pending' END;
BEGIN
    WITH gone AS (
        DELETE FROM intent USING run
        WHERE run.id = intent.id >> 40 AND run.job_id = job AND run.ended_at IS NOT NULL AND NOT intent.outlives_run
        RETURNING intent.*
    ), lost AS (
        INSERT INTO request (id, task_id, client_key, body_digest, rows, purpose, model, sent_at, repeats, ended_at,
            outcome, cost_picousd, cost_source, error_kind, error)
        SELECT id, task_id, client_key, body_digest, rows, purpose, model, sent_at, repeats, at, 'lost', cost_picousd,
            CASE WHEN cost_picousd IS NOT NULL THEN 'worst_case' END, 'unconfirmed', why
        FROM gone RETURNING id, cost_picousd
    )
    SELECT count(*), coalesce(sum(cost_picousd), 0), array_agg(id) INTO n, cost, lost_ids FROM lost;
    WITH landed AS (
        DELETE FROM flight WHERE request_id = ANY (lost_ids) RETURNING row_id, request_id
    )
    INSERT INTO row (id, state, request_id, error_kind, error)
    SELECT row_id, state_now, request_id, CASE WHEN hold THEN 'unconfirmed' END, why FROM landed
    ON CONFLICT (id) DO UPDATE SET state = excluded.state, request_id = excluded.request_id,
        put_back = row.put_back AND NOT hold,
        error_kind = excluded.error_kind, error = excluded.error;
    GET DIAGNOSTICS landed = ROW_COUNT;
    IF n > 0 THEN
        PERFORM count_up(job, by_run, jsonb_build_array(
            jsonb_build_array('row', 'in_flight', -landed), jsonb_build_array('row', state_now, landed),
            jsonb_build_array('request', 'sent', n), jsonb_build_array('request', 'lost', n),
            jsonb_build_array('cost', 'lost', cost),
            jsonb_build_array('error', 'unconfirmed', CASE WHEN hold THEN landed ELSE 0 END)));
    END IF;
    IF hold THEN
        UPDATE row SET state = 'unconfirmed', put_back = false, error_kind = 'unconfirmed'
        FROM request WHERE request.id = row.request_id AND request.outcome = 'lost' AND row.state = 'pending'
            AND row.request_id > 0 AND row.id > job::bigint << 40 AND row.id < (job::bigint + 1) << 40
            AND NOT EXISTS (SELECT 1 FROM flight WHERE flight.row_id = row.id);
        GET DIAGNOSTICS landed = ROW_COUNT;
        IF landed > 0 THEN
            PERFORM count_up(job, by_run, jsonb_build_array(jsonb_build_array('row', 'pending', -landed),
                jsonb_build_array('row', 'unconfirmed', landed), jsonb_build_array('error', 'unconfirmed', landed)));
        END IF;
    END IF;
    RETURN n;
END $$;

-- failed, unconfirmed -> pending: one error kind of a job. How many.
CREATE FUNCTION put_back(job int, by_run int, kind text, but bigint[]) RETURNS bigint LANGUAGE plpgsql
SET search_path = batchjob AS $$
DECLARE failed bigint; held bigint;
BEGIN
    WITH back AS (
        UPDATE row SET state = 'pending', request_id = coalesce(row.request_id, 0), attempts = 0, paid = 0,
            put_back = true, error_kind = NULL, error = NULL
        FROM (
            SELECT id, state FROM row WHERE error_kind = kind AND state IN ('failed', 'unconfirmed')
                AND id > job::bigint << 40 AND id < (job::bigint + 1) << 40
                AND id - (job::bigint << 40) <> ALL (but) FOR UPDATE
        ) AS before
        WHERE row.id = before.id RETURNING before.state
    )
    SELECT count(*) FILTER (WHERE state = 'failed'), count(*) FILTER (WHERE state = 'unconfirmed')
    INTO failed, held FROM back;
    IF failed + held > 0 THEN
        PERFORM count_up(job, by_run, jsonb_build_array(jsonb_build_array('row', 'failed', -failed),
            jsonb_build_array('row', 'unconfirmed', -held), jsonb_build_array('row', 'pending', failed + held),
            jsonb_build_array('error', kind, -failed - held)));
    END IF;
    RETURN failed + held;
END $$;

INSERT INTO meta (version) VALUES (1);
