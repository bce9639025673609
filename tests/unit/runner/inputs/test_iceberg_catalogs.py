"""Catalogs of Iceberg tables: which snapshot is read, and what is said of what is not there."""

import datetime as dt
import json
import os
import re
import socket

import pyarrow as pa
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

from gpuquery.api.catalogs import variable
from gpuquery.api.pods import RESERVED_VARIABLE
from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import inputs
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.redaction import redact
from gpuquery.runner.inputs.tables.iceberg import catalogs
from gpuquery.runner.inputs.tables.iceberg.catalogs import options_of
from gpuquery.runner.stores import retries
from tests.support import iceberg


@pytest.fixture
def lake(tmp_path):
    with iceberg.served(tmp_path) as served:
        yield served


def grown(lake, *numbers):
    """A table with a snapshot for each number; returns it and the ids of the snapshots."""
    table = lake.table(Schema(NestedField(1, "n", LongType())))
    snapshots = []
    for n in numbers:
        table.append(pa.table({"n": [n]}))
        snapshots.append(table.metadata.current_snapshot_id)
    return table, snapshots


def refusal(lake, pinned="", **asked):
    with pytest.raises(JobError) as caught:
        lake.resolve(pinned, **asked)
    return caught.value


def numbers(lake, **asked):
    return sorted(lake.read(**asked)["n"])


def test_a_snapshot_is_chosen_by_id_moment_branch_or_tag(lake):
    table, (first, second, _) = grown(lake, 1, 2, 3)
    with table.manage_snapshots() as change:
        change.create_tag(first, "january").create_branch(second, "audit")
    log = {one.snapshot_id: one.timestamp_ms for one in table.metadata.snapshot_log}
    moment = dt.datetime.fromtimestamp(log[second] / 1000, dt.UTC)
    assert numbers(lake) == [1, 2, 3]
    assert numbers(lake, snapshotId=str(first)) == [1]
    assert numbers(lake, branch="january") == [1]
    assert numbers(lake, branch="audit") == [1, 2]
    assert numbers(lake, asOf=moment.isoformat()) == [1, 2]
    elsewhere = moment.astimezone(dt.timezone(dt.timedelta(hours=5)))
    assert numbers(lake, asOf=elsewhere.isoformat()) == [1, 2]
    assert numbers(lake, asOf="9999-12-31") == [1, 2, 3]


def test_an_older_snapshot_has_the_columns_of_its_time_and_a_branch_those_of_now(lake):
    table, (first, _) = grown(lake, 1, 2)
    with table.manage_snapshots() as change:
        change.create_branch(first, "audit")
    with table.update_schema() as change:
        change.rename_column("n", "m")
    assert lake.read(snapshotId=str(first)).columns == ["n"]
    assert lake.read(branch="audit").columns == ["m"]
    assert lake.read().columns == ["m"]


def test_a_retry_reads_the_snapshot_and_the_columns_of_the_first_attempt(lake):
    table, (_, second) = grown(lake, 1, 2)
    pinned = lake.resolve().snapshot
    assert pinned == f"iceberg:{table.metadata.table_uuid}@{second}/0"
    table.append(pa.table({"n": [3]}))
    with table.update_schema() as change:
        change.add_column("more", LongType())
    again = lake.resolve(pinned)
    assert again.snapshot == pinned
    assert again.frame(lake.access).collect().sort("n").to_dict(as_series=False) == {"n": [1, 2]}


def test_a_retry_of_an_empty_table_reads_no_row_of_later(lake):
    table, _ = grown(lake)
    pinned = lake.resolve().snapshot
    table.append(pa.table({"n": [1]}))
    assert lake.resolve(pinned).frame(lake.access).collect().height == 0


