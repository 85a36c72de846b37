-- Folders of machines. At most one is active.
CREATE TABLE workspaces (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  path TEXT NOT NULL,
  active BIGINT NOT NULL DEFAULT 0,
  last_used_at BIGINT,
  defaults TEXT NOT NULL DEFAULT '{}',
  inserted_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX workspaces_name ON workspaces (name);
CREATE UNIQUE INDEX workspaces_path ON workspaces (path);
CREATE UNIQUE INDEX workspaces_active ON workspaces (active) WHERE active = 1;

-- What providers know a workspace by; sealed.
CREATE TABLE provider_credentials (
  id TEXT PRIMARY KEY,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
  provider TEXT NOT NULL,
  sealed TEXT NOT NULL,
  inserted_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX provider_credentials_workspace_id_provider ON provider_credentials (workspace_id, provider);

-- The key pair with which a workspace's hosts are reached.
CREATE TABLE workspace_keys (
  workspace_id TEXT PRIMARY KEY REFERENCES workspaces (id) ON DELETE CASCADE,
  public_key TEXT NOT NULL,
  private_key_sealed TEXT NOT NULL,
  inserted_at BIGINT NOT NULL
);

-- Machines that were made or adopted.
CREATE TABLE hosts (
  id TEXT PRIMARY KEY,
  handle TEXT NOT NULL,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  hostname TEXT NOT NULL,
  provider TEXT NOT NULL,
  plan TEXT NOT NULL,
  zone TEXT NOT NULL,
  image TEXT NOT NULL,
  address TEXT,
  ssh_port BIGINT NOT NULL DEFAULT 22,
  ssh_user TEXT NOT NULL,
  host_key TEXT,
  ssh_key_sealed TEXT,
  state TEXT NOT NULL,
  problem TEXT,
  cloud_ref TEXT,
  operation_tag TEXT,
  tags TEXT NOT NULL DEFAULT '[]',
  labels TEXT NOT NULL DEFAULT '{}',
  delete_lock BIGINT NOT NULL DEFAULT 0,
  node_id TEXT REFERENCES nodes (id) ON DELETE SET NULL,
  inserted_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX hosts_handle ON hosts (handle);
CREATE UNIQUE INDEX hosts_workspace_id_hostname ON hosts (workspace_id, hostname);
CREATE INDEX hosts_inserted_at ON hosts (inserted_at, id);
CREATE INDEX hosts_node_id ON hosts (node_id) WHERE node_id IS NOT NULL;

-- Software on hosts.
CREATE TABLE taskservs (
  id TEXT PRIMARY KEY,
  handle TEXT NOT NULL,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id),
  name TEXT NOT NULL,
  version TEXT NOT NULL,
  config TEXT NOT NULL DEFAULT '{}',
  secrets_sealed TEXT,
  state TEXT NOT NULL,
  health TEXT,
  inserted_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX taskservs_handle ON taskservs (handle);
CREATE INDEX taskservs_workspace_id_name ON taskservs (workspace_id, name);
CREATE INDEX taskservs_inserted_at ON taskservs (inserted_at, id);

CREATE TABLE taskserv_hosts (
  taskserv_id TEXT NOT NULL REFERENCES taskservs (id) ON DELETE CASCADE,
  host_id TEXT NOT NULL REFERENCES hosts (id),
  PRIMARY KEY (taskserv_id, host_id)
);
CREATE INDEX taskserv_hosts_host_id ON taskserv_hosts (host_id);

-- Changes that were asked for. Their jobs may be gone before them.
CREATE TABLE operations (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  is_workflow BIGINT NOT NULL DEFAULT 0,
  workspace_id TEXT REFERENCES workspaces (id) ON DELETE SET NULL,
  workspace TEXT NOT NULL,
  parent_id TEXT REFERENCES operations (id) ON DELETE CASCADE,
  node TEXT,
  job_id TEXT,
  status TEXT NOT NULL,
  check_mode BIGINT NOT NULL DEFAULT 0,
  subject TEXT NOT NULL DEFAULT '',
  request TEXT NOT NULL,
  secrets_sealed TEXT,
  result TEXT,
  error TEXT,
  requested_by TEXT NOT NULL,
  retry_of TEXT,
  inserted_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  started_at BIGINT,
  finished_at BIGINT
);
CREATE INDEX operations_inserted_at ON operations (inserted_at, id);
CREATE INDEX operations_open ON operations (status, id) WHERE finished_at IS NULL;
CREATE INDEX operations_finished_at ON operations (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX operations_parent_id ON operations (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX operations_job_id ON operations (job_id) WHERE job_id IS NOT NULL;
CREATE INDEX operations_workspace_id ON operations (workspace_id);

-- One operation at a time on each resource, as `host:<id>`.
CREATE TABLE operation_locks (
  resource TEXT PRIMARY KEY,
  operation_id TEXT NOT NULL REFERENCES operations (id) ON DELETE CASCADE,
  inserted_at BIGINT NOT NULL
);
CREATE INDEX operation_locks_operation_id ON operation_locks (operation_id);

-- What an operation did where, with its times.
CREATE TABLE operation_phases (
  operation_id TEXT NOT NULL REFERENCES operations (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  position BIGINT NOT NULL,
  state TEXT NOT NULL,
  detail TEXT,
  started_at BIGINT NOT NULL,
  finished_at BIGINT,
  PRIMARY KEY (operation_id, name)
);

-- What dry runs found.
CREATE TABLE plans (
  id TEXT PRIMARY KEY,
  workspace_id TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
  operation_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  is_workflow BIGINT NOT NULL DEFAULT 0,
  request TEXT NOT NULL,
  secrets_sealed TEXT,
  content TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  applied_by TEXT,
  inserted_at BIGINT NOT NULL
);
CREATE INDEX plans_workspace_id ON plans (workspace_id);
CREATE INDEX plans_inserted_at ON plans (inserted_at, id);
