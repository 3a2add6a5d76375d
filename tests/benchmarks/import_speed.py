"""How fast pairs come into a store, beside DuckDB reading the same file into a table of its own, in turn.

Each side is a fresh process on a fresh file; processor seconds stand beside wall-clock seconds, because only
they mean something on a machine that others use.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.common import parser, report, say, versions

READERS = {"jsonl": "read_json", "parquet": "read_parquet"}


def write_pairs(folder: Path, pairs: int, words: int = 30) -> None:
    """The same pairs as JSON Lines and as Parquet; with answers of 30 words about 500 characters each."""
    import duckdb

    drawn = random.Random(1)
    known = ["".join(drawn.choices("abcdefghijklmnop", k=drawn.randint(2, 9))) for _ in range(2000)]
    phrases = [" ".join(drawn.choices(known, k=5)) for _ in range(20_000)]
    with (folder / "pairs.jsonl").open("w") as file:
        for number in range(pairs):
            chosen, rejected = (" ".join(drawn.choices(phrases, k=words // 5)) for _ in range(2))
            prompt = " ".join(drawn.choices(known, k=12)) + f" {number}"
            file.write(json.dumps({"prompt": prompt, "chosen": chosen, "rejected": rejected}) + "\n")
    duckdb.sql(f"COPY (FROM read_json('{folder}/pairs.jsonl')) TO '{folder}/pairs.parquet'")


def measured(side: str, path: Path, store: Path) -> dict[str, float]:
    """Run one side in its own process."""
    command = [sys.executable, "-m", "tests.benchmarks.import_speed", "--side", side, "--file", str(path)]
    done = subprocess.run([*command, "--store", str(store)], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def peak_mib() -> float:
    """The most memory that this process has had.  What the kernel tells of use begins at the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def run_side(side: str, path: Path, store: Path) -> None:
    started, processor = time.perf_counter(), time.process_time()
    if side == "floor":
        import duckdb

        with duckdb.connect(str(store)) as connection:
            reader = READERS[path.suffix[1:]]
            connection.execute(f"CREATE TABLE pairs AS FROM {reader}('{path}')")
    else:
        from storage.interchange.importing import import_file
        from storage.store import Store

        with Store.open(store) as opened:
            import_file(opened, path)
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - started,
                "processor_seconds": time.process_time() - processor,
                "mib": peak_mib(),
            }
        )
    )


def wrong_seconds(folder: Path) -> dict[str, float]:
    """How long each kind of wrong file takes to be refused, at 1 GB."""
    from storage.errors import ImportFileError
    from storage.interchange.importing import import_file
    from storage.store import Store
    from tests.storage.interchange.test_wrong_files import WRONG, wrong_file

    found = {}
    with Store.open(folder / "wrong.duckdb") as store:
        for name in WRONG:
            path = wrong_file(folder, name, 10**9)
            started = time.perf_counter()
            try:
                import_file(store, path)
            except ImportFileError as error:
                found[name] = round(time.perf_counter() - started, 2)
                say(f"{found[name]} s: {error}")
            path.unlink()
    return found


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--pairs", type=int, default=50_000)
    arguments.add_argument("--words", type=int, default=30, help="of an answer")
    arguments.add_argument("--only", choices=tuple(READERS), help="one kind of file")
    arguments.add_argument("--wrong", action="store_true", help="how soon wrong files of 1 GB are refused")
    arguments.add_argument("--side", choices=("floor", "ours"))
    arguments.add_argument("--file", type=Path)
    arguments.add_argument("--store", type=Path)
    wanted = arguments.parse_args()
    if wanted.side:
        run_side(wanted.side, wanted.file, wanted.store)
        return
    found: dict[str, object] = {**versions("duckdb", "pyarrow")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if wanted.wrong:
            report("import of wrong files", **found, seconds=wrong_seconds(folder))
            return
        write_pairs(folder, wanted.pairs, wanted.words)
        for ending in [wanted.only] if wanted.only else list(READERS):
            found[f"{ending}_bytes"] = (folder / f"pairs.{ending}").stat().st_size
            for side in ("floor", "ours"):
                store = folder / f"{side}-{ending}.duckdb"
                result = measured(side, folder / f"pairs.{ending}", store)
                result["responses_per_second"] = 2 * wanted.pairs / result["seconds"]
                result["responses_per_processor_second"] = 2 * wanted.pairs / result["processor_seconds"]
                say(f"{ending} {side}: {result}")
                found[f"{ending}_{side}"] = result
                store.unlink()
    report("import speed", pairs=wanted.pairs, words=wanted.words, **found)


if __name__ == "__main__":
    main()
