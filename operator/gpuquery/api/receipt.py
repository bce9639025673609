"""The receipt of a commit: what was run, over what, by what, and what came of it.

It lies as JSON in the output's store (`<root>/_receipts/<job uid>.json`), whatever the table's format is; the status
has a small one. Two of them can be compared (differences.py). Who may write to a table may forge one: it is a claim.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError

from gpuquery.api.schema import Lenient

if TYPE_CHECKING:
    from gpuquery.api.output import Output
    from gpuquery.api.spec import Parameter

RECEIPTS = "_receipts/"
"""The folder of a table that has the receipts of its commits. Readers pass over it, and no listing of the log meets
it."""
MAX_RECEIPT_BYTES = 4 << 20
"""No longer receipt is written or read."""
MAX_VALUE = 256
"""Characters of a parameter or an option that are shown; a longer one is told apart by its digest."""
_SHOWN = 64
SHA256 = "^[0-9a-f]{64}$"
Sha256 = Annotated[str, Field(pattern=SHA256)]
MAX_TEXT = 4096
"""Characters of any text in it."""
MAX_LISTED = 64
"""Warnings, inputs and parameters."""
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Name = Annotated[str, Field(max_length=256)]
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
Seconds = Annotated[float, Field(ge=0, le=1e10, allow_inf_nan=False)]
Few = Field(max_length=256)


class ReceiptJob(Lenient):
    """The job that committed."""

    namespace: Name
    """Its namespace."""
    name: Name
    """Its name."""
    uid: Name
    """Its UID."""

    @property
    def shown(self) -> str:
        """Namespace and name."""
        return f"{self.namespace}/{self.name}"


class ReceiptQuery(Lenient):
    """The query."""

    language: Name
    """sql or python."""
    dialect: Name = ""
    """The SQL dialect; empty for Python."""
    sha256: Sha256
    """SHA-256 of the query in normal form: white space, comments and the case of keywords of SQL do not count, and of
    Python the kind of line ends does not."""
    text: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] = ""
    """SHA-256 of the text as it is. Where it is the same, so is the query, whatever version made the normal form."""


class ReceiptInput(Lenient):
    """What was read of one input."""

    name: Name
    """Its name."""
    place: Text = ""
    """Its place, as the job has it, without credentials."""
    files: Count = 0
    """Number of its files."""
    bytes: Count = 0
    """Bytes of all of them, as they lie in the store."""
    digest: Annotated[str, Field(pattern="^[0-9a-f]{0,64}$")] = ""
    """SHA-256 of the places, sizes and versions of all files. From a status, its first 16 digits."""
    snapshot: Text = ""
    """The snapshot or version of a table; empty for files."""
    reading: Annotated[str, Field(pattern="^[0-9a-f]{0,64}$")] = ""
    """SHA-256 of how it is read: format, types, options, contract."""


class Receipt(Lenient):
    """The whole receipt. What is not known is empty."""

    format: Literal[1] = 1
    """Version of this document."""
    job: ReceiptJob
    """The job that committed."""
    attempt: Count = 0
    """The attempt that committed; 0 if a later one has written this, which knows less."""
    query: ReceiptQuery
    """What was run."""
    parameters: Annotated[Mapping[Name, Text], Few] = {}
    """Type and value of each parameter; of a long one the beginning, the length and the SHA-256."""
    inputs: Annotated[tuple[ReceiptInput, ...], Field(max_length=MAX_LISTED)] = ()
    """What was read."""
    engine: Name = ""
    """The engine."""
    options: Annotated[Mapping[Name, Text], Few] = {}
    """The options of the engine that the job asks for."""
    release: Name = ""
    """RAPIDS release; empty with the engine cpu."""
    software: Annotated[Mapping[Name, Text], Few] = {}
    """Versions of the libraries that decide what comes out."""
    asked: Text = ""
    """The image as the pods' template names it; empty outside of Kubernetes. By digest it is that image for certain,
    by tag whatever the tag was then: see `packages` of `software`."""
    image: Text = ""
    """Digest of the image of the pod that committed, as its kubelet tells: only in what the operator knows."""
    output: Annotated[Mapping[Name, Text], Few] = {}
    """How the result is written: mode, partitionBy, compression, expectations and the like."""
    cluster: Name = ""
    """Cluster shape."""
    gpus: Count = 0
    """GPUs that ran the query."""
    uri: Text = ""
    """The output."""
    version: Count = 0
    """The commit: its version; 0 of an Iceberg table."""
    snapshot: Text = ""
    """The snapshot of an Iceberg table."""
    rows: Count = 0
    """Rows of this commit."""
    bytes: Count = 0
    """Bytes of its files."""
    files: Count = 0
    """Its files."""
    partitions: Count = 0
    """Its partition folders."""
    seconds: Annotated[Mapping[Name, Seconds], Few] = {}
    """Seconds by phase. In the store: planning, running, committing, by the clock of index 0."""
    gpu_seconds: Annotated[Mapping[Name, Seconds], Few] = {}
    """The same, times the GPUs that were held."""
    varies: Text = ""
    """What another run over the same inputs may change: rows, or the last digits of floats. Empty: nothing."""
    warnings: Annotated[tuple[Text, ...], Field(max_length=MAX_LISTED)] = ()
    """What the query's author should know about the result."""
    expectations: Text = ""
    """The expectations that were checked and hold, in a few words."""
    processes: tuple[Mapping[str, Any], ...] = ()
    """What each process contributed, for queries of several."""
    created: datetime | None = None
    """When it was written, by the clock of the pod."""

    @property
    def commit(self) -> str:
        """Which commit it is of, for messages."""
        return f"snapshot {self.snapshot}" if self.snapshot else f"version {self.version}"

    @property
    def key(self) -> str:
        """SHA-256 of all that decides what rows come out and how they are written: equal for the same result."""
        return keyed(self)


