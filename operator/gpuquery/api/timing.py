"""Timing: how long processes, pods and the operator wait for each other.

Each of these times is right only beside others: a supervisor kills a process before the kubelet kills the pod, and the
operator gives up after both. So they are here, those that depend on another are computed from it, and `ORDERS` is
checked at import. The standard library alone: supervisors import it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

# How long a commit that has begun may go on: half of one helps nobody.

GRACE_SECONDS = 30
"""From SIGTERM to SIGKILL of a pod, by the kubelet."""
POD_COMMIT_SECONDS = GRACE_SECONDS - 8
"""From SIGTERM to SIGKILL of a process that may be at its commit, by its supervisor when the pod is to stop."""
PROCESS_COMMIT_SECONDS = POD_COMMIT_SECONDS - 7.0
"""How long a process that was told to stop waits for its commit; the rest is for its report and its end."""
UNDISTURBED_SECONDS = float(GRACE_SECONDS)
"""How long process 0 goes on with a commit when another process has failed: it no longer needs the others, and is
not told to stop."""
OPERATOR_COMMIT_SECONDS = UNDISTURBED_SECONDS + 5.0
"""How long the operator leaves alone what may be committing: index 0 of a set after another pod has failed, the client
of a Dask cluster that has lost a pod, a job that is suspended."""
PHASE_SECONDS = 10.0
"""How long the kubelet is given to report a pod's phase after its container has ended: usually about a second, but
several on a node whose CPU is taken. A shorter wait would delete pods before their logs can be read."""

# How long the end of a process may take that does not commit.

ABORT_SECONDS = 4.0
"""How long the sink waits for bytes that are on their way before it drops their uploads."""
WITHDRAW_SECONDS = ABORT_SECONDS + 8.0
"""How long it may take in all to withdraw what it staged; the next attempt takes away what is left then."""
END_SECONDS = 2.0
"""From SIGTERM to SIGKILL of the processes of a set when another one has failed."""
STOP_SECONDS = 2.5
"""The same when the pod is to stop."""
LEAVE_SECONDS = 10.0
"""How long a process that has said its last word may take to end."""
KILL_SECONDS = 1.5
"""After SIGKILL only the kernel can hold a process; it is not waited for any longer."""
LOG_SECONDS = 2.0
"""How long the last lines of the log wait to be read."""
PARTING_SECONDS = 1.5
"""How long a pod stays for others that have not heard the first cause, or have not said that they are done."""
LATECOMER_SECONDS = 5.0
"""How long the coordinator stays, when its attempt has failed, for pods that have not come yet."""

# How long a failure that may be a consequence waits for its cause (first_cause.py).

HOLD_SECONDS = 1.5
"""At the coordinator of a set."""
VERDICT_SECONDS = HOLD_SECONDS + 1.5
"""How long a pod that has reported a failure waits to hear what the first cause was."""
DASK_HOLD_SECONDS = 5.0
"""In the client of an owned Dask cluster: if another process fails first, the supervisor ends this one meanwhile."""
NAMED_SECONDS = 3.0
"""The least time that an exception of Dask waits for someone who can name what was lost."""

# How long a process or a pod may be silent.

TICK_SECONDS = 1.0
"""Between two looks of a supervisor at the clock."""
BEAT_SECONDS = 1.0
"""Between two heartbeats."""
DOUBT_SECONDS = 2.5 * BEAT_SECONDS
"""Silence of a pod after which it is not certain that it lives."""
EARLY_SECONDS = 1.0
"""How much sooner than by its silence a pod is reported that another does not reach: the coordinator then waits for a
word of that pod."""
LEAST_SILENCE_SECONDS, MOST_SILENCE_SECONDS = 6, 120
"""Bounds of the silence after which a process or a pod is taken for dead (`gpu.heartbeatSeconds`); the first is the
default."""
DASK_WORKER_SILENCES = 5
"""So many times that long may a process of an owned Dask cluster be silent: where many objects are pickled, no other
thread runs meanwhile."""
DASK_SCHEDULER_SILENCES = 10
"""And a Dask scheduler owe an answer."""
IMPORT_SECONDS = 120
"""Silence of a process that still imports: loading a GPU library holds the interpreter, and with it the thread that
beats, for as long as the disk takes. A process of a DaskCluster may be silent for as long at any time."""
START_SECONDS = 300.0
"""From the start of a process to its first heartbeat: an image that is fetched while it is read makes imports as slow
as the network."""
LEAST_STALL_SECONDS = 10
"""Least time without progress after which a set is taken to hang: a word of progress goes from a rank over its
supervisor to index 0, each of which speaks once a second, and may come after a pause of the least silence."""
PULSE_SECONDS = 30.0
"""Least pause between two status writes where nothing but signs of life changes."""


class Order(NamedTuple):
    """Times, none longer than the next, and why."""

    why: str
    seconds: tuple[float, ...]

    @property
    def kept(self) -> bool:
        """Whether they are in that order."""
        return all(shorter <= longer for shorter, longer in pairwise(self.seconds))


_REPORT = 2 * KILL_SECONDS + PARTING_SECONDS + LOG_SECONDS
"""From the last SIGKILL to the end of a supervisor: processes, what they have started, other pods, the log."""
ORDERS = (
    Order(
        "a process reports how its commit ended before its supervisor kills it, and that before the kubelet does",
        (PROCESS_COMMIT_SECONDS + 1, POD_COMMIT_SECONDS, GRACE_SECONDS - _REPORT),
    ),
    Order("a stopped rank is killed before one that commits", (END_SECONDS, STOP_SECONDS, POD_COMMIT_SECONDS)),
    Order(
        "a single process can withdraw what it staged before it is killed",
        (ABORT_SECONDS, WITHDRAW_SECONDS + 1, POD_COMMIT_SECONDS),
    ),
    Order(
        "a stopped coordinator can wait for latecomers within its grace period",
        (STOP_SECONDS + LATECOMER_SECONDS + 2 * KILL_SECONDS + LOG_SECONDS, GRACE_SECONDS),
    ),
    Order(
        "the operator deletes no pod whose supervisor lets it commit",
        (POD_COMMIT_SECONDS, UNDISTURBED_SECONDS, OPERATOR_COMMIT_SECONDS - 1),
    ),
    Order(
        "a pod that has ended is deleted sooner than one that may be committing", (PHASE_SECONDS, UNDISTURBED_SECONDS)
    ),
    Order("a pod waits for the verdict longer than its failure is held", (HOLD_SECONDS, VERDICT_SECONDS)),
    Order("the coordinator decides before a client of Dask does", (VERDICT_SECONDS, NAMED_SECONDS, DASK_HOLD_SECONDS)),
    Order(
        "a pod is in doubt after it has missed a heartbeat, and before it is taken for dead",
        (BEAT_SECONDS + TICK_SECONDS, DOUBT_SECONDS, LEAST_SILENCE_SECONDS - EARLY_SECONDS),
    ),
    Order("what is held is decided before a silent pod is given up", (HOLD_SECONDS, LEAST_SILENCE_SECONDS)),
    Order("a worker that hangs is found before a scheduler that does", (DASK_WORKER_SILENCES, DASK_SCHEDULER_SILENCES)),
    Order("imports may take longer than any silence", (MOST_SILENCE_SECONDS, IMPORT_SECONDS, START_SECONDS)),
    Order("progress is heard before a set is taken to hang", (LEAST_SILENCE_SECONDS + 3, LEAST_STALL_SECONDS)),
)
for _order in ORDERS:
    assert _order.kept, _order
