"""Sets of supervisors as real processes: how they form, what they tell, and that every fault ends all of them.

`test_clock.py` tells the stories that wait for time without processes; here stands one of each kind, and the others are
in the long schedule.
"""

import json
import os
import random
import re
import signal
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.report import Progress
from gpuquery.api.timing import STOP_SECONDS
from gpuquery.runner.coordination.wire import frame
from tests.support.ranks import TOKEN, Set, until


@pytest.fixture
def make(tmp_path):
    """A function that makes sets; at the end nothing of them may be left."""
    made = []

    def build(pods=3, gpus=1, **told):
        folder = tmp_path / f"set-{len(made)}"
        folder.mkdir()
        made.append(Set(folder, pods, gpus, **told))
        return made[-1]

    yield build
    for one in made:
        one.close()


def gone(one):
    """Nothing of a set is left running: no process, no orphan, no zombie."""
    until(lambda: not one.processes(), 10, "something is left running")


def formed(one):
    """Wait until all pods have come to index 0."""
    until(lambda: one.supervisors[0].stderr.count("has come") == one.pods - 1)


def failed(one, failure, *words, but=(), within=10.0, since=None):
    """All pods but some end in time, with 1 and the one first cause."""
    began = since or time.monotonic()
    for index, supervisor in one.supervisors.items():
        if index in but:
            continue
        code, report = supervisor.end(60)
        assert (code, report.failure) == (1, failure), (index, report, one.logs())
        for word in words:
            assert word in report.message, (index, report.message)
        assert report.committed is None
        assert report.finished is not None
    took = time.monotonic() - began
    assert took < within, (took, one.logs())
    gone(one)


# How a set forms and ends well.


@pytest.mark.parametrize(
    ("pods", "gpus"), [(1, 1), (2, 1), (3, 1), pytest.param(8, 1, marks=pytest.mark.faults), (2, 4), (2, 0)]
)
def test_a_set_forms_and_ends_with_one_commit(make, pods, gpus):
    one = make(pods, gpus, beat=60).start()
    ends = one.ends()
    assert [code for code, _ in ends] == [0] * pods, one.logs()
    assert [report.committed is not None for _, report in ends] == [index == 0 for index in range(pods)]
    assert all(report.succeeded for _, report in ends)
    assert all(report.done for _, report in ends[1:])
    gone(one)


def test_pods_may_come_in_any_order_and_late(make):
    one = make(3, beat=60)
    one.start(2)
    one.pid("2-0", "start")
    one.start(1)
    one.start(0)
    assert [code for code, _ in one.ends()] == [0, 0, 0], one.logs()


def test_each_process_gets_its_own_gpu_of_those_that_are_visible(make):
    one = make(1, 2, hold="joined", beat=60).start(CUDA_VISIBLE_DEVICES="GPU-aaa, GPU-bbb")
    pids = one.all_at("joined")
    found = [re.search(rb"CUDA_VISIBLE_DEVICES=([^\0]*)", Path(f"/proc/{pid}/environ").read_bytes())[1] for pid in pids]
    assert found == [b"GPU-aaa", b"GPU-bbb"]
    assert len({os.getpgid(pid) for pid in pids}) == 2


def test_fewer_visible_gpus_than_planned_is_told(make):
    one = make(1, 2).start(CUDA_VISIBLE_DEVICES="GPU-aaa")
    failed(one, Failure.NO_GPU, "GPU-aaa", "pod-0")


def test_readiness_means_that_all_have_joined(make):
    one = make(2, 2, hold="up", beat=60).start()
    one.all_at("up")
    for index in (0, 1):
        until(lambda i=index: one.supervisors[i].get("/readyz")[0] == 503)
        assert one.supervisors[index].get("/healthz")[0] == 200
    assert "0 of 4" in one.supervisors[0].get("/readyz")[1]
    assert Progress.model_validate_json(one.supervisors[0].get("/v1/progress")[1]).joined == 0


