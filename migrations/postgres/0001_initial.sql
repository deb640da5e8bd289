-- The work table and its ledger in PostgreSQL, for any number of workers. Times are UTC epoch seconds, those of the
-- machine that wrote them: nothing is decided by a clock. docs/reference/tables.md says what each column holds.
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
    frontier bigint NOT NULL DEFAULT 0 CHECK (frontier >= 0),  -- rows up to this number were given out to runs
    stop text,                   -- JSON: how the job ends for all its runs, as one of them or a user said
    begun_by int NOT NULL DEFAULT 0,      -- the run whose settings they are: it began when no other was at work
    fresh boolean NOT NULL DEFAULT true,  -- whether its runs take rows that were never tried: those of a retry do not
    prober int,                  -- the run whose first request is to be answered before others send
    paused_until timestamptz,    -- for a quota that all runs share, by the server's clock
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
    rows_unwanted bigint NOT NULL DEFAULT 0,
    ingests boolean NOT NULL DEFAULT false,  -- it reads the input
    allowance bigint NOT NULL DEFAULT 0,     -- picodollars of the job's budget that it may spend
    alike jsonb NOT NULL DEFAULT '{}'        -- how often it met what may end the job, since the last label: see end_all
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

CREATE INDEX run_by_job ON run (job_id);
CREATE INDEX run_alive ON run (job_id) WHERE ended_at IS NULL;

-- Rows that only one run may take up: numbers from first to last. An id is run << 40 | how often the run took, so that
-- one whose answer was lost is known when it is asked for again. It is free when its run is over.
CREATE TABLE lease (
    id bigint PRIMARY KEY,
    job_id int NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);

CREATE INDEX lease_by_job ON lease (job_id);

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
    owner bigint,                -- of a pending row: which run has it, as run << 40 | how often it took; see lease
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

-- Which row of a job asks for a text, for all with that text.
CREATE TABLE asked (
    job_id int NOT NULL,
    id bigint NOT NULL,          -- with code: digests of the question, as in label_cache
    code bigint NOT NULL,
    row_id bigint NOT NULL,
    PRIMARY KEY (job_id, id)
);

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

-- A run that may still write. Others say that one is dead by ending it.
CREATE FUNCTION is_alive(one int) RETURNS boolean LANGUAGE sql STABLE
SET search_path = batchjob AS $$
    SELECT EXISTS (SELECT 1 FROM run WHERE id = one AND ended_at IS NULL)
$$;

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
CREATE FUNCTION unanswered(own int, given jsonb, to_state text) RETURNS void LANGUAGE plpgsql
SET search_path = batchjob AS $$
DECLARE n bigint;
BEGIN
    PERFORM expect(land(given), given, to_state);
    INSERT INTO row (id, state, request_id, attempts, paid, answer, error_kind, error, first, owner)
    SELECT (value ->> 0)::bigint, to_state, coalesce((value ->> 7)::bigint, (value ->> 1)::bigint),
        (value ->> 2)::int, (value ->> 3)::int, value ->> 4, value ->> 5, value ->> 6, CASE to_state WHEN 'pending' THEN value ->> 8 END,
        CASE to_state WHEN 'pending' THEN own::bigint << 40 END
    FROM jsonb_array_elements(given)
    ON CONFLICT (id) DO UPDATE SET state = excluded.state, request_id = excluded.request_id, owner = excluded.owner,
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
-- cost, cost_source, error_kind, error, reasoning, odd_usage, untaken]. One that was turned away, and goes again for the
-- lost one, repeats nothing.
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
    SELECT id, task_id, client_key, body_digest, rows, purpose, model, sent_at,
        CASE WHEN one ->> 14 IS NULL THEN repeats END, (one ->> 1)::float8,
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

-- pending -> done, without a request: [row, label, source, origin, matched, confidence].
CREATE FUNCTION assign(given jsonb, task int) RETURNS void LANGUAGE plpgsql
SET search_path = batchjob AS $$
DECLARE n bigint;
BEGIN
    INSERT INTO row (id, state, task_id, label, source, origin, matched, confidence)
    SELECT input.id, 'done', task, value ->> 1, value ->> 2, value ->> 3, value ->> 4, (value ->> 5)::float8
    FROM jsonb_array_elements(given) JOIN input ON input.id = (value ->> 0)::bigint
    WHERE NOT EXISTS (SELECT 1 FROM flight WHERE row_id = input.id)
    ON CONFLICT (id) DO UPDATE SET state = 'done', task_id = excluded.task_id, label = excluded.label,
        source = excluded.source, origin = excluded.origin, matched = excluded.matched,
        confidence = excluded.confidence, put_back = false, error_kind = NULL, error = NULL
    WHERE row.state = 'pending';
    GET DIAGNOSTICS n = ROW_COUNT;
    PERFORM expect(n, given, 'assign');
