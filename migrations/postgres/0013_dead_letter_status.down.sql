ALTER TABLE dead_letters DROP COLUMN because;
ALTER TABLE dead_letters DROP COLUMN dealt_at;
ALTER TABLE dead_letters DROP COLUMN status;
