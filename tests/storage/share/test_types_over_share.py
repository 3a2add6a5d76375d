# ruff: noqa: E501  one family of types a line
"""Every type of DuckDB comes to another process as the holder has it, in each of the three ways of asking."""

from __future__ import annotations

from contextlib import closing

import pytest

from storage.console import Query
from storage.errors import LockedError
from storage.share.remote import RemoteStore
from storage.share.sharing import Share
from storage.store import Store
from tests.storage.builders import path_of
from tests.storage.remote_query import query_remote

EXACT = {
    "whole numbers": (
        "(-128)::TINYINT, 255::UTINYINT, 18446744073709551615::UBIGINT, 123456789012345678901234567890123::BIGNUM,"
        " 340282366920938463463374607431768211455::UHUGEINT, 170141183460469231731687303715884105727::HUGEINT,"
        " (-170141183460469231731687303715884105728)::HUGEINT, [5::HUGEINT, NULL], true"
    ),
    "fractions": (
        "1.25::DECIMAL(9, 3), 12345678901234567890123456789.123456789::DECIMAL(38, 9), [1.5::DECIMAL(4, 2), NULL],"
        " 1.1::FLOAT, 'inf'::DOUBLE, [0.1::DOUBLE]"
    ),
    "texts and bytes": (
        "chr(0) || 'a', '👍', '\\x00\\xFF'::BLOB, ['\\x00'::BLOB], '0101101'::BIT, '{\"a\": [1, null]}'::JSON,"
        " uuid 'ffffffff-ffff-ffff-ffff-ffffffffffff', [uuid '00000000-0000-0000-0000-000000000001'],"
        " 'y'::ENUM('x', 'y'), ['y'::ENUM('x', 'y'), NULL], {'e': 'x'::ENUM('x', 'y')}"
    ),
    "times": (
        "time '10:11:12.345678', time '24:00:00', timetz '10:00:00+02:30', [timetz '10:00:00-15:59'],"
        " timestamptz '2026-01-02 03:04:05+05:30', [timestamptz '2026-01-02 03:04:05+00'],"
        " '2026-01-02 03:04:05'::TIMESTAMP_S, '2026-01-02 03:04:05.678'::TIMESTAMP_MS,"
        " '2026-01-02 03:04:05.678901234'::TIMESTAMP_NS, 'infinity'::TIMESTAMP, '-infinity'::TIMESTAMP,"
        " '0044-03-15 (BC)'::DATE, date '99999-01-01', interval '1 year 2 months 3 days 04:05:06.789',"
        " interval '-1 day -01:00:00'"
    ),
    "lists": (
        "NULL::INTEGER[], [NULL, NULL], []::VARCHAR[], [[1], NULL, []], [1, NULL, 3]::INTEGER[3],"
        " [[1, 2], [3, 4]]::INTEGER[2][2], ['a', 'b']::VARCHAR[2], [{'a': 1}]::STRUCT(a INTEGER)[1], NULL"
    ),
    "structures": (
        "{'x': 1, 'y': NULL, 'z': 'é'}, {'a': {'b': [1, NULL]}, 'c': NULL::INTEGER[]}, {'a b': 1, 'c.d': 2},"
        " [{'a': 1, 'b': ['\\x00'::BLOB]}, NULL], {'timestamp': 1, 'with': timestamptz '2026-01-02 03:04:05+00'}"
    ),
    "maps and unions": (
        "map {'k': 1.5, 'l': NULL}, map {1: 'a', 2: 'b'}, map {'a': [1, 2]}, map {}, NULL::MAP(VARCHAR, INTEGER),"
        " union_value(num := 1), 'x'::UNION(num INTEGER, text VARCHAR), NULL::UNION(num INTEGER, text VARCHAR),"
        " ['b'::UNION(num INTEGER, text VARCHAR)]"
    ),
}
WITHOUT_NAMES = {
    "row(1, 2)": "(1, 2)",
    "row('a', NULL, [1])": "(a, NULL, [1])",
    "[row(1), row(3)]": "[(1), (3)]",
    "{'a': row(1, timestamptz '2026-01-02 03:04:05+00')}": "{'a': (1, '2026-01-02 03:04:05+00')}",
    "{'a': 1}::VARIANT": "{'a': 1}",
}


@pytest.mark.parametrize("what", EXACT)
def test_values_are_equal_to_the_local_ones(shared: Share, what: str) -> None:
    sql = f"FROM range(2) one(n) LEFT JOIN (SELECT 1 AS n, {EXACT[what]}) USING (n) ORDER BY n"
    here = shared.store.rows(sql)
    assert len(here) == 2
    with RemoteStore(path_of(shared), LockedError("held")) as remote:
        assert remote.rows(sql) == here
        with closing(remote.ask(sql)) as asked:
            assert asked.fetchall() == here
    assert query_remote(path_of(shared), sql) == here


@pytest.mark.parametrize("value", WITHOUT_NAMES)
def test_what_arrow_does_not_know_comes_as_text(shared: Share, value: str) -> None:
    """Rows of Python values are equal; a stream of Arrow, and so a file or a screen, has the text."""
    sql, text = f"SELECT {value} AS v, 1 AS n", [(WITHOUT_NAMES[value], 1)]
    here = shared.store.rows(sql)
    with RemoteStore(path_of(shared), LockedError("held")) as remote:
        assert remote.rows(sql) == here
        with closing(remote.ask(sql)) as asked:
            assert asked.fetchall() == text
    assert query_remote(path_of(shared), sql) == text
    assert streamed(shared.store, sql) == [{"v": text[0][0], "n": 1}]


def streamed(store: Store, sql: str) -> list[dict[str, object]]:
    with Query(store, sql).stream(unlocked=False) as batches:
        return [row for batch in batches for row in batch.to_pylist()]
