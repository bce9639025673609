"""Faults of GPU engines get their class from what they say, wherever it was raised, and end with the way out."""

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures import native
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.native import classify_engine

OPERATOR = Path(native.__file__).parents[3]
CUDA = "CUDA error at: /rmm/cpp/include/rmm/mr/cuda_async_memory_resource.hpp"
HINT = (  # cudf_polars/engine/core.py of 26.10, execute_ir_on_rank
    "Try lowering `target_partition_size` (current 1500000000) and/or RAPIDSMPF_SPILL_DEVICE_LIMIT (default '80%') to "
    "reduce peak memory.\nSee https://docs.nvidia.com/cudf/latest/cudf_polars/memory_errors/ for troubleshooting "
    "guidance.\nOriginal error:\nstd::bad_alloc"
)


class NVMLError_LibraryNotFound(Exception):  # noqa: N801, N818  (the name that pynvml gives it)
    pass


class CUDARuntimeError(RuntimeError):  # rmm._cuda.gpu
    pass


class UCXUnreachableError(Exception):  # ucxx.exceptions
    pass


def grouped(*exceptions: Exception) -> BaseException:
    return ExceptionGroup("errors in actors", list(exceptions))


def ways_out(failure: Failure) -> tuple[str, ...]:
    return tuple(f": {pattern.way_out}" for pattern in native.PATTERNS if pattern.failure is failure)


def caused(exc: Exception, cause: Exception) -> Exception:
    exc.__cause__ = cause
    return exc


@pytest.mark.parametrize(
    ("exc", "failure"),
    [
        # As raised by 26.04 to 26.10 on a machine without a GPU; tests/releases/test_rapidsmpf.py raises them.
        pytest.param(NVMLError_LibraryNotFound("NVML Shared Library Not Found"), Failure.NO_GPU, id="no driver at all"),
        pytest.param(
            pl.exceptions.ComputeError(
                "'cuda' conversion failed: NVMLError_LibraryNotFound: NVML Shared Library Not Found"
            ),
            Failure.NO_GPU,
            id="no driver, told by Polars",
        ),
        pytest.param(
            CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime"),
            Failure.NO_GPU,
            id="a driver that is too old",
        ),
        pytest.param(
            RuntimeError(
                "Fatal CUDA error encountered at: /cudf/cpp/src/io/utilities/config_utils.cpp:28: 35 "
                "cudaErrorInsufficientDriver CUDA driver version is insufficient for CUDA runtime version"
            ),
            Failure.NO_GPU,
            id="a driver that is too old is no error of a GPU",
        ),
        pytest.param(
            RuntimeError(
                "RMM failure at: /rmm/cpp/src/mr/detail/cuda_async_memory_resource_impl.cpp:30: cudaMallocAsync not "
                "supported with this CUDA driver/runtime version"
            ),
            Failure.NO_GPU,
            id="no driver, found out by the memory resource",
        ),
        pytest.param(
            pl.exceptions.ComputeError(
                "'cuda' conversion failed: NotImplementedError: ('Query execution with GPU not possible: unsupported "
                "operations.\\nThe errors were:\\n- NotImplementedError: No handler for Expr function node with "
                "name=EwmFunction.Mean', [NotImplementedError('No handler for Expr function node')])"
            ),
            Failure.UNSUPPORTED_QUERY,
            id="an operation that the engine lacks",
        ),
        # Recorded texts: rmm/cpp/include/rmm/detail/error.hpp, cudf/cpp/include/cudf/utilities/error.hpp,
        # cudf_polars/engine/core.py and ucxx/_lib/libucxx.pyx.
        pytest.param(MemoryError(HINT), Failure.GPU_OUT_OF_MEMORY, id="the library's hint on memory"),
        pytest.param(
            MemoryError(f"std::bad_alloc: out_of_memory: {CUDA}: cudaErrorMemoryAllocation out of memory"),
            Failure.GPU_OUT_OF_MEMORY,
            id="RMM's bad_alloc",
        ),
        pytest.param(
            grouped(RuntimeError("actor cancelled"), MemoryError("std::bad_alloc: out_of_memory: CUDA error")),
            Failure.GPU_OUT_OF_MEMORY,
            id="in a group of actors' errors",
        ),
        pytest.param(
            RuntimeError("CUDA error at: /cudf/cpp/src/join.cu:80: cudaErrorIllegalAddress an illegal memory access"),
            Failure.GPU_ERROR,
            id="a kernel that failed",
        ),
        pytest.param(
            RuntimeError("cudaErrorECCUncorrectable: uncorrectable ECC error encountered"),
            Failure.GPU_ERROR,
            id="broken memory",
        ),
        pytest.param(
            UCXUnreachableError("Destination is unreachable"), Failure.TRANSPORT_ERROR, id="a peer that is gone"
        ),
        pytest.param(
            caused(RuntimeError("the communicator failed"), RuntimeError("Connection reset by remote peer")),
            Failure.TRANSPORT_ERROR,
            id="as the cause of another",
        ),
        pytest.param(
            RuntimeError("cuDF failure at: writer_impl.cu: Encountered error: No space left on device"),
            Failure.SCRATCH_FULL,
            id="a full scratch, told by the writer",
        ),
        pytest.param(OSError(28, "No space left on device", "/scratch/part.0"), Failure.SCRATCH_FULL, id="ENOSPC"),
        pytest.param(
            RuntimeError("Multiple ranks share the same physical GPU; set allow_gpu_sharing"),
            Failure.NO_GPU,
            id="one GPU for two ranks",
        ),
    ],
)  # fmt: skip
def test_a_fault_has_its_class_and_a_way_out(exc: BaseException, failure: Failure) -> None:
    error = classify_engine(exc)
    assert error is not None
    assert error.failure is failure
    assert error.message.endswith(ways_out(failure))


