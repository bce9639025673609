"""The agent: the other pods' side of the set. One connection to the coordinator, for the whole attempt.

What the coordinator has to know is kept here until the end, and told again over every new connection.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from gpuquery.api.reasons import Failure
from gpuquery.api.timing import BEAT_SECONDS, PARTING_SECONDS, VERDICT_SECONDS
from gpuquery.runner.coordination.causes import Fault
from gpuquery.runner.coordination.dial import Answer, dial
from gpuquery.runner.coordination.handshake import Hello, nonce
from gpuquery.runner.coordination.loop import Link, Loop
from gpuquery.runner.coordination.wire import Message, WireError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuquery.runner.coordination.coordinator import Local
    from gpuquery.runner.coordination.roster import Roster
    from gpuquery.runner.coordination.settings import Settings

FORM_SECONDS = 24 * 3600.0
"""How long a pod waits for index 0 to come up. The operator's start deadline is shorter: this is for its absence."""
STRANGER_SECONDS = 20.0
"""How long somebody without the token may answer in place of index 0: an address may have been another pod's."""
AGAIN_SECONDS = 0.5
"""Between two calls."""
_SLOW_SECONDS = 30.0
"""Between two lines of the log about an index 0 that does not answer."""


class Agent:
    """The set, seen from a pod other than index 0. Its methods are called in the loop's thread."""

    def __init__(self, settings: Settings, roster: Roster, loop: Loop, local: Local, incarnation: str) -> None:
        self._settings = settings
        self._roster = roster
        self._loop = loop
        self._local = local
        self._incarnation = incarnation
        self._coordinator_incarnation = ""
        self._link: Link | None = None
        self._dialling = False
        self._began = self._heard = time.monotonic()
        self._strange: float | None = None
        self._logged = self._began
        self._again = self._beaten = 0.0
        self._moved = False
        self._why = "it was never reached"
        self._waiting: dict[tuple[int, str], Message] = {}
        self._dirty: set[int] = set()
        self._fault: Fault | None = None
        self._told_at = 0.0
        self._unheard: dict[int, str] = {}
        self._done = False
        self._cause: Fault | None = None
        self._parted = False
        self._left: float | None = None

    # What the processes of this pod do.

    def gate(self, process: int, name: str, value: Any, seconds: float) -> None:
        """A process has come to a gate."""
        message = {"kind": "gate", "process": process, "name": name, "value": value, "seconds": seconds}
        self._waiting[process, name] = message
        self._send(message)

    def joined(self, process: int) -> None:
        """A process can exchange rows with the others."""
        self._roster.processes[process].joined = True
        self._send({"kind": "joined", "process": process})

    def note(self, process: int, facts: Mapping[str, Any]) -> None:
        """A process tells of itself."""
        self._roster.processes[process].note(facts)
        self._send({"kind": "note", "process": process, "facts": self._roster.processes[process].notes})

    def progress(self, process: int, progress: Mapping[str, Any]) -> None:
        """A process has come further."""
        self._roster.processes[process].progress = progress
        self._dirty.add(process)

    def moved(self) -> None:
        """A process of this pod makes progress."""
        self._moved = True

    def fault(self, fault: Fault) -> None:
        """Something went wrong. Which was the first cause is the coordinator's to say, if it can."""
        if self._fault is None and self._cause is None:
            self._fault, self._told_at = fault, time.monotonic()
            self._send({"kind": "fault", "fault": fault.message_of()})

    def unheard(self, _reporter: int, pod: int, why: str) -> None:
        """Another pod is not heard."""
        self._unheard[pod] = why
        self._send({"kind": "unheard", "pod": pod, "why": why})

    def done(self) -> None:
        """All processes of this pod have ended well."""
        self._done = True
        self._send({"kind": "done"})

    # What the coordinator does.

    def admit(self, hello: Hello, _link: Link, _address: str) -> str | None:
        """Refuse: members come to the coordinator."""
        return f"this is pod {self._settings.pod} (index {self._settings.index}), not index 0"

    def _answered(self, answer: Answer) -> None:
        self._dialling = False
        now = time.monotonic()
        self._again = now + AGAIN_SECONDS
        if self._parted or (self._left is not None and answer.sock is None):
            if answer.sock is not None:
                answer.sock.close()
            return
        if answer.sock is None:
            self._refused(answer, now)
            return
        self._strange = None
        if self._coordinator_incarnation not in ("", answer.incarnation):
            answer.sock.close()
            self._die("index 0 was started again: the attempt that it led is over")
            return
        self._coordinator_incarnation = answer.incarnation
        self._heard = now
        link = self._link = Link(self._loop, answer.sock)
        link.on_message = self._take
        link.on_close = self._broke
        self._replay()

    def _refused(self, answer: Answer, now: float) -> None:
        self._why = answer.why
        if answer.final:
            self._die(f"index 0 refuses this pod: {answer.why}")
        elif not answer.stranger:
            self._strange = None
        elif self._strange is None:
            self._strange = now
        elif now - self._strange > STRANGER_SECONDS:
            self._die(f"{answer.why}: is the attempt's Secret the same for all pods?")
        if now - self._logged > _SLOW_SECONDS:
            self._logged = now
            self._local.log(f"index 0 does not answer yet: {answer.why}")

    def _replay(self) -> None:
        for index, process in self._roster.own():
            if process.notes:
                self._send({"kind": "note", "process": index, "facts": process.notes})
            if process.joined:
                self._send({"kind": "joined", "process": index})
            if process.progress:
                self._dirty.add(index)
        for message in self._waiting.values():
            self._send(message)
        for pod, why in self._unheard.items():
            self._send({"kind": "unheard", "pod": pod, "why": why})
        if self._fault is not None:
            self._send({"kind": "fault", "fault": self._fault.message_of()})
        if self._done:
            self._send({"kind": "done"})

    def _broke(self, why: str) -> None:
        self._link, self._why = None, why
        if not self._parted and self._cause is None:
            self._local.log(f"the connection to index 0 broke: {why}")

    def _take(self, message: Message) -> None:
        self._heard = time.monotonic()
        match message["kind"]:
            case "open" | "stalled":
                self._local.answered(message)
                if message["kind"] == "stalled" or message["from"] + len(message["values"]) >= self._settings.size:
                    self._waiting = {key: m for key, m in self._waiting.items() if key[1] != message["name"]}
            case "peers":
                self._roster.names.update({int(index): name for index, name in message["names"].items()})
                self._local.peers({int(i): (a, p, c) for i, (a, p, c) in message["peers"].items()})
            case "probe":
                self._local.probe()
            case "cause":
                self._send({"kind": "told"})
                self._judge(Fault.read(message.get("fault")))
            case "bye":
                # Index 0 leaves when the attempt has been committed, or has failed and all know it.
                self._parted = True
            case "beat" | "welcome":
                pass
            case kind:
                raise WireError(f"an unknown {kind}")

    # What time does.

    def tick(self, now: float) -> None:
        """Look at the clock."""
        if self._link is None and not self._dialling and not self._parted and now >= self._again:
            self._dialling = True
            settings = self._settings
            hello = Hello("member", settings.index, 0, self._incarnation, nonce(), settings.pod, settings.port)
            dial(self._loop, settings.coordinator, hello, settings.token, self._answered)
        if now - self._beaten >= BEAT_SECONDS / 2:
            self._beaten = now
            if self._link is not None:
                self._send({"kind": "beat", "moved": self._moved})
                self._moved = False
            for process in sorted(self._dirty) if self._link is not None else ():
                progress = self._roster.processes[process].progress
                self._send({"kind": "progress", "process": process, "progress": progress})
                self._dirty.discard(process)
        if self._cause is None and not self._parted:
            self._watch(now)

    def _watch(self, now: float) -> None:
        silence = now - self._heard
        if self._fault is not None and now - self._told_at > VERDICT_SECONDS:
            self._judge(self._fault)
        elif not self._coordinator_incarnation:
            if silence > FORM_SECONDS:
                self._die(f"index 0 was not reached within {FORM_SECONDS / 3600:.0f} h: {self._why}")
        elif silence > self._settings.silence:
            why = "it is silent" if self._link is not None else self._why
            self._die(f"the pod of index 0 is lost: {why}; last heard of {silence:.0f} s ago")

    def forgive(self, seconds: float) -> None:
        """Nobody was at work here for so long: what was not heard may have been said."""
        self._heard += seconds

    def settled(self, now: float) -> bool:
        """Whether this pod may leave, now that its processes have ended: it knows how the attempt ends."""
        if self._left is None:
            self._left = now
        if self._cause is None and not self._done and not self._parted:
            return now - self._left >= PARTING_SECONDS
        return self._link is None or self._link.flushed or now - self._left >= PARTING_SECONDS

    @property
    def parted(self) -> bool:
        """Whether index 0 has left."""
        return self._parted

    def close(self) -> None:
        """Part."""
        self._parted = True
        if self._link is not None:
            self._link.close()

    def _send(self, message: Message) -> None:
        if self._link is not None:
            self._link.send(message)

    def _die(self, why: str) -> None:
        names = self._roster.names
        self._judge(self._fault or Fault(Failure.WORKER_LOST, why, names.get(0, ""), ""))

    def _judge(self, cause: Fault) -> None:
        if self._cause is None:
            self._cause = cause
            self._local.end(cause)
