"""What is counted from an audit log: every request once, by who made it, and heartbeats by nobody."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.bench import audit

if TYPE_CHECKING:
    from pathlib import Path


def event(user: str, verb: str, resource: str, *, code: int = 200, **more: Any) -> str:
    resource, _, subresource = resource.partition("/")
    about = {"resource": resource, **({"subresource": subresource} if subresource else {}), "name": "x"}
    return json.dumps(
        {
            "stage": "ResponseComplete",
            "verb": verb,
            "user": {"username": user},
            "objectRef": about,
            "responseStatus": {"code": code},
            "requestReceivedTimestamp": "2026-11-21T18:04:15.658968Z",
            "stageTimestamp": "2026-11-21T18:04:15.663101Z",
            **more,
        }
    )


def test_a_watch_is_counted_when_it_begins_and_not_again_when_it_ends() -> None:
    lines = [event("me", "watch", "pods", stage=stage) for stage in ("ResponseStarted", "ResponseComplete")]
    assert len(list(audit.parse(lines))) == 1
    assert len(list(audit.parse([event("me", "get", "pods", stage="Panic")]))) == 0


def test_times_are_those_of_receipt_and_answer() -> None:
    (request,) = audit.parse([event("me", "get", "pods")])
    assert request.answered - request.received == pytest.approx(0.004133, abs=1e-6)


@pytest.mark.parametrize(
    ("verb", "resource", "code", "made"),
    [
        pytest.param("create", "pods", 201, True, id="a created pod"),
        pytest.param("patch", "services", 201, True, id="a Service that was applied for the first time"),
        pytest.param("patch", "services", 200, False, id="and for the second"),
        pytest.param("create", "pods", 409, False, id="a pod that was there"),
        pytest.param("create", "pods/binding", 201, False, id="a binding is no object"),
        pytest.param("create", "serviceaccounts/token", 201, False, id="nor is a token"),
        pytest.param("create", "events", 201, False, id="events are told apart"),
    ],
)
def test_what_counts_as_an_object(verb: str, resource: str, code: int, made: bool) -> None:
    (request,) = audit.parse([event("me", verb, resource, code=code)])
    assert request.created is made


def test_requests_are_counted_by_client_without_heartbeats() -> None:
    controller = audit.CONTROLLER + "job-controller"
    lines = [
        event("gpuquery", "get", "pods"),
        event("gpuquery", "patch", "jobs", code=201),
        event("gpuquery", "update", "leases"),
        event(controller, "create", "pods", code=201),
        event("system:kube-controller-manager", "create", "serviceaccounts/token", code=201),
        event("system:kube-scheduler", "create", "pods/binding", code=201),
        event("kwok", "patch", "pods/status"),
        event("kwok", "update", "leases"),
        event("system:apiserver", "update", "leases"),
    ]
    found = audit.counted(audit.parse(lines))
    assert found["writes_by_client"] == {"controllers": 2, "gpuquery": 1, "scheduler": 1, "kubelet": 1}
    assert found["requests_by_client"]["gpuquery"] == 2
    assert (found["writes"], found["requests"]) == (5, 6)
    assert found["verbs_by_client"]["gpuquery"] == {"get pods": 1, "patch jobs": 1}


def test_a_line_that_is_still_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    whole = event("me", "get", "pods") + "\n"
    path.write_text(whole + whole[:40])
    log = audit.Log(path)
    assert len(log.look()) == 1
    path.write_text(whole + whole)
    assert len(log.look()) == 2
