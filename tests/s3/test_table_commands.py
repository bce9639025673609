"""`gpuquery publish`, `history`, `rollback` and `fsck` on tables of a real S3 server and a real REST catalog, which
DuckDB reads, and pyiceberg and delta-rs."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from gpuquery.api.catalogs import variable
from gpuquery.cli.main import main
from tests.s3.test_iceberg import served
from tests.support import duckdb_iceberg, sinks
from tests.support.seaweed import ACCESS_KEY, REGION, SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.s3.test_iceberg import Server

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
