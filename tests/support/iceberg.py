"""An Iceberg REST catalog on this machine, and writers of deletes that pyiceberg reads but cannot write.

The server answers for tables of a catalog in a file. It can be told to refuse, or to ask for a token.
"""

import json
import os
import socket
import struct
import threading
import uuid
import zlib
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.avro.file import AvroOutputFile
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import CommitTableRequest
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER, SortOrder
from pyiceberg.typedef import Record
from pyroaring import BitMap64

from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import inputs

PATH_ID, POS_ID = 2147483546, 2147483545


class Lake:
    """A catalog `lake` with a server before it."""

    def __init__(self, folder, **properties):
        self.folder = folder
        given = {"warehouse": f"file://{folder}/warehouse", **properties}
        self.catalog = SqlCatalog("lake", uri=f"sqlite:///{folder}/catalog.db", **given)
        self.catalog.create_namespace("sales")
        self.token = None
        self.oauth = None
        self.status = None
        self.config = {}
        self.vended = list
        """Makes the `storage-credentials` of a table, each time that it is loaded."""
        self.edit = lambda metadata: metadata
        self.fault = lambda when, parts: None
        """Answers to a request that changes something, `before` or `after` the catalog does: a status and a value, or
        "hang up"; None leaves it to the catalog."""
        self.lock = threading.Lock()
        self.asked = []
        self.requests = []
        """Path with query, and headers, of each GET."""
        self.uri = ""

    @property
    def access(self):
        return StoreAccess(catalogs={"lake": {"uri": self.uri}})

    def client(self):
        """Ask the server as others do."""
        return RestCatalog("lake", uri=self.uri)

    def table(self, schema, **more):
        return self.catalog.create_table("sales.orders", schema, **more)

    def resolve(self, pinned="", **table):
        item = item_of(**table)
        snapshots = {"t": pinned} if pinned else {}
        return inputs.resolve([item], self.access, snapshots)["t"]

    def read(self, **table):
        """All rows, as another rank reads them: by way of JSON."""
        found = {"t": self.resolve(**table)}
        again = inputs.from_json(inputs.to_json(found), [found["t"].item])["t"]
        assert again.digest == found["t"].digest
        frame = again.frame(self.access)
        assert dict(frame.collect_schema()) == dict(again.schema)
        return frame.collect(engine="streaming")


class OAuth:
    """A server of tokens for client credentials (RFC 6749, 4.4): each token opens the catalog for so many requests."""

    def __init__(self, client, secret, *, lasts=1_000):
        self.client, self.secret, self.lasts = client, secret, lasts
        self.forms = []
        self.left = {}

    def issued(self, form):
        self.forms.append(form)
        if (form.get("client_id"), form.get("client_secret")) != (self.client, self.secret):
            what = f"client {form.get('client_id')} with secret {form.get('client_secret')} is not known"
            return 401, {"error": "invalid_client", "error_description": what}
        token = f"token-{len(self.forms)}"
        self.left = {token: self.lasts}
        return 200, {"access_token": token, "token_type": "bearer", "expires_in": 60}

    def takes(self, header):
        token = header.removeprefix("Bearer ")
        self.left[token] = self.left.get(token, 0) - 1
        return self.left[token] >= 0


def item_of(**table):
    table = {"catalog": "lake", "name": "sales.orders", **table}
    return Input.model_validate({"name": "t", "table": table})


@contextmanager
def served(folder, **properties):
    """Serve a lake until the end of the block."""
    lake = Lake(folder, **properties)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(lake))
    lake.uri = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield lake
    finally:
        server.shutdown()
        server.server_close()
        lake.catalog.close()


def _handler(lake):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            lake.asked.append(self.path)
            if "/tables" in self.path:
                self.change(body)
            else:
                form = parse_qs(body)
                self.answer(*lake.oauth.issued({name: values[0] for name, values in form.items()}))

        def do_GET(self):
            path = urlsplit(self.path).path
            lake.asked.append(path)
            lake.requests.append((self.path, dict(self.headers)))
            if lake.oauth and not lake.oauth.takes(self.headers.get("Authorization", "")):
                return self.answer(401, _error("NotAuthorizedException", "the token has expired", 401))
            if lake.status and path != "/v1/config":
                return self.answer(lake.status, _error("Refused", "as asked", lake.status))
            if lake.token and self.headers.get("Authorization") != f"Bearer {lake.token}":
                return self.answer(401, _error("NotAuthorizedException", "the token has expired", 401))
            return self.answer(*_answer(lake, [unquote(part) for part in path.strip("/").split("/")][1:]))

        def change(self, body):
            """Create or commit; a lake's `fault` may answer in place of the catalog, before it or after."""
            parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")][1:]
            said = lake.fault("before", parts)
            if said is None:
                with lake.lock:
                    answer = _changed(lake, parts, body)
                said = lake.fault("after", parts) or answer
            if said == "hang up":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            else:
                self.answer(*said)

        def answer(self, status, value):
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def _error(kind, message, code):
    return {"error": {"type": kind, "message": message, "code": code}}


