"""Tables of a real Iceberg REST catalog, SeaweedFS', read and written in pods, and files of a claim."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import boto3
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField, StringType

from tests.e2e import sets
from tests.e2e.conftest import CATALOG, WAREHOUSE
from tests.e2e.jobs import Bench, fresh, tpch
from tests.e2e.test_crashes import HELD
from tests.e2e.test_inputs import rows
from tests.support import vending_proxy
from tests.support.faultproxy import Action, FaultProxy, Rule, in_front_of
from tools.kubectl import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyiceberg.table import Table

    from tools.lake import Lake

SIGNED = {"rest.sigv4-enabled": "true", "rest.signing-region": "us-east-1", "rest.signing-name": "s3tables"}
ORDERS = Schema(NestedField(1, "id", LongType()), NestedField(2, "status", StringType()))
SQL = "SELECT id, status FROM t"
WANTED = [(n, "FO"[n % 2]) for n in range(6)]


def bucket(lake: Lake) -> None:
    """Make the bucket of tables, if it is not there."""
    client = boto3.client(
        "s3tables", endpoint_url=f"http://{lake.host}", aws_access_key_id=lake.access_key,
        aws_secret_access_key=lake.secret_key, region_name="us-east-1",
    )  # fmt: skip
    name = WAREHOUSE.removeprefix("s3://")
    if name not in {one["name"] for one in client.list_table_buckets().get("tableBuckets", ())}:
        client.create_table_bucket(name=name)


@pytest.fixture(scope="module")
def address(together: Bench) -> str:
    """Where this machine reaches the catalog; pods know the Service under the name of `CATALOG`."""
    if not together.cluster.is_one_node:
        pytest.skip("this machine does not reach Services of another cluster")
    port = {"name": "rest", "port": 80, "targetPort": 8181}
    service = {"selector": {"app.kubernetes.io/name": "seaweedfs"}, "ports": [port]}
    name = CATALOG.removeprefix("http://").partition(".")[0]
    together.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": service})
    found = together.cluster.get("service", name, "-n", together.namespace)
    return f"http://{found['spec']['clusterIP']}"


@pytest.fixture(scope="module")
def credential(together: Bench, address: str) -> str:
    """`id:secret` for the catalog; the declared catalog has it by a Secret, the catalog `signed` is one."""
    lake = together.lake
    pair = f"{lake.access_key}:{lake.secret_key}"
    for name, data in {
        "lake-oauth": {"credential": pair},
        "signed": {"uri": CATALOG, "warehouse": WAREHOUSE, **SIGNED},
        "wrong": {"uri": CATALOG, "warehouse": WAREHOUSE, "credential": f"{lake.access_key}:not-the-secret"},
    }.items():
        together.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data})
    return pair


@pytest.fixture(scope="module")
def catalog(together: Bench, address: str, credential: str) -> RestCatalog:
    """The catalog, as this machine reaches it, with the namespace `sales`."""
    lake = together.lake
    bucket(lake)
    found = RestCatalog(
        "lake",
        **{
            "uri": address, "warehouse": WAREHOUSE, "credential": credential, "s3.endpoint": f"http://{lake.host}",
            "s3.access-key-id": lake.access_key, "s3.secret-access-key": lake.secret_key, "s3.region": "us-east-1",
            "s3.path-style-access": "true",
        },
    )  # fmt: skip
    found.create_namespace_if_not_exists("sales")
    return found


@pytest.fixture(scope="module")
def orders(catalog: RestCatalog) -> Table:
    """A table with three snapshots and six rows."""
    table = catalog.create_table(f"sales.{fresh('orders').replace('-', '_')}", ORDERS)
    for n in (0, 2, 4):
        table.append(pa.Table.from_pylist([{"id": i, "status": "FO"[i % 2]} for i in (n, n + 1)], ORDERS.as_arrow()))
    return table


def of(table: Table, catalog: str, **more: Any) -> list[dict[str, Any]]:
    return [{"name": "t", "table": {"catalog": catalog, "name": ".".join(table.name()), **more}}]


def everything_told(bench: Bench, name: str) -> str:
    """All that the API server and the store show of a job."""
    label = f"gpuquery.io/job={name}"
    shown = [
        json.dumps(bench.get(name)), json.dumps(bench.events(name)),
        bench.cluster.run("get", "configmaps,jobs,pods", "-n", bench.namespace, "-l", label, "-o", "json"),
        bench.cluster.run("logs", "-n", bench.namespace, "-l", label, "--tail=-1", check=False),
    ]  # fmt: skip
    for key in bench.keys(f"out/{name}/"):
        shown.append(bench.lake.client().get_object(Bucket="lake", Key=key)["Body"].read().decode("latin-1"))
    return "\n".join(shown)


def test_a_job_reads_a_table_of_a_declared_catalog_at_the_snapshot_of_its_preflight(
    together: Bench, orders: Table
) -> None:
    first = orders.metadata.snapshots[0].snapshot_id
    now = together.job(fresh("iceberg"), sql=SQL, inputs=of(orders, "warehouse"), preflight="always")
    old = together.job(fresh("iceberg"), sql=SQL, inputs=of(orders, "warehouse", snapshotId=str(first)))
    together.apply(now, old)
    for job, want, snapshot in ((now, WANTED, orders.metadata.current_snapshot_id), (old, WANTED[:2], first)):
        name = job["metadata"]["name"]
        (read,) = together.as_completed(name)["status"]["inputs"]
        assert rows(together, name) == want
        assert read["snapshot"] == f"iceberg:{orders.metadata.table_uuid}@{snapshot}/0"
        (record,) = together.commits(f"out/{name}")
        body = json.loads(together.lake.client().get_object(Bucket="lake", Key=record)["Body"].read())
        assert body["inputs"][0]["snapshot"] == read["snapshot"]


def test_a_set_reads_a_table_of_a_catalog_that_is_a_secret(together: Bench, orders: Table) -> None:
    ranks = sets.started(together, sql=SQL, inputs=of(orders, "signed"))
    (read,) = together.as_completed(ranks.name)["status"]["inputs"]
    assert (read["files"], read["snapshot"].partition("@")[0]) == (3, f"iceberg:{orders.metadata.table_uuid}")
    assert rows(together, ranks.name) == WANTED


def test_what_is_wrong_with_catalog_or_table_is_told_without_the_secret(together: Bench, orders: Table) -> None:
    wrong = together.job(fresh("iceberg"), sql=SQL, inputs=of(orders, "wrong"))
    absent = together.job(
        fresh("iceberg"), sql=SQL, inputs=[{"name": "t", "table": {"catalog": "warehouse", "name": "sales.x"}}]
    )
    together.apply(wrong, absent)
    failed = together.how_it_failed(wrong["metadata"]["name"])
    assert failed["reason"] == "StorageAuth" and 'catalog "wrong"' in failed["message"], failed
    assert "not-the-secret" not in everything_told(together, wrong["metadata"]["name"])
    failed = together.how_it_failed(absent["metadata"]["name"])
    assert failed["reason"] == "InvalidInput" and "namespace sales has no table x" in failed["message"]


@pytest.fixture
def vending(together: Bench, address: str) -> Iterator[vending_proxy.Vending]:
    """The same catalog, which vends keys of the store, under the node's address; the catalog `vending` is a Secret."""
    lake = together.lake
    keys = {"s3.access-key-id": lake.access_key, "s3.secret-access-key": lake.secret_key}
    with vending_proxy.served(together.node, address, keys) as proxy:
        data = {
            "uri": proxy.uri, "warehouse": WAREHOUSE, "credential": f"{lake.access_key}:{lake.secret_key}",
            "header.x-iceberg-access-delegation": "vended-credentials",
        }  # fmt: skip
        together.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vending"}, "stringData": data})
        yield proxy


