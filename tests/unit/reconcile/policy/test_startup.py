"""Startup: why an attempt is not ready, from real words of API server, scheduler and kubelet."""

from __future__ import annotations

import pytest

from gpuquery.api.reasons import Failure, Reason
from gpuquery.reconcile.observe.model import Pod, Waiting
from gpuquery.reconcile.observe.parse import in_order, refusal_of
from gpuquery.reconcile.policy.lingering import waits_for
from gpuquery.reconcile.policy.startup import Blocker, blocker
from tests.support.kube_objects import attempt, pod

NO_NODE = "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate"
NO_SECRET = 'secret "not-there" not found'
NOT_SYNCED = "failed to sync secret cache: timed out waiting for the condition"
NO_KEY = "couldn't find key AWS_ACCESS_KEY_ID in Secret marts/lake"
BAD_NAME = 'Failed to apply default image tag "not a name": couldn\'t parse image name "not a name"'


def waiting(reason: str, message: str = "") -> Pod:
    return pod(waiting=Waiting(reason=reason, message=message))


@pytest.mark.parametrize(
    ("subject", "want"),
    [
        pytest.param(pod(unschedulable=NO_NODE), Blocker(Reason.UNSCHEDULABLE, NO_NODE), id="no node fits"),
        pytest.param(
            pod(unschedulable=NO_NODE, asks="cpu 500m, memory 1Gi"),
            Blocker(Reason.UNSCHEDULABLE, f"{NO_NODE}; it asks for cpu 500m, memory 1Gi (workers.resources)"),
            id="what was asked for is told with it",
        ),
        pytest.param(
            waiting("ErrImagePull", "no such image"),
            Blocker(Reason.IMAGE_PULL_FAILED, "no such image"),
            id="an image that cannot be pulled may come: the start deadline decides",
        ),
        pytest.param(
            waiting("ImagePullBackOff", "Back-off"),
            Blocker(Reason.IMAGE_PULL_FAILED, "Back-off", vague=True),
            id="a kubelet that backs off says less than before",
        ),
        pytest.param(
            waiting("InvalidImageName", BAD_NAME),
            Blocker(Reason.IMAGE_PULL_FAILED, BAD_NAME, Failure.IMAGE_PULL_FAILED),
            id="a name that is none fails at once",
        ),
        pytest.param(
            waiting("CreateContainerConfigError", NO_SECRET),
            Blocker(Reason.SECRET_NOT_FOUND, NO_SECRET),
            id="a missing Secret",
        ),
        pytest.param(
            waiting("CreateContainerConfigError", NO_KEY),
            Blocker(Reason.SECRET_NOT_FOUND, NO_KEY),
            id="a missing key of a Secret",
        ),
        pytest.param(
            waiting("CreateContainerConfigError", NOT_SYNCED),
            Blocker(Reason.CONTAINER_CANNOT_START, NOT_SYNCED),
            id="a Secret that the kubelet has not got yet may be there",
        ),
        pytest.param(
            waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"),
            Blocker(Reason.CONTAINER_CANNOT_START, "container has runAsNonRoot and image will run as root"),
            id="another reason of the kubelet",
        ),
        pytest.param(waiting("ContainerCreating"), None, id="a pod on its way is not held up"),
        pytest.param(pod(), None, id="a pod of which nothing is known yet"),
    ],
)
def test_of_pods(subject: Pod, want: Blocker | None) -> None:
    assert blocker(attempt(subject), None) == want


def test_pods_that_are_waited_for_are_named_unless_each_that_goes_would_be_a_write() -> None:
    pods = [pod(name=f"p{n}", phase="Running", node="node-1" if n else None) for n in range(5)]
    assert waits_for(pods[:2]) == "waits for pod p0, pod p1 on node node-1 to end"
    assert waits_for(pods) == waits_for(pods[1:]) == "waits for more than 3 pods to end"
    assert waits_for([pod(phase="Failed")]) == ""


def test_events_are_read_in_the_order_in_which_they_were_written_whatever_their_times() -> None:
    late = {"metadata": {"resourceVersion": "1002"}, "lastTimestamp": "2020-01-01T00:00:00Z"}
    early = {"metadata": {"resourceVersion": "998"}, "lastTimestamp": "2030-01-01T00:00:00Z"}
    assert in_order([late, early]) == [early, late]


def test_a_quota_is_named_and_the_random_name_of_the_pod_is_not() -> None:
    words = 'Error creating: pods "q-1-0-{}" is forbidden: exceeded quota: gpus, requested: cpu=1, used: cpu=0'
    one, two = refusal_of(words.format("abcde")), refusal_of(words.format("fghij"))
    assert one == two, "the message would change with every try"
    assert one.reason is Reason.QUOTA_EXCEEDED and "exceeded quota: gpus" in one.message
    assert blocker(attempt(), one) == Blocker(Reason.QUOTA_EXCEEDED, one.message)


def test_a_refusal_by_pod_security_is_no_quota() -> None:
    found = refusal_of('Error creating: pods "q-0-x" is forbidden: violates PodSecurity "restricted:latest"')
    assert found.reason is Reason.CREATION_REFUSED


def test_an_invalid_template_fails_at_once() -> None:
    found = blocker(attempt(), refusal_of("Job is invalid: spec.template.spec.tolerations", permanent=True))
    assert found and found.failure is Failure.TEMPLATE_REJECTED


def test_a_pod_that_has_ended_holds_nothing_up() -> None:
    assert blocker(attempt(pod(phase="Failed", unschedulable="old news")), None) is None
