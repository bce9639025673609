"""Calls that go on beside each other."""

from __future__ import annotations

from gpuquery.runner import later


class _Ending:
    """A call that is seen to go on once, and has ended when it is looked at again."""

    raised = False

    def __init__(self, _: object) -> None:
        self.looks = 0

    @property
    def over(self) -> bool:
        self.looks += 1
        return self.looks > 1

    def result(self) -> int:
        return 7


def test_a_call_that_ends_between_two_looks_has_its_result(monkeypatch) -> None:
    monkeypatch.setattr(later, "Later", _Ending)
    assert later.each(str, [1], threads=1) == [7]
