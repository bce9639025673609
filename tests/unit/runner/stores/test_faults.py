"""Faults and storage access: which class an exception gets, and that no secret gets out."""

from __future__ import annotations

import json

import polars as pl
import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)

from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import classify, redact
from gpuquery.runner.stores import retries
from gpuquery.runner.stores.s3 import client
from gpuquery.runner.stores.s3.errors import is_transient


def answer(status: int, code: str) -> ClientError:
    error = {"Error": {"Code": code, "Message": "words"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(error, "PutObject")


@pytest.mark.parametrize(
    ("exc", "failure", "transient"),
    [
        (answer(403, "AccessDenied"), Failure.STORAGE_AUTH, False),
        (answer(403, "403"), Failure.STORAGE_AUTH, False),
        (answer(400, "ExpiredToken"), Failure.STORAGE_AUTH, False),
        (answer(404, "NoSuchBucket"), Failure.BUCKET_NOT_FOUND, False),
        (answer(503, "SlowDown"), Failure.STORAGE_UNAVAILABLE, True),
        (answer(500, "InternalError"), Failure.STORAGE_UNAVAILABLE, True),
        (answer(429, "TooManyRequests"), Failure.STORAGE_UNAVAILABLE, True),
        (answer(400, "RequestTimeout"), Failure.STORAGE_UNAVAILABLE, True),
        (answer(400, "MalformedXML"), Failure.INTERNAL_ERROR, False),
        (EndpointConnectionError(endpoint_url="http://x"), Failure.STORAGE_UNAVAILABLE, True),
        (ConnectTimeoutError(endpoint_url="http://x"), Failure.STORAGE_UNAVAILABLE, True),
        (ReadTimeoutError(endpoint_url="http://x"), Failure.STORAGE_UNAVAILABLE, True),
        (NoCredentialsError(), Failure.STORAGE_AUTH, False),
        (MemoryError(), Failure.HOST_OUT_OF_MEMORY, False),
        (OSError(28, "No space left on device"), Failure.SCRATCH_FULL, False),
        (ZeroDivisionError("x"), Failure.INTERNAL_ERROR, False),
        (
            OSError(
                "object-store error: The operation lacked the necessary privileges to complete for path x: "
                "Error performing POST http://h/b?uploads= in 1ms - Server returned non-2xx status code: 403 Forbidden"
            ),
            Failure.STORAGE_AUTH,
            False,
        ),
        (
            pl.exceptions.ComputeError(
                "object-store error: Generic S3 error: Error performing GET http://h/b in 31s, after 8 retries, "
                "max_retries: 8, retry_timeout: 30s - Server returned error response: 503 Service Unavailable"
            ),
            Failure.STORAGE_UNAVAILABLE,
            False,
        ),
        (
            OSError("object-store error: Generic S3 error: HTTP error: error sending request"),
            Failure.STORAGE_UNAVAILABLE,
            False,
        ),
        (OSError("object-store error: Object at location a/b not found: 404"), Failure.INVALID_INPUT, False),
        (pl.exceptions.ComputeError("expanded paths were empty (path expansion input: s3://b/x)"),
         Failure.INVALID_INPUT, False),
        (pl.exceptions.ComputeError("conversion of 403 failed"), Failure.USER_ERROR, False),
        (pl.exceptions.ColumnNotFoundError("column not found: 404"), Failure.USER_ERROR, False),
        (pl.exceptions.SQLSyntaxError("sql parser error"), Failure.INVALID_QUERY, False),
        (FileNotFoundError(2, "No such file or directory", "x"), Failure.INVALID_INPUT, False),
        (PermissionError(13, "Permission denied", "x"), Failure.STORAGE_AUTH, False),
    ],
)  # fmt: skip
def test_an_exception_gets_its_class(exc: Exception, failure: Failure, transient: bool):
    assert classify(exc).failure is failure
    assert is_transient(exc) is transient


def test_a_failure_that_has_a_class_keeps_it():
    error = JobError(Failure.OUTPUT_LIMIT, "x")
    assert classify(error, default=Failure.USER_ERROR) is error


def test_an_exception_of_the_users_code_is_the_users():
    assert classify(ZeroDivisionError("x"), default=Failure.USER_ERROR).failure is Failure.USER_ERROR


def test_no_secret_stands_in_a_message(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3tKey")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    text = (
        "403 <Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>OTHER</AWSAccessKeyId><StringToSign>AWS4\nabc"
        "</StringToSign> s3cr3tKey AKIAEXAMPLE http://h/b?X-Amz-Signature=deadbeef&X-Amz-Credential=OTHER/2026 "
        "Authorization: AWS4-HMAC-SHA256 Credential=OTHER/2026, Signature=deadbeef"
    )
    clean = redact(text)
    assert "SignatureDoesNotMatch" in clean
    assert not {word for word in ("s3cr3tKey", "AKIAEXAMPLE", "OTHER", "abc", "deadbeef") if word in clean}


def test_no_part_of_another_clouds_secret_stands_in_a_message(monkeypatch: pytest.MonkeyPatch):
    private = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END PRIVATE KEY-----\n"
    given = {"client_email": "reader@lake.iam", "private_key": private, "private_key_id": "0f1e2d3c4b5a"}
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(given))
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "Eby8vdM02xNOcqFlqUwJPL==")
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "abc~def.ghi")
    text = (
        f"{json.dumps(given)} line kqhkiG9w0BAQEF key {private} id 0f1e2d3c4b5a Eby8vdM02xNOcqFlqUwJPL== abc~def.ghi "
        "https://a.blob.core.windows.net/c?restype=container&sv=2021&sig=b64%3D&sp=r X-Goog-Signature=feedbeef"
    )
    clean = redact(text)
    secrets = ("MIIEvQ", "kqhkiG9w", "0f1e2d3c", "Eby8vd", "abc~def", "b64%3D", "feedbeef")
    assert not {word for word in secrets if word in clean}
    assert "restype=container" in clean and "sp=r" in clean