def _changed(lake, parts, body):
    """Create a table, or commit to one, as the catalog in the file does it."""
    catalog, asked = lake.catalog, json.loads(body)
    try:
        if len(parts) == 3:
            schema, order = Schema.model_validate(asked["schema"]), asked.get("write-order")
            spec = asked.get("partition-spec") or {"spec-id": 0, "fields": []}
            catalog.create_table(
                (parts[1], asked["name"]), schema, properties=asked.get("properties") or {},
                partition_spec=PartitionSpec.model_validate(spec),
                sort_order=SortOrder.model_validate(order) if order else UNSORTED_SORT_ORDER,
            )  # fmt: skip
            return _answer(lake, [*parts, asked["name"]])
        request = CommitTableRequest.model_validate(asked)
        made = catalog.commit_table(catalog.load_table((parts[1], parts[3])), request.requirements, request.updates)
        return 200, json.loads(made.model_dump_json())
    except CommitFailedException as exc:
        return 409, _error("CommitFailedException", str(exc), 409)
    except TableAlreadyExistsError as exc:
        return 409, _error("AlreadyExistsException", str(exc), 409)
    except NoSuchTableError as exc:
        return 404, _error("NoSuchTableException", str(exc), 404)


def _answer(lake, parts):
    catalog = lake.catalog
    match parts:
        case ["config"]:
            return 200, {"defaults": {}, "overrides": {}}
        case ["namespaces"]:
            return 200, {"namespaces": [list(one) for one in catalog.list_namespaces()]}
        case ["namespaces", space, "tables"]:
            if (space,) not in catalog.list_namespaces():
                return 404, _error("NoSuchNamespaceException", space, 404)
            found = [{"namespace": [space], "name": one[-1]} for one in catalog.list_tables(space)]
            return 200, {"identifiers": found}
        case ["namespaces", space, "tables", name]:
            if not catalog.table_exists((space, name)):
                return 404, _error("NoSuchTableException", name, 404)
            table = catalog.load_table((space, name))
            with table.io.new_input(table.metadata_location).open() as file:
                metadata = lake.edit(json.load(file))
            told = {"metadata": metadata, "config": lake.config, "storage-credentials": lake.vended()}
            return 200, {"metadata-location": table.metadata_location, **told}
    return 404, _error("NotFound", "/".join(parts), 404)


class _Entries(ManifestWriterV2):
    """Writes deletes, with the fields of format version 3 where they are needed."""

    def __init__(self, *args, version, content):
        super().__init__(*args)
        self._fields, self._what = version, content

    def content(self):
        return self._what

    @property
    def version(self):
        return self._fields

    def new_writer(self):
        fields = self._with_partition(self.version)
        return AvroOutputFile(self._output_file, fields, "manifest_entry", fields, self._meta)


def add_files(table, files, *, content=ManifestContent.DELETES, version=2):
    """Commit hand-made data files or deletes as one snapshot; returns its id."""
    metadata = table.metadata
    snapshot_id, sequence = uuid.uuid4().int >> 66, metadata.next_sequence_number()
    folder = f"{table.location()}/metadata"
    by_spec = {}
    for one in files:
        by_spec.setdefault(one.spec_id, []).append(one)
    manifests = list(metadata.current_snapshot().manifests(table.io)) if metadata.current_snapshot() else []
    for spec_id, some in by_spec.items():
        output = table.io.new_output(f"{folder}/{uuid.uuid4()}-m0.avro")
        spec, schema = metadata.specs()[spec_id], table.schema()
        with _Entries(spec, schema, output, snapshot_id, "null", version=version, content=content) as writer:
            for one in some:
                entry = ManifestEntry.from_args(
                    status=ManifestEntryStatus.ADDED, snapshot_id=snapshot_id, sequence_number=None,
                    file_sequence_number=None, data_file=one, _table_format_version=version,
                )  # fmt: skip
                writer.add_entry(entry)
        manifests.insert(0, writer.to_manifest_file())
    path = f"{folder}/snap-{snapshot_id}.avro"
    parent = metadata.current_snapshot_id
    listing = write_manifest_list(2, table.io.new_output(path), snapshot_id, parent, sequence, "null")
    with listing as writer:
        writer.add_manifests(manifests)
    snapshot = Snapshot(
        **{"snapshot-id": snapshot_id, "parent-snapshot-id": parent, "sequence-number": sequence,
           "timestamp-ms": metadata.last_updated_ms + 1, "manifest-list": path,
           "schema-id": metadata.current_schema_id},
        summary=Summary(Operation.OVERWRITE),
    )  # fmt: skip
    with table.transaction() as tx:
        from pyiceberg.table.update import AddSnapshotUpdate, SetSnapshotRefUpdate

        tx._apply(
            (
                AddSnapshotUpdate(snapshot=snapshot),
                SetSnapshotRefUpdate(
                    **{
                        "snapshot-id": snapshot_id,
                        "parent-snapshot-id": parent,
                        "ref-name": "main",
                        "type": "branch",
                    }
                ),
            )
        )
    table.refresh()
    return snapshot_id