class PhaseSeconds(Lenient):
    """Seconds of the phases of a job. Absent: not known, or there was no such phase."""

    queued: Seconds | None = None
    """From when the operator first saw the job until it asked for the first pod, by the operator's clock."""
    preflight: Seconds | None = None
    """The last run of the preflight's own pod, by the operator's clock."""
    wasted: Seconds | None = None
    """The attempts before the last one, of those that `status.attempts` has, by the operator's clock."""
    starting: Seconds | None = None
    """From when the last attempt's pods were asked for until all were ready, by the operator's clock: with the time in
    the queues of Kubernetes."""
    running: Seconds | None = None
    """From then until its last pod had ended, without the commit."""
    committing: Seconds | None = None
    """The commit, by the clock of the pod."""


class ReceiptStatus(Lenient):
    """A small receipt: the parts that the rest of the status does not have. The whole one lies beside the commit."""

    query: Sha256 | None = None
    """SHA-256 of the query in normal form, as the pod tells."""
    key: Sha256 | None = None
    """SHA-256 of all that decides the result (query, parameters, inputs, engine, release, form of the output), as the
    pod tells: two jobs with the same key have the same result, unless the query is not deterministic."""
    image: Annotated[str, Field(max_length=512)] = ""
    """Digest of the image of the pod that committed, as its kubelet tells."""
    gpus: int = 0
    """GPUs that ran the query."""
    seconds: PhaseSeconds = PhaseSeconds()
    """Seconds by phase."""
    gpu_seconds: PhaseSeconds = PhaseSeconds()
    """The same, times the GPUs that the attempt's pods ask for."""
    reused: Annotated[str, Field(max_length=600)] = ""
    """Namespace and name of the job whose commit is the output, where this one has reused it."""


class ReceiptClaim(Lenient):
    """What a pod reports for the small receipt."""

    query: Sha256 | None = None
    """SHA-256 of the query in normal form."""
    key: Sha256 | None = None
    """Key of the receipt."""
    committing: Seconds | None = None
    """Seconds of the commit."""


def unreadable(error: ValidationError) -> str:
    """Say why a document is no receipt, in a few words."""
    first = error.errors(include_url=False)[0]
    if first["loc"] == ("format",) and first["type"] == "literal_error":
        return f"is no receipt that this version of gpuquery reads: its format is {shown_value(str(first['input']))}"
    return f"is no receipt: {shown_value('.'.join(map(str, first['loc'])))}: {first['msg']}"


def shown_value(text: str) -> str:
    """Return a value for a receipt: whole, or its beginning with its length and digest."""
    if len(text) <= MAX_VALUE:
        return text
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{text[:_SHOWN]} ... ({len(text):,} characters, SHA-256 {digest})"


def value_text(value: Any) -> str:
    """Return a value of the spec as a receipt has it, before it is bounded: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def parameter_text(value: Parameter) -> str:
    """Return type and value of a parameter, before it is bounded."""
    return f"{value.kind} {'NULL' if value.null_of else value_text(value.raw)}"


def written(output: Output, kms_key: str | None) -> dict[str, str]:
    """Return the contract of a result, and the key by which the store encrypts it."""
    return {**contract(output), **({"sseKmsKeyId": kms_key} if kms_key else {})}


def contract(output: Output) -> dict[str, str]:
    """Return how a result is written: the fields of `output` but for its place, before they are bounded.

    What becomes of a result that is not written is no part of it.
    """
    fields = output.model_dump(mode="json", by_alias=True, exclude={"uri", "keep_failed"}, exclude_none=True)
    return {name: value_text(value) for name, value in fields.items()}


def keyed(receipt: Receipt) -> str:
    """Return the SHA-256 of the parts that decide the result."""
    parts = {
        "query": [receipt.query.language, receipt.query.dialect, receipt.query.sha256],
        "parameters": dict(receipt.parameters),
        "inputs": [[one.name, one.digest, one.snapshot, one.reading] for one in receipt.inputs],
        "engine": [receipt.engine, receipt.release, dict(receipt.options), dict(receipt.software)],
        "image": image_known(receipt.asked),
        "output": [receipt.uri.rstrip("/"), dict(receipt.output)],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def image_known(reference: str) -> str:
    """Return what is known of an image by its reference: its digest, or else its name and tag."""
    name, _, digest = reference.partition("@")
    return digest or name


def receipt_key(uid: str) -> str:
    """Return the key of a job's receipt in the table's folder."""
    return f"{RECEIPTS}{uid}.json"