def test_each_rank_gets_vended_keys_from_the_catalog_and_they_stand_nowhere(
    together: Bench, orders: Table, vending: vending_proxy.Vending
) -> None:
    ranks = sets.started(together, sql=SQL, inputs=of(orders, "vending"))
    together.as_completed(ranks.name)
    assert rows(together, ranks.name) == WANTED
    assert vending.loads == 3, "one for each rank"
    assert together.lake.secret_key not in everything_told(together, ranks.name)
    vending.keys = {"s3.access-key-id": "vended-key", "s3.secret-access-key": "vended-secret"}
    failed = together.failed(together.job(fresh("iceberg"), sql=SQL, inputs=of(orders, "vending")))
    assert failed["reason"] == "StorageAuth", failed
    assert f'vended for table {".".join(orders.name())} of catalog "vending"' in failed["message"]
    assert "vended-secret" not in json.dumps(failed)


def test_files_of_a_claim_are_read_in_pods(together: Bench, tmp_path: Path) -> None:
    if not together.cluster.is_one_node:
        pytest.skip("the volume is a folder of this machine")
    name = fresh("claim")
    folder = tmp_path / "files"
    (folder / "orders" / "day=1").mkdir(parents=True)
    pq.write_table(pa.table({"v": [1, 2]}), folder / "orders" / "day=1" / "a.parquet")
    (folder / "more.csv").write_text("k,v\n1,one\n2,two\n")
    for path in (folder, *folder.rglob("*")):  # pods have another user
        path.chmod(0o755 if path.is_dir() else 0o644)
    about = {"accessModes": ["ReadOnlyMany"], "storageClassName": ""}
    size = {"storage": "1Gi"}
    volume = {**about, "capacity": size, "hostPath": {"path": str(folder)}, "persistentVolumeReclaimPolicy": "Retain"}
    claim = {**about, "resources": {"requests": size}, "volumeName": name}
    together.apply(
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": volume},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": claim},
    )
    mounted = {"name": "data", "mountPath": "/mnt/lake", "persistentVolumeClaim": {"claimName": name}}
    job = together.job(
        fresh("claim"),
        sql="SELECT o.v, o.day, c.v AS word FROM orders o JOIN more c ON c.k = o.v",
        inputs=[
            {"name": "orders", "uri": "file:///mnt/lake/orders/"}, {"name": "more", "uri": "file:///mnt/lake/more.csv"},
        ],
        template={"spec": {"volumes": [mounted]}},
    )  # fmt: skip
    try:
        together.completed(job)
        assert rows(together, job["metadata"]["name"]) == [(1, 1, "one"), (2, 1, "two")]
        outside = together.job(
            fresh("claim"), sql="SELECT * FROM t", inputs=[{"name": "t", "uri": "file:///mnt/lake/none.parquet"}],
            template={"spec": {"volumes": [mounted]}},
        )  # fmt: skip
        failed = together.failed(outside)
        assert failed["reason"] == "InvalidInput" and "more.csv" in failed["message"], failed
    finally:
        together.cluster.run("delete", "pvc", name, "-n", together.namespace, "--wait=false")
        together.cluster.run("delete", "pv", name, "--wait=false")


