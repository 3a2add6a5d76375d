-- name: add
INSERT INTO saved_queries (query_id, name, sql, rows, seconds, error)
VALUES ($query_id, $name, $sql, $rows, $seconds, $error)

-- name: drop_name
DELETE FROM saved_queries WHERE name = $name

-- name: history
SELECT query_id, name, sql, rows, seconds, error, created_at
FROM saved_queries
WHERE (name IS NULL) = $history
ORDER BY created_at DESC, rowid DESC
LIMIT $limit

-- name: tree
SELECT c.table_name, CASE WHEN v.view_name IS NULL THEN 'table' ELSE 'view' END, c.column_name, c.data_type
FROM duckdb_columns() c
LEFT JOIN duckdb_views() v ON v.view_name = c.table_name AND v.schema_name = c.schema_name
WHERE NOT c.internal AND c.schema_name = 'main' AND NOT starts_with(c.table_name, 'stage_')
  AND c.database_name = current_database()
ORDER BY c.table_name, c.column_index

-- name: functions
SELECT DISTINCT function_name FROM duckdb_functions() WHERE regexp_full_match(function_name, '[a-z_][a-z0-9_]*') ORDER BY 1

-- name: offered
SELECT name FROM (
    SELECT 'reward_model' AS parameter, name, max(created_at) AS newest FROM artifacts WHERE kind = 'reward_model' GROUP BY name
    UNION ALL SELECT 'policy', name, created_at FROM policies
    UNION ALL SELECT 'annotator', name, created_at FROM annotators
    UNION ALL SELECT 'criterion', criterion, max(created_at) FROM judgements GROUP BY criterion
    UNION ALL SELECT 'run', run_id, created_at FROM runs
    UNION ALL SELECT 'source', source, max(created_at) FROM prompts WHERE source IS NOT NULL GROUP BY source
)
WHERE regexp_full_match($parameter, parameter || '(_id|_name|_[a-z0-9])?')
ORDER BY newest DESC, name
LIMIT 50
