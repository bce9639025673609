"""What a pod reports to the operator: progress while it runs, and one line when it ends.

The report is the container's termination message. It survives the process and arrives with the pod's own status, so it
needs no token and no connection. The kubelet keeps at most 4,096 bytes of it.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field

from gpuquery.api.phases import Phase as Phase  # noqa: PLC0414 - a word of what is read here
from gpuquery.api.reasons import Failure
from gpuquery.api.receipt import ReceiptClaim
from gpuquery.api.reuse import ReuseStatus
from gpuquery.api.schema import Lenient
from gpuquery.api.status import InputStatus, OutputStatus, PreflightStatus
from gpuquery.api.text import CUT, clean

MAX_REPORT_BYTES = 4096
MAX_WAITS_FOR = 600
"""Maximum characters of `waits_for`."""
MAX_RANKS = 1_000_000
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""Rows, files or bytes, in the 64 bits of a status."""
MAX_PROGRESS_WARNINGS = 8
_MORE = "..."


def _seen(text: str) -> str:
    return clean(text, MAX_WAITS_FOR)


def _plausible(told: InputStatus) -> InputStatus:
    if max(told.files, told.bytes) >= 2**63 or not re.fullmatch("[0-9a-f]*", told.digest):
        raise ValueError("no input that was read")
    return told.model_copy(update={"snapshot": clean(told.snapshot)})


class Progress(Lenient):
    """Body of `GET /v1/progress`: a hint, which never ends a job or makes a retry free."""

    phase: Phase
    """What index 0 is doing."""
    percent: Annotated[int, Field(ge=0, le=100)] | None = None
    """Share of the input that was read, if the engine reports it."""
    files: Count = 0
    """Uploaded files."""
    rows: Count = 0
    """Rows in them."""
    bytes: Count = 0
    """Bytes uploaded."""
    ranks: Annotated[int, Field(ge=1, le=MAX_RANKS)] = 1
    """Processes that run the query."""
    joined: Annotated[int, Field(ge=0, le=MAX_RANKS)] = 0
    """How many of them have joined the others."""
    spilled_bytes: Count = 0
    """Bytes that all ranks together have spilled from GPU memory so far."""
    gpu_memory_peak: Count = 0
    """Peak memory of any one GPU, in bytes."""
    gpu_utilization: Annotated[int, Field(ge=0, le=100)] | None = None
    """Mean of all GPUs in percent, if the driver reports it."""
    read_bytes: Count = 0
    """Bytes received since the query started, if one process runs it."""
    expected_bytes: Count | None = None
    """Bytes that it should read, according to the footers of its files."""
    cpu_seconds: Count = 0
    """Processor time used: it grows while the query works."""
    warnings: Annotated[tuple[Annotated[str, AfterValidator(clean)], ...], Field(max_length=MAX_PROGRESS_WARNINGS)] = ()
    """What the query's author should know about the result, as far as it fits here."""
    inputs: Annotated[tuple[Annotated[InputStatus, AfterValidator(_plausible)], ...], Field(max_length=64)] = ()
    """The tables that it reads, each with its snapshot, as far as they fit here: a retry reads the same ones."""
    waits_for: Annotated[str, Field(max_length=MAX_WAITS_FOR), AfterValidator(_seen)] = ""
    """What the query waits for before it starts, in words; with an external Dask cluster, the job that uses it."""


class Report(Lenient):
    """How an attempt ended: committed, or failed with a class and a message."""

    committed: OutputStatus | None = None
    """The commit; null means that the attempt failed."""
    preflight: PreflightStatus | None = None
    """Results of the preflight: from a preflight's pod that found nothing wrong, or together with `committed`."""
    done: bool = False
    """Whether this pod did its share of an attempt whose commit is in the report of index 0."""
    failure: Failure | None = None
    """Class of the failure; in a set of ranks the class of the first cause, wherever it was."""
    message: str = ""
    """The failure in words for the query's author, or a remark on success."""
    inputs: tuple[InputStatus, ...] = ()
    """What was read of each input, as far as it fits: those with a snapshot first."""
    reuse: ReuseStatus | None = None
    """With `spec.reuse`: whether `committed` is the commit of an earlier job, or why not."""
    receipt: ReceiptClaim | None = None
    """What of the receipt only the pod knows."""
    warnings: tuple[str, ...] = ()
    """What the query's author should know about the result."""
    pod: str = ""
    """Name of the pod of the first cause, in a set of ranks."""
    process: int | None = None
    """Index of the process that failed, if this pod only forwards its report."""
    joined: datetime | None = None
    """When all ranks had joined."""
    query_started: datetime | None = None
    """When the engine started."""
    finished: datetime | None = None
    """When the attempt ended."""

    @property
    def succeeded(self) -> bool:
        """Whether the attempt committed, the preflight passed, or this pod did its share."""
        return self.failure is None and (self.done or self.committed is not None or self.preflight is not None)

    def to_line(self) -> str:
        """Serialise to one JSON line of at most 4,096 bytes; long parts are shortened if necessary."""
        report = self
        while len(line := report.model_dump_json(by_alias=True, exclude_none=True).encode()) > MAX_REPORT_BYTES:
            report = report._shortened(len(line) - MAX_REPORT_BYTES)
        return line.decode()

    def _shortened(self, excess: int) -> Report:
        """Drop an input without a snapshot, a warning or a preflight entry, else cut the message, else the URI.

        The URI alone can still be too long.
        """
        if files := [one for one in self.inputs if not one.snapshot]:
            return self.model_copy(update={"inputs": tuple(one for one in self.inputs if one is not files[-1])})
        if self.warnings:
            return self.model_copy(update={"warnings": self.warnings[:-1]})
        if self.preflight is not None and (fewer := _fewer(self.preflight)):
            return self.model_copy(update={"preflight": fewer})
        if self.inputs and len(self.message) <= len(CUT):
            return self.model_copy(update={"inputs": self.inputs[:-1]})
        if len(self.message) > len(CUT) or self.committed is None:
            return self.model_copy(update={"message": _cut(self.message, excess)})
        for part in ("expectations", "location"):
            if getattr(self.committed, part):
                return self.model_copy(update={"committed": self.committed.model_copy(update={part: ""})})
        output = self.committed.model_copy(update={"uri": _cut(self.committed.uri, excess)})
        return self.model_copy(update={"committed": output})

    @classmethod
    def from_line(cls, line: str) -> Report | None:
        """Read the report of a runner; None if it is not one. The operator reads claims (claims.py)."""
        try:
            return cls.model_validate_json(line)
        except ValueError:
            return None


def _fewer(found: PreflightStatus) -> PreflightStatus | None:
    """Drop the last entry of the longer list, and mark that something is missing; None if nothing is left."""
    lists = {"fallbacks": found.fallbacks, "warnings": found.warnings}
    name, items = max(lists.items(), key=lambda pair: sum(len(text) for text in pair[1]))
    rest = [text for text in items if text != _MORE]
    return found.model_copy(update={name: (*rest[:-1], _MORE)}) if rest else None


def _cut(text: str, excess: int) -> str:
    # A character takes up to six bytes (\\u0000), so a sixth of the excess never cuts too much.
    return text[: max(0, len(text) - excess // 6 - len(CUT) - 1)] + CUT