def written(table: Table, branch: str = "main") -> list[tuple[Any, ...]]:
    """Return the rows of a table, as pyiceberg and pyarrow read them."""
    found = table.scan(snapshot_id=table.metadata.refs[branch].snapshot_id).to_arrow()
    return sorted(zip(*(column.to_pylist() for column in found.columns), strict=True))


def wanted(tables: Path, times: int = 1) -> list[tuple[Any, ...]]:
    """Return what DuckDB makes of the query of the sets."""
    sql = sets.SQL.replace("FROM lineitem", f"FROM read_parquet('{tables}/lineitem/*.parquet')")
    return sorted(duckdb.sql(sql).fetchall() * times)


def test_one_pod_makes_an_iceberg_table_and_a_set_of_three_appends_to_it(
    together: Bench, catalog: RestCatalog, tables: Path
) -> None:
    name = f"sales.{fresh('written').replace('-', '_')}"
    create = {"partitionBy": ["bucket(4, l_orderkey)"], "sortBy": ["l_orderkey"]}
    one = together.job(
        fresh("iceberg"), sql=sets.SQL, inputs=tpch("lineitem"),
        output={"table": {"catalog": "warehouse", "name": name, "create": create}},
    )  # fmt: skip
    first = together.completed(one)["status"]["output"]
    table = catalog.load_table(name)
    assert first["snapshot"] == str(table.metadata.current_snapshot_id)
    assert (first["uri"], first["rows"]) == (f"warehouse: {name}", len(written(table)))
    assert written(table) == wanted(tables)
    ranks = sets.started(together, output={"table": {"catalog": "signed", "name": name}, "mode": "append"})
    job = together.as_completed(ranks.name)
    table = catalog.load_table(name)
    assert written(table) == wanted(tables, 2)
    mark = "gpuquery.job-uid"
    uids = [one.summary[mark] if one.summary else None for one in table.metadata.snapshots]
    assert (len(uids), uids[-1]) == (2, job["metadata"]["uid"])
    made = f"sales.{fresh('made').replace('-', '_')}"
    new = sets.started(together, output={"table": {"catalog": "signed", "name": made, "create": {}}})
    output = {"table": {"catalog": "warehouse", "name": name, "branch": "audit"}, "mode": "overwrite"}
    audit = together.completed(together.job(fresh("iceberg"), sql=sets.SQL, inputs=tpch("lineitem"), output=output))
    table = catalog.load_table(name)
    assert str(table.metadata.refs["audit"].snapshot_id) == audit["status"]["output"]["snapshot"]
    assert (written(table), written(table, "audit")) == (wanted(tables, 2), wanted(tables))
    together.as_completed(new.name)
    assert written(catalog.load_table(made)) == wanted(tables)
    taken = together.failed(
        together.job(
            fresh("iceberg"), sql=SQL.replace("FROM t", "FROM (SELECT 1::BIGINT AS id, 'F' AS status)"),
            output={"table": {"catalog": "warehouse", "name": name}},
        )
    )  # fmt: skip
    assert taken["reason"] == "OutputExists", taken


