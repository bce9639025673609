"""The parts of a set that need no process: frames, proofs, barriers, the first cause, the report."""

import asyncio
import contextlib
import os
import socket
import struct
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuquery.api.reasons import Failure
from gpuquery.api.report import MAX_REPORT_BYTES, Report
from gpuquery.api.timing import HOLD_SECONDS
from gpuquery.runner.coordination import handshake, listener, wire
from gpuquery.runner.coordination.barrier import MAX_BARRIERS, BarrierError, Barriers
from gpuquery.runner.coordination.causes import Causes, Fault
from gpuquery.runner.coordination.coordinator import Coordinator
from gpuquery.runner.coordination.dial import dial
from gpuquery.runner.coordination.link import BACKLOG, Link, listen
from gpuquery.runner.coordination.membership import Membership
from gpuquery.runner.coordination.settings import Settings, SettingsError, read
from gpuquery.runner.failures import obituary
from gpuquery.runner.failures.last_lines import KEPT_LINES
from gpuquery.runner.pod import report as reports
from gpuquery.runner.pod.log import Forwarder, Log
from gpuquery.runner.pod.process import DevicesError, device
from tests.support.loops import turn
from tests.support.ranks import until

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


# Frames.


def received(*pieces, limit=wire.MAX_FRAME):
    """The messages that come out of a stream, until it ends or is no stream of frames."""

    async def story():
        reader, found = asyncio.StreamReader(), []
        link = Link(reader, None)

        async def feed():
            for piece in pieces:
                reader.feed_data(piece)
                await asyncio.sleep(0)
            reader.feed_eof()

        feeding = asyncio.get_running_loop().create_task(feed())
        with contextlib.suppress(ConnectionError):
            while True:
                found.append(await link.receive(limit))
        await feeding
        return found

    return asyncio.run(story())


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=8), JSON, max_size=4), max_size=6), st.integers(1, 50))
def test_frames_come_out_as_they_went_in_however_they_are_cut(bodies, step):
    messages = [{**body, "kind": "any"} for body in bodies]
    stream = b"".join(map(wire.frame, messages))
    assert received(*(stream[begin : begin + step] for begin in range(0, len(stream), step))) == messages


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_garbage_is_refused_or_waited_for_and_never_raises_anything_else(data):
    with contextlib.suppress(wire.WireError):
        assert all(isinstance(message["kind"], str) for message in received(data, limit=64))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\0\0\0\0", id="empty"),
        pytest.param(b"\0\1\0\1", id="too long"),
        pytest.param(b"\0\0\0\2[]", id="a list"),
        pytest.param(b"\0\0\0\2{}", id="no kind"),
        pytest.param(b"\0\0\0\3\xff\xff\xff", id="no text"),
        pytest.param(b"\0\0\x27\x10" + b"[" * 10_000, id="deep"),
    ],
)
def test_what_is_no_frame_is_refused_at_once(data):
    with pytest.raises(wire.WireError):
        received(data)


def test_a_frame_that_nobody_would_take_is_not_sent():
    with pytest.raises(wire.WireError):
        wire.frame({"kind": "x", "value": "y" * wire.MAX_FRAME})


@settings(deadline=None)
@given(st.lists(st.integers(1, wire.MAX_VALUE - 2), min_size=1, max_size=12))
def test_what_a_barrier_has_collected_fits_into_frames(sizes):
    values = ["v" * size for size in sizes]
    parts = list(wire.pieces(values))
    assert [value for _, part in parts for value in part] == values
    assert [begin for begin, _ in parts] == [sum(len(p) for _, p in parts[:n]) for n in range(len(parts))]
    for begin, part in parts:
        wire.frame({"kind": "open", "name": "n" * 128, "from": begin, "values": part, "size": 10_000})


# Proofs.

HELLO = handshake.Hello("member", 1, 0, "abc", handshake.nonce(), "pod-1", 8081)


