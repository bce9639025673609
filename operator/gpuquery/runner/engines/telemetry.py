"""What the GPU does while a query runs: memory and utilisation by NVML, spilled bytes by the library's own counters.

It also tells whether this process works at all, or only waits.

All of it is optional. NVML is asked in a thread of its own, and where it is missing or fails nothing is told. The
library's counters are read from this rank alone: its own way to gather them is a collective, in which a rank that
failed would keep the others waiting; the supervisors gather what each rank notes.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuquery.runner import signs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from gpuquery.runner.engines import Ranks

SAMPLE_SECONDS = 1.0
NOTE_EVERY = 5
"""Samples from one note to the next."""
SIGNS = 1024
"""Bytes per second, for each process of the set, that do not: signs of life, notes, and who asks how far it is. A pod
has them from all others, so in a large set they are more than any fixed number."""
_SPILLED = re.compile(r"(?:copy|spill-bytes)-device-to-(?:pinned_)?host(?:-bytes)?")
"""Bytes moved out of the GPU: `copy-device-to-host-bytes` and `copy-device-to-pinned_host-bytes` in 26.06 to 26.10."""
MOST_STATISTICS = 200


class Gpu:
    """The GPU of this process, or all that it sees, by NVML. Raises what pynvml raises."""

    def __init__(self, *, every: bool = False) -> None:
        """The first one, unless it has work on every GPU that it sees."""
        self._nvml = importlib.import_module("pynvml")
        self._nvml.nvmlInit()
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        self._handles = [self._found(one.strip()) for one in (visible if every else visible[:1])]
        uuids = [self._nvml.nvmlDeviceGetUUID(handle) for handle in self._handles]
        self.uuid = ",".join(uuid.decode() if isinstance(uuid, bytes) else str(uuid) for uuid in uuids)

    def _found(self, visible: str) -> Any:
        """A device that CUDA sees: an index, a UUID (GPU-..., MIG-...); the first one if all are seen."""
        if visible and not visible.isdigit():
            return self._nvml.nvmlDeviceGetHandleByUUID(visible)
        return self._nvml.nvmlDeviceGetHandleByIndex(int(visible or 0))

    def memory(self) -> int:
        """Bytes in use, by whomever; on the fullest of several."""
        return max(int(self._nvml.nvmlDeviceGetMemoryInfo(handle).used) for handle in self._handles)

    def utilization(self) -> int:
        """Percent of the last moments in which a kernel ran; the mean of several."""
        used = [int(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu) for handle in self._handles]
        return -(-sum(used) // len(used))


class Work:
    """Whether this process works or only waits: its GPU, its disks, its pod's network.

    Processor time says nothing: the library's own threads look for messages all the while, and so does one that waits
    forever. Where a sign cannot be seen, there is always taken to be work.
    """

    def __init__(
        self, size: int, proc: Path = Path("/proc/self"), *, pids: Callable[[], Iterable[int]] = tuple
    ) -> None:
        """`size` is the number of processes of the set; `pids` are others of this pod that work for it."""
        self._proc, self._pids = proc, pids
        self._enough = signs.ENOUGH + SIGNS * size
        self._before = self._moved()

    def seen(self, utilization: int | None, memory_moved: bool, seconds: float) -> bool:
        """Whether there was any in the last `seconds`, in which the GPU was used for this many percent of the time;
        None where the device does not tell."""
        before, self._before = self._before, self._moved()
        if utilization is None or utilization > 0 or memory_moved or before is None or self._before is None:
            return True
        disk, network = (now - then for now, then in zip(self._before, before, strict=True))
        return disk > 0 or network > self._enough * seconds

    def _moved(self) -> tuple[int, int] | None:
        """Bytes on disks (of this process) and on the network (of its pod) so far."""
        try:
            others = (self._proc.parent / str(pid) for pid in self._pids())
            disk = sum(signs.disk_bytes(proc) for proc in (self._proc, *others))
            network = signs.network_bytes(self._proc)
        except (OSError, ValueError, LookupError):
            return None
        return disk, network


class Sampler:
    """Samples one GPU, notes `gpu_memory_peak` (bytes) and `gpu_utilization` (mean percent) now and then, and tells
    that this process has come further whenever there was work."""

    def __init__(self, ranks: Ranks, gpu: Gpu | None, *, seconds: float = SAMPLE_SECONDS, work: Work | None = None) -> None:  # fmt: skip # noqa: E501
        """Without a GPU that tells of itself, nobody is told of it."""
        self._ranks, self._gpu, self._seconds = ranks, gpu, seconds
        self._work_seen = work or Work(ranks.size)
        self._memory = 0
        self._peak = 0
        self._used: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="nvml", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, with a last note."""
        self._stop.set()
        self._thread.join(timeout=5 * self._seconds)

    def _work(self) -> None:
        samples = 0
        while True:
            ended = self._stop.wait(self._seconds if samples else 0)
            memory = utilization = None
            if self._gpu is not None:
                with contextlib.suppress(Exception):  # NVML may fail at any call, and a query does not depend on it
                    memory = self._gpu.memory()
                with contextlib.suppress(Exception):  # MIG devices have no utilisation
                    utilization = self._gpu.utilization()
            if self._work_seen.seen(utilization, self._sampled(memory, utilization), self._seconds):
                self._ranks.advance()
            samples += 1
            if ended or samples % NOTE_EVERY == 1:
                self._note()
            if ended:
                return

    def _sampled(self, memory: int | None, utilization: int | None) -> bool:
        """Take a sample; returns whether the bytes in use have changed."""
        if utilization is not None:
            self._used.append(utilization)
        if memory is None:
            return False
        before, self._memory = self._memory, memory
        self._peak = max(self._peak, memory)
        return memory != before

    def _note(self) -> None:
        facts: dict[str, Any] = {"gpu_memory_peak": self._peak} if self._peak else {}
        if self._used:
            facts["gpu_utilization"] = round(sum(self._used) / len(self._used))
        if facts:
            self._ranks.note(**facts)


