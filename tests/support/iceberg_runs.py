"""Whole attempts that write an Iceberg table, each in a process without pyarrow, as in the images, which can be killed.

python -m tests.support.iceberg_runs '<json>'      # see `delta_runs.start`
"""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

if __name__ == "__main__":
    sys.modules["pyarrow"] = None  # type: ignore[assignment]

import polars as pl
from pyiceberg.catalog.rest import RestCatalog

from gpuquery.api.receipt import receipt_key
from gpuquery.plan.plan import Plan
from tests.support import delta_runs
from tests.support.delta_runs import Death
from tests.support.sinks import sink

PROGRAM = "tests.support.iceberg_runs"
_BEGIN = datetime(1969, 12, 30, 23, tzinfo=UTC)
ROWS = {
    "id": [*range(300)],
    "ts": [None if n % 50 == 49 else _BEGIN + timedelta(minutes=11 * n) for n in range(300)],
    "name": [None if n % 7 == 0 else f"ä{n}" for n in range(300)],
    "price": [Decimal(n - 150) / 4 for n in range(300)],
}
SCHEMA = {"id": pl.Int64, "ts": pl.Datetime("us", "UTC"), "name": pl.String, "price": pl.Decimal(12, 2)}
RECEIPT = re.escape(receipt_key("")[:-5])
COMMIT = "commit_table"
"""The method of the catalog's client, in place of one of a store."""
DEATHS = {
    "while files are written": Death("put", r"^data/"),
    "when all files are in the store": Death("put", r"rank-00000\.json$"),
    "when it is staged": Death("put", r"rank-00000\.json$", after=True),
    "before it has its permit": Death("put", r"/base$", after=True),
    "when it has its permit": Death("create", r"permit$", after=True),
    "while manifests are written": Death("put", r"^[^/]*-m0\.avro$", after=True),
    "right before the commit": Death(COMMIT, r""),
    "when the answer is lost": Death(COMMIT, r"", after=True),
    "before the second mark": Death("put", r"^_commits/.*json$"),
    "while it tidies up": Death("delete", r"^_staging/"),
    "before the receipt": Death("put", RECEIPT),
    "after the receipt": Death("put", RECEIPT, after=True),
}
"""All moments at which an attempt can die that leave different things behind."""


def frame() -> pl.LazyFrame:
    """What each job writes."""
    return pl.LazyFrame(ROWS, schema=SCHEMA)


def main() -> None:
    order = json.loads(sys.argv[1])
    one = sink(Plan.model_validate_json(order["plan"]), order["attempt"])
    if order["death"]:
        death = Death(**order["death"])
        from gpuquery.runner.stores.s3.table import S3Store

        delta_runs.die_at(RestCatalog if death.method == COMMIT else S3Store, death)
    print(delta_runs.attempt(one, gate=order["gate"], lf=frame()), flush=True)


if __name__ == "__main__":
    main()
