"""The engine rapidsmpf inside the packages of the releases that it drives by ranks, as far as there is no GPU."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from gpuquery.api.choices import ClusterChoice, EngineChoice
from gpuquery.api.reasons import Failure
from gpuquery.plan import releases
from gpuquery.plan.releases import Release, Way
from gpuquery.plan.releases.values import read
from gpuquery.runner.failures import native
from tests.bench import tpch
from tests.gpu import test_cells as cells
from tests.gpu.same import same
from tests.releases import environments
from tests.releases.environments import NAMED, python_of
from tests.releases.test_options import match, samples, seen
from tests.support.engine_ranks import Ranks, environment
from tests.support.runner import plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.plan.plan import Plan

pytestmark = pytest.mark.releases

HERE = Path(__file__).parent
RANKED = tuple(
    name for name, release in releases.RELEASES.items()
    if release.cells[EngineChoice.RAPIDSMPF, ClusterChoice.DISTRIBUTED].way is Way.SPMD
)  # fmt: skip
TCP = {"UCX_TLS": "tcp,self"}
"""What there is between pods."""
LIMIT = 120.0


class Probe:
    """GpuQuery's engines in the packages of one release."""

    def __init__(self, release: Release, python: Path) -> None:
        self.release = release
        self._process = subprocess.Popen(
            [python, HERE / "engine_probe.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, env=environment(**TCP),
        )  # fmt: skip

    def ask(self, question: str, **arguments: Any) -> Any:
        """Return the answer."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"ask": question, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"failed": "the process ended"}
        if "failed" in answer:
            pytest.fail(f"{self.release.name}: {question}({arguments}) cannot be answered: {answer['failed']}")
        return answer["answer"]

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@pytest.fixture(scope="module", params=[name for name in RANKED if not NAMED or name in NAMED])
def probe(request: pytest.FixtureRequest) -> Iterator[Probe]:
    """A process with the packages of a release."""
    found = Probe(releases.RELEASES[request.param], python_of(request.param))
    yield found
    found.close()


def test_every_option_of_the_table_is_taken_and_lands_where_it_belongs(probe: Probe) -> None:
    """For both clusters alike: one rank is made in the same way as many."""
    release = probe.release
    for cluster in (ClusterChoice.SINGLE, ClusterChoice.DISTRIBUTED):
        for name, option in release.options.items():
            for value in samples(option):
                extra: dict[str, Any] = {"kvikio_bounce_buffer_bytes": 64 << 20} if name == "kvikio_task_size" else {}
                extra = {"kvikio_task_size": 1} if name == "kvikio_bounce_buffer_bytes" else extra
                if option.instead:
                    good: dict[str, Any] = {name: read(option, value)}
                else:
                    found, _ = releases.check_options(release, EngineChoice.RAPIDSMPF, cluster, {name: value, **extra})
                    good = dict(found)
                if name not in good:
                    continue  # the table refuses it, which test_options.py is about
                answer = probe.ask("taken", options=good, env={})
                wanted = seen(option, good[name], cluster)
                got = answer["executor"][name]
                assert match(wanted, got), f"{release.name}, {name}: {value!r} with {cluster} became {got!r}"
                assert answer["raise_on_fail"] is True


def test_words_of_kvikio_become_its_own_values(probe: Probe) -> None:
    """The engine class compares with them, and a text equals none."""
    names = [name for name in probe.release.options if name in ("kvikio_remote_io_backend", "kvikio_reactor_dispatch")]
    options = {name: probe.release.options[name].choices[-1] for name in names}
    answer = probe.ask("taken", options=options, env={})
    assert answer["enums"] == ({} if not names else {names[0]: "RemoteIOBackend", names[1]: "RemoteReactorDispatch"})


def test_a_default_that_null_stands_for_is_the_release_s_own(probe: Probe) -> None:
    nullable = {name: None for name, option in probe.release.options.items() if option.nullable}
    assert (
        probe.ask("taken", options=nullable, env={})["executor"] == probe.ask("taken", options={}, env={})["executor"]
    )


def test_the_environment_of_rapidsmpf_reaches_the_communicator_and_the_engine(probe: Probe) -> None:
    env = {
        "RAPIDSMPF_SPILL_DEVICE_LIMIT": "60%",
        "RAPIDSMPF_PINNED_MEMORY": "false",
        "RAPIDSMPF_NUM_STREAMING_THREADS": "7",
        "RAPIDSMPF_STATISTICS": "false",
        "CUDF_POLARS__ALLOW_GPU_SHARING": "1",
        "CUDF_POLARS__MEMORY_RESOURCE_CONFIG__QUALNAME": "rmm.mr.CudaMemoryResource",
    }
    answer = probe.ask("taken", options={}, env=env)
    told = {name: text.lower() for name, text in answer["rapidsmpf"].items()}
    wanted = {
        "spill_device_limit": "60%", "pinned_memory": "false", "num_streaming_threads": "7", "statistics": "false",
    }  # fmt: skip
    assert told.items() >= wanted.items()
    assert answer["sharing"] is True
    assert answer["memory_resource"] == "rmm.mr.CudaMemoryResource"


def test_what_nobody_sets_is_left_to_the_release_but_for_the_counters(probe: Probe) -> None:
    answer = probe.ask("taken", options={}, env={})
    assert answer["rapidsmpf"] == {"statistics": "true"}
    assert answer["memory_resource"] is None


def test_who_learns_that_every_rank_holds_the_result(probe: Probe) -> None:
    """The sink's actor is the only reader of metadata in its module, reads it before it writes, and 26.10 uses it."""
    found = probe.ask("metadata")
    safe = probe.release.cells[EngineChoice.RAPIDSMPF, ClusterChoice.DISTRIBUTED].replicated_safe
    assert found == {"calls": 1, "in_sink_node": 1, "before_writing": True, "skips": safe, "imported": True}
    assert probe.ask("heard") is True


@pytest.mark.parametrize("how", ["spmd", "streaming", "in_memory", "rmm", "nvml"])
def test_real_faults_of_a_machine_without_a_gpu(probe: Probe, how: str) -> None:
    found = probe.ask("raised", how=how)
    assert found["failure"] == Failure.NO_GPU.value, found
    assert found["message"].endswith(tuple(p.way_out for p in native.PATTERNS if p.failure is Failure.NO_GPU))


def test_a_query_that_the_engine_cannot_run(probe: Probe) -> None:
    found = probe.ask("raised", how="unsupported")
    assert found["failure"] == Failure.UNSUPPORTED_QUERY.value, found
    assert "ewm" in found["message"].lower()
    assert "NotImplementedError(" not in found["message"]


def test_every_error_of_ucx_is_one_of_transport(probe: Probe) -> None:
    found = probe.ask("ucx_errors")
    assert len(found) > 20
    assert {name: failure for name, failure in found.items() if failure != Failure.TRANSPORT_ERROR.value} == {}


def test_the_library_s_counters_are_read(probe: Probe) -> None:
    found = probe.ask("counters")
    assert found["spilled_bytes"] == 7
    assert found["statistics"]["copy-host-to-device-bytes"] == 100


def asked(folder: Path, size: int, release: str, query: str = "select * from t") -> Plan:
    """A plan over a table of a thousand rows."""
    frame = pl.DataFrame({"x": range(1000), "y": [str(n % 7) for n in range(1000)]})
    frame.write_parquet(folder / "table.parquet")
    return plan(
        folder, query, inputs={"t": f"file://{folder}/table.parquet"}, engine="rapidsmpf", cluster="distributed",
        release=release, replicas=size, gpus=1, processes="ranks",
    )  # fmt: skip


@pytest.fixture
def start(probe: Probe, tmp_path: Path) -> Iterator[Any]:
    """Start ranks in the packages of a release."""
    running: list[Ranks] = []

    def begin(size: int, *words: str, **env: str) -> Ranks:
        wanted = asked(tmp_path, size, probe.release.name)
        running.append(Ranks(python_of(probe.release.name), tmp_path, size, wanted, *words, **TCP, **env))
        return running[-1]

    yield begin
    for ranks in running:
        ranks.close()


def test_three_ranks_form_a_communicator(start: Any) -> None:
    ranks = start(3, "own")
    assert [said[0] for said in ranks.ended()] == [
        {"joined": index, "engine": "RapidsmpfEngine"} for index in range(3)
    ], [ranks.log(index)[-500:] for index in range(3)]
    assert ranks.gates.gates == ["address", "done"]
    # The communicator numbers its ranks as they come; only the root is certain.
    assert sorted(note["rank"] for note in ranks.gates.notes.values()) == [0, 1, 2]
    assert ranks.gates.notes[0]["rank"] == 0
    for note in ranks.gates.notes.values():
        assert 0 < note["loaded"] < note["connected"], note
        assert datetime.fromisoformat(note["started"]) < datetime.now(UTC)


def test_one_rank_needs_no_address(start: Any) -> None:
    ranks = start(1, "own")
    assert ranks.ended()[0][0] == {"joined": 0, "engine": "RapidsmpfEngine"}
    assert ranks.gates.gates == ["done"]


def test_ranks_without_a_gpu_join_and_say_so_when_they_run(start: Any) -> None:
    """Of one rank: with several, the others wait for it until their supervisors end them."""
    said = start(1, "own", "run").ended()[0]
    assert said[0] == {"joined": 0, "engine": "RapidsmpfEngine"}
    assert said[1]["failure"] == Failure.NO_GPU.value, said


def test_the_test_engine_is_found_joins_and_hands_over_every_row_once(start: Any, probe: Probe) -> None:
    ranks = start(3, "run", TEST_ENGINE_PARTS="4")
    said = ranks.ended()
    assert [one[0] for one in said] == [{"joined": i, "engine": "TestEngine"} for i in range(3)], ranks.log(0)[-800:]
    files = [one[1]["added"] for one in said]
    assert [len(added) for added in files] == [4, 4, 4]
    assert all(sum(rows for _, rows in added) > 100 for added in files)
    kept = pl.read_parquet(ranks.kept)
    assert sorted(kept["x"].to_list()) == list(range(1000))


@pytest.mark.parametrize(
    ("fault", "code", "failure"),
    [
        pytest.param("1:joined:exit", 7, None, id="a rank that ends without a word"),
        pytest.param("1:run:abort", -6, None, id="a rank that native code ends"),
        pytest.param("1:write:disk-full", 0, Failure.SCRATCH_FULL, id="a full scratch"),
    ],
)
def test_faults_of_the_test_engine(start: Any, fault: str, code: int, failure: Failure | None) -> None:
    ranks = start(2, "run", TEST_ENGINE_FAULT=fault)
    ended, said = ranks.one(1)
    assert ended == code, ranks.log(1)[-800:]
    assert [one.get("failure") for one in said if "failure" in one] == ([failure.value] if failure else [])
    # The other one is in the library's barrier, which has no end of its own; that is the supervisors' part.
    time.sleep(0.5)
    assert ranks.processes[0].poll() is None


ALONE = """
import base64, json, os, sys
from gpuquery.runner.engines import communicator
from gpuquery.runner.engines.rapidsmpf_options import settings
from gpuquery.runner.failures.errors import JobError

class Ranks:
    size = 2
    index = int(sys.argv[1])
    def gate(self, name, value=None, *, seconds):
        if value and "and-end" in sys.argv:
            print(value, flush=True)
            os._exit(0)
        return [value or sys.argv[2], None]
    def note(self, **facts):
        pass

try:
    communicator.form(Ranks(), settings({}).rapidsmpf, seconds=3)
except JobError as error:
    print(json.dumps({"failure": error.failure.value, "message": error.message}), flush=True)
os._exit(0)
"""
"""A rank whose gates are open at once, though the other one never comes."""


def alone(probe: Probe, *words: str) -> subprocess.CompletedProcess[str]:
    """Run such a rank to its end."""
    command = [str(python_of(probe.release.name)), "-c", ALONE, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=environment(**TCP))


def test_a_rank_that_never_connects_is_not_waited_for_forever(probe: Probe) -> None:
    said = json.loads(alone(probe, "0").stdout)
    assert said["failure"] == Failure.RANK_STALLED.value
    assert said["message"].startswith("waiting for all 2 ranks to connect took longer than 3 s")


def test_a_root_that_is_gone_ends_the_rank_in_bounded_time_with_words_that_are_known(probe: Probe) -> None:
    """UCX itself ends the process, or the connection never comes; nothing waits for longer."""
    address = alone(probe, "0", "-", "and-end").stdout.strip()
    done = alone(probe, "1", address)
    if done.returncode == -signal.SIGABRT:
        words = native.last_words(done.stderr)
        assert words is not None, done.stderr
        assert words[0] is Failure.TRANSPORT_ERROR
    else:
        assert json.loads(done.stdout)["failure"] == Failure.RANK_STALLED.value, done.stderr


@pytest.mark.parametrize("wrong", ["one", "1:run:explode", "1:lunch:exit"])
def test_a_fault_that_is_none_is_refused(probe: Probe, tmp_path: Path, wrong: str) -> None:
    wanted = asked(tmp_path, 1, probe.release.name)
    ranks = Ranks(python_of(probe.release.name), tmp_path, 1, wanted, "run", **TCP, TEST_ENGINE_FAULT=wrong)
    try:
        code, _ = ranks.one(0)
        assert code == 1
        assert f'"{wrong}" is no fault: write rank:phase:kind' in ranks.log(0)
    finally:
        ranks.close()


@pytest.mark.parametrize("query", ["Q1", "Q3", "revenue-by-region"])
def test_the_tests_for_gpus_find_the_right_rows_right(probe: Probe, tmp_path: Path, query: str) -> None:
    """tests/gpu with the test engine in place of the real one: what is left to a GPU is the engine alone."""
    tpch.generate(tmp_path / "tables", 0.01)
    release = {"release": probe.release.name, "cluster": "distributed", "replicas": 2}
    if query in cells.TPCH:
        wanted = cells.wanted(tmp_path, tmp_path / "tables", cells.TPCH[query], language="python", **release)
    else:
        spec = cells.example(query)
        wanted = cells.wanted(
            tmp_path, tmp_path / "tables", spec["query"]["sql"], parameters=spec["parameters"], **release
        )
    ranks = Ranks(python_of(probe.release.name), tmp_path, 2, wanted, "run", **TCP)
    try:
        said = ranks.ended()
        assert ["added" in one[-1] for one in said] == [True, True], ranks.log(0)[-2000:]
        same(pl.read_parquet(ranks.kept), cells.expected(wanted))
    finally:
        ranks.close()


def test_26_04_runs_one_process_and_names_the_missing_gpu(tmp_path: Path) -> None:
    if NAMED and "26.04" not in NAMED:
        pytest.skip("26.04 was not asked for")
    python = python_of("26.04")
    wanted = asked(tmp_path, 1, "26.04").model_copy(update={"cluster": "single"})
    stub = str(environments.nvml_stub(python.parents[1]))
    ranks = Ranks(python, tmp_path, 1, wanted, "own", "run", LD_LIBRARY_PATH=stub)
    try:
        said = ranks.one(0)[1]
        assert said[0] == {"joined": 0, "engine": "RapidsmpfEngine"}, ranks.log(0)
        assert said[1]["failure"] == Failure.NO_GPU.value, said
        assert ranks.gates.gates == []
    finally:
        ranks.close()
