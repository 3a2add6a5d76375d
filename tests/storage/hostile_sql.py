"""SQL that tries to read, write or send something outside the store, made of parts.

Every table function, every form of a path or an address, every place of a statement where a table can stand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

CANARY = "canary-sings"
POINTERS = ("arrow_scan", "arrow_scan_dumb", "pandas_scan", "python_map_function", "seq_scan")
"""Table functions that take addresses in memory: DuckDB aborts the process when it is given others."""
# Where a table can stand; {x} is what reaches outside.
PLACES = (
    "SELECT * FROM {x}",
    "FROM {x}",
    "SUMMARIZE {x}",
    "DESCRIBE {x}",
    "DESCRIBE SELECT * FROM {x}",
    "SUMMARIZE SELECT * FROM {x}",
    "SELECT * FROM (DESCRIBE {x})",
    "UNPIVOT {x} ON COLUMNS(*) INTO NAME n VALUE v",
    "PIVOT {x} ON a USING count(*)",
    "PIVOT {x} ON a IN ('x') USING count(*)",
    "PIVOT prompts ON (SELECT a FROM {x}) USING count(*)",
    "FROM (PIVOT {x} ON a IN ('x') USING count(*))",
    "WITH c AS (FROM {x}) FROM c",
    "WITH c AS MATERIALIZED (SELECT * FROM {x}) FROM prompts, c",
    "WITH RECURSIVE c AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM c, {x} WHERE n < 3) FROM c",
    "FROM prompts, LATERAL (SELECT * FROM {x})",
    "SELECT (SELECT count(*) FROM {x})",
    "SELECT EXISTS (FROM {x})",
    "SELECT [(SELECT any_value(a) FROM {x})]",
    "FROM prompts WHERE text IN (SELECT a FROM {x})",
    "FROM prompts POSITIONAL JOIN {x}",
    "FROM prompts SEMI JOIN {x} y ON true",
    "FROM prompts LEFT JOIN {x} y ON true",
    "SELECT text FROM prompts UNION ALL BY NAME SELECT * FROM {x}",
    "SELECT 1 EXCEPT SELECT count(*) FROM {x}",
    "SELECT * FROM prompts ORDER BY (SELECT count(*) FROM {x})",
    "SELECT * FROM prompts LIMIT (SELECT count(*) FROM {x})",
    "SELECT * FROM {x} TABLESAMPLE 50%",
    "SELECT max(a) OVER (PARTITION BY (SELECT count(*) FROM {x})) FROM (SELECT 1 AS a)",
    "SELECT list_transform([1], n -> (SELECT count(*) FROM {x}))",
    "EXPLAIN FROM {x}",
    "EXPLAIN ANALYZE FROM {x}",
    "SELECT 1; FROM {x}",
    "FROM {x}; SELECT 1",
    "PREPARE p AS FROM {x}",
    "CREATE TEMP TABLE mine AS FROM {x}",
    "CREATE TEMP VIEW mine AS FROM {x}",
    "CREATE TEMP MACRO mine() AS TABLE FROM {x}",
    "INSERT INTO prompts (prompt_id, text, messages) SELECT 'p', a, '[]' FROM {x}",
    "COPY (FROM {x}) TO '{out}/a.csv'",
)
# Without {x}.
STATEMENTS = (
    "COPY prompts TO '{out}/b.csv'",
    "COPY prompts TO '{out}/b.parquet'",
    "COPY (SELECT 1) TO '{out}/b.json'",
    "COPY (SELECT 1) TO '{url}/b.csv'",
    "COPY prompts TO '/dev/stderr' (FORMAT csv)",
    "COPY prompts (text) FROM '{csv}'",
    "COPY FROM DATABASE memory TO mine",
    "EXPORT DATABASE '{out}/e'",
    "IMPORT DATABASE '{folder}'",
    "ATTACH '{other}' AS other",
    "ATTACH '{out}/new.duckdb' AS other",
    "ATTACH ':memory:' AS other",
    "ATTACH '{url}/x.duckdb' AS other",
    "ATTACH 'quack:localhost:{port}' AS other",
    "DETACH memory",
    "USE memory",
    "INSTALL httpfs",
    "FORCE INSTALL httpfs FROM '{url}'",
    "LOAD httpfs",
    "LOAD '{csv}'",
    "UPDATE EXTENSIONS",
    "CREATE SECRET s (TYPE http, BEARER_TOKEN 'x')",
    "CREATE PERSISTENT SECRET s (TYPE http, BEARER_TOKEN 'x')",
    "SET enable_external_access = true",
    "SET GLOBAL allowed_directories = ['/']",
    "SET allowed_paths = ['{csv}']",
    "SET secret_directory = '{out}'",
    "SET extension_directory = '{out}'",
    "SET home_directory = '{out}'",
    "SET temp_directory = '{out}'",
    "SET log_query_path = '{out}/log'",
    "SET profiling_output = '{out}/profile'",
    "SET custom_extension_repository = '{url}'",
    "SET http_proxy = '127.0.0.1:{port}'",
    "SET lock_configuration = false",
    "RESET allowed_directories",
    "SET VARIABLE v = (SELECT content FROM read_text('{csv}'))",
    "PRAGMA enable_profiling",
    "PRAGMA profiling_output = '{out}/profile'",
    "PRAGMA import_database('{folder}')",
    "PRAGMA copy_database('memory', 'other')",
    "PRAGMA json_execute_serialized_sql('{{}}')",
    "PRAGMA add_parquet_key('a', '0123456789112345')",
    "PRAGMA force_checkpoint",
    "PRAGMA enable_verification",
    "CALL read_csv('{csv}')",
    "CALL enable_logging(storage = 'file', storage_path = '{out}')",
    "CALL quack_serve('quack:localhost:{port}')",
    "CALL quack_query('quack:localhost:{port}', 'SELECT 1')",
    "CALL force_checkpoint()",
    "CHECKPOINT",
    "FORCE CHECKPOINT",
    "VACUUM",
    "ANALYZE",
    "BEGIN; DELETE FROM prompts; COMMIT",
    "COMMIT",
    "ROLLBACK; DELETE FROM prompts",
    "DELETE FROM prompts",
    "WITH x AS (SELECT 1) DELETE FROM prompts",
    "UPDATE prompts SET text = 'x'",
    "MERGE INTO prompts USING (SELECT 1) x ON false WHEN NOT MATCHED THEN INSERT VALUES (1)",
    "TRUNCATE prompts",
    "DROP TABLE prompts",
    "ALTER TABLE prompts ADD COLUMN mine INTEGER",
    "CREATE OR REPLACE VIEW win_rates AS SELECT 1",
    "CREATE SEQUENCE mine",
    "CREATE TYPE mine AS ENUM ('a')",
    "CREATE TYPE mine AS ENUM (SELECT a FROM '{csv}')",
    "COMMENT ON TABLE prompts IS 'x'",
    "EXPLAIN ANALYZE DELETE FROM prompts",
    "EXPLAIN (ANALYZE, FORMAT json) DELETE FROM prompts",
    "EXPLAIN/**/ANALYZE DELETE FROM prompts",
    "EXPLAIN EXPLAIN ANALYZE DELETE FROM prompts",
    "SELECT write_log('x')",
    "SELECT * FROM query('FROM ''{csv}''')",
    "SELECT * FROM query('SELECT ' || '1')",
    "SELECT * FROM query_table('{csv}')",
    "SELECT * FROM query_table(['prompts', '{csv}'])",
    "FROM json_execute_serialized_sql(json_serialize_sql('FROM ''{csv}'''))",
    "FROM arrow_scan(1, 2, 3)",
    "FROM pandas_scan(1)",
)


@dataclass(frozen=True)
class Outside:
    """What is there to be read and reached."""

    folder: Path
    out: Path
    port: int

    @classmethod
    def make(cls, folder: Path, port: int) -> Outside:
        """Files with the canary in them, an empty folder to write to."""
        (folder / "out").mkdir(parents=True)
        (folder / "secret.csv").write_text(f"a\n{CANARY}\n")
        (folder / "secret.json").write_text(f'{{"a": "{CANARY}"}}\n')
        (folder / "secret.txt").write_text(CANARY)
        (folder / "schema.sql").write_text(f"{CANARY} this is no SQL")
        (folder / "load.sql").write_text(f"{CANARY} this is no SQL")
        with duckdb.connect(str(folder / "secret.duckdb")) as other:
            other.execute(f"CREATE TABLE t AS SELECT '{CANARY}' AS a")
            other.execute(f"COPY t TO '{folder / 'secret.parquet'}'")
        return cls(folder, folder / "out", port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def named(self, text: str) -> str:
        return text.format(
            out=self.out,
            url=self.url,
            csv=self.folder / "secret.csv",
            other=self.folder / "secret.duckdb",
            folder=self.folder,
            port=self.port,
            x="{x}",
        )

    def relations(self) -> Iterator[str]:
        """Files and addresses as tables."""
        folder, url = self.folder, self.url
        for ending in ("csv", "json", "parquet"):
            yield f"'{folder}/secret.{ending}'"
            yield f'"{folder}/secret.{ending}"'
            yield f'"{folder}/secret".{ending}'
            yield f'"{url}/secret".{ending}'
            yield f"'{url}/secret.{ending}'"
        yield f"'file://{folder}/secret.csv'"
        yield f"'{folder}/*.csv'"
        yield f"'{folder}/secret.cs?'"
        yield f"'{folder}/out/../secret.csv'"
        yield f'"{folder}"."secret".csv'
        yield f'"file:"."//{folder}/secret".csv'
        yield f"'s3://127.0.0.1:{self.port}/x.parquet'"
        yield "'hf://datasets/a/b.parquet'"
        yield "'~/secret.csv'"
        yield "'/proc/self/environ'"
        yield f"$${folder}/secret.csv$$"
        yield f"E'{folder}/secret.csv'"
        yield f'main."{folder}/secret.csv"'

    def functions(self, names: list[str]) -> Iterator[str]:
        """Table functions, called with what they may take."""
        for name in names:
            for ending in ("csv", "parquet", "duckdb"):
                yield f"{name}('{self.folder}/secret.{ending}')"
            yield f"{name}(['{self.folder}/secret.csv', '{self.folder}/secret.json'])"
            yield f"{name}('{self.url}/x.csv')"
            yield f"{name}('quack:localhost:{self.port}', 'SELECT 1', token = 'abcd1234')"
            yield f"\"{name.upper()}\"('{self.folder}/*')"

    def texts(self, names: list[str]) -> list[str]:
        """All of it: some forms in every place, every form and every function in one."""
        some = [
            f"'{self.folder}/secret.csv'",
            f'"{self.folder}/secret".csv',
            f'"{self.url}/secret".csv',
            f"read_csv('{self.folder}/secret.csv')",
            f"read_text('{self.folder}/secret.txt')",
        ]
        places = [self.named(place).replace("{x}", x) for place in PLACES for x in some]
        forms = [f"SELECT * FROM {x}" for x in (*self.relations(), *self.functions(names))]
        return [*places, *forms, *map(self.named, STATEMENTS)]


def table_functions(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The names of all table functions there are."""
    sql = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'table' ORDER BY 1"
    return [name for (name,) in connection.execute(sql).fetchall()]