def test_the_board_of_index_0_adds_up_and_names_who_is_where(make):
    one = make(2, 2, hold="running", beat=60).start()
    one.all_at("running")
    board = one.supervisors[0]
    until(lambda: Progress.model_validate_json(board.get("/v1/progress")[1]).rows == 40)
    progress = Progress.model_validate_json(board.get("/v1/progress")[1])
    assert (progress.files, progress.bytes, progress.ranks, progress.joined) == (4, 400, 4, 4)
    assert (progress.spilled_bytes, progress.gpu_memory_peak, progress.gpu_utilization) == (20, 3, 50)
    assert progress.phase == "running"
    assert [one.supervisors[i].get("/readyz")[0] for i in (0, 1)] == [200, 200]
    ranks = json.loads(board.get("/v1/ranks")[1])
    assert [(r["process"], r["pod"], r["gpu"], r["notes"]["rank"]) for r in ranks] == [
        (0, "pod-0", 0, 3), (1, "pod-0", 1, 2), (2, "pod-1", 0, 1), (3, "pod-1", 1, 0),
    ]  # fmt: skip
    assert board.stderr.count("process 3 has joined: pod pod-1, GPU 1: rank 0, gpu GPU-1") == 1
    status, metrics = one.supervisors[1].get("/metrics")
    assert status == 200
    assert 'gpuquery_written_rows{process="3",pod="pod-1",gpu="1"} 10' in metrics
    assert 'process="0"' not in metrics, "sums over pods count each process once"
    assert board.get("/nothing")[0] == 404
    one.go()
    assert [code for code, _ in one.ends()] == [0, 0]


def test_values_of_32_kib_pass_a_barrier(make):
    one = make(3, 2, bytes=32 * 1024 - 2, beat=60).start()
    assert [code for code, _ in one.ends()] == [0, 0, 0], one.logs()


def test_what_nobody_reads_of_the_log_holds_up_no_process(make, tmp_path):
    one = make(1, fault={"0": ["running", "shout"]}, beat=60)
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with open(tmp_path / "log", "w") as log:
            one.start(output=log)
            assert [code for code, _ in one.ends()] == [0], "nobody has read a line"
        lines = os.read(reader, 65536).split(b"\n")
        assert lines[-2].startswith(b"line "), "whole lines"
    finally:
        os.close(reader)


# Faults of processes.

MOMENTS = ("start", "up", "joined", "running", "committing")


def usually(*moments):
    """All moments; what happens at other than these is in the long schedule."""
    return [moment if moment in moments else pytest.param(moment, marks=pytest.mark.faults) for moment in MOMENTS]


def at(moment):
    """Which process a fault at a moment is given to, and under which name it stands there."""
    return "0" if moment == "committing" else "1-0" if moment == "start" else "1"


@pytest.mark.parametrize("moment", ["start", pytest.param("joined", marks=pytest.mark.faults), "running"])
@pytest.mark.parametrize(
    ("kind", "failure", "words"),
    [
        pytest.param("exit", Failure.INTERNAL_ERROR, ["exit code 3", "the last line before the end"], id="exit"),
        pytest.param("abort", Failure.WORKER_LOST, ["SIGABRT", "std::bad_thing"], id="abort"),
    ],
)
def test_a_process_that_dies_ends_all(make, moment, kind, failure, words):
    one = make(3, fault={at(moment): [moment, kind]}).start()
    failed(one, failure, "pod pod-1, GPU 0", *words, within=60)


@pytest.mark.parametrize("moment", usually("start", "running"))
def test_a_killed_process_ends_all_in_time(make, moment):
    one = make(3, hold=moment).start()
    pid = one.pid(at(moment), moment)
    formed(one)
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    place = "pod pod-0" if moment == "committing" else "pod pod-1"
    failed(one, Failure.WORKER_LOST, place, "SIGKILL", since=began)


