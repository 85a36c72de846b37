-- The agent's own count of its connections, so that an old hello that is looked at late is known as such.
ALTER TABLE nodes ADD COLUMN connected_session BIGINT NOT NULL DEFAULT 0;
