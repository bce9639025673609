"""An Iceberg REST catalog in memory, as pyiceberg's client sees it: requests in, answers out, without a network.

It knows what the runner asks of a catalog, and keeps the metadata of its tables in the S3 server of `memory_s3.py`.
What a commit requires is checked, and what it updates is done, by pyiceberg. tests/s3/test_iceberg_output.py holds it
against a real one.
"""

from __future__ import annotations

import io
import json
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import requests
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io import FileIO, InputFile
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import CommitTableRequest, Table
from pyiceberg.table.metadata import TableMetadataUtil, new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortOrder
from pyiceberg.table.update import update_table_metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.memory_s3 import MemoryS3

BUCKET = "s3://lake/"
Said = tuple[int, dict[str, Any]]
"""A status, and what is answered as JSON."""


class MemoryCatalog:
    """Tables by name, all in the namespace `sales`, each in the folder `t` of the bucket. For use from any thread."""

    def __init__(self, server: MemoryS3, token: str = "issued") -> None:
        """`token` is what it gives to those who ask for one by OAuth."""
        self._server, self._token = server, token
        self._newest: dict[str, str] = {}
        self._lock = threading.Lock()

    def answer(self, request: requests.PreparedRequest) -> Said:
        """Do what is asked."""
        parts = [unquote(part) for part in urlsplit(request.url or "").path.strip("/").split("/")][1:]
        if parts == ["oauth", "tokens"]:
            return 200, {"access_token": self._token, "token_type": "bearer", "expires_in": 3600}
        asked = json.loads(request.body or b"{}") if request.method == "POST" else {}
        with self._lock:
            match request.method, parts:
                case "GET", ["config"]:
                    return 200, {"defaults": {}, "overrides": {}}
                case "GET", ["namespaces", "sales", "tables"]:
                    return 200, {"identifiers": [{"namespace": ["sales"], "name": name} for name in self._newest]}
                case "GET", ["namespaces", "sales", "tables", name] if name in self._newest:
                    return 200, self._told(name)
                case "POST", ["namespaces", "sales", "tables"]:
                    return self._create(asked)
                case "POST", ["namespaces", "sales", "tables", name] if name in self._newest:
                    return self._commit(name, asked)
                case _, ["namespaces", "sales", "tables", name]:
                    return refusal(404, f"there is no table {name}", "NoSuchTableException")
        raise AssertionError(f"nobody asks a catalog for {request.method} {request.url}")

    def _create(self, asked: Mapping[str, Any]) -> Said:
        if (name := asked["name"]) in self._newest:
            return refusal(409, f"there is a table {name} already", "AlreadyExistsException")
        spec, order = asked.get("partition-spec"), asked.get("write-order")
        made = new_table_metadata(
            Schema.model_validate(asked["schema"]),
            PartitionSpec.model_validate(spec or {"spec-id": 0, "fields": []}),
            SortOrder.model_validate(order) if order else UNSORTED_SORT_ORDER,
            f"{BUCKET}t", asked.get("properties") or {},
        )  # fmt: skip
        self._keep(name, 0, made)
        return 200, self._told(name)

    def _commit(self, name: str, asked: Mapping[str, Any]) -> Said:
        wanted, at = CommitTableRequest.model_validate(asked), self._newest[name]
        metadata = TableMetadataUtil.parse_raw(self._server.objects[at].decode())
        try:
            for one in wanted.requirements:
                one.validate(metadata)
        except CommitFailedException as exc:
            return refusal(409, str(exc), "CommitFailedException")
        made = update_table_metadata(metadata, wanted.updates, metadata_location=BUCKET + at)
        self._keep(name, int(at.rpartition("/")[2][:5]) + 1, made)
        return 200, self._told(name)

    def _keep(self, name: str, number: int, metadata: Any) -> None:
        self._newest[name] = f"t/metadata/{number:05d}-{uuid4()}.metadata.json"
        self._server.objects[self._newest[name]] = metadata.model_dump_json().encode()

    def _told(self, name: str) -> dict[str, Any]:
        at = self._newest[name]
        return {"metadata-location": BUCKET + at, "metadata": json.loads(self._server.objects[at]), "config": {}}


def refusal(status: int, message: str, kind: str = "injected") -> Said:
    """An error, as the REST specification has it."""
    return status, {"error": {"message": message, "type": kind, "code": status}}


def written(request: requests.PreparedRequest, said: Said) -> requests.Response:
    """Make of an answer what requests' session returns."""
    answer = requests.Response()
    answer.status_code, answer.request, answer.url = said[0], request, request.url or ""
    answer.raw = io.BytesIO(json.dumps(said[1]).encode())
    return answer


def table(objects: Mapping[str, bytes]) -> Table:
    """pyiceberg's table of the newest metadata, by the keys and bytes of all objects below the table's folder."""
    key = max(key for key in objects if key.endswith(".metadata.json"))
    found = TableMetadataUtil.parse_raw(objects[key].decode())
    return Table(("sales", "t"), found, f"{BUCKET}t/{key}", _Files(objects), None)  # type: ignore[arg-type]


class _Files(FileIO):
    """Reads objects."""

    def __init__(self, objects: Mapping[str, bytes]) -> None:
        super().__init__()
        self._objects = objects

    def new_input(self, location: str) -> InputFile:
        return _File(location, self._objects[location.removeprefix(f"{BUCKET}t/")])

    def new_output(self, location: str) -> Any:
        raise AssertionError(location)

    delete = new_output


class _File(InputFile):
    def __init__(self, location: str, body: bytes) -> None:
        super().__init__(location)
        self._body = body

    def __len__(self) -> int:
        return len(self._body)

    def exists(self) -> bool:
        return True

    def open(self, seekable: bool = True) -> Any:
        return io.BytesIO(self._body)
