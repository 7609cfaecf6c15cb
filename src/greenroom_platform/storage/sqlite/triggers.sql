-- Changes made outside: whoever writes to this file, with whatever program, leaves a row here in its own transaction.
-- Our own transactions delete theirs before they commit, since their outbox row says it already.
--
-- Only what SQLite itself has is called: a trigger with a function of ours would fail in a program that has none, and
-- with it that program's write. The rows say little; whoever reads them counts and merges.
CREATE TABLE IF NOT EXISTS foreign_changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: an acknowledgement must not hit a later row
    kind TEXT NOT NULL, -- topic, snippet, status; or lost and many: what was before is not known
    id TEXT,
    topic TEXT, -- whose pages are stale
    written REAL NOT NULL DEFAULT ((julianday('now') - 2440587.5) * 86400.0) -- seconds since 1970
);

-- SQLite counts each change of the schema; the count at which the triggers were looked at and made.
CREATE TABLE IF NOT EXISTS foreign_changes_schema (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL
);

-- Where nobody watches, the rows would grow without end. So each 100,000th row takes the place of all before it, if none
-- was acknowledged meanwhile: whoever comes drops everything, as for a tenth of them already. It is the writer who pays,
-- in its own transaction, as there may be nobody else: one deletion for each row that it has inserted.
CREATE TRIGGER IF NOT EXISTS foreign_changes_bounded AFTER INSERT ON foreign_changes
WHEN NEW.number % 100000 = 0 AND NEW.number - 99999 >= (SELECT min(number) FROM foreign_changes) BEGIN
    DELETE FROM foreign_changes;
    INSERT INTO foreign_changes (kind) VALUES ('many');
END;

CREATE TRIGGER IF NOT EXISTS foreign_topic_inserted AFTER INSERT ON topics BEGIN
    INSERT INTO foreign_changes (kind, id, topic) VALUES ('topic', NEW.topic_id, NEW.topic_id);
END;
CREATE TRIGGER IF NOT EXISTS foreign_topic_updated AFTER UPDATE ON topics BEGIN
    INSERT INTO foreign_changes (kind, id) VALUES ('topic', NEW.topic_id);
    INSERT INTO foreign_changes (kind, id, topic)
        SELECT 'topic', OLD.topic_id, OLD.topic_id WHERE OLD.topic_id IS NOT NEW.topic_id;
END;
CREATE TRIGGER IF NOT EXISTS foreign_topic_deleted AFTER DELETE ON topics BEGIN
    INSERT INTO foreign_changes (kind, id, topic) VALUES ('topic', OLD.topic_id, OLD.topic_id);
END;

CREATE TRIGGER IF NOT EXISTS foreign_snippet_inserted AFTER INSERT ON snippets BEGIN
    INSERT INTO foreign_changes (kind, id, topic) VALUES ('snippet', NEW.snippet_id, NEW.topic_id);
END;
-- INSERT OR REPLACE deletes the row that it replaces without a word to the trigger of deletions: where that row was in
-- another topic, the pages of that topic are stale too. So does UPDATE OR REPLACE of an id.
CREATE TRIGGER IF NOT EXISTS foreign_snippet_replaced BEFORE INSERT ON snippets BEGIN
    INSERT INTO foreign_changes (kind, id, topic)
        SELECT 'snippet', snippet_id, topic_id FROM snippets
        WHERE snippet_id = NEW.snippet_id AND topic_id IS NOT NEW.topic_id;
END;
CREATE TRIGGER IF NOT EXISTS foreign_snippet_renamed BEFORE UPDATE OF snippet_id ON snippets
WHEN OLD.snippet_id IS NOT NEW.snippet_id BEGIN
    INSERT INTO foreign_changes (kind, id, topic)
        SELECT 'snippet', snippet_id, topic_id FROM snippets WHERE snippet_id = NEW.snippet_id;
END;
CREATE TRIGGER IF NOT EXISTS foreign_snippet_updated AFTER UPDATE ON snippets BEGIN
    INSERT INTO foreign_changes (kind, id, topic) VALUES ('snippet', NEW.snippet_id, NEW.topic_id);
    INSERT INTO foreign_changes (kind, id, topic)
        SELECT 'snippet', OLD.snippet_id, OLD.topic_id
        WHERE OLD.snippet_id IS NOT NEW.snippet_id OR OLD.topic_id IS NOT NEW.topic_id;
END;
CREATE TRIGGER IF NOT EXISTS foreign_snippet_deleted AFTER DELETE ON snippets BEGIN
    INSERT INTO foreign_changes (kind, id, topic) VALUES ('snippet', OLD.snippet_id, OLD.topic_id);
END;

CREATE TRIGGER IF NOT EXISTS foreign_task_inserted AFTER INSERT ON tasks BEGIN
    INSERT INTO foreign_changes (kind, id) VALUES ('status', NEW.podcast_id);
END;
CREATE TRIGGER IF NOT EXISTS foreign_task_replaced BEFORE INSERT ON tasks BEGIN
    INSERT INTO foreign_changes (kind, id)
        SELECT 'status', podcast_id FROM tasks
        WHERE number = NEW.number AND podcast_id IS NOT NEW.podcast_id;
END;
CREATE TRIGGER IF NOT EXISTS foreign_task_renamed BEFORE UPDATE OF number ON tasks
WHEN OLD.number IS NOT NEW.number BEGIN
    INSERT INTO foreign_changes (kind, id) SELECT 'status', podcast_id FROM tasks WHERE number = NEW.number;
END;
CREATE TRIGGER IF NOT EXISTS foreign_task_updated AFTER UPDATE ON tasks BEGIN
    INSERT INTO foreign_changes (kind, id) VALUES ('status', NEW.podcast_id);
    INSERT INTO foreign_changes (kind, id)
        SELECT 'status', OLD.podcast_id WHERE OLD.podcast_id IS NOT NEW.podcast_id;
END;
CREATE TRIGGER IF NOT EXISTS foreign_task_deleted AFTER DELETE ON tasks BEGIN
    INSERT INTO foreign_changes (kind, id) VALUES ('status', OLD.podcast_id);
END;
