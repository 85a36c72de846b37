-- Members hold a lease on the database's clock. The epoch grows with every join, so that what a server did before it was
-- expelled can be told from what it does after. state: member, left, expelled.
ALTER TABLE servers ADD COLUMN state TEXT NOT NULL DEFAULT 'left';
ALTER TABLE servers ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;
ALTER TABLE servers ADD COLUMN lease_until BIGINT NOT NULL DEFAULT 0;
ALTER TABLE servers ADD COLUMN ended_at BIGINT;
ALTER TABLE servers ADD COLUMN admin_cluster TEXT NOT NULL DEFAULT '';
ALTER TABLE servers ADD COLUMN max_peers BIGINT NOT NULL DEFAULT 0;
ALTER TABLE servers ADD COLUMN agent_endpoints TEXT NOT NULL DEFAULT '[]';
ALTER TABLE servers ADD COLUMN public_urls TEXT NOT NULL DEFAULT '[]';
ALTER TABLE servers ADD COLUMN agents BIGINT NOT NULL DEFAULT 0;
ALTER TABLE servers ADD COLUMN clock_ahead_us BIGINT NOT NULL DEFAULT 0;

-- Groups of servers that share the edge clusters among them, and what the last computation of that came to.
CREATE TABLE admin_clusters (
  name TEXT PRIMARY KEY,
  ipv4_range TEXT NOT NULL,
  ipv4_first BIGINT NOT NULL,
  ipv4_last BIGINT NOT NULL,
  degraded BIGINT NOT NULL DEFAULT 0,
  total_nodes BIGINT NOT NULL DEFAULT 0,
  total_capacity BIGINT NOT NULL DEFAULT 0,
  computed_by TEXT,
  computed_at BIGINT,
  inserted_at BIGINT NOT NULL
);

-- Which server of the group an edge cluster is assigned to; no server is an orphan.
CREATE TABLE cluster_owners (
  admin_cluster TEXT NOT NULL REFERENCES admin_clusters (name) ON DELETE CASCADE,
  cluster_id TEXT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
  server_id TEXT,
  since BIGINT NOT NULL,
  PRIMARY KEY (admin_cluster, cluster_id)
);
CREATE INDEX cluster_owners_cluster_id ON cluster_owners (cluster_id);

-- The connection that wrote connected_server, by the epoch of its server.
ALTER TABLE nodes ADD COLUMN connected_epoch BIGINT NOT NULL DEFAULT 0;

-- What servers say to each other; read once, gone then. Nothing of it needs to survive a crash of the database.
CREATE UNLOGGED TABLE letters (
  seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  to_server TEXT NOT NULL,
  from_server TEXT NOT NULL,
  kind TEXT NOT NULL,
  body TEXT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX letters_to_server ON letters (to_server, seq);
