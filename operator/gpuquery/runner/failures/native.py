"""What the words of CUDA, RMM, UCX and cudf-polars mean: the class of a failure, by the text that it left.

Most of these faults have no Python type that says what they are: Polars makes a ComputeError of whatever fails while a
plan is translated, C++ exceptions arrive as RuntimeError, and what is thrown in a thread of UCX ends the process and
leaves a line on standard error. Only the standard library and the failure classes are imported, so the supervisor can
read a dead rank's last lines with it.

Texts are those of RAPIDS 26.04 to 26.10 and of the CUDA runtime, https://docs.nvidia.com/cuda/cuda-runtime-api
(cudaError), and of `ucs_status_string` in UCX 1.19 (src/ucs/type/status.c).
"""

from __future__ import annotations

import re

from gpuquery.api.reasons import Failure

_NO_GPU = re.compile(
    r"cudaErrorInsufficientDriver|cudaErrorNoDevice|cudaErrorDevicesUnavailable|cudaErrorSystemDriverMismatch"
    r"|cudaErrorSystemNotReady|cudaErrorCompatNotSupportedOnDevice|cudaErrorStubLibrary|cudaErrorInitializationError"
    r"|CUDA_ERROR_NO_DEVICE|CUDA_ERROR_SYSTEM_DRIVER_MISMATCH|CUDA_ERROR_SYSTEM_NOT_READY|CUDA_ERROR_STUB_LIBRARY"
    r"|CUDA driver version is insufficient|not supported with this CUDA driver|no CUDA-capable device"
    r"|NVMLError_(?:LibraryNotFound|DriverNotLoaded|LibRmVersionMismatch|NoPermission|GpuIsLost)"
    r"|NVML Shared Library Not Found|Driver Not Loaded|\"(?:cuda|nvml)\" is an NVIDIA driver library"
    r"|lib(?:cuda|nvidia-ml)\.so\.1: cannot open shared object"
)
_SHARED_GPU = re.compile(r"allow_gpu_sharing|same physical GPU")
_GPU_MEMORY = re.compile(
    r"cudaErrorMemoryAllocation|CUDA_ERROR_OUT_OF_MEMORY|CUDA out of memory"
    r"|rmm::(?:out_of_memory|bad_alloc)|rapidsmpf::(?:bad_alloc|reservation_error)|out_of_memory: CUDA error"
    r"|std::bad_alloc: (?:out_of_memory|CUDA error|RMM)|Maximum pool size exceeded"
    r"|failed to spill enough memory|Try lowering `target_partition_size`"
)
_TRANSPORT = re.compile(
    r"\bucxx::|\bUCXX?\w*Error\b|\bUCX\s+ERROR|\bucp_\w+|Destination is unreachable|Endpoint timeout"
    r"|Connection reset by remote peer|Operation rejected by remote peer|Endpoint is not connected"
    r"|Endpoint (?:is|was) clos\w+|Request canceled"
)
_SCRATCH = re.compile(r"No space left on device|Disk quota exceeded|\bENOSPC\b|\bEDQUOT\b")
_UNSUPPORTED = re.compile(r"Query execution with GPU not possible|'cuda' conversion failed: NotImplementedError")
_GPU = re.compile(
    r"\bcudaError[A-Z]\w+|\bCUDA_ERROR_\w+|\bCUDA error\b|\bCUDA(?:Runtime|Driver)Error\b|Fatal CUDA error"
    r"|an illegal memory access|uncorrectable ECC error",
    re.I,
)
# The order matters: a message on memory or on a missing driver names a CUDA error too.
_KINDS = (
    (_SCRATCH, Failure.SCRATCH_FULL),
    (_UNSUPPORTED, Failure.UNSUPPORTED_QUERY),
    (_NO_GPU, Failure.NO_GPU),
    (_SHARED_GPU, Failure.NO_GPU),
    (_GPU_MEMORY, Failure.GPU_OUT_OF_MEMORY),
    (_GPU, Failure.GPU_ERROR),
    (_TRANSPORT, Failure.TRANSPORT_ERROR),
)
_WAYS_OUT = {
    Failure.NO_GPU: "look at the driver and the device plugin of the node, and at template.spec.runtimeClassName",
    Failure.GPU_OUT_OF_MEMORY: "use more or larger GPUs, a smaller executorOptions.target_partition_size, or "
    'RAPIDSMPF_SPILL_DEVICE_LIMIT (such as "60%") in template.spec.env',
    Failure.GPU_ERROR: "if it happens again on one node, look there for Xid errors in the driver's log",
    Failure.TRANSPORT_ERROR: "look at the network between the nodes, at the job's NetworkPolicy and at spec.network",
    Failure.SCRATCH_FULL: "raise ephemeral-storage in workers.resources.limits",
    Failure.UNSUPPORTED_QUERY: "write that part another way, choose another runtime.release, or engine: cpu",
}
_SHARED_WAY_OUT = (
    "the device plugin gives one GPU to several ranks (time-slicing or MPS): ask for whole GPUs, or set "
    "CUDF_POLARS__ALLOW_GPU_SHARING=1 in template.spec.env"
)
_LAST_WORDS = re.compile(r"terminate called|what\(\):|Fatal CUDA error|UCX +(?:ERROR|FATAL)|Assertion .* failed")
_MOST_LINES = 3


def recognise(text: str) -> Failure | None:
    """Return the class of a failure with this text; None if nothing in it belongs to a GPU, UCX or the scratch."""
    return next((failure for pattern, failure in _KINDS if pattern.search(text)), None)


def way_out(failure: Failure, text: str = "") -> str:
    """Return what a user can do about a failure of a class that `recognise` knows."""
    if failure is Failure.NO_GPU and _SHARED_GPU.search(text) and not _NO_GPU.search(text):
        return _SHARED_WAY_OUT
    return _WAYS_OUT.get(failure, "")


def last_words(lines: str) -> tuple[Failure, str] | None:
    """Tell from the last lines of standard error why native code ended a process (SIGABRT); None if they do not say.

    UCX ends the process when a rank cannot be reached, from a thread of its own:
    `terminate called after throwing an instance of 'ucxx::UnreachableError'`.
    """
    said = [line.strip() for line in lines.splitlines() if _LAST_WORDS.search(line)]
    text = " ".join(said[-_MOST_LINES:])
    failure = recognise(text)
    return (failure, f"{text}: {way_out(failure, text)}") if failure else None
