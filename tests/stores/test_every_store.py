"""What is the same for every store: files are listed, looked at, read in parts and scanned as they were put there."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import inputs, stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.stores.base import Part

if TYPE_CHECKING:
    from tests.stores.conftest import Shelf

pytestmark = pytest.mark.s3
NAMES = (
    "a.parquet", "k=1/b.parquet", "k=1/c d.parquet", "deep/er/e.parquet", "plus+and&.parquet", "é-ü.parquet",
    "tilde~(1).parquet", "comma,semi;.parquet",
)  # fmt: skip
"""Keys with blanks and other legal characters."""
ODD = ("per%20cent.parquet", "hash#1.parquet", "what?.parquet", "star*.parquet", "br[a]{b}.parquet", "quote'\".parquet")
"""Keys that mean something else in a URL or in a glob."""


def parquet(rows: int, seed: int = 0) -> tuple[bytes, pa.Table]:
    made = random.Random(seed)
    table = pa.table({"id": [made.randrange(2**40) for _ in range(rows)], "text": [f"row {n} é" for n in range(rows)]})
    body = io.BytesIO()
    pq.write_table(table, body, row_group_size=max(1, rows // 3))
    return body.getvalue(), table


def uri_of(shelf: Shelf, name: str) -> str:
    return shelf.root + name


def test_files_of_any_name_are_sized_and_read_in_any_parts(shelf: Shelf) -> None:
    bodies = {name: random.Random(name).randbytes(random.Random(name).randrange(1, 5000)) for name in NAMES}
    for name, body in bodies.items():
        shelf.put(name, body)
    uris = {uri_of(shelf, name): body for name, body in bodies.items()}
    stores.check(uris, shelf.access)
    files = stores.files(next(iter(uris)), shelf.access)
    assert files.sizes(list(uris)) == {uri: len(body) for uri, body in uris.items()}
    assert {uri: one.bytes for uri, one in files.look(list(uris)).items()} == {u: len(b) for u, b in uris.items()}

    @given(st.lists(st.tuples(st.sampled_from(sorted(uris)), st.integers(0, 5000), st.integers(0, 5000)), max_size=12))
    @settings(max_examples=8, deadline=None)
    def parts_are_bytes(asked: list[tuple[str, int, int]]) -> None:
        spans = [(uri, *sorted((a % len(uris[uri]), b % (len(uris[uri]) + 1)))) for uri, a, b in asked]
        spans = [span for span in spans if span[1] < span[2]]
        found = files.read([Part(*span) for span in spans], lambda part, body: (part, body))
        assert [body for _, body in found] == [uris[uri][start:end] for uri, start, end in spans]

    parts_are_bytes()


def test_what_is_below_a_prefix_is_listed_with_the_version_that_looking_tells(shelf: Shelf) -> None:
    if not shelf.lists:
        assert list(stores.files(shelf.root, shelf.access).below(shelf.prefix)) == []
        return
    for name in (*NAMES, *ODD):
        shelf.put(name, name.encode())
    files = stores.files(uri_of(shelf, "a.parquet"), shelf.access)
    found = {one.key: one for page in files.below(shelf.prefix) for one in page}
    assert {key: one.bytes for key, one in found.items()} == {shelf.prefix + n: len(n.encode()) for n in (*NAMES, *ODD)}
    looked = files.look([uri_of(shelf, name) for name in (*NAMES, *ODD)])
    assert {one.version for one in looked.values()} == {one.version for one in found.values()}
    assert all(one.version for one in found.values())
    flat = {one.key for page in files.below(shelf.prefix, deep=False) for one in page}
    assert {key for key in flat if key.endswith("/")} == {f"{shelf.prefix}k=1/", f"{shelf.prefix}deep/"}
    names = stores.of(shelf.root).names(stores.locate(shelf.root), shelf.prefix, shelf.access)
    assert {"a.parquet", "k=1/", "deep/"} <= set(names)


def test_a_replaced_file_has_another_version_and_a_missing_one_is_not_there(shelf: Shelf) -> None:
    uri, gone = uri_of(shelf, "a.parquet"), uri_of(shelf, "gone.parquet")
    files = stores.files(uri, shelf.access)
    shelf.put("a.parquet", b"one")
    before = files.look([uri])[uri].version
    shelf.put("a.parquet", b"two")
    assert files.look([uri])[uri].version != before
    assert set(files.look([uri, gone])) == {uri}
    with pytest.raises(JobError) as caught:
        files.sizes([gone])
    assert caught.value.failure is Failure.INVALID_INPUT and "gone.parquet" in str(caught.value)


@pytest.mark.parametrize("name", ["a.parquet", "k=1/c d.parquet", "é-ü.parquet", "plus+and&.parquet"])
def test_polars_scans_what_pyarrow_wrote(shelf: Shelf, name: str) -> None:
    body, table = parquet(3000)
    shelf.put(name, body)
    item = Input(name="t", uri="s3://lake/x.parquet", format="parquet", hivePartitioned=False)
    item = item.model_copy(update={"uri": uri_of(shelf, name)})
    resolved = inputs.resolve([item], shelf.access)
    (file,) = resolved["t"].files
    assert file.bytes == len(body)
    again = inputs.from_json(inputs.to_json(resolved), [item])
    found = inputs.frames(again, shelf.access)["t"].filter(pl.col("id") >= 0).sort("id").collect().to_arrow()
    assert found.cast(table.schema).equals(table.sort_by("id"))


@pytest.mark.parametrize("name", ODD)
def test_polars_scans_a_file_whose_name_means_something_else_in_a_url_or_a_glob(shelf: Shelf, name: str) -> None:
    if not shelf.lists:
        pytest.skip("the URL of such a file is written in another way")
    body, table = parquet(10)
    shelf.put(name, body)
    uri = uri_of(shelf, name)
    options = stores.scan_options(shelf.access, uri)
    frame = pl.scan_parquet([stores.of(uri).source(uri)], glob=False, storage_options=options)
    assert frame.collect().to_arrow().cast(table.schema).equals(table)


@pytest.mark.parametrize("shelf", ["s3", "gs", "az"], indirect=True)
def test_an_endpoint_may_end_with_a_slash(shelf: Shelf) -> None:
    body, table = parquet(10)
    shelf.put("a.parquet", body)
    slashed = shelf.access.model_dump(exclude_none=True)
    for place in (slashed, *slashed.values()):
        if isinstance(place, dict) and "endpoint" in place:
            place["endpoint"] += "/"
    access = StoreAccess(**slashed)
    item = Input.model_validate({"name": "t", "uri": shelf.root, "format": "parquet"})
    found = inputs.frames(inputs.resolve([item], access), access)["t"].collect().to_arrow()
    assert found.cast(table.schema).equals(table)


def test_no_option_of_a_scan_is_a_credential(shelf: Shelf) -> None:
    options = stores.scan_options(shelf.access, uri_of(shelf, "a.parquet")) or {}
    assert not {key for key in options if "key" in key or "secret" in key or "token" in key or "sas" in key}
