-- The work table and its ledger. Times are UTC epoch seconds. docs/reference/tables.md says what each column holds.
--
-- A row's id is job << 40 | its number, and a request's id run << 40 | its number in that run. So a job's rows lie
-- together, in input order, without an index, and no two processes give out the same request id.
-- job_of(), run_of() and number_of() take an id apart; they are replaced by their arithmetic before SQLite sees this.
--
-- Sets that will grow (sources, purposes, counters, job states) are not checked here: batchjob/states.py owns them.

-- ---------------------------------------------------------------- for people
-- Views come first: SQLite 3.40 leaves the free list out of quick_check where a view is the last thing made.

CREATE VIEW requests AS
SELECT job.name AS job, one.id AS request_id, run_of(one.id) AS run, one.rows, one.purpose, one.model, one.outcome, one.status,
    strftime('%Y-%m-%dT%H:%M:%fZ', one.sent_at, 'unixepoch') AS sent_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', one.ended_at, 'unixepoch') AS ended_at,
    one.client_key, one.provider_id, one.input_tokens, one.cached_input_tokens, one.output_tokens,
    one.reasoning_tokens, one.cost_picousd / 1e12 AS usd, one.cost_source, one.odd_usage, one.error_kind, one.error
FROM (
    SELECT id, rows, purpose, model, outcome, status, sent_at, ended_at, client_key, provider_id, input_tokens,
        cached_input_tokens, output_tokens, reasoning_tokens, cost_picousd, cost_source, odd_usage, error_kind, error
    FROM request
    UNION ALL
    SELECT id, rows, purpose, model, NULL, NULL, sent_at, NULL, client_key, NULL, NULL, NULL, NULL, NULL,
        cost_picousd, NULL, NULL, NULL, NULL FROM intent
) AS one LEFT JOIN run ON run.id = run_of(one.id) LEFT JOIN job ON job.id = run.job_id;

CREATE VIEW labelled AS
SELECT job.name AS job, number_of(row.id) AS row, input.key AS id, input.text, row.label, row.source, row.state,
    row.error_kind || coalesce(': ' || row.error, '') AS error, row.matched, request.id AS request_id, request.model,
    strftime('%Y-%m-%dT%H:%M:%fZ', request.ended_at, 'unixepoch') AS ended_at,
    request.cost_picousd / 1e12 / json_array_length(request.rows) AS usd
FROM row JOIN input ON input.id = row.id JOIN job ON job.id = job_of(row.id)
    LEFT JOIN request ON request.id = row.request_id AND row.origin IS NULL;  -- of a label without a request: none

CREATE VIEW label_counts AS
SELECT job.name AS job, tally.name AS label, tally.n AS rows
FROM tally JOIN job ON job.id = tally.job_id WHERE tally.kind = 'label' AND tally.n <> 0;

-- ---------------------------------------------------------------- for the program

-- The question, with all that decides a label. Jobs that ask the same share one.
CREATE TABLE task (
    id INTEGER PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    question TEXT NOT NULL,      -- digest of what is asked, but for the model and the text
    settings TEXT NOT NULL       -- JSON
) STRICT;

CREATE TABLE job (
    id INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 8388607),
    uid TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    task_id INTEGER NOT NULL REFERENCES task (id),  -- the one it began with; a run may ask another
    input_path TEXT NOT NULL,
    source TEXT NOT NULL,        -- JSON: how to open the input again
    settings TEXT NOT NULL,      -- JSON: every setting of the latest run but secrets
    prices TEXT NOT NULL DEFAULT '{}',  -- JSON: model -> the price its costs were reckoned at
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    reason_kind TEXT NOT NULL DEFAULT '',  -- the error kind that ended its last run, if one did
    rows INTEGER NOT NULL DEFAULT 0 CHECK (rows >= 0),          -- read so far
    position INTEGER NOT NULL DEFAULT 0 CHECK (position >= 0),  -- bytes of the decoded input in the work table
    digest TEXT NOT NULL DEFAULT '',                            -- SHA-256 of those bytes
    ingested INTEGER NOT NULL DEFAULT 0 CHECK (ingested IN (0, 1)),
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    moved_to TEXT                -- the database it goes on in, without a password; here it is only read
) STRICT;

CREATE INDEX job_by_input ON job (input_path);

-- One process working on a job, from start to exit.
CREATE TABLE run (
    id INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 8388607),
    job_id INTEGER NOT NULL REFERENCES job (id),
    task_id INTEGER NOT NULL REFERENCES task (id),
    pid INTEGER NOT NULL,
    started_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    ended_at REAL,
    rows_per_second REAL,
    pacing TEXT NOT NULL DEFAULT '',
    outage TEXT,                 -- JSON: since when, until when and why nothing is answered
    rows_unwanted INTEGER NOT NULL DEFAULT 0  -- pending rows that are not for it: behind its limit, or not put back
) STRICT;

CREATE INDEX run_by_job ON run (job_id);

-- What was read; never changed. Apart from `row`, so that a long text is not written again with each transition.
CREATE TABLE input (
    id INTEGER PRIMARY KEY,
    line INTEGER NOT NULL,
    key TEXT NOT NULL,
    text TEXT NOT NULL,
    rest TEXT,                   -- JSON: the other columns
    defect TEXT                  -- why it cannot be sent at all
) STRICT;

-- What was noticed while it was read, in this order: columns that its header or first object has not, and warnings.
CREATE TABLE notice (
    job_id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    what TEXT NOT NULL,          -- the column, or a sentence
    number INTEGER NOT NULL,
    PRIMARY KEY (job_id, kind, what)
) STRICT, WITHOUT ROWID;

