-- What a job is about, for lists; how far a plain job says it has got; lists by kind.
ALTER TABLE jobs ADD COLUMN subject TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN done BIGINT;
ALTER TABLE jobs ADD COLUMN total BIGINT;
CREATE INDEX jobs_subject ON jobs (subject, id) WHERE subject <> '';
CREATE INDEX jobs_kind ON jobs (kind, id);

-- When somebody asked for a tick or pass out of turn; every server remembers which request it has answered.
ALTER TABLE schedules ADD COLUMN asked_at BIGINT;
