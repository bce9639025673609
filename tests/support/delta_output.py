"""Delta tables as an output: files that are staged by hand, and their commits, in this process or in one to be killed.

python -m tests.support.delta_output '<json>'      # see `commit_in_process`
"""

from __future__ import annotations

import secrets
import threading
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl
from deltalake import DeltaTable

from gpuquery.plan.plan import JobRef, Language, Plan, StoreAccess
from gpuquery.runner import stores
from gpuquery.runner.output import hive
from gpuquery.runner.output.record import StagedFile, part_name
from gpuquery.runner.output.tables.delta import modes, values
from gpuquery.runner.output.tables.delta.commit import Committer, Wanted
from gpuquery.runner.output.tables.delta.lines import BELOW
from gpuquery.runner.output.tables.delta.place import Target
from gpuquery.runner.output.tables.delta.where import Where

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

    from gpuquery.runner.output.tables.delta.commit import Outcome
    from gpuquery.runner.output.tables.delta.modes import Mode

APPEND, OVERWRITE, PARTITIONS, NEW = (
    modes.Append(),
    modes.Overwrite(),
    modes.OverwritePartitions(),
    modes.ErrorIfExists(),
)


def job(uid: str = "") -> JobRef:
    return JobRef(namespace="ns", name="job", uid=uid or str(uuid.uuid4()))


def where(text: str) -> Mode:
    plan = Plan(
        job=job(), attempt=1, engine="cpu", cluster="single", language=Language.SQL, query="", now=datetime.now(UTC),
        output={"uri": "file:///x"}, dialect="duckdb",  # type: ignore[arg-type]
    )  # fmt: skip
    return modes.OverwriteWhere(Where(plan, text))


def target(path: Path) -> Target:
    uri = f"file://{path}"
    store = stores.of(uri).table(stores.locate(uri), StoreAccess(), staging="_staging/x", stop=threading.Event())[0]
    return Target(uri, StoreAccess(), store)


class Writer:
    """One attempt of one job on a table of this machine."""

    before = staticmethod(lambda: None)
    """Called before each try to commit."""

    def __init__(self, path: Path, mode: Mode = APPEND, by: Sequence[str] = (), **more: Any) -> None:
        self.path, self.by = path, tuple(by)
        self.job = job(more.pop("uid", ""))
        self.target = target(path)
        wanted = Wanted(mode, self.by, more.pop("widen", False), more.pop("created", datetime.now(UTC)))
        self.committer = Committer(self.target, self.job, 1, wanted, before=self._tried)

    def _tried(self) -> None:
        self.before()

    def write(self, rows: pl.DataFrame, *, before: Any = lambda: None) -> Outcome:
        """Run the whole of an attempt."""
        if (found := self.committer.recover()) is not None:
            return found
        self.committer.check_mode()
        fit = self.committer.fit(rows.schema)
        files = self.stage(rows.select(pl.col(name).cast(dtype) for name, dtype in fit.casts.items()))
        self.before = before
        return self.committer.commit(fit, files)

    def stage(self, rows: pl.DataFrame) -> list[StagedFile]:
        """Write a file for each partition; Polars writes them, as in a pod."""
        parts = rows.partition_by(self.by, as_dict=False, maintain_order=True) if self.by else [rows]
        found = []
        for number, part in enumerate(parts):
            keys = part.select(self.by).head(1)
            texts = {name: values.text(text, part.schema[name]) for name, text in hive.partition_values(keys).items()}
            path = hive.folder(texts) + part_name(self.job.uid, 1, 0, number, secrets.token_hex(4))
            file = self.path / BELOW / path
            file.parent.mkdir(parents=True, exist_ok=True)
            part.drop(self.by).write_parquet(file)
            found.append(StagedFile(path=path, bytes=file.stat().st_size, rows=len(part), values=texts))
        return found


def read(path: Path) -> pa.Table:
    """The rows, as delta-rs finds and pyarrow reads them."""
    return DeltaTable(str(path)).to_pyarrow_table()


def log(path: Path, version: int) -> list[dict[str, Any]]:
    import json

    text = (path / f"_delta_log/{version:020d}.json").read_text()
    return [json.loads(line) for line in text.splitlines()]
