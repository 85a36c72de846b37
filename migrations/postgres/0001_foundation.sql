-- Settings of the whole installation, one row each: instance id, key checks, sealed signing keys.
CREATE TABLE settings (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL,
  updated_at BIGINT NOT NULL
);

-- Server processes on this store.
CREATE TABLE servers (
  id TEXT PRIMARY KEY,
  version TEXT NOT NULL,
  listeners TEXT NOT NULL,
  started_at BIGINT NOT NULL,
  last_seen_at BIGINT NOT NULL
);

CREATE TABLE users (
  id TEXT PRIMARY KEY,
  username TEXT NOT NULL,
  password_hash TEXT NOT NULL,
  role TEXT NOT NULL,
  disabled BIGINT NOT NULL DEFAULT 0,
  token_version BIGINT NOT NULL DEFAULT 0,
  last_login_at BIGINT,
  inserted_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX users_username ON users (username);

CREATE TABLE api_tokens (
  id TEXT PRIMARY KEY,
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  prefix TEXT NOT NULL,
  hash TEXT NOT NULL,
  scopes TEXT NOT NULL,
  expires_at BIGINT,
  last_used_at BIGINT,
  inserted_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX api_tokens_hash ON api_tokens (hash);
CREATE UNIQUE INDEX api_tokens_user_id_name ON api_tokens (user_id, name);

-- A chain of refresh tokens per login; each is used once.
CREATE TABLE refresh_tokens (
  hash TEXT PRIMARY KEY,
  session_id TEXT NOT NULL,
  user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  used_at BIGINT,
  revoked_at BIGINT,
  expires_at BIGINT NOT NULL,
  inserted_at BIGINT NOT NULL
);
CREATE INDEX refresh_tokens_session_id ON refresh_tokens (session_id);
CREATE INDEX refresh_tokens_user_id ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_expires_at ON refresh_tokens (expires_at);

-- Failed logins per name and per address, for throttling.
CREATE TABLE login_failures (
  subject TEXT PRIMARY KEY,
  failures BIGINT NOT NULL,
  last_failed_at BIGINT NOT NULL,
  blocked_until BIGINT NOT NULL
);
CREATE INDEX login_failures_last_failed_at ON login_failures (last_failed_at);

-- Hash-chained: mac covers this row and the mac before it.
CREATE TABLE audit_entries (
  seq BIGINT PRIMARY KEY,
  id TEXT NOT NULL,
  at BIGINT NOT NULL,
  actor TEXT NOT NULL,
  remote TEXT NOT NULL,
  request_id TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  details TEXT NOT NULL,
  mac TEXT NOT NULL
);
CREATE INDEX audit_entries_at ON audit_entries (at);

-- Where the audit chain ends; seal covers seq and mac, so that a cut tail is found.
CREATE TABLE audit_heads (
  name TEXT PRIMARY KEY,
  seq BIGINT NOT NULL,
  mac TEXT NOT NULL,
  seal TEXT NOT NULL
);

-- The one feed of what happened.
CREATE TABLE events (
  seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id TEXT NOT NULL,
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  at BIGINT NOT NULL,
  data TEXT NOT NULL
);
CREATE INDEX events_at ON events (at);

-- A row stands since the effect it belongs to was committed; reply is sealed and follows.
CREATE TABLE idempotency_keys (
  principal TEXT NOT NULL,
  key TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  request_id TEXT NOT NULL,
  reply TEXT,
  inserted_at BIGINT NOT NULL,
  PRIMARY KEY (principal, key)
);
CREATE INDEX idempotency_keys_inserted_at ON idempotency_keys (inserted_at);

CREATE TABLE jobs (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  payload TEXT NOT NULL,
  unique_key TEXT,
  state TEXT NOT NULL,
  progress TEXT,
  attempts BIGINT NOT NULL DEFAULT 0,
  run_at BIGINT NOT NULL,
  lease_owner TEXT,
  lease_until BIGINT,
  cancel_requested BIGINT NOT NULL DEFAULT 0,
  error TEXT,
  requested_by TEXT NOT NULL,
  inserted_at BIGINT NOT NULL,
  started_at BIGINT,
  finished_at BIGINT
);
CREATE INDEX jobs_due ON jobs (run_at, id) WHERE state = 'queued';
CREATE INDEX jobs_leased ON jobs (lease_until) WHERE state = 'running';
CREATE INDEX jobs_finished_at ON jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_cancelling ON jobs (lease_owner) WHERE cancel_requested = 1 AND state = 'running';
CREATE UNIQUE INDEX jobs_unique_key ON jobs (unique_key) WHERE unique_key IS NOT NULL AND finished_at IS NULL;

-- Output in order; start is the byte offset of the chunk in the whole. A missing stretch was dropped from the middle.
CREATE TABLE job_output (
  job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  start BIGINT NOT NULL,
  text TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (job_id, start)
);

-- Ticks are claimed by moving next_at on; what runs on one server at a time holds the lease.
CREATE TABLE schedules (
  name TEXT PRIMARY KEY,
  next_at BIGINT NOT NULL,
  last_at BIGINT,
  lease_owner TEXT,
  lease_until BIGINT
);
