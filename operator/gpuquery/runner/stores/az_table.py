"""A table in Azure Blob Storage: block blobs, whose blocks nobody sees before a block list names them.

An upload is what has been staged for a blob under ids that begin with the upload's own (Put Block); `complete` names
them in order, only if there is no such blob (Put Block List with `If-None-Match: *`). The service then drops all other
blocks of the blob, and the ones that are named cannot be named again: whoever comes late gets `InvalidBlockList`.

Nothing drops the blocks of a blob that was never there but a blob in its place, which for a moment would be a broken
file before every reader, and would take the blocks of another attempt too. So `abort` does nothing: Azure drops blocks
a week after the last was staged, and bills them until then
(learn.microsoft.com/rest/api/storageservices/put-block-list, "Remarks").
"""

from __future__ import annotations

import base64
import email.utils
import hashlib
import re
import secrets
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlencode

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.stores.az_signing import VERSION
from gpuquery.runner.stores.base import DATA, Dangling, Location, Piece, Store, Stored, checked, updated
from gpuquery.runner.stores.rest import MAX_TOLD, Answer, Request, Rest, Told, Words

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

MAX_KEY_LETTERS = 1024
MAX_FOLDERS = 254
"""Of the name of a blob (learn.microsoft.com/rest/api/storageservices, "Naming and referencing containers, blobs")."""
_UPLOAD_ID = re.compile(r"[0-9a-f]{16}")
_BLOCK = re.compile(r"(?P<upload>[0-9a-f]{16})[0-9]{5}[0-9a-f]{32}")
_THERE = {"BlobAlreadyExists", "ConditionNotMet"}
_GONE = {"InvalidBlockList", "InvalidBlockId"}
_MISSING = {"BlobNotFound", "ResourceNotFound"}


@dataclass(frozen=True)
class _Request:
    """What is asked of a blob; `okay` are codes that are answers."""

    method: str
    given: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    okay: Collection[str] = ()


