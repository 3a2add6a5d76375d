-- name: columns
SELECT c.table_name, v.view_name IS NOT NULL AS is_view, c.column_name, c.data_type
FROM duckdb_columns() c
LEFT JOIN duckdb_views() v ON v.view_name = c.table_name AND v.schema_name = c.schema_name
    AND v.database_name = c.database_name
WHERE c.database_name = current_database() AND c.schema_name = 'main' AND NOT c.internal
ORDER BY is_view, c.table_name, c.column_index
