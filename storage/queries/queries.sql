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