END $$;

-- Whether a row that asked for a text does so no more: it failed, or is pending and nobody has it in hand.
CREATE FUNCTION may_take_over(asking bigint) RETURNS boolean LANGUAGE sql STABLE
SET search_path = batchjob AS $$
    SELECT NOT EXISTS (SELECT 1 FROM flight WHERE row_id = asking) AND coalesce((
        SELECT state = 'failed' OR (state = 'pending' AND NOT coalesce(is_alive((owner >> 40)::int), false))
        FROM row WHERE id = asking), true)
$$;

-- Texts that requests are to ask for: [id, code, row, request]. The requests that may not, because another row asks for
-- one of their texts. A row takes over from one that failed, or that nobody has in hand.
CREATE FUNCTION own_texts(job int, given jsonb) RETURNS bigint[] LANGUAGE plpgsql
SET search_path = batchjob AS $$
DECLARE refused bigint[];
BEGIN
    INSERT INTO asked (job_id, id, code, row_id)
    SELECT DISTINCT ON (1, 2) job, (value ->> 0)::bigint, (value ->> 1)::bigint, (value ->> 2)::bigint
    FROM jsonb_array_elements(given) ORDER BY 1, 2, 4
    ON CONFLICT (job_id, id) DO NOTHING;
    -- Asked behind the insert, which waited for whoever had the text: what that one made of it is seen now.
    SELECT array_agg(DISTINCT (value ->> 3)::bigint) INTO refused FROM jsonb_array_elements(given) WHERE (
        SELECT row_id FROM asked WHERE asked.job_id = own_texts.job AND asked.id = (value ->> 0)::bigint
            AND asked.code = (value ->> 1)::bigint
    ) <> (value ->> 2)::bigint;
    IF refused IS NULL THEN
        RETURN '{}';
    END IF;
    UPDATE asked SET row_id = (one ->> 2)::bigint FROM jsonb_array_elements(given) AS one
    WHERE asked.job_id = job AND asked.id = ANY (ARRAY(SELECT (value ->> 0)::bigint FROM jsonb_array_elements(given)))
        AND asked.id = (one ->> 0)::bigint AND asked.code = (one ->> 1)::bigint
        AND asked.row_id <> (one ->> 2)::bigint AND may_take_over(asked.row_id);
    SELECT coalesce(array_agg(DISTINCT (value ->> 3)::bigint), '{}') INTO refused FROM jsonb_array_elements(given)
    WHERE (
        SELECT row_id FROM asked WHERE asked.job_id = own_texts.job AND asked.id = (value ->> 0)::bigint
            AND asked.code = (value ->> 1)::bigint
    ) <> (value ->> 2)::bigint;
    DELETE FROM asked USING jsonb_array_elements(given) AS one
    WHERE asked.job_id = job AND asked.id = ANY (ARRAY(SELECT (value ->> 0)::bigint FROM jsonb_array_elements(given)))
        AND (one ->> 3)::bigint = ANY (refused) AND asked.id = (one ->> 0)::bigint
        AND asked.row_id = (one ->> 2)::bigint;
    RETURN refused;
END $$;