def test_what_was_read_before_and_is_gone_is_told(lake):
    table, (first, _) = grown(lake, 1, 2)
    pinned = lake.resolve(snapshotId=str(first)).snapshot

    def expired(metadata):
        metadata["snapshots"] = [one for one in metadata["snapshots"] if one["snapshot-id"] != first]
        metadata["snapshot-log"] = [one for one in metadata["snapshot-log"] if one["snapshot-id"] != first]
        return metadata

    lake.edit = expired
    error = refusal(lake, pinned)
    assert error.failure is Failure.INVALID_INPUT
    assert f"snapshot {first}, which this job reads, has expired meanwhile: run the job again" in error.message
    lake.catalog.drop_table(table.name())
    grown(lake, 1)
    lake.edit = lambda metadata: metadata
    assert "it is another table now" in refusal(lake, pinned).message


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        pytest.param({"name": "sales.order"}, "namespace sales has no table order; it has orders", id="another table"),
        pytest.param({"name": "sale.orders"}, "there is no namespace sale; there are sales", id="another namespace"),
        pytest.param({"snapshotId": "12"}, "it has no snapshot 12: it expired, or is another", id="a snapshot"),
        pytest.param({"branch": "mian"}, 'it has no branch or tag "mian"; it has main', id="a branch"),
        pytest.param({"asOf": "1999-01-01"}, "no snapshot was current at 1999-01-01", id="too early"),
        pytest.param({"asOf": "last friday"}, "table.asOf is 'last friday': write a moment", id="no moment"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_told_with_what_is(lake, asked, said):
    grown(lake, 1, 2)
    error = refusal(lake, **asked)
    assert error.failure is Failure.INVALID_INPUT
    assert said in error.message
    assert error.message.startswith('input "t"')


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        pytest.param(401, Failure.STORAGE_AUTH, id="the token has expired"),
        pytest.param(403, Failure.STORAGE_AUTH, id="no right"),
        pytest.param(419, Failure.STORAGE_AUTH, id="the session has expired"),
        pytest.param(500, Failure.STORAGE_UNAVAILABLE, id="an error of the server"),
        pytest.param(503, Failure.STORAGE_UNAVAILABLE, id="busy"),
    ],
)
def test_a_refusal_of_the_catalog_has_the_class_that_decides_about_a_retry(lake, monkeypatch, status, failure):
    monkeypatch.setattr(retries, "HURRIED", 0)
    grown(lake, 1)
    lake.status = status
    error = refusal(lake)
    assert error.failure is failure
    assert "lake" in error.message


@pytest.mark.parametrize("status", [500, 503])
def test_a_catalog_that_is_away_for_a_moment_is_asked_again(lake, monkeypatch, status):
    grown(lake, 1)
    lake.status = status
    asked_once, tries = catalogs.Catalog._asked_once, []

    def counted(*args):
        tries.append(args)
        if len(tries) == 3:
            lake.status = None
        return asked_once(*args)

    monkeypatch.setattr(catalogs.Catalog, "_asked_once", counted)
    assert lake.resolve().bytes > 0 and len(tries) == 3


def test_a_token_opens_the_catalog_and_stands_in_no_message_and_no_json(lake, monkeypatch):
    grown(lake, 1)
    lake.token = "very-secret"
    monkeypatch.setenv(variable("lake", "token"), "not-quite-secret")
    error = refusal(lake)
    assert error.failure is Failure.STORAGE_AUTH
    assert "secret" not in error.message
    monkeypatch.setenv(variable("lake", "token"), "very-secret")
    found = {"t": lake.resolve()}
    assert "secret" not in inputs.to_json(found)
    assert found["t"].bytes > 0


def test_a_token_that_was_issued_is_taken_out_of_what_others_say(lake, monkeypatch):
    grown(lake, 1)
    lake.oauth = iceberg.OAuth("id", "hush-hush")
    monkeypatch.setattr(lake.oauth, "takes", lambda _: True)
    monkeypatch.setattr(lake.oauth, "issued", lambda _: (200, {"access_token": "issued-to-us", "token_type": "bearer"}))
    monkeypatch.setenv(variable("lake", "credential"), "id:hush-hush")
    assert lake.resolve().bytes > 0
    assert redact("you have sent Bearer issued-to-us") == "you have sent Bearer ***"


def test_secrets_of_catalogs_are_taken_out_of_what_others_say(monkeypatch):
    """A server may say back what it was sent, and what a process has said last is in the status."""
    monkeypatch.setenv(variable("lake.one", "token"), "very-secret\n")
    monkeypatch.setenv(variable("other", "credential"), "my-id:hush-hush")
    monkeypatch.setenv(variable("other", "uri"), "https://catalog.example.com")
    said = "Bearer very-secret, my-id:hush-hush, client_id=my-id&client_secret=hush-hush at https://catalog.example.com"
    assert redact(said) == "Bearer ***, ***, client_id=my-id&client_secret=*** at https://catalog.example.com"


@pytest.mark.parametrize("key", ["uri", "oauth2-server-uri"])
@pytest.mark.parametrize("host", ["169.254.169.254", "2852039166", "metadata.google.internal", "[fd00:ec2::254]"])
def test_no_catalog_is_a_metadata_service(lake, monkeypatch, key, host):
    monkeypatch.setenv(variable("lake", key), f"http://{host}/latest")
    error = refusal(lake)
    assert error.failure is Failure.INVALID_ENDPOINT
    assert f'the {key} of catalog "lake": ' in error.message


