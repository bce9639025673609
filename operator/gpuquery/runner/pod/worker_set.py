"""One pod of a set: its processes, its way to the coordinator, its word at the end.

It lives in three steps: it runs; then either all of its processes end well, or the first cause of a failure is known
(or an order to stop has come) and what still runs is ended; then it stays for as long as others need it.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
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
from gpuquery.runner.coordination.listener import Identity, Listener
from gpuquery.runner.coordination.loop import Link, Loop, listen
from gpuquery.runner.coordination.probe import Probe
from gpuquery.runner.coordination.roster import Roster
from gpuquery.runner.failures import obituary
from gpuquery.runner.pod import report
from gpuquery.runner.pod.endpoints import SetBoard
from gpuquery.runner.pod.pod import Pod
from gpuquery.runner.pod.rank import DevicesError, Rank

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.runner.coordination.handshake import Hello
    from gpuquery.runner.coordination.settings import Settings
    from gpuquery.runner.coordination.wire import Message
    from gpuquery.runner.pod.process import Process

LATE_SECONDS = 1.0
"""A tick that comes so late says that this process was not running: others may well have been heard meanwhile."""


class SetPod(Pod):
    """The supervisor of one pod of a set."""

    def __init__(self, settings: Settings, loop: Loop) -> None:
        super().__init__(loop)
        self._settings = settings
        self._roster = Roster(settings)
        self._incarnation = os.urandom(8).hex()
        self._ranks: list[Rank] = []
        self._cause: Fault | None = None
        self._stopped: Fault | None = None
        self._kill_at: dict[Rank, float] = {}
        self._told: dict[Rank, float] = {}
        """When they were told to end."""
        self._leaving: dict[Rank, float] = {}
        self._parted: float | None = None
        self._well = False
        self._last = time.monotonic()
        self._listener: Listener | None = None
        self._set: Coordinator | Agent = (
            Coordinator(settings, self._roster, self)
            if settings.index == 0
            else Agent(settings, self._roster, loop, self, self._incarnation)
        )
        self._probe = Probe(settings, loop, self._incarnation, self._set.unheard)

    def start(self, port: int) -> None:
        """Start the processes, then answer: they need not wait for it."""
        try:
            for number in range(self._settings.per_pod):
                self._ranks.append(Rank(self._settings, number, self._loop, self._outlet, self._take))
        except DevicesError as exc:
            self._fault(Failure.NO_GPU, str(exc))
        except OSError as exc:
            self._fault(Failure.INTERNAL_ERROR, f"cannot start a process: {exc}")
        if self._settings.pods > 1:
            identity = Identity(self._settings.index, self._incarnation, self._settings.token)
            try:
                self._listener = Listener(self._loop, listen(self._settings.port), identity, self._admit, self.log)
            except OSError as exc:
                self._fault(Failure.INTERNAL_ERROR, f"cannot listen on port {self._settings.port}: {exc.strerror}")
        self.serve(SetBoard(self._roster), port)
        self._set.tick(time.monotonic())

    @property
    def processes(self) -> Sequence[Rank]:
        """The processes of this pod."""
        return self._ranks

    @property
    def ending(self) -> bool:
        """Whether processes have been told to end."""
        return bool(self._kill_at)

    def part(self) -> None:
        """Part from the other pods."""
        self._probe.close()
        self._set.close()
        if self._listener is not None:
            self._listener.close()

    def stop(self) -> None:
        """Obey an order to stop."""
        if self._stopped is not None or not any(rank.alive for rank in self._ranks):
            return
        place = f"pod {self._settings.pod}"
        self._stopped = Fault(
            Failure.WORKER_LOST, "stopped by SIGTERM before the result was committed", place[4:], place
        )
        self.log(f"SIGTERM: {'the commit is finished first' if self._committing else 'ending'}")
        if self._ranks[0] in self._kill_at and self._committing:
            # Left alone until now: from here on the kubelet counts.
            self._kill_at[self._ranks[0]] = min(self._kill_at[self._ranks[0]], time.monotonic() + POD_COMMIT_SECONDS)
            self._ranks[0].signal(signal.SIGTERM)
        self._terminate(STOP_SECONDS)
        self._set.fault(self._stopped)

    # What the coordinator or the agent tells.

    def answered(self, message: Message) -> None:
        """Pass the answer of a gate on to the processes that wait at it."""
        name = message["name"]
        last = message["kind"] == "stalled" or message["from"] + len(message["values"]) >= message["size"]
        for rank in self._ranks:
            if name in rank.waiting:
                rank.send(message)
                if last:
                    rank.waiting.discard(name)

    def end(self, cause: Fault) -> None:
        """End what runs: the attempt has failed."""
        self._cause = cause
        self.log(f"failed: {cause.failure.value}: {cause.told()}")
        self._terminate(END_SECONDS)

    def peers(self, peers: Mapping[int, tuple[str, int, str]]) -> None:
        """Meet the other pods."""
        self._probe.meet(peers)

    def probe(self) -> None:
        """Look for the other pods."""
        self._probe.ask()

    # What the processes tell.

    def _take(self, rank: Rank, message: Message) -> None:
        match message["kind"]:
            case "beat":
                if rank.beat(message.get("counter")):
                    self._set.moved()
            case "joined":
                rank.joined = True
                self._set.joined(rank.index)
            case "progress" if isinstance(message.get("progress"), dict):
                rank.phase = str(message["progress"].get("phase", ""))
                self._spare(rank)
                self._set.progress(rank.index, message["progress"])
            case "note" if isinstance(message.get("facts"), dict):
                self._set.note(rank.index, message["facts"])
            case "gate":
                self._gate(rank, str(message["name"]), message.get("value"), float(message["seconds"]))
            case "bye":
                rank.leaving = True
                self._leaving[rank] = time.monotonic()

    def _gate(self, rank: Rank, name: str, value: Any, seconds: float) -> None:
        rank.waiting.add(name)
        if self._kill_at and self._committing and rank is self._ranks[0]:
            # The others are gone or going; what is committed needs them no more.
            values = [value if index == rank.index else None for index in range(self._settings.size)]
            self.answered({"kind": "open", "name": name, "from": 0, "values": values, "size": len(values)})
            return
        self._set.gate(rank.index, name, value, seconds)

    def _look(self, rank: Rank) -> None:
        """See whether a process has told how it fails: it may take a while until it has ended."""
        if (left := rank.new_report()) is not None and "failure" in left:
            self._failed(rank, left)

    # What happens to them.

    def ended(self, process: Process) -> None:
        """A process has ended."""
        rank = next(rank for rank in self._ranks if rank is process)
        status, left = rank.status or 0, rank.report()
        if left is None:
            failure, message = obituary.ended(
                "a process of the query", status, rank.tail(), oom_killed=self.oom_killed,
                phase=rank.phase or ("planning" if rank.heard is not None else ""), python=self._settings.python,
            )  # fmt: skip
            self._fault(failure, message, rank)
        elif "failure" in left:
            self._failed(rank, left)
        if left is not None and status < 0:
            self.log(f"process {rank.index} died of {obituary.signal_name(status)} after it had told how it ends")
        if not self._well and not self._kill_at and all(self._succeeded(rank) for rank in self._ranks):
            self._well = True
            self._set.done()

    def _succeeded(self, rank: Rank) -> bool:
        return not rank.alive and (left := rank.report()) is not None and "failure" not in left

    def _failed(self, rank: Rank, left: Mapping[str, Any]) -> None:
        if self._kill_at:
            return  # what a process says that was told to end is no cause
        self._set.fault(Fault.reported(left, **(self._elsewhere(left) or self._where(rank))))

    def _fault(self, failure: Failure, message: str, rank: Rank | None = None) -> None:
        if self._kill_at or self._cause is not None:
            return
        self._set.fault(Fault(failure, message, **self._where(rank)))

    def _where(self, rank: Rank | None) -> dict[str, Any]:
        if rank is None:
            return {"pod": self._settings.pod, "place": f"pod {self._settings.pod}"}
        place = self._roster.place(rank.index)
        return {"pod": self._settings.pod, "place": place, "process": rank.index, "code": rank.status}

    def _elsewhere(self, left: Mapping[str, Any]) -> dict[str, Any] | None:
        """Where it happened, if a process passes on what another one of the set has told."""
        process = left.get("process")
        if type(process) is not int or not 0 <= process < self._settings.size:
            return None
        pod = self._roster.names.get(process // self._settings.per_pod)
        return {"pod": pod, "place": self._roster.place(process), "process": process} if pod else None

    def _admit(self, hello: Hello, link: Link, address: str) -> str | None:
        match hello.purpose:
            case "member":
                return self._set.admit(hello, link, address)
            case "peer":
                return self._probe.admit(hello, link, address)
            case other:
                return f'nobody comes here as "{other[:20]}"'

    # What time does.

    def tick(self, now: float) -> None:
        """Look at the clock."""
        late = now - self._last - TICK_SECONDS
        self._last = now
        if late > LATE_SECONDS:
            for rank in self._ranks:
                rank.forgive(late)
            self._set.forgive(late)
            self._probe.forgive(late)
        for rank in [rank for rank in self._ranks if rank.alive]:
            self._look(rank)
            if not self._kill_at and (ailment := rank.ails(now)):
                self._fault(Failure.RANK_STALLED, f"a process of the query hangs: {ailment}", rank)
            if now > self._kill_at.get(rank, self._leaving.get(rank, now) + LEAVE_SECONDS):
                rank.signal(signal.SIGKILL)
        self._set.tick(now)
        self._probe.tick(now)
        if isinstance(self._set, Agent) and self._set.parted and not self._kill_at:
            # Index 0 has committed, and left when it had waited long enough for this pod.
            self._terminate(END_SECONDS)
        if self._listener is not None:
            self._listener.tick(now)

    @property
    def _committing(self) -> bool:
        """Whether process 0 is here, and in the middle of a commit: half of one helps nobody."""
        first = self._ranks[0] if self._ranks else None
        return first is not None and first.index == 0 and first.alive and first.phase in obituary.MOMENTS

    def _terminate(self, seconds: float) -> None:
        """Tell the processes to end, and see to it that they have soon."""
        now = time.monotonic()
        for rank in self._ranks:
            if rank not in self._kill_at:
                first = rank is self._ranks[0] and self._committing and not rank.ails(now)
                undisturbed = first and self._stopped is None
                limit = UNDISTURBED_SECONDS if undisturbed else POD_COMMIT_SECONDS if first else seconds
                self._kill_at[rank] = now + limit
                self._told[rank] = now
                if not undisturbed:
                    rank.signal(signal.SIGTERM)
                if first:
                    for name in list(rank.waiting):
                        self._gate(rank, name, None, 0.0)

    def _spare(self, rank: Rank) -> None:
        """Give process 0 the time of a commit that it had begun before it was told to end, which is heard only now."""
        if rank is self._ranks[0] and self._committing and (since := self._told.get(rank)) is not None:
            self._kill_at[rank] = max(self._kill_at[rank], since + POD_COMMIT_SECONDS)

    def over(self) -> bool:
        """Whether nothing is left to wait for, and nobody else waits for this pod."""
        now = time.monotonic()
        if any(rank.alive and now < self._kill_at.get(rank, now + 1) + KILL_SECONDS for rank in self._ranks):
            return False
        if not (self._well or self._kill_at or self._cause is not None):
            return False
        return self._set.settled(now)

    def line(self) -> str:
        """Return the report of the pod."""
        first = self._ranks[0].report() if self._ranks else None
        if first is not None and "failure" not in first and self._settings.index == 0:
            return report.passed(first)  # committed: nothing that came later undoes it
        if self._well and first is not None:
            return report.passed(first)
        if (cause := self._cause or self._stopped) is not None:
            return report.failed(cause)
        return report.well("the attempt was committed while this pod's processes were still ending")