-- Requests about to be sent: [id, client_key, body_digest, rows, purpose, model, sent_at, outlives_run, cost, repeats];
-- their rows, pending -> in_flight: [row, request]; their texts: see own_texts. Those that must not be sent: the job is
-- stopped, or another row asks for the text.
CREATE FUNCTION claim(own int, job int, task int, intents jsonb, claimed jsonb, texts jsonb) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = batchjob AS $$
DECLARE n bigint; refused bigint[] := '{}'; kept jsonb := claimed;
BEGIN
    IF EXISTS (SELECT 1 FROM job AS j WHERE j.id = claim.job AND j.stop IS NOT NULL) THEN
        refused := ARRAY(SELECT (value ->> 0)::bigint FROM jsonb_array_elements(intents));
    ELSIF texts IS NOT NULL THEN
        refused := own_texts(job, texts);
    END IF;
    INSERT INTO intent (id, task_id, client_key, body_digest, rows, purpose, model, sent_at, outlives_run,
        cost_picousd, repeats)
    SELECT (value ->> 0)::bigint, task, value ->> 1, (value ->> 2)::bigint, value ->> 3, value ->> 4, value ->> 5,
        (value ->> 6)::float8, (value ->> 7)::int = 1, (value ->> 8)::bigint, (value ->> 9)::bigint
    FROM jsonb_array_elements(intents)
    WHERE (value ->> 0)::bigint >> 40 = own AND (value ->> 0)::bigint <> ALL (refused);
    GET DIAGNOSTICS n = ROW_COUNT;
    PERFORM expect(n + cardinality(refused), intents, 'add_intents');
    IF cardinality(refused) > 0 THEN
        PERFORM uncount(own, job, intents, claimed, refused);
        SELECT coalesce(jsonb_agg(value), '[]') INTO kept
        FROM jsonb_array_elements(claimed) WHERE (value ->> 1)::bigint <> ALL (refused);
    END IF;
    INSERT INTO flight (row_id, request_id)
    SELECT input.id, (value ->> 1)::bigint FROM jsonb_array_elements(kept)
    JOIN input ON input.id = (value ->> 0)::bigint;
    GET DIAGNOSTICS n = ROW_COUNT;
    PERFORM expect(n, kept, 'claim_rows');
    -- Asked behind the insert, which waited for whoever had the row: what that one made of it is seen now.
    PERFORM 1 FROM jsonb_array_elements(kept) JOIN row ON row.id = (value ->> 0)::bigint
    WHERE row.state <> 'pending';
    IF FOUND THEN
        RAISE EXCEPTION 'batchjob: claim_rows' USING ERRCODE = 'BJ002';
    END IF;
    RETURN refused;
END $$;