@pytest.mark.parametrize(
    "exc",
    [
        pytest.param(MemoryError("std::bad_alloc"), id="memory of the host"),
        pytest.param(pl.exceptions.InvalidOperationError("conversion from str to i64 failed"), id="the query's own"),
        pytest.param(ConnectionResetError(104, "Connection reset by peer"), id="the store's"),
        pytest.param(RuntimeError("CUDF failure at: strings.cu:12: Invalid regex pattern"), id="the library's"),
        pytest.param(JobError(Failure.STORAGE_AUTH, "CUDA_ERROR_OUT_OF_MEMORY is the bucket"), id="has one already"),
    ],
)
def test_other_faults_are_left_to_others(exc: BaseException) -> None:
    assert classify_engine(exc) is None


def test_what_merely_happened_before_decides_nothing() -> None:
    exc = pl.exceptions.ColumnNotFoundError("a")
    exc.__context__ = NVMLError_LibraryNotFound("NVML Shared Library Not Found")
    assert classify_engine(exc) is None


def test_an_unsupported_operation_is_named_once_without_pythons_wrapping() -> None:
    text = (
        "'cuda' conversion failed: NotImplementedError: ('Query execution with GPU not possible: unsupported "
        "operations.\\nThe errors were:\\n- NotImplementedError: No handler for A\\n- ValueError: B', [])"
    )
    error = classify_engine(pl.exceptions.ComputeError(text))
    assert error is not None
    assert error.message.startswith("the GPU engine cannot run this query: No handler for A; ValueError: B: write that")


def test_one_gpu_for_two_ranks_is_the_device_plugins_doing() -> None:
    error = classify_engine(RuntimeError("ranks share the same physical GPU"))
    assert error is not None
    assert "time-slicing" in error.message


@pytest.mark.parametrize(
    ("lines", "failure"),
    [
        pytest.param(
            "UCX  ERROR   connect(fd=17, dest_addr=10.0.0.7:52811) failed: Connection refused\n"
            "terminate called after throwing an instance of 'ucxx::UnreachableError'\n"
            "  what():  Destination is unreachable\n",
            Failure.TRANSPORT_ERROR,
            id="a peer that cannot be reached",
        ),
        pytest.param(
            "terminate called after throwing an instance of 'rmm::out_of_memory'\n"
            "  what():  std::bad_alloc: out_of_memory: CUDA error at: device_buffer.hpp\n",
            Failure.GPU_OUT_OF_MEMORY,
            id="memory of the GPU",
        ),
        pytest.param("cannot open /data: No space left on device\nkilled\n", None, id="no words of an abort"),
        pytest.param("Fatal Python error: Aborted\n", None, id="an abort without words"),
    ],
)
def test_what_native_code_said_before_it_ended_the_process(lines: str, failure: Failure | None) -> None:
    found = native.last_words(lines)
    assert (found[0] if found else None) is failure
    assert found is None or found[1].endswith(ways_out(found[0]))


def test_the_supervisor_can_read_last_words_without_a_library() -> None:
    loaded = (
        "import sys, gpuquery.runner.failures.native; print(*(m for m in ('polars', 'pydantic') if m in sys.modules))"
    )
    env = os.environ | {"PYTHONPATH": str(OPERATOR)}
    done = subprocess.run([sys.executable, "-c", loaded], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
