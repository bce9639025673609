"""How long it takes to look at and to read CSV and NDJSON exactly, against Polars' own scan of the same files.

The files have numbers, fractions, dates, timestamps, truths and texts; NDJSON has lists and objects. CPU seconds of one
process, the least of several rounds, because others may be at work on this machine. Of inputs that are larger than what
is looked at before the query, the check of all lines beside it is measured, too. One JSON line on stdout.

    python -m tests.bench.text [--rows 600000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import inputs
from gpuquery.runner.inputs.formats import contents
from tests.bench.setting import conditions

if TYPE_CHECKING:
    from collections.abc import Callable

ACCESS = StoreAccess()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure reading CSV and NDJSON.")
    parser.add_argument("--rows", type=int, default=600_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        csv, ndjson = written(Path(folder), given.rows)
        found = {
            "csv": measured(csv, lambda: pl.scan_csv(csv, try_parse_dates=True), given.rounds),
            "ndjson": measured(ndjson, lambda: pl.scan_ndjson(ndjson), given.rounds),
        }
        budget, contents.BUDGET = contents.BUDGET, ndjson.stat().st_size // 4
        found["csv, larger than the budget"] = measured(
            csv, lambda: pl.scan_csv(csv, try_parse_dates=True), given.rounds
        )
        quoted = Path(folder) / "quoted.csv"
        quoted.write_text(re.sub("([^,\n]+)", r'"\1"', csv.read_text()))
        for name, path in (("csv", csv), ("csv, all quoted", quoted), ("ndjson", ndjson)):
            found[f"{name}: all lines"] = verified(path, given.rounds)
        contents.BUDGET = budget
    print(json.dumps({"bench": "text", "rows": given.rows, "rounds": given.rounds, **found, **conditions()}))


def written(folder: Path, rows: int) -> tuple[Path, Path]:
    """Write the same kind of rows in both formats."""
    csv, ndjson = folder / "x.csv", folder / "x.ndjson"
    with csv.open("w") as lines:
        lines.write("id,qty,price,day,at,flag,name\n")
        for at in range(rows):
            day = f"1994-{at % 12 + 1:02}-{at % 28 + 1:02}"
            truth = "true" if at % 2 else "false"
            clock = f"{at % 24:02}:{at % 60:02}:{at % 59:02}.{at % 1_000_000:06}"
            lines.write(
                f"{at},{at % 50},{at * 37 % 100_000 / 100},{day},{day} {clock},{truth},name of the row {at % 977}\n"
            )
    with ndjson.open("w") as lines:
        for at in range(rows // 3):
            inner = {"x": at % 5, "y": None if at % 11 else "z"}
            row = {"id": at, "price": at % 100_000 / 100, "name": f"name {at % 997}", "tags": [at % 7, 1], "o": inner}
            lines.write(json.dumps(row) + "\n")
    return csv, ndjson


def measured(path: Path, plain: Callable[[], pl.LazyFrame], rounds: int) -> dict[str, Any]:
    """Return CPU seconds of looking at a file, reading it, and Polars' own reading, and what they come to."""
    item = Input.model_validate({"name": "t", "uri": f"file://{path}", "format": path.suffix[1:]})
    looking, resolved = least(lambda: inputs.resolve([item], ACCESS)["t"], rounds)
    reading, ours = least(lambda: resolved.frame(ACCESS).collect(), rounds)
    reference, theirs = least(lambda: plain().collect(), rounds)
    assert ours.height == theirs.height
    megabytes = path.stat().st_size / 1e6
    return {
        "megabytes": round(megabytes, 1),
        "look_seconds": round(looking, 3),
        "look_megabytes_per_second": round(megabytes / looking),
        "read_seconds": round(reading, 3),
        "polars_seconds": round(reference, 3),
        "ratio": round(reading / reference, 2),
    }


def verified(path: Path, rounds: int) -> dict[str, Any]:
    """Return CPU seconds of looking at all lines of a file of which a sample was looked at before."""
    item = Input.model_validate({"name": "t", "uri": f"file://{path}", "format": path.suffix[1:]})
    one = inputs.resolve([item], ACCESS)["t"]
    assert one.reading.sampled
    seconds, _ = least(lambda: one.reading.verify(item, one.files, ACCESS, 0), rounds)
    megabytes = path.stat().st_size / 1e6
    return {"megabytes": round(megabytes, 1), "megabytes_per_second": round(megabytes / seconds)}


def least(work: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    """Return the least CPU seconds of several rounds, and what the last of them returned."""
    times, result = [], None
    for _ in range(rounds):
        began = time.process_time()
        result = work()
        times.append(time.process_time() - began)
    return min(times), result


if __name__ == "__main__":
    main()