-- What a group counts for requests that are refused in the same group.
CREATE FUNCTION uncount(own int, job int, intents jsonb, claimed jsonb, refused bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = batchjob AS $$
DECLARE n bigint; again bigint; anew bigint;
BEGIN
    SELECT count(*) INTO n FROM jsonb_array_elements(claimed) WHERE (value ->> 1)::bigint = ANY (refused);
    SELECT count(*), count(*) FILTER (WHERE request.client_key <> value ->> 1) INTO again, anew
    FROM jsonb_array_elements(intents) JOIN request ON request.id = (value ->> 9)::bigint
    WHERE (value ->> 0)::bigint = ANY (refused);
    PERFORM count_up(job, own, jsonb_build_array(
        jsonb_build_array('row', 'pending', n), jsonb_build_array('row', 'in_flight', -n),
        jsonb_build_array('request', 'resent', -again), jsonb_build_array('request', 'resent_as_new', -anew)));
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

-- Labels for the cache: [id, code, label, off_list, at, loose].
CREATE FUNCTION remember(job int, given jsonb) RETURNS void LANGUAGE sql
SET search_path = batchjob AS $$
    INSERT INTO label_cache (id, code, label, off_list, job_id, at, loose)
    SELECT DISTINCT ON (1) (value ->> 0)::bigint, (value ->> 1)::bigint, value ->> 2, (value ->> 3)::int = 1, job,
        (value ->> 4)::bigint, coalesce((value ->> 5)::int, 0) = 1
    FROM jsonb_array_elements(given) WITH ORDINALITY ORDER BY 1, ordinality DESC
    ON CONFLICT (id) DO UPDATE SET code = excluded.code, label = excluded.label, off_list = excluded.off_list,
        job_id = excluded.job_id, at = excluded.at, loose = excluded.loose
$$;

-- What ends a job for all its runs, if they meet it so often: [kind, ending, times while there is no label, times since
-- the last label, or NULL]. Each run counts for itself, so that none waits for another; a count is of now if there were
-- as many labels then as there are now.
CREATE FUNCTION end_all(own int, job int, given jsonb) RETURNS void LANGUAGE plpgsql
SET search_path = batchjob AS $$
DECLARE one jsonb; labels bigint; mine jsonb; what text; met bigint;
BEGIN
    SELECT coalesce(sum(n), 0) INTO labels
    FROM (SELECT id FROM run WHERE job_id = end_all.job UNION ALL SELECT 0) AS any_run
    JOIN tally ON tally.job_id = end_all.job AND run_id = any_run.id AND kind = 'source' AND name = 'model';
    SELECT alike INTO mine FROM run WHERE id = own;
    IF (mine ->> 'labels')::bigint IS DISTINCT FROM labels THEN
        mine := jsonb_build_object('labels', labels);
    END IF;
    FOR one IN SELECT value FROM jsonb_array_elements(given) LOOP
        what := concat(one ->> 0, ' ', one ->> 2);
        mine := mine || jsonb_build_object(what, coalesce((mine ->> what)::bigint, 0) + 1);
        SELECT coalesce(sum((alike ->> what)::bigint), 0) + (mine ->> what)::bigint INTO met FROM run
        WHERE job_id = end_all.job AND ended_at IS NULL AND id <> own AND (alike ->> 'labels')::bigint = labels;
        IF met >= (one ->> CASE labels WHEN 0 THEN 2 ELSE 3 END)::bigint THEN
            UPDATE job AS j SET stop = one ->> 1 WHERE j.id = end_all.job AND j.stop IS NULL;
        END IF;
    END LOOP;
    UPDATE run SET alike = mine WHERE id = own;
END $$;

-- A group of writes in one transaction: results before claims. What the run is told: `again`, it was carried out
-- before; `refused`, requests that must not be sent; and see told.
-- A few records of a group meet tables of any size, always by an index: the server would guess, from statistics that
-- are of before the input was read, and read a whole table for each group.
CREATE FUNCTION commit_group(own int, at_seq bigint, job int, task int, g jsonb) RETURNS jsonb LANGUAGE plpgsql
SET search_path = batchjob SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE refused bigint[] := '{}';
BEGIN
    IF step(own, at_seq) THEN
        refused := ARRAY(SELECT (value ->> 0)::bigint FROM jsonb_array_elements(g -> 'add_intents')
            WHERE NOT EXISTS (SELECT 1 FROM intent WHERE intent.id = (value ->> 0)::bigint));
        RETURN told(own, job) || jsonb_build_object('again', true, 'refused', refused);
    END IF;
    IF g ? 'advance_input' THEN PERFORM advance(job, g -> 'advance_input', g -> 'add_notices'); END IF;
    IF g ? 'settle_requests' THEN PERFORM settle(g -> 'settle_requests'); END IF;
    IF g ? 'complete' THEN PERFORM complete(g -> 'complete', task); END IF;
    IF g ? 'release' THEN PERFORM unanswered(own, g -> 'release', 'pending'); END IF;
    IF g ? 'fail' THEN PERFORM unanswered(own, g -> 'fail', 'failed'); END IF;
    IF g ? 'lose' THEN PERFORM unanswered(own, g -> 'lose', 'unconfirmed'); END IF;
    IF g ? 'assign' THEN PERFORM assign(g -> 'assign', task); END IF;
    IF g ? 'reject' THEN PERFORM unsent(g -> 'reject', 'failed', NULL); END IF;
    IF g ? 'hold' THEN PERFORM unsent(g -> 'hold', 'unconfirmed', 0); END IF;
    IF g ? 'count_up' THEN PERFORM count_up(job, own, g -> 'count_up'); END IF;
    IF g ? 'end_all' THEN PERFORM end_all(own, job, g -> 'end_all'); END IF;
    IF g ? 'add_intents' THEN
        refused := claim(own, job, task, g -> 'add_intents', coalesce(g -> 'claim_rows', '[]'), g -> 'own_texts');
    END IF;
    IF g ? 'remember' THEN PERFORM remember(job, g -> 'remember'); END IF;
    IF g ? 'beat' THEN
        UPDATE run SET updated_at = (one ->> 0)::float8, rows_per_second = (one ->> 1)::float8, pacing = one ->> 2,
            outage = one ->> 3, rows_unwanted = (one ->> 4)::bigint
        FROM (SELECT g -> 'beat' -> 0 AS one) AS given WHERE run.id = own;
    END IF;
    RETURN told(own, job) || jsonb_build_object('again', false, 'refused', refused);
END $$;

-- What all runs of a job are to know: how it ends (JSON) if it does, how many they are, for how many seconds nobody
-- sends, and whether this one may send before anything was answered.
CREATE FUNCTION told(own int, job int) RETURNS jsonb LANGUAGE plpgsql
SET search_path = batchjob AS $$
DECLARE one job; heard boolean;
BEGIN
    SELECT * INTO one FROM job AS j WHERE j.id = told.job;
    IF one.prober IS NOT NULL AND one.prober <> own THEN
        heard := EXISTS (SELECT 1 FROM tally WHERE tally.job_id = told.job AND kind = 'request'
            AND name IN ('answered', 'rejected') AND n > 0);
        IF NOT heard AND NOT is_alive(one.prober) THEN
            UPDATE job AS j SET prober = own WHERE j.id = told.job AND j.prober = one.prober;
            heard := FOUND;
        END IF;
    END IF;
    RETURN jsonb_build_object('stop', one.stop,
        'runs', (SELECT count(*) FROM run WHERE job_id = told.job AND ended_at IS NULL),
        'pause', greatest(extract(epoch FROM one.paused_until - clock_timestamp()), 0), 'may_send', coalesce(heard, true));
END $$;

-- ---------------------------------------------------------------- what runs of one job share out

-- To share out: one after the other, and only to a run that is not over. It is on disk before it is used: what a server
-- forgot in a crash would be given to another one, too.
CREATE FUNCTION share_out(own int, job int) RETURNS void LANGUAGE plpgsql
SET search_path = batchjob AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true), set_config('idle_in_transaction_session_timeout', '10s', true);
    PERFORM 1 FROM run WHERE id = own AND ended_at IS NULL FOR SHARE;  -- before the job, as a step does
    IF NOT FOUND THEN
        RAISE EXCEPTION 'batchjob: fenced' USING ERRCODE = 'BJ001';
    END IF;
    PERFORM 1 FROM job AS j WHERE j.id = share_out.job FOR UPDATE;
