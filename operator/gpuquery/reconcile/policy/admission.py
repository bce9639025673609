"""Admission: which jobs of a namespace go ahead, if it has a maximum of jobs that have not ended.

A job that has begun goes on. The others go ahead in the order of their creation. One that waits holds nothing, and its
deadlines do not run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.api.reasons import Reason
from gpuquery.reconcile.observe.model import Wait
from gpuquery.reconcile.policy.account import Account, Hold
from gpuquery.reconcile.policy.case import LOOK_FOR_TURN, Answer, unfit

if TYPE_CHECKING:
    from gpuquery.plan.maxima import Maximum
from gpuquery.reconcile.policy.case import Case


def turn(*, begun: int, earlier: int, most: Maximum) -> Wait | None:
    """Decide about a job that has not begun; `earlier` of those that wait were created before it.

    None: it goes ahead.
    """
    if begun + earlier < most.value:
        return None
    jobs = "job" if most.value == 1 else "jobs"
    return Wait(
        f"the namespace may have {most.value:,} {jobs} that have begun and not ended, and has them: this one begins "
        f"when earlier ones have ended (an administrator can raise {most.raised_by})"
    )


def surplus(*, later: int, most: int) -> bool:
    """Whether a finished job is one too many; `later` of its namespace ended after it. 0: all are kept."""
    return 0 < most <= later


def await_turn(case: Case) -> Answer | None:
    """Other jobs of the namespace come first; what cannot be run whenever its turn comes is refused now."""
    if (wait := case.observed.wait) is None:
        return None
    if (refused := unfit(case)) is not None:
        return refused
    return Answer(Account(hold=Hold(reason=Reason.TOO_MANY_JOBS, message=wait.message)), again=LOOK_FOR_TURN)
