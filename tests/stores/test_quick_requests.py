"""Requests to S3 that are made without botocore: botocore's signer finds them right, its client explains faults.

What the options of a job put into them is looked at in test_aws_tables.py, on whole commits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.stores.base import Piece
from gpuquery.runner.stores.s3.table import S3Store
from tests.support.recorder import recording
from tests.support.small_s3 import SmallS3

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.recorder import Answer, Asked

ODD = "data/k=a%2Fb c/é+~(x)&=.parquet"
SECRET = "k" * 40


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a/token+==")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def opened(root: str, **options: Any) -> S3Store:
    access = StoreAccess(endpoint=root, path_style=True, **options)
    return S3Store(stores.locate("s3://lake/out"), access, hurried=True)


def is_botos(asked: Asked) -> bool:
    return "amz-sdk-invocation-id" in asked.headers


def upload(store: S3Store, key: str, body: bytes) -> bool:
    name = store.begin(key)
    return store.complete(key, name, [store.upload(key, name, Piece(1, 0, body))])


def signature_of_botocore(asked: Asked, root: str) -> str:
    """The header of a request, as botocore's signer makes it of what the server has got."""
    names = asked.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    again = AWSRequest(asked.method, root + asked.url, {n: asked.headers[n] for n in names if n != "host"}, asked.body)
    again.context["timestamp"] = asked.headers["x-amz-date"]
    signer = S3SigV4Auth(Credentials("AKIAEXAMPLE", SECRET, "a/token+=="), "s3", "eu-west-1")
    text = signer.string_to_sign(again, signer.canonical_request(again))
    signer._inject_signature_to_request(again, signer.signature(text, again))
    return str(again.headers["Authorization"])


def test_what_is_asked_without_botocore_is_signed_as_botocore_signs_it() -> None:
    bucket = SmallS3("lake")
    with recording(bucket.answer) as server:
        store = opened(server.root, region="eu-west-1", requester_pays=True, sse_kms_key_id="arn:aws:kms:x:y/z")
        for number in range(2):
            assert upload(store, f"{ODD}-{number}", b"bytes")
            store.put(f"{ODD}-put-{number}", b"" if number else b"others")
    quick = [asked for asked in server.asked if not is_botos(asked)]
    assert len(quick) == len(server.asked) / 2 == 4, "only the first of each kind is botocore's"
    for asked in quick:
        assert asked.headers["authorization"] == signature_of_botocore(asked, server.root), asked
    assert bucket.objects == {
        f"out/{ODD}-0": b"bytes", f"out/{ODD}-1": b"bytes", f"out/{ODD}-put-0": b"others", f"out/{ODD}-put-1": b"",
    }  # fmt: skip
    for botos, ours in zip(server.asked[:4], server.asked[4:], strict=True):
        own = {"authorization", "x-amz-date", "x-amz-content-sha256", "content-length", "amz-sdk-invocation-id",
               "amz-sdk-request", "accept-encoding", "host", "connection"}  # fmt: skip
        assert {k: v for k, v in botos.headers.items() if k not in own} == {
            k: v for k, v in ours.headers.items() if k not in own
        }


FAULTS: dict[str, tuple[Callable[[Asked], bool], Answer]] = {
    "an upload that is begun with half an answer": (
        lambda asked: "uploads" in asked.query,
        (200, {}, b"<InitiateMultipartUploadResult><UploadId>u1</UploadId>"),
    ),
    "a piece without a tag": (lambda asked: "partNumber" in asked.query, (200, {}, b"")),
    "an error of a server after it has said 200": (
        lambda asked: asked.method == "POST" and "uploadId" in asked.query,
        (200, {}, b"<Error><Code>InternalError</Code></Error>"),
    ),
    "a completion with half an answer": (
        lambda asked: asked.method == "POST" and "uploadId" in asked.query,
        (200, {}, b"<CompleteMultipartUploadResult><ETag>x</ETag>"),
    ),
    "a busy server": (lambda asked: "partNumber" in asked.query, (503, {}, b"<Error><Code>SlowDown</Code></Error>")),
    "a redirect": (lambda asked: "partNumber" in asked.query, (307, {"Location": "http://127.0.0.1:1/"}, b"")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_answer_that_is_no_plain_success_is_asked_for_again_by_botocore(fault: str) -> None:
    bucket, (meant, wrong) = SmallS3("lake"), FAULTS[fault]

    def answer(asked: Asked) -> Answer:
        return wrong if meant(asked) and not is_botos(asked) else bucket.answer(asked)

    with recording(answer) as server:
        store = opened(server.root)
        for number in range(3):
            assert upload(store, f"data/{number}", b"%d" % number)
    assert bucket.objects == {f"out/data/{number}": b"%d" % number for number in range(3)}
    asked = [is_botos(asked) for asked in server.asked if meant(asked)]
    assert asked == [True, False, True, False, True]


def test_a_refusal_is_explained_by_botocore() -> None:
    bucket, refuses = SmallS3("lake"), False

    def answer(asked: Asked) -> Answer:
        return (403, {}, b"<Error><Code>ExpiredToken</Code></Error>") if refuses else bucket.answer(asked)

    with recording(answer) as server:
        store = opened(server.root)
        store.put("data/a", b"a")
        refuses = True
        with pytest.raises(JobError, match=r"ExpiredToken.*check the credentials"):
            store.put("data/b", b"b")
    assert [is_botos(asked) for asked in server.asked] == [True, False, True]


def test_credentials_are_asked_for_at_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = iter(["ONE", "ONE", "TWO", "THREE"])
    with recording(SmallS3("lake").answer) as server:
        store = opened(server.root)
        credentials = store._client._get_credentials()  # type: ignore[attr-defined]
        frozen = credentials.get_frozen_credentials()
        monkeypatch.setattr(credentials, "get_frozen_credentials", lambda: frozen._replace(access_key=next(keys)))
        for name in "abc":
            store.put(f"data/{name}", b"x")
    used = [asked.headers["authorization"].partition("Credential=")[2].partition("/")[0] for asked in server.asked]
    assert used == ["ONE", "TWO", "THREE"]
