-- Documents are JSON; the columns beside them are what is searched and sorted by.
CREATE TABLE IF NOT EXISTS topics (
    topic_id TEXT PRIMARY KEY,
    display_name TEXT NOT NULL,
    document TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS topics_by_name ON topics (display_name, topic_id);
CREATE TABLE IF NOT EXISTS snippets (
    snippet_id TEXT PRIMARY KEY,
    topic_id TEXT NOT NULL,
    generated INTEGER NOT NULL, -- microseconds since 1970: sorts rightly, whatever the fraction digits of the text
    document TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS snippets_by_topic ON snippets (topic_id, generated DESC, snippet_id);
CREATE INDEX IF NOT EXISTS snippets_by_time ON snippets (generated DESC, snippet_id);
CREATE TABLE IF NOT EXISTS outbox (
    change_id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: an acknowledgement must not hit a later row
    committed REAL NOT NULL, -- seconds since 1970
    change TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS users (
    user_id TEXT PRIMARY KEY,
    username TEXT NOT NULL UNIQUE, -- in lower case
    document TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tasks (
    number INTEGER PRIMARY KEY, -- in the order of the requests
    podcast_id TEXT NOT NULL UNIQUE,
    attempts INTEGER NOT NULL,
    claimed_until INTEGER NOT NULL, -- this and the next in microseconds since 1970; 0 while nobody has a claim
    finished INTEGER,
    document TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS tasks_unfinished ON tasks (number) WHERE finished IS NULL;
CREATE INDEX IF NOT EXISTS tasks_finished ON tasks (finished) WHERE finished IS NOT NULL;
-- The expression is that of `ready` in tasks.py. Of what is no JSON it is NULL: its writer must not get an error of ours.
CREATE INDEX IF NOT EXISTS tasks_by_topic ON tasks (
    (CASE WHEN json_valid(document) THEN json_extract(document, '$.topic_id') END), finished
) WHERE finished IS NOT NULL;
CREATE TABLE IF NOT EXISTS task_keys (
    caller TEXT NOT NULL,
    key TEXT NOT NULL,
    podcast_id TEXT NOT NULL,
    made INTEGER NOT NULL, -- microseconds since 1970
    PRIMARY KEY (caller, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS task_keys_by_time ON task_keys (made);
CREATE TABLE IF NOT EXISTS recordings (
    podcast_id TEXT PRIMARY KEY,
    ended INTEGER NOT NULL, -- microseconds since 1970
    document TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS caches (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    document TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS actions (
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: an outcome must not hit a later row
    document TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS queue_pause (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    document TEXT NOT NULL
)