@pytest.mark.parametrize("victim", ["0", "1"])
def test_a_set_that_dies_without_a_report_says_which_snapshots_it_has_read(make, victim):
    tables = [{"name": "t", "files": 3, "bytes": 9, "digest": "ab", "snapshot": "delta:7@3"}]
    one = make(2, hold="running", inputs=tables, beat=60).start()
    one.all_at("running")
    until(lambda: Progress.model_validate_json(one.supervisors[0].get("/v1/progress")[1]).inputs)
    os.kill(one.pid(victim, "running"), signal.SIGKILL)
    told = [report.inputs for _, report in one.ends()]
    assert [[read.snapshot for read in inputs] for inputs in told] == [["delta:7@3"], []], "index 0 knows"


@pytest.mark.parametrize("moment", usually("running"))
def test_a_frozen_process_ends_all_in_time(make, moment):
    one = make(3, hold=moment, beat=6).start()
    pid = one.pid(at(moment), moment)
    formed(one)
    began = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    failed(one, Failure.RANK_STALLED, "pod pod-0" if moment == "committing" else "pod pod-1", since=began, within=11)


def test_a_process_that_holds_its_interpreter_ends_all(make):
    one = make(3, fault={"1": ["running", "gil"]}).start()
    failed(one, Failure.RANK_STALLED, "pod pod-1", "no sign of life", within=60)


def test_processes_that_all_wait_for_each_other_are_ended_where_the_plan_says_so(make):
    one = make(2, hold="running", plan={"stallSeconds": 2}, beat=60).start()
    failed(one, Failure.RANK_STALLED, "no process has made progress for 2 s: 2 of 2 processes run", within=60)


@pytest.mark.faults
def test_one_that_moves_keeps_those_alive_that_wait_for_it_and_is_named_once_it_hangs(make):
    one = make(3, fault={"1": ["running", "idle"]}, plan={"stallSeconds": 3}, beat=60).start()
    one.pid(1, "running")
    began = time.monotonic()
    failed(one, Failure.RANK_STALLED, "for 3 s: 1 of 3 processes run the query", ": pod pod-1", within=60)
    assert time.monotonic() - began > 6.5, "it came further for five seconds, and others waited longer than the limit"


def test_a_commit_may_take_longer_than_progress_is_waited_for(make):
    one = make(2, hold="committing", plan={"stallSeconds": 1}, beat=60).start()
    one.pid(0, "committing")
    time.sleep(3)
    one.go()
    assert [code for code, _ in one.ends()] == [0, 0], one.logs()
    assert "no process has made progress" not in one.logs(), "a commit that stands hides what was told of it"


def test_a_process_that_tells_a_failure_is_the_cause_in_its_own_words(make):
    one = make(3, 2, fault={"4": ["running", "fail"]}).start()
    failed(one, Failure.USER_ERROR, within=60)
    _, report = one.supervisors[0].end()
    assert report.message == "the query failed: no such column", "where it ran does not matter"
    assert (report.pod, report.warnings) == ("pod-2", ("a remark",))


def test_a_failure_that_a_process_passes_on_is_told_of_the_one_that_had_it(make):
    one = make(3, hold="running", fault={"0": ["running", "hearsay"]}).start()
    failed(one, Failure.STORAGE_UNAVAILABLE, "pod pod-2, GPU 0: the store is down", within=60)
    assert {supervisor.end()[1].pod for supervisor in one.supervisors.values()} == {"pod-2"}


def test_a_process_that_ends_without_a_word_is_told(make):
    one = make(2, fault={"0": ["up", "silent-exit"]}).start()
    failed(one, Failure.INTERNAL_ERROR, "pod pod-0, GPU 0", "exit code 0 and left no report", within=60)


def test_the_cause_comes_before_its_consequence_however_late_it_is_told(make):
    """The others see their connections break before anybody knows that a process has died."""
    one = make(3, fault={"1": ["running", "transport"]}, hold="running").start()
    pid = one.pid(2, "running")
    one.pid(1, "running")
    os.kill(pid, signal.SIGKILL)
    failed(one, Failure.WORKER_LOST, "pod pod-2", "SIGKILL", within=60)


def test_a_fault_in_the_exchange_of_rows_stands_where_nothing_else_went_wrong(make):
    one = make(3, fault={"1": ["running", "transport"]}).start()
    failed(one, Failure.TRANSPORT_ERROR, "pod pod-1, GPU 0: UCX: connection reset by peer", within=60)


