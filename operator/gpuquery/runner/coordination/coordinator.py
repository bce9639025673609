"""The coordinator: index 0's side of the set. It knows the members, opens barriers, and decides the first cause.

A member repeats everything when it comes back over a new connection, so all messages are idempotent. If it comes back
within the limit it has missed nothing: open barriers are answered again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from gpuquery.api.phases import Phase
from gpuquery.api.reasons import Failure
from gpuquery.api.timing import BEAT_SECONDS, DOUBT_SECONDS, LATECOMER_SECONDS, PARTING_SECONDS
from gpuquery.runner.coordination.barrier import Barrier, BarrierError, Barriers
from gpuquery.runner.coordination.causes import Causes, Fault
from gpuquery.runner.coordination.wire import Message, WireError, pieces

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.runner.coordination.handshake import Hello
    from gpuquery.runner.coordination.link import Link
    from gpuquery.runner.coordination.membership import Membership
    from gpuquery.runner.coordination.settings import Settings

MOST_NAMED = 8
"""Processes that a message names."""
QUIET_SILENCES = 5
"""So many times the limit of silence lie between two probes while nothing is late."""


class Local(Protocol):
    """The pod that a coordinator or an agent speaks for."""

    def answered(self, message: Message) -> None:
        """Take the answer of a barrier, for the processes that wait at it."""

    def end(self, cause: Fault) -> None:
        """The attempt has failed; this is the first cause."""

    def peers(self, peers: Mapping[int, tuple[str, int, str]]) -> None:
        """Take address, port and incarnation of all other pods than index 0."""

    def probe(self) -> None:
        """Check that the pods that this one has met can still be reached."""

    def log(self, line: str) -> None:
        """Write a line into the pod's log."""


class _Member:
    """A pod that is, or was, connected."""

    def __init__(self, hello: Hello, link: Link, address: str) -> None:
        self.hello = hello
        self.address = address
        self.link = link
        self.heard = time.monotonic()
        self.broken = ""
        """Why it is not connected now."""
        self.done = False
        self.told = False
        """Whether it has acknowledged the first cause."""


