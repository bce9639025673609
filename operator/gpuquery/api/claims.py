"""Claims: which parts of a pod's report about itself are believed.

A report comes from a pod that runs a user's code in a user's image. Only it can say how an attempt ended. So it is
believed if it is about the end of its own job, in numbers and texts that fit into a status. Otherwise it counts as no
report, and the operator says what is wrong with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, Field, PlainValidator, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from gpuquery.api.reasons import Failure, Policy
from gpuquery.api.report import MAX_REPORT_BYTES, Count, Report
from gpuquery.api.reuse import MAX_DIFFERS, ReuseStatus
from gpuquery.api.spec import IDENTIFIER
from gpuquery.api.status import MAX_EXPECTATIONS_SHOWN, InputStatus, OutputStatus, PreflightStatus
from gpuquery.api.text import clean

OPERATORS = frozenset(
    {
        Failure.UNKNOWN_RELEASE, Failure.IMAGE_PULL_FAILED, Failure.START_DEADLINE_EXCEEDED, Failure.DEADLINE_EXCEEDED,
        Failure.BACKOFF_LIMIT_EXCEEDED, Failure.TEMPLATE_REJECTED, Failure.LIMIT_EXCEEDED,
        Failure.NOT_ALLOWED, Failure.POD_REFUSED,
        *(failure for failure in Failure if failure.policy in (Policy.FREE, Policy.RESUMED)),
    }
)  # fmt: skip
"""Classes that only the operator may report, from what Kubernetes says. A pod may not claim that it was preempted and
deserves another attempt."""
YEARS = range(2000, 2200)


def _seen(text: str) -> str:
    return clean(text, MAX_REPORT_BYTES)


def _moment(value: object) -> datetime | None:
    """A wrong clock does not invalidate a report: its time is dropped."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None and found.year in YEARS else None


Words = Annotated[str, AfterValidator(_seen)]
Few = Field(max_length=64)
Moment = Annotated[datetime | None, PlainValidator(_moment)]


class _Output(OutputStatus):
    uri: Annotated[str, Field(max_length=2048)]
    version: Annotated[int, Field(ge=0, le=2**63 - 1)] | None = None
    snapshot: Annotated[str, Field(pattern=r"^[0-9]{0,19}$")] = ""
    location: Annotated[Words, Field(max_length=1024)] = ""
    files: Count
    rows: Count
    bytes: Count
    partitions: Count
    expectations: Annotated[Words, Field(max_length=MAX_EXPECTATIONS_SHOWN)] = ""

    @model_validator(mode="after")
    def _is_one_commit(self) -> Self:
        if (self.version is None) is not bool(self.snapshot):
            raise PydanticCustomError("no_commit", "it has not exactly one of version and snapshot")
        return self


class _Found(PreflightStatus):
    release: Words | None = None
    polars: Words
    files: Count = 0
    rows: Count = 0
    input_bytes: Count = 0
    peak_bytes: Count = 0
    basis: Words = ""
    fallbacks: Annotated[tuple[Words, ...], Few] = ()
    warnings: Annotated[tuple[Words, ...], Few] = ()
    finished: Moment = None


class _Input(InputStatus):
    name: Annotated[str, Field(pattern=IDENTIFIER, max_length=63)]
    files: Count = 0
    bytes: Count = 0
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{0,64}$")] = ""
    snapshot: Annotated[Words, Field(max_length=256)] = ""


class _Reuse(ReuseStatus):
    job: Annotated[Words, Field(max_length=512)] = ""
    commit: Annotated[Words, Field(max_length=64)] = ""
    differs: Annotated[Words, Field(max_length=MAX_DIFFERS)] = ""


class _Report(Report):
    committed: _Output | None = None
    preflight: _Found | None = None
    inputs: Annotated[tuple[_Input, ...], Few] = ()
    reuse: _Reuse | None = None
    message: Words = ""
    warnings: Annotated[tuple[Words, ...], Few] = ()
    pod: Annotated[Words, Field(max_length=253)] = ""
    process: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    joined: Moment = None
    query_started: Moment = None
    finished: Moment = None

    @model_validator(mode="after")
    def _is_one_end(self) -> Self:
        if self.failure is not None and self.committed is not None:
            raise PydanticCustomError("two_ends", "it says both that it committed and that it failed")
        if self.failure in OPERATORS:
            raise PydanticCustomError("not_its_word", "failure is {failure}, which is not for a pod to say",
                                      {"failure": str(self.failure)})  # fmt: skip
        if (reuse := self.reuse) is not None and reuse.reused:
            named = self.committed is not None and reuse.job and reuse.commit == self.committed.commit
            if not named:
                raise PydanticCustomError("nothing_reused", "it says that it has reused a commit, and names none")
        return self


@dataclass(frozen=True)
class Claim:
    """The result of reading a termination message."""

    report: Report | None = None
    wrong: str = ""
    """What is wrong with a report that is not believed."""


def read(message: str) -> Claim:
    """Read a termination message; one that is not a JSON object does not claim to be a report."""
    if not message.lstrip().startswith("{"):
        return Claim()
    if (size := len(message.encode(errors="replace"))) > MAX_REPORT_BYTES:
        return Claim(wrong=f"it has {size} bytes, and a report has at most {MAX_REPORT_BYTES}")
    try:
        checked = _Report.model_validate_json(message, strict=True)
    except ValidationError as error:
        return Claim(wrong=_describe(error))
    return Claim(Report.model_validate(checked.model_dump()))


def _describe(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    field_and_value = f"{field} is {clean(str(first['input']), 60)}: " if field else ""
    return clean(f"{field_and_value}{first['msg']}", 300)
