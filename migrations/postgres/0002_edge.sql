CREATE TABLE clusters (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  ipv4_range TEXT NOT NULL,
  ipv4_first BIGINT NOT NULL,
  ipv4_last BIGINT NOT NULL,
  node_limit BIGINT,
  node_count BIGINT NOT NULL DEFAULT 0,
  inserted_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX clusters_name ON clusters (name);
CREATE UNIQUE INDEX clusters_ipv4_range ON clusters (ipv4_range);
CREATE INDEX clusters_ipv4_first ON clusters (ipv4_first);
CREATE INDEX clusters_inserted_at ON clusters (inserted_at, id);

CREATE TABLE enrollment_keys (
  id TEXT PRIMARY KEY,
  cluster_id TEXT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
  key_hash TEXT NOT NULL,
  sealed_key TEXT NOT NULL,
  name TEXT,
  uses_remaining BIGINT,
  expired_at BIGINT,
  last_used_at BIGINT,
  inserted_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX enrollment_keys_key_hash ON enrollment_keys (key_hash);
CREATE INDEX enrollment_keys_cluster_id ON enrollment_keys (cluster_id);
CREATE INDEX enrollment_keys_inserted_at ON enrollment_keys (inserted_at, id);

CREATE TABLE nodes (
  id TEXT PRIMARY KEY,
  cluster_id TEXT NOT NULL REFERENCES clusters (id),
  id_type TEXT NOT NULL,
  status TEXT NOT NULL,
  version TEXT,
  http_port BIGINT NOT NULL,
  ssh_port BIGINT NOT NULL,
  host_metrics_port BIGINT NOT NULL,
  wireguard_metrics_port BIGINT NOT NULL,
  http_proxy_port BIGINT NOT NULL,
  socks5_proxy_port BIGINT NOT NULL,
  self_update_enabled BIGINT NOT NULL,
  last_seen_at BIGINT,
  connected_server TEXT,
  public_key TEXT NOT NULL,
  api_token_sealed TEXT NOT NULL,
  api_token_hash TEXT NOT NULL,
  proxy_password_sealed TEXT NOT NULL,
  facts TEXT,
  labels TEXT NOT NULL DEFAULT '{}',
  inserted_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE INDEX nodes_cluster_id ON nodes (cluster_id, id);
CREATE INDEX nodes_inserted_at ON nodes (inserted_at, id);
CREATE INDEX nodes_last_seen_at ON nodes (last_seen_at);
CREATE INDEX nodes_connected_server ON nodes (connected_server);
CREATE UNIQUE INDEX nodes_api_token_hash ON nodes (api_token_hash);

-- The same labels as nodes.labels, a row each, for selectors.
CREATE TABLE node_labels (
  node_id TEXT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (node_id, key)
);
CREATE INDEX node_labels_key ON node_labels (key, value, node_id);

CREATE TABLE commands (
  id TEXT PRIMARY KEY,
  command_text TEXT NOT NULL,
  timeout_ms BIGINT,
  expired_at BIGINT,
  targeting TEXT NOT NULL,
  plan TEXT NOT NULL,
  target_all BIGINT NOT NULL,
  created_by TEXT NOT NULL,
  fanned_out BIGINT NOT NULL DEFAULT 0,
  inserted_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE INDEX commands_waiting ON commands (id) WHERE fanned_out = 0;
CREATE INDEX commands_inserted_at ON commands (inserted_at, id);

-- A command that goes out in batches.
CREATE TABLE rollouts (
  command_id TEXT PRIMARY KEY REFERENCES commands (id) ON DELETE CASCADE,
  state TEXT NOT NULL,
  canary BIGINT NOT NULL,
  batch_size TEXT NOT NULL,
  max_failures BIGINT,
  current_batch BIGINT NOT NULL DEFAULT 0,
  batches BIGINT NOT NULL DEFAULT 0,
  failures BIGINT NOT NULL DEFAULT 0,
  forgiven BIGINT NOT NULL DEFAULT 0,
  updated_at BIGINT NOT NULL
);
CREATE INDEX rollouts_state ON rollouts (state);

CREATE TABLE executions (
  id TEXT PRIMARY KEY,
  command_id TEXT NOT NULL REFERENCES commands (id) ON DELETE CASCADE,
  node_id TEXT REFERENCES nodes (id) ON DELETE SET NULL,
  cluster_id TEXT REFERENCES clusters (id) ON DELETE SET NULL,
  target_all BIGINT NOT NULL,
  batch BIGINT NOT NULL DEFAULT 0,
  released BIGINT NOT NULL DEFAULT 1,
  status TEXT NOT NULL,
  exit_code BIGINT,
  output_bytes BIGINT NOT NULL DEFAULT 0,
  sent_at BIGINT,
  started_at BIGINT,
  completed_at BIGINT,
  cancelled_at BIGINT,
  cancel_requested_at BIGINT,
  inserted_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX executions_node_id_command_id ON executions (node_id, command_id);
CREATE INDEX executions_command_id ON executions (command_id, status, exit_code);
CREATE INDEX executions_command_id_updated_at ON executions (command_id, updated_at, id);
CREATE INDEX executions_open ON executions (node_id) WHERE status IN ('pending', 'sent');
CREATE INDEX executions_inserted_at ON executions (inserted_at, id);

-- The final output of an execution.
CREATE TABLE execution_outputs (
  execution_id TEXT PRIMARY KEY REFERENCES executions (id) ON DELETE CASCADE,
  output TEXT NOT NULL
);

-- Output while it grows; gone once the final output is stored.
CREATE TABLE execution_chunks (
  seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  execution_id TEXT NOT NULL REFERENCES executions (id) ON DELETE CASCADE,
  start BIGINT NOT NULL,
  text TEXT NOT NULL
);
CREATE UNIQUE INDEX execution_chunks_execution_id_start ON execution_chunks (execution_id, start);
