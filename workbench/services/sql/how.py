"""How other programs read a store, as text to copy."""

from __future__ import annotations

from pathlib import Path

from storage.share.asking import token_path_of
from storage.share.extensions import extension_files

TEXT = """\
# The command line: beside whoever holds the store.
workbench --db {shell} sql "SELECT * FROM run_summary"

# Python, in a notebook or a script: also beside whoever holds it.
import workbench
db = workbench.connect({python})
db.sql("SELECT * FROM run_summary")        # a DuckDB relation; db.polars(…) and db.arrow(…) give frames

-- duckdb {version}, and any client that speaks Quack: while a workbench, a command or “workbench serve”
-- holds the store; the file {name}.share holds address and token, new with each start.
{load}
SET VARIABLE share = (SELECT content::JSON FROM read_text({share}));
CREATE MACRO held(question) AS TABLE SELECT * FROM quack_query(
    (getvariable('share')->>'address'), question, token = (getvariable('share')->>'token'));
FROM held('SELECT * FROM run_summary');

-- duckdb {version}, while nobody holds it: duckdb -readonly {shell}
"""


def how(database: Path) -> str:
    """Snippets for the command line, for Python and for DuckDB's own command line."""
    from importlib.metadata import version
    from shlex import quote

    def sql(text: object) -> str:
        return "'" + str(text).replace("'", "''") + "'"

    return TEXT.format(
        shell=quote(str(database)),
        python=repr(str(database)),
        name=database.name,
        share=sql(token_path_of(database)),
        load="\n".join(f"LOAD {sql(file)};" for file in extension_files()),
        version=".".join(version("duckdb").split(".")[:2]),
    )