def test_no_catalog_leads_to_a_metadata_service_by_a_name(lake, monkeypatch):
    address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address])
    lake.uri = "http://catalog.example.com"
    assert refusal(lake).failure is Failure.INVALID_ENDPOINT


def test_a_template_cannot_send_the_secret_of_a_catalog_elsewhere():
    for key in ("uri", "oauth2-server-uri"):
        assert re.match(RESERVED_VARIABLE, variable("lake", key))


def test_a_catalog_that_does_not_answer_is_asked_again_later(lake, monkeypatch):
    monkeypatch.setattr(retries, "HURRIED", 0)
    grown(lake, 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        lake.uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    error = refusal(lake)
    assert error.failure is Failure.STORAGE_UNAVAILABLE
    assert lake.uri in error.message


@pytest.mark.parametrize("uri", ["not a uri", "ftp://somewhere"])
def test_a_uri_that_is_none_is_no_matter_of_a_retry(lake, uri):
    lake.uri = uri
    assert refusal(lake).failure is Failure.INVALID_ENDPOINT


def test_a_server_without_trust_is_told_as_such(lake, tmp_path):
    lake.uri = lake.uri.replace("http:", "https:")  # a server that speaks no TLS
    assert refusal(lake).failure is Failure.INVALID_ENDPOINT


def test_a_catalog_that_nobody_knows_is_told_with_those_that_are_declared(lake):
    error = refusal(lake, catalog="laek")
    assert error.failure is Failure.INVALID_INPUT
    assert 'catalog "laek" is not known here' in error.message
    assert "the administrator has declared lake" in error.message
    assert "PYICEBERG_CATALOG__LAEK__URI" in error.message


def test_variables_complete_a_declaration():
    access = StoreAccess(catalogs={"my-lake": {"uri": "https://a", "warehouse": "w"}})
    environment = {
        "PYICEBERG_CATALOG__MY_LAKE__URI": "https://b", "PYICEBERG_CATALOG__MY_LAKE__CREDENTIAL": "id:secret\n",
        "PYICEBERG_CATALOG__MY_LAKE__REST__SIGV4_ENABLED": "true", "PYICEBERG_CATALOG__MY_LAKE2__URI": "https://c",
        "PYICEBERG_CATALOG__MY_LAKE__EU__URI": "https://d",
    }  # fmt: skip
    assert options_of("my-lake", access, environment) == {
        "uri": "https://b", "warehouse": "w", "credential": "id:secret", "rest.sigv4-enabled": "true",
    }  # fmt: skip
    assert options_of("my-lake.eu", StoreAccess(), environment) == {"uri": "https://d"}


def test_an_option_that_is_misspelt_is_told(lake, monkeypatch):
    monkeypatch.setenv(variable("lake", "credentials"), "id:secret")
    error = refusal(lake)
    assert "has the option credentials, which is not known" in error.message
    assert "id:secret" not in error.message


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("variant", "variant"),
        ("geometry", "geometry"),
        ({"type": "list", "element-id": 9, "element": "variant"}, "variant"),
    ],
)
def test_types_that_are_not_read_are_named_with_their_column(lake, kind, said):
    grown(lake, 1)

    def with_type(metadata):
        metadata["format-version"] = 3
        metadata["next-row-id"] = 0
        metadata["schemas"][0]["fields"].append({"id": 7, "name": "odd", "type": kind, "required": False})
        return metadata

    lake.edit = with_type
    error = refusal(lake)
    assert error.failure is Failure.INVALID_INPUT
    assert said in error.message


def test_an_encrypted_table_is_refused(lake):
    grown(lake, 1)
    lake.edit = lambda metadata: {**metadata, "properties": {**metadata["properties"], "encryption.key-id": "k1"}}
    assert "encrypted tables are not read" in refusal(lake).message


def test_a_snapshot_whose_files_are_gone_names_the_file(lake):
    table, _ = grown(lake, 1)
    path = next(iter(table.inspect.data_files().to_pylist()))["file_path"].removeprefix("file://")
    os.remove(path)
    error = refusal(lake)
    assert error.failure is Failure.INVALID_INPUT
    assert path in error.message


def test_what_the_ranks_get_says_how_to_read_and_not_whom_to_ask(lake):
    grown(lake, 1, 2)
    text = inputs.to_json({"t": lake.resolve()})
    asked = len(lake.asked)
    again = inputs.from_json(text, [iceberg.item_of()])["t"]
    assert again.frame(StoreAccess()).collect().height == 2
    assert len(lake.asked) == asked
    assert json.loads(text)["t"]["snapshot"].startswith("iceberg:")
