"""The observed state: `status` as frozen models, written only by the operator.

Unknown fields are accepted when it is read: a newer operator may have written them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from gpuquery.api.receipt import ReceiptStatus
from gpuquery.api.reuse import ReuseStatus
from gpuquery.api.schema import Lenient

MAX_ATTEMPTS_SHOWN = 10
MAX_PLAN_SHOWN = 4096
"""Characters of a plan of SQL that the status shows."""
MAX_EXPECTATIONS_SHOWN = 400
"""Characters about the expectations that a result has met."""


class Condition(Lenient):
    """One observation about the job, by the Kubernetes API conventions."""

    type: Annotated[str, Field(max_length=64)]
    """What it is about."""
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$")]
    """True, False or Unknown."""
    reason: Annotated[str, Field(max_length=128)] = ""
    """One word for programs."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """One sentence for people."""
    last_transition_time: datetime | None = None
    """When the status last flipped."""
    observed_generation: int | None = None
    """Generation of the spec that it is about."""


class DaskStatus(Lenient):
    """The Dask cluster that runs the query."""

    way: str
    """Its owner: native (the job's own pods), operator (created by dask-kubernetes) or attach (external)."""
    workers: int
    """Number of workers, one for each GPU; with attach the minimum."""


class PlanStatus(Lenient):
    """What the spec was resolved to."""

    engine: str
    """Execution model."""
    cluster: str
    """Cluster shape."""
    release: str | None = None
    """RAPIDS release."""
    image: str
    """Runtime image."""
    replicas: int
    """Pods."""
    gpus: int
    """GPUs in each pod."""
    dask: DaskStatus | None = None
    """The Dask cluster, if the query runs on one; its workers are in these pods only if it is native."""
    sizing: str | None = None
    """The basis of the number of pods and the sizes, in one sentence."""
    why: str
    """The choice in one sentence."""
    deprecated: str | None = None
    """Fields of the spec that a later version removes, with their successors."""
    default_changes: str | None = None
    """What a coming release will choose differently, if the engine was left open."""
    query_digest: str
    """SHA-256 of the query's text: all attempts run the same text."""
    dialect: str | None = None
    """The SQL dialect of the query; absent for Python."""

    @property
    def workers(self) -> int:
        """GPUs that run the query, wherever they are."""
        return self.dask.workers if self.dask else self.replicas * self.gpus

    @property
    def told(self) -> str:
        """The choice, and what will have to change, for a condition's message."""
        return "; ".join(filter(None, (self.why, self.deprecated, self.default_changes)))


class PreflightStatus(Lenient):
    """Results of checking the query without a GPU."""

    release: str | None = None
    """RAPIDS release in the image."""
    polars: str
    """Version of Polars in the image."""
    files: int = 0
    """Files that the query reads."""
    rows: int = 0
    """Rows in them, before any filter."""
    input_bytes: int = 0
    """Bytes in memory of the columns and row groups that the optimized plan reads."""
    peak_bytes: int = 0
    """Bytes of the estimated working set, with the factors of joins, sorts and groups."""
    io_bound: bool = True
    """Whether reading is expected to take longer than computing."""
    basis: str = ""
    """What the sizes rest on, in one sentence. Empty: they are not known."""
    fallbacks: tuple[str, ...] = ()
    """Parts of the plan that run on one partition whatever the number of GPUs."""
    one_partition: bool = False
    """Whether the result is on one partition: before 26.10 several GPUs of rapidsmpf would each write it."""
    warnings: tuple[str, ...] = ()
    """What the query's author should know before it runs."""
    plan: str = ""
    """How SQL will run, step by step, the result first, as `gpuquery explain` shows it. Empty for Python, and where it
    is longer than 4,096 characters."""
    inputs_digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """SHA-256 of the list of inputs that a preflight's pod has left in the output's store, for the attempts."""
    finished: datetime | None = None
    """When it ended, by the clock of its node."""


class InputStatus(Lenient):
    """What was read of one input."""

    name: Annotated[str, Field(max_length=63)]
    """Its name."""
    files: Annotated[int, Field(ge=0)] = 0
    """Number of its files."""
    bytes: Annotated[int, Field(ge=0)] = 0
    """Bytes of all of them, as they lie in the store."""
    digest: Annotated[str, Field(max_length=64)] = ""
    """SHA-256 of the places, sizes and versions of all files, shortened to 16 digits: equal if they are."""
    snapshot: Annotated[str, Field(max_length=256)] = ""
    """The snapshot or version of a table, which all attempts read; empty for files."""


class PreflightRun(Lenient):
    """The last run of the preflight's own pod."""

    id: int
    """Number of the run, from 1. Runs are no attempts."""
    started: datetime
    """When its pod was asked for."""
    ended: datetime | None = None
    """When the operator saw that its pod had ended."""
    reason: str | None = None
    """Class of its failure: what it found, or why it did not come to an end."""
    message: str | None = None
    """First cause of its failure."""
    exit_code: int | None = None
    """Exit code of its container."""
    node: str | None = None
    """Node of its pod."""
    counted_failures: int = 0
    """Failed runs up to this one that count against `backoffLimit`; attempts are counted apart."""
    suspended: int = 0
    """Runs up to this one that were ended by `spec.suspend`, and count against nothing."""
    query_digest: str | None = None
    """SHA-256 of the query's text that it checks: the attempts run the same."""


class AttemptStatus(Lenient):
    """One attempt to run the query."""

    id: int
    """Number of the attempt, from 1."""
    started: datetime
    """When its pods were asked for."""
    ready: datetime | None = None
    """When the operator saw that all its pods were ready."""
    ended: datetime | None = None
    """When the operator saw that its last pod had ended."""
    reason: str | None = None
    """Class of its failure."""
    message: str | None = None
    """First cause of its failure."""
    exit_code: int | None = None
    """Exit code of its container."""
    node: str | None = None
    """Node of its first pod; of one that failed, that of the pod that failed first."""
    partition_bytes: int | None = None
    """Bytes of the engine's partitions, where they were halved because an earlier attempt ran out of GPU memory."""


class ProgressStatus(Lenient):
    """How far the running attempt is. Best effort; written at most every five seconds. Where only bytes read and
    processor time grow, the pauses grow as well: from half a minute to five minutes."""

    phase: str
    """What it does: planning, running, committing, publishing."""
    percent: Annotated[int, Field(ge=0, le=100)] | None = None
    """Share of the input that was read, where the engine tells."""
    files: int = 0
    """Files uploaded."""
    rows: int = 0
    """Rows written."""
    bytes: int = 0
    """Bytes uploaded."""
    read_bytes: Annotated[int, Field(ge=0)] | None = None
    """Bytes that have come in since the query began, where one process runs it."""
    expected_bytes: Annotated[int, Field(ge=0)] | None = None
    """Bytes that it is expected to read; `percent` is the share of them that it has read."""
    cpu_seconds: Annotated[int, Field(ge=0)] | None = None
    """Processor time that it has used: a query that works uses more and more, one that hangs does not."""
    ranks: int | None = None
    """Processes that run the query, where there is more than one."""
    spilled_bytes: int | None = None
    """Bytes that all of them together have moved out of GPU memory."""
    gpu_memory_peak: int | None = None
    """Most bytes that any one GPU had in use."""
    gpu_utilization: Annotated[int, Field(ge=0, le=100)] | None = None
    """Mean of all GPUs in percent, where the driver tells."""
    updated_at: datetime | None = None
    """When it was read."""


class OutputStatus(Lenient):
    """What was committed, by the report of the pod that did it."""

    uri: str
    """Folder that plain readers scan, or the root of a Delta table; of an Iceberg table its catalog and its name."""
    version: int | None = None
    """Number of the commit in the table's log. Not of an Iceberg table."""
    snapshot: Annotated[str, Field(max_length=19)] = ""
    """Snapshot of an Iceberg table that the commit made; else empty."""
    location: Annotated[str, Field(max_length=1024)] = ""
    """Folder of an Iceberg table, by its catalog; else empty."""
    files: int
    """Files of this commit."""
    rows: int
    """Rows of this commit."""
    bytes: int
    """Bytes of this commit."""
    partitions: int
    """Partition folders of this commit."""
    expectations: Annotated[str, Field(max_length=MAX_EXPECTATIONS_SHOWN)] = ""
    """The expectations of `output.expect` that were checked and hold, in a few words; empty if there are none."""

    @property
    def commit(self) -> str:
        """Which commit it is, for messages: `version 3`, or `snapshot 3051729675574597004`."""
        return f"snapshot {self.snapshot}" if self.version is None else f"version {self.version}"


class GpuQueryJobStatus(Lenient):
    """What is so. Written by the operator only."""

    observed_generation: int | None = None
    """Generation of the spec that the status speaks about."""
    state: str | None = None
    """One word: Pending, Accepted, Preflight, Starting, Ready, Running, Suspended, Retrying, Finishing,
    Complete or Failed."""
    failure: str | None = None
    """Class of the failure of the job; while it goes on, of its preflight or of its last attempt."""
    conditions: tuple[Condition, ...] = ()
    """Accepted, Suspended (once it was), Preflight, Reused (with `spec.reuse`), ClusterReady, Running, OutputCommitted,
    Complete, Failed. Exactly one of the last two becomes True, once no pod of the job is alive."""
    plan: PlanStatus | None = None
    """What the spec was resolved to."""
    preflight: PreflightStatus | None = None
    """Results of checking the query without a GPU."""
    preflight_run: PreflightRun | None = None
    """The last run of the preflight's own pod, where it has one."""
    attempt: int | None = None
    """Number of the current or last attempt."""
    attempts: tuple[AttemptStatus, ...] = ()
    """The last ten attempts."""
    counted_failures: int | None = None
    """Failed attempts that count against `backoffLimit`."""
    suspended_attempts: int | None = None
    """Attempts that were ended by `spec.suspend`, and count against nothing."""
    progress: ProgressStatus | None = None
    """How far the running attempt is."""
    output: OutputStatus | None = None
    """What was committed, by the report of the pod that did it."""
    receipt: ReceiptStatus | None = None
    """A small receipt of the commit, once the job is complete. The whole one lies beside the commit
    (`gpuquery receipt`)."""
    reuse: ReuseStatus | None = None
    """With `spec.reuse`: whether an earlier commit was reused, by the newest report of a pod."""
    inputs: Annotated[tuple[InputStatus, ...], Field(max_length=64)] = ()
    """What was read of each input, by the newest report of a pod."""
    warnings: tuple[str, ...] = ()
    """What the query's author should know about the result."""
    start_time: datetime | None = None
    """When the first pod was asked for: the preflight's, if it has its own, else the first attempt's. A job
    that is suspended has none; once it is resumed, it is that of the first pod after that."""
    completion_time: datetime | None = None
    """When the job ended and its last pod was gone."""
