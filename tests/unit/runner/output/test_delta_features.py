"""Tables to which we may not write: refused by name, with the way out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from tests.support import delta_tables as d
from tests.support.delta_output import APPEND, OVERWRITE, Writer

if TYPE_CHECKING:
    from pathlib import Path

    from gpuquery.runner.output.tables.delta.modes import Mode

V = d.field("v", "long")
RESULT = pl.DataFrame({"v": [1]})


def legacy(writer: int) -> dict[str, Any]:
    return {"protocol": {"minReaderVersion": 1, "minWriterVersion": writer}}


def table(path: Path, protocol: Any, fields: list[Any], properties: dict[str, str]) -> Path:
    d.commit(path, 0, protocol, d.metadata(fields, **properties))
    return path


@pytest.mark.parametrize(
    ("protocol", "fields", "properties", "mode", "why"),
    [
        pytest.param(
            d.protocol("columnMapping"), [V], {"delta.columnMapping.mode": "name"}, APPEND,
            "delta.columnMapping.mode is name.*write to another table", id="column mapping",
        ),
        pytest.param(
            legacy(2), [V], {"delta.appendOnly": "true"}, OVERWRITE, "delta.appendOnly is true.*use mode append",
            id="overwrite of an append-only table",
        ),
        pytest.param(
            legacy(3), [V], {"delta.constraints.positive": "v > 0"}, APPEND,
            "CHECK constraint positive.*check it by output.expect", id="a CHECK constraint",
        ),
        pytest.param(
            legacy(2), [d.field("v", "long", **{"delta.invariants": "{}"})], {}, APPEND,
            "'v' must satisfy an invariant", id="an invariant",
        ),
        pytest.param(
            legacy(2), [d.field("s", d.struct_of(d.field("v", "long", **{"delta.invariants": "{}"})))], {}, APPEND,
            r"'s\.v' must satisfy an invariant", id="an invariant inside of a struct",
        ),
        pytest.param(
            legacy(4), [d.field("v", "long", **{"delta.generationExpression": "1"})], {}, APPEND, "'v' is generated",
            id="a generated column",
        ),
        pytest.param(
            legacy(6), [d.field("v", "long", **{"delta.identity.start": 1})], {}, APPEND, "'v' is an identity column",
            id="an identity column",
        ),
        pytest.param(
            legacy(2), [d.field("v", "string", __CHAR_VARCHAR_TYPE_STRING="varchar(3)")], {}, APPEND,
            "'v' is a char or varchar.*TYPE STRING", id="a text of a bounded length",
        ),
        pytest.param(
            d.protocol("rowTracking", "domainMetadata"), [V], {}, APPEND, "rowTracking.*every row needs an id",
            id="row tracking",
        ),
        pytest.param(d.protocol("clustering"), [V], {}, APPEND, "clustering.*CLUSTER BY NONE", id="clustering"),
        pytest.param(d.protocol("icebergCompatV2"), [V], {}, APPEND, "icebergCompatV2.*output.table", id="UniForm"),
        pytest.param(d.protocol("catalogManaged"), [V], {}, APPEND, "catalogManaged.*that no catalog", id="a catalog"),
        pytest.param(
            legacy(2), [V], {"delta.coordinatedCommits.commitCoordinator-preview": "dynamodb"}, APPEND,
            "coordinated by dynamodb.*drop the feature", id="a coordinator of commits",
        ),
        pytest.param(d.protocol("fromTheFuture"), [V], {}, APPEND, "fromTheFuture.*DROP", id="an unknown feature"),
        pytest.param(legacy(8), [V], {}, APPEND, "writer of version 8", id="a version of the future"),
    ],
)  # fmt: skip
def test_what_we_cannot_honour_is_refused_by_name(
    tmp_path: Path, protocol: Any, fields: list[Any], properties: dict[str, str], mode: Mode, why: str
) -> None:
    writer = Writer(table(tmp_path, protocol, fields, properties), mode)
    writer.committer.recover()
    with pytest.raises(JobError, match=f"(?s){why}") as caught:
        writer.committer.check_mode()
    assert caught.value.failure is Failure.USER_ERROR
    assert f"Delta table file://{tmp_path}" in caught.value.message


@pytest.mark.parametrize(
    ("protocol", "properties", "mode"),
    [
        pytest.param(legacy(2), {"delta.appendOnly": "true"}, APPEND, id="append to an append-only table"),
        pytest.param(
            legacy(4), {"delta.enableChangeDataFeed": "true"}, OVERWRITE,
            id="a change data feed: whole files that are removed need no change files",
        ),
        pytest.param(legacy(6), {}, APPEND, id="old versions whose rules are not used"),
        pytest.param(
            d.protocol("appendOnly", "invariants", "checkConstraints", "generatedColumns", "identityColumns",
                       "columnMapping", "deletionVectors", "v2Checkpoint", "domainMetadata", "vacuumProtocolCheck",
                       "allowColumnDefaults", "typeWidening", "timestampNtz", "changeDataFeed"),
            {"delta.columnMapping.mode": "none"}, OVERWRITE, id="features that are there and not used",
        ),
    ],
)  # fmt: skip
def test_what_asks_nothing_of_whole_files_is_written_to(
    tmp_path: Path, protocol: Any, properties: dict[str, str], mode: Mode
) -> None:
    assert Writer(table(tmp_path, protocol, [V], properties), mode).write(RESULT).version == 1


@pytest.mark.parametrize(
    ("retention", "age", "fits"),
    [
        ("interval 7 days", timedelta(days=6), True), ("interval 1 WEEK", timedelta(days=8), False),
        ("interval 1 hour", timedelta(hours=2), False), ("30 days", timedelta(days=8), True),
        ("interval 999999999 weeks", timedelta(days=8), True),
        ("interval 1 month and a bit", timedelta(0), False),
    ],
)  # fmt: skip
def test_a_job_whose_commit_may_be_forgotten_does_not_commit(
    tmp_path: Path, retention: str, age: timedelta, fits: bool
) -> None:
    """After a checkpoint without its transaction, a later attempt would commit once more."""
    table(tmp_path, legacy(2), [V], {"delta.setTransactionRetentionDuration": retention})
    writer = Writer(tmp_path, created=datetime.now(UTC) - age)
    if fits:
        assert writer.write(RESULT).version == 1
    else:
        with pytest.raises(JobError, match=r"setTransactionRetentionDuration.*may have forgotten.*apply the job anew"):
            writer.write(RESULT)


def test_a_rule_that_comes_while_the_query_runs_is_respected(tmp_path: Path) -> None:
    table(tmp_path, legacy(3), [V], {})

    def constrain() -> None:
        if not (tmp_path / f"_delta_log/{1:020d}.json").exists():
            d.commit(tmp_path, 1, d.metadata([V], **{"delta.constraints.c": "v > 5"}))

    with pytest.raises(JobError, match="CHECK constraint c"):
        Writer(tmp_path).write(RESULT, before=constrain)