class AzStore(Store):
    """The blobs below one prefix of a container."""

    threads = 16
    lost = "did it wait for more than a week? Azure drops blocks then that no blob is made of."

    def __init__(self, place: Location, endpoint: str, rest: Rest) -> None:
        """`endpoint` is the account's."""
        self._root = f"{place.prefix}/" if place.prefix else ""
        self._uri = place.uri
        self._container = f"{endpoint.rstrip('/')}/{quote(place.bucket.partition('@')[0], safe='$')}"
        self._rest = rest

    def get(self, key: str) -> bytes | None:
        """Read a blob; None if there is none."""
        found = self._ask("reading", key, _Request("GET", okay=_MISSING))
        return found.body if found.status < 300 else None

    def put(self, key: str, body: bytes) -> None:
        """Write a blob."""
        self._ask("writing", key, _Request("PUT", body=body, headers={"x-ms-blob-type": "BlockBlob"}))

    def create(self, key: str, body: bytes) -> bool:
        """Write a blob if there is none."""
        headers = {"x-ms-blob-type": "BlockBlob", "If-None-Match": "*"}
        return self._ask("creating", key, _Request("PUT", body=body, headers=headers, okay=_THERE)).status < 300

    def update(self, key: str, change: Callable[[bytes | None], bytes | None]) -> bool:
        """Write over just the blob that was read, by its ETag."""

        def once() -> bool | None:
            found = self._ask("reading", key, _Request("GET", okay=_MISSING))
            there = found.status < 300
            if (made := change(found.body if there else None)) is None:
                return False
            condition = {"If-Match": found.headers["ETag"]} if there else {"If-None-Match": "*"}
            headers = {"x-ms-blob-type": "BlockBlob", **condition}
            request = _Request("PUT", body=made, headers=headers, okay=_THERE)
            return self._ask("updating", key, request).status < 300 or None

        return updated(once, f"{self._uri}/{key}")

    def size(self, key: str) -> int | None:
        """Size of a blob in bytes; None if there is none."""
        found = self._ask("looking for", key, _Request("HEAD", okay=_MISSING))
        return int(found.headers["Content-Length"]) if found.status < 300 else None

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """List all blobs whose name begins with `prefix` and sorts after `after`: the API begins at no name."""
        found = [(key, blob) for key, blob in self._listed(prefix, "metadata") if key > after]
        for key, blob in sorted(found, key=lambda one: one[0]):
            yield Stored(key, int(blob.findtext("Properties/Content-Length") or 0), _modified(blob))

    def delete(self, keys: Sequence[str]) -> None:
        """Delete blobs, one by one."""
        headers = {"x-ms-delete-snapshots": "include"}
        self.parallel(lambda key: self._ask("deleting", key, _Request("DELETE", headers=headers, okay=_MISSING)), keys)

    def begin(self, key: str) -> str:
        """Say what the ids of the upload's blocks begin with."""
        return secrets.token_hex(8)

    def upload(self, key: str, upload_id: str, piece: Piece) -> str:
        """Stage one block; returns its MD5, which the store checks."""
        digest = hashlib.md5(piece.body, usedforsecurity=False)
        headers = {"Content-MD5": base64.b64encode(digest.digest()).decode()}
        given = {"comp": "block", "blockid": _block(upload_id, piece.number, digest.hexdigest())}
        self._ask("uploading", key, _Request("PUT", given, piece.body, headers))
        return digest.hexdigest()

    def complete(self, key: str, upload_id: str, pieces: Sequence[str]) -> bool:
        """Name the blocks."""
        ids = (_block(upload_id, number, digest) for number, digest in enumerate(pieces, 1))
        named = "".join(f"<Uncommitted>{one}</Uncommitted>" for one in ids)
        body = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{named}</BlockList>'.encode()
        headers = {
            "If-None-Match": "*",
            "Content-Type": "application/xml",
            "x-ms-blob-content-type": "application/vnd.apache.parquet",
        }
        request = _Request("PUT", {"comp": "blocklist"}, body, headers, _THERE | _GONE)
        answer = self._ask("completing the upload of", key, request)
        return answer.status < 300

    def abort(self, key: str, upload_id: str) -> None:
        """Leave it to Azure to drop the blocks."""

    def can_be(self, upload_id: str, key: str, staging: str) -> bool:
        """Whether it can be an id at all: the store itself knows to which blob a block belongs."""
        return bool(_UPLOAD_ID.fullmatch(upload_id))

    def dangling(self, below: str = DATA) -> Iterable[Dangling]:
        """List uploads of blobs whose keys begin with `below` and that are not there: a listing shows no bytes.

        Nor does it show of them when a block was last written (learn.microsoft.com/rest/api/storageservices/list-blobs,
        "Uncommitted blobs in the response"). They count as begun now: nothing can be dropped here, and nobody must
        be taken for dead.
        """
        now = time.time()
        empty = [
            (key, _modified(blob) or now)
            for key, blob in self._listed(below, "metadata,uncommittedblobs")
            if not int(blob.findtext("Properties/Content-Length") or 0)
        ]
        return [one for some in self.parallel(lambda one: self._staged(*one), empty) for one in some]

    def check_key(self, key: str) -> None:
        """Refuse a name that no blob can have."""
        name = self._root + key
        if len(name) > MAX_KEY_LETTERS or name.count("/") >= MAX_FOLDERS:
            raise JobError(
                Failure.OUTPUT_LIMIT,
                f"a blob's name has at most {MAX_KEY_LETTERS} letters and {MAX_FOLDERS} parts, but the path of a "
                f"partition needs {len(name)} and {name.count('/') + 1}: {key[:120]!r}...; partition by fewer columns, "
                "or by columns with shorter values (they are percent-encoded)",
            )

    def check_free(self, key: str) -> None:
        """Do nothing: what has a name is a blob, and nothing stands on the way to it."""

    def _staged(self, key: str, modified: float) -> Iterable[Dangling]:
        given = {"comp": "blocklist", "blocklisttype": "uncommitted"}
        answer = self._ask("looking at the blocks of", key, _Request("GET", given, okay=_MISSING))
        if answer.status >= 300:
            return ()
        names = (base64.b64decode(one.text or "").decode("latin-1") for one in _xml(answer).iter("Name"))
        ids = {found["upload"] for name in names if (found := _BLOCK.fullmatch(name))}
        return [Dangling(key, upload_id, modified) for upload_id in sorted(ids)]

    def _listed(self, prefix: str, include: str) -> Iterator[tuple[str, ET.Element]]:
        given = {"restype": "container", "comp": "list", "include": include}
        given["prefix"] = self._key(prefix.rstrip("/")) + "/"
        while True:
            url, headers = f"{self._container}?{urlencode(given)}", {"x-ms-version": VERSION}
            page = _xml(self._rest.ask(f"listing {self._uri}/{prefix}", Request("GET", url, headers=headers)))
            for blob in page.iter("Blob"):
                name = blob.find("Name")
                assert name is not None
                key = unquote(name.text or "") if name.get("Encoded") == "true" else name.text or ""
                if not _is_folder(blob):
                    yield key.removeprefix(self._root), blob
            if not (marker := page.findtext("NextMarker")):
                return
            given["marker"] = marker

    def _ask(self, doing: str, key: str, request: _Request) -> Answer:
        """Ask about one blob."""
        url = f"{self._container}/{quote(self._key(key), safe='/')}"
        url = f"{url}?{urlencode(request.given)}" if request.given else url
        headers = {"x-ms-version": VERSION, **request.headers}
        return self._rest.ask(
            f"{doing} {self._uri}/{key}",
            Request(request.method, url, request.body, headers),
            # An answer to HEAD may have no code.
            okay=lambda status, told: (told.code or {404: "BlobNotFound"}.get(status)) in request.okay,
        )

    def _key(self, key: str) -> str:
        return self._root + checked(key)


def _block(upload_id: str, number: int, digest: str) -> str:
    """Id of a block: those of one blob must be equally long, up to 64 bytes."""
    return base64.b64encode(f"{upload_id}{number:05d}{digest}".encode()).decode()


def _is_folder(blob: ET.Element) -> bool:
    """Whether it stands for a folder, which accounts with a hierarchical namespace list too."""
    kind, marked = blob.findtext("Properties/ResourceType"), blob.findtext("Metadata/hdi_isfolder")
    return kind == "directory" or (marked or "").lower() == "true"


def _modified(blob: ET.Element) -> float:
    text = blob.findtext("Properties/Last-Modified") or blob.findtext("Properties/Creation-Time")
    return email.utils.parsedate_to_datetime(text).timestamp() if text else 0.0


def _xml(answer: Answer) -> ET.Element:
    return ET.fromstring(answer.body.decode("utf-8-sig"))  # noqa: S314  # expat bounds what entities become


def _told(answer: Answer) -> Told:
    """Read an error: its code is a header too, for answers without a body."""
    code, message = answer.headers.get("x-ms-error-code", ""), ""
    try:
        body: Any = ET.fromstring(answer.body[:MAX_TOLD].decode("utf-8-sig"))  # noqa: S314
        code, message = code or body.findtext("Code") or "", (body.findtext("Message") or "").partition("\n")[0]
    except (ET.ParseError, UnicodeDecodeError):
        pass
    return Told(code, message)


WORDS = Words(_told, no_bucket=lambda told: told.code == "ContainerNotFound")
