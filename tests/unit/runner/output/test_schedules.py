"""The sink of hive folders under generated schedules of faults, on an S3 server in memory that its clients call.

`GPUQUERY_SEED` is the first one, and `GPUQUERY_SCHEDULES` how many the sample has; what fails is printed.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import time
import traceback
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError

from gpuquery.api.output import OutputMode
from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import patience
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import commit, sweep
from gpuquery.runner.stores.s3 import client
from tests.support.memory_s3 import MemoryS3, read, refusal, written
from tests.support.schedules import Fault, Schedule, Stage, Try, content, expected, make, may_fail, run, sinks

if TYPE_CHECKING:
    from collections import Counter

SAMPLE, BLOCK, BLOCKS = 24, 500, 20
SECRET = "planted-secret-7f3a"
MODES = (OutputMode.APPEND, OutputMode.OVERWRITE, OutputMode.ERROR_IF_EXISTS, OutputMode.OVERWRITE_PARTITIONS)
CLEAN, LAST = 7, 8
"""Numbers of the actors that nobody disturbs."""
DAY = 24 * 3600


class World:
    """One schedule on a server of its own."""

    def __init__(self, schedule: Schedule) -> None:
        self.stage = Stage(schedule)
        self.partial: list[str] = []
        # Old uploads of a live attempt are kept for its sign of life, which no listing of that age would miss.
        self.server = MemoryS3(self._appeared, age=0 if schedule.has(Fault.LAG) else 2 * DAY)

    def asked(self, actor: int, request: Any) -> Any:
        """Answer a request of botocore in place of the network."""
        fault, asked, server = self.stage.next(actor), read(request), self.server
        match fault:
            case Fault.BUSY:
                return written(request, refusal(503, "SlowDown"))
            case Fault.BROKEN:
                return written(request, refusal(500, "InternalError"))
            case Fault.FORBIDDEN:
                return written(request, refusal(403, "AccessDenied"))
            case Fault.RESET:
                raise ConnectionClosedError(endpoint_url=request.url)
            case Fault.HANG:
                raise ReadTimeoutError(endpoint_url=request.url)
            case Fault.CRASH_BEFORE:
                self.stage.kill(actor)
            case Fault.SLOW:
                time.sleep(0.02)
            case Fault.LAG if asked.lists:
                return written(request, server.answer(asked, earlier=self.stage.earlier()))
        answer = server.answer(asked)
        match fault:
            case Fault.LOST:
                raise ConnectionClosedError(endpoint_url=request.url)
            case Fault.CRASH_AFTER:
                self.stage.kill(actor)
            case Fault.TWICE:
                answer = server.answer(asked)
            case Fault.REPEATED:
                server.answer(asked)
        return written(request, answer)

    def records(self) -> list[dict[str, Any]]:
        """All commit records, oldest first, fences left out."""
        keys = sorted(key for key in self.server.objects if re.fullmatch(r"t/_commits/\d+\.json", key))
        found = [json.loads(self.server.objects[key]) for key in keys]
        return [record for record in found if record["mode"] != "fence"]

    def rows(self) -> Counter[tuple[int, int]]:
        """What a reader of plain files sees, by pyarrow."""
        from collections import Counter

        rows: Counter[tuple[int, int]] = Counter()
        for key, body in self.server.objects.items():
            if key.startswith("t/data/"):
                table = pq.read_table(io.BytesIO(body), partitioning=None)
                folder = re.search(r"/k=(\d+)/", key)
                partitions = [int(folder[1])] * table.num_rows if folder else table.column("k").to_pylist()
                rows.update(zip(partitions, table.column("v").to_pylist(), strict=True))
        return rows

    def _appeared(self, key: str) -> None:
        """No file is to be seen before its record is."""
        path = key.removeprefix("t/data/")
        if not any(path == file["path"] for record in self.records() for file in record["add"]):
            self.partial.append(key)


_WORLD: dict[str, World] = {}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients ask the current world, wait little, and know a secret."""
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(patience, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(commit, "PUBLISH_PATIENCE", 3.0)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", f"token-{SECRET}")
    usual = client.s3_client

    @cache
    def made(endpoint: str, hurried: bool) -> Any:
        one = usual(StoreAccess(endpoint=endpoint, path_style=True), hurried=hurried)
        actor = int(endpoint.rpartition("-")[2])
        one.meta.events.register("before-send.s3", lambda request, **_: _WORLD["now"].asked(actor, request))
        return one

    monkeypatch.setattr(
        client, "s3_client", lambda access, *, hurried=False, shared=None: made(access.endpoint, hurried)
    )


def play(schedule: Schedule, monkeypatch: pytest.MonkeyPatch) -> World:
    """Run a schedule, then an undisturbed attempt of each job, then one of another job."""
    world = _WORLD["now"] = World(schedule)

    def attempt(actor: int, what: Try) -> None:
        run(what, sinks(what, "s3://lake/t", f"http://actor-{actor}", {"partition_by": ["k"]}))

    world.stage.run(attempt)
    for job, what in schedule.jobs.items():
        try:
            attempt(CLEAN, Try(job, what.attempt + 1, what.mode, what.rows, what.ranks))
        except JobError as exc:
            if exc.failure is not Failure.OUTPUT_EXISTS or what.mode is not OutputMode.ERROR_IF_EXISTS:
                raise
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "STALE_SECONDS", -5)
        attempt(LAST, Try(9, 1, OutputMode.APPEND, ()))
    return world


