"""Tables that are read with what their catalog vends: the job itself has no credentials of the store, or wrong ones."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

from gpuquery.api import catalogs
from gpuquery.api.reasons import Failure
from gpuquery.runner import inputs, stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.redaction import redact
from gpuquery.runner.inputs.explain import lookup
from gpuquery.runner.query import fingerprint
from gpuquery.runner.stores import reader_rules, vended
from tests.support import iceberg, sinks
from tests.support.runner import plan
from tests.support.seaweed import ACCESS_KEY, REGION, SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.seaweed import Seaweed

pytestmark = pytest.mark.s3

EXPLICIT = catalogs.variable("lake", catalogs.DELEGATION)
WRONG = {"s3.access-key-id": ACCESS_KEY, "s3.secret-access-key": "no-longer-right"}
RIGHT = {"s3.access-key-id": ACCESS_KEY, "s3.secret-access-key": SECRET_KEY}


@pytest.fixture
def lake(seaweed: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A catalog that vends keys for its table `sales.orders`, which holds 1 and 2."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    own = {
        "s3.endpoint": seaweed.endpoint, "s3.access-key-id": ACCESS_KEY, "s3.secret-access-key": SECRET_KEY,
        "s3.region": REGION, "s3.path-style-access": "true", "warehouse": f"s3://{seaweed.make_bucket()}/wh",
    }  # fmt: skip
    with iceberg.served(tmp_path, **own) as served:
        table = served.table(Schema(NestedField(1, "n", LongType())))
        table.append(pa.table({"n": [1]}))
        table.append(pa.table({"n": [2]}))
        served.config = {"s3.endpoint": seaweed.endpoint, "client.region": REGION, "s3.path-style-access": "true"}
        served.vended = lambda: [{"prefix": f"{table.location()}/", "config": RIGHT}]
        served.root = table.location()
        yield served
    vended.forget()


def loads(lake: Any) -> int:
    return sum(path.endswith("/tables/orders") for path in lake.asked)


def lasting(keys: dict[str, str], seconds: float) -> dict[str, str]:
    return {**keys, "s3.session-token-expires-at-ms": str(int((time.time() + seconds) * 1000))}


def elsewhere(frame: pl.LazyFrame) -> pl.DataFrame:
    return frame.sort("n").collect(engine="streaming")


def raised_by(frame: pl.LazyFrame) -> Exception:
    try:
        frame.collect()
    except Exception as exc:
        return exc
    raise AssertionError("it was read")


def test_a_table_is_read_with_the_keys_that_came_with_it_and_no_json_has_them(lake: Any) -> None:
    found = {"t": lake.resolve()}
    text = inputs.to_json(found)
    assert SECRET_KEY not in text and ACCESS_KEY not in text
    assert elsewhere(found["t"].frame(lake.access))["n"].to_list() == [1, 2]
    assert inputs.changed(found, lake.access) is None
    assert loads(lake) == 1, "what came with the table is not asked for again"
    frame = found["t"].frame(lake.access)
    for shown in (frame.serialize(), frame.explain().encode(), pickle.dumps(vended.of(lake.root))):
        assert SECRET_KEY.encode() not in shown
    assert SECRET_KEY not in str(frame._ldf.visit().view_current_node().scan_type)
    assert redact(f"key {SECRET_KEY}") == "key ***"


def test_each_rank_asks_the_catalog_once_for_itself_and_makes_the_same_plan(lake: Any) -> None:
    found = {"t": lake.resolve()}
    mine = fingerprint.fingerprint(found["t"].frame(lake.access))
    before = loads(lake)
    program = (
        "import json, sys; from gpuquery.plan.plan import StoreAccess; from gpuquery.runner import inputs\n"
        "from gpuquery.api.spec import Input; from gpuquery.runner.query import fingerprint\n"
        "given = json.load(sys.stdin); item = Input.model_validate(given['item'])\n"
        "access = StoreAccess.model_validate(given['access'])\n"
        "frame = inputs.from_json(given['inputs'], [item])['t'].frame(access)\n"
        "print(json.dumps([frame.collect()['n'].to_list(), fingerprint.fingerprint(frame).value()]))\n"
    )
    given = {
        "item": found["t"].item.model_dump(mode="json", by_alias=True, exclude_none=True),
        "access": lake.access.model_dump(mode="json"), "inputs": inputs.to_json(found),
    }  # fmt: skip
    ran = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(given), capture_output=True, text=True, check=True
    )
    numbers, theirs = json.loads(ran.stdout)
    assert sorted(numbers) == [1, 2]
    assert theirs == mine.value()
    assert loads(lake) == before + 1


@pytest.mark.parametrize("ends", [60.0, -60.0, None])
def test_keys_are_asked_for_again_before_they_end(lake: Any, ends: float | None, monkeypatch: Any) -> None:
    soon = RIGHT if ends is None else lasting(RIGHT, ends)
    lake.vended = lambda: [{"prefix": lake.root, "config": soon if loads(lake) == 1 else lasting(RIGHT, 3600)}]
    found = lake.resolve()
    loan = vended.of(lake.root)
    assert loan is not None
    loan()
    assert loads(lake) == 1, "they are not asked for again at once, whatever this machine's clock says"
    ahead = vended.datetime.now(vended.UTC) + vended.timedelta(minutes=11)

    class Later(vended.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return ahead

    monkeypatch.setattr(vended, "datetime", Later)
    assert elsewhere(found.frame(lake.access))["n"].to_list() == [1, 2]
    assert loads(lake) == 2


def test_keys_that_have_ended_are_told_with_table_catalog_and_way_out(lake: Any) -> None:
    lake.vended = lambda: [{"prefix": "s3", "config": lasting(WRONG, 3600)}]
    with pytest.raises(JobError) as caught:
        lake.resolve()
    error = caught.value
    assert error.failure is Failure.STORAGE_AUTH
    assert 'vended for table sales.orders of catalog "lake", which end at ' in error.message
    assert "run the job again, which asks for new ones" in error.message and "no-longer-right" not in error.message
    lake.vended = lambda: [{"prefix": "s3", "config": RIGHT}]
    assert lake.resolve().bytes > 0, "another attempt asks anew"


def test_keys_that_end_while_the_query_runs_are_told_in_the_same_way(lake: Any) -> None:
    found = {"t": lake.resolve()}
    lake.vended = lambda: [{"prefix": lake.root, "config": lasting(WRONG, -1)}]
    vended.forget()
    frame = inputs.from_json(inputs.to_json(found), [found["t"].item])["t"].frame(lake.access)
    error = inputs.blamed(raised_by(frame), found, lake.access)
    assert error is not None and error.failure is Failure.STORAGE_AUTH
    assert 'vended for table sales.orders of catalog "lake", which ended at ' in error.message
    assert ".parquet" in error.message


def test_a_catalog_that_vends_nothing_more_is_told_as_itself(lake: Any) -> None:
    found = {"t": lake.resolve()}
    vended.forget()
    lake.status = 401
    with pytest.raises(JobError) as caught:
        found["t"].frame(lake.access)
    assert caught.value.failure is Failure.STORAGE_AUTH
    assert "table sales.orders of catalog lake" in caught.value.message
    lake.status = None
    frame = found["t"].frame(lake.access)
    loan = vended.of(lake.root)
    assert loan is not None
    loan.lease._held = None
    lake.status = 401
    error = raised_by(frame)
    assert isinstance(error, JobError) and error.failure is Failure.STORAGE_AUTH
    assert "the catalog does not accept the credentials" in error.message


def test_a_secret_of_the_job_wins_unless_the_catalog_is_told_to_vend(
    lake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-job")
    access = lake.access.model_copy(update={"endpoint": lake.config["s3.endpoint"], "path_style": True})
    with pytest.raises(JobError) as caught:
        inputs.resolve([iceberg.item_of()], access)
    assert "storage.secretName" in caught.value.message and "vended" not in caught.value.message
    monkeypatch.setenv(EXPLICIT, "vended-credentials")
    assert elsewhere(lake.resolve().frame(lake.access))["n"].to_list() == [1, 2]
    lake.vended = list
    with pytest.raises(JobError, match=r"vends no credentials for s3://.*have it vend some, or remove the option"):
        lake.resolve()


def test_keys_of_the_config_count_for_the_table_alone(lake: Any) -> None:
    lake.config, lake.vended = {**lake.config, **RIGHT}, list
    assert elsewhere(lake.resolve().frame(lake.access))["n"].to_list() == [1, 2]
    bucket = stores.bucket(lake.root)
    assert vended.of(f"{lake.root}/data/a.parquet") is not None
    assert vended.of(f"{lake.root}2/a.parquet") is None and vended.of(f"{bucket}/wh/other") is None


def test_gpu_readers_get_the_vended_keys_and_one_set_of_them_alone(lake: Any) -> None:
    lake.vended = lambda: [{"prefix": lake.root, "config": {**lasting(RIGHT, 3000), "s3.session-token": "session"}}]
    with pytest.raises(JobError):  # the store knows no such session
        lake.resolve()
    lake.vended = lambda: [{"prefix": lake.root, "config": lasting(RIGHT, 3000)}]
    found = {"t": lake.resolve()}
    files = inputs.places_of_tables(found)
    wanted = plan("s3://lake", "select 1", store=lake.access.model_dump(mode="json"))
    wanted = wanted.model_copy(update={"inputs": (found["t"].item,)})
    variables, warnings = reader_rules.variables(wanted, files)
    assert variables["AWS_SECRET_ACCESS_KEY"] == SECRET_KEY and variables["AWS_SESSION_TOKEN"] == ""
    assert variables["AWS_ENDPOINT_URL"] == lake.config["s3.endpoint"]
    assert "vended for table sales.orders" in warnings[0] and "cannot renew them" in warnings[0]
    other = plan("s3://lake", "select 1", inputs={"o": "s3://lake/o/"}).inputs[0]
    with pytest.raises(JobError, match='it and input "t" are read with different credentials'):
        reader_rules.variables(wanted.model_copy(update={"inputs": (found["t"].item, other)}), files)
    pods = wanted.model_copy(update={"processes": reader_rules.Processes.PODS})
    with pytest.raises(JobError, match="Dask workers do not get"):
        reader_rules.variables(pods, files)


def test_an_attempt_takes_over_what_a_preflight_has_left_with_keys_of_its_own(lake: Any) -> None:
    text = inputs.left({"t": lake.resolve()})
    vended.forget()
    item = iceberg.item_of()
    taken = inputs.taken(text, [item], lake.access, {}, print)
    assert elsewhere(taken["t"].frame(lake.access))["n"].to_list() == [1, 2]
    assert loads(lake) == 2, "one for the preflight, one for the attempt"


def test_broken_files_are_looked_for_with_the_vended_keys(lake: Any) -> None:
    found = {"t": lake.resolve()}
    looked = lookup.broken(lookup.Task([found["t"].item], lake.access, found))
    assert (looked.files, looked.over, looked.broken) == (2, True, [])


def test_no_catalog_vends_an_endpoint_of_a_metadata_service(lake: Any) -> None:
    lake.config = {**lake.config, "s3.endpoint": "http://169.254.169.254/"}
    with pytest.raises(JobError) as caught:
        lake.resolve()
    assert caught.value.failure is Failure.INVALID_ENDPOINT
    assert os.environ.get("AWS_SECRET_ACCESS_KEY") is None


def test_a_table_is_written_with_the_keys_that_came_with_it_and_nothing_says_them(lake: Any) -> None:
    made = sinks.plan(None, store=lake.access, table={"catalog": "lake", "name": "sales.orders"}, mode="append")
    status = sinks.run(made, pl.LazyFrame({"n": [3]}))
    assert sorted(lake.catalog.load_table("sales.orders").scan().to_arrow()["n"].to_pylist()) == [1, 2, 3]
    assert SECRET_KEY not in status.model_dump_json() + made.model_dump_json()


def test_a_table_whose_catalog_vends_keys_that_may_not_write_is_refused_before_the_query(lake: Any) -> None:
    lake.vended = lambda: [{"prefix": f"{lake.root}/", "config": WRONG}]
    made = sinks.plan(None, store=lake.access, table={"catalog": "lake", "name": "sales.orders"}, mode="append")
    with pytest.raises(JobError) as caught:
        sinks.sink(made).preflight()
    assert caught.value.failure is Failure.STORAGE_AUTH
    assert WRONG["s3.secret-access-key"] not in caught.value.message
