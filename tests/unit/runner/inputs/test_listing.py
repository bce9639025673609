"""Which files an input has: those that pyarrow and Spark read, in one order, and a word about every other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import inputs, stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs import listing
from gpuquery.runner.inputs.base import File, Resolved
from gpuquery.runner.inputs.formats.parquet import Parquet
from gpuquery.runner.inputs.listing import walk
from tests.support.memory_backend import Memory

if TYPE_CHECKING:
    from pathlib import Path

ROW = pa.table({"v": [1]})


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    added = Memory()
    monkeypatch.setitem(stores.STORES, "http", added)
    return added


def item(*uris: str, **changes: Any) -> Input:
    """An input of these URIs, past the object's own patterns for them."""
    made = Input.model_validate({"name": "t", "uris": ["s3://lake/"], "format": "parquet", **changes})
    return made.model_copy(update={"uris": uris})


def listed(*uris: str, **changes: Any) -> list[str]:
    """Places of the files, without their root."""
    return [file.uri for file in listing.listed(item(*uris, **changes), StoreAccess()).files]


def warnings(*uris: str, **changes: Any) -> list[str]:
    return list(listing.listed(item(*uris, **changes), StoreAccess()).warnings)


def refusal(*uris: str, **changes: Any) -> str:
    with pytest.raises(JobError) as caught:
        listed(*uris, **changes)
    assert caught.value.failure is Failure.INVALID_INPUT
    return caught.value.message