class Coordinator:
    """The set, seen from index 0."""

    def __init__(self, settings: Settings, membership: Membership, local: Local) -> None:
        self._settings = settings
        self._membership = membership
        self._local = local
        self._barriers = Barriers(settings.size)
        self._causes = Causes()
        self._cause: Fault | None = None
        self._members: dict[int, _Member] = {}
        self._spread = False
        self._announced = False
        self._left: float | None = None
        self._beaten = 0.0
        self._moved = time.monotonic()
        self._probed = 0.0

    # Events of this pod.

    def barrier(self, process: int, name: str, value: Any, seconds: float) -> None:
        """A process has come to a barrier."""
        try:
            barrier, opened = self._barriers.arrive(name, process, value, seconds=seconds, now=time.monotonic())
        except BarrierError as exc:
            self.fault(Fault(Failure.INTERNAL_ERROR, str(exc), self._settings.pod, self._membership.place(process)))
            return
        self.moved()
        if opened:
            self._answer(barrier)
        elif barrier.open or barrier.closed:
            self._answer(barrier, only=process)

    def joined(self, process: int) -> None:
        """A process can exchange rows with the others."""
        self._membership.processes[process].joined = True
        if self._membership.complete and not self._announced:
            self._announced = True
            for index in range(self._settings.size):
                notes = self._membership.processes[index].notes
                facts = ", ".join(f"{key} {value}" for key, value in notes.items())
                self._local.log(f"process {index} has joined: {self._membership.place(index)}{facts and ': '}{facts}")

    def note(self, process: int, facts: Mapping[str, Any]) -> None:
        """A process notes facts about itself."""
        self._membership.processes[process].note(facts)

    def progress(self, process: int, progress: Mapping[str, Any]) -> None:
        """A process reports its progress."""
        self._membership.processes[process].progress = progress

    def moved(self) -> None:
        """A process makes progress."""
        self._moved = time.monotonic()

    def fault(self, fault: Fault) -> None:
        """Something went wrong."""
        now = time.monotonic()
        self._causes.add(fault, now)
        self._decide(now)

    def unheard(self, reporter: int, pod: int, why: str) -> None:
        """A pod does not hear another one, neither of them index 0."""
        if pod not in self._members or self._members[pod].done:
            return
        names = self._membership.names
        text = f"it does not reach pod {names.get(pod, pod)}: {why}: see the network policies and the nodes' network"
        place = f"pod {names.get(reporter, reporter)}"
        self._causes.suspect(pod, Fault(Failure.TRANSPORT_ERROR, text, names.get(reporter, ""), place))

    def done(self) -> None:
        """All processes of this pod have ended well: nothing is left to do."""

    # Messages of members.

    def admit(self, hello: Hello, link: Link, address: str) -> str | None:
        """Take a member that holds the token; returns why it is refused, else None."""
        if not 0 < hello.caller < self._settings.pods:
            return f"index {hello.caller} is out of range: this attempt has {self._settings.pods} pods"
        known = self._members.get(hello.caller)
        if known is not None and known.hello.incarnation != hello.incarnation:
            return f"index {hello.caller} is taken by pod {known.hello.pod}, which started earlier"
        if known is not None:
            known.link.close()
            member = known
            member.link, member.heard, member.broken = link, time.monotonic(), ""
            self._local.log(f"pod {hello.pod} is back")
            self.moved()  # it may have done something meanwhile
        else:
            member = self._members[hello.caller] = _Member(hello, link, address)
            self._membership.names[hello.caller] = hello.pod
            self._local.log(f"pod {hello.pod} has come ({len(self._members) + 1} of {self._settings.pods})")
        link.on_message = lambda message: self._take(member, message)
        link.on_close = lambda why: self._broke(member, why)
        link.send({"kind": "welcome"})
        link.start()
        if self._cause is not None:
            self._tell(member)
        self._introduce(only=member)
        return None

    def _broke(self, member: _Member, why: str) -> None:
        member.broken = why
        if not member.done and self._cause is None:
            self._local.log(f"the connection of pod {member.hello.pod} broke: {why}")

    def _take(self, member: _Member, message: Message) -> None:
        member.heard = time.monotonic()
        self._causes.heard(member.hello.caller)
        match message["kind"]:
            case "beat":
                if message.get("moved"):
                    self.moved()
            case "barrier":
                name, seconds = message.get("name"), message.get("seconds")
                if not isinstance(name, str) or not isinstance(seconds, int | float):
                    raise WireError("no barrier")
                self.barrier(self._process(member, message), name, message.get("value"), seconds)
            case "joined":
                self.joined(self._process(member, message))
            case "note":
                self.note(self._process(member, message), _object(message, "facts"))
            case "progress":
                self.progress(self._process(member, message), _object(message, "progress"))
            case "fault":
                self.fault(Fault.read(message.get("fault")))
            case "unheard":
                self.unheard(member.hello.caller, int(message.get("pod", -1)), str(message.get("why", "")))
            case "told":
                member.told = True
            case "done":
                member.done = True
        self._decide(member.heard)

    def _process(self, member: _Member, message: Message) -> int:
        process = message.get("process")
        if type(process) is not int or process // self._settings.per_pod != member.hello.caller:
            raise WireError("a process that is not its own")
        return process

    # Time.

    def tick(self, now: float) -> None:
        """Look at the clock."""
        if now - self._beaten >= BEAT_SECONDS / 2:
            self._beaten = now
            for member in self._members.values():
                member.link.send({"kind": "beat"})
        for barrier in self._barriers.expire(now):
            self._answer(barrier)
            self.fault(Fault(Failure.RANK_STALLED, self._stalled(barrier), *self._blamed(barrier.missing)))
        for member in self._members.values():
            if now - member.heard > self._settings.silence and not member.done:
                self.fault(_lost(member, now - member.heard))
        if (stuck := self._stuck(now)) is not None:
            self.fault(stuck)
        self._introduce()
        self._probe(now)
        self._decide(now)

    def _probe(self, now: float) -> None:
        """Have the members probe each other, for index 0 cannot see a broken connection between two of them: often
        while something is late, and now and then in any case, because not every GPU tells when it stands still."""
        silence = self._settings.silence
        late = self._doubt(now) or now - self._moved > silence / 2
        pause = silence / 4 if late else QUIET_SILENCES * silence
        if self._spread and self._cause is None and now - self._probed >= pause:
            self._probed = now
            for member in self._members.values():
                member.link.send({"kind": "probe"})

    def _stuck(self, now: float) -> Fault | None:
        """Return the fault of a set whose processes live but make no progress: they wait for each other inside the
        library. A process that merely waits for a slower one is fine, because that one makes progress. The only
        process of an attempt does not report progress: its pod watches it from outside."""
        limit = 0 if self._settings.alone else self._settings.stall
        if not limit or now - self._moved <= limit or self._doubt(now):
            return None
        if self._membership.processes[0].progress.get("phase") != Phase.RUNNING or not self._membership.complete:
            return None
        barrier = self._barriers.pending
        behind = barrier.missing if barrier is not None else range(self._settings.size)
        text = (
            f"no process has made progress for {limit:g} s: {len(behind)} of {self._settings.size} processes run the "
            f"query, and none of them wrote a row, moved bytes or used its GPU: {self._named(behind)}"
        )
        return Fault(Failure.RANK_STALLED, text, *self._blamed(behind))

    def forgive(self, seconds: float) -> None:
        """This process was paused for so long: extend the deadlines by it."""
        for member in self._members.values():
            member.heard += seconds
        self._barriers.forgive(seconds)
        self._moved += seconds

    def settled(self, now: float) -> bool:
        """Whether no member needs the coordinator any more, now that this pod's processes have ended."""
        if self._left is None:
            self._left = now
        awaited = any(self._awaited(m) or not m.link.flushed for m in self._members.values())
        missing = self._cause is not None and len(self._members) < self._settings.pods - 1
        limit = LATECOMER_SECONDS if missing else self._settings.silence if self._cause is None else PARTING_SECONDS
        return not (awaited or missing) or now - self._left >= limit

    def _awaited(self, member: _Member) -> bool:
        return not member.done if self._cause is None else not (member.told or member.done or member.broken)

    def close(self) -> None:
        """Part from all."""
        for member in self._members.values():
            member.link.send({"kind": "bye"})
            member.link.close()

    # The first cause, and other messages to all.

    def _decide(self, now: float) -> None:
        if self._cause is None and self._causes.suspected:
            # Something may be the consequence of a death that is not certain yet.
            self._cause = self._causes.due(now, doubt=self._doubt(now))
            if self._cause is not None:
                for member in self._members.values():
                    self._tell(member)
                self._local.end(self._cause)

    def _doubt(self, now: float) -> bool:
        """Whether a pod may be dead: it is disconnected, or its heartbeat is late."""
        return any(not m.done and (m.broken or now - m.heard > DOUBT_SECONDS) for m in self._members.values())

    def _tell(self, member: _Member) -> None:
        assert self._cause is not None  # the caller checked
        member.link.send({"kind": "cause", "fault": self._cause.message_of()})

    def _introduce(self, only: _Member | None = None) -> None:
        """Send all members the addresses of the others, once all have come."""
        if len(self._members) < self._settings.pods - 1 or (self._spread and only is None):
            return
        peers = {index: (m.address, m.hello.port, m.hello.incarnation) for index, m in self._members.items()}
        message = {
            "kind": "peers",
            "peers": {str(index): peer for index, peer in peers.items()},
            "names": {str(index): name for index, name in self._membership.names.items()},
        }
        if not self._spread:
            self._probed = time.monotonic()  # they connect to each other now
        for member in self._members.values() if not self._spread or only is None else [only]:
            member.link.send(message)
        self._spread = True

    def _answer(self, barrier: Barrier, only: int | None = None) -> None:
        """Send the state of a barrier to all pods, or to the pod of one process."""
        if barrier.closed:
            messages: list[Message] = [{"kind": "stalled", "name": barrier.name, "message": self._stalled(barrier)}]
        else:
            messages = [
                {"kind": "open", "name": barrier.name, "from": begin, "values": values, "size": self._settings.size}
                for begin, values in pieces(barrier.values)
            ]
        pods = range(self._settings.pods) if only is None else [only // self._settings.per_pod]
        for message in messages:
            for pod in pods:
                if pod == 0:
                    self._local.answered(message)
                elif pod in self._members:
                    self._members[pod].link.send(message)

    def _stalled(self, barrier: Barrier) -> str:
        return (
            f'{len(barrier.missing)} of {self._settings.size} processes did not come to "{barrier.name}" within '
            f"{barrier.seconds:g} s: {self._named(barrier.missing)}"
        )

    def _named(self, processes: Sequence[int]) -> str:
        named = "; ".join(self._membership.place(index) for index in processes[:MOST_NAMED])
        return named + (f"; and {len(processes) - MOST_NAMED} more" if len(processes) > MOST_NAMED else "")

    def _blamed(self, processes: Sequence[int]) -> tuple[str, str, int]:
        first = processes[0]
        return self._membership.names.get(first // self._settings.per_pod, ""), "", first


def _lost(member: _Member, seconds: float) -> Fault:
    why = f"its connection broke ({member.broken}) and it did not come back" if member.broken else "it went silent"
    text = f"pod {member.hello.pod} (index {member.hello.caller}) is lost: {why}; last heard of {seconds:.0f} s ago"
    return Fault(Failure.WORKER_LOST, text, member.hello.pod)


def _object(message: Message, key: str) -> Mapping[str, Any]:
    found = message.get(key)
    if not isinstance(found, dict):
        raise WireError(f"no {key}")
    return found
