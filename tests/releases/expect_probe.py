"""What a release's Polars makes of the columns that expectations read. Runs in its environment, without a GPU.

Prints a JSON object: duplicates of two columns, at once and in buckets, and the nulls that the footers tell.
"""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import polars as pl

from gpuquery.runner.output import duplicates, kept, scratch

PATHS = ("t=1/part-a.parquet", "t=2/part-b.parquet")


def main() -> None:
    """Keep the columns of two files of 900 rows, in which each of 300 keys is there three times."""
    with tempfile.TemporaryDirectory() as folder:
        scratch.root = lambda: Path(folder)
        kept.BATCH_BYTES, kept.FIRST_ROWS = 2000, 7
        keeper = kept.Keeper(scratch.Scratch(1, 0), lambda exc: print("fault", exc))
        keeper.want(["t", "id", "x", "k"], ["n"], copies=False)
        for number, path in enumerate(PATHS):
            keeper.partition(path, pl.DataFrame({"t": pl.Series([number]).cast(pl.Datetime("ns", "UTC"))}))
            body = io.BytesIO()
            rows = range(900)
            texts = pl.Series(["ab"[row % 2] for row in rows], dtype=pl.Categorical)
            floats = [0.0 if row < 300 else -0.0 for row in rows]
            nulls = [None if row % 9 else row for row in rows]
            ids = [row % 300 for row in rows]
            pl.DataFrame({"id": ids, "x": floats, "k": texts, "n": nulls}).write_parquet(body)
            keeper.copy(path, body.getvalue()[:99])
            keeper.copy(path, body.getvalue()[99:])
            keeper.whole(path, body.getvalue(), {"t": str(number)})
        files, nulls = keeper.finish()
        found = {"files": len(files) > 2, "nulls": nulls}
        for name, most in (("at once", 1 << 30), ("in buckets", 1000)):
            duplicates.BUCKET_BYTES = most
            one = duplicates.found(files, ["t", "id", "x", "k"], keeper.folder())
            found[name] = [one.keys, one.rows, one.times]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
