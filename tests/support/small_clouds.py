"""Google's and Azure's stores in a few lines, in memory, as their documentation has them: for schedules of the commit.

They do what no emulator here does: a composition heeds `ifGenerationMatch` and answers 404 for a source that is gone,
and a blob that is written drops the blocks that wait under its name. An actor's request is one step of its schedule.
"""

from __future__ import annotations

import base64
import json
import time
import urllib.parse
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from hashlib import md5
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.stores import az_table, gs_table
from gpuquery.runner.stores.base import Location, staging
from gpuquery.runner.stores.rest import Answer
from tests.support.memory_store import Actor, Content

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuquery.runner.stores.base import Store
    from gpuquery.runner.stores.rest import Request, Words

NO = Answer(404, {}, b"")


def _query(request: Request) -> tuple[str, dict[str, str]]:
    parts = urllib.parse.urlsplit(request.url)
    return parts.path, dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))


def _json(status: int, **body: Any) -> Answer:
    return Answer(status, {}, json.dumps(body).encode())


@dataclass
class SmallGcs:
    """Objects of one bucket (cloud.google.com/storage/docs/json_api)."""

    content: Content = field(default_factory=Content)
    generations: dict[str, str] = field(default_factory=dict)
    words: Words = gs_table.WORDS

    def store(self, uid: str, attempt: int, rest: Any) -> Store:
        return gs_table.GsStore(Location("gs://b", "b", ""), "http://gcs", staging(uid, attempt), rest)

    def left(self) -> list[str]:
        """Pieces that nobody has deleted."""
        return [key for key in self.content.objects if ".up/" in key]

    def answer(self, request: Request) -> Answer:
        (path, given), objects = _query(request), self.content.objects
        name = urllib.parse.unquote(path.partition("/o/")[2].removesuffix("/compose"))
        match request.method:
            case "POST" if path.startswith("/upload/") and given["uploadType"] == "media":
                return self._made(given["name"], request.body, given)
            case "POST" if path.startswith("/upload/"):
                boundary = request.headers["Content-Type"].partition("boundary=")[2].encode()
                _, first, second, _ = request.body.split(b"--" + boundary)
                body = second.partition(b"\r\n\r\n")[2][:-2]
                return self._made(json.loads(first.partition(b"\r\n\r\n")[2])["name"], body, given)
            case "POST":
                sources = [one["name"] for one in json.loads(request.body)["sourceObjects"]]
                assert 1 <= len(sources) <= 32
                if any(source not in objects for source in sources):
                    return NO
                return self._made(name, b"".join(objects[source] for source in sources), given)
            case "GET" if not name:
                return self._listed(given)
            case "DELETE":
                return NO if objects.pop(name, None) is None else Answer(204, {}, b"")
            case _ if name not in objects or given.get("generation", self.generations[name]) != self.generations[name]:
                return NO
            case _ if given.get("alt") == "media":
                return Answer(200, {}, objects[name])
            case _:
                return _json(200, size=str(len(objects[name])), generation=self.generations[name])

    def _made(self, name: str, body: bytes, given: dict[str, str]) -> Answer:
        there = self.generations[name] if name in self.content.objects else "0"
        if given.get("ifGenerationMatch", there) != there:
            return Answer(412, {}, b"")
        self.content.objects[name] = body
        self.generations[name] = f"{time.monotonic_ns()}"
        return _json(200, md5Hash=base64.b64encode(md5(body).digest()).decode())

    def _listed(self, given: dict[str, str]) -> Answer:
        start, now = given.get("startOffset", ""), datetime.now(UTC).isoformat()
        found = sorted(k for k in self.content.objects if k.startswith(given["prefix"]) and k >= start)
        sizes = [{"name": k, "size": str(len(self.content.objects[k])), "timeCreated": now} for k in found]
        return _json(200, items=sizes)


