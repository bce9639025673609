"""What differs between two receipts, in one line each."""

from __future__ import annotations

from typing import Any

import pytest

from gpuquery.api.differences import deciding, differences
from gpuquery.api.receipt import Receipt

ORDERS: dict[str, Any] = {
    "name": "orders", "place": "s3://lake/orders/", "files": 5, "bytes": 1000, "digest": "a" * 64, "reading": "c" * 64
}  # fmt: skip
BASE: dict[str, Any] = {
    "job": {"namespace": "marts", "name": "revenue", "uid": "u1"},
    "query": {"language": "sql", "dialect": "duckdb", "sha256": "1" * 64, "text": "2" * 64},
    "parameters": {"since": "date 1994-01-01"},
    "inputs": [ORDERS],
    "engine": "rapidsmpf",
    "release": "26.10",
    "software": {"polars": "1.44.2"},
    "output": {"mode": "overwrite", "compression": "zstd"},
    "uri": "s3://lake/out",
    "version": 7,
    "rows": 100,
    "files": 2,
    "bytes": 5000,
    "gpus": 8,
    "seconds": {"running": 60},
}


def receipt(**changes: Any) -> Receipt:
    return Receipt.model_validate({**BASE, **changes})


def orders(**changes: Any) -> dict[str, Any]:
    return {"inputs": [{**ORDERS, **changes}]}


def query(**changes: str) -> dict[str, Any]:
    return {"query": {**BASE["query"], **changes}}


ROWS: list[Any] = [
    pytest.param({}, [], id="nothing"),
    pytest.param(
        query(sha256="3" * 64, text="4" * 64), ["query: another text (111111111111 then, 333333333333 now)"], id="text"
    ),
    pytest.param(query(sha256="3" * 64), [], id="the same text with another normal form, of another DuckDB"),
    pytest.param(query(dialect="spark"), ["query.dialect: duckdb then, spark now"], id="the dialect"),
    pytest.param(query(language="python"), ["query: sql then, python now"], id="the language"),
    pytest.param(
        {"parameters": {"since": "date 1995-01-01"}},
        ["parameter since: date 1994-01-01 then, date 1995-01-01 now"],
        id="a parameter",
    ),
    pytest.param(
        {"parameters": {"since": "date 1994-01-01", "n": "integer 1"}},
        ["parameter n: not set then, integer 1 now"],
        id="a parameter more",
    ),
    pytest.param({"parameters": {}}, ["parameter since: date 1994-01-01 then, not set now"], id="a parameter less"),
    pytest.param(
        orders(files=8, bytes=1300, digest="b" * 64), ["input orders: 3 files more, 300 bytes more"], id="files more"
    ),
    pytest.param(orders(files=4, digest="b" * 64), ["input orders: 1 file fewer"], id="a file fewer"),
    pytest.param(
        orders(digest="b" * 64),
        ["input orders: files were replaced, as many files and bytes as before"],
        id="files that were replaced",
    ),
    pytest.param(orders(digest="a" * 16), [], id="a digest that the status has cut short"),
    pytest.param(
        orders(snapshot="15", digest="b" * 64, files=6),
        ["input orders: snapshot none then, 15 now, 1 file more"],
        id="another snapshot",
    ),
    pytest.param(
        orders(place="s3://lake/other/", digest="b" * 64, bytes=999),
        ["input orders: s3://lake/orders/ then, s3://lake/other/ now, 1 byte fewer"],
        id="another place",
    ),
    pytest.param(
        orders(reading="d" * 64),
        ["input orders: it is read in another way (format, types, options or schema)"],
        id="another way to read",
    ),
    pytest.param({"inputs": []}, ["input orders: not read now"], id="an input less"),
    pytest.param(
        {"inputs": [ORDERS, {**ORDERS, "name": "n"}]}, ["input n: not read then"], id="an input more"
    ),
    pytest.param({"engine": "cpu", "release": ""}, ["engine rapidsmpf then, cpu now", "release 26.10 then, none now"],
                 id="the engine"),
    pytest.param({"release": "26.12"}, ["release 26.10 then, 26.12 now"], id="the release"),
    pytest.param({"options": {"fallback_mode": "raise"}}, ["executorOptions.fallback_mode: not set then, raise now"],
                 id="an option"),
    pytest.param({"software": {"polars": "1.45"}}, ["software polars: 1.44.2 then, 1.45 now"], id="a library"),
    pytest.param({"output": {**BASE["output"], "compression": "lz4"}}, ["output.compression: zstd then, lz4 now"],
                 id="the compression"),
    pytest.param({"uri": "s3://lake/out2"}, ["output.uri s3://lake/out then, s3://lake/out2 now"], id="the output"),
    pytest.param({"uri": "s3://lake/out/"}, [], id="a slash at the end is none"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "want"), ROWS)
