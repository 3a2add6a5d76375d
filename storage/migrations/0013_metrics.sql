-- Metrics without a key.  An event is stored in one transaction with the number of the last one that was, so none comes
-- twice; an index over three columns only made storing them eight times slower, and held all of them in memory.
CREATE TABLE metrics_without_key (
    run_id VARCHAR NOT NULL,
    seq    BIGINT NOT NULL,
    step   BIGINT NOT NULL,
    name   VARCHAR NOT NULL,                    -- 'train/loss', 'heldout/accuracy', 'policy/kl', …
    value  DOUBLE,
    logged_at TIMESTAMP NOT NULL
);
INSERT INTO metrics_without_key SELECT run_id, seq, step, name, value, logged_at FROM metrics ORDER BY run_id, seq, name;
DROP TABLE metrics;
ALTER TABLE metrics_without_key RENAME TO metrics;