END $$;

-- Pending rows that were out before or put back, which nobody has; those of one request together. Their ids.
CREATE FUNCTION take_returned(own int, job int, mine bigint, most int) RETURNS SETOF bigint
LANGUAGE plpgsql SET search_path = batchjob SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    PERFORM share_out(own, job);
    RETURN QUERY SELECT id FROM row WHERE state = 'pending' AND request_id IS NOT NULL AND owner = mine;
    IF FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH free AS (
        SELECT row.id, row.request_id FROM row
        WHERE state = 'pending' AND request_id IS NOT NULL AND id > job::bigint << 40
            AND id < (job::bigint + 1) << 40 AND NOT coalesce(is_alive((owner >> 40)::int), false)
            AND NOT EXISTS (SELECT 1 FROM flight WHERE flight.row_id = row.id)
        ORDER BY nullif(request_id, 0) NULLS LAST, id
    ), first AS (SELECT * FROM free LIMIT most)
    UPDATE row SET owner = mine
    WHERE row.id IN (SELECT id FROM first UNION SELECT id FROM free WHERE request_id > 0
        AND request_id = (SELECT max(request_id) FROM first))
    RETURNING row.id;
END $$;

-- Whether every row with an id from one to another was claimed or settled. Each table is bounded: else it is read whole.
CREATE FUNCTION all_taken_up(low bigint, high bigint) RETURNS boolean LANGUAGE plpgsql STABLE
SET search_path = batchjob AS $$
BEGIN
    RETURN NOT EXISTS (SELECT 1 FROM input WHERE input.id BETWEEN low AND high
        AND NOT EXISTS (SELECT 1 FROM row WHERE row.id = input.id AND row.id BETWEEN low AND high)
        AND NOT EXISTS (SELECT 1 FROM flight WHERE flight.row_id = input.id AND flight.row_id BETWEEN low AND high));
END $$;

-- Rows that were never claimed: numbers from first to last, no more than `size` and none above `up_to`.
CREATE FUNCTION take_range(own int, job int, mine bigint, up_to bigint, size bigint, OUT first bigint, OUT last bigint)
LANGUAGE plpgsql SET search_path = batchjob SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE base bigint := job::bigint << 40; behind bigint; until bigint;
BEGIN
    PERFORM share_out(own, job);
    SELECT lease.first, lease.last INTO first, last FROM lease WHERE id = mine;
    IF FOUND THEN
        RETURN;
    END IF;
    -- Those of its own of which every row has been claimed or settled are over.
    DELETE FROM lease WHERE job_id = job AND id >> 40 = own AND all_taken_up(base + lease.first, base + lease.last);
    UPDATE lease SET id = mine WHERE id = (
        SELECT id FROM lease AS free WHERE free.job_id = job AND NOT is_alive((free.id >> 40)::int)
            AND free.first <= up_to ORDER BY free.first LIMIT 1
    ) RETURNING lease.first, lease.last INTO first, last;
    IF NOT FOUND THEN
        SELECT base + frontier, base + least(rows, up_to) INTO behind, until FROM job AS j WHERE j.id = job;
        -- Rows behind the frontier may have been settled all the same: by those who worked before the job moved here.
        -- Both tables are bounded: else each take looks at all rows that are done.
        SELECT input.id - base INTO first FROM input WHERE input.id > behind AND input.id <= until
            AND NOT EXISTS (SELECT 1 FROM row WHERE row.id = input.id AND row.id > behind AND row.id <= until)
            AND NOT EXISTS (SELECT 1 FROM flight WHERE flight.row_id = input.id) ORDER BY input.id LIMIT 1;
        SELECT least(first - 1 + size, rows, up_to) INTO last FROM job AS j WHERE j.id = job;
        IF first IS NOT NULL THEN
            UPDATE job AS j SET frontier = take_range.last WHERE j.id = take_range.job;
            INSERT INTO lease (id, job_id, first, last) VALUES (mine, job, first, last);
        ELSE
            last := NULL;
        END IF;
    END IF;
