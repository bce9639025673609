"""An S3 server in memory, as botocore sees it: requests in, answers out, without a network.

It knows what the runner asks of S3, and answers as AWS documents it: conditional PUT, multipart uploads that nobody
sees, listings in pages. `earlier` lets listings lag behind. It checks no signatures.
"""

from __future__ import annotations

import hashlib
import re
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from botocore.awsrequest import AWSResponse
from urllib3 import HTTPResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PAGE = 5
"""Objects or uploads in one answer to a listing: few, so that there are several pages."""


@dataclass(frozen=True)
class Asked:
    """A request."""

    method: str
    key: str
    """Without the bucket; empty if the bucket itself is meant."""
    query: Mapping[str, str]
    body: bytes = b""
    only_new: bool = False
    """If-None-Match: *."""
    only_over: str = ""
    """If-Match: the ETag of what is replaced."""

    @property
    def lists(self) -> bool:
        """Whether it is a listing."""
        return self.method == "GET" and not self.key

    def __str__(self) -> str:
        told = "&".join(f"{name}={value}" if value else name for name, value in self.query.items())
        return f"{self.method} {self.key}?{told}"


@dataclass(frozen=True)
class Answer:
    """What the server says."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def read(request: Any) -> Asked:
    """Take a request of botocore apart."""
    parts = urlsplit(request.url)
    query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    body = request.body or b""
    body = body if isinstance(body, bytes) else body.read()
    headers = {name.lower(): value for name, value in request.headers.items()}
    over = headers.get("if-match", b"")
    return Asked(
        request.method, unquote(parts.path.lstrip("/").partition("/")[2]), query, body, "if-none-match" in headers,
        over.decode() if isinstance(over, bytes) else over,
    )  # fmt: skip


def written(request: Any, answer: Answer) -> AWSResponse:
    """Make of an answer what botocore's session returns."""
    headers = {"Content-Length": str(len(answer.body)), **answer.headers}
    body = BytesIO(b"" if request.method == "HEAD" else answer.body)
    raw = HTTPResponse(body, headers, answer.status, preload_content=False, request_method=request.method)
    return AWSResponse(request.url, answer.status, raw.headers, raw)


def refusal(status: int, code: str) -> Answer:
    """An error of S3."""
    return Answer(status, f"<Error><Code>{code}</Code><Message>injected or real</Message></Error>".encode())


@dataclass(frozen=True)
class _Sight:
    objects: Mapping[str, int]
    uploads: Mapping[str, str]


