-- Further names of nodes, unique inside a cluster.
CREATE TABLE aliases (
  id TEXT PRIMARY KEY,
  node_id TEXT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
  cluster_id TEXT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  inserted_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX aliases_cluster_id_name ON aliases (cluster_id, name);
CREATE INDEX aliases_node_id ON aliases (node_id, name);
CREATE INDEX aliases_inserted_at ON aliases (inserted_at, id);

-- Who may open an SSH session on a node.
CREATE TABLE ssh_usernames (
  id TEXT PRIMARY KEY,
  node_id TEXT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE,
  username TEXT NOT NULL,
  password_hash TEXT,
  inserted_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX ssh_usernames_node_id_username ON ssh_usernames (node_id, username);
CREATE INDEX ssh_usernames_inserted_at ON ssh_usernames (inserted_at, id);

CREATE TABLE ssh_public_keys (
  id TEXT PRIMARY KEY,
  ssh_username_id TEXT NOT NULL REFERENCES ssh_usernames (id) ON DELETE CASCADE,
  key_name TEXT NOT NULL,
  public_key TEXT NOT NULL,
  key_type TEXT NOT NULL,
  bits BIGINT NOT NULL,
  fingerprint TEXT NOT NULL,
  comment TEXT NOT NULL,
  inserted_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX ssh_public_keys_ssh_username_id_key_name ON ssh_public_keys (ssh_username_id, key_name);
CREATE INDEX ssh_public_keys_fingerprint ON ssh_public_keys (fingerprint, ssh_username_id);
CREATE INDEX ssh_public_keys_inserted_at ON ssh_public_keys (inserted_at, id);

-- The counts are set when the request is completed.
CREATE TABLE self_update_requests (
  id TEXT PRIMARY KEY,
  targeting TEXT NOT NULL,
  plan TEXT NOT NULL,
  status TEXT NOT NULL,
  created_by TEXT NOT NULL,
  total BIGINT,
  triggered BIGINT,
  failed BIGINT,
  cancelled BIGINT,
  inserted_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE INDEX self_update_requests_open ON self_update_requests (id) WHERE status <> 'completed';
CREATE INDEX self_update_requests_inserted_at ON self_update_requests (inserted_at, id);

-- As rollouts, of a self-update request that goes out in batches.
CREATE TABLE self_update_rollouts (
  request_id TEXT PRIMARY KEY REFERENCES self_update_requests (id) ON DELETE CASCADE,
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

-- One node of a self-update request. released_at is NULL until its batch goes out.
CREATE TABLE self_update_targets (
  id TEXT PRIMARY KEY,
  request_id TEXT NOT NULL REFERENCES self_update_requests (id) ON DELETE CASCADE,
  node_id TEXT REFERENCES nodes (id) ON DELETE SET NULL,
  batch BIGINT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT,
  released_at BIGINT,
  sent_at BIGINT,
  answered_at BIGINT,
  updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX self_update_targets_node_id_request_id ON self_update_targets (node_id, request_id);
CREATE INDEX self_update_targets_request_id ON self_update_targets (request_id, state);
CREATE INDEX self_update_targets_open ON self_update_targets (released_at, id) WHERE state IN ('pending', 'sent');