def test_who_holds_the_token_can_prove_it_to_the_other():
    made = handshake.challenge(b"k" * 32, HELLO, "inc")
    assert handshake.is_answer(b"k" * 32, HELLO, made)
    given = handshake.proof(b"k" * 32, "call", HELLO, made.incarnation, made.nonce)
    assert handshake.is_call(b"k" * 32, HELLO, made, given)
    assert handshake.Hello.read(HELLO.message()) == HELLO
    assert handshake.Challenge.read(made.message()) == made
    assert b"k" * 32 not in wire.frame(made.message()) + wire.frame(HELLO.message())


@pytest.mark.parametrize(
    "change",
    [
        {"purpose": "peer"}, {"caller": 2}, {"answerer": 1}, {"incarnation": "abd"}, {"nonce": "n"}, {"pod": "p"},
        {"port": 1}, {"version": 2},
    ],
    ids=str,
)  # fmt: skip
def test_a_proof_is_good_for_one_thing_only(change):
    key = b"k" * 32
    made = handshake.challenge(key, HELLO, "inc")
    other = HELLO._replace(**change)
    assert not handshake.is_answer(key, other, made)
    assert not handshake.is_call(key, HELLO, made, handshake.proof(key, "call", other, made.incarnation, made.nonce))


def test_a_proof_cannot_be_sent_back_or_made_with_another_token_or_nonce():
    key = b"k" * 32
    made = handshake.challenge(key, HELLO, "inc")
    assert not handshake.is_call(key, HELLO, made, made.proof), "sent back"
    for forged in (
        handshake.proof(b"x" * 32, "call", HELLO, made.incarnation, made.nonce),
        handshake.proof(key, "call", HELLO, made.incarnation, "older"),
        handshake.proof(key, "call", HELLO, "another", made.nonce),
        None, 1, "", "é", "\udc80",
    ):  # fmt: skip
        assert not handshake.is_call(key, HELLO, made, forged)
    assert not handshake.is_answer(b"x" * 32, HELLO, made)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*handshake.Hello._fields, "kind", "more"]), JSON))
def test_no_greeting_but_a_whole_one_is_read(fields):
    message = {**HELLO.message(), **fields, "kind": "hello"}
    try:
        hello = handshake.Hello.read(message)
    except wire.WireError:
        return
    assert hello.message() == message


# Barriers.


@settings(deadline=None)
@given(st.data())
def test_no_process_passes_a_barrier_before_all_have_come_and_all_get_the_same(data):
    """Any order, any repetition, any clock: a barrier opens once, with the first value of each, or closes for good."""
    size = data.draw(st.integers(1, 6))
    barriers, first, opened, closed, now = Barriers(size), {}, {}, set(), 0.0
    for step in range(data.draw(st.integers(0, 40))):
        now += data.draw(st.sampled_from([0.0, 0.5, 3.0]))
        for barrier in barriers.expire(now):
            assert barrier.name not in opened, "what is open stays open"
            assert barrier.missing
            closed.add(barrier.name)
        name = data.draw(st.sampled_from(["a", "b"]))
        index = data.draw(st.integers(0, size - 1))
        barrier, just = barriers.arrive(name, index, step, seconds=data.draw(st.sampled_from([1.0, 10.0])), now=now)
        if name not in closed:
            first.setdefault((name, index), step)
        whole = all((name, i) in first for i in range(size))
        assert barrier.open == (whole and name not in closed)
        assert barrier.closed == (name in closed)
        if just:
            assert name not in opened, "it opens once"
            opened[name] = list(barrier.values)
        if barrier.open:
            assert list(barrier.values) == opened[name] == [first[name, i] for i in range(size)]


def test_a_barrier_closes_with_the_least_patient_and_names_who_is_missing():
    barriers = Barriers(3)
    barriers.arrive("plan", 2, None, seconds=60, now=0)
    barriers.arrive("plan", 0, None, seconds=5, now=10)
    assert barriers.expire(14.9) == []
    (barrier,) = barriers.expire(15)
    assert (list(barrier.missing), barrier.seconds) == ([1], 5)
    assert barriers.expire(16) == [], "told once"
    late, just = barriers.arrive("plan", 1, None, seconds=60, now=16)
    assert (late.closed, late.open, just) == (True, False, False)


