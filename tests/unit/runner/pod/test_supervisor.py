"""The supervisor as a real process: how a query may end, and what is told while it runs."""

import asyncio
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from gpuquery.api.reasons import Failure, Policy
from gpuquery.api.report import Phase, Progress
from gpuquery.reconcile.report.commitment import BEFORE
from gpuquery.runner import supervisor
from gpuquery.runner.coordination import settings
from gpuquery.runner.failures import obituary, oom
from gpuquery.runner.pod.log import Log
from gpuquery.runner.pod.process import Process, last_report
from gpuquery.runner.pod.report import UNTOLD
from tests.support import broken_files
from tests.support import delta_tables as d
from tests.support import pod as support
from tests.support.pod import WAIT_SECONDS, Pod, until
from tests.support.runner import plan, result


@pytest.fixture
def numbers(tmp_path):
    pl.DataFrame({"n": range(1_000_000)}).with_columns(k=pl.col("n") % 3).write_parquet(
        tmp_path / "t.parquet", row_group_size=50_000
    )
    return f"file://{tmp_path}/t.parquet"


@pytest.fixture
def held(tmp_path, numbers):
    """A pod whose query has written half of its rows and goes no further."""
    pod = support.held(tmp_path, numbers, 500_000)
    yield pod
    if pod.process.poll() is None:
        pod.process.terminate()
        pod.process.communicate(timeout=WAIT_SECONDS)


def test_authorities_that_are_none_end_the_attempt_before_it_begins(tmp_path, numbers):
    file = tmp_path / "ca.crt"
    file.write_text("my authority")
    code, report = Pod(tmp_path, plan(tmp_path, "select 1 a", inputs={}), GPUQUERY_CA_FILE=str(file)).end()
    assert code == 1 and report.failure is Failure.INVALID_ENDPOINT
    assert "storage.caConfigMapName: ca.crt holds no certificate in PEM" in report.message


def test_a_committed_query_ends_with_0_and_its_report(tmp_path, numbers):
    output = {"uri": f"file://{tmp_path}/out", "partitionBy": ["k"]}
    wanted = plan(tmp_path, "select n, k from t where n < :m", inputs={"t": numbers}, output=output,
                  parameters={"m": {"integer": 10}})  # fmt: skip
    code, report = Pod(tmp_path, wanted).end()
    assert code == 0
    assert report.committed is not None
    assert (report.committed.rows, report.committed.partitions, report.committed.version) == (10, 3, 1)
    assert report.query_started is not None
    assert report.finished is not None
    assert sorted(result(tmp_path)["n"]) == list(range(10))


def test_a_wrong_query_ends_with_1_and_its_class(tmp_path, numbers):
    pod = Pod(tmp_path, plan(tmp_path, "select nope from t", inputs={"t": numbers}))
    code, report = pod.end()
    assert (code, report.failure, report.committed) == (1, Failure.INVALID_QUERY, None)
    assert 'column "nope" does not exist (known: t: n, k)' in report.message
    assert "InvalidQuery" in pod.stderr


def test_the_same_attempt_again_commits_once(tmp_path, numbers):
    wanted = plan(tmp_path, "select n from t", inputs={"t": numbers})
    first, again = Pod(tmp_path, wanted).end(), Pod(tmp_path, wanted).end()
    assert first[0] == again[0] == 0
    assert first[1].committed == again[1].committed
    assert result(tmp_path).height == 1_000_000


def test_a_running_query_answers_for_itself(held):
    until(lambda: held.get("/v1/progress")[0] == 200)
    _, body = held.get("/v1/progress")
    assert Progress.model_validate_json(body).phase is Phase.RUNNING
    assert held.get("/healthz")[0] == held.get("/readyz")[0] == 200
    assert held.get("/nothing")[0] == 404
    status, metrics = held.get("/metrics")
    assert status == 200
    assert 'gpuquery_phase{phase="running"} 1' in metrics
    assert "# TYPE gpuquery_written_rows gauge" in metrics


def test_sigterm_withdraws_what_was_staged_within_five_seconds(held, tmp_path):
    began = time.monotonic()
    held.process.send_signal(signal.SIGTERM)
    code, report = held.end(10)
    assert time.monotonic() - began < 5
    assert (code, report.failure) == (1, Failure.WORKER_LOST)
    assert "SIGTERM" in report.message
    assert [p for p in (tmp_path / "out").rglob("*.parquet*") if p.is_file()] == []
    assert list((tmp_path / "out" / "_commits").glob("*.json")) == []