END $$;

-- Whether another run has rows in hand, or reads some, that may still come to this one.
CREATE FUNCTION elsewhere(own int, job int) RETURNS boolean LANGUAGE sql STABLE
SET search_path = batchjob AS $$
    SELECT EXISTS (SELECT 1 FROM run JOIN job AS j ON j.id = run.job_id
            WHERE j.id = job AND NOT j.ingested AND run.ingests AND run.id <> own AND run.ended_at IS NULL)
        OR EXISTS (SELECT 1 FROM lease WHERE job_id = job AND id >> 40 <> own AND is_alive((id >> 40)::int))
        OR EXISTS (SELECT 1 FROM flight WHERE row_id >> 40 = job AND request_id >> 40 <> own
            AND is_alive((request_id >> 40)::int))
        OR EXISTS (SELECT 1 FROM row WHERE state = 'pending' AND request_id IS NOT NULL AND id >> 40 = job
            AND owner >> 40 <> own AND is_alive((owner >> 40)::int))
$$;

-- A run that has no rows leaves the first request to the next one that may have some: they wait for it.
CREATE FUNCTION pass_on(own int, job int) RETURNS void LANGUAGE sql
SET search_path = batchjob AS $$
    UPDATE job AS j SET prober = coalesce(
        (SELECT min(id) FROM run WHERE job_id = j.id AND ended_at IS NULL AND id > own),
        (SELECT min(id) FROM run WHERE job_id = j.id AND ended_at IS NULL))
    WHERE j.id = job AND j.prober = own
$$;

-- What a run may spend in all, of the job's `most` (picodollars), where it has spent or put aside `held` and needs so
-- much more: with what others may spend and what all have spent it never passes `most`. `more`: others may have some left.
CREATE FUNCTION draw(own int, job int, most bigint, held bigint, need bigint, want bigint, OUT allowance bigint,
    OUT more boolean) LANGUAGE plpgsql SET search_path = batchjob AS $$
DECLARE
    rest numeric; spent numeric; spent_here numeric; others numeric; runs bigint;
BEGIN
    PERFORM share_out(own, job);
    SELECT coalesce(sum(n), 0), coalesce(sum(n) FILTER (WHERE run_id = own), 0) INTO spent, spent_here
    FROM tally WHERE job_id = job AND kind = 'cost' AND name IN ('answered', 'lost');
    SELECT count(*), coalesce(sum(greatest(run.allowance - (
            SELECT coalesce(sum(n), 0) FROM tally WHERE tally.job_id = draw.job AND run_id = run.id AND kind = 'cost'
                AND name IN ('answered', 'lost')), 0)) FILTER (WHERE id <> own), 0)
    INTO runs, others FROM run WHERE job_id = job AND ended_at IS NULL;
    SELECT others + coalesce(sum(cost_picousd), 0) INTO others FROM intent JOIN run ON run.id = intent.id >> 40
    WHERE run.job_id = job AND run.ended_at IS NOT NULL;  -- to be counted as lost
    rest := most - spent - greatest(held - spent_here, 0) - others;
    allowance := held;
    IF rest >= need THEN
        allowance := held + floor(least(rest, greatest(need, least(want, rest / (2 * runs)))))::bigint;
    ELSIF others = 0 THEN
        allowance := held + greatest(rest, 0)::bigint;  -- all that there is: something smaller may go
    END IF;
    more := others > 0;
    UPDATE run SET allowance = draw.allowance WHERE id = own;
END $$;

-- ---------------------------------------------------------------- a run begins and ends

