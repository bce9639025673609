"""The sink under generated schedules of faults, on an S3 server in memory that its clients call, for each format.

`GPUQUERY_SEED` is the first one, and `GPUQUERY_SCHEDULES` how many the sample has; what fails is printed.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from deltalake import DeltaTable

from gpuquery.api.catalogs import variable
from gpuquery.api.output import OutputMode
from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import patience
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.output import commit, sweep
from gpuquery.runner.output.record import owner_of, parse_part
from gpuquery.runner.output.tables import abandoned
from gpuquery.runner.output.tables.iceberg.file_io import StoreIO
from gpuquery.runner.stores.s3 import client
from tests.support import memory_catalog
from tests.support.memory_s3 import Answer, MemoryS3, read, refusal, written
from tests.support.schedules import Fault, Schedule, Stage, Try, expected, make, may_fail, run, sinks, uid

A = TypeVar("A")
SAMPLE, BLOCK, BLOCKS = 12, 500, 20
SECRET = "planted-secret-7f3a"
"""The end of each secret that is planted: access key, secret key, session token, the secret of an OAuth client, and the
token that the catalog issues for it, which says back what it was sent."""
MODES = (OutputMode.APPEND, OutputMode.OVERWRITE, OutputMode.ERROR_IF_EXISTS, OutputMode.OVERWRITE_PARTITIONS)
CLEAN, LAST = 7, 8
"""Numbers of the actors that nobody disturbs."""
FIRST_PORT = 9000
"""Port by which the first actor's catalog is asked."""
DAY = 24 * 3600


Objects = Mapping[str, bytes]
"""What is in the bucket, by key below the table's folder."""


@dataclass(frozen=True)
class Format:
    """What the judge must know of a format of tables."""

    output: Mapping[str, Any]
    """Fields of `output` that ask for it."""
    committed: Callable[[Objects], Sequence[str]]
    """Names of the jobs that have committed, in the order of their commits, each as often as it has."""
    rows: Callable[[Objects], Counter[tuple[int, int]]]
    """What a reader sees that is not ours."""
    needed: Callable[[Objects], tuple[set[str], set[str]]]
    """Keys of data files that must be there, and of those that may."""
    hides: bool
    """Whether a file is whole before its commit, and no reader finds it. Then what may be in the middle of a commit is
    never removed: see `may_stay`."""


def hive_records(objects: Objects) -> list[dict[str, Any]]:
    """All commit records, oldest first, fences left out."""
    keys = sorted(key for key in objects if re.fullmatch(r"_commits/\d+\.json", key))
    return [record for key in keys if (record := json.loads(objects[key]))["mode"] != "fence"]


def hive_rows(objects: Objects) -> Counter[tuple[int, int]]:
    """All files below data/, by pyarrow; `_current.json` must name just those."""
    rows: Counter[tuple[int, int]] = Counter()
    data = {key for key in objects if key.startswith("data/")}
    for key in data:
        table = pq.read_table(io.BytesIO(objects[key]), partitioning=None)
        folder = re.search(r"/k=(\d+)/", key)
        partitions = [int(folder[1])] * table.num_rows if folder else table.column("k").to_pylist()
        rows.update(zip(partitions, table.column("v").to_pylist(), strict=True))
    pointer = json.loads(objects["_current.json"])
    assert pointer["version"] == hive_records(objects)[-1]["version"]
    assert {file["path"] for file in pointer["files"]} == data
    return rows


def hive_needed(objects: Objects) -> tuple[set[str], set[str]]:
    """What the records add and do not remove."""
    records = hive_records(objects)
    gone = {path for record in records for path in record["remove"]}
    needed = {f"data/{file['path']}" for record in records for file in record["add"] if file["path"] not in gone}
    return needed, needed


def delta_log(objects: Objects) -> list[dict[str, Any]]:
    """All actions of the log, oldest first."""
    keys = sorted(key for key in objects if re.fullmatch(r"_delta_log/\d+\.json", key))
    return [json.loads(line) for key in keys for line in objects[key].splitlines()]


def delta_jobs(objects: Objects) -> list[str]:
    """Jobs by their application transactions."""
    marks = [action["txn"]["appId"] for action in delta_log(objects) if "txn" in action]
    return [mark.split("/")[2] for mark in marks if mark.startswith("gpuquery/")]