def takes(status: dict[str, str], number: int) -> bool:
    """Whether the kernel may hand this thread a signal that was sent to its process."""
    return not int(status["SigBlk"], 16) >> (number - 1) & 1


def test_an_order_to_stop_that_another_thread_of_the_query_takes_is_obeyed(held):
    query = held.query_process()
    other = next(
        thread
        for thread, status in held.threads().items()
        if int(status["Tgid"]) == query != thread and takes(status, signal.SIGTERM)
    )
    assert ctypes.CDLL(None).tgkill(query, other, signal.SIGTERM) == 0
    began = time.monotonic()
    _, report = held.end(10)
    assert time.monotonic() - began < 5
    assert report.failure is Failure.WORKER_LOST
    assert "stopped by SIGTERM before the result was committed" in report.message


def test_the_supervisor_has_one_thread_so_that_no_other_takes_an_order_to_stop(held):
    until(lambda: held.get("/healthz")[0] == 200)
    threads = {n: status for n, status in held.threads().items() if int(status["Tgid"]) == held.process.pid}
    assert list(threads) == [held.process.pid]
    for number in (signal.SIGTERM, signal.SIGINT):
        assert takes(threads[held.process.pid], number)


def test_an_order_to_stop_in_the_moment_of_the_end_costs_no_exit_code(tmp_path):
    (tmp_path / "program.py").write_text("raise SystemExit(3)")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    wanted = settings.read({}, tmp_path, environment, program="program", port=0)
    loop = asyncio.new_event_loop()
    process = Process(wanted, 0, loop, Log(loop), lambda *_: None)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended and is not reaped
    process.signal(signal.SIGTERM)
    pid, status = os.waitpid(process.pid, os.WNOHANG)
    assert (pid, os.waitstatus_to_exitcode(status)) == (process.pid, 3)