def test_barriers_that_waited_while_the_supervisor_was_paused_get_the_time_back():
    barriers = Barriers(2)
    barriers.arrive("plan", 0, None, seconds=5, now=0)
    barriers.forgive(100)
    assert barriers.expire(104) == []
    assert len(barriers.expire(106)) == 1


def test_barriers_have_bounds():
    barriers = Barriers(2)
    for name in ("", "n" * 200):
        with pytest.raises(BarrierError):
            barriers.arrive(name, 0, None, seconds=1, now=0)
    with pytest.raises(BarrierError):
        barriers.arrive("plan", 2, None, seconds=1, now=0)
    for number in range(MAX_BARRIERS):
        barriers.arrive(f"barrier {number}", 0, None, seconds=1, now=0)
    with pytest.raises(BarrierError):
        barriers.arrive("one more", 0, None, seconds=1, now=0)


# The first cause.

DEATH = Fault(Failure.WORKER_LOST, "died", "pod-1", "pod pod-1")
BROKEN = Fault(Failure.TRANSPORT_ERROR, "reset", "pod-2", "pod pod-2")
WRONG = Fault(Failure.USER_ERROR, "wrong", "pod-3", "pod pod-3")


@pytest.mark.parametrize(
    ("story", "want"),
    [
        pytest.param([(0, DEATH), (0.1, WRONG)], DEATH, id="the first wins"),
        pytest.param([(0, BROKEN), (1, DEATH)], DEATH, id="a consequence gives way"),
        pytest.param([(0, BROKEN)], BROKEN, id="a broken way stands if nothing else comes"),
        pytest.param([(0, BROKEN), (HOLD_SECONDS + 1, DEATH)], BROKEN, id="but what comes later is another thing"),
    ],
)
def test_the_first_cause(story, want):
    causes, now = Causes(), 0.0
    for moment, fault in story:
        while now < moment:
            causes.due(now)
            now += 0.25
        causes.add(fault, moment)
    assert causes.due(now + HOLD_SECONDS) == want


def test_while_it_is_in_doubt_whether_a_pod_lives_a_consequence_waits():
    causes = Causes()
    causes.add(BROKEN, 0)
    assert causes.due(5, doubt=True) is None
    causes.add(DEATH, 6)
    assert causes.due(6) == DEATH


def test_a_pod_that_one_does_not_hear_is_dead_or_cut_off():
    for heard, want in ((True, BROKEN), (False, DEATH)):
        causes = Causes()
        causes.suspect(1, BROKEN)
        assert causes.due(0) is None
        if heard:
            causes.heard(1)
        else:
            causes.add(DEATH, 1)
        assert causes.due(1) == want


def test_a_fault_travels_whole():
    fault = Fault(Failure.GPU_ERROR, "é" * 9000, "pod", "pod p, GPU 1", 3, -9, {"warnings": ["w"]})
    back = Fault.read(wire.message(wire.frame({"kind": "fault", "fault": fault.message_of()})[4:])["fault"])
    assert back == fault._replace(message="é" * 3000)
    for broken in (None, {}, {**fault.message_of(), "failure": "Nonsense"}, {**fault.message_of(), "code": "x"}):
        with pytest.raises(wire.WireError):
            Fault.read(broken)


# The report.


@settings(deadline=None)
@given(st.text(max_size=6000), st.lists(st.text(max_size=3000), max_size=3))
def test_the_report_of_a_failure_is_one_that_the_operator_reads(message, warnings):
    fault = Fault(Failure.GPU_ERROR, message, "pod-1", "pod pod-1, GPU 2", details={"warnings": warnings})
    line = reports.failed(fault)
    assert len(line.encode()) <= MAX_REPORT_BYTES
    assert "\n" not in line
    report = Report.from_line(line)
    assert (report.failure, report.pod, report.succeeded) == (Failure.GPU_ERROR, "pod-1", False)
    assert report.message.startswith("pod pod-1, GPU 2: ")


