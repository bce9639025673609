"""Iceberg tables in a real S3 server behind a real REST catalog: SeaweedFS has both."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.schema import Schema
from pyiceberg.types import DecimalType, LongType, NestedField, StringType

from gpuquery.api.catalogs import variable
from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import inputs
from gpuquery.runner.failures.errors import JobError
from tests.support import iceberg
from tests.support.seaweed import ACCESS_KEY, REGION, SECRET_KEY, START_SECONDS, _die_with_parent, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.s3

SIGNED = {"rest.sigv4-enabled": "true", "rest.signing-region": REGION, "rest.signing-name": "s3tables"}
ORDERS = Schema(
    NestedField(1, "id", LongType()), NestedField(2, "status", StringType()), NestedField(3, "price", DecimalType(9, 2))
)


class Server:
    """A catalog with its store."""

    def __init__(self, s3: int, rest: int) -> None:
        self.access = StoreAccess(
            endpoint=f"http://127.0.0.1:{s3}",
            region=REGION,
            path_style=True,
            catalogs={"lake": {"uri": f"http://127.0.0.1:{rest}", "warehouse": "s3://analytics", **SIGNED}},
        )

    def catalog(self) -> RestCatalog:
        """The catalog for writers, by pyiceberg and pyarrow."""
        files = {
            "s3.endpoint": str(self.access.endpoint), "s3.access-key-id": ACCESS_KEY,
            "s3.secret-access-key": SECRET_KEY, "s3.region": REGION, "s3.path-style-access": "true",
        }  # fmt: skip
        return RestCatalog("lake", **self.access.catalogs["lake"], **files)


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """Start `weed mini`, which makes a bucket for tables."""
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    assert weed is not None
    names = ("master", "volume", "filer", "s3", "webdav", "admin")
    ports = free_ports(2 * len(names) + 1)
    flags = [
        f"-{name}.port{kind}={ports[2 * n + k]}"
        for n, name in enumerate(names)
        for k, kind in enumerate(("", ".grpc"))
        if (name, kind) != ("webdav", ".grpc")
    ]
    command = [
        weed, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-tableBucket=analytics",
        "-master.telemetry=false", "-s3.port.lance=0", f"-s3.port.iceberg={ports[-1]}", *flags,
    ]  # fmt: skip
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=environment,
            preexec_fn=_die_with_parent,  # noqa: PLW1509
        )
    server = Server(ports[6], ports[-1])
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                server.catalog().create_namespace_if_not_exists("sales")
                break
            except Exception:
                assert process.poll() is None and time.monotonic() < deadline, (folder / "weed.log").read_text()[-3000:]
                time.sleep(0.2)
        yield server
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with ExitStack() as ends:
        context = ends.enter_context(pytest.MonkeyPatch.context())
        for name, value in (("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)):
            context.setenv(name, value)
        context.setenv("AWS_REGION", REGION)
        yield ends.enter_context(served(tmp_path_factory.mktemp("weed")))


def read(server: Server, **asked: Any) -> list[dict[str, Any]]:
    item = iceberg.item_of(**asked)
    found = inputs.resolve([item], server.access)
    again = inputs.from_json(inputs.to_json(found), [item])["t"]
    return again.frame(server.access).collect().sort("id").to_dicts()


def rows(*ids: int) -> pa.Table:
    return pa.Table.from_pylist(
        [{"id": n, "status": "FO"[n % 2], "price": Decimal(n) / 4} for n in ids], ORDERS.as_arrow()
    )


def test_a_table_of_a_catalog_is_read_from_its_store(server: Server) -> None:
    catalog = server.catalog()
    table = catalog.create_table("sales.orders", ORDERS)
    table.append(rows(1, 2))
    first = table.metadata.current_snapshot_id
    table.append(rows(3))
    with table.update_schema() as change:
        change.rename_column("status", "state")
    table.append(rows(4).rename_columns(["id", "state", "price"]))
    wanted = sorted(catalog.load_table("sales.orders").scan().to_arrow().to_pylist(), key=lambda row: row["id"])
    assert read(server) == wanted
    assert len(wanted) == 4
    assert [row["status"] for row in read(server, snapshotId=str(first))] == ["O", "F"]


def test_a_real_catalog_sells_a_token_for_client_credentials(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.catalog().create_table("sales.sold", ORDERS).append(rows(1))
    lake = {"uri": server.access.catalogs["lake"]["uri"], "warehouse": "s3://analytics"}  # type: ignore[index]
    unsigned = server.access.model_copy(update={"catalogs": {"lake": lake}})
    item = iceberg.item_of(name="sales.sold")
    with pytest.raises(JobError) as refused:
        inputs.resolve([item], unsigned)
    assert refused.value.failure is Failure.STORAGE_AUTH
    monkeypatch.setenv(variable("lake", "credential"), f"{ACCESS_KEY}:wrong-secret")
    with pytest.raises(JobError) as wrong:
        inputs.resolve([item], unsigned)
    assert wrong.value.failure is Failure.STORAGE_AUTH and "wrong-secret" not in wrong.value.message
    monkeypatch.setenv(variable("lake", "credential"), f"{ACCESS_KEY}:{SECRET_KEY}")
    assert inputs.resolve([item], unsigned)["t"].frame(unsigned).collect().height == 1


def test_a_table_that_is_not_there_and_a_key_that_is_wrong_are_told_apart(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(JobError) as missing:
        read(server, name="sales.ordres")
    assert missing.value.failure is Failure.INVALID_INPUT
    assert "no table ordres" in missing.value.message
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(JobError) as refused:
        read(server)
    assert refused.value.failure is Failure.STORAGE_AUTH
    assert "another" not in refused.value.message
