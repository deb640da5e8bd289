-- The work table and its ledger. Times are UTC epoch seconds.
-- A row's id is job.id * 2^40 + its number, so that a job's rows lie together, in input order, without an index.

CREATE TABLE job (
    id INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 8388607),
    uid TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    input_path TEXT NOT NULL,
    source TEXT NOT NULL,        -- JSON: how to open the input again
    settings TEXT NOT NULL,      -- JSON: every setting but secrets
    prices TEXT NOT NULL DEFAULT '{}',  -- JSON: model -> the price its costs were reckoned at
    task_digest TEXT NOT NULL,   -- of the settings that decide the labels
    state TEXT NOT NULL CHECK (state IN ('ingesting', 'running', 'finished', 'stopped', 'refused', 'over_budget')),
    reason TEXT NOT NULL DEFAULT '',
    rows INTEGER NOT NULL DEFAULT 0 CHECK (rows >= 0),          -- read so far
    position INTEGER NOT NULL DEFAULT 0 CHECK (position >= 0),  -- bytes of the decoded input in the work table
    digest TEXT NOT NULL DEFAULT '',                            -- SHA-256 of those bytes
    ingested INTEGER NOT NULL DEFAULT 0 CHECK (ingested IN (0, 1)),
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL
) STRICT;

CREATE INDEX job_by_input ON job (input_path, task_digest);

-- One process working on a job, from start to exit.
CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES job (id),
    pid INTEGER NOT NULL,
    started_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    ended_at REAL,
    rows_per_second REAL,
    pacing TEXT NOT NULL DEFAULT '',
    last_request_before INTEGER NOT NULL  -- its requests are those above
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

-- What became of it.
CREATE TABLE row (
    id INTEGER PRIMARY KEY,
    state TEXT NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'in_flight', 'done', 'failed', 'unconfirmed')),
    claim INTEGER,               -- the request it is or was last out in; 0: held or put back without one
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    paid INTEGER NOT NULL DEFAULT 0 CHECK (paid >= 0),
    label TEXT,
    source TEXT CHECK (source IN ('model', 'duplicate', 'cache', 'rule', 'fallback')),
    answer TEXT,                 -- what the model said, where that is not the label
    origin TEXT,                 -- of a label without a request: the rule, or the job it was bought by
    error_kind TEXT,
    error TEXT,
    CHECK ((state = 'done') = (label IS NOT NULL)),
    CHECK ((label IS NULL) = (source IS NULL)),
    CHECK (state <> 'in_flight' OR claim > 0),
    CHECK (state <> 'unconfirmed' OR claim >= 0),
    CHECK (source <> 'model' OR claim > 0),
    CHECK ((state IN ('failed', 'unconfirmed')) <= (error_kind IS NOT NULL))
) STRICT;

-- Only rows that left the straight way are in an index: the straight way pays for none.
CREATE INDEX row_returned ON row (id >> 40, claim, id) WHERE state = 'pending' AND claim IS NOT NULL;
CREATE INDEX row_problem ON row (id >> 40, error_kind, id) WHERE state IN ('failed', 'unconfirmed');

-- One HTTP exchange each: the ledger a bill can be checked against.
CREATE TABLE request (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL,
    client_key TEXT NOT NULL,    -- sent as Idempotency-Key
    rows TEXT NOT NULL,          -- JSON: the numbers of the rows it carries
    purpose TEXT NOT NULL DEFAULT 'label' CHECK (purpose IN ('label', 'verify')),
    model TEXT NOT NULL,
    sent_at REAL NOT NULL,       -- when the claim was written, just before sending
    ended_at REAL,
    outcome TEXT CHECK (outcome IN ('not_sent', 'rejected', 'answered', 'lost')),
    status INTEGER,
    request_id TEXT,             -- the provider's
    input_tokens INTEGER,        -- NULL: not reported
    cached_input_tokens INTEGER,
    output_tokens INTEGER,
    cost_picousd INTEGER,        -- 1e-12 USD; the worst case while in flight or lost; NULL: no price is known
    error_kind TEXT,
    error TEXT,
    CHECK ((outcome IS NULL) = (ended_at IS NULL))
) STRICT;

-- Counters, moved by the same transaction as what they count.
CREATE TABLE tally (
    job_id INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('row', 'label', 'source', 'error', 'request', 'usage', 'cost', 'verify', 'rule')),
    name TEXT NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (job_id, kind, name)
) STRICT, WITHOUT ROWID;

-- Labels by text and task, for whoever asks the same again: see dedupe.py.
CREATE TABLE label_cache (
    id INTEGER PRIMARY KEY,      -- the first half of the key
    code INTEGER NOT NULL,       -- the second half
    label TEXT NOT NULL,
    fallback INTEGER NOT NULL CHECK (fallback IN (0, 1)),
    job_id INTEGER NOT NULL,     -- whose request it was
    at INTEGER NOT NULL
) STRICT;