def test_the_share_of_a_pod_is_a_success_that_commits_nothing():
    report = Report.from_line(reports.well())
    assert (report.succeeded, report.committed) == (True, None)


def test_the_last_lines_of_a_process_stand_in_its_report_without_secrets(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret-value")
    lines = [f"line {number}" for number in range(1000)] + ["key planted-secret-value", "", "the end"]
    failure, message = obituary.ended("a process", -11, lines, oom_killed=False)
    assert failure is Failure.WORKER_LOST
    assert "SIGSEGV" in message
    assert message.endswith("key ***\nthe end")
    assert len(message) < 2000


# Small things.


@pytest.mark.parametrize(
    ("listed", "number", "want"),
    [("", 1, "1"), ("3,5", 1, "5"), ("GPU-a, MIG-b", 1, "MIG-b"), ("GPU-a", 0, "GPU-a")],
)
def test_a_process_sees_the_gpu_of_its_number(listed, number, want):
    assert device(number, {"CUDA_VISIBLE_DEVICES": listed, "NVIDIA_VISIBLE_DEVICES": "GPU-x,GPU-y"}) == want


def test_a_gpu_that_is_not_there_is_not_guessed():
    with pytest.raises(DevicesError, match='is "3": the plan asks for GPU 1'):
        device(1, {"CUDA_VISIBLE_DEVICES": "3"})


SEVERAL = {"version": 1, "processes": "ranks"}


@pytest.mark.parametrize(
    ("plan", "alone", "external"),
    [
        pytest.param({**SEVERAL, "replicas": 1}, False, False, id="ranks, of which there may be one"),
        pytest.param({**SEVERAL, "processes": "pods", "gpus": 2}, False, False, id="one process in each pod"),
        pytest.param({**SEVERAL, "processes": "one", "gpus": 1}, True, False, id="one process"),
        pytest.param({**SEVERAL, "purpose": "preflight", "replicas": 4, "gpus": 2}, True, False, id="a preflight"),
        pytest.param({"dask": {}}, True, True, id="one process, on a cluster elsewhere"),
        pytest.param({"dask": {}, "purpose": "preflight"}, True, False, id="the preflight of such a query"),
        pytest.param({**SEVERAL, "version": 2, "replicas": 4}, True, False, id="a plan of another version"),
        pytest.param({}, True, False, id="a plan that cannot be read"),
    ],
)
def test_one_process_or_several(tmp_path, plan, alone, external):
    found = read(plan, tmp_path, {}, program="p", port=1)
    assert (found.alone, found.external) == (alone, external)
    if alone:
        assert (found.size, found.device(0)) == (1, None)


@pytest.mark.parametrize(
    ("coordinator", "want"),
    [
        ("a-0.a", ("a-0.a", 8081)), ("a-0.a:9", ("a-0.a", 9)), ("::1", ("::1", 8081)), ("[::1]:9", ("::1", 9)),
        ("[fd00::1]", ("fd00::1", 8081)), ("10.0.0.1:9", ("10.0.0.1", 9)),
    ],
)  # fmt: skip
def test_the_address_of_index_0_may_have_a_port(tmp_path, coordinator, want):
    (tmp_path / "token").write_text("t" * 64 + "\n")
    environment = {
        "JOB_COMPLETION_INDEX": "1", "GPUQUERY_HUB": coordinator, "GPUQUERY_TOKEN_FILE": str(tmp_path / "token"),
        "GPUQUERY_POD_NAME": "a-1-xyz",
    }  # fmt: skip
    found = read({**SEVERAL, "replicas": 2, "gpus": 4}, tmp_path, environment, program="p", port=8081)
    assert (found.coordinator, found.pod, found.size, list(found.own), found.token) == (
        want, "a-1-xyz", 8, [4, 5, 6, 7], b"t" * 64,
    )  # fmt: skip
    assert (found.silence, found.stall) == (6, 0)
    assert "tttt" not in repr(found)


def test_a_single_pod_needs_no_token(tmp_path):
    nowhere = {"GPUQUERY_TOKEN_FILE": "/nowhere"}
    assert read({**SEVERAL, "gpus": 8}, tmp_path, nowhere, program="p", port=1).size == 8
    with pytest.raises(SettingsError):
        read({**SEVERAL, "replicas": 2}, tmp_path, {"GPUQUERY_TOKEN_FILE": "/nowhere"}, program="p", port=1)


def test_notes_have_bounds_and_the_larger_of_two_words_counts(tmp_path):
    membership = Membership(Settings(tmp_path, 0, 1, 2, "pod-0", ("", 0), b""))
    process = membership.processes[1]
    process.note({"statistics": "x" * 100_000, "spilled_bytes": 7})
    process.progress = {"spilledBytes": 0, "rows": 3}
    assert process.notes == {"spilled_bytes": 7}
    assert (membership.total()["spilledBytes"], membership.total()["rows"]) == (7, 3)
    membership.processes[0].progress = {"phase": "running", "warnings": ["a decimal loses digits"]}
    assert membership.total()["warnings"] == ["a decimal loses digits"]


def test_the_last_lines_are_kept_and_passed_on_whole():
    loop = asyncio.new_event_loop()
    read_end, write_end = os.pipe()
    log_read, log_write = os.pipe()
    forwarder = Forwarder(loop, read_end, Log(loop, log_write))
    for number in range(200):
        os.write(write_end, b"line %d\n" % number)
    os.write(write_end, b"no end")
    until(lambda: turn(loop) or "no end" in forwarder.tail())
    assert forwarder.tail() == [*(f"line {n}" for n in range(200 - KEPT_LINES, 200)), "no end"]
    assert os.read(log_read, 65536).endswith(b"line 199\n"), "a line goes on when it is whole"
    os.close(write_end)
    forwarder.close()
    assert os.read(log_read, 65536) == b"no end\n"


def test_a_log_that_is_not_read_loses_lines_and_says_so():
    loop = asyncio.new_event_loop()
    log_read, log_write = os.pipe()
    log = Log(loop, log_write)
    began = time.monotonic()
    for _ in range(4000):
        log.write(b"x" * 999 + b"\n")
    assert time.monotonic() - began < 60
    until(lambda: turn(loop) or (os.read(log_read, 65536) and not log._waiting))
    log.log("on again")
    rest = b""
    while b"on again" not in rest:
        turn(loop)
        rest += os.read(log_read, 65536)
    assert b"lines were dropped" in rest


def test_the_last_lines_of_a_log_wait_for_a_slow_reader_but_not_for_ever():
    read_end, write_end = os.pipe()
    log = Log(asyncio.new_event_loop(), write_end)
    for number in range(20_000):
        log.write(b"line %d\n" % number)
    began = time.monotonic()
    log.drain(0.2)
    assert time.monotonic() - began < 5, "nobody reads"
    got = []

    def slow() -> None:
        while data := os.read(read_end, 65536):
            got.append(data)

    reader = threading.Thread(target=slow)
    reader.start()
    log.drain(30)
    os.close(write_end)
    reader.join()
    assert b"".join(got).split(b"\n")[-2:] == [b"line 19999", b""]


# The coordinator, with members that are played.


class Played:
    """A link of a member that is not there."""

    def __init__(self):
        self.sent, self.closed, self.flushed, self.heard = [], False, True, 0.0
        self.on_message = self.on_close = None

    def send(self, message):
        if not self.closed:
            self.sent.append(message)

    def start(self):
        pass

    def close(self):
        self.closed = True

    def kinds(self):
        return [message["kind"] for message in self.sent]


class Nobody:
    """Index 0's own pod."""

    def __init__(self):
        self.cause, self.answers = None, []

    def answered(self, message):
        self.answers.append(message)

    def end(self, cause):
        self.cause = cause

    def peers(self, peers):
        pass

    def probe(self):
        pass

    def log(self, line):
        pass


def coordinator_of(tmp_path, pods=2, **changes):
    settings, local = Settings(tmp_path, 0, pods, 1, "pod-0", ("", 0), b"", **changes), Nobody()
    return Coordinator(settings, Membership(settings), local), local


def test_a_member_that_comes_back_gets_the_answer_that_it_lost(tmp_path):
    coordinator, local = coordinator_of(tmp_path)
    first, again = Played(), Played()
    come = {"kind": "barrier", "process": 1, "name": "plan", "value": "b", "seconds": 60}
    assert coordinator.admit(HELLO, first, "10.0.0.2") is None
    first.on_message(come)
    coordinator.barrier(0, "plan", "a", 60)
    assert [m["values"] for m in first.sent if m["kind"] == "open"] == [["a", "b"]]
    assert coordinator.admit(HELLO, again, "10.0.0.2") is None
    assert first.closed, "half open, it would stay for ever"
    again.on_message({**come, "value": "something else"})
    assert [m["values"] for m in again.sent if m["kind"] == "open"] == [["a", "b"]]
    assert len(local.answers) == 1, "who has it is not told again"


def test_a_member_that_comes_back_after_the_end_learns_the_cause(tmp_path):
    coordinator, local = coordinator_of(tmp_path)
    first, again = Played(), Played()
    coordinator.admit(HELLO, first, "10.0.0.2")
    coordinator.fault(DEATH)
    assert (local.cause, first.kinds()[-1]) == (DEATH, "cause")
    coordinator.admit(HELLO, again, "10.0.0.2")
    assert "cause" in again.kinds()
    assert not coordinator.settled(time.monotonic())
    again.on_message({"kind": "told"})
    assert coordinator.settled(time.monotonic())


def test_a_member_speaks_for_its_own_processes_only(tmp_path):
    coordinator, _ = coordinator_of(tmp_path, pods=3)
    link = Played()
    coordinator.admit(HELLO, link, "10.0.0.2")
    for process in (0, 2, -1, "1", None, True):
        with pytest.raises(wire.WireError):
            link.on_message({"kind": "joined", "process": process})


def running_since(tmp_path):
    """A coordinator whose set has joined and runs the query, and the moment before that."""
    coordinator, local = coordinator_of(tmp_path, stall=10, silence=60)
    link, began = Played(), time.monotonic()
    coordinator.admit(HELLO, link, "10.0.0.2")
    coordinator.joined(0)
    link.on_message({"kind": "joined", "process": 1})
    coordinator.progress(0, {"phase": "running"})
    return coordinator, local, link, began


def test_a_set_is_not_taken_for_hung_while_the_pod_that_works_cannot_say_so(tmp_path, monkeypatch):
    coordinator, local, link, began = running_since(tmp_path)
    again = Played()
    link.on_close("reset")
    coordinator.tick(began + 12)
    assert local.cause is None, "it is not connected"
    monkeypatch.setattr(time, "monotonic", lambda: began + 13)
    coordinator.admit(HELLO, again, "10.0.0.2")
    coordinator.tick(began + 13.1)
    assert local.cause is None, "it has just come back"


def test_a_set_whose_pods_all_live_and_none_moves_is_taken_for_hung(tmp_path, monkeypatch):
    coordinator, local, link, began = running_since(tmp_path)
    for seconds, moved in [(9, True), (18, False), (20, False)]:
        monkeypatch.setattr(time, "monotonic", lambda at=began + seconds: at)
        link.on_message({"kind": "beat", "moved": moved})
        coordinator.tick(began + seconds)
        assert local.cause is None or seconds == 20
    assert local.cause is not None and local.cause.failure is Failure.RANK_STALLED


def test_who_comes_to_a_barrier_has_come_further(tmp_path, monkeypatch):
    coordinator, local, link, began = running_since(tmp_path)
    monkeypatch.setattr(time, "monotonic", lambda: began + 12)
    link.on_message({"kind": "barrier", "process": 1, "name": "staged", "value": None, "seconds": 60})
    coordinator.tick(began + 12.1)
    assert local.cause is None


def test_a_set_is_not_taken_for_hung_because_its_coordinator_was_paused(tmp_path, monkeypatch):
    coordinator, local, link, began = running_since(tmp_path)
    coordinator.forgive(12)
    monkeypatch.setattr(time, "monotonic", lambda: began + 15)
    link.on_message({"kind": "beat"})
    coordinator.tick(began + 15)
    assert local.cause is None
    monkeypatch.setattr(time, "monotonic", lambda: began + 23)
    link.on_message({"kind": "beat"})
    coordinator.tick(began + 23)
    assert local.cause is not None


def test_a_consequence_waits_while_a_pod_is_disconnected(tmp_path):
    coordinator, local = coordinator_of(tmp_path)
    link = Played()
    coordinator.admit(HELLO, link, "10.0.0.2")
    link.on_close("reset")
    coordinator.fault(BROKEN)
    coordinator.tick(time.monotonic() + HOLD_SECONDS + 1)
    assert local.cause is None
    coordinator.tick(time.monotonic() + 7)
    assert local.cause.failure is Failure.WORKER_LOST
    assert "pod-1 (index 1) is lost: its connection broke (reset)" in local.cause.message


def test_members_look_for_each_other_while_a_heartbeat_or_progress_is_late_and_now_and_then(tmp_path, monkeypatch):
    coordinator, _ = coordinator_of(tmp_path, pods=3, silence=6.0)
    began = time.monotonic()
    first, second = Played(), Played()
    coordinator.admit(HELLO, first, "10.0.0.2")
    coordinator.admit(HELLO._replace(caller=2, incarnation="two", pod="pod-2"), second, "10.0.0.3")

    def asked(seconds, *, beats=(first, second), moved=True):
        """Whether they are asked to, once those members have been heard."""
        monkeypatch.setattr(time, "monotonic", lambda: began + seconds)
        for link in beats:
            link.on_message({"kind": "beat", "moved": moved})
        before = second.kinds().count("probe")
        coordinator.tick(began + seconds)
        assert first.kinds().count("probe") == second.kinds().count("probe")
        return second.kinds().count("probe") > before

    assert not asked(1)
    assert not asked(2, moved=False), "all are heard, and what has not moved is not late yet"
    assert asked(4.5, moved=False), "nothing has moved for half of the limit"
    assert not asked(5, moved=False), "they have just been asked"
    assert asked(6.1, moved=False), "as long as nothing moves"
    assert not asked(7), "it moves again"
    assert not asked(9, beats=(first,)), "one heartbeat may come late"
    assert asked(10, beats=(first,)), "one has not been heard for longer"
    assert not asked(11), "all are heard again"
    assert not asked(39.9), "for half a minute"
    assert asked(40.1), "but not every GPU tells when it stands still"


# The listener.


@pytest.fixture
def opened():
    loop, admitted, lines = asyncio.new_event_loop(), [], []
    sock = listen(0)
    here = listener.Listener(
        listener.Identity(0, "inc", b"k" * 32), lambda h, link, a: admitted.append((h, link, a)), lines.append
    )
    loop.run_until_complete(here.open(sock))
    yield loop, here, sock.getsockname()[1], admitted, lines
    here.close()
    turn(loop)


def test_the_places_of_strangers_are_few_and_the_longest_there_goes(opened, monkeypatch):
    loop, here, port, _, lines = opened
    monkeypatch.setattr(listener, "HANDSHAKE_SECONDS", 600)
    callers = []
    for _ in range(listener.MAX_STRANGERS + 20):
        callers.append(socket.create_connection(("127.0.0.1", port)))
        turn(loop)
    until(lambda: turn(loop) or here.strangers == listener.MAX_STRANGERS)
    callers[0].settimeout(5)
    turn(loop)
    assert callers[0].recv(1) == b"", "the first had to go"
    callers[-1].setblocking(False)
    with pytest.raises(BlockingIOError):
        callers[-1].recv(1)
    assert len(lines) == 5
    for caller in callers:
        caller.close()


def test_many_pods_may_wait_to_be_accepted():
    async def story():
        sock = listen(0)
        await listener.Listener(listener.Identity(0, "inc", b"k" * 32), lambda *_: None, print).open(sock)
        # Of a socket that listens, this field of tcp_info is the most that may wait.
        (most,) = struct.unpack_from("I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 64), 28)
        return most

    assert asyncio.run(story()) == min(BACKLOG, int(Path("/proc/sys/net/core/somaxconn").read_text()))


def test_a_stranger_who_says_nothing_is_sent_away(opened, monkeypatch):
    loop, here, port, _, lines = opened
    monkeypatch.setattr(listener, "HANDSHAKE_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", port)) as caller:
        until(lambda: turn(loop, 0.01) or here.strangers == 1)
        until(lambda: turn(loop, 0.01) or here.strangers == 0)
        caller.settimeout(5)
        assert caller.recv(1) == b""
    assert "to say who it is" in lines[0]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(wire.frame({"kind": "proof", "proof": "x"}), id="a proof of nothing"),
        pytest.param((2000).to_bytes(4, "big"), id="a frame too long for a stranger"),
        pytest.param(
            wire.frame(HELLO.message()) + wire.frame({"kind": "proof", "proof": "0" * 64}), id="a wrong proof"
        ),
        pytest.param(wire.frame(HELLO.message()) + wire.frame(HELLO.message()), id="two greetings"),
        pytest.param(
            wire.frame(HELLO.message()) + wire.frame({"kind": "barrier", "name": "plan"}), id="straight to a barrier"
        ),
    ],
)
def test_who_cannot_prove_it_is_cut_off(opened, data):
    loop, here, port, admitted, lines = opened
    caller = socket.create_connection(("127.0.0.1", port))
    caller.sendall(data)
    until(lambda: turn(loop, 0.01) or lines)
    assert (here.strangers, admitted) == (0, [])
    caller.close()


