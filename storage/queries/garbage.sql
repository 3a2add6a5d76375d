-- name: ended_runs
SELECT run_dir FROM runs WHERE status IN ('done', 'stopped', 'failed') AND run_dir IS NOT NULL ORDER BY 1

-- name: run_dirs
SELECT run_dir FROM runs WHERE run_dir IS NOT NULL

-- name: superseded
SELECT artifact_id, kind, name, path
FROM artifacts
QUALIFY row_number() OVER (PARTITION BY kind, name ORDER BY created_at DESC, step DESC NULLS LAST, artifact_id) > 1
ORDER BY created_at

-- name: places
SELECT path, artifact_id FROM artifacts
UNION ALL
SELECT model, NULL FROM policies WHERE model IS NOT NULL

-- name: configurations
SELECT config::VARCHAR FROM runs

-- name: columns_of_artifacts
-- The columns that hold artifacts' identifiers, by the names that such columns have.
SELECT c.table_name, c.column_name
FROM duckdb_columns() c
SEMI JOIN duckdb_tables() t
  ON t.table_name = c.table_name AND t.schema_name = c.schema_name AND t.database_name = c.database_name
WHERE c.column_name IN ('artifact_id', 'reward_model_id', 'parent_id') AND NOT c.internal
  AND (c.table_name, c.column_name) <> ('artifacts', 'artifact_id') AND c.database_name = current_database()
  AND c.schema_name = 'main'
ORDER BY 1, 2

-- name: named_artifacts
SELECT DISTINCT {column} FROM {table} WHERE list_contains($artifacts, {column})

-- name: forget_artifact
DELETE FROM artifacts WHERE artifact_id = $artifact_id
