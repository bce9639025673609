"""Every failure class says whether it is retried, and what may explain it."""

from __future__ import annotations

import pytest

from gpuquery.api.reasons import Failure, FailureClass, Policy, Reach


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("Odd", id="the word alone"),
        pytest.param(("Odd", Policy.NEVER), id="no reach"),
        pytest.param(("Odd", None, Reach.CAUSE), id="no policy"),
    ],
)
def test_a_class_without_policy_or_reach_cannot_exist(value: object) -> None:
    with pytest.raises(TypeError, match='the failure class "Odd" needs a policy and a reach'):
        FailureClass("Classes", {"ODD": value})  # type: ignore[arg-type]


def test_a_class_that_has_both_is_its_word() -> None:
    found = Failure("UserError")
    assert found is Failure.USER_ERROR
    assert (found, found.policy, found.reach) == ("UserError", Policy.NEVER, Reach.CAUSE)


def test_what_another_failure_may_explain_is_always_tried_again() -> None:
    unexplained = {failure: failure.policy for failure in Failure if failure.reach is not Reach.CAUSE}
    assert unexplained == {
        Failure.TRANSPORT_ERROR: Policy.BUDGETED,
        Failure.RANK_STALLED: Policy.BUDGETED,
        Failure.WORKER_LOST: Policy.BUDGETED,
        Failure.EVICTED: Policy.FREE,
    }