def delta_rows(objects: Objects) -> Counter[tuple[int, int]]:
    """By delta-rs, from a copy."""
    with tempfile.TemporaryDirectory() as folder:
        for key, body in objects.items():
            file = Path(folder) / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)
        table = pa.table(DeltaTable(folder).to_pyarrow_table())
    return Counter(zip(table.column("k").to_pylist(), table.column("v").to_pylist(), strict=True))


def delta_needed(objects: Objects) -> tuple[set[str], set[str]]:
    """What is live; files that were removed stay for older versions."""
    added = {unquote(action["add"]["path"]) for action in delta_log(objects) if "add" in action}
    removed = {unquote(action["remove"]["path"]) for action in delta_log(objects) if "remove" in action}
    return added - removed, added


def iceberg_jobs(objects: Objects) -> list[str]:
    """Jobs by the marks of their snapshots."""
    snapshots = memory_catalog.table(objects).metadata.snapshots
    return [one.summary["gpuquery.job"].partition("/")[2] for one in snapshots]


def iceberg_rows(objects: Objects) -> Counter[tuple[int, int]]:
    """By pyiceberg."""
    table = memory_catalog.table(objects).scan().to_arrow()
    return Counter(zip(table.column("k").to_pylist(), table.column("v").to_pylist(), strict=True))


def iceberg_needed(objects: Objects) -> tuple[set[str], set[str]]:
    """What is live; files that were replaced stay for older snapshots."""
    table = memory_catalog.table(objects)

    def keys(snapshots: Iterable[Any]) -> set[str]:
        manifests = [manifest for one in snapshots for manifest in one.manifests(table.io)]
        entries = [entry for manifest in manifests for entry in manifest.fetch_manifest_entry(table.io)]
        return {entry.data_file.file_path.partition("/t/")[2] for entry in entries}

    return keys([table.current_snapshot()] if table.current_snapshot() else []), keys(table.snapshots())


FOLDERS = {"uri": "s3://lake/t", "partition_by": ["k"]}
FORMATS = {
    "hive": Format(
        FOLDERS, lambda objects: [record["job"]["name"] for record in hive_records(objects)],
        hive_rows, hive_needed, hides=False,
    ),
    "delta": Format({**FOLDERS, "delta": {}}, delta_jobs, delta_rows, delta_needed, hides=True),
    "iceberg": Format(
        {"table": {"catalog": "lake", "name": "sales.t", "create": {"partitionBy": ["k"]}}},
        iceberg_jobs, iceberg_rows, iceberg_needed, hides=True,
    ),
}  # fmt: skip