def test_what_can_change_rows_is_said_in_one_line_each(changes: dict[str, Any], want: list[str]) -> None:
    found = list(deciding(receipt(), receipt(**changes)))
    assert [one.text for one in found] == want and all(one.rows for one in found)
    same = not want and "query" not in changes and changes.get("inputs", [ORDERS])[0]["digest"] == "a" * 64
    assert (receipt().key == receipt(**changes).key) is same


REST: list[Any] = [
    pytest.param({"version": 8}, ["version 7 then, 8 now"], id="the version"),
    pytest.param({"rows": 90, "files": 3}, ["result: 10 rows fewer (100 then, 90 now)", "result: 1 file more (2 then, "
                 "3 now)"], id="what came of it"),
    pytest.param({"gpus": 4}, ["8 GPUs then, 4 now"], id="the GPUs"),
    pytest.param({"seconds": {"running": 90}}, ["seconds running: 60 then, 90 now"], id="the time"),
    pytest.param({"warnings": ("slow",)}, ["warning only now: slow"], id="a warning"),
    pytest.param({"cluster": "single"}, [], id="what only one of them knows"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "want"), REST)
def test_the_rest_can_change_no_rows(changes: dict[str, Any], want: list[str]) -> None:
    found = list(differences(receipt(), receipt(**changes)))
    assert [one.text for one in found] == want and not any(one.rows for one in found)
    assert receipt().key == receipt(**changes).key


def test_what_can_change_rows_comes_first_and_the_image_is_of_it() -> None:
    then, now = receipt(image="sha256:a"), receipt(image="sha256:b", rows=1, **orders(files=6, digest="b" * 64))
    texts = [one.text for one in differences(then, now)]
    assert texts[:2] == ["image sha256:a then, sha256:b now", "input orders: 1 file more"]
    assert [one.rows for one in differences(then, now)] == [True, True, False]


IMAGES: list[Any] = [
    pytest.param({"asked": "r/q:1"}, {"asked": "r/q:2"}, ["image r/q:1 then, r/q:2 now"], id="another tag"),
    pytest.param({"asked": "r/q:1@sha256:a"}, {"asked": "mirror/q@sha256:a"}, [], id="one digest under two names"),
    pytest.param({"asked": "q@sha256:a"}, {"asked": "q@sha256:b"}, ["image sha256:a then, sha256:b now"], id="digest"),
    pytest.param({"asked": "q:1"}, {"asked": "q:1@sha256:a"}, ["image q:1 then, sha256:a now"], id="tag and digest"),
    pytest.param({"asked": "r/q:1", "image": "r/q@sha256:a"}, {"asked": "r/q:2", "image": "m/q@sha256:a"}, [],
                 id="two tags of one image, as kubelets tell"),
    pytest.param({"asked": "r/q:1", "image": "r/q@sha256:a"}, {"asked": "r/q:1", "image": "r/q@sha256:b"},
                 ["image sha256:a then, sha256:b now"], id="a tag that was moved, as kubelets tell"),
]  # fmt: skip


@pytest.mark.parametrize(("then", "now", "want"), IMAGES)
def test_an_image_is_its_digest_where_that_is_known(then: dict[str, str], now: dict[str, str], want: list[str]) -> None:
    assert [one.text for one in deciding(receipt(**then), receipt(**now))] == want


def test_texts_of_a_forged_receipt_are_bounded_and_clean() -> None:
    (found,) = deciding(receipt(), receipt(release="26.10\x1b[2K" + "x" * 200))
    assert "\x1b" not in found.text and len(found.text) <= 300