def file_of(table, path, rows, *, content=DataFileContent.DATA, partition=(), spec_id=None, version=2, **more):
    """Describe a file for a manifest."""
    made = DataFile.from_args(
        content=content, file_path=f"file://{path}", file_format=more.pop("file_format", FileFormat.PARQUET),
        partition=Record(*partition), record_count=rows, file_size_in_bytes=os.path.getsize(path),
        _table_format_version=version, **more,
    )  # fmt: skip
    made.spec_id = table.metadata.default_spec_id if spec_id is None else spec_id
    return made


def with_ids(table, ids):
    """Give the columns of an arrow table field ids, by name."""
    return table.cast(
        pa.schema(
            [
                field.with_metadata({"PARQUET:field_id": str(ids[field.name])}) if field.name in ids else field
                for field in table.schema
            ]
        )
    )


def position_deletes(table, pairs, *, partition=(), spec_id=None):
    """Write a file of positional deletes: (data file, position) in order."""
    path = f"{table.location().removeprefix('file://')}/data/{uuid.uuid4()}-deletes.parquet"
    found = pa.table({"file_path": [p for p, _ in pairs], "pos": pa.array([n for _, n in pairs], pa.int64())})
    pq.write_table(with_ids(found, {"file_path": PATH_ID, "pos": POS_ID}), path)
    return file_of(
        table, path, len(pairs), content=DataFileContent.POSITION_DELETES, partition=partition, spec_id=spec_id
    )


def equality_deletes(table, keys, ids, *, partition=(), spec_id=None):
    """Write a file of equality deletes: an arrow table of keys, and the field id of each of its columns."""
    path = f"{table.location().removeprefix('file://')}/data/{uuid.uuid4()}-equality.parquet"
    pq.write_table(with_ids(keys, ids), path)
    return file_of(
        table, path, keys.num_rows, content=DataFileContent.EQUALITY_DELETES, partition=partition, spec_id=spec_id,
        equality_ids=list(ids.values()),
    )  # fmt: skip


def deletion_vectors(table, deleted, *, partition=()):
    """Write one puffin file of deletion vectors; `deleted` has positions by data file."""
    path = f"{table.location().removeprefix('file://')}/data/{uuid.uuid4()}.puffin"
    body, made, blobs = b"PFA1", [], []
    for name, positions in deleted.items():
        bits = b"\xd1\xd3\x39\x64" + BitMap64(positions).serialize()
        blob = struct.pack(">I", len(bits)) + bits + struct.pack(">I", zlib.crc32(bits))
        made.append((name, len(body), len(blob), len(positions)))
        blobs.append(
            {"type": "deletion-vector-v1", "fields": [], "snapshot-id": -1, "sequence-number": -1,
             "offset": len(body), "length": len(blob), "properties": {"referenced-data-file": name}}
        )  # fmt: skip
        body += blob
    footer = json.dumps({"blobs": blobs, "properties": {}}).encode()
    body += b"PFA1" + footer + struct.pack("<I", len(footer)) + b"\0\0\0\0" + b"PFA1"
    with open(path, "wb") as file:
        file.write(body)
    return [
        file_of(
            table, path, count, content=DataFileContent.POSITION_DELETES, partition=partition, version=3,
            file_format=FileFormat.PUFFIN, referenced_data_file=name, content_offset=offset,
            content_size_in_bytes=length,
        )
        for name, offset, length, count in made
    ]  # fmt: skip


__all__ = [
    "DataFileContent", "FileFormat", "Lake", "ManifestContent", "OAuth", "add_files", "deletion_vectors",
    "equality_deletes", "file_of", "item_of", "position_deletes", "served", "with_ids",
]  # fmt: skip