@dataclass
class SmallAzure:
    """Blobs of one container (learn.microsoft.com/rest/api/storageservices)."""

    content: Content = field(default_factory=Content)
    blocks: dict[str, dict[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    words: Words = az_table.WORDS

    def store(self, uid: str, attempt: int, rest: Any) -> Store:
        return az_table.AzStore(Location("az://c", "c", ""), "http://azure", rest)

    def left(self) -> list[str]:
        """Nothing that anybody could delete: blocks are dropped by the service, a week later."""
        return []

    def answer(self, request: Request) -> Answer:
        (path, given), objects = _query(request), self.content.objects
        key = urllib.parse.unquote(path.removeprefix("/c").lstrip("/"))
        new, only = (request.headers.get(name) for name in ("If-None-Match", "If-Match"))
        match request.method, given.get("comp"):
            case "PUT", "block":
                self.blocks.setdefault(key, {})[given["blockid"]] = request.body
                return Answer(201, {}, b"")
            case "PUT", _ if new == "*" and key in objects:
                return self._error(409, "BlobAlreadyExists")
            case "PUT", _ if only is not None and (key not in objects or self.tags[key] != only):
                return self._error(412, "ConditionNotMet")
            case "PUT", "blocklist":
                ids = [str(one.text) for one in ET.fromstring(request.body)]
                staged = self.blocks.get(key, {})
                if not staged.keys() >= set(ids):
                    return self._error(400, "InvalidBlockList")
                objects[key] = b"".join(staged[one] for one in ids)
            case "PUT", _:
                objects[key] = request.body
            case "GET", "list":
                return self._listed(given)
            case "GET", "blocklist" if key in self.blocks:
                named = "".join(f"<Block><Name>{one}</Name></Block>" for one in self.blocks[key])
                return Answer(200, {}, f"<BlockList>{named}</BlockList>".encode())
            case _ if key not in objects:
                return self._error(404, "BlobNotFound")
            case "DELETE", _:
                del objects[key]
                return Answer(202, {}, b"")
            case _:
                return Answer(200, {"Content-Length": str(len(objects[key])), "ETag": self.tags[key]}, objects[key])
        self.blocks.pop(key, None)  # a blob that is written drops all blocks that wait under its name
        self.tags[key] = f"{time.monotonic_ns()}"
        return Answer(201, {}, b"")

    def _listed(self, given: dict[str, str]) -> Answer:
        sizes = dict.fromkeys(self.blocks, 0) if "uncommittedblobs" in given["include"] else {}
        sizes |= {key: len(body) for key, body in self.content.objects.items()}
        now = f"<Last-Modified>{formatdate(time.time(), usegmt=True)}</Last-Modified>"
        # Of a blob that has only uncommitted blocks the service does not tell when it was written.
        shown = "".join(
            f"<Blob><Name>{key}</Name><Properties><Content-Length>{size}</Content-Length>"
            f"{now if key in self.content.objects else ''}</Properties></Blob>"
            for key, size in sorted(sizes.items())
            if key.startswith(given["prefix"])
        )
        return Answer(200, {}, f"<R><Blobs>{shown}</Blobs><NextMarker/></R>".encode())

    @staticmethod
    def _error(status: int, code: str) -> Answer:
        return Answer(status, {"x-ms-error-code": code}, b"")


Cloud = SmallGcs | SmallAzure


class Turned:
    """A store's client whose every request waits for its actor's turn."""

    def __init__(self, cloud: Cloud, turn: Callable[[bool], None]) -> None:
        self._cloud = cloud
        self._turn = turn

    def ask(self, what: str, request: Request, *, okay: Any = lambda *_: False, again: Any = None) -> Answer:
        self._turn(False)
        answer = self._cloud.answer(request)
        self._turn(True)
        told = self._cloud.words.told(answer)
        if answer.status < 300 or okay(answer.status, told):
            return answer
        raise JobError(Failure.INTERNAL_ERROR, f"{what}: {answer.status} {told.code}")


def actor(cloud: Cloud, uid: str, attempt: int, work: Callable[[Any], None]) -> Actor:
    """Return an attempt that does one request for each step."""

    def begin(memory: Any) -> None:
        store: Any = cloud.store(uid, attempt, Turned(cloud, memory._turn))
        store.parallel = lambda call, items: [call(item) for item in items]
        work(store)

    return Actor(cloud.content, begin)