class MemoryS3:
    """One bucket. Its methods may be called from any thread."""

    def __init__(self, appeared: Callable[[str], None] = lambda _: None, *, age: float = 0) -> None:
        """`appeared` is told the key of each object that an upload has become, before anybody sees it.

        All uploads look as if they had been begun `age` seconds ago, and all objects as if they were new.
        """
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, tuple[str, dict[int, bytes]]] = {}
        self._appeared = appeared
        self._age = age
        self._begun = 0
        self._lock = threading.RLock()
        self._sights: list[_Sight] = []

    def answer(self, asked: Asked, *, earlier: int = 0) -> Answer:
        """Do what is asked. A listing shows what was there that many changes ago."""
        with self._lock:
            if asked.lists:
                return self._listed(asked, earlier)
            if asked.method in ("GET", "HEAD"):
                return self._read(asked)
            try:
                return self._change(asked)
            finally:
                self._sights.append(self._sight())

    def _sight(self) -> _Sight:
        sizes = {key: len(body) for key, body in self.objects.items()}
        return _Sight(sizes, {upload: key for upload, (key, _) in self.uploads.items()})

    def _read(self, asked: Asked) -> Answer:
        body = self.objects.get(asked.key)
        if body is None:
            return refusal(404, "NoSuchKey") if asked.method == "GET" else Answer(404)
        headers = {"Content-Length": str(len(body)), "ETag": _tag(body)}
        return Answer(200, body, headers)

    def _change(self, asked: Asked) -> Answer:
        match asked.method, *(name in asked.query for name in ("uploads", "uploadId", "delete")):
            case "POST", True, _, _:
                return self._begin(asked.key)
            case "PUT", _, True, _:
                return self._piece(asked)
            case "POST", _, True, _:
                return self._complete(asked)
            case "DELETE", _, True, _:
                gone = self.uploads.pop(asked.query["uploadId"], None)
                return Answer(204) if gone else refusal(404, "NoSuchUpload")
            case "POST", _, _, True:
                for key in re.findall(r"<Key>(.*?)</Key>", asked.body.decode()):
                    self.objects.pop(_unescaped(key), None)
                return Answer(200, b"<DeleteResult/>")
            case "PUT", *_:
                if asked.only_new and asked.key in self.objects:
                    return refusal(412, "PreconditionFailed")
                if asked.only_over and asked.key not in self.objects:
                    return refusal(404, "NoSuchKey")
                if asked.only_over and asked.only_over != _tag(self.objects[asked.key]):
                    return refusal(412, "PreconditionFailed")
                self.objects[asked.key] = asked.body
                return Answer(200, b"", {"ETag": _tag(asked.body)})
        raise AssertionError(f"nobody asks S3 for {asked}")

    def _begin(self, key: str) -> Answer:
        self._begun += 1
        upload = f"upload-{self._begun}"
        self.uploads[upload] = (key, {})
        made = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
        return Answer(200, made.encode())

    def _piece(self, asked: Asked) -> Answer:
        found = self.uploads.get(asked.query["uploadId"])
        if found is None:
            return refusal(404, "NoSuchUpload")
        found[1][int(asked.query["partNumber"])] = asked.body
        return Answer(200, b"", {"ETag": _tag(asked.body)})

    def _complete(self, asked: Asked) -> Answer:
        found = self.uploads.get(asked.query["uploadId"])
        if found is None:
            return refusal(404, "NoSuchUpload")
        key, pieces = found
        numbers = [int(number) for number in re.findall(rb"<PartNumber>(\d+)</PartNumber>", asked.body)]
        tags = [_unescaped(tag) for tag in re.findall(r"<ETag>(.*?)</ETag>", asked.body.decode())]
        if key != asked.key or [_tag(pieces.get(number, b"\0")) for number in numbers] != tags:
            return refusal(400, "InvalidPart")
        del self.uploads[asked.query["uploadId"]]
        self._appeared(key)
        self.objects[key] = b"".join(pieces[number] for number in numbers)
        return Answer(200, b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")

    def _listed(self, asked: Asked, earlier: int) -> Answer:
        sights = self._sights[:-earlier] if earlier else self._sights
        sight = sights[-1] if sights else _Sight({}, {})
        prefix = asked.query.get("prefix", "")
        if "uploads" in asked.query:
            begun = _moment(self._age)
            after = (asked.query.get("key-marker", ""), asked.query.get("upload-id-marker", ""))
            found = sorted((key, upload) for upload, key in sight.uploads.items() if key.startswith(prefix))
            found = [one for one in found if one > after]
            items = "".join(
                f"<Upload><Key>{escape(key)}</Key><UploadId>{upload}</UploadId><Initiated>{begun}</Initiated></Upload>"
                for key, upload in found[:PAGE]
            )
            if more := len(found) > PAGE:
                key, upload = found[PAGE - 1]
                items += (
                    f"<NextKeyMarker>{escape(key)}</NextKeyMarker><NextUploadIdMarker>{upload}</NextUploadIdMarker>"
                )
            return _page("ListMultipartUploadsResult", items, more)
        start = asked.query.get("start-after", "")
        keys = sorted(key for key in sight.objects if key.startswith(prefix) and key > start)
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{sight.objects[key]}</Size><LastModified>{_moment()}</LastModified>"
            "</Contents>"
            for key in keys[:PAGE]
        )
        return _page("ListBucketResult", items, len(keys) > PAGE)


def _moment(age: float = 0) -> str:
    return (datetime.now(UTC) - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _page(kind: str, items: str, more: bool) -> Answer:
    return Answer(200, f"<{kind}><IsTruncated>{str(more).lower()}</IsTruncated>{items}</{kind}>".encode())


def _tag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def _unescaped(text: str) -> str:
    return ElementTree.fromstring(f"<a>{text}</a>").text or ""
