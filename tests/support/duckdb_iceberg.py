"""Iceberg tables as DuckDB reads them (`iceberg_scan`), which shares no code with pyiceberg or with us.

The extension is a package for one version of DuckDB that is not the runner's (`requirements/duckdb-iceberg.txt`), so it
has an environment of its own and runs in a process of it.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from tests.support import environments

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa

LOCK = environments.LOCKS / "duckdb-iceberg.txt"
READER = """
import json, sys
import duckdb
from duckdb_extensions import import_extension

for name in ("avro", "iceberg", "httpfs"):
    import_extension(name)
con = duckdb.connect(config={"autoinstall_known_extensions": "false"})
con.execute("load avro; load iceberg; load httpfs; set timezone = 'UTC'")
wanted, setting = json.load(sys.stdin)
con.execute(setting)
for metadata, target in wanted:
    con.execute(f"copy (select * from iceberg_scan('{metadata}')) to '{target}' (format parquet)")
"""


def read(tables: Mapping[str, str], folder: Path, setting: str = "select 1") -> dict[str, pa.Table]:
    """Read tables by the places of their metadata files; writes copies into a folder.

    `setting` is SQL that runs before, such as a secret for S3.
    """
    home = environments.home("duckdb-iceberg", LOCK.read_bytes())
    with environments.alone(home):
        program = environments.python(LOCK, home)
    wanted = {name: (place.removeprefix("file://"), str(folder / f"{name}.parquet")) for name, place in tables.items()}
    given = json.dumps([list(wanted.values()), setting])
    ran = subprocess.run([program, "-c", READER], input=given, text=True, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return {name: pq.read_table(target) for name, (_, target) in wanted.items()}
