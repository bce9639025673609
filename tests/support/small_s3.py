"""An S3 in a few lines, in memory, which remembers what it is asked: for what a request says, not for what S3 does.

It answers as a proxy of the environment, for every host, so that addresses like `bucket.s3.example.com` need no DNS.
"""

from __future__ import annotations

import contextlib
import hashlib
import urllib.parse
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.recorder import Answer, Asked, Recorder, recording

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class SmallS3:
    """Objects and uploads of one bucket."""

    bucket: str
    objects: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)

    def key(self, asked: Asked) -> str:
        """The key, whether the bucket is in the host or in the path."""
        parts = urllib.parse.urlsplit(asked.url)
        path = urllib.parse.unquote(parts.path).lstrip("/")
        return path if (parts.hostname or "").startswith(f"{self.bucket}.") else path.partition("/")[2]

    def answer(self, asked: Asked) -> Answer:
        """Do what is asked."""
        key, query, tag = self.key(asked), asked.query, {"ETag": f'"{hashlib.md5(asked.body).hexdigest()}"'}
        match asked.method:
            case "PUT" if "uploadId" in query:
                self.uploads[query["uploadId"]][int(query["partNumber"])] = asked.body
                return 200, tag, b""
            case "PUT":
                if asked.headers.get("if-none-match") == "*" and key in self.objects:
                    return 412, {}, b"<Error><Code>PreconditionFailed</Code></Error>"
                self.objects[key] = asked.body
                return 200, tag, b""
            case "POST" if "uploads" in query:
                upload_id = f"u{len(self.uploads)}"
                self.uploads[upload_id] = {}
                return 200, {}, _xml("InitiateMultipartUploadResult", f"<UploadId>{upload_id}</UploadId>")
            case "POST" if "uploadId" in query:
                parts = self.uploads.pop(query["uploadId"])
                self.objects[key] = b"".join(parts[number] for number in sorted(parts))
                return 200, {}, _xml("CompleteMultipartUploadResult", "<ETag>x</ETag>")
            case "POST":
                for one in ET.fromstring(asked.body).iter():
                    if one.tag.endswith("}Key"):
                        self.objects.pop(str(one.text), None)
                return 200, {}, _xml("DeleteResult", "")
            case "GET" if "uploads" in query:
                return 200, {}, _xml("ListMultipartUploadsResult", "")
            case "GET" if not key:
                found = sorted(k for k in self.objects if k.startswith(query["prefix"]))
                return 200, {}, _xml("ListBucketResult", "".join(map(self._listed, found)))
            case _ if key in self.objects:
                return 200, tag, self.objects[key]
            case _:
                return 404, {}, b"<Error><Code>NoSuchKey</Code></Error>"

    def _listed(self, key: str) -> str:
        shown = f"<Key>{key}</Key><Size>{len(self.objects[key])}</Size>"
        return f"<Contents>{shown}<LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"


def _xml(name: str, inside: str) -> bytes:
    return f"<{name} xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>{inside}</{name}>".encode()


@contextlib.contextmanager
def serving(bucket: str) -> Iterator[tuple[SmallS3, Recorder]]:
    """Serve a bucket."""
    made = SmallS3(bucket)
    with recording(made.answer) as recorder:
        yield made, recorder
