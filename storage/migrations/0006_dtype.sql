-- The number format that a run computes in: what its configuration's "auto" became where it ran.
ALTER TABLE runs ADD COLUMN dtype VARCHAR;