def judge(world: World, said: str) -> None:
    """Hold what is there against what there may be."""
    schedule = world.stage.schedule
    for actor, exc in world.stage.errors.items():
        assert may_fail(schedule.tries[actor], schedule, exc), f"attempt {actor} ended with {exc!r}"
    jobs = [int(record["job"]["name"].removeprefix("job-")) for record in world.records()]
    assert len(jobs) == len(set(jobs)), f"a job has committed twice: {jobs}"
    refused = schedule.jobs.keys() - set(jobs)
    assert all(schedule.jobs[job].mode is OutputMode.ERROR_IF_EXISTS for job in refused), f"{refused} did not commit"
    assert world.rows() == expected([job for job in jobs if job != 9], schedule)
    assert world.partial == [], "a file was to be seen before its commit"
    assert world.server.uploads == {}, "uploads are left"
    assert [key for key in world.server.objects if key.startswith("t/_staging/")] == []
    known = {file["path"] for record in world.records() for file in record["add"]}
    gone = {path for record in world.records() for path in record["remove"]}
    data = {key.removeprefix("t/data/") for key in world.server.objects if key.startswith("t/data/")}
    assert data == known - gone
    pointer = json.loads(world.server.objects["t/_current.json"])
    assert pointer["version"] == world.records()[-1]["version"]
    assert {file["path"] for file in pointer["files"]} == {f"data/{path}" for path in data}
    errors = "".join("".join(traceback.format_exception(exc)) for exc in world.stage.errors.values())
    written_ = b"".join(key.encode() + body for key, body in world.server.objects.items())
    assert SECRET not in errors and SECRET not in said and SECRET.encode() not in written_


def check(seed: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    schedule = make(seed, MODES)
    caplog.clear()
    try:
        judge(play(schedule, monkeypatch), caplog.text)
    except BaseException:
        print(schedule)
        raise


def check_all(first: int, count: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    print(f"schedules {first} to {first + count - 1}")
    caplog.set_level(logging.DEBUG, "gpuquery")
    for seed in range(first, first + count):
        check(seed, monkeypatch, caplog)


def start() -> int:
    """The first seed: another one in every run, unless it is given."""
    return int(os.environ.get("GPUQUERY_SEED") or time.time_ns() % 1_000_000_000)


def test_a_sample_of_schedules_commits_each_job_once_and_leaves_nothing(monkeypatch, caplog):
    check_all(start(), int(os.environ.get("GPUQUERY_SCHEDULES") or SAMPLE), monkeypatch, caplog)


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("block", range(BLOCKS))
def test_ten_thousand_schedules_commit_each_job_once_and_leave_nothing(monkeypatch, caplog, block):
    check_all(start() + block * BLOCK, BLOCK, monkeypatch, caplog)


def test_the_judge_sees_a_row_that_is_there_twice(monkeypatch):
    world = play(Schedule(0, [Try(0, 1, OutputMode.APPEND, (2,))], 0), monkeypatch)
    judge(world, "")
    key = next(key for key in world.server.objects if key.startswith("t/data/"))
    world.server.objects[key + ".again"] = world.server.objects[key]
    with pytest.raises(AssertionError):
        judge(world, "")
    assert sum(world.rows().values()) == 2 * len(content(0, (2,)))