def test_what_a_dead_process_had_started_dies_too(make):
    one = make(2, fault={"1": ["running", "orphan"]}).start()
    failed(one, Failure.WORKER_LOST, "SIGABRT", within=60)


def test_a_process_that_the_kernel_killed_for_memory_is_told_as_such(make, monkeypatch, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    counter = tmp_path / "memory.events"
    counter.write_text("oom_kill 0\n")
    (site / "sitecustomize.py").write_text(
        "import pathlib, sys\n"
        "from gpuquery.runner.failures import oom\n"
        f"oom.kills = lambda: int(pathlib.Path({str(counter)!r}).read_text().split()[1])\n"
        "oom.limit = lambda: '64 MiB'\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{site}:{os.environ.get('PYTHONPATH', '')}")
    one = make(2, hold="running").start()
    pid = one.pid(1, "running")
    counter.write_text("oom_kill 1\n")
    os.kill(pid, signal.SIGKILL)
    failed(one, Failure.HOST_OUT_OF_MEMORY, "64 MiB", "pod pod-1", within=60)


# Faults of pods.


@pytest.mark.parametrize("moment", usually("running"))
@pytest.mark.parametrize("index", [0, pytest.param(1, marks=pytest.mark.faults)])
def test_a_killed_supervisor_ends_all_in_time(make, moment, index):
    one = make(3, hold=moment, beat=6).start()
    one.pid(at(moment), moment)
    formed(one)
    began = time.monotonic()
    one.supervisors[index].process.kill()
    if moment == "start":
        # Without a pod around it, a process that does not know its supervisor yet outlives it.
        until(lambda: one.supervisors[2].process.poll() is not None)
        one.go()
    lost = ["lost", "index 0"] if index == 0 else ["pod pod-1 (index 1) is lost"]
    if (moment, index) == ("committing", 1):
        one.go()  # what is committed needs the others no more
        until(lambda: [s.process.poll() is not None for s in one.supervisors.values()] == [True] * 3)
        assert one.supervisors[0].end()[1].committed is not None
        return gone(one)
    return failed(one, Failure.WORKER_LOST, *lost, but=[index], since=began, within=11)


@pytest.mark.parametrize("index", [pytest.param(0, marks=pytest.mark.faults), 1])
def test_a_frozen_supervisor_ends_all_others_in_time(make, index):
    one = make(3, hold="running", beat=6).start()
    one.all_at("running")
    began = time.monotonic()
    os.kill(one.supervisors[index].process.pid, signal.SIGSTOP)
    for other in {0, 1, 2} - {index}:
        code, report = one.supervisors[other].end(30)
        assert (code, report.failure) == (1, Failure.WORKER_LOST)
        assert ("index 0" if index == 0 else "pod pod-1 (index 1)") in report.message
    assert time.monotonic() - began < 11
    os.kill(one.supervisors[index].process.pid, signal.SIGCONT)
    assert one.supervisors[index].end(30)[0] == 1, "it learns what it has missed"
    gone(one)


class Wire:
    """A way to a port that can be cut, as a network can: nothing comes back, not even that it is cut."""

    def __init__(self, port):
        self.port, self.cut, self.down, self.pairs = port, False, False, []
        self.server = socket.create_server(("127.0.0.1", 0))
        self.own = self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                here, _ = self.server.accept()
            except OSError:
                return
            if self.down:
                here.close()
                continue
            if self.cut:
                self.pairs.append((here, here))
                continue
            try:
                there = socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                here.close()
                continue
            self.pairs.append((here, there))
            for a, b in ((here, there), (there, here)):
                threading.Thread(target=self.pump, args=(a, b), daemon=True).start()

    def pump(self, a, b):
        while True:
            try:
                data = a.recv(65536)
                if not data and not self.cut:
                    b.shutdown(socket.SHUT_WR)
                if not data:
                    return
                if not self.cut:
                    b.sendall(data)
            except OSError:
                return

    def drop(self):
        """Break all connections; new ones are possible."""
        pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for end in set(pair):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.close()

    def close(self):
        self.server.close()
        self.drop()


@pytest.mark.faults
def test_a_member_whose_connection_breaks_comes_back_and_misses_nothing(make):
    one = make(3, hold="joined", beat=30)
    wire = Wire(one.ports[0])
    one.start(0)
    one.start(1, 2, GPUQUERY_HUB=f"127.0.0.1:{wire.own}")
    one.all_at("joined")
    breaking = threading.Event()

    def shake():
        while not breaking.wait(0.3):
            wire.drop()

    thread = threading.Thread(target=shake)
    thread.start()
    try:
        until(lambda: "is back" in one.supervisors[0].stderr)
        one.go()
        assert [code for code, _ in one.ends()] == [0, 0, 0], one.logs()
    finally:
        breaking.set()
        thread.join()
        wire.close()


def test_what_was_said_while_the_connection_was_broken_is_said_again(make):
    one = make(3, hold="joined", beat=30)
    wire = Wire(one.ports[0])
    one.start(0, 2)
    one.start(1, GPUQUERY_HUB=f"127.0.0.1:{wire.own}")
    one.all_at("joined")
    until(lambda: json.loads(one.supervisors[0].get("/v1/ranks")[1])[1]["joined"])
    wire.down = True
    wire.drop()
    until(lambda: "connection to index 0 broke" in one.supervisors[1].stderr)
    one.go()
    until((one.folder / "1.joined.left").exists)
    time.sleep(0.5)  # it comes to the next barrier
    wire.down = False
    assert [code for code, _ in one.ends()] == [0, 0, 0], one.logs()
    wire.close()


def test_a_pod_that_comes_after_the_failure_learns_of_it(make):
    one = make(3, fault={"1-0": ["start", "abort"]}).start(0, 1)
    until(lambda: "failed: WorkerLost" in one.supervisors[0].stderr)
    one.start(2)
    failed(one, Failure.WORKER_LOST, "pod pod-1, GPU 0", "SIGABRT", within=60)


@pytest.mark.faults
def test_a_pod_that_loses_its_way_to_index_0_ends_all_in_time(make):
    one = make(3, hold="running", beat=6)
    wire = Wire(one.ports[0])
    one.start(0, 2)
    one.start(1, GPUQUERY_HUB=f"127.0.0.1:{wire.own}")
    one.all_at("running")
    began = time.monotonic()
    wire.cut = True
    failed(one, Failure.WORKER_LOST, "lost", since=began, within=11)
    wire.close()


ELSEWHERE = """
import importlib
pod = importlib.import_module("gpuquery.runner.pod.pod")
listen = pod.listen
pod.listen = lambda port: listen({told: real}.get(port, port))
"""


def test_a_cut_between_two_pods_that_index_0_sees_ends_all_in_time(make, monkeypatch, tmp_path):
    one = make(3, hold="running", beat=6)
    wire = Wire(one.ports[1])
    # Pod 1 answers behind the wire, but tells where the wire begins.
    (tmp_path / "sitecustomize.py").write_text(ELSEWHERE.replace("told", str(wire.own)).replace("real", str(wire.port)))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    one.ports[1] = wire.own
    one.start()
    one.all_at("running")
    until(lambda: wire.pairs)
    began = time.monotonic()
    wire.cut = True
    failed(one, Failure.TRANSPORT_ERROR, "does not reach pod", since=began, within=15)
    wire.close()


# Orders to stop.


@pytest.mark.parametrize(
    ("index", "moment"),
    [
        (0, "running"),
        (1, "up"),
        *(pytest.param(index, "start", marks=pytest.mark.faults) for index in (0, 1)),
        *(pytest.param(*case, marks=pytest.mark.faults) for case in ((0, "up"), (1, "running"))),
    ],
)
def test_an_order_to_stop_ends_all_and_this_pod_within_five_seconds(make, moment, index):
    one = make(3, hold=moment, beat=60).start()
    one.pid(at(moment), moment)
    formed(one)
    began = time.monotonic()
    one.supervisors[index].process.terminate()
    one.supervisors[index].end(30)
    assert time.monotonic() - began < 5
    failed(one, Failure.WORKER_LOST, f"pod pod-{index}: stopped by SIGTERM", since=began)


@pytest.mark.parametrize("kind", [pytest.param("gil", marks=pytest.mark.faults), "stop"])
def test_an_order_to_stop_is_obeyed_though_a_process_is_deaf(make, kind):
    one = make(2, fault={"1": ["running", kind]}, beat=60).start()
    one.pid(1, "running")
    time.sleep(0.5)  # until it is deaf; before, it would simply obey
    began = time.monotonic()
    one.supervisors[1].process.terminate()
    one.supervisors[1].end(30)
    assert time.monotonic() - began < 5
    failed(one, Failure.WORKER_LOST, "stopped by SIGTERM", since=began)


def test_a_pod_that_nobody_answers_obeys_an_order_to_stop(make):
    one = make(2, hold="start", beat=60)
    one.start(1)
    one.pid("1-0", "start")
    began = time.monotonic()
    one.supervisors[1].process.terminate()
    failed(one, Failure.WORKER_LOST, "stopped by SIGTERM", since=began, within=5)


def test_a_commit_that_has_begun_needs_nobody_who_is_gone(make):
    one = make(3, hold="committing", fault={"1": ["staged", "absent"]}, beat=60).start()
    one.pid(0, "committing")
    one.supervisors[1].process.terminate()
    until(lambda: one.supervisors[1].process.poll() is not None)
    one.go()
    code, report = one.supervisors[0].end()
    assert (code, report.committed is not None) == (0, True), one.logs()


def test_a_commit_of_which_is_heard_only_after_the_order_to_stop_is_finished(make):
    one = make(3, late=STOP_SECONDS + 2, beat=60).start()
    one.all_at("staged")
    one.supervisors[1].process.terminate()
    code, report = one.supervisors[0].end()
    assert (code, report.committed is not None) == (0, True), one.logs()
    gone(one)


@pytest.mark.parametrize("index", [0, pytest.param(1, marks=pytest.mark.faults)])
def test_a_commit_that_has_begun_is_finished_whoever_is_to_stop(make, index):
    one = make(3, hold="committing", beat=60).start()
    committing = one.pid(0, "committing")
    one.supervisors[index].process.terminate()
    until(lambda: one.supervisors[1].process.poll() is not None)
    time.sleep(STOP_SECONDS + 1)  # all others were killed by now
    assert os.path.exists(f"/proc/{committing}")
    one.go()
    code, report = one.supervisors[0].end()
    assert code == 0
    assert report.committed is not None, one.logs()
    until(lambda: one.supervisors[2].process.poll() is not None)
    gone(one)


def test_an_order_to_stop_does_not_hide_the_first_cause(make):
    one = make(3, fault={"1": ["running", "fail"]}, hold="running").start()
    one.pid(2, "running")
    until(lambda: "UserError" in one.supervisors[2].stderr)
    for supervisor in one.supervisors.values():
        supervisor.process.terminate()
    failed(one, Failure.USER_ERROR, within=60)


# Who does not belong.


@pytest.mark.parametrize("many", [2000, pytest.param(10_000, marks=pytest.mark.faults)])
def test_thousands_of_garbage_connections_disturb_nobody(make, many):
    one = make(3, beat=60, hold="up").start(0)
    until(lambda: one.supervisors[0].get("/healthz")[0] == 200)
    seen, begun = [0], threading.Event()
    chance = random.Random(7)
    greeting = frame(
        {"kind": "hello", "purpose": "member", "caller": 1, "answerer": 0, "incarnation": "x", "nonce": "y",
         "pod": "evil", "port": 1, "version": 1}
    )  # fmt: skip
    garbage = [
        b"GET / HTTP/1.1\r\n\r\n", b"\0" * 64, b"\xff\xff\xff\xff", struct.pack("!I", 900) + b"{" * 900, b"", greeting,
        greeting + frame({"kind": "proof", "proof": "0" * 64}), frame({"kind": "proof", "proof": 1}),
        struct.pack("!I", 5) + b"[1,2]", struct.pack("!I", 70_000),
    ]  # fmt: skip

    def flood():
        held = []
        while seen[0] < many:
            try:
                sock = socket.create_connection(("127.0.0.1", one.ports[0]), timeout=5)
                sock.sendall(chance.choice(garbage))
            except OSError:
                continue
            seen[0] += 1
            held.append(sock)
            if len(held) > 200:
                held.pop(0).close()  # most stay open and say no more
            if seen[0] > many // 10:
                begun.set()

    threads = [threading.Thread(target=flood) for _ in range(2)]
    for thread in threads:
        thread.start()
    begun.wait(60)
    one.start(1, 2)
    formed(one)
    for thread in threads:
        thread.join()
    one.go()
    assert [code for code, _ in one.ends()] == [0, 0, 0], one.logs()
    assert one.supervisors[0].stderr.count("was refused") <= 5, "the log is not flooded"
    assert TOKEN not in one.logs()


def test_a_pod_with_another_token_is_kept_out_and_says_why(make, monkeypatch):
    one = make(3, beat=60, hold="joined").start(0, 2)
    stranger = Set(one.folder / "other", 3, beat=60, hold="joined")
    stranger.folder.mkdir()
    stranger.ports[0] = one.ports[0]
    stranger.start(1, token="another token than theirs")
    try:
        code, report = stranger.supervisors[1].end(60)
        assert (code, report.failure) == (1, Failure.WORKER_LOST)
        assert "does not hold the token" in report.message
    finally:
        stranger.close()
    one.start(1)
    one.go()
    assert [code for code, _ in one.ends()] == [0, 0, 0], one.logs()


def test_a_second_pod_of_one_index_is_refused_and_disturbs_nobody(make):
    one = make(2, beat=60, hold="joined").start()
    one.all_at("joined")
    twin = Set(one.folder / "twin", 2, beat=60)
    twin.folder.mkdir()
    twin.ports[0] = one.ports[0]
    twin.start(1)
    try:
        code, report = twin.supervisors[1].end(60)
        assert (code, report.failure) == (1, Failure.WORKER_LOST)
        assert "index 1 is taken by pod pod-1" in report.message
    finally:
        twin.close()
    one.go()
    assert [code for code, _ in one.ends()] == [0, 0], one.logs()


def test_an_index_that_is_not_of_the_set_is_refused(make):
    one = make(2, beat=60, hold="joined").start()
    other = Set(one.folder / "other", 5, beat=60)
    other.folder.mkdir()
    other.ports[0] = one.ports[0]
    other.start(4)
    try:
        _, report = other.supervisors[4].end(60)
        assert "index 4 is out of range: this attempt has 2 pods" in report.message
    finally:
        other.close()
    one.go()
    assert [code for code, _ in one.ends()] == [0, 0], one.logs()


# Barriers and settings.


def test_a_barrier_that_one_process_does_not_reach_names_it(make):
    one = make(2, 2, fault={"3": ["up", "absent"]}, seconds=3, beat=60).start()
    failed(one, Failure.RANK_STALLED, "1 of 4 processes", '"address" within 3 s: pod pod-1, GPU 1', within=60)


def test_a_barrier_names_a_pod_that_never_came(make):
    one = make(3, seconds=3, beat=60).start(0, 1)
    failed(one, Failure.RANK_STALLED, "the pod of index 2, which has not come, GPU 0", within=60)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        pytest.param({"JOB_COMPLETION_INDEX": "7"}, 'JOB_COMPLETION_INDEX is "7"', id="index"),
        pytest.param({"GPUQUERY_HUB": ""}, "GPUQUERY_HUB is not set", id="coordinator"),
        pytest.param({"token": "short"}, "holds 5 bytes", id="token"),
        pytest.param({"GPUQUERY_TOKEN_FILE": "/nowhere/token"}, "cannot read /nowhere/token", id="no token"),
    ],
)
def test_a_pod_that_lacks_what_it_needs_says_what(make, environment, words):
    one = make(2).start(1, **environment)
    failed(one, Failure.INTERNAL_ERROR, words, within=60)
