"""What commits, and the reading of what they have made, ask AWS S3, as a server in its place sees it: each option is in
every request that needs it, also in those for records, markers, leases and pending sets. AWS itself was not asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import inputs
from gpuquery.runner.output.tables.iceberg.file_io import StoreIO
from gpuquery.runner.sizing import estimate
from tests.support.sinks import plan, run
from tests.support.small_s3 import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.recorder import Asked, Recorder
    from tests.support.small_s3 import SmallS3

KMS = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROWS = pl.LazyFrame({"k": ["a", "b"], "v": [1, 2]})


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[SmallS3, Recorder]]:
    """A proxy of the environment that is S3 for every host."""
    for name in ("https_proxy", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "k" * 40)
    with serving("lake") as (bucket, recorder):
        monkeypatch.setenv("http_proxy", recorder.root)
        yield bucket, recorder


def committed(**options: Any) -> None:
    """Commit to a folder and to a Delta table, write metadata as for Iceberg, and list, size and read what is there."""
    store = StoreAccess(endpoint="http://s3.example.com", region="eu-west-1", **{"path_style": True, **options})
    for mode in ("append", "overwrite"):
        run(plan("s3://lake/out", store=store, partition_by=["k"], mode=mode), ROWS)
        run(plan("s3://lake/delta", store=store, partition_by=["k"], mode=mode, delta={}), ROWS)
    StoreIO(store).put("s3://lake/iceberg/metadata/1.avro", b"a manifest")
    for uri in ("s3://lake/out/data/*/*.parquet", "s3://lake/out/data/"):
        item = Input(name="t", uri=uri, format="parquet")
        frame = inputs.frames(inputs.resolve([item], store), store)["t"]
        assert estimate(frame, store).rows == frame.collect(engine="streaming").height == 2


def makes_object(asked: Asked) -> bool:
    """Whether a request makes an object, or begins to: S3 takes its encryption here and nowhere else."""
    return (asked.method == "PUT" and "uploadId" not in asked.query) or (
        asked.method == "POST" and "uploads" in asked.query
    )


def test_all_that_is_written_is_encrypted_by_the_key_that_the_job_names(world: tuple[SmallS3, Recorder]) -> None:
    bucket, recorder = world
    committed(sse_kms_key_id=KMS)
    kinds = set()
    for asked in recorder.asked:
        shown = {name: asked.headers.get(f"x-amz-server-side-encryption{name}") for name in ("", "-aws-kms-key-id")}
        if makes_object(asked):
            assert shown == {"": "aws:kms", "-aws-kms-key-id": KMS}, asked
            assert "x-amz-server-side-encryption-aws-kms-key-id" in asked.headers["authorization"], "it is signed"
            kinds.add(bucket.key(asked).partition("/")[2].partition("/")[0])
        else:
            assert set(shown.values()) == {None}, asked
    assert kinds == {"data", "_commits", "_staging", "_current.json", "_delta_log", "metadata"}


def test_no_key_of_kms_is_said_unless_the_job_names_one(world: tuple[SmallS3, Recorder]) -> None:
    committed()
    assert not any("encryption" in name for asked in world[1].asked for name in asked.headers)


def test_every_request_says_that_the_requester_pays(world: tuple[SmallS3, Recorder]) -> None:
    committed(requester_pays=True)
    assert {asked.method for asked in world[1].asked} >= {"GET", "PUT", "POST"}
    for asked in world[1].asked:
        assert asked.headers["x-amz-request-payer"] == "requester", asked
        assert "x-amz-request-payer" in asked.headers["authorization"]


@pytest.mark.parametrize(
    ("path_style", "begins"),
    [
        pytest.param(False, "http://lake.s3.example.com/", id="the bucket in the host"),
        pytest.param(True, "http://s3.example.com/lake", id="the bucket in the path"),
    ],
)
def test_every_request_goes_to_the_same_host(path_style: bool, begins: str, world: tuple[SmallS3, Recorder]) -> None:
    committed(path_style=path_style)
    assert all(asked.url.startswith(begins) for asked in world[1].asked)
    assert all("/eu-west-1/s3/aws4_request" in asked.headers["authorization"] for asked in world[1].asked)
