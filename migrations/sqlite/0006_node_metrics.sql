-- The newest sample of each node. The numbers are what lists are sorted by, in thousandths where they are fractions.
CREATE TABLE node_metrics (
  node_id TEXT PRIMARY KEY REFERENCES nodes (id) ON DELETE CASCADE,
  taken_at BIGINT NOT NULL,
  load BIGINT,
  cpu BIGINT,
  memory BIGINT,
  disk BIGINT,
  network BIGINT,
  uptime BIGINT,
  sample TEXT NOT NULL
);
