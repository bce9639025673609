"""Files of inputs in a real S3 server: found by the same rules, whatever their keys are, with few requests."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import inputs
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import listing
from gpuquery.runner.preflight import nulls
from gpuquery.runner.query import facts
from gpuquery.runner.query.sql.rules.statistics import ColumnFacts
from gpuquery.runner.stores.objects import Objects
from gpuquery.runner.stores.s3.objects import S3Objects

if TYPE_CHECKING:
    from tests.support.seaweed import Seaweed

pytestmark = pytest.mark.s3

ODD = [
    "a b", " a", "a ", "a%b", "a%20b", "a%2Fb", "%", "a+b", "a#b", "a?b", "a'b", 'a"b', "a[1]b", "a{x,y}b", "a*b",
    "a=b", "a&b", "a;b", "a:b", "a@b", "a,b", "a!b", "a~b", "a`b", "a^b", "a|b", "a<b>", "a$b", "(a)", "é", "e\u0301",
    "日本", "😀", "\u00a0x",
]  # fmt: skip
"""Names that one store or reader or another takes for something else; no backslash, which SeaweedFS makes a slash."""
GLOB = str.maketrans({sign: f"[{sign}]" for sign in "*?[{"})


def access(server: Seaweed) -> StoreAccess:
    return StoreAccess(endpoint=server.endpoint, path_style=True)


def body(value: int) -> bytes:
    made = io.BytesIO()
    pq.write_table(pa.table({"v": [value]}), made)
    return made.getvalue()


def item(*uris: str, **changes: Any) -> Input:
    given = {"name": "t", "uris": list(uris), "format": "parquet", "hivePartitioned": False, **changes}
    return Input.model_validate(given)


def fill(server: Seaweed, bucket: str, *keys: str, content: bytes = b"x") -> None:
    client = server.client()
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=content)


def listed(server: Seaweed, bucket: str, *patterns: str) -> list[str]:
    found = listing.listed(item(*(f"s3://{bucket}/{one}" for one in patterns)), access(server))
    return [file.uri.removeprefix(f"s3://{bucket}/") for file in found.files]


def test_keys_with_every_sign_are_found_and_read_by_folder_and_by_name(seaweed: Seaweed, bucket: str) -> None:
    for number, name in enumerate(ODD):
        fill(seaweed, bucket, f"t/{name}.parquet", content=body(number))
    whole = inputs.resolve([item(f"s3://{bucket}/t/")], access(seaweed))["t"]
    assert [file.uri for file in whole.files] == sorted(f"s3://{bucket}/t/{name}.parquet" for name in ODD)
    assert sorted(whole.frame(access(seaweed)).collect()["v"]) == list(range(len(ODD)))
    named = item(*(f"s3://{bucket}/t/{name.translate(GLOB)}.parquet" for name in ODD[:20]))
    read = inputs.resolve([named], access(seaweed))["t"]
    assert sorted(read.frame(access(seaweed)).collect()["v"]) == list(range(20))


@pytest.mark.parametrize(
    ("pattern", "want"),
    [
        pytest.param("t/", ["t/a.parquet", "t/k=1/b.parquet", "t/k=2/b.parquet"], id="a folder"),
        pytest.param("t/*.parquet", ["t/a.parquet"], id="one level"),
        pytest.param("t/k=*/b.parquet", ["t/k=1/b.parquet", "t/k=2/b.parquet"], id="folders"),
        pytest.param("t/k=[2-9]/*", ["t/k=2/b.parquet"], id="some folders"),
        pytest.param("t/**/b.parquet", ["t/k=1/b.parquet", "t/k=2/b.parquet"], id="any depth"),
        pytest.param("t/{a,k=1/b}.parquet", ["t/a.parquet", "t/k=1/b.parquet"], id="alternatives"),
        pytest.param("t/k=1/b.parquet", ["t/k=1/b.parquet"], id="one file"),
    ],
)
def test_globs_find_what_they_find_elsewhere(seaweed: Seaweed, bucket: str, pattern: str, want: list[str]) -> None:
    fill(seaweed, bucket, "t/a.parquet", "t/k=1/b.parquet", "t/k=2/b.parquet", "t/_x/b.parquet", "tt/a.parquet")
    fill(seaweed, bucket, "t/", "t/k=3/", content=b"")
    assert listed(seaweed, bucket, pattern) == want


def test_a_folder_of_many_files_costs_its_pages_and_no_more_than_two_looks(
    seaweed: Seaweed, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(seaweed, bucket, *(f"w/t/{number:04}.parquet" for number in range(1001)))
    asked: list[str] = []
    ask = S3Objects._asked
    monkeypatch.setattr(S3Objects, "_asked", lambda self, given: asked.append(given["Prefix"]) or ask(self, given))
    assert len(listed(seaweed, bucket, "w/t/")) == 1001
    assert asked == ["w/"], "obstore asks for the pages of the folder"
    asked.clear()
    assert len(listed(seaweed, bucket, "w/t/0*.parquet")) == 1000
    assert asked == ["w/t/0", "w/", "w/t/", "w/t/_"], "the folder has more than one page shows"


def test_one_odd_key_does_not_hide_the_others(seaweed: Seaweed, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(*_: Any, **__: Any) -> Any:
        raise JobError(Failure.INTERNAL_ERROR, 'Path "t//b.parquet" contained empty path segment')

    monkeypatch.setattr(Objects, "below", odd)
    fill(seaweed, bucket, "t/a.parquet", "t/b.parquet")
    assert listed(seaweed, bucket, "t/") == ["t/a.parquet", "t/b.parquet"]


def test_two_buckets_are_one_table(seaweed: Seaweed, bucket: str) -> None:
    other = seaweed.make_bucket()
    fill(seaweed, bucket, "a.parquet", content=body(1))
    fill(seaweed, other, "a.parquet", content=body(2))
    both = item(f"s3://{bucket}/a.parquet", f"s3://{other}/")
    read = inputs.resolve([both], access(seaweed))["t"]
    assert sorted(read.frame(access(seaweed)).collect()["v"]) == [1, 2]


def test_files_of_one_key_in_two_buckets_are_looked_at_each_in_its_own(seaweed: Seaweed, bucket: str) -> None:
    other = seaweed.make_bucket()
    wider = io.BytesIO()
    pq.write_table(pa.table({"v": [70_000_000_000, None], "w": ["x", "y" * 100_000]}), wider, compression="none")
    fill(seaweed, bucket, "a.parquet", content=body(1))
    fill(seaweed, other, "a.parquet", content=wider.getvalue())
    both = item(f"s3://{bucket}/a.parquet", f"s3://{other}/a.parquet")
    read = inputs.resolve([both], access(seaweed))
    assert list(read["t"].schema) == ["v", "w"]
    assert facts.known(read, access(seaweed)).table("t").columns["v"] == ColumnFacts(1, 70_000_000_000, 1)
    assert nulls.count(read["t"], ["v"], access(seaweed)) == {"v": nulls.Nulls(1, f"s3://{other}/a.parquet")}
    fill(seaweed, bucket, "a.csv", content=b"v\n1\n")
    fill(seaweed, other, "a.csv", content=b"v\nx\n")
    texts = item(f"s3://{bucket}/a.csv", f"s3://{other}/a.csv", format="csv")
    frame = inputs.resolve([texts], access(seaweed))["t"].frame(access(seaweed))
    assert sorted(frame.collect()["v"]) == ["1", "x"]


def test_an_object_that_was_replaced_by_one_of_the_same_size_is_named(seaweed: Seaweed, bucket: str) -> None:
    fill(seaweed, bucket, "t/a.parquet", "t/b.parquet", content=body(1))
    read = inputs.resolve([item(f"s3://{bucket}/t/")], access(seaweed))
    assert inputs.changed(read, access(seaweed)) is None
    fill(seaweed, bucket, "t/b.parquet", content=body(2))
    assert f"s3://{bucket}/t/b.parquet was replaced" in (inputs.changed(read, access(seaweed)) or "")


def test_a_bucket_that_does_not_exist_is_told_with_its_input(seaweed: Seaweed, bucket: str) -> None:
    with pytest.raises(JobError) as caught:
        listing.listed(item(f"s3://{bucket}x/t/"), access(seaweed))
    assert caught.value.failure is Failure.BUCKET_NOT_FOUND
    assert 'input "t"' in caught.value.message


@pytest.mark.parametrize("log", ["_delta_log/00000000000000000000.json", "metadata/v1.metadata.json"])
def test_the_files_of_a_table_are_refused(seaweed: Seaweed, bucket: str, log: str) -> None:
    fill(seaweed, bucket, "d/part-0.parquet", "d/k=1/part-1.parquet", f"d/{log}")
    for pattern in ("d/", "d/*.parquet", "d/part-*", "d/k=1/", "d/part-0.parquet", "**/part-0.parquet"):
        with pytest.raises(JobError, match=r"is an? (Delta|Iceberg) table"):
            listed(seaweed, bucket, pattern)
