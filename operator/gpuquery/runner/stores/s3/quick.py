"""The requests of every file, without the 1.5 ms of CPU that botocore takes to make and to read each of them.

The first request of each kind is botocore's: it finds out where the bucket is, how it is addressed, who asks, and what
the job wants to have said (encryption, who pays). The next ones are like it, but for key, query and body. They are
signed here and sent through botocore's own connections, which have its timeouts, proxies and authorities. An answer
that is not plain success is no answer: botocore asks again, as after a lost answer, and explains faults and redirects.

A request is imitated only if it has nothing but known headers, and if our signature of it equals botocore's.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import escape, unescape

from botocore.awsrequest import AWSPreparedRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botocore.awsrequest import AWSResponse
    from botocore.credentials import ReadOnlyCredentials
    from mypy_boto3_s3 import S3Client

    Found = Callable[[AWSResponse], dict[str, str] | None]

_OWN = frozenset({
    "authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "content-length",
    "amz-sdk-invocation-id", "amz-sdk-request",
})  # fmt: skip
"""Headers of one request alone."""
_SHARED = frozenset({
    "user-agent", "content-type", "x-amz-request-payer", "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
})  # fmt: skip
"""Headers that all requests of a kind have alike."""
_UPLOAD_ID = re.compile(rb"<UploadId>([^<]+)</UploadId>.*</InitiateMultipartUploadResult>\s*$", re.S)
_COMPLETED = re.compile(rb"<CompleteMultipartUploadResult[ >].*</CompleteMultipartUploadResult>\s*$", re.S)
_PART = "<Part><ETag>{}</ETag><PartNumber>{}</PartNumber></Part>"
_PARTS = '<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{}</CompleteMultipartUpload>'


@dataclass(frozen=True)
class _Form:
    """What all requests of a kind have in common."""

    base: str
    """URL up to the key."""
    host: str
    scope: str
    """`region/s3/aws4_request`."""
    headers: Mapping[str, str]
    """By their names in small letters."""

    def request(
        self, method: str, key: str, query: str, body: bytes, by: ReadOnlyCredentials, at: str
    ) -> AWSPreparedRequest:
        """Make and sign a request by Signature Version 4 (AWS, "Create a signed AWS API request")."""
        path, digest = self.base + quote(key, safe="/~"), hashlib.sha256(body).hexdigest()
        headers: Any = {**self.headers, "x-amz-date": at, "x-amz-content-sha256": digest}
        if by.token:
            headers["x-amz-security-token"] = by.token
        signed = {**headers, "host": self.host}
        signed.pop("user-agent", None)
        names = ";".join(sorted(signed))
        said = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        asked = query if "=" in query or not query else f"{query}="
        canonical = f"{method}\n{urlsplit(path).path}\n{asked}\n{said}\n{names}\n{digest}"
        scope = f"{at[:8]}/{self.scope}"
        secret = f"AWS4{by.secret_key}".encode()
        for word in scope.split("/"):
            secret = hmac.digest(secret, word.encode(), "sha256")
        text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(secret, text.encode(), "sha256").hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={by.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return AWSPreparedRequest(method, f"{path}?{query}" if query else path, headers, body, stream_output=False)


class Quick:
    """Four methods of a client for the objects of one bucket, which may be called from many threads.

    All calls of a method must say the same but for key, body, upload and parts.
    """

    def __init__(self, client: S3Client) -> None:
        self._client: Any = client
        self._forms: dict[str, _Form] = {}
        self._last = threading.local()
        client.meta.events.register_first("before-send.s3", self._note)

    def put_object(self, **given: Any) -> dict[str, str]:
        """Write an object."""
        return self._ask(self._client.put_object, "PUT", "", given["Body"], lambda _: {}, given)

    def create_multipart_upload(self, **given: Any) -> dict[str, str]:
        """Begin an upload; returns its `UploadId`."""

        def found(answer: AWSResponse) -> dict[str, str] | None:
            name = _UPLOAD_ID.search(answer.content)
            return {"UploadId": unescape(name[1].decode())} if name else None

        return self._ask(self._client.create_multipart_upload, "POST", "uploads", b"", found, given)

    def upload_part(self, **given: Any) -> dict[str, str]:
        """Upload a part; returns its `ETag`."""

        def found(answer: AWSResponse) -> dict[str, str] | None:
            tag = answer.headers.get("ETag")
            return {"ETag": tag} if tag else None

        query = f"partNumber={given['PartNumber']}&uploadId={quote(given['UploadId'], safe='')}"
        return self._ask(self._client.upload_part, "PUT", query, given["Body"], found, given)

    def complete_multipart_upload(self, **given: Any) -> dict[str, str]:
        """Make an upload visible. A server may say 200 first and then find that it failed."""
        parts = given["MultipartUpload"]["Parts"]
        body = _PARTS.format("".join(_PART.format(escape(part["ETag"]), part["PartNumber"]) for part in parts))
        query = f"uploadId={quote(given['UploadId'], safe='')}"
        return self._ask(
            self._client.complete_multipart_upload, "POST", query, body.encode(),
            lambda answer: {} if _COMPLETED.search(answer.content) else None, given,
        )  # fmt: skip

    def _ask(
        self, boto: Callable[..., Any], method: str, query: str, body: bytes, found: Found, given: dict[str, Any]
    ) -> dict[str, str]:
        kind = boto.__name__
        if (form := self._forms.get(kind)) is not None:
            answer = self._send(form.request(method, given["Key"], query, body, self._who(), _now()))
            made = found(answer) if answer.status_code == 200 else None
            if made is not None:
                return made
            self._forms.pop(kind, None)
        self._last.request = None
        told: dict[str, str] = boto(**given)
        if (form := self._learned(self._last.request, given["Key"], query, body)) is not None:
            self._forms[kind] = form
        return told

    def _send(self, request: AWSPreparedRequest) -> AWSResponse:
        """Send as botocore's endpoint does, with its event. Raises what botocore raises for answers that are lost."""
        instead: AWSResponse | None = self._client.meta.events.emit_until_response("before-send.s3", request=request)[1]
        sent: Callable[[AWSPreparedRequest], AWSResponse] = self._client._endpoint.http_session.send
        return instead if instead is not None else sent(request)

    def _note(self, request: AWSPreparedRequest, **_: Any) -> None:
        self._last.request = request

    def _who(self) -> ReadOnlyCredentials:
        frozen: ReadOnlyCredentials = self._client._get_credentials().get_frozen_credentials()
        return frozen

    def _learned(self, request: AWSPreparedRequest | None, key: str, query: str, body: bytes) -> _Form | None:
        """Return the form of a request of botocore's; None if it is none that can be imitated."""
        if request is None:
            return None
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        path = quote(key, safe="/~")
        url, authorization = request.url.partition("?")[0], headers.get("authorization", "")
        scope = authorization.partition("Credential=")[2].partition(",")[0].split("/")[2:]
        if not url.endswith(f"/{path}") or set(headers) - _OWN - _SHARED:
            return None
        parts = urlsplit(url)
        host = (parts.hostname or "") + (f":{parts.port}" if parts.port not in (None, 80, 443) else "")
        shared = {name: value for name, value in headers.items() if name in _SHARED}
        form = _Form(url.removesuffix(path), host, "/".join(scope), shared)
        body = request.body if isinstance(request.body, bytes) else body  # or a file of the same bytes
        again = form.request(request.method, key, query, body, self._who(), headers.get("x-amz-date", ""))
        return form if again.headers["authorization"] == authorization else None


def _now() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
