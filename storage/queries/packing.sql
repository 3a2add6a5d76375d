-- name: tables
SELECT table_name
FROM duckdb_tables()
WHERE NOT internal AND NOT temporary AND schema_name = 'main' AND database_name = current_database()
ORDER BY table_name

-- name: columns
SELECT c.table_name, c.column_name
FROM duckdb_columns() c
SEMI JOIN duckdb_tables() t
  ON t.table_name = c.table_name AND t.schema_name = c.schema_name AND t.database_name = c.database_name
WHERE NOT c.internal AND c.schema_name = 'main' AND c.database_name = current_database()
ORDER BY c.table_name, c.column_index

-- name: keys
SELECT table_name, constraint_column_names
FROM duckdb_constraints()
WHERE constraint_type = 'PRIMARY KEY' AND schema_name = 'main' AND database_name = current_database()

-- name: lineage
-- A run, what it waited for, and the runs that made the policies and reward models that its configuration names.
WITH RECURSIVE lineage(run_id) AS (
    SELECT $run_id
    UNION
    SELECT made.run_id
    FROM lineage l
    JOIN runs r ON r.run_id = l.run_id
    JOIN (
        SELECT run_id, name FROM policies WHERE run_id IS NOT NULL
        UNION
        SELECT run_id, name FROM artifacts WHERE run_id IS NOT NULL
        UNION
        SELECT run_id, run_id FROM runs
    ) made ON made.run_id <> r.run_id
          AND (made.name = r.waits_for OR made.name IN (SELECT value ->> '$' FROM json_each(r.config)))
)
