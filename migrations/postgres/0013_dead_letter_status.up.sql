-- What became of a letter: open, replayed or dropped; when, and why it was dropped. Said by the facts behind the letters on
-- topic `dead-letter`.
ALTER TABLE dead_letters ADD COLUMN status TEXT NOT NULL DEFAULT 'open';
ALTER TABLE dead_letters ADD COLUMN dealt_at TIMESTAMPTZ;
ALTER TABLE dead_letters ADD COLUMN because TEXT;
