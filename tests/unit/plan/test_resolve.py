"""Resolve: what a spec means, and what cannot be run."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from gpuquery.api.choices import Dialect
from gpuquery.api.reasons import Failure
from gpuquery.api.spec import MAX_CONFIGMAP_QUERY, InputFormat
from gpuquery.api.status import GpuQueryJobStatus
from gpuquery.plan.plan import Language, Plan
from gpuquery.plan.resolve import Rejected, digest, plan_json, plan_status, resolve
from tests.support.kube_objects import DEFAULTS, UID, job

REF = {"configMapKeyRef": {"name": "queries", "key": "q.py"}}


def plan(text: str | None = None, *, local: bool = False, **spec: Any) -> Plan:
    found = resolve(job(**spec), DEFAULTS, text, local=local)
    assert isinstance(found, Plan), found
    return found


def rejected(text: str | None = None, **spec: Any) -> Rejected:
    found = resolve(job(**spec), DEFAULTS, text)
    assert isinstance(found, Rejected), found
    return found


def test_auto_becomes_one_pod_of_the_cpu_engine() -> None:
    found = plan()
    assert (found.engine, found.cluster, found.replicas, found.gpus) == ("cpu", "single", 1, 0)
    assert found.job.uid == UID and found.language is Language.SQL


@pytest.mark.parametrize(
    ("uri", "want"),
    [
        pytest.param("s3://lake/t/*.parquet", InputFormat.PARQUET, id="a glob of parquet files"),
        pytest.param("s3://lake/t/", InputFormat.PARQUET, id="a folder is parquet"),
        pytest.param("s3://lake/t.CSV", InputFormat.CSV, id="capitals"),
        pytest.param("s3://lake/t.csv.gz", InputFormat.CSV, id="compressed CSV"),
        pytest.param("s3://lake/t.jsonl", InputFormat.NDJSON, id="JSON lines"),
    ],
)
def test_formats_go_by_the_ending(uri: str, want: InputFormat) -> None:
    assert plan(inputs=[{"name": "t", "uri": uri}]).inputs[0].format == want


def test_whether_folders_are_columns_is_found_out_where_the_files_are_seen() -> None:
    assert plan(inputs=[{"name": "t", "uri": "s3://lake/t/"}]).inputs[0].hive_partitioned is None


def test_what_the_spec_says_about_an_input_stays() -> None:
    item = {"name": "t", "uri": "s3://lake/t/", "format": "csv", "hivePartitioned": False, "csv": {"header": False}}
    found = plan(inputs=[item]).inputs[0]
    assert (found.format, found.hive_partitioned) == (InputFormat.CSV, False)


def test_a_file_as_output_is_refused_with_the_way_out() -> None:
    found = rejected(output={"uri": "file:///out"})
    assert found.reason is Failure.INVALID_INPUT
    assert "output.uri" in found.message and "gpuquery run" in found.message


def test_files_are_fine_where_the_job_runs_on_the_machine_that_has_them() -> None:
    found = plan(local=True, inputs=[{"name": "t", "uri": "file:///d/t.csv"}], output={"uri": "file:///out"})
    assert found.output.uri == "file:///out"


def test_a_config_map_gives_the_text_and_its_key_the_language() -> None:
    found = plan("def query(inputs, params): ...", query=REF)
    assert found.language is Language.PYTHON and found.query.startswith("def")


def test_a_query_of_the_largest_size_is_taken_and_one_byte_more_is_not() -> None:
    assert plan("x" * MAX_CONFIGMAP_QUERY, query=REF)
    found = rejected("é" * (MAX_CONFIGMAP_QUERY // 2) + "x", query=REF)
    assert found.reason is Failure.INVALID_QUERY and "900,000" in found.message


def test_an_endpoint_implies_path_style_and_some_region() -> None:
    store = plan(storage={"endpoint": "http://s3:8333"}).store
    assert (store.endpoint, store.path_style, store.region) == ("http://s3:8333", True, "us-east-1")
    own = plan(storage={"endpoint": "https://s3", "pathStyle": False, "region": "eu"}).store
    assert (own.path_style, own.region) == (False, "eu")
    aws = plan().store
    assert (aws.endpoint, aws.path_style, aws.region) == (None, False, None)


def test_the_digest_is_of_the_text_alone() -> None:
    assert digest(plan()) == digest(plan(output={"uri": "s3://other"}))
    assert digest(plan()) != digest(plan(query={"sql": "SELECT 2 AS a"}))


def test_the_status_tells_the_image_and_why() -> None:
    told = plan_status(plan(), job(runtime={"image": "mine:1"}), DEFAULTS)
    assert told.image == "mine:1" and "cpu x single" in told.why
    asked = plan_status(plan(), job(engine="cpu"), DEFAULTS)
    assert asked.image == "runtime:test" and "as the spec asks" in asked.why


def test_a_query_that_grows_beyond_a_config_map_as_json_is_refused_with_the_limit() -> None:
    found = rejected("\n" * MAX_CONFIGMAP_QUERY, query=REF)
    assert found.reason is Failure.INVALID_QUERY and "1,040,000" in found.message


SQL_REF = {"configMapKeyRef": {"name": "queries", "key": "q.sql"}}


@pytest.mark.parametrize(
    ("query", "want"),
    [
        pytest.param({"sql": "SELECT 1"}, Dialect.DUCKDB, id="SQL is DuckDB's where nothing is said"),
        pytest.param({"sql": "SELECT 1", "dialect": "spark"}, Dialect.SPARK, id="the dialect that is named"),
        pytest.param({**SQL_REF, "dialect": "trino"}, Dialect.TRINO, id="the dialect of a text in a ConfigMap"),
    ],
)
def test_a_plan_says_which_sql_its_text_is(query: dict[str, Any], want: Dialect) -> None:
    assert plan("SELECT 1", query=query).dialect is want


def test_a_job_that_was_accepted_before_there_were_dialects_stays_with_polars_sql() -> None:
    """Its earlier attempts and its preflight ran so: another meaning between two attempts would be a silent change."""
    told = plan_status(plan(), job(), DEFAULTS)
    assert told.dialect == "duckdb"
    for accepted, want in ((told.model_copy(update={"dialect": None}), Dialect.POLARS), (told, Dialect.DUCKDB)):
        found = resolve(job(status=GpuQueryJobStatus(plan=accepted)), DEFAULTS)
        assert isinstance(found, Plan)
        assert found.dialect is want


def test_a_plan_without_a_dialect_is_an_old_one_in_polars_sql() -> None:
    document = json.loads(plan_json(plan()))
    del document["dialect"]
    assert Plan.model_validate(document).dialect is Dialect.POLARS


def test_the_clock_of_a_query_stands_where_its_job_was_created() -> None:
    """Attempts, ranks and the preflight read it from the plan, so they agree, and a retry after midnight has no other
    `current_date`."""
    made = datetime(2026, 11, 29, 23, 59, 58, tzinfo=UTC)
    for attempt in (1, 2):
        one = job(metadata={"creationTimestamp": made.isoformat()})
        found = resolve(one, DEFAULTS, attempt=attempt)
        assert isinstance(found, Plan)
        assert Plan.model_validate_json(plan_json(found)).now == made


@pytest.mark.parametrize(
    "query",
    [
        pytest.param({"python": "def query(inputs, params): ..."}, id="Python in the job"),
        pytest.param(REF, id="Python in a ConfigMap"),
    ],
)
def test_a_dialect_of_python_is_refused(query: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="dialect is about SQL"):
        job(query={**query, "dialect": "spark"})


@pytest.mark.parametrize("query", [{"sql": "SELECT 1 AS a"}, {"python": "def query(inputs, params): ..."}])
def test_sql_of_an_expectation_is_refused_where_a_release_has_another_polars(query: dict[str, Any]) -> None:
    """It runs on the CPU, whatever runs the query."""
    output = {"uri": "s3://lake/out", "expect": [{"sql": "SELECT count(*) > 0 FROM result"}]}
    images = {release: f"runtime-{release}" for release in ("26.04", "26.10")}
    defaults = DEFAULTS.model_copy(update={"runtime_images": images})
    wanted = job(query=query, engine="tasks", runtime={"release": "26.04"}, output=output)
    found = resolve(wanted, defaults)
    assert isinstance(found, Rejected)
    words = ["output.expect has sql", "RAPIDS release 26.04", ">=1.30,<1.39", '"26.10"', "notNull"]
    assert [word for word in words if word not in found.message] == [], found.message
    newer = job(query=query, engine="rapidsmpf", cluster="single", runtime={"release": "26.10"}, output=output)
    assert isinstance(resolve(newer, defaults), Plan)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        pytest.param(
            {"engine": "tasks", "runtime": {"release": "25.08"}},
            ["query.sql", "RAPIDS release 25.08", "no decimals", '"26.02", "26.04"', "query.python"],
            id="GPUs of a release without decimals",
        ),
        pytest.param(
            {"workers": {"gpus": 1}, "runtime": {"release": "25.10"}},
            ["RAPIDS release 25.10", "two nested casts"],
            id="GPUs of a release that drops casts",
        ),
        pytest.param(
            {"engine": "rapidsmpf", "cluster": "single", "runtime": {"release": "26.10"}}, None, id="GPUs of another"
        ),
        pytest.param(
            {"engine": "cpu", "runtime": {"release": "26.04"}},
            ['engine "cpu"', "RAPIDS release 26.04", ">=1.30,<1.39", "leave runtime.release out", '"26.10"'],
            id="the CPU with an older Polars",
        ),
        pytest.param({"engine": "cpu", "runtime": {"release": "26.10"}}, None, id="the CPU with the Polars of ours"),
        pytest.param(
            {"engine": "cpu", "runtime": {"release": "26.04", "image": "mine:1"}},
            None,
            id="an image that its pod judges",
        ),
    ],
)
def test_sql_is_refused_where_a_release_does_otherwise_than_it_says(
    spec: dict[str, Any], words: list[str] | None
) -> None:
    images = {release: f"runtime-{release}" for release in ("25.08", "25.10", "26.04", "26.10")}
    defaults = DEFAULTS.model_copy(update={"runtime_images": images})
    found = resolve(job(**spec), defaults)
    if words is None:
        assert isinstance(found, Plan), found
        return
    assert isinstance(found, Rejected)
    assert found.reason is Failure.INVALID_COMBINATION
    assert [word for word in words if word not in found.message] == [], found.message
    for other in ({"python": "def query(inputs, params): ..."}, {"sql": "SELECT 1", "dialect": "polars"}):
        assert isinstance(resolve(job(**{**spec, "query": other}), defaults), Plan)