class World:
    """One schedule on a server of its own."""

    def __init__(self, schedule: Schedule, format: Format) -> None:
        self.stage = Stage(schedule)
        self.format = format
        self.partial: list[str] = []
        # Old uploads of a live attempt are kept for its sign of life, which no listing of that age would miss.
        self.server = MemoryS3(self._appeared, age=0 if schedule.has(Fault.LAG) else 2 * DAY)
        self.catalog = memory_catalog.MemoryCatalog(self.server, f"issued-{SECRET}")

    @property
    def objects(self) -> Objects:
        """What is in the table's folder."""
        return {key.removeprefix("t/"): body for key, body in self.server.objects.items()}

    def store_asked(self, actor: int, request: Any) -> Any:
        """Answer a request of botocore in place of the network."""
        asked = read(request)

        def do(earlier: int) -> Answer:
            return self.server.answer(asked, earlier=earlier if asked.lists else 0)

        def refused(status: int) -> Answer:
            return refusal(status, {503: "SlowDown", 500: "InternalError", 403: "AccessDenied"}[status])

        cut = ConnectionClosedError(endpoint_url=request.url)
        return written(request, self._through(actor, do, refused, cut, ReadTimeoutError(endpoint_url=request.url)))

    def catalog_asked(self, actor: int, request: Any) -> Any:
        """Answer a request of requests in place of the network."""

        def do(_: int) -> memory_catalog.Said:
            return self.catalog.answer(request)

        def refused(status: int) -> memory_catalog.Said:
            said = f"nobody may do that with {request.headers.get('Authorization')} and {request.body!r}"
            return memory_catalog.refusal(status, said)

        errors = requests.ConnectionError("the connection was reset"), requests.ReadTimeout("no answer")
        return memory_catalog.written(request, self._through(actor, do, refused, *errors))

    def _through(
        self, actor: int, do: Callable[[int], A], refused: Callable[[int], A], cut: Exception, late: Exception
    ) -> A:
        """Do what is asked, with the fault of the attempt's next request; a listing lags by so many changes."""
        fault = self.stage.next(actor)
        match fault:
            case Fault.BUSY | Fault.BROKEN | Fault.FORBIDDEN:
                return refused(int(fault))
            case Fault.RESET:
                raise cut
            case Fault.HANG:
                raise late
            case Fault.CRASH_BEFORE:
                self.stage.kill(actor)
            case Fault.SLOW:
                time.sleep(0.02)
            case Fault.LAG:
                return do(self.stage.earlier())
        answer = do(0)
        match fault:
            case Fault.LOST:
                raise cut
            case Fault.CRASH_AFTER:
                self.stage.kill(actor)
            case Fault.TWICE:
                answer = do(0)
            case Fault.REPEATED:
                do(0)
        return answer

    def _appeared(self, key: str) -> None:
        """No file is to be seen before its record is."""
        if not self.format.hides and key.removeprefix("t/") not in self.format.needed(self.objects)[0]:
            self.partial.append(key)


