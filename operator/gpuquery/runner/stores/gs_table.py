"""A table in Google Cloud Storage, by its JSON API.

An upload is a folder below the attempt's staging, with one object for each piece. `complete` puts the pieces together
on the store's side (`objects.compose`: at most 32 at a time, so in several rounds if there are more) under the final
name, only if nothing has that name (`ifGenerationMatch=0`), and then deletes the pieces. Why not otherwise:

- A resumable upload takes its bytes in order, and ends after a week. Its URL opens it to everyone who has it, and the
  URL would have to stand in the pending set. Nobody can list what was begun.
- The XML API has multipart uploads like those of S3. Completing one overwrites whatever has the name ("This request
  overwrites any existing object", cloud.google.com/storage/docs/multipart-uploads), and takes no condition.

The price: 1 request of class A for each 32 pieces, pieces are listed with all that is staged, and a bucket with soft
deletion (Google's default: 7 days) keeps, and bills, each deleted piece that long. Parts of an XML upload cost as much
while they are there.

Pieces are deleted before a version counts as published, first those that were uploaded, then what was put together of
them. So whoever comes late with the same upload finds nothing to put together, and what a later version has deleted
cannot come back.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import secrets
from collections import defaultdict
from datetime import datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.stores.base import STAGING, Dangling, Location, Piece, Store, Stored, checked, updated
from gpuquery.runner.stores.rest import MAX_TOLD, Answer, Request, Rest, Told, Words

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from gpuquery.runner.stores.rest import RefusedError

GOOGLE = "https://storage.googleapis.com"
MOST = 32
"""The most that are put together at once (cloud.google.com/storage/docs/composite-objects)."""
MAX_KEY_BYTES = 1024
_MISSING = (404,)
_OWN = re.compile(r"\.[0-9a-f]{16}\.up")
_PIECE = re.compile(rf"(?P<upload>{STAGING}[^/]+/[0-9]+/(?P<name>[^/]+)\.[0-9a-f]{{16}}\.up)/[0-9]{{5}}")
_BUSY = {"rateLimitExceeded", "userRateLimitExceeded", "backendError", "internalError"}


class GsStore(Store):
    """The objects below one prefix of a bucket."""

    threads = 16
    lost = "did a lifecycle rule of the bucket, or somebody, delete objects below _staging/?"

    def __init__(self, place: Location, endpoint: str | None, staging: str, rest: Rest) -> None:
        """`staging` is the key of the folder for this attempt's uploads."""
        self._root = f"{place.prefix}/" if place.prefix else ""
        self._uri = place.uri
        base, bucket = (endpoint or GOOGLE).rstrip("/"), quote(place.bucket, safe="")
        self._objects = f"{base}/storage/v1/b/{bucket}/o"
        self._uploads = f"{base}/upload/storage/v1/b/{bucket}/o"
        self._staging = staging
        self._rest = rest

    def get(self, key: str) -> bytes | None:
        """Read an object; None if there is none."""
        found = self._ask("reading", key, Request("GET", self._object(key, alt="media")), _MISSING)
        return None if found.status == 404 else found.body

    def put(self, key: str, body: bytes) -> None:
        """Write an object."""
        self._write(key, body)

    def create(self, key: str, body: bytes) -> bool:
        """Write an object if there is none."""
        return self._write(key, body, ifGenerationMatch="0").status != 412

    def update(self, key: str, change: Callable[[bytes | None], bytes | None]) -> bool:
        """Write over just the generation that was read."""

        def once() -> bool | None:
            known = self._ask("reading", key, Request("GET", self._object(key, fields="generation")), _MISSING)
            generation = "0" if known.status == 404 else str(json.loads(known.body)["generation"])
            at = self._object(key, alt="media", generation=generation)
            found = None if known.status == 404 else self._ask("reading", key, Request("GET", at), _MISSING)
            if found is not None and found.status == 404:
                return None  # it has another generation by now
            if (made := change(None if found is None else found.body)) is None:
                return False
            return self._write(key, made, ifGenerationMatch=generation).status < 300 or None

        return updated(once, f"{self._uri}/{key}")

    def size(self, key: str) -> int | None:
        """Size of an object in bytes; None if there is none."""
        found = self._ask("looking for", key, Request("GET", self._object(key, fields="size")), _MISSING)
        return None if found.status == 404 else int(json.loads(found.body)["size"])

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """List all objects whose key begins with `prefix` and sorts after `after`."""
        given = {"prefix": self._key(prefix.rstrip("/")) + "/", "fields": "items(name,size,timeCreated),nextPageToken"}
        if after:
            given["startOffset"] = self._root + after
        while True:
            page = json.loads(
                self._rest.ask(f"listing {self._uri}/{prefix}", Request("GET", _url(self._objects, given))).body
            )
            for item in page.get("items", ()):
                key = item["name"].removeprefix(self._root)
                if key > after:
                    yield Stored(key, int(item["size"]), datetime.fromisoformat(item["timeCreated"]).timestamp())
            if not (token := page.get("nextPageToken")):
                return
            given["pageToken"] = token

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, one by one: the API's batches take as many operations."""
        self.parallel(lambda key: self._ask("deleting", key, Request("DELETE", self._object(key)), _MISSING), keys)

    def begin(self, key: str) -> str:
        """Name the folder of an upload; it comes into being with its first piece."""
        return f"{self._staging}/{PurePosixPath(key).name}.{secrets.token_hex(8)}.up"

    def upload(self, key: str, upload_id: str, piece: Piece) -> str:
        """Write one piece; returns its MD5, which the store has found too."""
        at = _url(self._uploads, {"uploadType": "media", "name": self._key(_piece(upload_id, piece.number))})
        digest = hashlib.md5(piece.body, usedforsecurity=False).digest()
        kind = {"Content-Type": "application/octet-stream"}
        for _ in range(3):
            answer = self._ask("uploading", key, Request("POST", at, piece.body, kind))
            if json.loads(answer.body).get("md5Hash") == base64.b64encode(digest).decode():
                return digest.hex()
        raise JobError(
            Failure.STORAGE_UNAVAILABLE, f"uploading {self._uri}/{key}: other bytes arrive than were sent, three times"
        )

    def complete(self, key: str, upload_id: str, pieces: Sequence[str]) -> bool:
        """Put the pieces together under the final name."""
        rounds = _rounds(upload_id, len(pieces))
        for sources, target in itertools.pairwise(rounds):
            for number, name in enumerate(target):
                if not self._compose(key, upload_id, sources[number * MOST : (number + 1) * MOST], name):
                    return False
        done = self._compose(key, upload_id, rounds[-1], key, ifGenerationMatch="0")
        for names in rounds if done is not False else ():
            self.delete(names)
        return bool(done)

    def abort(self, key: str, upload_id: str) -> None:
        """Delete the pieces."""
        self.delete([item.key for item in self.list(f"{upload_id}/")])

    def can_be(self, upload_id: str, key: str, staging: str) -> bool:
        """Whether an upload of this id can have been begun for a key, with pieces below `staging`."""
        begun = f"{staging}/{PurePosixPath(key).name}"
        return upload_id.startswith(begun) and bool(_OWN.fullmatch(upload_id[len(begun) :]))

    def dangling(self, below: str = "") -> Iterable[Dangling]:
        """List the uploads of all attempts that have pieces."""
        found: dict[tuple[str, str], list[float]] = defaultdict(list)
        for item in self.list(STAGING):
            if piece := _PIECE.fullmatch(item.key):
                found[piece["name"], piece["upload"]].append(item.modified)
        return [Dangling(name, upload, min(times), len(times)) for (name, upload), times in found.items()]

    def check_key(self, key: str) -> None:
        """Refuse a key that the store cannot hold."""
        if (length := len((self._root + key).encode())) > MAX_KEY_BYTES:
            raise JobError(
                Failure.OUTPUT_LIMIT,
                f"an object's name has at most {MAX_KEY_BYTES} bytes in Google Cloud Storage, but the path of a "
                f"partition needs {length}: {key[:120]!r}...; partition by a column with shorter values (they are "
                "percent-encoded)",
            )

    def check_free(self, key: str) -> None:
        """Do nothing: what has a name is an object, and nothing stands on the way to it."""

    def _write(self, key: str, body: bytes, **condition: str) -> Answer:
        """Write a small object with its name in one request (`uploadType=multipart`)."""
        named = json.dumps({"name": self._key(key)}).encode()
        boundary = secrets.token_hex(16)  # nobody who chooses the bytes knows it
        edge = f"--{boundary}".encode()
        kinds = (b"application/json; charset=UTF-8", b"application/octet-stream")
        parts = [
            b"%s\r\nContent-Type: %s\r\n\r\n%s\r\n" % (edge, *part) for part in zip(kinds, (named, body), strict=True)
        ]
        at = _url(self._uploads, {"uploadType": "multipart", **condition})
        kind = {"Content-Type": f"multipart/related; boundary={boundary}"}
        request = Request("POST", at, b"".join([*parts, edge, b"--"]), kind)
        return self._ask("creating" if condition else "writing", key, request, (412,) if condition else ())

    def _compose(self, key: str, upload_id: str, sources: Sequence[str], target: str, **condition: str) -> bool | None:
        """Put objects together; None if the target is there already, False if a source is not."""
        body = {
            "sourceObjects": [{"name": self._key(name)} for name in sources],
            "destination": {"contentType": "application/vnd.apache.parquet"},
        }
        gone = False

        def again(_: RefusedError) -> bool:
            # The fake GCS server answers 500, not 404, where a source is missing.
            nonlocal gone
            there = {item.key for item in self.list(f"{upload_id}/")}
            gone = not there.issuperset(sources)
            return not gone

        kind = {"Content-Type": "application/json"}
        request = Request("POST", _url(f"{self._object(target)}/compose", condition), json.dumps(body).encode(), kind)
        try:
            answer = self._ask("completing the upload of", key, request, (404, 412), again=again)
        except JobError:
            if gone:
                return False
            raise
        return None if answer.status == 412 else answer.status != 404

    def _ask(self, doing: str, key: str, request: Request, okay: Collection[int] = (), **more: Any) -> Answer:
        """Ask about one object; `okay` are statuses that are answers."""
        return self._rest.ask(f"{doing} {self._uri}/{key}", request, okay=lambda status, _: status in okay, **more)

    def _object(self, key: str, **given: str) -> str:
        return _url(f"{self._objects}/{quote(self._key(key), safe='')}", given)

    def _key(self, key: str) -> str:
        return self._root + checked(key)


def _piece(upload_id: str, number: int) -> str:
    return f"{upload_id}/{number:05d}"


def _rounds(upload_id: str, pieces: int) -> list[list[str]]:
    """Return the names of the pieces, and for each round what is put together of the names before, up to 32 at last."""
    rounds = [[_piece(upload_id, number) for number in range(1, pieces + 1)]]
    while len(rounds[-1]) > MOST:
        count = -(-len(rounds[-1]) // MOST)
        rounds.append([f"{upload_id}/{len(rounds)}-{number:05d}" for number in range(1, count + 1)])
    return rounds


def _url(base: str, given: dict[str, str]) -> str:
    return f"{base}?{urlencode(given)}" if given else base


def _told(answer: Answer) -> Told:
    """Read an error of the JSON API, which has a text in some places."""
    body = answer.body[:MAX_TOLD].decode(errors="replace")
    try:
        error = json.loads(body)["error"]
        return Told(str((error.get("errors") or [{}])[0].get("reason", "")), str(error.get("message", "")))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return Told("", body)


WORDS = Words(
    _told,
    no_bucket=lambda told: "specified bucket does not exist" in told.message,
    busy=lambda told: told.code in _BUSY,
)
