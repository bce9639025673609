"""The pod: its processes, its way to the other pods of the attempt, and its report at the end.

A job of one process, or a preflight, is a set of size one. A pod lives in three steps: it runs; then either all of its
processes end well, or the first cause of a failure is known (or an order to stop has come) and what still runs is
ended; then it stays for as long as others need it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.api.timing import (
    END_SECONDS,
    KILL_SECONDS,
    LEAVE_SECONDS,
    POD_COMMIT_SECONDS,
    STOP_SECONDS,
    TICK_SECONDS,
    UNDISTURBED_SECONDS,
)
from gpuquery.runner.coordination.agent import Agent
from gpuquery.runner.coordination.causes import Fault
from gpuquery.runner.coordination.coordinator import Coordinator
from gpuquery.runner.coordination.link import Link, listen
from gpuquery.runner.coordination.listener import Identity, Listener
from gpuquery.runner.coordination.membership import Membership
from gpuquery.runner.coordination.probe import Probe
from gpuquery.runner.coordination.settings import TICK_OFFSET, until_next
from gpuquery.runner.failures import obituary, oom
from gpuquery.runner.pod import autopsy, report, stall
from gpuquery.runner.pod.endpoints import Board
from gpuquery.runner.pod.http import serve
from gpuquery.runner.pod.log import Log
from gpuquery.runner.pod.process import DevicesError, Process

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuquery.runner.coordination.handshake import Hello
    from gpuquery.runner.coordination.settings import Settings
    from gpuquery.runner.coordination.wire import Message

LATE_SECONDS = 1.0
"""A tick that is so late says that this process was paused: others may well have sent something meanwhile."""
ENDING_TICK = 0.1
"""Seconds between two ticks while the pod ends."""


class Pod:
    """The supervisor of one pod."""

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.get_running_loop()
        self.output = Log(self._loop)
        self.changed = asyncio.Event()
        """Set when `over` or `pause` may have another answer."""
        self.processes: list[Process] = []
        self._settings = settings
        self._oom_kills = oom.kills()
        self._membership = Membership(settings)
        self._incarnation = os.urandom(8).hex()
        self._cause: Fault | None = None
        self._stopped: Fault | None = None
        self._hung: stall.Hung | None = None
        self._stall: stall.Stall | None = None
        self._kill_at: dict[Process, float] = {}
        self._told: dict[Process, float] = {}
        """When they were told to end."""
        self._leaving: dict[Process, float] = {}
        self._well = False
        self._halted = asyncio.Event()
        self._found: tuple[Failure, str] | None = None
        """What an autopsy has shown."""
        self._autopsies: set[asyncio.Task[None]] = set()
        self._last = time.monotonic()
        self._listener: Listener | None = None
        self._set: Coordinator | Agent = (
            Coordinator(settings, self._membership, self)
            if settings.index == 0
            else Agent(settings, self._membership, self, self._incarnation)
        )
        self._probe = Probe(settings, self._incarnation, self._set.unheard)

    async def start(self, port: int) -> None:
        """Start the processes, then answer on the port: they need not wait for it."""
        settings = self._settings
        try:
            for number in range(settings.per_pod):
                self.processes.append(Process(settings, number, self._loop, self.output, self._take))
        except DevicesError as exc:
            self._fault(Failure.NO_GPU, str(exc))
        except OSError as exc:
            self._fault(Failure.INTERNAL_ERROR, f"cannot start a process: {exc}")
        if settings.pods > 1:
            identity = Identity(settings.index, self._incarnation, settings.token)
            self._listener = Listener(identity, self._admit, self.log)
            try:
                await self._listener.open(listen(settings.port))
            except OSError as exc:
                self._fault(Failure.INTERNAL_ERROR, f"cannot listen on port {settings.port}: {exc.strerror}")
        try:
            await serve(listen(port), Board(self._membership).answer)
        except OSError as exc:  # progress is best effort; the result is not
            self.log(f"cannot listen on port {port}: {exc.strerror}")
        if settings.alone and settings.stall and self.processes:
            self._stall = stall.Stall(settings.stall, stall.counts(self.processes[0].pid), time.monotonic())
        self._set.tick(time.monotonic())

    def part(self) -> None:
        """Part from the other pods."""
        self._probe.close()
        self._set.close()
        if self._listener is not None:
            self._listener.close()

    def stop(self) -> None:
        """Obey an order to stop."""
        self._halted.set()
        if self._stopped is not None or not any(process.alive for process in self.processes):
            return
        place = f"pod {self._settings.pod}"
        self._stopped = Fault(Failure.WORKER_LOST, f"stopped by SIGTERM {obituary.UNCOMMITTED}", place[4:], place)
        if self._settings.alone:
            why = "it hangs" if self._hung else "SIGTERM"
            self.log(f"{why}: the query has {POD_COMMIT_SECONDS} s to withdraw or to finish its commit")
            self._terminate(POD_COMMIT_SECONDS)
            return
        self.log(f"SIGTERM: {'the commit is finished first' if self._committing else 'ending'}")
        first = self.processes[0]
        if first in self._kill_at and self._committing:
            # Left alone until now: from here on the kubelet counts.
            self._kill_at[first] = min(self._kill_at[first], time.monotonic() + POD_COMMIT_SECONDS)
            first.signal(signal.SIGTERM)
        self._terminate(STOP_SECONDS)
        self._set.fault(self._stopped)

    def log(self, line: str) -> None:
        """Write a line into the pod's log."""
        self.output.log(clean(line))

    # What the coordinator or the agent calls.

    def answered(self, message: Message) -> None:
        """Pass the answer of a barrier on to the processes that wait at it."""
        name = message["name"]
        last = message["kind"] == "stalled" or message["from"] + len(message["values"]) >= message["size"]
        for process in self.processes:
            if name in process.waiting:
                process.send(message)
                if last:
                    process.waiting.discard(name)

    def end(self, cause: Fault) -> None:
        """End what runs: the attempt has failed."""
        self._cause = cause
        self.changed.set()
        self.log(f"failed: {cause.failure.value}: {cause.told()}")
        self._terminate(END_SECONDS)

    def peers(self, peers: Mapping[int, tuple[str, int, str]]) -> None:
        """Meet the other pods."""
        self._probe.meet(peers)

    def probe(self) -> None:
        """Ask the other pods whether there is a way."""
        self._probe.ask()

    def _admit(self, hello: Hello, link: Link, address: str) -> str | None:
        match hello.purpose:
            case "member":
                return self._set.admit(hello, link, address)
            case "peer":
                return self._probe.admit(hello, link, address)
            case other:
                return f'unknown purpose "{other[:20]}"'

    # What the processes send.

    def _take(self, process: Process, message: Message) -> None:
        match message["kind"]:
            case "beat":
                if process.beat(message.get("counter")):
                    self._set.moved()
            case "joined":
                process.joined = True
                self._set.joined(process.index)
            case "progress" if isinstance(message.get("progress"), dict):
                process.phase = str(message["progress"].get("phase", ""))
                self._spare(process)
                self._set.progress(process.index, message["progress"])
            case "note" if isinstance(message.get("facts"), dict):
                self._set.note(process.index, message["facts"])
            case "barrier":
                self._barrier(process, str(message["name"]), message.get("value"), float(message["seconds"]))
            case "bye":
                process.leaving = True
                self._leaving[process] = time.monotonic()

    def _barrier(self, process: Process, name: str, value: Any, seconds: float) -> None:
        process.waiting.add(name)
        if self._kill_at and self._committing and process is self.processes[0]:
            # The others are gone or going; what is committed needs them no more.
            values = [value if index == process.index else None for index in range(self._settings.size)]
            self.answered({"kind": "open", "name": name, "from": 0, "values": values, "size": len(values)})
            return
        self._set.barrier(process.index, name, value, seconds)

    # How they end.

    def ended(self, process: Process) -> None:
        """A process has ended."""
        self.changed.set()
        if self._settings.alone:
            return  # what it has reported stands as it is
        left = process.report()
        if left is None and not self._kill_at and autopsy.worthwhile(process, alone=False):
            task = self._loop.create_task(self._examined(process))
            self._autopsies.add(task)
            task.add_done_callback(self._autopsies.discard)
        elif left is None:
            self._fault(*self._obituary(process), process)
        elif "failure" in left:
            self._failed(process, left)
        if left is not None and (process.status or 0) < 0:
            self._log_late_death(process, f"process {process.index}")
        if not self._well and not self._kill_at and all(self._succeeded(one) for one in self.processes):
            self._well = True
            self._set.done()

    async def examine(self) -> None:
        """If native code has ended the only process, find out whether a file did that. The pod answers meanwhile."""
        if not self._settings.alone or not self.processes or self._stopped is not None:
            return
        first = self.processes[0]
        if not first.report_line() and autopsy.worthwhile(first, alone=True) and oom.kills() <= self._oom_kills:
            self.log(f"the query process died of {obituary.signal_name(first.status or 0)}: looking for a broken file")
            self._found = await autopsy.finding(self._settings, self._halted)

    async def _examined(self, process: Process) -> None:
        """Report the fault of a process of a set, once it is known whether a file has ended it."""
        self.log(f"process {process.index} was ended by its native code: looking for a broken file")
        found = await autopsy.finding(self._settings, self._halted)
        self._fault(*(found or self._obituary(process)), process)

    def _succeeded(self, process: Process) -> bool:
        return not process.alive and (left := process.report()) is not None and "failure" not in left

    def _failed(self, process: Process, left: Mapping[str, Any]) -> None:
        if not self._kill_at:  # what a process says that was told to end is no cause
            self._set.fault(Fault.reported(left, **(self._elsewhere(left) or self._where(process))))

    def _fault(self, failure: Failure, message: str, process: Process | None = None) -> None:
        if not self._kill_at and self._cause is None:
            self._set.fault(Fault(failure, message, **self._where(process)))

    def _obituary(self, process: Process) -> tuple[Failure, str]:
        """Return class and message for a process that has left no report; the kernel may hold it still."""
        alone = self._settings.alone
        status = -signal.SIGKILL if process.status is None else process.status
        oom_killed = oom.kills() > self._oom_kills
        if alone and status < 0 and self._stopped is not None and not oom_killed:
            killed = " and killed" if time.monotonic() >= self._kill_at[process] else ""
            moment = obituary.MOMENTS.get(process.phase, obituary.UNCOMMITTED)
            return Failure.WORKER_LOST, f"stopped by SIGTERM{killed} {moment}"
        return obituary.ended(
            "the query process" if alone else "a process of the query", status, process.tail(), oom_killed=oom_killed,
            phase=process.phase or ("planning" if process.heard is not None else ""), python=self._settings.python,
        )  # fmt: skip

    def _log_late_death(self, process: Process, name: str) -> None:
        self.log(f"{name} died of {obituary.signal_name(process.status or 0)} after it had told how it ends")

    def _where(self, process: Process | None) -> dict[str, Any]:
        if process is None:
            return {"pod": self._settings.pod, "place": f"pod {self._settings.pod}"}
        place = self._membership.place(process.index)
        return {"pod": self._settings.pod, "place": place, "process": process.index, "code": process.status}

    def _elsewhere(self, left: Mapping[str, Any]) -> dict[str, Any] | None:
        """Where it happened, if a process passes on what another one of the set has reported."""
        process = left.get("process")
        if type(process) is not int or not 0 <= process < self._settings.size:
            return None
        pod = self._membership.names.get(process // self._settings.per_pod)
        return {"pod": pod, "place": self._membership.place(process), "process": process} if pod else None

    # Time.

    def pause(self) -> float:
        """Return the seconds to the next tick. The end of a process is noticed at once."""
        if self._kill_at or self._hung or self._well:
            return ENDING_TICK
        if self._settings.alone:
            return stall.LONGEST_PAUSE if self._stall is None else self._stall.pause
        return until_next(TICK_OFFSET, time.time())

    def tick(self, now: float) -> None:
        """Look at the clock."""
        late = now - self._last - TICK_SECONDS
        self._last = now
        if late > LATE_SECONDS and not self._settings.alone:
            for process in self.processes:
                process.forgive(late)
            self._set.forgive(late)
            self._probe.forgive(late)
        for process in [process for process in self.processes if process.alive]:
            self._watch(process, now)
            if now > self._kill_at.get(process, self._leaving.get(process, now) + LEAVE_SECONDS):
                process.signal(signal.SIGKILL)
        self._set.tick(now)
        self._probe.tick(now)
        if isinstance(self._set, Agent) and self._set.parted and not self._kill_at:
            # Index 0 has committed, and left when it had waited long enough for this pod.
            self._terminate(END_SECONDS)

    def _watch(self, process: Process, now: float) -> None:
        """See whether a process hangs, or has reported a failure: it may take a while until it has ended."""
        if self._settings.alone:
            self._watch_work(process, now)
            return
        if (left := process.new_report()) is not None and "failure" in left:
            self._failed(process, left)
        if not self._kill_at and (ailment := process.ails(now)):
            self._fault(Failure.RANK_STALLED, f"a process of the query hangs: {ailment}", process)

    def _watch_work(self, process: Process, now: float) -> None:
        """Have the only process show where it is if it has done nothing for too long, and then end it."""
        idle = not self._kill_at and not self._hung and self._stall is not None
        if idle and self._stall is not None and self._stall.look(stall.counts(process.pid), now):
            self._hung = stall.Hung(process, self._settings.stall, now)
            self.log(self._hung.message)
        if self._hung is not None and now >= self._hung.stop_at:
            self.stop()

    @property
    def _committing(self) -> bool:
        """Whether process 0 is here, and in the middle of a commit: half of one is worth nothing."""
        first = self.processes[0] if self.processes else None
        return first is not None and first.index == 0 and first.alive and first.phase in obituary.MOMENTS

    def _terminate(self, seconds: float) -> None:
        """Tell the processes to end; those that have not after `seconds` are killed."""
        now = time.monotonic()
        self.changed.set()
        for process in self.processes:
            if process not in self._kill_at:
                first = process is self.processes[0] and self._committing and not process.ails(now)
                undisturbed = first and self._stopped is None
                limit = UNDISTURBED_SECONDS if undisturbed else POD_COMMIT_SECONDS if first else seconds
                self._kill_at[process] = now + limit
                self._told[process] = now
                if not undisturbed:
                    process.signal(signal.SIGTERM)
                if first:
                    for name in list(process.waiting):
                        self._barrier(process, name, None, 0.0)

    def _spare(self, process: Process) -> None:
        """Give process 0 the time of a commit that it had begun before it was told to end, but reports only now."""
        if process is self.processes[0] and self._committing and (since := self._told.get(process)) is not None:
            self._kill_at[process] = max(self._kill_at[process], since + POD_COMMIT_SECONDS)

    # The end.

    def over(self) -> bool:
        """Whether nothing is left to wait for, and no other pod waits for this one."""
        now = time.monotonic()
        if any(one.alive and now < self._kill_at.get(one, now + 1) + KILL_SECONDS for one in self.processes):
            return False
        if not (self._well or self._kill_at or self._cause is not None or (self._settings.alone and self.processes)):
            return False
        return self._set.settled(now)

    def line(self) -> str:
        """Return the report of the pod."""
        if self._settings.alone and self.processes:
            return self._line_of_one(self.processes[0])
        first = self.processes[0].report() if self.processes else None
        if first is not None and "failure" not in first and self._settings.index == 0:
            return report.passed(first)  # committed: nothing that came later undoes it
        if self._well and first is not None:
            return report.passed(first)
        if (cause := self._cause or self._stopped) is not None:
            return report.failed(cause, self._membership.tables())
        return report.well("the attempt was committed while this pod's processes were still ending")

    def _line_of_one(self, process: Process) -> str:
        """Return the report of the only process as it stands, or say why there is none."""
        line = process.report_line()
        if self._hung and (not line or json.loads(line).get("failure") == Failure.WORKER_LOST):
            failure, message = Failure.RANK_STALLED, self._hung.message + stall.where(process.tail())
        elif not line:
            failure, message = self._found or self._obituary(process)
        else:
            if (process.status or 0) < 0:
                self._log_late_death(process, "the query process")
            return line
        self.log(f"failed: {failure.value}: {message}")
        return report.failed(Fault(failure, message), self._membership.tables())