@pytest.mark.parametrize(("change", "words"), [({"version": 2}, "use one image"), ({"answerer": 3}, "this is pod 0")])
def test_another_version_and_another_pod_are_told_so(opened, change, words):
    loop, _, port, admitted, _ = opened
    answer = loop.run_until_complete(dial(("127.0.0.1", port), HELLO._replace(**change), b"k" * 32))
    assert (answer.link, answer.final, admitted) == (None, True, [])
    assert words in answer.why


def test_a_supervisor_that_holds_another_token_is_a_stranger_to_the_caller_too(opened):
    loop, _, port, admitted, _ = opened
    answer = loop.run_until_complete(dial(("127.0.0.1", port), HELLO, b"x" * 32))
    assert (answer.link, answer.stranger, admitted) == (None, True, [])
    assert f"127.0.0.1 port {port}: who answers there does not hold the token" in answer.why


def test_the_stacks_of_a_crash_do_not_push_its_cause_out_of_the_report() -> None:
    loop = asyncio.new_event_loop()
    read, write = os.pipe()
    with open(os.devnull, "wb") as log:
        forwarder = Forwarder(loop, read, Log(loop, log.fileno()))
        os.write(write, b"terminate called\n  what():  tmpfile() failed\nFatal Python error: Aborted\n")
        os.write(write, b"".join(b"  File %d\n" % n for n in range(300)))
        os.close(write)
        forwarder.close()
    assert forwarder.tail() == ["terminate called", "  what():  tmpfile() failed", "Fatal Python error: Aborted"]


def test_a_process_that_native_code_has_ended_gets_the_class_of_its_last_words() -> None:
    lines = [
        "terminate called after throwing an instance of 'ucxx::UnreachableError'",
        "  what():  Destination is unreachable",
    ]
    failure, message = obituary.ended("a process", -6, lines, oom_killed=False)
    assert failure is Failure.TRANSPORT_ERROR
    assert "Destination is unreachable" in message
    assert "spec.network" in message
