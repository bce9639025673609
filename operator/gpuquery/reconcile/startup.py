"""Startup: why an attempt is not ready, in the words of who holds it up.

The API server (quota, admission), the scheduler and the kubelet each say it in another place; the first one in that
order that has something to say is the cause.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gpuquery.api.reasons import Failure, Reason
from gpuquery.reconcile.facts import Attempt, Pod, Refusal, Waiting

IMAGE_REASONS = {
    "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable",
    "InvalidImageName", "SignatureValidationFailed",
}  # fmt: skip
CONFIG_REASONS = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}


@dataclass(frozen=True)
class Blocker:
    """What holds an attempt up."""

    reason: Reason
    message: str
    failure: Failure | None = None
    """Set if waiting cannot help: the attempt fails at once."""
    vague: bool = False
    """Whether a message that was seen before says more: a kubelet that backs off no longer says why."""


def blocker(attempt: Attempt, refusal: Refusal | None) -> Blocker | None:
    """Return what holds the attempt up; None if it is simply on its way."""
    if refusal is not None:
        return Blocker(refusal.reason, refusal.message, Failure.TEMPLATE_REJECTED if refusal.permanent else None)
    for pod in attempt.pods:
        if pod.alive and (found := _of_pod(pod)):
            return found
    return None


def _of_pod(pod: Pod) -> Blocker | None:
    if pod.unschedulable is not None:
        return Blocker(Reason.UNSCHEDULABLE, pod.unschedulable)
    if pod.waiting is None:
        return None
    waiting = pod.waiting
    if waiting.reason in IMAGE_REASONS:
        # A name that is none stays so; a registry or a tag may come back before the start deadline.
        failure = Failure.IMAGE_PULL_FAILED if waiting.reason == "InvalidImageName" else None
        return Blocker(Reason.IMAGE_PULL_FAILED, _words(waiting), failure, vague=waiting.reason == "ImagePullBackOff")
    if waiting.reason in CONFIG_REASONS:
        secret = re.search(r"\bsecret\b", waiting.message, re.IGNORECASE)
        return Blocker(Reason.SECRET_NOT_FOUND if secret else Reason.CONTAINER_CANNOT_START, _words(waiting))
    return None


def _words(waiting: Waiting) -> str:
    return waiting.message or waiting.reason


def refusal_of(message: str, *, permanent: bool = False) -> Refusal:
    """Read a refusal of the API server, from an answer or from the Job controller's event.

    Names of pods that were never made are random: with them the message would change with every try.
    """
    message = re.sub(r"^Error creating: ", "", re.sub(r'pods "[^"]*"', "a pod of the attempt", message))
    reason = Reason.QUOTA_EXCEEDED if "exceeded quota" in message else Reason.CREATION_REFUSED
    return Refusal(reason=reason, message=message, permanent=permanent)
