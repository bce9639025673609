"""Native failures: what an exception or the last lines of CUDA, RMM, UCX and cudf-polars mean, by their text.

Most of these faults have no Python type that says what they are: Polars makes a ComputeError of whatever fails while a
plan is translated, C++ exceptions arrive as RuntimeError, and what is thrown in a thread of UCX ends the process and
leaves a line on standard error. Only the standard library is imported, so a supervisor reads a dead rank's last lines
with it.

Texts are those of RAPIDS 26.04 to 26.10 and of the CUDA runtime, https://docs.nvidia.com/cuda/cuda-runtime-api
(cudaError), and of `ucs_status_string` in UCX 1.19 (src/ucs/type/status.c).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.redaction import redact
from gpuquery.runner.failures.words import kind, named, said

if TYPE_CHECKING:
    from collections.abc import Iterator


class Pattern(NamedTuple):
    """How a failure is recognised, and what a user can do about it."""

    failure: Failure
    text: str
    """A regular expression."""
    way_out: str


# The order matters: a message on memory or on a missing driver names a CUDA error too.
PATTERNS = (
    Pattern(
        Failure.SCRATCH_FULL,
        r"No space left on device|Disk quota exceeded|\bENOSPC\b|\bEDQUOT\b",
        "raise ephemeral-storage in workers.resources.limits",
    ),
    Pattern(
        Failure.UNSUPPORTED_QUERY,
        r"Query execution with GPU not possible|'cuda' conversion failed: NotImplementedError",
        "write that part another way, choose another runtime.release, or engine: cpu",
    ),
    Pattern(
        Failure.NO_GPU,
        r"cudaErrorInsufficientDriver|cudaErrorNoDevice|cudaErrorDevicesUnavailable|cudaErrorSystemDriverMismatch"
        r"|cudaErrorSystemNotReady|cudaErrorCompatNotSupportedOnDevice|cudaErrorStubLibrary|cudaErrorInitializationError"
        r"|CUDA_ERROR_NO_DEVICE|CUDA_ERROR_SYSTEM_DRIVER_MISMATCH|CUDA_ERROR_SYSTEM_NOT_READY|CUDA_ERROR_STUB_LIBRARY"
        r"|CUDA driver version is insufficient|not supported with this CUDA driver|no CUDA-capable device"
        r"|NVMLError_(?:LibraryNotFound|DriverNotLoaded|LibRmVersionMismatch|NoPermission|GpuIsLost)"
        r"|NVML Shared Library Not Found|Driver Not Loaded|\"(?:cuda|nvml)\" is an NVIDIA driver library"
        r"|lib(?:cuda|nvidia-ml)\.so\.1: cannot open shared object",
        "look at the driver and the device plugin of the node, and at template.spec.runtimeClassName",
    ),
    Pattern(
        Failure.NO_GPU,
        r"allow_gpu_sharing|same physical GPU",
        "the device plugin gives one GPU to several ranks (time-slicing or MPS): ask for whole GPUs, or set "
        "CUDF_POLARS__ALLOW_GPU_SHARING=1 in template.spec.env",
    ),
    Pattern(
        Failure.GPU_OUT_OF_MEMORY,
        r"cudaErrorMemoryAllocation|CUDA_ERROR_OUT_OF_MEMORY|CUDA out of memory"
        r"|rmm::(?:out_of_memory|bad_alloc)|rapidsmpf::(?:bad_alloc|reservation_error)|out_of_memory: CUDA error"
        r"|std::bad_alloc: (?:out_of_memory|CUDA error|RMM)|Maximum pool size exceeded"
        r"|failed to spill enough memory|Try lowering `target_partition_size`",
        "use more or larger GPUs, a smaller executorOptions.target_partition_size, or "
        'RAPIDSMPF_SPILL_DEVICE_LIMIT (such as "60%") in template.spec.env',
    ),
    Pattern(
        Failure.GPU_ERROR,
        r"(?i)\bcudaError[A-Z]\w+|\bCUDA_ERROR_\w+|\bCUDA error\b|\bCUDA(?:Runtime|Driver)Error\b|Fatal CUDA error"
        r"|an illegal memory access|uncorrectable ECC error",
        "if it happens again on one node, look there for Xid errors in the driver's log",
    ),
    Pattern(
        Failure.TRANSPORT_ERROR,
        r"\bucxx::|\bUCXX?\w*Error\b|\bUCX\s+ERROR|\bucp_\w+|Destination is unreachable|Endpoint timeout"
        r"|Connection reset by remote peer|Operation rejected by remote peer|Endpoint is not connected"
        r"|Endpoint (?:is|was) clos\w+|Request canceled",
        "look at the network between the nodes, at the job's NetworkPolicy and at spec.network",
    ),
)
_LAST_WORDS = re.compile(r"terminate called|what\(\):|Fatal CUDA error|UCX +(?:ERROR|FATAL)|Assertion .* failed")
_MOST_LINES = 3
_WRAPPED = re.compile(r"^'cuda' conversion failed: ")
_OPERATIONS = re.compile(r"- (?:NotImplementedError: )?(.+?)(?=\\n|\n|['\"], \[|$)")
MAX_TEXT = 600


def recognise(text: str) -> Pattern | None:
    """Return what a failure with this text is; None if nothing in it belongs to a GPU, UCX or the scratch."""
    return next((pattern for pattern in PATTERNS if re.search(pattern.text, text)), None)


def last_words(lines: str) -> tuple[Failure, str] | None:
    """Tell from the last lines of standard error why native code ended a process (SIGABRT); None if they do not say.

    UCX ends the process when a rank cannot be reached, from a thread of its own:
    `terminate called after throwing an instance of 'ucxx::UnreachableError'`.
    """
    words = [line.strip() for line in lines.splitlines() if _LAST_WORDS.search(line)]
    text = " ".join(words[-_MOST_LINES:])
    found = recognise(text)
    return (found.failure, f"{text}: {found.way_out}") if found else None


def classify_engine(exc: BaseException) -> JobError | None:
    """Return the failure that an exception of a GPU engine stands for; None if it is of another kind.

    What raised it counts more than what came before: an exception's causes and the members of its group are looked at
    only if it says nothing itself.
    """
    for one in _with_causes(exc):
        if isinstance(one, JobError):
            return None
        if found := recognise(named(one)):
            return JobError(found.failure, f"{_words(found.failure, one)}: {found.way_out}")
    return None


def _with_causes(exc: BaseException) -> Iterator[BaseException]:
    """The exception, the members of groups in it, and its causes; what merely happened before is none."""
    seen: set[int] = set()
    waiting = [exc]
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, BaseExceptionGroup):
            waiting.extend(one.exceptions)
        else:
            yield one
        if one.__cause__ is not None:
            waiting.append(one.__cause__)


def _words(failure: Failure, exc: BaseException) -> str:
    text = _WRAPPED.sub("", said(exc)) or kind(exc)
    if failure is Failure.UNSUPPORTED_QUERY:
        operations = list(dict.fromkeys(_OPERATIONS.findall(text)))
        text = f"the GPU engine cannot run this query: {'; '.join(operations) if operations else text}"
    text = redact(text).rstrip(".: ")
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + " ..."
