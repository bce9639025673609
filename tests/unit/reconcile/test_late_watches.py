"""Watches that fall silent, each by itself, while a job lives, fails, is suspended and resumed: what is remembered may
be old, and the promises hold all the same."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpuquery.api.conditions import is_true
from gpuquery.api.labels import LABEL_ATTEMPT, LABEL_PREFLIGHT
from gpuquery.api.reasons import Failure
from gpuquery.kube.client import ApiError, Resource, Scope, StaleError
from gpuquery.reconcile.observe import children
from tests.support.examples import examples
from tests.support.kube_objects import CHECKED, COMMITTED, at, failed_report
from tests.support.recording import READY, ended
from tests.unit.reconcile.observe.test_memory import Following, remembering
from tests.unit.reconcile.test_reconciler import KEY, current, store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from gpuquery.kube.client import Manifest

OVER = ("Succeeded", "Failed")
LOST = ended(failed_report(Failure.STORAGE_UNAVAILABLE), 1)


class World(Following):
    """A cluster in which things happen by chance. Pods outlive their Job, and each watch may fall silent."""

    def __init__(self, chance: Random) -> None:
        super().__init__()
        self.chance = chance
        self.flows = dict.fromkeys(self.KINDS, True)
        self.doomed: set[str] = set()
        """UIDs of batch Jobs that were deleted."""

    async def watch(
        self, scope: Scope, version: str, digest: Callable[[Manifest], Any], *, opened: Callable[[], None]
    ) -> AsyncIterator[tuple[str, Any]]:
        opened()
        while True:
            for word, found in list(self._changes(scope.resource)) if self.flows[scope.resource] else ():
                whole = {**found, "metadata": {"namespace": "marts", **found["metadata"]}}
                yield word, digest(whole if scope.whole else {"metadata": whole["metadata"]})
            await asyncio.sleep(0)

    async def create(self, manifest: Mapping[str, Any]) -> Manifest | None:
        if manifest["kind"] == "Job" and (number := manifest["metadata"]["labels"].get(LABEL_ATTEMPT)):
            others = {pod["metadata"]["labels"].get(LABEL_ATTEMPT, number) for pod in self.alive()} - {number}
            assert not others, f"attempt {number} beside pods of {others}"
        return await super().create(manifest)

    async def delete(self, resource: Resource, namespace: str, name: str, **how: Any) -> bool:
        if resource is not Resource.BATCH_JOBS:
            return await super().delete(resource, namespace, name, **how)
        self.written("delete BATCH_JOBS")
        found = self.objects.pop((resource, name), None)
        if found is not None and self.heed is not None:
            self.doomed.add(found["metadata"]["uid"])
            self.heed.deleted(resource, namespace, name)
        return found is not None

    def all(self, resource: Resource) -> list[Manifest]:
        return [each for (kind, _), each in self.objects.items() if kind is resource]

    def alive(self) -> list[Manifest]:
        return [pod for pod in self.all(Resource.PODS) if pod["status"]["phase"] not in OVER]

    def happens(self, share: float) -> bool:
        return self.chance.random() < share

    def step(self) -> None:
        """Let the others do something."""
        for job in self.all(Resource.BATCH_JOBS):
            self._controlled(job)
        for pod in self.all(Resource.PODS):
            self._run(pod)
        if self.happens(0.06):
            job = self.objects[Resource.JOBS, "revenue"]
            spec = {**job["spec"], "suspend": not job["spec"].get("suspend", False)}
            self.put(Resource.JOBS, {**job, "spec": spec})
        for kind in self.KINDS:
            self.flows[kind] ^= self.happens(0.1)

    def _controlled(self, job: Manifest) -> None:
        uid, labels = job["metadata"]["uid"], job["metadata"]["labels"]
        pods = [pod for pod in self.all(Resource.PODS) if pod["metadata"]["ownerReferences"][0]["uid"] == uid]
        over = [pod["status"]["phase"] for pod in pods if pod["status"]["phase"] in OVER]
        if not pods and self.happens(0.5):
            label = LABEL_ATTEMPT if LABEL_ATTEMPT in labels else LABEL_PREFLIGHT
            self.pod(int(labels[label]), {"phase": "Pending"}, label=label)
        elif over and "status" not in job and self.happens(0.5):
            told = {"type": "Complete" if over == ["Succeeded"] else "Failed", "status": "True"}
            self.put(Resource.BATCH_JOBS, {**job, "status": {"conditions": [told]}})

    def _run(self, pod: Manifest) -> None:
        phase, metadata = pod["status"]["phase"], pod["metadata"]
        if metadata["ownerReferences"][0]["uid"] in self.doomed and self.happens(0.3):
            self.pod_gone(metadata["name"])
        elif phase == "Pending" and self.happens(0.5):
            self.put(Resource.PODS, {**pod, "status": READY})
        elif phase == "Running" and self.happens(0.25):
            good = CHECKED if LABEL_PREFLIGHT in metadata["labels"] else COMMITTED
            self.put(Resource.PODS, {**pod, "status": ended(good, 0) if self.happens(0.4) else LOST})


async def lived(world: World) -> None:
    """Let two operators look at the job, one after the other."""
    seconds = 0.0
    for _ in range(2):
        world.flows = dict.fromkeys(world.KINDS, True)
        async with remembering(world) as subject:
            for _ in range(50):
                world.step()
                seconds += world.chance.choice([0, 1, 5, 20])
                for _ in range(world.chance.randint(0, 6)):
                    await asyncio.sleep(0)
                await _look(world, replace(subject, clock=lambda now=seconds: at(now)))  # type: ignore[misc]


async def _look(world: World, subject: Any) -> None:
    left = world.chance.randint(1, 6) if world.happens(0.05) else 0

    def fault(_: str) -> Exception | None:
        nonlocal left
        left -= 1
        return ApiError(503, "ServiceUnavailable", "no") if left == 0 else None

    world.fault = fault
    if subject.memory.children.pause(KEY) is not None:
        return
    try:
        await subject.reconcile(KEY)
    except (ApiError, StaleError):
        return
    status = current(world).status
    told = [each.message or "" for each in (*status.attempts, status.preflight_run) if each]
    assert not any("someone else" in text or "before their report" in text for text in told), "nobody did that"
    over = any(is_true(status.conditions, kind) for kind in ("Complete", "Failed", "Suspended"))
    assert not (over and world.alive()), "never while a pod lives"


@pytest.mark.parametrize("preflight", ["never", "always"])
@settings(examples(16), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32 - 1))
def test_the_promises_hold_whatever_watch_is_late(monkeypatch: pytest.MonkeyPatch, preflight: str, seed: int) -> None:
    # Every silence is longer than the patience of looks.
    monkeypatch.setattr(children, "PATIENCE_SECONDS", 0.0)
    world = World(Random(seed))
    store(world, backoffLimit=20, preflight=preflight)
    asyncio.run(lived(world))
