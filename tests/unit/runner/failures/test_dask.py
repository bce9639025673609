"""What the end of a process of Dask, and an exception of Dask, mean for the attempt."""

from __future__ import annotations

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.dask import ENDED, ended, line_of, lost

NVML = "pynvml.NVMLError_LibraryNotFound: NVML Shared Library Not Found"


@pytest.mark.parametrize(
    ("status", "tail", "oom", "failure", "words"),
    [
        pytest.param(1, [NVML], False, Failure.NO_GPU, "NVML Shared Library", id="no driver"),
        pytest.param(-9, ["fine"], False, Failure.WORKER_LOST, "died of signal 9 (SIGKILL)", id="killed"),
        pytest.param(-9, ["fine"], True, Failure.HOST_OUT_OF_MEMORY, "more memory", id="killed by the kernel"),
        pytest.param(
            70, [f"{ENDED}pod-1-0: signal 9 (SIGKILL)"], False, Failure.WORKER_LOST,
            "the Dask worker pod-1-0 died of signal 9", id="a worker killed",
        ),
        pytest.param(
            70, [f"{ENDED}pod-1-0: signal 9 (SIGKILL)"], True, Failure.HOST_OUT_OF_MEMORY,
            "the Dask worker pod-1-0", id="a worker killed by the kernel",
        ),
        pytest.param(
            70, ["MemoryError: std::bad_alloc: out_of_memory: CUDA error", f"{ENDED}pod-1: exit code 1"], False,
            Failure.GPU_OUT_OF_MEMORY, "the Dask worker pod-1 ended with exit code 1", id="a pool that does not fit",
        ),
        pytest.param(
            70, ["what(): ucxx::Error", "CommClosedError: Connection reset by remote peer",
                 f"{ENDED}pod-1: exit code 1"], False,
            Failure.WORKER_LOST, "its last lines", id="what it says of another's end is no cause",
        ),
        pytest.param(
            70, ["terminate called after throwing an instance of 'ucxx::UnreachableError'",
                 f"{ENDED}pod-1: signal 6 (SIGABRT)"], False,
            Failure.TRANSPORT_ERROR, "by its own native code", id="unless it ends itself for that",
        ),
        pytest.param(1, ["OSError: No space left on device"], False, Failure.SCRATCH_FULL, "space", id="disk"),
    ],
)  # fmt: skip
def test_why_a_process_of_dask_ended(status: int, tail: list[str], oom: bool, failure: Failure, words: str) -> None:
    found = ended("the Dask workers of this pod", status, tail, oom_killed=oom)
    assert found.failure is failure
    assert words in found.message


@pytest.mark.parametrize("code", [-9, -6, 1, 0, -64])
def test_a_nanny_s_line_is_read_as_it_is_written(code: int) -> None:
    line = line_of("a: b", code).rstrip("\n")
    found = ended("x", 70, [line], oom_killed=False)
    assert "the Dask worker a: b" in found.message
    assert line.rpartition(": ")[2] in found.message


class CommClosedError(OSError):
    """As distributed has one."""


def test_what_tells_of_a_lost_process() -> None:
    try:
        try:
            raise CommClosedError("in <UCX> connection closed")
        except OSError as exc:
            raise RuntimeError("the query failed") from exc
    except RuntimeError as exc:
        found = lost(exc)
    assert found is not None
    assert found.failure is Failure.WORKER_LOST
    assert lost(ValueError("no")) is None
