-- Subscriptions. Secrets and headers are sealed. On a shared store the server that holds the lease sends.
CREATE TABLE webhooks (
  id TEXT PRIMARY KEY,
  url TEXT NOT NULL,
  subscribed_events TEXT NOT NULL,
  secret_sealed TEXT NOT NULL,
  headers_sealed TEXT,
  previous_secret_sealed TEXT,
  previous_secret_until BIGINT,
  state TEXT NOT NULL,
  state_reason TEXT,
  start_position BIGINT NOT NULL,
  failing_since BIGINT,
  failures BIGINT NOT NULL DEFAULT 0,
  backlog BIGINT NOT NULL DEFAULT 0,
  lease_owner TEXT,
  lease_until BIGINT NOT NULL DEFAULT 0,
  inserted_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE INDEX webhooks_inserted_at ON webhooks (inserted_at, id);

-- One row for each webhook and event. The id follows from both and sorts by the event's time.
CREATE TABLE webhook_deliveries (
  id TEXT PRIMARY KEY,
  webhook_id TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
  event_seq BIGINT NOT NULL,
  event_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  event_at BIGINT NOT NULL,
  state TEXT NOT NULL,
  attempts BIGINT NOT NULL DEFAULT 0,
  tries BIGINT NOT NULL DEFAULT 0,
  next_at BIGINT NOT NULL,
  attempted_at BIGINT,
  http_status BIGINT,
  error TEXT,
  answer TEXT,
  duration_ms BIGINT,
  inserted_at BIGINT NOT NULL,
  finished_at BIGINT
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, next_at, event_seq) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_log ON webhook_deliveries (webhook_id, id);

-- Up to where the feed was turned into deliveries.
CREATE TABLE webhook_feed (
  id BIGINT PRIMARY KEY,
  position BIGINT NOT NULL
);
INSERT INTO webhook_feed (id, position) SELECT 1, coalesce(max(seq), 0) FROM events;