@contextlib.contextmanager
def watching(ranks: Ranks, *, pids: Callable[[], Iterable[int]] = tuple, every: bool = False) -> Iterator[None]:
    """Sample the GPU, or `every` one, and look for work meanwhile, also of the processes `pids`; without NVML nothing
    is told, and there is always work."""
    gpu = None
    with contextlib.suppress(Exception):
        gpu = Gpu(every=every)
        ranks.note(gpu=gpu.uuid)
    sampler = Sampler(ranks, gpu, work=Work(ranks.size, pids=pids))
    sampler.start()
    try:
        yield
    finally:
        sampler.stop()


def note_statistics(ranks: Ranks, context: Any) -> None:
    """Note this rank's counters (`rapidsmpf.streaming.core.context.Context`): spilled bytes, and all of them."""
    with contextlib.suppress(Exception):  # the result counts, not what is told of it
        statistics = context.statistics()
        found = {name: float(statistics.get_stat(name)["value"]) for name in statistics.list_stat_names()}
        ranks.note(spilled_bytes=spilled(found), statistics=dict(sorted(found.items())[:MOST_STATISTICS]))


def note_gathered(ranks: Ranks | None, gathered: Iterable[Any]) -> None:
    """Note counters of several ranks (`rapidsmpf.statistics.Statistics`), summed up."""
    sums: dict[str, float] = {}
    for statistics in gathered:
        for name in statistics.list_stat_names():
            sums[name] = sums.get(name, 0.0) + float(statistics.get_stat(name)["value"])
    if ranks is not None and sums:
        ranks.note(spilled_bytes=spilled(sums), statistics=dict(sorted(sums.items())[:MOST_STATISTICS]))


def spilled(statistics: Mapping[str, float]) -> int:
    """Return the bytes that were moved out of the GPU, from counters by name."""
    return int(sum(value for name, value in statistics.items() if _SPILLED.fullmatch(name)))