def test_a_long_message_is_cut():
    assert len(redact("x" * 100_000)) < 1300


@pytest.mark.parametrize(
    ("uri", "bucket", "prefix"),
    [
        ("s3://b/a/c", "b", "a/c"),
        ("s3://b/a/", "b", "a"),
        ("s3://b", "b", ""),
        ("file:///a/b/", "", "/a/b"),
        ("file:///", "", "/"),
    ],
)
def test_a_uri_is_a_bucket_and_a_prefix_or_a_path(uri: str, bucket: str, prefix: str):
    place = stores.locate(uri)
    assert (place.bucket, place.prefix) == (bucket, prefix)


@pytest.mark.parametrize("uri", ["s3://", "s3:///x", "file://x", "gs://", "az:///x", "https://", "ftp://b/x", "x"])
def test_a_uri_of_another_kind_is_refused(uri: str):
    with pytest.raises(JobError, match="write s3://bucket/folder or gs://"):
        stores.locate(uri)


@pytest.mark.parametrize(
    ("access", "expected"),
    [
        (StoreAccess(), {"region": None, "endpoint": None}),
        (StoreAccess(endpoint="http://10.0.0.1:9000"), {"endpoint": "http://10.0.0.1:9000", "virtual": "false"}),
        (
            StoreAccess(endpoint="https://s3.example.com", path_style=False),
            {"endpoint": "https://b.s3.example.com", "virtual": "true"},
        ),
        (
            StoreAccess(endpoint="https://s3.example.com", path_style=True, region="eu-1"),
            {"endpoint": "https://s3.example.com", "virtual": "false", "region": "eu-1"},
        ),
    ],
)
def test_polars_is_told_where_the_store_is_and_never_a_credential(access: StoreAccess, expected: dict[str, str | None]):
    options = stores.scan_options(access, "s3://b/x") or {}
    assert options.get("aws_endpoint_url") == expected["endpoint"]
    assert options.get("aws_virtual_hosted_style_request") == expected.get("virtual")
    if "region" in expected:
        assert options.get("aws_region") == expected["region"]
    assert not {key for key in options if "key" in key or "secret" in key or "token" in key}
    assert stores.scan_options(access, "file:///x") is None


@pytest.mark.parametrize(
    ("version", "strings"), [("1.31.0", True), ("1.37.1", True), ("1.38.1", False), ("2.0.0", False)]
)
def test_polars_gets_options_of_the_types_that_its_version_takes(
    version: str, strings: bool, monkeypatch: pytest.MonkeyPatch
):
    retries.polars_version.cache_clear()
    monkeypatch.setattr(retries.metadata, "version", lambda _: version)
    access = StoreAccess(endpoint="http://s3:8333")
    options = stores.scan_options(access, "s3://b/x") or {}
    retries.polars_version.cache_clear()
    assert options["max_retries"] == ("50" if strings else 50)
    assert ("retry_timeout_ms" in options) != strings
    assert not strings or all(isinstance(value, str) for value in options.values())
    assert client.store_options(access, "b")["retry_timeout_ms"] == 300_000, "obstore takes them always"
