"""What a pod tells the operator: progress while it runs, and one line when it ends.

The report is the container's termination message: it survives the process and arrives with the pod's own status, so it
needs no token and no connection. The kubelet keeps at most 4,096 bytes of it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field

from gpuquery.api.phases import Phase as Phase  # noqa: PLC0414 - a word of what is read here
from gpuquery.api.reasons import Failure
from gpuquery.api.schema import Lenient
from gpuquery.api.status import OutputStatus, PreflightStatus
from gpuquery.api.text import CUT, clean

MAX_REPORT_BYTES = 4096
MAX_WAITS_FOR = 600
"""Characters of what keeps a query from beginning."""
MAX_RANKS = 1_000_000
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""Rows, files or bytes: what a status, with its 64 bits, holds."""
MAX_PROGRESS_WARNINGS = 8
_MORE = "..."


def _seen(text: str) -> str:
    return clean(text, MAX_WAITS_FOR)


class Progress(Lenient):
    """Body of `GET /v1/progress`: a hint, which ends no job and frees no retry, in numbers that a status holds."""

    phase: Phase
    """What index 0 is doing."""
    percent: Annotated[int, Field(ge=0, le=100)] | None = None
    """Share of the input that was read, where the engine tells."""
    files: Count = 0
    """Files whose bytes were uploaded."""
    rows: Count = 0
    """Rows in them."""
    bytes: Count = 0
    """Bytes uploaded."""
    ranks: Annotated[int, Field(ge=1, le=MAX_RANKS)] = 1
    """Processes that run the query."""
    joined: Annotated[int, Field(ge=0, le=MAX_RANKS)] = 0
    """How many of them have joined the others."""
    spilled_bytes: Count = 0
    """Bytes that all ranks together have moved out of GPU memory so far."""
    gpu_memory_peak: Count = 0
    """Most bytes that any one GPU had in use."""
    gpu_utilization: Annotated[int, Field(ge=0, le=100)] | None = None
    """Mean of all GPUs in percent, where the driver tells."""
    read_bytes: Count = 0
    """Bytes that have come in since the query began, where one process runs it."""
    expected_bytes: Count | None = None
    """Bytes that it is expected to read, by the footers of its files."""
    cpu_seconds: Count = 0
    """Processor time that it has used: it grows while the query works."""
    warnings: Annotated[tuple[Annotated[str, AfterValidator(clean)], ...], Field(max_length=MAX_PROGRESS_WARNINGS)] = ()
    """What the query's author should know about the result, as far as there is room for it here."""
    waits_for: Annotated[str, Field(max_length=MAX_WAITS_FOR), AfterValidator(_seen)] = ""
    """Before the query begins: what keeps it, in words; with a Dask cluster of somebody else's, who uses it."""


class Report(Lenient):
    """How an attempt ended: committed, or failed with a class and a message."""

    committed: OutputStatus | None = None
    """What was committed; null means that the attempt failed."""
    preflight: PreflightStatus | None = None
    """What the preflight found: from a preflight's pod that found nothing wrong, and beside `committed`."""
    done: bool = False
    """Whether this pod did its share of an attempt whose commit stands in the report of index 0."""
    failure: Failure | None = None
    """Class of the failure; in a set of ranks that of the first cause, wherever it was."""
    message: str = ""
    """The failure in words for the query's author, or a remark on the success."""
    warnings: tuple[str, ...] = ()
    """What the query's author should know about the result."""
    pod: str = ""
    """Name of the pod where the first cause of the failure was, in a set of ranks."""
    process: int | None = None
    """Index of the process that failed, where this one only passes on what it told."""
    joined: datetime | None = None
    """When all ranks had joined."""
    query_started: datetime | None = None
    """When the engine began."""
    finished: datetime | None = None
    """When the attempt ended."""

    @property
    def succeeded(self) -> bool:
        """Whether it was committed, the preflight passed, or this pod did its share."""
        return self.failure is None and (self.done or self.committed is not None or self.preflight is not None)

    def to_line(self) -> str:
        """Serialise to one JSON line of at most 4,096 bytes; what is longest in it is shortened if it must be."""
        report = self
        while len(line := report.model_dump_json(by_alias=True, exclude_none=True).encode()) > MAX_REPORT_BYTES:
            report = report._shortened(len(line) - MAX_REPORT_BYTES)
        return line.decode()

    def _shortened(self, excess: int) -> Report:
        """Leave out a warning, or one of what the preflight found; else cut the message, else the URI.

        The URI alone can still be too long.
        """
        if self.warnings:
            return self.model_copy(update={"warnings": self.warnings[:-1]})
        if self.preflight is not None and (fewer := _fewer(self.preflight)):
            return self.model_copy(update={"preflight": fewer})
        if len(self.message) > len(CUT) or self.committed is None:
            return self.model_copy(update={"message": _cut(self.message, excess)})
        output = self.committed.model_copy(update={"uri": _cut(self.committed.uri, excess)})
        return self.model_copy(update={"committed": output})

    @classmethod
    def from_line(cls, line: str) -> Report | None:
        """Read what a runner has written; None if it is not a report. The operator reads claims (claims.py)."""
        try:
            return cls.model_validate_json(line)
        except ValueError:
            return None


def _fewer(found: PreflightStatus) -> PreflightStatus | None:
    """Leave out the last of the longer list, with a sign that something is missing; None if nothing is left."""
    lists = {"fallbacks": found.fallbacks, "warnings": found.warnings}
    name, items = max(lists.items(), key=lambda pair: sum(len(text) for text in pair[1]))
    rest = [text for text in items if text != _MORE]
    return found.model_copy(update={name: (*rest[:-1], _MORE)}) if rest else None


def _cut(text: str, excess: int) -> str:
    # A character takes up to six bytes (\\u0000), so a sixth of the excess never cuts more than it must.
    return text[: max(0, len(text) - excess // 6 - len(CUT) - 1)] + CUT