def fill(folder: Path, *names: str, empty: bool = False) -> str:
    """Write files; returns the URI of the folder, with a slash."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"" if empty else b"x")
    return f"file://{folder}/"


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["a.parquet", "b/c.parquet", "k=1/d.parquet"], id="files in folders"),
        pytest.param(["a.parquet", "_temporary/0/b.parquet", "_SUCCESS", "_metadata"], id="leavings of Spark"),
        pytest.param(["a.parquet", ".a.parquet.crc", ".b.parquet", ".x/c.parquet"], id="checksums, what dots hide"),
        pytest.param(["a.parquet", "_b.parquet", "k=1/_c.parquet", "k=1/_x/d.parquet"], id="unfinished files"),
        pytest.param(["000000_0", "a44f-00_data.0", "x.PARQUET", "y.parq"], id="files of Hive and Impala"),
        pytest.param(["é.parquet", "a b.parquet", "a%20b.parquet", "a+b#c.parquet", "a[1].parquet"], id="odd names"),
    ],
)
def test_a_folder_has_the_files_that_pyarrow_reads(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(ROW, tmp_path / name)
    want = sorted(ds.dataset(tmp_path, format="parquet").files)
    uri = f"file://{tmp_path}/"
    assert listed(uri) == want
    assert warnings(uri) == []
    read = inputs.resolve([item(uri, hivePartitioned=False)], StoreAccess())["t"]
    assert read.frame(StoreAccess()).collect().height == ds.dataset(tmp_path, format="parquet").count_rows()


def test_a_partition_whose_column_begins_with_an_underscore_is_read_as_spark_does(tmp_path: Path) -> None:
    uri = fill(tmp_path, "_day=1/a.parquet", "_x/a.parquet")
    assert listed(uri) == [f"{tmp_path}/_day=1/a.parquet"]


@pytest.mark.parametrize("name", ["_part-1.parquet", ".hidden/a.parquet", "_x/a.parquet"])
def test_a_file_that_is_named_is_read_whatever_its_name_begins_with(tmp_path: Path, name: str) -> None:
    uri = fill(tmp_path, name, "a.parquet")
    assert listed(f"{uri}{name}") == [f"{tmp_path}/{name}"]


@pytest.mark.parametrize(
    ("names", "read", "passed"),
    [
        pytest.param(["a.parquet", "b.csv", "c.csv"], ["a.parquet"], "2 files, the first {}/b.csv", id="other formats"),
        pytest.param(["a.parquet", "b.parquet.tmp"], ["a.parquet"], "a file, {}/b.parquet.tmp", id="unfinished"),
        pytest.param(["a.parquet", "README"], ["README", "a.parquet"], "", id="names without an ending are data"),
        pytest.param(["a.snappy.parquet", "b.parquet.gz"], ["a.snappy.parquet", "b.parquet.gz"], "", id="compressed"),
    ],
)
@pytest.mark.parametrize("end", ["", "*", "**", "**/*"])
def test_where_the_ending_is_left_open_other_files_are_passed_over_with_a_warning(
    tmp_path: Path, names: list[str], read: list[str], passed: str, end: str
) -> None:
    uri = fill(tmp_path, *names)
    assert listed(f"{uri}{end}") == [f"{tmp_path}/{name}" for name in read]
    told = warnings(f"{uri}{end}")
    assert len(told) == bool(passed)
    assert not passed or passed.format(tmp_path) in told[0]


def test_a_glob_that_says_the_ending_reads_what_it_says(tmp_path: Path) -> None:
    uri = fill(tmp_path, "a.parquet", "b.dat", "c.dat")
    assert listed(f"{uri}*.dat") == [f"{tmp_path}/b.dat", f"{tmp_path}/c.dat"]
    assert warnings(f"{uri}*.dat") == []


@pytest.mark.parametrize(
    ("format", "names"),
    [("csv", ["a.csv", "b.CSV.gz", "c.txt", "d.tsv"]), ("ndjson", ["a.json", "b.jsonl", "c.ndjson.zst"])],
)
def test_each_format_has_its_endings(tmp_path: Path, format: str, names: list[str]) -> None:
    uri = fill(tmp_path, *names, "x.parquet")
    assert listed(uri, format=format) == [f"{tmp_path}/{name}" for name in names]
    assert "x.parquet" in warnings(uri, format=format)[0]


def test_files_without_a_byte_are_passed_over_with_a_warning(tmp_path: Path) -> None:
    uri = fill(tmp_path, "a.parquet")
    fill(tmp_path, "b.parquet", "c.parquet", empty=True)
    assert listed(uri) == [f"{tmp_path}/a.parquet"]
    assert "2 files, the first" in warnings(uri)[0]
    assert "b.parquet" in warnings(uri)[0]
    assert "b.parquet, without a byte" in refusal(f"{uri}b.parquet")


def test_the_order_is_that_of_the_places_in_utf_8(tmp_path: Path) -> None:
    names = ["a.parquet", "a/b.parquet", "a-b.parquet", "B.parquet", "é.parquet", "😀.parquet", "\uffee.parquet"]
    uri = fill(tmp_path, *names)
    assert listed(uri) == sorted((f"{tmp_path}/{name}" for name in names), key=str.encode)


def test_a_list_is_a_union_in_which_each_file_is_once(tmp_path: Path) -> None:
    uri = fill(tmp_path, "a.parquet", "b.parquet", "x/c.parquet")
    want = [f"{tmp_path}/{name}" for name in ("a.parquet", "b.parquet", "x/c.parquet")]
    assert listed(f"{uri}b*.parquet", uri, f"{uri}x/", f"{uri}a.parquet") == want


def test_a_file_that_is_spelled_in_two_ways_is_read_once(tmp_path: Path) -> None:
    root = fill(tmp_path / "a", "b/x.parquet")
    paths = [f"{root}b/", f"{root}/b/./x.parquet", f"{root}./b//*.parquet"]
    assert listed(*paths) == [f"{tmp_path}/a/b/x.parquet"]


def test_one_of_several_uris_that_matches_nothing_is_an_error(tmp_path: Path) -> None:
    uri = fill(tmp_path, "orders.parquet")
    message = refusal(uri, f"{uri}ordres.parquet")
    assert f"no file matches {uri}ordres.parquet; in {uri} there is orders.parquet" in message


def test_a_typing_error_in_a_folder_is_told_with_the_folders_that_there_are(tmp_path: Path) -> None:
    uri = fill(tmp_path, "sales/orders/a.parquet", "sales/parts/a.parquet")
    message = refusal(f"{uri}sales/ordres/*.parquet")
    assert f"there is nothing in {uri}sales/ordres/; in {uri}sales/ there is orders/, parts/" in message


def test_a_folder_in_the_place_of_a_file_is_told(tmp_path: Path) -> None:
    uri = fill(tmp_path, "a.parquet/part-0.parquet")
    assert f"end the URI with a slash to read what is below it, as in {tmp_path}/a.parquet/" in refusal(
        f"{uri}*.parquet"
    )
    assert "a.parquet/" in refusal(f"{uri}a.parquet")


def test_folders_that_match_beside_files_are_told(tmp_path: Path) -> None:
    uri = fill(tmp_path, "a.parquet/part-0.parquet", "b.parquet", "x/y.parquet/part-0.parquet", "x/z.parquet")
    assert listed(f"{uri}*.parquet") == [f"{tmp_path}/b.parquet"]
    assert "a folder matches in place of a file" in warnings(f"{uri}*.parquet")[0]
    assert "y.parquet/" in warnings(f"{uri}*/*.parquet")[0]


def test_two_stores_are_not_read_as_one_table(tmp_path: Path, memory: Memory) -> None:
    memory.put("in/a.parquet", b"x")
    uri = fill(tmp_path, "a.parquet")
    assert "combine these with UNION ALL" in refusal(uri, "http://host/in/a.parquet")


@pytest.mark.parametrize("uri", ["http://host/a//b.parquet", "http://host/a/../b/", "http://host/./b.parquet"])
def test_keys_that_readers_cannot_name_are_refused(memory: Memory, uri: str) -> None:
    assert "empty" in refusal(uri)


def test_a_glob_that_means_nothing_is_told_with_its_uri() -> None:
    assert "file:///t/[a: `[` in" in refusal("file:///t/[a")


def test_links_are_followed_but_into_no_folder_again(tmp_path: Path) -> None:
    fill(tmp_path, "real/a.parquet", "elsewhere/b.parquet")
    (tmp_path / "real" / "again").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "other").symlink_to(tmp_path / "elsewhere")
    assert listed(f"file://{tmp_path}/real/") == [f"{tmp_path}/real/a.parquet", f"{tmp_path}/real/other/b.parquet"]


def test_a_link_to_nothing_is_passed_over_with_a_warning(tmp_path: Path) -> None:
    fill(tmp_path, "a.parquet")
    (tmp_path / "b.parquet").symlink_to(tmp_path / "gone.parquet")
    assert listed(f"file://{tmp_path}/") == [f"{tmp_path}/a.parquet"]
    assert f"passed over a file, {tmp_path}/b.parquet, without a byte" in warnings(f"file://{tmp_path}/")[0]


def test_more_files_than_are_resolved_are_refused(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "MAX_FILES", 10)
    for number in range(10):
        memory.put(f"in/{number}.parquet", b"x")
    assert len(listed("http://host/in/")) == 10
    memory.put("in/10.parquet", b"x")
    assert "more than 10 files match" in refusal("http://host/in/")


@pytest.mark.parametrize(
    ("uri", "pages"),
    [
        pytest.param("t/", 3, id="a folder of 2500 files: its pages"),
        pytest.param("t/y=1/", 3, id="a folder of a partition, and a look above it"),
        pytest.param("t/y=1/part-07*.parquet", 2, id="a narrow prefix, and a look above"),
        pytest.param("t/y=[12]/part-0007.parquet", 4, id="folders that match, not all of them"),
        pytest.param("t/y=1/part-0007.parquet", 1, id="one file is looked at, and the table above"),
    ],
)
def test_requests_are_few(memory: Memory, uri: str, pages: int) -> None:
    for number in range(1250):
        memory.put(f"t/y=1/part-{number:04}.parquet", b"x")
        memory.put(f"t/y=2/part-{number:04}.parquet", b"x")
    listed(f"http://host/{uri}")
    assert memory.pages_listed <= pages


@pytest.mark.parametrize(
    ("ending", "pages"),
    [
        pytest.param("/x.parquet", 20, id="names of files are looked at"),
        pytest.param("/*.parquet", 70, id="globs are listed each, once what they have in common is much"),
    ],
)
def test_braces_list_no_bucket_for_a_few_of_its_files(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, ending: str, pages: int
) -> None:
    monkeypatch.setattr("tests.support.memory_backend.PAGE", 5)
    names = [f"d{number:03}" for number in range(400)]
    for name in names:
        memory.put(f"t/{name}/x.parquet", b"x")
        memory.put(f"t/{name}/y.csv", b"x")
    wanted = names[::20]
    found = listed(f"http://host/t/{{{','.join(wanted)}}}{ending}")
    assert found == [f"http://host/t/{name}/x.parquet" for name in wanted]
    assert memory.pages_listed <= pages


def test_braces_that_are_most_of_a_folder_are_listed_together(memory: Memory) -> None:
    names = [f"d{number:03}" for number in range(400)]
    for name in names:
        memory.put(f"t/{name}/x.parquet", b"x")
    assert len(listed(f"http://host/t/{{{','.join(names)}}}/*.parquet")) == 400
    assert memory.pages_listed <= 40, "one listing, and a look above the first sixteen"


@pytest.mark.parametrize("key", ["a b", "a#b", "a?b", "k=a%2Fb/c", "a[1]", 'a"b'])
def test_a_key_that_gpu_readers_take_for_another_is_refused_for_them(key: str) -> None:
    files = [File(f"s3://lake/t/{name}.parquet", 1) for name in ("a", "k=1/b-c_d.e", "é,+&@:;!(x)'", key)]
    found = {"t": Resolved(item("s3://lake/t/"), tuple(files), Parquet({}))}
    with pytest.raises(JobError) as caught:
        inputs.for_gpu(found)
    assert f"s3://lake/t/{key}.parquet" in caught.value.message
    inputs.for_gpu({"t": Resolved(item("s3://lake/t/"), tuple(files[:3]), Parquet({}))})
    inputs.for_gpu({"t": Resolved(item("file:///t/"), (File(f"/t/{key}.parquet", 1),), Parquet({}))})
