"""Account: how things stand with a job, as the decision found it. report/status.py derives the whole status from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Reason

if TYPE_CHECKING:
    from datetime import datetime

    from gpuquery.api.conditions import State
    from gpuquery.api.reasons import Event
    from gpuquery.api.status import AttemptStatus, PlanStatus, PreflightRun
    from gpuquery.kube.progress import Reading
    from gpuquery.reconcile.policy.outcome import Committed, Fault
    from gpuquery.reconcile.policy.retry import Spent
    from gpuquery.reconcile.policy.startup import Blocker

Told = tuple[str, str, str]
"""Status, reason and message of a condition."""


@dataclass(frozen=True)
class Note:
    """One event."""

    event: Event
    message: str
    warning: bool = False


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A policy keeps the job from beginning. It says why, in `Accepted` and in the conditions that depend on that."""

    reason: str
    message: str
    accepted: str = "Unknown"
    """Status of `Accepted`."""
    after: tuple[str, str] = (Reason.NOT_STARTED, "the job is not accepted")
    """Reason and message of the conditions after it."""
    state: State | None = None
    """Set if the job was taken out of its run: it begins anew, with a start time and progress of its own."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """How things stand. At most one of `fault` and `committed` is set; neither while an attempt goes on."""

    plan: PlanStatus | None = None
    """While the preflight's own pod comes first: as far as it is known without what that finds out."""
    hold: Hold | None = None
    checking: bool = False
    """Whether the preflight's own pod comes first: it is asked for, at work, or failed."""
    run: PreflightRun | None = None
    """The preflight's current run."""
    attempt: AttemptStatus | None = None
    """The current attempt."""
    spent: Spent | None = None
    """What the attempts up to this one have cost."""
    pods: str = ""
    """How many of its pods are ready, in words."""
    ready: bool = False
    blocker: Blocker | None = None
    reading: Reading | None = None
    fault: Fault | None = None
    committed: Committed | None = None
    removing: str = ""
    """While pods are still alive: which they are, and why they are slow to go, where somebody knows."""
    suspending: bool = False
    """The job is about to be suspended: pods of it are still alive."""
    ended: bool = False
    """Whether no pod of the attempt is alive any more."""
    retry_at: datetime | None = None
    failed: Fault | None = None
    """Why the job has failed for good."""
    dry_run: bool = False
    """The preflight has passed, and nothing else was to be done."""

    @property
    def over(self) -> bool:
        """Whether the job has ended."""
        committed = self.committed is not None and self.ended
        return committed or self.dry_run or self.failed is not None

    @property
    def stopped(self) -> bool:
        """Whether a policy has taken the job out of its run."""
        return self.hold is not None and self.hold.state is not None

    def with_removal(self, told: str) -> str:
        """Add to a message which pods are still alive."""
        return f"{told}; {self.removing}" if self.removing else told


def rejected(fault: Fault) -> Account:
    """Return the account of a job whose spec cannot be run: it fails, and was never accepted."""
    return Account(failed=fault, hold=Hold(accepted="False", reason=fault.failure, message=fault.message))