-- Whether no other run works on a job: what it goes by may be changed, until the end of this transaction.
CREATE FUNCTION is_free(own int, job int) RETURNS boolean LANGUAGE plpgsql
SET search_path = batchjob AS $$
BEGIN
    PERFORM 1 FROM job AS j WHERE j.id = is_free.job FOR UPDATE;
    RETURN NOT EXISTS (SELECT 1 FROM run WHERE job_id = is_free.job AND id <> own AND ended_at IS NULL);
END $$;

-- A run of a job begins, by these settings, or in the place of the run `before` if others gave that one up. One that
-- `joins` does what the job's runs do, and begins nothing that was stopped for all; one that does not is alone.
-- `refused`: another run is at work (busy), or the job goes by other settings (changed).
CREATE FUNCTION begin_run(own int, job int, before int, by_settings text, joins boolean, INOUT fresh boolean, at float8,
    OUT refused text, OUT ending text) LANGUAGE plpgsql
SET search_path = batchjob AS $$
DECLARE
    one job; heard boolean; free boolean := is_free(own, job);
    again boolean := EXISTS (SELECT 1 FROM run WHERE id = before AND ended_by IS NOT NULL);
BEGIN
    SELECT * INTO one FROM job AS j WHERE j.id = begin_run.job;
    joins := joins OR again;
    IF joins THEN
        fresh := one.fresh;
        ending := one.stop;
    ELSIF NOT free THEN
        refused := 'busy';
    END IF;
    IF (CASE WHEN again THEN before < one.begun_by ELSE one.settings <> by_settings END) THEN
        refused := coalesce(refused, 'changed');
    END IF;
    IF refused IS NOT NULL OR ending IS NOT NULL THEN
        UPDATE run SET ended_at = at WHERE id = own;
        RETURN;
    END IF;
    heard := EXISTS (SELECT 1 FROM tally WHERE tally.job_id = begin_run.job AND kind = 'request'
        AND name IN ('answered', 'rejected') AND n > 0);
    UPDATE job AS j SET state = CASE WHEN j.ingested THEN 'running' ELSE 'ingesting' END, reason = '', reason_kind = '',
        updated_at = at, stop = NULL, fresh = begin_run.fresh, begun_by = CASE WHEN joins THEN j.begun_by ELSE own END,
        prober = CASE WHEN heard THEN NULL WHEN joins AND is_alive(j.prober) THEN j.prober ELSE own END
    WHERE j.id = begin_run.job;
    UPDATE run SET ingests = NOT joins AND NOT one.ingested WHERE id = own;
END $$;

-- A run is over. Its ending is the job's if it is the last one, or if all are to end by it (`stop`, as JSON).
CREATE FUNCTION end_run(own int, job int, to_state text, why text, kind text, stop text, at float8) RETURNS void
LANGUAGE plpgsql SET search_path = batchjob AS $$
DECLARE last boolean;
BEGIN
    PERFORM 1 FROM run WHERE id = own FOR UPDATE;  -- before the job, as a step does
    PERFORM 1 FROM job AS j WHERE j.id = end_run.job FOR UPDATE;
    UPDATE run SET updated_at = at, pacing = '', outage = NULL, rows_per_second = NULL, ended_at = at
    WHERE id = own AND ended_at IS NULL;
    last := NOT EXISTS (SELECT 1 FROM run WHERE job_id = job AND ended_at IS NULL);
    IF end_run.stop IS NOT NULL OR last THEN
        UPDATE job AS j SET state = to_state, reason = why, reason_kind = kind, updated_at = at,
            stop = coalesce(end_run.stop, j.stop)
        WHERE j.id = end_run.job AND (end_run.stop IS NOT NULL OR j.stop IS NULL);
    END IF;
    IF last AND to_state = 'finished' THEN
        DELETE FROM asked WHERE job_id = job;
        DELETE FROM lease WHERE job_id = job;
    END IF;
END $$;

-- A user stops a job for all its runs; how many there are.
CREATE FUNCTION stop(named text, to_state text, why text, kind text, ending text) RETURNS bigint LANGUAGE plpgsql
SET search_path = batchjob AS $$
DECLARE runs bigint; stopped int;
BEGIN
    SELECT id INTO stopped FROM job WHERE name = named FOR UPDATE;
    SELECT count(*) INTO runs FROM run WHERE job_id = stopped AND ended_at IS NULL;
    IF runs > 0 THEN
        UPDATE job SET state = to_state, reason = why, reason_kind = kind, stop = ending WHERE id = stopped;
    END IF;
    RETURN runs;
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
CREATE FUNCTION lose_left(job int, hold boolean, at float8, why text) RETURNS bigint LANGUAGE plpgsql
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
        PERFORM count_up(job, 0, jsonb_build_array(
            jsonb_build_array('row', 'in_flight', -landed), jsonb_build_array('row', state_now, landed),
            jsonb_build_array('request', 'sent', n), jsonb_build_array('request', 'lost', n),
            jsonb_build_array('cost', 'lost', cost),
            jsonb_build_array('error', 'unconfirmed', CASE WHEN hold THEN landed ELSE 0 END)));
    END IF;
    RETURN n;
