"""`gpuquery publish`, `history`, `rollback` and `fsck` on tables of a real S3 server and a real REST catalog, which
DuckDB reads, and pyiceberg and delta-rs."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from deltalake import DeltaTable

from gpuquery.api.catalogs import variable
from gpuquery.cli.main import main
from tests.s3.test_iceberg import served
from tests.support import duckdb_iceberg, sinks
from tests.support.seaweed import ACCESS_KEY, REGION, SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.s3.test_iceberg import Server
    from tests.support.seaweed import Seaweed

pytestmark = pytest.mark.s3
NAMES = (f"c{n}" for n in itertools.count())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as context:
        opening = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": REGION}
        for name, value in opening.items():
            context.setenv(name, value)
        with served(tmp_path_factory.mktemp("weed")) as server:
            assert server.access.catalogs is not None
            for option, value in server.access.catalogs["lake"].items():
                context.setenv(variable("lake", option), value)
            yield server


class Table:
    """An Iceberg table."""

    def __init__(self, server: Server) -> None:
        self.server, self.name = server, f"sales.{next(NAMES)}"

    def write(self, *values: int, branch: str | None = None, mode: str = "append", uid: str = "") -> Any:
        table = {"catalog": "lake", "name": self.name, "create": {}, **({"branch": branch} if branch else {})}
        made = sinks.plan(None, store=self.server.access, uid=uid, table=table, mode=mode)
        return sinks.run(made, pl.LazyFrame({"v": values}, schema={"v": pl.Int64}))

    def call(self, command: str, *more: str) -> int:
        endpoint = str(self.server.access.endpoint)
        return main([command, f"lake:{self.name}", *more, "--endpoint", endpoint, "--region", REGION])

    def load(self) -> Any:
        return self.server.catalog().load_table(self.name)

    def rows(self) -> list[int]:
        return sorted(self.load().scan().to_arrow()["v"].to_pylist())

    def duck(self, folder: Path) -> list[int]:
        endpoint = str(self.server.access.endpoint).partition("://")[2]
        secret = (
            f"create secret (type s3, key_id '{ACCESS_KEY}', secret '{SECRET_KEY}', region '{REGION}', endpoint "
            f"'{endpoint}', url_style 'path', use_ssl false)"
        )
        found = duckdb_iceberg.read({"t": self.load().metadata_location}, folder, secret)["t"]
        return sorted(found["v"].to_pylist())


@pytest.fixture
def table(server: Server) -> Table:
    return Table(server)


def test_a_branch_is_published_and_goes_and_its_job_is_found_ever_after(table: Table, tmp_path: Path) -> None:
    uid = "11111111-2222-3333-4444-555555555555"
    table.write(1)
    done = table.write(2, branch="audit", uid=uid)
    assert table.rows() == [1]
    assert table.call("publish", "audit", "--drop") == 0
    assert table.rows() == table.duck(tmp_path) == [1, 2]
    assert set(table.load().metadata.refs) == {"main"}
    assert table.write(2, branch="audit", uid=uid).snapshot == done.snapshot
    assert table.rows() == [1, 2]
    table.write(3, branch="audit")
    table.write(4)
    assert table.call("publish", "audit") == 1
    assert table.rows() == [1, 2, 4]


def test_an_iceberg_table_goes_back_and_its_later_snapshots_stay(
    table: Table, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uid = "21111111-2222-3333-4444-555555555555"
    first = table.write(1).snapshot
    later = table.write(2, mode="overwrite", uid=uid).snapshot
    assert table.call("rollback", "--to", first) == 0
    assert table.rows() == table.duck(tmp_path) == [1]
    assert table.write(2, mode="overwrite", uid=uid).snapshot == later and table.rows() == [1]
    capsys.readouterr()
    assert table.call("history", "-o", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["version"], one["branches"]) for one in told] == [(later, []), (first, ["main"])]
    assert table.call("fsck", "--deep") == 0
    assert "2 versions, 1 rows in 1 files" in capsys.readouterr().out


def test_a_delta_table_goes_back_to_files_that_were_replaced(
    seaweed: Seaweed, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"s3://{bucket}/lake/orders"
    options = {**seaweed.environment, "AWS_ENDPOINT_URL": seaweed.endpoint, "AWS_ALLOW_HTTP": "true"}

    def rows() -> list[int]:
        return sorted(DeltaTable(uri, storage_options=options).to_pyarrow_table()["v"].to_pylist())

    def call(command: str, *more: str) -> int:
        return main([command, uri, *more, "--endpoint", seaweed.endpoint])

    for value in (1, 2):
        made = sinks.plan(uri, endpoint=seaweed.endpoint, delta={}, mode="overwrite")
        sinks.run(made, pl.LazyFrame({"v": [value]}))
    assert call("rollback", "--to", "0") == 0
    assert rows() == [1]
    assert sinks.run(made, pl.LazyFrame({"v": [2]})).version == 1 and rows() == [1]
    capsys.readouterr()
    assert call("history", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)[0]["operation"] == "RESTORE to 0"
    assert call("fsck", "--deep") == 0
    (name,) = DeltaTable(uri, storage_options=options).file_uris()
    seaweed.client().delete_object(Bucket=bucket, Key=name.removeprefix(f"s3://{bucket}/"))
    assert call("fsck") == 1
    assert "is missing; it had 1 rows" in capsys.readouterr().out
