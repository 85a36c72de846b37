-- A fan-out goes on where it stopped: the last node that has its execution.
ALTER TABLE commands ADD COLUMN fan_out_after TEXT NOT NULL DEFAULT '';
