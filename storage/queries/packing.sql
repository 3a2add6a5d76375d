-- name: tables
SELECT table_name FROM duckdb_tables() WHERE NOT internal AND NOT temporary AND schema_name = 'main' ORDER BY table_name

-- name: columns
SELECT c.table_name, c.column_name
FROM duckdb_columns() c
SEMI JOIN duckdb_tables() t ON t.table_oid = c.table_oid AND t.schema_name = c.schema_name AND t.database_name = c.database_name
WHERE NOT c.internal AND c.schema_name = 'main'
ORDER BY c.table_name, c.column_index

-- name: keys
SELECT table_name, constraint_column_names
FROM duckdb_constraints()
WHERE constraint_type = 'PRIMARY KEY' AND schema_name = 'main'