END $$;

-- Pending rows of requests lost before are unconfirmed: no run is at work, and the next one holds.
CREATE FUNCTION hold_lost(job int) RETURNS void LANGUAGE plpgsql
SET search_path = batchjob AS $$
DECLARE held bigint;
BEGIN
    UPDATE row SET state = 'unconfirmed', put_back = false, error_kind = 'unconfirmed'
    FROM request WHERE request.id = row.request_id AND request.outcome = 'lost' AND row.state = 'pending'
        AND row.request_id > 0 AND row.id > job::bigint << 40 AND row.id < (job::bigint + 1) << 40
        AND NOT EXISTS (SELECT 1 FROM flight WHERE flight.row_id = row.id);
    GET DIAGNOSTICS held = ROW_COUNT;
    IF held > 0 THEN
        PERFORM count_up(job, 0, jsonb_build_array(jsonb_build_array('row', 'pending', -held),
            jsonb_build_array('row', 'unconfirmed', held), jsonb_build_array('error', 'unconfirmed', held)));
    END IF;
END $$;

-- Answers that a run has in hand which others gave up: [row, request, attempts, paid, label, source, matched, answer,
-- confidence], [request, provider_id]. Rows that nobody took up meanwhile have their labels: [row, state before].
CREATE FUNCTION hear_late(job int, task int, given jsonb, requests jsonb, why text) RETURNS TABLE (row_id bigint, before text)
LANGUAGE plpgsql SET search_path = batchjob SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    PERFORM 1 FROM job AS j WHERE j.id = hear_late.job FOR UPDATE;
    UPDATE request SET provider_id = one ->> 1, error = why FROM jsonb_array_elements(requests) AS one
    WHERE request.id = (one ->> 0)::bigint AND outcome = 'lost';
    RETURN QUERY
    UPDATE row SET state = 'done', task_id = task, attempts = (one ->> 2)::int, paid = (one ->> 3)::int,
        label = one ->> 4, source = one ->> 5, matched = one ->> 6, answer = one ->> 7,
        confidence = (one ->> 8)::float8, put_back = false, error_kind = NULL, error = NULL
    FROM jsonb_array_elements(given) AS one JOIN (
        SELECT id, state FROM row WHERE id = ANY (ARRAY(SELECT (value ->> 0)::bigint FROM jsonb_array_elements(given)))
        FOR UPDATE
    ) AS was ON was.id = (one ->> 0)::bigint
    WHERE row.id = was.id AND row.request_id = (one ->> 1)::bigint AND was.state IN ('pending', 'unconfirmed')
        AND NOT coalesce(is_alive((row.owner >> 40)::int), false)
        AND NOT EXISTS (SELECT 1 FROM flight WHERE flight.row_id = row.id)
    RETURNING row.id, was.state;
END $$;

-- failed, unconfirmed -> pending: one error kind of a job, which with `second` is what the first model made of them.
-- How many.
CREATE FUNCTION put_back(job int, kind text, but bigint[], second boolean) RETURNS bigint LANGUAGE plpgsql
SET search_path = batchjob AS $$
DECLARE failed bigint; held bigint;
BEGIN
    WITH back AS (
        UPDATE row SET state = 'pending', request_id = coalesce(row.request_id, 0), attempts = 0, paid = 0,
            put_back = true, owner = NULL, error_kind = NULL, error = NULL,
            first = coalesce(row.first, CASE WHEN second THEN jsonb_build_object('kind', kind)::text END)
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
        PERFORM count_up(job, 0, jsonb_build_array(jsonb_build_array('row', 'failed', -failed),
            jsonb_build_array('row', 'unconfirmed', -held), jsonb_build_array('row', 'pending', failed + held),
            jsonb_build_array('error', kind, -failed - held)));
    END IF;
    RETURN failed + held;
END $$;

INSERT INTO meta (version) VALUES (1);