-- What became of it.
CREATE TABLE row (
    id INTEGER PRIMARY KEY,
    -- Not IN: of more than two values SQLite would make a table anew for each row that it checks.
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state = 'pending' OR state = 'in_flight' OR state = 'done'
        OR state = 'failed' OR state = 'unconfirmed'),
    request_id INTEGER,          -- the request it is or was last out in; 0: held or put back without one
    task_id INTEGER,             -- of its label: the task it was asked with, or settled under
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    paid INTEGER NOT NULL DEFAULT 0 CHECK (paid >= 0),
    label TEXT,                  -- of a job with fields: the JSON object of their values
    source TEXT,
    matched TEXT,                -- how the label was read from the answer: exact or near
    confidence REAL,             -- 0 to 1; NULL: not asked for
    answer TEXT,                 -- what the model said, where that is not the label; the fields it gave so far
    origin TEXT,                 -- of a label without a request: the rule, or the job it was bought by
    first TEXT,                  -- JSON: what the first model made of it, where the second one is or was asked
    put_back INTEGER NOT NULL DEFAULT 0 CHECK (put_back IN (0, 1)),  -- by the user, and not settled since
    error_kind TEXT,
    error TEXT,
    CHECK ((state = 'done') = (label IS NOT NULL)),
    CHECK ((label IS NULL) = (source IS NULL)),
    CHECK (state <> 'in_flight' OR request_id > 0),
    CHECK (state <> 'unconfirmed' OR request_id >= 0),
    CHECK (source <> 'model' OR request_id > 0),
    CHECK ((state IN ('failed', 'unconfirmed')) <= (error_kind IS NOT NULL))
) STRICT;

-- Only rows that left the straight way are in an index: the straight way pays for none.
CREATE INDEX row_returned ON row (request_id, id) WHERE state = 'pending' AND request_id IS NOT NULL;
CREATE INDEX row_problem ON row (error_kind, id) WHERE state IN ('failed', 'unconfirmed');

-- Requests that are out. On disk before the first byte leaves, and gone when the request is over.
CREATE TABLE intent (
    id INTEGER PRIMARY KEY,
    task_id INTEGER NOT NULL,
    client_key TEXT NOT NULL,    -- sent as Idempotency-Key
    body_digest INTEGER NOT NULL,
    rows TEXT NOT NULL,          -- JSON: the numbers of the rows it carries
    purpose TEXT NOT NULL,
    model TEXT NOT NULL,
    sent_at REAL NOT NULL,       -- when this was written, just before sending
    cost_picousd INTEGER,        -- 1e-12 USD: the worst case; NULL: no price is known
    repeats INTEGER,             -- the lost request that this one sends again
    outlives_run INTEGER NOT NULL  -- 1: at a provider that answers hours later, also when no run is alive
) STRICT;

-- Requests that are over, one HTTP exchange each: the ledger a bill can be checked against. Never changed.
CREATE TABLE request (
    id INTEGER PRIMARY KEY,
    task_id INTEGER NOT NULL,
    client_key TEXT NOT NULL,
    body_digest INTEGER NOT NULL,
    rows TEXT NOT NULL,
    purpose TEXT NOT NULL,
    model TEXT NOT NULL,
    sent_at REAL NOT NULL,
    repeats INTEGER,
    ended_at REAL NOT NULL,
    outcome TEXT NOT NULL
        CHECK (outcome = 'answered' OR outcome = 'rejected' OR outcome = 'lost' OR outcome = 'not_sent'),
    status INTEGER,
    provider_id TEXT,            -- the provider's ID of it
    input_tokens INTEGER,        -- NULL: not reported
    cached_input_tokens INTEGER,
    output_tokens INTEGER,
    reasoning_tokens INTEGER,
    cost_picousd INTEGER,        -- NULL: no price or no usage is known
    cost_source TEXT,            -- what the cost rests on: price, reported, or worst_case of a lost one
    odd_usage TEXT,              -- JSON: the usage as it was reported, where that cannot be true
    error_kind TEXT,
    error TEXT
) STRICT;

-- Counters, moved by the same transaction as what they count.
CREATE TABLE tally (
    job_id INTEGER NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (job_id, kind, name)
) STRICT, WITHOUT ROWID;

-- What an endpoint taught about a model, by what it refused: every job that asks there begins with it.
CREATE TABLE learned (
    base_url TEXT NOT NULL,
    model TEXT NOT NULL,
    facts TEXT NOT NULL,         -- JSON: see providers/dialect.py
    at REAL NOT NULL,
    PRIMARY KEY (base_url, model)
) STRICT, WITHOUT ROWID;

-- Labels by question and text, for whoever asks the same again: see task/identity.py.
CREATE TABLE label_cache (
    id INTEGER PRIMARY KEY,      -- the first half of the key
    code INTEGER NOT NULL,       -- the second half
    label TEXT NOT NULL,         -- or the answer, as far as it is kept, where it is none of the labels
    off_list INTEGER NOT NULL CHECK (off_list IN (0, 1)),
    job_id INTEGER NOT NULL,     -- whose request it was
    at INTEGER NOT NULL,
    loose INTEGER                -- 1: for rows of that job alone, whose texts are the same loosely
) STRICT;

-- Those of the last seconds, in the order they came; moved into label_cache some thousands at a time, in its order.
-- One by one each would cost a page of its own, for keys have no order.
CREATE TABLE label_cache_inbox (
    number INTEGER PRIMARY KEY,
    id INTEGER NOT NULL,
    code INTEGER NOT NULL,
    label TEXT NOT NULL,
    off_list INTEGER NOT NULL,
    job_id INTEGER NOT NULL,
    at INTEGER NOT NULL,
    loose INTEGER
) STRICT;