def test_what_a_process_sent_before_it_ended_is_read_to_the_last(tmp_path):
    many = 150
    (tmp_path / "program.py").write_text(
        "import os, sys\n"
        "fd = int(sys.argv[sys.argv.index('--progress-fd') + 1])\n"
        f"for n in range({many}):\n"
        """    os.write(fd, b'{"phase":"running","rows":%d}\\n' % n)\n"""
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    wanted = settings.read({}, tmp_path, environment, program="program", port=0)
    loop, taken = asyncio.new_event_loop(), []
    process = Process(wanted, 0, loop, Log(loop), lambda _, message: taken.append(message["progress"]["rows"]))
    _, status = os.waitpid(process.pid, 0)  # the supervisor had no time for it meanwhile
    process.ended(os.waitstatus_to_exitcode(status))
    assert (process.status, taken) == (0, list(range(many)))


def test_a_killed_query_process_is_a_lost_worker(held):
    os.kill(held.query_process(), signal.SIGKILL)
    code, report = held.end(10)
    assert (code, report.failure) == (1, Failure.WORKER_LOST)
    assert "SIGKILL" in report.message


def test_a_query_process_that_is_killed_has_told_which_snapshot_it_read_so_that_a_retry_reads_it_again(tmp_path):
    lake, fields = tmp_path / "lake", [d.field("v", "long")]
    d.commit(lake, 0, d.protocol(), d.metadata(fields), d.add(lake, "x.parquet", pa.table({"v": [1, 2]})))
    table = {"uri": f"file://{lake}", "format": "auto", "hivePartitioned": None, "delta": {}}
    pod = support.held(tmp_path, table, 0)
    d.commit(lake, 1, d.add(lake, "y.parquet", pa.table({"v": [30]})))
    os.kill(pod.query_process(), signal.SIGKILL)
    _, report = pod.end(10)
    assert report.failure is Failure.WORKER_LOST
    (read,) = report.inputs
    assert (read.name, read.files, read.snapshot) == ("t", 1, f"delta:{d.ID}@0")
    again = plan(tmp_path, "SELECT sum(v) AS v FROM t", inputs={"t": table}, snapshots={"t": read.snapshot}, attempt=2)
    assert Pod(tmp_path, again).end()[1].committed
    assert result(tmp_path).rows() == [(3,)], "the table has moved on meanwhile"


def test_a_query_process_that_crashes_in_native_code_is_a_lost_worker_if_all_files_can_be_read(held):
    os.kill(held.query_process(), signal.SIGSEGV)
    _, report = held.end()
    assert report.failure is Failure.WORKER_LOST
    assert "SIGSEGV" in report.message
    assert "Segmentation fault" in held.stderr, "the log shows the stacks"


CRASH = """
import os, signal
from gpuquery.runner.stores.posix import PosixStore
from gpuquery.runner.output.sink import Sink
from gpuquery.runner.output.upload import Uploads

def full(*_):
    raise OSError(28, "No space left on device")

def crash(*_):
    os.kill(os.getpid(), signal.SIGSEGV)
    signal.pause()

fail = Uploads.fail
PosixStore.upload = full
{crashing}

def query(inputs, params):
    return inputs["t"]
"""


@pytest.mark.parametrize(
    "crashing",
    [
        pytest.param("Uploads.fail = lambda self, exc: (fail(self, exc), crash())", id="while Polars lets go"),
        pytest.param("Sink.abort = crash", id="while it withdraws"),
    ],
)
def test_a_fault_is_told_though_the_process_crashes_afterwards(tmp_path, numbers, crashing):
    source = CRASH.format(crashing=crashing)
    pod = Pod(tmp_path, plan(tmp_path, source, language="python", inputs={"t": numbers}))
    code, report = pod.end()
    assert (code, report.failure) == (1, Failure.SCRATCH_FULL)
    assert "No space left" in report.message
    assert report.query_started is not None
    assert "died of signal 11 (SIGSEGV) after" in pod.stderr


def test_a_wrong_query_is_told_though_the_process_crashes_afterwards(tmp_path, numbers):
    source = CRASH.format(crashing="Sink.abort = crash").replace('return inputs["t"]', 'raise ValueError("a mistake")')
    code, report = Pod(tmp_path, plan(tmp_path, source, language="python", inputs={"t": numbers})).end()
    assert (code, report.failure) == (1, Failure.USER_ERROR)
    assert "a mistake" in report.message


def test_an_order_to_stop_is_told_though_the_process_crashes_afterwards(tmp_path, numbers):
    source = CRASH.format(crashing="Sink.abort = crash").replace(
        'return inputs["t"]', "os.kill(os.getpid(), signal.SIGTERM)\n    signal.pause()"
    )
    code, report = Pod(tmp_path, plan(tmp_path, source, language="python", inputs={"t": numbers})).end()
    assert (code, report.failure) == (1, Failure.WORKER_LOST)
    assert report.message == "stopped by SIGTERM before the result was committed"


def test_a_report_that_a_dying_process_did_not_finish_does_not_count():
    fd = os.memfd_create("report")
    assert last_report(fd) == ""
    os.write(fd, b'{"failure":')
    assert last_report(fd) == ""
    os.write(fd, b'"UserError"}\n{"failure":"Work')
    assert last_report(fd) == '{"failure":"UserError"}'
    os.write(fd, b'erLost"}\n')
    assert last_report(fd) == '{"failure":"WorkerLost"}'


def test_a_query_process_that_ends_without_a_word_is_told(tmp_path):
    source = "import os\nos._exit(7)\ndef query(inputs, params): ..."
    code, report = Pod(tmp_path, plan(tmp_path, source, language="python")).end()
    assert (code, report.failure) == (1, Failure.USER_ERROR)
    assert "exit code 7" in report.message


def test_a_query_that_ends_its_process_well_is_its_authors_mistake_with_its_last_words_and_no_secret(tmp_path):
    source = (
        "import os, sys\ndef query(inputs, params):\n    print('so far so good', os.environ['AWS_SECRET_ACCESS_KEY'], "
        "file=sys.stderr)\n    os._exit(0)\n"
    )
    pod = Pod(tmp_path, plan(tmp_path, source, language="python"), AWS_SECRET_ACCESS_KEY="planted-secret-value")
    code, report = pod.end()
    assert (code, report.failure) == (1, Failure.USER_ERROR)
    assert "exit code 0" in report.message
    assert "os._exit" in report.message
    assert report.message.endswith("its last lines:\nso far so good ***")
    assert "so far so good planted-secret-value" in pod.stderr, "the log is the author's own"


LATE = """
import os
from gpuquery.runner.stores.posix import PosixStore

if "LATE" in os.environ:
    PosixStore.complete = lambda *_: os._exit(0)

def query(inputs, params):
    return inputs["t"]
"""


def test_a_query_that_ends_its_process_after_the_record_is_tried_again_and_the_next_attempt_publishes(
    tmp_path, numbers
):
    wanted = plan(tmp_path, LATE, language="python", inputs={"t": numbers})
    code, report = Pod(tmp_path, wanted, LATE="1").end()
    assert (code, report.failure) == (1, Failure.WORKER_LOST)
    assert report.failure.policy is Policy.BUDGETED
    assert "after the commit" in report.message
    code, report = Pod(tmp_path, wanted.model_copy(update={"attempt": 2})).end()
    assert (code, report.committed.rows) == (0, 1_000_000)


@pytest.mark.parametrize(
    ("phase", "want"),
    [
        pytest.param("", Failure.INTERNAL_ERROR, id="before it has begun, it is not the author's doing"),
        pytest.param("running", Failure.USER_ERROR, id="while the query runs, its author has ended it"),
        pytest.param("committing", Failure.WORKER_LOST, id="while the record is written, it may be committed"),
        pytest.param("publishing", Failure.WORKER_LOST, id="after the record, it is committed"),
        pytest.param("done", Failure.WORKER_LOST, id="before it could say so, it is committed"),
    ],
)
def test_a_python_query_that_ends_its_process_is_a_mistake_only_as_long_as_nothing_can_be_committed(phase, want):
    failure, _ = obituary.ended("the process", 0, [], oom_killed=False, phase=phase, python=True)
    assert failure is want
    assert (failure in BEFORE) is (want is Failure.USER_ERROR)


def test_a_query_that_closes_what_it_has_not_opened_is_told_so_and_does_not_hang(tmp_path, numbers):
    source = "import os\ndef query(inputs, params):\n    os.closerange(0, 1000)\n    return inputs['t']\n"
    code, report = Pod(tmp_path, plan(tmp_path, source, language="python", inputs={"t": numbers})).end()
    assert (code, report.failure) == (1, Failure.USER_ERROR)
    assert "os.closerange" in report.message


def test_a_query_that_closes_its_output_streams_is_committed(tmp_path, numbers):
    source = (
        "import os, sys\ndef query(inputs, params):\n    os.close(1)\n    sys.stdout.close()\n    sys.stderr.close()\n"
        "    return inputs['t']\n"
    )
    code, report = Pod(tmp_path, plan(tmp_path, source, language="python", inputs={"t": numbers})).end()
    assert (code, report.failure) == (0, None)


def test_an_image_that_lacks_a_package_is_told_by_its_name_and_never_tried_again(tmp_path):
    (tmp_path / "polars.py").write_text("raise ModuleNotFoundError(\"No module named 'polars'\")")
    code, report = Pod(tmp_path, plan(tmp_path, "select 1 as a"), PYTHONPATH=str(tmp_path)).end()
    assert (code, report.failure) == (1, Failure.INVALID_PLAN)
    assert report.failure.policy is Policy.NEVER
    assert "No module named 'polars'" in report.message
    assert "runtime.image" in report.message


BUSY = """
import os, time
import polars as pl

def query(inputs, params):
    inputs["t"].head(1).collect()

    def busy(frame):
        while not os.path.exists(params["gate"]):
            sum(range(10_000))
        return frame

    return inputs["t"].select(pl.col("n").sum()).map_batches(busy)
"""


def test_a_query_that_has_written_nothing_yet_tells_that_it_works_and_what_it_warns_of(tmp_path, numbers):
    gate = tmp_path / "gate"
    parameters = {"gate": {"string": str(gate)}}
    pod = Pod(tmp_path, plan(tmp_path, BUSY, language="python", inputs={"t": numbers}, parameters=parameters))

    def told() -> Progress | None:
        status, body = pod.get("/v1/progress")
        return Progress.model_validate_json(body) if status == 200 else None

    until(lambda: (found := told()) is not None and found.cpu_seconds > 0 and found.warnings)
    first = told()
    assert first is not None
    assert (first.phase, first.rows) == (Phase.RUNNING, 0)
    assert "calls collect()" in first.warnings[0]
    until(lambda: (found := told()) is not None and found.cpu_seconds > first.cpu_seconds)
    gate.touch()
    code, report = pod.end()
    assert (code, report.warnings) == (0, first.warnings)


DEADLOCK = """
import threading

def query(inputs, params):
    threading.Lock().acquire() and threading.Event().wait()
    return inputs["t"]
"""


def test_a_query_that_does_nothing_for_its_limit_is_ended_and_told_with_the_authors_line(tmp_path, numbers):
    wanted = plan(tmp_path, DEADLOCK, language="python", inputs={"t": numbers}, stallSeconds=2)
    pod = Pod(tmp_path, wanted)
    code, report = pod.end()
    assert (code, report.failure) == (1, Failure.RANK_STALLED)
    assert "has done nothing for 2 s" in report.message
    assert "at most 2 % of a processor" in report.message
    assert "at most 64 KiB/s over the network" in report.message
    assert "query.py line 5, in query" in report.message
    assert "most recent call first" in pod.stderr


def test_a_query_that_computes_for_longer_than_the_limit_is_left_alone(tmp_path, numbers):
    source = (
        "import time\ndef query(inputs, params):\n    until = time.monotonic() + 6\n"
        "    while time.monotonic() < until: pass\n    return inputs['t']\n"
    )
    wanted = plan(tmp_path, source, language="python", inputs={"t": numbers}, stallSeconds=2)
    code, report = Pod(tmp_path, wanted).end()
    assert (code, report.failure) == (0, None)


def test_a_report_that_cannot_be_written_is_told_in_the_log_and_by_the_exit_code(tmp_path):
    wanted = plan(tmp_path, "select nope")
    (tmp_path / "plan.json").write_text(wanted.model_dump_json(by_alias=True))
    log = tmp_path / "missing" / "termination-log"
    ended = subprocess.run(
        [sys.executable, "-m", "gpuquery.runner.supervisor", "--plan", str(tmp_path / "plan.json"), "--port", "0",
         "--termination-log", str(log)],
        stderr=subprocess.PIPE, text=True, timeout=WAIT_SECONDS, check=False,
    )  # fmt: skip
    assert ended.returncode == UNTOLD
    assert f"cannot write {log}" in ended.stderr
    assert '"failure":"InvalidQuery"' in ended.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param('{"version": 9}', ["version 9", "version 1", "runtime image"], id="another version"),
        pytest.param("{", ["cannot be read"], id="broken JSON"),
        pytest.param('{"version": 1, "attempt": "x"}', ["broken at"], id="a broken field"),
    ],
)
def test_a_plan_that_this_image_does_not_know_is_refused(tmp_path, text, words):
    code, report = Pod(tmp_path, text).end()
    assert (code, report.failure) == (1, Failure.INVALID_PLAN)
    for word in words:
        assert word in report.message


