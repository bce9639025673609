"""How a release's cudf-polars takes CSV and NDJSON as inputs read them. Runs in its environment, without a GPU.

Argument: the release. Prints a JSON object: for each way to read a type why it cannot run on GPUs, or null.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import polars as pl

from gpuquery.runner.inputs.formats import texts
from gpuquery.runner.inputs.formats.contents import RefusedError
from gpuquery.runner.inputs.formats.csv import structure
from gpuquery.runner.inputs.formats.csv.records import Dialect
from gpuquery.runner.inputs.formats.ndjson import every, rules
from tests.releases.function_probe import translated

TYPES = {
    "Int64": pl.Int64(), "UInt64": pl.UInt64(), "Float64": pl.Float64(), "Boolean": pl.Boolean(), "Date": pl.Date(),
    "Datetime": pl.Datetime("us"), "Datetime ns": pl.Datetime("ns"), "Datetime UTC": pl.Datetime("us", "UTC"),
    "Decimal": pl.Decimal(12, 2), "Time": pl.Time(),
}  # fmt: skip


def main() -> None:
    """Translate every way."""
    release = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.csv")
        path.write_text("a,b\n1,x\n")
        lines = Path(folder, "x.ndjson")
        lines.write_text('{"a": 1}\n')
        text = pl.scan_csv(path, glob=False, schema={"a": pl.String(), "b": pl.String()}, infer_schema=False)
        blank = ~pl.all_horizontal(pl.col(name).is_null() for name in "ab")
        found = {
            "lines without anything": translated(release, text.filter(blank)),
            "files with other columns": translated(
                release, pl.concat([text, text.select("a", pl.lit("x").alias("b"))])
            ),
            "ndjson": translated(release, pl.scan_ndjson([lines], schema={"a": pl.Int64()})),
        }
        for name, dtype in TYPES.items():
            plain = pl.scan_csv(path, glob=False, schema={"a": dtype, "b": pl.String()}, infer_schema=False)
            found[f"{name}, looked at before"] = translated(release, plain)
            made = texts.values(pl.col("a"), dtype, texts.mark("t", "a"), declared=False).alias("a")
            found[f"{name}, checked while the query runs"] = translated(release, text.select(made, "b"))
    found["large files, looked at beside the query"] = _looked_at()
    print(json.dumps(found))


def _looked_at() -> str | None:
    """Say what this release's Polars does not find in lines that are looked at beside the query."""
    form = structure.Form(2, Dialect(","))
    schema = {"a": pl.Int64(), "b": pl.String()}
    known = every.Lines(rules.rules(schema, schema, frozenset()), frozenset())
    structure.check(b'1,x\n2,"y, ""z""\n"\r\n3,\xc3\xa9\n' * 1000, 1, form)
    known.look(b'{"a": 1, "b": "x"}\n{"b": null, "a": -7}\n' * 1000, 1)
    if known.closely != 2:
        return f"{known.closely} lines were looked at one by one"
    for call in (
        lambda: structure.check(b'1,"x"\n2\n', 1, form),
        lambda: known.look(b'{"a": 1, "b": "x"}\n{"a": 1.5, "b": "x"}\n', 1),
    ):
        try:
            call()
        except RefusedError as exc:
            if exc.text.startswith("line 2 has "):
                continue
        return "a bad line was not found"
    return None


if __name__ == "__main__":
    main()
