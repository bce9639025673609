"""An S3 in a few lines, in memory, which remembers what it is asked: for what a request says, not for what S3 does.

It answers as a proxy of the environment, for every host, so that addresses like `bucket.s3.example.com` need no DNS.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
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
                return self._deleted(asked)
            case "GET" if "uploads" in query:
                return 200, {}, _xml("ListMultipartUploadsResult", "")
            case "GET" if not key:
                listed = self._listed(query.get("prefix", ""), query.get("delimiter", ""))
                return 200, {}, _xml("ListBucketResult", listed)
            case "HEAD" if not key:
                return 200, {}, b""
            case _ if key in self.objects:
                return self._shown(asked, self.objects[key])
            case _:
                return 404, {}, b"<Error><Code>NoSuchKey</Code></Error>"

    def _deleted(self, asked: Asked) -> Answer:
        for one in ET.fromstring(asked.body).iter():
            if one.tag.endswith("}Key"):
                self.objects.pop(str(one.text), None)
        return 200, {}, _xml("DeleteResult", "")

    @staticmethod
    def _shown(asked: Asked, body: bytes) -> Answer:
        told = {
            "ETag": f'"{hashlib.md5(body).hexdigest()}"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
            "Content-Length": str(len(body)),
        }  # fmt: skip
        if (span := re.fullmatch(r"bytes=(\d*)-(\d*)", asked.headers.get("range", ""))) is None:
            return 200, told, body
        first, last = (int(span[1]), int(span[2] or len(body) - 1)) if span[1] else (-int(span[2]), len(body) - 1)
        first, last = max(0, first + len(body)) if first < 0 else first, min(last, len(body) - 1)
        told |= {"Content-Range": f"bytes {first}-{last}/{len(body)}", "Content-Length": str(last - first + 1)}
        return 206, told, body[first : last + 1]

    def _listed(self, prefix: str, delimiter: str) -> str:
        shown, folders = "", set()
        for key in sorted(key for key in self.objects if key.startswith(prefix)):
            name, deeper, _ = key[len(prefix) :].partition(delimiter or "\0")
            if deeper:
                folders.add(f"<CommonPrefixes><Prefix>{prefix}{name}{delimiter}</Prefix></CommonPrefixes>")
                continue
            body = self.objects[key]
            shown += f"<Contents><Key>{key}</Key><Size>{len(body)}</Size><ETag>{hashlib.md5(body).hexdigest()}</ETag>"
            shown += "<LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
        return shown + "".join(sorted(folders))


def _xml(name: str, inside: str) -> bytes:
    return f"<{name} xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>{inside}</{name}>".encode()


@contextlib.contextmanager
def serving(bucket: str) -> Iterator[tuple[SmallS3, Recorder]]:
    """Serve a bucket."""
    made = SmallS3(bucket)
    with recording(made.answer) as recorder:
        yield made, recorder