def test_a_pod_writes_with_vended_keys(together: Bench, catalog: RestCatalog, vending: vending_proxy.Vending) -> None:
    table = catalog.create_table(f"sales.{fresh('vended').replace('-', '_')}", ORDERS)
    job = together.job(
        fresh("iceberg"), sql="SELECT 1::BIGINT AS id, 'F' AS status",
        output={"table": {"catalog": "vending", "name": ".".join(table.name())}, "mode": "append"},
    )  # fmt: skip
    together.completed(job)
    assert written(table.refresh()) == [(1, "F")]
    assert together.lake.secret_key not in everything_told(together, job["metadata"]["name"])


def test_pods_killed_before_and_after_an_iceberg_commit_leave_one_snapshot_each(
    bench: Bench, catalog: RestCatalog, address: str, proxy: FaultProxy
) -> None:
    names = [fresh("killed").replace("-", "_") for _ in range(2)]
    for name in names:
        catalog.create_table(f"sales.{name}", ORDERS)
    slow = Bench(bench.cluster, bench.lake, bench.namespace, proxy.endpoint, bench.names)
    with in_front_of(f"{address}:80", host=bench.node) as rest:
        rest.rules.append(Rule(Action.DELAY, "POST", f"/tables/{names[0]}$", times=1, seconds=HELD))
        proxy.rules.append(Rule(Action.DELAY, "PUT", f"{names[1]}.*/_receipts/", times=1, seconds=HELD))
        data = {"uri": rest.endpoint, "warehouse": WAREHOUSE, **SIGNED}
        bench.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "slow"}, "stringData": data})
        jobs = {
            name: slow.job(
                fresh("iceberg"), sql="SELECT 1::BIGINT AS id, 'F' AS status",
                output={"table": {"catalog": "slow", "name": f"sales.{name}"}, "mode": "append"},
            )
            for name in names
        }  # fmt: skip
        bench.apply(*jobs.values())
        wait_until(lambda: rest.count("POST", f"/tables/{names[0]}$"), what="a commit")
        bench.kill(jobs[names[0]]["metadata"]["name"])
        wait_until(lambda: proxy.count("PUT", f"{names[1]}.*/_receipts/"), what="a receipt")
        bench.kill(jobs[names[1]]["metadata"]["name"])
        until = time.monotonic() + HELD + 1
        ended = {name: bench.as_completed(job["metadata"]["name"]) for name, job in jobs.items()}
        time.sleep(max(0.0, until - time.monotonic()))  # what was held up is delivered after all
    for name, job in ended.items():
        table = catalog.load_table(f"sales.{name}")
        assert written(table) == [(1, "F")]
        assert [str(one.snapshot_id) for one in table.metadata.snapshots] == [job["status"]["output"]["snapshot"]]
        assert job["status"]["attempt"] == 2