_WORLD: dict[str, World] = {}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients ask the current world, wait little, and know a secret."""
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(patience, "LONGEST_PAUSE", 0.01)
    monkeypatch.setattr(commit, "PUBLISH_PATIENCE", 3.0)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"access-{SECRET}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"key-{SECRET}")
    monkeypatch.setenv("AWS_SESSION_TOKEN", f"token-{SECRET}")
    monkeypatch.setenv(variable("lake", "credential"), f"client:oauth-{SECRET}")
    usual = client.s3_client

    @cache
    def made(endpoint: str, hurried: bool) -> Any:
        one = usual(StoreAccess(endpoint=endpoint, path_style=True), hurried=hurried)
        actor = int(endpoint.rpartition("-")[2])
        one.meta.events.register("before-send.s3", lambda request, **_: _WORLD["now"].store_asked(actor, request))
        return one

    monkeypatch.setattr(
        client, "s3_client", lambda access, *, hurried=False, shared=None: made(access.endpoint, hurried)
    )

    def send(_: Any, request: requests.PreparedRequest, **__: Any) -> requests.Response:
        return _WORLD["now"].catalog_asked(urlsplit(request.url).port - FIRST_PORT, request)

    def get(files: StoreIO, place: str) -> bytes | None:
        folder, name = files._split(place)
        return folder.get(name)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    monkeypatch.setattr(StoreIO, "get", get)  # by a client of S3 that can be caught: object_store's cannot


def play(schedule: Schedule, format: Format, monkeypatch: pytest.MonkeyPatch) -> World:
    """Run a schedule, then an undisturbed attempt of each job, then one of another job."""
    world = _WORLD["now"] = World(schedule, format)

    def attempt(actor: int, what: Try) -> None:
        catalogs = {"lake": {"uri": f"http://127.0.0.1:{FIRST_PORT + actor}"}}
        store = StoreAccess(endpoint=f"http://actor-{actor}", path_style=True, catalogs=catalogs)
        run(what, sinks(what, store, format.output))

    world.stage.run(attempt)
    for job, what in schedule.jobs.items():
        try:
            attempt(CLEAN, Try(job, what.attempt + 1, what.mode, what.rows, what.ranks))
        except JobError as exc:
            if exc.failure is not Failure.OUTPUT_EXISTS or what.mode is not OutputMode.ERROR_IF_EXISTS:
                raise
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "STALE_SECONDS", -5)
        patch.setattr(abandoned, "STALE_SECONDS", -5)
        attempt(LAST, Try(9, 1, OutputMode.APPEND, ()))
    return world


def may_stay(world: World, refused: Collection[int]) -> Callable[[str], bool]:
    """Say which keys may be left: of jobs that have committed nothing, whose permits nobody else may take, and data
    files of processes that took themselves for the same attempt, of which one has committed."""
    if not world.format.hides:
        return lambda _: False
    tries = Counter((owner_of(one.uid), one.attempt) for one in world.stage.schedule.tries)
    doubles = {one for one, count in tries.items() if count > 1}
    owners = {owner_of(uid(job)) for job in refused}
    folders = tuple(f"_staging/{uid(job)}/" for job in refused)

    def stays(key: str) -> bool:
        part = parse_part(key)
        return key.startswith(folders) if part is None else part in doubles or part[0] in owners

    return stays


def judge(world: World, said: str) -> None:
    """Hold what is there against what there may be."""
    schedule, objects = world.stage.schedule, world.objects
    for actor, exc in world.stage.errors.items():
        assert may_fail(schedule.tries[actor], schedule, exc), f"attempt {actor} ended with {exc!r}"
    jobs = [int(name.removeprefix("job-")) for name in world.format.committed(objects)]
    assert len(jobs) == len(set(jobs)), f"a job has committed twice: {jobs}"
    refused = schedule.jobs.keys() - set(jobs)
    assert all(schedule.jobs[job].mode is OutputMode.ERROR_IF_EXISTS for job in refused), f"{refused} did not commit"
    assert world.format.rows(objects) == expected([job for job in jobs if job != 9], schedule)
    assert world.partial == [], "a file was to be seen before its commit"
    assert world.server.uploads == {}, "uploads are left"
    stays = may_stay(world, refused)
    staged = {key for key in objects if key.startswith("_staging/") and not stays(key)}
    assert staged == set(), f"{staged} is left"
    needed, may = world.format.needed(objects)
    data = {key for key in objects if key.endswith(".parquet") and (key in needed or not stays(key))}
    assert needed <= data <= may, f"missing: {needed - data}, left: {data - may}"
    errors = "".join("".join(traceback.format_exception(exc)) for exc in world.stage.errors.values())
    everything = "".join(key + body.decode(errors="replace") for key, body in objects.items())
    shown = [line for text in (errors, said, everything) for line in text.splitlines() if SECRET in line]
    assert not shown, f"a secret is shown: {shown}"


def check(seed: int, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    schedule = make(seed, MODES)
    caplog.clear()
    try:
        judge(play(schedule, FORMATS[kind], monkeypatch), caplog.text)
    except BaseException:
        print(kind, schedule)
        raise


def check_all(seeds: range, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    print(f"{kind}: schedules {seeds.start} to {seeds.stop - 1}")
    caplog.set_level(logging.DEBUG, "gpuquery")
    failed = []
    for seed in seeds:
        try:
            check(seed, kind, monkeypatch, caplog)
        except Exception:
            traceback.print_exc(file=sys.stdout)
            failed.append(seed)
    assert not failed, f"schedules that went wrong: {failed}"


def seeds(count: int, block: int = 0) -> range:
    """From another seed in every run, unless it is given."""
    first = int(os.environ.get("GPUQUERY_SEED") or time.time_ns() % 1_000_000_000) + block * count
    return range(first, first + count)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_sample_of_schedules_commits_each_job_once_and_leaves_nothing(monkeypatch, caplog, kind):
    check_all(seeds(int(os.environ.get("GPUQUERY_SCHEDULES") or SAMPLE)), kind, monkeypatch, caplog)


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("block", range(BLOCKS))
@pytest.mark.parametrize("kind", FORMATS)
def test_ten_thousand_schedules_commit_each_job_once_and_leave_nothing(monkeypatch, caplog, kind, block):
    check_all(seeds(BLOCK, block), kind, monkeypatch, caplog)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_judge_sees_a_file_that_nothing_names(monkeypatch, kind):
    world = play(Schedule(0, [Try(0, 1, OutputMode.APPEND, (2,))], 0), FORMATS[kind], monkeypatch)
    judge(world, "")
    key = next(key for key in world.server.objects if key.endswith(".parquet"))
    world.server.objects[key.replace("part-", "part-0")] = world.server.objects[key]
    with pytest.raises(AssertionError):
        judge(world, "")