def test_an_engine_that_this_image_does_not_have_is_refused_with_those_it_has(tmp_path):
    known = plan(tmp_path, "select 1 as a").model_dump_json(by_alias=True)
    code, report = Pod(tmp_path, known.replace('"engine":"cpu"', '"engine":"steam"')).end()
    assert (code, report.failure) == (1, Failure.INVALID_PLAN)
    assert '"steam"' in report.message
    assert "cpu" in report.message


def test_a_port_that_is_taken_costs_the_progress_but_not_the_result(tmp_path, held):
    (tmp_path / "second").mkdir()
    wanted = plan(tmp_path / "second", "select 1 as a")
    pod = Pod.__new__(Pod)
    command = [sys.executable, "-m", "gpuquery.runner.supervisor", "--port", str(held.port)]
    (tmp_path / "second" / "plan.json").write_text(wanted.model_dump_json(by_alias=True))
    pod.log = tmp_path / "second" / "log"
    pod.process = subprocess.Popen(
        [*command, "--plan", str(tmp_path / "second" / "plan.json"), "--termination-log", str(pod.log)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert pod.end()[0] == 0
    assert f"port {held.port}" in pod.stderr


def test_secrets_of_the_environment_stand_in_no_report_and_in_no_log(tmp_path):
    source = "import os\ndef query(inputs, params):\n    raise ValueError(os.environ['AWS_SECRET_ACCESS_KEY'])\n"
    pod = Pod(tmp_path, plan(tmp_path, source, language="python"), AWS_SECRET_ACCESS_KEY="planted-secret-value")
    _, report = pod.end()
    assert report.failure is Failure.USER_ERROR
    assert "query.py line 3" in report.message
    assert "planted-secret-value" not in report.to_line() + pod.stderr


def test_a_query_gives_memory_back_in_the_way_that_every_kernel_keeps_safe(tmp_path):
    source = f"import os\ndef query(inputs, params):\n    raise ValueError(os.environ[{supervisor.ALLOCATOR!r}])\n"
    wanted = plan(tmp_path, source, language="python")
    _, report = Pod(tmp_path, wanted, **{supervisor.ALLOCATOR: "narenas:3"}).end()
    assert re.findall(r"muzzy_decay_ms:(-?\d+)", report.message)[-1] == "0", "the last one counts"
    assert "narenas:3" in report.message


def test_a_report_that_is_too_long_is_cut_to_what_the_kubelet_keeps(tmp_path):
    source = "def query(inputs, params):\n    raise ValueError('é' * 20_000)\n"
    _, report = Pod(tmp_path, plan(tmp_path, source, language="python")).end()
    assert report.failure is Failure.USER_ERROR
    assert "..." in report.message


@pytest.mark.parametrize(
    ("layout", "self_cgroup"),
    [
        pytest.param({"memory.events": "low 0\noom 3\noom_kill 2\n", "memory.max": "67108864\n"}, "0::/\n", id="v2"),
        pytest.param(
            {"pod/memory.events": "oom_kill 2\n", "pod/memory.max": "67108864\n"},
            "0::/pod\n",
            id="v2 without namespace",
        ),
        pytest.param(
            {
                "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
                "memory/memory.limit_in_bytes": "67108864\n",
            },
            "4:memory:/\n0::/\n",
            id="v1",
        ),
    ],
)
def test_the_cgroups_counter_of_oom_kills_is_read(tmp_path, layout, self_cgroup):
    for name, text in layout.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "self").write_text(self_cgroup)
    assert oom.kills(tmp_path, tmp_path / "self") == 2
    assert oom.limit(tmp_path, tmp_path / "self") == "64 MiB"


def test_without_a_cgroup_nothing_was_killed_for_memory(tmp_path):
    assert oom.kills(tmp_path, tmp_path / "none") == 0
    assert oom.limit(tmp_path, tmp_path / "none") == ""


@pytest.fixture
def cgroup():
    """A cgroup of 512 MiB below this process's memory controller, where such a one can be made."""
    root = Path("/sys/fs/cgroup/memory") if Path("/sys/fs/cgroup/memory").is_dir() else Path("/sys/fs/cgroup")
    limit = "memory.limit_in_bytes" if root.name == "memory" else "memory.max"
    folder = root / f"gpuquery-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / limit).write_text(str(512 * 2**20))
    except OSError as exc:
        pytest.skip(f"no cgroup of our own: {exc}")
    yield folder
    until(lambda: not (folder / "cgroup.procs").read_text().split())
    folder.rmdir()


def test_a_query_that_outgrows_its_memory_is_told_as_such(tmp_path, cgroup):
    source = "def query(inputs, params):\n    rows = bytearray(2 * 2**30)\n    return inputs['t']\n"
    # The supervisor is in its cgroup from the start, as in a container: what was killed outside of it does not count.
    code, report = Pod(tmp_path, plan(tmp_path, source, language="python"), cgroup=cgroup).end()
    assert code == 1
    assert report.failure is Failure.HOST_OUT_OF_MEMORY
    assert "workers.resources.limits.memory" in report.message
    assert json.loads(report.to_line())["failure"] == "HostOutOfMemory"


def test_a_file_that_crashes_the_reader_is_named_and_the_query_is_not_tried_again(tmp_path):
    for n in range(3):
        data = broken_files.parquet(n * broken_files.ROWS)
        (tmp_path / f"{n}.parquet").write_bytes(broken_files.crashing(data) if n == 1 else data)
    wanted = plan(tmp_path, "select max(s) as s from t", inputs={"t": f"file://{tmp_path}/*.parquet"})
    pod = Pod(tmp_path, wanted)
    code, report = pod.end()
    assert code == 1
    assert report.failure is Failure.INVALID_INPUT, report.message
    assert report.failure.policy is Policy.NEVER
    assert f'input "t": {tmp_path}/1.parquet cannot be read at row group 2' in report.message
