"""What a GPU does is told where NVML is there, and never costs a query anything where it is not."""

import sys
import time
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gpuquery.runner.engines import telemetry


class Ranks:
    index, size = 0, 1

    def __init__(self) -> None:
        self.notes: list[dict[str, Any]] = []
        self.advances = 0

    def gate(self, name: str, value: Any = None, *, seconds: float) -> Sequence[Any]:
        return [value]

    def note(self, **facts: Any) -> None:
        self.notes.append(facts)

    def advance(self) -> None:
        self.advances += 1

    @property
    def told(self) -> dict[str, Any]:
        return {name: value for note in self.notes for name, value in note.items()}


class Memory:
    def __init__(self, used: int) -> None:
        self.used = used


class Rates:
    gpu = 40


def nvml(monkeypatch: pytest.MonkeyPatch, used: list[int], *, mig: bool = False) -> list[Any]:
    """A driver whose device has these bytes in use, one after the other; returns which devices were asked for."""
    asked: list[Any] = []
    module = types.ModuleType("pynvml")

    def rates(handle: object) -> Rates:
        if mig:
            raise RuntimeError("Not Supported")
        return Rates()

    functions = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByIndex": asked.append,
        "nvmlDeviceGetHandleByUUID": asked.append,
        "nvmlDeviceGetUUID": lambda handle: b"GPU-7",
        "nvmlDeviceGetMemoryInfo": lambda handle: Memory(used.pop(0) if len(used) > 1 else used[0]),
        "nvmlDeviceGetUtilizationRates": rates,
    }
    for name, function in functions.items():
        setattr(module, name, function)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    return asked


@pytest.mark.parametrize(("visible", "want"), [("", 0), ("3", 3), ("3,4", 3), ("GPU-abc", "GPU-abc")])
def test_the_gpu_is_the_first_that_cuda_sees(monkeypatch: pytest.MonkeyPatch, visible: str, want: object) -> None:
    asked = nvml(monkeypatch, [1])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert telemetry.Gpu().uuid == "GPU-7"
    assert asked == [want]


def test_the_most_memory_in_use_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    used = [5, 9, 3]
    nvml(monkeypatch, used)
    ranks = Ranks()
    sampler = telemetry.Sampler(ranks, telemetry.Gpu(), seconds=0.01)
    sampler.start()
    while len(used) > 1:
        time.sleep(0.001)
    sampler.stop()
    assert ranks.told == {"gpu_memory_peak": 9, "gpu_utilization": 40}


def test_a_device_without_utilisation_tells_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch, [5], mig=True)
    ranks = Ranks()
    with telemetry.watching(ranks):
        pass
    assert ranks.told == {"gpu": "GPU-7", "gpu_memory_peak": 5}


def test_without_a_driver_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    ranks = Ranks()
    with telemetry.watching(ranks):
        pass
    assert ranks.notes == []


def test_spilled_bytes_are_those_that_left_the_gpu() -> None:
    counters = {
        "copy-device-to-host-bytes": 3.0,
        "copy-device-to-pinned_host-bytes": 4.0,
        "copy-host-to-device-bytes": 100.0,
        "copy-device-to-host-time": 100.0,
    }
    assert telemetry.spilled(counters) == 7


def test_counters_that_cannot_be_read_fail_nothing() -> None:
    ranks = Ranks()
    telemetry.note_statistics(ranks, object())
    assert ranks.notes == []


class Proc:
    """A /proc/self with counters of a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "net").mkdir()
        self.put()

    def put(self, disk: int = 0, network: int = 0, loopback: int = 0) -> None:
        io = f"rchar: 5\nwchar: 5\nread_bytes: {disk}\nwrite_bytes: 4096\ncancelled_write_bytes: 0\n"
        (self.folder / "io").write_text(io)
        counts = {"lo": loopback, "eth0": network}
        lines = [f"  {name}: {count} 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0" for name, count in counts.items()]
        (self.folder / "net" / "dev").write_text("Inter-|  Receive\n face |bytes\n" + "\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("sample", "counters", "work"),
    [
        ((0, False), {}, False),
        ((3, False), {}, True),
        ((0, True), {}, True),
        ((None, False), {}, True),
        ((0, False), {"disk": 1}, True),
        ((0, False), {"network": 2 * 68 * 1024}, False),
        ((0, False), {"network": 2 * 68 * 1024 + 1}, True),
        ((0, False), {"loopback": 10**9}, False),
    ],
)
def test_a_process_works_if_its_gpu_its_disk_or_its_network_does(
    tmp_path: Path, sample: tuple[int | None, bool], counters: dict[str, int], work: bool
) -> None:
    proc = Proc(tmp_path)
    looking = telemetry.Work(4, tmp_path)
    proc.put(**counters)
    assert looking.seen(*sample, seconds=2) is work
    assert looking.seen(0, False, seconds=2) is False, "counters that stand still are no work"


@pytest.mark.parametrize(("size", "work"), [(2, True), (1000, False)])
def test_the_signs_of_life_of_a_large_set_are_no_work(tmp_path: Path, size: int, work: bool) -> None:
    proc = Proc(tmp_path)
    looking = telemetry.Work(size, tmp_path)
    proc.put(network=1000 * 300)
    assert looking.seen(0, False, seconds=1) is work


def test_where_the_counters_cannot_be_read_there_is_work(tmp_path: Path) -> None:
    assert telemetry.Work(1, tmp_path / "none").seen(0, False, seconds=1)


def test_a_busy_gpu_and_one_that_nobody_can_ask_tell_of_work(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(monkeypatch, [5])
    busy, unknown = Ranks(), Ranks()
    with telemetry.watching(busy):
        pass
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with telemetry.watching(unknown):
        pass
    assert busy.advances
    assert unknown.advances


def test_an_idle_process_does_not_come_further(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nvml(monkeypatch, [5])
    monkeypatch.setattr(Rates, "gpu", 0)
    Proc(tmp_path)
    idle = telemetry.Work(1, tmp_path)
    monkeypatch.setattr(telemetry, "Work", lambda size: idle)
    ranks = Ranks()
    sampler = telemetry.Sampler(ranks, telemetry.Gpu(), seconds=0.01)
    sampler.start()
    time.sleep(0.3)
    sampler.stop()
    assert ranks.advances == 1, "only the first look at the memory was a change"
