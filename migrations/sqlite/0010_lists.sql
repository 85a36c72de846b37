-- Lists in the orders people ask for; executions whose node is gone are in none. That an id is not empty always holds, and
-- lists alone say so: SQLite, which plans without statistics, takes these indexes for nothing else.
CREATE INDEX executions_listed ON executions (inserted_at, id) WHERE node_id IS NOT NULL AND id <> '';
CREATE INDEX executions_completed_at ON executions (completed_at, id) WHERE node_id IS NOT NULL AND id <> '';
CREATE INDEX executions_updated_at ON executions (updated_at, id) WHERE node_id IS NOT NULL AND id <> '';
CREATE INDEX executions_status ON executions (status, inserted_at, id) WHERE node_id IS NOT NULL AND id <> '';
CREATE INDEX executions_status_completed_at ON executions (status, completed_at, id) WHERE node_id IS NOT NULL AND id <> '';
CREATE INDEX executions_command_id_inserted_at ON executions (command_id, inserted_at, id) WHERE node_id IS NOT NULL AND id <> '';
CREATE INDEX executions_exit_code ON executions (exit_code, inserted_at, id) WHERE node_id IS NOT NULL AND id <> '';
CREATE INDEX nodes_cluster_id_inserted_at ON nodes (cluster_id, inserted_at, id) WHERE id <> '';
CREATE INDEX nodes_status ON nodes (status, inserted_at, id) WHERE id <> '';
CREATE INDEX nodes_updated_at ON nodes (updated_at, id) WHERE id <> '';
CREATE INDEX nodes_version ON nodes (version, id) WHERE id <> '';
DROP INDEX nodes_last_seen_at;
CREATE INDEX nodes_last_seen_at ON nodes (last_seen_at, id);

-- How many executions are listed in each status. The triggers keep it; there is one slot.
CREATE TABLE execution_counts (
  status TEXT NOT NULL,
  slot BIGINT NOT NULL,
  n BIGINT NOT NULL,
  PRIMARY KEY (status, slot)
);
INSERT INTO execution_counts (status, slot, n)
  SELECT status, 0, count(*) FROM executions WHERE node_id IS NOT NULL GROUP BY status;

CREATE TRIGGER executions_counted_insert AFTER INSERT ON executions WHEN NEW.node_id IS NOT NULL BEGIN
  INSERT INTO execution_counts (status, slot, n) VALUES (NEW.status, 0, 1)
    ON CONFLICT (status, slot) DO UPDATE SET n = n + 1; END;
CREATE TRIGGER executions_counted_delete AFTER DELETE ON executions WHEN OLD.node_id IS NOT NULL BEGIN
  UPDATE execution_counts SET n = n - 1 WHERE status = OLD.status AND slot = 0; END;
CREATE TRIGGER executions_counted_out AFTER UPDATE OF status, node_id ON executions
  WHEN OLD.node_id IS NOT NULL AND (NEW.node_id IS NULL OR NEW.status <> OLD.status) BEGIN
  UPDATE execution_counts SET n = n - 1 WHERE status = OLD.status AND slot = 0; END;
CREATE TRIGGER executions_counted_in AFTER UPDATE OF status, node_id ON executions
  WHEN NEW.node_id IS NOT NULL AND (OLD.node_id IS NULL OR NEW.status <> OLD.status) BEGIN
  INSERT INTO execution_counts (status, slot, n) VALUES (NEW.status, 0, 1)
    ON CONFLICT (status, slot) DO UPDATE SET n = n + 1; END;
