"""What is told in place of a status that the API server refuses."""

from __future__ import annotations

import json
from typing import Any

from gpuquery.reconcile.report.smaller import smaller

LONG = "x" * 4000 + "\x1b[31m"
STATUS: dict[str, Any] = {
    "state": "Complete",
    "attempt": 1,
    "attempts": [{"id": 1, "started": "2026-11-21T12:00:00Z", "message": LONG}],
    "plan": {"engine": "cpu"},
    "output": {"uri": "s3://lake/out", "rows": 10**30},
    "progress": {"rows": 10**30},
    "warnings": [LONG],
    "conditions": [
        {"type": "Complete", "status": "True", "reason": "Completed", "message": "done"},
        {"type": "Failed", "status": "False", "reason": "Completed", "message": LONG},
    ],
}
REFUSAL = 'GpuQueryJob "x" is invalid: status.output.rows: Invalid value: "float64"'


def test_first_goes_what_the_refusal_names_and_nothing_else() -> None:
    first = next(smaller(STATUS, REFUSAL))
    assert first.keys() == STATUS.keys() - {"output"}
    assert first["warnings"] == STATUS["warnings"]


def test_in_the_end_only_what_the_next_look_needs_is_left_and_all_texts_are_short_and_plain() -> None:
    *_, last = smaller(STATUS, REFUSAL)
    assert last.keys() == {"state", "attempt", "attempts", "conditions"}
    assert last["attempts"][0]["started"] == "2026-11-21T12:00:00Z"
    assert len(json.dumps(last)) < 2000 and "\\u001b" not in json.dumps(last)


def test_each_is_smaller_than_the_one_before_and_says_what_was_refused_behind_the_end_of_the_job() -> None:
    found = list(smaller(STATUS, REFUSAL))
    sizes = [len(json.dumps(each)) for each in found]
    assert len(found) == 3 and sizes == sorted(sizes, reverse=True)
    for each in found:
        complete, failed = each["conditions"]
        assert "the API server refused to store more" in complete["message"] and "output.rows" in complete["message"]
        assert "refused" not in failed["message"]


def test_what_the_state_machine_goes_by_is_kept_even_where_the_refusal_names_it() -> None:
    for each in smaller(STATUS, "status.attempts[0].message: Too long; status.conditions: bad"):
        assert each["attempts"][0]["id"] == 1 and len(each["conditions"]) == 2


def test_of_the_refusal_too_everything_can_be_seen() -> None:
    for each in smaller(STATUS, "status.plan.why: Invalid value: \u202e\u3164"):
        assert each["conditions"][0]["message"].endswith("Invalid value: \\u202e\\u3164)")


def test_a_refusal_of_unbounded_length_is_cut() -> None:
    for each in smaller(STATUS, LONG * 10):
        assert len(each["conditions"][0]["message"]) < 400
