"""A table is opened in every store that can list it, with keys of the environment or of the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest

import gpuquery
from gpuquery.runner.output import reading
from gpuquery.runner.stores import vended
from tests.support import sinks
from tests.support.seaweed import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stores.conftest import Shelf

pytestmark = pytest.mark.s3
ONE = pl.DataFrame({"k": ["a/b", "c d", None], "v": [1, 2, 3]})


def put(shelf: Shelf, folder: Path) -> None:
    """Copy a table of three versions into a store."""
    for mode in ("append", "append", "overwritePartitions"):
        made = sinks.plan(f"file://{folder}", mode=mode, partitionBy=["k"])
        sinks.run(made, ONE.lazy() if mode == "append" else ONE.head(1).lazy())
    for file in folder.rglob("*"):
        if file.is_file() and not file.name.startswith("."):
            shelf.put(str(file.relative_to(folder)), file.read_bytes())


def test_the_live_version_and_older_ones_are_read_from_any_store(shelf: Shelf, tmp_path: Path) -> None:
    if not shelf.lists:
        pytest.skip("nothing is written there")
    put(shelf, tmp_path / "table")
    opened = reading.open_table(shelf.root, None, shelf.access)
    assert (opened.version, opened.rows, len(opened.files)) == (3, 5, 5)
    assert sorted(opened.lazy().collect().rows(), key=str) == sorted([*ONE.rows(), *ONE.rows()[1:]], key=str)
    assert reading.open_table(shelf.root, 3, shelf.access).files == opened.files


def test_keys_of_the_caller_open_what_the_environment_has_no_keys_for(
    seaweed, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = sinks.plan(f"s3://{bucket}/out", endpoint=seaweed.endpoint, partitionBy=["k"])
    sinks.run(made, ONE.lazy())
    for name in seaweed.environment:
        monkeypatch.delenv(name)
    options = {
        "aws_endpoint_url": seaweed.endpoint, "aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY,
        "aws_region": "us-east-1", "aws_allow_http": "true",
    }  # fmt: skip
    try:
        opened = gpuquery.open_table(f"s3://{bucket}/out", storage_options=options)
        assert opened.lazy().sort("v").collect().equals(ONE)
        assert SECRET_KEY not in repr(opened)
    finally:
        vended.forget()
