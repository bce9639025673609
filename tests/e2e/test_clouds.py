"""Google's and Azure's stores, read and written in pods with keys of a Secret, by one pod and by a set of three.

The servers are emulators on this machine, which is the node. azurite checks every signature; the fake GCS server takes
whatever it is given. GPU engines read neither store, so the set reads S3, with the keys of both stores in one Secret.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow.dataset as ds
import pytest

from tests.e2e import sets
from tests.e2e.jobs import Bench, fresh, tpch
from tests.e2e.test_catalogs import everything_told
from tests.support.certificates import rsa
from tests.support.store_servers import (
    ACCOUNT,
    ACCOUNT_KEY,
    Azurite,
    FakeGcs,
    azurite_program,
    azurite_server,
    gcs_server,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

COLUMNS = ["l_orderkey", "l_linenumber", "l_quantity", "l_shipmode"]
ALL = f"SELECT {', '.join(COLUMNS)} FROM lineitem"
SOME = f"{ALL} WHERE l_shipmode IN ('AIR', 'RAIL') AND l_quantity > 25"
AFTER = f"{ALL} WHERE l_shipmode NOT IN ('AIR', 'RAIL') OR l_quantity > 25"
OUTPUT = {"partitionBy": ["l_shipmode"], "mode": "overwritePartitions"}


@dataclass(frozen=True)
class Cloud:
    """A bucket or container, and what a job says to reach it."""

    scheme: str
    bucket: str
    server: FakeGcs | Azurite
    storage: Mapping[str, Any]
    secret: str

    def rows(self, copy: Path) -> list[tuple[Any, ...]]:
        """Return the rows of the output, as DuckDB and pyarrow read a copy of it that another client has made."""
        shutil.rmtree(copy, ignore_errors=True)
        for key, body in self.server.contents(self.bucket).items():
            if key.startswith("out/data/"):
                (copy / key).parent.mkdir(parents=True, exist_ok=True)
                (copy / key).write_bytes(body)
        files = f"read_parquet('{copy}/**/*.parquet', hive_partitioning=true)"
        found = sorted(duckdb.sql(f"SELECT {', '.join(COLUMNS)} FROM {files}").fetchall())
        table = ds.dataset(copy / "out" / "data", partitioning="hive").to_table(columns=COLUMNS)
        assert sorted(zip(*(column.to_pylist() for column in table.columns), strict=True)) == found
        return found


@dataclass(frozen=True)
class Ran:
    """The jobs of one store: that of one pod, and the set's, which began when the first had ended."""

    cloud: Cloud
    one: str
    three: str
    between: list[tuple[Any, ...]]
    """What was there between them."""


@pytest.fixture(scope="module")
def clouds(together: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Cloud]]:
    """Both stores, or Google's alone where azurite is not installed, with a Secret each."""
    key = rsa(tmp_path_factory.mktemp("key"), "pkcs8")
    account = json.dumps({"type": "service_account", "client_email": "who@lake.iam", "private_key": key})
    bucket = fresh("lake")
    with contextlib.ExitStack() as stack:
        gcs = stack.enter_context(gcs_server(together.node))
        gcs.make_bucket(bucket)
        made = [Cloud("gs", bucket, gcs, {"gs": {"endpoint": gcs.endpoint}}, key.split()[10])]
        keys = [{"GOOGLE_SERVICE_ACCOUNT_KEY": account}]
        if azurite_program():
            azurite = stack.enter_context(azurite_server(together.node))
            azurite.make_container(bucket)
            made.append(
                Cloud("az", bucket, azurite, {"az": {"endpoint": azurite.endpoint, "account": ACCOUNT}}, ACCOUNT_KEY)
            )
            keys.append({"AZURE_STORAGE_ACCOUNT_KEY": ACCOUNT_KEY})
        for cloud, own in zip(made, keys, strict=True):
            secret = together.lake.credentials()
            secret["metadata"] = {"name": f"{cloud.scheme}-credentials"}
            secret["stringData"] |= own
            together.apply(secret)
        yield made


@pytest.fixture(scope="module")
def ran(clouds: list[Cloud], together: Bench, tables: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Ran]:
    """All jobs, those of both stores at once."""

    def spec(cloud: Cloud) -> dict[str, Any]:
        storage = {"secretName": f"{cloud.scheme}-credentials", **cloud.storage}
        return {"storage": storage, "output": {"uri": f"{cloud.scheme}://{cloud.bucket}/out", **OUTPUT}}

    jobs = []
    for cloud in clouds:
        for path in (tables / "lineitem").glob("*.parquet"):
            cloud.server.put(cloud.bucket, f"in/{path.name}", path.read_bytes())
        inputs = [{"name": "lineitem", "uri": f"{cloud.scheme}://{cloud.bucket}/in/*.parquet"}]
        jobs.append(together.job(fresh(cloud.scheme), sql=ALL, inputs=inputs, engine="cpu", **spec(cloud)))
    together.apply(*jobs)
    names = [job["metadata"]["name"] for job in jobs]
    for name in names:
        together.ended(name)
    copy = tmp_path_factory.mktemp("copy")
    between = [cloud.rows(copy) for cloud in clouds]
    ranks = [sets.started(together, sql=SOME, inputs=tpch("lineitem"), **spec(cloud)).name for cloud in clouds]
    return [Ran(*each) for each in zip(clouds, names, ranks, between, strict=True)]


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_one_pod_reads_and_writes_a_cloud_and_a_set_of_three_replaces_partitions_there(
    scheme: str, ran: list[Ran], together: Bench, tables: Path, tmp_path: Path
) -> None:
    its = next((one for one in ran if one.cloud.scheme == scheme), None)
    if its is None:
        pytest.skip("azurite is not installed: `make azurite` does it, with Node.js and npm")
    lines = f"FROM read_parquet('{tables}/lineitem/*.parquet')"
    want = [sorted(duckdb.sql(sql.replace("FROM lineitem", lines)).fetchall()) for sql in (ALL, AFTER)]
    first = together.as_completed(its.one)["status"]
    (read,) = first["inputs"]
    assert read["files"] == len(list((tables / "lineitem").glob("*.parquet")))
    assert (first["output"]["version"], first["output"]["rows"]) == (1, len(want[0]))
    assert its.between == want[0]
    second = together.as_completed(its.three)["status"]
    assert (second["attempt"], second["output"]["version"]) == (1, 2)
    assert its.cloud.rows(tmp_path) == want[1]
    written = its.cloud.server.contents(its.cloud.bucket)
    assert [key for key in written if "/_staging/" in key] == [], "what the pods have staged is gone"
    assert not any(its.cloud.secret.encode() in body for body in written.values())
    for name in (its.one, its.three):
        assert its.cloud.secret not in everything_told(together, name)
