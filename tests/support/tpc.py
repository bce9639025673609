"""Tables, queries and published answers of TPC-H and TPC-DS, made at test time by DuckDB's extensions for them.

The extensions are packages for one version of DuckDB that is not the runner's (`requirements/tpc.txt`), so they have an
environment of their own below `~/.cache/gpuquery/tpc/`, and a process in it writes plain files beside it. Nothing of
TPC's is in this repository.

    python -m tests.support.tpc --scale 1        # makes them and prints where they are
"""

from __future__ import annotations

import argparse
import functools
import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support import environments

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOCK = environments.LOCKS / "tpc.txt"
SMALL = 0.01
"""The scale factor of the tests in every run."""
WRITER = """
import json, sys
from pathlib import Path
import duckdb
from duckdb_extensions import import_extension

folder, scale, suites = Path(sys.argv[1]), float(sys.argv[2]), {"tpch": "dbgen", "tpcds": "dsdgen"}
for suite, make in suites.items():
    import_extension(suite)
    con = duckdb.connect()
    con.execute(f"load {suite}")
    con.execute(f"call {make}(sf = {scale})")
    for (table,) in con.execute("show tables").fetchall():
        (folder / suite / table).mkdir(parents=True)
        target = folder / suite / table / "0.parquet"
        con.execute(f"copy {table} to '{target}' (format parquet, compression zstd, row_group_size 122880)")
    queries = con.execute(f"select query_nr, query from {suite}_queries()").fetchall()
    answers = []
    if suite == "tpch":  # tpcds_answers() of 1.5.5 ends with an error, as it looks for a scale factor that it lacks
        answers = con.execute(f"select query_nr, answer from tpch_answers() where scale_factor = {scale}").fetchall()
    (folder / f"{suite}.json").write_text(json.dumps({"queries": dict(queries), "answers": dict(answers)}))
"""


@dataclass(frozen=True)
class Suite:
    """One of the two benchmarks at one scale factor."""

    name: str
    """`tpch` or `tpcds`."""
    folder: Path
    """Holds a folder for each table, with parquet files."""
    queries: Mapping[int, str]
    """The texts, by number, without a semicolon."""
    answers: Mapping[int, str]
    """What TPC has published of TPC-H, by number: CSV with `|` and a heading. Empty where there are none."""

    @property
    def tables(self) -> Mapping[str, Path]:
        """The files of each table."""
        return {path.parent.name: path for path in sorted(self.folder.glob("*/*.parquet"))}


@functools.cache
def suite(name: str, scale: float = SMALL) -> Suite:
    """Return a benchmark with its data; they are made on the first call, which takes seconds at a small scale."""
    folder = data(scale)
    held = json.loads((folder / f"{name}.json").read_text())
    queries = {int(number): text.rstrip().rstrip(";").rstrip() for number, text in held["queries"].items()}
    return Suite(name, folder / name, queries, {int(number): text for number, text in held["answers"].items()})


def data(scale: float) -> Path:
    """Return the folder of both benchmarks at a scale factor, made if it is not there."""
    made = home() / f"sf{scale:g}"
    with environments.alone(home()):
        if not made.exists():
            fresh = home() / f"{made.name}.making"
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            subprocess.run([environments.python(LOCK, home()), "-c", WRITER, fresh, f"{scale:g}"], check=True)
            fresh.rename(made)
    return made


def home() -> Path:
    """Return the folder in the user's cache that belongs to the lock and to how the files are made."""
    return environments.home("tpc", LOCK.read_bytes(), WRITER.encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=SMALL)
    print(data(parser.parse_args().scale))
